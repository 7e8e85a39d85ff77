"""Middleware for any ASGI application.

>>> from tenancy import Tenancy
>>> from tenancy.asgi import TenancyMiddleware
>>> t = Tenancy.open("./tenancy-data", catalog="agent-orchestrator")
>>> app = TenancyMiddleware(app, tenancy=t, exempt=["/health"])

Each HTTP request and each websocket is admitted before the application sees it, whatever it is
routed
to: pages that do not exist, mounted applications and streams count alike. The response's first
message
gets the headers, later ones pass untouched. What was reserved is settled when the application has
returned, background tasks included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ._core import Decision
from ._web import Web, expose, repeat
from .context import TenantContext, _current
from .errors import Conflict, InvalidValue, NotFound, Refused, TenancyError
from .problem import Problem, of_error
from .resolve import Options

__all__ = ["Options", "TenancyMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWERED = (Refused, NotFound, Conflict, InvalidValue)
"""Errors of a handler that are answers to its caller. All others are faults and go on upwards."""

_POLICY_VIOLATION = 1008
_STARTS = frozenset({"http.response.start", "websocket.accept"})
_BEGINS = _STARTS | {"websocket.http.response.start"}


class TenancyMiddleware:
    """Pure ASGI. No state but the compiled options; any number of loops and threads.

    `options` are those of `tenancy.resolve.Options`; `preset="mcp"` sets the header names of MCP
    gateways.
    """

    def __init__(
        self, app: App, tenancy: Any, *, preset: str | None = None, **options: Any
    ) -> None:
        self.app = app
        self.tenancy = tenancy
        self.web = web = Web(tenancy, preset, options)
        self._wanted = web.wanted
        self._is_exempt = web.is_exempt
        self._lone_key = web.lone_key
        self._admit = tenancy.admit
        self._engine = tenancy.engine
        self._wall_ns = tenancy.clock.wall_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        web, wanted = self.web, self._wanted
        found: dict[Any, Any] = {}
        for name, value in scope["headers"]:
            if name in wanted:
                if name in found:
                    repeat(found, name, value)
                else:
                    found[name] = value
        path = scope["path"]
        if scope.get("root_path"):
            path = _below_mount(path, scope["root_path"])
        if (self._is_exempt is not None and self._is_exempt(path)) or (
            scope.get("method") == "OPTIONS" and _is_preflight(scope, found)
        ):
            await self._pass(scope, receive, send)
            return
        now_ns = self._wall_ns()
        client = scope.get("client")
        try:
            engine = self._engine
            if engine.word() != 2 * engine.revision:
                await self._catch_up()
            peer = client[0] if client else None
            key = found.get(self._lone_key)
            context = problem = None
            if key and key.__class__ is bytes and len(found) == 1:
                decision = self._admit(api_key=key, ip=peer)
                if decision:
                    context = TenantContext(self.tenancy, decision, now_ns, scope["headers"])
                else:
                    problem = web.refusal(decision, None, now_ns, path)
            else:
                decision, context, problem = self._decide(scope, found, path, peer, now_ns)
        except Exception:
            await _answer(scope, send, web.failure(path), [])
            return
        exchange = _Exchange(web, receive, send, decision, context, now_ns)
        exchange.cross_origin = b"origin" in found
        if problem is not None:
            await _answer(scope, send, problem, exchange.fields(problem))
            return
        await self._run(scope, exchange, path)

    def _decide(
        self, scope: Scope, found: dict[bytes, Any], path: str, peer: str | None, now_ns: int
    ) -> tuple[Decision, TenantContext | None, Problem | None]:
        """Whatever is not an API key alone."""
        method, query = scope.get("method", "GET"), scope.get("query_string", b"")
        decision, resolved = self.web.admit(found, method, path, query, peer, scope)
        if decision:
            context = TenantContext(
                self.tenancy, decision, now_ns, scope["headers"], resolved.session, resolved.claims
            )
            return decision, context, None
        if self.web.goes_on_without_tenant(decision, resolved):
            return decision, None, None
        return decision, None, self.web.refusal(decision, resolved, now_ns, path)

    async def _run(self, scope: Scope, exchange: _Exchange, path: str) -> None:
        """The application, with the context in force, and what must happen whatever it does."""
        context = exchange.context
        if context is not None:
            scope.setdefault("state", {})["tenancy"] = context
        token = _current.set(context)
        whole = False
        receive = exchange.receive if scope["type"] == "http" else exchange.original_receive
        try:
            try:
                await self.app(scope, receive, exchange.send)
            except ANSWERED as error:
                # Without a handler of the framework's in between it arrives here.
                if exchange.status and scope["type"] == "http":
                    raise
                problem = of_error(error, now_ns=exchange.now_ns, instance=path)
                await _answer(scope, exchange.send, problem, [])
            whole = True
        finally:
            _current.reset(token)
            done = whole and exchange.status != 0 and not exchange.gone
            self.web.finish(exchange.decision, context, exchange.status, done)
            del exchange.decision  # see `TenantContext.end`

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exempt: without tenant, also when an outer context has one."""
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


class _Exchange:
    """One request under way."""

    __slots__ = (
        "_send",
        "context",
        "cross_origin",
        "decision",
        "gone",
        "now_ns",
        "original_receive",
        "status",
        "web",
    )

    def __init__(
        self,
        web: Web,
        receive: Receive,
        send: Send,
        decision: Decision,
        context: TenantContext | None,
        now_ns: int,
    ) -> None:
        self.web = web
        self.original_receive = receive
        self._send = send
        self.decision = decision
        self.context = context
        self.now_ns = now_ns
        self.status = 0
        self.gone = False
        self.cross_origin = False

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine function: later messages of a stream go straight to the server.
        if not self.status and message["type"] in _BEGINS:
            message = self._begin(message)
        return self._send(message)

    async def receive(self) -> Message:
        message = await self.original_receive()
        if not self.status and message["type"] == "http.disconnect":
            self.gone = True  # whoever asked will never have the answer
        return message

    def _begin(self, message: Message) -> Message:
        self.status = message.get("status", 101)
        try:
            fields = [*message.get("headers", ()), *self.fields()]
            if self.cross_origin:
                fields = expose(fields, self.web.exposed)
        except Exception:
            self.web.failure("")
            return message
        # A copy: applications keep and send the same message again.
        return {**message, "headers": fields}

    def fields(self, problem: Problem | None = None) -> list[tuple[bytes, bytes]]:
        """Headers beside those of the application, or of a refusal."""
        if problem is not None and problem.status == 401:
            return []
        fields = self.web.fields(self.decision, self.context, self.now_ns)
        if problem is not None and self.cross_origin:
            fields = expose(fields, self.web.exposed)
        return fields


def _below_mount(path: str, root: str) -> str:
    """The path as the application's router sees it: below where the application is mounted."""
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def _is_preflight(scope: Scope, found: dict[bytes, Any]) -> bool:
    """A browser asks whether it may ask. It sends no credentials; the application answers."""
    return b"origin" in found and any(
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
