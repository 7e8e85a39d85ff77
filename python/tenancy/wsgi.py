"""Middleware for any WSGI application.

>>> from tenancy import Tenancy
>>> from tenancy.wsgi import TenancyMiddleware
>>> t = Tenancy.open("./tenancy-data", catalog="agent-orchestrator")
>>> app = TenancyMiddleware(app, tenancy=t, exempt=["/health"])

The context is in force while the body is produced, not only while the application is called; the
server's `close()` ends the request and settles what was reserved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._core import Decision, WsgiExchange
from ._web import Web
from .context import TenantContext, _current
from .errors import Conflict, InvalidValue, NotFound, Refused
from .problem import Problem
from .resolve import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._middleware_options import MiddlewareOptions

__all__ = ["Options", "TenancyMiddleware"]

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

ANSWERED = (Refused, NotFound, Conflict, InvalidValue)

_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class TenancyMiddleware:
    """Pure WSGI. No state but the compiled options; any number of threads.

    `options` are those of `tenancy.resolve.Options`.
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
        # PEP 3333 spells headers so. A server joins repeated ones by commas, which no credential
        # has.
        self._wanted = {_variable(name): name for name in sorted(web.wanted)}
        lone = None if web.lone_key is None else _variable(web.lone_key)
        self._is_exempt = web.is_exempt
        self._lone_key = lone
        self._request_id = None if web.request_id is None else _variable(web.request_id)
        self._others = frozenset(self._wanted) - {lone, self._request_id}
        self._admit = tenancy.admit

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        web = self.web
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        if (self._is_exempt is not None and self._is_exempt(path)) or (
            environ["REQUEST_METHOD"] == "OPTIONS" and _is_preflight(environ)
        ):
            # A request before, on this thread, may have been left open by its server.
            _current.set(None)
            return self.app(environ, start_response)
        finisher = web.expose_headers if "HTTP_ORIGIN" in environ else None
        problem = None
        try:
            key = environ.get(self._lone_key)  # type: ignore[arg-type]
            if key and environ.keys().isdisjoint(self._others):
                decision = self._admit(
                    api_key=key,
                    ip=environ.get("REMOTE_ADDR") or None,
                    request_id=environ.get(self._request_id),  # type: ignore[arg-type]
                    request=environ,
                )
                context = TenantContext(self.tenancy, decision, None, environ) if decision else None
                if context is None:
                    problem = web.refusal(decision, None, path)
            else:
                decision, context, problem = self._decide(environ, path)
            exchange = _Exchange(web.fields, start_response, decision, context, finisher)
            exchange.web = web
            if problem is not None:
                fields = [] if problem.status == 401 else exchange.own_fields()
        except Exception as error:
            _current.set(None)
            peer = environ.get("REMOTE_ADDR") or None
            return _answer(start_response, web.failure(path, error, environ, peer), [])
        if problem is not None:
            _current.set(None)
            return _answer(start_response, problem, fields)
        exchange.token = _current.set(context)
        try:
            exchange.body = self.app(environ, exchange.start)
        except ANSWERED as error:
            if exchange.status:
                exchange.leave(whole=False)
                raise
            exchange.body = _answer(exchange.start, web.answer(error, path), [])
        except BaseException:
            exchange.leave(whole=False)
            raise
        return exchange

    def _decide(
        self, environ: Environ, path: str
    ) -> tuple[Decision, TenantContext | None, Problem | None]:
        """Whatever is not an API key alone."""
        web = self.web
        found = {
            name: environ[variable].encode("latin-1", "replace")
            for variable, name in self._wanted.items()
            if variable in environ
        }
        decision, resolved = web.admit(
            found,
            environ.get("REQUEST_METHOD", "GET"),
            path,
            environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
            environ.get("REMOTE_ADDR") or None,
            environ,
        )
        if decision:
            context = TenantContext(
                self.tenancy, decision, None, environ, resolved.session, resolved.claims
            )
            return decision, context, None
        if web.goes_on_without_tenant(decision, resolved):
            return decision, None, None
        return decision, None, web.refusal(decision, resolved, path)


class _Exchange(WsgiExchange):
    """One request under way, and the body that the server gets: its `close` ends the request."""

    __slots__ = ("web",)

    web: Web

    def _watched(self) -> Iterator[bytes]:
        try:
            yield from self.body
        except GeneratorExit:
            raise
        except BaseException:
            self.failed = True
            raise

    def close(self) -> None:
        whole = False
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
            whole = not self.failed
        finally:
            self.leave(whole=whole)

    def leave(self, *, whole: bool) -> None:
        token, self.token = self.token, None
        if token is None:
            return
        try:  # noqa: SIM105 - once per request, and `suppress` costs ten times as much
            _current.reset(token)
        except ValueError:
            pass  # closed in another thread than it was begun in: nothing to take back here
        status = self.status
        self.web.finish(self.decision, self.context, status, whole and status != 0)
        self.decision = None  # see `RequestContext.end`


def _variable(name: bytes) -> str:
    return "HTTP_" + name.decode("ascii").upper().replace("-", "_")


def _is_preflight(environ: Environ) -> bool:
    """A browser asks whether it may ask. It sends no credentials; the application answers."""
    return "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _answer(
    start_response: StartResponse, problem: Problem, headers: list[tuple[str, str]]
) -> list[bytes]:
    body = problem.body()
    status = _REASONS.get(problem.status, f"{problem.status} Refused")
    start_response(status, [*problem.all_headers(len(body)), *headers])
    return [body]
