"""Events on their way into the log: periods, quotas, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._text import shown, to_moment
from ..errors import (
    InvalidValue,
    PeriodClosed,
    TenancyError,
    UnknownUsageEvent,
    UsageConflict,
)
from ..quotas import Quotas
from ..stores.host import Host
from ..stores.usage_gate import UsageGate
from ..stores.usage_log import DUPLICATE, RECORDED, UNKNOWN, Draft, UsageLog
from ..stores.usage_periods import Calendar
from ..stores.usage_units import SCALE, units_of_text
from ._bulk import Bulk

__all__ = ["LATE", "Recorder", "problem"]

LATE = 100
"""Not recorded: the period of the event is closed."""


class Recorder:
    """Shared by the ways to record. Any thread."""

    def __init__(self, host: Host, log: UsageLog, calendar: Calendar, quotas: Quotas) -> None:
        self._host = host
        self._log = log
        self._calendar = calendar
        self._quotas = quotas
        self.gate = UsageGate(host.directory.path / "usage.gate")

    def commit(
        self,
        drafts: Sequence[Draft],
        *,
        action: str = "record",
        ack: str = "os",
        backfill: bool = False,
    ) -> list[int]:
        """Record them; what became of each: `RECORDED`, `DUPLICATE`, `CONFLICT`, `UNKNOWN` or
        `LATE`."""
        with self._host.database.operation(), self.gate.recording():
            late = [] if backfill else self._late(drafts)
            if not late:
                return list(self._log.record(drafts, action, ack))
            result = [LATE] * len(drafts)
            kept = sorted(set(range(len(drafts))).difference(late))
            if kept:
                done = self._log.record([drafts[i] for i in kept], action, ack)
                for place, status in zip(kept, done, strict=True):
                    result[place] = status
            return result

    def commit_bulk(self, events: Bulk, *, ack: str, backfill: bool) -> bytes | None:
        """The same for events by columns; None, and nothing is recorded: some are `LATE`."""
        with self._host.database.operation(), self.gate.recording():
            if not backfill:
                now_ns = self._host.clock.wall_ns()
                for tenant_id, first_ns in events.earliest().items():
                    if first_ns < self._calendar.open_from_ns(tenant_id, now_ns):
                        return None
            return self._log.record_columns(events.arguments, ack)

    def check_open(self, tenant_id: str, time_ns: int) -> None:
        """Raise `PeriodClosed` for a time of which no events are taken any more."""
        open_from = self._calendar.open_from_ns(tenant_id, self._host.clock.wall_ns())
        if time_ns < open_from:
            raise PeriodClosed(late(time_ns, open_from), tenant=tenant_id)

    def _late(self, drafts: Sequence[Draft]) -> list[int]:
        now_ns = self._host.clock.wall_ns()
        begins: dict[str, int] = {}
        found = []
        for place, draft in enumerate(drafts):
            if draft.time_ns is None:
                continue
            begin = begins.get(draft.tenant)
            if begin is None:
                begin = self._calendar.open_from_ns(draft.tenant, now_ns)
                begins[draft.tenant] = begin
            if draft.time_ns < begin:
                found.append(place)
        return found

    def charged(self, draft: Draft, quota: str, ack: str, backfill: bool) -> int:
        """Record one event and charge a quota, or neither.

        What is reserved before the event is in the log is committed after it. Killed between the
        two the event is recorded and the quota is not charged, since a reservation ends with its
        process: the customer is never charged for what was not recorded. Raises `QuotaExceeded`.
        """
        amount, rest = divmod(units_of_text(draft.quantity), SCALE)
        if rest:
            raise InvalidValue(
                "quantity",
                f"{draft.quantity}: the quota {quota} counts whole units",
                remedy="a whole quantity, or consume=False",
            )
        handle = self._quotas.reserve(draft.tenant, quota, amount)
        try:
            (status,) = self.commit([draft], ack=ack, backfill=backfill)
        except BaseException:
            handle.release()
            raise
        if status != RECORDED:
            handle.release()
        elif not handle.commit():  # expired meanwhile; the use happened all the same
            self._quotas.consume(draft.tenant, quota, amount)
        return status

    def raise_for(self, status: int, draft: Draft, before: Any) -> None:
        """Raise what stands against an event; `before` is the one that its id belongs to."""
        if status in (RECORDED, DUPLICATE):
            return
        if status == LATE:
            assert draft.time_ns is not None
            begin = self._calendar.open_from_ns(draft.tenant, self._host.clock.wall_ns())
            raise PeriodClosed(late(draft.time_ns, begin), tenant=draft.tenant)
        if status == UNKNOWN:
            raise UnknownUsageEvent(
                f"event {shown(draft.id)} of source {shown(draft.source)} is not among those that"
                " can be corrected",
                tenant=draft.tenant,
                remedy="corrections reach back as far as duplicates are known; a difference can be"
                " recorded as an event of its own",
            )
        raise UsageConflict(conflict(draft, before), tenant=draft.tenant)


def problem(status: int, draft: Draft, recorder: Recorder) -> TenancyError:
    """The same as a value, for reports."""
    try:
        recorder.raise_for(status, draft, None)
    except TenancyError as error:
        return error
    raise AssertionError(f"status {status} is no problem")


def late(time_ns: int, open_from_ns: int) -> str:
    return (
        f"{to_moment(time_ns).isoformat()} lies in a period that is closed: events are taken from"
        f" {to_moment(open_from_ns).isoformat()} on"
    )


def conflict(draft: Draft, before: Any) -> str:
    """Says what was recorded and what comes now."""
    name = f"{shown(draft.id)} of source {shown(draft.source)}"
    now = _content(draft.metric, draft.quantity, draft.time_ns, draft.properties)
    if before is None:
        return f"event {name} was recorded with other content than {now}"
    properties = before.properties or None
    earlier = _content(before.metric, before.quantity, before.time_ns, properties)
    return f"event {name} was recorded as {earlier}, and now comes as {now}"


def _content(metric: str, quantity: Any, time_ns: int | None, properties: Any) -> str:
    when = "" if time_ns is None else f" at {to_moment(time_ns).isoformat()}"
    more = "" if not properties else f" with {shown(properties)}"
    return f"{quantity} {metric}{when}{more}"
