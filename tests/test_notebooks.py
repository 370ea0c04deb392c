"""The notebooks run from top to bottom, and what is kept in them is what they give."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell):
    """What a cell printed or showed as text."""
    printed = [output["text"] for output in cell.outputs if output.get("name") == "stdout"]
    shown = [output["data"].get("text/markdown", "") for output in cell.outputs if "data" in output]
    return "".join(printed + shown)


def figures_of(cell):
    """The PNG files that a cell showed."""
    return [base64.b64decode(o["data"]["image/png"]) for o in cell.outputs if "image/png" in o.get("data", {})]


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_the_outputs_that_are_kept_are_whole_and_clean(name):
    cells = code_cells(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    for cell in cells:
        assert not re.search(r"(?:^|[\s'\"(=])(?:/|[A-Z]:\\)\w+[/\\]", text_of(cell)), "an absolute path"
    figures = [figure for cell in cells for figure in figures_of(cell)]
    assert figures
    assert sum(map(len, figures)) < 300_000


def test_googlenet_from_the_paper_to_the_phone(tmp_path, monkeypatch):
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))  # whatever kernels a user has: this Python's
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook, kept = read("01_googlenet.ipynb"), code_cells(read("01_googlenet.ipynb"))
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = "EPOCHS = 1"

    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    cells = code_cells(notebook)
    training = next(index for index, cell in enumerate(cells) if "train(" in cell.source)
    assert [text_of(cell) for cell in cells[:training]] == [text_of(cell) for cell in kept[:training]]
    assert "| 1 |" in text_of(cells[training])
    assert re.search(r"1202 test pictures: top-1 \d+\.\d%", "".join(map(text_of, cells)))
    assert [len(figures_of(cell)) for cell in cells] == [len(figures_of(cell)) for cell in kept]
