"""Forks happen between store operations, never inside one.

SQLite forbids carrying a connection across a fork: the child would believe in locks that it does
not hold. Connections are opened for each operation and closed after it, so all that is left is to
let running operations of other threads end before a fork, and to give the child fresh locks.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager

__all__ = [
    "ForkGate",
]


class ForkGate:
    """Counts the operations under way. A fork waits for them and keeps new ones out."""

    def __init__(self) -> None:
        self._reset()
        _gates.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._running = 0
        self._forking = False
        self._local = threading.local()

    def operation(self) -> AbstractContextManager[None]:
        return _Operation(self)

    def begin(self) -> None:
        depth = getattr(self._local, "depth", 0)
        if not depth:
            with self._lock:
                while self._forking:
                    self._condition.wait()
                self._running += 1
        self._local.depth = depth + 1

    def end(self) -> None:
        self._local.depth -= 1
        if not self._local.depth:
            with self._lock:
                self._running -= 1
                if self._forking:
                    self._condition.notify_all()

    def before_fork(self) -> None:
        own = 1 if getattr(self._local, "depth", 0) else 0
        with self._condition:
            self._forking = True
            while self._running > own:
                self._condition.wait()

    def after_fork_in_parent(self) -> None:
        with self._condition:
            self._forking = False
            self._condition.notify_all()

    def after_fork_in_child(self) -> None:
        self._reset()


class _Operation:
    """Every access to a store is one, also the recording of an event: a generator would take
    several times as long."""

    __slots__ = ("_gate",)

    def __init__(self, gate: ForkGate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._gate.begin()

    def __exit__(self, *error: object) -> None:
        self._gate.end()


_gates: weakref.WeakSet[ForkGate] = weakref.WeakSet()


def _before() -> None:
    for gate in list(_gates):
        gate.before_fork()


def _in_parent() -> None:
    for gate in list(_gates):
        gate.after_fork_in_parent()


def _in_child() -> None:
    for gate in list(_gates):
        gate.after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
