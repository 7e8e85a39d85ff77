"""What the parts of the service share."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from ..stores import billing_rows
from ..stores.billing_rows import Fact, Marks, TenantRows
from ..stores.host import Host
from ..stores.records import Tenant
from ..tenants import Tenants
from ._prices import Books, PlanPrices, pin_prices

__all__ = ["BillingBase", "State", "read_state"]


@dataclass(frozen=True)
class State:
    """What the store knew of some tenants at one time."""

    marks: Marks
    rows: dict[str, TenantRows]
    seller: tuple[Fact, ...]
    prices: PlanPrices


class BillingBase:
    """Base of `Billing`."""

    def __init__(self, host: Host, tenants: Tenants, usage: Any = None) -> None:
        self._host = host
        self._tenants = tenants
        self._usage = usage
        self._books = Books(host)

    def _tenant_id(self, tenant: Tenant | str) -> str:
        """As everywhere; a purged tenant has no name any more, and its invoices are still there."""
        return self._host.kept_id(tenant)

    def _state(self, tenant_id: str) -> State:
        """What is known of one tenant now, with the prices of the newest catalog."""
        self._settle()
        with self._host.cursor() as cursor:
            return read_state(cursor, [tenant_id])

    def _settle(self) -> None:
        """Changes of plan that are due are facts before anything is computed, prices as well."""
        self._tenants.process_due()
        pin_prices(self._host)


def read_state(cursor: sqlite3.Cursor, tenants: list[str], marks: Marks | None = None) -> State:
    """What the store knows, or with `marks` what it knew."""
    until = billing_rows.marks(cursor) if marks is None else marks
    rows, seller = billing_rows.read(cursor, tenants, until, scheduled=marks is None)
    return State(until, rows, seller, PlanPrices(billing_rows.price_rows(cursor, until["prices"])))
