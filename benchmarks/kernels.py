"""Show where the time of .tflite files goes, by kind of kernel: python benchmarks/kernels.py FILE [FILE]...

Samples LiteRT on one thread with Linux ``perf``, which must be installed. Prints milliseconds per inference. The files
should contain the same network, and nothing else should run.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from keras_inception.tflite.benchmark import of_file
from keras_inception.utils import tables

RUNS = 200
FREQUENCY = 997  # samples per second
# The first pattern found in a symbol's name determines the kind.
KINDS = {
    "convolutions": r"igemm|_gemm_|conv2d",
    "depthwise convolutions": r"dwconv",
    "average pools": r"[Aa]verage_?[Pp]ool|avgpool|rdsum|rsum",
    "max pools": r"[Mm]ax_?[Pp]ool|maxpool",
    "sums, products and roots": r"_v(add|mul|div|sqrt|sqr|mulc|addc)",
    "copies": r"memcpy|memmove|_copy|transpose|x8_|x32_|pad",
}


def kernels(file: str) -> dict[str, float]:
    """Return milliseconds per inference by kind of kernel, for the rest, and in all."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "perf.data"
        command = ["perf", "record", "--quiet", "--event=cpu-clock", f"--freq={FREQUENCY}", f"--output={record}"]
        told = subprocess.run(
            [*command, *of_file(file, 1)], input=f"{RUNS}\n", capture_output=True, encoding="utf-8", check=True
        )
        took = sum(json.loads(told.stdout.splitlines()[-1])) / RUNS
        report = subprocess.run(
            ["perf", "report", f"--input={record}", "--stdio", "--sort=symbol", "--show-nr-samples"],
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout
    spent: Counter = Counter()
    for samples, symbol in re.findall(r"^ +[\d.]+% +(\d+) +\[\.\] (.+)$", report, re.MULTILINE):
        kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, symbol)), None)
        if kind:
            spent[kind] += 1000 * int(samples) / FREQUENCY / (RUNS + 1)  # one warm-up run
    return {**{kind: spent[kind] for kind in KINDS}, "the rest": took - sum(spent.values()), "all": took}


def main(files: list[str]) -> None:
    if not shutil.which("perf"):
        raise SystemExit("perf is required; Debian's package is linux-perf")
    if not files or (missing := [file for file in files if not Path(file).is_file()]):
        raise SystemExit(f"FILEs must be .tflite files. Received: {' '.join(missing) if files else 'none'}")
    found = {file: kernels(file) for file in files}
    columns = {file: tables.Column(Path(file).stem, tables.fixed(2)) for file in files}
    rows = [{"kind": kind, **{file: found[file][kind] for file in files}} for kind in found[files[0]]]
    print(tables.markdown({"kind": tables.Column("ms"), **columns}, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
