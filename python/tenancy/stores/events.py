"""Audit facts that single requests leave by way of the store: quota thresholds, and operators'
endpoints refused. Refusals of decisions go into the log by themselves.

A threshold is told exactly once per tenant, quota, period and percent, over all processes: its
event id is made from these, and the counters are told only after the row is stored. The catalog's
audit policy says whether it becomes a fact.
A refused operator is written at once but capped, per source and in total, so that an attacker fills
neither the disk nor the time of requests; what the cap swallows is counted in the next fact of its
source.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .._text import NS, to_datetime
from ..errors import TenancyError
from . import outbox
from .host import Host
from .records import Record

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .._core import Decision

__all__ = ["AlertFunction", "Events", "QuotaAlert"]

PER_SOURCE = 10
"""Refused operators of one key or tenant that are written in a minute."""
PER_PROCESS = 60
SOURCES_KEPT = 4096
WAIT_S = 0.25
"""A decision never waits longer than this for its report."""

_MINUTE_NS = 60 * NS
_NAMESPACE = uuid.UUID("6f1d5f43-6a0e-5e39-9f5d-7c2f6a0f4c11")
_log = logging.getLogger("tenancy")


@dataclass(frozen=True)
class QuotaAlert(Record):
    """A quota reached a threshold of its limit."""

    tenant: str
    quota: str
    percent: int
    used: int
    limit: int | None
    period_start: datetime | None
    period_end: datetime | None
    event_id: str


AlertFunction = Callable[[QuotaAlert], Any]


class Events:
    """Any thread. One per process; the caps are per process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._alert_functions: list[AlertFunction] = []
        self._lock = threading.Lock()
        self._minute = 0
        self._written = 0
        self._sources: dict[str, int] = {}
        self._swallowed: dict[str, int] = {}

    def on_alert(self, function: AlertFunction) -> None:
        self._alert_functions.append(function)

    def on_decision(self, decision: Decision) -> None:
        """The gate's report of a decision that reached thresholds. Never raises: the decision
        stands."""
        try:
            for state in decision.quotas:
                self.thresholds(str(decision.tenant), state, refused=not decision)
        except TenancyError:
            _log.exception("a decision's report could not be written")

    # ------------------------------------------------------------------------------ thresholds

    def thresholds(
        self, tenant_id: str, state: Mapping[str, Any], *, refused: bool = False
    ) -> None:
        """Store the thresholds that this call reached, then tell the counters and the functions."""
        alerts = [self._alert(tenant_id, state, percent) for percent in state["crossed"]]
        if not alerts:
            return
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            new = [a for a in alerts if not outbox.known(connection, a.event_id)]
            for alert in new:
                self._write(connection, alert, refused)
            connection.commit()
        self._host.engine.quota_acknowledge(
            tenant_id, state["quota"], state["period_start_wall_ns"], state["crossed"]
        )
        for alert in new:
            self._tell(alert)

    def _write(self, connection: Connection, alert: QuotaAlert, refused: bool) -> None:
        now_ns = self._host.clock.wall_ns()
        if not self._host.engine.threshold_wanted(refused):
            outbox.remember(connection, alert.event_id, now_ns)
            return
        outbox.append(
            connection,
            now_ns=now_ns,
            by="system",
            type="quota_threshold",
            action="quota:alert",
            tenant=alert.tenant,
            resource="quota",
            resource_id=alert.quota,
            context={"percent": alert.percent, "used": alert.used, "limit": alert.limit},
            event_id=alert.event_id,
            revision=self._host.engine.revision,
        )

    @staticmethod
    def _alert(tenant_id: str, state: Mapping[str, Any], percent: int) -> QuotaAlert:
        start = state["period_start_wall_ns"]
        name = f"{tenant_id}\n{state['quota']}\n{start}\n{percent}"
        return QuotaAlert(
            tenant=tenant_id,
            quota=state["quota"],
            percent=percent,
            used=state["used"],
            limit=None if state["unlimited"] else state["limit"],
            period_start=to_datetime(start),
            period_end=to_datetime(state["period_end_wall_ns"]),
            event_id=str(uuid.uuid5(_NAMESPACE, name)),
        )

    def _tell(self, alert: QuotaAlert) -> None:
        for function in self._alert_functions:
            try:
                function(alert)
            except Exception:  # noqa: PERF203 - one failing function spares the next
                _log.exception("an alert function failed for %s", alert)

    # ------------------------------------------------------------------------------ operators

    def refused_operator(self, context: Any, action: str, details: Mapping[str, Any]) -> None:
        """Somebody asked for what only operators may, in a `TenantContext` or in none. Never
        raises: the refusal stands."""
        decision = None if context is None else context.decision
        key = None if decision is None else decision.key
        tenant = None if context is None else context.tenant_id
        by = (None if context is None else context.principal) or key or "anonymous"
        try:
            self._violation(
                f"operator {key or tenant or by}",
                by=by,
                type="cross_tenant_access",
                action=action,
                tenant=tenant,
                context={**details, **({"key": key} if key else {})},
                revision=self._host.engine.revision,
            )
        except TenancyError:
            _log.exception("a refused operator's access could not be written")

    def _violation(self, source: str, *, context: dict[str, Any], **fact: Any) -> None:
        swallowed = self._admit(source)
        if swallowed is None:
            return
        if swallowed:
            context["not_written_before"] = swallowed
        try:
            with self._host.database.write(timeout_s=WAIT_S) as connection:
                outbox.append(
                    connection,
                    now_ns=self._host.clock.wall_ns(),
                    result="denied",
                    context=context,
                    **fact,
                )
                connection.commit()
        except TenancyError:
            with self._lock:
                self._swallow(source, swallowed + 1)
            raise

    def _admit(self, source: str) -> int | None:
        """None: this one is only counted. Else how many of the source were counted before."""
        minute = self._host.clock.wall_ns() // _MINUTE_NS
        with self._lock:
            if minute != self._minute:
                self._minute, self._written = minute, 0
                self._sources.clear()
            count = self._sources.get(source, 0)
            full = len(self._sources) >= SOURCES_KEPT and source not in self._sources
            if count >= PER_SOURCE or self._written >= PER_PROCESS or full:
                self._swallow(source, 1)
                return None
            self._sources[source] = count + 1
            self._written += 1
            return self._swallowed.pop(source, 0)

    def _swallow(self, source: str, count: int) -> None:
        known = source in self._swallowed or len(self._swallowed) < SOURCES_KEPT
        place = source if known else "others"
        self._swallowed[place] = self._swallowed.get(place, 0) + count

    def flush(self) -> None:
        """Write what the caps swallowed as one summary; at the end of the process."""
        with self._lock:
            swallowed, self._swallowed = self._swallowed, {}
        if not swallowed:
            return
        largest = sorted(swallowed.items(), key=lambda item: -item[1])[:20]
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            outbox.append(
                connection,
                now_ns=self._host.clock.wall_ns(),
                by="system",
                type="cross_tenant_access",
                action="operator:refused",
                result="denied",
                context={"not_written": sum(swallowed.values()), "sources": dict(largest)},
                revision=self._host.engine.revision,
            )
            connection.commit()
