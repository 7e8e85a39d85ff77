"""What tenants mean to spend in a period, and who is told when they do.

A budget is a fact of the timeline. A threshold that the running bill reaches, or that a forecast
says it will, leaves one audit fact `budget_threshold`: the same tenant, period, budget and percent
make the same id, so it is told once, over all processes. Alert rules find it like any other fact.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .. import _core
from .._text import NS
from ..budgets import BudgetStatus
from ..budgets import budget as judged
from ..errors import (
    BillingRefused,
    ExtraMissing,
    InvalidValue,
    NothingToBill,
    TenancyError,
    UnknownTenant,
)
from ..pricing import Number, minor_digits
from ..stores import outbox
from ..stores.billing_timeline import record
from ..stores.host import Host
from ..stores.records import Record, Tenant
from ..stores.twins import twin
from ..tenants import Tenants
from ..usage._kept import KeptTotals
from ._base import State, read_state
from ._drafts import Draft
from ._late import Late
from ._quantities import Metered, one_state_of_totals
from ._timeline import Timeline

__all__ = ["EVERY_S", "Budget", "BudgetJob", "Budgets"]

EVERY_S = 300.0
FORECAST_EVERY_NS = 3600 * NS
THRESHOLDS_MAX = 16
BATCH = 500
"""Tenants whose running bills are computed from one state of the usage."""
WAIT_S = 5.0
_TOLD = 5
_NAMESPACE = uuid.UUID("6d5b2f0e-2f7c-5f0b-8d46-3b6b1f0c9a11")


@dataclass(frozen=True)
class Budget(Record):
    """What a tenant means to spend in each of its periods."""

    tenant: str
    amount: Decimal
    """In the currency of its account, as bills have it before tax, after discounts and credits."""
    thresholds: tuple[Decimal, ...]
    """Percents of the amount."""
    forecast: float | None = None
    """From which probability of passing the amount on that is told; None: never."""


@dataclass(frozen=True)
class _Reached:
    """A threshold that is told, if it was not told before."""

    action: str
    budget: Budget
    percent: Decimal
    spent: Decimal
    draft: Draft
    probability: float | None = None

    @property
    def event_id(self) -> str:
        amount, percent = self.budget.amount.normalize(), self.percent.normalize()
        name = f"{self.action}\n{self.budget.tenant}\n{self.draft.span[0]}\n{amount:f}\n{percent:f}"
        return str(uuid.uuid5(_NAMESPACE, name))

    def context(self) -> dict[str, str]:
        period = self.draft.bill.period
        found = {
            "percent": f"{self.percent:f}",
            "budget": _written(self.budget.amount, self.draft.bill.currency),
            "spent": _written(self.spent, self.draft.bill.currency),
            "currency": self.draft.bill.currency,
            "period_start": period.start.isoformat(),
            "period_end": period.end.isoformat(),
        }
        if self.probability is not None:
            found["probability"] = f"{self.probability:.3f}"
        return found


class Budgets(Late):
    """Base of `Billing`: budgets."""

    _told_ids: frozenset[str] = frozenset()
    """What is known to be told of what was reached last: it need not be looked up again."""

    def __init__(self, host: Host, tenants: Tenants, usage: Any = None) -> None:
        super().__init__(host, tenants, usage)
        self._kept = KeptTotals()

    def budget(
        self,
        tenant: Tenant | str,
        amount: Number | None,
        *,
        thresholds: Sequence[Number] = (50, 80, 100),
        forecast: float | None = None,
        by: str | None = None,
    ) -> Budget | None:
        """Say what a tenant means to spend in each of its periods, from now on; None: no budget.

        `amount` is in the currency of its account, before tax. When the running bill reaches one of
        the `thresholds`, in percent, an audit fact `budget_threshold` tells so, once in a period;
        with `forecast`, also when the period will pass the amount with that probability or more
        (the extra `analysis`). The rules `alerts.budget_alerts()` make alerts of them. A budget of
        another amount is another budget. Audited. Raises `InvalidValue`, `UnknownTenant`.
        """
        tenant_id = self._tenant_id(tenant)
        made = None if amount is None else _checked(tenant_id, amount, thresholds, forecast)
        with self._host.write(by) as change:
            record(change, tenant_id, "budget", None if made is None else _value(made))
            context = {"amount": None if made is None else f"{made.amount:f}"}
            self._told(change, tenant_id, "billing:budget", context)
        return made

    def budgets(self, tenant: Tenant | str | None = None) -> Sequence[Budget]:
        """The budgets that hold now, of all tenants or of one."""
        only = None if tenant is None else self._tenant_id(tenant)
        query = "SELECT tenant_id, value FROM billing_timeline WHERE kind = 'budget'"
        query += " ORDER BY seq" if only is None else " AND tenant_id = ? ORDER BY seq"
        with self._host.cursor() as cursor:
            rows = cursor.execute(query, () if only is None else (only,)).fetchall()
        newest = {tenant_id: json.loads(text) for tenant_id, text in rows}
        return [_budget(of, value) for of, value in sorted(newest.items()) if value is not None]

    def budget_status(self, tenant: Tenant | str) -> BudgetStatus:
        """How much of its budget the open period of a tenant has used, and which thresholds are
        reached. Raises `InvalidValue` where it has none, and what `running` raises."""
        found = self.budgets(tenant)
        if not found:
            remedy = "billing.budget(tenant, 200)"
            raise InvalidValue("tenant", f"{self._tenant_id(tenant)} has no budget", remedy=remedy)
        spent = self.running(tenant).bill.net
        return judged(found[0].tenant, found[0].amount, spent, thresholds=found[0].thresholds)

    def budget_statuses(self, tenant: Tenant | str | None = None) -> Mapping[str, BudgetStatus]:
        """`budget_status` of all tenants, or of one, that have a budget and a running bill: by
        their ids, and read many at once."""
        return {
            one.tenant: judged(one.tenant, one.amount, draft.bill.net, thresholds=one.thresholds)
            for one, draft in self._running_of(self.budgets(tenant), [])
        }

    def check_budgets(self, *, forecasts: bool = True) -> int:
        """Tell what was reached and not told before, of all tenants; how many thresholds.

        The background work does it by itself, every five minutes, and hourly with `forecasts`.
        """
        return self._check_budgets(forecasts=forecasts)[0]

    # ------------------------------------------------------------------------------ inside

    def _check_budgets(self, *, forecasts: bool) -> tuple[int, list[str]]:
        """How many thresholds were told; what stood against single tenants, as sentences."""
        problems: list[str] = []
        reached: list[_Reached] = []
        open_ones: list[tuple[Budget, Draft]] = []
        for one, draft in self._running_of(self.budgets(), problems):
            spent = draft.bill.net
            passed = judged(one.tenant, one.amount, spent, thresholds=one.thresholds).passed
            reached += [_Reached("budget:spent", one, t.percent, spent, draft) for t in passed]
            if forecasts and one.forecast is not None and spent <= one.amount:
                open_ones.append((one, draft))
        self._kept.turn()
        if open_ones:
            try:
                reached += self._foreseen(open_ones)
            except ExtraMissing as error:
                problems.append(f"budgets cannot be forecast: {error}")
        return self._tell_reached(reached), problems

    def _running_of(
        self, budgets: Sequence[Budget], problems: list[str]
    ) -> Iterator[tuple[Budget, Draft]]:
        """The running bills of tenants, as far as there is something to bill; read many at once."""
        if not budgets:
            return  # nor is anything settled that is due
        self._settle()
        for at in range(0, len(budgets), BATCH):
            some = budgets[at : at + BATCH]
            with one_state_of_totals(self._usage, self._kept) as usage:
                with self._host.cursor() as cursor:
                    state = read_state(cursor, [one.tenant for one in some])
                drafts = [self._guarded(one, state, usage, problems) for one in some]
            for one, draft in zip(some, drafts, strict=True):
                if draft is not None:
                    yield one, draft

    def _guarded(
        self, one: Budget, state: State, usage: Metered | None, problems: list[str]
    ) -> Draft | None:
        """The running bill of a tenant; None where there is nothing to bill."""
        try:
            timeline = Timeline.of(state.rows[one.tenant])
            span = self._span(timeline, None)
            rows = self._earlier(state, timeline, span, usage)[1]
            return self._draft(state, timeline, span, usage, rows)
        except (NothingToBill, UnknownTenant):
            return None
        except (BillingRefused, InvalidValue) as error:
            if len(problems) < _TOLD:
                problems.append(f"the budget of {one.tenant} cannot be checked: {error}")
            return None

    def _foreseen(self, open_ones: list[tuple[Budget, Draft]]) -> list[_Reached]:
        from ._budget_forecast import probabilities

        now_ns = self._host.clock.wall_ns()
        found = []
        drafts = [draft for _, draft in open_ones]
        limits = [one.amount for one, _ in open_ones]
        shares = [one.forecast or 1.0 for one, _ in open_ones]
        known = probabilities(drafts, limits, shares, self._usage, now_ns)
        for (one, draft), probability in zip(open_ones, known, strict=True):
            if probability is not None and probability >= (one.forecast or 1.0):
                found.append(
                    _Reached(
                        "budget:forecast", one, Decimal(100), draft.bill.net, draft, probability
                    )
                )
        return found

    def _tell_reached(self, reached: Sequence[_Reached]) -> int:
        """Write the facts that are new, in one transaction."""
        ids = frozenset(one.event_id for one in reached)
        new = [one for one in reached if one.event_id not in self._told_ids]
        if not new:
            return 0
        told = 0
        with self._host.database.write(timeout_s=WAIT_S) as connection:
            for one in new:
                made = outbox.append(
                    connection,
                    now_ns=self._host.clock.wall_ns(),
                    by="system",
                    type="budget_threshold",
                    action=one.action,
                    tenant=one.budget.tenant,
                    resource="budget",
                    resource_id=one.draft.bill.period.start.isoformat(),
                    context=one.context(),
                    event_id=one.event_id,
                    revision=self._host.engine.revision,
                )
                told += made is not None
            connection.commit()
        self._told_ids = ids
        return told

    abudget = twin(budget)
    abudgets = twin(budgets)
    abudget_status = twin(budget_status)
    abudget_statuses = twin(budget_statuses)
    acheck_budgets = twin(check_budgets)


class BudgetJob:
    """Background work: `check_budgets` again and again. Belongs to one thread."""

    def __init__(self, billing: Budgets, wall_ns: Callable[[], int]) -> None:
        self._billing, self._wall_ns = billing, wall_ns
        self._forecast_due_ns = 0

    def __call__(self) -> Sequence[str]:
        now_ns = self._wall_ns()
        # A clock that was set back does not keep forecasts from being made.
        due = not self._forecast_due_ns - FORECAST_EVERY_NS <= now_ns < self._forecast_due_ns
        try:
            _, problems = self._billing._check_budgets(forecasts=due)
        except TenancyError:
            if due:
                self._forecast_due_ns = 0
            raise
        if due:
            self._forecast_due_ns = now_ns + FORECAST_EVERY_NS
        return problems


def _checked(
    tenant_id: str, amount: Number, thresholds: Sequence[Number], forecast: float | None
) -> Budget:
    exact = _core.exact(amount, "amount")
    percents = [
        one.percent for one in judged(tenant_id, exact, 0, thresholds=thresholds).thresholds
    ]
    if len(percents) > THRESHOLDS_MAX:
        raise InvalidValue("thresholds", f"{len(percents)}, at most {THRESHOLDS_MAX}")
    number = isinstance(forecast, int | float) and not isinstance(forecast, bool)
    if forecast is not None and not (number and 0 < forecast < 1):
        raise InvalidValue("forecast", f"{forecast!r}, expected a probability between 0 and 1")
    return Budget(tenant_id, exact, tuple(percents), forecast)


def _written(amount: Decimal, currency: str) -> str:
    """With all digits that the currency has, and those beyond them that the amount has."""
    own = -int(amount.normalize().as_tuple().exponent)
    return f"{amount:.{max(own, minor_digits(currency))}f}"


def _value(made: Budget) -> dict[str, Any]:
    return {
        "amount": f"{made.amount:f}",
        "thresholds": [f"{percent:f}" for percent in made.thresholds],
        "forecast": made.forecast,
    }


def _budget(tenant: str, value: dict[str, Any]) -> Budget:
    thresholds = tuple(Decimal(percent) for percent in value["thresholds"])
    return Budget(tenant, Decimal(value["amount"]), thresholds, value["forecast"])
