"""The notebooks: their text runs, and what is committed beside it is made from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted((ROOT / "notebooks").glob("*.py"))
STORIES = ["audit", "billing", "forecasting", "limits_and_quotas", "quickstart", "what_if"]

every_notebook = pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """What `make notebooks` runs."""
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / ".ci/notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed(text: Path) -> nbformat.NotebookNode:
    return nbformat.read(text.with_suffix(".ipynb"), as_version=4)


def cells(book: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in book.cells]


def shown(book: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in book.cells for output in cell.get("outputs", [])]


def printed(book: nbformat.NotebookNode) -> list[str]:
    """What cells print: the same in each run, as pictures and tables need not be over releases."""
    return [output.text for output in shown(book) if output.output_type == "stream"]


def test_every_story_is_there_and_listed() -> None:
    assert [text.stem for text in TEXTS] == STORIES
    page = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
    for story in STORIES:
        assert f"[{story}]({story}.ipynb)" in page


@every_notebook
def test_the_notebook_has_the_cells_of_its_text(text: Path, maker: ModuleType) -> None:
    assert cells(committed(text)) == cells(maker.read(text)), f"make notebooks ARGS={text.stem}"


@every_notebook
def test_the_notebook_is_small_valid_and_shows_something(text: Path, maker: ModuleType) -> None:
    book = committed(text)
    nbformat.validate(book)
    assert text.with_suffix(".ipynb").stat().st_size <= maker.SIZE_MAX_BYTES
    assert not [output for output in shown(book) if output.output_type == "error"]
    assert not [output for output in shown(book) if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in shown(book))
    for cell in book.cells:
        assert cell.cell_type == "markdown" or cell.execution_count is not None


@every_notebook
def test_the_notebook_says_where_its_data_is_from(text: Path) -> None:
    opening = committed(text).cells[0].source
    assert "github.com/numenta/NAB" in opening or "github.com/Azure/AzurePublicDataset" in opening
    assert "MIT licence" in opening or "CC BY 4.0" in opening


@pytest.mark.slow
@every_notebook
def test_the_text_runs_in_a_kernel_and_prints_what_is_committed(
    text: Path, maker: ModuleType
) -> None:
    assert printed(maker.run(maker.read(text))) == printed(committed(text))


def test_a_cell_that_fails_stops_the_making(tmp_path: Path, maker: ModuleType) -> None:
    text = tmp_path / "broken.py"
    text.write_text("# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        maker.make(text)
    assert not text.with_suffix(".ipynb").exists()
