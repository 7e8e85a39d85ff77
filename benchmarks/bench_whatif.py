"""What-if over a customer base, beside pandas written by hand; and the replay of traffic.

Ten thousand tenants, a year of daily usage of two metrics, four price books: sums by tenant and
month, every month priced under every book with base fee and minimum, revenue, and the tenants by
how much their bill changes. All begin with the same pandas data frame, with tenants as whole
numbers, as a categorical and as texts. pandas prices twice: vectorised in binary floating point, as
analysts do, and exactly, with `Decimal` in one call for each bill (on a part, scaled up).

The replay of a million requests under a limit, beside the limiter asked one by one with a clock of
its own, and a deque of times for each tenant.

    python benchmarks/bench_whatif.py [--tenants 10000] [--requests 1000000] [--quick]
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from common import print_table, version
from tenancy.limits import Limiter
from tenancy.pricing import PriceBook
from tenancy.testing import FakeClock
from tenancy.whatif import replay_limits, reprice

BOUNDS = [10_000, 100_000, 1_000_000]
UNITS = ["0.001", "0.0008", "0.0005", "0.0003"]
FACTORS = {"today": "1", "dearer": "1.1", "lower": "0.9", "double": "2"}
METRICS = ["calls", "tokens"]
FEE, MINIMUM = 20, 30
START = np.datetime64("2025-01-01", "ns")


def units_of(factor: str) -> list[Decimal]:
    return [Decimal(unit) * Decimal(factor) for unit in UNITS]


def book_of(name: str, factor: str) -> PriceBook:
    tiers = [
        {**({"up_to": bound} if bound else {}), "unit": unit}
        for bound, unit in zip([*BOUNDS, None], units_of(factor), strict=True)
    ]
    return PriceBook.from_dict(
        {
            "price_book": name,
            "currency": "USD",
            "base_fee": FEE,
            "minimum": MINIMUM,
            "metrics": {metric: {"model": "graduated", "tiers": tiers} for metric in METRICS},
        }
    )


BOOKS = {name: book_of(name, factor) for name, factor in FACTORS.items()}


def base_of(tenants: int, kind: str) -> pd.DataFrame:
    """A year of daily sums of every tenant and metric."""
    source = np.random.default_rng(7)
    names = np.array([f"ten_{source.integers(2**60):016x}" for _ in range(tenants)], object)
    codes = np.tile(np.arange(tenants), 365 * len(METRICS))
    day = np.repeat(np.arange(365), tenants)
    frame = pd.DataFrame(
        {
            "tenant": names[codes] if kind == "texts" else codes,
            "time": np.tile(START + day * np.timedelta64(1, "D"), len(METRICS)),
            "metric": pd.Categorical.from_codes(np.repeat([0, 1], len(day)), METRICS),
            "quantity": (source.pareto(1.3, len(codes)) * 300).astype("int64"),
        }
    )
    if kind == "categories":
        frame["tenant"] = pd.Categorical.from_codes(codes, names)
    return frame


# --- the three ways


def with_tenancy(frame: pd.DataFrame) -> tuple[list[Decimal], Any]:
    result = reprice(frame, BOOKS)
    revenue = [row["revenue"] for row in result.totals()]
    return revenue, result.winners_losers("today", "dearer")


def sums_of(frame: pd.DataFrame) -> pd.DataFrame:
    keys = ["tenant", frame["time"].dt.to_period("M"), "metric"]
    sums = frame.groupby(keys, observed=True)["quantity"].sum()
    return sums.unstack("metric", fill_value=0)


def float_amounts(quantities: Any, factor: float) -> Any:
    bases = np.array([0.0, 10.0, 82.0, 532.0])
    lowers = np.array([0, *BOUNDS])
    tier = np.searchsorted(BOUNDS, quantities, side="left")
    rates = np.array([float(unit) for unit in UNITS])
    return (bases[tier] + (quantities - lowers[tier]) * rates[tier]) * factor


def with_pandas(frame: pd.DataFrame) -> tuple[list[float], Any]:
    sums = sums_of(frame)
    bills = pd.DataFrame(index=sums.index)
    for name, factor in FACTORS.items():
        usage = sum(float_amounts(sums[m].to_numpy(), float(factor)) for m in METRICS)
        bills[name] = np.maximum(FEE + usage, MINIMUM)
    by_tenant = bills.groupby(level="tenant", observed=True).sum()
    by_tenant["change"] = by_tenant["dearer"] - by_tenant["today"]
    return bills.sum().tolist(), by_tenant.sort_values("change")


def decimal_amount(quantity: int, units: list[Decimal]) -> Decimal:
    total, lower = Decimal(0), 0
    for bound, unit in zip([*BOUNDS, None], units, strict=True):
        if bound is None or quantity <= bound:
            return total + (quantity - lower) * unit
        total += (bound - lower) * unit
        lower = bound
    return total


def with_pandas_exactly(frame: pd.DataFrame) -> tuple[list[Decimal], Any]:
    sums = sums_of(frame)
    bills = pd.DataFrame(index=sums.index)
    for name, factor in FACTORS.items():
        units = units_of(factor)
        bills[name] = [
            max(FEE + decimal_amount(a, units) + decimal_amount(b, units), Decimal(MINIMUM))
            for a, b in zip(sums["calls"].tolist(), sums["tokens"].tolist(), strict=True)
        ]
    by_tenant = bills.groupby(level="tenant", observed=True).sum()
    by_tenant["change"] = by_tenant["dearer"] - by_tenant["today"]
    return bills.sum().tolist(), by_tenant.sort_values("change")


def best(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    times, answer = [], None
    for _ in range(rounds):
        gc.collect()
        begin = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - begin)
    return min(times), answer


def reprices(tenants: int, rounds: int) -> None:
    rows = []
    for kind in ("whole numbers", "categories", "texts"):
        frame = base_of(tenants, kind)
        ours, (revenue, _) = best(lambda f=frame: with_tenancy(f), rounds)
        floats, (theirs, _) = best(lambda f=frame: with_pandas(f), max(1, rounds // 2))
        exact, (same, _) = best(lambda f=frame: with_pandas_exactly(f), 1)
        assert revenue == same, "both are exact"
        off = max(abs(Decimal(a) - b) for a, b in zip(theirs, revenue, strict=True))
        rows += [
            (kind, "tenancy", f"{ours * 1e3:,.0f} ms", "", "exact"),
            (kind, "pandas, floats", f"{floats * 1e3:,.0f} ms", f"{floats / ours:.1f} x",
             f"off by {float(off):.1e}"),
            (kind, "pandas, Decimal", f"{exact * 1e3:,.0f} ms", f"{exact / ours:.1f} x", "exact"),
        ]  # fmt: skip
    head = ("tenants as", "", "time", "against tenancy", "revenue")
    title = f"{tenants:,} tenants, two metrics, a year of days, four price books"
    print_table(f"{title}. {version('pandas')}", rows, head)


# --- traffic

LIMITS = [
    ("15/minute", "sliding_window"),
    ("15/minute", "token_bucket"),
    ("15/minute", "fixed_window"),
    ("15/minute", "sliding_log"),
]


def replays(requests: int, rounds: int) -> None:
    source = np.random.default_rng(3)
    tenants = source.integers(0, 1000, requests)
    times = START + np.sort(source.integers(0, 3600 * 10**9, requests)).astype("timedelta64[ns]")
    traffic = {"tenant": tenants, "time": times}
    rows = []
    for limit, algorithm in LIMITS:
        wanted = {"x": {"limit": limit, "algorithm": algorithm}}
        ours, found = best(lambda w=wanted: replay_limits(traffic, w), rounds)
        part = requests // 10
        alone, _ = best(
            lambda limit=limit, a=algorithm, n=part: one_by_one(limit, a, tenants[:n], times[:n]), 1
        )
        rows.append((algorithm, "tenancy, replay", f"{ours * 1e3:,.0f} ms", "",
                     f"{sum(found['refused']):,}"))  # fmt: skip
        rows.append((algorithm, "tenancy, one by one", f"{alone * 1e4:,.0f} ms",
                     f"{alone * 10 / ours:.1f} x", "a tenth, scaled up"))  # fmt: skip
        if algorithm == "sliding_log":
            by_hand, refused = best(lambda: deques(15, 60 * 10**9, tenants, times), 1)
            assert refused == sum(found["refused"])
            rows.append((algorithm, "a deque each", f"{by_hand * 1e3:,.0f} ms",
                         f"{by_hand / ours:.1f} x", f"{refused:,}"))  # fmt: skip
    head = ("algorithm", "", "time", "against the replay", "refused")
    print_table(f"{requests:,} requests of 1,000 tenants in an hour", rows, head)


def one_by_one(limit: str, algorithm: Any, tenants: Any, times: Any) -> int:
    clock = FakeClock(start=float(times[0].astype("int64")) / 1e9)
    limiter = Limiter(limit, algorithm=algorithm, clock=clock)
    refused = 0
    native = clock.native
    for tenant, now in zip(map(str, tenants.tolist()), times.astype("int64").tolist(), strict=True):
        native.advance_ns(max(now - native.wall_ns(), 0))
        refused += not limiter.hit(tenant)
    return refused


def deques(limit: int, window_ns: int, tenants: Any, times: Any) -> int:
    taken: dict[int, deque[int]] = defaultdict(deque)
    refused = 0
    for tenant, now in zip(tenants.tolist(), times.astype("int64").tolist(), strict=True):
        log = taken[tenant]
        while log and log[0] <= now - window_ns:
            log.popleft()
        if len(log) < limit:
            log.append(now)
        else:
            refused += 1
    return refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, fewer rounds")
    given = parser.parse_args()
    scale, rounds = (10, 2) if given.quick else (1, 5)
    reprices(given.tenants // scale, rounds)
    replays(given.requests // scale, rounds)


if __name__ == "__main__":
    main()
