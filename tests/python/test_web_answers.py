"""Rate limit headers and problem details, to the character. Rows L6, Q4, G5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy import errors
from tenancy.errors import Reason, TenancyError
from tenancy.headers import NAMES, limit_fields, limit_headers, retry_after_seconds
from tenancy.problem import SCHEMA, gateway_error, of_error

SECOND = 1_000_000_000


@dataclass
class Window:
    name: str = "api"
    limit: int = 100
    remaining: int = 40
    window: float = 60.0
    reset_after: float = 60.0
    allowed: bool = True
    retry_after: float | None = 0.0
    refill: float = 60.0


def test_the_fields_of_a_window() -> None:
    assert limit_headers(Window(), 1000 * SECOND) == [
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "40"),
        ("X-RateLimit-Reset", "1060"),
        ("RateLimit-Policy", '"api-60s";q=100;w=60'),
        ("RateLimit", '"api-60s";r=40;t=60'),
    ]


def structured(window: Window) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name, and the parameters of policy and state, as a structured-field parser reads them."""
    values = dict(limit_headers(window, 1000 * SECOND))
    ((name, policy),) = http_sf.parse(values["RateLimit-Policy"].encode("ascii"), tltype="list")
    ((again, state),) = http_sf.parse(values["RateLimit"].encode("ascii"), tltype="list")
    assert type(name) is str
    assert again == name
    return name, policy, state


@pytest.mark.parametrize(
    ("window", "policy", "state"),
    [
        # Nothing left, and everything left: the draft's r is a non-negative Integer.
        (Window(remaining=0), {"q": 100, "w": 60}, {"r": 0, "t": 60}),
        (Window(remaining=100, reset_after=0.0), {"q": 100, "w": 60}, {"r": 100, "t": 60}),
        # Refused: Retry-After is not before the end of the effective window (6).
        (
            Window(remaining=0, allowed=False, retry_after=2.5),
            {"q": 100, "w": 60},
            {"r": 0, "t": 3},
        ),
        # It costs more than the limit: waiting never helps.
        (Window(remaining=100, allowed=False, retry_after=None), {"q": 100, "w": 60}, {"r": 100}),
        # A bucket: q comes back in refill, and r in t is no higher rate than that (6, 8.5).
        (
            Window(window=1.0, refill=10.0, remaining=99, reset_after=0.1),
            {"q": 100, "w": 10},
            {"r": 99, "t": 10},
        ),
        # Below a second w cannot be said.
        (
            Window(window=0.5, refill=0.5, remaining=3, reset_after=0.5),
            {"q": 100},
            {"r": 3, "t": 1},
        ),
        (Window(window=1.5, refill=1.5, reset_after=1.5), {"q": 100, "w": 2}, {"r": 40, "t": 2}),
        # Integers of a structured field have fifteen digits.
        (
            Window(limit=2**63, remaining=2**62, window=3.5e7, refill=3.5e7, reset_after=3.5e7),
            {"q": 10**15 - 1, "w": 35_000_000},
            {"r": 10**15 - 1, "t": 35_000_000},
        ),
    ],
)
def test_the_edges_of_the_draft(
    window: Window, policy: dict[str, int], state: dict[str, int]
) -> None:
    _, shown_policy, shown_state = structured(window)
    assert shown_policy == policy
    assert {**shown_state, **state} == shown_state


def test_names_are_strings_of_printable_ascii_and_stay_different() -> None:
    names = ['a"b', "a\\b", "a%22b", "ä", "%c3%a4", "a\nb", "", "limit ", "日本", "a-b"]
    shown = [structured(Window(name=name))[0] for name in names]
    assert len(set(shown)) == len(names)
    assert shown[:5] == ['a"b-60s', "a\\b-60s", "a%2522b-60s", "%c3%a4-60s", "%25c3%25a4-60s"]
    assert dict(limit_headers(Window(name='a"\\'), 0))["RateLimit"].startswith('"a\\"\\\\-60s";')


def test_windows_that_are_no_windows_are_refused() -> None:
    for broken in (
        Window(limit=-1),
        Window(remaining=2**64),
        Window(reset_after=math.nan),
        Window(name=b"x"),  # type: ignore[arg-type]
        Window(refill=None),  # type: ignore[arg-type]
        object(),
    ):
        with pytest.raises((ValueError, TypeError, OverflowError, AttributeError)):
            limit_fields(broken, 0)  # type: ignore[arg-type]
    assert structured(Window(reset_after=math.inf))[2]["t"] == 9_200_000_000


def ceil_div(value: int, unit: int) -> int:
    return -(-value // unit)


def expected(w: Window, now_ns: int) -> dict[str, str]:
    """The same by whole nanoseconds and nothing clever."""
    window, refill, reset = (int(s * 1e9) for s in (w.window, w.refill, w.reset_after))
    most = 10**15 - 1
    name = "".join(
        f"%{byte:02x}" if byte < 32 or byte > 126 or byte == ord("%") else chr(byte)
        for byte in (w.name or "limit").encode("utf-8")
    )
    name = name.replace("\\", "\\\\").replace('"', '\\"')
    whole = window % SECOND == 0
    span = f"{window // SECOND}s" if whole else f"{ceil_div(window, 1_000_000)}ms"
    t = max(reset, ceil_div(min(w.remaining, w.limit) * refill, w.limit))
    if not w.allowed and w.retry_after is not None:
        t = int(w.retry_after * 1e9) or t
    policy = f'"{name}-{span}";q={min(w.limit, most)}'
    if refill >= SECOND:
        policy += f";w={ceil_div(refill, SECOND)}"
    return {
        "X-RateLimit-Limit": str(w.limit),
        "X-RateLimit-Remaining": str(w.remaining),
        "X-RateLimit-Reset": str(ceil_div(now_ns + reset, SECOND)),
        "RateLimit-Policy": policy,
        "RateLimit": f'"{name}-{span}";r={min(w.remaining, most)};t={ceil_div(t, SECOND)}',
    }


@given(
    name=st.text(max_size=20),
    limit=st.integers(1, 10**9) | st.integers(1, 2**64 - 1),
    share=st.floats(0, 1),
    window=st.integers(1, 10**9) | st.floats(0.001, 10**7),
    refill=st.floats(0.001, 10**7),
    reset=st.floats(0, 10**7),
    retry=st.none() | st.floats(0, 10**7),
    allowed=st.booleans(),
    now=st.integers(0, 2**62),
)
@settings(max_examples=500)
def test_any_window_has_well_formed_fields(
    name: str,
    limit: int,
    share: float,
    window: float,
    refill: float,
    reset: float,
    retry: float | None,
    allowed: bool,
    now: int,
) -> None:
    w = Window(name, limit, int(limit * share), window, reset, allowed, retry, refill)
    w.remaining = min(w.remaining, limit)
    text = limit_headers(w, now)
    assert [(n.lower().encode(), v.encode("ascii")) for n, v in text] == limit_fields(w, now)
    assert dict(text) == expected(w, now)
    assert set(dict(text)) <= set(NAMES)
    item, policy, state = structured(w)
    assert item.isascii()
    assert item.isprintable()
    assert {**policy, **state}.keys() <= {"q", "w", "r", "t"}
    assert all(type(v) is int and v >= 0 for v in (*policy.values(), *state.values()))
    assert policy.get("w", 1) >= 1


@given(st.floats(0, 10**9))
def test_retry_after_is_whole_seconds_rounded_up_and_at_least_one(seconds: float) -> None:
    header = retry_after_seconds(seconds)
    assert header >= 1
    assert seconds <= header < max(1, seconds) + 1


def test_windows_of_one_action_have_names_of_their_own() -> None:
    minute, hour, half = Window(), Window(window=3600.0, limit=1000), Window(window=0.5)
    assert dict(limit_headers(minute, 0))["RateLimit"].startswith('"api-60s"')
    assert dict(limit_headers(hour, 0))["RateLimit"].startswith('"api-3600s"')
    assert dict(limit_headers(half, 0))["RateLimit"].startswith('"api-500ms"')


# ----------------------------------------------------------------------------- problems


def every_error() -> list[type[TenancyError]]:
    found, pending = [], [TenancyError]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending += kind.__subclasses__()
    return found


def make(kind: type[TenancyError]) -> TenancyError:
    error = kind.__new__(kind)
    TenancyError.__init__(error, "something with /secret/path in it", retry_after=1.5)
    return error


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_an_answer(kind: type[TenancyError]) -> None:
    problem = of_error(make(kind), now_ns=0, instance="/a?b")
    members = problem.members
    assert set(SCHEMA["required"]) <= set(members)
    assert members["status"] == problem.status
    assert 400 <= problem.status < 600
    assert members["instance"] == "/a%3Fb"
    headers = dict(problem.headers)
    assert ("WWW-Authenticate" in headers) == (problem.status == 401)
    if problem.status >= 500:
        assert b"secret" not in problem.body()
        assert problem.code in ("GATEWAY_ERROR", "STATE_UNAVAILABLE")
    if problem.status in (429, 503):
        assert headers["Retry-After"] == "2"


def test_statuses_are_those_of_the_table() -> None:
    table = {
        401: "MISSING_TENANT INVALID_TENANT INVALID_CREDENTIAL EXPIRED_CREDENTIAL SUSPENDED_TENANT",
        403: "TENANT_CONFLICT PERMISSION_DENIED FEATURE_NOT_IN_PLAN MFA_REQUIRED QUOTA_EXCEEDED "
        "CONCURRENCY_EXCEEDED",
        429: "RATE_LIMIT_EXCEEDED",
        503: "STATE_UNAVAILABLE",
        400: "INVALID_IDEMPOTENCY_KEY",
        409: "REQUEST_IN_PROGRESS",
        422: "IDEMPOTENCY_KEY_REUSED",
    }
    by_code = {kind.code: kind.status for kind in every_error() if issubclass(kind, errors.Refused)}
    for status, codes in table.items():
        for code in codes.split():
            assert by_code[code] == status
    assert {reason.value for reason in Reason} - {"ALLOWED"} == set(
        " ".join(table.values()).split()
    )


def test_a_fault_of_ours() -> None:
    problem = gateway_error("/x")
    assert (problem.status, problem.code) == (500, "GATEWAY_ERROR")
    assert dict(problem.all_headers(5))["Cache-Control"] == "no-store"


def test_hostile_paths_make_valid_answers() -> None:
    for path in ("/\ud800", "/" + "a" * 10_000, '/"\\\n', "/é"):
        body = gateway_error(path).body()
        assert body.isascii()
        assert len(body) < 10_000
