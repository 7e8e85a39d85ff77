"""Erasing a person from the log: the key is destroyed, and what that does not reach is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .._text import to_datetime
from . import schema
from .audit_events import CHAINS
from .audit_log import Erased
from .database import Database
from .projection import SHIFT, Projection
from .records import Record

__all__ = ["ErasureCertificate", "certify"]

FORMAT = "tenancy-erasure-certificate"
_DEFINITIONS = (
    ("api keys", schema.keys),
    ("sessions", schema.sessions),
    ("role assignments", schema.assignments),
)
_ALWAYS = (
    "what other people's facts say of the person: sealed with the keys of those they are about, or "
    "not sealed",
    "copies that were made of the data directory: a backup of keys/subjects brings the key back, "
    "and `verify` then says erased_undone",
    "what was sent of alerts that its facts raised",
    "receipts, exports, feeds and archives that were handed out: they show what was not sealed, "
    "and sealed fields that nobody can open any more",
    "older copies of an overwritten block that a file system or a drive keeps by itself",
)


@dataclass(frozen=True)
class ErasureCertificate(Record):
    """That the key of a subject was destroyed, and what that did not delete."""

    subject: str
    tenant: str | None
    by: str
    reason: str
    time: datetime
    log: str
    """Id of the log."""
    key: str
    """Id of the key that was destroyed: that of the `erased` record, and of each sealed field."""
    sequence: int
    """Of that record, in the class `security`."""
    records: Mapping[str, int]
    """By class, how many records have fields sealed with the key."""
    fields: Sequence[str]
    """Names of those fields; `personal` are members of the context."""
    readable: Mapping[str, int]
    """By class, how many records name the subject as their principal and still can be read."""
    definitions: Mapping[str, int]
    """Rows of `tenancy.db` that name the subject."""
    alerts: int
    """Alerts out of which values were taken that were sealed with the key."""
    not_deleted: Sequence[str]
    """What is left, in words."""

    def to_json(self) -> str:
        """The certificate as one JSON object."""
        return json.dumps(
            {"format": FORMAT, "version": 1, **self.as_dict()}, ensure_ascii=False, indent=2
        )


def certify(
    done: Erased,
    log_id: str,
    subject: str,
    tenant: str | None,
    by: str,
    reason: str,
    *,
    projection: Projection,
    database: Database,
    emptied: bool,
    alerts: int,
) -> ErasureCertificate:
    """Count what was sealed with the key, and what names the subject still."""
    records, fields, readable = _counts(projection, done.key, subject, tenant)
    definitions = _definitions(database, subject, tenant)
    time = to_datetime(done.time_ns)
    assert time is not None
    return ErasureCertificate(
        subject=subject,
        tenant=tenant,
        by=by,
        reason=reason,
        time=time,
        log=log_id,
        key=done.key,
        sequence=done.sequence,
        records=records,
        fields=fields,
        readable=readable,
        definitions=definitions,
        alerts=alerts,
        not_deleted=tuple(_left(fields, readable, definitions, emptied)),
    )


def _counts(
    projection: Projection, key: str, subject: str, tenant: str | None
) -> tuple[dict[str, int], tuple[str, ...], dict[str, int]]:
    by_class = f"SELECT position >> {SHIFT}, count(*) FROM events WHERE "  # noqa: S608
    with projection.cursor() as cursor:
        cursor.execute(by_class + "subject_key = ? GROUP BY 1", (key,))
        sealed = {CHAINS[code]: int(count) for code, count in cursor}
        cursor.execute("SELECT DISTINCT sealed FROM events WHERE subject_key = ?", (key,))
        names = {name for (text,) in cursor for name in json.loads(text)}
        cursor.execute(by_class + "tenant IS ? AND principal = ? GROUP BY 1", (tenant, subject))
        readable = {CHAINS[code]: int(count) for code, count in cursor}
    return sealed, tuple(sorted(names)), readable


def _definitions(database: Database, subject: str, tenant: str | None) -> dict[str, int]:
    found = {}
    with database.read() as connection:
        for name, table in _DEFINITIONS:
            here = (table.c.tenant_id == tenant) & (table.c.principal == subject)
            count = connection.execute(sa.select(sa.func.count()).where(here)).scalar_one()
            if count:
                found[name] = int(count)
    return found


def _left(
    fields: Sequence[str],
    readable: Mapping[str, int],
    definitions: Mapping[str, int],
    emptied: bool,
) -> list[str]:
    left = [f"fields of those records that were not sealed, which are all but {_and(fields)}"]
    if readable:
        counts = _and([f"{count} of class {name}" for name, count in readable.items()])
        left.append(f"records that name the person and were not sealed: {counts}")
    if definitions:
        counts = _and([f"{count} {name}" for name, count in definitions.items()])
        left.append(f"definitions that name the person, which have commands of their own: {counts}")
    if not emptied:
        left.append("files of changes of audit.sqlite and tenancy.db, which somebody was reading")
    return [*left, *_ALWAYS]


def _and(parts: Sequence[Any]) -> str:
    return ", ".join(map(str, parts)) or "none"
