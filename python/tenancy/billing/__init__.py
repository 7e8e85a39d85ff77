"""Bills and invoices: what a tenant owes for a period, computed exactly and issued once."""

from __future__ import annotations

from ._documents import (
    AppliedCredit,
    AppliedDiscount,
    Bill,
    BillLine,
    CreditNote,
    CreditNoteLine,
    EventsRef,
    Invoice,
    LineKind,
    Party,
    Period,
    TaxCategory,
    TaxTotal,
    TierLine,
)

__all__ = [
    "AppliedCredit",
    "AppliedDiscount",
    "Bill",
    "BillLine",
    "CreditNote",
    "CreditNoteLine",
    "EventsRef",
    "Invoice",
    "LineKind",
    "Party",
    "Period",
    "TaxCategory",
    "TaxTotal",
    "TierLine",
]
