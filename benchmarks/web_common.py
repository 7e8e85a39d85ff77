"""Applications of the web benchmarks: bare, ours, slowapi, a BaseHTTPMiddleware."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.requests import HTTPConnection

from tenancy import Tenancy
from tenancy.fastapi import CurrentTenant, TenancyMiddleware, limit, requires

CATALOG = """
catalog: bench
version: "1"
format: 1
default_plan: big
default_action: requests
plans:
  big: {rate_limits: {requests: 60000000/minute}}
"""
LIMIT = 60_000_000

# What a browser or a client library sends; the credential is put among them.
CLIENT_HEADERS = {
    "host": "127.0.0.1:8000",
    "user-agent": "python-httpx/0.28.1",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
    "content-type": "application/json",
    "x-request-id": "0f9c2b1e-7d3a-4b65-9a53-2f0f3a6b7c11",
}


def open_bench(directory: str | None = None) -> tuple[Tenancy, str]:
    """A Tenancy with one tenant, and a key of it; opened again, the same."""
    root = Path(directory or tempfile.mkdtemp(prefix="bench-web-"))
    secret = root / "key.txt"
    if secret.exists():
        return Tenancy.open(root / "data"), secret.read_text(encoding="ascii")
    (root / "bench.yaml").write_text(CATALOG, encoding="utf-8")
    t = Tenancy.open(root / "data", catalog=root / "bench.yaml")
    acme = t.tenants.create(name="Acme", slug="acme", plan="big")
    _, key = t.keys.create(acme, scopes=["doc:*"])
    secret.write_text(key, encoding="ascii")
    return t, key


def plain_app() -> Any:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def root() -> dict[str, bool]:
        return {"ok": True}

    return app


def fixed_headers(app: Any) -> Any:
    """`app` with as many header fields as ours sends, decided by nobody: what the server itself
    spends on them."""
    fields = [
        (b"x-ratelimit-limit", b"60000000"),
        (b"x-ratelimit-remaining", b"59999999"),
        (b"x-ratelimit-reset", b"1767225660"),
        (b"ratelimit-policy", b'"requests-60s";q=60000000;w=60'),
        (b"ratelimit", b'"requests-60s";r=59999999;t=60'),
        (b"x-mcp-tenant-id", b"ten_0123456789abcdefghijklmnop"),
    ]

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        def with_fields(message: Any) -> Any:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *fields]}
            return send(message)

        await app(scope, receive, with_fields)

    return layer


def dependencies_app(t: Tenancy | None) -> Any:
    """Three dependencies at a route: ours, or such as do nothing."""

    async def nothing(connection: HTTPConnection) -> None:
        return None

    async def nobody(connection: HTTPConnection) -> None:
        return None

    async def nowhere(connection: HTTPConnection) -> None:
        return None

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if t is None:

        @app.get("/", dependencies=[Depends(nothing), Depends(nobody), Depends(nowhere)])
        async def plain() -> dict[str, bool]:
            return {"ok": True}

        return app
    app.add_middleware(TenancyMiddleware, tenancy=t)

    @app.get("/", dependencies=[Depends(requires("doc:read")), Depends(limit("requests"))])
    async def guarded(tenant: CurrentTenant) -> dict[str, bool]:
        return {"ok": True}

    return app


def ours_app(t: Tenancy) -> Any:
    app = plain_app()
    app.add_middleware(TenancyMiddleware, tenancy=t)
    return app


def slowapi_app() -> Any:
    """slowapi's limit by key header, in memory, with its headers: no credential is checked."""
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    limiter = Limiter(key_func=lambda request: request.headers["x-api-key"], headers_enabled=True)
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    @app.get("/")
    @limiter.limit(f"{LIMIT}/minute")
    async def root(request: Request, response: Response) -> dict[str, bool]:
        return {"ok": True}

    return app


def by_hand(app: Any, t: Tenancy) -> Any:
    """Our decision in the middleware that everybody writes first."""
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse

    from tenancy.headers import limit_headers

    async def decide(request: Any, proceed: Any) -> Any:
        decision = t.admit(api_key=request.headers.get("x-api-key"), ip=request.client.host)
        if not decision:
            return JSONResponse({"code": decision.code}, decision.status)
        response = await proceed(request)
        t.finish(decision, response.status_code)
        if decision.tightest is not None:
            response.headers.update(dict(limit_headers(decision.tightest, t.clock.wall_ns())))
        return response

    return BaseHTTPMiddleware(app, dispatch=decide)


def bare_http() -> Any:
    return plain_app()


def fixed_http() -> Any:
    return fixed_headers(plain_app())


def ours_http() -> Any:
    return ours_app(open_bench(os.environ["TENANCY_BENCH_DIR"])[0])


def slowapi_http() -> Any:
    return slowapi_app()


def by_hand_http() -> Any:
    return by_hand(plain_app(), open_bench(os.environ["TENANCY_BENCH_DIR"])[0])
