"""The gate between recording and closing: every thread and process has a lock of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenancy.errors import StoreBusy
from tenancy.stores.usage_gate import UsageGate


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[UsageGate]:
    made = UsageGate(tmp_path / "usage.gate")
    yield made
    made.close()


def is_free(gate: UsageGate) -> bool:
    try:
        gate.wait(0)
    except StoreBusy:
        return False
    return True


def test_who_closes_waits_for_each_recording(gate: UsageGate) -> None:
    with gate.recording():
        assert not is_free(gate)
        with gate.recording():
            pass
        assert not is_free(gate), "the one inside took the lock of the one around it along"
    assert is_free(gate)
    with pytest.raises(ZeroDivisionError), gate.recording():
        raise ZeroDivisionError
    assert is_free(gate)


def test_threads_do_not_share_a_lock(gate: UsageGate) -> None:
    inside, leave = threading.Event(), threading.Event()

    def record() -> None:
        with gate.recording():
            inside.set()
            leave.wait()

    other = threading.Thread(target=record)
    other.start()
    inside.wait()
    with gate.recording():
        pass
    assert not is_free(gate)
    leave.set()
    other.join()
    assert is_free(gate)


def test_a_child_has_a_lock_of_its_own(gate: UsageGate) -> None:
    with gate.recording():
        pass
    told, tell = os.pipe()
    ending, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        with gate.recording():
            os.write(tell, b"x")
            os.read(ending, 1)
        os._exit(0)
    os.read(told, 1)
    with gate.recording():
        pass
    assert not is_free(gate), "the parent unlocked its child's"
    for each in (told, tell, ending, end):
        os.close(each)
    os.waitpid(child, 0)
    assert is_free(gate)


def times_open(path: Path) -> int:
    files = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.readlink() == path for link in files)


def test_a_child_inherits_no_lock(gate: UsageGate, tmp_path: Path) -> None:
    with gate.recording():
        pass
    assert times_open(tmp_path / "usage.gate") == 1
    child = os.fork()
    if child == 0:
        os._exit(times_open(tmp_path / "usage.gate"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_stays_open(gate: UsageGate, tmp_path: Path) -> None:
    def opened() -> int:
        return times_open(tmp_path / "usage.gate")

    for _ in range(3):
        with gate.recording():
            assert opened() == 1
    thread = threading.Thread(target=lambda: gate.recording().__enter__())
    thread.start()
    thread.join()
    assert is_free(gate), "what a thread left behind is unlocked"
    assert opened() == 1
    gate.close()
    assert opened() == 0
