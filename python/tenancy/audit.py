"""Audit facts: what changed, who did it, what was refused. `Tenancy.audit`.

Changes of definitions write theirs in their own transaction. Reading across tenants is a separate
interface, `Tenancy.operator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._text import check_principal, check_text, from_json, to_bounded_json, to_ns
from .errors import NotFound
from .stores import outbox
from .stores.host import Host
from .stores.records import AuditEvent, Page, Tenant
from .stores.twins import twin

__all__ = ["Audit", "AuditEvent"]


class Audit:
    """Every call has an `a…` twin."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def append(
        self,
        type: str,  # noqa: A002 - the field's name
        *,
        tenant: Tenant | str | None = None,
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str = "success",
        context: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> str:
        """Write one fact, synced to disk when this returns. Returns its id.

        `type` is one of the field's (`login`, `data_read`, …) or your own; `result` is `success`,
        `failure` or `denied`. `principal` is by default the current context's.
        """
        check_text(type, "type", 64)
        if principal is not None:
            check_principal(principal)
        for field, text in (
            ("action", action),
            ("resource", resource),
            ("resource_id", resource_id),
        ):
            if text is not None:
                check_text(text, field, 1000)
        tenant_id = None if tenant is None else self._host.tenant_id(tenant)
        with self._host.write(principal) as change:
            event = change.fact(
                type,
                action or type,
                tenant=tenant_id,
                resource=resource,
                resource_id=resource_id,
                result=result,
                context=from_json(to_bounded_json(context, "context")),
            )
        assert event is not None
        return event

    def search(
        self,
        tenant: Tenant | str,
        *,
        principal: str | None = None,
        type: str | None = None,  # noqa: A002
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        """Facts of one tenant, newest first; `since` ≤ time < `until`."""
        filters = {
            "principal": principal,
            "type": type,
            "action": action,
            "resource": resource,
            "resource_id": resource_id,
            "result": result,
            "since_ns": None if since is None else to_ns(since, "since"),
            "until_ns": None if until is None else to_ns(until, "until"),
        }
        return self._search(self._host.tenant_id(tenant), filters, limit, cursor)

    def get(self, tenant: Tenant | str, event_id: str) -> AuditEvent:
        """One fact of this tenant by its id."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.read() as connection:
            event = outbox.find(connection, event_id)
        if event is None or event.tenant != tenant_id:
            raise NotFound(f"no event {event_id!r}", tenant=tenant_id)
        return event

    def _search(
        self, tenant_id: str | None, filters: Mapping[str, Any], limit: int, cursor: str | None
    ) -> Page[AuditEvent]:
        with self._host.read() as connection:
            return outbox.search(
                connection, filters={**filters, "tenant_id": tenant_id}, limit=limit, cursor=cursor
            )

    aappend = twin(append)
    asearch = twin(search)
    aget = twin(get)
