"""Changes of plan, now or later, and the schedule of what shall happen to a tenant."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from .._text import deadline_ns, from_json, listed, shown, to_datetime
from ..errors import InvalidValue, UnknownPlan, UnknownTenant
from . import billing_timeline
from .change import Change
from .hooks import Hook
from .host import Host
from .periods import billing_anchor_ns, billing_unit, period_bounds_ns
from .records import PlanChange, Tenant
from .schema import schedule, tenants
from .tenant_rows import by_reference, from_row
from .twins import twin

__all__ = ["OvertakenError", "PlanChanges"]


class OvertakenError(Exception):
    """What was due has been done, moved or called off by somebody else in the meantime."""


class PlanChanges:
    """Base of the tenants service: finding a record, its plan, its schedule."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def on(self, step: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
        """Run functions around a step: `suspend`, `delete`, …; `stop_work` ends what still runs.

        Each gets the `Tenant`. What a `before` function raises refuses the step (`HookRefused`);
        what an `after` function raises is logged.
        """
        self._host.hooks.on(step, before=before, after=after)

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

    def _change_plan_now(
        self, tenant: Tenant | str, plan: str, by: str | None, item: Any = None
    ) -> PlanChange:
        record = self._record(tenant)
        self._host.hooks.run_before("change_plan", record)
        with self._host.write(by) as change:
            self._check_stands(change, item)
            row = self._row(change, record.id)
            over = self._over(row, plan)
            self._unschedule(change, row.id, "change_plan")
            # What was scheduled is billed from the time that was agreed, however late it is done.
            since_ns = change.now_ns if item is None else item.due_ns
            anchor_ns = self._anchor_with(row, plan, since_ns)
            change.execute(
                sa.update(tenants)
                .where(tenants.c.id == row.id)
                .values(plan=plan, anchor_ns=anchor_ns, updated_ns=change.now_ns)
            )
            billing_timeline.record(change, row.id, "plan", {"plan": plan}, since_ns)
            if anchor_ns != row.anchor_ns:
                calendar = {"anchor_ns": anchor_ns}
                billing_timeline.record(change, row.id, "calendar", calendar, since_ns)
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

    def _anchor_with(self, row: Any, plan: str, since_ns: int) -> int:
        """Who goes from months to years begins a year, and goes on paying on the same day of a
        month: the anchor is then where the running month began, counted from the old one. Days,
        weeks and months begin with any anchor: weeks on its weekday, which leaves its day of the
        month to the months that may come after them."""
        catalog = self._host.catalog
        unit = billing_unit(catalog, plan)
        same = unit == billing_unit(catalog, row.plan)
        if same or catalog.billing.anchor != "subscription" or unit in ("day", "week", "month"):
            return int(row.anchor_ns)
        return period_bounds_ns(since_ns, row.anchor_ns, row.time_zone, "month")[0]

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

    def _due(self, at: str | datetime, row: Any, now_ns: int) -> int:
        if isinstance(at, datetime):
            return deadline_ns(at, now_ns, "at") or now_ns
        if at != "period_end":
            raise InvalidValue("at", shown(at), remedy='"now", "period_end", or an aware datetime')
        catalog = self._host.catalog
        anchor_ns = billing_anchor_ns(catalog, row.anchor_ns)
        unit = billing_unit(catalog, row.plan)
        return period_bounds_ns(now_ns, anchor_ns, row.time_zone, unit)[1]

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

    @staticmethod
    def _check_stands(change: Change, item: Any) -> None:
        """Raise `OvertakenError` when an item of the schedule, read before, has changed since."""
        if item is None:
            return
        row = change.execute(sa.select(schedule).where(schedule.c.seq == item.seq)).one_or_none()
        if row is None or any(getattr(row, c.name) != getattr(item, c.name) for c in schedule.c):
            raise OvertakenError

    # ------------------------------------------------------------------------------ inside

    def check_plan(self, plan: str) -> str:
        plans = self._host.catalog.plans
        if not isinstance(plan, str) or plan not in plans:
            raise UnknownPlan(f"no plan is named {shown(plan)}", remedy=f"one of {listed(plans)}")
        return plan

    def _record(self, tenant: Tenant | str) -> Tenant:
        with self._host.read() as connection:
            return from_row(_found(connection, tenant))

    @staticmethod
    def _row(change: Change, tenant: Tenant | str) -> Any:
        return _found(change.connection, tenant)

    achange_plan = twin(change_plan)
    acancel_plan_change = twin(cancel_plan_change)


def _found(connection: Any, tenant: Tenant | str) -> Any:
    reference = tenant.id if isinstance(tenant, Tenant) else tenant
    row = by_reference(connection, reference)
    if row is None:
        raise UnknownTenant(f"no tenant is named {shown(reference)}")
    return row


def _plan_change(
    row: Any, plan: str, effective_ns: int, *, scheduled: bool, over: tuple[dict[str, Any], ...]
) -> PlanChange:
    effective = to_datetime(effective_ns)
    assert effective is not None
    return PlanChange(row.id, row.plan, plan, effective, scheduled, over)
