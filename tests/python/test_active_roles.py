"""Active roles: a request uses some of the roles that its principal holds, as duties allow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, make_clock
from tenancy import Catalog, Reason, Tenancy, _core
from tenancy.context import TenantContext, bind
from tenancy.errors import DutyViolated, InvalidValue, PermissionDenied
from tenancy.tenants import Tenant

BANK = """
catalog: bank
version: "1"
format: 1
default_plan: basic
builtin_roles: false
permissions: [mail:read, book:read, book:seal, book:burn, cash:move, lamp:light]
roles:
  clerk: {permissions: ["mail:read", "cash:move"]}
  auditor: {permissions: ["book:*"], denies: ["book:burn"]}
  chief: {inherits: [auditor], permissions: ["lamp:light"]}
  guest: {permissions: ["mail:read"]}
duties:
  - {name: one_hat, roles: [clerk, auditor], at_most: 1, dynamic: true}
plans:
  basic: {}
"""
PERMISSIONS = ["mail:read", "book:read", "book:seal", "cash:move", "lamp:light", "book:burn", "x:y"]
ROLES = {
    "clerk": ({"mail:read", "cash:move"}, set(), set()),
    "auditor": ({"book:read", "book:seal", "book:burn"}, {"book:burn"}, set()),
    "chief": ({"lamp:light"}, set(), {"auditor"}),
    "guest": ({"mail:read"}, set(), set()),
}


def lineage(role: str) -> set[str]:
    return {role}.union(*(lineage(parent) for parent in ROLES[role][2]), set())


def too_many(roles: set[str]) -> bool:
    return len(set().union(*map(lineage, roles), set()) & {"clerk", "auditor"}) > 1


def model(held: set[str], named: list[str] | None, permission: str) -> bool | type[Exception]:
    """The rule as the documentation has it, over sets of names."""
    if named is not None:
        if not set(named) <= set().union(*map(lineage, held), set()):
            return InvalidValue
        if too_many(set(named)):
            return DutyViolated
    if any(permission in ROLES[r][1] for role in held for r in lineage(role)):
        return False
    used = held if named is None else set(named)
    blocked = too_many(used)
    for role in used:
        if blocked and lineage(role) & {"clerk", "auditor"}:
            continue
        if any(permission in ROLES[r][0] for r in lineage(role)):
            return True
    return False


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    catalog = Catalog.from_text(BANK)
    with Tenancy.open(tmp_path / "data", catalog=catalog, clock=clock) as tenancy:
        yield tenancy


@pytest.fixture
def acme(t: Tenancy) -> Tenant:
    tenant = t.tenants.create("Acme", slug="acme")
    for role in ("clerk", "chief"):
        t.roles.assign(tenant, "joe", role)
    return tenant


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    path = tmp_path_factory.mktemp("bank") / "data"
    with Tenancy.open(path, catalog=Catalog.from_text(BANK), clock=make_clock()) as tenancy:
        yield tenancy


def new_branch(bank: Tenancy, held: set[str]) -> Tenant:
    tenant = bank.tenants.create("Branch")
    for role in sorted(held):
        bank.roles.assign(tenant, "joe", role)
    return tenant


def ask(t: Tenancy, permission: str, roles: object = None, tenant: str = "acme") -> _core.Decision:
    return t.check(tenant=tenant, principal="joe", permission=permission, roles=roles)


def test_naming_the_active_roles_resolves_a_dynamic_duty(t: Tenancy, acme: Tenant) -> None:
    assert not ask(t, "cash:move")  # clerk and chief together are too much
    assert ask(t, "cash:move", ["clerk"])
    assert ask(t, "book:seal", ["chief"])
    assert ask(t, "book:seal", ["auditor"])  # inherited roles can be active by themselves
    assert not ask(t, "lamp:light", ["auditor"])
    assert not ask(t, "book:seal", ["clerk"])
    assert not ask(t, "cash:move", [])  # none active: no rights


def test_a_session_keeps_its_active_roles(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    session = t.sessions.create(acme, "joe", roles=["clerk"])
    assert (session.roles, t.sessions.get(acme, session.ref).roles) == (("clerk",), ("clerk",))

    def may(permission: str, **more: object) -> bool:
        return bool(t.check(session=session.id, permission=permission, **more))

    assert may("cash:move")
    assert not may("book:seal")
    assert not t.check(session=session.id, roles=["auditor"])  # a request may leave out, never add
    assert not may("cash:move", roles=[])
    assert t.sessions.activate(acme, session, ["auditor"]).roles == ("auditor",)
    assert (may("book:seal"), may("lamp:light"), may("cash:move")) == (True, False, False)
    t.sessions.activate(acme, session, [])
    assert not may("mail:read")
    t.sessions.activate(acme, session, None)
    assert t.check(session=session.id).active_roles is None
    types = [event.type for event in t.audit.search(acme, type="roles_activated")]
    assert types == ["roles_activated"] * 3


def test_a_role_taken_away_closes_the_session_until_it_is_activated_anew(
    t: Tenancy, acme: Tenant
) -> None:
    session = t.sessions.create(acme, "joe", roles=["clerk"])
    t.roles.revoke(acme, "joe", "clerk")
    decision = t.check(session=session.id, permission="mail:read")
    assert (decision.reason, decision.roles_refused) == (Reason.PERMISSION_DENIED, True)
    t.sessions.activate(acme, session, ["chief"])
    assert t.check(session=session.id, permission="lamp:light")


def test_a_session_with_roles_that_cannot_be_active_does_not_begin(
    t: Tenancy, acme: Tenant
) -> None:
    for wrong, error in (
        (["clerk", "chief"], DutyViolated),
        (["guest"], InvalidValue),
        (["nothing of the kind"], InvalidValue),
        ("clerk", InvalidValue),
    ):
        with pytest.raises(error):
            t.sessions.create(acme, "joe", roles=wrong)
    assert len(t.sessions.list(acme)) == 0
    session = t.sessions.create(acme, "joe", roles=["clerk"])
    with pytest.raises(DutyViolated):
        t.sessions.activate(acme, session, ["clerk", "chief"])
    assert t.sessions.get(acme, session).roles == ("clerk",)


def test_another_worker_and_a_restart_know_the_sessions_roles(
    tmp_path: Path, t: Tenancy, acme: Tenant, clock: _core.FakeClock
) -> None:
    session = t.sessions.create(acme, "joe", roles=["clerk"])
    with Tenancy.open(tmp_path / "data", clock=clock) as other:
        assert not other.check(session=session.id, permission="book:seal")
        t.sessions.activate(acme, session, ["auditor"])
        assert other.check(session=session.id, permission="book:seal")


def test_a_set_that_a_duty_forbids_is_refused_and_says_so(t: Tenancy, acme: Tenant) -> None:
    decision = ask(t, "mail:read", ["clerk", "chief"])
    assert (decision.reason, decision.status) == (Reason.PERMISSION_DENIED, 403)
    assert decision.roles_refused
    assert decision.detail.startswith('separation of duty "one_hat": at most 1 of ')
    assert decision.permissions() == []
    with pytest.raises(PermissionDenied, match="one_hat") as caught:
        t.require(tenant="acme", principal="joe", roles=["clerk", "chief"])
    assert caught.value.permission is None
    with pytest.raises(DutyViolated, match="one_hat"):
        t.access.check(acme, "joe", "mail:read", roles=["clerk", "chief"])


def test_only_what_is_held_now_can_be_active(
    t: Tenancy, acme: Tenant, clock: _core.FakeClock
) -> None:
    decision = ask(t, "mail:read", ["guest"])
    assert decision.roles_refused
    assert decision.detail.startswith('role "guest" is not held by "joe"')
    for unheld in (["guest"], ["nobody-knows"], ["clerk", "guest"], [""]):
        with pytest.raises(InvalidValue, match="not held"):
            t.access.explain(acme, "joe", "mail:read", roles=unheld)
    t.roles.assign(acme, "joe", "guest", until=timedelta(days=1))
    assert ask(t, "mail:read", ["guest"])
    clock.advance_ns(2 * DAY_NS)
    assert ask(t, "mail:read", ["guest"]).roles_refused


@pytest.mark.parametrize("roles", ["clerk", b"clerk", 7, [7], ["x"] * 65])
def test_what_is_no_list_of_roles_is_an_error(t: Tenancy, acme: Tenant, roles: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        ask(t, "mail:read", roles)


def test_any_iterable_of_names_will_do(t: Tenancy, acme: Tenant) -> None:
    assert ask(t, "cash:move", ("".join(["cl", "erk"]) for _ in range(1)))
    assert ask(t, "cash:move", {"clerk"}).active_roles == ("clerk",)


def test_a_denial_of_a_role_that_is_not_active_stands(t: Tenancy, acme: Tenant) -> None:
    t.roles.define("arsonist", permissions=["book:burn"], tenant=acme)
    t.roles.assign(acme, "joe", "arsonist")
    assert not ask(t, "book:burn", ["arsonist"])
    assert t.access.explain(acme, "joe", "book:burn", roles=["arsonist"]).reason == "denied"


def test_the_second_half_may_use_fewer_and_never_more(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "joe", "guest")
    decision = t.admit(tenant="acme", principal="joe", roles=["clerk", "guest"])
    assert decision.active_roles == ("clerk", "guest")
    assert t.authorize(decision, permission="cash:move")
    assert not t.authorize(decision, permission="cash:move", roles=["guest"])
    decision = t.admit(tenant="acme", principal="joe", roles=["clerk", "guest"])
    assert t.authorize(decision, permission="mail:read", roles=["chief"]).roles_refused
    assert t.admit(tenant="acme", principal="joe", roles=["chief", "clerk"]).roles_refused


def test_a_role_revoked_after_admission_ends_the_request(t: Tenancy, acme: Tenant) -> None:
    decision = t.admit(tenant="acme", principal="joe", roles=["clerk"])
    t.roles.revoke(acme, "joe", "clerk")
    assert t.authorize(decision).roles_refused


def test_a_key_keeps_its_scopes_and_a_key_without_user_has_no_roles(
    t: Tenancy, acme: Tenant
) -> None:
    _, secret = t.keys.create(acme, principal="joe", scopes=["cash:*"])
    assert t.check(api_key=secret, permission="cash:move", roles=["clerk"])
    assert not t.check(api_key=secret, permission="mail:read", roles=["clerk"])
    _, service = t.keys.create(acme, scopes=["cash:*"])
    assert t.check(api_key=service, permission="cash:move", roles=[])
    assert t.check(api_key=service, roles=["clerk"]).roles_refused
    hinted = t.check(api_key=service, principal="joe", permission="cash:move", roles=["clerk"])
    assert hinted.roles_refused  # a hint gives no rights


def test_an_identity_brings_its_active_roles(t: Tenancy, acme: Tenant) -> None:
    identity = _core.Identity("joe", ["acme"], roles=["clerk"])
    assert t.check(identity=identity, permission="cash:move")
    assert not t.check(identity=identity, permission="book:read")
    assert t.check(identity=identity, permission="book:read", roles=["chief"]).roles_refused
    both = _core.Identity("joe", ["acme"], roles=["clerk", "chief"])
    assert t.check(identity=both).roles_refused


def test_active_roles_travel_with_the_context(t: Tenancy, acme: Tenant) -> None:
    decision = t.admit(tenant="acme", principal="joe", roles=["clerk"])
    context = TenantContext(t, decision, 0)
    job = context.to_job()
    kept = context.detached()
    with bind(job, tenancy=t) as bound:
        for carried in (kept, bound):
            assert carried.can("cash:move")
            assert not carried.can("book:read")
            assert carried.permissions == {"cash:move", "mail:read"}
            with pytest.raises(PermissionDenied):
                carried.require(permission="book:read")
    t.roles.revoke(acme, "joe", "clerk")
    assert not kept.can("cash:move")
    assert kept.permissions == frozenset()


def test_explain_names_the_refusal(t: Tenancy, acme: Tenant) -> None:
    told = t.explain(tenant="acme", principal="joe", permission="cash:move", roles=["guest"])
    refused = [stage for stage in told["stages"] if stage["outcome"] == "refused"]
    assert [stage["stage"] for stage in refused] == ["permission"]
    assert "is not held" in refused[0]["detail"]
    told = t.explain(tenant="acme", principal="joe", permission="cash:move", roles=["clerk"])
    assert told["access"]["roles"] == ["clerk"]


NAMED = st.none() | st.lists(st.sampled_from(sorted(ROLES)), max_size=3)


@settings(max_examples=60, deadline=None)
@given(held=st.sets(st.sampled_from(sorted(ROLES))), named=st.lists(NAMED, min_size=4, max_size=8))
def test_answers_agree_with_the_model(
    bank: Tenancy, held: set[str], named: list[list[str] | None]
) -> None:
    tenant = new_branch(bank, held)
    for roles in named:
        expected = {p: model(held, roles, p) for p in PERMISSIONS}
        for permission, answer in expected.items():
            decision = ask(bank, permission, roles, tenant.id)
            assert bool(decision) == (answer is True)
            assert decision.roles_refused == isinstance(answer, type)
            if isinstance(answer, type):
                with pytest.raises(answer):
                    bank.access.check(tenant, "joe", permission, roles=roles)
            else:
                assert bank.access.check(tenant, "joe", permission, roles=roles) == answer
        allowed = sorted(p for p, answer in expected.items() if answer is True)
        assert ask(bank, "mail:read", roles, tenant.id).permissions() == allowed


SCOPES = st.lists(
    st.sampled_from(["mail:read", "book:*", "*:read", "new:word", "x:y", "*:*", "lamp:light"]),
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(
    held=st.sets(st.sampled_from(sorted(ROLES))),
    own=SCOPES,
    named=NAMED,
    caller=st.sampled_from(["service key", "user key", "unscoped key", "identity"]),
)
def test_permissions_are_exactly_the_allowed_checks(
    bank: Tenancy, held: set[str], own: list[str], named: list[str] | None, caller: str
) -> None:
    assume(own or caller != "service key")  # a key without user and scopes is not made
    tenant = new_branch(bank, held)
    request: dict[str, object] = {"roles": named}
    if caller == "identity":
        request["identity"] = _core.Identity("joe", [tenant.id], own)
    else:
        principal = None if caller == "service key" else "joe"
        scopes = None if caller == "unscoped key" else own
        _, request["api_key"] = bank.keys.create(tenant, principal=principal, scopes=scopes)
    known = {*PERMISSIONS} - {"x:y"}
    if caller != "unscoped key":
        known |= {name for name in own if "*" not in name}
    decision = bank.check(**request)
    allowed = {name for name in known if bank.check(**request, permission=name)}
    assert set(decision.permissions()) == allowed
