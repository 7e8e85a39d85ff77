"""What held for one tenant when, from the facts that the store has of it. Of two facts for one time
the one recorded later counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

from .._text import to_moment
from ..errors import BillingRefused
from ..stores.billing_rows import Fact, TenantRows
from ._config import Account, Settings
from ._options import Options, options_of
from ._periods import Calendar, Unit, find

__all__ = ["Timeline", "calendar_of", "held", "held_since", "moment", "open_period", "settings_at"]

T = TypeVar("T")
History = list[tuple[int, T]]

_ACCOUNT_REMEDY = "`billing.account(tenant, party=…, currency=…)`"


@dataclass(frozen=True)
class Timeline:
    """What held for one tenant when."""

    tenant: str
    plans: History[str]
    statuses: History[str]
    calendar: Calendar
    accounts: History[Account]
    books: History[str | None]
    """Digests of books of its own; None: its plan's again."""
    seats: History[Decimal]
    seller: tuple[Fact, ...]
    options: History[Options]

    @classmethod
    def of(cls, rows: TenantRows) -> Timeline:
        """Raises `BillingRefused` when there is no account."""
        found = _histories(rows)
        if not found["account"]:
            raise BillingRefused(
                f"tenant {rows.tenant_id} has no account",
                tenant=rows.tenant_id,
                remedy=_ACCOUNT_REMEDY,
            )
        return cls(
            tenant=rows.tenant_id,
            plans=found["plan"],
            statuses=found["status"],
            calendar=_calendar(found, rows.seller),
            accounts=[(at, Account.from_value(value)) for at, value in found["account"]],
            books=[(at, value["book"]) for at, value in found["book"]],
            seats=[(at, Decimal(value["seats"])) for at, value in found["seats"]],
            seller=rows.seller,
            options=options_of(rows.seller),
        )

    @property
    def begin_ns(self) -> int:
        """When its billing begins."""
        return min(since_ns for since_ns, _ in self.accounts)

    def settings_at(self, moment_ns: int) -> Settings:
        return settings_at(self.seller, moment_ns)

    def account_at(self, moment_ns: int) -> Account:
        return held(self.accounts, moment_ns)

    def options_at(self, moment_ns: int) -> Options:
        return held(self.options, moment_ns)

    def at_once(self, moment_ns: int) -> bool:
        """Whether prices that came into force then count from then on, within a period."""
        return self.options_at(moment_ns).at_once

    @property
    def opening(self) -> tuple[int, int] | None:
        """The span of the opening bill, where billing begins with fees in advance."""
        begin_ns = self.begin_ns
        return (begin_ns, begin_ns) if self.options_at(begin_ns).in_advance else None


def settings_at(seller: Sequence[Fact], moment_ns: int) -> Settings:
    """What held at the seller's side. Raises `BillingRefused` when nothing ever did."""
    known = [(fact.since_ns, fact.value) for fact in seller if fact.kind == "settings"]
    if not known:
        remedy = 'billing.configure(seller=Party("Shop AG", "AT"))'
        raise BillingRefused("nobody is configured who sells", remedy=remedy)
    return _settings(held(known, moment_ns))


def calendar_of(rows: TenantRows) -> tuple[Calendar, int]:
    """The calendar of a tenant, and when it was made."""
    found = _histories(rows)
    if not found["calendar"]:
        raise BillingRefused(f"nothing is known of tenant {rows.tenant_id}")
    return _calendar(found, rows.seller), found["calendar"][0][0]


def open_period(rows: TenantRows, now_ns: int) -> tuple[int, int]:
    """The period of a tenant that holds now, whether it is billed or not."""
    calendar, created_ns = calendar_of(rows)
    return find(calendar, created_ns, moment(max(now_ns, created_ns)))


def _histories(rows: TenantRows) -> dict[str, History[Any]]:
    """The facts of a tenant by kind, as they are in the store."""
    kinds = ("plan", "status", "calendar", "account", "book", "seats")
    found: dict[str, History[Any]] = {kind: [] for kind in kinds}
    for kind, fact_ns, text in rows.facts:
        value = json.loads(text)
        since_ns = _micro(fact_ns)
        if kind == "created":
            found["plan"].append((since_ns, value["plan"]))
            found["status"].append((since_ns, value["status"]))
            found["calendar"].append((since_ns, value))
        elif kind in ("plan", "status"):
            found[kind].append((since_ns, value[kind]))
        elif kind in found:
            found[kind].append((since_ns, value))
    return found


def _calendar(found: Mapping[str, History[Any]], seller: Sequence[Fact]) -> Calendar:
    changes: list[tuple[int, int, str | None]] = []
    for since_ns, value in found["calendar"]:
        anchor_ns, zone = changes[-1][1:] if changes else (0, None)
        anchor_ns = value.get("anchor_ns", anchor_ns) or 0
        changes.append((since_ns, anchor_ns, value.get("time_zone", zone)))
    options, plans = options_of(seller), found["plan"]
    changed = {at for at, _ in plans[1:]}
    units: list[Unit] = []
    for at in sorted({plans[0][0], options[0][0], *changed, *(at for at, _ in options)}):
        then = held(options, at)
        name = then.unit(held(plans, at))
        cuts = at in changed and then.unit(held(plans, at - 1)) != name
        unit = Unit(at, name, then.anchored, cuts)
        if not units or unit[1:] != units[-1][1:]:
            units.append(unit)
    return Calendar(changes, units)


@lru_cache(maxsize=64)
def _settings(text: str) -> Settings:
    return Settings.from_value(json.loads(text))


def held(history: History[T], moment_ns: int) -> T:
    """What holds at a time; before everything, what came first."""
    found = history[0][1]
    for since_ns, value in history:
        if since_ns > moment_ns:
            break
        found = value
    return found


def held_since(history: History[T], moment_ns: int, before: T) -> T:
    """What holds at a time, and what held before everything."""
    return held([(-1 << 63, before), *history], moment_ns)


def _micro(wall_ns: int) -> int:
    """Datetimes have microseconds, so that is what periods are made of."""
    return wall_ns - wall_ns % 1000


@lru_cache(maxsize=4096)
def moment(wall_ns: int) -> datetime:
    return to_moment(wall_ns)
