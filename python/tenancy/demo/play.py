"""The demonstration from beginning to end."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import Tenancy
from . import checks, scenario, trace
from .bills import bill_the_hour
from .display import Limits, Screen
from .server import Server, running
from .traffic import Credentials, Results, open_lanes, replay

__all__ = ["play"]

LANES_PER_WORKER = 8
SAMPLES = 100
# The whole must end within a minute: on a slow machine the replay is what gives way.
TOTAL_S = 50.0
AFTER_REPLAY_S = 12.0
REPLAY_MIN_S = 4.0
SUSPENDED = "harbor"  # it has requests left, so only the suspension can refuse it


def play(data: Path, workers: int, seconds: float, *, as_json: bool) -> bool:
    """Run it; True when every check passed. Nothing of it is left running, whatever happens."""
    screen = Screen(Console(), silent=as_json)
    started = time.monotonic()
    with (
        _term_like_interrupt(),
        scenario.fresh_directory(data) as t,
        running(t.path, workers) as server,
    ):
        keys = scenario.seed(t)
        screen.introduction(_shown(data), t.catalog.name, server.url, workers)

        def left_s() -> float:
            return TOTAL_S - (time.monotonic() - started)

        summary = asyncio.run(_play(t, server, keys, seconds, left_s, screen))
    with screen.waiting("metering and invoicing an hour of requests"):
        billed = bill_the_hour(data / scenario.BILLS)
    screen.bills(billed)
    summary["bills"] = [{**asdict(one), "ok": one.ok} for one in billed]
    summary["ok"] = summary["ok"] and all(one.ok for one in billed)
    summary["seconds"] = round(time.monotonic() - started, 1)
    summary["data"] = str(data)
    if as_json:
        print(json.dumps(summary, indent=2, default=str))
    else:
        screen.ending(summary["ok"], summary["seconds"])
        screen.next_steps(_shown(data), keys[SUSPENDED].viewer, billed[0].number)
    return bool(summary["ok"])


async def _play(
    t: Tenancy,
    server: Server,
    keys: dict[str, Credentials],
    seconds: float,
    left_s: Callable[[], float],
    screen: Screen,
) -> dict[str, Any]:
    calls = list(trace.calls(*(customer.slug for customer in scenario.CUSTOMERS)))
    results = Results(len(calls))
    with screen.waiting("the workers start"):
        lanes = await open_lanes(server, LANES_PER_WORKER)
    try:
        seconds_max = max(REPLAY_MIN_S, left_s() - AFTER_REPLAY_S)
        seconds = min(seconds, seconds_max)
        screen.traffic(len(calls), seconds)
        with screen.live(results, _limits(t)) as tell:
            await replay(
                lanes,
                calls,
                keys,
                speed=trace.DURATION_S / seconds,
                seconds_max=seconds_max,
                results=results,
                tell=tell,
            )
        await checks.top_up(lanes, results, keys)
        screen.outcomes(results)
        key = keys[SUSPENDED].engineer
        with screen.waiting("measuring the time that tenancy adds"):
            latency = await checks.latency(t, lanes, results, SUSPENDED, key, SAMPLES)
        suspension = await checks.suspension(t, lanes, results, SUSPENDED, keys[SUSPENDED])
        exact = checks.exactness(t, results)
    except (OSError, RuntimeError) as error:
        server.check()
        raise server.failed(str(error)) from error
    finally:
        await asyncio.gather(*(lane.client.aclose() for lane in lanes))
    screen.exactness(exact, server.workers)
    screen.latency(latency)
    screen.suspension(suspension)
    return {
        "ok": suspension.ok and all(one.ok for one in exact),
        "workers": {str(worker): count for worker, count in results.workers.items()},
        "requests": results.total,
        "answers": {slug: dict(codes) for slug, codes in results.codes.items()},
        "exact": [{**asdict(one), "ok": one.ok} for one in exact],
        "latency": {**asdict(latency), "added_ms": asdict(latency.added_ms)},
        "suspension": {**asdict(suspension), "ok": suspension.ok},
    }


def _limits(t: Tenancy) -> Limits:
    return {
        customer.slug: {
            "api_requests": t.limits.peek(customer.slug)[0].limit,
            "tokens": t.quotas.status(customer.slug, "tokens").limit or 0,
        }
        for customer in scenario.CUSTOMERS
    }


def _shown(path: Path) -> str:
    """As short as it can be typed."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


@contextmanager
def _term_like_interrupt() -> Iterator[None]:
    """SIGTERM ends the blocks above it as Ctrl-C does, so that the workers go too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
