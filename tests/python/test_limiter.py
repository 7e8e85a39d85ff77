"""`tenancy.limits.Limiter` as its user sees it."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tenancy.errors import InvalidValue, RateLimitExceeded, StoreError
from tenancy.limits import Limiter
from tenancy.testing import FakeClock

ALGORITHMS = (
    "sliding_window",
    "token_bucket",
    "leaky_bucket",
    "leaky_queue",
    "fixed_window",
    "sliding_counter",
    "sliding_log",
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_790_000_040)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fresh_key_admits_exactly_the_limit(algorithm: str, clock: FakeClock) -> None:
    limiter = Limiter("100/minute", algorithm=algorithm, clock=clock)
    answers = [limiter.hit("a") for _ in range(150)]
    assert [bool(answer) for answer in answers] == [True] * 100 + [False] * 50
    assert [answer.remaining for answer in answers[:100]] == list(range(99, -1, -1))
    refused = answers[-1]
    assert refused.allowed is False
    assert refused.limit == 100
    assert refused.remaining == 0
    assert refused.retry_after is not None
    assert refused.retry_after > 0
    assert limiter.hit("b"), "another key has its own limit"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_retry_after_is_neither_too_long_nor_too_short(algorithm: str, clock: FakeClock) -> None:
    limiter = Limiter("10/minute", algorithm=algorithm, clock=clock)
    for _ in range(30):
        answer = limiter.hit("a")
        while answer:
            clock.advance(1)
            answer = limiter.hit("a")
        assert answer.retry_after is not None
        nanoseconds = round(answer.retry_after * 1e9)
        clock.native.advance_ns(nanoseconds - 1)
        assert not limiter.peek("a")
        clock.native.advance_ns(1)
        assert limiter.hit("a")


def test_the_default_never_passes_the_limit_in_any_window(clock: FakeClock) -> None:
    limiter = Limiter("10/minute", clock=clock)
    admitted: list[float] = []
    for _ in range(2000):
        clock.advance(0.7)
        if limiter.hit("a"):
            admitted.append(clock.time())
    for first in range(len(admitted) - 10):
        assert admitted[first + 10] - admitted[first] > 59.999


def test_burst_makes_a_token_bucket(clock: FakeClock) -> None:
    limiter = Limiter("60/minute", burst=5, clock=clock)
    assert limiter.policies[0].algorithm == "token_bucket"
    assert limiter.policies[0].burst == 5
    assert sum(bool(limiter.hit("a")) for _ in range(10)) == 5
    clock.advance(2)
    assert sum(bool(limiter.hit("a")) for _ in range(10)) == 2


def test_a_leaky_queue_answers_with_a_delay(clock: FakeClock) -> None:
    limiter = Limiter("10/second", burst=3, algorithm="leaky_queue", clock=clock)
    assert [limiter.hit("a").delay for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    assert not limiter.hit("a")


def test_several_limits_hold_at_once_and_a_refused_hit_takes_nothing(clock: FakeClock) -> None:
    """Trap 1 of the design: check-then-increment over several windows burns what was refused."""
    limiter = Limiter(["10/second", "25/minute"], clock=clock)
    assert sum(bool(limiter.hit("a")) for _ in range(100)) == 10
    answer = limiter.hit("a")
    assert [window.allowed for window in answer.windows] == [False, True]
    assert [window.remaining for window in answer.windows] == [0, 15]
    assert (answer.limit, answer.window, answer.retry_after) == (10, 1.0, 1.0)
    clock.advance(1)
    assert sum(bool(limiter.hit("a")) for _ in range(100)) == 10
    clock.advance(1)
    assert sum(bool(limiter.hit("a")) for _ in range(100)) == 5
    assert limiter.hit("a").window == 60.0
    assert not limiter.hit("a")


def test_the_window_with_the_smallest_share_is_shown(clock: FakeClock) -> None:
    limiter = Limiter("4/second; 100/minute", clock=clock)
    assert (limiter.hit("a").limit, limiter.hit("a").remaining) == (4, 2)
    for _ in range(23):
        clock.advance(1)
        limiter.hit("a", 4)
    clock.advance(1)
    assert limiter.hit("a").limit == 100


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_costs(algorithm: str, clock: FakeClock) -> None:
    """Trap 7: a refused heavy hit must not eat the rest of the budget."""
    limiter = Limiter("10/minute", algorithm=algorithm, clock=clock)
    assert limiter.hit("a", 7).remaining == 3
    assert not limiter.hit("a", cost=4)
    assert limiter.peek("a").remaining == 3
    assert limiter.hit(key="a", cost=3)
    never = limiter.hit("a", 11)
    assert not never
    assert never.retry_after is None
    assert limiter.hit("b", 10**40).retry_after is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_peek_reset_refund(algorithm: str, clock: FakeClock) -> None:
    limiter = Limiter("10/minute", algorithm=algorithm, clock=clock)
    for _ in range(5):
        assert limiter.peek("a").remaining == 10
    taken = limiter.hit("a", 10)
    limiter.refund("a", 4, of=taken)
    assert limiter.peek("a").remaining == 4
    limiter.refund("a", 100)
    assert limiter.peek("a").remaining == 10
    limiter.hit("a", 10)
    limiter.reset("a")
    assert limiter.hit("a", 10)
    clock.advance(600)
    limiter.refund("a", 10, of=taken)
    assert limiter.hit("a", 10)
    assert not limiter.hit("a")


def test_shadow_reports_and_refuses_nothing(clock: FakeClock) -> None:
    limiter = Limiter("2/minute", shadow=True, clock=clock)
    answers = [limiter.hit("a") for _ in range(4)]
    assert all(answers)
    assert [answer.shadow for answer in answers] == [False, False, True, True]


def test_a_window_from_the_first_hit(clock: FakeClock) -> None:
    clock.advance(50)
    aligned = Limiter("1/minute", algorithm="fixed_window", clock=clock)
    anchored = Limiter("1/minute", algorithm="fixed_window", anchor="first", clock=clock)
    assert aligned.hit("a").reset_after == 10.0
    assert anchored.hit("a").reset_after == 60.0


def test_str_and_bytes_of_the_same_text_are_the_same_key(clock: FakeClock) -> None:
    limiter = Limiter("10/minute", clock=clock)
    limiter.hit("Zürich")
    assert limiter.peek("Zürich".encode()).remaining == 9
    assert limiter.hit(b"\xff\x00\xfe")
    assert limiter.peek(b"\xff\x00\xfe").remaining == 9
    assert limiter.peek(b"\xff").remaining == 10
    assert limiter.hit("k" * 1_000_000)


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("", "expected a limit such as"),
        ("fast", "expected a limit such as"),
        ("-1/minute", "positive"),
        ("0/minute", "positive"),
        ("1.5/minute", "whole number"),
        ("10/fortnights and a day", "unit of time"),
        ("10/month", "no fixed length"),
        ("10/minute;", "expected a limit such as"),
        ("10/minute; 20/60s", "two limits for one window"),
        ("99999999999999999999/s", "64 bits"),
        (b"10/minute", "got bytes"),
        (10, "got int"),
        ([], "no limit"),
        (["10/s", None], "got NoneType"),
        ("100000000/minute", "token_bucket"),
    ],
)
def test_a_bad_limit_is_refused_with_the_remedy(limit: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as raised:
        Limiter(limit)
    assert raised.value.field == "limit"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"burst": 0}, "positive"),
        ({"burst": 1.5}, "positive"),
        ({"burst": -3}, "positive"),
        ({"burst": 10**30}, "63 bits"),
        ({"burst": 5, "algorithm": "sliding_window"}, "token_bucket"),
        ({"algorithm": "tokens"}, "expected one of"),
        ({"algorithm": 3}, "expected a name"),
        ({"anchor": "first"}, "fixed_window"),
        ({"anchor": "noon"}, "anchor"),
        ({"on_full": "maybe"}, "on_full"),
        ({"clock": object()}, "FakeClock"),
        ({"shared": ""}, "path"),
        ({"shared": b"x"}, "path"),
        ({"name": 3}, "name"),
        ({"max_bytes": 12}, "max_bytes"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Limiter("10/minute", **options)


@pytest.mark.parametrize("key", ["", b"", None, 7, "\ud800", ["a"]])
def test_a_bad_key_is_refused(key: str) -> None:
    limiter = Limiter("10/minute")
    calls: list[Callable[[str], object]] = [
        limiter.hit,
        limiter.peek,
        limiter.reset,
        limiter.refund,
    ]
    for call in calls:
        with pytest.raises(InvalidValue, match="key"):
            call(key)


@pytest.mark.parametrize("cost", [0, -1, -(10**40), 1.0, True, "1", None])
def test_a_bad_cost_is_refused_and_takes_nothing(cost: int) -> None:
    limiter = Limiter("10/minute")
    with pytest.raises(InvalidValue, match="cost"):
        limiter.hit("a", cost)
    assert limiter.peek("a").remaining == 10


def test_wrong_calls_are_type_errors() -> None:
    limiter = Limiter("10/minute")
    for call in (
        lambda: limiter.hit(),
        lambda: limiter.hit("a", 1, 2),
        lambda: limiter.hit("a", key="a"),
        lambda: limiter.hit("a", price=2),
        lambda: limiter.reset("a", 1),
        lambda: pickle.dumps(limiter),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(InvalidValue, match="of"):
        limiter.refund("a", of=3)
    bare = Limiter.__new__(Limiter)
    with pytest.raises(RuntimeError, match="__init__"):
        bare.hit("a")


def test_a_path_on_a_bad_place_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Limiter("10/minute", shared=tmp_path / "absent" / "counters")
    with pytest.raises(StoreError):
        Limiter("10/minute", shared=tmp_path)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"PK\x03\x04" * 20_000)
    foreign.chmod(0o600)
    with pytest.raises(StoreError):
        Limiter("10/minute", shared=foreign)
    assert foreign.read_bytes().startswith(b"PK\x03\x04PK"), "somebody else's file is left alone"
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(StoreError):
            Limiter("10/minute", shared=tmp_path / "counters")
        tmp_path.chmod(0o700)


# ------------------------------------------------------------------------------- functions, async


def test_a_decorated_function_is_limited_by_key(clock: FakeClock) -> None:
    limiter = Limiter("2/minute", clock=clock)

    @limiter.limit(lambda user, n: user, cost=lambda user, n: n)
    def work(user: str, n: int) -> str:
        """Works."""
        return f"{user}{n}"

    assert work.__name__ == "work"
    assert work("a", 1) == "a1"
    with pytest.raises(RateLimitExceeded) as raised:
        work("a", 2)
    assert raised.value.code == "RATE_LIMIT_EXCEEDED"
    assert raised.value.limit == "2/minute"
    assert raised.value.retry_after == 60.0
    assert work("b", n=2) == "b2"
    with pytest.raises(RateLimitExceeded, match="more than the limit"):
        work("a", 3)


def test_functions_without_a_key_count_apart(clock: FakeClock) -> None:
    limiter = Limiter("1/minute", clock=clock)

    @limiter.limit()
    def one() -> int:
        return 1

    @limiter.limit()
    def two() -> int:
        return 2

    assert (one(), two()) == (1, 2)
    for function in (one, two):
        with pytest.raises(RateLimitExceeded):
            function()


async def test_a_decorated_coroutine_waits_its_turn_without_blocking_the_loop() -> None:
    limiter = Limiter("100/second", burst=3, algorithm="leaky_queue")
    ticks = 0

    @limiter.limit("a")
    async def work() -> int:
        return ticks

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    results = await asyncio.gather(*(work() for _ in range(4)), return_exceptions=True)
    ticking.cancel()
    assert sum(isinstance(result, RateLimitExceeded) for result in results) == 1
    assert ticks > 10, "the loop went on while calls waited for their turn"


def test_two_event_loops_and_threads_count_together(clock: FakeClock) -> None:
    limiter = Limiter("100/minute", clock=clock)
    admitted: list[bool] = []

    async def hits() -> None:
        for _ in range(40):
            admitted.append(bool(limiter.hit("a")))
            await asyncio.sleep(0)

    threads = [threading.Thread(target=lambda: asyncio.run(hits())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 100


# ------------------------------------------------------------------------------------- the rest


def test_answers_are_values(clock: FakeClock) -> None:
    limiter = Limiter("10/minute; 100/hour", clock=clock)
    kept = [limiter.hit("a") for _ in range(100)]
    assert [answer.remaining for answer in kept[:10]] == list(range(9, -1, -1))
    assert "refused" in repr(kept[-1])
    assert "remaining=9 of 10" in repr(kept[0])
    with pytest.raises(AttributeError):
        kept[0].remaining = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        type(kept[0])()


def test_explain_speaks_of_every_limit() -> None:
    text = Limiter("10/second; 100/minute").explain()
    assert len(text.splitlines()) == 2
    assert "at most 100 in any 1 min" in text
    assert "64 bytes per key" in text


def test_a_region_without_room_answers_as_told(clock: FakeClock) -> None:
    """L8: distinct keys cannot take more memory than was given."""
    for on_full, allowed in (("refuse", False), ("allow", True)):
        limiter = Limiter("10/minute", clock=clock, on_full=on_full, max_bytes=4 << 20)
        answers = [limiter.hit(f"key-{i}") for i in range(50_000)]
        full = [answer for answer in answers if answer.full]
        assert full
        assert all(answer.allowed is allowed for answer in full)
        assert limiter._bytes() <= 4 << 20
        clock.advance(120)
        assert not limiter.hit("somebody new").full


def test_fake_clock_reads_like_a_clock(tmp_path: Path) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    clock = FakeClock(noon, path=tmp_path / "clock")
    joined = FakeClock(0, path=tmp_path / "clock")
    clock.advance(90)
    assert joined.time() - noon.timestamp() == 90
    assert joined.now().minute == 1
    clock.step(-90)
    assert joined.now() == noon
    with pytest.raises(InvalidValue):
        clock.advance(-1)
    with pytest.raises(InvalidValue):
        FakeClock(datetime(2026, 1, 1))
