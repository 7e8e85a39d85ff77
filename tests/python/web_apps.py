"""Applications for real servers. The data directory is named by TENANCY_TEST_DATA."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from tenancy import Tenancy, current_tenant, require_tenant
from tenancy.fastapi import (
    CurrentTenant,
    TenancyMiddleware,
    consumes,
    limit,
    meters,
    requires,
    usage_router,
)


def fastapi_app() -> Any:
    t = Tenancy.open(os.environ["TENANCY_TEST_DATA"])
    app = FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=t, exempt=["/health", "/used"])
    app.include_router(usage_router())

    @app.get("/health")
    async def health() -> Any:
        return {"pid": os.getpid()}

    @app.get("/used")
    async def used() -> Any:
        status = t.quotas.status("acme", "tokens")
        return {"used": status.used, "reserved": status.reserved}

    @app.get("/")
    async def root(tenant: CurrentTenant) -> Any:
        return {"tenant": tenant.tenant_id, "pid": os.getpid()}

    @app.get("/inline", dependencies=[Depends(limit("7/hour"))])
    async def inline() -> Any:
        return {"pid": os.getpid()}

    @app.get("/denied", dependencies=[Depends(requires("no:way"))])
    async def denied() -> Any:
        return {}

    @app.get("/stream", dependencies=[Depends(consumes("tokens", 2))])
    async def stream(pieces: int = 3) -> Any:
        async def body() -> Any:
            for i in range(pieces):
                yield f"{i} {require_tenant().tenant.slug}\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(body())

    @app.get("/metered", dependencies=[Depends(meters({"api_calls": 1, "llm_tokens": None}))])
    async def metered(tenant: CurrentTenant, tokens: int = 5) -> Any:
        tenant.meter("llm_tokens", tokens)
        return {"pid": os.getpid()}

    @app.get("/slow", dependencies=[Depends(consumes("tokens", 5))])
    async def slow() -> Any:
        await asyncio.sleep(30)
        return {}

    @app.websocket("/ws")
    async def ws(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()
        while True:
            text = await socket.receive_text()
            await socket.send_text(f"{tenant.tenant.slug} {text}")

    return app


def _make_flask() -> Any:
    from flask import Flask, Response

    from tenancy.flask import TenancyFlask, consumes, meters

    # Opened before the fork of a preloading server.
    t = Tenancy.open(os.environ["TENANCY_TEST_DATA"])
    app = Flask(__name__)
    TenancyFlask(app, t, exempt=["/health"])

    @app.get("/health")
    def health() -> Any:
        return {"pid": os.getpid(), "tenant": current_tenant() is not None}

    @app.get("/")
    def root() -> Any:
        return {"tenant": require_tenant().tenant_id, "pid": os.getpid()}

    @app.get("/metered")
    @meters({"api_calls": 1, "llm_tokens": None})
    def metered() -> Any:
        require_tenant().meter("llm_tokens", 5)
        return {"pid": os.getpid()}

    @app.get("/stream")
    @consumes("tokens", 2)
    def stream() -> Any:
        def body() -> Any:
            for i in range(3):
                yield f"{i} {json.dumps(current_tenant() is not None)}\n"

        return Response(body())

    return app


def __getattr__(name: str) -> Any:
    if name == "flask_app":
        return _make_flask()
    raise AttributeError(name)
