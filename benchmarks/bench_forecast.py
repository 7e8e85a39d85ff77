"""Forecasts beside statsforecast, and samples priced beside NumPy and pandas.

Ten thousand tenants with ninety days each, thirty days ahead, with intervals of 80 and 95 %: ours
with the choice of the method and with seasonal naive; beside statsforecast's SeasonalNaive with
conformal intervals and AutoETS, which is run on a part and scaled up. Then fifty million sampled
quantities through four tiers; and 10,000 tenants with five metrics and 1,000 draws.

    python benchmarks/bench_forecast.py [--tenants 10000] [--samples 50000000] [--ets 200]
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, SeasonalNaive
from statsforecast.utils import ConformalIntervals

from common import print_table, version
from tenancy.forecast import forecast
from tenancy.pricing import Graduated, PriceBook, Tier

DAYS, HORIZON = 90, 30
BOUNDS = [10_000, 100_000, 1_000_000]
UNITS = ["0.001", "0.0008", "0.0005", "0.0003"]
PRICE = Graduated([Tier(b, u) for b, u in zip([*BOUNDS, None], UNITS, strict=True)])
METRICS = ["calls", "tokens", "stamps", "exports", "seats"]


def seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """The best of several runs."""
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def population(tenants: int) -> Any:
    source = np.random.default_rng(1)
    level = source.lognormal(5, 1.5, tenants)
    week = 1 + 0.3 * np.sin(np.arange(DAYS) / 7 * 2 * np.pi)
    return source.poisson(level[:, None] * week * source.lognormal(0, 0.3, (tenants, DAYS)))


def frame_of(counts: Any, metrics: list[str]) -> Any:
    tenants = len(counts)
    times = np.datetime64("2026-01-01") + np.arange(DAYS).astype("timedelta64[D]")
    names = np.repeat([f"t{i:05d}" for i in range(tenants)], DAYS)
    stamps = pa.array(np.tile(times, tenants).astype("datetime64[us]"))
    one = {
        "tenant": pa.array(names),
        "time": stamps.cast(pa.timestamp("us", "UTC")),
        "quantity": pa.array(counts.ravel()),
    }
    tables = [
        pa.table({**one, "metric": pa.array([metric] * len(names)).dictionary_encode()})
        for metric in metrics
    ]
    return pa.concat_tables(tables)


def statsforecast_seconds(counts: Any, model: Any, rounds: int) -> float:
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(counts)), DAYS),
            "ds": np.tile(pd.date_range("2026-01-01", periods=DAYS), len(counts)),
            "y": counts.ravel().astype("float64"),
        }
    )
    engine = StatsForecast(models=[model], freq="D", n_jobs=1)
    return seconds(lambda: engine.forecast(df=frame, h=HORIZON, level=[80, 95]), rounds)


def forecasts(tenants: int, ets: int) -> None:
    counts = population(tenants)
    frame = frame_of(counts, ["calls"])
    naive = SeasonalNaive(7, prediction_intervals=ConformalIntervals(h=HORIZON, n_windows=2))
    statsforecast_seconds(counts[:10], AutoETS(season_length=7), 1)  # compiles
    times = {
        "tenancy, method chosen": seconds(lambda: forecast(frame, horizon=HORIZON)),
        "tenancy, seasonal naive": seconds(
            lambda: forecast(frame, horizon=HORIZON, method="seasonal_naive")
        ),
        "SeasonalNaive, conformal": statsforecast_seconds(counts, naive, 1),
        f"AutoETS (of {ets}, scaled)": statsforecast_seconds(
            counts[:ets], AutoETS(season_length=7), 1
        )
        * tenants
        / ets,
    }
    ours = times["tenancy, method chosen"]
    rows = [(name, f"{t:,.2f} s", f"{t / ours:,.1f} x") for name, t in times.items()]
    title = f"{tenants:,} tenants, {DAYS} days, {HORIZON} ahead, intervals of 80 and 95 %. "
    print_table(title + version("statsforecast"), rows, ("", "all", "against tenancy"))


BASES = np.array([0.0, 10.0, 82.0, 532.0])
FLOAT_UNITS = np.array([float(u) for u in UNITS])
LOWERS = np.array([0, *BOUNDS])


def by_numpy(quantities: Any) -> Any:
    tier = np.searchsorted(BOUNDS, quantities, side="left")
    return BASES[tier] + (quantities - LOWERS[tier]) * FLOAT_UNITS[tier]


def by_pandas(quantities: Any) -> Any:
    series = pd.Series(quantities)
    total = pd.Series(0.0, index=series.index)
    for lower, upper, unit in zip(LOWERS, [*BOUNDS, np.inf], FLOAT_UNITS, strict=True):
        total += (series.clip(upper=upper) - lower).clip(lower=0) * unit
    return total


def samples(count: int) -> None:
    quantities = np.random.default_rng(2).integers(0, 3_000_000, count)
    few = quantities[: max(1, count // 10)]
    assert abs(float(PRICE.amounts(few).sum()) - by_numpy(few).sum()) < 1
    times = {
        "tenancy, exact": seconds(lambda: PRICE.amounts(quantities)),
        "NumPy, float64": seconds(lambda: by_numpy(quantities), 2),
        "pandas, float64": seconds(lambda: by_pandas(quantities), 2),
    }
    ours = times["tenancy, exact"]
    rows = [(name, f"{t:,.2f} s", f"{t / ours:,.1f} x") for name, t in times.items()]
    head = ("", "all", "against tenancy")
    print_table(f"{count:,} sampled quantities in four tiers", rows, head)


def whole_base(tenants: int) -> None:
    frame = frame_of(population(tenants), METRICS)
    book = PriceBook.from_dict(
        {
            "price_book": "bench",
            "currency": "USD",
            "base_fee": 5,
            "metrics": dict.fromkeys(METRICS, PRICE.to_dict()),
        }
    )
    start = time.perf_counter()
    coming = forecast(frame, horizon=HORIZON)
    made = time.perf_counter()
    cost = coming.cost(book)
    priced = time.perf_counter()
    cost.frame(), cost.total()
    shown = time.perf_counter()
    rows = [
        ("forecast", f"{made - start:,.2f} s"),
        (f"{len(coming) * coming.samples / 1e6:,.0f} M draws, priced", f"{priced - made:,.2f} s"),
        ("intervals of each tenant and of the sum", f"{shown - priced:,.2f} s"),
    ]
    print_table(f"{tenants:,} tenants, five metrics, {coming.samples:,} draws", rows, ("", "time"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=50_000_000)
    parser.add_argument("--ets", type=int, default=200)
    options = parser.parse_args()
    forecasts(options.tenants, min(options.ets, options.tenants))
    samples(options.samples)
    whole_base(options.tenants)


if __name__ == "__main__":
    main()
