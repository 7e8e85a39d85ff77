"""A report as PDF, A4 across.

No font is shipped. DejaVu Sans is used where the system has it (most Linux distributions do), else
the PDF's own Helvetica, which has Latin-1 only. What the font lacks is shown by its number, so that
a row never loses a character silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._text import visible
from ..errors import ExtraMissing
from ._state import NOT_CONFIGURED
from ._texts import counted, cut, target, utc

if TYPE_CHECKING:
    from ..stores.records import AuditEvent
    from ._report import Outcome, Report

__all__ = ["to_pdf"]

_FONT_DIRECTORIES = (
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/usr/share/fonts/TTF",
    "/usr/local/share/fonts/dejavu",
)
_FILES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_CELL_MOST = 120
_PLAIN_MOST = 2000

_INK, _SOFT, _LINE, _GROUND = (26, 35, 48), (91, 102, 117), (216, 222, 230), (245, 247, 250)
_COLOURS = {
    "EXCEPTIONS": (163, 39, 28),
    "EXCEPTION": (163, 39, 28),
    "TAMPERED": (163, 39, 28),
    "CANNOT VERIFY": (163, 39, 28),
    "EVIDENCE": (23, 105, 60),
    "PASSED": (23, 105, 60),
    "WHOLE": (23, 105, 60),
    NOT_CONFIGURED: (138, 90, 0),
}
_READING = (
    "An exception is what a reviewer has to look at; it is not yet a failure of the control. "
    "No events means that nothing happened or that nobody wrote it down. "
    f"{NOT_CONFIGURED} marks what this engine cannot know."
)


def to_pdf(report: Report) -> bytes:
    try:
        import fpdf
    except ImportError:
        raise ExtraMissing("reports", "fpdf2") from None
    return _Pages(fpdf, report).finished()


class _Pages:
    def __init__(self, fpdf: Any, report: Report) -> None:
        self._report = report
        self._fpdf = fpdf
        self._pdf = pdf = fpdf.FPDF(orientation="landscape", format="A4")
        footer = cut(f"{report.title} {report.version} · {report.tenant['name']}", 120)
        self._font()
        pdf.footer = lambda: self._footer(footer)
        pdf.set_creation_date(report.generated)
        pdf.set_title(self._text(f"{report.title} {report.version} - {report.tenant['name']}"))
        pdf.set_margins(14, 14)
        pdf.set_auto_page_break(True, 16)
        pdf.set_draw_color(*_LINE)
        pdf.add_page()

    def finished(self) -> bytes:
        self._head()
        self._overview()
        self._state()
        self._heading("Evidence")
        for outcome in self._report.controls:
            self._control(outcome)
        return bytes(self._pdf.output())

    # ------------------------------------------------------------------------------ parts

    def _head(self) -> None:
        report = self._report
        tenant, source = report.tenant, report.source
        self._line(report.title, size=18, bold=True)
        self._line(f"Version {report.version} · evidence from the audit log", colour=_SOFT)
        self._pdf.ln(2)
        late = "" if report.range_over else " - not over when this was made"
        self._pairs(
            (
                (
                    "Tenant",
                    f"{tenant['name']} ({tenant['slug']}, {tenant['id']}), plan {tenant['plan']}, "
                    f"{tenant['status']}",
                ),
                ("Range", f"{utc(report.since)} to before {utc(report.until)}{late}"),
                ("Made", f"{utc(report.generated)} by tenancy {source.tenancy_version}"),
                ("Events", f"{source.events:,} of the tenant in the range"),
                ("Controls", ", ".join(f"{n} {name}" for name, n in report.summary.items())),
                (
                    "Font",
                    f"{self._face}. Characters it lacks are shown by number; texts of events "
                    f"are cut at {_CELL_MOST} characters. JSON has them whole.",
                ),
            )
        )
        self._pdf.ln(1)
        self._line(f"{_READING} {report.note}".strip())

    def _overview(self) -> None:
        self._heading("Controls")
        rows = []
        for one in self._report.controls:
            told = one.query is not None or bool(one.checks)
            rows.append(
                (
                    one.id,
                    one.title,
                    one.status,
                    f"{one.count:,}" if one.query else "–",
                    f"{one.exceptions:,}" if told else "–",
                )
            )
        head = ("Control", "Asks for", "Status", "Events", "Exceptions")
        self._table(head, rows, (40, 138, 37, 25, 29), right=(3, 4))

    def _state(self) -> None:
        report = self._report
        source, chain, kept = report.source, report.chain, report.retention
        self._heading("Source, chain, retention")
        records = "" if chain.records is None else f" {chain.records:,} records."
        data = f"{NOT_CONFIGURED}: the plan names no retention days"
        if kept.plan_days is not None:
            data = f"{kept.plan_days:,} days after deletion ({kept.plan_origin})"
        findings = [("Finding", f"{one['code']}: {one['text']}") for one in chain.findings[:20]]
        self._pairs(
            (
                ("Log", source.log),
                ("Chain", f"{chain.status}. {chain.text}{records}"),
                *findings,
                (
                    "Definitions",
                    f"revision {source.revision:,}, catalog {source.catalog} version "
                    f"{source.catalog_version}",
                ),
                ("Legal hold", "stands" if kept.legal_hold else "none"),
                ("Tenant's data", data),
                ("Expiry of events", kept.expiry),
                ("Not included", source.not_included),
                ("Every query", f"{report.scope} and (...)"),
            )
        )
        rows = [(one["class"], one["holds"], f"{one['days']:,}") for one in kept.classes]
        head = ("Retention class", "Holds", "Kept at least (days)")
        self._table(head, rows, (40, 179, 50), right=(2,))

    def _control(self, one: Outcome) -> None:
        pdf = self._pdf
        if pdf.will_page_break(34):
            pdf.add_page()
        pdf.ln(3)
        y = pdf.get_y()
        pdf.line(pdf.l_margin, y, pdf.w - pdf.r_margin, y)
        pdf.ln(1.5)
        self._line(f"{one.id}  {one.title}", size=10.5, bold=True)
        self._line(one.status, bold=True, colour=_COLOURS.get(one.status, _SOFT))
        if one.query is not None:
            self._line(f"{counted(one.count)}: {one.query}")
            if one.by_type:
                types = (f"{cut(name, 64)} {n:,}" for name, n in one.by_type.items())
                self._line(" · ".join(types), colour=_SOFT)
        if one.exceptions_query is not None:
            self._line(
                f"{one.exceptions_in_events:,} of them exceptions: {one.exceptions_query}. "
                f"{one.exceptions_meaning}"
            )
        for check in one.checks:
            colour = _COLOURS.get(check.status, _SOFT)
            self._line(f"{check.status}  {check.name}: {check.text}", colour=colour)
        if one.not_configured is not None:
            self._line(f"{NOT_CONFIGURED}  {one.not_configured}", colour=_COLOURS[NOT_CONFIGURED])
        self._events("Exceptions", one.exception_rows, one.exception_rows_left_off)
        self._events("Events", one.rows, one.rows_left_off)

    def _events(self, title: str, events: Sequence[AuditEvent], left_off: int) -> None:
        if not events:
            return
        more = f" - the newest {len(events):,}; {left_off:,} left off" if left_off else ""
        if self._pdf.will_page_break(16):
            self._pdf.add_page()
        self._pdf.ln(1)
        self._line(f"{title}{more}", bold=True)
        rows = [
            (
                utc(one.time),
                one.principal,
                one.type,
                one.action,
                target(one),
                one.result,
                one.id,
            )
            for one in events
        ]
        head = ("Time (UTC)", "Principal", "Type", "Action", "Resource", "Result", "Event")
        self._table(head, rows, (34, 42, 35, 38, 42, 16, 62), size=7)

    # ------------------------------------------------------------------------------ pieces

    def _heading(self, text: str) -> None:
        if self._pdf.will_page_break(56):  # not alone at the end of a page
            self._pdf.add_page()
        self._pdf.ln(5)
        self._line(text, size=13, bold=True)
        self._pdf.ln(1)

    def _line(
        self,
        text: str,
        *,
        size: float = 8.5,
        bold: bool = False,
        colour: tuple[int, int, int] = _INK,
    ) -> None:
        self._set(size, bold, colour)
        self._pdf.multi_cell(
            0, size * 0.49, self._text(text), align="L", new_x="LMARGIN", new_y="NEXT"
        )

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        for name, text in pairs:
            if self._pdf.will_page_break(10):
                self._pdf.add_page()
            self._set(8.5, False, _SOFT)
            self._pdf.cell(36, 4.4, self._text(name))
            self._set(8.5, False, _INK)
            self._pdf.multi_cell(0, 4.4, self._text(text), align="L", new_x="LMARGIN", new_y="NEXT")

    def _table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        widths: Sequence[float],
        *,
        right: Sequence[int] = (),
        size: float = 8,
    ) -> None:
        self._set(size, False, _INK)
        style = self._fpdf.FontFace(emphasis="BOLD", color=_SOFT, fill_color=_GROUND)
        coloured = {
            name: self._fpdf.FontFace(emphasis="BOLD", color=colour)
            for name, colour in _COLOURS.items()
        }
        with self._pdf.table(
            col_widths=tuple(widths),
            width=sum(widths),
            align="LEFT",
            text_align=tuple("RIGHT" if i in right else "LEFT" for i in range(len(widths))),
            borders_layout="HORIZONTAL_LINES",
            headings_style=style,
            line_height=size * 0.46,
            padding=(0.7, 1.2),
            v_align="TOP",
        ) as table:
            table.row([self._text(name) for name in head])
            for cells in rows:
                row = table.row()
                for cell in cells:
                    text = self._text(visible(cell), _CELL_MOST)
                    row.cell(text, style=coloured.get(cell))

    def _footer(self, text: str) -> None:
        pdf = self._pdf
        pdf.set_y(-11)
        self._set(7, False, _SOFT)
        pdf.cell(200, 4, self._text(text))
        pdf.cell(0, 4, f"page {pdf.page_no()} of {{nb}}", align="R")

    # ------------------------------------------------------------------------------ letters

    def _font(self) -> None:
        for directory in map(Path, _FONT_DIRECTORIES):
            if all((directory / name).is_file() for name in _FILES.values()):
                for style, name in _FILES.items():
                    self._pdf.add_font("DejaVu", style, directory / name)
                self._family, self._face = "DejaVu", "DejaVu Sans"
                self._has = frozenset(self._pdf.fonts["dejavu"].cmap)
                return
        self._family, self._face, self._has = "Helvetica", "Helvetica", frozenset(range(256))

    def _set(self, size: float, bold: bool, colour: tuple[int, int, int]) -> None:
        self._pdf.set_font(self._family, "B" if bold else "", size)
        self._pdf.set_text_color(*colour)

    def _text(self, text: str, most: int = _PLAIN_MOST) -> str:
        """What the font can show of it, cut: a row must fit a page."""
        return "".join(map(self._letter, cut(text, most)))

    def _letter(self, letter: str) -> str:
        if ord(letter) in self._has and letter.isprintable():
            return letter
        return {"–": "-", "…": "...", "‘": "'", "’": "'"}.get(letter) or f"<U+{ord(letter):04X}>"
