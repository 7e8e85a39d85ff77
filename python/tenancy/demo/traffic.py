"""The clients of the demonstration: so many connections to each of the workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from .server import Server
from .trace import Call

__all__ = ["Credentials", "Lane", "Outcome", "Results", "open_lanes", "replay", "send"]

ALLOWED = "ALLOWED"
LIMITED = "RATE_LIMIT_EXCEEDED"
UNKNOWN = ("INVALID_CREDENTIAL", "TENANT_CONFLICT", "SUSPENDED_TENANT")
"""Refused before the tenant's limits are asked."""
TIMEOUT_S = 60.0
START_S = 120.0


@dataclass(frozen=True)
class Credentials:
    """API keys of one tenant, and the slug of another one for the call that names it."""

    engineer: str
    viewer: str
    neighbour: str


@dataclass(frozen=True)
class Outcome:
    """What one call was answered. `code` is ALLOWED or the problem's code."""

    call: Call
    status: int
    code: str
    limit: str | None
    worker: int
    body: Mapping[str, Any]

    @property
    def counted(self) -> bool:
        """It holds one of the tenant's requests per minute.

        A refusal by any rate limit gives it back; before the tenant is known none is taken.
        """
        return self.code not in (*UNKNOWN, LIMITED)


@dataclass
class Lane:
    """One keep-alive connection; it stays with the worker that accepted it."""

    client: httpx.AsyncClient
    worker: int = 0

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = await self.client.request(method, path, **options)
        worker = int(response.headers["x-worker"])
        if self.worker not in (0, worker):
            raise RuntimeError(f"worker {self.worker} closed a connection that was in use")
        self.worker = worker
        return response


async def open_lanes(server: Server, per_worker: int) -> list[Lane]:
    """`per_worker` connections to each of the server's workers, once all have started.

    The kernel gives a new connection to any of them, so a connection to a worker that has enough is
    closed again and another tried.
    """
    lanes: dict[int, list[Lane]] = {}
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        server.check()
        lane = Lane(_connection(server.url))
        try:
            await lane.request("GET", "/health")
        except httpx.TransportError:  # the server ended; why, the next turn tells
            await asyncio.sleep(0.05)
        own = lanes.setdefault(lane.worker, []) if lane.worker else None
        if own is not None and len(own) < per_worker:
            own.append(lane)
        else:
            await lane.client.aclose()
            await asyncio.sleep(0.002)
        if len(lanes) == server.workers and all(len(own) == per_worker for own in lanes.values()):
            return [lane for group in zip(*lanes.values(), strict=True) for lane in group]
    reached = {worker: len(own) for worker, own in lanes.items()}
    raise server.failed(f"not all of {server.workers} workers answer: {reached}")


def _connection(url: str) -> httpx.AsyncClient:
    one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    transport = httpx.AsyncHTTPTransport(limits=one, verify=False)  # loopback, without TLS
    return httpx.AsyncClient(base_url=url, transport=transport, timeout=TIMEOUT_S, trust_env=False)


async def send(lane: Lane, call: Call, credentials: Credentials) -> Outcome:
    """Make one call."""
    headers = {"X-API-Key": credentials.engineer}
    path = "/v1/completions"
    if call.kind == "agent":
        path = "/v1/agents"
    elif call.kind == "skill":
        path = "/v1/skills"
    elif call.kind == "wrong key":
        headers["X-API-Key"] = credentials.engineer[:-1] + "!"
    elif call.kind == "viewer":
        headers["X-API-Key"] = credentials.viewer
    elif call.kind == "other tenant":
        headers["X-Tenant-ID"] = credentials.neighbour
    body = {
        "context_tokens": call.context_tokens,
        "max_tokens": call.max_tokens,
        "generated_tokens": call.generated_tokens,
    }
    if call.kind == "top-up":
        response = await lane.request("GET", "/v1/whoami", headers=headers)
    else:
        response = await lane.request("POST", path, headers=headers, json=body)
    answer = response.json()
    code = ALLOWED if response.status_code == 200 else answer.get("code", "NO_CODE")
    limit = answer.get("limit_name") or answer.get("quota")
    return Outcome(call, response.status_code, code, limit, lane.worker, answer)


@dataclass
class Results:
    """Every outcome, and sums of them for the display."""

    total: int
    outcomes: list[Outcome] = field(default_factory=list)
    codes: dict[str, Counter[str]] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """Calls that hold one of the tenant's requests per minute."""
    workers: Counter[int] = field(default_factory=Counter)
    last_refusal: Outcome | None = None
    started: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        tenant = outcome.call.tenant
        self.outcomes.append(outcome)
        self.codes.setdefault(tenant, Counter())[outcome.code] += 1
        self.workers[outcome.worker] += 1
        self.tokens[tenant] += outcome.body.get("tokens", 0)
        self.requests[tenant] += outcome.counted
        if outcome.code != ALLOWED:
            self.last_refusal = outcome

    def of(self, tenant: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.call.tenant == tenant]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


async def replay(
    lanes: Sequence[Lane],
    calls: Sequence[Call],
    credentials: Mapping[str, Credentials],
    *,
    speed: float,
    seconds_max: float,
    results: Results,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Send the calls at their times, `speed` times as fast as they came; late rather than never.

    After `seconds_max` what is left is not sent, so that a slow machine ends too.
    """
    results.started = time.monotonic()
    queue = iter(calls)

    async def work(lane: Lane) -> None:
        for call in queue:
            await asyncio.sleep(max(0.0, call.offset_s / speed - results.seconds))
            if results.seconds > seconds_max:
                return
            results.add(await send(lane, call, credentials[call.tenant]))
            tell()

    tasks = [asyncio.create_task(work(lane)) for lane in lanes]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
