"""The parts of the demonstration: its trace, and checks that can fail."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import tenancy.demo
from tenancy.demo.checks import Exact, Latency, Spread, Suspension, _agents
from tenancy.demo.display import Screen
from tenancy.demo.trace import DURATION_S, Call, calls, load
from tenancy.demo.traffic import Outcome, Results

DATA = Path(tenancy.demo.__file__).parent / "data"

pytestmark = pytest.mark.web


# -------------------------------------------------------------------------------------- trace


def test_the_trace_is_read_as_it_is_written() -> None:
    text = (DATA / "azure_llm_2023.csv").read_text(encoding="utf-8")
    written = list(csv.reader(line for line in text.splitlines() if line[0] in "0123456789"))
    read = list(load())
    assert len(read) == len(written) == 2367
    assert [(r.context_tokens, r.generated_tokens) for r in read] == [
        (int(row[2]), int(row[3])) for row in written
    ]
    assert [r.offset_s for r in read] == sorted(r.offset_s for r in read)
    assert 0 <= read[0].offset_s < read[-1].offset_s < DURATION_S


def test_the_trace_names_its_source_and_licence() -> None:
    for name in ("azure_llm_2023.csv", "README.md"):
        text = (DATA / name).read_text(encoding="utf-8")
        assert "https://github.com/Azure/AzurePublicDataset" in text, name
        assert "CC BY 4.0" in text, name


def test_every_run_sends_the_same_calls_and_every_kind() -> None:
    first, again = list(calls("a", "b", "c")), list(calls("a", "b", "c"))
    assert first == again
    kinds = {tenant: Counter(c.kind for c in first if c.tenant == tenant) for tenant in "abc"}
    for tenant, seen in kinds.items():
        assert set(seen) == {
            *("completion", "agent", "skill", "wrong key", "other tenant", "viewer")
        }, tenant
    assert len(first) == 2367


def test_a_call_reserves_no_less_than_it_uses() -> None:
    for call in calls("a", "b", "c"):
        assert call.context_tokens + call.max_tokens >= call.tokens


# ------------------------------------------------------------------------------------- checks


def exact(admitted: int, counted: int, *, limit: int = 100, must_be_full: bool = False) -> Exact:
    return Exact("acme", "api_requests", limit, admitted, counted, 1, must_be_full)


def test_a_limit_is_exact_only_if_all_three_agree() -> None:
    assert exact(100, 100, must_be_full=True).ok
    assert exact(40, 40).ok
    assert not exact(99, 99, must_be_full=True).ok  # one too few
    assert not exact(101, 101).ok  # one too many
    assert not exact(100, 99).ok  # one that was not counted
    assert not exact(99, 100).ok  # one that was counted and not given
    slow = exact(170, 80, must_be_full=True)
    assert replace(slow, judged=False).ok  # a minute has passed: the sums say nothing


def test_one_worker_that_is_late_fails_the_suspension() -> None:
    ok = {1: "ALLOWED", 2: "ALLOWED"}
    refused = {1: "SUSPENDED_TENANT", 2: "SUSPENDED_TENANT"}
    assert Suspension("acme", ok, refused, ok, 1.0).ok
    assert not Suspension("acme", ok, {**refused, 2: "ALLOWED"}, ok, 1.0).ok
    assert not Suspension("acme", ok, refused, {**ok, 1: "SUSPENDED_TENANT"}, 1.0).ok
    assert not Suspension("acme", {**ok, 1: "RATE_LIMIT_EXCEEDED"}, refused, ok, 1.0).ok


def test_a_worker_that_did_not_answer_fails_the_suspension() -> None:
    ok = {1: "ALLOWED", 2: "ALLOWED"}
    assert not Suspension("acme", ok, {1: "SUSPENDED_TENANT"}, ok, 1.0).ok


class _Quotas:
    """Says only what the limit is."""

    limit = 3

    def status(self, tenant: str, quota: str) -> _Quotas:
        assert (tenant, quota) == ("acme", "agents")
        return self


class _Tenancy:
    quotas = _Quotas()


Spans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=12)


@given(Spans)
def test_agents_at_once_are_counted_as_by_looking_at_every_moment(
    spans: list[tuple[int, int]],
) -> None:
    call = Call(0.0, "acme", "agent", 1, 1)
    outcomes = [
        Outcome(call, 200, "ALLOWED", None, 1, {"started_ns": start, "ended_ns": start + length})
        for start, length in spans
    ]
    most = max((sum(s <= m < s + n for s, n in spans) for m in range(50)), default=0)
    assert _agents(_Tenancy(), "acme", outcomes).admitted == most  # type: ignore[arg-type]


def test_results_count_what_holds_a_request_of_the_minute() -> None:
    results = Results(4)
    call = Call(0.0, "acme", "completion", 1, 1)
    for code in ("ALLOWED", "PERMISSION_DENIED", "RATE_LIMIT_EXCEEDED", "INVALID_CREDENTIAL"):
        results.add(Outcome(call, 0, code, None, 7, {"tokens": 2} if code == "ALLOWED" else {}))
    assert results.requests["acme"] == 2
    assert results.tokens["acme"] == 2
    assert results.workers == {7: 4}


# -------------------------------------------------------------------------------------- screen


def shown(terminal: bool) -> tuple[Screen, StringIO]:
    text = StringIO()
    return Screen(Console(file=text, width=80, force_terminal=terminal, color_system=None)), text


def sample() -> Results:
    results = Results(2)
    call = Call(0.0, "sparrow", "completion", 1, 1)
    results.add(Outcome(call, 200, "ALLOWED", None, 7, {"tokens": 2}))
    results.add(Outcome(call, 429, "RATE_LIMIT_EXCEEDED", "api_requests", 8, {}))
    return results


LIMITS = {slug: {"api_requests": 100, "tokens": 1000} for slug in ("sparrow", "mosaic", "harbor")}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_screen_says_what_happens(terminal: bool) -> None:
    screen, text = shown(terminal)
    with screen.live(sample(), LIMITS) as tell:
        tell()
    assert "2 of 2 requests" in text.getvalue()
    if terminal:
        for words in ("1 / 100", "2 / 1,000", "429 RATE_LIMIT_EXCEEDED api_requests", "7: 1  8: 1"):
            assert words in text.getvalue()


def test_tables_fit_a_small_terminal_and_show_what_failed() -> None:
    screen, text = shown(terminal=False)
    screen.outcomes(sample())
    screen.exactness([Exact("sparrow", "tokens", 10**9, 10**9 + 1, 10**9, 3, False)], 2)
    screen.latency(Latency(100, *(Spread(0.25, 0.5) for _ in range(4))))
    screen.suspension(Suspension("harbor", {7: "ALLOWED"}, {7: "ALLOWED"}, {7: "ALLOWED"}, 1.0))
    screen.ending(False, 12.5)
    for words in ("429 RATE_LIMIT_EXCEEDED", "✗", "0.250 ms", "A check FAILED"):
        assert words in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80


def test_a_silent_screen_says_nothing() -> None:
    text = StringIO()
    screen = Screen(Console(file=text), silent=True)
    screen.introduction("data", "agent-orchestrator", "http://127.0.0.1:1", 2)
    screen.outcomes(sample())
    with screen.live(sample(), LIMITS) as tell, screen.waiting("nothing"):
        tell()
    assert text.getvalue() == ""
