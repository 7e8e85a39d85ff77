"""The usage behind a bill: read for each span of its terms, or given; its form in the store."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from .. import _core
from .._text import shown, to_moment, to_ns
from ..billing import Cumulative, Span, Terms, cuts
from ..errors import InvalidValue, UnknownMetric, UnknownTenant
from ..pricing import Number
from ..usage._kept import KeptTotals

__all__ = [
    "Metered",
    "UsageLike",
    "UsageOfSpans",
    "closed_until_ns",
    "one_state",
    "one_state_of_totals",
    "read_usage",
    "usage_from_text",
    "usage_to_text",
]

UsageOfSpans = list[dict[str, tuple[Cumulative, ...]]]
"""For each span, by metric, the quantities at its cuts."""

NO_METRIC = "none"
"""The metric of books by which nothing is used."""


class Metered(Protocol):
    """Where usage is read: `Tenancy.usage`, or anything that answers like it."""

    def quantities(
        self,
        tenant: str,
        *,
        since: datetime,
        cuts: Sequence[datetime],
        metrics: Sequence[str] | None = None,
    ) -> Mapping[str, Sequence[Cumulative]]: ...


UsageLike = Metered | Mapping[str, Number | Sequence[Cumulative]]
"""Usage as it is given: a source, or by metric the quantity of the whole period, or where the terms
change within it the `Cumulative`s at each of the cuts."""


def read_usage(terms: Terms, usage: UsageLike | None) -> UsageOfSpans:
    """What `compute` needs. Raises `InvalidValue` for usage that is not there or does not fit."""
    if usage is None:
        raise InvalidValue("usage", "is missing", remedy='usage={"api_calls": 1000}')
    if not isinstance(usage, Mapping) and not hasattr(usage, "quantities"):
        what = f"expected quantities by metric, got {shown(usage)}"
        raise InvalidValue("usage", what, remedy='usage={"api_calls": 1000}')
    moments = cuts(terms)
    found: UsageOfSpans = []
    for span in terms.spans:
        inside = [moment for moment in moments if span.start < moment <= span.end]
        metrics = [metric for metric in span.book if metric != NO_METRIC]
        if isinstance(usage, Mapping):
            found.append(_given(usage, terms, span, inside))
        else:
            found.append(_metered(usage, terms, span, inside, metrics) if metrics else {})
    return found


def _metered(
    usage: Metered, terms: Terms, span: Span, inside: list[datetime], metrics: list[str]
) -> dict[str, tuple[Cumulative, ...]]:
    try:
        read = usage.quantities(terms.tenant, since=span.start, cuts=inside, metrics=metrics)
    except UnknownMetric:  # a book may price what the catalog does not have, or has no more
        read = usage.quantities(terms.tenant, since=span.start, cuts=inside)
    return {name: tuple(parts) for name, parts in read.items() if name in span.book}


def closed_until_ns(usage: Metered | None, tenants: Sequence[str]) -> dict[str, int]:
    """Before when the source takes no more events, for each tenant; a source that does not say has
    all that there is. Who was purged is left out."""
    ask = getattr(usage, "closed_until_many", None)
    if ask is None:
        return dict.fromkeys(tenants, sys.maxsize)
    try:
        return dict(zip(tenants, [to_ns(one, "until") for one in ask(tenants)], strict=True))
    except UnknownTenant:
        if len(tenants) == 1:
            return {}
    every = [closed_until_ns(usage, [tenant]) for tenant in tenants]
    return {tenant: until for found in every for tenant, until in found.items()}


@contextmanager
def one_state(usage: Metered | None) -> Iterator[Metered | None]:
    """One state of a source for many questions, where it has such a thing."""
    snapshot = getattr(usage, "snapshot", None)
    if snapshot is None:
        yield usage
        return
    with snapshot() as now:
        yield now


@contextmanager
def one_state_of_totals(usage: Metered | None, kept: KeptTotals) -> Iterator[Metered | None]:
    """The same for bills that nobody keeps: no digests of events, and of events only those that are
    new since `kept` was asked last, where the source can do that."""
    with one_state(usage) as now:
        totals = getattr(now, "totals", None)
        yield now if totals is None else totals(kept)


def _given(
    usage: Mapping[str, Any], terms: Terms, span: Span, inside: list[datetime]
) -> dict[str, tuple[Cumulative, ...]]:
    found = {}
    for metric, value in usage.items():
        if metric not in span.book and len(terms.spans) > 1:
            continue
        if isinstance(value, (list, tuple)):
            if not all(isinstance(one, Cumulative) for one in value):
                raise InvalidValue(f"usage.{metric}", f"expected Cumulatives, got {shown(value)}")
            parts = tuple(one for one in value if span.start < one.until <= span.end)
            if [one.until for one in parts] != inside:
                raise InvalidValue("usage", f"{shown(metric)} is needed at {_list(inside)}")
            found[metric] = parts
        elif len(terms.spans) > 1 or len(inside) > 1:
            moments = [moment for one in terms.spans for moment in (one.start, one.end)]
            raise InvalidValue(
                "usage",
                f"one quantity of {shown(metric)} does not say when it was used, and the terms "
                f"change within the period",
                remedy=f"Cumulatives at {_list(sorted({*moments, *inside})[1:])}",
            )
        else:
            found[metric] = (Cumulative(inside[0], _core.exact(value, f"usage.{metric}")),)
    return found


def _list(moments: Sequence[datetime]) -> str:
    return ", ".join(moment.isoformat() for moment in moments)


def usage_to_text(usage: UsageOfSpans, labels: Mapping[str, Any]) -> str:
    spans = [
        {
            metric: [
                [to_ns(one.until, "until"), f"{one.quantity:f}", one.events, one.digest]
                for one in parts
            ]
            for metric, parts in span.items()
        }
        for span in usage
    ]
    return _write({"labels": labels, "spans": spans})


_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def usage_from_text(text: str) -> tuple[UsageOfSpans, Mapping[str, Any]]:
    value = json.loads(text)
    usage = [
        {
            metric: tuple(
                Cumulative(to_moment(until_ns), _core.exact(quantity, metric), events, digest)
                for until_ns, quantity, events, digest in parts
            )
            for metric, parts in span.items()
        }
        for span in value["spans"]
    ]
    return usage, value["labels"]
