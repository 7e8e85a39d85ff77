"""Makes notebooks/*.ipynb from their text: runs each in a kernel and keeps what it shows.

    python .ci/notebooks.py            all of them
    python .ci/notebooks.py billing one

The text, notebooks/*.py in the percent format, is what is edited and reviewed.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SIZE_MAX_BYTES = 150_000
_TIMEOUT_S = 300
_COLOURS = 64


def read(text: Path) -> nbformat.NotebookNode:
    """The notebook of a text, without outputs; the same text gives the same cells and ids."""
    book = jupytext.read(text)
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    return book


def run(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run every cell in a new kernel and an empty directory; raises at the first that fails."""
    with tempfile.TemporaryDirectory() as empty:
        NotebookClient(
            book,
            timeout=_TIMEOUT_S,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],  # it warns of its port, which is of this host
            record_timing=False,
            coalesce_streams=True,  # what is printed, however it arrives
            resources={"metadata": {"path": empty}},
        ).execute(env={**os.environ, "TMPDIR": empty})
    # What the kernel says of itself changes with its release.
    book.metadata["language_info"] = {"name": "python"}
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = _smaller(data["image/png"])
    return book


def _smaller(png: str) -> str:
    """The same picture in at most 64 colours, a third of the bytes: charts have few."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    few.save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode() + "\n"


def make(text: Path) -> None:
    """Write the notebook beside its text."""
    written = nbformat.writes(run(read(text))) + "\n"
    size = len(written.encode())
    if size > SIZE_MAX_BYTES:
        sys.exit(
            f"{text.name}: the notebook has {size:,} bytes; at most {SIZE_MAX_BYTES:,}: show less"
        )
    text.with_suffix(".ipynb").write_text(written, encoding="utf-8")
    print(f"{text.stem:20} {size:>9,} bytes")


if __name__ == "__main__":
    wanted = [NOTEBOOKS / f"{name}.py" for name in sys.argv[1:]]
    for one in wanted or sorted(NOTEBOOKS.glob("*.py")):
        make(one)
