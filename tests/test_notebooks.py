"""The notebooks run from top to bottom, and reproduce their stored outputs."""

import base64
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from keras_inception import datasets
from keras_inception.utils import files

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell):
    """Return what a cell printed or displayed as text."""
    printed = [output["text"] for output in cell.outputs if output.get("name") == "stdout"]
    shown = [output["data"].get("text/markdown", "") for output in cell.outputs if "data" in output]
    return "".join(printed + shown)


def figures_of(cell):
    """Return the PNG files that a cell displayed."""
    return [base64.b64decode(o["data"]["image/png"]) for o in cell.outputs if "image/png" in o.get("data", {})]


def table_of(cells, header):
    """Return the rows of the only table that begins with `header`."""
    (text,) = [text for cell in cells if (text := text_of(cell)).startswith(header)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_stored_outputs_are_complete_and_clean(name):
    cells = code_cells(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    for cell in cells:
        assert not re.search(r"(?:^|[\s'\"(=])(?:/|[A-Z]:\\)\w+[/\\]", text_of(cell)), "an absolute path"
    figures = [figure for cell in cells for figure in figures_of(cell)]
    assert figures
    assert sum(map(len, figures)) < 300_000


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return a function that runs a notebook with new parameters in a temporary folder and returns its code cells."""
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))  # use this Python's kernel, not the user's
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(name, parameters):
        notebook = read(name)
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        cell.source = parameters
        resources = {"metadata": {"path": tmp_path}}
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
        return code_cells(notebook)

    return run


@pytest.fixture
def few(tmp_path):
    """Up to twelve pictograms of each of twelve classes in each split."""
    whole = datasets.pictograms(tmp_path / "whole")
    return shutil.copytree(whole, tmp_path / "few", ignore=lambda folder, names: sorted(names)[12:])


FEW = """
EPOCHS = 1
datasets.pictograms = lambda folder: Path("few")
"""


@pytest.mark.full
def test_googlenet_from_the_paper_to_the_phone(execute, few):
    cells, kept = execute("01_googlenet.ipynb", FEW), code_cells(read("01_googlenet.ipynb"))

    training = next(index for index, cell in enumerate(cells) if "train(" in cell.source)
    assert [text_of(cell) for cell in cells[:training]] == [text_of(cell) for cell in kept[:training]]
    assert "| 1 |" in text_of(cells[training])
    assert re.search(r"144 test images: top-1 \d+\.\d%", "".join(map(text_of, cells)))
    assert [len(figures_of(cell)) for cell in cells] == [len(figures_of(cell)) for cell in kept]


SMALL = """
FOLDER = Path("made")
PICTURES, EPOCHS, SIZE = "few", 1, 32
for name in ("3b", "4a", "4b", "4c", "4d", "4e", "5b"):
    del MODULES[name]  # leaves two modules, which take a fifth of the time
"""


@pytest.mark.full
def test_a_network_compressed_step_by_step(execute, few, tmp_path):
    cells, kept = execute("02_compress.ipynb", SMALL), code_cells(read("02_compress.ipynb"))

    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert [len(figures_of(cell)) for cell in cells] == [len(figures_of(cell)) for cell in kept]
    for header in ("| step |", "| file |"):
        shown, before = (table_of(each, header) for each in (cells, kept))
        assert [row[:1] for row in shown] == [row[:1] for row in before]
        assert all(float(cell) > 0 for row in shown for cell in row[-2:]), "times"
    assert len(shown) == 7
    text = "".join(map(text_of, cells))
    assert 40 < float(re.search(r"([\d.]+)% of the multiply-adds", text)[1]) <= 50
    assert len(set(re.search(r"([\d,]+) multiply-adds, as ([\d,]+)", text).groups())) == 1
    assert "\nrewritten " in text

    rows = files.read_json(tmp_path / "made" / "compressed" / "compression_report.json")
    source, slim, prune, quantize = rows
    assert [row["step"] for row in rows] == [name for name, *_ in table_of(cells, "| step |")]
    assert all(row["macs"] <= 0.5 * source["macs"] for row in (slim, prune, quantize))
    assert source["sparsity"] < 0.2
    assert min(prune["sparsity"], quantize["sparsity"]) >= 0.45
    assert max(prune["gzip_mb"], quantize["gzip_mb"]) < slim["gzip_mb"] < source["gzip_mb"]
