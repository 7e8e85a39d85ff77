"""Nested back-tests: what chooses is never what is measured."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from tenancy.demo.recorded import SEASONS, SOURCES, scaled_usage
from tenancy.errors import InvalidValue
from tenancy.forecast import Settings, backtest, nested_backtest
from tenancy.pricing import Graduated, PerUnit, Tier
from test_forecast import population, usage

DAYS, HORIZON = 60, 10
TIERS = Graduated(
    [
        Tier(10_000, "0.001"),
        Tier(100_000, "0.0008"),
        Tier(1_000_000, "0.0005"),
        Tier(None, "0.0003"),
    ],
    currency="USD",
)
PEOPLE = population(6, DAYS, seed=5)


def oracle(tenant: str) -> Any:
    """Knows the future of one tenant, whose past it recognises, and is far off for all others."""
    whole = numpy.array(PEOPLE[tenant], "float64")

    def method(past: Any, first: Any, horizon: int, season: int) -> Any:
        found = numpy.repeat(past.mean(axis=1)[:, None] * 9, horizon, axis=1)
        for begin in range(DAYS - past.shape[1] - horizon + 1):
            end = begin + past.shape[1]
            mine = (past == whole[None, begin:end]).all(axis=1)
            found[mine] = whole[end : end + horizon]
        return found

    return method


def nested(candidates: dict[str, Any], **options: Any) -> Any:
    return nested_backtest(
        usage(PEOPLE), candidates, horizon=HORIZON, history=20, origins=4, levels=[0.8], **options
    )


def test_who_is_good_on_one_tenant_alone_is_chosen_for_nobody() -> None:
    found = nested({"oracle": oracle("t0002"), "rate": "run_rate"}, criterion="wape")
    chosen = {row["left_out"]: row["chosen"] for row in found.choices}
    assert chosen == dict.fromkeys(PEOPLE, "rate")
    scores = {row["method"]: row for row in found.scores()}
    assert scores["nested"]["wape"] == scores["run_rate"]["wape"]
    assert found.hindsight == "rate"


def test_a_tenant_is_measured_by_what_the_others_chose_although_it_would_choose_otherwise() -> None:
    everyone = {tenant: oracle(tenant) for tenant in PEOPLE}

    def flattering(past: Any, first: Any, horizon: int, season: int) -> Any:
        """Exact for all tenants but t0004, for which it is absurd."""
        made = numpy.stack([method(past, first, horizon, season) for method in everyone.values()])
        actual = made.min(axis=0)
        theirs = numpy.array([
            any((row == PEOPLE["t0004"][b : b + len(row)]).all() for b in range(DAYS - len(row)))
            for row in past
        ])  # fmt: skip
        actual[theirs] *= 50
        return actual

    found = nested({"rate": "run_rate", "flattering": flattering}, criterion="wape")
    chosen = {row["left_out"]: row["chosen"] for row in found.choices}
    assert chosen["t0004"] == "flattering"  # the others do not know that it fails there
    rows = {row["method"]: row for row in found.scores()}
    # What t0004 got is measured: it alone is off by 49 times its usage.
    assert rows["nested"]["wape"] > 49 / 6 * 0.9


def test_the_choices_are_those_of_scoring_every_candidate_on_the_other_tenants() -> None:
    candidates: dict[str, Any] = {
        "usual": Settings(),
        "slow": Settings(half_life=2.0),
        "trend": ("trend_profile", Settings(cap=3.0)),
        "naive": "seasonal_naive",
    }
    groups = {tenant: f"g{i % 3}" for i, tenant in enumerate(PEOPLE)}
    found = nested(candidates, leave_out=groups, criterion="crps", prices=PerUnit("0.01"))
    assert [row["left_out"] for row in found.choices] == ["g0", "g1", "g2"]
    for row in found.choices:
        assert row["series"] == 4
        assert row["windows"] == 16
        assert row["score"] <= row["first"]
    alone = {
        name: backtest(
            usage(PEOPLE), horizon=HORIZON, history=20, origins=4, levels=[0.8],
            method="auto" if isinstance(each, Settings) else each[0] if isinstance(each, tuple)
            else each, settings=each if isinstance(each, Settings) else each[1]
            if isinstance(each, tuple) else None,
        )
        for name, each in candidates.items()
    }  # fmt: skip
    for row in found.choices:
        means = {}
        for name, tested in alone.items():
            blocks = tested._found[tested.methods[0]].by_series("crps")
            others = [
                values for series, values in blocks.items()
                if groups[sorted(PEOPLE)[series]] != row["left_out"]
            ]  # fmt: skip
            means[name] = float(numpy.concatenate(others).mean())
        assert row["chosen"] == min(means, key=lambda name: means[name])
        assert row["score"] == pytest.approx(means[row["chosen"]])


def test_earlier_windows_alone_choose_and_the_first_ones_are_not_measured() -> None:
    found = nested({"usual": Settings(), "rate": "run_rate"}, earlier=True)
    origins = [20, 30, 40, 50]
    assert found.windows == 3 * len(PEOPLE)  # nothing had ended before the first
    assert sorted({row["origin"] for row in found.choices}) == origins[1:]
    by_origin = {row["origin"]: row["windows"] for row in found.choices}
    assert by_origin == {30: 5, 40: 10, 50: 15}
    assert found.independent == 6
    for row in found.scores():
        assert (row["series"], row["windows"]) == (6, 18)


def test_intervals_of_differences_draw_whole_tenants() -> None:
    found = nested({"usual": Settings(), "rate": "run_rate"}, criterion="wape")
    low, high = found.interval("crps", against="nested")
    assert (low, high) == (0.0, 0.0)
    low, high = found.interval("wape")
    assert low < {row["method"]: row for row in found.scores()}["nested"]["wape"] < high
    with pytest.raises(InvalidValue, match="measure: 'rmse'"):
        found.interval("rmse")
    with pytest.raises(InvalidValue, match="method: 'arima'"):
        found.interval("wape", against="arima")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": {"a": Settings()}}, "candidates: 1, expected two or more"),
        ({"candidates": {"a": Settings(), "b": 7}}, "candidates.b: 7"),
        ({"criterion": "rmse"}, "criterion: 'rmse'"),
        ({"criterion": "wape_cost"}, "criterion: wape_cost needs prices"),
        ({"leave_out": {"t0000": 1}}, "leave_out: there is no group of tenant 't0001'"),
        ({"leave_out": dict.fromkeys(PEOPLE, 1)}, "leave_out: there is one group only, 1"),
    ],
)
def test_what_a_nested_back_test_refuses(options: dict[str, Any], message: str) -> None:
    given = {"candidates": {"usual": Settings(), "rate": "run_rate"}, **options}
    with pytest.raises(InvalidValue, match=message):
        nested(**given)


@pytest.mark.parametrize(
    "wrong", [{"half_life": 0}, {"cap": -1}, {"prior": float("nan")}, {"level_share": 1.1}]
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.slow
def test_on_the_recorded_series_what_others_chose_beats_the_simple_methods_on_cost() -> None:
    """Whole sources are left out. `benchmarks/holdout.py` has more candidates."""
    candidates: dict[str, Any] = {
        "as it is": Settings(),
        "faster": Settings(half_life=0.125),
        "slower": Settings(half_life=0.5),
        "cuts more": Settings(cap=3.0),
        "width by level": Settings(level_share=0.75),
        "naive": "seasonal_naive",
    }
    found = nested_backtest(
        scaled_usage(), candidates, leave_out=SOURCES, season=SEASONS, origins=16, prices=TIERS
    )
    assert (found.windows, found.independent, len(found.choices)) == (208, 11, 5)
    rows = {row["method"]: row for row in found.scores()}
    for other in ("run_rate", "seasonal_naive"):
        assert rows["nested"]["wape_cost"] < rows[other]["wape_cost"]
        assert rows["nested"]["crps"] < rows[other]["crps"]
    assert rows["hindsight"]["crps"] <= rows["nested"]["crps"]
    assert 0.75 <= rows["nested"]["coverage_80"] <= 0.85
    assert 0.92 <= rows["nested"]["coverage_95"] <= 0.98
