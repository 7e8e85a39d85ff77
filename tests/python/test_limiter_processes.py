"""Many processes, one file: together they admit exactly the limit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tenancy.limits import Limiter
from tenancy.testing import FakeClock

START = 1_790_000_040
CHOICES = {
    "sliding_window": {},
    "token_bucket": {"burst": 2000},
    "leaky_queue": {"burst": 2000},
    "fixed_window": {"algorithm": "fixed_window"},
    "sliding_counter": {"algorithm": "sliding_counter"},
    "sliding_log": {"algorithm": "sliding_log"},
}
CHOICES["leaky_queue"]["algorithm"] = "leaky_queue"


def open_limiter(directory: str, choice: str) -> Limiter:
    clock = FakeClock(START, path=Path(directory) / "clock")
    return Limiter(
        "2000/minute", shared=Path(directory) / "counters", clock=clock, **CHOICES[choice]
    )


def hammer(directory: str, choice: str, tries: int) -> int:
    limiter = open_limiter(directory, choice)
    return sum(bool(limiter.hit("key")) for _ in range(tries))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_forked_processes_admit_exactly_the_limit(
    tmp_path: Path, choice: str, processes: int
) -> None:
    """Trap 2: per-process memory multiplies every limit by the number of workers."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        jobs = [(str(tmp_path), choice, 4000 // processes)] * processes
        assert sum(pool.starmap(hammer, jobs, chunksize=1)) == 2000
    assert not open_limiter(str(tmp_path), choice).hit("key"), "and after a restart"


def test_spawned_processes_admit_exactly_the_limit(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(str(tmp_path), "sliding_window", 1500)] * 2
        assert sum(pool.starmap(hammer, jobs, chunksize=1)) == 2000


def test_a_limiter_opened_before_fork_counts_for_all(tmp_path: Path) -> None:
    limiter = open_limiter(str(tmp_path), "sliding_window")
    private = Limiter("10/minute", clock=FakeClock(START))
    assert limiter.hit("key")
    children = []
    for _ in range(3):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            admitted = sum(bool(limiter.hit("key")) for _ in range(1000))
            mine = sum(bool(private.hit("key")) for _ in range(20))
            os.write(writer, f"{admitted} {mine}".encode())
            os._exit(0)
        os.close(writer)
        children.append((child, reader))
    total = 1
    for child, reader in children:
        with os.fdopen(reader) as pipe:
            admitted, mine = map(int, pipe.read().split())
        os.waitpid(child, 0)
        total += admitted
        assert mine == 10, "without shared= each process counts for itself"
    assert total == 2000


def test_names_count_apart_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    clock = FakeClock(START)
    login = Limiter("5/minute", shared=path, clock=clock, name="login")
    search = Limiter("5/minute", shared=path, clock=clock, name="search")
    again = Limiter("5/minute", shared=path, clock=clock, name="login")
    assert login.hit("a", 5)
    assert search.peek("a").remaining == 5
    assert again.peek("a").remaining == 0
    changed = Limiter("8/minute", shared=path, clock=clock, name="login")
    assert changed.peek("a").remaining == 3, "a change of the limit keeps what was counted"


@pytest.mark.parametrize("choice", CHOICES)
def test_kill_9_anywhere_never_admits_more(tmp_path: Path, choice: str) -> None:
    limiter = open_limiter(str(tmp_path), choice)
    random.seed(choice)
    for round_number in range(6):
        key = f"key-{round_number}"
        log = tmp_path / f"admitted-{round_number}"
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                while True:
                    if limiter.hit(key):
                        os.write(descriptor, b".")
            children.append(child)
        for child in children:
            time.sleep(random.random() * 0.004)
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        os.close(descriptor)
        counted = log.stat().st_size
        while limiter.hit(key):
            counted += 1
        assert 2000 - len(children) <= counted <= 2000
