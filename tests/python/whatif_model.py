"""Small obvious models for the tests of `tenancy.whatif`: dictionaries, `Decimal`, one event after
the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tenancy.limits import Limiter
from tenancy.pricing import PriceBook
from tenancy.testing import FakeClock

UTC = timezone.utc
START = datetime(2026, 1, 1, tzinfo=UTC)

Event = tuple[str, datetime, str, int | Decimal]


def book(name: str, **members: Any) -> PriceBook:
    """A price book in USD with the metrics ``calls`` and ``gb``."""
    metrics = {"calls": {"unit": "0.01"}, "gb": {"unit": 2}, **members.pop("metrics", {})}
    return PriceBook.from_dict(
        {"price_book": name, "currency": "USD", "metrics": metrics, **members}
    )


def frame_of(events: Sequence[Event]) -> dict[str, list[Any]]:
    """Events as a mapping of columns."""
    tenants, times, metrics, quantities = zip(*events, strict=True) if events else ((),) * 4
    return {
        "tenant": list(tenants),
        "time": list(times),
        "metric": list(metrics),
        "quantity": list(quantities),
    }


events = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex", "initech"]),
        st.integers(0, 120 * 86400).map(lambda s: START + timedelta(seconds=s)),
        st.sampled_from(["calls", "gb"]),
        st.one_of(st.integers(0, 3000), st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-3))),
    ),
    min_size=1,
    max_size=40,
)


def sums(rows: Sequence[Event]) -> dict[tuple[str, datetime], dict[str, Decimal]]:
    """Usage by tenant and month."""
    found: dict[tuple[str, datetime], dict[str, Decimal]] = defaultdict(
        lambda: {"calls": Decimal(0), "gb": Decimal(0)}
    )
    for tenant, time, metric, quantity in rows:
        month = datetime(time.year, time.month, 1, tzinfo=UTC)
        found[tenant, month][metric] += quantity
    return dict(found)


Request = tuple[str, int, int]
"""Who, when in nanoseconds, at what cost."""


def replay(requests: Sequence[Request], limiter: Limiter, clock: FakeClock) -> dict[str, Any]:
    """The limiter itself, asked one request after the other."""
    verdicts: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
    for who, when, cost in sorted(requests, key=lambda request: request[1]):
        clock.native.advance_ns(when - clock.native.wall_ns())
        verdicts[who].append((when, cost, bool(limiter.hit(who, cost))))
    return {who: summary(found) for who, found in verdicts.items()}


def summary(verdicts: Sequence[tuple[int, int, bool]]) -> dict[str, Any]:
    """What a replay says of one tenant."""
    refused = [(when, cost) for when, cost, allowed in verdicts if not allowed]
    runs: list[list[int]] = [[]]
    for when, _, allowed in verdicts:
        if allowed:
            runs.append([])
        else:
            runs[-1].append(when)
    # The longest by time, then by number, the earliest of equals.
    spell = max(runs, key=lambda run: (run[-1] - run[0], len(run)) if run else (-1, 0))
    return {
        "requests": len(verdicts),
        "refused": len(refused),
        "cost_refused": sum(cost for _, cost in refused),
        "first_refusal": refused[0][0] if refused else None,
        "longest_spell": len(spell),
        "longest_spell_s": (spell[-1] - spell[0]) / 1e9 if spell else 0.0,
    }
