"""The tenant in force: where it reaches, where it ends, how it travels. Row R4, trap 30."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenancy import TenantContext, bind, current_tenant, require_tenant
from tenancy.asgi import TenancyMiddleware
from tenancy.context import Binding
from tenancy.errors import (
    ExpiredCredential,
    InvalidCredential,
    InvalidTenant,
    InvalidValue,
    MissingTenant,
    PermissionDenied,
    QuotaExceeded,
    SuspendedTenant,
    TenantConflict,
)
from tenancy.testing import as_tenant
from web_support import Shop, call, get, http_scope


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def inside(shop: Shop, work: Any, headers: dict[str, str] | None = None, **options: Any) -> Any:
    """What `work(context)` gives when it runs within a request."""
    results = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = work(require_tenant())
        results.append(await result if asyncio.iscoroutine(result) else result)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = get(TenancyMiddleware(app, shop.t, **options), "/", headers or shop.headers)
    assert answer.status == 200
    return results[0]


def tenant_of_here() -> str | None:
    context = current_tenant()
    return None if context is None else context.tenant.slug


# ----------------------------------------------------------------------------- what it knows


def test_there_is_none_outside(shop: Shop) -> None:
    assert current_tenant() is None
    with pytest.raises(MissingTenant):
        require_tenant()


def test_a_request_knows_its_caller(shop: Shop) -> None:
    def look(context: TenantContext) -> None:
        assert context.tenant_id == shop.acme.id
        assert context.tenant.name == "Acme"
        assert context.principal == "ann"
        assert context.permissions == {"doc:read"}
        assert context.can("doc:read")
        assert not context.can("doc:write")
        assert context.request_time.isoformat() == "2026-01-01T00:00:00+00:00"
        assert context.headers["X-Own"] == "1"
        assert context.headers["x-api-key"] == shop.user_secret
        assert shop.user_secret not in repr(context.headers)
        assert context.config == {}
        assert context.entitlements.features["sso"].value is True
        assert context.quotas["tokens"].limit == 1000
        assert context.decision is not None
        assert shop.acme.id in repr(context)

    inside(shop, look, {"X-API-Key": shop.user_secret, "X-Own": "1"})


def test_a_service_key_has_its_scopes(shop: Shop) -> None:
    def look(context: TenantContext) -> None:
        assert context.principal is None
        assert context.can("doc:write")
        assert context.can("agent:create")
        assert not context.can("agent:delete")
        assert context.permissions >= {"doc:read", "doc:write", "agent:create"}

    inside(shop, look)


def test_asking_refuses_nothing(shop: Shop) -> None:
    def look(context: TenantContext) -> None:
        assert not context.can("nothing:at_all")
        context.require(permission="doc:read")

    inside(shop, look)


def test_sessions_are_resumed_by_what_the_client_sent(shop: Shop) -> None:
    headers = {"X-API-Key": shop.user_secret}
    first = inside(shop, lambda c: c.open_session("slack").id, headers, preset="mcp")
    again = {**headers, "X-MCP-Session-ID": first}
    assert inside(shop, lambda c: c.open_session("slack").id, again, preset="mcp") == first

    async def later(context: TenantContext) -> str | None:
        await context.aopen_session("slack")
        return context.session_id

    assert inside(shop, later, again, preset="mcp") == first
    own_name = {**headers, "X-MCP-Session-ID": "thread-7"}
    mine = inside(shop, lambda c: c.open_session("slack").id, own_name, preset="mcp")
    assert mine not in (first, "thread-7")


def test_a_session_needs_a_user(shop: Shop) -> None:
    def look(context: TenantContext) -> None:
        with pytest.raises(InvalidValue, match="principal"):
            context.open_session()

    inside(shop, look)


# ----------------------------------------------------------------------------- trap 30


def test_trap_30_executors_and_threads_do_not_lose_a_bound_tenant(shop: Shop) -> None:
    async def work(context: TenantContext) -> list[str | None]:
        found: list[str | None] = []
        with ThreadPoolExecutor(2) as pool:
            found += list(pool.map(bind(lambda _: tenant_of_here()), range(4)))
            found.append(pool.submit(tenant_of_here).result())  # unbound: nobody, and never another
        thread = threading.Thread(target=bind(lambda: found.append(tenant_of_here())))
        thread.start()
        thread.join()
        found.append(await asyncio.to_thread(tenant_of_here))
        return found

    assert inside(shop, work) == ["acme"] * 4 + [None] + ["acme"] * 2


async def test_trap_30_a_task_that_outlives_its_request_has_no_tenant(shop: Shop) -> None:
    """A worker started by the first request would otherwise work in its name for ever."""
    proceed, found = asyncio.Event(), []
    tasks = []

    async def worker() -> None:
        found.append(tenant_of_here())
        await proceed.wait()
        found.append(tenant_of_here())
        with pytest.raises(MissingTenant):
            require_tenant()

    async def bound() -> None:
        await proceed.wait()
        found.append(tenant_of_here())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.create_task(worker()))
        tasks.append(asyncio.create_task(bind(bound)()))
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await call(TenancyMiddleware(app, shop.t), http_scope("/", shop.headers))
    assert found == ["acme"]
    proceed.set()
    await asyncio.gather(*tasks)
    assert found == ["acme", None, "acme"]


def test_a_context_that_was_kept_decides_nothing_after_its_request(shop: Shop) -> None:
    context = inside(shop, lambda c: c)
    assert context.over
    assert context.tenant.slug == "acme"  # reading is harmless
    with pytest.raises(MissingTenant, match="over"):
        context.require(permission="doc:read")


def test_requests_do_not_see_each_other(shop: Shop) -> None:
    async def one(headers: dict[str, str], name: str) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            for _ in range(20):
                assert tenant_of_here() == name
                await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})

        await TenancyMiddleware(app, shop.t)(http_scope("/", headers), None, _nowhere)  # type: ignore[arg-type]
        assert current_tenant() is None

    async def both() -> None:
        await asyncio.gather(
            *(one(shop.headers, "acme") for _ in range(5)),
            *(one(shop.other_headers, "globex") for _ in range(5)),
        )

    asyncio.run(both())


async def _nowhere(message: Any) -> None:
    pass


# ----------------------------------------------------------------------------- binding


def test_bind_a_tenant_named_by_the_program(shop: Shop) -> None:
    for reference in (shop.acme, shop.acme.id, "acme", "A-1"):
        with bind(reference, tenancy=shop.t, principal="ann") as context:
            assert current_tenant() is context
            assert context.can("doc:read")
            assert not context.can("doc:write")
        assert current_tenant() is None
    assert context.over


def test_bindings_nest_and_come_back(shop: Shop) -> None:
    with as_tenant(shop.t, "acme"):
        with bind("globex"):  # the Tenancy is the outer one's
            assert tenant_of_here() == "globex"
        assert tenant_of_here() == "acme"


async def test_binding_for_asyncio(shop: Shop) -> None:
    async with bind("acme", tenancy=shop.t):
        await asyncio.sleep(0)
        assert tenant_of_here() == "acme"
    assert current_tenant() is None


def test_what_cannot_be_bound(shop: Shop) -> None:
    with pytest.raises(MissingTenant):
        bind(lambda: None)
    with pytest.raises(InvalidValue, match="tenancy"):
        bind("acme")
    with pytest.raises(InvalidTenant):
        bind("nobody", tenancy=shop.t)
    with pytest.raises(InvalidValue):
        bind(5, tenancy=shop.t)
    shop.t.tenants.suspend(shop.acme, reason="test")
    with pytest.raises(SuspendedTenant):
        bind("acme", tenancy=shop.t)


def test_changes_made_inside_are_the_principals(shop: Shop) -> None:
    shop.t.roles.assign(shop.acme, "boss", "admin", by="system")
    with as_tenant(shop.t, "acme", principal="boss"):
        shop.t.roles.assign(shop.acme, "bob", "reader")
    facts = shop.t.audit.search(shop.acme, type="role_assigned")
    assert facts[0].principal == "boss"


# ----------------------------------------------------------------------------- jobs


def test_a_job_carries_the_caller_but_no_credential(shop: Shop) -> None:
    job = inside(shop, lambda c: c.to_job(), {"X-API-Key": shop.user_secret})
    text = json.dumps(job)
    assert shop.user_secret not in text
    with bind(json.loads(text), tenancy=shop.t) as context:
        assert (context.tenant_id, context.principal) == (shop.acme.id, "ann")
        assert context.can("doc:read")
        context.require(permission="doc:read", consume={"tokens": 2})
        with pytest.raises(PermissionDenied):
            context.require(permission="doc:write")
        with pytest.raises(QuotaExceeded):
            context.require(consume={"tokens": 5000})
        assert context.to_job() == job
    assert shop.t.quotas.status(shop.acme, "tokens").used == 2


def test_a_job_of_a_key_has_no_more_than_the_keys_scopes(shop: Shop) -> None:
    shop.t.roles.assign(shop.acme, "ann", "writer", by="system")
    _, narrow = shop.t.keys.create(shop.acme, principal="ann", scopes=["doc:read"], by="system")
    job = inside(shop, lambda c: c.to_job(), {"X-API-Key": narrow})
    with bind(job, tenancy=shop.t) as context:
        assert context.can("doc:read")
        assert not context.can("doc:write")
        assert context.permissions == {"doc:read"}
    service = inside(shop, lambda c: c.to_job())
    with bind(service, tenancy=shop.t) as context:
        assert context.principal is None
        assert context.can("doc:write")
        assert not context.can("report:read")
        context.require(permission="doc:write")


def test_trap_09_a_job_obeys_what_was_revoked_after_it_was_queued(shop: Shop) -> None:
    job = inside(shop, lambda c: c.to_job(), {"X-API-Key": shop.user_secret})
    service = inside(shop, lambda c: c.to_job())
    shop.t.roles.revoke(shop.acme, "ann", "reader")
    with bind(job, tenancy=shop.t) as context:
        assert not context.can("doc:read")
    shop.t.keys.revoke(shop.key)
    with pytest.raises(InvalidCredential):
        bind(service, tenancy=shop.t)
    shop.t.tenants.suspend(shop.acme, reason="test")
    with pytest.raises(SuspendedTenant):
        bind(job, tenancy=shop.t)


def test_a_job_of_an_expired_key(shop: Shop) -> None:
    _, short = shop.t.keys.create(shop.acme, scopes=["doc:read"], expires=60)
    job = inside(shop, lambda c: c.to_job(), {"X-API-Key": short})
    shop.advance(61)
    with pytest.raises(ExpiredCredential):
        bind(job, tenancy=shop.t)


@pytest.mark.parametrize(
    "damage",
    [
        {"tenancy": 2}, {"tenant": None}, {"tenant": ["acme"]}, {"claims": "doc:*"},
        {"claims": [1]}, {"key": 5}, {"time_ns": "now"}, {"principal": ""},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_jobs_are_refused(shop: Shop, damage: dict[str, Any]) -> None:
    job = inside(shop, lambda c: c.to_job())
    with pytest.raises(InvalidValue):
        bind({**job, **damage}, tenancy=shop.t)
    with pytest.raises(InvalidTenant):
        bind({**job, "tenant": "nobody"}, tenancy=shop.t)


def run_elsewhere(directory: str, job: dict[str, Any]) -> tuple[str, bool]:
    """A worker process with a Tenancy of its own."""
    from tenancy import Tenancy

    with Tenancy.open(directory) as t, bind(job, tenancy=t) as context:
        return context.tenant.slug, context.can("doc:read")


@pytest.mark.slow
def test_a_job_in_another_process(tmp_path: Path) -> None:
    import multiprocessing

    shop = Shop(tmp_path, system_clock=True)
    job = inside(shop, lambda c: c.to_job(), {"X-API-Key": shop.user_secret})
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(run_elsewhere, str(shop.data), job).result(60) == ("acme", True)


# ----------------------------------------------------------------------------- envelopes


def test_a_tenant_named_inside_a_body_must_be_the_callers(shop: Shop) -> None:
    def look(context: TenantContext) -> None:
        for name in ("acme", "A-1", shop.acme.id):
            context.must_be(name)
        for name in ("globex", "nobody"):
            with pytest.raises(TenantConflict):
                context.must_be(name)

    inside(shop, look)
    facts = shop.t.operator(by="test", reason="test").audit(limit=50)
    assert [fact for fact in facts if fact.result == "denied"]


def test_a_binding_can_be_entered_again(shop: Shop) -> None:
    binding = bind("acme", tenancy=shop.t)
    assert isinstance(binding, Binding)
    for _ in range(2):
        with binding as context:
            assert not context.over
        assert context.over
