"""The steps of a tenant's life: the status machine, what stops with it, and what is scheduled."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from .. import _core
from .._text import NS, check_text, deadline_ns, from_json
from ..errors import (
    IllegalTransition,
    LegalHold,
    TenancyError,
)
from . import billing_timeline, schema
from .change import Change
from .plan_changes import OvertakenError, PlanChanges
from .records import Tenant
from .schema import schedule, sessions, tenants
from .tenant_rows import STATUSES, from_row
from .twins import twin

__all__ = ["Lifecycle", "check_step", "end_sessions"]

_log = logging.getLogger("tenancy")

PURGE_AFTER_DAYS = 30
"""When neither the call nor the plan says how long a deleted tenant is kept."""


_ANYTHING_DUE = """
    SELECT EXISTS (SELECT 1 FROM schedule WHERE due_ns <= :now)
        OR EXISTS (SELECT 1 FROM sessions WHERE expires_ns BETWEEN 1 AND :now)
"""


class Lifecycle(PlanChanges):
    """Base of the tenants service. Every step is one transaction with its audit fact."""

    # ------------------------------------------------------------------------------ status

    def suspend(
        self, tenant: Tenant | str, reason: str | None = None, *, by: str | None = None
    ) -> Tenant:
        """Refuse everything of the tenant from the next decision on, end sessions and leases."""
        if reason is not None:
            check_text(reason, "reason", 1000)

        def rows(change: Change, _row: Any) -> dict[str, Any]:
            return {"suspended_ns": change.now_ns, "suspension_reason": reason}

        return self._step(
            tenant,
            "suspended",
            "suspend",
            by,
            rows,
            only=("trial", "active"),  # a deleted one is suspended by `restore`
            context={"reason": reason},
        )

    def resume(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        """Serve a suspended or churned tenant again."""

        def rows(_change: Change, _row: Any) -> dict[str, Any]:
            return {"suspended_ns": None, "suspension_reason": None}

        return self._step(tenant, "active", "resume", by, rows, only=("suspended", "churned"))

    def activate(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        """A pending or trial tenant becomes a customer."""
        return self._step(tenant, "active", "activate", by, only=("pending", "trial"))

    def start_trial(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        return self._step(tenant, "trial", "start_trial", by)

    def churn(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        """The customer left; the data stays, nothing is served."""
        return self._step(tenant, "churned", "churn", by)

    def delete(
        self,
        tenant: Tenant | str,
        *,
        purge_after: datetime | timedelta | float | None = None,
        by: str | None = None,
    ) -> Tenant:
        """Delete softly: nothing is served, and a purge is scheduled.

        `purge_after` is a moment or a length of time; by default the plan's retention days, else
        30 days. Until then `restore` brings the tenant back, suspended.
        """

        def rows(change: Change, row: Any) -> dict[str, Any]:
            due = deadline_ns(purge_after, change.now_ns, "purge_after")
            if due is None:
                due = change.now_ns + self._retention_days(row) * 86_400 * NS
            self._schedule(change, row.id, "purge", due, None)
            return {
                "deleted_ns": change.now_ns,
                "purge_after_ns": due,
                "status_before_deletion": row.status,
            }

        return self._step(tenant, "deleted", "delete", by, rows)

    def restore(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        """Undo a deletion before its purge. The tenant is suspended; `resume` serves it again."""

        def rows(change: Change, row: Any) -> dict[str, Any]:
            self._unschedule(change, row.id, "purge")
            return {
                "deleted_ns": None,
                "purge_after_ns": None,
                "suspended_ns": change.now_ns,
                "suspension_reason": "restored",
            }

        return self._step(tenant, "suspended", "restore", by, rows, only=("deleted",))

    def purge(self, tenant: Tenant | str, *, by: str | None = None) -> Tenant:
        """Erase a deleted tenant for good. Audit facts and invoices stay; names and credentials do
        not, nor does its usage, once its invoices can be disputed no more (`usage.purge`)."""
        return self._purge(tenant, by, None)

    def _purge(self, tenant: Tenant | str, by: str | None, item: Any) -> Tenant:
        def rows(change: Change, row: Any) -> dict[str, Any]:
            self._check_stands(change, item)
            if row.legal_hold:
                raise LegalHold(f"tenant {row.id} is under legal hold", tenant=row.id)
            for table in (
                schema.keys,
                schema.sessions,
                schema.assignments,
                schema.resources,
                schema.roles,
                schema.schedule,
            ):
                change.execute(sa.delete(table).where(table.c.tenant_id == row.id))
            kept = {"seq", "id", "status", "plan", "anchor_ns", "legal_hold", "created_ns"}
            kept |= {"updated_ns", "deleted_ns", "name"}
            gone: dict[str, Any] = {c.name: None for c in tenants.columns if c.name not in kept}
            return {**gone, "name": "", "anchor_ns": 0}

        return self._step(tenant, "purged", "purge", by, rows)

    def legal_hold(
        self, tenant: Tenant | str, hold: bool = True, *, by: str | None = None
    ) -> Tenant:
        """Forbid the purge of a tenant, or allow it again."""
        with self._host.write(by) as change:
            row = self._row(change, tenant)
            change.execute(
                sa.update(tenants)
                .where(tenants.c.id == row.id)
                .values(legal_hold=int(hold), updated_ns=change.now_ns)
            )
            change.touched("tenant", row.id)
            action = "tenant:hold" if hold else "tenant:release"
            change.fact("config_changed", action, tenant=row.id, resource="tenant")
            return from_row(self._row(change, row.id))

    # ------------------------------------------------------------------------------ schedule

    def process_due(self) -> int:
        """Do what is due: scheduled changes of plan, purges, ended sessions. Returns how many.

        The host's background work does it every second; opening and listing do it too. What
        cannot be done is logged and stays; the rest goes on.
        """
        if not self.anything_due():
            return 0
        return sum(map(self._process, self.due_items())) + self.drop_expired_sessions()

    def _process(self, item: Any) -> bool:
        try:
            return self.process_item(item)
        except TenancyError:
            _log.exception("%s of tenant %s is due and failed", item.kind, item.tenant_id)
            return False

    def process_item(self, item: Any) -> bool:
        """Do one item of the schedule. False: it does not stand any more, or is of a newer release.

        Raises the `TenancyError` of what cannot be done.
        """
        try:
            if item.kind == "change_plan":
                plan = self.check_plan(json.loads(item.data)["plan"])
                self._change_plan_now(item.tenant_id, plan, item.created_by, item)
            elif item.kind == "purge":
                self._purge(item.tenant_id, "system", item)
            else:
                return False
        except OvertakenError:
            return False
        return True

    def anything_due(self) -> bool:
        """A quick look, for who asks every second."""
        now = self._host.clock.wall_ns()
        with self._host.cursor() as cursor:
            found = cursor.execute(_ANYTHING_DUE, {"now": now}).fetchone()
        return bool(found[0])

    def due_items(self) -> list[Any]:
        """What is due, the oldest first. Legal hold keeps a purge waiting."""
        query = (
            sa.select(schedule, tenants.c.legal_hold)
            .join(tenants, tenants.c.id == schedule.c.tenant_id)
            .where(schedule.c.due_ns <= self._host.clock.wall_ns())
            .order_by(schedule.c.due_ns, schedule.c.seq)
        )
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        return [row for row in rows if not (row.kind == "purge" and row.legal_hold)]

    def drop_expired_sessions(self) -> int:
        """Sessions whose time has passed are refused anyway; here their rows go."""
        now = self._host.clock.wall_ns()
        ended = sa.and_(sessions.c.expires_ns > 0, sessions.c.expires_ns <= now)
        with self._host.read() as connection:
            if connection.execute(sa.select(sessions.c.seq).where(ended).limit(1)).first() is None:
                return 0
        with self._host.write("system") as change:
            gone = (
                change.execute(sa.delete(sessions).where(ended).returning(sessions.c.digest))
                .scalars()
                .all()
            )
            for digest in gone:
                change.touched("session", digest)
        return len(gone)

    # ------------------------------------------------------------------------------ one step

    def _step(
        self,
        tenant: Tenant | str,
        after: str,
        step: str,
        by: str | None,
        rows: Callable[[Change, Any], dict[str, Any]] | None = None,
        *,
        only: tuple[str, ...] = (),
        context: dict[str, Any] | None = None,
    ) -> Tenant:
        """Take the tenant to status `after`, if the machine and the hooks let it."""
        record = self._record(tenant)
        check_step(record.id, record.status, after, only)
        self._host.hooks.run_before(step, record)
        stops = after not in ("active", "trial", "pending")
        with self._host.write(by) as change:
            row = self._row(change, record.id)
            check_step(row.id, row.status, after, only)
            values = {} if rows is None else rows(change, row)
            change.execute(
                sa.update(tenants)
                .where(tenants.c.id == row.id)
                .values(**{**values, "status": after, "updated_ns": change.now_ns})
            )
            billing_timeline.record(change, row.id, "status", {"status": after})
            change.touched("tenant", row.id)
            if stops:
                end_sessions(change, row.id)
            change.fact(
                f"tenant_{after}" if step != "resume" else "tenant_resumed",
                f"tenant:{step}",
                tenant=row.id,
                resource="tenant",
                resource_id=row.id,
                context={"before": row.status, "after": after, **(context or {})},
            )
        if stops and after != "purged":
            self._host.engine.quota_revoke_leases(row.id)
        now = self._record(row.id)
        if stops:
            self._host.hooks.run_after("stop_work", now)
        self._host.hooks.run_after(step, now)
        return now

    def _retention_days(self, row: Any) -> int:
        own = self._host.catalog.effective(row.plan, from_json(row.overrides))
        return int(own.retention_days.value or PURGE_AFTER_DAYS)

    asuspend = twin(suspend)
    aresume = twin(resume)
    aactivate = twin(activate)
    astart_trial = twin(start_trial)
    achurn = twin(churn)
    adelete = twin(delete)
    arestore = twin(restore)
    apurge = twin(purge)
    alegal_hold = twin(legal_hold)
    aprocess_due = twin(process_due)


def check_step(tenant: str, before: str, after: str, only: tuple[str, ...] = ()) -> None:
    """Raise `IllegalTransition` unless the status machine has this step."""
    if not _core.status_may_become(before, after) or (only and before not in only):
        allowed = [status for status in STATUSES if _core.status_may_become(before, status)]
        raise IllegalTransition(tenant, before, after, allowed)


def end_sessions(change: Change, tenant_id: str) -> int:
    """End every session of a tenant, as part of a change."""
    gone = (
        change.execute(
            sa.delete(sessions)
            .where(sessions.c.tenant_id == tenant_id)
            .returning(sessions.c.digest)
        )
        .scalars()
        .all()
    )
    for digest in gone:
        change.touched("session", digest)
    return len(gone)
