"""Background work: one elected process of the host does it, and another when that one dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store_support import (
    DAY_NS,
    ask,
    make_clock,
    open_shop,
    run_python,
    start_python,
    write_catalog,
)
from tenancy import Tenancy, _core
from tenancy.errors import InvalidValue, StoreClosed
from tenancy.stores.background import Background
from tenancy.stores.election import Election
from tenancy.testing import FakeClock

DEADLINE_S = 120.0


def at_once(t: Tenancy) -> int:
    """How many jobs are due as soon as a process is elected."""
    return sum(not entry.first_ns for entry in t.background._entries.values())


def wait_for(condition: Callable[[], Any], what: str = "") -> None:
    """A shared machine may take its time; a broken one must not hang the suite."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


def thread_of(t: Tenancy) -> threading.Thread | None:
    """Its own; other tests of this process may have left theirs."""
    current = t.background._current
    return None if current is None else current.thread


def works(t: Tenancy) -> bool:
    thread = thread_of(t)
    return thread is not None and thread.is_alive()


# A worker that only waits: what happens in it happens by itself.
WORKER = """
    import os, sys
    from tenancy import Tenancy
    from tenancy.testing import FakeClock

    t = Tenancy.open(sys.argv[1], clock=FakeClock(path=sys.argv[2]), background=True)
    print(os.getpid())
    for line in sys.stdin:
        print(eval(line, {"t": t}))
"""


class Workers:
    """Processes with one directory and one clock, and this one, which is no candidate."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(path=directory / "clock")
        self.t = Tenancy.open(
            directory / "data", catalog=write_catalog(directory), clock=self.clock
        )
        self._clock_path = directory / "clock"
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, count: int = 1) -> set[int]:
        processes = [start_python(WORKER, self.t.path, self._clock_path) for _ in range(count)]
        started = {}
        for process in processes:
            assert process.stdout is not None
            started[int(process.stdout.readline())] = process
        self.running |= started
        return set(started)

    def elected(self) -> int:
        wait_for(lambda: self.t.health().background.pid in self.running, "somebody is elected")
        pid = self.t.health().background.pid
        assert pid is not None
        # Its first turn is over when this one is: nothing is in the middle of the store.
        process = self.running[pid]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("t.background.run_due()\n")
        process.stdin.flush()
        process.stdout.readline()
        return pid

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Waits while time goes on: a job that ran while it was moved is due a second later."""

        def looked() -> Any:
            self.clock.advance(1)
            return condition()

        wait_for(looked, what)

    def kill(self, pid: int) -> None:
        process = self.running.pop(pid)
        process.kill()
        process.communicate()

    def close(self) -> None:
        for pid in list(self.running):
            self.kill(pid)
        self.t.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.close()


# --------------------------------------------------------------------------- between processes


@pytest.mark.slow
def test_what_is_scheduled_happens_by_itself_and_moves_when_the_elected_worker_is_killed(
    workers: Workers,
) -> None:
    t = workers.t
    tenants = [t.tenants.create(f"T{n}", slug=f"t{n}", plan="free") for n in range(3)]
    for n, tenant in enumerate(tenants):
        t.tenants.change_plan(
            tenant, "pro", at=workers.clock.now().replace(day=2 + n), by="operator:ann"
        )
    pids = workers.start(3)
    for tenant in tenants:
        pid = workers.elected()
        assert pid in pids
        others = [p for p in workers.running if p != pid]
        assert [ask(workers.running[p], "t.health().background.elected") for p in others] == [
            "False"
        ] * len(others)
        assert ask(workers.running[pid], "t.health().background.elected") == "True"
        assert t.tenants.get(tenant).plan == "free"
        workers.clock.advance(86_400)
        workers.until(lambda: t.tenants.get(tenant).plan == "pro", "the plan changes")  # noqa: B023
        # And the elected one decides by it, with every other process.
        assert t.check(tenant=tenant.id).limits[0].limit == 1000
        workers.kill(pid)
    looking = t.operator(by="operator:ann", reason="a test")
    changes = looking.audit(action="tenant:change_plan")
    assert sorted(e.tenant or "" for e in changes) == sorted(x.id for x in tenants), "once each"
    assert {e.principal for e in changes} == {"operator:ann"}
    assert not t.health().background.running


@pytest.mark.slow
def test_a_deleted_tenant_is_purged_and_ended_sessions_go_without_a_call(workers: Workers) -> None:
    t = workers.t
    acme = t.tenants.create("Acme", slug="acme", plan="pro")
    other = t.tenants.create("Other", slug="other")
    t.sessions.create(other, "ann", ttl=60)
    t.tenants.delete(acme)
    workers.start()
    workers.elected()
    workers.clock.advance(8 * 86_400)
    workers.until(lambda: t.tenants.get(acme.id).status == "purged", "the purge")

    def sessions() -> int:
        with t._host.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM sessions").scalar_one())

    workers.until(lambda: sessions() == 0, "the session's row goes")


@pytest.mark.slow
def test_a_stopped_worker_keeps_the_seat_until_it_is_killed(workers: Workers) -> None:
    (first,) = workers.start()
    assert workers.elected() == first
    os.kill(first, signal.SIGSTOP)
    (second,) = workers.start()
    assert ask(workers.running[second], "t.background.run_due()") == "0"
    workers.kill(first)
    assert workers.elected() == second


@pytest.mark.slow
def test_forked_children_of_a_preloading_server_take_over(tmp_path: Path) -> None:
    """The parent opens and is elected; its children do not keep its seat, and one takes over."""
    code = """
        import os, signal, sys, time
        from tenancy import Tenancy

        t = Tenancy.open(sys.argv[1], background=True)
        while not t.health().background.elected:
            time.sleep(0.01)
        for _ in range(2):
            if os.fork() == 0:
                # A child that does nothing, not even a call of the package.
                os.close(1)
                signal.alarm(600)  # its parent is killed, perhaps before it comes here
                while True:
                    signal.pause()
        print(os.getpid(), flush=True)
        signal.pause()
    """
    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data", background=False) as t:
        parent = start_python(code, t.path)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert t.health().background.pid == pid
        parent.kill()
        parent.communicate()
        wait_for(lambda: t.health().background.pid not in (None, pid), "a child is elected")
        children = []
        while (child := t.health().background.pid) is not None and child not in children:
            children.append(child)
            os.kill(child, signal.SIGKILL)
            wait_for(lambda: t.health().background.pid != child, "the seat is free")
            if len(children) < 2:
                wait_for(lambda: t.health().background.running, "the other child is elected")
        assert len(children) == 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_that_ends_leaves_the_parents_seat_alone(tmp_path: Path, method: str) -> None:
    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data", background=True) as t:
        wait_for(lambda: t.health().background.elected, "elected")
        child = multiprocessing.get_context(method).Process(target=os.getpid)
        child.start()
        child.join()
        assert child.exitcode == 0
        health = t.health().background
        assert (health.elected, health.running, health.pid) == (True, True, os.getpid())
        assert works(t), "the thread was started again"
        with Tenancy.open(tmp_path / "data", background=False) as other:
            assert other.background.run_due() == 0


def test_the_elected_process_ends_quietly(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    done = run_python(
        """
        import sys, time
        from tenancy import Tenancy

        t = Tenancy.open(sys.argv[1])
        while not t.health().background.elected:
            time.sleep(0.01)
        """,
        tmp_path / "data",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Tenancy.open(tmp_path / "data", background=False) as t:
        assert t.background.run_due() == at_once(t), "the seat was free"


# ------------------------------------------------------------------------------ in one process


def test_two_objects_of_one_directory_share_one_seat(tmp_path: Path) -> None:
    clock = make_clock()
    with open_shop(tmp_path, clock) as first, open_shop(tmp_path, clock) as second:
        assert first.background.run_due() == at_once(first)
        assert second.background.run_due() == 0
        assert second.health().background.pid == os.getpid()
        assert not second.health().background.elected
        first.close()
        assert second.background.run_due() == at_once(second)


def test_the_seat_survives_that_somebody_reads_the_file(t: Tenancy) -> None:
    """A backup that copies the directory must not end a lock, as it would one of the process."""
    assert t.background.run_due() == at_once(t)
    (t.path / "background").read_bytes()
    with open_shop(t.path.parent) as other:
        assert other.background.run_due() == 0


def test_with_a_clock_of_its_own_a_test_drives_the_work(t: Tenancy, clock: _core.FakeClock) -> None:
    assert not t.health().background.enabled
    assert not works(t)
    acme = t.tenants.create("Acme", plan="free")
    t.tenants.change_plan(acme, "pro", at="period_end")
    assert t.background.run_due() == at_once(t)
    assert t.background.run_due() == 0, "not due again before a second has passed"
    clock.advance_ns(31 * DAY_NS)
    assert t.tenants.get(acme).plan == "free"
    assert t.background.run_due() == len(t.health().background.jobs)
    assert t.tenants.get(acme).plan == "pro"


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, True),
        (None, "0", False),
        (None, "off", False),
        (None, "1", True),
        (False, "1", False),
        (True, "0", True),
    ],
)
def test_it_can_be_turned_off(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: bool | None,
    variable: str | None,
    expected: bool,
) -> None:
    open_shop(tmp_path).close()
    if variable is not None:
        monkeypatch.setenv("TENANCY_BACKGROUND", variable)
    with Tenancy.open(tmp_path / "data", background=argument) as t:
        assert t.health().background.enabled is expected
        thread = thread_of(t)
        assert works(t) is expected
    assert thread is None or not thread.is_alive()


def test_a_setting_nobody_knows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANCY_BACKGROUND", "maybe")
    with pytest.raises(InvalidValue, match=r"TENANCY_BACKGROUND.*maybe.*1 or 0"):
        Tenancy.open(tmp_path / "data", catalog="agent-platform")
    assert not (tmp_path / "data").exists(), "nothing half-done"


def test_a_forgotten_tenancy_takes_its_thread_along(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    forgotten = [Tenancy.open(tmp_path / "data", background=True)]
    wait_for(lambda: forgotten[0].health().background.elected, "elected")
    thread = thread_of(forgotten.pop())
    assert thread is not None
    wait_for(lambda: not thread.is_alive(), "the thread ends")
    with Tenancy.open(tmp_path / "data", background=False) as again:
        assert again.background.run_due() == at_once(again)


def test_closing_from_a_job_and_twice(t: Tenancy) -> None:
    t.background.add("closer", lambda: t.close() or (), every_s=60)  # type: ignore[func-returns-value]
    assert t.background.run_due() == at_once(t)
    with pytest.raises(StoreClosed):
        t.background.run_due()
    t.close()


def test_closing_waits_for_the_job_under_way(tmp_path: Path) -> None:
    begun, ended = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        time.sleep(0.05)
        ended.set()

    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data", background=True) as t:
        t.background.add("slow", job, every_s=3600)
        assert begun.wait(DEADLINE_S)
    assert ended.is_set()


def test_a_fork_inside_a_job(tmp_path: Path) -> None:
    children: list[int] = []

    def job() -> None:
        child = os.fork()
        if child == 0:
            os._exit(7)
        children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data", background=True) as t:
        t.background.add("forks", job, every_s=0.01)
        wait_for(lambda: len(children) >= 3, "the job goes on")
    assert set(children) == {7}


# --------------------------------------------------------------------------------- jobs that fail


def test_a_failing_job_is_logged_paused_and_told_and_spares_the_others(
    t: Tenancy, clock: _core.FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    def bad() -> None:
        runs.append("bad")
        raise RuntimeError("the disk is on fire")

    t.background.add("bad", bad, every_s=1)
    t.background.add("good", lambda: runs.append("good"), every_s=1)
    assert t.health()
    with caplog.at_level(logging.ERROR, "tenancy"):
        assert t.background.run_due() == at_once(t)
    assert "background job 'bad' failed, next try in 2 s" in caplog.text
    assert "the disk is on fire" in caplog.text
    health = t.health()
    assert not health
    assert health.problems == (
        "background job bad failed 1 times in a row: RuntimeError: the disk is on fire",
    )
    for _ in range(600):  # ten minutes
        clock.advance_ns(1_000_000_000)
        t.background.run_due()
    assert runs.count("good") == 601
    # 2, 4, 8, …, 256 and then every 300 seconds.
    assert runs.count("bad") == 1 + 8 + 0
    job = {job.name: job for job in t.health().background.jobs}["bad"]
    assert (job.failing, job.failures, job.runs) == (9, 9, 9)
    with open_shop(t.path.parent) as other:  # told to the processes that are not elected, too
        assert other.health().problems == t.health().problems
        assert [job.name for job in other.health().background.jobs] == ["bad"]


def test_a_job_that_recovers_is_healthy_and_back_in_step(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    broken = [True]

    def job() -> list[str]:
        if broken[0]:
            raise OSError("no")
        return ["two files are missing"] if len(broken) == 1 else []

    t.background.add("job", job, every_s=10)
    t.background.run_due()
    broken[0] = False
    clock.advance_ns(19_000_000_000)
    t.background.run_due()
    assert t.health().background.jobs[-1].runs == 1
    clock.advance_ns(1_000_000_000)
    t.background.run_due()
    assert t.health().problems == ("background job job: two files are missing",)
    broken.append(False)
    clock.advance_ns(10_000_000_000)
    t.background.run_due()
    assert t.health()
    last = t.health().background.jobs[-1]
    assert (last.runs, last.failures, last.failing) == (3, 1, 0)
    assert t.health().as_dict()["background"]["jobs"][-1]["every_s"] == 10.0


def test_the_thread_survives_whatever_a_job_raises(tmp_path: Path) -> None:
    runs: list[int] = []

    def exits() -> None:
        runs.append(1)
        sys.exit(3)

    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data", background=True) as t:
        t.background.add("exits", exits, every_s=0.01)
        wait_for(lambda: len(runs) >= 3, "it goes on")
        assert "SystemExit: 3" in t.health().problems[0]


def test_a_clock_set_back_holds_nothing_up(t: Tenancy, clock: _core.FakeClock) -> None:
    assert t.background.run_due() == at_once(t)
    clock.step_mono_ns(-3600 * 1_000_000_000)
    assert t.background.run_due() == at_once(t)


def test_a_seat_that_cannot_be_taken_is_told(t: Tenancy) -> None:
    (t.path / "background").mkdir()
    assert t.background.run_due() == 0
    assert t.health().problems == (f"{t.path / 'background'}: Is a directory",)
    (t.path / "background").rmdir()
    assert t.background.run_due() == at_once(t)
    assert t.health()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"jobs": []}', b"\xff" * 70_000])
def test_a_note_that_is_damaged_reads_as_none(t: Tenancy, text: bytes) -> None:
    assert t.background.run_due() == at_once(t)
    (t.path / "background").write_bytes(text)
    with open_shop(t.path.parent) as other:
        health = other.health().background
        assert (health.running, health.pid, health.jobs) == (True, None, ())


@pytest.mark.parametrize(("name", "every_s"), [("schedule", 1.0), ("x", 0.0), ("x", -1.0)])
def test_a_job_needs_a_name_of_its_own_and_a_pace(t: Tenancy, name: str, every_s: float) -> None:
    with pytest.raises(InvalidValue):
        t.background.add(name, lambda: None, every_s=every_s)


def test_a_seat_is_one_objects_at_a_time(tmp_path: Path) -> None:
    first, second = Election(tmp_path / "seat"), Election(tmp_path / "seat")
    assert first.look() == (False, {})
    assert first.win()
    assert first.win()
    assert not second.win()
    first.write({"a": 1})
    second.write({"a": 2})
    assert second.look() == (True, {"a": 1})
    first.resign()
    first.resign()
    assert second.look() == (False, {})
    assert second.win()
    assert (tmp_path / "seat").stat().st_mode & 0o777 == 0o600


def test_the_registry_is_what_other_parts_use(t: Tenancy) -> None:
    assert isinstance(t.background, Background)
    assert [job.name for job in t.health().background.jobs] == []
    t.background.run_due()
    assert [job.name for job in t.health().background.jobs] == [
        "schedule",
        "budgets",
        "audit",
        "usage",
        "alerts",
        "retention",
    ]
