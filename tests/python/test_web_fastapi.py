"""FastAPI: dependencies, refusals from anywhere, documentation, and what other middleware does to
them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import pytest

fastapi = pytest.importorskip("fastapi")

from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket  # noqa: E402
from fastapi.middleware.cors import CORSMiddleware  # noqa: E402
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402

from tenancy import Tenancy, current_tenant, require_tenant  # noqa: E402
from tenancy.errors import PermissionDenied, Refused, UnknownTenant  # noqa: E402
from tenancy.fastapi import (  # noqa: E402
    CurrentTenant,
    TenancyMiddleware,
    consumes,
    document,
    feature,
    limit,
    requires,
    usage_router,
)
from web_support import Answer, Shop, call, get, http_scope, socket, who  # noqa: E402

pytestmark = pytest.mark.web


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def count(request: Request) -> int:
    return int((await request.json())["tokens"])


def make_app(t: Tenancy, **options: Any) -> FastAPI:
    app = FastAPI()
    options.setdefault("exempt", ["/health", "/openapi.json"])
    app.add_middleware(TenancyMiddleware, tenancy=t, **options)
    app.include_router(usage_router())

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": current_tenant() is None}

    @app.get("/who")
    async def who_async(tenant: CurrentTenant) -> dict[str, Any]:
        assert tenant is require_tenant()
        return who()

    @app.get("/sync")
    def who_sync(tenant: CurrentTenant) -> dict[str, Any]:
        return who()

    @app.get("/write", dependencies=[Depends(requires("doc:write"))])
    async def write() -> dict[str, Any]:
        return {}

    @app.get("/docs/{doc_id}")
    async def doc(
        tenant: Annotated[Any, Depends(requires("doc:read", resource="doc/{doc_id}"))],
    ) -> dict[str, Any]:
        return {"tenant": tenant.tenant_id}

    @app.post("/tokens", dependencies=[Depends(consumes({"tokens": count, "agents": 1}))])
    async def tokens(tenant: CurrentTenant, fail: bool = False) -> dict[str, Any]:
        if fail:
            raise RuntimeError("no")
        return {"leases": len(tenant.decision.leases)}

    @app.get("/spawn", dependencies=[Depends(limit("spawns"))])
    async def spawn() -> dict[str, Any]:
        return {}

    @app.get("/inline", dependencies=[Depends(limit("3/minute"))])
    async def inline() -> dict[str, Any]:
        return {}

    @app.get("/shared-a", dependencies=[Depends(limit("2/minute", name="shared"))])
    async def shared_a() -> dict[str, Any]:
        return {}

    @app.get("/shared-b", dependencies=[Depends(limit("2/minute", name="shared"))])
    async def shared_b() -> dict[str, Any]:
        return {}

    @app.get("/per-user", dependencies=[Depends(limit("1/minute", scope="user"))])
    async def per_user() -> dict[str, Any]:
        return {}

    @app.get("/sso", dependencies=[Depends(feature("sso"))])
    async def sso() -> dict[str, Any]:
        return {}

    @app.get("/raises/{kind}")
    async def raises(kind: str) -> None:
        if kind == "refused":
            require_tenant().require(permission="nothing:here")
        if kind == "unknown":
            raise UnknownTenant("no tenant is named 'x'")
        raise RuntimeError("secret")

    @app.websocket("/ws")
    async def ws(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()
        await socket.send_json(who())
        await socket.close()

    @app.websocket("/ws-denied")
    async def denied(
        socket: WebSocket, tenant: Annotated[Any, Depends(requires("nothing:here"))]
    ) -> None:
        raise AssertionError("not reached")

    return app


def post(app: Any, path: str, headers: Any, body: Any, query: bytes = b"") -> Answer:
    text = json.dumps(body).encode()
    scope = http_scope(
        path, {**headers, "content-type": "application/json"}, method="POST", query=query
    )
    return asyncio.run(call(app, scope, text))


# ----------------------------------------------------------------------------- dependencies


def test_endpoints_know_their_tenant(shop: Shop) -> None:
    app = make_app(shop.t)
    expected = {"tenant": "acme", "principal": "ann", "session": None}
    for path in ("/who", "/sync"):
        assert get(app, path, {"X-API-Key": shop.user_secret}).json() == expected
        assert get(app, path).code == "MISSING_TENANT"
    assert get(app, "/health").json() == {"ok": True}


def test_permissions(shop: Shop) -> None:
    app = make_app(shop.t)
    assert get(app, "/write", shop.headers).status == 200
    answer = get(app, "/write", {"X-API-Key": shop.user_secret})
    assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["permission"] == "doc:write"
    assert answer.json()["instance"] == "/write"
    assert "x-ratelimit-remaining" in answer.headers


def test_a_permission_on_one_resource(shop: Shop) -> None:
    app = make_app(shop.t)
    shop.t.resources.register(shop.acme, "doc", "d1", creator="ann")
    shop.t.resources.register(shop.globex, "doc", "d2", creator="ann")
    assert get(app, "/docs/d1", shop.headers).status == 200
    foreign, unknown = get(app, "/docs/d2", shop.headers), get(app, "/docs/d9", shop.headers)
    assert (foreign.status, unknown.status) == (403, 403)
    assert foreign.body.replace(b"/d2", b"") == unknown.body.replace(b"/d9", b"")


def test_quotas_by_amounts_read_from_the_request(shop: Shop) -> None:
    app = make_app(shop.t)
    assert post(app, "/tokens", shop.headers, {"tokens": 7}).json() == {"leases": 1}
    status = shop.t.quotas.status(shop.acme, "tokens")
    assert (status.used, status.reserved) == (7, 0)
    assert shop.t.quotas.status(shop.acme, "agents").used == 0
    answer = post(app, "/tokens", shop.headers, {"tokens": 5000})
    assert (answer.status, answer.code, answer.json()["quota"]) == (403, "QUOTA_EXCEEDED", "tokens")
    with pytest.raises(RuntimeError):
        post(app, "/tokens", shop.headers, {"tokens": 9}, query=b"fail=1")
    assert shop.t.quotas.status(shop.acme, "tokens").used == 7


def test_actions_of_the_catalog(shop: Shop) -> None:
    app = make_app(shop.t)
    codes = [get(app, "/spawn", shop.other_headers).status for _ in range(3)]
    assert codes == [200, 200, 429]
    assert get(app, "/spawn", shop.headers).status == 200


def test_features(shop: Shop) -> None:
    app = make_app(shop.t)
    assert get(app, "/sso", shop.headers).status == 200
    answer = get(app, "/sso", shop.other_headers)
    assert (answer.status, answer.code, answer.json()["feature"]) == (
        403, "FEATURE_NOT_IN_PLAN", "sso",
    )  # fmt: skip


def test_inline_limits_are_one_over_all_workers(shop: Shop) -> None:
    """Two Tenancies on one directory are what two workers have."""
    with Tenancy.open(shop.data, clock=shop.clock) as second:
        apps = [make_app(shop.t), make_app(second)]
        codes = [get(apps[i % 2], "/inline", shop.headers).status for i in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        assert get(apps[0], "/inline", shop.other_headers).status == 200
        refused = get(apps[1], "/inline", shop.headers)
    assert refused.code == "RATE_LIMIT_EXCEEDED"
    assert (refused.json()["limit"], refused.json()["count"]) == (3, 3)
    assert refused.headers["x-ratelimit-limit"] == "3"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert int(refused.headers["retry-after"]) >= 1
    shop.advance(62)
    assert get(apps[0], "/inline", shop.headers).status == 200


def test_inline_limits_can_be_shared_by_endpoints_and_kept_per_user(shop: Shop) -> None:
    app = make_app(shop.t)
    paths = ["/shared-a", "/shared-b", "/shared-a"]
    assert [get(app, path, shop.headers).status for path in paths] == [200, 200, 429]
    user = {"X-API-Key": shop.user_secret}
    assert [get(app, "/per-user", h).status for h in (user, user, shop.headers)] == [200, 429, 200]


def test_trap_01_a_request_that_an_inline_limit_refuses_keeps_nothing(shop: Shop) -> None:
    app = FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=shop.t)

    @app.get("/", dependencies=[Depends(consumes("tokens", 5)), Depends(limit("1/minute"))])
    async def both() -> dict[str, Any]:
        return {}

    assert [get(app, "/", shop.headers).status for _ in range(3)] == [200, 429, 429]
    assert shop.t.quotas.status(shop.acme, "tokens").used == 5


def test_an_endpoint_counts_once_however_many_dependencies_it_has(shop: Shop) -> None:
    app = FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=shop.t)
    wants = [Depends(requires("doc:read")), Depends(feature("sso")), Depends(consumes("tokens", 1))]

    @app.get("/a", dependencies=wants)
    async def a(tenant: CurrentTenant) -> dict[str, Any]:
        return {}

    @app.get("/b", dependencies=wants)
    async def b() -> dict[str, Any]:
        return {}

    codes = [get(app, "/a", shop.headers).status for _ in range(9)]
    assert codes == [200] * 8 + [429]  # 8 a minute for each endpoint
    assert get(app, "/b", shop.headers).status == 200


# -------------------------------------------------------------------------- refusals from anywhere


def test_errors_of_handlers_are_answers(shop: Shop) -> None:
    app = make_app(shop.t)
    refused = get(app, "/raises/refused", shop.headers)
    assert (refused.status, refused.code) == (403, "PERMISSION_DENIED")
    unknown = get(app, "/raises/unknown", shop.headers)
    assert (unknown.status, unknown.code) == (404, "UNKNOWN_TENANT")
    with pytest.raises(RuntimeError):
        get(app, "/raises/other", shop.headers)


def test_the_applications_own_handlers_come_first(shop: Shop) -> None:
    app = make_app(shop.t)

    @app.exception_handler(Refused)
    async def own(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"mine": type(error).__name__}, 418)

    answer = get(app, "/write", {"X-API-Key": shop.user_secret})
    assert (answer.status, answer.json()) == (418, {"mine": PermissionDenied.__name__})


def test_mounted_applications_are_protected_and_answer_alike(shop: Shop) -> None:
    app, inner = FastAPI(), FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=shop.t)

    @inner.get("/write", dependencies=[Depends(requires("doc:write"))])
    async def write(tenant: CurrentTenant) -> dict[str, Any]:
        return who()

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(require_tenant().tenant.slug)

    app.mount("/inner", inner)
    app.mount("/other", Starlette(routes=[Route("/plain", plain)]))
    assert get(app, "/inner/write", shop.headers).json()["tenant"] == "acme"
    denied = get(app, "/inner/write", {"X-API-Key": shop.user_secret})
    assert (denied.status, denied.code) == (403, "PERMISSION_DENIED")
    assert denied.headers["content-type"] == "application/problem+json"
    assert get(app, "/other/plain", shop.headers).body == b"acme"
    assert get(app, "/inner/nowhere").status == 401


def test_the_middleware_can_stand_inside_a_mount(shop: Shop) -> None:
    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(current_tenant() and require_tenant().tenant.slug))

    guarded = TenancyMiddleware(Starlette(routes=[Route("/x", plain)]), shop.t, exempt=["/health"])
    app = Starlette(routes=[Mount("/api", guarded), Route("/open", plain)])
    assert get(app, "/api/x", shop.headers).body == b"acme"
    assert get(app, "/api/x").status == 401
    assert get(app, "/open").body == b"None"


def test_beside_a_base_http_middleware(shop: Shop) -> None:
    async def look(request: Request, proceed: Any) -> Any:
        response = await proceed(request)
        response.headers["x-seen"] = str(current_tenant() and require_tenant().tenant.slug)
        return response

    inside, outside = make_app(shop.t), make_app(shop.t)
    outside.add_middleware(BaseHTTPMiddleware, dispatch=look)
    inside = FastAPI()
    inside.add_middleware(BaseHTTPMiddleware, dispatch=look)
    inside.add_middleware(TenancyMiddleware, tenancy=shop.t)

    @inside.get("/who")
    async def endpoint(tenant: CurrentTenant) -> dict[str, Any]:
        return who()

    @inside.get("/write", dependencies=[Depends(requires("doc:write"))])
    async def write() -> None: ...

    for app, seen in ((inside, "acme"), (outside, "None")):
        answer = get(app, "/who", shop.headers)
        assert answer.json()["tenant"] == "acme"
        assert answer.headers["x-seen"] == seen
        assert get(app, "/write", {"X-API-Key": shop.user_secret}).code == "PERMISSION_DENIED"


@pytest.mark.parametrize("outermost", ["cors", "tenancy"])
def test_beside_cors(shop: Shop, outermost: str) -> None:
    app = FastAPI()
    layers: list[Any] = [
        (TenancyMiddleware, {"tenancy": shop.t}),
        (CORSMiddleware, {"allow_origins": ["*"], "allow_headers": ["*"]}),
    ]
    for layer, options in layers if outermost == "cors" else reversed(layers):
        app.add_middleware(layer, **options)

    @app.get("/")
    async def root() -> dict[str, Any]:
        return {}

    origin = {"Origin": "https://a.example"}
    preflight = {**origin, "Access-Control-Request-Method": "GET"}
    assert get(app, "/", preflight, method="OPTIONS").status == 200
    answer = get(app, "/", {**shop.headers, **origin})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
    refused = get(app, "/", origin)
    assert refused.status == 401
    assert ("access-control-allow-origin" in refused.headers) == (outermost == "cors")


# ------------------------------------------------------------------------- streams, tasks, sockets


def test_streams_and_background_tasks_run_for_the_tenant(shop: Shop) -> None:
    app, seen = FastAPI(), []
    app.add_middleware(TenancyMiddleware, tenancy=shop.t)

    def note(where: str) -> None:
        status = shop.t.quotas.status(shop.acme, "tokens")
        seen.append((where, require_tenant().tenant.slug, status.used, status.reserved))

    @app.get("/", dependencies=[Depends(consumes("tokens", 4))])
    async def stream(tasks: BackgroundTasks) -> StreamingResponse:
        async def pieces() -> Any:
            for i in range(3):
                note(f"piece {i}")
                yield b"x"

        tasks.add_task(note, "task")
        return StreamingResponse(pieces(), background=tasks)

    assert get(app, "/", shop.headers).body == b"xxx"
    assert seen == [(f"piece {i}", "acme", 0, 4) for i in range(3)] + [("task", "acme", 0, 4)]
    assert shop.t.quotas.status(shop.acme, "tokens").used == 4


def test_websockets(shop: Shop) -> None:
    app = make_app(shop.t)
    sent = asyncio.run(socket(app, http_scope("/ws", shop.headers)))
    assert [m["type"] for m in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert json.loads(sent[1]["text"])["tenant"] == "acme"
    refused = asyncio.run(socket(app, http_scope("/ws")))
    assert [(m["type"], m["code"]) for m in refused] == [("websocket.close", 1008)]
    denied = asyncio.run(socket(app, http_scope("/ws-denied", shop.headers)))
    assert [(m["type"], m["code"]) for m in denied] == [("websocket.close", 1008)]


# ----------------------------------------------------------------------------- ready routes


def test_a_tenant_sees_its_own_plan_limits_and_usage(shop: Shop) -> None:
    app = make_app(shop.t)
    shop.t.quotas.consume(shop.globex, "tokens", 40)
    usage = get(app, "/tenancy/usage", shop.other_headers).json()
    assert usage["tenant"] == {"id": shop.globex.id, "slug": "globex", "name": "Globex"}
    assert (usage["plan"], usage["status"], usage["features"]) == ("free", "active", [])
    tokens = usage["quotas"]["tokens"]
    assert (tokens["used"], tokens["limit"], tokens["remaining"], tokens["percent"]) == (
        40, 100, 60, 40.0,
    )  # fmt: skip
    limits = {window["name"]: window for window in usage["limits"]}
    assert (limits["api_requests"]["limit"], limits["api_requests"]["remaining"]) == (10, 9)
    assert (limits["spawns"]["limit"], limits["spawns"]["remaining"]) == (2, 2)
    assert "1000" not in json.dumps(usage)  # nothing of the other one's


def test_callers_see_their_own_sessions(shop: Shop) -> None:
    app = make_app(shop.t)
    shop.t.sessions.create(shop.acme, "ann", "slack")
    shop.t.sessions.create(shop.acme, "bob", "web")
    shop.t.sessions.create(shop.globex, "ann", "discord")
    listed = get(app, "/tenancy/sessions", {"X-API-Key": shop.user_secret}).json()["sessions"]
    assert [(s["principal"], s["platform"]) for s in listed] == [("ann", "slack")]
    assert "id" not in listed[0]
    assert get(app, "/tenancy/sessions", shop.headers).json()["sessions"] == []


# ----------------------------------------------------------------------------- documentation


def test_the_document_tells_how_to_get_in_and_how_one_is_refused(shop: Shop) -> None:
    app = make_app(shop.t, api_key_header="X-Key")
    schema = get(app, "/openapi.json").json()
    schemes = schema["components"]["securitySchemes"]
    assert schemes["TenancyApiKey"] == {"type": "apiKey", "in": "header", "name": "X-Key"}
    assert schemes["TenancyBearer"]["scheme"] == "bearer"
    operation = schema["paths"]["/write"]["get"]
    assert {"TenancyApiKey": []} in operation["security"]
    assert {"TenancyBearer": []} in operation["security"]
    for status in ("401", "403", "409", "429", "503"):
        content = operation["responses"][status]["content"]
        reference = content["application/problem+json"]["schema"]["$ref"]
        assert reference == "#/components/schemas/TenancyProblem"
    assert "Retry-After" in operation["responses"]["429"]["headers"]
    assert schema["components"]["schemas"]["TenancyProblem"]["required"][0] == "type"
    # A route without a dependency of ours is behind the middleware all the same.
    assert "429" in schema["paths"]["/raises/{kind}"]["get"]["responses"]
    assert "security" not in schema["paths"]["/health"]["get"]
    assert "429" not in schema["paths"]["/health"]["get"]["responses"]


def test_the_document_can_be_made_without_a_request(shop: Shop) -> None:
    app = make_app(shop.t)
    assert app.openapi()["paths"]["/write"]["get"]["security"]
    document(app)
    document(app)
    assert "429" in app.openapi()["paths"]["/write"]["get"]["responses"]
