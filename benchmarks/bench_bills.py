"""One usual bill, without a store: three metrics, a base fee, a discount, one rate of tax.

What it takes to compute and seal it, to issue it as a document with its text, to read that back,
and to take it back. No peer computes the same, so the reach is a sum: 100,000 invoices a minute are
600 microseconds each, and `compute` and the document's text may take 250 of them.

    python benchmarks/bench_bills.py [--quick]
"""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from decimal import Decimal

from common import median_ns, print_table
from tenancy.billing import (
    Cumulative,
    Discount,
    Invoice,
    Party,
    Period,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    compute,
    credit_note,
    from_json,
    sealed_text,
)
from tenancy.pricing import PriceBook

MONTH = Period(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 2, 1, tzinfo=timezone.utc))
BOOK = PriceBook.from_dict(
    {
        "price_book": "shop",
        "currency": "EUR",
        "base_fee": 30,
        "metrics": {
            "calls": {"tiers": [{"up_to": 1000, "unit": "0.01"}, {"unit": "0.005"}]},
            "storage": "0.1",
            "exports": {"model": "package", "unit": 2, "package": 10},
        },
    }
)
SPAN = Span(MONTH.start, MONTH.end, BOOK, "team")
DISCOUNT = Discount("welcome", percent=10)
TAX = TaxRules("DE", [TaxRate("DE", 19, "VAT")])
BUYER = TaxStatus("DE")
QUANTITIES = {"calls": "12345", "storage": "12.5", "exports": "33"}
USAGE = [{m: [Cumulative(MONTH.end, Decimal(q), 9, "ab" * 32)] for m, q in QUANTITIES.items()}]


def terms() -> Terms:
    return Terms("acme", MONTH, "EUR", [SPAN], discounts=[DISCOUNT], tax=TAX, buyer=BUYER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    calls = 200 if parser.parse_args().quick else 2000
    made = terms()
    bill = compute(made, USAGE)
    party = Party("Example GmbH", "DE", tax_id="DE123456789")
    draft = Invoice("inv_1", "2026-1", "acme", MONTH.end, MONTH.end, party, party, bill, "")
    invoice, text = sealed_text(draft)
    steps = {
        "terms": terms,
        "compute, with digest": lambda: compute(made, USAGE),
        "invoice: digest and JSON": lambda: sealed_text(draft),
        "read it back": lambda: from_json(text),
        "take it back": lambda: credit_note(invoice, reason="Agreed", issued_at=MONTH.end),
    }
    rows = [
        (name, f"{median_ns(call, calls=calls, rounds=5) / 1000:.0f} µs")
        for name, call in steps.items()
    ]
    print_table(f"One bill of {len(bill.lines)} lines, {len(text)} bytes", rows, ["step", "time"])


if __name__ == "__main__":
    main()
