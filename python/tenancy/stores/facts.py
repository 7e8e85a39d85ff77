"""Where audit facts live: outbox, log and projection of one data directory, wired together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from .. import _core
from .._text import shown
from ..errors import NotFound, StoreBusy, TenancyError
from . import outbox
from .alert_erasure import Sealed, erase_alerts, sealed_values
from .audit_events import LogRow
from .audit_log import AuditLog
from .audit_search import AuditSearch
from .database import Database
from .directory import DataDirectory
from .drain import ROWS, Drain
from .erasure import ErasureCertificate, certify
from .projection import Projection
from .records import AuditEvent, Page
from .revision import newest_revision

__all__ = ["FILE", "Facts"]

FILE = "audit.sqlite"
SETTLE_S = 60.0
_PAGE = 1000

_log = logging.getLogger("tenancy")


class Facts:
    """Made by `Host`. Any thread; survives forks."""

    def __init__(self, directory: DataDirectory, database: Database, clock: _core.Clock) -> None:
        self.log = AuditLog(directory, clock)
        self.projection = Projection(directory.path / FILE)
        self.drain = Drain(directory, database, self.log, self.projection, clock)
        self._database, self._clock = database, clock
        self.projection.on_damage = self._projection_damaged
        self._search = AuditSearch(database, self.projection, self.drain)

    def search(
        self, filters: Mapping[str, Any], limit: int, cursor: str | None
    ) -> Page[AuditEvent]:
        return self._search.search(filters, limit, cursor)

    def every(self, filters: Mapping[str, Any]) -> Iterator[AuditEvent]:
        """All that `search` finds, page after page, newest first."""
        page = self._search.search(filters, _PAGE, None)
        while True:
            yield from page
            if page.cursor is None:
                return
            page = self._search.search(filters, _PAGE, page.cursor)

    def find(self, event_id: str) -> AuditEvent | None:
        return self._search.find(event_id)

    def follow(
        self, tenant_id: str | None, *, every_s: float, for_s: float | None
    ) -> Iterator[AuditEvent]:
        return self._search.follow(tenant_id, every_s=every_s, for_s=for_s)

    def locate(self, event_id: str, tenant_id: str | None) -> tuple[str, LogRow]:
        """Chain and row of a tenant's fact in the log, moved there if it is still on its way."""
        found = self._search.locate(event_id)
        if found is None:
            self.settle()
            found = self._search.locate(event_id)
        if found is None or (tenant_id is not None and found[1].tenant != tenant_id):
            raise NotFound(f"no event {event_id!r}", tenant=tenant_id)
        return found

    def settle(self) -> None:
        """Everything that was written before this call is in log and projection after it."""
        self.log.flush()  # decisions leave their facts in the ring
        if not self.drain.run(turns=1 << 30, wait_s=SETTLE_S):
            raise StoreBusy("another process moves audit facts and does not come to an end")

    def erase(
        self, subject: str, tenant_id: str | None, *, by: str, reason: str
    ) -> ErasureCertificate:
        """Destroy the key of a subject and clear what was opened with it here."""
        self.settle()
        # First, so that a key that is gone has left nothing; and again for what came meanwhile.
        sealed = sealed_values(self.projection, self.log.subject_key(subject, tenant_id), subject)
        cleared = self._erase_alerts(tenant_id, sealed)
        done = self.log.erase(subject, tenant_id, by, reason)
        cleared += self._erase_alerts(tenant_id, sealed)
        if done is None:
            raise NotFound(
                f"nothing in the log is sealed under a key of {shown(subject)}",
                tenant=tenant_id,
                remedy="name the subject as its facts do, with its tenant; fields are sealed from"
                " the time on that the catalog lists them under audit: personal",
            )
        self.settle()
        emptied = [self.projection.forget(), self._database.forget()]
        return certify(
            done,
            self.log.id,
            subject,
            tenant_id,
            by,
            reason,
            projection=self.projection,
            database=self._database,
            emptied=all(emptied),
            alerts=cleared,
        )

    def _erase_alerts(self, tenant_id: str | None, sealed: Sealed) -> int:
        with self._database.write() as connection:
            cleared = erase_alerts(connection, tenant_id, sealed)
            connection.commit()
        return cleared

    def problems(self) -> list[str]:
        """What an operator should look at."""
        health = self.log.core.health()
        return [f"log: {health['reason']}"] if health.get("failing") else []

    def _projection_damaged(self, reason: str) -> None:
        """Somebody wrote in the table, a disk fails, or power was lost: worth a fact."""
        with self._database.write() as connection:
            outbox.suspect(
                connection,
                now_ns=self._clock.wall_ns(),
                action="projection:rebuild",
                resource="projection",
                revision=newest_revision(connection),
                context={"reason": reason},
            )
            connection.commit()

    def hand_on(self) -> None:
        """Move what there is; what cannot be moved now stays in the outbox, and nobody has to wait
        for a disk to be mended."""
        try:
            self.drain.run(turns=5, rows=ROWS)
        except (TenancyError, OSError) as error:
            _log.warning("audit facts stay in the outbox for now: %s", error)

    def close(self) -> None:
        """Hand on what is left and let go of the log; the next who opens it goes on."""
        try:
            self.hand_on()
        finally:
            self.log.close()
