"""Tables for a spreadsheet (RFC 4180), in which no text becomes a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from .._text import shown, to_json, visible
from ..billing import Invoice
from ..errors import InvalidValue
from ._check import Document, checked, lines_net
from ._exact import exactly

__all__ = ["EVENT_COLUMNS", "LINE_COLUMNS", "events_to_csv", "to_csv"]

LINE_COLUMNS: tuple[str, ...] = (
    "number",
    "line",
    "kind",
    "description",
    "metric",
    "plan",
    "price_book",
    "price_version",
    "period_start",
    "period_end",
    "quantity",
    "unit",
    "unit_price",
    "amount",
    "discount",
    "credit",
    "net",
    "tax_category",
    "tax_rate",
    "tax",
    "currency",
    "events",
)
"""Columns of `to_csv`. A credit note has no amounts before discounts, and no usage; its `credit` is
what goes back to the credits that paid."""

EVENT_COLUMNS: tuple[str, ...] = (
    "tenant",
    "metric",
    "source",
    "id",
    "time",
    "quantity",
    "properties",
)
"""Columns of `events_to_csv` unless others are named."""

# What spreadsheets take for the beginning of a formula, its full-width forms included. Where the
# separator is a semicolon, as in most of Europe, they tear fields at semicolons and line breaks.
_FORMULA = re.compile("(^|[;\n])([ \u00a0]*[=+@＝＋－＠-])")


@exactly
def to_csv(document: Document) -> bytes:
    """The lines of an invoice or credit note as CSV: UTF-8, a head, CRLF, `LINE_COLUMNS`.

    Numbers have all their digits and a point; moments are UTC. A text that a spreadsheet would take
    for a formula has an apostrophe before it, and what cannot be seen is shown by its number.
    """
    checked(document)
    rows: Iterable[Mapping[str, Any]]
    if isinstance(document, Invoice):
        nets = lines_net(document)
        rows = (
            {
                "number": document.number,
                "line": i,
                "kind": line.kind,
                "description": line.description,
                "metric": line.metric,
                "plan": line.plan,
                "price_book": line.price_book,
                "price_version": line.price_version,
                "period_start": line.period.start,
                "period_end": line.period.end,
                "quantity": line.quantity,
                "unit": line.unit,
                "unit_price": line.unit_price,
                "amount": line.amount,
                "discount": line.discount,
                "credit": line.credit,
                "net": net.net,
                "tax_category": line.tax_category,
                "tax_rate": line.tax_rate,
                "tax": line.tax,
                "currency": document.bill.currency,
                "events": line.events.events if line.events else None,
            }
            for i, (line, net) in enumerate(zip(document.bill.lines, nets, strict=True), 1)
        )
    else:
        rows = (
            {
                "number": document.number,
                "line": line.line + 1,
                "kind": "credit_note",
                "description": line.description,
                "credit": line.credit,
                "net": line.net,
                "tax_category": line.tax_category,
                "tax_rate": line.tax_rate,
                "tax": line.tax,
                "currency": document.currency,
            }
            for line in document.lines
        )
    return b"".join(events_to_csv(rows, LINE_COLUMNS))


def events_to_csv(events: Iterable[Any], columns: Sequence[str] = EVENT_COLUMNS) -> Iterator[bytes]:
    """Usage events, or any rows, as CSV in parts: the detail behind a line of an invoice.

    `events` are mappings, or objects with the columns as attributes; they are read one by one, so
    that millions of them need no memory. Values may be text, numbers, `Decimal`s, aware datetimes,
    mappings (as JSON), None. Form and safety are those of `to_csv`.

    Raises `InvalidValue` for a float, which is no exact quantity, and for a moment without a zone.
    """
    yield _written([[_safe(name) for name in columns]])
    part: list[list[str]] = []
    for event in events:
        part.append([_cell(_value(event, name), name) for name in columns])
        if len(part) >= 1000:
            yield _written(part)
            part = []
    if part:
        yield _written(part)


def _value(event: Any, name: str) -> Any:
    return event.get(name) if isinstance(event, Mapping) else getattr(event, name, None)


def _written(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        if isinstance(value, Decimal) and not value.is_finite():
            raise InvalidValue(name, f"{value} is no number")
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidValue(name, f"{shown(value)} has no time zone")
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return _safe(to_json(value, name) or "")
    if isinstance(value, str):
        return _safe(value)
    raise InvalidValue(
        name,
        f"cannot write {shown(value)}",
        remedy="text, int, Decimal, datetime or a mapping; str(value) for a float",
    )


def _safe(text: str) -> str:
    # Line breaks are quoted by the writer; other marks that nobody sees are shown.
    clear = "\n".join(map(visible, text.splitlines())) if not text.isprintable() else text
    return _FORMULA.sub(r"\1'\2", clear)
