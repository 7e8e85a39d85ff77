"""Exactness of whole decisions: many processes, a thousand of them killed at random.

Time stands still in a clock that all processes share, so what may be admitted is known to the unit.
"""

from __future__ import annotations

import ast
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store_support import run_python, write_catalog
from tenancy import Tenancy
from tenancy.testing import FakeClock

CATALOG = """
catalog: exact
version: "1"
format: 1
default_plan: only
default_action: window
quotas:
  tokens: {kind: consumption, period: month, alerts: []}
  agents: {kind: concurrency, lease: 1h}
plans:
  only:
    quotas: {tokens: 600, agents: 5}
    rate_limits:
      window: 400/minute
      bucket: {limit: 400, window: 60s, burst: 400}
      fixed: {limit: 400, window: 60s, algorithm: fixed_window}
      counter: {limit: 400, window: 60s, algorithm: sliding_counter}
      log: {limit: 400, window: 60s, algorithm: sliding_log}
"""
ACTIONS = ("window", "bucket", "fixed", "counter", "log")
COST = 3


def opened(directory: Path) -> Tenancy:
    clock = FakeClock(1_790_000_040, path=directory / "clock")
    catalog = write_catalog(directory, CATALOG, "exact.yaml")
    return Tenancy.open(directory / "data", catalog=catalog, clock=clock)


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with opened(tmp_path) as tenancy:
        yield tenancy


def work(t: Tenancy, tenant: str, action: str, log: int) -> None:
    """A worker: spends until it is killed, and writes down what it was granted."""
    while True:
        if t.check(tenant=tenant, action=action, cost=COST, consume={"agents": 0}):
            os.write(log, b"l")
        if t.check(tenant=tenant, cost=0, consume={"tokens": COST}):
            os.write(log, b"q")
        lease = t.check(tenant=tenant, cost=0, consume={"agents": 1})
        t.finish(lease)


def start_worker(t: Tenancy, tenant: str, action: str, log: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            work(t, tenant, action, log)
        finally:
            os._exit(1)
    return child


def test_a_thousand_workers_killed_never_admit_more(tmp_path: Path) -> None:
    """In a process of their own: to fork this one, which has imported every test, takes long."""
    code = """
        import sys
        from pathlib import Path
        from test_exact import kill_workers, opened
        directory = Path(sys.argv[1])
        with opened(directory) as t:
            print(kill_workers(t, directory))
    """
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1000


def kill_workers(t: Tenancy, directory: Path) -> int:
    """Short by at most kills × the largest cost in flight; leases all come back. The kills."""
    random.seed(20)
    kills = 0
    for number in range(50):
        tenant = t.tenants.create(name=f"Round {number}", slug=f"round-{number}").id
        action = ACTIONS[number % len(ACTIONS)]
        path = directory / f"log-{number}"
        log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        killed_here = 0
        while killed_here < 20:
            children = [start_worker(t, tenant, action, log) for _ in range(4)]
            for child in children:
                time.sleep(random.random() * 0.003)
                os.kill(child, signal.SIGKILL)
                killed_here += 1
            for child in children:
                os.waitpid(child, 0)
        os.close(log)
        text = path.read_bytes()
        limited, used = text.count(b"l") * COST, text.count(b"q") * COST
        while t.check(tenant=tenant, action=action):
            limited += 1
        while t.check(tenant=tenant, cost=0, consume={"tokens": 1}):
            used += 1
        short = killed_here * COST
        assert 400 - short <= limited <= 400, (action, limited)
        assert 600 - short <= used <= 600, used
        everything = t.check(tenant=tenant, cost=0, consume={"agents": 5})
        assert everything, "leases of the dead are free at once"
        t.finish(everything)
        kills += killed_here
    return kills


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_processes_together_admit_exactly_the_plan(
    t: Tenancy, tmp_path: Path, processes: int
) -> None:
    tenant = t.tenants.create(name="Exact", slug="exact").id
    logs = []
    for number in range(processes):
        path = tmp_path / f"worker-{number}"
        logs.append(path)
        if os.fork() == 0:
            granted = dict.fromkeys((*ACTIONS, "tokens"), 0)
            for _ in range(700 // processes + 1):
                for action in ACTIONS:
                    granted[action] += bool(t.check(tenant=tenant, action=action))
                granted["tokens"] += bool(t.check(tenant=tenant, cost=0, consume={"tokens": 1}))
            path.write_text(repr(granted))
            os._exit(0)
    for _ in range(processes):
        assert os.wait()[1] == 0
    answers = [ast.literal_eval(path.read_text()) for path in logs]
    totals = {name: sum(answer[name] for answer in answers) for name in answers[0]}
    assert totals == {**dict.fromkeys(ACTIONS, 400), "tokens": 600}
    # And the same after a restart: nobody gets more.
    with Tenancy.open(t.path, clock=FakeClock(path=tmp_path / "clock")) as again:
        for action in ACTIONS:
            assert not again.check(tenant=tenant, action=action)
        assert not again.check(tenant=tenant, cost=0, consume={"tokens": 1})
