"""Aggregations against fractions: all six kinds, whatever the order, corrections and groups."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, START, make_clock
from tenancy import Tenancy
from tenancy.catalog import Metric
from tenancy.errors import InvalidValue
from tenancy.stores.usage_units import (
    decimal_of,
    joined,
    parts_of,
    quantity_text,
    ratio,
    units_of_text,
)
from tenancy.usage import _aggregation as aggregation
from usage_model import KINDS, Event, Model, amount, open_metered, rounded

QUANTITIES = st.decimals(0, 10**26 - 1, places=12) | st.integers(0, 5).map(Decimal)
HOUR_NS = 3_600_000_000_000


# ---------------------------------------------------------------------------------- quantities


@given(QUANTITIES)
def test_a_quantity_survives_text_units_parts_and_decimal(quantity: Decimal) -> None:
    units = units_of_text(quantity_text(quantity))
    assert Fraction(units, 10**12) == Fraction(quantity)
    assert joined(*parts_of(units)) == units
    assert decimal_of(units) == quantity
    assert decimal_of(-units) == quantity.copy_negate()


@given(st.integers(0, 10**40), st.integers(1, 10**20))
def test_a_ratio_is_rounded_half_away_from_zero(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert abs(ratio(numerator, denominator) - exact) <= Fraction(1, 2)
    if (exact * 2).denominator == 1:
        assert ratio(numerator, denominator) >= exact


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), True, None, "", "x", "1e3", " 1", "1.", ".5", "0x1", "١", -1, "-0.1",
     Decimal("NaN"), Decimal("Infinity"), Decimal("1E-13"), Decimal("-1"), 10**26, "1" * 27,
     Decimal("1E+26"), "0.0000000000001", b"1", [1]],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        quantity_text(value)
    assert caught.value.field == "quantity"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (10**26 - 1, "9" * 26), ("0.25", "0.25"), (Decimal("1E+3"), "1000"),
     (Decimal("2.500"), "2.5"), (Decimal("-0"), "0"), (Decimal("0E-50"), "0")],
)  # fmt: skip
def test_what_is_a_quantity_is_taken_by_its_digits(value: Any, text: str) -> None:
    assert quantity_text(value) == text


# -------------------------------------------------------------------------------- pure functions

EVENTS = st.lists(
    st.builds(
        Event,
        st.integers(-50, 150),
        st.integers(0, 10**6).map(lambda n: Fraction(n, 1000)),
        st.sampled_from(["a", "b", "c"]) | st.none(),
        st.sampled_from(["eu", "us"]) | st.none(),
    ),
    max_size=30,
)


def told(kind: str, events: list[Event], bounds: list[int], grouped: bool) -> list[Any]:
    """`stretches` as the service calls it: a level with what was before."""
    metric = Metric(kind, kind, unique_by="user" if kind == "unique" else None)  # type: ignore[arg-type]
    level = kind == "time_weighted"
    rows = [
        aggregation.Event(e.time, int(e.quantity * 10**12), e.user, (e.region,) if grouped else ())
        for e in sorted(events, key=lambda e: e.time)
        if (level or e.time >= bounds[0]) and e.time < bounds[-1]
    ]
    return list(aggregation.stretches(metric, rows, bounds, grouped=grouped))


@pytest.mark.parametrize("kind", KINDS)
@given(EVENTS, st.lists(st.integers(0, 100), min_size=2, max_size=6, unique=True).map(sorted))
def test_stretches_are_what_fractions_say(
    kind: str, events: list[Event], bounds: list[int]
) -> None:
    found = told(kind, events, bounds, grouped=False)
    assert [(s.since_ns, s.until_ns) for s in found] == list(pairwise(bounds))
    for each in found:
        exact = amount(kind, events, each.since_ns, each.until_ns)
        assert decimal_of(each.units) == rounded(exact)


@pytest.mark.parametrize("kind", KINDS)
@given(EVENTS)
def test_groups_are_what_fractions_say(kind: str, events: list[Event]) -> None:
    bounds = [0, 40, 100]
    found = {(s.since_ns, s.group[0]): s for s in told(kind, events, bounds, grouped=True)}
    for region in ("eu", "us", None):
        own = [e for e in events if e.region == region]
        for since, until in pairwise(bounds):
            exact = rounded(amount(kind, own, since, until))
            each = found.pop((since, region), None)
            assert (Decimal(0) if each is None else decimal_of(each.units)) == exact
    assert not found


# ------------------------------------------------------------------------------------ the service


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    clock = make_clock()
    clock.advance_ns(20 * DAY_NS)
    with open_metered(tmp_path_factory.mktemp("metered"), clock) as t:
        yield t


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, str, Any]]:
    """Steps: record (perhaps again), correct and cancel what is there."""
    steps: list[tuple[str, str, Any]] = []
    alive: list[str] = []
    gone: set[str] = set()
    for number in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["record", "record", "record", "again", "correct", "cancel"]))
        event = Event(
            draw(st.integers(0, 20)),
            Fraction(draw(st.integers(0, 10**5)), 1000),
            draw(st.sampled_from(["a", "b", "c"])),
            draw(st.sampled_from(["eu", "us"])),
        )
        if kind == "record" or not alive:
            alive.append(name := f"e{number}")
            steps.append(("record", name, event))
            continue
        name = draw(st.sampled_from(sorted(alive)))
        if kind == "cancel":
            alive.remove(name)
            gone.add(name)
        steps.append((kind, name, event))
    return steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_counts_as_the_model_says(kind: str, metered: Tenancy) -> None:
    run_histories(kind, metered)


def run_histories(kind: str, t: Tenancy) -> None:
    @settings(max_examples=12)
    @given(histories(), st.randoms(use_true_random=False))
    def check(history: list[tuple[str, str, Any]], order: random.Random) -> None:
        tenant = t.tenants.create(name="T", plan="free", anchor=START)
        model = Model()
        firsts: dict[str, dict[str, Any]] = {}
        for step, name, event in history:
            if step == "record":
                firsts[name] = arguments(event)
                t.usage.record(tenant, kind, id=name, **firsts[name])
                model.record(name, event)
            elif step == "again" and name in firsts:
                known = t.usage.record(tenant, kind, id=name, **firsts[name])
                assert known.duplicate
            elif step == "correct":
                corrected = t.usage.correct(tenant, name, **arguments(event))
                assert corrected.quantity == rounded(event.quantity)
                model.correct(name, event)
                firsts.pop(name, None)
            elif step == "cancel":
                t.usage.cancel(tenant, name)
                model.cancel(name)
        for since, until in ((0, 21), (5, 12), (order.randrange(10), 20)):
            usage = t.usage.aggregate(
                tenant, kind, at(since), at(until), group_by="region", every="day"
            )
            assert usage.quantity == rounded(model.amount(kind, since, until))
            for row in usage.rows:
                first, end = hours(row.since), hours(row.until)
                exact = model.amount(kind, first, end, region=row.group["region"])
                assert row.quantity == rounded(exact)
            plain = t.usage.aggregate(tenant, kind, at(since), at(until))
            assert (plain.quantity, plain.events) == (usage.quantity, usage.events)
        cuts = [0, *sorted(order.sample(range(21), 4)), 21]
        found = t.usage.quantities(
            tenant, since=at(0), cuts=[at(cut) for cut in cuts], metrics=[kind]
        )[kind]
        assert [each.until for each in found] == [at(cut) for cut in cuts]
        for cut, each in zip(cuts[1:], found[1:], strict=True):
            if cut:
                assert each.quantity == rounded(model.amount(kind, 0, cut))
        assert found[0].quantity == 0

    check()


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def hours(moment: datetime) -> int:
    return int((moment - START).total_seconds()) // 3600


def arguments(event: Event) -> dict[str, Any]:
    properties = {"user": event.user, "region": event.region}
    quantity = rounded(event.quantity)
    return {"quantity": quantity, "time": at(event.time), "properties": properties}


def test_the_order_of_recording_plays_no_part(metered: Tenancy) -> None:
    """Two tenants get the same events in different orders: every number and digest is the same."""
    events = [
        {"id": f"e{n}", "quantity": Decimal(n) / 8, "time": at(n), "metric": kind,
         "properties": {"user": f"u{n % 3}", "region": "eu"}}
        for n in range(12) for kind in KINDS
    ]  # fmt: skip
    for each in events:
        each["id"] = f"{each['id']}/{each['metric']}"
    found = []
    for seed in range(3):
        tenant = metered.tenants.create(name="T", plan="free")
        shuffled = random.Random(seed).sample(events, len(events))
        assert metered.usage.record_many(shuffled, tenant=tenant).recorded == len(events)
        found.append(metered.usage.quantities(tenant, since=at(0), cuts=[at(6), at(30)]))
    assert found[0] == found[1] == found[2]
    assert found[0]["sum"][1].events == 12
    assert len({each[1].digest for each in found[0].values()}) == len(KINDS) + 1  # "" of the others


def test_what_a_bill_was_computed_from_can_be_computed_again(metered: Tenancy) -> None:
    """`as_of`: a correction and a back-fill after the closing change today's number, not that."""
    tenant = metered.tenants.create(name="T", plan="free", anchor=START)
    metered.usage.record(tenant, "sum", 5, id="a", time=at(1))
    closed = metered.usage.close(tenant, at(3))
    before = metered.usage.quantities(tenant, since=at(0), cuts=[at(3)], metrics=["sum"])
    metered.usage.correct(tenant, "a", quantity=7, backfill=True)
    metered.usage.record(tenant, "sum", 1, time=at(2), backfill=True)
    asked = {"since": at(0), "cuts": [at(3)], "metrics": ["sum"]}
    assert metered.usage.quantities(tenant, **asked)["sum"][0].quantity == 8
    assert metered.usage.quantities(tenant, **asked, as_of=closed.position) == before
    old = metered.usage.events(tenant, "sum", at(0), at(3), as_of=closed.position)
    assert [(e.id, e.quantity) for e in old] == [("a", Decimal(5))]


def test_huge_and_tiny_quantities_are_summed_exactly(metered: Tenancy) -> None:
    tenant = metered.tenants.create(name="T", plan="free")
    huge, tiny = Decimal("9" * 26), Decimal("0.000000000001")
    for quantity in (huge, huge, tiny, 2**63):
        metered.usage.record(tenant, "sum", quantity)
    found = metered.usage.aggregate(tenant, "sum")
    assert Fraction(found.quantity) == 2 * Fraction(huge) + 2**63 + Fraction(tiny)


def test_buckets_follow_the_tenants_time_zone(metered: Tenancy) -> None:
    """Days of 23 and 25 hours, hours of a zone that is half an hour off."""
    berlin = metered.tenants.create(name="B", plan="free", time_zone="Europe/Berlin")
    days = metered.usage.aggregate(
        berlin, "sum", datetime(2025, 3, 29, tzinfo=timezone.utc),
        datetime(2025, 4, 1, tzinfo=timezone.utc), every="day",
    )  # fmt: skip
    lengths = [(row.until - row.since).total_seconds() / 3600 for row in days]
    assert lengths == [23, 23, 24, 2]  # from 01:00 local, the short Sunday, Monday, until 02:00
    delhi = metered.tenants.create(name="D", plan="free", time_zone="Asia/Kolkata")
    hourly = metered.usage.aggregate(delhi, "sum", at(0), at(2), every="hour")
    assert [row.since.minute for row in hourly] == [0, 30, 30]
    with pytest.raises(InvalidValue, match="more than 10000 rows"):
        metered.usage.aggregate(delhi, "sum", at(0), at(24 * 700), every="hour")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"group_by": "user"}, "group_by"),
        ({"group_by": ["region", "region"]}, "group_by"),
        ({"every": "week"}, "every"),
        ({"since": at(2), "until": at(2)}, "until"),
        ({"since": datetime(2026, 1, 1)}, "since"),
    ],
)
def test_questions_that_make_no_sense_are_refused(
    metered: Tenancy, arguments: dict[str, Any], field: str
) -> None:
    tenant = metered.tenants.create(name="T", plan="free")
    with pytest.raises(InvalidValue) as caught:
        metered.usage.aggregate(tenant, "sum", **arguments)
    assert caught.value.field == field


def test_pages_of_events_have_each_event_once(metered: Tenancy) -> None:
    tenant = metered.tenants.create(name="T", plan="free")
    rows = [{"metric": "calls", "id": f"e{n}", "quantity": n, "time": at(n % 3)} for n in range(10)]
    metered.usage.record_many(rows, tenant=tenant)
    seen, cursor = [], None
    while True:
        page = metered.usage.events(tenant, "calls", at(0), at(5), limit=3, cursor=cursor)
        assert len(page) <= 3
        seen += [(event.time, int(event.id[1:])) for event in page]
        if (cursor := page.cursor) is None:
            break
    assert seen == sorted((at(n % 3), n) for n in range(10))
    with pytest.raises(InvalidValue):
        metered.usage.events(tenant, cursor="x")


def test_the_largest_is_told_by_all_its_digits_and_the_newest_by_its_place(
    metered: Tenancy,
) -> None:
    """A quantity is kept as three numbers, and two events may have one time."""
    tenant = metered.tenants.create(name="T", plan="free", anchor=START)
    largest = Decimal("9" * 13 + "8" + "0" * 12 + ".000000000002")
    for quantity in (
        "9" * 13 + "8" + "0" * 12 + ".000000000001",
        largest,
        10**25,
        "0.999999999999",
    ):
        metered.usage.record(tenant, "max", quantity, time=at(1))
        metered.usage.record(tenant, "last", quantity, time=at(1))
    for kind, expected in (("max", largest), ("last", Decimal("0.999999999999"))):
        found = metered.usage.aggregate(tenant, kind, at(0), at(2))
        assert (found.quantity, found.events) == (expected, 4)
        nothing = metered.usage.aggregate(tenant, kind, at(2), at(3))
        assert (nothing.quantity, nothing.events) == (0, 0)
