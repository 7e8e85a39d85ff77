"""Recording: once each, in open periods, with a quota or without, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from store_support import DAY_NS, START, make_clock
from tenancy import Tenancy
from tenancy.catalog import Catalog
from tenancy.errors import (
    InvalidValue,
    NotFound,
    PeriodClosed,
    QuotaExceeded,
    StoreClosed,
    UnknownMetric,
    UnknownQuota,
    UnknownTenant,
    UnknownUsageEvent,
    UsageConflict,
)
from usage_model import METERED, open_metered


@pytest.fixture
def clock() -> Any:
    made = make_clock()
    made.advance_ns(10 * DAY_NS)
    return made


@pytest.fixture
def t(tmp_path: Path, clock: Any) -> Iterator[Tenancy]:
    with open_metered(tmp_path, clock) as made:
        made.tenants.create(name="Acme", slug="acme", plan="free", anchor=START)
        yield made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    """For what changes nothing."""
    clock = make_clock()
    clock.advance_ns(10 * DAY_NS)
    with open_metered(tmp_path_factory.mktemp("shop"), clock) as made:
        made.tenants.create(name="Acme", slug="acme", plan="free", anchor=START)
        yield made


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def total(t: Tenancy, metric: str, *between: datetime) -> Decimal:
    return t.usage.aggregate("acme", metric, *between).quantity


# ------------------------------------------------------------------------------------ each once


def test_a_retry_counts_once_also_later_and_also_without_a_time(t: Tenancy, clock: Any) -> None:
    assert not t.usage.record("acme", "calls", 3, id="r1").duplicate
    clock.advance_ns(3 * DAY_NS)
    assert t.usage.record("acme", "calls", "3", id="r1").duplicate
    assert t.usage.record("acme", "calls", Decimal("3.0"), id="r1").duplicate
    assert total(t, "calls") == 3


def test_an_event_is_known_by_tenant_source_and_id(t: Tenancy) -> None:
    t.tenants.create(name="Other", slug="other", plan="free")
    for tenant, source in (("acme", ""), ("acme", "eu-1"), ("other", "")):
        assert not t.usage.record(tenant, "calls", id="1", source=source).duplicate
    assert total(t, "calls") == 2
    without_id = {t.usage.record("acme", "calls").id for _ in range(3)}
    assert len(without_id) == 3
    assert total(t, "calls") == 5


def test_another_content_under_the_same_id_is_refused_and_both_are_said(t: Tenancy) -> None:
    t.usage.record("acme", "calls", 3, id="r1", properties={"model": "a"})
    for quantity, properties in ((4, {"model": "a"}), (3, {"model": "b"}), (3, None)):
        with pytest.raises(UsageConflict) as caught:
            t.usage.record("acme", "calls", quantity, id="r1", properties=properties)
        assert "recorded as 3 calls" in str(caught.value)
        assert f"now comes as {quantity} calls" in str(caught.value)
    with pytest.raises(UsageConflict):
        t.usage.record("acme", "tokens", 3, id="r1", consume=False)
    assert total(t, "calls") == 3


def test_an_event_of_cloudevents_is_recorded(t: Tenancy) -> None:
    event = {
        "specversion": "1.0", "id": "e1", "source": "//gateway/eu", "type": "sum",
        "subject": "acme", "time": "2026-01-05T10:00:00.5+01:00",
        "data": {"quantity": Decimal("0.125"), "region": "eu", "model": "large"},
    }  # fmt: skip
    assert t.usage.record_event(event).source == "//gateway/eu"
    assert t.usage.record_event(event).duplicate
    found = t.usage.event("acme", "e1", source="//gateway/eu")
    assert found.time == datetime(2026, 1, 5, 9, 0, 0, 500_000, tzinfo=timezone.utc)
    assert (found.quantity, found.properties) == (
        Decimal("0.125"),
        {"region": "eu", "model": "large"},
    )
    assert t.usage.record_event({**event, "id": "e2", "data": None}).metric == "sum"
    assert total(t, "sum") == Decimal("1.125")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"source": None}, "source"),
        ({"subject": 7}, "subject"),
        ({"data": [1]}, "data"),
        ({"data": {"quantity": 0.5}}, "quantity"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-02-30T00:00:00Z"}, "time"),
    ],
)
def test_what_is_no_cloud_event_is_refused(
    shop: Tenancy, change: dict[str, Any], field: str
) -> None:
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "calls", "subject": "acme"}
    with pytest.raises(InvalidValue) as caught:
        shop.usage.record_event({**event, **change})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"quantity": 1.0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"id": ""}, "id"),
        ({"id": "x" * 257}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"source": "x" * 1025}, "source"),
        ({"time": datetime(2026, 1, 2)}, "time"),
        ({"time": at(10.01)}, "time"),
        ({"time": -5}, "time"),
        ({"properties": "x"}, "properties"),
        ({"properties": {1: 2}}, "properties"),
        ({"properties": {"a": float("nan")}}, "properties"),
        ({"properties": {"a": "\udc80"}}, "properties"),
        ({"properties": {"a": object()}}, "properties"),
        ({"properties": {"a": "x" * 17_000}}, "properties"),
        ({"metric": "unique"}, "properties"),
        ({"metric": "unique", "properties": {"user": None}}, "properties"),
        ({"consume": True}, "consume"),
        ({"metric": "tokens", "quantity": "0.5"}, "quantity"),
        ({"ack": "tape"}, "ack"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_by_field(
    shop: Tenancy, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        shop.usage.record("acme", **{"metric": "calls", **arguments})
    assert caught.value.field == field
    assert not shop.usage.events("acme")


def test_what_is_unknown_is_named_with_what_is_near(shop: Tenancy) -> None:
    with pytest.raises(UnknownMetric, match="did you mean 'calls'"):
        shop.usage.record("acme", "cals")
    with pytest.raises(UnknownMetric, match="one of calls, count"):
        shop.usage.aggregate("acme", "zzz")
    with pytest.raises(UnknownTenant):
        shop.usage.record("nobody", "calls")
    with pytest.raises(UnknownQuota):
        shop.usage.record("acme", "calls", consume="pages")
    with pytest.raises(NotFound):
        shop.usage.event("acme", "nothing")


def test_what_a_price_book_prices_needs_no_definition(tmp_path: Path) -> None:
    catalog = Catalog.from_dict(
        {
            "catalog": "c",
            "default_plan": "p",
            "plans": {"p": {"price_book": "llm-tokens"}, "q": {"price_book": "own"}},
            "price_books": {"own": {"metrics": {"pages": {"unit": 1}}}},
            "metrics": {"pages": {"aggregation": "max"}},
        }
    )
    with open_metered(tmp_path, catalog=catalog) as t:
        known = t.usage.metrics()
        assert {n: m.aggregation for n, m in known.items()} == {
            "context_tokens": "sum", "generated_tokens": "sum", "pages": "max",
        }  # fmt: skip
        tenant = t.tenants.create(name="T")
        t.usage.record(tenant, "context_tokens", 374)
        assert t.usage.aggregate(tenant, "context_tokens").quantity == 374


def test_a_metric_that_the_catalog_gains_can_be_recorded_at_once(t: Tenancy) -> None:
    with pytest.raises(UnknownMetric):
        t.usage.record("acme", "pages")
    t.reload_catalog(Catalog.from_dict({**METERED, "metrics": {"pages": {}}}))
    t.usage.record("acme", "pages")
    with pytest.raises(UnknownMetric):
        t.usage.record("acme", "calls")


# ---------------------------------------------------------------------------------------- periods


def test_a_period_is_open_then_in_grace_then_closed(t: Tenancy, clock: Any) -> None:
    january = t.usage.period("acme")
    assert (january.start, january.end, january.state) == (at(0), at(31), "open")
    t.usage.record("acme", "calls", id="in time", time=at(9))
    clock.advance_ns(22 * DAY_NS)  # 2 February
    assert t.usage.period("acme", at(5)).state == "grace"
    t.usage.record("acme", "calls", id="late", time=at(30))
    assert total(t, "calls", at(0), at(31)) == 2
    clock.advance_ns(2 * DAY_NS)  # 4 February
    assert t.usage.period("acme", at(5)).state == "closed"
    with pytest.raises(PeriodClosed, match="events are taken from 2026-02-01"):
        t.usage.record("acme", "calls", id="too late", time=at(30))
    with pytest.raises(PeriodClosed):
        t.usage.correct("acme", "late", quantity=5)
    with pytest.raises(PeriodClosed):
        t.usage.cancel("acme", "late")
    t.usage.record("acme", "calls", id="february", time=at(31))
    with pytest.raises(PeriodClosed):  # it may not move into January
        t.usage.correct("acme", "february", time=at(30.5))
    assert total(t, "calls", at(0), at(31)) == 2


def test_an_operator_may_fill_in_what_is_closed_and_it_is_written_down(
    t: Tenancy, clock: Any
) -> None:
    clock.advance_ns(40 * DAY_NS)
    t.usage.record("acme", "calls", 7, id="old", time=at(1), backfill=True, by="operator:ada")
    t.usage.correct("acme", "old", quantity=8, backfill=True, by="operator:ada")
    assert total(t, "calls", at(0), at(31)) == 8
    t.usage.cancel("acme", "old", backfill=True, by="operator:ada")
    assert total(t, "calls", at(0), at(31)) == 0
    told = [e.action for e in t.audit.search(tenant="acme", principal="operator:ada")]
    assert sorted(told) == ["usage:backfill", "usage:cancel", "usage:correct"]


def test_who_invoices_closes_earlier_in_every_process_and_for_good(
    t: Tenancy, tmp_path: Path, clock: Any
) -> None:
    t.usage.record("acme", "calls", time=at(2))
    with open_metered(tmp_path, clock) as other:
        other.usage.record("acme", "calls", time=at(2))
        closed = t.usage.close("acme", at(3), by="billing")
        with pytest.raises(PeriodClosed):
            other.usage.record("acme", "calls", time=at(2))
        other.usage.record("acme", "calls", time=at(3))
        assert other.usage.close("acme", at(1)).until == closed.until == at(3)
    with pytest.raises(InvalidValue, match="still to come"):
        t.usage.close("acme", at(11))
    asked = {"since": at(0), "cuts": [at(3)], "metrics": ["calls"]}
    assert t.usage.quantities("acme", **asked)["calls"][0].quantity == 2
    assert t.usage.quantities("acme", **asked, as_of=closed.position)["calls"][0].quantity == 2


def test_closing_waits_for_what_is_being_recorded(t: Tenancy) -> None:
    """A recording that has looked at the period and is not in the log yet holds the closing up."""
    order: list[str] = []
    looked, go_on = threading.Event(), threading.Event()
    record = t.usage._log.record

    def slow(*args: Any) -> bytes:
        looked.set()
        assert go_on.wait(30)
        done = record(*args)
        order.append("recorded")
        return done

    t.usage._log.record = slow  # type: ignore[method-assign]
    recorder = threading.Thread(
        target=t.usage.record, args=("acme", "calls"), kwargs={"time": at(2)}
    )
    recorder.start()
    assert looked.wait(30)
    closer = threading.Thread(target=lambda: (t.usage.close("acme", at(3)), order.append("closed")))
    closer.start()
    closer.join(0.3)
    assert closer.is_alive()
    go_on.set()
    recorder.join(30)
    closer.join(30)
    assert order == ["recorded", "closed"]


def test_months_begin_on_the_anchors_day_in_the_tenants_zone(t: Tenancy) -> None:
    tenant = t.tenants.create(
        name="M", plan="free", time_zone="Europe/Berlin",
        anchor=datetime(2026, 1, 30, 23, 0, tzinfo=timezone.utc),  # 31 January in Berlin
    )  # fmt: skip
    ends, moment = [], datetime(2026, 2, 1, tzinfo=timezone.utc)
    for _ in range(4):
        found = t.usage.period(tenant, moment)
        assert found.start <= moment < found.end
        ends.append(found.end)
        moment = found.end
    utc = timezone.utc
    assert ends == [
        datetime(2026, 2, 27, 23, tzinfo=utc),
        datetime(2026, 3, 30, 22, tzinfo=utc),
        datetime(2026, 4, 29, 22, tzinfo=utc),
        datetime(2026, 5, 30, 22, tzinfo=utc),
    ]


# ------------------------------------------------------------------------------------ corrections


def test_a_correction_replaces_and_keeps_what_is_not_named(t: Tenancy) -> None:
    t.usage.record("acme", "sum", 5, id="a", time=at(1), properties={"region": "eu"})
    changed = t.usage.correct("acme", "a", quantity="6.5")
    assert changed.corrected
    assert (changed.time, changed.properties) == (at(1), {"region": "eu"})
    moved = t.usage.correct("acme", "a", time=at(2), properties={})
    assert (moved.quantity, moved.time, moved.properties) == (Decimal("6.5"), at(2), {})
    assert [e.id for e in t.usage.events("acme", "sum")] == ["a"]


def test_what_was_taken_back_is_gone_and_cannot_be_corrected(t: Tenancy) -> None:
    t.usage.record("acme", "calls", 5, id="a")
    t.usage.cancel("acme", "a")
    assert total(t, "calls") == 0
    for call in (t.usage.cancel, t.usage.correct, t.usage.event):
        with pytest.raises(UnknownUsageEvent):
            call("acme", "a")
    with pytest.raises(UnknownUsageEvent):
        t.usage.correct("acme", "never", quantity=1)


def test_a_correction_of_what_is_no_longer_remembered_is_refused(t: Tenancy, clock: Any) -> None:
    t.usage.record("acme", "calls", 5, id="a", time=at(9))
    clock.advance_ns(80 * DAY_NS)
    t.usage.record("acme", "calls", id="b")
    with pytest.raises(UnknownUsageEvent, match="can be corrected"):
        t.usage.correct("acme", "a", quantity=1, backfill=True)
    assert total(t, "calls", at(0), at(31)) == 5


# ----------------------------------------------------------------------------------------- quotas


def test_a_recording_charges_its_metrics_quota_or_nothing_happens(t: Tenancy) -> None:
    t.usage.record("acme", "tokens", 60, id="a")
    assert t.quotas.status("acme", "tokens").used == 60
    with pytest.raises(QuotaExceeded):
        t.usage.record("acme", "tokens", 41, id="b")
    assert total(t, "tokens") == 60
    assert t.quotas.status("acme", "tokens").reserved == 0
    t.usage.record("acme", "tokens", 41, id="b", consume=False)
    assert (total(t, "tokens"), t.quotas.status("acme", "tokens").used) == (101, 60)


def test_a_retry_is_not_charged_again_even_when_nothing_is_left(t: Tenancy) -> None:
    t.usage.record("acme", "tokens", 80, id="a")
    assert t.usage.record("acme", "tokens", 80, id="a").duplicate  # 80 more do not fit
    t.usage.record("acme", "tokens", 20, id="b")
    assert t.usage.record("acme", "tokens", 20, id="b").duplicate
    with pytest.raises(UsageConflict):
        t.usage.record("acme", "tokens", 90, id="a")
    with pytest.raises(PeriodClosed):
        t.usage.record("acme", "tokens", 0, id="c", time=START - timedelta(days=40))
    status = t.quotas.status("acme", "tokens")
    assert (status.used, status.reserved) == (100, 0)


def test_another_quota_can_be_charged(t: Tenancy) -> None:
    t.usage.record("acme", "calls", 5, consume="seats")
    with pytest.raises(QuotaExceeded):
        t.usage.record("acme", "calls", 1, consume="seats")
    assert (total(t, "calls"), t.quotas.status("acme", "seats").used) == (5, 5)


def test_a_batch_charges_quotas_when_told_and_rejects_what_does_not_fit(t: Tenancy) -> None:
    rows = [{"metric": "tokens", "quantity": n} for n in (50, 40, 30, 10)]
    report = t.usage.record_many(rows, tenant="acme", consume=True)
    assert (report.recorded, report.rejected) == (3, 1)
    assert report.rejections[0].row == 3
    assert report.rejections[0].column == "quantity"
    assert (total(t, "tokens"), t.quotas.status("acme", "tokens").used) == (100, 100)


# ------------------------------------------------------------------------------------- life


async def test_the_twins_do_the_same(t: Tenancy) -> None:
    await t.usage.arecord("acme", "calls", 2, id="a")
    assert (await t.usage.aaggregate("acme", "calls")).quantity == 2
    assert (await t.usage.aperiod("acme")).state == "open"


def test_after_closing_nothing_is_recorded(tmp_path: Path) -> None:
    t = open_metered(tmp_path)
    t.tenants.create(name="Acme", slug="acme", plan="free")
    t.usage.record("acme", "calls")
    t.close()
    with pytest.raises(StoreClosed):
        t.usage.record("acme", "calls")
    with pytest.raises(StoreClosed):
        t.usage.aggregate("acme", "calls")


def test_the_table_is_made_again_whatever_happened_to_it(t: Tenancy, tmp_path: Path) -> None:
    t.usage.record("acme", "calls", 5, id="a")
    t.usage.correct("acme", "a", quantity=7)
    events = list(t.usage.events("acme"))
    for damage in (b"", b"SQLite format 3\0 not really", None):
        for suffix in ("", "-wal", "-shm"):
            path = tmp_path / "data" / f"usage.sqlite{suffix}"
            path.unlink(missing_ok=True)
        if damage is not None:
            (tmp_path / "data" / "usage.sqlite").write_bytes(damage)
        assert list(t.usage.events("acme")) == events
        assert total(t, "calls") == 7


def test_what_was_pruned_from_the_log_leaves_the_table(t: Tenancy, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        t.usage.record("acme", "calls", id=name)
    places = [event.position for event in t.usage.events("acme", "calls")]
    second = places[1] >> 12
    t.usage._log.kept_from = lambda: second  # type: ignore[method-assign]
    t.usage.record("acme", "calls", id="d")
    assert [event.id for event in t.usage.events("acme", "calls")] == ["b", "c", "d"]
    (tmp_path / "data" / "usage.sqlite").unlink()
    assert [event.id for event in t.usage.events("acme", "calls")] == ["b", "c", "d"]


def test_the_background_work_brings_the_table_up_to_the_log(t: Tenancy, tmp_path: Path) -> None:
    t.usage.record("acme", "calls", 5)
    t.background.run_due()
    assert (tmp_path / "data" / "usage.sqlite").exists()
    assert t.health().ok
