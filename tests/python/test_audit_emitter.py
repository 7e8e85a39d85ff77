"""The compiled `Audit.emit` beside the method that it stands before: both record the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_support import log_rows, open_live
from store_support import CATALOG, write_catalog
from tenancy import Tenancy
from tenancy.audit import Audit
from tenancy.errors import StoreClosed, TenancyError
from tenancy.stores.audit_events import LogRow, chain_of

PLAIN: dict[str, Any] = {
    "tenant": "acme",
    "action": "report:read",
    "resource": "report",
    "resource_id": "r 1",
    "result": "denied",
    "principal": "ada",
    "context": {"ip": "192.0.2.7", "n": 3, "ok": True, "none": None, 'a"\\b': "x\\y"},
}
# What an argument may be that the compiled function leaves to the method.
UNUSUAL: dict[str, tuple[Any, ...]] = {
    "tenant": ("nobody", 5, "ü", ""),
    "action": ("naïve", "x" * 65, "", " ", "a\nb", 7, b"read"),
    "resource": ("日本", "x" * 1001),
    "resource_id": ("\ud800", 1),
    "result": ("maybe", "", 0),
    "principal": (None, "", "x" * 300, "a\x7f"),
    "subject": ("ada", ""),
    "context": (
        {"ip": "ü"},
        {"nested": {"a": 1}},
        {"list": [1]},
        {"share": 0.5},
        {"large": 2**53 + 1},
        {"long": "x" * 513},
        {"": 1},
        {"empty": ""},
        {f"n{i}": i for i in range(17)},
        {1: "one"},
        [("ip", "192.0.2.7")],
        {"nan": float("nan")},
    ),
    "ack": ("os", "disk", "never", None),
    "colour": ("red",),
}


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    with open_live(tmp_path_factory.mktemp("emitter")) as made:
        made.tenants.create("Acme", slug="acme")
        for kind in ("login", "data_read", "report_made"):
            made.audit.emit(kind, principal="system", ack="ring")
        yield made


def by_the_method(t: Tenancy, kind: Any, **what: Any) -> str:
    return Audit.emit(t.audit, kind, **what)


def recorded(t: Tenancy, kind: Any, event: str) -> LogRow:
    t._host.facts.log.flush()
    [row] = [row for row in log_rows(t.path, chain_of(kind)) if row.event_id == event]
    return row._replace(event_id="", sequence=0, tenant_sequence=0, time_ns=0)


def outcome(t: Tenancy, emit: Callable[..., str], kind: Any, what: dict[str, Any]) -> Any:
    try:
        return recorded(t, kind, emit(kind, **what))
    except (TenancyError, TypeError) as error:
        return type(error), str(error).replace("Audit.emit", "emit")


def test_what_is_usual_needs_no_python_and_what_is_not_goes_to_the_method(t: Tenancy) -> None:
    emitter = t.audit._emitter
    assert emitter.submit("login", **PLAIN) is not None
    assert emitter.submit("login", principal="ada") is not None
    assert emitter.submit(type="login", principal="ada", context={}) is not None
    acme = t.tenants.get("acme")
    for tenant in (acme, acme.id, None):
        assert emitter.submit("login", **{**PLAIN, "tenant": tenant}) is not None
    for name, values in UNUSUAL.items():
        if name in ("ack", "colour"):
            continue
        for value in values:
            assert emitter.submit("login", **{**PLAIN, name: value}) is None, (name, value)
    assert emitter.submit("never_seen", **PLAIN) is None
    for wrong in ({"ack": "disk"}, {"colour": "red"}):
        with pytest.raises(TypeError, match="submit"):
            emitter.submit("login", **PLAIN, **wrong)
    with pytest.raises(TypeError, match="submit"):
        emitter.submit("login", "acme", **PLAIN)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in UNUSUAL.items() for value in values]
)
def test_both_say_and_record_the_same_of_what_is_unusual(t: Tenancy, name: str, value: Any) -> None:
    what = {**PLAIN, "ack": "ring", name: value}
    ours = outcome(t, t.audit.emit, "login", what)
    assert ours == outcome(t, lambda *a, **k: by_the_method(t, *a, **k), "login", what)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=70)
members = st.one_of(texts, st.none(), st.booleans(), st.integers(-(2**54), 2**54))
names = st.one_of(st.sampled_from(["ip", "user_agent", "request_id", "session_id"]), texts)
facts = st.fixed_dictionaries(
    {"principal": texts},
    optional={
        "tenant": st.sampled_from(["acme", None]),
        "action": st.none() | texts,
        "resource": st.none() | texts,
        "resource_id": st.none() | texts,
        "result": st.sampled_from(["success", "failure", "denied"]),
        "context": st.none() | st.dictionaries(names, members, max_size=18),
    },
)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["login", "data_read", "report_made"]), what=facts)
def test_both_record_the_same(t: Tenancy, kind: str, what: dict[str, Any]) -> None:
    what = {**what, "ack": "ring"}
    ours = outcome(t, t.audit.emit, kind, what)
    assert ours == outcome(t, lambda *a, **k: by_the_method(t, *a, **k), kind, what)


def test_a_new_catalog_seals_from_the_next_fact_on(tmp_path: Path) -> None:
    with open_live(tmp_path) as t:
        for _ in range(2):
            t.audit.emit("login", principal="ada", ack="ring")
        assert t.audit._emitter.submit("login", principal="ada") is not None
        sealing = write_catalog(tmp_path, CATALOG + "\naudit: {personal: [principal]}\n")
        t.reload_catalog(sealing)
        assert t.audit._emitter.submit("login", principal="ada") is None
        event = t.audit.emit("login", principal="ada", ack="ring")
        t._host.facts.log.flush()
        [row] = [row for row in log_rows(t.path, "security") if row.event_id == event]
        assert row.principal is None, "its key is not given here"
        for _ in range(2):
            t.audit.emit("login", principal="ada", ack="ring")
        assert t.audit._emitter.submit("login", principal="ada") is None


def test_another_process_changes_definitions(tmp_path: Path) -> None:
    with open_live(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        t.audit.emit("login", tenant="acme", principal="ada", ack="ring")
        with Tenancy.open(t.path) as other:
            other.tenants.update("acme", slug="apex")
        assert t.audit._emitter.submit("login", tenant="acme", principal="ada") is None, "stale"
        with pytest.raises(TenancyError, match="acme"):
            t.audit.emit("login", tenant="acme", principal="ada", ack="ring")
        assert t.audit.emit("login", tenant="apex", principal="ada", ack="ring")


def test_it_ends_with_its_tenancy(tmp_path: Path) -> None:
    t = open_live(tmp_path)
    t.audit.emit("login", principal="ada", ack="ring")
    emit, audit = t.audit.emit, weakref.ref(t.audit)
    t.close()
    with pytest.raises(StoreClosed):
        emit("login", principal="ada", ack="ring")
    del t, emit
    gc.collect()
    assert audit() is None, "nothing is left that holds it"
