"""Middleware for any WSGI application.

>>> from tenancy import Tenancy
>>> from tenancy.wsgi import TenancyMiddleware
>>> t = Tenancy.open("./tenancy-data", catalog="agent-orchestrator")
>>> app = TenancyMiddleware(app, tenancy=t, exempt=["/health"])

The context is in force while the body is produced, not only while the application is called; the server's
`close()` ends the request and settles what was reserved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from ._core import Decision
from ._web import Web, expose
from .context import TenantContext, _current
from .errors import Conflict, InvalidValue, NotFound, Refused
from .problem import Problem, of_error
from .resolve import Options

__all__ = ["Options", "TenancyMiddleware"]

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

ANSWERED = (Refused, NotFound, Conflict, InvalidValue)

_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class TenancyMiddleware:
    """Pure WSGI. No state but the compiled options; any number of threads.

    `options` are those of `tenancy.resolve.Options`. The context is also in `environ["tenancy"]`.
    """

    def __init__(
        self, app: App, tenancy: Any, *, preset: str | None = None, **options: Any
    ) -> None:
        self.app = app
        self.tenancy = tenancy
        self.web = web = Web(tenancy, preset, options)
        # PEP 3333 spells headers so. A server joins repeated ones by commas, which no credential has.
        self._wanted = tuple((_variable(name), name) for name in sorted(web.wanted))
        self._wall_ns = tenancy.clock.wall_ns

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        web = self.web
        found: dict[bytes, Any] = {}
        for variable, name in self._wanted:
            if variable in environ:
                found[name] = environ[variable].encode("latin-1", "replace")
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        if (web.has_exempt and web.resolver.exempt(path)) or _is_preflight(environ, found):
            # A request before, on this thread, may have been left open by its server.
            _current.set(None)
            return self.app(environ, start_response)
        now_ns = self._wall_ns()
        try:
            decision, resolved = web.admit(
                found,
                environ.get("REQUEST_METHOD", "GET"),
                path,
                environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
                environ.get("REMOTE_ADDR") or None,
                environ,
            )
            context = problem = None
            if decision:
                context = web.context(decision, resolved, now_ns, _headers_of(environ))
            elif not web.goes_on_without_tenant(decision, resolved):
                problem = web.refusal(decision, resolved, now_ns, path)
        except Exception:
            _current.set(None)
            return _answer(start_response, web.failure(path), [])
        exchange = _Exchange(web, start_response, decision, context, now_ns, b"origin" in found)
        if problem is not None:
            _current.set(None)
            return _answer(start_response, problem, exchange.refusal_headers(problem))
        return self._run(environ, exchange, path)

    def _run(self, environ: Environ, exchange: _Exchange, path: str) -> Iterable[bytes]:
        if exchange.context is not None:
            environ["tenancy"] = exchange.context
        else:
            environ.pop("tenancy", None)
        exchange.enter()
        try:
            body = self.app(environ, exchange.start)
        except ANSWERED as error:
            if exchange.status:
                exchange.leave(whole=False)
                raise
            problem = of_error(error, now_ns=exchange.now_ns, instance=path)
            body = _answer(exchange.start, problem, [])
        except BaseException:
            exchange.leave(whole=False)
            raise
        return _Body(body, exchange)


class _Exchange:
    """One request under way."""

    __slots__ = (
        "_start_response",
        "_token",
        "context",
        "cross_origin",
        "decision",
        "now_ns",
        "status",
        "web",
    )

    def __init__(
        self,
        web: Web,
        start_response: StartResponse,
        decision: Decision,
        context: TenantContext | None,
        now_ns: int,
        cross_origin: bool,
    ) -> None:
        self.web = web
        self._start_response = start_response
        self.decision = decision
        self.context = context
        self.now_ns = now_ns
        self.cross_origin = cross_origin
        self.status = 0
        self._token: Any = None

    def enter(self) -> None:
        self._token = _current.set(self.context)

    def leave(self, *, whole: bool) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            _current.reset(token)
        except ValueError:
            # Closed in another thread than it was begun in: there is nothing to take back here.
            pass
        self.web.finish(self.decision, self.context, self.status, whole and self.status != 0)

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        fields = self.web.fields(self.decision, self.context, self.now_ns)
        headers = [*headers, *_text_headers(fields)]
        if self.cross_origin:
            headers = _exposed(headers, self.web.exposed)
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def refusal_headers(self, problem: Problem) -> list[tuple[str, str]]:
        if problem.status == 401:
            return []
        fields = self.web.fields(self.decision, self.context, self.now_ns)
        headers = _text_headers(fields)
        return _exposed(headers, self.web.exposed) if self.cross_origin else headers


class _Body:
    """The application's body; its `close` ends the request."""

    __slots__ = ("_body", "_exchange", "_iterator", "_whole")

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._iterator: Iterator[bytes] | None = None
        self._whole = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)
        except StopIteration:
            raise
        except BaseException:
            self._whole = False
            raise

    def close(self) -> None:
        whole = False
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
            whole = self._whole
        finally:
            self._exchange.leave(whole=whole)


def _variable(name: bytes) -> str:
    return "HTTP_" + name.decode("ascii").upper().replace("-", "_")


def _headers_of(environ: Mapping[str, Any]) -> Callable[[], list[tuple[bytes, bytes]]]:
    def read() -> list[tuple[bytes, bytes]]:
        return [
            (name[5:].replace("_", "-").encode("latin-1"), str(value).encode("latin-1", "replace"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]

    return read


def _is_preflight(environ: Environ, found: dict[bytes, Any]) -> bool:
    return (
        environ.get("REQUEST_METHOD") == "OPTIONS"
        and b"origin" in found
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _text_headers(fields: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in fields]


def _exposed(headers: list[tuple[str, str]], exposed: bytes) -> list[tuple[str, str]]:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in expose(raw, exposed)]


def _answer(
    start_response: StartResponse, problem: Problem, headers: list[tuple[str, str]]
) -> list[bytes]:
    body = problem.body()
    status = _REASONS.get(problem.status, f"{problem.status} Refused")
    start_response(status, [*problem.all_headers(len(body)), *headers])
    return [body]
