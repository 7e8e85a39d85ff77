"""Roles, assignments, resources: what is stored, who may grant, what others see of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy.errors import (
    AlreadyExists,
    Conflict,
    DutyViolated,
    Escalation,
    InvalidValue,
    RoleInUse,
    UnknownResource,
    UnknownRole,
)
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
    return t.tenants.create("Acme", slug="acme")


def test_a_tenant_defines_roles_of_its_own(t: Tenancy, acme: Tenant) -> None:
    beta = t.tenants.create("Beta")
    role = t.roles.define(
        "auditor",
        permissions=["report:read"],
        inherits=["agent"],
        denies=["ticket:write"],
        tenant=acme,
    )
    assert (role.tenant, role.inherits, role.denies) == (acme.id, ("agent",), ("ticket:write",))
    t.roles.assign(acme, "ann", "auditor")
    assert t.access.check(acme, "ann", "report:read")
    assert t.access.check(acme, "ann", "ticket:read")
    assert not t.access.check(acme, "ann", "ticket:write")  # deny wins
    with pytest.raises(UnknownRole):
        t.roles.assign(beta, "ann", "auditor")
    assert "auditor" not in {r.name for r in t.roles.list(beta)}
    assert {r.origin for r in t.roles.list(acme)} == {"store", "catalog"}


def test_a_role_of_every_tenant(t: Tenancy, acme: Tenant) -> None:
    t.roles.define("support", permissions=["ticket:*"], inherits=["lead"])
    t.roles.assign(acme, "bob", "support")
    assert t.access.check(acme, "bob", "report:write")
    with pytest.raises(InvalidValue, match="outside the tenants"):
        t.roles.define("mine", permissions=["ticket:read"], by="bob")


def test_a_changed_role_holds_from_the_next_decision(
    t: Tenancy, acme: Tenant, tmp_path: Path
) -> None:
    t.roles.define("r", permissions=["ticket:read"], tenant=acme)
    t.roles.assign(acme, "ann", "r")
    with Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        assert other.check(tenant="acme", principal="ann", permission="ticket:read")
        t.roles.define("r", permissions=["report:read"], tenant=acme)
        assert not other.check(tenant="acme", principal="ann", permission="ticket:read")
        assert other.check(tenant="acme", principal="ann", permission="report:read")


def test_cycles_and_unknown_parents_are_refused_and_nothing_changes(
    t: Tenancy, acme: Tenant
) -> None:
    t.roles.define("a", permissions=["ticket:read"], tenant=acme)
    t.roles.define("b", inherits=["a"], tenant=acme)
    revision = t.revision
    for inherits in (["b"], ["a"], ["nobody"]):
        with pytest.raises((InvalidValue, Conflict)):
            t.roles.define("a", inherits=inherits, tenant=acme)
    with pytest.raises(Conflict, match="catalog"):
        t.roles.define("lead", permissions=["*:*"])
    assert t.revision == revision
    assert t.roles.get("a", tenant=acme).permissions == ("ticket:read",)


def test_trap_11_deep_inheritance_is_followed_to_the_end(t: Tenancy, acme: Tenant) -> None:
    t.roles.define("r0", permissions=["ticket:read"], tenant=acme)
    for depth in range(1, 40):
        t.roles.define(f"r{depth}", inherits=[f"r{depth - 1}"], tenant=acme)
    t.roles.assign(acme, "ann", "r39")
    assert t.access.check(acme, "ann", "ticket:read")
    told = t.access.explain(acme, "ann", "ticket:read")
    assert told.roles == tuple(f"r{depth}" for depth in range(39, -1, -1))


def test_a_role_in_use_cannot_be_removed(t: Tenancy, acme: Tenant) -> None:
    t.roles.define("a", permissions=["ticket:read"], tenant=acme)
    t.roles.define("b", inherits=["a"], tenant=acme)
    with pytest.raises(RoleInUse, match="inherited by b"):
        t.roles.remove("a", tenant=acme)
    t.roles.assign(acme, "ann", "b")
    with pytest.raises(RoleInUse, match="assigned to ann"):
        t.roles.remove("b", tenant=acme)
    t.roles.revoke(acme, "ann", "b")
    t.roles.remove("b", tenant=acme)
    t.roles.remove("a", tenant=acme)
    with pytest.raises(UnknownRole):
        t.roles.remove("a", tenant=acme)
    assert "a" not in t.engine.access_roles(acme.id)


# -------------------------------------------------------------------------------- assignments


def test_an_assignment_ends_by_itself(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    t.roles.assign(acme, "ann", "agent", until=timedelta(days=1))
    clock.advance_ns(DAY_NS - 1)
    assert t.access.check(acme, "ann", "ticket:read")
    clock.advance_ns(1)
    assert not t.access.check(acme, "ann", "ticket:read")
    with pytest.raises(InvalidValue, match="past"):
        t.roles.assign(acme, "ann", "agent", until=t.roles.assignments(acme)[0].until)
    t.roles.assign(acme, "ann", "agent", until=timedelta(days=1))  # again: moves it
    assert t.access.check(acme, "ann", "ticket:read")
    assert len(t.roles.assignments(acme)) == 1


def test_trap_10_an_expired_grant_does_not_come_back_on_reload(
    t: Tenancy, acme: Tenant, clock: _core.FakeClock, tmp_path: Path
) -> None:
    t.roles.assign(acme, "ann", "agent", until=timedelta(days=1))
    clock.advance_ns(2 * DAY_NS)
    assert not t.access.check(acme, "ann", "ticket:read")
    with Tenancy.open(tmp_path / "data", clock=clock) as again:
        assert not again.access.check(acme, "ann", "ticket:read")
        again.roles.assign(acme, "bob", "agent")
        assert not again.access.check(acme, "ann", "ticket:read")
        assert [x["principal"] for x in again.access.report(acme).expired] == ["ann"]


def test_an_assignment_for_one_resource(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "agent", resource="ticket/7")
    assert t.access.check(acme, "ann", "ticket:read", resource="ticket/7")
    assert not t.access.check(acme, "ann", "ticket:read", resource="ticket/8")
    assert not t.access.check(acme, "ann", "ticket:read")
    assert not t.roles.revoke(acme, "ann", "agent")
    assert t.roles.revoke(acme, "ann", "agent", resource="ticket/7")
    for resource in ("ticket", "/7", "ticket/", ""):
        with pytest.raises(InvalidValue):
            t.roles.assign(acme, "ann", "agent", resource=resource)


def test_nobody_grants_what_they_do_not_hold(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "lead")
    t.roles.assign(acme, "bob", "agent")
    t.roles.assign(acme, "cy", "agent", by="ann")
    with pytest.raises(Escalation, match="report"):
        t.roles.assign(acme, "cy", "lead", by="bob")
    with pytest.raises(Escalation):
        t.roles.assign(acme, "bob", "admin", by="bob")
    with pytest.raises(Escalation):
        t.roles.define("mine", permissions=["report:read"], tenant=acme, by="bob")
    with pytest.raises(Escalation):
        t.roles.define("mine", inherits=["lead"], tenant=acme, by="bob")
    t.roles.define("small", permissions=["ticket:read"], tenant=acme, by="bob")
    t.roles.assign(acme, "dan", "admin", by="operator:eve")
    t.roles.assign(acme, "ed", "admin", by="dan")
    beta = t.tenants.create("Beta")
    with pytest.raises(Escalation):  # an administrator of one tenant is nobody in another
        t.roles.assign(beta, "dan", "agent", by="dan")


def test_two_duties_are_not_put_into_one_hand(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "payer")
    with pytest.raises(DutyViolated, match="ann cannot hold approver"):
        t.roles.assign(acme, "ann", "approver")
    assert [a.role for a in t.roles.assignments(acme, "ann")] == ["payer"]
    t.roles.assign(acme, "bob", "approver")
    t.roles.revoke(acme, "ann", "payer")
    t.roles.assign(acme, "ann", "approver")


def test_every_change_leaves_its_fact(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "agent", by="operator:eve")
    t.roles.revoke(acme, "ann", "agent", by="operator:eve")
    t.roles.define("r", permissions=["ticket:read"], tenant=acme, by="operator:eve")
    facts = t.audit.search(acme, principal="operator:eve")
    assert [(e.type, e.action) for e in facts] == [
        ("permission_granted", "role:define"),
        ("role_revoked", "role:revoke"),
        ("role_assigned", "role:assign"),
    ]
    assert facts[2].context["principal"] == "ann"


PERMISSIONS = ["ticket:read", "ticket:write", "report:read", "report:write"]
STEP = st.tuples(
    st.sampled_from(["assign", "revoke"]),
    st.sampled_from(["acme", "beta"]),
    st.sampled_from(["ann", "bob", "agent"]),
    st.sampled_from(["agent", "lead"]),
)
GIVES = {"agent": set(PERMISSIONS[:2]), "lead": set(PERMISSIONS)}


@settings(max_examples=15)
@given(st.lists(STEP, max_size=12))
def test_no_tenants_assignments_change_anothers_answers(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str, str]]
) -> None:
    with open_shop(tmp_path_factory.mktemp("shop")) as t:
        for slug in ("acme", "beta"):
            t.tenants.create(slug, slug=slug)
        held: set[tuple[str, str, str]] = set()
        for step, *what in steps:
            tenant, principal, role = what
            if step == "assign":
                t.roles.assign(tenant, principal, role)
                held.add((tenant, principal, role))
            else:
                was = (tenant, principal, role) in held
                assert t.roles.revoke(tenant, principal, role) is was
                held.discard((tenant, principal, role))
        for tenant in ("acme", "beta"):
            for principal in ("ann", "bob", "agent", "lead"):
                roles = {r for (x, p, r) in held if (x, p) == (tenant, principal)}
                may = set().union(*(GIVES[r] for r in roles))
                assert set(t.access.permissions(tenant, principal)) == may
                answers = t.access.check_many(tenant, principal, PERMISSIONS)
                assert {p for p, yes in answers.items() if yes} == may
            for permission in PERMISSIONS:
                able = {p for (x, p, r) in held if x == tenant and permission in GIVES[r]}
                assert set(t.access.who_can(tenant, permission)) == able


# ---------------------------------------------------------------------------------- resources


def test_resources_belong_to_one_tenant(t: Tenancy, acme: Tenant, tmp_path: Path) -> None:
    beta = t.tenants.create("Beta", slug="beta")
    made = t.resources.register(acme, "doc", by="operator:eve")
    assert made.id.startswith("doc_")
    assert made.creator == "operator:eve"
    named = t.resources.register(acme, "doc", "d1", creator="ann")
    assert t.resources.register(beta, "doc", "d1", creator="bob")  # ids are the tenant's own
    with pytest.raises(AlreadyExists):
        t.resources.register(acme, "doc", "d1")
    with Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        assert other.access.validate_access(acme, "doc", made.id)
        assert not other.access.validate_access(beta, "doc", made.id)
    assert t.resources.get(acme, "doc", "d1") == named
    with pytest.raises(UnknownResource):
        t.resources.get(beta, "doc", made.id)
    assert [r.id for r in t.resources.list(acme, creator="ann")] == ["d1"]
    assert len(t.resources.list(acme, "doc")) == 2
    assert t.resources.unregister(acme, "doc", "d1")
    assert not t.resources.unregister(acme, "doc", "d1")
    assert t.resources.owns(beta, "doc", "d1")
    assert not t.resources.owns(acme, "doc", "d1")
    with pytest.raises(InvalidValue):
        t.resources.register(acme, "a b")


def test_the_report_names_what_a_reviewer_looks_for(t: Tenancy, acme: Tenant) -> None:
    t.roles.define("one", permissions=["ticket:read"], tenant=acme)
    t.roles.define("two", permissions=["ticket:read"], tenant=acme)
    t.roles.define("wide", permissions=["*:*"], tenant=acme)
    t.roles.assign(acme, "ann", "one")
    t.roles.assign(acme, "root", "wide")
    report = t.access.report(acme)
    assert report.unused == ("two",)
    assert report.duplicate == (("admin", "wide"), ("one", "two"))
    assert report.over_broad == ("wide (root)",)
    t.roles.define("heir", inherits=["wide"], tenant=acme)
    t.roles.define("same", inherits=["one"], tenant=acme)
    report = t.access.report(acme)
    assert report.unused == ("heir", "same", "two")  # one is inherited
    assert report.duplicate == (("admin", "heir", "wide"), ("one", "same", "two"))
    assert report.over_broad == ("heir (nobody)", "wide (root)")
    t.roles.define("everywhere", permissions=["*:read"])
    assert "everywhere" in t.access.report().unused
    assert "everywhere" in t.access.report().over_broad
    assert "everywhere" not in t.access.report(acme).unused


def test_trap_13_nothing_is_allowed_by_default(t: Tenancy, acme: Tenant) -> None:
    assert t.access.permissions(acme, "ann") == []
    for permission in ("ticket:read", "system:admin", "unheard:of", "", "*:*", "ticket"):
        assert not t.access.check(acme, "ann", permission)
    t.roles.define("empty", tenant=acme)
    t.roles.assign(acme, "ann", "empty")
    assert not t.access.check(acme, "ann", "ticket:read")
    assert t.access.explain(acme, "ann", "ticket:read").nearest_miss
