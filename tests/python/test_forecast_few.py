"""Forecasts of one tenant, or of three: what their own past carries, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from tenancy.forecast import backtest, forecast
from test_forecast import population, usage


def flat(days: int, seed: int = 4) -> list[int]:
    found: list[int] = numpy.random.default_rng(seed).poisson(400, days).tolist()
    return found


def only(columns: dict[str, list[Any]], **options: Any) -> dict[str, Any]:
    row: dict[str, Any] = next(iter(forecast(columns, **options).frame()))
    return row


def test_one_tenant_with_a_year_chooses_by_its_own_months() -> None:
    alone = forecast(usage({"acme": flat(400)}))
    methods = next(iter(alone.methods()))
    assert methods["method"] in ("steady_profile", "trend_profile")
    assert methods["why"].startswith("closer than profile by")
    assert methods["why"].endswith("over 12 windows of 1 series")
    row = next(iter(alone.frame()))
    assert row["low_80"] < 30 * 400 < row["high_80"]
    assert row["low_95"] is None
    assert row["refused"] == (
        "12 independent windows to calibrate by, 95% needs 20; at most 84% can be given"
    )
    given = only(usage({"acme": flat(400)}), levels=[0.84])
    assert given["refused"] is None
    assert given["low_84"] is not None


def test_one_tenant_with_a_quarter_gets_a_median_and_is_told_why_no_more() -> None:
    alone = forecast(usage({"acme": flat(90)}))
    methods = next(iter(alone.methods()))
    assert methods["method"] == "profile"
    assert methods["why"] == "2 windows of 1 series are too few to choose by, 8 are needed"
    row = next(iter(alone.frame()))
    assert row["median"] is not None
    assert (row["low_80"], row["high_95"]) == (None, None)
    assert row["refused"] == (
        "2 independent windows to calibrate by, 80% needs 5; at most 50% can be given"
    )
    # A shorter horizon has more windows: the remedy that needs no other tenant.
    assert only(usage({"acme": flat(90)}), horizon=14)["low_80"] is not None


def test_three_tenants_pool_their_errors() -> None:
    row = only(usage({name: flat(162, seed) for seed, name in enumerate("abc")}))
    assert row["low_80"] is not None
    assert row["refused"].startswith("12 independent windows")
    methods = forecast(usage({n: flat(162, s) for s, n in enumerate("abc")})).methods()
    assert methods["why"][0].endswith("over 12 windows of 3 series")


def test_half_a_year_of_one_tenant_and_a_quarter_of_ten() -> None:
    row = only(usage({"acme": flat(180)}))
    assert row["low_80"] is not None
    assert row["low_95"] is None
    ten = forecast(usage({f"t{i}": flat(90, i) for i in range(10)}))
    assert [each["refused"] for each in ten.frame()] == [None] * 10
    assert ten.methods()["why"][0].endswith("over 10 series")


def test_a_second_metric_of_the_same_tenant_is_calibrated_with_the_first_where_needed() -> None:
    both = usage({"acme": flat(162, 1)})
    tokens = usage({"acme": flat(162, 2)}, metric="tokens")
    columns = {name: both[name] + tokens[name] for name in both}
    assert [row["low_80"] is None for row in forecast(both).frame()] == [True]
    assert [row["low_80"] is None for row in forecast(columns).frame()] == [False, False]


def test_where_no_history_is_long_enough_nothing_is_chosen() -> None:
    found = forecast(usage({"a": flat(90), "b": flat(90)}), levels=[0.5])
    assert found.methods()["why"] == [
        "4 windows of 2 series are too few to choose by, 8 are needed"
    ]


@pytest.mark.slow
def test_the_choice_by_windows_is_never_far_behind_the_default() -> None:
    """What is chosen by few windows is measured on months that had no part in it."""
    chosen, usual = [], []
    for seed in range(8):
        alone = usage(population(1, 520, seed))
        tested = backtest(alone, history=360, origins=3, levels=[0.5])
        plain = backtest(alone, history=360, origins=3, levels=[0.5], method="profile")
        chosen.append(tested.scores()["wape"][0])
        usual.append(plain.scores()["wape"][0])
    assert numpy.mean(chosen) < 1.05 * numpy.mean(usual)


@pytest.mark.slow
def test_intervals_of_single_tenants_cover_what_they_promise() -> None:
    hits = []
    for seed in range(150):
        ((tenant, days),) = population(1, 430, seed).items()
        row = only(usage({tenant: days[:400]}), levels=[0.8])
        hits.append(row["low_80"] <= sum(days[400:]) <= row["high_80"])
    assert 0.72 <= numpy.mean(hits) <= 0.9
