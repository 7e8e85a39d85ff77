"""Documents of a kind: found by shipped name or path, read, and judged with all their problems.

Catalogs and price books are such kinds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, TypeVar

from ..errors import CatalogError, InvalidValue, Problem
from . import _text

__all__ = ["Kind"]

Core = TypeVar("Core")


@dataclass(frozen=True)
class Kind:
    """What documents of one kind are called, and which come with the package."""

    what: str
    """In messages: `catalog`, `price book`."""
    folder: str
    shipped: tuple[str, ...]

    def find(self, source: Any) -> tuple[str, Literal["yaml", "json"], str]:
        """The text, its format and its name in messages. `source` is a name or a path."""
        if not isinstance(source, (str, os.PathLike)):
            field = self.what.replace(" ", "_")
            raise InvalidValue(field, f"expected a name or a path, got {type(source).__name__}")
        name = os.fspath(source)
        if isinstance(source, str) and name in self.shipped:
            file = resources.files("tenancy") / self.folder / f"{name}.yaml"
            return file.read_text(encoding="utf-8"), "yaml", name
        text = _text.load(name, self.shipped, self.what)
        return text, "json" if name.lower().endswith(".json") else "yaml", name

    def read(self, text: str, kind: str, source: str) -> _text.Document:
        """A document of YAML 1.2 or JSON."""
        if kind not in ("yaml", "json"):
            raise ValueError(f'format: expected "yaml" or "json", got {kind!r}')
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > _text.TEXT_BYTES_MAX:
            message = f"{size} bytes, expected at most {_text.TEXT_BYTES_MAX}"
            raise CatalogError(source, [Problem("", message, 1)], self.what)
        return _text.read(text, kind)

    def judge(
        self,
        document: _text.Document,
        parse: Callable[[str], Core | list[tuple[str, str]]],
        source: str,
        *,
        lines: bool,
    ) -> tuple[Core, str]:
        """What the engine makes of it, and its canonical JSON; else `CatalogError`.

        Where the text was readable, what it says is judged as well: all problems at once. `lines`
        says whether the document has any.
        """
        text = document.json()
        problems = list(document.problems)
        if not problems or document.value is not None:
            core: Any = parse(text)
            if not isinstance(core, list):
                if not problems:
                    return core, text
                core = []
            known = {problem.path for problem in problems}
            problems += [
                Problem(path, message, document.line(path) if lines else None)
                for path, message in core
                if path not in known
            ]
        problems.sort(key=lambda problem: problem.line or 0)
        raise CatalogError(source, problems, self.what)
