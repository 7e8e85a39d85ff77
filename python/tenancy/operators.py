"""What operators do across tenants: explicit, with a reason, and always audited.
`Tenancy.operator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ._text import check_page, check_text, to_datetime, to_ns
from .errors import InvalidValue, NotFound
from .stores.grants import OPERATOR
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import AuditEvent, Page, QuotaStatus, Session, Tenant
from .stores.schema import sessions
from .stores.twins import twin

if TYPE_CHECKING:
    from ._core import Limit

__all__ = ["Operator"]


class Operator:
    """Reads across tenants for one person and reason. Each call writes `cross_tenant_access`."""

    def __init__(self, host: Host, by: str, reason: str, services: Any) -> None:
        # `services` is the `Tenancy`, whose own calls answer once the access is written down.
        check_text(reason, "reason", 1000)
        check_text(by, "by", 200)
        if by == "system":
            raise InvalidValue("by", "an operator has a name", remedy="by='ops@example.com'")
        self._host = host
        self.name = by if by.startswith(OPERATOR) else OPERATOR + by
        self.reason = reason
        self._services = services

    def tenants(
        self,
        *,
        status: str | None = None,
        plan: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Tenant]:
        """Tenants, as `Tenancy.tenants.list` lists them."""
        filters = {"status": status, "plan": plan, "text": text}
        self._audit("tenants:list", {k: v for k, v in filters.items() if v is not None})
        found: Page[Tenant] = self._services.tenants.list(**filters, limit=limit, cursor=cursor)
        return found

    def tenant(self, reference: str) -> Tenant:
        """The record of any tenant, by id, external id or slug."""
        self._audit("tenant:show", {"tenant": _shown(reference)})
        found: Tenant = self._services.tenants.get(reference)
        return found

    def limits(self, reference: str) -> Mapping[str, Sequence[Limit]]:
        """What is left of a tenant's rate limits, by action; takes nothing."""
        self._audit("limits:show", {"tenant": _shown(reference)})
        services = self._services
        return {
            action: services.limits.peek(reference, action)
            for action in services.tenants.effective(reference).rate_limits
        }

    def quotas(self, reference: str) -> Mapping[str, QuotaStatus]:
        """The status of every quota of a tenant."""
        self._audit("quotas:show", {"tenant": _shown(reference)})
        found: Mapping[str, QuotaStatus] = self._services.quotas.all(reference)
        return found

    def sessions(
        self, *, tenant: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[Session]:
        """Live sessions of all tenants, or of one, without their ids."""
        self._audit("sessions:list", {} if tenant is None else {"tenant": _shown(tenant)})
        if tenant is not None:
            of_one: Page[Session] = self._services.sessions.list(tenant, limit=limit, cursor=cursor)
            return of_one
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
        tenant: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        principal: str | None = None,
        action: str | None = None,
        result: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        """Facts of all tenants and of none, or of one tenant, newest first."""
        filters = {
            "tenant": None if tenant is None else _shown(tenant),
            "type": type,
            "principal": principal,
            "action": action,
            "result": result,
            "since_ns": None if since is None else to_ns(since, "since"),
            "until_ns": None if until is None else to_ns(until, "until"),
        }
        self._audit("audit:search", {k: v for k, v in filters.items() if v is not None})
        del filters["tenant"]
        if tenant is not None:
            filters["tenant_id"] = self._host.kept_id(tenant)
        return self._host.facts.search(filters, limit, cursor)

    def event(self, event_id: str) -> AuditEvent:
        """One fact, whichever tenant's."""
        self._audit("audit:show", {"event": event_id})
        event = self._host.facts.find(event_id)
        if event is None:
            raise NotFound(f"no event {event_id!r}")
        return event

    def _audit(self, action: str, context: Mapping[str, Any]) -> None:
        with self._host.write(self.name) as change:
            change.fact("cross_tenant_access", action, context={**context, "reason": self.reason})

    atenants = twin(tenants)
    atenant = twin(tenant)
    alimits = twin(limits)
    aquotas = twin(quotas)
    asessions = twin(sessions)
    aaudit = twin(audit)
    aevent = twin(event)


def _shown(reference: str) -> str:
    """A name that somebody typed, for the record."""
    return reference[:255].encode("utf-8", "replace").decode("utf-8")


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
