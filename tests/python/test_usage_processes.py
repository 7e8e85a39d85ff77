"""Usage recorded by several processes, and by processes that are killed: each event once."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from store_support import START, run_python, start_python
from tenancy import Tenancy
from tenancy.catalog import Catalog
from usage_model import METERED, open_metered

WRITER = """
    import sys
    from tenancy import Tenancy
    data, first, count, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    with Tenancy.open(data, background=False) as t:
        print("ready", flush=True)
        sys.stdin.readline()
        for start in range(first, first + count, batch):
            end = min(start + batch, first + count)
            rows = [{"id": f"e{n}", "quantity": n} for n in range(start, end)]
            if batch == 1:
                t.usage.record("acme", "calls", start, id=f"e{start}")
            else:
                report = t.usage.record_many(rows, tenant="acme", metric="calls")
                assert report.ok, report
            print(end, flush=True)
"""


@pytest.fixture
def t(tmp_path: Path) -> Any:
    # The clock of the system: other processes record beside this one.
    with Tenancy.open(tmp_path / "data", Catalog.from_dict(METERED), background=False) as made:
        made.tenants.create(name="Acme", slug="acme", plan="free")
        yield made


def total(t: Tenancy) -> tuple[Any, int]:
    found = t.usage.aggregate("acme", "calls")
    return found.quantity, found.events


def test_what_overlaps_between_processes_counts_once_and_is_seen_at_once(
    t: Tenancy, tmp_path: Path
) -> None:
    """Four processes, three of four events in common with the next one; this one adds up beside
    them."""
    size, step = 200, 50
    writers = [
        start_python(WRITER, tmp_path / "data", n * step, size, [1, 20, 50, 100][n])
        for n in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    before = 0
    for writer in writers:
        writer.stdin.write("go\n")  # type: ignore[union-attr]
        writer.stdin.flush()  # type: ignore[union-attr]
    for place, writer in enumerate(writers):
        out, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        assert int(out.split()[-1]) == place * step + size
        seen = total(t)[1]
        assert seen >= max(before, place * step + size)
        before = seen
    last = 3 * step + size
    assert total(t) == (sum(range(last)), last)


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_and_counts_once(t: Tenancy, tmp_path: Path) -> None:
    """Killed at any moment, then the same work again from the start: each event is there once."""
    noise = random.Random(5)
    acknowledged = 0
    for batch in (1, 1, 7, 64, 64):
        writer = start_python(WRITER, tmp_path / "data", 0, 64 * 200, batch)
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(noise.uniform(0.02, 0.3))
        writer.kill()
        out, _ = writer.communicate(timeout=60)
        lines = [line for line in out.split("\n")[:-1] if line.isdigit()]
        acknowledged = max([acknowledged, *map(int, lines)])
        quantity, events = total(t)
        assert events >= acknowledged
        assert quantity == sum(range(events))
    assert acknowledged
    done = run_python(WRITER, tmp_path / "data", 0, 64 * 200, 64, input="go\n")
    assert done.returncode == 0, done.stderr
    assert total(t) == (sum(range(64 * 200)), 64 * 200)


def test_a_projection_that_is_killed_counts_nothing_twice(t: Tenancy, tmp_path: Path) -> None:
    """Readers that die while they bring the table up to the log."""
    rows = [{"id": f"e{n}", "quantity": n} for n in range(3000)]  # three records of the log
    t.usage.record_many(rows, tenant="acme", metric="calls")
    reader = """
        import os, sys
        from tenancy import Tenancy
        from tenancy.stores import usage_projection as projection
        projection._CHUNK = 200
        step, left = projection.UsageProjection._step, int(sys.argv[2])
        def dies(self, *args):
            global left
            done = step(self, *args)
            left -= 1
            if not left:
                os.kill(os.getpid(), 9)
            return done
        projection.UsageProjection._step = dies
        with Tenancy.open(sys.argv[1], background=False) as t:
            t.usage.aggregate("acme", "calls")
    """
    for left in (1, 1):
        assert run_python(reader, tmp_path / "data", left).returncode == -9
    assert total(t) == (sum(range(3000)), 3000)


def test_a_kill_between_quota_and_log_charges_nobody(t: Tenancy, tmp_path: Path) -> None:
    """The event is recorded or not; a quota is never charged for what is not."""
    program = """
        import os, sys
        from tenancy import Tenancy
        with Tenancy.open(sys.argv[1], background=False) as t:
            recorder = t.usage._recorder
            commit = recorder.commit
            def dies(*args, **options):
                if sys.argv[2] == "after":
                    commit(*args, **options)
                os.kill(os.getpid(), 9)
            recorder.commit = dies
            t.usage.record("acme", "tokens", 30, id="a")
    """
    for moment, events in (("before", 0), ("after", 1)):
        assert run_python(program, tmp_path / "data", moment).returncode == -9
        assert t.usage.aggregate("acme", "tokens").events == events
        assert t.quotas.reconcile("acme", "tokens").used == 0
    assert t.usage.record("acme", "tokens", 30, id="a").duplicate
    assert t.quotas.status("acme", "tokens").used == 0


def test_a_forked_child_records_and_closing_does_not_wait_for_it(t: Tenancy) -> None:
    t.usage.record("acme", "calls", 1)
    child = os.fork()
    if child == 0:
        try:
            t.usage.record("acme", "calls", 2)
            os._exit(0 if total(t)[1] == 2 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert total(t) == (3, 2)
    t.usage.close("acme", t.usage.period("acme").start)


def test_the_log_with_usage_in_it_verifies(tmp_path: Path) -> None:
    with open_metered(tmp_path) as t:
        t.tenants.create(name="Acme", slug="acme", plan="free", anchor=START)
        t.usage.record("acme", "calls", 3, id="a")
        t.usage.correct("acme", "a", quantity=4)
        t.usage.cancel("acme", "a")
        report = t.audit.verify()
        assert report.status in (0, 4), report.findings  # 4: there is no anchor
        assert report.chains["usage"]["records"] >= 3
