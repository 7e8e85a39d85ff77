"""The scenarios of the requirements, as written, through the public names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenancy import Tenancy
from tenancy.errors import RateLimitExceeded, TenancyError
from tenancy.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Tenancy:
    with Tenancy.open(tmp_path / "data", catalog="agent-orchestrator", clock=clock) as opened:
        yield opened


def test_100_api_requests_of_a_free_tenant_pass_and_the_101st_is_refused(
    t: Tenancy, clock: FakeClock
) -> None:
    tenant = t.tenants.create(name="Free", plan="free")
    _, secret = t.keys.create(tenant, scopes=["agent:create"])
    assert all(t.check(api_key=secret, action="api_requests") for _ in range(100))
    refused = t.check(api_key=secret, action="api_requests")
    assert not refused
    assert refused.code == "RATE_LIMIT_EXCEEDED"
    assert refused.status == 429
    assert refused.retry_after > 0
    with pytest.raises(RateLimitExceeded) as caught:
        t.require(api_key=secret, action="api_requests")
    assert caught.value.retry_after > 0
    clock.advance(60)
    assert t.check(api_key=secret, action="api_requests")


def test_a_starter_tenant_has_the_numbers_of_its_plan(t: Tenancy) -> None:
    tenant = t.tenants.create(name="Starter", plan="starter")
    limits = {
        name: t.quotas.status(tenant, name).limit
        for name in ("users", "projects", "tokens", "storage", "agents")
    }
    assert limits == {
        "users": 5,
        "projects": 10,
        "tokens": 1_000_000,
        "storage": 10 * 10**9,
        "agents": 5,
    }


def test_with_10_of_10_projects_exceeded_is_true_and_one_more_is_refused(t: Tenancy) -> None:
    tenant = t.tenants.create(name="Starter", plan="starter")
    for _ in range(10):
        assert t.check(tenant=tenant.id, consume={"projects": 1})
    status = t.quotas.status(tenant, "projects")
    assert (status.used, status.exceeded) == (10, True)
    refused = t.check(tenant=tenant.id, consume={"projects": 1})
    assert refused.code == "QUOTA_EXCEEDED"
    assert t.quotas.status(tenant, "projects").used == 10


def test_tenant_2_reaches_nothing_of_tenant_1(t: Tenancy) -> None:
    one = t.tenants.create(name="One", plan="starter")
    two = t.tenants.create(name="Two", plan="starter")
    t.resources.register(one, "doc", "7", creator="ann")
    _, secret = t.keys.create(two, scopes=["doc:read"])
    assert not t.access.validate_access(two, "doc", "7")
    assert t.access.validate_access(one, "doc", "7")
    foreign = t.check(api_key=secret, permission="doc:read", resource="doc/7")
    unknown = t.check(api_key=secret, permission="doc:read", resource="doc/8")
    assert (
        (foreign.code, foreign.status)
        == (unknown.code, unknown.status)
        == (
            "PERMISSION_DENIED",
            403,
        )
    )
    assert t.resources.list(two) == t.resources.list(two, type="doc")
    assert not t.resources.list(two)


def test_trap_32_a_key_of_one_tenant_never_works_on_another(t: Tenancy) -> None:
    one = t.tenants.create(name="One", plan="starter")
    two = t.tenants.create(name="Two", plan="starter")
    _, secret = t.keys.create(one, scopes=["doc:read"])
    for name in (two.id, two.slug):
        decision = t.check(api_key=secret, hints=[name])
        assert decision.code == "TENANT_CONFLICT"
        assert decision.tenant is None
    assert t.check(api_key=secret, hints=[one.slug]).tenant == one.id


def test_trap_29_a_missing_tenant_is_a_refusal(t: Tenancy) -> None:
    for request in ({}, {"hints": ["one"]}, {"principal": "ann"}, {"ip": "192.0.2.1"}):
        assert t.check(**request).code == "MISSING_TENANT"


def test_suspension_stops_all_activity_and_resume_restores_it(t: Tenancy) -> None:
    tenant = t.tenants.create(name="Acme", plan="starter")
    _, secret = t.keys.create(tenant, scopes=["agent:create"])
    running = t.check(api_key=secret, consume={"agents": 2})
    assert len(running.leases) == 2
    t.tenants.suspend(tenant, reason="unpaid")
    assert t.check(api_key=secret).code == "SUSPENDED_TENANT"
    assert not running.leases[0].renew()
    t.tenants.resume(tenant)
    assert t.check(api_key=secret)
    assert t.quotas.status(tenant, "agents").used == 0


def test_deletion_schedules_the_clean_up(t: Tenancy, clock: FakeClock) -> None:
    tenant = t.tenants.create(name="Gone", plan="starter")
    _, secret = t.keys.create(tenant, scopes=["agent:create"])
    t.tenants.delete(tenant)
    deleted = t.tenants.get(tenant.id)
    assert deleted.status == "deleted"
    assert deleted.purge_after is not None
    assert t.check(api_key=secret).code == "INVALID_TENANT"
    clock.advance((deleted.purge_after - clock.now()).total_seconds() + 1)
    assert t.process_due() == 1
    assert t.check(api_key=secret).code in ("INVALID_CREDENTIAL", "INVALID_TENANT")
    with pytest.raises(TenancyError):
        t.tenants.resume(tenant.id)


def test_sessions_of_default_and_acme_never_mix(t: Tenancy) -> None:
    default = t.tenants.ensure_default()
    acme = t.tenants.create(name="Acme", slug="acme", plan="starter")
    ours = t.sessions.create(default, "ann", platform="web")
    theirs = t.sessions.create(acme, "ann", platform="web")
    assert [s.tenant for s in t.sessions.list(acme)] == [acme.id]
    assert t.check(session=ours.id).tenant == default.id
    assert t.check(session=theirs.id).tenant == acme.id
    _, secret = t.keys.create(acme, scopes=["agent:create"])
    assert t.check(api_key=secret, session=ours.id).code == "TENANT_CONFLICT"


def test_a_thousand_organisations_on_one_instance(t: Tenancy) -> None:
    rows = [{"name": f"Org {i}", "slug": f"org-{i}", "plan": "free"} for i in range(1000)]
    assert len(t.tenants.create_many(rows)) == 1000
    for i in range(0, 1000, 37):
        decision = t.check(tenant=f"org-{i}")
        assert decision
        assert decision.tightest.remaining == 99, "each has counters of its own"
