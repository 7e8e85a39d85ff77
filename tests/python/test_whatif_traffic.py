"""Replays of recorded traffic: the limiter's own answers, and those of small models."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import make_clock, open_shop
from tenancy.errors import InvalidValue
from tenancy.limits import Limiter
from tenancy.testing import FakeClock
from tenancy.whatif import replay_limits, replay_quotas
from whatif_model import START, UTC, Request, replay, summary

pytest.importorskip("numpy")

START_NS = int(START.timestamp()) * 10**9

LIMITS: list[dict[str, Any]] = [
    {"limit": "5/10s"},
    {"limit": "5/10s", "algorithm": "fixed_window"},
    {"limit": "5/10s", "algorithm": "fixed_window", "anchor": "first"},
    {"limit": "5/10s", "algorithm": "sliding_counter"},
    {"limit": "5/10s", "algorithm": "sliding_log"},
    {"limit": "5/10s", "burst": 8},
    {"limit": "5/10s", "algorithm": "leaky_bucket"},
    {"limit": "5/10s", "algorithm": "leaky_queue"},
    {"limit": "3/s; 9/minute"},
    {"limit": "1000/day"},
]

requests = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex", "initech"]),
        # Microseconds: what a datetime holds.
        st.integers(0, 120_000_000).map(lambda us: START_NS + us * 1000),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=60,
)


def moment(ns: int) -> datetime:
    return START + timedelta(microseconds=(ns - START_NS) // 1000)


def frame_of(rows: list[Request]) -> dict[str, list[Any]]:
    return {
        "tenant": [who for who, _, _ in rows],
        "time": [moment(ns) for _, ns, _ in rows],
        "cost": [cost for _, _, cost in rows],
    }


def checked(found: Any, expected: dict[str, dict[str, Any]]) -> None:
    rows = {row["tenant"]: row for row in found}
    assert rows.keys() == expected.keys()
    for who, model in expected.items():
        first = model["first_refusal"]
        wanted = model | {"first_refusal": None if first is None else moment(first)}
        assert {name: rows[who][name] for name in wanted} == wanted


@settings(max_examples=30, deadline=None)
@given(requests)
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: "-".join(map(str, limit.values())))
def test_a_replay_agrees_with_the_limiter_asked_event_by_event(
    limit: dict[str, Any], rows: list[Request]
) -> None:
    earliest = min(when for _, when, _ in rows)
    clock = FakeClock(start=datetime.fromtimestamp(earliest // 10**9, UTC))
    limiter = Limiter(limit["limit"], **{k: v for k, v in limit.items() if k != "limit"},
                      clock=clock)  # fmt: skip
    checked(replay_limits(frame_of(rows), {"x": limit}), replay(rows, limiter, clock))


@settings(max_examples=60, deadline=None)
@given(requests)
def test_a_replay_agrees_with_counting_in_a_dictionary(rows: list[Request]) -> None:
    """A fixed window, and a log of the last ten seconds."""
    fixed: dict[tuple[str, int], int] = defaultdict(int)
    logs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    verdicts: dict[str, dict[str, list[tuple[int, int, bool]]]] = {
        "fixed": defaultdict(list),
        "log": defaultdict(list),
    }
    for who, when, cost in sorted(rows, key=lambda row: row[1]):
        window = (who, when // 10**10)
        allowed = fixed[window] + cost <= 7
        fixed[window] += cost if allowed else 0
        verdicts["fixed"][who].append((when, cost, allowed))
        inside = sum(c for at, c in logs[who] if at > when - 10**10)
        allowed = inside + cost <= 7
        if allowed:
            logs[who].append((when, cost))
        verdicts["log"][who].append((when, cost, allowed))
    found = replay_limits(
        frame_of(rows),
        {
            "fixed": {"limit": "7/10s", "algorithm": "fixed_window"},
            "log": {"limit": "7/10s", "algorithm": "sliding_log"},
        },
    )
    for name, by_tenant in verdicts.items():
        expected = {who: summary(each) for who, each in by_tenant.items()}
        checked([row for row in found if row["scenario"] == name], expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acme", "globex"]),
            st.integers(0, 90 * 86400).map(lambda s: START_NS + s * 10**9),
            st.integers(1, 60),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_quotas_agree_with_counting_by_month(rows: list[Request]) -> None:
    used: dict[tuple[str, int, int], int] = defaultdict(int)
    verdicts: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
    for who, when, cost in sorted(rows, key=lambda row: row[1]):
        month = (who, moment(when).year, moment(when).month)
        allowed = used[month] + cost <= 100
        used[month] += cost if allowed else 0
        verdicts[who].append((when, cost, allowed))
    found = replay_quotas(frame_of(rows), {"hundred": 100})
    checked(found, {who: summary(each) for who, each in verdicts.items()})


def test_quotas_agree_with_the_service(tmp_path: Path) -> None:
    """The shop's plan pro has a thousand tokens a month."""
    clock = make_clock()
    begin = clock.wall_ns()
    rows = [("acme", begin + hours * 3600 * 10**9, 1 + hours % 4) for hours in range(0, 1400, 97)]
    with open_shop(tmp_path, clock) as tenancy:
        acme = tenancy.tenants.create("Acme", slug="acme", plan="pro")
        verdicts = []
        for _, when, cost in rows:
            clock.advance_ns(when - clock.wall_ns())
            verdicts.append((when, cost, bool(tenancy.quotas.consume(acme, "tokens", cost * 90))))
    traffic = frame_of([(who, when, cost * 90) for who, when, cost in rows])
    (found,) = replay_quotas(traffic, {"tokens": 1000})
    assert found["refused"] == sum(not allowed for _, _, allowed in verdicts) > 0
    first = next(when for when, _, allowed in verdicts if not allowed)
    assert found["first_refusal"] == moment(first)


def test_scenarios_stand_side_by_side_and_costs_may_be_left_out() -> None:
    times = [START + timedelta(seconds=k) for k in range(30)]
    traffic = {"who": ["acme"] * 30, "time": times}
    rows = list(
        replay_limits(
            traffic, {"tight": "10/minute", "wide": "100/minute"}, columns={"tenant": "who"}
        )
    )
    assert [(r["scenario"], r["requests"], r["refused"]) for r in rows] == [
        ("tight", 30, 20),
        ("wide", 30, 0),
    ]
    assert rows[0]["first_refusal"] == times[10]
    assert (rows[0]["longest_spell"], rows[0]["longest_spell_s"]) == (20, 19.0)
    assert rows[0]["refused_percent"] == pytest.approx(100 * 20 / 30)
    assert rows[1]["first_refusal"] is None


def test_a_queue_says_who_waits() -> None:
    traffic = {"tenant": ["acme"] * 4, "time": [START] * 4}
    limit = {"limit": "60/minute", "algorithm": "leaky_queue", "burst": 3}
    (row,) = replay_limits(traffic, {"queue": {k: v for k, v in limit.items() if k != "burst"}})
    assert (row["refused"], row["delayed"], row["longest_delay_s"]) == (0, 3, 3.0)


GOOD = {"tenant": ["a", "b"], "time": [START, START], "cost": [1, 2]}


@pytest.mark.parametrize(
    ("changed", "limits", "message"),
    [
        ({"cost": [1, 0]}, "1/s", "cost: row 1: expected a whole number above 0, got 0"),
        ({"cost": [1, 1.5]}, "1/s", "cost"),
        ({"time": [1, 2]}, "1/s", "time: row 0: expected times, got int"),
        ({"time": [START, datetime(1960, 1, 1, tzinfo=UTC)]}, "1/s", "row 1: .*before 1970"),
        ({"tenant": ["a", None]}, "1/s", "tenant"),
        ({}, "often", "limits.x.*often"),
        ({}, {"limit": "1/s", "bursts": 3}, "x: there is no 'bursts'"),
        ({}, {"limit": "1/s", "anchor": "last"}, "anchor"),
        ({}, {"limit": 5}, "are texts"),
        ({}, 5, "x: expected a limit"),
    ],
)
def test_wrong_traffic_and_limits(changed: dict[str, Any], limits: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        replay_limits(GOOD | changed, {"x": limits})


def test_wrong_quotas() -> None:
    for quota in (-1, 1.5, True, "3"):
        with pytest.raises(InvalidValue, match="quotas: x: expected a whole number"):
            replay_quotas(GOOD, {"x": quota})  # type: ignore[dict-item]
    with pytest.raises(InvalidValue, match="limits: expected at least one"):
        replay_limits(GOOD, {})
