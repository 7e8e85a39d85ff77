"""`tenancy audit verify`, `checkpoint`, `prove`, `check`, `export`, `rebuild`, `erase`, `key`.

`verify` has exit statuses of its own: 0 whole, 1 tampered, 3 cannot be verified, 4 whole with
reservations (no anchor was given, or a torn tail was repaired); 2 stays usage.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from .._audit_proofs import EXPORT
from ..anchors import anchor_from_url
from ..app import DEFAULT_PATH
from ..audit import check_export, check_receipt
from ..errors import InvalidValue, NotFound, ProofInvalid
from ..stores.anchors import Anchor, split_notes
from ..stores.audit_verify import AuditReport, verify_log
from ..stores.whole_file import write_whole
from . import _common as c

__all__ = ["add_to"]

_MEANING = {
    0: "whole",
    1: "TAMPERED",
    3: "cannot be verified",
    4: "whole, with reservations",
}
_UNVERIFIED = 3
_RECEIPT_BYTES = 8 << 20

key_app = c.make_app("The verification key of the log.")


def add_to(app: typer.Typer) -> None:
    """Puts the commands beside those of `audit`."""
    for command in (verify, checkpoint, prove, check, export, rebuild, erase):
        app.command(command.__name__)(command)
    app.add_typer(key_app, name="key")


def verify(
    directory: Annotated[
        Path | None, typer.Argument(help="A data directory, or its log/ copied elsewhere.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The verification key [keys/log.verify].")
    ] = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option(help="A file with checkpoints, or the URL of an anchor; may be repeated."),
    ] = None,
    until_now: Annotated[
        bool, typer.Option("--until-now", help="Also judge whether the log is silent now.")
    ] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Verify the log, offline: nothing is opened or written."""
    with c.reported(as_json, failed=_UNVERIFIED):
        place = directory or Path(data or DEFAULT_PATH)
        whole = (place / "log").is_dir()
        log, root = (place / "log", place) if whole else (place, place.parent)
        own = root / "keys" / "log.verify"
        report = verify_log(
            log,
            own if key is None else key,
            [one for given in anchor or () for one in _anchor(given)],
            now_ns=time.time_ns() if until_now else 0,
            host_key=own if whole else None,
            projection=root / "audit.sqlite" if whole else None,
            keys=root / "keys" if whole else None,
        )
    if as_json:
        c.print_json({**report.as_dict(), "first": report.first})
    else:
        _print_report(log, report)
    raise typer.Exit(report.status)


def _print_report(log: Path, report: AuditReport) -> None:
    print(f"{log}: {_MEANING.get(report.status, report.status)}")
    chains = report.chains.items()
    c.print_table(
        ("chain", "records", "events", "segments", "stubs", "tenants"),
        [
            [n, x["records"], x["events"], x["segments"], x["stubs"], x["tenants"]]
            for n, x in chains
        ],
    )
    if report.findings:
        names = ("status", "code", "class", "sequence", "segment", "offset", "text")
        c.print_table(names, [[finding.get(name) for name in names] for finding in report.findings])
    print(
        f"{report.checkpoints} checkpoints, {report.anchors} anchors; "
        f"projection: {report.projection}"
    )


def checkpoint(
    out: Annotated[Path | None, typer.Option(help="A new file for the note.")] = None,
    to: Annotated[
        str | None,
        typer.Option(help="An anchor: file:/…, postgresql://…, https://…, command:…"),
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Sign where the log is now. Keep the note off the host: `verify --anchor` takes it."""
    with c.opened(data, as_json) as t:
        note = t.audit.checkpoint(to=to)
        if out is not None:
            _write_new(out, note)
    if as_json:
        c.print_json({"checkpoint": note})
    elif out is None and to is None:
        print(note, end="")


def prove(
    tenant: c.Tenant,
    event: Annotated[str, typer.Argument(help="The event's id.")],
    out: Annotated[Path | None, typer.Option(help="A new file for the receipt.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """A receipt of one event, in JSON, which `check` checks with the public key alone."""
    with c.opened(data, as_json) as t:
        receipt = t.audit.prove(tenant, event)
        if out is None:
            c.print_json(receipt)
        else:
            _write_new(out, c.json_text(receipt) + "\n")
            c.print_record({"receipt": str(out)}, as_json)


def check(
    document: Annotated[Path, typer.Argument(help="A receipt, or an export.")],
    key: Annotated[str, typer.Option(help="The line of keys/log.pub, or a file with it.")],
    tenant: Annotated[str | None, typer.Option(help="The tenant's id that it must be of.")] = None,
    as_json: c.Json = False,
) -> None:
    """Check a receipt or an export with the log's public key alone. Status 1: it proves nothing."""
    with c.reported(as_json):
        public_key = key if key.startswith("tenancy-log/") else _text(Path(key), "--key")
        _text(document, "document", most=1)
        with document.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(_RECEIPT_BYTES)
            file.seek(0)
            if _is_export(first):
                found: dict[str, Any] = check_export(file, public_key, tenant=tenant)
            else:
                found = _checked_receipt(file.read(_RECEIPT_BYTES), public_key, tenant)
        c.print_record({"proven": True, **(found if as_json else _readable(found))}, as_json)


def _readable(found: dict[str, Any]) -> dict[str, Any]:
    """With the time as people read it, where it stood in nanoseconds."""
    moment = datetime.fromtimestamp(int(found["time_ns"]) / 1e9, timezone.utc)
    return {"time": moment, **{name: value for name, value in found.items() if name != "time_ns"}}


def _is_export(line: str) -> bool:
    """Its first line is an object by itself; a receipt is one object, on however many lines."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("format") == EXPORT


def _checked_receipt(text: str, public_key: str, tenant: str | None) -> dict[str, Any]:
    event = check_receipt(text, public_key)
    if tenant is not None and event["tenant"] != tenant:
        raise ProofInvalid(f"an event of tenant {event['tenant']!r}")
    return event


def export(
    tenant: c.Tenant,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """All events of one tenant with their proofs, one JSON object per line."""
    with c.opened(data, as_json) as t:
        events = t.audit.export(tenant, path)
        c.print_record({"events": events, "file": str(path)}, as_json)


def rebuild(data: c.Data = None, as_json: c.Json = False) -> None:
    """Make the table that is searched anew from the log."""
    with c.opened(data, as_json) as t:
        c.print_record({"events": t.audit.rebuild()}, as_json)


def erase(
    subject: Annotated[str, typer.Argument(help="The person, as its facts name it.")],
    tenant: Annotated[
        str | None, typer.Option(help="Whose person; else of facts without a tenant.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "tenancy audit erase",
    out: Annotated[Path | None, typer.Option(help="A new file for the certificate.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Destroy the key that a person's fields in the log are sealed with. It cannot be undone."""
    with c.opened(data, as_json) as t:
        if out is not None:
            _refuse_existing(out)
        if not yes:
            typer.confirm(f"Erase {subject!r} from the log for good?", abort=True, err=True)
        done = t.audit.erase_subject(subject, tenant=tenant, by=c.operator(), reason=reason)
        if out is not None:
            write_whole(out, [done.to_json().encode(), b"\n"])
        if as_json:
            print(done.to_json())
        else:
            c.print_record({k: v for k, v in done.as_dict().items() if k != "not_deleted"}, False)
            print("not deleted:", *done.not_deleted, sep="\n- ")


@key_app.callback()
def _key() -> None:
    """The verification key of the log."""


@key_app.command("move")
def move(
    target: Annotated[Path, typer.Argument(help="A new file off this host, or a directory.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Take the verification key off the host: who takes the host over cannot forge the past."""
    with c.reported(as_json):
        root = Path(data or DEFAULT_PATH)
        own = root / "keys" / "log.verify"
        if not own.is_file():
            raise NotFound(f"{own} is not there: it was moved before, or this has no log")
        target = target / own.name if target.is_dir() else target
        if target.resolve().is_relative_to(root.resolve()):
            raise InvalidValue("target", f"{target} lies in the data directory")
        _refuse_existing(target)
        key = own.read_bytes()
        write_whole(target, [key])
        if target.read_bytes() != key:
            raise InvalidValue("target", f"{target} does not give back what was written")
        own.unlink()
        _sync(own.parent)
        c.print_record({"moved": str(target)}, as_json)


def _anchor(given: str) -> list[Anchor | str]:
    """The notes of a file, or an anchor, which is read by who verifies."""
    if re.match(r"(file|https?|postgres(ql)?|command):", given):
        return [anchor_from_url(given)]
    text = _text(Path(given), "--anchor", most=64 << 20)
    return [*split_notes(text)] or [text]


def _text(path: Path, option: str, most: int = 1 << 20) -> str:
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError as error:
        raise InvalidValue(option, f"{path}: {error.strerror}") from None


def _write_new(path: Path, text: str) -> None:
    _refuse_existing(path)
    write_whole(path, [text.encode()])


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InvalidValue("file", f"{path} is there already", remedy="name another file")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
