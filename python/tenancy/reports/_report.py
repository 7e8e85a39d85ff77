"""A finished report: a value, and the three forms it can take."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .._text import listed, shown
from ..errors import InvalidValue, StoreNotWritable
from ..stores.records import AuditEvent, Record
from ._state import NOT_CONFIGURED, Chain, Check, Retention

__all__ = ["FORMATS", "Outcome", "Report", "Source"]

FORMATS = ("html", "json", "pdf")


@dataclass(frozen=True)
class Source(Record):
    """Where the facts of a report come from."""

    log: str
    """Id of the log, or NOT CONFIGURED."""
    events: int
    """The tenant's events in the range."""
    revision: int
    """Of the definitions, when the report was made."""
    catalog: str
    catalog_version: str
    tenancy_version: str
    not_included: str
    """Which events are not the tenant's own."""


@dataclass(frozen=True)
class Outcome(Record):
    """One control and its evidence."""

    id: str
    title: str
    status: str
    """EXCEPTIONS, EVIDENCE, NO EVENTS or NOT CONFIGURED."""
    query: str | None
    """The population as it was run, without tenant and range."""
    count: int
    by_type: Mapping[str, int]
    exceptions_query: str | None
    """The condition on events of the population that are exceptions."""
    exceptions_meaning: str
    exceptions: int
    """Events and checks that a reviewer has to look at."""
    rows: Sequence[AuditEvent]
    """The newest of the population."""
    rows_left_off: int
    exception_rows: Sequence[AuditEvent]
    exception_rows_left_off: int
    checks: Sequence[Check]
    not_configured: str | None
    """What the engine cannot know."""

    @property
    def exceptions_in_events(self) -> int:
        """Without those of the checks."""
        return len(self.exception_rows) + self.exception_rows_left_off


@dataclass(frozen=True)
class Report(Record):
    """Evidence for a standard, of one tenant and a range of time. It is no opinion: an exception
    is what a reviewer has to look at, and no event may also mean that nobody writes them."""

    standard: str
    title: str
    version: str
    """Of the standard."""
    note: str
    tenant: Mapping[str, Any]
    """`id`, `slug`, `name`, `plan`, `status`."""
    since: datetime
    until: datetime
    """The range: `since` ≤ time < `until`."""
    generated: datetime
    range_over: bool
    """Whether the range had ended when the report was made."""
    scope: str
    """What every query is preceded by: tenant and range."""
    source: Source
    chain: Chain
    retention: Retention
    controls: Sequence[Outcome]
    rows_most: int
    """So many rows of each control are shown."""

    def control(self, id: str) -> Outcome:  # noqa: A002 - the field's name
        """The outcome of one control."""
        for outcome in self.controls:
            if outcome.id == id:
                return outcome
        raise InvalidValue("id", shown(id), remedy=f"one of {listed(c.id for c in self.controls)}")

    @property
    def summary(self) -> Mapping[str, int]:
        """How many controls have each status."""
        counts = dict.fromkeys(("EXCEPTIONS", "EVIDENCE", "NO EVENTS", NOT_CONFIGURED), 0)
        for outcome in self.controls:
            counts[outcome.status] += 1
        return counts

    def json(self) -> str:
        """All of it."""
        return json.dumps(
            {**self.as_dict(), "summary": self.summary}, ensure_ascii=False, indent=2, default=str
        )

    def html(self) -> str:
        """One page for a browser or a printer, without scripts or outside resources. Needs the
        extra `reports`."""
        from ._html import to_html

        return to_html(self)

    def pdf(self) -> bytes:
        """Pages A4. Needs the extra `reports`; long texts are cut, JSON has them whole."""
        from ._pdf import to_pdf

        return to_pdf(self)

    def render(self, format: str) -> bytes:  # noqa: A002 - the option's name
        """One of `html`, `json`, `pdf`, as bytes."""
        forms: Mapping[str, Callable[[], str | bytes]] = {
            "html": self.html,
            "json": self.json,
            "pdf": self.pdf,
        }
        if format not in forms:
            raise InvalidValue("format", shown(format), remedy=f"one of {listed(forms)}")
        made = forms[format]()
        return made.encode() if isinstance(made, str) else made

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002
        """Write it to a file, in the form that the name's ending says: whole or not at all, and
        readable by its owner only. A file of that name is replaced."""
        target = Path(path)
        form = format or target.suffix.removeprefix(".").lower()
        if form not in FORMATS:
            raise InvalidValue(
                "path",
                f"{shown(str(target))} has no ending that is a form",
                remedy=".json, .html or .pdf",
            )
        _write(target, self.render(form))
        return target


def _write(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreNotWritable(
            f"{target}: cannot be written ({error.strerror})", remedy="name another file"
        ) from None
