"""Metered usage as a frame: what aggregates say, of many tenants at once, ready to be forecast."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tenancy import Tenancy
from tenancy.errors import InvalidValue, UnknownMetric, UnknownTenant
from tenancy.forecast import forecast
from tenancy.frames import Frame
from tenancy.testing import FakeClock
from usage_model import open_metered

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def used(tmp_path: Path, days: int) -> Tenancy:
    """Two tenants use something each day at noon, one of them from the third day on."""
    clock = FakeClock(START)
    t = open_metered(tmp_path, clock)
    acme = t.tenants.create(name="Acme", slug="acme", plan="free")
    late = t.tenants.create(name="Late", slug="late", plan="free", time_zone="Asia/Tokyo")
    t.tenants.create(name="Idle", slug="idle", plan="free")
    clock.advance(86_400 / 2)
    for day in range(days):
        t.usage.record(acme, "sum", day % 7, properties={"region": "eu"})
        if day % 3 == 0:
            t.usage.record(acme, "max", f"{day}.5")
        if day >= 2:
            t.usage.record(late, "sum", 10 + day % 7)
        clock.advance(86_400)
    return t


def rows(frame: Frame, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in frame if all(row[name] == value for name, value in wanted.items())]


def test_a_frame_has_what_aggregates_say_of_each_tenant_and_metric(tmp_path: Path) -> None:
    with used(tmp_path, 9) as t, t.usage.snapshot() as now:
        acme, late = (t.tenants.get(slug).id for slug in ("acme", "late"))
        found = now.frame(START, START + 9 * DAY)
        assert found.columns == ("tenant", "metric", "time", "quantity", "events")
        assert set(zip(found["tenant"], found["metric"], strict=True)) == {
            (acme, "sum"), (acme, "max"), (late, "sum"),
        }  # fmt: skip
        for metric in ("sum", "max"):
            told = now.aggregate(acme, metric, START, START + 9 * DAY, every="day")
            assert [(r["time"], r["quantity"], r["events"]) for r in rows(found, metric=metric,
                    tenant=acme)] == [(r.since, r.quantity, r.events) for r in told]  # fmt: skip
        # From its first day on, which begins in Tokyo at 15:00 of the day before.
        first = rows(found, tenant=late)[0]
        assert (first["time"], first["quantity"]) == (START + 2 * DAY - timedelta(hours=9), 12)
        some = now.frame(START, START + 9 * DAY, tenants=["acme"], metrics=["max"], every="month")
        assert [(r["tenant"], r["quantity"], r["events"]) for r in some] == [
            (acme, some["quantity"][0], 3)
        ]
        assert len(now.frame(START, START + DAY, tenants=["idle"])) == 0
        assert [r["events"] for r in now.frame(START, START + DAY)] == [1, 1]


def test_one_stretch_is_a_row_as_well(tmp_path: Path) -> None:
    with used(tmp_path, 3) as t:
        (row,) = t.usage.aggregate("acme", "sum", START + DAY, START + 2 * DAY, every="day")
        assert (row.since, row.until, row.quantity) == (START + DAY, START + 2 * DAY, 1)
        assert t.usage.aggregate("acme", "sum", START + DAY, START + 2 * DAY).rows == ()


@pytest.mark.parametrize(
    ("slug", "zone", "until"),
    [("acme", "UTC", START + 70 * DAY), ("late", "Asia/Tokyo", START + 70 * DAY - 9 * HOUR)],
)
def test_it_is_forecast_as_it_is(tmp_path: Path, slug: str, zone: str, until: datetime) -> None:
    with used(tmp_path, 70) as t, t.usage.snapshot() as now:
        frame = now.frame(START, until, tenants=[slug], metrics=["sum"])
        coming = forecast(frame, zone=zone, as_of=until, horizon=7, levels=[0.5])
        (row,) = coming.frame()
        assert row["tenant"] == t.tenants.get(slug).id
        by_hand = {
            "tenant": [slug] * len(frame),
            "metric": ["sum"] * len(frame),
            "time": [row.since for row in now.aggregate(slug, "sum", START, until, every="day")],
            "quantity": frame["quantity"].tolist(),
        }
        by_hand["time"] = by_hand["time"][-len(frame) :]
        again = forecast(by_hand, zone=zone, as_of=until, horizon=7, levels=[0.5])
        assert [one["median"] for one in again.frame()] == [row["median"]]


def test_purged_tenants_are_left_out_and_unknown_ones_refused(tmp_path: Path) -> None:
    with used(tmp_path, 2) as t:
        with t.usage.snapshot() as now:
            with pytest.raises(UnknownTenant):
                now.frame(START, START + DAY, tenants=["nobody"])
            with pytest.raises(UnknownMetric):
                now.frame(START, START + DAY, metrics=["sums"])
            with pytest.raises(InvalidValue, match="until"):
                now.frame(START, START)
        t.tenants.delete("acme")
        t.tenants.purge("acme")
        with t.usage.snapshot() as now:
            assert len(now.frame(START, START + 3 * DAY)) == 0
