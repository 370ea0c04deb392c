"""Compare the latency of exported networks with other engines: python benchmarks/latency.py [--runs N]

Times GoogLeNet and Inception v3, float32 and int8, one image at a time: our export in LiteRT, a plain TFLiteConverter
file of the network, ONNX Runtime, OpenVINO and PyTorch, each in a process of its own, in turns. Nothing else may run.
Writes ``benchmarks/results/latency.json`` and updates its table in the documentation.
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from circumstances import circumstances
from exports import converted
from peers import CACHE, environment
from readme import insert, keep

from keras_inception import registry
from keras_inception.tflite.benchmark import Stopwatch, of_file, take_turns
from keras_inception.utils import tables

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "engine-requirements.txt"


class Network(NamedTuple):
    """A network to time.

    Attributes:
        name: name in the registry.
        options: arguments of the network.
        peer: name of the network in the other engines.
        plain: arguments that differ for the plain conversion.
        beside: title of another network to time next to it.
    """

    name: str
    options: dict
    peer: str | None = None
    plain: dict | None = None
    beside: str | None = None


NETWORKS = {
    "GoogLeNet, batch norm": Network("googlenet", {"normalization": "batch_norm"}, "googlenet"),
    "GoogLeNet, the paper's": Network(
        "googlenet", {}, plain={"normalization": "lrn_builtin"}, beside="GoogLeNet, batch norm"
    ),
    "Inception v3": Network("inception_v3", {}, "inception_v3"),
}
ENGINES = {"float32": ("onnx_runtime", "openvino", "pytorch"), "int8": ("onnx_runtime", "openvino")}
PEERS = {
    "plain": "TFLiteConverter",
    "onnx_runtime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "pytorch": "PyTorch",
    "beside": "batch norm",
}
COLUMNS = {
    "network": tables.COLUMNS["network"],
    "precision": tables.Column("precision"),
    "threads": tables.Column("threads"),
    "ours": tables.Column("ours, ms", tables.fixed(1)),
    **{side: tables.Column(f"to {title}", tables.fixed(2)) for side, title in PEERS.items()},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine-env", type=Path, default=CACHE / "engines", help="created if it does not exist")
    parser.add_argument("--runs", type=int, default=60, help="runs per side; 0 only converts")
    parser.add_argument("--files", type=Path, help="folder of our converted files, created if they do not exist")
    arguments = parser.parse_args()
    python = environment(arguments.engine_env, REQUIREMENTS)
    cases, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: files_of(arguments.files or Path(folder), name, network) for name, network in NETWORKS.items()}
        if not arguments.runs:
            return
        for name, network in NETWORKS.items():
            for precision, engines in ENGINES.items():
                for threads in (1, 2):
                    watched = {side: of_file(files[name][side, precision], threads) for side in ("ours", "plain")}
                    if network.beside:
                        watched["beside"] = of_file(files[network.beside]["ours", precision], threads)
                    for engine in engines if network.peer else ():
                        told = (python, HERE / "engine.py", engine, network.peer, precision, threads)
                        watched[engine] = list(map(str, told))
                    times, told = measured(watched, arguments.runs)
                    cases.append({"network": name, "precision": precision, "threads": threads, "ms": times})
                    versions |= told
                    print(name, precision, threads, times, file=sys.stderr, flush=True)
    command = f"python benchmarks/latency.py --runs {arguments.runs}"
    result = {"command": command, **circumstances(), "versions": versions, "cases": cases}
    keep("latency", result)
    insert("latency", table(result))
    print(table(result))


def files_of(folder: Path, name: str, network: Network) -> dict[tuple[str, str], Path]:
    """Return the files of a network with random weights, ours and the plain converter's, by (side, precision)."""
    sides = {"ours": (network.options, None), "plain": (network.options | (network.plain or {}), [])}
    files = {(side, precision): folder / f"{name}_{side}_{precision}.tflite" for side in sides for precision in ENGINES}
    if all(path.exists() for path in files.values()):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    for side, (options, rewrites) in sides.items():
        model = registry.create(network.name, **options)
        converted(model, {precision: files[side, precision] for precision in ENGINES}, rewrites)
    return files


def measured(commands: dict[str, list[str]], runs: int) -> tuple[dict[str, float], dict[str, str]]:
    """Return the median milliseconds of each side, and the versions of the sides that report one."""
    with ExitStack() as stack:
        watches = {side: stack.enter_context(Stopwatch(command)) for side, command in commands.items()}
        take_turns(list(watches.values()), runs)
    times = {side: round(statistics.median(watch.times), 3) for side, watch in watches.items()}
    return times, {side: watch.told["version"] for side, watch in watches.items() if "version" in watch.told}


def table(result: dict) -> str:
    """Return the result as Markdown: our milliseconds, and their ratio to the others'."""
    rows = []
    for case in result["cases"]:
        ours = case["ms"]["ours"]
        rows.append({**case, **{side: ours / ms for side, ms in case["ms"].items()}, "ours": ours})
    return tables.markdown(COLUMNS, rows)


if __name__ == "__main__":
    main()
