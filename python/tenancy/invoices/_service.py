"""`Tenancy.billing`."""

from __future__ import annotations

from ._budgets import Budgets

__all__ = ["Billing"]


class Billing(Budgets):
    """Bills, invoices, credit notes, payments, their ledger, and budgets. `Tenancy.billing`.

    Every call has an `a…` twin for asyncio. `tenant` arguments take a `Tenant`, an id, an external
    id or a slug. `by` says who acts; by default the principal of the current context, else
    `system`. Amounts go in as `int`, `str` or `Decimal` and come out as `Decimal`; a `float` is
    refused.
    """
