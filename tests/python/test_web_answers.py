"""Rate limit headers and problem details, to the character. Rows L6, Q4, G5."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
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
    reset_after: float = 30.0
    allowed: bool = True
    retry_after: float | None = 0.0


def test_the_fields_of_a_window() -> None:
    assert limit_headers(Window(), 1000 * SECOND) == [
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "40"),
        ("X-RateLimit-Reset", "1030"),
        ("RateLimit-Policy", '"api-60s";q=100;w=60'),
        ("RateLimit", '"api-60s";r=40;t=30'),
    ]


@given(
    name=st.text(max_size=20),
    limit=st.integers(1, 10**9),
    share=st.floats(0, 1),
    window=st.floats(0.001, 10**7),
    reset=st.floats(0, 10**7),
    now=st.integers(0, 2**62),
)
def test_any_window_has_well_formed_fields(
    name: str, limit: int, share: float, window: float, reset: float, now: int
) -> None:
    w = Window(name, limit, int(limit * share), window, reset)
    text = limit_headers(w, now)
    raw = limit_fields(w, now)
    assert [(n.lower().encode(), v.encode("ascii")) for n, v in text] == raw
    values = dict(text)
    assert set(values) <= set(NAMES)
    # Rounded up: never before it is whole again, and less than a second (and a bit of float) late.
    late = int(values["X-RateLimit-Reset"]) * SECOND - now - int(reset * 1e9)
    assert 0 <= late < SECOND
    item = r'"[ !#-\[\]-~]+"'  # an sf-string without quotes and backslashes
    assert re.fullmatch(item + r";q=\d+;w=[1-9]\d*", values["RateLimit-Policy"])
    assert re.fullmatch(item + r";r=\d+;t=\d+", values["RateLimit"])
    assert values["RateLimit"].split(";")[0] == values["RateLimit-Policy"].split(";")[0]


@given(st.floats(0, 10**9))
def test_retry_after_is_whole_seconds_rounded_up_and_at_least_one(seconds: float) -> None:
    header = retry_after_seconds(seconds)
    assert header >= 1
    assert seconds <= header < max(1, seconds) + 1


def test_windows_of_one_action_have_names_of_their_own() -> None:
    minute, hour = Window(), Window(window=3600.0, limit=1000)
    assert dict(limit_headers(minute, 0))["RateLimit"].startswith('"api-60s"')
    assert dict(limit_headers(hour, 0))["RateLimit"].startswith('"api-3600s"')


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
