"""Invoices and credit notes that add up, from a few facts; and generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hypothesis import strategies as st

from tenancy.billing import (
    AppliedCredit,
    AppliedDiscount,
    Bill,
    BillLine,
    CreditNote,
    CreditNoteLine,
    EventsRef,
    Invoice,
    Party,
    Period,
    TaxTotal,
    TierLine,
)
from tenancy.pricing import allocate, minor_digits

D = Decimal
MARCH = Period(datetime(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 4, 1, tzinfo=timezone.utc))
SELLER = Party(
    name="Gateway GmbH",
    country="DE",
    street="Lange Straße 7",
    city="Leipzig",
    postcode="04109",
    email="billing@gateway.example",
    tax_id="DE123456789",
    registration="HRB 12345, Leipzig",
    contact="Billing desk",
    iban="DE89 3704 0044 0532 0130 00",
)
BUYER = Party(
    name="Acme SAS",
    country="FR",
    street="12 rue des Lilas",
    city="Lyon",
    postcode="69003",
    email="ap@acme.example",
    tax_id="FR83404833048",
    reference="PO-2026-77",
)
REASONS = {
    "E": "Exempt under article 132 of Directive 2006/112/EC",
    "AE": "Reverse charge",
    "K": "Intra-community supply",
    "G": "Export",
    "O": "Not subject to VAT",
}
NAMES = {"S": "VAT", "Z": "VAT", "E": "VAT", "AE": "VAT", "K": "VAT", "G": "VAT", "O": ""}


def line(amount: str | Decimal, **options: Any) -> BillLine:
    defaults: dict[str, Any] = {
        "kind": "base_fee",
        "description": "Base fee Pro",
        "period": MARCH,
        "amount": D(amount),
        "tax_category": "S",
        "tax_rate": D(19),
    }
    return BillLine(**{**defaults, **options})


def usage_line(**options: Any) -> BillLine:
    """25,000 operations over two tiers, and the events behind them."""
    return line(
        "22.00",
        **{
            "kind": "usage",
            "description": "Hash operations",
            "quantity": D(25_000),
            "unit": "operation",
            "metric": "hash_operations",
            "plan": "pro",
            "price_book": "tiered",
            "price_version": "2026-01",
            "tiers": (
                TierLine("usage", 1, D(10_000), D("0.001"), D(10)),
                TierLine("usage", 2, D(15_000), D("0.0008"), D(12)),
            ),
            "events": EventsRef(25_000, "ab" * 32),
            **options,
        },
    )


def make_bill(
    lines: Sequence[BillLine],
    *,
    currency: str = "EUR",
    discount: str = "0",
    credit: str = "0",
    credit_late: bool = False,
    inclusive: bool = False,
    names: tuple[str, str] = ("Spring offer", "Goodwill"),
    reasons: Mapping[str, str] = REASONS,
) -> Bill:
    """Discount, then credit, each spread over the lines; tax for each rate, spread back."""
    digits = minor_digits(currency)
    subtotal = sum((one.amount for one in lines), D(0))
    weights = [max(one.amount, D(0)) for one in lines]
    discounts = _spread(D(discount), weights, digits)
    left = [weight - part for weight, part in zip(weights, discounts, strict=True)]
    credited = _spread(D(0) if credit_late else D(credit), left, digits)
    priced = [
        replace(one, discount=a, credit=b)
        for one, a, b in zip(lines, discounts, credited, strict=True)
    ]
    taxes, taxed = [], list(priced)
    for category, rate in dict.fromkeys((one.tax_category, one.tax_rate) for one in lines):
        at = [
            i
            for i, one in enumerate(priced)
            if (one.tax_category, one.tax_rate) == (category, rate)
        ]
        nets = [priced[i].amount - priced[i].discount - priced[i].credit for i in at]
        amount = sum(nets, D(0)) * rate / ((100 + rate) if inclusive else 100)
        amount = amount.quantize(D(1).scaleb(-digits), ROUND_HALF_UP)
        base = sum(nets, D(0)) - (amount if inclusive else 0)
        shares = _spread(amount, [max(net, D(0)) for net in nets], digits)
        for i, share in zip(at, shares, strict=True):
            taxed[i] = replace(taxed[i], tax=share)
        taxes.append(
            TaxTotal(category, rate, NAMES[category], base, amount, reasons.get(category, ""))
        )
    tax = sum((one.amount for one in taxes), D(0))
    net = sum((one.base for one in taxes), D(0))
    total = net + tax
    return Bill(
        tenant="t1",
        period=MARCH,
        currency=currency,
        lines=tuple(taxed),
        subtotal=subtotal,
        discounts=(AppliedDiscount("d1", names[0], D(discount)),) if D(discount) else (),
        discount=D(discount),
        credits=(AppliedCredit("c1", names[1], D(credit)),) if D(credit) else (),
        credit=D(credit),
        net=net,
        taxes=tuple(taxes),
        tax=tax,
        total=total,
        due=max(total - (D(credit) if credit_late else D(0)), D(0)),
        credit_after_tax=credit_late,
        tax_inclusive=inclusive,
        rules="1",
    )


def _spread(amount: Decimal, weights: Sequence[Decimal], digits: int) -> list[Decimal]:
    if not amount:
        return [D(0)] * len(weights)
    if not any(weights):
        return [amount, *[D(0)] * (len(weights) - 1)]
    return allocate(amount, weights, digits=digits)


def make_invoice(*lines: BillLine, **options: Any) -> Invoice:
    """Of the given lines, or of a base fee, usage over two tiers and a seat, in euros."""
    parts: dict[str, Any] = {
        "seller": SELLER,
        "buyer": BUYER,
        "number": "2026-000042",
        "notes": (),
    }
    for name in list(options):
        if name in parts:
            parts[name] = options.pop(name)
    chosen = lines or (
        line("49.00", unit_price=D(49), unit="month"),
        usage_line(),
        line(
            "30.00",
            kind="seats",
            description="Seats",
            quantity=D(3),
            unit_price=D(10),
            unit="seat",
            tax_rate=D(7),
        ),
    )
    return Invoice(
        id="inv_1",
        tenant="t1",
        issued_at=datetime(2026, 4, 1, 9, 30, tzinfo=timezone.utc),
        due_at=datetime(2026, 4, 15, tzinfo=timezone.utc),
        bill=make_bill(chosen, **options),
        digest="0123456789abcdef" * 4,
        **parts,
    )


def make_credit_note(invoice: Invoice, *, refund: str | None = None, **options: Any) -> CreditNote:
    """All of the invoice, taken back, and what credits paid before tax."""
    late = invoice.bill.credit_after_tax
    lines = []
    for i, one in enumerate(invoice.bill.lines):
        net = one.amount - one.discount - one.credit
        net -= one.tax if invoice.bill.tax_inclusive else D(0)
        lines.append(
            CreditNoteLine(
                i,
                one.description,
                net,
                one.tax_category,
                one.tax_rate,
                one.tax,
                credit=D(0) if late else one.credit,
            )
        )
    total = invoice.bill.total
    return CreditNote(
        **{
            "id": "cn_1",
            "number": "CN-2026-000007",
            "invoice": invoice.number,
            "tenant": invoice.tenant,
            "currency": invoice.bill.currency,
            "issued_at": invoice.issued_at + timedelta(days=9),
            "reason": "The service was down for two days.",
            "seller": invoice.seller,
            "buyer": invoice.buyer,
            "lines": tuple(lines),
            "taxes": invoice.bill.taxes,
            "net": invoice.bill.net,
            "tax": invoice.bill.tax,
            "total": total,
            "refund": total if refund is None else D(refund),
            "digest": "fedcba9876543210" * 4,
            "previous": "",
            "invoice_issued_at": invoice.issued_at,
            "credit": sum((one.credit for one in lines), D(0)),
            **options,
        }
    )


# ----------------------------------------------------------------------------------- generated

_TEXTS = st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "S", "Zs")), max_size=60)


@st.composite
def invoices(draw: st.DrawFn, *, currencies: Sequence[str] = ("EUR", "USD", "JPY")) -> Invoice:
    currency = draw(st.sampled_from(list(currencies)))
    digits = minor_digits(currency)
    # O stands alone in an invoice; the others may be mixed.
    kinds = draw(
        st.sampled_from(
            [
                [("S", D(19)), ("S", D(7)), ("Z", D(0)), ("E", D(0))],
                [("S", D("5.5")), ("AE", D(0))],
                [("K", D(0))],
                [("G", D(0)), ("S", D(20))],
                [("O", D(0))],
            ]
        )
    )
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        category, rate = draw(st.sampled_from(kinds))
        minor = draw(st.integers(-20_000 if lines else 0, 10**9))
        price = draw(st.none() | st.decimals(0, 1000, places=6))
        quantity = draw(st.decimals(0, 10**6, places=4))
        amount = D(minor).scaleb(-digits)
        if price is not None:
            amount = (price * quantity).quantize(D(1).scaleb(-digits), ROUND_HALF_UP)
        lines.append(
            line(
                amount,
                kind="usage",
                description=draw(_TEXTS),
                quantity=quantity,
                unit_price=price,
                unit=draw(st.sampled_from(["", "seat", "GB", "months", "call"])),
                tax_category=category,
                tax_rate=rate,
            )
        )
    positive = sum((max(one.amount, D(0)) for one in lines), D(0))
    whole = int(positive.scaleb(digits))
    discount = draw(st.integers(0, whole // 2))
    credit = draw(st.integers(0, whole // 4))
    return make_invoice(
        *lines,
        currency=currency,
        discount=str(D(discount).scaleb(-digits)),
        credit=str(D(credit).scaleb(-digits)),
        credit_late=draw(st.booleans()),
        inclusive=draw(st.booleans()),
        number=draw(st.from_regex(r"[A-Z]{1,4}-\d{4}-\d{1,6}", fullmatch=True)),
        buyer=replace(BUYER, name="Acme " + draw(_TEXTS)),
    )
