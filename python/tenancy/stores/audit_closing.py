"""A row of the log as it reads once the key of its sealed fields was destroyed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from .audit_events import EVENT_FIELDS, LogRow

__all__ = ["closed", "erased_key"]

_DECODER = json.JSONDecoder()


def closed(row: LogRow) -> LogRow:
    """The same row without what is sealed, as a reader without the key gives it."""
    if row.sealed is None:
        return row
    names: list[str] = json.loads(row.sealed)
    changes: dict[str, Any] = {name: None for name in names if name in EVENT_FIELDS}
    return row._replace(**{**changes, "rest": _without(row.rest, names)})


def erased_key(row: LogRow) -> str:
    """The key that a record of an erasure names, in hexadecimal digits."""
    return str(json.loads(row.rest or "{}").get("subject_key", ""))


def _without(rest: str | None, names: Collection[str]) -> str | None:
    """An object in RFC 8785's form without some members, the others as they are, to the byte."""
    if rest is None:
        return None
    kept = [text for name, text in _members(rest) if name not in names]
    return "{" + ",".join(kept) + "}" if kept else None


def _members(text: str) -> Iterator[tuple[str, str]]:
    start = 1
    while start < len(text) - 1:
        name, at = _DECODER.raw_decode(text, start)
        _, end = _DECODER.raw_decode(text, at + 1)
        yield name, text[start:end]
        start = end + 1
