"""Histories that hypothesis invents, against models that keep every hit."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.limits import Limiter
from tenancy.testing import FakeClock

NS = 1_000_000_000
START = 1_790_000_040
WINDOW = 60 * NS


@dataclass
class SlidingLog:
    """At most `limit` in the last window, each hit forgotten when it is a window old."""

    limit: int
    hits: list[tuple[int, int]] = field(default_factory=list)

    def used(self, now: int) -> int:
        return sum(cost for at, cost in self.hits if at + WINDOW > now)

    def hit(self, cost: int, now: int) -> tuple[bool, int]:
        allowed = self.used(now) + cost <= self.limit
        if allowed:
            self.hits.append((now, cost))
        return allowed, self.limit - self.used(now)


@dataclass
class TokenBucket:
    """Tokens as exact fractions; one comes back every window / limit, rounded up to nanoseconds."""

    limit: int
    burst: int
    tokens: Fraction = Fraction(0)
    at: int | None = None

    def hit(self, cost: int, now: int) -> tuple[bool, int]:
        interval = -(-WINDOW // self.limit)
        if self.at is None:
            self.tokens = Fraction(self.burst)
        else:
            self.tokens = min(Fraction(self.burst), self.tokens + Fraction(now - self.at, interval))
        self.at = now
        allowed = self.tokens >= cost
        if allowed:
            self.tokens -= cost
        return allowed, int(self.tokens)


@dataclass
class FixedWindow:
    """One count per whole minute."""

    limit: int
    counts: dict[int, int] = field(default_factory=dict)

    def hit(self, cost: int, now: int) -> tuple[bool, int]:
        window = now // WINDOW
        used = self.counts.get(window, 0)
        allowed = used + cost <= self.limit
        if allowed:
            self.counts[window] = used = used + cost
        return allowed, self.limit - used


@dataclass
class SlidingCounter:
    """This minute's count and the share of the last one that the window still covers."""

    limit: int
    counts: dict[int, int] = field(default_factory=dict)

    def hit(self, cost: int, now: int) -> tuple[bool, int]:
        window, elapsed = divmod(now, WINDOW)
        used = self.counts.get(window, 0) + Fraction(
            self.counts.get(window - 1, 0) * (WINDOW - elapsed), WINDOW
        )
        allowed = used + cost <= self.limit
        if allowed:
            self.counts[window] = self.counts.get(window, 0) + cost
            used += cost
        return allowed, int(self.limit - used)


# Steps of whole milliseconds, so that no model needs to know how the engine rounds its times.
waits = st.one_of(
    st.just(0),
    st.integers(0, 200),
    st.integers(0, 70_000),
    st.sampled_from([15_000, 30_000, 45_000, 60_000, 120_000, 86_400_000]),
)
histories = st.lists(st.tuples(waits, st.integers(1, 9)), max_size=80)


def compare(
    limiter: Limiter, clock: FakeClock, model: object, history: list[tuple[int, int]]
) -> None:
    for milliseconds, cost in history:
        clock.native.advance_ns(milliseconds * 1_000_000)
        now = clock.native.mono_ns()
        answer = limiter.hit("key", cost)
        expected = model.hit(cost, now)  # type: ignore[attr-defined]
        assert (answer.allowed, answer.remaining) == expected


@given(st.integers(1, 12), histories)
def test_sliding_log(limit: int, history: list[tuple[int, int]]) -> None:
    clock = FakeClock(START)
    limiter = Limiter(f"{limit}/minute", algorithm="sliding_log", clock=clock)
    compare(limiter, clock, SlidingLog(limit), history)


@given(st.integers(1, 70), st.integers(1, 12), histories)
def test_token_bucket(limit: int, burst: int, history: list[tuple[int, int]]) -> None:
    clock = FakeClock(START)
    limiter = Limiter(f"{limit}/minute", burst=burst, clock=clock)
    compare(limiter, clock, TokenBucket(limit, burst), history)


@given(st.integers(1, 12), histories)
def test_fixed_window(limit: int, history: list[tuple[int, int]]) -> None:
    clock = FakeClock(START)
    limiter = Limiter(f"{limit}/minute", algorithm="fixed_window", clock=clock)
    compare(limiter, clock, FixedWindow(limit), history)


@given(st.integers(1, 12), histories)
def test_sliding_counter(limit: int, history: list[tuple[int, int]]) -> None:
    clock = FakeClock(START)
    limiter = Limiter(f"{limit}/minute", algorithm="sliding_counter", clock=clock)
    compare(limiter, clock, SlidingCounter(limit), history)


@given(st.integers(1, 12), histories)
def test_the_default_is_within_a_quarter_window_of_the_log(
    limit: int, history: list[tuple[int, int]]
) -> None:
    """Never looser than the exact log of what it admitted; what a log over five quarters of a
    window would admit, it admits too."""
    clock = FakeClock(START)
    limiter = Limiter(f"{limit}/minute", clock=clock)
    log = SlidingLog(limit)
    for milliseconds, cost in history:
        clock.native.advance_ns(milliseconds * 1_000_000)
        now = clock.native.mono_ns()
        long_used = sum(c for at, c in log.hits if at + WINDOW * 5 // 4 > now)
        used = log.used(now)
        allowed = limiter.hit("key", cost).allowed
        assert not (allowed and used + cost > limit)
        assert allowed or long_used + cost > limit
        if allowed:
            log.hits.append((now, cost))


@settings(max_examples=30)
@given(st.lists(st.tuples(waits, st.integers(1, 6)), max_size=60))
def test_several_limits_take_all_or_nothing(history: list[tuple[int, int]]) -> None:
    clock = FakeClock(START)
    limiter = Limiter("5/minute; 9/hour", algorithm="sliding_log", clock=clock)
    minute, hour = SlidingLog(5), SlidingLog(9)
    kept: list[tuple[int, int]] = []
    for milliseconds, cost in history:
        clock.native.advance_ns(milliseconds * 1_000_000)
        now = clock.native.mono_ns()
        minute.hits = kept
        in_minute = minute.used(now)
        in_hour = sum(c for at, c in kept if at + 60 * WINDOW > now)
        allowed = in_minute + cost <= minute.limit and in_hour + cost <= hour.limit
        answer = limiter.hit("key", cost)
        assert answer.allowed == allowed
        if allowed:
            kept.append((now, cost))
            in_minute, in_hour = in_minute + cost, in_hour + cost
        assert [window.remaining for window in answer.windows] == [5 - in_minute, 9 - in_hour]
