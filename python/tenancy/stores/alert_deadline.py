"""A deadline for a whole conversation over a socket, with its handshakes.

A socket's own timeout starts anew with each byte; a peer that sends one now and then would hold a
thread for hours.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

__all__ = ["Deadline"]


class Deadline:
    """A context manager that shuts watched sockets down when its block takes longer.

    Whoever reads from them or writes to them then fails. `passed` says whether that was it.
    """

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._copies: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end_s

    def watch(self, plug: socket.socket) -> None:
        """Know a socket by another descriptor, which stays its own when TLS takes the first."""
        with self._lock:
            self._copies.append(plug.dup())
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for copy in self._copies:
                with contextlib.suppress(OSError):
                    copy.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for copy in self._copies:
                copy.close()
            self._copies.clear()
