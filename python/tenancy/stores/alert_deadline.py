"""A deadline for a whole conversation over a socket.

A socket's own timeout starts anew with each byte; a peer that sends one now and then would hold a
thread for hours.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["deadline"]


@contextmanager
def deadline(seconds: float, find_socket: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Shut the socket down when the block takes longer; what waits on it then fails."""

    def cut() -> None:
        found = find_socket()
        if found is not None:
            with contextlib.suppress(OSError):
                # Not the method of an SSLSocket, which would take its state from under the reader.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
