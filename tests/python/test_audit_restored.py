"""A store that was put back to an older copy beside its log: nothing is told twice, it shows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alert_support import tell, turn
from audit_support import all_rows, open_live, outbox_size, verified
from store_support import START_NS, make_clock, open_shop
from tenancy import Tenancy
from tenancy.stores.audit_events import outbox_serial


def back_up(t: Tenancy, to: Path) -> None:
    """A copy of `tenancy.db` as it is now, beside running processes."""
    with (
        closing(sqlite3.connect(t.path / "tenancy.db")) as live,
        closing(sqlite3.connect(to)) as copy,
    ):
        live.backup(copy)


def put_back(copy: Path, data: Path) -> None:
    for name in ("tenancy.db-wal", "tenancy.db-shm"):
        (data / name).unlink(missing_ok=True)
    (data / "tenancy.db").write_bytes(copy.read_bytes())


def told(data: Path) -> Counter[str | None]:
    """How often each event is in the log."""
    return Counter(row.event_id for rows in all_rows(data).values() for row in rows)


@contextmanager
def reopened(directory: Path) -> Iterator[Tenancy]:
    with open_live(directory) as t:
        t._host.facts.settle()
        yield t


def restored_facts(t: Tenancy) -> list[dict[str, object]]:
    found = t._host.facts.every({"action": "store:restored"})
    return [fact.context for fact in found]


def test_facts_that_the_log_has_are_not_appended_again(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        t._host.facts.settle()
        before = [t.audit.append("data_read", tenant=acme) for _ in range(5)]
        assert outbox_size(t) == 5
        back_up(t, copy)
        t._host.facts.settle()
        later = [t.audit.append("login", tenant=acme) for _ in range(5)]
    put_back(copy, data)
    with reopened(tmp_path) as t:
        new = [t.audit.append("report_made", tenant=acme) for _ in range(3)]
        t._host.facts.settle()
        assert set(told(data).values()) == {1}
        assert set(told(data)) >= {*before, *later, *new}
        found = {event.id for event in t.audit.search(acme, limit=100)}
        assert found >= {*before, *later, *new}
        [context] = restored_facts(t)
        assert context["in_log"] > context["drained"]  # type: ignore[operator]
        assert t.audit.verify().projection == "same"
    serials = Counter(outbox_serial(row.source) for rows in all_rows(data).values() for row in rows)
    assert max(serials.values()) == 1
    with reopened(tmp_path) as t:
        assert len(restored_facts(t)) == 1
    assert verified(data, [])[0] == 4


def test_an_older_store_that_had_nothing_to_tell_is_noticed_as_well(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        t._host.facts.settle()
        back_up(t, copy)
        later = [t.audit.append("login", tenant=acme) for _ in range(5)]
    put_back(copy, data)
    with reopened(tmp_path) as t:
        assert len(restored_facts(t)) == 1
        new = t.audit.append("logout", tenant=acme)
        t._host.facts.settle()
        assert set(told(data)) >= {*later, new}
        assert set(told(data).values()) == {1}


def test_a_store_that_is_not_older_says_nothing(tmp_path: Path) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        t.audit.append("login", tenant=acme)
    for _ in range(2):
        with reopened(tmp_path) as t:
            assert not restored_facts(t)
            t.audit.append("logout", tenant=acme)


def test_an_alert_that_is_found_again_has_one_fact(tmp_path: Path) -> None:
    data, copy, clock = tmp_path / "data", tmp_path / "copy.db", make_clock()
    with open_shop(tmp_path, clock) as t:
        acme = t.tenants.create("Acme")
        turn(t)
        back_up(t, copy)
        for second in range(12):
            tell(t, "login_failed", START_NS + second, tenant=acme.id, context={"ip": "192.0.2.7"})
        turn(t)
        alerts = {alert.id for alert in t.alerts.list()}
        t._host.facts.settle()
        assert alerts
        assert all(told(data)[alert] == 1 for alert in alerts)
    put_back(copy, data)
    with open_shop(tmp_path, clock) as t:
        assert not t.alerts.list()
        turn(t)
        assert alerts <= {alert.id for alert in t.alerts.list()}
        t._host.facts.settle()
        assert set(told(data).values()) == {1}
