"""Refusals that are no decisions leave facts as decisions do: of limits at endpoints, quotas and
rights that are asked for by themselves, tenants that are not served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store_support import CATALOG, open_shop, write_catalog
from tenancy import Tenancy, bind
from tenancy._inline import InlineLimit
from tenancy.errors import (
    ConcurrencyExceeded,
    InvalidCredential,
    InvalidTenant,
    PermissionDenied,
    QuotaExceeded,
    RateLimitExceeded,
    SuspendedTenant,
)
from tenancy.stores.records import AuditEvent


def opened(directory: Path, audit: str = "{}") -> Tenancy:
    catalog = write_catalog(directory, f"{CATALOG}audit: {audit}\n", "audited.yaml")
    return open_shop(directory, catalog=catalog, background=False)


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with opened(tmp_path) as tenancy:
        tenancy.tenants.create("Acme", slug="acme")
        yield tenancy


def refusals(t: Tenancy, tenant: str = "acme", **filters: Any) -> list[AuditEvent]:
    return list(t.audit.search(tenant, result="denied", **filters))


def only(t: Tenancy, **filters: Any) -> AuditEvent:
    (found,) = refusals(t, **filters)
    return found


def test_a_quota_that_is_spent(t: Tenancy) -> None:
    assert t.quotas.consume("acme", "tokens", 100)
    assert not refusals(t)
    assert not t.quotas.consume("acme", "tokens", 1)
    fact = only(t)
    assert (fact.type, fact.action) == ("quota_exceeded", "quota:consume")
    assert (fact.resource, fact.resource_id, fact.principal) == ("quota", "tokens", "system")
    assert (fact.context["code"], fact.context["detail"]) == ("QUOTA_EXCEEDED", "tokens")
    assert fact.revision == t.revision
    with pytest.raises(QuotaExceeded):
        t.quotas.reserve("acme", "tokens", 1)
    assert only(t, action="quota:reserve").context["code"] == "QUOTA_EXCEEDED"
    with t.quotas.lease("acme", "agents"), pytest.raises(ConcurrencyExceeded):
        t.quotas.lease("acme", "agents")
    assert only(t, action="quota:lease").context["code"] == "CONCURRENCY_EXCEEDED"


def test_a_quota_that_the_application_counts(t: Tenancy) -> None:
    t.quotas.gauge("projects", lambda _: 3)
    assert not t.quotas.consume("acme", "projects")
    assert only(t).resource_id == "projects"


def test_in_a_request_it_is_the_requests_caller_who_was_refused(t: Tenancy) -> None:
    key, secret = t.keys.create("acme", principal="ann")
    admitted = t.admit(
        api_key=secret,
        ip="192.0.2.7",
        request_id="q-1",
        request={
            "type": "http",
            "method": "POST",
            "path": "/orders/7",
            "headers": [(b"user-agent", b"curl/8.5")],
        },
    )
    from tenancy.context import TenantContext, _current

    context = TenantContext(t, admitted, None)
    token = _current.set(context)
    try:
        assert not t.quotas.consume("acme", "tokens", 101)
        t.tenants.create("Beta", slug="beta")
        assert not t.quotas.consume("beta", "tokens", 101)
        with pytest.raises(RateLimitExceeded):
            InlineLimit("1/minute").hit(context, "orders", 2)
    finally:
        _current.reset(token)
        t.finish(admitted, 200)
        context.end()
    spent, inline = only(t, action="quota:consume"), only(t, type="limit_exceeded")
    for fact in (spent, inline):
        assert fact.principal == "ann"
        assert fact.context["key"] == key.id
        assert fact.context["ip"] == "192.0.2.7"
        assert fact.context["request_id"] == "q-1"
        assert (fact.context["method"], fact.context["path"]) == ("POST", "/orders/7")
        assert fact.context["user_agent"] == "curl/8.5"
    assert (inline.context["detail"], inline.context["endpoint"]) == ("orders", "orders")
    # Of another tenant than the request's it is not known more than who asked.
    (other,) = refusals(t, "beta")
    assert other.principal == "ann"
    assert "ip" not in other.context


def test_a_right_that_is_demanded(t: Tenancy) -> None:
    t.roles.assign("acme", "ann", "agent")
    t.access.require("acme", "ann", "ticket:read")
    assert not refusals(t)
    with pytest.raises(PermissionDenied) as caught:
        t.access.require("acme", "ann", "report:read", resource="report/7")
    assert caught.value.permission == "report:read"
    fact = only(t)
    assert (fact.type, fact.principal, fact.action) == ("permission_denied", "ann", "report:read")
    assert (fact.resource, fact.resource_id) == ("report", "7")
    assert fact.context["code"] == "PERMISSION_DENIED"


def test_outside_of_a_request_a_context_demands_too(t: Tenancy) -> None:
    with bind("acme", tenancy=t, principal="ann") as context:
        with pytest.raises(PermissionDenied):
            context.require(permission="report:read")
        assert only(t).principal == "ann"
        with pytest.raises(QuotaExceeded):
            context.require(consume={"tokens": 101})
        assert len(refusals(t)) == 2


def test_a_question_refuses_nothing_and_leaves_no_fact(t: Tenancy) -> None:
    assert not t.access.check("acme", "ann", "report:read")
    assert t.access.check_many("acme", "ann", ["report:read"]) == {"report:read": False}
    with bind("acme", tenancy=t, principal="ann") as context:
        assert not context.can("report:read")
    assert not refusals(t)


def test_questions_leave_facts_where_the_catalog_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, "{questions: always, refusals: never}") as t:
        t.tenants.create("Acme", slug="acme")
        t.roles.assign("acme", "ann", "agent")
        assert t.access.check("acme", "ann", "ticket:read")
        assert not t.access.check("acme", "ann", "report:read")
        assert not t.access.check_many("acme", "ann", ["ticket:read", "report:write"])[
            "report:write"
        ]
        with bind("acme", tenancy=t, principal="ann") as context:
            assert not context.can("payment:create")
            with pytest.raises(PermissionDenied):
                context.require(permission="payment:approve")  # a refusal
        assert {fact.action for fact in refusals(t)} == {
            *("report:read", "report:write", "payment:create"),
        }
        assert {fact.principal for fact in refusals(t)} == {"ann"}


def test_a_tenant_that_is_not_served(t: Tenancy) -> None:
    _, secret = t.keys.create("acme", principal="ann")
    with bind("acme", tenancy=t, principal="ann") as context:
        job = context.to_job()
    t.tenants.suspend("acme", "unpaid")
    for call in (
        lambda: t.sessions.create("acme", "ann"),
        lambda: bind("acme", tenancy=t),
        lambda: bind(job, tenancy=t),
    ):
        with pytest.raises(SuspendedTenant):
            call()
    facts = refusals(t)
    assert [fact.action for fact in facts].count("session:open") == 1
    assert [fact.action for fact in facts].count("job:run") == 2
    assert {fact.context["code"] for fact in facts} == {"SUSPENDED_TENANT"}
    assert {fact.type for fact in facts} == {"tenant_refused"}
    assert secret not in str(facts)


def test_a_job_whose_key_was_revoked(t: Tenancy) -> None:
    key, secret = t.keys.create("acme", principal="ann")
    job = {
        "tenancy": 1, "tenant": "acme", "principal": "ann", "key": key.id, "claims": [],
        "time_ns": 1,
    }  # fmt: skip
    t.keys.revoke(key.id)
    with pytest.raises(InvalidCredential):
        bind(job, tenancy=t)
    fact = only(t)
    assert (fact.type, fact.context["detail"]) == ("credential_refused", key.id)
    with pytest.raises(InvalidTenant):
        bind("nobody", tenancy=t)  # of no tenant, so in nobody's log
    assert secret not in str(fact)


def test_rules_of_the_catalog_hold_for_them(tmp_path: Path) -> None:
    with opened(tmp_path, "{refusals: {per_second: 2}}") as t:
        t.tenants.create("Acme", slug="acme")
        for _ in range(10):
            assert not t.quotas.consume("acme", "tokens", 101)
        assert len(refusals(t)) == 2
        assert t.health().facts.suppressed == 8
    with opened(tmp_path, "{refusals: never}") as t:
        assert not t.quotas.consume("acme", "tokens", 101)
        assert len(refusals(t)) == 2


def test_after_closing_nothing_is_written_and_nothing_breaks(t: Tenancy) -> None:
    t.close()
    t._refusals.note("QUOTA_EXCEEDED", "tokens", "acme")
