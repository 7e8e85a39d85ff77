"""A whole customer base in one call, and that nothing depends on how it is divided."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest

from tenancy.forecast import forecast
from tenancy.pricing import Graduated, PriceBook, Tier

HERE = str(Path(__file__).parent)
METRICS = ["calls", "exports", "seats", "stamps", "tokens"]
DAYS, HORIZON = 90, 30
TIERS = Graduated(
    [
        Tier(10_000, "0.001"),
        Tier(100_000, "0.0008"),
        Tier(1_000_000, "0.0005"),
        Tier(None, "0.0003"),
    ]
)
BOOK = PriceBook.from_dict(
    {
        "price_book": "base",
        "currency": "USD",
        "base_fee": 5,
        "metrics": dict.fromkeys(METRICS, TIERS.to_dict()),
    }
)


def base(tenants: int, first: int = 0) -> Any:
    """Daily usage of five metrics; a tenant is the same in every base that has it."""
    days = numpy.datetime64("2026-01-01", "us") + numpy.arange(DAYS).astype("timedelta64[D]")
    week = 1 + 0.3 * numpy.sin(numpy.arange(DAYS) / 7 * 2 * numpy.pi)
    tables = []
    for number, metric in enumerate(METRICS):
        source = numpy.random.default_rng(number)
        level = source.lognormal(5, 1.5, first + tenants)[:, None]
        counts = source.poisson(level * week * source.lognormal(0, 0.3, (first + tenants, DAYS)))
        names = [f"t{i:05d}" for i in range(first, first + tenants)]
        tables.append(
            pyarrow.table(
                {
                    "tenant": pyarrow.array(numpy.repeat(names, DAYS)),
                    "metric": pyarrow.array([metric] * (tenants * DAYS)).dictionary_encode(),
                    "time": pyarrow.array(
                        numpy.tile(days, tenants), pyarrow.timestamp("us", "UTC")
                    ),
                    "quantity": pyarrow.array(counts[first:].ravel()),
                }
            )
        )
    return pyarrow.concat_tables(tables)


@pytest.mark.slow
def test_ten_thousand_tenants_with_five_metrics_and_a_thousand_samples_in_one_call() -> None:
    coming = forecast(base(10_000), horizon=HORIZON, method="profile")
    assert (len(coming), coming.samples) == (50_000, 1_000)
    cost = coming.cost(BOOK)
    frame = cost.frame()
    assert len(frame) == 10_000
    # Single ones are what pricing their draws one after the other gives.
    for place in (0, 4_321, 9_999):
        tenant = f"t{place:05d}"
        draws = [coming.draws(tenant, metric).tolist() for metric in METRICS]
        priced = sorted(
            sum((TIERS.amount(quantity) for quantity in one), start=5)
            for one in zip(*draws, strict=True)
        )
        assert sorted(cost.draws(tenant).tolist()) == priced
        assert frame["median"][place] == priced[499]
    (total,) = cost.total()
    assert float(total["mean"]) == pytest.approx(float(sum(frame["mean"])), rel=1e-9)
    again = forecast(base(10_000), horizon=HORIZON, method="profile").cost(BOOK)
    assert again.frame() == frame


def test_long_columns_shared_by_threads_are_what_short_ones_of_one_thread_are() -> None:
    """A column below 100,000 elements is priced by one thread, a longer one by two."""
    quantities = numpy.random.default_rng(7).integers(0, 3_000_000, 1_000_003)
    whole = TIERS.amounts(quantities).tolist()
    for parts in (11, 12, 1_000):
        joined = [TIERS.amounts(part) for part in numpy.array_split(quantities, parts)]
        assert [amount for part in joined for amount in part.tolist()] == whole


PROGRAM = """
import hashlib, os, sys, threading
from test_forecast_population import BOOK, HORIZON, base, forecast
if sys.argv[1] == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
usage = base(300)

def digest():
    cost = forecast(usage, horizon=HORIZON).cost(BOOK)
    draws = [cost.draws(tenant).tolist() for tenant in cost.tenants[::37]]
    return hashlib.sha256(repr((draws, list(cost.frame()))).encode()).hexdigest()

found = []
count = int(sys.argv[2])  # callers at once
threads = [threading.Thread(target=lambda: found.append(digest())) for _ in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*sorted(set(found)), len(found) == count)
"""


@pytest.mark.slow
def test_cores_threads_of_libraries_and_callers_at_once_change_no_bit() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, cores, str(callers)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads,
                 "PYTHONPATH": HERE},
            capture_output=True, text=True, check=True,
        ).stdout
        for cores, callers, threads in (
            ("one core", 1, "1"), ("all", 1, "2"), ("all", 2, "1"), ("all", 3, "3"),
        )
    }  # fmt: skip
    assert len(answers) == 1
    assert answers.pop().endswith("True\n")


def test_seeds_reproduce_whichever_other_tenants_are_in_the_call() -> None:
    """Draws are a tenant's own: of the pool that all share, and of the seed."""
    usage = base(24)
    coming = forecast(usage, horizon=HORIZON, method="profile", seed=5, samples=500)
    assert coming.draws("t00007", "calls") == forecast(
        usage, horizon=HORIZON, method="profile", seed=5, samples=500
    ).draws("t00007", "calls")
    shuffled = usage.take(numpy.random.default_rng(1).permutation(len(usage)))
    other = forecast(shuffled, horizon=HORIZON, method="profile", seed=5, samples=500)
    for metric in METRICS:
        assert other.draws("t00019", metric) == coming.draws("t00019", metric)
    # Several at once are what each one alone is.
    rows = numpy.arange(len(coming))
    together = coming._source.draw(rows)
    for part in (1, 7, 50):
        pieces = [coming._source.draw(each) for each in numpy.array_split(rows, part)]
        assert (numpy.concatenate(pieces) == together).all()
    assert (forecast(usage, horizon=HORIZON, method="profile", seed=6, samples=500)
            .draws("t00007", "calls") != coming.draws("t00007", "calls"))  # fmt: skip
