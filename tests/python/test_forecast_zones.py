"""Days of tenants in their time zones, with the days on which clocks are set."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pandas
import pytest

from tenancy.errors import InvalidValue
from tenancy.forecast import backtest, forecast
from tenancy.pricing import PerUnit

UTC = timezone.utc
BERLIN, NEW_YORK, KIRITIMATI = map(
    ZoneInfo, ("Europe/Berlin", "America/New_York", "Pacific/Kiritimati")
)
FIRST = date(2026, 1, 1)
DAYS = 120  # to the end of April: clocks are set in between


def hourly(zone: ZoneInfo, days: int = DAYS, first: date = FIRST) -> list[datetime]:
    """The beginning of every hour of local days, in UTC."""
    begin = datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC)
    last = first + timedelta(days=days)
    end = datetime(last.year, last.month, last.day, tzinfo=zone).astimezone(UTC)
    return [begin + timedelta(hours=h) for h in range((end - begin) // timedelta(hours=1))]


def events(zones: dict[str, ZoneInfo], per_hour: int = 10) -> dict[str, list[Any]]:
    rows = [(tenant, "calls", time, per_hour) for tenant, z in zones.items() for time in hourly(z)]
    names = ("tenant", "metric", "time", "quantity")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def test_a_day_of_23_and_one_of_25_hours_are_single_steps() -> None:
    usage = events({"a": BERLIN})
    found = forecast(
        usage, zone="Europe/Berlin", duplicates="sum", period_start=date(2026, 3, 29),
        as_of=date(2026, 5, 1), period_end=date(2026, 5, 3),
    )  # fmt: skip
    # 33 days of April and the end of March, of which the first has 23 hours.
    assert found.frame()["known"][0] == 10 * (33 * 24 - 1)
    assert found.as_of == datetime(2026, 4, 30, 22, tzinfo=UTC)
    assert found.as_of.isoformat() == "2026-05-01T00:00:00+02:00"
    autumn = {**usage, "time": hourly(BERLIN, DAYS, date(2026, 8, 1))}
    size = len(autumn["time"])
    autumn = {name: (values * 2)[:size] for name, values in autumn.items()}
    autumn["time"] = hourly(BERLIN, DAYS, date(2026, 8, 1))
    known = forecast(
        autumn, zone="Europe/Berlin", duplicates="sum", period_start=date(2026, 10, 25),
        as_of=date(2026, 11, 29),
    ).frame()["known"][0]  # fmt: skip
    assert known == 10 * (35 * 24 + 1)


def test_the_ends_of_steps_are_local_midnights() -> None:
    usage = events({"a": NEW_YORK})
    local = forecast(
        usage, zone="America/New_York", duplicates="sum", as_of=date(2026, 5, 1),
        period_start=date(2026, 4, 30),
    )  # fmt: skip
    assert local.frame()["known"][0] == 240
    assert local.times[0].isoformat() == "2026-05-02T00:00:00-04:00"


def test_a_grid_of_local_days_is_that_of_the_same_days_summed_by_pandas() -> None:
    source = numpy.random.default_rng(1)
    frame = pandas.DataFrame(events({"a": BERLIN, "b": BERLIN}))
    frame["quantity"] = source.integers(0, 100, len(frame))
    days = frame["time"].dt.tz_convert("Europe/Berlin").dt.date
    summed = frame.groupby(["tenant", "metric", days])["quantity"].sum().reset_index()
    summed["time"] = pandas.to_datetime(summed["time"]).dt.tz_localize("UTC")
    ours = forecast(frame, zone="Europe/Berlin", duplicates="sum")
    theirs = forecast(summed)  # the same numbers, as if they were days of UTC
    assert ours.frame() == theirs.frame()
    assert [t.date() for t in ours.times] == [t.date() for t in theirs.times]
    assert ours.draws("a", "calls") == theirs.draws("a", "calls")


def test_each_tenant_has_its_own_midnight() -> None:
    zones = {"berlin": BERLIN, "kiritimati": KIRITIMATI, "york": NEW_YORK}
    names = {tenant: zone.key for tenant, zone in zones.items()}
    usage = events(zones)
    found = forecast(
        usage, zone=names, duplicates="sum", period_start=date(2026, 4, 1),
        period_end=date(2026, 5, 31),
    )  # fmt: skip
    assert list(found.frame()["known"]) == [30 * 240] * 3
    # The clocks of all show the same; the moments differ.
    assert found.as_of == datetime(2026, 5, 1)
    passed = {row["tenant"]: row for row in found.passing({"calls": 30 * 240 + 100})}
    begins = {
        tenant: datetime(2026, 5, 2, tzinfo=zone).astimezone(UTC) for tenant, zone in zones.items()
    }
    assert {tenant: row["by_50"] for tenant, row in passed.items()} == begins
    over = {row["tenant"]: row for row in found.passing({"calls": 1})}
    assert over["york"]["by_10"] == datetime(2026, 5, 1, tzinfo=NEW_YORK)
    cost = found.cost(PerUnit("0.01"), budgets=73)
    assert {row["tenant"]: row["by_50"] for row in cost.passing()} == begins
    # One by one they are the same.
    alone = forecast(
        {name: [v for v, t in zip(usage[name], usage["tenant"], strict=True) if t == "york"]
         for name in usage},
        zone="America/New_York", duplicates="sum", period_start=date(2026, 4, 1),
        period_end=date(2026, 5, 31),
    )  # fmt: skip
    assert alone.frame()["median"][0] == found.frame()["median"][2]


def test_the_part_of_a_day_that_is_over_is_counted_in_its_hours() -> None:
    """At noon of the day on which clocks go forward, 11 of 23 hours are over."""
    usage = events({"a": BERLIN})
    noon = datetime(2026, 3, 29, 12, tzinfo=BERLIN)
    now = noon.astimezone(UTC)
    until = [i for i, time in enumerate(usage["time"]) if time < now]
    known = {name: [values[i] for i in until] for name, values in usage.items()}
    found = forecast(
        known, zone="Europe/Berlin", duplicates="sum", as_of=now, method="run_rate",
        period_start=date(2026, 3, 29), period_end=date(2026, 3, 30), levels=[0.5],
    )  # fmt: skip
    row = next(iter(found.frame()))
    assert row["known"] == 110
    assert float(row["median"]) == pytest.approx(110 + 240 * 12 / 23, abs=1)


def test_weeks_begin_on_local_mondays() -> None:
    usage = events({"a": NEW_YORK})
    found = forecast(
        usage, zone="America/New_York", step="week", duplicates="sum", horizon=2,
        as_of=date(2026, 5, 1), period_start=date(2026, 4, 20),
    )  # fmt: skip
    assert found.frame()["known"][0] == 11 * 240
    # Four days of the week from 27 April are over; two whole steps on is two weeks on.
    assert found.times[0].isoformat() == "2026-05-04T00:00:00-04:00"


def test_a_back_test_has_local_days_as_well() -> None:
    zones = {f"t{i}": BERLIN for i in range(4)}
    found = backtest(
        events(zones), zone="Europe/Berlin", duplicates="sum", horizon=10, origins=3,
        method="run_rate", levels=[0.8],
    )  # fmt: skip
    assert found.windows == 12
    # An hour in a day less, on one day in ten: nothing else is off.
    assert 0 <= {r["method"]: r for r in found.scores()}["run_rate"]["wape"] < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zone": "Mars/Base"}, "zone: 'Mars/Base' names no time zone"),
        ({"zone": 7}, "zone: 7 names no time zone"),
        ({"zone": {"a": "Europe/Berlin"}}, "zone: there is none of tenant 'b'"),
        ({"zone": {"a": "Europe/Berlin", "b": "x y"}}, r"zone\['b'\]: 'x y' names no time zone"),
        ({"zone": "Europe/Berlin", "step": "hour"}, "zone: steps shorter than a day"),
        ({"as_of": FIRST}, "as_of: .* is a date, whose day begins at another time in each zone"),
        (
            {
                "zone": {"a": "Europe/Berlin", "b": "America/New_York"},
                "as_of": datetime(2026, 6, 1, tzinfo=UTC),
            },
            "as_of: .* which have several zones",
        ),
        (
            {"zone": "Europe/Berlin", "as_of": date(2026, 4, 1)},
            r"time: row \d+: 2026-04-01T00:00:00\+02:00 is not before as_of",
        ),
        (
            {"zone": "Europe/Berlin", "period_start": datetime(2026, 4, 1, tzinfo=UTC)},
            "period_start: is inside of a step",
        ),
    ],
)
def test_wrong_zones_and_dates_are_named(options: dict[str, Any], message: str) -> None:
    usage = events({"a": BERLIN, "b": BERLIN})
    with pytest.raises(InvalidValue, match=message):
        forecast(usage, duplicates="sum", **options)


def test_a_day_without_a_row_is_told_in_local_time() -> None:
    usage = events({"a": NEW_YORK})
    missing = [
        i for i, t in enumerate(usage["time"]) if t.astimezone(NEW_YORK).date() != date(2026, 3, 8)
    ]
    holed = {name: [values[i] for i in missing] for name, values in usage.items()}
    with pytest.raises(InvalidValue, match=r"no row of calls for the step of 2026-03-08T00:00:00-"):
        forecast(holed, zone="America/New_York", duplicates="sum")
