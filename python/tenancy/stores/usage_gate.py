"""Recording and closing keep out of each other's way.

Who records holds the file's lock shared from the look at the period until the event is in the log.
Who has closed a period waits once for the lock alone: after that no event can arrive in it any
more. The kernel frees the locks of a process that dies. Each thread has the file open for itself,
since a lock belongs to what was opened; a forked child closes what it inherited, else it would keep
the lock of a parent that is killed, and opens it anew.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from contextlib import AbstractContextManager
from pathlib import Path

from ..errors import StoreBusy, StoreNotWritable

__all__ = ["UsageGate"]

WAIT_S = 15.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class UsageGate:
    """One file of the data directory. Any thread, any process."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._idle = threading.local()
        _gates.add(self)

    def recording(self) -> AbstractContextManager[None]:
        return _Recording(self)

    def wait(self, wait_s: float = WAIT_S) -> None:
        """Until everything that was being recorded when this was called is in the log, or given up.

        Raises `StoreBusy` when somebody records without a pause.
        """
        handle = self._open()
        try:
            end = time.monotonic() + wait_s
            while not _alone(handle):
                if time.monotonic() >= end:
                    raise StoreBusy("usage is recorded without a pause")
                time.sleep(0.001)
        finally:
            os.close(handle)

    def take(self) -> _Handle:
        """This thread's, which nobody else uses until it is given back."""
        handle: _Handle | None = getattr(self._idle, "handle", None)
        self._idle.handle = None
        if handle is None or handle.pid != os.getpid():
            handle = _Handle(self._open())
        return handle

    def give_back(self, handle: _Handle) -> None:
        self._idle.handle = handle

    def close(self) -> None:
        """Let go of the file, in all threads that do not record just now."""
        self._idle = threading.local()

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS, 0o600)
        except OSError as error:
            raise StoreNotWritable(f"{self._path}: {error.strerror}") from error


class _Handle:
    """The file, opened by one process. Closed with its thread, or its gate."""

    __slots__ = ("number", "pid")

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = os.getpid()

    def __del__(self) -> None:
        os.close(self.number)


class _Recording:
    __slots__ = ("_gate", "_handle")

    def __init__(self, gate: UsageGate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        handle = self._gate.take()
        fcntl.flock(handle.number, fcntl.LOCK_SH)
        self._handle = handle

    def __exit__(self, *error: object) -> None:
        # Opening and closing it each time would be a quarter of what recording an event takes.
        fcntl.flock(self._handle.number, fcntl.LOCK_UN)
        self._gate.give_back(self._handle)


def _alone(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_gates: weakref.WeakSet[UsageGate] = weakref.WeakSet()


def _in_child() -> None:
    for gate in list(_gates):
        gate.close()


os.register_at_fork(after_in_child=_in_child)
