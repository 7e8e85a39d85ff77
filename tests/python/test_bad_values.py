"""What callers get wrong: each is a clear error of this package, and nothing is half-done."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from store_support import open_shop
from tenancy import Tenancy
from tenancy.errors import CatalogError, InvalidValue, UnknownKey, UnknownSession
from tenancy.tenants import Tenant

INFINITE, NOTHING = float("inf"), float("nan")
FAR = datetime(9999, 1, 1, tzinfo=timezone.utc)
LONG = timedelta(days=999_999_999)
SURROGATE = "\ud800"
DEEP: dict[str, Any] = functools.reduce(lambda inner, _: {"a": inner}, range(2000), {})


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    with open_shop(tmp_path_factory.mktemp("shop")) as tenancy:
        yield tenancy


@pytest.fixture(scope="module")
def acme(t: Tenancy) -> Tenant:
    return t.tenants.create("Acme", slug="acme", plan="pro")


Call = Callable[[Tenancy, Tenant], Any]

# field that the message names -> calls
REFUSED: dict[str, list[Call]] = {
    "name": [
        lambda t, _: t.tenants.create(None),  # type: ignore[arg-type]
        lambda t, _: t.tenants.create(5),  # type: ignore[arg-type]
        lambda t, _: t.tenants.create("a" * 256),
        lambda t, _: t.tenants.create("a\0b"),
    ],
    "anchor": [
        lambda t, _: t.tenants.create("A", anchor=FAR),
        lambda t, _: t.tenants.create("A", anchor=datetime(1, 1, 1, tzinfo=timezone.utc)),
        lambda t, _: t.tenants.create("A", anchor=datetime(2026, 1, 1)),
    ],
    "settings": [
        lambda t, _: t.tenants.create("A", settings=DEEP),
        lambda t, _: t.tenants.create("A", settings={"a": NOTHING}),
        lambda t, _: t.tenants.create("A", settings={"a": SURROGATE}),
        lambda t, _: t.tenants.create("A", settings={"a": "x" * 300_000}),
    ],
    "key": [lambda t, a: t.tenants.update(a, settings=DEEP)],
    "text": [lambda t, _: t.tenants.list(text=5)],  # type: ignore[arg-type]
    "limit": [
        lambda t, _: t.tenants.list(limit="a"),  # type: ignore[arg-type]
        lambda t, _: t.tenants.list(limit=True),
        *(
            functools.partial(lambda n, t, a: t.keys.list(a, limit=n), n)
            for n in (0, -1, 1001, 10**9)
        ),
        lambda t, a: t.sessions.list(a, limit=0),
        lambda t, a: t.roles.assignments(a, limit=0),
        lambda t, a: t.resources.list(a, limit=0),
        lambda t, a: t.audit.search(a, limit=0),
        lambda t, _: t.operator(by="operator:x", reason="r").sessions(limit=0),
        lambda t, _: t.operator(by="operator:x", reason="r").audit(limit=1001),
    ],
    "expires": [
        functools.partial(lambda e, t, a: t.keys.create(a, scopes=["ticket:read"], expires=e), e)
        for e in (INFINITE, NOTHING, 1e30, LONG, FAR, 0, -1, "1d")
    ],
    "grace": [
        functools.partial(
            lambda g, t, a: t.keys.rotate(t.keys.create(a, scopes=["ticket:read"])[0], grace=g), g
        )
        for g in (INFINITE, NOTHING, LONG, -1, None)
    ],
    "scopes": [
        lambda t, a: t.keys.create(a, scopes=[]),
        lambda t, a: t.keys.create(a, scopes=[f"ticket:{SURROGATE}"]),
        lambda t, a: t.keys.create(a, scopes=["x" * 100_000]),
    ],
    "until": [
        functools.partial(lambda u, t, a: t.roles.assign(a, "ann", "agent", until=u), u)
        for u in (INFINITE, LONG, FAR, 0)
    ],
    "ttl": [
        *(
            functools.partial(lambda x, t, a: t.sessions.create(a, "ann", ttl=x), x)
            for x in (0, INFINITE, NOTHING, 1e30, timedelta(0), -1)
        ),
        *(
            functools.partial(lambda x, t, a: t.quotas.reserve(a, "projects", ttl=x), x)
            for x in (0, INFINITE, 1e30, LONG)
        ),
        *(
            functools.partial(lambda x, t, a: t.quotas.lease(a, "agents", ttl=x), x)
            for x in (0, NOTHING, LONG)
        ),
    ],
    "metadata": [
        lambda t, a: t.sessions.create(a, "ann", metadata=[1]),  # type: ignore[arg-type]
        lambda t, a: t.sessions.create(a, "ann", metadata={"a": "x" * 300_000}),
        lambda t, a: t.sessions.create(a, "ann", metadata={"a": object()}),
    ],
    "amount": [
        functools.partial(lambda n, t, a: t.quotas.consume(a, "projects", n), n)
        for n in (-1, 1.5, "1", None, True, 1 << 63, INFINITE)
    ],
    "used": [
        functools.partial(lambda n, t, a: t.quotas.set(a, "projects", n), n) for n in (-1, 1 << 61)
    ],
    "quota": [
        lambda t, a: t.quotas.consume(a, "agents"),
        lambda t, a: t.quotas.reserve(a, "agents"),
        lambda t, a: t.quotas.decrement(a, "agents"),
        lambda t, a: t.quotas.set(a, "agents", 1),
        lambda t, a: t.quotas.reconcile(a, "agents"),
        lambda t, _: t.quotas.gauge("agents", lambda _: 1),
    ],
    "function": [lambda t, _: t.quotas.gauge("projects", None)],  # type: ignore[arg-type]
    "permissions": [lambda t, a: t.access.check_many(a, "ann", "ticket:read")],
    "argument": [
        lambda t, a: t.access.check(a, "ann", 5),  # type: ignore[arg-type]
        lambda t, a: t.access.validate_access(a, "doc", 7),  # type: ignore[arg-type]
    ],
    "result": [
        lambda t, a: t.audit.search(a, result="maybe"),
        lambda t, _: t.operator(by="operator:x", reason="r").audit(result="maybe"),
    ],
    "context": [lambda t, _: t.audit.append("login", context={"a": SURROGATE})],
    "action": [lambda t, _: t.audit.append("login", action="a\0")],
    "suspend": [lambda t, _: t.tenants.on("suspend", after=5)],  # type: ignore[arg-type]
}


@pytest.mark.parametrize(
    ("field", "call"),
    [
        pytest.param(field, call, id=f"{field}-{number}")
        for field, calls in REFUSED.items()
        for number, call in enumerate(calls)
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(
    t: Tenancy, acme: Tenant, field: str, call: Call
) -> None:
    def state() -> Any:
        return (
            [x.id for x in t.tenants.list(limit=1000)],
            t.tenants.get(acme),
            len(t.sessions.list(acme)),
            t.quotas.all(acme),
            len(t.roles.assignments(acme)),
        )

    before = state()
    with pytest.raises(InvalidValue) as told:
        call(t, acme)
    assert str(told.value).startswith(f"{field}")
    assert len(str(told.value)) < 500, "what was given is cut short"
    assert state() == before


def test_what_no_store_can_hold_is_not_found(t: Tenancy, acme: Tenant) -> None:
    for text in (SURROGATE, "a\0", ""):
        assert not t.access.check(acme, text or "ann", text or "nothing")
        assert t.access.check_many(acme, "ann", [text]) == {text: False}
        assert not t.access.validate_access(acme, "doc", text)
        assert list(t.access.who_can(acme, text)) == []
        assert list(t.access.permissions(acme, text)) == []
        with pytest.raises(UnknownKey):
            t.keys.get(text)
        with pytest.raises(UnknownSession):
            t.sessions.get(acme, text)
    assert len(t.tenants.list(text=SURROGATE)) == 0
    assert len(t.audit.search(acme, action=SURROGATE)) == 0


def test_an_unknown_name_of_any_length_makes_a_short_message(t: Tenancy, acme: Tenant) -> None:
    long = "x" * 100_000
    for call in (
        lambda: t.tenants.get(long),
        lambda: t.quotas.status(acme, long),
        lambda: t.quotas.status(long, "projects"),
        lambda: t.keys.create(long, scopes=["ticket:read"]),
        lambda: t.sessions.create(long, "ann"),
        lambda: t.tenants.change_plan(acme, long),
    ):
        with pytest.raises(Exception, match="xxx") as told:
            call()
        assert len(str(told.value)) < 300


@pytest.mark.parametrize("value", [-1, 1.5, "5", None, 1 << 70, NOTHING])
def test_a_gauge_that_does_not_count_is_an_error_and_not_an_allowance(
    tmp_path: Path, value: Any
) -> None:
    with open_shop(tmp_path) as t:
        acme = t.tenants.create("Acme", plan="pro")
        t.quotas.gauge("projects", lambda _: value)
        for call in (
            lambda: t.quotas.status(acme, "projects"),
            lambda: t.quotas.consume(acme, "projects"),
            lambda: t.check(tenant=acme.id, consume={"projects": 1}),
        ):
            with pytest.raises(InvalidValue, match="gauge of projects: expected an integer"):
                call()


def test_trap_29_a_permission_that_was_asked_for_and_is_empty_is_no_missing_one(
    t: Tenancy, acme: Tenant
) -> None:
    """`permission=""` must not read as "none asked for", which everybody has."""
    for request in ({"permission": ""}, {"permission": "ticket:read", "resource": ""}):
        with pytest.raises(ValueError, match="empty"):
            t.check(tenant=acme.id, **request)
        with pytest.raises(ValueError, match="empty"):
            t.authorize(t.admit(tenant=acme.id), **request)
    assert t.check(tenant=acme.id, permission=None)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("reservation_s", {"reservation_s": 0}),
        ("reservation_s", {"reservation_s": -1}),
        ("reservation_s", {"reservation_s": INFINITE}),
        ("counters_bytes_max", {"counters_bytes_max": -1}),
        ("counters_bytes_max", {"counters_bytes_max": 1 << 70}),
        ("counters", {"counters_bytes_max": 1}),
        ("anonymous_bytes", {"anonymous_bytes": "8M"}),
        ("default_tenant", {"default_tenant": 5}),
        ("default_tenant", {"default_tenant": ""}),
        ("clock", {"clock": 5}),
        ("quota_status", {"quota_status": 500}),
        ("background", {"background": "yes"}),
        ("catalog", {"catalog": 5}),
        ("step", {"hooks": {"explode": len}}),
        ("create", {"hooks": {"create": 5}}),
        ("path", {"path": 5}),
        ("path", {"path": ""}),
        ("path", {"path": "a\0b"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_options_of_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue) as told:
        Tenancy.open(**{"path": "data", "catalog": "agent-platform", **options})
    assert str(told.value).startswith(field)
    assert not isinstance(told.value, CatalogError)
    # The directory is usable afterwards.
    Tenancy.open("data", catalog="agent-platform").close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("api_key", 5, "expected str, got int"),
        ("tenant", b"acme", "expected str, got bytes"),
        ("principal", ["ann"], "expected str, got list"),
        ("ip", 9, "expected str, got int"),
        ("permission", 7, "expected str, got int"),
        ("hints", 3, "expected a sequence of str"),
        ("roles", [1], "expected str, got int"),
        ("action", 4.5, "expected str, got float"),
        ("identity", "ann", "expected an Identity, got str"),
        ("consume", 3, "expected a dict of quota name to amount"),
        ("consume", {7: 1}, "expected str, got int"),
        ("cost", 1.5, "expected an int in whole units, got float"),
    ],
)
def test_a_decision_names_the_argument_of_a_wrong_type(
    t: Tenancy, acme: Tenant, name: str, value: object, told: str
) -> None:
    question = {"tenant": acme.id, "trust_hints": True} | {name: value}
    with pytest.raises(TypeError, match=f"^{name}: (?!{name}:).*{told}"):
        t.check(**question)
