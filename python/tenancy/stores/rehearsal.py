"""Changes are tried on an engine of their own before they are committed.

What the engine refuses (an override the plan does not know, a cycle of roles, two duties in one
hand) must never reach the store, where it would stop every worker. Rather than state the engine's
rules a second time, the change is applied to a private engine that holds just what it touches.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from ..errors import InvalidValue, raise_core

__all__ = [
    "Rehearsal",
    "Rows",
    "private_engine",
]


Rows = Mapping[str, Sequence[tuple[Any, ...]]]


def private_engine(clock: _core.Clock) -> _core.Engine:
    """An engine without file or counters worth speaking of."""
    return _core.Engine(
        counters_path="",
        clock=clock,
        initial_slots=64,
        max_bytes=1 << 22,
        anonymous_bytes=1 << 16,
    )


class Rehearsal:
    """The engine on which changes are tried. Its caller holds the store's write lock."""

    def __init__(self, clock: _core.Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._engine: _core.Engine | None = None
        self._revision = 0

    def apply(
        self, catalog: _core.Catalog, rows: Rows, *, field: str, tenant: str | None = None
    ) -> _core.Engine:
        """The private engine with exactly these rows. What it refuses is raised about `field`."""
        with self._lock:
            if self._engine is None:
                self._engine = private_engine(self._clock)
            self._revision += 1
            try:
                self._engine.apply(self._revision, rows, catalog=catalog, reset=True)
            except _core.CoreError as error:
                if error.args[0] == "NOT_FOUND":  # it names something that is not there
                    raise InvalidValue(field, str(error.args[1]), tenant=tenant) from error
                raise_core(error, field=field, tenant=tenant)
            return self._engine
