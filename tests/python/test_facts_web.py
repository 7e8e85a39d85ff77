"""Refusals of FastAPI and Flask are found by who, what, from where and in which request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("flask")

from fastapi import Depends, FastAPI
from flask import Flask

import tenancy.fastapi as for_fastapi
import tenancy.flask as for_flask
from tenancy import Tenancy
from tenancy.stores.records import AuditEvent
from web_support import CATALOG, Answer, Shop, get, wsgi_get

pytestmark = pytest.mark.web


def fastapi_app(t: Tenancy, **options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(for_fastapi.TenancyMiddleware, tenancy=t, **options)

    @app.get("/exports/{name}", dependencies=[Depends(for_fastapi.limit("1/hour"))])
    async def export(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/docs/{doc}", dependencies=[Depends(for_fastapi.requires("doc:write"))])
    async def write(doc: str) -> dict[str, str]:
        return {"doc": doc}

    return app


def flask_app(t: Tenancy, **options: Any) -> Flask:
    app = Flask(__name__)
    for_flask.TenancyFlask(app, t, **options)

    @app.get("/exports/<name>")
    @for_flask.limit("1/hour")
    def export(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/docs/<doc>")
    @for_flask.requires("doc:write")
    def write(doc: str) -> dict[str, str]:
        return {"doc": doc}

    return app


class Served:
    """One of the two, asked the same way."""

    def __init__(self, shop: Shop, kind: str) -> None:
        self.shop, self.kind = shop, kind

    def app(self, **options: Any) -> Any:
        made = fastapi_app if self.kind == "fastapi" else flask_app
        return made(self.shop.t, **options)

    def ask(self, app: Any, headers: dict[str, str], path: str = "/docs/7") -> Answer:
        path, _, query = path.partition("?")
        if self.kind == "fastapi":
            return get(app, path, headers, query=query.encode())
        return wsgi_get(app, path.encode().decode("latin-1"), headers, QUERY_STRING=query)

    def fact(self, **filters: Any) -> AuditEvent:
        (found,) = self.shop.t.audit.search(self.shop.acme, **filters)
        return found


@pytest.fixture(params=["fastapi", "flask"])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    shop = Shop(tmp_path, text=f"{CATALOG}\naudit: {{anonymous: always}}\n")
    yield Served(shop, request.param)
    shop.t.close()


def test_a_denied_route(served: Served) -> None:
    answer = served.ask(
        served.app(), {"X-API-Key": served.shop.user_secret, "X-Request-ID": "req-1"}
    )
    assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
    fact = served.fact(request="req-1")
    assert fact == served.fact(ip="203.0.113.7", type="permission_denied")
    assert (fact.principal, fact.action, fact.result) == ("ann", "doc:write", "denied")
    assert fact.context["code"] == answer.code
    assert fact.context["key"] == served.shop.user_key.id
    assert fact.context["endpoint"].endswith("write")
    assert fact.revision == served.shop.t.revision


def test_a_rate_limit_before_the_route(served: Served) -> None:
    shop, app = served.shop, served.app()
    for _ in range(10):
        assert served.ask(app, shop.other_headers).status in (200, 429)
    answer = served.ask(app, {**shop.other_headers, "X-Request-ID": "req-2"})
    assert answer.code == "RATE_LIMIT_EXCEEDED"
    (fact,) = shop.t.audit.search(shop.globex, request="req-2")
    assert (fact.type, fact.context["ip"]) == ("limit_exceeded", "203.0.113.7")
    assert fact.context["endpoint"].endswith("write")


def test_a_suspected_crossing(served: Served) -> None:
    headers = {"X-API-Key": served.shop.secret, "X-Tenant-ID": "globex", "X-Request-ID": "req-3"}
    assert served.ask(served.app(), headers).code == "TENANT_CONFLICT"
    fact = served.fact(request="req-3")
    assert (fact.type, fact.context["named_tenant"]) == ("cross_tenant", "globex")


def test_wrong_credentials_belong_to_no_tenant(served: Served) -> None:
    t = served.shop.t
    headers = {"Authorization": "Bearer no-such-token", "X-Request-ID": "req-4"}
    assert served.ask(served.app(), headers).status == 401
    (fact,) = t.operator(by="eve", reason="test").audit(type="credential_refused")
    assert (fact.tenant, fact.principal) == (None, "anonymous")
    assert (fact.context["request_id"], fact.context["ip"]) == ("req-4", "203.0.113.7")
    assert "no-such-token" not in str(fact)


def test_the_header_of_request_ids_can_be_another_or_none(served: Served) -> None:
    app = served.app(request_id_header="X-Correlation-ID")
    served.ask(app, {"X-API-Key": served.shop.user_secret, "X-Correlation-ID": "c-1"})
    assert served.fact(request="c-1")
    app = served.app(request_id_header=None)
    served.ask(app, {"X-API-Key": served.shop.user_secret, "X-Request-ID": "r-1"})
    assert not served.shop.t.audit.search(served.shop.acme, request="r-1")
    hostile = "x" * 2000
    app = served.app()
    answer = served.ask(app, {"X-API-Key": served.shop.user_secret, "X-Request-ID": hostile})
    assert answer.status == 403
    assert served.fact(request="x" * 512)


def test_a_limit_that_is_written_at_the_route(served: Served) -> None:
    app = served.app()
    headers = {"X-API-Key": served.shop.user_secret, "X-Request-ID": "req-5"}
    assert served.ask(app, headers, "/exports/a").status == 200
    answer = served.ask(app, {**headers, "User-Agent": "curl/8.5"}, "/exports/b?token=hush")
    assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
    fact = served.fact(type="limit_exceeded")
    assert (fact.principal, fact.context["code"]) == ("ann", "RATE_LIMIT_EXCEEDED")
    assert fact.context["key"] == served.shop.user_key.id
    assert (fact.context["request_id"], fact.context["ip"]) == ("req-5", "203.0.113.7")
    assert fact.context["detail"].endswith("export")
    assert (fact.context["method"], fact.context["path"]) == ("GET", "/exports/b")
    assert fact.context["user_agent"] == "curl/8.5"
    assert "hush" not in str(fact)
    assert fact.revision == served.shop.t.revision


@pytest.mark.parametrize("stage", ["before the route", "at the route"])
def test_where_a_refused_request_came_from(served: Served, stage: str) -> None:
    headers = {"User-Agent": "Mozilla/5.0 (X11)", "X-Request-ID": "req-6"}
    key = "tk_live_wrong" if stage == "before the route" else served.shop.user_secret
    served.ask(served.app(), {**headers, "X-API-Key": key}, "/docs/café")
    (fact,) = served.shop.t._host.facts.every({"request": "req-6"})
    assert fact.result == "denied"
    assert (fact.context["method"], fact.context["path"]) == ("GET", "/docs/café")
    assert fact.context["user_agent"] == "Mozilla/5.0 (X11)"
    assert "wrong" not in str(fact)


def test_what_a_client_sends_is_bounded_and_can_break_nothing(served: Served) -> None:
    headers = {"X-API-Key": served.shop.user_secret}
    secret = served.shop.user_secret
    for number, (agent, path) in enumerate(
        (
            ("x" * 5000, "/docs/" + "y" * 5000),
            ("\xff\xfe\x80", "/docs/\xff\xfe"),
            (f"robot {secret}", f"/docs/{secret}"),
            ("", "/docs/\x00\x1b[2J"),
        )
    ):
        sent = {**headers, "User-Agent": agent, "X-Request-ID": f"h-{number}"}
        answer = served.ask(served.app(), sent, path)
        assert answer.status == 403
        fact = served.fact(request=f"h-{number}")
        assert len(fact.context["path"]) <= 512
        assert len(fact.context.get("user_agent", "")) <= 512
        assert secret[11:] not in str(fact)


def test_an_agent_that_is_personal_is_sealed_and_erased(tmp_path: Path) -> None:
    shop = Shop(tmp_path, text=f"{CATALOG}\naudit: {{personal: [principal, user_agent, path]}}\n")
    headers = {"X-API-Key": shop.user_secret, "User-Agent": "Ada's own browser"}
    assert get(fastapi_app(shop.t), "/docs/ada-secret", headers).status == 403
    (fact,) = shop.t.audit.search(shop.acme, type="permission_denied")
    assert fact.context["user_agent"] == "Ada's own browser"
    shop.t.audit.erase_subject("ann", tenant=shop.acme, by="dpo", reason="asked")
    (fact,) = shop.t.audit.search(shop.acme, type="permission_denied")
    assert set(fact.erased) >= {"principal", "user_agent", "path"}
    assert "Ada" not in str(fact)
    shop.t.close()
    left = [p for p in (tmp_path).rglob("*") if p.is_file() and p.name != "ring"]
    assert not any(b"own browser" in path.read_bytes() for path in left)


@pytest.mark.filterwarnings("ignore")
def test_a_request_that_could_not_be_decided_leaves_a_fact(served: Served) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("the directory is away")

    answer = served.ask(served.app(identify=broken), {"X-Request-ID": "req-7"})
    assert answer.status == 500
    (fact,) = served.shop.t._host.facts.every({"type": "state_unavailable"})
    assert (fact.tenant, fact.context["detail"]) == (None, "RuntimeError")
    assert (fact.context["path"], fact.context["ip"]) == ("/docs/7", "203.0.113.7")
