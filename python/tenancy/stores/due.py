"""The schedule as a background job: what is due is done within about a second.

An item that fails, because a hook refuses it or the store cannot be written, is tried again after
5 seconds, then 10, at last every five minutes. It holds up nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from .._text import NS, to_datetime
from ..errors import TenancyError
from .lifecycle import Lifecycle

__all__ = ["DueJob"]

EVERY_S = 1.0
FIRST_PAUSE_S = 5
LONGEST_PAUSE_S = 300
TOLD = 20
"""Failing items that the health report names; the rest is counted."""

_log = logging.getLogger("tenancy")


@dataclass
class _Failed:
    times: int
    again_ns: int
    told: str


class DueJob:
    """Belongs to the background work, which runs it in one thread."""

    def __init__(self, tenants: Lifecycle, clock: Any) -> None:
        self._tenants = tenants
        self._clock = clock
        self._failed: dict[tuple[Any, ...], _Failed] = {}

    def __call__(self) -> tuple[str, ...]:
        if not self._tenants.anything_due():
            self._failed.clear()
            return ()
        now_ns = self._clock.mono_ns()
        before, self._failed = self._failed, {}
        for item in self._tenants.due_items():
            key = (item.seq, item.tenant_id, item.kind, item.due_ns, item.data)
            failed = before.get(key)
            if failed is None or failed.again_ns <= now_ns:
                failed = self._try(item, now_ns, 0 if failed is None else failed.times)
            if failed is not None:
                self._failed[key] = failed
        self._tenants.drop_expired_sessions()
        told = [failed.told for failed in self._failed.values()]
        more = (f"{len(told) - TOLD} more",) if len(told) > TOLD else ()
        return (*told[:TOLD], *more)

    def _try(self, item: Any, now_ns: int, failures: int) -> _Failed | None:
        try:
            self._tenants.process_item(item)
        except TenancyError as error:
            times = failures + 1
            pause_s = min(FIRST_PAUSE_S << min(times - 1, 16), LONGEST_PAUSE_S)
            since = to_datetime(item.due_ns)
            told = (
                f"{item.kind} of tenant {item.tenant_id}, due since {since}, "
                f"failed {times} times: {type(error).__name__}: {error}"
            )
            _log.exception("%s; next try in %d s", told, pause_s)
            return _Failed(times, now_ns + pause_s * NS, told)
        return None
