"""The PDF that a person reads with the XML that a program reads inside: Factur-X 1.0, ZUGFeRD 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from os import PathLike

from ._check import Document
from ._cii import to_cii
from ._exact import exactly
from ._pdf import pages
from ._view import view_of

__all__ = ["XML_NAME", "to_facturx"]

XML_NAME = "factur-x.xml"
"""What Factur-X calls the file inside."""


@exactly
def to_facturx(
    document: Document,
    *,
    language: str = "en",
    zone: str | tzinfo = "UTC",
    fonts: Sequence[str | PathLike[str]] = (),
    units: Mapping[str, str] | None = None,
) -> bytes:
    """A hybrid invoice or credit note: `to_pdf` with `to_cii` attached as `factur-x.xml`.

    PDF/A-3b with the metadata of Factur-X 1.0, profile EN 16931; both halves are made from the same
    document. The same document and fonts give the same bytes. Needs the extra `einvoice`.

    Raises what `to_pdf` and `to_cii` raise.
    """
    content = to_cii(document, language=language, zone=zone, units=units)
    return pages(view_of(document, language, zone), document, fonts, (XML_NAME, content))
