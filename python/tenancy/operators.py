"""What operators do across tenants: explicit, with a reason, and always audited.
`Tenancy.operator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ._text import check_page, check_text, to_datetime, to_ns
from .errors import InvalidValue, NotFound
from .stores import outbox
from .stores.grants import OPERATOR
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import AuditEvent, Page, Session
from .stores.schema import sessions
from .stores.twins import twin

__all__ = ["Operator"]


class Operator:
    """Reads across tenants for one person and reason. Each call writes `cross_tenant_access`."""

    def __init__(self, host: Host, by: str, reason: str) -> None:
        check_text(reason, "reason", 1000)
        check_text(by, "by", 200)
        if by == "system":
            raise InvalidValue("by", "an operator has a name", remedy="by='ops@example.com'")
        self._host = host
        self.name = by if by.startswith(OPERATOR) else OPERATOR + by
        self.reason = reason

    def sessions(self, *, limit: int = 100, cursor: str | None = None) -> Page[Session]:
        """Live sessions of all tenants, without their ids."""
        self._audit("sessions:list", {})
        now = self._host.clock.wall_ns()
        query = (
            sa.select(sessions)
            .where(sa.or_(sessions.c.expires_ns == 0, sessions.c.expires_ns > now))
            .order_by(sessions.c.seq)
            .limit(check_page(limit) + 1)
        )
        if cursor is not None:
            query = query.where(sessions.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(_session(row) for row in rows[:limit]), more)

    def audit(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the field's name
        principal: str | None = None,
        action: str | None = None,
        result: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        """Facts of all tenants and of none, newest first."""
        filters = {
            "type": type,
            "principal": principal,
            "action": action,
            "result": result,
            "since_ns": None if since is None else to_ns(since, "since"),
            "until_ns": None if until is None else to_ns(until, "until"),
        }
        self._audit("audit:search", {k: v for k, v in filters.items() if v is not None})
        with self._host.read() as connection:
            return outbox.search(connection, filters=filters, limit=limit, cursor=cursor)

    def event(self, event_id: str) -> AuditEvent:
        """One fact, whichever tenant's."""
        self._audit("audit:show", {"event": event_id})
        with self._host.read() as connection:
            event = outbox.find(connection, event_id)
        if event is None:
            raise NotFound(f"no event {event_id!r}")
        return event

    def _audit(self, action: str, context: Mapping[str, Any]) -> None:
        with self._host.write(self.name) as change:
            change.fact("cross_tenant_access", action, context={**context, "reason": self.reason})

    asessions = twin(sessions)
    aaudit = twin(audit)
    aevent = twin(event)


def _session(row: Any) -> Session:
    return Session(
        ref=row.ref,
        tenant=row.tenant_id,
        principal=row.principal,
        platform=row.platform,
        created=to_datetime(row.created_ns),
        last_activity=to_datetime(row.active_ns),
        expires=to_datetime(row.expires_ns),
    )
