"""`tenancy bills budget` and `budgets`: what tenants mean to spend, and how far they are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..budgets import BudgetStatus
from ..invoices import Budget
from . import _common as c

__all__ = ["bills_budget", "bills_budgets"]

NONE = "none"


def bills_budget(
    tenant: c.Tenant,
    amount: Annotated[str, typer.Argument(help="For each period, before tax; none: no budget.")],
    threshold: Annotated[
        list[str] | None, typer.Option(help="Percent that is told; several. Else 50, 80, 100.")
    ] = None,
    forecast: Annotated[
        float | None, typer.Option(help="Tell when it will be passed with this probability: 0.9.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say what a tenant means to spend in each period."""
    with c.opened(data, as_json) as t:
        made = t.billing.budget(
            tenant,
            None if amount == NONE else amount,
            thresholds=threshold or (50, 80, 100),
            forecast=forecast,
            by=c.operator(),
        )
        known = {} if made is None else t.billing.budget_statuses(tenant)
        row = {"budget": None} if made is None else _row(made, known.get(made.tenant))
        c.print_record(row, as_json)


def bills_budgets(
    check: Annotated[
        bool, typer.Option("--check", help="First tell what was reached and not told before.")
    ] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """The budgets of all tenants, and how much of them their running bills have used."""
    with c.opened(data, as_json) as t:
        told = t.billing.check_budgets() if check else None
        known = t.billing.budget_statuses()
        rows = [_row(one, known.get(one.tenant)) for one in t.billing.budgets()]
    if as_json:
        c.print_json({"budgets": rows} | ({} if told is None else {"told": told}))
        return
    if told is not None:
        typer.echo(f"{told} thresholds were told")
    names = ("tenant", "budget", "spent", "percent", "thresholds", "forecast")
    c.print_table(names, [[row[name] for name in names] for row in rows])


def _row(one: Budget, status: BudgetStatus | None) -> dict[str, Any]:
    """Without a status there is no running bill."""
    row: dict[str, Any] = {
        "tenant": one.tenant,
        "budget": f"{one.amount:f}",
        "spent": None,
        "percent": None,
        "thresholds": ", ".join(f"{percent:f}" for percent in one.thresholds),
        "forecast": one.forecast,
    }
    if status is None:
        return row
    return row | {"spent": f"{status.spent:f}", "percent": f"{status.percent:f}"}
