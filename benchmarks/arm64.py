"""Run exported networks on emulated ARM64: python benchmarks/arm64.py [NETWORK | NETWORK/PRECISION]...

Compares each file's outputs on ARM with those here, and counts the instructions of one inference, which do not depend
on the machine. Without arguments, all files without a result are measured in order, and each result is written to
``benchmarks/results/arm64.json`` at once; named files are measured again. The table in the documentation is made from
that file. The exit code is 1, with the reasons, if outputs differ on ARM, a default rewrite of the graph costs
instructions there, or half precision saves too few. PRECISION is a variant, or ``half`` for a float16 file that is
computed in half precision.

``--list`` lists the files, ``--readme`` only makes the table.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circumstances import circumstances
from exports import converted, drawn, noise
from readme import insert, keep, kept

from keras_inception import registry
from keras_inception.exporting.clients.arm64 import SCRIPT
from keras_inception.exporting.clients.arm64_userland import PROCESSOR, UnavailableError, run, userland
from keras_inception.exporting.half_precision import TOLERANCE, allow
from keras_inception.exporting.rewrites import REWRITES, lrn_for_half_precision
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import tables
from keras_inception.utils.files import replacing
from keras_inception.utils.subprocesses import ChildError, run_program

COUNTER = Path(__file__).with_name("instructions.c")
# Largest difference of the probabilities on ARM from those here. Dynamic files quantize activations at run time. The
# logits of int8 must be identical; its softmax is LiteRT's own, in float, and may round to the next of 256 steps.
LIMITS = {"float32": 1e-6, "float16": 1e-6, "dynamic": 1e-2, "int8": 1 / 256, "half": TOLERANCE}
HALF, MOST_HALF = "half", 0.55  # of the instructions of float32
PRECISIONS = {name: name for name in VARIANTS} | {HALF: "float16 in half precision"}
FOR_HALF = lrn_for_half_precision.__name__


class Network(NamedTuple):
    """A network of the registry with its arguments and rewrites.

    Attributes:
        about: description in the table.
        name: name in the registry.
        options: arguments of the network.
        base: key of the network that it is compared with.
        without: rewrites to leave out.
        width: share of the filters to keep, rounded to multiples of 8.
    """

    about: str
    name: str
    options: dict
    base: str | None = None
    without: tuple[str, ...] = ()
    width: float = 1.0


def _without(base: str, network: Network, rewrites: tuple[str, ...]) -> dict[str, Network]:
    """Return the network without each of these rewrites in turn."""
    return {
        f"{base}_without_{name}": network._replace(about=f"the same without {name}", base=base, without=(name,))
        for name in rewrites
    }


GOOGLENET = Network("GoogLeNet, batch norm", "googlenet", {"normalization": "batch_norm"})
INCEPTION_V3 = Network("Inception v3, with all rewrites", "inception_v3", {})
NETWORKS = {
    "googlenet": GOOGLENET,
    **_without("googlenet", GOOGLENET, ("space_to_depth_stem",)),
    "googlenet_slim": GOOGLENET._replace(about="the same, slimmed to 52 % of the MACs", base="googlenet", width=0.7),
    "googlenet_lrn": Network("GoogLeNet, the paper's", "googlenet", {}),
    "googlenet_lrn_builtin": Network(
        "the same with TensorFlow's LRN", "googlenet", {"normalization": "lrn_builtin"}, base="googlenet_lrn"
    ),
    "inception_v3": INCEPTION_V3,
    **_without("inception_v3", INCEPTION_V3, ("pool_after_projection", "average_pool_as_convolution")),
    "inception_v3_plain": INCEPTION_V3._replace(
        about="the same without any rewrite", base="inception_v3", without=tuple(REWRITES)
    ),
}
FILES = [
    f"{name}/{precision}"
    for name, network in NETWORKS.items()
    for precision in PRECISIONS
    if precision != HALF or network.base is None
]


def measured(files: list[str]) -> dict[str, dict]:
    """Return the results of these files, which belong to one network."""
    network = NETWORKS[files[0].split("/")[0]]
    folder, rows = userland(), {}
    with tempfile.TemporaryDirectory() as temporary:
        paths = {file.split("/")[1]: Path(temporary) / f"{file.split('/')[1]}.tflite" for file in files}
        model = drawn(created(network))
        images = noise(model.input_shape[1:3], 2)
        for file, (precision, path) in zip(files, paths.items(), strict=True):
            convert(model, network, precision, path)
            rows[file] = {**compared(folder, path, images), **circumstances()}
    return rows


def convert(model, network: Network, precision: str, path: Path) -> None:
    """Convert a network with all its rewrites, of which that for half precision is left out of variants without it."""
    variant = "float16" if precision == HALF else precision
    left_out = {*network.without, *({FOR_HALF} - set(VARIANTS[variant].rewrites))}
    converted(model, {variant: path}, [name for name in REWRITES if name not in left_out])
    if precision == HALF:
        allow(path)


def created(network: Network):
    """Return the network with its initial weights."""
    from keras import layers

    model = registry.create(network.name, **network.options)
    if network.width == 1:
        return model
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    filters = {layer.name: max(8, 8 * round(network.width * layer.filters / 8)) for layer in convolutions}
    return registry.create(network.name, **network.options, filters=filters)


def compared(folder: Path, file: Path, images: np.ndarray) -> dict:
    """Run a file on ARM and here.

    Args:
        folder: the userland.
        file: the file.
        images: uint8 RGB (n, height, width, 3), at least two.

    Returns:
        The ``instructions`` of an inference on ARM, and the largest difference of ``probabilities`` and ``logits``.

    Raises:
        ChildError: the file does not run.
        UnavailableError: instructions cannot be counted.
        ValueError: its outputs are nearly all the same, which proves nothing.
    """
    classifier = TFLiteClassifier(file, preprocessing=DEFAULT, isolated=False)
    values, here, there = (file.with_name(f"{file.stem}_{name}") for name in ("values.npy", "x86.npz", "arm.npz"))
    np.save(values, classifier.as_input(images))
    job = {"model": str(file), "values": str(values), "threads": 1}  # the plugin counts those of one thread
    run_program([sys.executable, SCRIPT], {**job, "outputs": str(here)}, SCRIPT.name)
    told = run(folder, SCRIPT, {**job, "outputs": str(there)}, instruction_counter(folder))
    counts = [int(line.split()[1]) for line in told.splitlines() if line.startswith("instructions:")]
    parted = differences(outputs(classifier, here), outputs(classifier, there))
    return {"instructions": counts[-1] - counts[-2], **parted}


def outputs(classifier: TFLiteClassifier, path: Path) -> dict[str, np.ndarray]:
    """Return the ``probabilities`` and, of an 8-bit file, the ``logits`` that `SCRIPT` has written."""
    with np.load(path) as found:
        logits = {"logits": found["logits"].astype(np.float64)} if "logits" in found else {}
        return {"probabilities": classifier.probabilities(found["scores"]), **logits}


def differences(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the largest differences between the arrays of the same name.

    Raises:
        ValueError: no array has many distinct values.
    """
    if max(len(np.unique(array)) for array in expected.values()) < 8:
        raise ValueError(f"a file's outputs must hold 8 values or more. Received: {expected}")
    return {name: float(np.abs(array - found[name]).max()) for name, array in expected.items()}


def instruction_counter(folder: Path) -> Path:
    """Compile ``instructions.c`` into a folder and return the plugin.

    Raises:
        UnavailableError: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if not compiler:
        raise UnavailableError("counting instructions needs a C compiler, `cc`. Received: none on this machine")
    with replacing(folder / "instructions.so") as beside:
        command = [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", beside, COUNTER]
        subprocess.run(command, check=True)
    return folder / "instructions.so"


def complaints(rows: dict[str, dict]) -> list[str]:
    """Return a message for each result that is not acceptable."""
    found = []
    for file, row in rows.items():
        name, precision = file.split("/")
        network = NETWORKS[name]
        for what, limit in (("probabilities", LIMITS[precision]), ("logits", 0)):
            if row.get(what, 0) > limit:
                found.append(f"{file}: its {what} on ARM differ by {row[what]:.2g}, more than {limit:g}")
        if precision == HALF:
            share = row["instructions"] / rows[f"{name}/float32"]["instructions"]
            if round(share, 2) > MOST_HALF:
                found.append(f"{file} takes {share:.2f} of the instructions of float32, more than {MOST_HALF:g}")
            continue
        base = rows.get(f"{network.base}/{precision}")
        expected = network.without and set(network.without) <= set(VARIANTS[precision].rewrites)
        if expected and base and base["instructions"] > row["instructions"]:
            more = base["instructions"] / row["instructions"] - 1
            found.append(f"{', '.join(network.without)} costs {network.base}/{precision} {more:.1%} more instructions")
    return found


def table(result: dict) -> str:
    """Return the result as Markdown: millions of instructions, and their ratio to `base` or to float32."""
    rows = result["files"]
    columns = tables.columns("network") | {precision: tables.Column(about) for precision, about in PRECISIONS.items()}
    lines = [
        {"network": network.about, **{each: _cell(rows, name, network.base, each) for each in PRECISIONS}}
        for name, network in NETWORKS.items()
    ]
    told = []
    for precision, about in PRECISIONS.items():
        found = [row["probabilities"] for file, row in rows.items() if file.endswith(f"/{precision}")]
        told += [f"{about} {max(found):.1g}"] if found else []
    return tables.markdown(columns, lines) + f"\nDifferences from x86, at most: {', '.join(told)}.\n"


def _cell(rows: dict[str, dict], name: str, base: str | None, precision: str) -> str | None:
    if not (row := rows.get(f"{name}/{precision}")):
        return None
    share = rows.get(f"{name}/float32" if precision == HALF else f"{base}/{precision}")
    text = f"{row['instructions'] / 1e6:.1f}"
    return f"{text} ({row['instructions'] / share['instructions']:.2f})" if share else text


def main(arguments: list[str]) -> None:
    result = {"processor": PROCESSOR, "files": {}} | kept("arm64")
    rows = result["files"]
    if unknown := set(arguments) - {*NETWORKS, *FILES, "--readme", "--list"}:
        raise SystemExit(f"no such file: {' '.join(sorted(unknown))}; --list lists the files")
    if arguments == ["--list"]:
        for file in FILES:
            print(f"{file}: {rows[file]['instructions'] / 1e6:.1f} M" if file in rows else f"{file}: not run yet")
        return
    for name in NETWORKS if arguments != ["--readme"] else ():
        of_network = [file for file in FILES if file.split("/")[0] == name]
        asked = [file for file in of_network if ({file, name} & set(arguments) if arguments else file not in rows)]
        if asked:
            print(name, flush=True)
            rows |= measured(asked)
            result["files"] = rows = {file: rows[file] for file in FILES if file in rows}
            keep("arm64", result)
    insert("arm64", table(result))
    print(table(result))
    if found := complaints(rows):
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UnavailableError, ChildError) as error:
        raise SystemExit(str(error)) from None
