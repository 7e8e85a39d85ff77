"""Middleware for any ASGI application.

>>> from tenancy import Tenancy
>>> from tenancy.asgi import TenancyMiddleware
>>> t = Tenancy.open("./tenancy-data", catalog="agent-orchestrator")
>>> app = TenancyMiddleware(app, tenancy=t, exempt=["/health"])

Each HTTP request and each websocket is admitted before the application sees it, whatever it is
routed to: pages that do not exist, mounted applications and streams count alike. The response's
first message gets the headers, later ones pass untouched. What was reserved is settled when the
application has returned, background tasks included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from ._core import AsgiExchange, scan_headers
from ._web import Web, log
from .context import TenantContext, _current
from .errors import Conflict, InvalidValue, NotFound, Refused, TenancyError
from .problem import Problem
from .resolve import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._middleware_options import MiddlewareOptions

__all__ = ["Options", "TenancyMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWERED = (Refused, NotFound, Conflict, InvalidValue)
"""Errors of a handler that are answers to its caller. All others are faults and go on upwards."""

_POLICY_VIOLATION = 1008
_STALE = object()
"""The definitions have changed and must be read first."""


class TenancyMiddleware:
    """Pure ASGI. No state but the compiled options; any number of loops and threads.

    `options` are those of `tenancy.resolve.Options`; `preset="mcp"` sets the header names of MCP
    gateways.
    """

    def __init__(
        self,
        app: App,
        tenancy: Any,
        *,
        preset: str | None = None,
        **options: Unpack[MiddlewareOptions],
    ) -> None:
        self.app = app
        self.tenancy = tenancy
        self.web = web = Web(tenancy, preset, options)
        self._wanted = web.wanted
        self._is_exempt = web.is_exempt
        self._lone_key = web.lone_key
        self._request_id = web.request_id
        self._admit = tenancy.admit
        self._is_current = tenancy.engine.current

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        try:
            exchange = self._begin(scope, send)
            if exchange is _STALE:
                await self._catch_up()
                exchange = self._begin(scope, send, caught_up=True)
        except Exception as error:
            peer = (scope.get("client") or (None,))[0]
            await _answer(scope, send, self.web.failure(scope["path"], error, scope, peer), [])
            return
        if exchange is None:
            await self._pass(scope, receive, send)
            return
        if exchange.__class__ is not _Exchange:
            await _answer(scope, send, *exchange)
            return
        context = exchange.context
        scope.setdefault("state", {})["tenancy"] = context
        if kind == "http":
            exchange.receive = receive
            receive = exchange.watched_receive
        token = _current.set(context)
        whole = False
        try:
            try:
                await self.app(scope, receive, exchange.send)
            except ANSWERED as error:
                # Without a handler of the framework's in between it arrives here.
                if exchange.status and kind == "http":
                    raise
                await _answer(scope, exchange.send, self.web.answer(error, scope["path"]), [])
            whole = True
        finally:
            _current.reset(token)
            status = exchange.status
            self.web.finish(
                exchange.decision, context, status, whole and status != 0 and not exchange.gone
            )
            exchange.decision = None  # see `RequestContext.end`

    def _begin(self, scope: Scope, send: Send, *, caught_up: bool = False) -> Any:
        """An exchange; None for a request that is not decided; a problem and its headers; or
        `_STALE`."""
        found: dict[Any, Any] = scan_headers(scope["headers"], self._wanted)
        path = scope["path"]
        if scope.get("root_path"):
            path = _below_mount(path, scope["root_path"])
        if (self._is_exempt is not None and self._is_exempt(path)) or (
            b"origin" in found and _is_preflight(scope)
        ):
            return None
        if not (caught_up or self._is_current()):
            return _STALE
        web = self.web
        client = scope.get("client")
        peer = client[0] if client else None
        resolved = None
        key = found.get(self._lone_key)
        request_id = found.get(self._request_id)
        alone = len(found) == 1 or (len(found) == 2 and request_id.__class__ is bytes)
        if alone and key.__class__ is bytes and key:
            decision = self._admit(api_key=key, ip=peer, request_id=request_id, request=scope)
        else:
            method, query = scope.get("method", "GET"), scope.get("query_string", b"")
            decision, resolved = web.admit(found, method, path, query, peer, scope)
        finisher = web.expose_fields if b"origin" in found else None
        if decision:
            if resolved is None:
                context = TenantContext(self.tenancy, decision, None, scope["headers"])
            else:
                context = TenantContext(
                    self.tenancy, decision, None, scope["headers"], resolved.session,
                    resolved.claims,
                )  # fmt: skip
            return _Exchange(web.fields, send, decision, context, finisher)
        exchange = _Exchange(web.fields, send, decision, None, finisher)
        if web.goes_on_without_tenant(decision, resolved):
            return exchange
        problem = web.refusal(decision, resolved, path)
        return problem, [] if problem.status == 401 else exchange.own_fields()

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exempt: without tenant, also when an outer context has one."""
        scope.setdefault("state", {})["tenancy"] = None
        if _current.get() is None:
            await self.app(scope, receive, send)
            return
        token = _current.set(None)
        try:
            await self.app(scope, receive, send)
        finally:
            _current.reset(token)

    async def _catch_up(self) -> None:
        """Read changed definitions on a thread: other requests of this loop need not wait for
        it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # another event loop than asyncio's: the gate reads them itself
        try:
            await asyncio.to_thread(self.tenancy.refresh)
        except TenancyError:
            return  # the gate finds the same, and refuses


class _Exchange(AsgiExchange):
    """One request under way."""

    __slots__ = ()

    async def watched_receive(self) -> Message:
        message: Message = await self.receive()
        if not self.status and message["type"] == "http.disconnect":
            self.gone = True  # whoever asked will never have the answer
        return message

    def _not_begun(self, error: BaseException) -> None:
        log.error("a response goes without our headers", exc_info=error)


def _below_mount(path: str, root: str) -> str:
    """The path as the application's router sees it: below where the application is mounted."""
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def _is_preflight(scope: Scope) -> bool:
    """A browser asks whether it may ask. It sends no credentials; the application answers."""
    return scope.get("method") == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def _answer(
    scope: Scope,
    send: Send,
    problem: Problem,
    fields: list[tuple[bytes, bytes]],
) -> None:
    body = problem.body()
    prefix = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send(
                {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem.code}
            )
            return
        prefix = "websocket."
    await send(
        {
            "type": f"{prefix}http.response.start",
            "status": problem.status,
            "headers": [*problem.raw_headers(len(body)), *fields],
        }
    )
    await send({"type": f"{prefix}http.response.body", "body": body})
