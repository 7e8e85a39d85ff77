"""Credit notes that sum to their invoice, and documents as canonical JSON."""

from __future__ import annotations

import dataclasses
import decimal
import hashlib
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from billing_cases import DIGITS, Case, cases
from billing_support import FEBRUARY, JANUARY
from tenancy.billing import (
    Adjustment,
    Bill,
    BillLine,
    CreditNote,
    Cumulative,
    Invoice,
    Part,
    Party,
    Period,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    compute,
    compute_text,
    credit_note,
    digest,
    from_json,
    left_of,
    sealed,
    sealed_text,
    to_json,
)
from tenancy.errors import InvalidValue
from tenancy.pricing import PriceBook

NOW = datetime(2026, 2, 1, 9, tzinfo=timezone.utc)
MONTH = Period(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 2, 1, tzinfo=timezone.utc))
SELLER = Party("Acme GmbH", "DE", tax_id="DE123456789")
BUYER = Party("Globex SA", "FR", city="Orléans", reference="PO-7")


def invoice_of(bill: Bill, **members: Any) -> Invoice:
    made: dict[str, Any] = {
        "id": "inv_1",
        "number": "2026-0001",
        "tenant": bill.tenant,
        "issued_at": NOW,
        "due_at": NOW,
        "seller": SELLER,
        "buyer": BUYER,
        "bill": bill,
        "digest": "",
    }
    return sealed(Invoice(**{**made, **members}))


def simple(*unit_prices: str, rate: str = "19", inclusive: bool = False) -> Invoice:
    """One line for each price, all with one rate of tax."""
    book = PriceBook.from_dict(
        {
            "price_book": "shop",
            "currency": "EUR",
            "metrics": {f"m{i}": price for i, price in enumerate(unit_prices)},
        }
    )
    terms = Terms(
        "globex",
        MONTH,
        "EUR",
        [Span(MONTH.start, MONTH.end, book)],
        tax=TaxRules("DE", [TaxRate("DE", rate)], inclusive=inclusive),
        buyer=TaxStatus("DE"),
    )
    usage = {metric: [Cumulative(MONTH.end, Decimal(1))] for metric in book}
    return invoice_of(compute(terms, [usage]))


def note(invoice: Invoice, parts: Any = None, **members: Any) -> CreditNote:
    return credit_note(invoice, parts, **{"reason": "Agreed", "issued_at": NOW, **members})


# ------------------------------------------------------------------------------- credit notes


def line_sums(notes: list[CreditNote], invoice: Invoice) -> list[tuple[Decimal, Decimal]]:
    sums = [(Decimal(0), Decimal(0))] * len(invoice.bill.lines)
    for one in notes:
        for part in one.lines:
            net, tax = sums[part.line]
            sums[part.line] = (net + part.net, tax + part.tax)
    return sums


def of_line(line: BillLine, inclusive: bool) -> tuple[Decimal, Decimal]:
    left = line.amount - line.discount - line.credit
    return (left - line.tax if inclusive else left), line.tax


def check_note(one: CreditNote) -> None:
    assert one.net == sum(part.net for part in one.lines) == sum(row.base for row in one.taxes)
    assert one.tax == sum(part.tax for part in one.lines) == sum(row.amount for row in one.taxes)
    assert one.total == one.net + one.tax
    assert one.digest == digest(one)
    assert from_json(to_json(one)) == one


def test_the_whole_of_an_invoice_is_taken_back() -> None:
    invoice = simple("10", "0.05", "33.33")
    whole = note(invoice, refund="20")
    assert (whole.net, whole.tax, whole.total) == (
        invoice.bill.net,
        invoice.bill.tax,
        invoice.bill.total,
    )
    assert [part.tax for part in whole.lines] == [line.tax for line in invoice.bill.lines]
    assert (whole.refund, whole.invoice, whole.invoice_issued_at) == (20, "2026-0001", NOW)
    assert whole.taxes == invoice.bill.taxes
    check_note(whole)


def test_thirds_of_a_cent_do_not_get_lost() -> None:
    """Trap 20: 100 euros and 19 of tax, taken back in three parts of 33.33, 33.33 and the rest."""
    invoice = simple("100")
    first = note(invoice, [Part(0, "33.33")])
    second = note(invoice, [Part(0, "33.33")], earlier=[first])
    rest = note(invoice, earlier=[first, second])
    assert [one.tax for one in (first, second, rest)] == [
        Decimal("6.33"),
        Decimal("6.33"),
        Decimal("6.34"),
    ]
    assert first.net + second.net + rest.net == 100


def test_a_part_may_be_given_with_its_tax() -> None:
    invoice = simple("100", inclusive=True)
    half = note(invoice, [Part(0, total=50)])
    assert (half.total, half.tax) == (50, Decimal("7.99"))
    rest = note(invoice, [Part(0)], earlier=[half])
    assert (rest.total, rest.tax) == (50, Decimal("7.98"))
    assert half.tax + rest.tax == invoice.bill.tax


def test_the_tax_of_a_note_is_rounded_once_for_each_rate() -> None:
    """Three parts of 0.05 at 10 percent: 0.015 of tax in all, which is 0.02 and not 0.03."""
    invoice = simple("1", "1", "1", rate="10")
    taken = note(invoice, [Part(i, "0.05") for i in range(3)])
    assert [str(part.tax) for part in taken.lines] == ["0.01", "0.01", "0"]


def test_no_more_is_taken_back_than_is_left() -> None:
    invoice = simple("10", "20")
    first = note(invoice, [Part(0, 8)])
    assert [part.net for part in left_of(invoice, [first])] == [2, 20]
    with pytest.raises(InvalidValue, match=r"3 of line 0, of which 2 is left"):
        note(invoice, [Part(0, 3)], earlier=[first])
    with pytest.raises(InvalidValue, match=r"-1 of line 0"):
        note(invoice, [Part(0, -1)])
    with pytest.raises(InvalidValue, match=r"named twice"):
        note(invoice, [Part(0, 1), Part(0, 1)])
    with pytest.raises(InvalidValue, match=r"expected 0 to 1, got 2"):
        note(invoice, [Part(2)])
    with pytest.raises(InvalidValue, match=r"more than 2 digits"):
        note(invoice, [Part(0, "0.005")])
    with pytest.raises(InvalidValue, match=r"is more than the credit note"):
        note(invoice, [Part(0, 1)], refund="1.20")
    with pytest.raises(InvalidValue, match=r"expected some text"):
        note(invoice, reason=" ")
    other = dataclasses.replace(first, invoice="2026-0002")
    with pytest.raises(InvalidValue, match=r"is not of 2026-0001"):
        note(invoice, earlier=[other])


def test_when_all_is_taken_back_nothing_is_left() -> None:
    invoice = simple("10", "20")
    whole = note(invoice)
    assert all(part.net == 0 for part in left_of(invoice, [whole]))
    again = note(invoice, earlier=[whole])
    assert (again.lines, again.total) == ((), 0)


def test_parts_never_come_to_more_than_an_invoice_with_a_line_below_zero() -> None:
    invoice = simple("150", "50")
    lines = invoice.bill.lines
    reduced = dataclasses.replace(
        lines[1], kind="maximum", amount=-lines[1].amount, tax=-lines[1].tax
    )
    row = invoice.bill.taxes[0]
    bill = dataclasses.replace(
        invoice.bill,
        lines=(lines[0], reduced),
        subtotal=Decimal(100),
        net=Decimal(100),
        tax=Decimal(19),
        total=Decimal(119),
        taxes=(dataclasses.replace(row, base=Decimal(100), amount=Decimal(19)),),
    )
    capped = invoice_of(sealed(bill))
    with pytest.raises(InvalidValue, match=r"they come to 178.5, of the invoice 119 EUR is left"):
        note(capped, [Part(0)])
    with pytest.raises(InvalidValue, match=r"they come to -59.5"):
        note(capped, [Part(1)])
    part = note(capped, [Part(0, 100)])
    rest = note(capped, earlier=[part])
    assert (part.total, rest.total) == (119, 0)
    assert [line.net for line in rest.lines] == [50, -50]


def test_an_invoice_that_gave_money_cannot_be_taken_back() -> None:
    given_back = compute(
        Terms("acme", FEBRUARY, "EUR", [], adjustments=[Adjustment("Outage", -5, JANUARY)]), []
    )
    with pytest.raises(InvalidValue, match=r"came to -5 EUR: nothing was charged.*Adjustment"):
        note(invoice_of(given_back))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.data())
def test_parts_of_all_notes_sum_exactly_to_the_invoice(case: Case, data: Any) -> None:
    """However an invoice is split, line by line, net and tax, and never more than is left."""
    bill = compute(case.terms, case.usage)
    assume(bill.total > 0)
    invoice = invoice_of(bill)
    unit = Decimal(1).scaleb(-DIGITS[bill.currency])
    notes: list[CreditNote] = []
    for _ in range(data.draw(st.integers(1, 4), label="notes")):
        parts = []
        for part in left_of(invoice, notes):
            assert part.net is not None
            most = int(part.net / unit)
            if most > 0 and data.draw(st.booleans()):
                taken = data.draw(st.integers(0, most)) * unit
                by = data.draw(st.sampled_from(["net", "total", "all"]))
                parts.append(
                    {
                        "net": Part(part.line, taken),
                        "total": Part(part.line, total=taken),
                        "all": Part(part.line),
                    }[by]
                )
        try:
            notes.append(note(invoice, parts, earlier=notes))
        except InvalidValue:
            if all(line.amount >= 0 for line in bill.lines):
                raise
        else:
            check_note(notes[-1])
            assert notes[-1].total >= 0
    rest = note(invoice, earlier=notes)
    check_note(rest)
    notes.append(rest)
    assert line_sums(notes, invoice) == [of_line(line, bill.tax_inclusive) for line in bill.lines]
    assert sum(one.net for one in notes) == bill.net
    assert sum(one.tax for one in notes) == bill.tax
    assert sum(one.total for one in notes) == bill.total
    for one in notes:
        for part in one.lines:
            net, tax = of_line(bill.lines[part.line], bill.tax_inclusive)
            assert min(net, 0) <= part.net <= max(net, 0)
            assert min(tax, 0) <= part.tax <= max(tax, 0)


# ----------------------------------------------------------------------------- canonical JSON


def test_the_form_is_canonical_json() -> None:
    """Members by name, no blanks, fewest digits, UTC; the digest is over all but itself."""
    invoice = simple("10.50")
    text = to_json(invoice)
    body = json.loads(text)
    expected = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert text == expected
    assert body["bill"]["total"] == "12.5"
    assert body["issued_at"] == "2026-02-01T09:00:00Z"
    assert (body["document"], body["format"]) == ("invoice", 1)
    stated = body.pop("digest")
    rest = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert stated == hashlib.sha256(rest.encode()).hexdigest()


def test_sealing_gives_the_text_as_well() -> None:
    invoice = dataclasses.replace(simple("10"), digest="", metadata={"digest": 1, "document": 2})
    document, text = sealed_text(invoice)
    assert (document, text) == (sealed(invoice), to_json(sealed(invoice)))
    assert from_json(text) == document


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_text_of_a_bill_is_the_one_in_its_invoice(case: Case) -> None:
    bill, inside = compute_text(case.terms, case.usage)
    assert bill == compute(case.terms, case.usage)
    invoice = dataclasses.replace(invoice_of(bill), digest="", metadata={"bill": 1, "z": [2]})
    assert sealed_text(invoice, inside) == sealed_text(invoice)


@pytest.mark.parametrize(
    "members",
    [{"number": 7}, {"issued_at": datetime(2026, 1, 1)}, {"bill": "none"}, {"notes": (1,)}],
)
def test_members_of_another_type_are_not_written(members: Any) -> None:
    with pytest.raises(InvalidValue, match=r"expected"):
        to_json(dataclasses.replace(simple("10"), **members))


@pytest.mark.parametrize(
    "change", [{"total": 11.9}, {"total": Decimal("NaN")}, {"tax_inclusive": 1}, {"due": None}]
)
def test_members_of_a_bill_of_another_type_are_not_written(change: Any) -> None:
    with pytest.raises(InvalidValue, match=r"expected"):
        to_json(dataclasses.replace(simple("10").bill, **change))


def test_equal_documents_have_equal_digests() -> None:
    bill = simple("10").bill
    same = dataclasses.replace(bill, total=Decimal("11.900"), credit=Decimal("-0.0"))
    assert same == bill
    assert digest(same) == digest(bill)
    other = dataclasses.replace(bill, total=Decimal("11.91"))
    assert digest(other) != digest(bill)


def test_members_that_have_their_default_are_left_out() -> None:
    """So that an optional member of a later release leaves old digests as they are."""
    body = json.loads(to_json(simple("10")))
    assert "notes" not in body
    assert "metadata" not in body
    assert "credit_after_tax" not in body["bill"]
    assert body["bill"]["discounts"] == []


def test_metadata_comes_back_and_is_sorted_by_code_units() -> None:
    """RFC 8785 sorts names by UTF-16 code units: U+1F600 is before U+FB33."""
    metadata = {"\ufb33": 1, "\U0001f600": [True, None, "\u20ac\n"], "a": {"z": 2, "b": -(2**53)}}
    invoice = invoice_of(simple("10").bill, metadata=metadata, notes=("Merci",))
    text = to_json(invoice)
    assert text.index("\U0001f600") < text.index("\ufb33")
    assert from_json(text) == invoice
    assert from_json(text.encode()) == invoice


@pytest.mark.parametrize("value", [0.1, 2**53 + 1, {1: 2}, Decimal(1), "\ud800", float("nan")])
def test_what_json_cannot_hold_exactly_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue, match=r"metadata|surrogates"):
        invoice_of(simple("10").bill, metadata={"value": value})


def damaged(change: Any) -> str:
    body = json.loads(to_json(simple("10")))
    change(body)
    return json.dumps(body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object, got list"),
        ('{"document":"invoice","document":"bill"}', "stands there twice"),
        ("{}", "expected one of bill"),
        ('{"document":["bill"]}', "expected one of bill"),
        (damaged(lambda b: b.update(format=2)), "reads format 1, the invoice has 2"),
        (damaged(lambda b: b.update(colour="red")), r"invoice\.colour: is not known"),
        (damaged(lambda b: b.pop("number")), r"invoice\.number: is missing"),
        (damaged(lambda b: b.update(number=7)), r"invoice\.number: expected str, got 7"),
        (damaged(lambda b: b.update(issued_at="2026-02-01")), r"issued_at: expected a time"),
        (damaged(lambda b: b["bill"].update(total=11.9)), r"bill\.total: expected a number as"),
        (damaged(lambda b: b["bill"].update(total="NaN")), r"bill\.total: expected a number as"),
        (
            damaged(lambda b: b["bill"].update(total="1e999999999")),
            r"bill\.total: expected a number",
        ),
        (damaged(lambda b: b["bill"].update(total="1_0")), r"bill\.total: expected a number as"),
        (damaged(lambda b: b["bill"].update(total="１")), r"bill\.total: expected a number as"),
        (
            damaged(lambda b: b.update(issued_at="2026-02-01T00:00:00+05:00Z")),
            r"issued_at: expected a time",
        ),
        (damaged(lambda b: b.update(issued_at="2026-02-31T00:00:00Z")), r"issued_at: expected a t"),
        (damaged(lambda b: b["bill"].update(lines={})), r"bill\.lines: expected a list"),
        (
            damaged(lambda b: b["bill"]["lines"][0].update(kind="gift")),
            r"lines\[0\]\.kind: expected one of usage",
        ),
        (damaged(lambda b: b["bill"].update(total="1.9")), "not the one that its digest"),
        (damaged(lambda b: b.update(number="2026-0002")), "not the one that its digest"),
    ],
)
def test_text_that_is_no_document_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        from_json(text)


def test_the_decimal_context_of_the_caller_has_no_say() -> None:
    expected = simple("12345.67", "0.05")
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert simple("12345.67", "0.05") == expected
        text = to_json(expected)
        assert from_json(text) == expected
        assert note(expected).total == expected.bill.total
