"""Currencies, rounding, allocation and proration."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.errors import InvalidValue
from tenancy.pricing import (
    CURRENCIES_AS_OF,
    PerUnit,
    allocate,
    currency_codes,
    minor_digits,
    prorate,
    round_money,
)

AMOUNTS = st.decimals("-1e9", "1e9", places=4, allow_nan=False)


def test_minor_units_are_those_of_iso_4217() -> None:
    assert (minor_digits("USD"), minor_digits("JPY"), minor_digits("KWD")) == (2, 0, 3)
    assert minor_digits("CLF") == 4
    assert minor_digits("HUF") == 2  # people write none: CLDR says 0
    assert date.fromisoformat(CURRENCIES_AS_OF)
    for bad in ("usd", "XAU", "XBC", "", "EURO", "\u20ac"):
        with pytest.raises(InvalidValue, match=r"^currency: "):
            minor_digits(bad)
    assert len(currency_codes()) > 150
    assert list(currency_codes()) == sorted(currency_codes())


@given(
    AMOUNTS,
    st.integers(0, 6),
    st.sampled_from(["half_up", "half_even", "half_down", "up", "down", "ceiling", "floor"]),
)
def test_rounding_is_that_of_decimal(amount: Decimal, digits: int, mode: Any) -> None:
    expected = amount.quantize(Decimal(1).scaleb(-digits), rounding=f"ROUND_{mode.upper()}")
    assert round_money(amount, digits=digits, rounding=mode) == expected


def test_the_published_list_agrees() -> None:
    """Every currency of ISO 4217 that people pay with; metals, funds' units and test codes have no
    minor unit. What was withdrawn stays in our table: old invoices name it."""
    iso4217 = pytest.importorskip("iso4217")
    published = {c.code: c.exponent for c in iso4217.Currency if c.exponent is not None}
    assert len(published) > 150
    assert {code: minor_digits(code) for code in published} == published
    beyond = set(currency_codes()) - set(published)
    assert beyond <= {"ANG", "BGN", "CUC", "HRK", "SLL", "ZWL"}


def test_rounding_to_a_currency() -> None:
    assert round_money("0.125", "USD") == Decimal("0.13")
    assert round_money("-0.125", "USD") == Decimal("-0.13")
    assert round_money("0.125", "USD", "half_even") == Decimal("0.12")
    assert round_money("1.5", "JPY") == 2
    with pytest.raises(InvalidValue, match="give a currency"):
        round_money(1)
    with pytest.raises(InvalidValue, match=r"^rounding: "):
        round_money(1, "USD", "bankers")  # type: ignore[arg-type]


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_allocation_sums_and_is_within_one_unit_of_the_share(
    cents: int, weights: list[int]
) -> None:
    amount = Decimal(cents).scaleb(-2)
    if not any(weights):
        with pytest.raises(InvalidValue, match="all are zero"):
            allocate(amount, weights, "USD")
        return
    parts = allocate(amount, weights, "USD")
    assert sum(map(Fraction, parts)) == Fraction(amount)
    for part, weight in zip(parts, weights, strict=True):
        share = Fraction(amount) * weight / sum(weights)
        assert abs(Fraction(part) - share) < Fraction(1, 100)
        assert part == 0 or (part > 0) == (amount > 0)


def test_allocation_refuses_what_does_not_fit() -> None:
    for weights, message in [([], "at least one weight"), ([1, -1], "must not be negative")]:
        with pytest.raises(InvalidValue, match=message):
            allocate(1, weights, "USD")
    with pytest.raises(InvalidValue, match=r"expected a multiple of 0\.01, got 0\.001"):
        allocate("0.001", [1], "USD")
    with pytest.raises(InvalidValue, match="got a float"):
        allocate(1, [0.5], "USD")  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match="digits: expected 0 to 12"):
        allocate(1, [1], digits=13)


def test_a_million_rounded_lines_do_not_drift() -> None:
    """What is rounded is each line, once; sums of the lines are exact."""
    price = PerUnit("0.005", currency="USD", rules={"round_at": "line"})
    line = price.amount(3)
    assert line == Decimal("0.02")
    assert price.amounts([3] * 1_000_000).sum() == line * 1_000_000
    exact = PerUnit("0.000000000001").amounts([1] * 1_000_000)
    assert exact.sum() == Decimal("0.000001")
    third = Decimal("0.333333333333")
    parts = allocate(third * 1_000_000, [1] * 1_000_000, digits=12)
    assert set(parts) == {third}


JANUARY = (date(2026, 1, 1), date(2026, 2, 1))


def test_proration_by_second_by_day_and_with_both_ends() -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    month = (start, start + timedelta(days=31))
    half_day = (start, start + timedelta(hours=12))
    assert prorate(31, half_day, month, "second") == Decimal("0.5")
    assert prorate(31, half_day, month, "day") == 0
    assert prorate(32, half_day, month, "day_inclusive") == 1
    assert prorate(31, half_day, month, "none") == 31
    fifteenth = (date(2026, 1, 1), date(2026, 1, 15))
    assert prorate(100, fifteenth, JANUARY, "day") == Decimal("45.161290322581")
    assert prorate(100, fifteenth, JANUARY, "killbill") == Decimal("45.1612903")
    assert prorate(-100, fifteenth, JANUARY, "day") == Decimal("-45.161290322581")


def test_seconds_are_those_that_passed_where_summer_time_begins() -> None:
    """March has 743 hours in Berlin, where clocks are put forward on the 29th."""
    berlin = ZoneInfo("Europe/Berlin")
    march = (datetime(2026, 3, 1, tzinfo=berlin), datetime(2026, 4, 1, tzinfo=berlin))
    until = (march[0], datetime(2026, 3, 29, 12, tzinfo=berlin))
    assert prorate(743, until, march) == 28 * 24 + 11
    assert prorate(31, until, march, "day") == 28


@pytest.mark.parametrize(
    ("part", "period", "rules", "message"),
    [
        (JANUARY, (JANUARY[1], JANUARY[0]), "day", "ends before it starts"),
        ((date(2025, 12, 31), date(2026, 1, 2)), JANUARY, "day", "is not within the period"),
        (JANUARY, (JANUARY[0], JANUARY[0]), "day", "is not within the period"),
        (JANUARY, JANUARY, "second", "expected two datetimes"),
        (JANUARY, JANUARY, "month", "expected one of second, day"),
        (JANUARY, JANUARY, {"proration": "day"}, "expected one of second, day"),
        (
            (datetime(2026, 1, 1), datetime(2026, 1, 2, tzinfo=timezone.utc)),
            (datetime(2026, 1, 1), datetime(2026, 1, 2)),
            "second",
            "one end has a time zone",
        ),
        (
            JANUARY,
            (datetime(2026, 1, 1), datetime(2026, 1, 2)),
            "day",
            "must both be dates",
        ),
    ],
)
def test_periods_that_are_none(part: Any, period: Any, rules: str, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        prorate(1, part, period, rules)
    assert message in str(caught.value)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 365), AMOUNTS)
def test_shares_of_split_periods_add_up_to_a_unit_of_the_last_digit(
    first: int, second: int, days: int, amount: Decimal
) -> None:
    start = date(2026, 1, 1)
    whole = (start, start + timedelta(days=days))
    cuts = sorted({0, min(first, days), min(second, days), days})
    parts = [
        prorate(amount, (start + timedelta(days=a), start + timedelta(days=b)), whole, "day")
        for a, b in itertools.pairwise(cuts)
    ]
    drift = abs(Fraction(amount) - sum(map(Fraction, parts)))
    assert drift <= Fraction(len(parts), 2 * 10**12)
