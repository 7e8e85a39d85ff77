"""`Audit.emit` and `aemit`: facts that go straight into the log, at a level that is chosen."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_support import all_rows, leader, log_rows, open_live, outbox_size, verified
from store_support import CATALOG, write_catalog
from tenancy import Tenancy, _core, bind
from tenancy.audit import check_receipt
from tenancy.errors import (
    InvalidValue,
    StateUnavailable,
    StoreClosed,
    StoreNotWritable,
    UnknownTenant,
)
from tenancy.stores.audit_log import AuditLog

WHAT: dict[str, Any] = {
    "action": "report:read",
    "resource": "report",
    "resource_id": "r1",
    "result": "failure",
    "context": {"ip": "192.0.2.7", "session_id": "s1", "note": ["x", 1]},
    "principal": "ada",
}


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with open_live(tmp_path) as made:
        made.tenants.create("Acme", slug="acme")
        yield made


async def test_an_emitted_fact_is_what_an_appended_one_is(t: Tenancy) -> None:
    ids = [
        t.audit.append("data_read", tenant="acme", **WHAT),
        t.audit.emit("data_read", tenant="acme", **WHAT),
        await t.audit.aemit("data_read", tenant="acme", **WHAT),
    ]
    appended, *emitted = (t.audit.get("acme", event) for event in ids)
    for fact in emitted:
        for name in ("tenant", "type", "action", "resource", "resource_id", "result", "principal"):
            assert getattr(fact, name) == getattr(appended, name)
        assert (fact.context, fact.revision) == (appended.context, appended.revision)
    assert [fact.id for fact in t.audit.search("acme", ip="192.0.2.7")] == ids[::-1]
    shown = check_receipt(t.audit.prove("acme", ids[2]), t.audit.public_key)
    assert shown["fields"]["event_id"] == ids[2]


async def test_a_fact_is_found_when_the_call_returns_and_is_not_in_the_store(t: Tenancy) -> None:
    before = outbox_size(t)
    events = await asyncio.gather(
        *(t.audit.aemit("data_read", tenant="acme", resource_id=str(i)) for i in range(64))
    )
    assert outbox_size(t) == before
    rows = log_rows(t.path, "access")  # by what is durable
    assert [row.event_id for row in rows] == events
    assert {row.principal for row in rows} == {"system"}
    assert {row.source for row in rows} == {None}


async def test_tasks_share_syncs(t: Tenancy) -> None:
    t._host.facts.settle()
    core = t._host.facts.log.core
    before = core.health()["syncs"]

    async def committer() -> None:
        for _ in range(5):
            await t.audit.aemit("data_read", tenant="acme")

    await asyncio.gather(*(committer() for _ in range(64)))
    assert core.health()["syncs"] - before <= 64
    assert len(log_rows(t.path, "access")) == 320


@pytest.mark.parametrize("ack", ["ring", "os", "disk"])
async def test_every_level_is_found_by_a_search(t: Tenancy, ack: str) -> None:
    ids = {
        t.audit.emit("data_read", tenant="acme", ack=ack),
        await t.audit.aemit("data_read", tenant="acme", ack=ack),
    }
    assert {fact.id for fact in t.audit.search("acme", type="data_read")} == ids


async def test_the_caller_of_the_context_is_who_does_it(t: Tenancy) -> None:
    with bind("acme", tenancy=t, principal="bob"):
        event = await t.audit.aemit("data_read", tenant="acme")
    assert t.audit.get("acme", event).principal == "bob"


async def test_bad_values_are_named_and_leave_nothing(t: Tenancy) -> None:
    bad: list[tuple[str, dict[str, Any]]] = [
        ("type", {"type": ""}),
        ("action", {"action": ""}),
        ("resource_id", {"resource_id": "x" * 1001}),
        ("principal", {"principal": ""}),
        ("subject", {"subject": ""}),
        ("result", {"result": "maybe"}),
        ("ack", {"ack": "soon"}),
        ("context", {"context": {"x": object()}}),
    ]
    t._host.facts.settle()
    before = {chain: len(rows) for chain, rows in all_rows(t.path).items()}
    for field, given in bad:
        values = {"type": "data_read", "tenant": "acme", **given}
        with pytest.raises(InvalidValue) as error:
            t.audit.emit(**values)
        assert error.value.field == field
        with pytest.raises(InvalidValue) as error:
            await t.audit.aemit(**values)
        assert error.value.field == field
    with pytest.raises(UnknownTenant):
        await t.audit.aemit("data_read", tenant="nobody")
    t._host.facts.settle()
    assert {chain: len(rows) for chain, rows in all_rows(t.path).items()} == before


async def test_definitions_of_another_process_are_read_first(t: Tenancy, tmp_path: Path) -> None:
    with open_live(tmp_path) as other:
        other.tenants.create("Beta", slug="beta")
    event = await t.audit.aemit("data_read", tenant="beta")
    assert t.audit.get("beta", event).type == "data_read"


async def test_personal_fields_are_sealed_and_erased(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, CATALOG + "audit: {personal: [ip, note]}\n", "sealed.yaml")
    with open_live(tmp_path, catalog=catalog) as t:
        t.tenants.create("Acme", slug="acme")
        event = await t.audit.aemit("data_read", tenant="acme", **WHAT)
        assert t.audit.get("acme", event).context["ip"] == "192.0.2.7"
        t.audit.erase_subject("ada", tenant="acme", reason="asked")
        gone = t.audit.get("acme", event)
        assert "ip" in gone.erased
        assert "note" not in gone.context


async def test_cancelled_calls_leave_their_facts(t: Tenancy) -> None:
    tasks = [asyncio.create_task(t.audit.aemit("data_read", tenant="acme")) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError)
        for one in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert len(t.audit.search("acme", type="data_read")) == 3


async def test_a_closed_tenancy_says_so(tmp_path: Path) -> None:
    t = open_live(tmp_path)
    t.tenants.create("Acme", slug="acme")
    acme = t.tenants.get("acme")
    task = asyncio.create_task(t.audit.aemit("data_read", tenant=acme))
    await asyncio.sleep(0)
    t.close()
    event = await task  # durable: closing syncs
    assert [row.event_id for row in log_rows(tmp_path / "data", "access")] == [event]
    with pytest.raises(StoreClosed):
        await t.audit.aemit("data_read", tenant=acme)
    with pytest.raises(StoreClosed):
        t.audit.emit("data_read", tenant=acme)
    assert verified(tmp_path / "data", [])[0] == 4


# ---------------------------------------------------------------------- when nothing is written


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    log = _core.Log

    def opened(path: str, **options: Any) -> _core.Log:
        return log(path, ack_wait_ns=20_000_000, full_wait_ns=20_000_000, **options)

    monkeypatch.setattr(_core, "Log", opened)


async def fill(t: Tenancy, tenant: Any) -> tuple[int, int, BaseException]:
    """How many facts there was room for, how often the loop went round meanwhile, and the error."""
    taken = turns = 0
    while True:
        fact = t.audit.aemit("data_read", tenant=tenant, context={"x": "x" * 999}, ack="ring")
        task = asyncio.create_task(fact)
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        error = task.exception()
        if error is not None:
            return taken, turns, error
        taken += 1


@pytest.mark.usefixtures("impatient")
async def test_a_flusher_that_is_stopped_is_told_and_the_fact_is_there(tmp_path: Path) -> None:
    open_live(tmp_path).close()
    with leader(tmp_path / "data") as other:
        t = open_live(tmp_path)
        t.tenants.create("Acme", slug="acme")
        acme = t.tenants.get("acme")
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreNotWritable, match="recorded, but not yet durable"):
            t.audit.emit("data_read", tenant=acme, resource_id="0")
        told = await asyncio.gather(
            *(t.audit.aemit("data_read", tenant=acme, resource_id=f"{i + 1}") for i in range(4)),
            return_exceptions=True,
        )
        for error in told:
            assert isinstance(error, StoreNotWritable)
            assert "recorded, but not yet durable" in str(error)
        other.send_signal(signal.SIGCONT)
        found = t.audit.search(acme, type="data_read")
        assert [fact.resource_id for fact in found] == ["4", "3", "2", "1", "0"]
        t.close()


@pytest.mark.usefixtures("impatient")
async def test_the_loop_runs_on_while_there_is_no_room_and_what_is_refused_is_not_there(
    tmp_path: Path,
) -> None:
    open_live(tmp_path).close()
    with leader(tmp_path / "data") as other:
        t = open_live(tmp_path)
        t.tenants.create("Acme", slug="acme")
        acme = t.tenants.get("acme")
        other.send_signal(signal.SIGSTOP)
        log: AuditLog = t._host.facts.log
        before = log.positions()["access"]
        taken, turns, error = await fill(t, acme)
        assert isinstance(error, StateUnavailable)
        assert "nothing was recorded" in str(error)
        assert taken >= 10
        assert turns > taken + 1  # one for each that was taken, more for the one that waited
        assert log.positions()["access"] - before == taken
        other.send_signal(signal.SIGCONT)
        t.close()
