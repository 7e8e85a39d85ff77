"""Sending the log's checkpoints to its anchors, as a background job of the elected process.

Invariants:
 1. Each anchor gets every checkpoint from the newest one at its first run on, in order, at least
    once: what was sent is written down after the anchor has kept it, and read with each turn, so
    that whoever is elected next goes on there.
 2. An anchor that fails or hangs holds up neither the others nor the job: each has a thread of its
    own while it has something to send. It is tried again with each turn.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InvalidValue, StoreError, TenancyError
from .anchors import Anchor, log_and_size
from .audit_log import AuditLog
from .whole_file import write_whole

__all__ = ["EVERY_S", "Anchoring"]

EVERY_S = 60.0
FILE = "anchors.json"
_WAIT_S = 1.0
"""How long a turn waits for its threads; who needs longer is looked at in the next one."""
_TEXT_MAX = 200


class Anchoring:
    """The anchors of one open directory. Any thread; survives forks."""

    def __init__(self, directory: Path, log: AuditLog, anchors: Sequence[Anchor]) -> None:
        names = [anchor.name for anchor in anchors]
        if len(set(names)) != len(names):
            raise InvalidValue("anchors", "two of them have one name", remedy="name each once")
        self._anchors = tuple(anchors)
        self._log = log
        self._path = directory / FILE
        # Each written by one anchor's thread, an item at a time: no lock that a fork could break.
        self._threads: dict[str, threading.Thread] = {}
        self._sent: dict[str, int] = {}
        self._errors: dict[str, str] = {}

    def __call__(self) -> Sequence[str]:
        """As a background job: sends what is new, and says what fails and lags."""
        known = self._read()
        notes = list(_notes(self._log.directory))
        for anchor in self._anchors:
            thread = self._threads.get(anchor.name)
            if thread is None or not thread.is_alive():
                sent = max(known.get(anchor.name, 0), self._sent.get(anchor.name, 0))
                new = [one for one in notes if one[0] > sent] if sent else notes[-1:]
                self._sent[anchor.name] = sent
                self._start(anchor, new)
        for thread in list(self._threads.values()):
            thread.join(_WAIT_S)
        if self._sent != known:
            self._write()
        return [*self._problems(notes[-1][0] if notes else 0)]

    def _start(self, anchor: Anchor, notes: Sequence[tuple[int, str]]) -> None:
        thread = threading.Thread(
            target=self._send, args=(anchor, notes), name="tenancy-anchor", daemon=True
        )
        self._threads[anchor.name] = thread
        thread.start()

    def _send(self, anchor: Anchor, notes: Sequence[tuple[int, str]]) -> None:
        try:
            for size, note in notes:
                anchor.publish(note)
                self._sent[anchor.name] = size
            self._errors.pop(anchor.name, None)
        except TenancyError as error:
            self._errors[anchor.name] = error.message[:_TEXT_MAX]
        except Exception as error:  # an anchor of the application's own
            self._errors[anchor.name] = f"{type(error).__name__}: {error}"[:_TEXT_MAX]

    def _problems(self, newest: int) -> Iterator[str]:
        for anchor in self._anchors:
            error = self._errors.get(anchor.name)
            if error is None and self._threads[anchor.name].is_alive():
                error = "has not answered yet"
            if error is not None:
                sent = self._sent[anchor.name]
                behind = f"{newest - sent} checkpoints behind" if sent else "nothing was sent yet"
                yield f"anchor {anchor.name}: {error}; {behind}"

    # ------------------------------------------------------------------------------ what was sent

    def _read(self) -> dict[str, int]:
        """By anchor; of this log alone: another one in its place begins anew."""
        try:
            body = json.loads(self._path.read_bytes())
            if body["log"] == self._log.id:
                return {str(name): int(size) for name, size in body["sent"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # worth no more than sending the newest once again
        return {}

    def _write(self) -> None:
        body = {"log": self._log.id, "sent": dict(self._sent)}
        write_whole(self._path, [json.dumps(body, indent=1).encode() + b"\n"])


def _notes(directory: Path) -> Iterator[tuple[int, str]]:
    """The checkpoints of the log, each with its size (cpp/LOG_FORMAT.md, 8.4)."""
    try:
        data = (directory / "checkpoints").read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{directory}/checkpoints: {error.strerror}") from None
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        end = at + 4 + length
        if not length or end + 4 > len(data):
            return
        note = data[at + 4 : end].decode("utf-8", "replace")
        yield log_and_size(note)[1], note
        at = end + 4
