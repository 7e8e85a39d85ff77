"""`tenancy bills export`: an issued document as a page, a table or data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..billing import CreditNote, Invoice
from ..delivery import FORMATS, Options, export, file_name, save
from ..errors import InvalidValue
from . import _common as c

__all__ = ["bills_export", "export_document"]

Format = Annotated[
    str | None,
    typer.Option("--format", help=f"{', '.join(FORMATS)} [by the ending of --output]."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write, or a directory; replaced.")
]
Language = Annotated[str, typer.Option(help="en, de or fr.")]
Zone = Annotated[str, typer.Option(help="Time zone in which moments become dates.")]
Font = Annotated[
    list[Path] | None,
    typer.Option(help="A font file for letters that DejaVu Sans lacks; may be repeated."),
]


def bills_export(
    number: Annotated[str, typer.Argument(help="Number of an invoice or a credit note.")],
    format: Format = None,  # noqa: A002 - the option's name
    output: Output = None,
    language: Language = "en",
    zone: Zone = "UTC",
    font: Font = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """A document as PDF, HTML, CSV, JSON, XML of EN 16931 or Factur-X.

    What is text goes to the standard output unless --output names a file. HTML and PDF need the
    extra `einvoice`.
    """
    with c.opened(data, as_json) as t:
        export_document(
            t.billing.document(number),
            format=format,
            output=output,
            language=language,
            zone=zone,
            fonts=font,
            as_json=as_json,
        )


def export_document(
    document: Invoice | CreditNote,
    *,
    format: str | None,  # noqa: A002 - the option's name
    output: Path | None,
    language: str,
    zone: str,
    fonts: list[Path] | None,
    as_json: bool,
) -> None:
    """Writes the document to a file, or to the standard output what is text."""
    if format is not None and format not in FORMATS:
        raise InvalidValue("--format", repr(format), remedy=f"one of {', '.join(FORMATS)}")
    how = Options(language=language, zone=zone, fonts=tuple(fonts or ()))
    if output is None:
        chosen = format or "json"
        if FORMATS[chosen].media_type == "application/pdf":
            raise InvalidValue("--format", "a PDF is no text", remedy="name a file with --output")
        sys.stdout.write(export(document, chosen, how).decode())
        return
    if output.is_dir():
        output = output / file_name(document, format or "pdf")
        format = format or "pdf"  # noqa: A001
    written = save(document, output, format, how)
    if as_json:
        c.print_json({"output": str(written), "number": document.number})
    else:
        print(f"{written}: {document.number}")
