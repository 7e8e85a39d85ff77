"""The ASGI layer with its decision, in process, beside slowapi and a BaseHTTPMiddleware.

One request through each: API key → tenant → limit → application → headers → finish. What a layer
costs is the time with it less the time of the same application without it. Rounds of all are
interleaved, and processor time is taken, so that a busy machine disturbs them alike; the figure is
the smallest round.

    python benchmarks/bench_asgi.py [--calls 3000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from typing import Any

from common import print_table, version
from tenancy.asgi import TenancyMiddleware
from web_common import (
    CLIENT_HEADERS,
    by_hand,
    dependencies_app,
    open_bench,
    ours_app,
    plain_app,
    slowapi_app,
)

BARE = ("minimal", "FastAPI", "FastAPI, 3 dependencies")


async def minimal(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def scope_of(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("203.0.113.7", 50_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    if message["type"] == "http.response.start":
        assert message["status"] == 200, message


async def measure(apps: dict[str, Any], headers: Any, calls: int, rounds: int) -> dict[str, float]:
    best = dict.fromkeys(apps, float("inf"))
    for round_number in range(rounds + 1):
        for name, app in apps.items():
            gc.collect()
            gc.disable()
            start = time.process_time_ns()
            for _ in range(calls):
                await app(scope_of(headers), receive, send)
            spent = (time.process_time_ns() - start) / calls
            gc.enable()
            if round_number:  # the first one warms up
                best[name] = min(best[name], spent)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    t, key = open_bench()
    sent = {**CLIENT_HEADERS, "x-api-key": key}
    headers = [(name.encode(), value.encode()) for name, value in sent.items()]
    apps = {
        "minimal": minimal,
        "minimal, ours": TenancyMiddleware(minimal, t),
        "minimal, by hand": by_hand(minimal, t),
        "FastAPI": plain_app(),
        "FastAPI, ours": ours_app(t),
        "FastAPI, slowapi": slowapi_app(),
        "FastAPI, 3 dependencies": dependencies_app(None),
        "FastAPI, 3 dependencies, ours": dependencies_app(t),
    }
    took = asyncio.run(measure(apps, headers, arguments.calls, arguments.rounds))
    ours = took["minimal, ours"] - took["minimal"]
    rows = []
    for name, spent in took.items():
        base = took[max((b for b in BARE if name.startswith(b)), key=len)]
        layer = spent - base
        ratio = f"{layer / ours:.1f} x" if layer > 0 else ""
        rows.append((name, f"{spent / 1000:.2f}", f"{layer / 1000:.2f}", ratio))
    title = ", ".join(map(version, ("tenancy", "fastapi", "starlette", "slowapi")))
    print_table(title, rows, ("application", "µs a request", "µs of the layer", "beside ours"))
    print(f"target: at most 6 µs; the layer takes {ours / 1000:.2f} µs")


if __name__ == "__main__":
    main()
