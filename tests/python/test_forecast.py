"""Forecasts of usage: what goes in, the methods, calibration, draws, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy
import pandas
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forecast_model as model
from tenancy.errors import InvalidValue
from tenancy.forecast import (
    METHODS,
    Forecast,
    forecast,
    from_quantiles,
    from_samples,
    statsforecast_method,
)
from tenancy.forecast._calibration import fit
from tenancy.forecast._methods import scale

UTC = timezone.utc
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HERE = str(Path(__file__).parent)


def usage(
    series: dict[str, list[int]], metric: str = "calls", start: datetime = START
) -> dict[str, list[Any]]:
    """A frame of daily usage, each tenant's last day the same."""
    longest = max(map(len, series.values()))
    rows = [
        (tenant, metric, start + (longest - len(days) + i) * DAY, quantity)
        for tenant, days in series.items()
        for i, quantity in enumerate(days)
    ]
    names = ("tenant", "metric", "time", "quantity")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def population(tenants: int, days: int, seed: int = 1) -> dict[str, list[int]]:
    """Made up: levels over three decades, weeks, noise that belongs to each tenant and to all."""
    source = numpy.random.default_rng(seed)
    level = source.lognormal(5, 1.5, tenants)
    week = 1 + 0.3 * numpy.sin(numpy.arange(days) / 7 * 2 * numpy.pi)
    own = source.lognormal(0, 0.3, (tenants, days))
    shared = source.lognormal(0, 0.1, days)
    drift = numpy.exp(numpy.cumsum(source.normal(0, 0.01, (tenants, days)), axis=1))
    counts = source.poisson(level[:, None] * week * own * shared * drift)
    return {f"t{i:04d}": row.tolist() for i, row in enumerate(counts)}


TWENTY = population(20, 90)


# --- what goes in


def test_frames_of_any_library_give_the_same_forecast() -> None:
    columns = usage(TWENTY)
    expected = forecast(columns).frame()
    frame = pandas.DataFrame(columns)
    assert forecast(frame).frame() == expected
    assert forecast(polars.DataFrame(columns)).frame() == expected
    assert forecast(duckdb.from_df(frame)).frame() == expected
    assert forecast(frame.sample(frac=1, random_state=1)).frame() == expected
    other = frame.rename(columns={"tenant": "customer", "quantity": "n"})
    assert forecast(other, columns={"tenant": "customer", "quantity": "n"}).frame() == expected


def test_decimals_are_exact_and_floats_are_rounded_only_where_it_is_asked_for() -> None:
    columns = usage(TWENTY)
    tenths = {**columns, "quantity": [Decimal(q) / 10 for q in columns["quantity"]]}
    found = forecast(tenths, period_start=START)
    assert list(found.frame()["known"]) == [Decimal(sum(days)) / 10 for days in TWENTY.values()]
    floats = {**columns, "quantity": [q / 10 for q in columns["quantity"]]}
    with pytest.raises(InvalidValue, match=r"quantity: row \d+: .* binary floating point"):
        forecast(floats)
    assert forecast(floats, period_start=START, digits=1).frame() == found.frame()
    whole = {**columns, "quantity": [float(q) for q in columns["quantity"]]}
    assert forecast(whole).frame() == forecast(columns).frame()


def changed(row: int, **values: Any) -> dict[str, list[Any]]:
    columns = usage(TWENTY)
    for name, value in values.items():
        columns[name][row] = value
    return columns


def without(row: int) -> dict[str, list[Any]]:
    return {name: values[:row] + values[row + 1 :] for name, values in usage(TWENTY).items()}


NAIVE = {**usage(TWENTY), "time": [t.replace(tzinfo=None) for t in usage(TWENTY)["time"]]}
BERLIN = timezone(timedelta(hours=1), "Berlin")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tenant": ["a"]}, "metric: there is no such column"),
        (changed(7, quantity=-1), "quantity: row 7: negative usage"),
        (changed(7, quantity=float("nan")), "quantity: row 7: nan, which is no quantity"),
        (changed(7, quantity=None), "quantity.*7"),
        (changed(7, tenant=None), "tenant: row 7: no value"),
        (changed(7, time=None), "time: row 7: no value"),
        (changed(7, time=START), "time: row 7: the same tenant, metric and step as row 0"),
        (without(7), "time: after row 6: tenant 't0000' has no row of calls for .*2026-01-08"),
        (changed(7, time=(START + 7 * DAY).astimezone(BERLIN)), "time: row 7: the time zone is B"),
        (NAIVE, "time: row 0: the times have no time zone"),
        ({**usage(TWENTY), "time": ["2026-01-01"] * 1800}, "time: row 0: expected times, got text"),
        ({name: [] for name in usage(TWENTY)}, "tenant: the frame has no rows"),
        (usage({"a": [5]}), "time: row 0: the history .* 1 step; 30 steps ahead"),
    ],
)
def test_wrong_usage_is_told_with_its_column_and_row(columns: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        forecast(columns)


def test_nulls_of_frames_are_told_with_their_row() -> None:
    frame = polars.DataFrame(usage(TWENTY))
    for name in ("tenant", "quantity", "time"):
        with pytest.raises(InvalidValue, match=f"{name}: row 3: no value"):
            forecast(
                frame.with_row_index("i").with_columns(
                    polars.when(polars.col("i") == 3)
                    .then(None)
                    .otherwise(polars.col(name))
                    .alias(name)
                )
            )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon"),
        ({"horizon": 5, "period_end": START + 99 * DAY}, "horizon: given beside period_end"),
        ({"period_end": START}, "period_end: is not after as_of"),
        ({"period_start": START - DAY}, "period_start: is before the first row"),
        ({"period_start": START + timedelta(hours=1)}, "period_start: is inside of a step"),
        ({"as_of": START + 50 * DAY}, "time: row 50: .* is not before as_of"),
        ({"as_of": datetime(2026, 6, 1)}, "as_of: expected a datetime with a time zone"),
        ({"levels": [1.5]}, "levels: 1.5"),
        ({"levels": []}, "levels: expected at least one"),
        ({"samples": 0}, "samples: 0, expected 1 to"),
        ({"season": 0}, "season: 0"),
        ({"season": {"cals": 7}}, "season: no usage of 'cals'"),
        ({"method": "prophet"}, "method: 'prophet'"),
        ({"method": lambda *_: numpy.zeros((1, 1))}, "method"),
        ({"step": "month"}, "step: 'month'"),
        ({"gaps": "fill"}, "gaps: 'fill'"),
        ({"columns": {"customer": "x"}}, "columns: 'customer'"),
        ({"digits": 13}, "digits: 13"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        forecast(usage(TWENTY), **options)


def test_gaps_duplicates_and_naive_times_where_it_is_said_what_they_mean() -> None:
    expected = forecast(usage({**TWENTY, "t0000": [*TWENTY["t0000"][:7], 0, *TWENTY["t0000"][8:]]}))
    assert forecast(without(7), gaps="zero").frame() == expected.frame()
    assert forecast(NAIVE, naive="utc").frame() == forecast(usage(TWENTY)).frame()
    twice = usage(TWENTY)
    halves = {name: values + values[:1] for name, values in twice.items()}
    halves["quantity"][0] = 1
    halves["quantity"][-1] = twice["quantity"][0] - 1
    assert forecast(halves, duplicates="sum").frame() == forecast(usage(TWENTY)).frame()


def test_single_events_of_an_hour_make_the_grid() -> None:
    columns = usage(TWENTY)
    events = {
        name: [value for value in values for _ in range(2)] for name, values in columns.items()
    }
    events["time"] = [t + timedelta(hours=7 * (i % 2)) for i, t in enumerate(events["time"])]
    doubled = usage({t: [2 * q for q in days] for t, days in TWENTY.items()})
    assert forecast(events, duplicates="sum").frame() == forecast(doubled).frame()


# --- what is known is exact


def test_the_known_part_of_the_period_is_exact_and_the_rest_shrinks_with_it() -> None:
    columns = usage(TWENTY)
    begin, end = START + 80 * DAY, START + 110 * DAY
    half_day = timedelta(hours=12)
    extra = {name: list(values) for name, values in columns.items()}
    extra["tenant"].append("t0000")
    extra["metric"].append("calls")
    extra["time"].append(START + 90 * DAY + timedelta(hours=3))
    extra["quantity"].append(1_000_000)
    now = START + 90 * DAY + half_day
    found = forecast(extra, as_of=now, period_start=begin, period_end=end, method="run_rate")
    frame = found.frame()
    assert frame["known"][0] == sum(TWENTY["t0000"][80:]) + 1_000_000
    assert frame["known"][1] == sum(TWENTY["t0001"][80:])
    # Half a day of the 20 that remain is over; a burst of today says nothing of a mean of before.
    rate = sum(TWENTY["t0001"][-20:]) / 20
    assert abs(float(frame["median"][1] - frame["known"][1]) - 19.5 * rate) <= 1
    assert found.times[0] == START + 91 * DAY
    assert found.times[-1] == end
    assert all(low >= known for low, known in zip(frame["low_95"], frame["known"], strict=True))


# --- methods and scale beside the model


@st.composite
def series(draw: st.DrawFn) -> tuple[list[list[float]], list[int], int, int]:
    steps = draw(st.integers(4, 40))
    count = draw(st.integers(1, 4))
    values = st.integers(0, 9) | st.integers(0, 100_000)
    rows, first = [], []
    for _ in range(count):
        begin = draw(st.just(0) | st.integers(0, steps - 2))
        row = draw(st.lists(values, min_size=steps, max_size=steps))
        rows.append([0.0] * begin + [float(v) for v in row[begin:]])
        first.append(begin)
    return rows, first, draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 7]))


@given(series())
@settings(max_examples=150)
def test_vectorised_methods_are_those_of_the_model(
    given_: tuple[list[list[float]], list[int], int, int],
) -> None:
    rows, first, horizon, season = given_
    steps = len(rows[0])
    past, begin = numpy.array(rows), numpy.array(first)
    expected = {
        "run_rate": lambda own: model.run_rate(own, horizon, season),
        "seasonal_naive": lambda own: model.seasonal_naive(own, horizon, min(season, steps)),
        "profile": lambda own: model.profile(own, horizon, season, steps, horizon / 4),
        "steady_profile": lambda own: model.profile(own, horizon, season, steps, None),
    }
    for name, of in expected.items():
        found = METHODS[name](past, begin, horizon, season)
        assert found.shape == (len(rows), horizon)
        for row, start, ours in zip(rows, first, found, strict=True):
            assert ours == pytest.approx(of(row[start:]), rel=1e-9, abs=1e-9), name
    for row, start, ours in zip(rows, first, scale(past, begin, horizon), strict=True):
        assert ours == pytest.approx(model.scale(row[start:], horizon, steps), rel=1e-9, abs=1e-9)


def test_a_trend_that_shows_is_followed_and_noise_is_not() -> None:
    growing = numpy.linspace(100, 280, 90)[None, :]
    noisy = numpy.tile([90.0, 110.0], 45)[None, :]
    first = numpy.zeros(1, "int64")
    method = METHODS["trend_profile"]
    flat = METHODS["profile"](growing, first, 30, 1).sum()
    assert flat < method(growing, first, 30, 1).sum() < growing[0, -1] * 30 * 1.4
    assert method(noisy, first, 30, 1).sum() == pytest.approx(3000, rel=0.01)


def test_an_outlier_does_not_lift_the_level_but_frequent_use_of_zero_steps_does() -> None:
    calm = numpy.full((1, 90), 100.0)
    calm[0, 85] = 1e6
    sparse = numpy.zeros((1, 90))
    sparse[0, ::5] = 50
    first = numpy.zeros(1, "int64")
    assert METHODS["profile"](calm, first, 30, 1).sum() < 4500
    assert METHODS["steady_profile"](sparse, first, 30, 1).sum() == pytest.approx(300)


# --- calibration


def test_intervals_are_those_of_the_pooled_residuals() -> None:
    horizon, steps = 10, 30
    past = numpy.array([row[:steps] for row in TWENTY.values()], "float64")
    first = numpy.zeros(20, "int64")
    fitted = fit(
        past, first, first, ["calls"], horizon, [7], "profile", steps, (0.8, 0.95)
    )  # fmt: skip
    origins = [round(float(o)) for o in numpy.linspace(10, 20, 11)]
    residuals = [
        (sum(row[o : o + horizon]) - sum(model.profile(row[:o], horizon, 7, o, horizon / 4)))
        / model.scale(row[:o], horizon, o)
        for o in origins
        for row in past.tolist()
    ]
    pool = fitted.pools[0]
    assert (pool.records, pool.independent) == (220, 40)
    found = forecast(
        usage({t: d[:steps] for t, d in TWENTY.items()}), horizon=horizon, method="profile"
    )
    for i, row in enumerate(past.tolist()):
        point = sum(model.profile(row, horizon, 7, steps, horizon / 4))
        unit = model.scale(row, horizon, steps)
        for level in (0.8, 0.95):
            low, high = model.interval(residuals, level, point, unit)
            name = f"{level * 100:.0f}"
            assert abs(float(found.frame()[f"low_{name}"][i]) - low) <= 0.5 + 1e-6
            assert abs(float(found.frame()[f"high_{name}"][i]) - high) <= 0.5 + 1e-6


def test_what_the_history_cannot_carry_is_refused_with_the_reason() -> None:
    two = forecast(usage({t: TWENTY[t] for t in ("t0000", "t0001", "t0002")})).frame()
    assert list(two["low_95"]) == [None] * 3
    assert None not in list(two["low_80"])
    assert (
        two["refused"]
        == ["6 independent windows to calibrate by, 95% needs 20; at most 83% can be given"] * 3
    )
    one = forecast(usage({"t0000": TWENTY["t0000"]})).frame()
    assert list(one["high_80"]) == [None]
    assert one["median"][0] is not None
    assert None not in list(forecast(usage(TWENTY)).frame()["low_95"])


def test_a_tenant_that_is_too_young_is_refused_and_the_others_are_not() -> None:
    columns = usage({**TWENTY, "young": [5]})
    found = forecast(columns)
    row = list(found.frame())[-1]
    assert row["tenant"] == "young"
    assert row["refused"] == "1 steps of history, 30 steps ahead need 20"
    assert (row["median"], row["low_80"], row["known"]) == (None, None, 0)
    assert found.quantile(0.5)[-1] is None
    assert None not in found.quantile(0.5)[:-1]
    with pytest.raises(InvalidValue, match="tenant: 1 steps of history"):
        found.draws("young", "calls")


def test_tenants_that_sleep_are_calibrated_by_others_that_slept() -> None:
    source = numpy.random.default_rng(3)
    asleep = {}
    for i in range(60):
        days = [0] * 90
        if i < 6:  # one in ten woke up in the last month
            days[int(source.integers(60, 89))] = 1000
        asleep[f"s{i:02d}"] = days
    frame = forecast(usage({**TWENTY, **asleep}), method="profile").frame()
    sleepers = [row for row in frame if row["tenant"] == "s59"]
    assert sleepers[0]["median"] == 0
    assert sleepers[0]["high_80"] < 100
    awake = forecast(usage(TWENTY), method="profile").frame()
    assert list(frame["high_95"])[-20:] == list(awake["high_95"])


def test_the_method_is_chosen_by_the_past_and_says_why() -> None:
    few = forecast(usage({t: TWENTY[t] for t in list(TWENTY)[:7]})).methods()
    assert few["method"] == ["profile"]
    assert few["why"][0].startswith("no other is closer by 3 % and by two standard errors over 14")
    fewer = forecast(usage({t: TWENTY[t] for t in list(TWENTY)[:3]})).methods()
    assert fewer["method"] == ["profile"]
    assert fewer["why"] == ["6 windows of 3 series are too few to choose by, 8 are needed"]
    source = numpy.random.default_rng(4)
    flat = {f"f{i:02d}": source.poisson(400, 90).tolist() for i in range(40)}
    chosen = forecast(usage(flat)).methods()
    assert chosen["method"] == ["steady_profile"]
    assert "closer than profile by" in chosen["why"][0]
    assert chosen["steady_profile"][0] < chosen["profile"][0] < chosen["seasonal_naive"][0]


@pytest.mark.slow
def test_intervals_cover_what_they_promise_on_a_made_up_population() -> None:
    hits: dict[int, list[bool]] = {80: [], 95: []}
    for seed in range(6):
        everything = population(300, 120, seed)
        known = {t: days[:90] for t, days in everything.items()}
        for row in forecast(usage(known)).frame():
            came = sum(everything[row["tenant"]][90:])
            for level, found in hits.items():
                found.append(row[f"low_{level}"] <= came <= row[f"high_{level}"])
    # What happens to all tenants at once makes single months differ: this is the mean of six.
    assert 0.75 <= sum(hits[80]) / 1800 <= 0.88
    assert 0.92 <= sum(hits[95]) / 1800 <= 0.99


# --- draws


def test_draws_agree_with_quantiles_and_do_not_depend_on_the_other_tenants() -> None:
    found = forecast(usage(TWENTY), samples=4000)
    draws = sorted(found.draws("t0003", "calls"))
    for share in (0.1, 0.5, 0.9):
        exact = found.quantile(share)[3]
        assert exact is not None
        below = sum(draw <= exact for draw in draws) / 4000
        assert abs(below - share) < 0.03
    again = forecast(usage(TWENTY), samples=4000)
    assert again.draws("t0003", "calls") == found.draws("t0003", "calls")
    other = forecast(usage(TWENTY), samples=4000, seed=1)
    assert other.draws("t0003", "calls") != found.draws("t0003", "calls")
    assert other.frame() == found.frame()


def test_results_do_not_depend_on_how_many_threads_there_are() -> None:
    code = """
import hashlib
from test_forecast import TWENTY, forecast, usage
from tenancy.pricing import PerUnit
coming = forecast(usage(TWENTY))
amounts = coming.cost(PerUnit("0.01")).frame().to_pandas()
print(hashlib.sha256((amounts.to_csv() + coming.frame().to_pandas().to_csv()).encode()).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": HERE},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


def test_paths_rise_and_end_at_the_draws() -> None:
    found = forecast(usage(TWENTY), period_start=START + 80 * DAY)
    paths = found.paths("t0003", "calls")
    assert paths.shape == (1000, 30)
    assert (numpy.diff(paths, axis=1) >= 0).all()
    assert paths[:, 0].min() >= sum(TWENTY["t0003"][80:])
    assert paths[:, -1].tolist() == [float(draw) for draw in found.draws("t0003", "calls")]
    assert len(found.times) == 30


def test_when_a_quota_will_be_passed() -> None:
    found = forecast(usage(TWENTY), period_start=START + 80 * DAY)
    known = sum(TWENTY["t0003"][80:])
    middle = found.quantile(0.5)[3]
    assert middle is not None
    rows = list(found.passing({("t0003", "calls"): known - 1}))
    assert (rows[0]["probability"], rows[0]["by_50"]) == (1.0, found.as_of)
    row = next(iter(found.passing({("t0003", "calls"): middle})))
    assert abs(row["probability"] - 0.5) < 0.05
    assert row["by_90"] is None
    assert found.as_of < row["by_10"] <= found.period_end
    never = next(iter(found.passing({("t0003", "calls"): 10**20})))
    assert (never["probability"], never["by_10"]) == (0.0, None)
    assert len(found.passing({"calls": 5})) == 20
    with pytest.raises(InvalidValue, match="limits: no usage of 'cals'"):
        found.passing({"cals": 5})


# --- samples and quantiles of others


def test_samples_and_quantiles_of_another_model() -> None:
    span = {"as_of": START, "period_end": START + 30 * DAY}
    given_ = from_samples(
        {("a", "calls"): [10, 20, 30, 40], ("b", "calls"): ["0.5", 1, 2, 3]},
        known={("a", "calls"): 5},
        **span,
    )
    assert list(given_.frame()["known"]) == [5, 0]
    assert given_.draws("a", "calls").tolist() == [15, 25, 35, 45]
    assert given_.draws("b", "calls").tolist() == [Decimal("0.5"), 1, 2, 3]
    assert given_.quantile(0.5) == [25, 1]
    assert next(iter(given_.passing({("a", "calls"): 25})))["probability"] == 0.5
    lines = from_quantiles({("a", "calls"): {0.1: 100, 0.5: 200, 0.9: 1000}}, **span)
    assert lines.quantile(0.5)[0] == pytest.approx(200, abs=1)
    assert lines.quantile(0.3)[0] == pytest.approx(150, abs=1)
    assert lines.quantile(0.99)[0] == 1000


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, "samples: expected samples of at least one"),
        ({("a", "m"): [1, -2]}, "sample 1 is negative"),
        ({("a", "m"): [1, 2], ("b", "m"): [1]}, "has 1 samples, others 2"),
        ({("a", "m"): [0.5]}, "float"),
    ],
)
def test_wrong_samples_are_told(samples: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        from_samples(samples, as_of=START, period_end=START + DAY)
    with pytest.raises(InvalidValue, match="quantities that rise"):
        from_quantiles({("a", "m"): {0.1: 5, 0.9: 4}}, as_of=START, period_end=START + DAY)


def test_a_method_of_the_callers_is_calibrated_like_ours() -> None:
    def doubled(past: Any, first: Any, horizon: int, season: int) -> Any:
        return 2 * METHODS["run_rate"](past, first, horizon, season)

    found = forecast(usage(TWENTY), method=doubled)
    assert found.methods()["method"] == ["doubled"]
    assert isinstance(found, Forecast)
    plain = forecast(usage(TWENTY), method="run_rate").frame()
    # Twice too much, and the past shows by how much it varies.
    assert all(a > b for a, b in zip(found.frame()["median"], plain["median"], strict=True))


class Doubled:
    """What a model of statsforecast looks like from outside."""

    def forecast(self, y: Any, h: int) -> dict[str, Any]:
        return {"mean": numpy.full(h, 2 * y.mean())}

    def __repr__(self) -> str:
        return "Doubled"


def test_models_of_another_library_are_methods() -> None:
    found = forecast(usage(TWENTY), method=statsforecast_method(Doubled()))
    assert found.methods()["method"] == ["Doubled"]
    assert None not in list(found.frame()["high_95"])
    with pytest.raises(InvalidValue, match="model: int has no method forecast"):
        statsforecast_method(5)


@pytest.mark.slow
def test_statsforecast_itself_where_it_is_installed() -> None:
    models = pytest.importorskip("statsforecast.models")
    method = statsforecast_method(models.SeasonalNaive(season_length=7))
    theirs = forecast(usage(TWENTY), method=method)
    ours = forecast(usage(TWENTY), method="seasonal_naive")
    assert theirs.frame()["high_95"] == ours.frame()["high_95"]
