"""The revision word: what one process changes, the next decision of every other obeys, whatever
happens to the writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from store_support import ask, killed, make_clock, open_shop, run_python, start_python
from tenancy import Tenancy, _core
from tenancy.errors import StoreBusy, StoreError, TenancyError
from tenancy.stores.revision import RevisionWord

WORKER = """
    import sys
    from tenancy import Tenancy
    t = Tenancy.open(sys.argv[1])
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "check":
            print(t.check(api_key=rest[0], permission="ticket:read").code)
        elif what == "role":
            print(t.check(tenant="acme", principal="u1", permission=rest[0]).code)
        elif what == "plan":
            print(t.check(tenant="acme").plan)
        elif what == "suspend":
            print(t.tenants.suspend("acme").status)
        elif what == "resume":
            print(t.tenants.resume("acme").status)
        elif what == "create":
            print(t.tenants.create(rest[0], slug=rest[0]).slug)
"""


def settled(t: Tenancy) -> bool:
    return t.engine.word() == 2 * t.engine.revision


def newest(data: Path) -> int:
    with sqlite3.connect(data / "tenancy.db") as connection:
        found = connection.execute("SELECT max(revision) FROM changes").fetchone()[0]
    connection.close()
    return int(found)


def test_a_change_in_one_process_holds_from_the_next_decision_of_another(tmp_path: Path) -> None:
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        acme = t.tenants.create("Acme", slug="acme")
        key, secret = t.keys.create(acme, scopes=["ticket:read"])
        worker = start_python(WORKER, tmp_path / "data")
        assert ask(worker, f"check {secret}") == "ALLOWED"
        for _ in range(20):
            t.tenants.suspend(acme)
            assert ask(worker, f"check {secret}") == "SUSPENDED_TENANT"
            t.tenants.resume(acme)
            assert ask(worker, f"check {secret}") == "ALLOWED"
        t.roles.assign(acme, "u1", "agent")
        assert ask(worker, "role ticket:write") == "ALLOWED"
        t.roles.revoke(acme, "u1", "agent")
        assert ask(worker, "role ticket:write") == "PERMISSION_DENIED"
        t.tenants.change_plan(acme, "pro")
        assert ask(worker, "plan") == "pro"
        t.keys.revoke(key)
        assert ask(worker, f"check {secret}") in ("INVALID_CREDENTIAL", "EXPIRED_CREDENTIAL")
        # and the other way round
        assert ask(worker, "suspend") == "suspended"
        assert not t.check(tenant="acme")
        # T6: a tenant made by one worker is served by every other at once
        assert ask(worker, "create beta") == "beta"
        assert t.check(tenant="beta")
        worker.communicate()


def test_trap_9_no_cache_outlives_a_revocation(tmp_path: Path) -> None:
    """Two workers that decide all the time: none allows anything after `revoke` has returned."""
    reader = """
        import sys, time
        from tenancy import Tenancy
        t = Tenancy.open(sys.argv[1])
        secret, begun, last = sys.argv[2], time.monotonic(), 0
        print("ready", flush=True)
        while time.monotonic() < begun + 120:
            # When the decision began, however long this process then has to wait for its turn.
            began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            if not t.check(api_key=secret, permission="ticket:read"):
                print(began, flush=True)
                break
            last = began
        print(last, flush=True)
    """
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        acme = t.tenants.create(
            "Acme",
            slug="acme",
            plan="pro",
            overrides={"rate_limits": {"api_requests": "unlimited"}},
        )
        key, secret = t.keys.create(acme, scopes=["ticket:read"])
        readers = [start_python(reader, tmp_path / "data", secret) for _ in range(2)]
        for process in readers:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for number in range(5):  # under load of other changes
            t.tenants.create(f"Other {number}")
        t.keys.revoke(key)
        returned = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        for process in readers:
            output, _ = process.communicate(timeout=180)
            refused, last_allowed = map(int, output.split())
            assert 0 < last_allowed < returned
            assert refused > 0


KILL_POINTS = ("before_commit", "between", "after_commit")

VICTIM = """
    import os, signal, sys
    from tenancy import Tenancy
    from tenancy.stores.revision import RevisionWord

    point = sys.argv[2]
    t = Tenancy.open(sys.argv[1])
    before_commit, after_commit = RevisionWord.before_commit, RevisionWord.after_commit

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def before(self, revision):
        if point == "before_commit":
            die()
        before_commit(self, revision)
        if point == "between":
            die()

    def after(self, revision):
        if point == "after_commit":
            die()
        after_commit(self, revision)

    RevisionWord.before_commit, RevisionWord.after_commit = before, after
    t.tenants.suspend("acme")
"""


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_writer_killed_at_the_points_of_the_protocol_leaves_nothing_half_done(
    tmp_path: Path, point: str
) -> None:
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        t.tenants.create("Acme", slug="acme")
        assert t.check(tenant="acme")
        assert killed(run_python(VICTIM, tmp_path / "data", point))
        odd = t.engine.word() & 1
        assert odd == (point != "before_commit")
        committed = point == "after_commit"
        assert bool(t.check(tenant="acme")) is not committed
        assert settled(t)
        assert t.tenants.get("acme").status == ("suspended" if committed else "active")
        assert t.tenants.create("Beta", slug="beta").slug == "beta"
        assert t.check(tenant="beta")


def test_writers_killed_at_random_lose_and_invent_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    victim = """
        import sys
        from tenancy import Tenancy
        t = Tenancy.open(sys.argv[1])
        print("ready", flush=True)
        for number in range(10_000):
            print(t.tenants.create(f"T {sys.argv[2]} {number}").id, flush=True)
    """
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        acknowledged: list[str] = []
        for round_ in range(8):
            process = start_python(victim, tmp_path / "data", round_)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(dice.uniform(0.0, 0.06))
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
            lines = output.split("\n")
            acknowledged += [line for line in lines[:-1] if line.startswith("ten_")]
        assert t.check(tenant=acknowledged[0]) if acknowledged else True
        assert settled(t) or t.refresh() is None
        assert settled(t)
        assert t.revision == newest(tmp_path / "data")
        for tenant_id in acknowledged:
            assert t.tenants.get(tenant_id).id == tenant_id
            assert t.check(tenant=tenant_id)
        # Each change has its fact and each fact its change, also in the rounds that were cut off.
        facts = t.operator(by="test", reason="count").audit(type="tenant_created", limit=1000)
        made = {event.resource_id for event in facts}
        assert made == {x.id for x in t.tenants.list(limit=1000)}


def test_a_failed_commit_restores_the_word(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        before = t.engine.word()

        def fail(self: RevisionWord, revision: int) -> None:
            original(self, revision)
            raise KeyboardInterrupt

        original = RevisionWord.before_commit
        RevisionWord.before_commit = fail  # type: ignore[method-assign]
        try:
            with pytest.raises(KeyboardInterrupt):
                t.tenants.suspend("acme")
        finally:
            RevisionWord.before_commit = original  # type: ignore[method-assign]
        assert t.engine.word() == before
        assert t.check(tenant="acme")
        assert t.tenants.suspend("acme").status == "suspended"


def test_removed_counters_are_made_again_and_the_word_is_set(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        revision = t.revision
    (tmp_path / "data" / "counters").unlink()
    with Tenancy.open(tmp_path / "data", clock=make_clock()) as t:
        assert t.revision == revision
        assert settled(t)
        assert t.check(tenant="acme")


@pytest.mark.parametrize("word", [1, 3, 999, 1000])
def test_a_word_that_does_not_fit_the_store_is_settled(tmp_path: Path, word: int) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        assert t.engine.swap_word(t.engine.word(), word)
        assert t.check(tenant="acme")
        assert settled(t)


def test_when_the_store_cannot_be_read_decisions_fail_closed(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        assert t.check(tenant="acme")
        database = tmp_path / "data" / "tenancy.db"
        content = database.read_bytes()
        database.write_bytes(b"gone" * 4096)
        assert t.engine.swap_word(t.engine.word(), t.engine.word() + 2)
        assert t.check(tenant="acme").code == "STATE_UNAVAILABLE"
        database.write_bytes(content)
        assert t.check(tenant="acme").code == "ALLOWED"


def test_who_is_too_far_behind_reads_everything(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t, Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        for name in ("acme", "beta", "gamma"):
            t.tenants.create(name, slug=name)
        with t._host.database.write() as connection:
            connection.exec_driver_sql(
                "DELETE FROM changes WHERE revision < (SELECT max(revision) FROM changes)"
            )
            connection.commit()
        assert other.check(tenant="acme")
        assert other.revision == t.revision


def test_two_tenants_may_exchange_their_slugs(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t, Tenancy.open(tmp_path / "data", clock=t.clock) as other:
        a, b = t.tenants.create("A", slug="a"), t.tenants.create("B", slug="b")
        assert other.check(tenant="a").tenant == a.id
        t.tenants.update(a, slug="c")
        t.tenants.update(b, slug="a")
        t.tenants.update(a, slug="b")
        assert other.check(tenant="a").tenant == b.id
        assert other.check(tenant="b").tenant == a.id


def test_writers_of_several_processes_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    program = """
        import sys
        from tenancy import Tenancy
        t = Tenancy.open(sys.argv[1])
        for number in range(15):
            t.tenants.create(f"T {number}")
    """
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        processes = [start_python(program, tmp_path / "data") for _ in range(3)]
        for _ in range(15):
            t.tenants.create("T")
        for process in processes:
            assert process.wait(timeout=180) == 0
            process.communicate()
        found = t.tenants.list(limit=1000)
        assert len(found) == 60
        assert len({x.slug for x in found}) == 60
        assert all(t.check(tenant=x.slug) for x in found)
        assert settled(t)


# ------------------------------------------------------------------- processes, threads, loops


def test_open_before_fork(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        assert t.check(tenant="acme")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:  # a worker of a preloading server
            status = 1
            try:
                t.tenants.suspend("acme")
                t.tenants.create("Beta", slug="beta")
                if not t.check(tenant="acme") and t.check(tenant="beta"):
                    status = 0
                os.write(writing, b"x")
            finally:
                os._exit(status)
        assert os.read(reading, 1) == b"x"
        assert t.check(tenant="acme").code == "SUSPENDED_TENANT"
        assert t.check(tenant="beta")
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        os.close(reading)
        os.close(writing)
        t.tenants.resume("acme")
        assert t.check(tenant="acme")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forks_while_other_threads_write(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        stop = threading.Event()
        failures: list[BaseException] = []

        def write() -> None:
            try:
                while not stop.is_set():
                    t.tenants.create("T")
            except BaseException as error:
                failures.append(error)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        for _ in range(4):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for _ in range(20):  # where the machine is busy, writers of others are quicker
                        with contextlib.suppress(StoreBusy):
                            t.tenants.create("Child")
                            t.refresh()
                            status = 0
                            break
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
        stop.set()
        for writer in writers:
            writer.join()
        assert not failures
        with t._host.database.cursor() as cursor:
            assert cursor.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert len(t.tenants.list(text="Child")) == 4


def test_spawned_processes(tmp_path: Path) -> None:
    with open_shop(tmp_path, clock=_core.Clock.system()) as t:
        done = run_python(
            """
            import sys
            from tenancy import Tenancy
            with Tenancy.open(sys.argv[1]) as t:
                print(t.tenants.create("Spawned", slug="spawned").slug)
            """,
            tmp_path / "data",
        )
        assert done.stdout.strip() == "spawned", done.stderr
        assert t.check(tenant="spawned")


def test_threads_write_and_decide_together(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for i in range(10):
                    made = t.tenants.create(f"T {number} {i}", slug=f"t-{number}-{i}")
                    assert t.check(tenant=made.slug)
                    t.tenants.suspend(made)
                    assert not t.check(tenant=made.slug)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


async def test_two_event_loops_and_the_twins(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        acme = await t.tenants.acreate("Acme", slug="acme")
        assert await t.acheck(tenant="acme")

        def other_loop() -> str:
            async def suspend() -> str:
                return (await t.tenants.asuspend(acme)).status

            return asyncio.run(suspend())

        assert await asyncio.to_thread(other_loop) == "suspended"
        assert not await t.acheck(tenant="acme")
        with pytest.raises(TenancyError):
            await t.arequire(tenant="acme")
        gathered = await asyncio.gather(*(t.tenants.acreate(f"T{i}") for i in range(5)))
        assert len({x.id for x in gathered}) == 5


def test_a_busy_store_is_an_error_after_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_shop(tmp_path) as t:
        holder = sqlite3.connect(tmp_path / "data" / "tenancy.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another writer"), t._host.database.write(0.05):
            pass
        holder.execute("ROLLBACK")
        holder.close()
        assert t.tenants.create("Acme")
