"""One worker process of the demonstration: the application, and what measures it from outside.

The outermost layer writes into every response which process answered (`X-Worker`) and how long the
application took until its response began (`Server-Timing`). Below `/bare` lies the same endpoint
without tenancy, measured by the same layer: the difference is what tenancy adds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from .app import Caller, create_app
from .serve import end_with_parent

__all__ = ["Measured", "bare", "make"]

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Measured:
    """Pure ASGI, outside of everything."""

    def __init__(self, app: App, bare: App) -> None:
        self.app = app
        self.bare = bare
        self.worker = str(os.getpid()).encode()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        app = self.bare if scope["path"].startswith("/bare/") else self.app
        started_ns = time.perf_counter_ns()

        def timed(message: MutableMapping[str, Any]) -> Any:
            if message["type"] == "http.response.start":
                taken_ms = (time.perf_counter_ns() - started_ns) / 1e6
                message["headers"] = [
                    *message["headers"],
                    (b"x-worker", self.worker),
                    (b"server-timing", b"app;dur=%.4f" % taken_ms),
                ]
            return send(message)

        await app(scope, receive, timed)


def bare() -> FastAPI:
    """`/v1/whoami` of the application without tenancy, and with dependencies that do nothing."""
    app = FastAPI()

    @app.get("/bare/whoami")
    async def whoami() -> Caller:
        return Caller(tenant="ten_01", principal="ada")

    @app.get("/bare/dependencies", dependencies=[Depends(_Nothing()), Depends(_Nothing())])
    async def dependencies() -> Caller:
        return Caller(tenant="ten_01", principal="ada")

    return app


class _Nothing:
    """Two of these are what FastAPI has to call for `requires` and `CurrentTenant`."""

    async def __call__(self, _: HTTPConnection) -> None:
        return None


def make() -> Measured:
    """For uvicorn, in each worker process."""
    end_with_parent()
    return Measured(create_app(), bare())
