"""`Tenancy.quotas`, `.limits` and `.audit`: status, alerts exactly once, facts of refusals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from store_support import DAY_NS, START, make_clock, open_shop, run_python
from tenancy import Tenancy, _core
from tenancy.errors import (
    ConcurrencyExceeded,
    InvalidValue,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    RateLimitExceeded,
    UnknownQuota,
)
from tenancy.quotas import QuotaAlert
from tenancy.tenants import Tenant


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


@pytest.fixture
def acme(t: Tenancy) -> Tenant:
    return t.tenants.create("Acme", slug="acme", plan="pro")


def test_status_says_used_limit_percent_exceeded_and_the_periods_end(
    t: Tenancy, acme: Tenant
) -> None:
    t.quotas.consume(acme, "tokens", 250)
    status = t.quotas.status(acme, "tokens")
    assert (status.used, status.limit, status.percent, status.exceeded) == (250, 1000, 25.0, False)
    assert (status.remaining, status.kind) == (750, "consumption")
    assert status.period_end == datetime(2026, 2, 1, tzinfo=timezone.utc)
    assert set(t.quotas.all(acme)) == {"projects", "tokens", "agents"}


def test_ten_of_ten_is_exceeded_and_one_more_refused(t: Tenancy, acme: Tenant) -> None:
    assert t.quotas.consume(acme, "projects", 10)
    assert t.quotas.status(acme, "projects").exceeded
    refused = t.quotas.consume(acme, "projects")
    assert not refused
    assert refused.used == 10
    assert t.quotas.decrement(acme, "projects", 4).used == 6
    assert t.quotas.set(acme, "projects", 9).used == 9
    assert t.quotas.consume(acme, "projects")
    assert t.audit.search(acme, action="quota:set")[0].context == {"used": 9}


@pytest.mark.parametrize("amount", [-1, 1.5, "3", True, None, 1 << 63])
def test_bad_amounts_are_refused(t: Tenancy, acme: Tenant, amount: object) -> None:
    with pytest.raises(InvalidValue):
        t.quotas.consume(acme, "tokens", amount)  # type: ignore[arg-type]
    assert t.quotas.status(acme, "tokens").used == 0


def test_an_unknown_quota_names_those_there_are(t: Tenancy, acme: Tenant) -> None:
    with pytest.raises(UnknownQuota, match="agents, projects, tokens"):
        t.quotas.status(acme, "token")


def test_reservations_commit_and_release(t: Tenancy, acme: Tenant) -> None:
    with t.quotas.reserve(acme, "tokens", 600):
        assert t.quotas.status(acme, "tokens").reserved == 600
        with pytest.raises(QuotaExceeded) as told:
            t.quotas.reserve(acme, "tokens", 500)
        assert told.value.limit == "tokens"
        assert told.value.retry_after == pytest.approx(31 * 86_400)
    assert t.quotas.status(acme, "tokens").used == 600

    def fail() -> None:
        with t.quotas.reserve(acme, "tokens", 100):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    status = t.quotas.status(acme, "tokens")
    assert (status.used, status.reserved) == (600, 0)


def test_leases_are_given_back(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    with t.quotas.lease(acme, "agents"):
        second = t.quotas.lease(acme, "agents")
        with pytest.raises(ConcurrencyExceeded):
            t.quotas.lease(acme, "agents")
    assert t.quotas.status(acme, "agents").used == 1
    assert t.quotas.release(second)
    t.quotas.lease(acme, "agents")
    clock.advance_ns(61 * 10**9)  # the catalog's lease
    assert t.quotas.status(acme, "agents").used == 0
    with pytest.raises(InvalidValue):
        t.quotas.lease(acme, "tokens")


def test_a_dead_holders_lease_is_free(tmp_path: Path) -> None:
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        acme = t.tenants.create("Acme", slug="acme")
        done = run_python(
            """
            import os, signal, sys
            from tenancy import Tenancy
            t = Tenancy.open(sys.argv[1])
            lease = t.quotas.lease("acme", "agents")
            print(t.quotas.status("acme", "agents").used, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
            """,
            tmp_path / "data",
        )
        assert done.stdout.strip() == "1", done.stderr
        assert t.quotas.lease(acme, "agents")


def test_a_gauge_is_counted_by_the_application(t: Tenancy, acme: Tenant) -> None:
    projects = {acme.id: 9}
    t.quotas.gauge("projects", projects.__getitem__)
    assert t.quotas.status(acme, "projects").used == 9
    assert t.check(tenant="acme", consume={"projects": 1})
    assert t.check(tenant="acme", consume={"projects": 1})  # nothing was stored
    projects[acme.id] = 10
    assert t.check(tenant="acme", consume={"projects": 1}).code == "QUOTA_EXCEEDED"
    assert not t.quotas.consume(acme, "projects")
    assert t.quotas.status(acme, "projects").exceeded
    with pytest.raises(UnknownQuota):
        t.quotas.gauge("nothing", len)


# ------------------------------------------------------------------------------------- alerts


def alerts_of(t: Tenancy, tenant: Tenant) -> list[tuple[str | None, int]]:
    facts = t.audit.search(tenant, type="quota_threshold", limit=100)
    return [(e.resource_id, e.context["percent"]) for e in reversed(facts.items)]


def test_thresholds_are_told_exactly_once_per_period(
    t: Tenancy, acme: Tenant, clock: _core.FakeClock
) -> None:
    told: list[QuotaAlert] = []
    t.quotas.on_alert(told.append)
    for _ in range(10):
        t.quotas.consume(acme, "tokens", 100)
    assert [(a.percent, a.used) for a in told] == [(80, 800), (100, 1000)]
    t.quotas.decrement(acme, "tokens", 300)
    t.quotas.consume(acme, "tokens", 300)
    assert len(told) == 2
    assert alerts_of(t, acme) == [("tokens", 80), ("tokens", 100)]
    clock.advance_ns(31 * DAY_NS)
    t.check(tenant="acme", consume={"tokens": 900})  # by a decision this time
    assert [a.percent for a in told[2:]] == [80]
    assert told[2].period_start == START + timedelta(days=31)


def test_thresholds_are_told_once_over_workers_and_restarts(
    t: Tenancy, acme: Tenant, tmp_path: Path, clock: _core.FakeClock
) -> None:
    t.quotas.consume(acme, "tokens", 799)
    others = [Tenancy.open(tmp_path / "data", clock=clock) for _ in range(3)]
    for other in others:
        other.quotas.consume(acme, "tokens", 1)
    for other in others:
        other.close()
    t.close()
    (tmp_path / "data" / "counters").unlink()  # even when the counters forget
    with Tenancy.open(tmp_path / "data", clock=clock) as again:
        again.quotas.consume(acme, "tokens", 850)
        assert alerts_of(again, acme) == [("tokens", 80)]


def test_a_failing_alert_function_spares_the_request_and_the_next_function(
    t: Tenancy, acme: Tenant
) -> None:
    told: list[QuotaAlert] = []

    def fail(alert: QuotaAlert) -> None:
        raise RuntimeError

    t.quotas.on_alert(fail)
    t.quotas.on_alert(told.append)
    assert t.check(tenant="acme", consume={"tokens": 800})
    assert len(told) == 1


# ------------------------------------------------------------------------- limits and refusals


def test_limits_peek_reset_and_refund(t: Tenancy) -> None:
    free = t.tenants.create("Free", slug="free")
    for _ in range(100):
        assert t.check(tenant="free")
    refused = t.check(tenant="free")
    assert refused.code == "RATE_LIMIT_EXCEEDED"
    assert refused.retry_after is not None
    assert refused.retry_after > 0
    (window,) = t.limits.peek(free)
    assert (window.remaining, window.limit) == (0, 100)
    t.limits.refund(free, cost=1)
    assert t.check(tenant="free")
    assert not t.check(tenant="free")
    t.limits.reset(free, by="operator:eve")
    assert t.limits.peek(free)[0].remaining == 100
    assert t.audit.search(free, action="limit:reset")[0].principal == "operator:eve"
    with pytest.raises(NotFound):
        t.limits.peek(free, "nothing")


def test_require_raises_what_check_returns(t: Tenancy, acme: Tenant) -> None:
    assert t.require(tenant="acme").tenant == acme.id
    with pytest.raises(PermissionDenied) as denied:
        t.require(tenant="acme", principal="u1", permission="ticket:read")
    assert (denied.value.permission, denied.value.code) == ("ticket:read", "PERMISSION_DENIED")
    assert denied.value.decision is not None
    with pytest.raises(QuotaExceeded) as spent:
        t.require(tenant="acme", consume={"tokens": 5000})
    assert (spent.value.limit, spent.value.status) == ("tokens", 403)
    t.tenants.create("Free", slug="free")
    for _ in range(100):
        t.require(tenant="free")
    with pytest.raises(RateLimitExceeded) as limited:
        t.require(tenant="free")
    assert limited.value.status == 429
    assert limited.value.retry_after is not None


def test_a_spent_quota_is_answered_as_configured(tmp_path: Path) -> None:
    with open_shop(tmp_path, quota_status=429) as t:
        t.tenants.create("Free", slug="free")
        with pytest.raises(QuotaExceeded) as spent:
            t.require(tenant="free", consume={"tokens": 101})
        assert spent.value.status == 429


def test_a_suspected_crossing_is_a_fact_of_the_tenant_whose_key_it_was(
    t: Tenancy, acme: Tenant
) -> None:
    beta = t.tenants.create("Beta", slug="beta")
    key, secret = t.keys.create(acme, scopes=["ticket:read"])
    decision = t.check(api_key=secret, hints=["beta"], ip="192.0.2.7")
    assert decision.code == "TENANT_CONFLICT"
    (fact,) = t.audit.search(acme, type="cross_tenant")
    assert (fact.result, fact.revision) == ("denied", decision.revision)
    assert fact.context == {
        "code": "TENANT_CONFLICT", "key": key.id, "ip": "192.0.2.7", "named_tenant": "beta",
    }  # fmt: skip
    assert not t.audit.search(beta, type="cross_tenant")


# -------------------------------------------------------------------------------------- audit


def test_facts_of_ones_own_are_found_again(t: Tenancy, acme: Tenant) -> None:
    beta = t.tenants.create("Beta")
    event = t.audit.append(
        "data_read",
        tenant=acme,
        action="report:read",
        resource="report",
        resource_id="r1",
        result="denied",
        principal="ann",
        context={"ip": "192.0.2.1", "größe": 3},
    )
    found = t.audit.get(acme, event)
    assert (found.principal, found.result, found.time) == ("ann", "denied", START)
    assert found.context == {"ip": "192.0.2.1", "größe": 3}
    assert [e.id for e in t.audit.search(acme, type="data_read", principal="ann")] == [event]
    assert not t.audit.search(acme, type="data_read", since=START + timedelta(seconds=1))
    assert not t.audit.search(acme, type="data_read", until=START)
    with pytest.raises(NotFound):
        t.audit.get(beta, event)
    assert event not in {e.id for e in t.audit.search(beta)}
    for number in range(30):
        t.audit.append("login", tenant=acme, context={"n": number})
    numbers: list[int] = []
    cursor = None
    while True:
        page = t.audit.search(acme, type="login", limit=7, cursor=cursor)
        numbers += [e.context["n"] for e in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert numbers == list(range(29, -1, -1))
    with pytest.raises(InvalidValue, match="result"):
        t.audit.append("login", result="maybe")


def test_trap_18_a_fact_is_never_replaced(t: Tenancy, acme: Tenant) -> None:
    with t._host.write("system") as change:
        first = change.fact("test", "test:first", tenant=acme.id, event_id="e-1")
        second = change.fact("test", "test:second", tenant=acme.id, event_id="e-1")
    assert (first, second) == ("e-1", None)
    assert t.audit.get(acme, "e-1").action == "test:first"
    with t._host.read() as connection:
        numbers = connection.exec_driver_sql("SELECT seq FROM outbox ORDER BY seq").scalars().all()
    assert numbers == list(range(1, len(numbers) + 1))
    t.tenants.delete(acme)
    t.tenants.purge(acme)
    assert t.operator(by="eve", reason="test").event("e-1").action == "test:first"
