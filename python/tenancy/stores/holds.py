"""Legal holds: as long as one stands, the log keeps what it is about.

A hold on a tenant keeps every segment of the log in which the tenant has a record, and so all that
come after it, because a chain is pruned from its front only. A hold without a tenant keeps
everything. `tenants.legal_hold`, which forbids the purge of a tenant, counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .. import _core
from .._text import check_text, shown, to_datetime
from ..errors import Conflict, NotFound
from . import schema
from .host import Host
from .records import Record, Tenant
from .twins import twin

__all__ = ["OF_TENANT", "Hold", "Holds", "Standing", "standing"]

OF_TENANT = "tenants.legal_hold"
"""Stands for the hold that is a tenant's own flag, which has no id."""
_REASON_MAX = 1000


@dataclass(frozen=True)
class Hold(Record):
    """A legal hold on the log."""

    id: str
    tenant: str | None
    """The tenant's id; None: it holds everything."""
    reason: str
    placed_by: str
    placed: datetime
    released_by: str | None = None
    released: datetime | None = None

    @property
    def stands(self) -> bool:
        return self.released is None


@dataclass(frozen=True)
class Standing:
    """The holds that stand."""

    everything: tuple[str, ...]
    """Ids of those without a tenant."""
    tenants: dict[str, tuple[str, ...]]
    """By tenant, the ids of its holds; `tenants.legal_hold` for the tenant's own flag."""


class Holds:
    """`Tenancy.audit.holds`. Every call has an `a…` twin."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def place(
        self, *, tenant: Tenant | str | None = None, reason: str, by: str | None = None
    ) -> Hold:
        """Keep a tenant's records in the log, or with no tenant all of them, whatever their age.

        It stands when this returns, is itself a fact (`config_changed`, `legal_hold_placed`), and
        keeps what has not been pruned before. A tenant that was purged can still be named by its
        id. Raises `UnknownTenant`, `InvalidValue`.
        """
        check_text(reason, "reason", _REASON_MAX)
        tenant_id = None if tenant is None else self._host.kept_id(tenant)
        with self._host.write(by) as change:
            hold = f"hold_{_core.uuid7(change.now_ns)}"
            change.execute(
                sa.insert(schema.holds).values(
                    id=hold,
                    tenant_id=tenant_id,
                    reason=reason,
                    placed_by=change.by,
                    placed_ns=change.now_ns,
                )
            )
            change.fact(
                "config_changed",
                "legal_hold_placed",
                tenant=tenant_id,
                resource="hold",
                resource_id=hold,
                context={"reason": reason},
            )
            return _hold(_row(change.connection, hold))

    def release(self, hold: Hold | str, *, by: str | None = None) -> Hold:
        """End a hold: what it kept may be pruned when its time is over. It is a fact as well.

        Raises `NotFound`, and `Conflict` when it was released before.
        """
        name = hold.id if isinstance(hold, Hold) else hold
        with self._host.write(by) as change:
            row = _row(change.connection, name)
            if row.released_ns is not None:
                raise Conflict(f"hold {name} was released {to_datetime(row.released_ns)}")
            change.execute(
                sa.update(schema.holds)
                .where(schema.holds.c.id == name)
                .values(released_by=change.by, released_ns=change.now_ns)
            )
            change.fact(
                "config_changed",
                "legal_hold_released",
                tenant=row.tenant_id,
                resource="hold",
                resource_id=name,
            )
            return _hold(_row(change.connection, name))

    def list(self, tenant: Tenant | str | None = None, *, released: bool = False) -> Sequence[Hold]:
        """The holds that stand, the oldest first; of one tenant, or all. With `released`, those
        that were released as well."""
        query = sa.select(schema.holds).order_by(schema.holds.c.seq)
        if tenant is not None:
            query = query.where(schema.holds.c.tenant_id == self._host.kept_id(tenant))
        if not released:
            query = query.where(schema.holds.c.released_ns.is_(None))
        with self._host.read() as connection:
            return tuple(_hold(row) for row in connection.execute(query))

    aplace = twin(place)
    arelease = twin(release)
    alist = twin(list)  # noqa: A003


def standing(connection: Connection) -> Standing:
    """The holds that stand, as this transaction sees them."""
    holds, tenants = schema.holds.c, schema.tenants.c
    everything: tuple[str, ...] = ()
    by_tenant: dict[str, tuple[str, ...]] = {}
    open_ones = sa.select(holds.id, holds.tenant_id).where(holds.released_ns.is_(None))
    for hold, tenant in connection.execute(open_ones.order_by(holds.seq)):
        if tenant is None:
            everything += (hold,)
        else:
            by_tenant[tenant] = (*by_tenant.get(tenant, ()), hold)
    for (tenant,) in connection.execute(sa.select(tenants.id).where(tenants.legal_hold != 0)):
        by_tenant[tenant] = (*by_tenant.get(tenant, ()), OF_TENANT)
    return Standing(everything, by_tenant)


def _row(connection: Connection, hold: str) -> Any:
    found = connection.execute(sa.select(schema.holds).where(schema.holds.c.id == hold)).first()
    if found is None:
        raise NotFound(f"no hold {shown(hold)}", remedy="`audit.holds.list()` has them all")
    return found


def _hold(row: Any) -> Hold:
    placed = to_datetime(row.placed_ns)
    assert placed is not None
    return Hold(
        id=row.id,
        tenant=row.tenant_id,
        reason=row.reason,
        placed_by=row.placed_by,
        placed=placed,
        released_by=row.released_by,
        released=to_datetime(row.released_ns),
    )
