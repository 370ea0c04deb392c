"""Run a .tflite file in LiteRT's CompiledModel, the interface of its accelerators: python compiled_script.py JOB.

JOB is a JSON file with ``model`` (file), ``values`` (.npy file of inputs, (n, ...) of the input tensor's type),
``outputs`` (.npy file to write, (n, scores), of the output tensor's type) and ``accelerator``: "fp16" computes in half
precision on the CPU. The script imports only NumPy and LiteRT.
"""

import json
import sys
from pathlib import Path

FORCE_FP16 = 4  # XNNPACK's flag


def main(job: dict) -> None:
    """Run the job."""
    import numpy as np
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.options import CpuOptions, HardwareAccelerator, Options

    options = {"fp16": Options(HardwareAccelerator.CPU, CpuOptions(xnnpack_flags=FORCE_FP16))}[job["accelerator"]]
    values = np.load(job["values"])
    model = CompiledModel.from_file(job["model"], options=options)
    ((key, signature),) = model.get_signature_list().items()
    (tensor,) = (model.get_output_tensor_details(key)[name] for name in signature["outputs"])
    outputs = np.empty((len(values), int(np.prod(tensor["shape"]))), tensor["dtype"])
    given, taken = model.create_input_buffers(0), model.create_output_buffers(0)
    for row, value in zip(outputs, values, strict=True):
        given[0].write(np.ascontiguousarray(value).reshape(-1))
        model.run_by_index(0, given, taken)
        row[:] = taken[0].read(len(row), outputs.dtype)
    np.save(job["outputs"], outputs)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
