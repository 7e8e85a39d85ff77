"""Back-tests: the measures beside an independent library, and the recorded series."""

from __future__ import annotations

import functools
from typing import Any

import numpy
import pandas
import pytest
from utilsforecast import losses

from tenancy.demo.recorded import SEASONS, recorded_usage, scaled_usage
from tenancy.errors import InvalidValue
from tenancy.forecast import Backtest, backtest, forecast
from tenancy.forecast import _scores as scores
from tenancy.pricing import Graduated, PerUnit, PriceBook, Tier
from test_forecast import TWENTY, population, usage

FOUR_TIERS = Graduated(
    [
        Tier(10_000, "0.001"),
        Tier(100_000, "0.0008"),
        Tier(1_000_000, "0.0005"),
        Tier(None, "0.0003"),
    ],
    currency="USD",
)


def long_frame(ids: int, steps: int, seed: int) -> Any:
    source = numpy.random.default_rng(seed)
    frame = pandas.DataFrame(
        {
            "unique_id": numpy.repeat(numpy.arange(ids), steps),
            "ds": numpy.tile(numpy.arange(steps), ids),
            "y": source.poisson(20, ids * steps).astype(float),
            "m": source.normal(20, 5, ids * steps),
        }
    )
    for i in range(9):
        frame[f"q{i}"] = frame["m"] + (i - 4)
    return frame


def grid(frame: Any, column: str, ids: int) -> Any:
    return frame[column].to_numpy().reshape(ids, -1)


def test_the_measures_are_those_of_utilsforecast() -> None:
    whole = long_frame(6, 40, 1)
    past, coming = whole[whole.ds < 28], whole[whole.ds >= 28]
    y, m = grid(coming, "y", 6), grid(coming, "m", 6)
    theirs = losses.mase(coming, ["m"], 7, past)["m"]
    assert scores.mase(y, m, grid(past, "y", 6), 7) == pytest.approx(theirs)
    assert scores.smape(y, m) == pytest.approx(losses.smape(coming, ["m"])["m"])
    errors = losses.mae(coming, ["m"])["m"].sum() * y.shape[1]
    assert scores.wape(y, m) == pytest.approx(errors / y.sum())
    shares = [(i + 0.5) / 9 for i in range(9)]
    quantiles = numpy.stack([grid(coming, f"q{i}", 6).ravel() for i in range(9)], axis=1)
    each = [
        losses.quantile_loss(coming, {"m": f"q{i}"}, q=share)["m"].mean()
        for i, share in enumerate(shares)
    ]
    assert scores.pinball(y.ravel(), quantiles, shares).mean() == pytest.approx(numpy.mean(each))


def test_crps_of_many_quantiles_is_that_of_the_samples() -> None:
    source = numpy.random.default_rng(2)
    samples = numpy.sort(source.gamma(2, 50, 200))
    shares = [(i + 0.5) / 200 for i in range(200)]
    for actual in (0.0, 60.0, 400.0):
        # E|X - a| - E|X - X'| / 2 over the samples.
        direct = numpy.abs(samples - actual).mean() - (
            numpy.abs(samples[:, None] - samples[None, :]).mean() / 2
        )
        found = scores.crps(numpy.array([actual]), samples[None, :], shares)[0]
        assert found == pytest.approx(direct)


def test_a_series_is_a_block_of_the_bootstrap() -> None:
    blocks = [numpy.ones(50), numpy.zeros(50)] * 8
    low, high = scores.block_bootstrap(blocks)
    assert low < 0.35
    assert high > 0.65
    low, high = scores.block_bootstrap([numpy.tile([1.0, 0.0], 25)] * 16)
    assert (low, high) == (0.5, 0.5)
    assert scores.block_bootstrap(blocks) == scores.block_bootstrap(blocks)


def test_a_back_test_is_what_forecasts_of_then_would_have_said() -> None:
    everything = population(20, 150)
    tested = backtest(
        usage(everything), method="profile", origins=3, prices=FOUR_TIERS, levels=[0.8]
    )
    hits, costs, came = [], [], []
    by_tenant: dict[str, list[tuple[float, float]]] = {}
    for origin in (90, 105, 120):
        known = {t: days[origin - 90 : origin] for t, days in everything.items()}
        for row in forecast(usage(known), method="profile", levels=[0.8]).frame():
            actual = sum(everything[row["tenant"]][origin : origin + 30])
            hits.append(row["low_80"] <= actual <= row["high_80"])
            by_tenant.setdefault(row["tenant"], []).append(
                (float(FOUR_TIERS.amount(actual)), float(FOUR_TIERS.amount(row["median"])))
            )
            costs.append(abs(actual - float(row["median"])))
            came.append(actual)
    own = next(iter(tested.scores()))
    assert (own["method"], own["series"], own["windows"]) == ("profile", 20, 60)
    assert own["coverage_80"] == sum(hits) / 60
    shares = [
        sum(abs(a - p) for a, p in pairs) / sum(a for a, _ in pairs) for pairs in by_tenant.values()
    ]
    assert own["wape_cost"] == pytest.approx(numpy.mean(shares), rel=1e-6)
    assert tested.methods == ("profile", "run_rate", "seasonal_naive")
    assert (tested.windows, tested.independent, tested.currency) == (60, 20, "USD")


def test_what_a_back_test_refuses() -> None:
    with pytest.raises(InvalidValue, match=r"time: row 0: .* has 90 steps; 90 before and 30 after"):
        backtest(usage(TWENTY))
    book = PriceBook.from_dict({"price_book": "b", "currency": "USD", "metrics": {"x": "1"}})
    with pytest.raises(InvalidValue, match="no price of calls"):
        backtest(usage(TWENTY), horizon=10, prices=book)
    found = backtest(usage(TWENTY), horizon=10, method="run_rate", prices=PerUnit(1))
    assert found.methods == ("run_rate", "seasonal_naive")
    with pytest.raises(InvalidValue, match="metric: no usage of"):
        found.scores("x")
    with pytest.raises(InvalidValue, match="no window had an interval"):
        found.coverage_interval(0.5)


def test_a_level_that_is_refused_is_not_counted_as_covered() -> None:
    few = population(3, 150)
    row = next(iter(backtest(usage(few), origins=2).scores()))
    assert (row["answered_80"], row["answered_95"]) == (1.0, 0.0)
    assert row["coverage_95"] != row["coverage_95"]  # not a number


# --- the recorded series


@functools.cache
def on_recorded_series() -> Backtest:
    return backtest(scaled_usage(), season=SEASONS, origins=16, prices=FOUR_TIERS)


def test_the_recorded_series_are_whole() -> None:
    recorded = recorded_usage()
    assert (len(recorded), len(set(zip(recorded["tenant"], recorded["metric"], strict=True)))) == (
        14_467, 13,
    )  # fmt: skip
    sums: dict[str, int] = {}
    for metric, quantity in zip(recorded["metric"], recorded["quantity"], strict=True):
        sums[metric] = sums.get(metric, 0) + quantity
    assert sums["mentions"] == 1_360_453 + 843_768 + 53_261 + 282_006 + 328_506 + 13_742
    assert sums["rides"] == 156_219_716
    assert sums["context_tokens"] == 22_361_870 + 18_059_974
    assert len(scaled_usage()) == 13 * 162


def test_the_default_beats_run_rate_and_seasonal_naive_on_the_recorded_series() -> None:
    rows = {row["method"]: row for row in on_recorded_series().scores()}
    for other in ("run_rate", "seasonal_naive"):
        for measure in ("wape_cost", "wape", "pinball", "crps", "mase"):
            assert rows["auto"][measure] < rows[other][measure], (other, measure)


def test_the_verdict_claims_what_other_tenants_would_have_shown_as_well() -> None:
    tested = on_recorded_series()
    assert [part.split(" (")[0].removeprefix("auto ") for part in tested.verdict().split(", ")] == [
        "beats run_rate on wape_cost",
        "equals run_rate on crps",
        "beats seasonal_naive on wape_cost",
        "equals seasonal_naive on crps",
    ]
    low, high = tested.interval("crps", against="run_rate")
    assert low < 0 < high
    assert f"; {low:+.3f} to {high:+.3f} as 11 tenants are drawn)" in tested.verdict()


def test_the_verdict_claims_nothing_by_few_tenants() -> None:
    """Of one, each drawing is the same: its difference would be certain."""
    days = [7 * (1 + day % 7) for day in range(200)]
    alone = backtest(usage({"a": days}), season=7, method="seasonal_naive")
    assert alone.interval("wape", against="run_rate")[1] < 0
    assert "beats" not in alone.verdict()
    assert "equals run_rate on wape (0.000 against" in alone.verdict()
    assert alone.verdict().count("; 1 tenant is too few to tell)") == 2


def test_the_verdict_tells_of_a_loss() -> None:
    """Last week again is exact here, and the mean of the month is not."""
    days = {
        name: [size * (1 + day % 7) for day in range(200)] for size, name in enumerate("abcdef", 1)
    }
    tested = backtest(usage(days), season=7, method="run_rate")
    assert "loses to seasonal_naive on wape" in tested.verdict()


def test_the_advantage_is_more_than_the_choice_of_these_tenants_explains() -> None:
    for other in ("run_rate", "seasonal_naive"):
        _, high = on_recorded_series().interval("wape_cost", against=other)
        assert high < 0, other


def test_intervals_cover_what_they_promise_on_the_recorded_series() -> None:
    tested = on_recorded_series()
    own = next(iter(tested.scores()))
    assert (tested.windows, tested.independent) == (208, 11)
    assert 0.75 <= own["coverage_80"] <= 0.85
    assert 0.92 <= own["coverage_95"] <= 0.98
    assert own["answered_80"] == own["answered_95"] == 1.0
    for level in (0.8, 0.95):
        low, high = tested.coverage_interval(level)
        assert low < own[f"coverage_{level * 100:.0f}"] < high
        assert high - low > 0.05  # eleven tenants do not say it closer
