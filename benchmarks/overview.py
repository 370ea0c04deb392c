"""Draw the README's figure and write its table, and those of networks and weights: python benchmarks/overview.py

Measures nothing: the figures are those of ``compress.json`` and ``latency.json`` in ``benchmarks/results``, and of
``keras-inception list --json``. Writes ``docs/images/overview.svg``.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from readme import ROOT, insert, kept

from keras_inception.utils import tables

PICTURE = ROOT / "docs" / "images" / "overview.svg"
SHOWN = {
    "float32": "float32",
    "float16": "float16",
    "int8": "int8",
    "slim_50_qat": "int8, half the MACs",
}
ENGINES = {
    "ours": "keras-inception",
    "plain": "TFLiteConverter",
    "onnx_runtime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
WIDTH, MARGIN, LEFT, BAR, LINE = 580, 24, 190, 14, 26
LONGEST = 200  # length of the longest bar
INK, FAINT, OURS, OTHERS, PAPER = "#1f2933", "#616e7c", "#2a8f5b", "#b9c0c8", "#fbfbfa"


class Bar(NamedTuple):
    """A bar of a chart: its name, its length, the text after it, and whether it is emphasized."""

    name: str
    value: float
    text: str
    strong: bool


def main() -> None:
    compressed, latency, networks = kept("compress"), kept("latency"), listed()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(compressed, latency), encoding="utf-8")
    insert("engines", engines_table(latency))
    insert("networks", networks_table(networks))
    insert("weights", weights_table(networks))


def listed() -> list[dict]:
    """Return what ``keras-inception list --json`` prints."""
    command = [sys.executable, "-m", "keras_inception.cli", "list", "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)


def picture(compressed: dict, latency: dict) -> str:
    """Return the sizes of one network's files and int8 latencies beside other engines', as SVG."""
    files = [
        Bar(title, row["mb"], f"{row['mb']:.1f} MB, top-1 {row['top1']:.1%}", name == "slim_50_qat")
        for name, title in SHOWN.items()
        for row in [compressed[name]]
    ]
    charts = [("One GoogLeNet in four files: size and accuracy on test images", files)]
    for case in int8(latency):
        if case["threads"] == 1 and case["ms"].keys() >= set(ENGINES):
            bars = [
                Bar(title, case["ms"][side], f"{case['ms'][side]:.1f} ms", side == "ours")
                for side, title in ENGINES.items()
            ]
            charts.append((f"{case['network']}, in int8 on one thread: milliseconds an image", bars))
    parts, top = [], MARGIN
    for title, bars in charts:
        parts += [_text(MARGIN, top + 16, title, INK, weight=600)]
        parts += list(_bars(bars, top + 32))
        top += 32 + LINE * len(bars) + 18
    height = top - 18 + MARGIN - 8
    about = "; ".join(f"{title}: " + ", ".join(f"{bar.name} {bar.text}" for bar in bars) for title, bars in charts)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14" '
        f'role="img">\n<title>{escape(about)}</title>\n'
    )
    paper = f'<rect width="{WIDTH}" height="{height}" rx="10" fill="{PAPER}"/>\n'
    return head + paper + "".join(parts) + "</svg>\n"


def _bars(bars: Sequence[Bar], top: int) -> Iterator[str]:
    longest = max(bar.value for bar in bars)
    for number, bar in enumerate(bars):
        y = top + LINE * number
        length = round(LONGEST * bar.value / longest, 1)
        weight = 600 if bar.strong else 400
        yield _text(LEFT - 10, y + 12, bar.name, INK, anchor="end", weight=weight)
        color = OURS if bar.strong else OTHERS
        yield f'<rect x="{LEFT}" y="{y}" width="{length}" height="{BAR}" rx="2" fill="{color}"/>\n'
        yield _text(LEFT + length + 8, y + 12, bar.text, INK if bar.strong else FAINT, weight=weight)


def _text(x: float, y: float, text: str, color: str, *, anchor: str = "start", weight: int = 400) -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-weight="{weight}">{escape(text)}</text>\n'


def int8(latency: dict) -> list[dict]:
    """Return the cases of ``latency.json`` in int8."""
    return [case for case in latency["cases"] if case["precision"] == "int8"]


def engines_table(latency: dict) -> str:
    """Return the milliseconds of the int8 files beside those of other engines, as Markdown."""
    sides = {side: tables.Column(title, tables.fixed(1)) for side, title in ENGINES.items()}
    columns = {"network": tables.Column("int8, ms"), "threads": tables.Column("threads"), **sides}
    return tables.markdown(columns, [{**case, **case["ms"]} for case in int8(latency)])


def networks_table(networks: Sequence[dict]) -> str:
    """Return the input, parameters and multiply-adds of every network, as Markdown."""
    columns = {
        "name": tables.Column("network"),
        "input": tables.Column("input"),
        "parameters": tables.Column("parameters", "{:,}".format),
        "macs": tables.Column("multiply-adds", "{:,}".format),
    }
    rows = [
        {**network, "name": f"`{network['name']}`", "input": "×".join(map(str, network["input"]))}
        for network in networks
    ]
    return tables.markdown(columns, rows)


def weights_table(networks: Sequence[dict]) -> str:
    """Return the published weights of every network and what they reach, as Markdown."""
    columns = {
        "name": tables.Column("network"),
        "publisher": tables.Column("publisher"),
        "top1": tables.Column("top-1", tables.fixed(1, "%")),
        "top5": tables.Column("top-5", tables.fixed(1, "%")),
        "source": tables.Column("source of the accuracy"),
        "licence": tables.Column("license"),
        "verified": tables.Column("checked", lambda verified: "yes" if verified else "no"),
    }
    rows = [
        {**weights, "name": f"`{network['name']}`", "publisher": f"`{weights['publisher']}`"}
        for network in networks
        for weights in network["weights"]
    ]
    return tables.markdown(columns, rows)


if __name__ == "__main__":
    main()
