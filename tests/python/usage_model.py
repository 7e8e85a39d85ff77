"""Metering as one would write it down: a dictionary of events, and sums of fractions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from store_support import make_clock
from tenancy import Tenancy
from tenancy.catalog import Catalog

KINDS = ("sum", "count", "max", "last", "unique", "time_weighted")

METERED = {
    "catalog": "metered",
    "default_plan": "free",
    "quotas": {"tokens": {"kind": "consumption"}, "seats": {"kind": "count"}},
    "metrics": {
        **{
            kind: {"aggregation": kind, "group_by": ["region"]}
            for kind in KINDS
            if kind != "unique"
        },
        "unique": {"aggregation": "unique", "unique_by": "user", "group_by": ["region"]},
        "tokens": {"quota": "tokens", "unit": "token"},
        "calls": {},
    },
    "plans": {"free": {"quotas": {"tokens": 100, "seats": 5}}},
}


def open_metered(directory: Path, clock: Any = None, **options: Any) -> Tenancy:
    """A Tenancy with one metric of each kind, named by it."""
    options.setdefault("catalog", Catalog.from_dict(METERED))
    return Tenancy.open(directory / "data", clock=clock or make_clock(), **options)


@dataclass(frozen=True)
class Event:
    time: int
    quantity: Fraction
    user: str | None = None
    region: str | None = None


@dataclass
class Model:
    """What counts, by id, in the order of recording."""

    events: dict[str, Event] = field(default_factory=dict)

    def record(self, name: str, event: Event) -> bool:
        """False: it was there, and counts once."""
        if name in self.events:
            return False
        self.events[name] = event
        return True

    def correct(self, name: str, event: Event) -> None:
        del self.events[name]  # what replaces it comes last where times are equal
        self.events[name] = event

    def cancel(self, name: str) -> None:
        del self.events[name]

    def amount(self, kind: str, since: int, until: int, **group: str | None) -> Fraction:
        chosen = [
            e for e in self.events.values() if all(getattr(e, k) == v for k, v in group.items())
        ]
        return amount(kind, chosen, since, until)


def amount(kind: str, events: Iterable[Event], since: int, until: int) -> Fraction:
    every = sorted(events, key=lambda e: e.time)  # stable: then the order of recording
    inside = [e for e in every if since <= e.time < until]
    quantities = [e.quantity for e in inside]
    if kind == "sum":
        return sum(quantities, Fraction(0))
    if kind == "count":
        return Fraction(len(inside))
    if kind == "max":
        return max(quantities, default=Fraction(0))
    if kind == "last":
        return quantities[-1] if quantities else Fraction(0)
    if kind == "unique":
        return Fraction(len({e.user for e in inside if e.user is not None}))
    level = next((e.quantity for e in reversed(every) if e.time < since), Fraction(0))
    area, at = Fraction(0), since
    for event in inside:
        area += level * (event.time - at)
        level, at = event.quantity, event.time
    return (area + level * (until - at)) / (until - since)


def rounded(value: Fraction) -> Decimal:
    """At 12 places, half away from zero."""
    units = int(value * 10**12 * 2 + 1) // 2
    text = f"{units:013d}"
    return Decimal(f"{text[:-12]}.{text[-12:]}")
