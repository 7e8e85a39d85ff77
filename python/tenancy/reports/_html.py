"""A report as one page of HTML. Every text is escaped; the page loads and runs nothing."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from .._text import visible
from ..errors import ExtraMissing
from ._texts import compact, counted, cut, target, utc

if TYPE_CHECKING:
    from ._report import Report

__all__ = ["to_html"]

_CONTEXT_MOST = 400


def to_html(report: Report) -> str:
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise ExtraMissing("reports", "jinja2") from None

    def finalize(value: Any) -> Any:
        # What macros return is markup already, made of texts that came through here.
        if isinstance(value, str) and not isinstance(value, Markup):
            return visible(value)
        return value

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        utc=utc,
        target=target,
        number=lambda value: f"{value:,}",
        events=counted,
        context=lambda event: cut(compact(event.context), _CONTEXT_MOST),
        css=lambda status: status.split(",")[0].lower().replace(" ", "-"),
    )
    source = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report)
