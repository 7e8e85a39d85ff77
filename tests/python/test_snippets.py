"""The Python examples of the documentation run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```python[ ]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    candidates = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [page for page in candidates if page.is_file()]
    return [page for page in found if FENCE.search(page.read_text(encoding="utf-8"))]


def program(page: Path) -> str:
    """All blocks of a page as one program; line numbers stay those of the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for offset, line in enumerate(block.group(1).splitlines()):
            lines[first + offset] = line
    return "\n".join(lines) + "\n"


def test_the_readme_has_examples() -> None:
    assert ROOT / "README.md" in pages()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_run(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.md.py"
    script.write_text(program(page), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", str(script)],
        cwd=empty,
        env={**os.environ, "TENANCY_DATA": str(empty / "tenancy-data")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{page.relative_to(ROOT)}:\n{done.stdout}{done.stderr}"
