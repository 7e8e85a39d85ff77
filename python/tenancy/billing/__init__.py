"""Bills and invoices: what a tenant owes for a period, computed exactly and issued once.

`compute(terms, usage)` makes a `Bill`; `usage` has for each span of the terms, in order, a mapping
of metrics to their `Cumulative`s at the `cuts(terms)` inside it. `credit_note(invoice, parts, …)`
takes an invoice back, in parts or as a whole. Both are pure functions: no clock, no store.
`to_json` and `from_json` are the documents' canonical form, `digest` and `sealed` stand on it.
"""

from __future__ import annotations

from ._adjustments import Adjustment
from ._compute import compute, compute_text
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
from ._json import Document, digest, from_json, sealed, sealed_text, to_json
from ._notes import Part, credit_note, left_of
from ._offers import Credit, Discount
from ._rules import BillingRules, RulesLike
from ._tax import EU, TAX_REASONS, TaxRate, TaxRules, TaxStatus
from ._terms import Advance, Charged, SeatCount, Span, Terms, cuts
from ._usage import Cumulative

__all__ = [
    "EU",
    "TAX_REASONS",
    "Adjustment",
    "Advance",
    "AppliedCredit",
    "AppliedDiscount",
    "Bill",
    "BillLine",
    "BillingRules",
    "Charged",
    "Credit",
    "CreditNote",
    "CreditNoteLine",
    "Cumulative",
    "Discount",
    "Document",
    "EventsRef",
    "Invoice",
    "LineKind",
    "Part",
    "Party",
    "Period",
    "RulesLike",
    "SeatCount",
    "Span",
    "TaxCategory",
    "TaxRate",
    "TaxRules",
    "TaxStatus",
    "TaxTotal",
    "Terms",
    "TierLine",
    "compute",
    "compute_text",
    "credit_note",
    "cuts",
    "digest",
    "from_json",
    "left_of",
    "sealed",
    "sealed_text",
    "to_json",
]
