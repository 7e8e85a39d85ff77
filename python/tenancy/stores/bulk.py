"""Audit facts in the bulk form of Elasticsearch and OpenSearch.

Each fact is two lines of JSON: what to do, then the document (`POST /_bulk`, Content-Type
application/x-ndjson). The document's id is the fact's, so that sending one again adds nothing:
`create` answers 409 for it, `index` writes the same once more. `@timestamp` and `create` are what
data streams ask for. Nothing here speaks to a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .._audit_proofs import canonical
from .._text import shown
from ..errors import InvalidValue
from .records import AuditEvent

__all__ = ["bulk_lines", "check_bulk", "json_lines"]

OPERATIONS = ("create", "index")
_INDEX = re.compile(r"[a-z0-9.][a-z0-9._+-]*")


def check_bulk(index: str, operation: str) -> None:
    """The rules for names of indices are those of Elasticsearch's create index API."""
    good = isinstance(index, str) and _INDEX.fullmatch(index) and index not in (".", "..")
    if not good or len(index) > 255:
        remedy = "1 to 255 of a-z, 0-9, '.', '_', '+' and '-', the first one a letter or digit"
        raise InvalidValue("index", f"{shown(index)} is no name of an index", remedy=remedy)
    if operation not in OPERATIONS:
        raise InvalidValue("operation", shown(operation), remedy="create or index")


def bulk_lines(events: Iterable[AuditEvent], index: str, operation: str) -> Iterator[str]:
    """Two lines for each event, each with its newline: joined, they are the body of a request."""
    for event in events:
        yield canonical({operation: {"_id": event.id, "_index": index}}) + "\n"
        yield canonical(_document(event)) + "\n"


def json_lines(events: Iterable[AuditEvent]) -> Iterator[str]:
    """One line for each event, with its newline."""
    return (canonical(event.as_dict()) + "\n" for event in events)


def _document(event: AuditEvent) -> dict[str, Any]:
    body = event.as_dict()
    return {"@timestamp": body.pop("time"), **body}
