"""The ASGI layer without a framework: what is counted, answered, settled, and what passes
untouched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenancy import current_tenant, require_tenant
from tenancy._leases import LeaseKeeper
from tenancy.asgi import TenancyMiddleware
from tenancy.errors import PermissionDenied
from web_support import CATALOG, Shop, call, echo, get, http_scope, socket


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def used(shop: Shop, quota: str = "tokens") -> tuple[int, int]:
    status = shop.t.quotas.status(shop.acme, quota)
    return status.used, status.reserved


async def respond(send: Any, status: int = 200, body: bytes = b"ok") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


# ----------------------------------------------------------------------------- limits and headers


def test_trap_04_everything_is_counted_whatever_it_is_routed_to(shop: Shop) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
        else:
            await respond(send, 404)

    guarded = TenancyMiddleware(app, shop.t)
    for i in range(5):
        assert get(guarded, f"/nowhere/{i}", shop.other_headers).status == 404
    scope = http_scope("/socket", shop.other_headers)
    for _ in range(5):
        assert asyncio.run(socket(guarded, scope))[0]["type"] == "websocket.accept"
    answer = get(guarded, "/", shop.other_headers)
    assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert asyncio.run(socket(guarded, scope)) == [
        {"type": "websocket.close", "code": 1008, "reason": "RATE_LIMIT_EXCEEDED"}
    ]


def test_a_limited_request_says_everything_about_the_limit(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    for i in range(10):
        answer = get(app, "/", shop.other_headers)
        assert answer.headers["x-ratelimit-limit"] == "10"
        assert answer.headers["x-ratelimit-remaining"] == str(9 - i)
    shop.advance(0.5)
    refused = get(app, "/a b", shop.other_headers)
    problem = refused.json()
    retry_after = problem.pop("retry_after")
    assert 0 < retry_after <= 61
    reset = problem.pop("reset")
    assert reset.startswith("2026-01-01T00:01:0")
    assert reset.endswith("Z")
    assert problem == {
        "type": "urn:problem-type:tenancy:rate-limit-exceeded",
        "title": "Rate limit exceeded",
        "status": 429,
        "code": "RATE_LIMIT_EXCEEDED",
        "detail": "rate limit api_requests is exceeded",
        "instance": "/a%20b",
        "tenant": shop.globex.id,
        "limit_name": "api_requests",
        "window": 60,
        "count": 10,
        "limit": 10,
        "remaining": 0,
        "exceeded": True,
    }
    headers = refused.headers
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(refused.body))
    assert headers["cache-control"] == "no-store"
    assert retry_after <= int(headers["retry-after"]) < retry_after + 1
    assert 1_767_225_600 < int(headers["x-ratelimit-reset"]) <= 1_767_225_600 + 62
    assert headers["ratelimit-policy"] == '"api_requests-60s";q=10;w=60'
    assert headers["ratelimit"].startswith('"api_requests-60s";r=0;t=6')
    shop.advance(62)
    assert get(app, "/", shop.other_headers).status == 200


def test_a_shadow_window_refuses_nothing_and_stays_out_of_the_headers(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    for _ in range(4):  # the shadow window holds 2
        answer = get(app, "/", shop.other_headers)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit"] == "10"
    windows = {w.name: w for w in shop.t.check(api_key=shop.other_secret).limits}
    assert windows["watched"].shadow
    assert windows["watched"].remaining == 0


def test_tenants_do_not_share_limits(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    for _ in range(11):
        last = get(app, "/", shop.other_headers)
    assert last.status == 429
    assert get(app, "/", shop.headers).status == 200


def test_header_names_can_be_chosen_or_left_out(shop: Shop) -> None:
    app = TenancyMiddleware(
        echo,
        shop.t,
        limit_headers=False,
        tenant_response_header="X-T",
        session_response_header=None,
    )
    headers = get(app, "/", shop.headers).headers
    assert headers["x-t"] == shop.acme.id
    assert not [name for name in headers if "ratelimit" in name or "mcp" in name]


def test_browsers_may_read_our_headers(shop: Shop) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        cors = [
            (b"access-control-allow-origin", b"*"),
            (b"Access-Control-Expose-Headers", b"X-Own"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": cors})
        await send({"type": "http.response.body", "body": b""})

    guarded = TenancyMiddleware(app, shop.t)
    answer = get(guarded, "/", {**shop.headers, "Origin": "https://a.example"})
    shown = [value for name, value in answer.pairs if name == "access-control-expose-headers"]
    assert len(shown) == 1
    assert shown[0].startswith("X-Own, X-RateLimit-Limit")
    assert "X-MCP-Tenant-ID" in shown[0]
    plain = get(guarded, "/", shop.headers)
    assert plain.headers["access-control-expose-headers"] == "X-Own"
    echoing = TenancyMiddleware(echo, shop.t)
    refused = {"X-API-Key": shop.secret, "X-Tenant-ID": "globex", "Origin": "https://a.example"}
    assert "Retry-After" in get(echoing, "/", refused).headers["access-control-expose-headers"]


def test_the_applications_messages_are_not_changed(shop: Shop) -> None:
    constant = {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(constant)
        await send({"type": "http.response.body", "body": b""})

    guarded = TenancyMiddleware(app, shop.t)
    first, second = (get(guarded, "/", shop.headers) for _ in range(2))
    assert len(first.pairs) == len(second.pairs)
    assert constant["headers"] == [(b"x-own", b"1")]


async def test_a_stream_is_passed_on_piece_by_piece(shop: Shop) -> None:
    sent: list[dict[str, Any]] = []
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await gate.wait()
        assert require_tenant().tenant_id == shop.acme.id
        await send({"type": "http.response.body", "body": b"2"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    guarded = TenancyMiddleware(app, shop.t)
    task = asyncio.create_task(guarded(http_scope("/", shop.headers), asyncio.sleep, send))
    while len(sent) < 2:
        await asyncio.sleep(0)
    assert sent[1]["body"] == b"1"
    gate.set()
    await task
    assert [m["type"] for m in sent].count("http.response.start") == 1


# ----------------------------------------------------------------------------- settling


def consuming(then: Callable[..., Any], **wants: Any) -> Any:
    """An application that reserves, and then does `then`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        require_tenant().require(consume=wants or {"tokens": 5})
        await then(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, (5, 0)), (404, (5, 0)), (499, (5, 0)), (500, (0, 0)), (503, (0, 0))],
)
def test_reservations_are_kept_below_500(
    shop: Shop, status: int, expected: tuple[int, int]
) -> None:
    async def then(scope: Any, receive: Any, send: Any) -> None:
        assert used(shop) == (0, 5)
        await respond(send, status)
        assert used(shop) == (0, 5)  # background work goes on; it is not over yet

    guarded = TenancyMiddleware(consuming(then), shop.t)
    assert get(guarded, "/", shop.headers).status == status
    assert used(shop) == expected


def test_an_exception_releases(shop: Shop) -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("no")

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        raise RuntimeError("in a background task")

    for then in (early, late):
        guarded = TenancyMiddleware(consuming(then), shop.t)
        with pytest.raises(RuntimeError):
            asyncio.run(guarded(http_scope("/", shop.headers), asyncio.sleep, _nowhere))
        assert used(shop) == (0, 0)
        assert current_tenant() is None


async def _nowhere(message: Any) -> None:
    pass


async def test_a_disconnect_before_the_response_releases(shop: Shop) -> None:
    async def then(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await respond(send)

    messages = [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    guarded = TenancyMiddleware(consuming(then), shop.t)
    await guarded(http_scope("/", shop.headers), receive, _nowhere)
    assert used(shop) == (0, 0)


async def test_a_cancelled_request_releases(shop: Shop) -> None:
    async def then(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Future()

    guarded = TenancyMiddleware(consuming(then, tokens=5, agents=1), shop.t)
    task = asyncio.create_task(
        guarded(http_scope("/", shop.headers), asyncio.sleep, _nowhere)  # type: ignore[arg-type]
    )
    while used(shop, "agents")[0] == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert used(shop) == (0, 0)
    assert used(shop, "agents") == (0, 0)


def test_trap_01_a_refused_request_keeps_nothing(shop: Shop) -> None:
    async def refused(scope: Any, receive: Any, send: Any) -> None:
        require_tenant().require(permission="agent:delete")

    guarded = TenancyMiddleware(consuming(refused), shop.t)
    assert get(guarded, "/", shop.headers).status == 403
    assert used(shop) == (0, 0)

    async def all_or_none(scope: Any, receive: Any, send: Any) -> None:
        require_tenant().require(consume={"tokens": 1, "projects": 11})

    answer = get(TenancyMiddleware(all_or_none, shop.t), "/", shop.headers)
    assert answer.code == "QUOTA_EXCEEDED"
    assert (used(shop), used(shop, "projects")) == ((0, 0), (0, 0))


def test_what_a_handler_makes_of_a_refusal_is_its_own_affair(shop: Shop) -> None:
    async def anyway(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(PermissionDenied):
            require_tenant().require(permission="agent:delete")
        await respond(send)

    assert get(TenancyMiddleware(consuming(anyway), shop.t), "/", shop.headers).status == 200
    assert used(shop) == (5, 0)


def test_what_was_used_in_the_end_can_be_less(shop: Shop) -> None:
    async def then(scope: Any, receive: Any, send: Any) -> None:
        assert require_tenant().reservation("tokens").commit(2)
        await respond(send)

    get(TenancyMiddleware(consuming(then), shop.t), "/", shop.headers)
    assert used(shop) == (2, 0)


def test_a_request_longer_than_its_reservation_is_charged_all_the_same(shop: Shop) -> None:
    async def then(scope: Any, receive: Any, send: Any) -> None:
        shop.advance(61)
        await respond(send)

    get(TenancyMiddleware(consuming(then), shop.t), "/", shop.headers)
    assert used(shop) == (5, 0)


async def test_a_lease_lasts_as_long_as_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease lives a second of the test's clock; its keeper goes by real time."""
    shop = Shop(tmp_path, text=CATALOG.replace("lease: 60s", "lease: 1s"))
    renew, renewals = LeaseKeeper._renew, []
    monkeypatch.setattr(
        LeaseKeeper, "_renew", staticmethod(lambda holder: renewals.append(renew(holder)) or True)
    )

    async def then(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            shop.advance(0.6)
            enough = len(renewals) + 2  # one may have been under way
            while len(renewals) < enough:
                await asyncio.sleep(0.01)
            assert used(shop, "agents")[0] == 1
        await respond(send)

    guarded = TenancyMiddleware(consuming(then, agents=1), shop.t)
    assert (await call(guarded, http_scope("/", shop.headers))).status == 200
    assert used(shop, "agents")[0] == 0


def test_concurrency_is_refused_and_freed(shop: Shop) -> None:
    answers: list[Any] = []

    async def then(scope: Any, receive: Any, send: Any) -> None:
        if (
            len(answers) == 0
        ):  # while this request holds its lease, another comes, and within it a third
            answers.append(await call(guarded, http_scope("/", shop.headers)))
        await respond(send)

    guarded = TenancyMiddleware(consuming(then, agents=1), shop.t)
    with shop.t.quotas.lease(shop.acme, "agents"):
        assert get(guarded, "/", shop.headers).status == 200
        assert answers[0].code == "CONCURRENCY_EXCEEDED"
        assert answers[0].headers["retry-after"] == "1"
    assert used(shop, "agents")[0] == 0


@pytest.mark.parametrize("status", [403, 429])
def test_a_spent_quota_is_answered_as_configured(tmp_path: Path, status: int) -> None:
    shop = Shop(tmp_path, quota_status=status)

    async def then(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)

    guarded = TenancyMiddleware(consuming(then, tokens=600), shop.t)
    assert get(guarded, "/", shop.headers).status == 200
    answer = get(guarded, "/", shop.headers)
    assert answer.status == status
    problem = answer.json()
    assert problem["code"] == "QUOTA_EXCEEDED"
    assert (problem["quota"], problem["used"], problem["limit"], problem["requested"]) == (
        "tokens", 600, 1000, 600,
    )  # fmt: skip
    assert problem["reset"] == "2026-02-01T00:00:00Z"


# ----------------------------------------------------------------------------- at once


def test_trap_09_a_suspended_tenant_is_refused_by_the_next_request(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    assert get(app, "/", shop.headers).status == 200
    shop.t.tenants.suspend(shop.acme, reason="test")
    answer = get(app, "/", shop.headers)
    assert (answer.status, answer.code) == (401, "SUSPENDED_TENANT")
    shop.t.tenants.resume(shop.acme)
    assert get(app, "/", shop.headers).status == 200
    shop.t.keys.revoke(shop.key)
    assert get(app, "/", shop.headers).code == "INVALID_CREDENTIAL"


def test_trap_32_a_key_of_one_tenant_never_works_on_another(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t, path="/t/{tenant}/")
    for _ in range(3):  # warm whatever could be kept
        assert get(app, "/t/acme/", shop.headers).json()["tenant"] == "acme"
        assert get(app, "/t/globex/", shop.other_headers).json()["tenant"] == "globex"
        assert get(app, "/t/globex/", shop.headers).code == "TENANT_CONFLICT"
        assert get(app, "/t/acme/", shop.other_headers).code == "TENANT_CONFLICT"


# ----------------------------------------------------------------------------- failures of ours


def test_a_fault_of_ours_is_500_and_says_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Any) -> None:
        raise RuntimeError("secret detail")

    app = TenancyMiddleware(echo, shop.t, identify=broken)
    with caplog.at_level(logging.ERROR, logger="tenancy"):
        answer = get(app, "/")
    assert (answer.status, answer.code) == (500, "GATEWAY_ERROR")
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text
    scope = http_scope("/")
    assert asyncio.run(socket(app, scope))[0]["type"] == "websocket.close"


def test_without_its_store_it_fails_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    app = TenancyMiddleware(echo, shop.t)
    assert get(app, "/", shop.headers).status == 200
    engine = shop.t.engine
    word = engine.word()
    assert engine.swap_word(word, word + 2)  # newer definitions, as far as anybody can tell
    shop.t.close()
    answer = get(app, "/", shop.headers)
    assert answer.status in (500, 503)
    assert answer.code in ("STATE_UNAVAILABLE", "GATEWAY_ERROR")


def test_lifespan_passes(shop: Shop) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(TenancyMiddleware(app, shop.t)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


# ----------------------------------------------------------------------------- websockets, mounts


def test_a_refused_websocket_is_answered_by_http_where_the_server_can(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    scope = http_scope("/ws", extensions={"websocket.http.response": {}})
    start, body = asyncio.run(socket(app, scope))
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == 401
    assert body["type"] == "websocket.http.response.body"
    assert asyncio.run(socket(app, http_scope("/ws")))[0]["code"] == 1008


def test_a_websocket_keeps_its_context_and_its_lease(shop: Shop) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        require_tenant().require(consume={"agents": 1, "tokens": 3})
        assert scope["state"]["tenancy"] is require_tenant()
        await send({"type": "websocket.accept", "headers": []})
        assert used(shop, "agents")[0] == 1
        while (await receive())["type"] != "websocket.disconnect":
            assert require_tenant().tenant_id == shop.acme.id

    guarded = TenancyMiddleware(app, shop.t)
    message = {"type": "websocket.receive", "text": "hello"}
    sent = asyncio.run(socket(guarded, http_scope("/ws", shop.headers), message))
    names = [name for name, _ in sent[0]["headers"]]
    assert b"x-ratelimit-limit" in names
    assert used(shop, "agents")[0] == 0
    assert used(shop) == (3, 0)


def test_below_a_mount_paths_are_the_applications_own(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t, exempt=["/health"])
    mounted = {"root_path": "/api"}
    assert get(app, "/api/health", **mounted).json() == {"tenant": None}
    assert get(app, "/health", **mounted).json() == {"tenant": None}
    assert get(app, "/apihealth", **mounted).status == 401
    assert get(app, "/api/api/health", **mounted).status == 401


def test_two_event_loops_share_one_middleware(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    for _ in range(3):
        assert get(app, "/", shop.headers).status == 200  # a loop each
