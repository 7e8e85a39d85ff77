"""Sessions: of one tenant, one principal, one platform; they never mix."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, START, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy.errors import InvalidValue, SuspendedTenant, UnknownSession
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


@pytest.fixture
def beta(t: Tenancy) -> Tenant:
    return t.tenants.create("Beta", slug="beta")


def test_a_session_authenticates_its_principal(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "u1", "agent")
    session = t.sessions.create(acme, "u1", "web", metadata={"theme": "dark"})
    assert session.id is not None
    assert session.id.startswith("sess_")
    assert session.id not in repr(session)
    assert "id" not in session.as_dict()
    decision = t.check(session=session.id, permission="ticket:read")
    assert (decision.tenant, decision.principal, decision.session) == (acme.id, "u1", True)
    found = t.sessions.get(acme, session.id)
    assert (found.metadata, found.created, found.id) == ({"theme": "dark"}, START, session.id)


def test_the_same_place_has_the_same_session_in_every_worker_and_after_a_restart(
    t: Tenancy, acme: Tenant, tmp_path: Path
) -> None:
    first = t.sessions.get_or_create(acme, "u1", "slack")
    assert t.sessions.get_or_create(acme, "u1", "slack").id == first.id
    with Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        assert other.sessions.get_or_create(acme, "u1", "slack").id == first.id
        assert other.check(session=first.id)
    places = {("u1", "web"), ("u2", "slack")}
    assert len({first.id, *(t.sessions.get_or_create(acme, *p).id for p in places)}) == 3


def test_another_tenant_can_neither_read_list_nor_reuse_one(
    t: Tenancy, acme: Tenant, beta: Tenant
) -> None:
    session = t.sessions.create(acme, "u1")
    for call in (t.sessions.get, t.sessions.end, t.sessions.touch):
        for name in (session.id, session.ref, session):
            with pytest.raises(UnknownSession):
                call(beta, name)
    assert len(t.sessions.list(beta)) == 0
    own = t.sessions.get_or_create(beta, "u1", session_id=session.id)
    assert own.id != session.id
    assert own.tenant == beta.id
    assert t.check(session=session.id).tenant == acme.id
    assert not t.check(session=session.id, hints=["beta"])


def test_another_user_of_the_tenant_cannot_take_one_over(t: Tenancy, acme: Tenant) -> None:
    session = t.sessions.create(acme, "u1")
    assert t.sessions.get_or_create(acme, "u2", session_id=session.id).principal == "u2"
    assert t.sessions.get_or_create(acme, "u1", session_id=session.id).id == session.id


def test_a_clients_own_name_for_a_session_never_authenticates(
    t: Tenancy, acme: Tenant, beta: Tenant
) -> None:
    mine = t.sessions.get_or_create(acme, "u1", "slack", session_id="thread-42")
    assert mine.client_id == "thread-42"
    assert t.sessions.get_or_create(acme, "u1", "slack", session_id="thread-42").id == mine.id
    assert t.sessions.get_or_create(beta, "u1", "slack", session_id="thread-42").id != mine.id
    assert t.sessions.get_or_create(acme, "u1", "slack", session_id="thread-43").id != mine.id
    assert t.sessions.get_or_create(acme, "u1", "slack").id != mine.id
    assert not t.check(session="thread-42")
    chosen = "sess_" + "0" * 32  # formed like ours, but not made by us
    assert t.sessions.get_or_create(acme, "u1", session_id=chosen).id != chosen
    assert not t.check(session=chosen)


def test_expiry_ends_a_session(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    session = t.sessions.create(acme, "u1", ttl=timedelta(days=1))
    longer = t.sessions.create(acme, "u2", ttl=None)
    clock.advance_ns(DAY_NS)
    assert t.check(session=session.id).code in ("EXPIRED_CREDENTIAL", "INVALID_CREDENTIAL")
    with pytest.raises(UnknownSession):
        t.sessions.get(acme, session.id or "")
    assert t.check(session=longer.id)
    assert t.process_due() == 1
    assert t.sessions.get_or_create(acme, "u1").id != session.id


def test_touching_notes_activity_and_merges_metadata(
    t: Tenancy, acme: Tenant, clock: _core.FakeClock
) -> None:
    session = t.sessions.create(acme, "u1", metadata={"a": 1, "b": 2}, ttl=100)
    revision = t.revision
    clock.advance_ns(30 * 10**9)
    assert t.sessions.touch(acme, session).last_activity == START  # to the minute
    clock.advance_ns(40 * 10**9)
    touched = t.sessions.touch(acme, session, metadata={"b": None, "c": 3})
    assert touched.last_activity == START + timedelta(seconds=70)
    assert touched.metadata == {"a": 1, "c": 3}
    assert t.revision == revision  # nothing that decisions read has changed
    renewed = t.sessions.touch(acme, session, ttl=1000)
    assert renewed.expires == START + timedelta(seconds=1070)
    clock.advance_ns(500 * 10**9)
    assert t.check(session=session.id)


def test_ended_sessions_are_refused(t: Tenancy, acme: Tenant, tmp_path: Path) -> None:
    session = t.sessions.create(acme, "u1")
    with Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        assert other.check(session=session.id)
        t.sessions.end(acme, session.ref)
        assert not other.check(session=session.id)
    for principal in ("u1", "u1", "u2"):
        t.sessions.create(acme, principal)
    assert t.sessions.end_all(acme, principal="u1") == 2
    assert [s.principal for s in t.sessions.list(acme)] == ["u2"]


def test_lists_do_not_give_ids_away(t: Tenancy, acme: Tenant) -> None:
    for number in range(7):
        t.sessions.create(acme, f"u{number % 2}", "web" if number % 3 else "slack")
    page = t.sessions.list(acme, limit=5)
    assert len(page) == 5
    assert all(s.id is None for s in page)
    assert len(t.sessions.list(acme, limit=5, cursor=page.cursor)) == 2
    assert {s.principal for s in t.sessions.list(acme, principal="u1")} == {"u1"}
    assert len(t.sessions.list(acme, platform="slack")) == 3


def test_a_tenant_that_is_not_served_gets_no_session(t: Tenancy, acme: Tenant) -> None:
    t.tenants.suspend(acme)
    with pytest.raises(SuspendedTenant):
        t.sessions.create(acme, "u1")
    with pytest.raises(SuspendedTenant):
        t.sessions.get_or_create(acme, "u1")


def test_operators_see_all_sessions_and_are_audited(t: Tenancy, acme: Tenant, beta: Tenant) -> None:
    for tenant in (acme, beta):
        t.sessions.create(tenant, "u1")
    operator = t.operator(by="eve@example.com", reason="ticket 7")
    assert {s.tenant for s in operator.sessions()} == {acme.id, beta.id}
    seen = operator.audit(type="cross_tenant_access")
    assert {e.principal for e in seen} == {"operator:eve@example.com"}
    assert {e.action for e in seen} == {"sessions:list", "audit:search"}
    assert seen[0].context["reason"] == "ticket 7"
    with pytest.raises(InvalidValue):
        t.operator(by="eve", reason="")
    with pytest.raises(InvalidValue):
        t.operator(by="system", reason="x")


PLACES = st.tuples(
    st.sampled_from(["acme", "beta"]),
    st.sampled_from(["u1", "u2"]),
    st.sampled_from(["web", "slack"]),
)


@settings(max_examples=15)
@given(st.lists(st.tuples(PLACES, st.sampled_from(["use", "end", "end_all"])), max_size=15))
def test_sessions_of_different_places_never_mix(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[tuple[str, str, str], str]],
) -> None:
    with open_shop(tmp_path_factory.mktemp("shop")) as t:
        ids = {slug: t.tenants.create(slug, slug=slug).id for slug in ("acme", "beta")}
        model: dict[tuple[str, str, str], str] = {}
        for (tenant, principal, platform), step in steps:
            place = (tenant, principal, platform)
            if step == "use":
                session = t.sessions.get_or_create(*place)
                assert session.id is not None
                assert model.setdefault(place, session.id) == session.id
            elif step == "end" and place in model:
                t.sessions.end(tenant, model.pop(place))
            elif step == "end_all":
                gone = [p for p in model if p[:2] == place[:2]]
                assert t.sessions.end_all(tenant, principal=principal) == len(gone)
                for p in gone:
                    del model[p]
            for p, session_id in model.items():
                decision = t.check(session=session_id)
                assert (decision.tenant, decision.principal) == (ids[p[0]], p[1])
            for slug in ids:
                mine = {p for p in model if p[0] == slug}
                listed = {(slug, s.principal, s.platform) for s in t.sessions.list(slug)}
                assert listed == mine
