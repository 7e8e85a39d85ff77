"""Waiting for the log from asyncio, without a thread for each that waits.

An event loop with something under way has one thread, which waits for the oldest record and then
tells the loop of all records that the same sync made durable. What the tasks of one turn of the
loop record is handed over together, at its end, so that it shares one sync.

Invariants:
 1. A future ends when its record is at its level, or with the error of the wait that began when it
    was handed over. The record is in the log either way, also when the future was cancelled.
 2. A thread that has nothing to wait for ends after `LINGER_S`. It is no daemon: the interpreter
    does not go away beneath it.
 3. A forked child has none of its parent's loops, futures and threads.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref

from .. import _core

__all__ = ["LogWaits"]

LINGER_S = 0.1
"""Longer than the pauses of a loop that is busy; the end of a program waits no longer than that."""

_Waiting = tuple[int, "asyncio.Future[None]"]


class LogWaits:
    """Of one log of this process. Any thread, any number of loops."""

    def __init__(self, core: _core.Log) -> None:
        self._core = core
        self._in_child()
        _waits.add(self)

    def _in_child(self) -> None:
        self._lock = threading.Lock()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _LoopWaits]] = (
            weakref.WeakKeyDictionary()
        )

    def future(self, end: int, ack: str) -> asyncio.Future[None]:
        """Of the running loop; ends when the record with that end (`_core.Log.submit`) is at
        `ack`, which is ``os`` or ``disk``. Its error is a `CoreError`."""
        loop = asyncio.get_running_loop()
        with self._lock:
            levels = self._loops.get(loop)
            if levels is None:
                levels = self._loops[loop] = {}
            waits = levels.get(ack)
            if waits is None:
                waits = levels[ack] = _LoopWaits(self._core, ack, loop)
        return waits.add(loop, end)


class _LoopWaits:
    """Of one loop and one level."""

    def __init__(self, core: _core.Log, ack: str, loop: asyncio.AbstractEventLoop) -> None:
        self._core, self._ack = core, ack
        self._loop = weakref.ref(loop)
        self._turn: list[_Waiting] = []  # the loop's thread only
        self._changed = threading.Condition()
        self._handed: list[_Waiting] = []
        self._thread: threading.Thread | None = None

    def add(self, loop: asyncio.AbstractEventLoop, end: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = loop.create_future()
        if not self._turn:
            loop.call_soon(self._hand_over)
        self._turn.append((end, future))
        return future

    def _hand_over(self) -> None:
        turn, self._turn = self._turn, []
        with self._changed:
            self._handed += turn
            if self._thread is not None:
                self._changed.notify()
                return
            thread = threading.Thread(target=self._run, name="tenancy-log-waits")
            try:
                thread.start()
            except RuntimeError as error:  # no more threads, or the program is at its end
                handed, self._handed = self._handed, []
                _end([future for _, future in handed], ("IO", f"recorded, but {error}"))
                return
            self._thread = thread

    def _run(self) -> None:
        pending: list[_Waiting] = []
        while True:
            with self._changed:
                if not pending:
                    self._changed.wait_for(lambda: self._handed, LINGER_S)
                pending += self._handed
                self._handed = []
                if not pending:
                    self._thread = None
                    return
            pending = self._settle(pending)

    def _settle(self, pending: list[_Waiting]) -> list[_Waiting]:
        """Wait for the oldest, tell of all that is decided then; what is left."""
        error: tuple[str, str] | None = None
        try:
            self._core.wait(pending[0][0], self._ack)
        except _core.CoreError as caught:
            error = (caught.args[0], caught.args[1])
        done: list[asyncio.Future[None]] = []
        left: list[_Waiting] = []
        for waiting in pending:
            if self._core.reached(waiting[0], self._ack):
                done.append(waiting[1])
            else:
                left.append(waiting)
        self._tell(done, None)
        if error is None:
            return left
        # All of them were here when the wait began: none has waited for less long than the oldest.
        self._tell([future for _, future in left], error)
        return []

    def _tell(self, futures: list[asyncio.Future[None]], error: tuple[str, str] | None) -> None:
        loop = self._loop()
        if loop is None or not futures:
            return
        try:
            loop.call_soon_threadsafe(_end, futures, error)
        except RuntimeError:
            return  # the loop was closed: nobody waits any more


def _end(futures: list[asyncio.Future[None]], error: tuple[str, str] | None) -> None:
    for future in futures:
        if future.done():  # cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(_core.CoreError(*error))


_waits: weakref.WeakSet[LogWaits] = weakref.WeakSet()


def _in_child() -> None:
    for waits in list(_waits):
        waits._in_child()


os.register_at_fork(after_in_child=_in_child)
