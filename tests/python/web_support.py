"""What the web tests share: a catalog, a raw ASGI and WSGI application, clients without a
framework."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from store_support import make_clock
from tenancy import Tenancy, current_tenant

CATALOG = """
catalog: web
version: "1"
format: 1
default_plan: free
default_action: api_requests
permissions: [doc:read, doc:write, agent:create]
quotas:
  projects: {kind: count}
  tokens: {kind: consumption, period: month}
  agents: {kind: concurrency, lease: 60s}
features: [sso]
limits:
  per_address: {scope: ip, limit: 30/minute}
  per_endpoint: {scope: tenant*endpoint, limit: 8/minute}
  watched: {scope: tenant, limit: 2/minute, shadow: true}
roles:
  reader: {permissions: [doc:read]}
  writer: {inherits: [reader], permissions: [doc:write]}
plans:
  free:
    quotas: {projects: 3, tokens: 100, agents: 1}
    rate_limits: {api_requests: 10/minute, spawns: 2/minute}
  pro:
    quotas: {projects: 10, tokens: 1000, agents: 2}
    rate_limits: {api_requests: 1000/minute, spawns: 100/minute}
    features: [sso]
"""


class Shop:
    """A Tenancy with two tenants, `acme` (pro) and `globex` (free), a key each, and a user each."""

    def __init__(
        self, directory: Path, *, system_clock: bool = False, text: str = CATALOG, **options: Any
    ) -> None:
        catalog = directory / "web.yaml"
        catalog.write_text(text, encoding="utf-8")
        self.clock = None if system_clock else make_clock()
        self.data = directory / "data"
        self.t = Tenancy.open(self.data, catalog=catalog, clock=self.clock, **options)
        self.acme = self.t.tenants.create(name="Acme", slug="acme", plan="pro", external_id="A-1")
        self.globex = self.t.tenants.create(name="Globex", slug="globex", plan="free")
        scopes = ["doc:*", "agent:create"]
        self.key, self.secret = self.t.keys.create(self.acme, scopes=scopes)
        self.other_key, self.other_secret = self.t.keys.create(self.globex, scopes=scopes)
        for tenant in (self.acme, self.globex):
            self.t.roles.assign(tenant, "ann", "reader", by="system")
        self.user_key, self.user_secret = self.t.keys.create(self.acme, principal="ann")
        self.headers = {"X-API-Key": self.secret}
        self.other_headers = {"X-API-Key": self.other_secret}

    def advance(self, seconds: float) -> None:
        assert self.clock is not None
        self.clock.advance_ns(int(seconds * 1e9))


class Answer:
    """A response as a client sees it."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.pairs = [(name.lower(), value) for name, value in headers]
        self.headers = dict(self.pairs)
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        return self.json()["code"]


def http_scope(
    path: str = "/",
    headers: Any = (),
    *,
    method: str = "GET",
    query: bytes = b"",
    client: tuple[str, int] | None = ("203.0.113.7", 5000),
    **more: Any,
) -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in pairs],
        "client": client,
        "server": ("testserver", 80),
        **more,
    }


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


async def call(app: Any, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """One HTTP request through ASGI; the body arrives, then nothing."""
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    starts = [m for m in sent if m["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    assert sent[0] is starts[0]
    pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in starts[0]["headers"]]
    return Answer(starts[0]["status"], pairs, b"".join(m.get("body", b"") for m in sent[1:]))


def get(app: Any, path: str = "/", headers: Any = (), **more: Any) -> Answer:
    """The same from a test that is no coroutine."""
    return asyncio.run(call(app, http_scope(path, headers, **more)))


async def socket(
    app: Any, scope: dict[str, Any], *messages: dict[str, Any]
) -> list[dict[str, Any]]:
    """One websocket: connect, the messages, disconnect. Gives what the application sent."""
    sent: list[dict[str, Any]] = []
    waiting = [
        {"type": "websocket.connect"},
        *messages,
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({**scope, "type": "websocket", "scheme": "ws"}, receive, send)
    return sent


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says which context it runs in."""
    body = json.dumps(who()).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def who() -> dict[str, Any]:
    context = current_tenant()
    if context is None:
        return {"tenant": None}
    return {
        "tenant": context.tenant.slug,
        "principal": context.principal,
        "session": context.session_id,
    }


def wsgi_echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(who()).encode()]


def wsgi_get(app: Any, path: str = "/", headers: Any = (), **environ: Any) -> Answer:
    """One request through WSGI, as a server does it: iterate, then close."""
    answers: list[Any] = []

    def start_response(status: str, pairs: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        answers.append((status, pairs))
        return lambda data: None

    env = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "203.0.113.7",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": __import__("io").BytesIO(b""),
        "wsgi.errors": sys.stderr,
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in dict(headers).items()},
        **environ,
    }
    result = app(env, start_response)
    try:
        body = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    status, pairs = answers[-1]
    return Answer(int(status[:3]), pairs, body)
