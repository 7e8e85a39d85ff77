"""What the demonstration proves: each check compares things that were counted apart."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import Tenancy
from .scenario import BY, CUSTOMERS
from .trace import Call
from .traffic import ALLOWED, LIMITED, Credentials, Lane, Outcome, Results, send

__all__ = [
    "Exact",
    "Latency",
    "Spread",
    "Suspension",
    "exactness",
    "latency",
    "suspension",
    "top_up",
]

WINDOW_S = 60.0
TOP_UP_MAX = 20


# ---------------------------------------------------------------------------------- exactness


@dataclass(frozen=True)
class Exact:
    """One limit or quota: what the clients saw admitted, what the counters and the plan say."""

    tenant: str
    name: str
    limit: int
    admitted: int
    """By the answers the clients got from all workers together."""
    counted: int
    """By the shared counters, read in this process."""
    refused: int
    """Calls that this limit refused."""
    must_be_full: bool
    """More was asked than the limit has, so it must be used to the last unit."""
    judged: bool = True
    """False: it took so long that the first requests count no more; the sums say nothing."""

    @property
    def ok(self) -> bool:
        if not self.judged:
            return True
        full = self.admitted == self.limit or not self.must_be_full
        return self.admitted == self.counted <= self.limit and full


async def top_up(
    lanes: Sequence[Lane], results: Results, credentials: Mapping[str, Credentials]
) -> None:
    """Ask for what is left of the limits that refused somebody.

    A call that a second limit refused gave back what it had taken from the first. If nobody came
    after it, the first has a unit left, and "full" could not be told from "one too few".
    """
    for customer in CUSTOMERS:
        refused = _refused(results.of(customer.slug), "api_requests")
        for _ in range(TOP_UP_MAX if refused else 0):
            call = Call(0.0, customer.slug, "top-up", 0, 0)
            outcome = await send(lanes[0], call, credentials[customer.slug])
            results.add(outcome)
            if outcome.code == LIMITED:
                break


def exactness(t: Tenancy, results: Results) -> list[Exact]:
    """Rate limits, tokens and agents at once of every tenant."""
    found = []
    for customer in CUSTOMERS:
        outcomes = results.of(customer.slug)
        found += [
            _requests(t, customer.slug, outcomes, results.seconds),
            _spawns(t, customer.slug, outcomes, results.seconds),
            _tokens(t, customer.slug, outcomes),
            _agents(t, customer.slug, outcomes),
        ]
    return found


def _refused(outcomes: Iterable[Outcome], limit: str) -> int:
    return sum(o.code != ALLOWED and o.limit == limit for o in outcomes)


def _window(
    t: Tenancy, tenant: str, action: str, admitted: int, refused: int, seconds: float
) -> Exact:
    window = t.limits.peek(tenant, action)[0]
    counted = window.limit - window.remaining
    judged = seconds < WINDOW_S
    return Exact(tenant, action, window.limit, admitted, counted, refused, refused > 0, judged)


def _requests(t: Tenancy, tenant: str, outcomes: Sequence[Outcome], seconds: float) -> Exact:
    admitted = sum(o.counted for o in outcomes)
    refused = _refused(outcomes, "api_requests")
    return _window(t, tenant, "api_requests", admitted, refused, seconds)


def _spawns(t: Tenancy, tenant: str, outcomes: Sequence[Outcome], seconds: float) -> Exact:
    spawns = [o for o in outcomes if o.call.kind == "agent"]
    admitted = sum(o.counted for o in spawns)
    refused = _refused(spawns, "agent_spawns")
    return _window(t, tenant, "agent_spawns", admitted, refused, seconds)


def _tokens(t: Tenancy, tenant: str, outcomes: Sequence[Outcome]) -> Exact:
    status = t.quotas.status(tenant, "tokens")
    used = sum(o.body["tokens"] for o in outcomes if "tokens" in o.body)
    refused = _refused(outcomes, "tokens")
    # Calls differ in size: the last ones that fit need not fill it to the last token.
    return Exact(tenant, "tokens", status.limit or 0, used, status.used, refused, False)


def _agents(t: Tenancy, tenant: str, outcomes: Sequence[Outcome]) -> Exact:
    """The most agents that worked at one time, by the clock that the processes share."""
    events = []
    for outcome in outcomes:
        if "started_ns" in outcome.body:
            events += [(outcome.body["started_ns"], 1), (outcome.body["ended_ns"], -1)]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    limit = t.quotas.status(tenant, "agents").limit or 0
    return Exact(tenant, "agents", limit, most, most, _refused(outcomes, "agents"), False)


# ------------------------------------------------------------------------------------ latency


@dataclass(frozen=True)
class Latency:
    """Milliseconds until the response begins, measured inside the workers.

    The same endpoint alone, with as many dependencies that do nothing, and with tenancy; and one
    decision, in microseconds.
    """

    samples: int
    bare_ms: Spread
    empty_ms: Spread
    tenancy_ms: Spread
    decision_us: Spread

    @property
    def added_ms(self) -> Spread:
        return Spread(
            self.tenancy_ms.p50 - self.bare_ms.p50, self.tenancy_ms.p95 - self.bare_ms.p95
        )


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), statistics.quantiles(values, n=20)[-1])


async def latency(
    t: Tenancy, lanes: Sequence[Lane], results: Results, tenant: str, key: str, samples: int
) -> Latency:
    """Ask each variant in turn, on every worker. Each is asked twice, and the second counts:
    the first wakes a processor that had nothing to do."""
    paths = ["/bare/whoami", "/bare/dependencies", "/v1/whoami"]
    taken_ms: dict[str, list[float]] = {path: [] for path in paths}
    call = Call(0.0, tenant, "top-up", 0, 0)
    one_each = list({lane.worker: lane for lane in lanes}.values())
    for number in range(samples):
        lane = one_each[number % len(one_each)]
        for turn in range(len(paths)):
            path = paths[(number + turn) % len(paths)]
            for _ in range(2):
                response = await lane.request("GET", path, headers={"X-API-Key": key})
                if path == "/v1/whoami":
                    code = ALLOWED if response.status_code == 200 else response.json()["code"]
                    results.add(Outcome(call, response.status_code, code, None, lane.worker, {}))
            taken_ms[path].append(_app_ms(response))
    decisions = _decisions_us(t, results, call, key, samples)
    return Latency(samples, *map(Spread.of, (*taken_ms.values(), decisions)))


def _app_ms(response: Any) -> float:
    return float(response.headers["server-timing"].partition("dur=")[2])


def _decisions_us(t: Tenancy, results: Results, call: Call, key: str, samples: int) -> list[float]:
    """Key, tenant, status, rate limit, permission, decided in this process; they count as well."""
    taken = []
    for _ in range(samples):
        started = time.perf_counter_ns()
        decision = t.check(api_key=key, permission="completion:read")
        taken.append((time.perf_counter_ns() - started) / 1000)
        results.add(Outcome(call, decision.status, decision.code, decision.detail, os.getpid(), {}))
    return taken


# --------------------------------------------------------------------------------- suspension


@dataclass(frozen=True)
class Suspension:
    """The codes that each worker gave to its next request, before, during and after."""

    tenant: str
    before: Mapping[int, str]
    suspended: Mapping[int, str]
    resumed: Mapping[int, str]
    refused_after_ms: float
    """From the return of `suspend` to the last of these refusals."""

    @property
    def ok(self) -> bool:
        return (
            self.before.keys() == self.suspended.keys() == self.resumed.keys()
            and set(self.before.values()) == {ALLOWED}
            and set(self.suspended.values()) == {"SUSPENDED_TENANT"}
            and set(self.resumed.values()) == {ALLOWED}
        )


async def suspension(
    t: Tenancy, lanes: Sequence[Lane], results: Results, tenant: str, credentials: Credentials
) -> Suspension:
    """Suspend and resume in this process; after each step ask each worker once, all at one time."""
    one_each = {lane.worker: lane for lane in lanes}

    async def ask() -> dict[int, str]:
        call = Call(0.0, tenant, "top-up", 0, 0)
        answers = await asyncio.gather(*(send(e, call, credentials) for e in one_each.values()))
        for answer in answers:
            results.add(answer)
        return {answer.worker: answer.code for answer in answers}

    before = await ask()
    t.tenants.suspend(tenant, "to show that it holds at once", by=BY)
    returned = time.perf_counter()
    suspended = await ask()
    refused_after_ms = (time.perf_counter() - returned) * 1000
    t.tenants.resume(tenant, by=BY)
    return Suspension(tenant, before, suspended, await ask(), refused_after_ms)
