"""The exported networks on ARM64, emulated: python benchmarks/arm64.py [NETWORK | NETWORK/PRECISION]...

For each file what it gives there and here, and the instructions of one inference, which are the same on whatever
machine they are counted. Without arguments all that have no result yet are measured, in their order, each written into
``benchmarks/results/arm64.json`` as soon as it is there; what is named is measured anew. The README's table is made
from that file. Ends with exit code 1, and says why, if a file gives something else on ARM, or if a rewrite of the
graph that export does by itself costs instructions there.

``--list`` tells which files there are, ``--readme`` makes the table alone.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from aarch64 import PROCESSOR, UnavailableError, instruction_counter, run, userland
from circumstances import circumstances
from exports import converted, drawn, noise
from readme import insert, keep, kept, markdown

from keras_inception import registry
from keras_inception.exporting.rewrites import REWRITES
from keras_inception.exporting.variants import VARIANTS

INFERENCE = Path(__file__).with_name("inference.py")
# By what a file's probabilities may differ on ARM from those here. Dynamic's activations are quantised as it runs. The
# logits of int8 must be the same; its softmax is LiteRT's own, in float, and may round to the next of 256 steps.
LIMITS = {"float32": 1e-6, "float16": 1e-6, "dynamic": 1e-2, "int8": 1 / 256}


class Network(NamedTuple):
    """A network of the registry with its arguments, after all rewrites of the graph but some.

    Attributes:
        about: what it is.
        base: the network that it is compared with.
        without: rewrites that are left out.
        width: share of its filters that it has, in eights.
    """

    about: str
    name: str
    options: dict
    base: str | None = None
    without: tuple[str, ...] = ()
    width: float = 1.0


def _without(base: str, network: Network, rewrites: tuple[str, ...]) -> dict[str, Network]:
    """The network without each of these rewrites."""
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
FILES = [f"{network}/{precision}" for network in NETWORKS for precision in VARIANTS]


def measured(files: list[str]) -> dict[str, dict]:
    """The rows of these files, which are of one network."""
    network = NETWORKS[files[0].split("/")[0]]
    folder, rows = userland(), {}
    with tempfile.TemporaryDirectory() as temporary:
        paths = {file.split("/")[1]: Path(temporary) / f"{file.split('/')[1]}.tflite" for file in files}
        model = drawn(created(network))
        converted(model, paths, [name for name in REWRITES if name not in network.without])
        pictures = Path(temporary) / "pictures.npy"
        np.save(pictures, noise(model.input_shape[1:3], 2))
        for file, path in zip(files, paths.values(), strict=True):
            rows[file] = {**compared(folder, path, pictures), **circumstances()}
    return rows


def created(network: Network):
    """The network, with weights as they begin."""
    from keras import layers

    model = registry.create(network.name, **network.options)
    if network.width == 1:
        return model
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    filters = {layer.name: max(8, 8 * round(network.width * layer.filters / 8)) for layer in convolutions}
    return registry.create(network.name, **network.options, filters=filters)


def compared(folder: Path, file: Path, pictures: Path) -> dict:
    """A file on ARM: the ``instructions`` of an inference, and how its ``probabilities`` and ``logits`` differ from
    those here, at most.

    Raises:
        UnavailableError: it does not run there.
        ValueError: its outputs are nearly all alike, which would say nothing.
    """
    here, there = pictures.with_name("x86.npz"), pictures.with_name("arm.npz")
    subprocess.run([sys.executable, INFERENCE, file, pictures, here], check=True, capture_output=True)
    told = run(folder, INFERENCE, file, pictures, there, plugin=instruction_counter(folder))
    counts = [int(line.split()[1]) for line in told.splitlines() if line.startswith("instructions:")]
    return {"instructions": counts[-1] - counts[-2], **differences(here, there)}


def differences(here: Path, there: Path) -> dict[str, float]:
    """By what the arrays of two .npz files differ, at most; ValueError if no array has many values."""
    with np.load(here) as left, np.load(there) as right:
        expected, found = ({name: file[name].astype(np.float64) for name in left} for file in (left, right))
    if max(len(np.unique(array)) for array in expected.values()) < 8:
        raise ValueError(f"{here.name} must hold 8 values or more. Received: {expected}")
    return {name: float(np.abs(array - found[name]).max()) for name, array in expected.items()}


def complaints(rows: dict[str, dict]) -> list[str]:
    """What is not as it should be."""
    found = []
    for file, row in rows.items():
        name, precision = file.split("/")
        network = NETWORKS[name]
        for what, limit in (
            ("probabilities", LIMITS.get(precision, VARIANTS[precision].client_tolerance)),
            ("logits", 0),
        ):
            if row.get(what, 0) > limit:
                found.append(f"{file}: its {what} on ARM differ by {row[what]:.2g}, more than {limit:g}")
        base = rows.get(f"{network.base}/{precision}")
        expected = network.without and set(network.without) <= set(VARIANTS[precision].rewrites)
        if expected and base and base["instructions"] > row["instructions"]:
            more = base["instructions"] / row["instructions"] - 1
            found.append(f"{', '.join(network.without)} costs {network.base}/{precision} {more:.1%} more instructions")
    return found


def table(result: dict) -> str:
    """The result as Markdown: millions of instructions, and their share of what the network is compared with."""
    rows = result["files"]
    lines = [
        [network.about, *(_cell(rows, name, network.base, precision) for precision in VARIANTS)]
        for name, network in NETWORKS.items()
    ]
    told = []
    for precision in VARIANTS:
        found = [row["probabilities"] for file, row in rows.items() if file.endswith(f"/{precision}")]
        told += [f"{precision} {max(found):.1g}"] if found else []
    return markdown(["network", *VARIANTS], lines) + f"\nDifferences from x86, at most: {', '.join(told)}.\n"


def _cell(rows: dict[str, dict], name: str, base: str | None, precision: str) -> str:
    if not (row := rows.get(f"{name}/{precision}")):
        return "–"
    share = rows.get(f"{base}/{precision}")
    text = f"{row['instructions'] / 1e6:.1f}"
    return f"{text} ({row['instructions'] / share['instructions']:.2f})" if share else text


def main(arguments: list[str]) -> None:
    result = {"processor": PROCESSOR, "files": {}} | kept("arm64")
    rows = result["files"]
    if unknown := set(arguments) - {*NETWORKS, *FILES, "--readme", "--list"}:
        raise SystemExit(f"no such file: {' '.join(sorted(unknown))}; --list tells which there are")
    if arguments == ["--list"]:
        for file in FILES:
            print(f"{file}: {rows[file]['instructions'] / 1e6:.1f} M" if file in rows else f"{file}: not run yet")
        return
    for name in NETWORKS if arguments != ["--readme"] else ():
        of_network = [f"{name}/{precision}" for precision in VARIANTS]
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
    except UnavailableError as error:
        raise SystemExit(str(error)) from None
