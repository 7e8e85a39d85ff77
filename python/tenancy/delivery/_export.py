"""A document in the form that a name says: what the command line and e-mail use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from os import PathLike
from pathlib import Path

from .._text import shown
from ..billing import Invoice, to_json
from ..errors import InvalidValue
from ..stores.whole_file import write_whole
from ._check import Document, checked
from ._cii import to_cii
from ._csv import to_csv
from ._facturx import to_facturx
from ._html import to_html
from ._pdf import to_pdf

__all__ = ["FORMATS", "Format", "Options", "export", "file_name", "save"]


@dataclass(frozen=True, slots=True)
class Options:
    """How documents are written; see `to_pdf` and `to_cii`."""

    language: str = "en"
    zone: str | tzinfo = "UTC"
    fonts: Sequence[str | PathLike[str]] = ()
    units: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A form that a document can have."""

    ending: str
    media_type: str
    write: Callable[[Document, Options], bytes]


FORMATS: Mapping[str, Format] = {
    "csv": Format("csv", "text/csv", lambda document, _: to_csv(document)),
    "facturx": Format(
        "pdf",
        "application/pdf",
        lambda document, how: to_facturx(
            document, language=how.language, zone=how.zone, fonts=how.fonts, units=how.units
        ),
    ),
    "html": Format(
        "html",
        "text/html",
        lambda document, how: to_html(document, language=how.language, zone=how.zone).encode(),
    ),
    "json": Format(
        "json", "application/json", lambda document, _: to_json(checked(document)).encode() + b"\n"
    ),
    "pdf": Format(
        "pdf",
        "application/pdf",
        lambda document, how: to_pdf(
            document, language=how.language, zone=how.zone, fonts=how.fonts
        ),
    ),
    "xml": Format(
        "xml",
        "application/xml",
        lambda document, how: to_cii(
            document, language=how.language, zone=how.zone, units=how.units
        ),
    ),
}
"""By name: `csv`, `facturx`, `html`, `json`, `pdf`, `xml` (EN 16931)."""


def export(document: Document, format: str, options: Options | None = None) -> bytes:  # noqa: A002
    """The document in one of `FORMATS`.

    Raises `InvalidValue` for another format, and what the function of that format raises.
    """
    if format not in FORMATS:
        raise InvalidValue("format", shown(format), remedy=f"one of {', '.join(FORMATS)}")
    return FORMATS[format].write(document, options or Options())


def file_name(document: Document, format: str) -> str:  # noqa: A002
    """A name for the file that is safe on every system: `invoice-2026-000042.pdf`."""
    if format not in FORMATS:
        raise InvalidValue("format", shown(format), remedy=f"one of {', '.join(FORMATS)}")
    kind = "invoice" if isinstance(document, Invoice) else "credit-note"
    number = re.sub(r"[^A-Za-z0-9._-]+", "-", document.number).strip("-.")[:100]
    return f"{kind}-{number or 'document'}.{FORMATS[format].ending}"


def save(
    document: Document,
    path: str | PathLike[str],
    format: str | None = None,  # noqa: A002
    options: Options | None = None,
) -> Path:
    """Writes the document to a file, whole or not at all, readable by its owner only.

    Without `format` the ending of the name says it; `.pdf` is then the PDF without XML. A file of
    that name is replaced. Raises what `export` raises, and `StoreNotWritable`.
    """
    target = Path(path)
    form = format or target.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        field = "path" if format is None else "format"
        raise InvalidValue(
            field,
            f"{shown(str(target) if format is None else format)} names no form",
            remedy=f"one of {', '.join(FORMATS)}",
        )
    write_whole(target, [export(document, form, options)])
    return target
