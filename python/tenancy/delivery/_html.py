"""A document as one page of HTML. Every text is escaped; the page loads and runs nothing."""

from __future__ import annotations

import functools
from datetime import tzinfo
from importlib import resources
from typing import Any

from ..errors import ExtraMissing
from ._check import Document
from ._exact import exactly
from ._view import view_of

__all__ = ["to_html"]


@exactly
def to_html(document: Document, *, language: str = "en", zone: str | tzinfo = "UTC") -> str:
    """An invoice or credit note as one page of HTML 5, ready to be shown or printed.

    `language` is `en`, `de` or `fr`; `zone` the time zone in which its moments are dates. The page
    holds its style, no script, and asks for nothing over the network; every text is escaped. The
    same document gives the same bytes. Needs the extra `einvoice`.

    Raises `InvalidValue` for a document whose sums or texts cannot be, naming the field.
    """
    return str(_template().render(view=view_of(document, language, zone)))


@functools.cache
def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise ExtraMissing("einvoice", "jinja2") from None
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source = resources.files(__package__).joinpath("document.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)
