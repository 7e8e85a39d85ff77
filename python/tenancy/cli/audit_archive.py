"""`tenancy audit archive` and `feed`: facts elsewhere, for keeping and for searching.

`archive --check` has the exit statuses of `verify`: 0 whole, 1 changed, 3 cannot be read, 4 whole
with reservations; 2 stays usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..app import DEFAULT_PATH
from ..audit import ArchivePart, ArchiveReport, AuditEvent, check_archive
from ..errors import InvalidValue
from ..stores.bulk import json_lines
from ..stores.whole_file import write_whole
from . import _common as c

__all__ = ["add_to"]

_FORMATS = ("bulk", "ocsf", "jsonl")
_MEANING = {
    0: "whole",
    1: "CHANGED",
    3: "cannot be read",
    4: "whole, with reservations",
}
_UNREAD = 3

Options = Annotated[
    str | None,
    typer.Option(
        "--options",
        envvar="TENANCY_ARCHIVE_OPTIONS",
        help="Options of the file system, a JSON object; credentials better by the variable.",
    ),
]
Since = Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 2h ago.")]
Until = Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 1h ago.")]


def add_to(app: typer.Typer) -> None:
    """Puts the commands beside those of `audit`."""
    app.command("archive")(archive)
    app.command("feed")(feed)


def archive(
    url: Annotated[str, typer.Argument(help="A directory, s3://bucket/path, gs://bucket/path, …")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; check what is there.")
    ] = False,
    form: Annotated[str, typer.Option("--format", help="parquet or jsonl.")] = "parquet",
    since: Since = None,
    until: Until = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="To check: the line of keys/log.pub, or a file [keys/log.pub]. Once for each host."
        ),
    ] = None,
    options: Options = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Write the log into an archive: what it has not yet, or the records of a time."""
    if check:
        _check(url, key, options, data, as_json)
    with c.opened(data, as_json) as t:
        parts = t.audit.archive(
            url,
            format=form,
            since=c.parse_time(since, "--since"),
            until=c.parse_time(until, "--until"),
            storage_options=c.parse_object(options, "--options"),
        )
        if as_json:
            c.print_json([_shown(part) for part in parts])
            return
        rows = [[p.chain, p.first, p.last, p.records, p.bytes, p.name] for p in parts]
        c.print_table(("chain", "first", "last", "records", "bytes", "file"), rows)


def _shown(part: ArchivePart) -> dict[str, Any]:
    """What identifies a part; its proof is in the manifest."""
    proof = ("checkpoint", "before", "after", "public_key")
    return {name: value for name, value in part.as_dict().items() if name not in proof}


def _check(
    url: str, keys: Sequence[str] | None, options: str | None, data: str | None, as_json: bool
) -> None:
    with c.reported(as_json, failed=_UNREAD):
        report = check_archive(
            url,
            storage_options=c.parse_object(options, "--options"),
            public_key=_public_keys(keys, data),
        )
    if as_json:
        c.print_json(report)
    else:
        _print_report(report)
    raise typer.Exit(report.status)


def _public_keys(keys: Sequence[str] | None, data: str | None) -> Sequence[str] | None:
    if keys:
        return [_public_key(key) for key in keys]
    own = Path(data or DEFAULT_PATH) / "keys" / "log.pub"
    return [_public_key(str(own))] if own.is_file() else None


def _public_key(key: str) -> str:
    if key.startswith("tenancy-log/"):
        return key
    path = Path(key)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidValue("--key", f"{path}: {error}") from None


def _print_report(report: ArchiveReport) -> None:
    print(f"{report.url}: {_MEANING[report.status]}")
    if report.findings:
        names = ("status", "code", "part", "chain", "sequence", "text")
        c.print_table(names, [[finding.get(name) for name in names] for finding in report.findings])
    print(f"{report.parts} parts, {report.records} records of whole parts")


def feed(
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all, audited.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="bulk (Elasticsearch), ocsf (1.5.0) or jsonl.")
    ] = "jsonl",
    index: Annotated[str, typer.Option(help="Of a bulk: the index.")] = "tenancy-audit",
    operation: Annotated[str, typer.Option(help="Of a bulk: create or index.")] = "create",
    since: Since = None,
    until: Until = None,
    out: Annotated[Path | None, typer.Option(help="A new file; else the standard output.")] = None,
    reason: Annotated[
        str, typer.Option(help="Why you look across tenants; it is recorded.")
    ] = "tenancy audit feed",
    data: c.Data = None,
) -> None:
    """All facts of a time, newest first, a line of JSON each, for search engines and SIEMs."""
    if form not in _FORMATS:
        raise typer.BadParameter(f"--format: {form}, expected {', '.join(_FORMATS)}")
    with c.opened(data, False) as t:
        among: dict[str, Any] = {
            "since": c.parse_time(since, "--since"),
            "until": c.parse_time(until, "--until"),
            "by": c.operator(),
            "reason": reason,
        }
        if form == "bulk":
            lines = t.audit.bulk(tenant, index=index, operation=operation, **among)
        elif form == "ocsf":
            lines = _lines(t.audit.ocsf(tenant, **among))
        else:
            events: Iterator[AuditEvent] = t.audit.events(tenant, **among)
            lines = json_lines(events)
        if out is None:
            sys.stdout.writelines(lines)
        elif out.exists():
            raise InvalidValue("--out", f"{out} is there already", remedy="name another file")
        else:
            write_whole(out, (line.encode() for line in lines))


def _lines(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(event, ensure_ascii=False) + "\n" for event in events)
