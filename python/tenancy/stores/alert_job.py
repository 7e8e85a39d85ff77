"""Finding alerts, as a background job of the elected process.

Invariants:
 1. One transaction has it all: what the rules still count, the alerts that they found with their
    audit facts and deliveries, and up to where the log was read. Killed at any instruction, the
    next process reads on from there: each fact is counted once, each alert is recorded once.
 2. Who reads on from another place than the store has writes nothing: the place is compared in the
    transaction. An erasure changes it, so what was read before a key was destroyed leads to nothing
    after.
 3. An alert never leads to another one: the facts that alerts leave are not counted.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Connection

from .._text import NS, to_datetime
from . import alert_store, outbox
from .alert_conditions import Conditions
from .alert_facts import kind_of, named_in, texts_of
from .alert_reader import LogMoved, read
from .alert_records import Alert
from .alert_rules import Rule
from .alert_store import Cursor, Loaded
from .alert_windows import Hit, tenant_of
from .audit_events import LogRow
from .host import Host
from .revision import newest_revision

__all__ = ["EVERY_S", "AlertJob"]

EVERY_S = 0.5
BATCH = 4096
TURNS = 20
"""Batches of one run: the other jobs of the process wait meanwhile."""
WAIT_S = 5.0
LOOKBACK_NS = 3600 * NS
"""What is older when rules are first used in a directory is history and no alert."""
SHOWN = 20
_NAMESPACE = uuid.UUID("3f0c7a86-5a5f-5b0a-9d6e-6d0f0d2f7c55")


@dataclass(frozen=True)
class _Found:
    """A fact that a rule counts."""

    rule: Rule
    group: Mapping[str, str]
    hit: Hit


class AlertJob:
    """Belongs to the background work, which runs it in one thread."""

    def __init__(self, host: Host, rules: Sequence[Rule], destinations: Sequence[str]) -> None:
        self._host = host
        self._rules = rules
        self._destinations = destinations
        self._conditions = Conditions(host)
        self._by_type: dict[str, tuple[Rule, ...]] = {}
        self._stored: Cursor | None = None
        self._read: Cursor | None = None
        """How far this process has read without finding anything, on from `_stored`."""

    def __call__(self) -> Sequence[str]:
        for _ in range(TURNS):
            if not self._turn():
                break
        return ()

    def _turn(self) -> bool:
        """Read a part of the log. True: there may be more."""
        with self._host.read() as connection:
            stored = alert_store.load_cursor(connection)
        if stored is None:
            self._begin()
            return True
        cursor = self._from(stored)
        try:
            rows, places = read(self._host.facts.log, cursor.places, BATCH)
        except LogMoved:
            # What was read after the cut counts anew; alerts that stand are not raised again.
            cursor = replace(cursor, begin_ns=cursor.newest_ns - LOOKBACK_NS)
            rows, places = read(self._host.facts.log, {}, BATCH)
        newest_ns = max((row.time_ns for row in rows), default=cursor.newest_ns)
        after = replace(cursor, places=places, newest_ns=max(newest_ns, cursor.newest_ns))
        found = [one for row in rows if row.time_ns >= cursor.begin_ns for one in self._of(row)]
        conditions = self._conditions.look()
        for texts, event_id in conditions:
            found += self._counted(texts, event_id, self._host.clock.wall_ns(), None)
        if found or self._unsaved(stored, after) >= BATCH:
            if not self._write(stored, after, found):
                return True
            self._conditions.told(conditions)
        self._stored, self._read = (after, after) if found else (stored, after)
        return len(rows) == BATCH

    def _begin(self) -> None:
        """The first cursor, before anything is read: without one nothing could be compared."""
        first = Cursor(self._host.facts.log.id, {}, self._host.clock.wall_ns() - LOOKBACK_NS, 0)
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            if alert_store.load_cursor(connection) is None:
                alert_store.save_cursor(connection, first)
            connection.commit()

    def _from(self, stored: Cursor) -> Cursor:
        log_id = self._host.facts.log.id
        if stored.log_id != log_id:
            return Cursor(log_id, {}, stored.newest_ns - LOOKBACK_NS, stored.newest_ns)
        if self._read is not None and self._stored == stored:
            return self._read
        return stored

    @staticmethod
    def _unsaved(stored: Cursor, after: Cursor) -> int:
        if stored.log_id != after.log_id:
            return BATCH
        return sum(n - stored.places.get(c, (0, ""))[0] for c, (n, _) in after.places.items())

    # ------------------------------------------------------------------------------ counting

    def _of(self, row: LogRow) -> list[_Found]:
        kind = kind_of(row)
        if kind is None or not self._rules_of(kind):
            return []
        event_id = row.event_id or f"{kind} {row.time_ns} {row.sequence}"
        return self._counted(texts_of(row), event_id, row.time_ns, row.tenant)

    def _rules_of(self, kind: str) -> tuple[Rule, ...]:
        known = self._by_type.get(kind)
        if known is None:
            if len(self._by_type) >= BATCH:
                self._by_type.clear()  # an application may make types up
            known = tuple(rule for rule in self._rules if rule.may_match(kind))
            self._by_type[kind] = known
        return known

    def _counted(
        self, texts: Mapping[str, str], event_id: str, time_ns: int, tenant: str | None
    ) -> list[_Found]:
        found = []
        for rule in self._rules_of(texts["type"]):
            group = rule.group(texts) if rule.matches(texts) else None
            if group is not None:
                value = "" if rule.distinct is None else texts[rule.distinct]
                found.append(_Found(rule, group, Hit(time_ns, event_id, tenant, value)))
        return found

    # ------------------------------------------------------------------------------ writing

    def _write(self, stored: Cursor, after: Cursor, found: Sequence[_Found]) -> bool:
        """The transaction. False: another process was here; look again."""
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            if alert_store.load_cursor(connection) != stored:
                return False
            now_ns = self._host.clock.wall_ns()
            loaded: dict[tuple[str, str], Loaded] = {}
            oldest_ns = min((one.hit.time_ns for one in found), default=0)
            for one in found:
                group = alert_store.group_text(one.group)
                place = loaded.get((one.rule.name, group))
                if place is None:
                    place = alert_store.load(connection, one.rule, group, oldest_ns)
                    loaded[one.rule.name, group] = place
                window = place.windows.add(one.hit)
                if window is not None:
                    alert = self._raise(connection, one, group, window, now_ns)
                    place.windows.raised(alert.id, window[-1].time_ns)
            for place in loaded.values():
                alert_store.save(connection, place)
            alert_store.prune(connection, min(after.newest_ns, now_ns), now_ns)
            alert_store.save_cursor(connection, after)
            connection.commit()
        return True

    def _raise(
        self, connection: Connection, one: _Found, group: str, window: Sequence[Hit], now_ns: int
    ) -> Alert:
        rule, personal = one.rule, self._host.catalog.audit.personal
        values = sorted({hit.value for hit in window}) if rule.distinct is not None else []
        times = {
            "time_ns": now_ns,
            "first_ns": window[0].time_ns,
            "last_ns": window[-1].time_ns,
        }
        time, first, last = map(to_datetime, times.values())
        assert time is not None
        name = f"{rule.name}\n{group}\n{window[0].event_id}"
        alert = Alert(
            id=str(uuid.uuid5(_NAMESPACE, name)),
            rule=rule.name,
            severity=rule.severity,
            tenant=one.group.get("tenant") or tenant_of(window),
            group=one.group,
            time=time,
            first=first or time,
            last=last or time,
            count=len(values) or len(window),
            summary=rule.summary,
            facts=tuple(hit.event_id for hit in window[:SHOWN]),
            values=tuple(values[:SHOWN]),
        )
        if alert_store.add_alert(connection, alert, times, group, rule):
            self._tell(connection, _unsealed(alert, rule, personal), now_ns)
            alert_store.add_deliveries(connection, alert.id, self._destinations, now_ns)
        return alert

    @staticmethod
    def _tell(connection: Connection, alert: Alert, now_ns: int) -> None:
        """The audit fact, under the alert's own id."""
        told = alert.as_dict()
        context: dict[str, Any] = {
            name: told[name]
            for name in ("rule", "severity", "group", "count", "first", "last", "facts", "values")
            if told[name]
        }
        if "ip" in alert.group:
            context["ip"] = alert.group["ip"]
        outbox.append(
            connection,
            now_ns=now_ns,
            by="system",
            type="security_alert",
            action="alert:raise",
            tenant=alert.tenant,
            resource="alert",
            resource_id=alert.id,
            context=context,
            event_id=alert.id,
            revision=newest_revision(connection),
        )


def _unsealed(alert: Alert, rule: Rule, personal: Collection[str]) -> Alert:
    """What of an alert may stand in the log for good: a value that facts have sealed could not be
    erased there. The facts that are named have it, as long as their keys are there."""

    def sealed(field: str) -> bool:
        return any(name in personal for name in named_in(field))

    group = {field: value for field, value in alert.group.items() if not sealed(field)}
    values = () if rule.distinct is not None and sealed(rule.distinct) else alert.values
    return replace(alert, group=group, values=values)
