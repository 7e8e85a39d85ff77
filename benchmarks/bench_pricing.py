"""Pricing, beside what else prices from Python: one quantity, a million, and five million events.

One quantity in four tiers beside the loop that everybody writes with `Decimal` and with py-moneyed,
exact and rounded to the cent as on a bill; the same per element of a million quantities; and usage
events of ten thousand tenants and five metrics summed and priced, beside pandas, polars, DuckDB and
NumPy, with dense ids, arbitrary 64-bit ids and texts. The peers sum and price with their own
fastest exact or inexact means; those that are not exact are marked, with how far their total is
off.

    python benchmarks/bench_pricing.py [--events 5000000] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import gc
import random
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import moneyed
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from common import median_ns, print_table, version
from tenancy.pricing import Graduated, Tier, rate

BOUNDS = [10_000, 100_000, 1_000_000]
UNITS = ["0.001", "0.0008", "0.0005", "0.0003"]
TIERS = [Tier(b, u) for b, u in zip([*BOUNDS, None], UNITS, strict=True)]
PRICE = Graduated(TIERS)
ROUNDED = Graduated(TIERS, currency="USD", rules={"round_at": "charge"})
CENT = Decimal("0.01")
METRICS = ["hash_operations", "stamps", "api_calls", "storage", "tokens"]

# --- what everybody writes

DECIMAL_TIERS = [(Decimal(b), Decimal(u)) for b, u in zip(BOUNDS, UNITS, strict=False)]
LAST_UNIT = Decimal(UNITS[-1])


def by_decimal(quantity: Decimal) -> Decimal:
    total = lower = Decimal(0)
    for up_to, unit in DECIMAL_TIERS:
        if quantity <= up_to:
            return total + (quantity - lower) * unit
        total += (up_to - lower) * unit
        lower = up_to
    return total + (quantity - lower) * LAST_UNIT


MONEY_TIERS = [(b, moneyed.Money(u, "USD")) for b, u in zip(BOUNDS, UNITS, strict=False)]
LAST_MONEY = moneyed.Money(UNITS[-1], "USD")
NO_MONEY = moneyed.Money(0, "USD")


def by_moneyed(quantity: int) -> Any:
    total, lower = NO_MONEY, 0
    for up_to, unit in MONEY_TIERS:
        if quantity <= up_to:
            return total + unit * (quantity - lower)
        total += unit * (up_to - lower)
        lower = up_to
    return total + LAST_MONEY * (quantity - lower)


def by_decimal_to_the_cent(quantity: Decimal) -> Decimal:
    return by_decimal(quantity).quantize(CENT, ROUND_HALF_UP)


def by_moneyed_to_the_cent(quantity: int) -> Any:
    return by_moneyed(quantity).round(2)


def one_quantity(
    calls: int,
    title: str,
    price: Any,
    decimals: Callable[[Decimal], Any],
    money: Callable[..., Any],
) -> None:
    rows = []
    for quantity in (500, 50_000, 2_345_678):
        exact = Decimal(quantity)
        times = {
            "tenancy, int": median_ns(functools.partial(price.amount, quantity), calls=calls),
            "tenancy, Decimal": median_ns(functools.partial(price.amount, exact), calls=calls),
            "Decimal": median_ns(functools.partial(decimals, exact), calls=calls // 4),
            "py-moneyed": median_ns(functools.partial(money, quantity), calls=calls // 20),
        }
        assert price.amount(quantity) == decimals(exact) == money(quantity).amount
        ours = times["tenancy, int"]
        rows += [
            (f"{quantity:,}", name, f"{ns:,.0f} ns", f"{ns / ours:.1f} x")
            for name, ns in times.items()
        ]
    head = ("quantity", "", "one amount", "against tenancy, int")
    print_table(f"One quantity in four tiers, {title}. {version('py-moneyed')}", rows, head)


def best_seconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def a_million(count: int) -> None:
    source = random.Random(1)
    quantities = np.array([source.randrange(3_000_000) for _ in range(count)], "int64")
    few = [Decimal(int(q)) for q in quantities[: count // 10]]
    few_ints = [int(q) for q in quantities[: count // 100]]
    tenths = quantities.astype(object)[: count // 10]
    decimals = pa.array([Decimal(int(q)) / 8 for q in tenths], pa.decimal128(38, 12))
    assert list(PRICE.amounts(quantities[:1000])) == [by_decimal(q) for q in few[:1000]]
    ours = best_seconds(lambda: PRICE.amounts(quantities), 9) / count
    times = {
        "tenancy, int64": ours,
        "tenancy, decimal128 with fractions": best_seconds(lambda: PRICE.amounts(decimals), 5)
        / len(decimals),
        "Decimal": best_seconds(lambda: [by_decimal(q) for q in few], 3) / len(few),
        "py-moneyed": best_seconds(lambda: [by_moneyed(q) for q in few_ints], 3) / len(few_ints),
    }
    rows = [
        (name, f"{seconds * 1e9:,.1f} ns", f"{seconds / ours:,.0f} x")
        for name, seconds in times.items()
    ]
    head = (f"{count:,} quantities", "each", "against tenancy")
    print_table("An array of quantities in four tiers, best of several runs", rows, head)


# --- five million events


class Events:
    """The same events with three kinds of tenant ids."""

    def __init__(self, count: int, tenants: int = 10_000) -> None:
        source = np.random.default_rng(7)
        self.dense = source.integers(0, tenants, count, dtype="int64")
        self.metric = source.integers(0, len(METRICS), count, dtype="int64")
        # Sums of about a hundred events each: all four tiers are reached.
        self.quantity = (source.pareto(1.2, count) * 500).astype("int64") + 1
        self.wide = source.integers(-(2**62), 2**62, tenants, dtype="int64")[self.dense]
        names = np.array([f"ten_{source.integers(2**60):016x}" for _ in range(tenants)], object)
        self.text = pa.array(names[self.dense], pa.large_string())

    def ids(self, kind: str) -> Any:
        return {"dense": self.dense, "64-bit": self.wide, "text": self.text}[kind]


BASES = [0.0, 10.0, 82.0, 532.0]
FLOAT_UNITS = np.array([float(u) for u in UNITS])
LOWERS = np.array([0, *BOUNDS])


def float_amounts(sums: Any) -> Any:
    """Vectorised binary floating point: what NumPy and pandas users write."""
    tier = np.searchsorted(BOUNDS, sums, side="left")
    return np.array(BASES)[tier] + (sums - LOWERS[tier]) * FLOAT_UNITS[tier]


def with_tenancy(events: Events, kind: str) -> Callable[[], Any]:
    prices = dict.fromkeys(METRICS, PRICE)
    ids = events.ids(kind)

    def run() -> Any:
        return rate(ids, events.quantity, events.metric, prices=prices)

    return run


def with_pandas(events: Events, kind: str) -> Callable[[], Any]:
    ids = events.ids(kind)
    ids = ids.to_pandas() if kind == "text" else ids
    frame = pd.DataFrame({"tenant": ids, "metric": events.metric, "quantity": events.quantity})

    def run() -> Any:
        sums = frame.groupby(["tenant", "metric"], sort=True)["quantity"].sum()
        return float_amounts(sums.to_numpy())

    return run


def with_polars(events: Events, kind: str) -> Callable[[], Any]:
    frame = pl.DataFrame(
        {"tenant": events.ids(kind), "metric": events.metric, "quantity": events.quantity}
    )
    total = pl.col("quantity")
    amount = (
        pl.when(total <= BOUNDS[0]).then(total * 0.001)
        .when(total <= BOUNDS[1]).then(10 + (total - BOUNDS[0]) * 0.0008)
        .when(total <= BOUNDS[2]).then(82 + (total - BOUNDS[1]) * 0.0005)
        .otherwise(532 + (total - BOUNDS[2]) * 0.0003)
    )  # fmt: skip

    def run() -> Any:
        sums = frame.group_by("tenant", "metric").agg(pl.col("quantity").sum())
        return sums.with_columns(amount.alias("amount"))["amount"]

    return run


def with_duckdb(events: Events, kind: str) -> Callable[[], Any]:
    connection = duckdb.connect()
    table = pa.table(
        {"tenant": events.ids(kind), "metric": events.metric, "quantity": events.quantity}
    )
    connection.register("source", table)
    connection.execute("CREATE TABLE events AS SELECT * FROM source")
    query = """
        SELECT tenant, metric, total,
          CASE WHEN total <= 10000 THEN total * 0.001::DECIMAL(18,4)
               WHEN total <= 100000 THEN 10 + (total - 10000) * 0.0008::DECIMAL(18,4)
               WHEN total <= 1000000 THEN 82 + (total - 100000) * 0.0005::DECIMAL(18,4)
               ELSE 532 + (total - 1000000) * 0.0003::DECIMAL(18,4) END AS amount
        FROM (SELECT tenant, metric, sum(quantity)::DECIMAL(18,0) AS total
              FROM events GROUP BY tenant, metric)
    """

    def run() -> Any:
        return connection.sql(query).to_arrow_table()["amount"]

    return run


def with_numpy(events: Events, kind: str) -> Callable[[], Any] | None:
    if kind == "text":
        return None
    ids = events.ids(kind)

    def run() -> Any:
        codes = ids if kind == "dense" else np.unique(ids, return_inverse=True)[1]
        groups = codes * len(METRICS) + events.metric
        return float_amounts(np.bincount(groups, weights=events.quantity))

    return run


PEERS: dict[str, Callable[[Events, str], Callable[[], Any] | None]] = {
    "tenancy": with_tenancy,
    "pandas": with_pandas,
    "polars": with_polars,
    "DuckDB": with_duckdb,
    "NumPy": with_numpy,
}


def off_by(answer: Any, exact: Decimal) -> str:
    """How far a peer's total is off; peers that are exact per row say so."""
    if isinstance(answer, pa.ChunkedArray):
        total = sum((Decimal(str(v)) for v in answer.to_pylist()), Decimal(0))
    else:
        total = sum((Decimal(float(v)) for v in answer), Decimal(0))
    return "exact" if total == exact else f"off by {float(abs(total - exact)):.1e}"


def events(count: int, rounds: int) -> None:
    source = Events(count)
    rows = []
    for kind in ("dense", "64-bit", "text"):
        times: dict[str, float] = {}
        notes: dict[str, str] = {}
        exact = with_tenancy(source, kind)().total
        for name, make in PEERS.items():
            run = make(source, kind)
            if run is None:
                continue
            answer = run()
            notes[name] = "exact" if name == "tenancy" else off_by(answer, exact)
            times[name] = best_seconds(run, rounds)
        ours = times["tenancy"]
        rows += [
            (kind, name, f"{seconds * 1e3:,.1f} ms", f"{seconds / ours:.1f} x", notes[name])
            for name, seconds in times.items()
        ]
    versions = ", ".join(map(version, ("pandas", "polars", "duckdb", "numpy")))
    title = f"{count:,} events, 10,000 tenants x 5 metrics, summed and priced. {versions}"
    print_table(title, rows, ("tenants", "", "best", "against tenancy", "total"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    calls = 100_000 // part
    one_quantity(calls, "exact", PRICE, by_decimal, by_moneyed)
    one_quantity(calls, "to the cent", ROUNDED, by_decimal_to_the_cent, by_moneyed_to_the_cent)
    a_million(1_000_000 // part)
    events(options.events // part, 5)


if __name__ == "__main__":
    main()
