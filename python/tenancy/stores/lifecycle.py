"""The steps of a tenant's life: the status machine, what stops with it, and what is scheduled."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from .. import _core
from .._text import NS, check_text, deadline_ns, from_json, listed, to_datetime
from ..errors import (
    IllegalTransition,
    InvalidValue,
    LegalHold,
    TenancyError,
    UnknownPlan,
    UnknownTenant,
)
from . import schema
from .hooks import Hook
from .host import Change, Host
from .periods import month_end_ns
from .records import PlanChange, Tenant
from .schema import schedule, sessions, tenants
from .tenant_rows import STATUSES, by_reference, from_row
from .twins import twin

__all__ = ["Lifecycle", "check_step", "end_sessions"]

_log = logging.getLogger("tenancy")

PURGE_AFTER_DAYS = 30
"""When neither the call nor the plan says how long a deleted tenant is kept."""


class Lifecycle:
    """Base of the tenants service. Every step is one transaction with its audit fact."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def on(self, step: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
        """Run functions around a step: `suspend`, `delete`, …; `stop_work` ends what still runs.

        Each gets the `Tenant`. What a `before` function raises refuses the step (`HookRefused`);
        what an `after` function raises is logged.
        """
        self._host.hooks.on(step, before=before, after=after)

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
        """Erase a deleted tenant for good. Audit facts stay; names and credentials do not."""

        def rows(change: Change, row: Any) -> dict[str, Any]:
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

    # ------------------------------------------------------------------------------ plan

    def change_plan(
        self,
        tenant: Tenant | str,
        plan: str,
        *,
        at: str | datetime = "now",
        by: str | None = None,
    ) -> PlanChange:
        """Give the tenant another plan: `at="now"`, `"period_end"`, or a moment.

        What it uses beyond the new plan's quotas is listed in `over`, and left alone.
        """
        self.check_plan(plan)
        if at == "now":
            return self._change_plan_now(tenant, plan, by)
        with self._host.write(by) as change:
            row = self._row(change, tenant)
            due = self._due(at, row, change.now_ns)
            self._schedule(change, row.id, "change_plan", due, {"plan": plan})
            over = self._over(row, plan)
            change.fact(
                "config_changed",
                "tenant:schedule_plan",
                tenant=row.id,
                resource="tenant",
                context={"before": row.plan, "after": plan, "due_ns": due},
            )
        return _plan_change(row, plan, due, scheduled=True, over=over)

    def cancel_plan_change(self, tenant: Tenant | str, *, by: str | None = None) -> bool:
        """Forget a scheduled change of plan. False: there was none."""
        with self._host.write(by) as change:
            row = self._row(change, tenant)
            if not self._unschedule(change, row.id, "change_plan"):
                return False
            change.fact(
                "config_changed", "tenant:unschedule_plan", tenant=row.id, resource="tenant"
            )
        return True

    def _change_plan_now(self, tenant: Tenant | str, plan: str, by: str | None) -> PlanChange:
        record = self._record(tenant)
        self._host.hooks.run_before("change_plan", record)
        with self._host.write(by) as change:
            row = self._row(change, record.id)
            over = self._over(row, plan)
            self._unschedule(change, row.id, "change_plan")
            change.execute(
                sa.update(tenants)
                .where(tenants.c.id == row.id)
                .values(plan=plan, updated_ns=change.now_ns)
            )
            change.touched("tenant", row.id)
            change.fact(
                "config_changed",
                "tenant:change_plan",
                tenant=row.id,
                resource="tenant",
                context={"before": row.plan, "after": plan},
            )
        self._host.hooks.run_after("change_plan", self._record(row.id))
        return _plan_change(row, plan, change.now_ns, scheduled=False, over=over)

    def _over(self, row: Any, plan: str) -> tuple[dict[str, Any], ...]:
        """The quotas of which the tenant uses more than the plan would grant."""
        grants = self._host.catalog.effective(plan, from_json(row.overrides)).quotas
        over = []
        for quota, grant in grants.items():
            limit = grant.value.limit
            if limit is None or self._host.catalog.quotas[quota].kind == "per_object":
                continue
            used = int(self._host.engine.quota_status(row.id, quota)["used"])
            if used > limit:
                over.append({"quota": quota, "used": used, "limit": limit})
        return tuple(over)

    @staticmethod
    def _due(at: str | datetime, row: Any, now_ns: int) -> int:
        if isinstance(at, datetime):
            return deadline_ns(at, now_ns, "at") or now_ns
        if at != "period_end":
            raise InvalidValue("at", f"{at!r}", remedy='"now", "period_end", or an aware datetime')
        return month_end_ns(now_ns, row.anchor_ns, row.time_zone)

    # ------------------------------------------------------------------------------ schedule

    def process_due(self) -> int:
        """Do what is due: scheduled changes of plan, purges, ended sessions. Returns how many.

        Opening, listing and the command line do it too; call it from a timer to be punctual.
        """
        done = sum(self._process(item) for item in self._due_items())
        return done + self._drop_expired_sessions()

    def _process(self, item: Any) -> bool:
        """One scheduled item. What cannot be done is logged and stays; others go on."""
        try:
            if item.kind == "change_plan":
                plan = self.check_plan(json.loads(item.data)["plan"])
                self._change_plan_now(item.tenant_id, plan, item.created_by)
            elif item.kind == "purge":
                self.purge(item.tenant_id, by="system")
            else:
                return False  # of a newer minor version
        except TenancyError:
            _log.exception("%s of tenant %s is due and failed", item.kind, item.tenant_id)
            return False
        return True

    def _due_items(self) -> list[Any]:
        query = (
            sa.select(schedule, tenants.c.legal_hold)
            .join(tenants, tenants.c.id == schedule.c.tenant_id)
            .where(schedule.c.due_ns <= self._host.clock.wall_ns())
            .order_by(schedule.c.due_ns, schedule.c.seq)
        )
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        return [row for row in rows if not (row.kind == "purge" and row.legal_hold)]

    def _drop_expired_sessions(self) -> int:
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

    @staticmethod
    def _schedule(
        change: Change, tenant_id: str, kind: str, due_ns: int, data: dict[str, Any] | None
    ) -> None:
        values = {
            "due_ns": due_ns,
            "data": None if data is None else json.dumps(data),
            "created_by": change.by,
        }
        change.execute(
            insert(schedule)
            .values(tenant_id=tenant_id, kind=kind, **values)
            .on_conflict_do_update(index_elements=["tenant_id", "kind"], set_=values)
        )

    @staticmethod
    def _unschedule(change: Change, tenant_id: str, kind: str) -> bool:
        done = change.execute(
            sa.delete(schedule).where(schedule.c.tenant_id == tenant_id, schedule.c.kind == kind)
        )
        return bool(done.rowcount)

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

    def check_plan(self, plan: str) -> str:
        plans = self._host.catalog.plans
        if plan not in plans:
            raise UnknownPlan(f"no plan is named {plan!r}", remedy=f"one of {listed(plans)}")
        return plan

    def _record(self, tenant: Tenant | str) -> Tenant:
        with self._host.read() as connection:
            return from_row(_found(connection, tenant))

    @staticmethod
    def _row(change: Change, tenant: Tenant | str) -> Any:
        return _found(change.connection, tenant)

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
    achange_plan = twin(change_plan)
    acancel_plan_change = twin(cancel_plan_change)
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


def _found(connection: Any, tenant: Tenant | str) -> Any:
    reference = tenant.id if isinstance(tenant, Tenant) else tenant
    row = by_reference(connection, reference)
    if row is None:
        raise UnknownTenant(f"no tenant is named {reference!r}")
    return row


def _plan_change(
    row: Any, plan: str, effective_ns: int, *, scheduled: bool, over: tuple[dict[str, Any], ...]
) -> PlanChange:
    effective = to_datetime(effective_ns)
    assert effective is not None
    return PlanChange(row.id, row.plan, plan, effective, scheduled, over)
