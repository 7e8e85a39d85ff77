"""What becomes of a tenant's usage events when the tenant is purged.

They are deleted from the table that is summed once nobody can dispute an invoice of the tenant any
more, and no legal hold stands. The log is a chain, from which nothing is taken out of the middle:
its records stay until retention prunes them. A certificate says what was deleted and what was not.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .._audit_proofs import canonical
from .._text import NS, from_json, to_datetime
from ..errors import Conflict, LegalHold, NotFound
from . import schema
from .billing_rows import plain_cursor
from .change import Change
from .holds import standing
from .host import Host
from .records import Record
from .usage_log import SHIFT, UsageLog

__all__ = ["UsagePurgeCertificate", "UsagePurges"]

FORMAT = "tenancy-usage-purge-certificate"
_LEFT = (
    "the quantities of its invoices, without the events behind them",
    "keyed hashes of event ids, from which no id can be told, for as long as ids are remembered",
    "exports and feeds that were handed out, archives, backups and snapshots of the data directory",
)
_DUE = """
    SELECT id FROM tenants
     WHERE status = 'purged' AND id NOT IN (SELECT tenant_id FROM usage_purges)
       AND coalesce((SELECT max(issued_ns) FROM billing_documents WHERE tenant_id = tenants.id), 0)
           <= ?
     ORDER BY seq
"""
_COUNT = f"""
    SELECT n.name, count(*), count(DISTINCT position >> {SHIFT}),
           min(position >> {SHIFT}), max(position >> {SHIFT})
      FROM events JOIN names n ON n.id = metric
     WHERE tenant = (SELECT id FROM names WHERE name = ?)
     GROUP BY metric ORDER BY n.name
"""  # noqa: S608 - a number of ours


@dataclass(frozen=True)
class UsagePurgeCertificate(Record):
    """That a purged tenant's usage events were deleted, and what was not."""

    tenant: str
    time: datetime
    by: str
    events: int
    """How many were deleted, with those that were corrected or taken back later."""
    metrics: Mapping[str, int]
    """Of which metric how many."""
    log: str
    """Id of the log."""
    records: int
    """How many records of its class `usage` still have them."""
    first: int | None
    """Sequence of the first of those records; None: there are none."""
    last: int | None
    retention_days: int
    """For how long the class keeps its records."""
    not_deleted: Sequence[str]
    """What is left, in words."""

    def to_json(self) -> str:
        """The document in RFC 8785's form: the same certificate is the same text."""
        return canonical({"format": FORMAT, "version": 1, **self.as_dict()})

    @property
    def sha256(self) -> str:
        """Of the text; the fact `usage:purge` has it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class UsagePurges:
    """Which tenants' usage is gone. Any thread, any process."""

    def __init__(self, host: Host, log: UsageLog) -> None:
        self._host = host
        self._log = log
        self._gone: tuple[int, frozenset[str]] = (0, frozenset())

    def gone(self) -> frozenset[str]:
        """Tenants of whom the table keeps nothing. Rows are only added."""
        with self._host.cursor() as cursor:
            count = cursor.execute("SELECT count(*) FROM usage_purges").fetchone()[0]
            if count != self._gone[0]:
                rows = cursor.execute("SELECT tenant_id FROM usage_purges")
                self._gone = (count, frozenset(tenant for (tenant,) in rows))
        return self._gone[1]

    def due(self) -> list[str]:
        """Purged tenants whose usage may go now."""
        before_ns = self._host.clock.wall_ns() - self._dispute_ns
        with self._host.cursor() as cursor:
            found = [tenant for (tenant,) in cursor.execute(_DUE, (before_ns,))]
        if not found:
            return []
        with self._host.read() as connection:
            holds = standing(connection)
        return [] if holds.everything else [one for one in found if one not in holds.tenants]

    def check(self, tenant_id: str) -> None:
        """Raise why the usage of a tenant may not go: `Conflict`, `LegalHold`."""
        tenants, documents = schema.tenants.c, schema.billing.documents.c
        with self._host.read() as connection:
            status = connection.execute(
                sa.select(tenants.status).where(tenants.id == tenant_id)
            ).scalar_one()
            newest = connection.execute(
                sa.select(sa.func.max(documents.issued_ns)).where(documents.tenant_id == tenant_id)
            ).scalar_one()
            holds = standing(connection)
        if status != "purged":
            what = f"tenant {tenant_id} is {status}; the usage of purged tenants alone is deleted"
            raise Conflict(what, tenant=tenant_id, remedy="`tenants.delete`, then `tenants.purge`")
        if holds.everything or tenant_id in holds.tenants:
            raise LegalHold(f"the usage of tenant {tenant_id} is under hold", tenant=tenant_id)
        until_ns = (newest or 0) + self._dispute_ns
        if until_ns > self._host.clock.wall_ns():
            raise Conflict(
                f"invoices of tenant {tenant_id} can be disputed until {to_datetime(until_ns)}",
                tenant=tenant_id,
                remedy="wait, or shorten `billing: {dispute: …}` in the catalog",
            )

    def certify(
        self, change: Change, cursor: sqlite3.Cursor, tenant_id: str
    ) -> UsagePurgeCertificate:
        """Write down that the usage of a tenant is gone; `cursor` reads the table as it is before.

        From the commit on every process leaves it out, and deletes what its table has of it.
        """
        rows = cursor.execute(_COUNT, (tenant_id,)).fetchall()
        time = to_datetime(change.now_ns)
        assert time is not None
        days = self._host.catalog.audit.retention["usage"]
        kept = f"records of the log, sealed in its chain, until its retention of {days} days"
        certificate = UsagePurgeCertificate(
            tenant=tenant_id,
            time=time,
            by=change.by,
            events=sum(row[1] for row in rows),
            metrics={row[0]: row[1] for row in rows},
            log=self._log.id,
            records=sum(row[2] for row in rows),
            first=min((row[3] for row in rows), default=None),
            last=max((row[4] for row in rows), default=None),
            retention_days=days,
            not_deleted=(*((kept,) if rows else ()), *_LEFT),
        )
        change.execute(
            sa.insert(schema.usage_purges).values(
                tenant_id=tenant_id, purged_ns=change.now_ns, certificate=certificate.to_json()
            )
        )
        if rows:
            context = {"events": certificate.events, "sha256": certificate.sha256}
            change.fact(
                "config_changed", "usage:purge", tenant=tenant_id, resource="usage", context=context
            )
        return certificate

    def known(self, change: Change, tenant_id: str) -> bool:
        """Whether it is done, for who holds the store."""
        query = "SELECT 1 FROM usage_purges WHERE tenant_id = ?"
        return plain_cursor(change).execute(query, (tenant_id,)).fetchone() is not None

    def certificate(self, tenant_id: str) -> UsagePurgeCertificate:
        """Raises `NotFound` for a tenant whose usage was not deleted."""
        purges = schema.usage_purges.c
        query = sa.select(purges.certificate).where(purges.tenant_id == tenant_id)
        with self._host.read() as connection:
            text = connection.execute(query).scalar_one_or_none()
        if text is None:
            raise NotFound(f"the usage of tenant {tenant_id} was not deleted", tenant=tenant_id)
        value: dict[str, Any] = from_json(text)
        value["time"] = datetime.fromisoformat(value["time"].replace("Z", "+00:00"))
        names = UsagePurgeCertificate.__dataclass_fields__
        return UsagePurgeCertificate(**{name: value[name] for name in names})

    @property
    def _dispute_ns(self) -> int:
        return int(self._host.catalog.billing.dispute * NS)
