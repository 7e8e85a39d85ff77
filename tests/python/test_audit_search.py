"""Searching facts, wherever they are just now, in a table that is the log's and nothing else."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_support import TYPES, flip, log_rows, open_live, outbox_size
from tenancy import Tenancy, _core
from tenancy.audit import AuditEvent
from tenancy.errors import AlreadyExists, InvalidValue, NotFound, UnknownTenant
from tenancy.stores.audit_log import AuditLog
from tenancy.stores.directory import DataDirectory
from tenancy.stores.projection import COLUMNS, EVENT, SHIFT, Projection


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with open_live(tmp_path) as tenancy:
        yield tenancy


def settle(t: Tenancy) -> None:
    t._host.facts.settle()
    assert outbox_size(t) == 0


def table(t: Tenancy) -> Path:
    return t._host.facts.projection.path


def edit(t: Tenancy, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(table(t))
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def pages(t: Tenancy, tenant: Any, limit: int, **filters: Any) -> list[AuditEvent]:
    found: list[AuditEvent] = []
    cursor = None
    while True:
        page = t.audit.search(tenant, limit=limit, cursor=cursor, **filters)
        found += page
        cursor = page.cursor
        if cursor is None:
            return found


# ---------------------------------------------------------------------------------- search


def test_a_fact_is_found_at_once_and_is_the_same_after_it_moved(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    settle(t)
    event = t.audit.append("data_read", tenant=acme, context={"ip": "192.0.2.1", "n": 1})
    before = t.audit.search(acme)[0]
    assert before.id == event
    settle(t)
    assert t.audit.search(acme)[0] == before == t.audit.get(acme, event)


@pytest.mark.parametrize("moved", [False, True])
def test_facts_are_found_by_address_session_and_request(t: Tenancy, moved: bool) -> None:
    acme, beta = t.tenants.create("Acme"), t.tenants.create("Beta")
    named = {"ip": "2001:db8::1", "session_id": "s1", "request_id": "r1"}
    events = {
        name: t.audit.append("data_read", tenant=acme, context={name: value})
        for name, value in named.items()
    }
    for name, value in named.items():
        t.audit.append("data_read", tenant=beta, context={name: value})
        t.audit.append("data_read", tenant=acme, context={name: value + "1"})
    if moved:
        settle(t)
    assert [e.id for e in t.audit.search(acme, ip="2001:db8::1")] == [events["ip"]]
    assert [e.id for e in t.audit.search(acme, session="s1")] == [events["session_id"]]
    assert [e.id for e in t.audit.search(acme, request="r1")] == [events["request_id"]]
    assert not t.audit.search(acme, ip="2001:db8::1", session="s1")
    assert not t.audit.search(acme, ip="%")


def test_pages_hold_while_facts_move(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    for number in range(40):
        t.audit.append(TYPES[number % len(TYPES)], tenant=acme, principal="ann")
        if number == 20:
            settle(t)
    whole = pages(t, acme, 1000, principal="ann")
    assert len(whole) == 40
    assert [e.time for e in whole] == sorted((e.time for e in whole), reverse=True)
    assert pages(t, acme, 7, principal="ann") == whole
    first = t.audit.search(acme, limit=7, principal="ann")
    settle(t)
    second = t.audit.search(acme, limit=7, principal="ann", cursor=first.cursor)
    assert [*first, *second] == whole[:14]
    assert pages(t, acme, 7, principal="ann") == whole


def test_what_no_fact_can_have_finds_nothing_and_what_is_no_cursor_is_refused(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    assert not t.audit.search(acme, ip="\ud800")
    with pytest.raises(NotFound):
        t.audit.get(acme, "\ud800")
    with pytest.raises(InvalidValue, match="cursor"):
        t.audit.search(acme, cursor="czE")
    with pytest.raises(InvalidValue, match="result"):
        t.audit.search(acme, result="maybe")


def test_another_tenants_fact_is_not_given_wherever_it_is(t: Tenancy) -> None:
    acme, beta = t.tenants.create("Acme"), t.tenants.create("Beta")
    event = t.audit.append("data_read", tenant=acme)
    for _ in range(2):
        with pytest.raises(NotFound):
            t.audit.get(beta, event)
        assert event not in {e.id for e in t.audit.search(beta)}
        settle(t)


def test_facts_are_found_by_all_while_they_are_written_and_moved(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    failures: list[str] = []

    def write() -> None:
        for _ in range(25):
            event = t.audit.append("data_read", tenant=acme)
            if event not in {e.id for e in t.audit.search(acme, limit=200)}:
                failures.append(f"search of {event}")
            if t.audit.get(acme, event).id != event:
                failures.append(f"get of {event}")

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        t._host.facts.drain.run()
    assert failures == []
    assert len(pages(t, acme, 50, type="data_read")) == 75


def test_following_gives_each_fact_once(t: Tenancy) -> None:
    acme, beta = t.tenants.create("Acme"), t.tenants.create("Beta")
    t.audit.append("data_read", tenant=acme, principal="before")  # still in the outbox
    following = t.audit.follow(acme, every_s=0.01, for_s=4.0)
    expected = []
    for number in range(10):
        expected.append(t.audit.append("data_read", tenant=acme))
        t.audit.append("data_read", tenant=beta)
        if number % 4 == 1:
            settle(t)
        assert next(following).id == expected[-1]
    settle(t)
    assert list(following) == []
    with pytest.raises(InvalidValue):
        t.audit.follow(acme, every_s=-1)


# ---------------------------------------------------------------------------------- the table


def test_the_table_may_be_deleted(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    event = t.audit.append("data_read", tenant=acme)
    settle(t)
    whole = pages(t, acme, 100)
    t._host.facts.projection.remove()
    assert pages(t, acme, 100) == whole
    assert t.audit.get(acme, event).id == event
    assert t.audit.verify().projection == "same"


def test_a_table_that_was_made_in_part_is_completed(
    t: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenancy.stores import projection as module

    acme = t.tenants.create("Acme")
    settle(t)
    events = [t.audit.append(kind, tenant=acme) for kind in TYPES]
    take, calls = module._take, 0

    def failing(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        done = take(*arguments)
        if calls == 2:
            raise RuntimeError("stopped before the commit")
        return done

    monkeypatch.setattr(module, "_take", failing)
    with pytest.raises(RuntimeError, match="stopped"):
        t._host.facts.drain.run()
    assert set(events) <= {e.id for e in t.audit.search(acme)}
    monkeypatch.setattr(module, "_take", take)
    settle(t)
    found = [e.id for e in pages(t, acme, 100)]
    assert len(found) == len(set(found))
    assert set(events) <= set(found)
    assert t.audit.verify().projection == "same"


def test_a_table_of_another_log_is_made_anew(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    event = t.audit.append("data_read", tenant=acme)
    settle(t)
    connection = sqlite3.connect(table(t))
    with connection:
        connection.execute("UPDATE progress SET log_id = ?", ("0" * 32,))
    connection.close()
    settle(t)
    assert t.audit.get(acme, event).id == event
    assert t.audit.verify().projection == "same"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE events SET principal = 'eve' WHERE event_id = ?", "different"),
        ("UPDATE events SET result = NULL WHERE event_id = ?", "different"),
        ("UPDATE events SET serial = serial + 1 WHERE event_id = ?", "different"),
        ("UPDATE events SET rest = '{}' WHERE event_id = ?", "different"),
        ("UPDATE events SET time_ns = time_ns + 1 WHERE event_id = ?", "different"),
        ("DELETE FROM events WHERE event_id = ?", "missing"),
        ("UPDATE events SET position = position + 1000 WHERE event_id = ?", "missing"),
    ],
)
def test_verify_finds_an_edited_row_and_rebuild_mends_it(
    t: Tenancy, tmp_path: Path, statement: str, what: str
) -> None:
    acme = t.tenants.create("Acme")
    events = [t.audit.append("data_read", tenant=acme) for _ in range(5)]
    note = t.audit.checkpoint()
    [row] = [r for r in log_rows(tmp_path / "data", "access") if r.event_id == events[2]]
    edit(t, statement, events[2])
    report = t.audit.verify(anchors=[note])
    assert (report.status, report.projection, bool(report)) == (1, "different", False)
    first = report.first
    assert first is not None
    assert (first["code"], first["class"], first["sequence"]) == (
        "projection_content", "access", row.sequence,
    )  # fmt: skip
    assert what in first["text"]
    t.audit.rebuild()
    assert t.audit.verify(anchors=[note]).status == 0
    assert t.audit.get(acme, events[2]).principal != "eve"


def test_verify_finds_a_row_that_the_log_does_not_have(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    event = t.audit.append("data_read", tenant=acme)
    settle(t)
    edit(
        t,
        "INSERT INTO events (position, serial, time_ns, tenant, event_id)"
        f" SELECT position + {1 << (SHIFT - 1)}, serial, time_ns, tenant, 'made-up' FROM events"
        " WHERE event_id = ?",
        event,
    )
    report = t.audit.verify()
    assert report.status == 1
    assert "not in the log" in report.findings[0]["text"]


def test_a_table_that_cannot_be_read_is_found_and_mended(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    event = t.audit.append("data_read", tenant=acme)
    settle(t)
    connection = sqlite3.connect(table(t))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    flip(table(t), 0, 0xFF)
    from tenancy.stores.audit_verify import verify_log

    log = t._host.facts.log
    report = verify_log(log.directory, log.keys / "log.verify", projection=table(t))
    assert (report.status, report.projection) == (1, "different")
    assert t.audit.rebuild() > 0
    assert t.audit.get(acme, event).id == event
    assert t.audit.verify().status == 4


def test_a_table_without_search_indexes_is_the_same_table(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme")
    for kind in TYPES:
        t.audit.append(kind, tenant=acme)
    settle(t)
    bare = Projection(tmp_path / "bare.sqlite", search_indexes=False)
    assert bare.rebuild(t._host.facts.log) == t.audit.rebuild()


@pytest.mark.parametrize("projected", [False, True])
def test_a_log_that_was_changed_under_an_open_store_is_judged(t: Tenancy, projected: bool) -> None:
    acme = t.tenants.create("Acme")
    t.audit.append("data_read", tenant=acme, action="before")
    if projected:
        settle(t)
    t._host.facts.log.core.append("security", {"type": "login", "action": "the last"})
    t._host.facts.log.flush()
    [segment] = (t._host.facts.log.directory / "segments").glob("security-*")
    place = segment.read_bytes().rindex(b"the last")
    flip(segment, place)
    report = t.audit.verify()
    flip(segment, place)  # to close the log, which says what is wrong with it
    assert report.status == 1
    assert "record_damaged" in {finding["code"] for finding in report.findings}
    assert t.audit.verify().status == 4


@contextmanager
def opened(path: Path) -> Iterator[AuditLog]:
    log = AuditLog(DataDirectory(path, 1, 0), _core.Clock.system())
    try:
        yield log
    finally:
        log.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "", "0", "ten_1"]),
            st.fixed_dictionaries(
                {},
                optional={
                    **dict.fromkeys(
                        ("type", "action", "resource", "principal", "reason", "session_id"),
                        st.sampled_from([None, "", "0", "login"]),
                    ),
                    "policy_revision": st.sampled_from([None, 0, 1, 2**40]),
                    "source": st.sampled_from([None, "", "outbox 7", "outbox x"]),
                    "more": st.sampled_from([None, 0, "", "x"]),
                },
            ),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_absent_empty_and_zero_stay_what_they_are_in_the_table(
    events: list[tuple[str | None, dict[str, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as log:
        for tenant, fields in events:
            log.core.append("other", fields, tenant=tenant)
        log.core.flush()
        projection = Projection(Path(name) / "audit.sqlite")
        assert projection.rebuild(log) == len(events)
        columns = ", ".join(COLUMNS)
        with projection.cursor() as cursor:
            found = cursor.execute(f"SELECT {columns} FROM events ORDER BY position").fetchall()
        assert found == [row[2:] for row in log.rows("other", 0) if row.kind == EVENT]
        # What was read last is known again, though it was read in another way.
        assert projection.catch_up(log)
        assert projection.covers(log.positions())


def test_the_facts_of_a_purged_tenant_are_found_by_its_id(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme", slug="acme", external_id="crm-1")
    event = t.audit.append("login", tenant=acme, principal="ada")
    t.tenants.delete(acme)
    t.tenants.purge(acme)
    assert [one.id for one in t.audit.search(acme.id, type="login")] == [event]
    assert t.audit.get(acme.id, event).principal == "ada"
    assert [one.id for one in t.audit.events(acme.id) if one.type == "login"] == [event]
    assert t.audit.prove(acme.id, event)
    assert t.audit.export(acme.id, tmp_path / "acme.jsonl") > 0
    # Its id stays its own; its other names are free.
    with pytest.raises(AlreadyExists):
        t.tenants.create("Other", slug=acme.id)
    for name in ("acme", "crm-1", "ten_01kdvdna004fd9xbtfmfhpb6px", ""):
        with pytest.raises(UnknownTenant):
            t.audit.search(name)
    with pytest.raises(UnknownTenant):
        t.audit.append("login", tenant="acme")
