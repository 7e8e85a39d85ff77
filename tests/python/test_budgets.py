"""`tenancy.budgets`: thresholds passed and to come, exactly."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.budgets import budget
from tenancy.errors import InvalidValue

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAYS = [START + timedelta(days=k) for k in range(1, 6)]

money = st.integers(0, 40_000).map(lambda cents: Decimal(cents).scaleb(-2))


def test_a_threshold_is_passed_when_the_cost_reaches_it() -> None:
    status = budget("acme", 200, "160")
    assert [(t.percent, t.amount, t.passed) for t in status.thresholds] == [
        (50, 100, True),
        (80, 160, True),
        (100, 200, False),
    ]
    assert (status.percent, status.spent) == (80, 160)
    assert status.next is not None
    assert (status.next.percent, status.next.probability) == (100, None)
    assert budget("acme", 200, "159.99").next.percent == 80  # type: ignore[union-attr]
    assert budget("acme", 200, 201).next is None


def test_budgets_below_a_hundred_have_a_percent_and_thresholds_may_be_above_it() -> None:
    status = budget("acme", 20, 17, thresholds=(80, 150))
    assert (status.percent, [t.amount for t in status.thresholds]) == (85, [16, 30])
    assert budget("acme", 3, 1).percent == Decimal("33.3333")
    over = budget("acme", "0.01", "0.04", thresholds=[400, "400.01"])
    assert (over.percent, [t.passed for t in over.thresholds]) == (400, [True, False])


def test_the_first_time_is_told() -> None:
    running = [(START + timedelta(days=k), 30 * k) for k in range(5)]
    status = budget("acme", 100, running, thresholds=[60, 50])
    assert [t.passed_at for t in status.passed] == [START + timedelta(days=2)] * 2
    assert status.spent == 120
    assert [row["passed"] for row in status.frame()] == [1, 1]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(money, min_size=5, max_size=5), min_size=1, max_size=20),
    st.integers(1, 300),
    money,
)
def test_probabilities_and_days_are_those_of_counting(
    samples: list[list[Decimal]], amount: int, spent: Decimal
) -> None:
    pytest.importorskip("numpy")
    status = budget("acme", amount, spent, samples=samples, days=DAYS)
    for threshold in status.thresholds:
        due = Decimal(amount) * threshold.percent / 100
        assert threshold.amount == due
        if spent >= due:
            assert threshold.passed
            assert threshold.probability == 1
            continue
        first = [next((k for k, cost in enumerate(row) if cost >= due), None) for row in samples]
        reached = sorted(k for k in first if k is not None)
        assert threshold.probability == len(reached) / len(samples)
        for name, share in (("early", 0.1), ("median", 0.5), ("late", 0.9)):
            needed = math.ceil(Decimal(str(share)) * len(samples))
            day = DAYS[reached[needed - 1]] if len(reached) >= needed else None
            assert getattr(threshold, name) == day


def test_samples_as_an_array_or_amounts_are_the_same() -> None:
    numpy = pytest.importorskip("numpy")
    from tenancy.pricing import PerUnit

    rows = [[10, 20, 30, 40, 50], [20, 40, 60, 80, 100]]
    expected = budget("acme", 100, 0, samples=rows, days=DAYS)
    array = numpy.array(rows)
    assert budget("acme", 100, 0, samples=array, days=DAYS) == expected
    assert budget("acme", 100, 0, samples=PerUnit(1).amounts(array.ravel()), days=DAYS) == expected
    last = expected.thresholds[-1]
    assert (last.probability, last.early, last.median, last.late) == (0.5, DAYS[4], DAYS[4], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amount": 0}, "amount: expected an amount above zero"),
        ({"spent": 1.5}, "spent.*float"),
        ({"spent": []}, "spent: expected at least one"),
        ({"spent": [(START, 1), (START, 2)]}, "spent: row 1: .* is not after"),
        ({"spent": [(START.replace(tzinfo=None), 1)]}, "spent: row 0: expected a time with a zone"),
        ({"thresholds": [0]}, "thresholds"),
        ({"thresholds": []}, "thresholds"),
        ({"samples": [[1, 2]], "days": DAYS}, "samples: row 0: has 2 days, not 5"),
        ({"samples": [[1, 2]]}, "days: expected the day"),
        ({"samples": [], "days": DAYS}, "samples: expected rows"),
    ],
)
def test_wrong_budgets(arguments: dict[str, Any], message: str) -> None:
    if "samples" in arguments:
        pytest.importorskip("numpy")
    given_: dict[str, Any] = {"amount": 100, "spent": 5} | arguments
    with pytest.raises(InvalidValue, match=message):
        budget("acme", **given_)
