"""Run a .tflite file in LiteRT's CompiledModel, which can force half precision and can use a GPU.

For child processes: a driver may crash or hang, and LiteRT prints a lot. Imports nothing but NumPy and LiteRT.
"""

import ctypes
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.options import Options

FORCE_FP16 = 4  # XNNPACK's flag
X86 = ("x86_64", "amd64", "x86", "i686")

# Nodes of devices that have a Vulkan driver of their own, and Debian's package `chromium`: Vulkan in software.
GPUS = ("dri/renderD*", "nvidia[0-9]*", "dxg")
CHROMIUM = Path("/usr/lib/chromium")
DRIVER, DRIVERS, LOADER = "vk_swiftshader_icd.json", ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"), "libvulkan.so.1"
WEBGPU, SOFTWARE = "LiteRT's WebGPU accelerator", "software Vulkan"
ADAPTER = re.compile(r"Selected adapter: (.+?), arch=.*adapterType=(.+)")
OUTSIDE = re.compile(r"not supported by GPU delegate:\n((?:.+\n)*?)(?:\d+ operations will run|No operations)")
REASON = re.compile(r"(?:INTERNAL|UNIMPLEMENTED|INVALID_ARGUMENT): (.+)")
MISSING = (
    "LiteRT finds no GPU here. On Linux, its WebGPU accelerator needs a Vulkan driver; "
    "Debian's package chromium has one in software"
)


class Compiled:
    """A .tflite file, ready to run by its first signature.

    Args:
        path: the .tflite file.
        options: LiteRT's options.

    Attributes:
        inputs: ``name``, ``index``, ``dtype`` and ``shape`` of each input.
        outputs: the same of each output.
        device: what runs it, such as ``LiteRT's WebGPU accelerator, software Vulkan``.
        outside: operations that the GPU does not take and the CPU runs, each with LiteRT's reason.
        is_whole: whether the accelerator takes every operation.
    """

    def __init__(self, path: str | os.PathLike, options: "Options"):
        from ai_edge_litert.compiled_model import CompiledModel

        self.device, self.outside = "", list[str]()
        self._model = CompiledModel.from_file(os.fspath(path), options=options)
        self.is_whole = self._model.is_fully_accelerated()
        key, signature = next(iter(self._model.get_signature_list().items()))
        inputs, outputs = self._model.get_input_tensor_details(key), self._model.get_output_tensor_details(key)
        self.inputs = [inputs[name] for name in signature["inputs"]]
        self.outputs = [outputs[name] for name in signature["outputs"]]
        self._given, self._taken = self._model.create_input_buffers(0), self._model.create_output_buffers(0)

    def write(self, values: Sequence[np.ndarray]) -> None:
        """Set the inputs, in the types of their tensors."""
        for buffer, value in zip(self._given, values, strict=True):
            buffer.write(np.ascontiguousarray(value).reshape(-1))

    def run(self) -> list[np.ndarray]:
        """Run the file on the inputs that were set last, and return its outputs, each flat."""
        self._model.run_by_index(0, self._given, self._taken)
        described = zip(self._taken, self.outputs, strict=True)
        return [buffer.read(int(np.prod(tensor["shape"])), np.dtype(tensor["dtype"])) for buffer, tensor in described]


def in_half_precision(path: str | os.PathLike, threads: int = 0) -> Compiled:
    """Open a file whose floats are computed in half precision.

    Args:
        path: the .tflite file.
        threads: threads of the CPU; 0 leaves the number to LiteRT.
    """
    from ai_edge_litert.options import CpuOptions, HardwareAccelerator, Options

    opened = Compiled(path, Options(HardwareAccelerator.CPU, CpuOptions(threads, xnnpack_flags=FORCE_FP16)))
    opened.device = f"XNNPACK in half precision{', sums in float32' if platform.machine().lower() in X86 else ''}"
    return opened


def on_gpu(path: str | os.PathLike, *, enforce_f32: bool = False) -> Compiled:
    """Open a file on the GPU, and on the CPU for operations that the GPU does not take.

    Without a GPU, Vulkan in software is used where it is found.

    Args:
        path: the .tflite file.
        enforce_f32: compute in float32; otherwise, GPUs compute in half precision. Software Vulkan never does.

    Raises:
        RuntimeError: there is no GPU, or LiteRT cannot run the file. The message is one line.
    """
    from ai_edge_litert.options import CpuOptions, GpuOptions, HardwareAccelerator, Options

    _find_driver()
    both = HardwareAccelerator.GPU | HardwareAccelerator.CPU
    with _logged() as log:
        try:
            opened = Compiled(path, Options(both, CpuOptions(), GpuOptions(enforce_f32)))
        except Exception as error:
            raise RuntimeError(_reason(_text(log)) or " ".join(str(error).split())) from None
        said = _text(log)
    found, outside = ADAPTER.search(said), OUTSIDE.search(said)
    if not found:
        raise RuntimeError(_reason(said) or MISSING)
    name, kind = found.groups()
    opened.device = f"{WEBGPU}, {SOFTWARE if kind.startswith('CPU') else name}"
    opened.outside = outside[1].splitlines() if outside else []
    return opened


def missing_driver() -> str | None:
    """Return None if a GPU, or Vulkan in software, seems to be usable here, otherwise what is missing."""
    if not sys.platform.startswith("linux"):
        return None
    if not _load_vulkan():
        return MISSING
    has_driver = any(map(os.environ.get, DRIVERS)) or _has_gpu() or (CHROMIUM / DRIVER).is_file()
    return None if has_driver else MISSING


def _load_vulkan() -> bool:
    """Load Vulkan's loader, by the name that LiteRT asks for, and return whether there is one."""
    for name in (LOADER, str(CHROMIUM / LOADER)):
        with suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _has_gpu() -> bool:
    return any(next(Path("/dev").glob(pattern), None) for pattern in GPUS)


def _find_driver() -> None:
    """Let Vulkan run in software if this is Linux without a GPU and nobody has chosen a driver."""
    if not sys.platform.startswith("linux"):
        return
    _load_vulkan()
    if not _has_gpu() and not any(name in os.environ for name in DRIVERS) and (CHROMIUM / DRIVER).is_file():
        os.environ[DRIVERS[0]] = str(CHROMIUM / DRIVER)


@contextmanager
def _logged() -> Iterator[IO[bytes]]:
    """Yield a file that takes what is printed to standard error, also by C++."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            yield log
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def _reason(log: str) -> str:
    """Return why LiteRT could not run a file on the GPU, from what it printed, or an empty text."""
    found = REASON.search(log)
    return MISSING if "No adapters found" in log else found[1] if found else ""
