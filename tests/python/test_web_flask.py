"""WSGI and Flask: the context lasts as long as the body, decorators, refusals, settling."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, Response, jsonify, stream_with_context

from tenancy import Tenancy, current_tenant, require_tenant
from tenancy.errors import InvalidValue, Refused, UnknownTenant
from tenancy.flask import (
    TenancyFlask,
    consumes,
    feature,
    limit,
    requires,
    usage_blueprint,
)
from tenancy.wsgi import TenancyMiddleware
from web_support import Shop, who, wsgi_get

pytestmark = pytest.mark.web


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def make_app(t: Tenancy, **options: Any) -> Flask:
    app = Flask(__name__)
    options.setdefault("exempt", ["/health"])
    TenancyFlask(app, t, **options)
    app.register_blueprint(usage_blueprint())

    @app.get("/health")
    def health() -> Any:
        return {"ok": current_tenant() is None}

    @app.get("/who")
    def who_view() -> Any:
        return jsonify(who())

    @app.get("/write")
    @requires("doc:write")
    def write() -> Any:
        return {}

    @app.get("/docs/<doc_id>")
    @requires("doc:read", resource="doc/{doc_id}")
    def doc(doc_id: str) -> Any:
        return {"id": doc_id}

    @app.get("/tokens/<int:amount>")
    @consumes({"tokens": lambda request: request.view_args["amount"], "agents": 1})
    def tokens(amount: int) -> Any:
        assert require_tenant().decision is not None
        if amount == 13:
            raise RuntimeError("no")
        return {"status": amount}, 500 if amount == 7 else 200

    @app.get("/spawn")
    @limit("spawns")
    def spawn() -> Any:
        return {}

    @app.get("/inline")
    @limit("3/minute")
    def inline() -> Any:
        return {}

    @app.get("/sso")
    @feature("sso")
    def sso() -> Any:
        return {}

    @app.get("/unknown")
    def unknown() -> Any:
        raise UnknownTenant("no tenant is named 'x'")

    return app


def used(shop: Shop, quota: str = "tokens") -> tuple[int, int]:
    status = shop.t.quotas.status(shop.acme, quota)
    return status.used, status.reserved


# ----------------------------------------------------------------------------- Flask


def test_views_know_their_tenant(shop: Shop) -> None:
    app = make_app(shop.t)
    answer = wsgi_get(app, "/who", {"X-API-Key": shop.user_secret})
    assert answer.json() == {"tenant": "acme", "principal": "ann", "session": None}
    assert answer.headers["x-mcp-tenant-id"] == shop.acme.id
    assert answer.headers["x-ratelimit-remaining"] == "7"  # of the endpoint's own 8
    assert wsgi_get(app, "/who").code == "MISSING_TENANT"
    assert wsgi_get(app, "/health").json() == {"ok": True}
    assert current_tenant() is None


def test_trap_04_pages_that_do_not_exist_are_counted(shop: Shop) -> None:
    app = make_app(shop.t)
    codes = [wsgi_get(app, f"/nowhere/{i}", shop.other_headers).status for i in range(11)]
    assert codes == [404] * 10 + [429]


def test_permissions_features_limits(shop: Shop) -> None:
    app = make_app(shop.t)
    assert wsgi_get(app, "/write", shop.headers).status == 200
    denied = wsgi_get(app, "/write", {"X-API-Key": shop.user_secret})
    assert (denied.status, denied.code) == (403, "PERMISSION_DENIED")
    assert denied.headers["content-type"] == "application/problem+json"
    assert wsgi_get(app, "/sso", shop.headers).status == 200
    assert wsgi_get(app, "/sso", shop.other_headers).code == "FEATURE_NOT_IN_PLAN"
    spawned = [wsgi_get(app, "/spawn", shop.other_headers).status for _ in range(3)]
    assert spawned == [200, 200, 429]
    answer = wsgi_get(app, "/unknown", shop.headers)
    assert (answer.status, answer.code) == (404, "UNKNOWN_TENANT")


def test_a_permission_on_one_resource(shop: Shop) -> None:
    app = make_app(shop.t)
    shop.t.resources.register(shop.acme, "doc", "d1", creator="ann")
    assert wsgi_get(app, "/docs/d1", shop.headers).status == 200
    assert wsgi_get(app, "/docs/d2", shop.headers).status == 403


def test_inline_limits_are_one_over_all_workers(shop: Shop) -> None:
    with Tenancy.open(shop.data, clock=shop.clock) as second:
        apps = [make_app(shop.t), make_app(second)]
        codes = [wsgi_get(apps[i % 2], "/inline", shop.headers).status for i in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_quotas_are_settled_when_the_response_is_sent(shop: Shop) -> None:
    app = make_app(shop.t)
    assert wsgi_get(app, "/tokens/5", shop.headers).status == 200
    assert used(shop) == (5, 0)
    assert wsgi_get(app, "/tokens/7", shop.headers).status == 500
    assert wsgi_get(app, "/tokens/13", shop.headers).status == 500
    refused = wsgi_get(app, "/tokens/5000", shop.headers)
    assert (refused.status, refused.json()["quota"]) == (403, "tokens")
    assert used(shop) == (5, 0)
    assert used(shop, "agents") == (0, 0)


def test_endpoints_are_counted_once(shop: Shop) -> None:
    app = make_app(shop.t)
    codes = [wsgi_get(app, "/write", shop.headers).status for _ in range(9)]
    assert codes == [200] * 8 + [429]
    assert wsgi_get(app, "/who", shop.headers).status == 200


def test_the_applications_own_handler_comes_first(shop: Shop) -> None:
    app = make_app(shop.t)
    app.register_error_handler(Refused, lambda error: ({"mine": error.code}, 418))
    answer = wsgi_get(app, "/write", {"X-API-Key": shop.user_secret})
    assert (answer.status, answer.json()) == (418, {"mine": "PERMISSION_DENIED"})


def test_async_views(shop: Shop) -> None:
    pytest.importorskip("asgiref")
    app = Flask(__name__)
    TenancyFlask(app, shop.t)

    @app.get("/")
    @requires("doc:read")
    async def view() -> Any:
        return jsonify(who())

    assert wsgi_get(app, "/", shop.headers).json()["tenant"] == "acme"


def test_factory_style_and_mistakes(shop: Shop) -> None:
    extension = TenancyFlask(tenancy=shop.t, exempt=["/"])
    app = Flask(__name__)
    extension.init_app(app)
    app.add_url_rule("/", view_func=lambda: "open")
    assert wsgi_get(app, "/").body == b"open"
    assert app.extensions["tenancy"] is shop.t
    with pytest.raises(InvalidValue, match="twice"):
        extension.init_app(app)
    with pytest.raises(InvalidValue, match="tenancy"):
        TenancyFlask(Flask(__name__))
    with pytest.raises(InvalidValue, match="catalog"):
        limit("spawns", scope="user")


def test_a_tenant_sees_its_own_usage_and_sessions(shop: Shop) -> None:
    app = make_app(shop.t)
    shop.t.sessions.create(shop.acme, "ann", "slack")
    shop.t.sessions.create(shop.acme, "bob", "web")
    headers = {"X-API-Key": shop.user_secret}
    usage = wsgi_get(app, "/tenancy/usage", headers).json()
    assert (usage["tenant"]["slug"], usage["plan"], usage["features"]) == ("acme", "pro", ["sso"])
    sessions = wsgi_get(app, "/tenancy/sessions", headers).json()["sessions"]
    assert [s["platform"] for s in sessions] == ["slack"]


def test_streams(shop: Shop) -> None:
    app = Flask(__name__)
    TenancyFlask(app, shop.t)
    seen = []

    @app.get("/")
    @consumes("tokens", 4)
    def view() -> Response:
        def pieces() -> Any:
            for _ in range(3):
                seen.append((require_tenant().tenant.slug, used(shop)))
                yield b"x"

        return Response(stream_with_context(pieces()))

    assert wsgi_get(app, "/", shop.headers).body == b"xxx"
    assert seen == [("acme", (0, 4))] * 3
    assert used(shop) == (4, 0)


# ----------------------------------------------------------------------------- WSGI itself


def start(status: str, headers: Any, exc_info: Any = None) -> Any:
    return lambda data: None


def environ(headers: dict[str, str], path: str = "/") -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "REMOTE_ADDR": "203.0.113.7",
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()},
    }


def test_the_context_ends_with_close_and_not_with_the_call(shop: Shop) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Any:
            yield ((current_tenant() and require_tenant().tenant.slug) or "none").encode()

        def close(self) -> None:
            closed.append(current_tenant() is not None)

    def app(env: Any, start_response: Any) -> Any:
        require_tenant().require(consume={"tokens": 2})
        start_response("200 OK", [])
        return Body()

    guarded = TenancyMiddleware(app, shop.t)
    result = guarded(environ(shop.headers), start)
    assert current_tenant() is not None
    assert list(result) == [b"acme"]
    assert used(shop) == (0, 2)
    result.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert current_tenant() is None
    assert used(shop) == (2, 0)
    result.close()  # type: ignore[attr-defined]  # twice is no harm
    assert used(shop) == (2, 0)


def test_failures_release(shop: Shop) -> None:
    def at_once(env: Any, start_response: Any) -> Any:
        require_tenant().require(consume={"tokens": 2})
        raise RuntimeError("no")

    def on_the_way(env: Any, start_response: Any) -> Any:
        require_tenant().require(consume={"tokens": 2})
        start_response("200 OK", [])
        yield b"1"
        raise RuntimeError("no")

    def eager(env: Any, start_response: Any) -> Any:
        require_tenant().require(consume={"tokens": 2})
        start_response("200 OK", [])
        return on_the_way_body()

    def on_the_way_body() -> Any:
        yield b"1"
        raise RuntimeError("no")

    def never_begun(env: Any, start_response: Any) -> Any:
        require_tenant().require(consume={"tokens": 2})
        return []

    for app in (at_once, on_the_way, eager):
        with pytest.raises(RuntimeError):
            wsgi_get(TenancyMiddleware(app, shop.t), "/", shop.headers)
        assert used(shop) == (0, 0), app.__name__
        assert current_tenant() is None
    result = TenancyMiddleware(never_begun, shop.t)(environ(shop.headers), start)
    assert list(result) == []
    result.close()  # type: ignore[attr-defined]
    assert used(shop) == (0, 0)


def test_a_server_that_never_closes_leaves_no_tenant_to_the_next_request(shop: Shop) -> None:
    seen = []

    def app(env: Any, start_response: Any) -> Any:
        seen.append(current_tenant() and require_tenant().tenant.slug)
        start_response("200 OK", [])
        return []

    guarded = TenancyMiddleware(app, shop.t, exempt=["/health"], require_tenant=False)
    guarded(environ(shop.headers), start)  # not closed
    guarded(environ({}, "/health"), start)
    guarded(environ(shop.headers), start)
    guarded(environ({}), start)
    guarded(environ({"X-API-Key": "nonsense"}), start)
    assert seen == ["acme", None, "acme", None]
    assert current_tenant() is None


def test_trap_30_threads_of_a_server_do_not_inherit(shop: Shop) -> None:
    """Each request thread starts without a tenant and ends without one."""
    found: list[Any] = []

    def app(env: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        found.append(require_tenant().tenant.slug)
        return [b""]

    guarded = TenancyMiddleware(app, shop.t)

    def serve(headers: dict[str, str]) -> None:
        wsgi_get(guarded, "/", headers)
        found.append(current_tenant())

    for headers in (shop.headers, shop.other_headers):
        thread = threading.Thread(target=serve, args=(headers,))
        thread.start()
        thread.join()
    assert found == ["acme", None, "globex", None]


def test_start_response_again_with_exc_info(shop: Shop) -> None:
    calls = []

    def app(env: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X-A", "1")])
        start_response("500 Oops", [("X-B", "1")], ("type", "value", None))
        return [b""]

    def record(status: str, headers: Any, exc_info: Any = None) -> Any:
        calls.append((status, [name for name, _ in headers], exc_info))

    result = TenancyMiddleware(app, shop.t)(environ(shop.headers), record)
    list(result)
    result.close()  # type: ignore[attr-defined]
    assert [call[0] for call in calls] == ["200 OK", "500 Oops"]
    assert all(call[1].count("X-RateLimit-Limit") == 1 for call in calls)
    assert calls[1][2] is not None


def test_faults_of_ours_say_nothing(shop: Shop) -> None:
    def broken(request: Any) -> None:
        raise RuntimeError("secret")

    answer = wsgi_get(TenancyMiddleware(lambda e, s: [], shop.t, identify=broken), "/")
    assert (answer.status, answer.code) == (500, "GATEWAY_ERROR")
    assert b"secret" not in answer.body
