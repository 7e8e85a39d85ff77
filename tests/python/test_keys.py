"""API keys: made, judged, rotated, renewed, revoked; nobody grants what they do not hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from store_support import DAY_NS, START, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy.errors import (
    Conflict,
    Escalation,
    InvalidValue,
    TenancyError,
    UnknownKey,
    UnknownTenant,
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


def test_a_key_works_for_its_scopes_alone(t: Tenancy, acme: Tenant) -> None:
    key, secret = t.keys.create(acme, name="ci", scopes=["ticket:*", "report:read"])
    assert (key.tenant, key.name, key.scopes) == (acme.id, "ci", ("report:read", "ticket:*"))
    decision = t.check(api_key=secret, permission="ticket:write")
    assert (decision.tenant, decision.key) == (acme.id, key.id)
    assert t.check(api_key=secret, permission="report:read")
    assert t.check(api_key=secret, permission="report:write").code == "PERMISSION_DENIED"


def test_a_principals_key_has_its_rights_cut_to_the_scopes(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "u1", "agent")
    _, cut = t.keys.create(acme, principal="u1", scopes=["ticket:read", "report:read"])
    _, whole = t.keys.create(acme, principal="u1")
    assert t.check(api_key=cut, permission="ticket:read")
    assert not t.check(api_key=cut, permission="ticket:write")
    assert not t.check(api_key=cut, permission="report:read")  # u1 does not hold it
    assert t.check(api_key=whole, permission="ticket:write")
    t.roles.revoke(acme, "u1", "agent")
    assert not t.check(api_key=whole, permission="ticket:read")


def test_a_key_without_principal_needs_scopes(t: Tenancy, acme: Tenant) -> None:
    with pytest.raises(InvalidValue, match="scopes"):
        t.keys.create(acme)


@pytest.mark.parametrize("scopes", ["ticket:read", ["ticket"], ["a:b:c"], [":x"], ["x:"], [7]])
def test_malformed_scopes_are_refused(t: Tenancy, acme: Tenant, scopes: object) -> None:
    with pytest.raises(InvalidValue, match="scopes"):
        t.keys.create(acme, scopes=scopes)  # type: ignore[arg-type]


def test_the_secret_is_kept_nowhere(t: Tenancy, acme: Tenant, tmp_path: Path) -> None:
    new = t.keys.create(acme, scopes=["ticket:read"])
    secret = new.secret
    assert secret.startswith(new.key.id)
    assert secret not in repr(new)
    assert secret not in str(new)
    assert secret[11:] not in repr(new)
    t.keys.rotate(new.key)
    t.close()
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert secret.encode() not in content, file
            assert secret[11:43].encode() not in content, file


def test_an_unknown_key_is_an_error_that_does_not_repeat_a_secret(t: Tenancy, acme: Tenant) -> None:
    _, secret = t.keys.create(acme, scopes=["ticket:read"])
    with pytest.raises(UnknownKey) as told:
        t.keys.revoke(secret)
    assert secret[11:] not in str(told.value)
    with pytest.raises(UnknownTenant):
        t.keys.create("nobody", scopes=["ticket:read"])


def test_trap_32_a_key_is_its_own_tenants_only(t: Tenancy, acme: Tenant) -> None:
    beta = t.tenants.create("Beta", slug="beta")
    key, secret = t.keys.create(acme, scopes=["ticket:read"])
    assert t.check(api_key=secret, hints=["acme"]).tenant == acme.id
    assert not t.check(api_key=secret, hints=["beta"])
    assert len(t.keys.list(beta)) == 0
    with pytest.raises(UnknownKey):
        t.keys.get(key, tenant=beta)


def test_expiry_is_compared_at_the_check(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    key, secret = t.keys.create(acme, scopes=["ticket:read"], expires=timedelta(days=2))
    assert key.expires == START + timedelta(days=2)
    clock.advance_ns(2 * DAY_NS - 1)
    assert t.check(api_key=secret)
    clock.advance_ns(1)
    assert t.check(api_key=secret).code == "EXPIRED_CREDENTIAL"
    with pytest.raises(Conflict, match="expired"):
        t.keys.renew(key, timedelta(days=1))
    with pytest.raises(InvalidValue, match="past"):
        t.keys.create(acme, scopes=["ticket:read"], expires=START)


def test_renewal_moves_the_expiry(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    key, secret = t.keys.create(acme, scopes=["ticket:read"], expires=timedelta(days=2))
    assert t.keys.renew(key, timedelta(days=10)).expires == START + timedelta(days=10)
    clock.advance_ns(5 * DAY_NS)
    assert t.check(api_key=secret)
    assert t.keys.renew(key, None).expires is None
    clock.advance_ns(50 * DAY_NS)
    assert t.check(api_key=secret)


def test_rotation_leaves_a_grace_and_counts_who_still_uses_the_old_key(
    t: Tenancy, acme: Tenant, clock: _core.FakeClock
) -> None:
    key, old = t.keys.create(acme, name="ci", scopes=["ticket:read"], limit="1000/minute")
    successor, new = t.keys.rotate(key, grace=timedelta(hours=1))
    assert (successor.name, successor.scopes, successor.limit) == ("ci", key.scopes, key.limit)
    for _ in range(3):
        assert t.check(api_key=old)
    assert t.check(api_key=new)
    record = t.keys.get(key)
    assert (record.rotated_to, record.uses_since_rotation) == (successor.id, 3)
    assert record.state(START) == "grace"
    with pytest.raises(Conflict, match="rotated already"):
        t.keys.rotate(key)
    clock.advance_ns(3600 * 10**9)
    assert not t.check(api_key=old)
    assert t.check(api_key=new)
    _, newest = t.keys.rotate(successor, grace=0)
    assert not t.check(api_key=new)
    assert t.check(api_key=newest)


def test_revocation_holds_at_once_and_stays(t: Tenancy, acme: Tenant, tmp_path: Path) -> None:
    key, secret = t.keys.create(acme, scopes=["ticket:read"])
    revoked = t.keys.revoke(key)
    assert revoked.revoked == START
    assert t.keys.revoke(key) == revoked  # twice is no error
    assert not t.check(api_key=secret)
    assert len(t.keys.list(acme)) == 0
    assert [k.id for k in t.keys.list(acme, revoked=True)] == [key.id]
    with pytest.raises(Conflict):
        t.keys.rotate(key)
    with Tenancy.open(tmp_path / "data", clock=t.clock) as again:
        assert not again.check(api_key=secret)


def test_last_use_is_noted_to_the_minute(t: Tenancy, acme: Tenant, clock: _core.FakeClock) -> None:
    key, secret = t.keys.create(acme, scopes=["ticket:read"])
    assert t.keys.last_used(key) is None
    clock.advance_ns(90 * 10**9)
    t.check(api_key=secret)
    used = t.keys.last_used(key)
    assert used is not None
    assert abs(used - (START + timedelta(seconds=90))) <= timedelta(minutes=1)


def test_a_key_has_a_limit_of_its_own(t: Tenancy, acme: Tenant) -> None:
    _, secret = t.keys.create(acme, scopes=["ticket:read"], limit="2/minute")
    _, other = t.keys.create(acme, scopes=["ticket:read"])
    assert [bool(t.check(api_key=secret)) for _ in range(3)] == [True, True, False]
    assert t.check(api_key=other)
    with pytest.raises(InvalidValue, match="limit"):
        t.keys.create(acme, scopes=["ticket:read"], limit="often")


# -------------------------------------------------------------------------------- escalation


def test_nobody_makes_a_key_that_can_do_more_than_they(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "agent")
    assert t.keys.create(acme, scopes=["ticket:read", "ticket:write"], by="ann")
    for scopes in (["report:read"], ["ticket:*"], ["*:*"], ["*:read"]):
        with pytest.raises(Escalation):
            t.keys.create(acme, scopes=scopes, by="ann")
    with pytest.raises(Escalation):
        t.keys.create(acme, principal="boss", by="ann")
    assert t.keys.create(acme, principal="ann", by="ann")
    with pytest.raises(Escalation):
        t.keys.create(acme, scopes=["ticket:read"], by="stranger")
    assert t.keys.create(acme, scopes=["*:*"], by="operator:eve")


def test_a_service_key_passes_on_its_scopes_alone(t: Tenancy, acme: Tenant) -> None:
    key, _ = t.keys.create(acme, scopes=["ticket:*"])
    assert t.keys.create(acme, scopes=["ticket:read"], by=key.id)
    for scopes in (["report:read"], ["*:read"], ["*:*"]):
        with pytest.raises(Escalation):
            t.keys.create(acme, scopes=scopes, by=key.id)
    with pytest.raises(Escalation):
        t.roles.assign(acme, "ann", "agent", by=key.id)
    beta = t.tenants.create("Beta")
    with pytest.raises(Escalation):
        t.keys.create(beta, scopes=["ticket:read"], by=key.id)


def test_the_contexts_caller_is_the_author_and_never_more(t: Tenancy, acme: Tenant) -> None:
    from tenancy import bind

    beta = t.tenants.create("Beta")
    for tenant in (acme, beta):
        t.roles.assign(tenant, "ann", "lead")
    cut, _ = t.keys.create(acme, principal="ann", scopes=["ticket:read"])
    service, _ = t.keys.create(acme, scopes=["ticket:read"])
    with bind(acme.id, principal="ann", tenancy=t):
        assert t.keys.create(acme, scopes=["ticket:write"]).key.created_by == "ann"
        with pytest.raises(Escalation, match="another tenant"):
            t.keys.create(beta, scopes=["ticket:read"])
    for key in (cut, service):
        job = {"tenancy": 1, "tenant": acme.id, "key": key.id, "claims": [], "time_ns": 1}
        with bind({**job, "principal": key.principal}, tenancy=t):
            assert t.keys.create(acme, scopes=["ticket:read"])
            with pytest.raises(Escalation):
                t.keys.create(acme, scopes=["ticket:write"])
            with pytest.raises(Escalation):
                t.roles.assign(acme, "bob", "agent")


def test_a_rotation_is_a_grant_too(t: Tenancy, acme: Tenant) -> None:
    t.roles.assign(acme, "ann", "agent")
    key, _ = t.keys.create(acme, scopes=["report:read"])
    with pytest.raises(Escalation):
        t.keys.rotate(key, by="ann")


def test_trap_12_a_roles_name_gives_a_user_nothing(t: Tenancy, acme: Tenant) -> None:
    """Users and roles are name spaces of their own."""
    assert not t.access.check(acme, "admin", "system:admin")
    with pytest.raises(Escalation):
        t.keys.create(acme, scopes=["system:admin"], by="admin")
    t.roles.assign(acme, "agent", "lead")  # a user called like a role
    assert not t.access.check(acme, "lead", "report:read")
    assert t.access.check(acme, "agent", "report:read")


def test_many_keys_at_once(t: Tenancy, acme: Tenant) -> None:
    made = t.keys.create_many(
        {"tenant": reference, "scopes": ["ticket:read"]} for reference in ("acme", acme.id) * 50
    )
    assert len(made) == 100
    assert all(t.check(api_key=secret, permission="ticket:read") for _, secret in made[::10])
    with pytest.raises(TenancyError):
        t.keys.create_many([{"tenant": "nobody", "scopes": ["ticket:read"]}])


def test_a_stolen_database_authenticates_nobody(t: Tenancy, acme: Tenant, tmp_path: Path) -> None:
    t.keys.create(acme, scopes=["ticket:read"])
    session = t.sessions.create(acme, "u1")
    with sqlite3.connect(tmp_path / "data" / "tenancy.db") as connection:
        digest = connection.execute("SELECT digest FROM api_keys").fetchone()[0]
        nonce = connection.execute("SELECT nonce FROM sessions").fetchone()[0]
    connection.close()
    assert len(digest) == 32
    for text in (digest.hex(), "tk_" + digest.hex(), digest.decode("latin-1")):
        assert not t.check(api_key=text)
    for text in (nonce.hex(), "sess_" + nonce.hex()[:32], session.ref):
        assert not t.check(session=text)
