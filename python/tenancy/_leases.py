"""Keeps the leases of running requests alive: each is renewed at a third of its time.

One thread per process, started by the first lease and ended when there are none. It holds requests
weakly: what is forgotten is not kept, and its lease ends by itself.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

SHORTEST_S = 0.05
_IDLE_S = 5.0

_log = logging.getLogger("tenancy")


class Holder(Protocol):
    """Who holds leases while `over` is false."""

    @property
    def over(self) -> bool: ...

    def held_leases(self) -> Iterable[Any]: ...


class LeaseKeeper:
    """Any thread. Starts afresh in a forked child."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, weakref.ref[Any], float]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def keep(self, holder: Holder, life_s: float) -> None:
        """Renew the holder's leases, the shortest of which lives `life_s`, until it is over."""
        interval = max(SHORTEST_S, life_s / 3)
        with self._wake:
            self._push(weakref.ref(holder), interval)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tenancy-leases", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def _push(self, holder: weakref.ref[Any], interval: float) -> None:
        heapq.heappush(
            self._due, (time.monotonic() + interval, next(self._order), holder, interval)
        )

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._due and not self._wake.wait(_IDLE_S) and not self._due:
                    self._thread = None
                    return
                if not self._due:
                    continue
                wait = self._due[0][0] - time.monotonic()
                if wait > 0:
                    self._wake.wait(wait)
                    continue
                _, _, reference, interval = heapq.heappop(self._due)
            if self._renew(reference):
                with self._wake:
                    self._push(reference, interval)

    @staticmethod
    def _renew(reference: weakref.ref[Any]) -> bool:
        holder = reference()
        if holder is None or holder.over:
            return False
        try:
            renewed = [lease.renew() for lease in holder.held_leases()]
            return any(renewed)
        except Exception:  # one request's trouble must not end the others' leases
            _log.exception("leases could not be renewed")
            return True


keeper = LeaseKeeper()
os.register_at_fork(after_in_child=keeper._reset)
