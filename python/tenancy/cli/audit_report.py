"""`tenancy audit report`: evidence for a standard."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidValue
from ..reports import FORMATS, STANDARDS, Report
from . import _common as c

__all__ = ["report"]

_NAMES = ", ".join(STANDARDS)


def report(
    tenant: c.Tenant,
    standard: Annotated[str, typer.Option(help=f"One of {_NAMES}.")],
    since: Annotated[str, typer.Option(help="ISO 8601 time, or such as 90d ago.")],
    until: Annotated[
        str | None, typer.Option(help="ISO 8601 time, or such as 1d ago [now].")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help=f"{', '.join(FORMATS)} [by the ending of --output].")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; replaced.")] = None,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="Events shown per control.")] = 20,
    key: Annotated[
        Path | None, typer.Option(help="The log's verification key, if it is not on the host.")
    ] = None,
    anchor: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint kept elsewhere; may be repeated.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Evidence for SOC 2, HIPAA, GDPR or PCI DSS: controls, counts, exceptions.

    Without --output and --format it prints a summary, with --json all of it. HTML and PDF need
    the extra `reports`.
    """
    with c.opened(data, as_json) as t:
        _check(format, output)
        if key is not None and not key.is_file():
            raise InvalidValue("--key", f"{key}: no such file", remedy="name the moved key")
        start, end = c.parse_time(since, "--since"), c.parse_time(until or "0s", "--until")
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        made = t.audit.report(
            tenant,
            standard,
            start,
            end,
            rows=rows,
            by=c.operator(),
            key=key,
            anchors=[_read(path) for path in anchor or ()],
        )
        if output is not None:
            made.save(output, format)
            _say_saved(made, output, as_json)
        elif format is not None:
            sys.stdout.write(made.render(format).decode())
        elif as_json:
            print(made.json())
        else:
            _print_summary(made)


def _check(format: str | None, output: Path | None) -> None:  # noqa: A002
    """Before anything is written down: could the report be put where it should?"""
    if format is not None and format not in FORMATS:
        raise InvalidValue("--format", repr(format), remedy=f"one of {', '.join(FORMATS)}")
    if output is None and format == "pdf":
        raise InvalidValue("--format", "a PDF is no text", remedy="name a file with --output")
    if output is not None and format is None and output.suffix.lower()[1:] not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InvalidValue("--output", str(output), remedy=f"end it in {endings}, or use --format")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text"
        remedy = "name the file of a checkpoint"
        raise InvalidValue("--anchor", f"{path}: {why}", remedy=remedy) from None


def _say_saved(made: Report, output: Path, as_json: bool) -> None:
    if as_json:
        c.print_json({"output": str(output), "standard": made.standard, **_counts(made)})
    else:
        print(f"{output}: {made.title} {made.version}, {made.source.events:,} events")


def _counts(made: Report) -> dict[str, object]:
    return {"events": made.source.events, "summary": made.summary}


def _print_summary(made: Report) -> None:
    rows = [
        (
            one.id,
            one.title,
            one.status,
            one.count if one.query else None,
            one.exceptions if one.query or one.checks else None,
        )
        for one in made.controls
    ]
    title = (
        f"{made.title} {made.version}: {made.tenant['name']}, {c.show(made.since)} to before "
        f"{c.show(made.until)}, {made.source.events:,} events, chain {made.chain.status}"
    )
    c.print_table(("control", "asks for", "status", "events", "exceptions"), rows, title=title)
