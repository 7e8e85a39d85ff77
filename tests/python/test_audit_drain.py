"""The outbox drains into the log: every fact once, in order, whoever is killed and when."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_support import TYPES, all_rows, log_rows, open_live, outbox_size, verified
from store_support import run_python
from tenancy import Tenancy
from tenancy.errors import TenancyError
from tenancy.stores.audit_events import chain_of, outbox_serial

STEPS = ("announce", "announced", "append", "appended", "done", "project", "forget", "delete")


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with open_live(tmp_path) as tenancy:
        yield tenancy


def test_types_have_the_class_of_their_retention() -> None:
    assert {kind: chain_of(kind) for kind in TYPES} == {
        "login": "security",
        "data_read": "access",
        "report_made": "other",
        "data_updated": "access",
        "permission_denied": "security",
        "tenant_hello": "security",
    }
    assert chain_of("quota_threshold") == "other"
    assert [chain_of(kind) for kind in ("role_assigned", "config_changed")] == ["security"] * 2


def test_a_fact_goes_into_the_log_with_all_it_says(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme")
    context = {"ip": "192.0.2.1", "n": 2**70, "größe": 1.5, "type": "mine", "session_id": "s1"}
    event = t.audit.append(
        "data_read", tenant=acme, resource="report", resource_id="r1", principal="ann",
        result="denied", context=context,
    )  # fmt: skip
    before = t.audit.get(acme, event)
    t._host.facts.settle()
    assert outbox_size(t) == 0
    [row] = log_rows(tmp_path / "data", "access")
    assert (row.event_id, row.tenant, row.principal) == (event, acme.id, "ann")
    assert (row.ip, row.session_id, row.result) == ("192.0.2.1", "s1", "denied")
    assert t.audit.get(acme, event) == before
    assert before.context == context
    assert before.revision == row.policy_revision


def test_closing_and_opening_drain_what_was_left(tmp_path: Path) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        first = t.audit.append("login", tenant=acme)
    assert first in {row.event_id for row in log_rows(tmp_path / "data", "security")}
    program = """
        import os, sys
        from pathlib import Path
        from audit_support import open_live
        t = open_live(Path(sys.argv[1]))
        print(t.audit.append("logout", tenant=sys.argv[2]), flush=True)
        os._exit(0)
    """
    second = run_python(program, tmp_path, acme.id).stdout.strip()
    assert second not in {row.event_id for row in log_rows(tmp_path / "data", "security")}
    with open_live(tmp_path):
        assert second in {row.event_id for row in log_rows(tmp_path / "data", "security")}


def test_background_work_drains_within_a_second_or_so(tmp_path: Path) -> None:
    with open_live(tmp_path, background=True) as t:
        acme = t.tenants.create("Acme")
        lags = []
        for _ in range(3):
            event = t.audit.append("data_read", tenant=acme)
            begun = time.monotonic()
            while event not in {row.event_id for row in log_rows(tmp_path / "data", "access")}:
                assert time.monotonic() - begun < 60
                time.sleep(0.02)
            lags.append(time.monotonic() - begun)
        assert min(lags) < 1.5


def test_a_batch_that_was_appended_and_not_marked_is_not_appended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        events = [t.audit.append(kind, tenant=acme) for kind in TYPES * 3]
        drain = t._host.facts.drain
        write = drain._write
        monkeypatch.setattr(drain, "_write", _failing_at(2, write))
        with pytest.raises(RuntimeError, match="step 2"):
            drain.run()
        monkeypatch.setattr(drain, "_write", write)
        t._host.facts.settle()
        rows = [row for rows in all_rows(tmp_path / "data").values() for row in rows]
    ids = [row.event_id for row in rows]
    assert len(ids) == len(set(ids))
    assert set(events) <= set(ids)


def _failing_at(number: int, function: Any) -> Any:
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise RuntimeError(f"step {number}")
        return function(*arguments)

    return call


def test_a_part_of_a_batch_that_is_there_is_completed_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        t._host.facts.settle()
        events = [t.audit.append("data_read", tenant=acme) for _ in range(20)]
        log = t._host.facts.log
        append = log.append

        def half(batch: list[Any]) -> None:
            append(batch[:7])
            raise RuntimeError("killed")

        monkeypatch.setattr(log, "append", half)
        for _ in range(2):  # twice: what was announced anew is not later
            with pytest.raises(RuntimeError):
                t._host.facts.drain.run()
        monkeypatch.setattr(log, "append", append)
        t._host.facts.settle()
        assert [row.event_id for row in log_rows(tmp_path / "data", "access")] == events


def test_one_drain_runs_at_a_time(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme")
    with open_live(tmp_path) as other:
        for _ in range(200):
            t.audit.append("data_read", tenant=acme)
        threads = [
            threading.Thread(target=one._host.facts.settle) for one in (t, other) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids = [row.event_id for row in log_rows(tmp_path / "data", "access")]
        assert len(ids) == len(set(ids)) == 200


def test_a_threshold_that_left_the_outbox_is_not_written_again(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    event = "0190163d-8694-539b-aea5-966c26f8ad91"
    for expected in (event, None):
        with t._host.write("system") as change:
            written = change.fact("quota_threshold", "quota:alert", tenant=acme.id, event_id=event)
        assert written == expected
        t._host.facts.settle()
        assert outbox_size(t) == 0
    assert [e.id for e in t.audit.search(acme, type="quota_threshold")] == [event]


def test_a_log_that_cannot_be_written_delays_no_change_and_loses_no_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme")
        log = t._host.facts.log

        def full(_: Any) -> None:
            raise TenancyError("the disk is full")

        monkeypatch.setattr(log, "append", full)
        event = t.audit.append("data_read", tenant=acme)
        with pytest.raises(TenancyError, match="full"):
            t._host.facts.drain.run()
        assert t.audit.get(acme, event).id == event
    with open_live(tmp_path) as t:
        assert event in {row.event_id for row in log_rows(tmp_path / "data", "access")}
        assert t.audit.get(acme, event).id == event


def test_a_forked_child_writes_facts_and_drains_them(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme")
    t._host.facts.settle()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            t.audit.append("data_read", tenant=acme)
            t._host.facts.settle()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    t.audit.append("data_read", tenant=acme)
    t._host.facts.settle()
    assert len(log_rows(tmp_path / "data", "access")) == 2


# ---------------------------------------------------------------------------------- kill -9

CRASHING = """
    import json, os, random, signal, sys, threading, time
    from pathlib import Path
    from audit_support import TYPES, open_live
    from tenancy.stores import drain as module

    directory, rounds, steps = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    choose = random.Random(int(sys.argv[4]))

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def killed_at(t, step, number):
        # The `number`-th time that the drain comes to this step is the last thing the process does.
        drain, log = t._host.facts.drain, t._host.facts.log
        left = [number]
        def stops():
            left[0] -= 1
            return left[0] < 0
        def before(place, name):
            function = getattr(place, name)
            def call(*arguments, **options):
                if stops():
                    die()
                return function(*arguments, **options)
            setattr(place, name, call)
        def after(place, name):
            function = getattr(place, name)
            def call(*arguments, **options):
                answer = function(*arguments, **options)
                if stops():
                    die()
                return answer
            setattr(place, name, call)
        def partly(batch):
            if stops():
                ack = choose.choice(["ring", "os"])
                log.core.append_many(batch[: len(batch) // 2], ack=ack)
                die()
            log.core.append_many(batch, ack="disk")
        if step in ("announce", "done"):
            left[0] = 2 * number + (step == "done")
            before(drain, "_write")
        elif step == "announced":
            left[0] = 2 * number
            after(drain, "_write")
        elif step == "append":
            log.append = partly
        elif step == "appended":
            after(log, "append")
        elif step == "project":
            before(drain._projection, "catch_up")
        elif step == "forget":
            before(drain, "_forget")
        elif step == "delete":
            before(module, "_delete")
        elif step == "any":
            pause = choose.random() * 0.06
            threading.Thread(target=lambda: (time.sleep(pause), die()), daemon=True).start()

    killed = 0
    for number in range(rounds):
        step = steps[number % len(steps)]
        seed = choose.random()
        child = os.fork()
        if child == 0:
            choose.seed(seed)
            try:
                module.BATCH = choose.choice([1, 5, 1000])
                t = open_live(directory)
                killed_at(t, step, choose.randrange(2))
                for _ in range(2):
                    for _ in range(choose.randrange(1, 12)):
                        event = t.audit.append(choose.choice(TYPES), tenant="acme")
                        os.write(1, (event + "\\n").encode())
                    t._host.facts.drain.run()
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        killed += status != 0
    os.write(1, f"killed {killed}\\n".encode())
"""


ROUNDS = int(os.environ.get("TENANCY_KILL_ROUNDS", "40"))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [list(STEPS), ["any"]], ids=["each step", "any moment"])
def test_every_acknowledged_fact_is_in_the_log_once_whenever_processes_are_killed(
    tmp_path: Path, steps: list[str]
) -> None:
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme", slug="acme")
    seed = random.randrange(1 << 30)
    done = run_python(CRASHING, tmp_path, ROUNDS, json.dumps(steps), seed)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    *acknowledged, last = done.stdout.split("\n")[:-1]
    assert int(last.split()[1]) >= ROUNDS // 2, last
    with open_live(tmp_path) as t:
        note = t.audit.checkpoint()
        assert outbox_size(t) == 0
        chains = all_rows(tmp_path / "data")
        ids = [row.event_id for rows in chains.values() for row in rows]
        assert len(ids) == len(set(ids)), f"seed {seed}: a fact is there twice"
        assert set(acknowledged) <= set(ids), f"seed {seed}: a fact is lost"
        for rows in chains.values():
            serials = [outbox_serial(row.source) for row in rows if row.source]
            assert serials == sorted(serials), f"seed {seed}: out of order"
        found = set()
        cursor = None
        while True:
            page = t.audit.search(acme, limit=1000, cursor=cursor)
            found |= {event.id for event in page}
            cursor = page.cursor
            if cursor is None:
                break
        assert set(acknowledged) <= found
        assert t.audit.verify(anchors=[note]).status == 0
    assert verified(tmp_path / "data", [note])[0] == 0
