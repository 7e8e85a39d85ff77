"""What tests of applications need: time that stands still until it is moved.

>>> from tenancy.limits import Limiter
>>> from tenancy.testing import FakeClock
>>> clock = FakeClock()
>>> limiter = Limiter("1/minute", clock=clock)
>>> bool(limiter.hit("a")), bool(limiter.hit("a"))
(True, False)
>>> clock.advance(60)
>>> bool(limiter.hit("a"))
True
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from . import _core
from .context import TenantContext, bind
from .errors import InvalidValue, raise_core

__all__ = ["FakeClock", "as_tenant"]

_NS = 1_000_000_000
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class FakeClock:
    """Time that a test owns. Every object of this package that reads time takes `clock=`.

    `start` is a `datetime` with a time zone, or seconds since the Unix epoch; the default is the
    beginning of 2026. With `path` all processes that open the same file share one time, begun by
    the first of them.
    """

    __slots__ = ("native",)

    def __init__(
        self,
        start: datetime | float | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        file = None if path is None else os.fspath(path)
        try:
            self.native = _core.FakeClock(_start_ns(start), file)
        except _core.CoreError as error:
            raise_core(error, field="path")

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; never negative, for time does not go back by itself."""
        if seconds < 0:
            raise InvalidValue(
                "seconds", f"{seconds!r} is negative", remedy="`step` moves the wall clock back"
            )
        self.native.advance_ns(_ns(seconds))

    def step(self, seconds: float) -> None:
        """Move the wall clock alone, forth or back, as an operator or NTP would."""
        self.native.step_wall_ns(_ns(seconds))

    def time(self) -> float:
        """Seconds since the Unix epoch, as `time.time` gives them."""
        return self.native.wall_ns() / _NS

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.fromtimestamp(self.time(), timezone.utc)

    def __repr__(self) -> str:
        return f"FakeClock({self.now().isoformat()})"


def _ns(seconds: float) -> int:
    return seconds * _NS if isinstance(seconds, int) else round(seconds * _NS)


def _start_ns(start: datetime | float | None) -> int:
    if isinstance(start, datetime) and start.tzinfo is None:
        raise InvalidValue("start", "it has no time zone", remedy="tzinfo=timezone.utc")
    moment = _START if start is None else start
    return _ns(moment.timestamp() if isinstance(moment, datetime) else moment)


@contextmanager
def as_tenant(
    tenancy: Any, tenant: Any, *, principal: str | None = None
) -> Iterator[TenantContext]:
    """Run a block of a test as a tenant: `with as_tenant(t, "acme", principal="ann") as ctx: ...`.

    `tenant` is a record, id, external id or slug. Code that asks `current_tenant()` finds it;
    requests sent through a client are still decided by their own credentials.
    """
    with bind(tenant, tenancy=tenancy, principal=principal) as context:
        yield context
