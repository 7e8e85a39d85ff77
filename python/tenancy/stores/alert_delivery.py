"""Delivering alerts as a background job: at least once, to each destination.

Invariants:
 1. An attempt is written down, with when the next one is due, before it is made: killed in the
    middle, the next process tries again at that time; an alert that kills its process does so no
    more than `Retry.attempts` times.
 2. Each destination has its own rows, times and thread, of which it has one at most. One that is
    slow or dead holds up neither the others nor the job.
 3. The id of an alert never changes, so a receiver can drop what it has.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from .._text import NS, duration_ns, life_ns, shown
from ..errors import InvalidValue, TenancyError
from .alert_destinations import DeliveryError, Destination
from .alert_store import alert_of
from .host import Host
from .records import Record
from .schema import alert_deliveries, alerts

__all__ = ["EVERY_S", "DeliveryJob", "Retry"]

EVERY_S = 0.5
ATTEMPTS_MAX = 100
WAIT_S = 5.0
PART = 20
"""Alerts that a thread delivers before it ends."""
SLOW_S = 300.0
"""A thread that takes so long is told; a function may hang for ever."""
CLOSE_WAIT_S = 5.0
_TEXT_MAX = 300
_log = logging.getLogger("tenancy")


@dataclass(frozen=True)
class Retry(Record):
    """When an alert that was not taken is tried again.

    After `first`, then after twice as long each time, at most `longest`; a part of each pause is
    drawn by lot, so that what fails together does not come back together. After `attempts` it is
    dead: listed, told by `t.health()`, and tried again only by `t.alerts.retry`.
    """

    first: timedelta | float = timedelta(seconds=5)
    longest: timedelta | float = timedelta(hours=6)
    attempts: int = 20

    def __post_init__(self) -> None:
        if life_ns(self.first, "first") > duration_ns(self.longest, "longest"):
            raise InvalidValue("longest", "is shorter than `first`")
        number = self.attempts
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidValue("attempts", f"expected a number, got {shown(number)}")
        if not 1 <= number <= ATTEMPTS_MAX:
            raise InvalidValue("attempts", f"{number}, expected 1 to {ATTEMPTS_MAX}")

    @property
    def longest_ns(self) -> int:
        return duration_ns(self.longest, "longest")

    def pause_ns(self, attempts: int, lot: float) -> int:
        """How long to wait after so many attempts; `lot` is from 0 to 1."""
        whole = min(duration_ns(self.first, "first") << min(attempts - 1, 60), self.longest_ns)
        return whole // 2 + int(whole / 2 * lot)


@dataclass
class _Busy:
    """A destination's thread."""

    thread: threading.Thread
    since_s: float


class DeliveryJob:
    """Belongs to the background work; starts threads, of which each writes down what it did."""

    def __init__(self, host: Host, destinations: Sequence[Destination], retry: Retry) -> None:
        self._host = host
        self._destinations = {one.name: one for one in destinations}
        self._retry = retry
        self._busy: dict[str, _Busy] = {}
        self._stop = threading.Event()

    def __call__(self) -> Sequence[str]:
        """Start what is due; what stands against the rest, as sentences."""
        # A child of a fork has no threads of its parent's: `is_alive` says so.
        self._busy = {name: b for name, b in self._busy.items() if b.thread.is_alive()}
        self._stop.clear()
        for name in self._due():
            if name in self._destinations and name not in self._busy:
                self._start(self._destinations[name])
        return (*self._unfinished(), *self._slow())

    def close(self) -> None:
        """Let what is under way end; what does not end soon is delivered again by who is next."""
        self._stop.set()
        end = time.monotonic() + CLOSE_WAIT_S
        for busy in self._busy.values():
            busy.thread.join(max(end - time.monotonic(), 0.0))

    # ------------------------------------------------------------------------------ what is due

    def _due_rows(self) -> Any:
        now_ns = self._host.clock.wall_ns()
        table = alert_deliveries.c
        # Further away than any pause: the wall clock was set back.
        ahead = now_ns + self._retry.longest_ns
        return sa.and_(
            table.status == "pending", sa.or_(table.next_ns <= now_ns, table.next_ns > ahead)
        )

    def _due(self) -> list[str]:
        query = sa.select(alert_deliveries.c.destination).where(self._due_rows()).distinct()
        with self._host.read() as connection:
            return list(connection.execute(query).scalars())

    def _unfinished(self) -> list[str]:
        """Alerts that nobody has acknowledged and that do not reach a destination."""
        table = alert_deliveries.c
        query = (
            sa.select(table.destination, table.status, sa.func.count(), sa.func.max(table.error))
            .join(alerts, alerts.c.id == table.alert_id)
            .where(table.status.in_(("pending", "dead")), alerts.c.acknowledged_ns.is_(None))
            .group_by(table.destination, table.status)
            .order_by(table.destination)
        )
        told = []
        with self._host.read() as connection:
            for name, status, count, error in connection.execute(query):
                if status == "dead":
                    told.append(f"{count} alerts did not reach {name}, given up: {error}")
                elif name not in self._destinations:
                    told.append(f"{count} alerts wait for {name}, which is no destination here")
        return told

    def _slow(self) -> list[str]:
        now_s = time.monotonic()
        return [
            f"alerts to {name} have taken {now_s - busy.since_s:.0f} s"
            for name, busy in self._busy.items()
            if now_s - busy.since_s > SLOW_S
        ]

    # ------------------------------------------------------------------------------ one destination

    def _start(self, destination: Destination) -> None:
        thread = threading.Thread(
            target=self._deliver,
            args=(destination,),
            name=f"tenancy-{destination.name}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            _log.warning("alerts to %s wait: %s", destination.name, error)
            return
        self._busy[destination.name] = _Busy(thread, time.monotonic())

    def _deliver(self, destination: Destination) -> None:
        """What is due for one destination, until one is not taken."""
        try:
            for _ in range(PART):
                row = None if self._stop.is_set() else self._begin(destination.name)
                if row is None or not self._attempt(destination, row):
                    return
        except TenancyError as error:
            _log.warning("alerts to %s wait: %s", destination.name, error)
        except BaseException:
            _log.exception("delivering alerts to %s failed", destination.name)

    def _begin(self, name: str) -> Any:
        """Write down that an attempt is made; the delivery and its alert, None when none is due."""
        table = alert_deliveries.c
        query = (
            sa.select(table.seq.label("delivery"), table.attempts, alerts)
            .join(alerts, alerts.c.id == table.alert_id)
            .where(self._due_rows(), table.destination == name)
            .order_by(table.next_ns, table.seq)
            .limit(1)
        )
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if row.attempts >= self._retry.attempts:
                error = "the process ended in the last attempt"
                self._set(connection, row.delivery, status="dead", error=error)
                connection.commit()
                return None
            next_ns = self._host.clock.wall_ns() + self._pause_ns(row.attempts + 1)
            self._set(connection, row.delivery, attempts=row.attempts + 1, next_ns=next_ns)
            connection.commit()
        return row

    def _attempt(self, destination: Destination, row: Any) -> bool:
        try:
            destination.send(alert_of(row))
        except DeliveryError as error:
            self._failed(destination.name, row, error.message, error.after_s, final=error.final)
            return False
        except Exception as error:
            _log.exception("%s did not take alert %s", destination.name, row.id)
            self._failed(destination.name, row, f"{type(error).__name__}: {error}")
            return False
        now_ns = self._host.clock.wall_ns()
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            self._set(connection, row.delivery, status="delivered", delivered_ns=now_ns, error=None)
            connection.commit()
        return True

    def _failed(
        self, name: str, row: Any, error: str, after_s: float | None = None, *, final: bool = False
    ) -> None:
        attempts = row.attempts + 1
        values: dict[str, Any] = {"error": error[:_TEXT_MAX]}
        if final or attempts >= self._retry.attempts:
            values["status"] = "dead"
            _log.error("alert %s did not reach %s, given up: %s", row.id, name, error)
        elif after_s is not None:
            pause_ns = max(int(after_s * NS), self._pause_ns(attempts))
            next_ns = self._host.clock.wall_ns() + min(pause_ns, self._retry.longest_ns)
            values["next_ns"] = next_ns
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            self._set(connection, row.delivery, **values)
            connection.commit()

    def _pause_ns(self, attempts: int) -> int:
        return self._retry.pause_ns(attempts, random.random())  # noqa: S311 - no secret

    @staticmethod
    def _set(connection: Any, delivery: int, **values: Any) -> None:
        pending = alert_deliveries.c.status == "pending"
        connection.execute(
            sa.update(alert_deliveries)
            .where(alert_deliveries.c.seq == delivery, pending)
            .values(**values)
        )
