"""A document as PDF/A-3b, A4 upright; `to_facturx` puts the XML inside.

Charges are laid out line by line, so that a text of any length goes on over the page; the head of
the table is repeated, and each page bears its number and the number of all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone, tzinfo
from os import PathLike
from typing import Any

from ..errors import ExtraMissing
from ._archive import output_intent, xmp
from ._check import Document
from ._exact import exactly
from ._fonts import FAMILY, close_fonts, load_fonts, need_shaping
from ._view import Row, View, view_of

__all__ = ["Attachment", "pages", "to_pdf"]

Attachment = tuple[str, bytes]
"""Name and content of a file inside the PDF: the XML of Factur-X."""

_INK, _SOFT, _LINE = (26, 35, 48), (91, 102, 117), (216, 222, 230)
_MARGIN, _TOP, _BOTTOM = 18.0, 18.0, 24.0
_TEXT, _SMALL, _FOOT = 8.5, 7.2, 6.5
_GAP = 4.0
_DESCRIPTION_LEAST = 56.0
_KEPT_TOGETHER = 12
"""A charge of at most so many lines is not torn between pages."""
_GROUP = re.compile("[^,. \u00a0]*[,. \u00a0]?")
_LEADING = 0.49
"""Millimetres of a line for each point of its letters."""


@exactly
def to_pdf(
    document: Document,
    *,
    language: str = "en",
    zone: str | tzinfo = "UTC",
    fonts: Sequence[str | PathLike[str]] = (),
) -> bytes:
    """An invoice or credit note as PDF (PDF/A-3b, A4).

    `language` is `en`, `de` or `fr`; `zone` the time zone in which its moments are dates. Letters
    come from DejaVu Sans of the system, those that it lacks from `fonts`: TrueType or OpenType
    files, in order. The same document and fonts give the same bytes. Needs the extra `einvoice`.

    Raises `InvalidValue` for a document whose sums or texts cannot be, and for letters that no font
    has; never shows a box in their place.
    """
    return pages(view_of(document, language, zone), document, fonts)


def pages(
    view: View,
    document: Document,
    fonts: Sequence[str | PathLike[str]],
    attachment: Attachment | None = None,
) -> bytes:
    try:
        import fpdf
    except ImportError:
        raise ExtraMissing("einvoice", "fpdf2") from None
    # Seconds: what the date of a PDF can hold.
    issued = document.issued_at.astimezone(timezone.utc).replace(microsecond=0)
    pdf = fpdf.FPDF(format="A4", enforce_compliance="PDF/A-3B")
    try:
        made = _Pages(pdf, f"fpdf2 {fpdf.FPDF_VERSION}", view, fonts, issued)
        return made.finished(document.seller.name, issued, attachment)
    finally:
        close_fonts(pdf)


def _widest(widths: Sequence[float], room: float) -> float:
    """The width that columns may have at most, so that they fill the room: the widest give way."""
    left = room
    for i, width in enumerate(sorted(widths)):
        share = left / (len(widths) - i)
        if width > share:
            return share
        left -= width
    return max(widths)


class _Pages:
    def __init__(
        self,
        pdf: Any,
        producer: str,
        view: View,
        fonts: Sequence[str | PathLike[str]],
        issued: datetime,
    ) -> None:
        self._view = view
        self._producer = producer
        self._pdf = pdf
        texts = tuple(view.texts())
        load_fonts(pdf, fonts, texts)
        if need_shaping(texts):
            pdf.set_text_shaping(True)
        pdf.set_creation_date(issued)
        pdf.set_lang(view.language.code)
        pdf.set_margins(_MARGIN, _TOP)
        pdf.c_margin = 0
        pdf.set_auto_page_break(False)
        pdf.set_draw_color(*_LINE)
        # No text stands for the number of pages: a name could hold that text.
        pdf.alias_nb_pages(None)
        pdf.add_page()
        self._widths = self._columns()

    def finished(self, author: str, issued: datetime, attachment: Attachment | None) -> bytes:
        self._top()
        self._charges()
        self._sums()
        self._taxes()
        self._blocks()
        pdf, view = self._pdf, self._view
        count = pdf.pages_count
        for page in range(1, count + 1):
            self._footer(page, count)
        output_intent(pdf)
        pdf.set_xmp_metadata(
            xmp(
                title=f"{view.kind} {view.number}",
                author=author,
                made=issued,
                producer=self._producer,
                attached=attachment[0] if attachment else None,
            )
        )
        if attachment is not None:
            name, content = attachment
            pdf.embed_file(
                bytes=content,
                basename=name,
                desc="Invoice data, EN 16931",
                mime_type="text/xml",
                associated_file_relationship="Alternative",
                creation_date=issued,
                modification_date=issued,
                compress=True,
                checksum=True,
            )
        return bytes(pdf.output())

    # ------------------------------------------------------------------------------ parts

    def _top(self) -> None:
        view, pdf = self._view, self._pdf
        self._paragraph(f"{view.kind} {view.number}", size=20, bold=True)
        pdf.ln(7)
        words, half = view.language, pdf.epw / 2
        start, ends = pdf.get_y(), []
        for i, (title, lines) in enumerate((("from", view.seller), ("to", view.buyer))):
            pdf.set_y(start)
            x, width = _MARGIN + i * half, half - (1 - i) * 8
            self._column(x, width, words[title], size=_SMALL, colour=_SOFT)
            pdf.ln(0.8)
            for j, line in enumerate(lines):
                self._column(x, width, line, size=10 if j == 0 else _TEXT, bold=j == 0)
            ends.append(pdf.get_y())
        pdf.set_y(max(ends) + 7)
        label = max(self._width(name, _TEXT) for name, _ in view.facts) + 6
        for name, value in view.facts:
            self._columns_of((name, value), (label, pdf.epw - label), (_SOFT, _INK))
        pdf.ln(6)

    def _charges(self) -> None:
        self._head(self._view.head, self._widths)
        for row in self._view.rows:
            self._charge(row)
        self._pdf.ln(3)

    def _charge(self, row: Row) -> None:
        cells = (row.description, row.quantity, row.price, row.rate, row.amount)
        lines = self._rows(cells, self._widths, _TEXT)
        details = [
            part
            for detail in row.details
            for part in self._wrap(detail, self._widths[0], _SMALL, False)
        ]
        count = len(lines) + len(details)
        height = len(lines) * _TEXT * _LEADING + len(details) * _SMALL * _LEADING + 3.2
        if count <= _KEPT_TOGETHER and not self._fits(height):
            self._next_page()
        self._pdf.ln(1.4)
        for line in lines:
            self._break_for(_TEXT)
            self._print(line, self._widths, _TEXT, _INK)
        for detail in details:
            self._break_for(_SMALL)
            self._print((detail,), self._widths[:1], _SMALL, _SOFT)
        self._pdf.ln(1.4)
        self._rule(_LINE)

    def _sums(self) -> None:
        view, pdf = self._view, self._pdf
        amount = max((self._width(one.amount, 10, True) for one in view.sums), default=0) + _GAP
        widths = (min(pdf.epw - amount, 92), amount)
        indent = pdf.epw - sum(widths)
        # Together, so that a total is never alone on a page; unless they fill one.
        if len(view.sums) <= _KEPT_TOGETHER and not self._fits(len(view.sums) * 6 + 6):
            pdf.add_page()
        for one in view.sums:
            size = 10 if one.strong else _SMALL if one.soft else _TEXT
            if one.strong:
                pdf.ln(1)
                y = pdf.get_y()
                pdf.set_draw_color(*_INK)
                pdf.line(_MARGIN + indent, y, pdf.w - _MARGIN, y)
                pdf.ln(1.6)
            colour = _SOFT if one.soft else _INK
            for line in self._rows((one.label, one.amount), widths, size, one.strong):
                if not self._fits(size * _LEADING):
                    pdf.add_page()
                self._print(line, widths, size, colour, bold=one.strong, indent=indent)
            pdf.ln(0.9)

    def _taxes(self) -> None:
        view, pdf = self._view, self._pdf
        if not view.taxes:
            return
        pdf.ln(6)
        numbers = [
            max(self._width(text, _TEXT) for text in column) + _GAP
            for column in zip(
                view.tax_head[1:], *((t.rate, t.base, t.amount) for t in view.taxes), strict=True
            )
        ]
        widths = (pdf.epw - sum(numbers), *numbers)
        if not self._fits(26):
            pdf.add_page()
        self._head(view.tax_head, widths)
        for tax in view.taxes:
            lines = self._rows((tax.label, tax.rate, tax.base, tax.amount), widths, _TEXT)
            reasons = self._wrap(tax.reason, widths[0], _SMALL, False) if tax.reason else []
            pdf.ln(1.1)
            for line in lines:
                self._break_for(_TEXT, (view.tax_head, widths))
                self._print(line, widths, _TEXT, _INK)
            for reason in reasons:
                self._break_for(_SMALL, (view.tax_head, widths))
                self._print((reason,), widths[:1], _SMALL, _SOFT)
            pdf.ln(1.1)
            self._rule(_LINE)

    def _blocks(self) -> None:
        for title, paragraphs in self._view.blocks:
            if not self._fits(18):
                self._pdf.add_page()
            self._pdf.ln(6)
            self._paragraph(title, size=_SMALL, colour=_SOFT, bold=True)
            self._pdf.ln(0.6)
            for text in paragraphs:
                self._paragraph(text)
                self._pdf.ln(0.8)

    def _footer(self, page: int, count: int) -> None:
        """Once all pages are there. A page knows no font or colour of another, and one that is
        as it was is not written: each is changed first."""
        view, pdf = self._view, self._pdf
        pdf.page = page
        pdf.set_y(-14)
        y = pdf.get_y() - 2
        pdf.set_draw_color(*_INK)
        pdf.set_draw_color(*_LINE)
        pdf.line(_MARGIN, y, pdf.w - _MARGIN, y)
        self._set(_TEXT, False, _SOFT)
        self._set(_FOOT, False, _SOFT)
        number = view.language["page"].format(page=page, pages=count)
        room = pdf.epw - pdf.get_string_width(number) - _GAP
        name = f"{view.kind} {view.number}"
        whole = f"{name} · SHA-256 {view.digest}" if view.digest else name
        fits = pdf.get_string_width(whole) <= room
        pdf.cell(room, 4, whole if fits else self._wrap(name, room, _FOOT, False)[0])
        pdf.cell(pdf.epw - room, 4, number, align="R")

    # ------------------------------------------------------------------------------ pieces

    def _columns(self) -> tuple[float, ...]:
        """Numbers get what they need, the description the rest."""
        view = self._view
        columns = zip(
            *((row.quantity, row.price, row.rate, row.amount) for row in view.rows), strict=True
        )
        texts = [set(column) for column in columns] or [set() for _ in view.head[1:]]
        needed = [
            max(self._width(text, _TEXT) for text in {*found, head}) + _GAP if head else 0.0
            for found, head in zip(texts, view.head[1:], strict=True)
        ]
        room = self._pdf.epw - _DESCRIPTION_LEAST
        if sum(needed) > room:
            most = _widest(needed, room)
            needed = [min(width, most) for width in needed]
        return (self._pdf.epw - sum(needed), *needed)

    def _head(self, names: Sequence[str], widths: Sequence[float]) -> None:
        for line in self._rows(names, widths, _SMALL, True):
            self._print(line, widths, _SMALL, _SOFT, bold=True)
        self._pdf.ln(1)
        self._rule(_INK)

    def _rule(self, colour: tuple[int, int, int]) -> None:
        pdf = self._pdf
        pdf.set_draw_color(*colour)
        pdf.line(_MARGIN, pdf.get_y(), pdf.w - _MARGIN, pdf.get_y())

    def _fits(self, height: float) -> bool:
        return bool(self._pdf.get_y() + height <= self._pdf.h - _BOTTOM)

    def _break_for(
        self, size: float, table: tuple[Sequence[str], Sequence[float]] | None = None
    ) -> None:
        if not self._fits(size * _LEADING):
            self._next_page(table)

    def _next_page(self, table: tuple[Sequence[str], Sequence[float]] | None = None) -> None:
        self._pdf.add_page()
        self._head(*(table or (self._view.head, self._widths)))
        self._pdf.ln(1.4)

    def _rows(
        self, cells: Sequence[str], widths: Sequence[float], size: float, bold: bool = False
    ) -> list[tuple[str, ...]]:
        """The lines that a row of cells needs; the first cell has no gap before it."""
        wrapped = [
            (self._wrap_number if i else self._wrap)(cell, width - (_GAP if i else 0), size, bold)
            if cell
            else [""]
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        most = max(map(len, wrapped))
        filled = [lines + [""] * (most - len(lines)) for lines in wrapped]
        return list(zip(*filled, strict=True))

    def _print(
        self,
        cells: Sequence[str],
        widths: Sequence[float],
        size: float,
        colour: tuple[int, int, int],
        *,
        bold: bool = False,
        indent: float = 0,
    ) -> None:
        self._pdf.set_x(_MARGIN + indent)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            self._set(size, bold, colour)  # of each: a text may have ended in another font
            if width:  # for a cell, 0 means all that is left of the line
                self._pdf.cell(width, size * _LEADING, cell, align="R" if i else "L")
        self._pdf.ln(size * _LEADING)

    def _columns_of(
        self,
        cells: Sequence[str],
        widths: Sequence[float],
        colours: Sequence[tuple[int, int, int]],
    ) -> None:
        """A name and what it is, both from the left."""
        wrapped = [self._wrap(c, w, _TEXT, False) for c, w in zip(cells, widths, strict=True)]
        for i in range(max(map(len, wrapped))):
            self._pdf.set_x(_MARGIN)
            for lines, width, colour in zip(wrapped, widths, colours, strict=True):
                self._set(_TEXT, False, colour)
                self._pdf.cell(width, 4.5, lines[i] if i < len(lines) else "")
            self._pdf.ln(4.5)

    def _column(
        self,
        x: float,
        width: float,
        text: str,
        *,
        size: float = _TEXT,
        bold: bool = False,
        colour: tuple[int, int, int] = _INK,
    ) -> None:
        for line in self._wrap(text, width, size, bold):
            self._set(size, bold, colour)
            self._pdf.set_x(x)
            self._pdf.cell(width, size * _LEADING + 0.2, line)
            self._pdf.ln(size * _LEADING + 0.2)

    def _paragraph(
        self,
        text: str,
        *,
        size: float = _TEXT,
        bold: bool = False,
        colour: tuple[int, int, int] = _INK,
    ) -> None:
        for line in self._wrap(text, self._pdf.epw, size, bold):
            if not self._fits(size * _LEADING):
                self._pdf.add_page()
            self._set(size, bold, colour)
            self._pdf.cell(self._pdf.epw, size * _LEADING, line)
            self._pdf.ln(size * _LEADING)

    def _wrap(self, text: str, width: float, size: float, bold: bool) -> list[str]:
        self._set(size, bold, _INK)
        if self._pdf.get_string_width(text) <= width:
            return [text]
        lines = self._pdf.multi_cell(
            width, size * _LEADING, text, align="L", dry_run=True, output="LINES"
        )
        return list(map(str, lines))

    def _wrap_number(self, text: str, width: float, size: float, bold: bool) -> list[str]:
        """Torn behind a mark alone: half of a group of digits reads as another number."""
        lines = [""]
        for group in _GROUP.findall(text):
            if lines[-1] and self._width((lines[-1] + group).rstrip(), size, bold) > width:
                lines.append("")
            lines[-1] += group
        return [part for line in lines for part in self._wrap(line.rstrip(), width, size, bold)]

    def _width(self, text: str, size: float, bold: bool = False) -> float:
        self._set(size, bold, _INK)
        return float(self._pdf.get_string_width(text))

    def _set(self, size: float, bold: bool, colour: tuple[int, int, int]) -> None:
        self._pdf.set_font(FAMILY, "B" if bold else "", size)
        self._pdf.set_text_color(*colour)
