"""Recording and closing keep out of each other's way.

Who records holds the file's lock shared from the look at the period until the event is in the log.
Who has closed a period waits once for the lock alone: after that no event can arrive in it any
more. The kernel frees the locks of a process that dies. Each recording opens the file for itself:
threads do not share a lock, and a forked child none with its parent.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreBusy, StoreNotWritable

__all__ = ["UsageGate"]

WAIT_S = 15.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class UsageGate:
    """One file of the data directory. Any thread, any process."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)

    @contextmanager
    def recording(self) -> Iterator[None]:
        handle = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

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

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS, 0o600)
        except OSError as error:
            raise StoreNotWritable(f"{self._path}: {error.strerror}") from error


def _alone(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
