"""How likely the open period of some tenants passes their budgets. Needs NumPy.

The remaining usage of each tenant is a distribution (`tenancy.forecast`), calibrated on the days of
all tenants whose periods end together; each draw becomes a bill of its own, by the tenant's terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from .._text import to_moment
from ..billing import Cumulative, compute
from ..errors import InvalidValue
from ..forecast import Forecast, forecast
from ._drafts import Draft
from ._quantities import UsageOfSpans

__all__ = ["probabilities"]

SAMPLES = 200
HISTORY = timedelta(days=400)
_ADDS_UP = ("sum", "count")
_PLACES = Decimal("1e-12")


def probabilities(
    drafts: Sequence[Draft],
    limits: Sequence[Decimal],
    shares: Sequence[float],
    usage: Any,
    now_ns: int,
) -> list[float | None]:
    """Of each running bill: how likely it ends above its limit.

    None where the days of the past cannot carry a statement of that probability (its ``share``):
    where they are too few, or the period is over.
    """
    now = to_moment(now_ns)
    found: list[float | None] = [None] * len(drafts)
    groups: dict[tuple[int, str], list[int]] = {}
    for place, draft in enumerate(drafts):
        groups.setdefault((draft.span[1], draft.terms.time_zone), []).append(place)
    for (end_ns, zone), places in groups.items():
        if end_ns <= now_ns:
            continue
        known = _days([drafts[place] for place in places], usage, now)
        coming = _coming(known, zone, now, to_moment(end_ns))
        if coming is None:
            continue
        for place in places:
            found[place] = _probability(
                drafts[place], limits[place], shares[place], coming, now
            )  # fmt: skip
    return found


def _metrics(draft: Draft) -> list[str]:
    """What the bill prices by usage."""
    return sorted({metric for span in draft.usage for metric in span})


def _days(drafts: Sequence[Draft], usage: Any, now: datetime) -> dict[str, list[Any]]:
    """The daily usage of some tenants, of metrics whose days add up."""
    rows: dict[str, list[Any]] = {name: [] for name in ("tenant", "metric", "time", "quantity")}
    known = usage.metrics()
    with usage.snapshot() as state:
        for draft in drafts:
            tenant = draft.timeline.tenant
            for metric in _metrics(draft):
                if metric not in known or known[metric].aggregation not in _ADDS_UP:
                    continue
                days = state.aggregate(tenant, metric, now - HISTORY, now, every="day").rows
                begun = next((i for i, day in enumerate(days) if day.events), len(days))
                for day in days[begun:]:
                    rows["tenant"].append(tenant)
                    rows["metric"].append(metric)
                    rows["time"].append(day.since)
                    rows["quantity"].append(day.quantity)
    return rows


def _coming(
    known: dict[str, list[Any]], zone: str, now: datetime, end: datetime | None
) -> Forecast | None:
    if not known["tenant"]:
        return None
    try:
        return forecast(known, zone=zone, as_of=now, period_end=end, gaps="zero", samples=SAMPLES)
    except InvalidValue:  # there are not enough days yet
        return None


def _probability(
    draft: Draft, limit: Decimal, share: float, coming: Forecast, now: datetime
) -> float | None:
    """None where one of the metrics cannot be forecast with that certainty."""
    tenant = draft.timeline.tenant
    drawn: dict[str, list[Decimal]] = {}
    for row, (of, metric) in enumerate(coming.series()):
        if of == tenant:
            # One end of the interval at 2p - 1 is passed with the probability 1 - p.
            if coming._source.refusal(row, max(0.0, 2 * share - 1)) is not None:
                return None
            drawn[metric] = coming.draws(tenant, metric).tolist()
    if not drawn:
        return None
    above = sum(
        compute(draft.terms, _with(draft, drawn, sample, now)).net > limit
        for sample in range(coming.samples)
    )
    return above / coming.samples


def _with(
    draft: Draft, drawn: dict[str, list[Decimal]], sample: int, now: datetime
) -> UsageOfSpans:
    """The usage of the bill as one of the draws ends: what is to come spreads evenly."""
    end = draft.bill.period.end
    found = []
    for span, usage in zip(draft.terms.spans, draft.usage, strict=True):
        begun = max(span.start, now)
        made = {}
        for metric, parts in usage.items():
            more = drawn[metric][sample] if metric in drawn else Decimal(0)
            made[metric] = tuple(
                Cumulative(part.until, part.quantity + _part(more, begun, part.until, now, end))
                for part in parts
            )
        found.append(made)
    return found


def _part(more: Decimal, begun: datetime, until: datetime, now: datetime, end: datetime) -> Decimal:
    """How much of what is to come by the end comes between these two."""
    if until <= begun or not more:
        return Decimal(0)
    if begun == now and until == end:
        return more
    step = timedelta(microseconds=1)
    return (more * ((until - begun) // step) / ((end - now) // step)).quantize(_PLACES)
