"""Operators' endpoints as an ASGI or WSGI application of their own.

>>> from tenancy.operator_routes import operator_asgi
>>> app = operator_asgi(t, tenant="operators")      # serve it on a port of its own, or mount it

They look at any tenant and change nothing. `tenant` is the operators' own tenant; whoever
authenticates in it and holds `operator:read` by name (see `docs/operators.md`) may ask::

    GET /tenants?status=&plan=&text=    GET /tenants/{tenant}           GET /sessions?tenant=
    GET /tenants/{tenant}/limits        GET /tenants/{tenant}/quotas    GET /audit?tenant=&type=&…
    GET /tenants/{tenant}/sessions                                      GET /audit/{event}

Lists take `limit` and `cursor`. The header `X-Operator-Reason` says why. `options` are those of
`tenancy.resolve.Options`; other frameworks have a router or blueprint: `tenancy.fastapi`,
`tenancy.flask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from . import asgi, wsgi
from ._operator_routes import (
    PERMISSION,
    REASON_HEADER,
    OperatorRoutes,
    Question,
    Reply,
    body_of,
    headers_of,
)
from .context import current_tenant

__all__ = ["OperatorRoutes", "operator_asgi", "operator_wsgi"]


def operator_asgi(
    tenancy: Any,
    *,
    tenant: str,
    permission: str = PERMISSION,
    reason_header: str = REASON_HEADER,
    **options: Any,
) -> asgi.TenancyMiddleware:
    """An ASGI application with its own `TenancyMiddleware` around it."""
    routes = OperatorRoutes(
        tenancy, tenant=tenant, permission=permission, reason_header=reason_header
    )
    name = routes.reason_header.lower().encode("ascii")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await _not_http(scope, receive, send)
            return
        reason = next((value for header, value in scope["headers"] if header == name), b"")
        question = Question(
            scope["method"],
            asgi._below_mount(scope["path"], scope.get("root_path", "")),
            scope.get("query_string", b"").decode("latin-1"),
            reason.decode("utf-8", "replace"),
        )
        reply = await asyncio.to_thread(routes.answer, current_tenant(), question)
        body, headers = _answer(reply, question.method)
        raw = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return asgi.TenancyMiddleware(application, tenancy, **options)


def operator_wsgi(
    tenancy: Any,
    *,
    tenant: str,
    permission: str = PERMISSION,
    reason_header: str = REASON_HEADER,
    **options: Any,
) -> wsgi.TenancyMiddleware:
    """A WSGI application with its own `TenancyMiddleware` around it."""
    routes = OperatorRoutes(
        tenancy, tenant=tenant, permission=permission, reason_header=reason_header
    )
    name = "HTTP_" + routes.reason_header.upper().replace("-", "_")

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        question = Question(
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
            environ.get("QUERY_STRING", ""),
            environ.get(name, "").encode("latin-1").decode("utf-8", "replace"),
        )
        reply = routes.answer(current_tenant(), question)
        body, headers = _answer(reply, question.method)
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
        return [body]

    return wsgi.TenancyMiddleware(application, tenancy, **options)


def _answer(reply: Reply, method: str) -> tuple[bytes, list[tuple[str, str]]]:
    body = body_of(reply)
    headers = [*headers_of(reply).items(), ("Content-Length", str(len(body)))]
    return b"" if method == "HEAD" else body, headers


async def _not_http(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
