"""One seat per file: of all processes that want it, one has it, and the kernel frees it at death.

The seat is a lock on the open file description (fcntl(2), `F_OFD_SETLK`): it ends when the process
does, however that happens, and unlike a lock of the process it is not lost when some other part of
the program opens and closes the file. A forked child inherits the description and with it the seat
of its parent, which would then outlive it: so the child closes its copy before anything else runs,
and no fork happens while a seat is being taken.

The holder may write a note into the file for the others to read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Election"]

_FLOCK = "hhqqi0q"  # struct flock of 64-bit Linux
_NOTE_BYTES = 65_536


class Election:
    """A candidate for the seat of one file. Any thread; a forked child begins without it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        _elections.add(self)

    @property
    def held(self) -> bool:
        return self._handle is not None

    def win(self) -> bool:
        """Take the seat if it is free. True: this object has it now. Raises `OSError`."""
        with _acting:
            if self._handle is not None:
                return True
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self.path, flags, 0o600)
            try:
                fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
            except OSError as error:
                os.close(handle)
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    return False
                raise
            self._handle = handle
            return True

    def resign(self) -> None:
        """Let go of the seat. No error when it was not held."""
        with _acting:
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def write(self, note: Mapping[str, Any]) -> None:
        """Leave a note for the others; only for who has the seat. A full disk keeps the old one."""
        with _acting, contextlib.suppress(OSError):
            if self._handle is not None:
                data = json.dumps(note).encode()[:_NOTE_BYTES]
                os.pwrite(self._handle, data, 0)
                os.ftruncate(self._handle, len(data))

    def look(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether anybody has the seat, and what the holder wrote; empty when nobody has it."""
        with _acting:
            try:
                handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                return self.held, {}
            try:
                asked = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
                if struct.unpack(_FLOCK, asked)[0] == fcntl.F_UNLCK:
                    return False, {}
                return True, _parsed(os.pread(handle, _NOTE_BYTES, 0))
            finally:
                os.close(handle)

    def _in_child(self) -> None:
        """Closes the copy. The parent's description, and its seat, stay."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)


def _whole_file(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def _parsed(data: bytes) -> Mapping[str, Any]:
    """A note that is just being written reads as none."""
    with contextlib.suppress(ValueError):
        note = json.loads(data)
        if isinstance(note, dict):
            return note
    return {}


_elections: weakref.WeakSet[Election] = weakref.WeakSet()
_acting = threading.RLock()  # bound anew in a child: who held it does not exist there


def _in_child() -> None:
    global _acting
    _acting = threading.RLock()
    for election in list(_elections):
        election._in_child()


os.register_at_fork(
    before=lambda: _acting.acquire(),
    after_in_parent=lambda: _acting.release(),
    after_in_child=_in_child,
)
