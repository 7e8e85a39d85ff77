"""Issued documents: what a tenant owes becomes an invoice, once, with a number without gaps.

`Tenancy.billing` computes bills from what held when (plans, prices, seats, accounts, credits), and
stores what it issues together with everything that it was computed from.
"""

from __future__ import annotations

from ._budgets import Budget
from ._config import Account, Settings
from ._ledger import ACCOUNTS, Balance, Entry
from ._quantities import Metered
from ._records import (
    BillingReport,
    Coupon,
    CreditBalance,
    DocumentRow,
    IssueReport,
    LateUsage,
    Payment,
    Redemption,
    Running,
)
from ._service import Billing

__all__ = [
    "ACCOUNTS",
    "Account",
    "Balance",
    "Billing",
    "BillingReport",
    "Budget",
    "Coupon",
    "CreditBalance",
    "DocumentRow",
    "Entry",
    "IssueReport",
    "LateUsage",
    "Metered",
    "Payment",
    "Redemption",
    "Running",
    "Settings",
]
