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

    @app.get("/docs/{doc}", dependencies=[Depends(for_fastapi.requires("doc:write"))])
    async def write(doc: str) -> dict[str, str]:
        return {"doc": doc}

    return app


def flask_app(t: Tenancy, **options: Any) -> Flask:
    app = Flask(__name__)
    for_flask.TenancyFlask(app, t, **options)

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
        return (get if self.kind == "fastapi" else wsgi_get)(app, path, headers)

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
