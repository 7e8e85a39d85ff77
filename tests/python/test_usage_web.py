"""Routes that meter: recorded when the request ends, once, and only if it did not fail."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from flask import Flask

from tenancy import require_tenant
from tenancy.context import bind
from tenancy.errors import InvalidValue, MissingTenant, UnknownMetric
from tenancy.fastapi import CurrentTenant, TenancyMiddleware, requires
from tenancy.fastapi import meters as fastapi_meters
from tenancy.flask import TenancyFlask
from tenancy.flask import meters as flask_meters
from web_support import CATALOG, Shop, get, wsgi_get

pytestmark = pytest.mark.web

METERED = (
    CATALOG.replace("30/minute", "100000/hour").replace("/minute", "000/hour")
    + """
metrics:
  api_calls: {}
  llm_tokens: {group_by: [model]}
"""
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, text=METERED)
    yield made
    made.t.close()


def used(shop: Shop, metric: str = "llm_tokens", **options: Any) -> Any:
    usage = shop.t.usage.aggregate("acme", metric, **options)
    return usage.rows if options else (usage.quantity, usage.events)


class Client:
    """Requests with the tenant's key. A fault is a 500."""

    def __init__(self, ask: Any, headers: dict[str, str]) -> None:
        self._ask = ask
        self._headers = headers

    def get(self, target: str, headers: dict[str, str] | None = None) -> Any:
        path, _, query = target.partition("?")
        with contextlib.suppress(RuntimeError):
            answer = self._ask(path, query, {**self._headers, **(headers or {})})
            return SimpleNamespace(status_code=answer.status, json=answer.json)
        return SimpleNamespace(status_code=500)


def fastapi_client(shop: Shop) -> Any:
    app = FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=shop.t)

    async def words(connection: Any) -> int:
        return len(connection.query_params["text"].split())

    @app.get("/plain", dependencies=[Depends(fastapi_meters("api_calls"))])
    async def plain() -> Any:
        return {}

    @app.get("/counted", dependencies=[Depends(fastapi_meters("llm_tokens", words))])
    async def counted() -> Any:
        return {}

    @app.get("/said", dependencies=[Depends(fastapi_meters({"api_calls": "1", "llm_tokens": 7}))])
    async def said(tenant: CurrentTenant, parts: str = "") -> Any:
        for part in filter(None, parts.split(",")):
            tenant.meter("llm_tokens", part)
        return {}

    @app.get("/open", dependencies=[Depends(fastapi_meters("llm_tokens", None))])
    async def open_() -> Any:
        return {}

    @app.get("/models")
    async def models(tenant: CurrentTenant) -> Any:
        for model, tokens in (("a", 3), ("b", 4), ("a", 5)):
            tenant.meter("llm_tokens", tokens, properties={"model": model})
        return {}

    @app.get("/fails/{status}", dependencies=[Depends(fastapi_meters("api_calls"))])
    async def fails(status: int) -> Any:
        raise HTTPException(status)

    @app.get("/raises", dependencies=[Depends(fastapi_meters("api_calls"))])
    async def raises() -> Any:
        raise RuntimeError("a fault")

    @app.get(
        "/denied", dependencies=[Depends(fastapi_meters("api_calls")), Depends(requires("x:y"))]
    )
    async def denied() -> Any:
        return {}

    @app.get("/later")
    async def later(tenant: CurrentTenant, tasks: BackgroundTasks) -> Any:
        tasks.add_task(tenant.meter, "llm_tokens", 9)
        return {}

    @app.get("/wrong")
    async def wrong(tenant: CurrentTenant, metric: str, quantity: float = 1) -> Any:
        tenant.meter(metric, quantity if quantity != 1 else 1)
        return {}

    def ask(path: str, query: str, headers: dict[str, str]) -> Any:
        return get(app, path, headers, query=query.encode())

    return Client(ask, shop.headers)


def flask_client(shop: Shop) -> Any:
    app = Flask(__name__)
    TenancyFlask(app, shop.t)

    @app.get("/plain")
    @flask_meters("api_calls")
    def plain() -> Any:
        return {}

    @app.get("/counted")
    @flask_meters("llm_tokens", lambda request: len(request.args["text"].split()))
    def counted() -> Any:
        return {}

    @app.get("/said")
    @flask_meters({"api_calls": "1", "llm_tokens": 7})
    def said() -> Any:
        from flask import request

        for part in filter(None, request.args.get("parts", "").split(",")):
            require_tenant().meter("llm_tokens", part)
        return {}

    @app.get("/open")
    @flask_meters("llm_tokens", None)
    def open_() -> Any:
        return {}

    @app.get("/fails/<int:status>")
    @flask_meters("api_calls")
    def fails(status: int) -> Any:
        return {}, status

    @app.get("/raises")
    @flask_meters("api_calls")
    def raises() -> Any:
        raise RuntimeError("a fault")

    def ask(path: str, query: str, headers: dict[str, str]) -> Any:
        return wsgi_get(app, path, headers, QUERY_STRING=query)

    return Client(ask, shop.headers)


@pytest.fixture(params=[fastapi_client, flask_client], ids=["fastapi", "flask"])
def client(shop: Shop, request: pytest.FixtureRequest) -> Any:
    return request.param(shop)


def test_a_route_records_what_it_says_when_the_request_ends(shop: Shop, client: Any) -> None:
    assert client.get("/plain").status_code == 200
    assert client.get("/counted?text=one+two+three").status_code == 200
    assert used(shop, "api_calls") == (1, 1)
    assert used(shop) == (3, 1)


def test_what_the_handler_says_stands_instead_of_what_the_route_says(
    shop: Shop, client: Any
) -> None:
    client.get("/said")
    assert used(shop) == (7, 1)
    client.get("/said?parts=0.5,2")
    assert used(shop) == (Decimal("9.5"), 2)
    client.get("/open")
    assert used(shop) == (Decimal("9.5"), 2)
    assert used(shop, "api_calls") == (2, 2)


def test_what_failed_is_not_metered_and_what_was_answered_is(shop: Shop, client: Any) -> None:
    for status, counts in ((500, 0), (503, 0), (404, 1), (422, 2), (200, 3)):
        client.get(f"/fails/{status}")
        assert used(shop, "api_calls")[1] == counts
    client.get("/raises")
    assert used(shop, "api_calls")[1] == 3


def test_a_repeated_request_is_metered_once(shop: Shop, client: Any) -> None:
    for key, parts, total in (("k1", "5", 5), ("k1", "5", 5), ("k2", "5", 10), ("k1", "6", 10)):
        answer = client.get(f"/said?parts={parts}", headers={"Idempotency-Key": key})
        assert answer.status_code == 200
        assert used(shop)[0] == total
    assert used(shop, "api_calls") == (2, 2)
    for _ in range(2):
        client.get("/plain", headers={"Idempotency-Key": "k" * 255})
    assert used(shop, "api_calls") == (3, 3)


def test_properties_are_kept_apart(shop: Shop) -> None:
    fastapi_client(shop).get("/models")
    rows = used(shop, group_by="model")
    assert {row.group["model"]: (row.quantity, row.events) for row in rows} == {
        "a": (8, 1), "b": (4, 1),
    }  # fmt: skip


def test_a_refused_request_meters_nothing_and_a_background_task_may_meter(shop: Shop) -> None:
    client = fastapi_client(shop)
    assert client.get("/denied").status_code == 403
    assert used(shop, "api_calls") == (0, 0)
    assert client.get("/later").status_code == 200
    assert used(shop) == (9, 1)


def test_the_handler_learns_what_is_wrong(shop: Shop) -> None:
    client = fastapi_client(shop)
    assert client.get("/wrong?metric=llm_token").json()["code"] == "UNKNOWN_METRIC"
    assert client.get("/wrong?metric=llm_tokens&quantity=1.5").status_code == 422
    assert used(shop) == (0, 0)


def test_outside_of_a_request_it_is_recorded_at_once(shop: Shop) -> None:
    with bind("acme", tenancy=shop.t) as context:
        context.meter("llm_tokens", 4, properties={"model": "a"})
        assert used(shop) == (4, 1)
        with pytest.raises(UnknownMetric):
            context.meter("nothing")
        with pytest.raises(InvalidValue):
            context.meter("llm_tokens", 0.5)
    with pytest.raises(MissingTenant):
        context.meter("llm_tokens")


def test_what_cannot_be_recorded_fails_no_request(
    shop: Shop, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> bytes:
        raise InvalidValue("log", "is broken")

    shop.t.usage._log.record = broken  # type: ignore[method-assign]
    assert client.get("/plain").status_code == 200
    assert "could not be recorded" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_real_servers_meter_each_request_once(tmp_path: Path, server: str) -> None:
    """Two workers, connections of their own, every request twice under its key."""
    httpx = pytest.importorskip("httpx")
    import test_web_servers as servers

    shop = Shop(tmp_path, system_clock=True, text=METERED)
    running = servers.gunicorn(shop) if server == "gunicorn" else servers.uvicorn(shop, 2)
    with running as base:

        def one(number: int) -> Any:
            headers = {**shop.headers, "Idempotency-Key": f"request-{number // 2}"}
            with httpx.Client(base_url=base.base_url, timeout=60, trust_env=False) as client:
                return client.get("/metered", headers=headers)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(one, range(60)))
        assert {answer.status_code for answer in answers} == {200}
        if server == "gunicorn":
            assert len({answer.json()["pid"] for answer in answers}) == 2
    assert used(shop, "api_calls") == (30, 30)
    assert used(shop) == (150, 30)
    shop.t.close()
