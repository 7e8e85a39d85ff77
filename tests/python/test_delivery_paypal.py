"""Invoices to PayPal: exactly what is sent, and that nothing is doubled whatever gets lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from document_support import BUYER, invoices, line, make_invoice, usage_line
from paypal_support import PayPal, adapter, drop, lose, paypal_server, says
from tenancy.billing import Invoice
from tenancy.delivery import PaymentProvider
from tenancy.errors import DeliveryFailed, InvalidValue, ProviderRefused

D = Decimal
INVOICES = "/v2/invoicing/invoices"
FIRST = "INV2-Z56S-5LLA-Q52L-0000"


@pytest.fixture
def server() -> Iterator[tuple[PayPal, str]]:
    with paypal_server() as found:
        yield found


def once(paypal: PayPal) -> None:
    """There is one invoice, it was sent, and its total is ours."""
    [invoice] = paypal.invoices.values()
    assert (invoice["status"], invoice["amount"]["value"]) == ("SENT", "116.59")


# ------------------------------------------------------------------------------- what is sent


def test_an_adapter_is_a_provider() -> None:
    assert isinstance(adapter("https://api-m.sandbox.paypal.com"), PaymentProvider)


def test_what_is_sent(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    invoice = replace(make_invoice(discount="5.00", credit="10.00"), notes=("Thank you.",))
    sent = adapter(url, email="billing@gateway.example").send(invoice)
    assert (sent.provider, sent.id, sent.number) == ("paypal", FIRST, invoice.number)
    assert (sent.status, sent.currency, sent.total) == ("SENT", "EUR", D("99.28"))
    assert sent.url == f"https://www.paypal.com/invoice/p/#{FIRST}"
    [body] = paypal.posts(INVOICES)
    memo = body["detail"].pop("memo")
    assert memo.split()[0::2] == ["tenancy", "t1"]
    assert len(memo.split()[1]) == 64
    items = body.pop("items")
    assert body == {
        "detail": {
            "invoice_number": "2026-000042",
            "reference": "PO-2026-77",
            "invoice_date": "2026-04-01",
            "currency_code": "EUR",
            "note": "Thank you.",
            "payment_term": {"term_type": "DUE_ON_DATE_SPECIFIED", "due_date": "2026-04-15"},
        },
        "invoicer": {"business_name": "Gateway GmbH", "email_address": "billing@gateway.example"},
        "primary_recipients": [
            {
                "billing_info": {
                    "business_name": "Acme SAS",
                    "email_address": "ap@acme.example",
                    "address": {
                        "address_line_1": "12 rue des Lilas",
                        "admin_area_2": "Lyon",
                        "postal_code": "69003",
                        "country_code": "FR",
                    },
                }
            }
        ],
        "configuration": {
            "allow_tip": False,
            "partial_payment": {"allow_partial_payment": False},
            "tax_inclusive": False,
        },
    }
    assert items[0] == {
        "name": "Base fee Pro",
        "quantity": "1",
        "unit_amount": {"currency_code": "EUR", "value": "49.00"},
        "unit_of_measure": "AMOUNT",
        "discount": {"amount": {"currency_code": "EUR", "value": "7.28"}},
    }
    assert [(item["name"], item["unit_amount"]["value"]) for item in items] == [
        ("Base fee Pro", "49.00"),
        ("Hash operations", "22.00"),
        ("Seats", "30.00"),
        ("VAT 19 %", "11.49"),
        ("VAT 7 %", "1.79"),
    ]
    assert sum(D(item["discount"]["amount"]["value"]) for item in items[:3]) == 15
    assert not any("tax" in item for item in items)
    send = {"send_to_recipient": True, "send_to_invoicer": False}
    assert paypal.posts(f"{INVOICES}/{FIRST}/send") == [send]


def test_a_buyer_without_an_address_gets_a_link(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    sent = adapter(url).send(make_invoice(buyer=replace(BUYER, email="")))
    [quiet] = paypal.posts(f"{INVOICES}/{FIRST}/send")
    assert (quiet["send_to_recipient"], sent.status) == (False, "UNPAID")
    assert sent.url
    adapter(url, notify=False).send(make_invoice(number="2026-000043"))
    assert paypal.posts(f"{INVOICES}/INV2-Z56S-5LLA-Q52L-0001/send") == [quiet]


@settings(max_examples=40, deadline=None)
@given(invoices(currencies=("EUR", "USD", "JPY")))
def test_what_paypal_computes_is_what_is_due_to_the_cent(invoice: Invoice) -> None:
    with paypal_server() as (paypal, url):
        sums = [abs(one.amount) for one in (*invoice.bill.lines, *invoice.bill.taxes)]
        sums += [invoice.bill.credit] if invoice.bill.credit_after_tax else []
        if invoice.bill.due <= 0 or max(sums) > 10**6:
            with pytest.raises(InvalidValue):
                adapter(url).send(invoice)
            assert not paypal.requests
            return
        assert adapter(url).send(invoice).total == invoice.bill.due


def test_prices_with_tax_and_credits_after_it_come_to_what_is_due(
    server: tuple[PayPal, str],
) -> None:
    paypal, url = server
    invoice = make_invoice(inclusive=True, credit="20.00", credit_late=True, discount="3.00")
    sent = adapter(url).send(invoice)
    assert sent.total == invoice.bill.due == invoice.bill.total - 20
    [body] = paypal.posts(INVOICES)
    assert body["items"][-1]["name"] == "Credit"
    assert body["items"][-1]["unit_amount"]["value"] == "-20.00"
    assert not any("discount" in item for item in body["items"])


def test_many_lines_become_an_item_for_each_rate(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    lines = [line("0.10", description=f"l{i}", tax_rate=D(19 if i % 2 else 7)) for i in range(500)]
    invoice = make_invoice(*lines)
    assert adapter(url).send(invoice).total == invoice.bill.total
    [body] = paypal.posts(INVOICES)
    values = [item["unit_amount"]["value"] for item in body["items"]]
    assert values == ["25.00", "25.00", "1.75", "4.75"]


@pytest.mark.parametrize(
    ("currency", "amount", "field", "told"),
    [
        ("JPY", "1234", None, "1234"),
        ("HUF", "1234.00", None, "1234"),
        ("TWD", "5.00", None, "5"),
        ("USD", "12.34", None, "12.34"),
        ("HUF", "1234.50", "bill.lines[0]", "no decimals"),
        ("TWD", "5.10", "bill.lines[0]", "no decimals"),
        ("KWD", "12.340", "bill.currency", "takes no KWD"),
        ("INR", "12.34", "bill.currency", "takes no INR"),
        ("USD", "1000000.01", "bill.lines[0]", "more than the 1,000,000"),
    ],
)
def test_amounts_are_those_that_paypal_takes(
    server: tuple[PayPal, str], currency: str, amount: str, field: str | None, told: str
) -> None:
    paypal, url = server
    invoice = make_invoice(line(amount, tax_category="Z", tax_rate=D(0)), currency=currency)
    if field is None:
        sent = adapter(url).send(invoice)
        assert (sent.total, sent.currency) == (D(amount), currency)
        [body] = paypal.posts(INVOICES)
        assert [item["unit_amount"]["value"] for item in body["items"]] == [told]
        return
    with pytest.raises(InvalidValue, match=told) as refused:
        adapter(url).send(invoice)
    assert refused.value.field == field
    assert refused.value.remedy
    assert not paypal.requests


def test_parts_with_decimals_are_told_by_the_line(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    halves = [line("0.50", tax_category="Z", tax_rate=D(0)) for _ in range(2)]
    with pytest.raises(InvalidValue, match="HUF with no decimals") as refused:
        adapter(url).send(make_invoice(*halves, currency="HUF"))
    assert refused.value.field == "bill.lines[0]"
    assert not paypal.requests


def test_what_is_refused_before_anything_is_sent(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    for invoice, field in (
        (make_invoice(line("0.00")), "bill.due"),
        (make_invoice(number="2026-" + "0" * 21), "number"),
    ):
        with pytest.raises(InvalidValue) as refused:
            adapter(url).send(invoice)
        assert refused.value.field == field
    assert not paypal.requests


def test_texts_of_any_kind_are_sent_as_they_are(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    evil = "\"}],'ü\x00%00\\\r\n🧾"
    invoice = replace(make_invoice(usage_line(description=evil * 30)), tenant="o'brien \\ x")
    adapter(url).send(invoice)
    [body] = paypal.posts(INVOICES)
    assert body["items"][0]["name"] == (evil * 30)[:200]
    assert body["detail"]["memo"].endswith(" o'brien \\ x")
    paypal.keys.clear()
    adapter(url).send(invoice)
    assert len(paypal.invoices) == 1


# ------------------------------------------------------------------------- nothing is doubled

CALLS = 6
"""Of one `send` when nothing goes wrong: token, search, create, read, send, read."""


@pytest.mark.parametrize("fault", [lose, drop, says(503), says(429)], ids=lambda f: "")
def test_whichever_answer_is_lost_nothing_is_doubled(fault: Any) -> None:
    for at in range(CALLS):
        with paypal_server() as (paypal, url):
            paypal.faults = [None] * at + [fault]
            waits: list[float] = []
            adapter(url, waits).send(make_invoice())
            once(paypal)
            assert len(waits) == 1
            assert len(paypal.requests) == CALLS + 1


def test_a_process_that_dies_between_any_two_calls_goes_on_when_it_sends_again() -> None:
    for at in range(CALLS):
        with paypal_server() as (paypal, url):
            paypal.faults = [None] * at + [lose]
            with pytest.raises(DeliveryFailed) as failed:
                adapter(url, attempts=1).send(make_invoice())
            assert not failed.value.final
            paypal.keys.clear()  # days later: what was made is there
            adapter(url).send(make_invoice())
            once(paypal)


def test_sending_again_while_the_search_is_behind(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    paypal.search_behind = True
    first = adapter(url).send(make_invoice())
    assert adapter(url).send(make_invoice()) == first  # by the request id
    once(paypal)


def test_a_number_that_the_search_does_not_show_yet_is_refused_and_found_later(
    server: tuple[PayPal, str],
) -> None:
    paypal, url = server
    first = adapter(url).send(make_invoice())
    paypal.keys.clear()
    paypal.search_behind = True
    with pytest.raises(ProviderRefused, match=r"422 .*detail\.invoice_number") as refused:
        adapter(url).send(make_invoice())
    assert refused.value.parameter == "detail.invoice_number"

    def catch_up(state: PayPal, _: Any) -> None:
        state.search_behind = False

    paypal.faults = [None, None, None, catch_up]
    assert adapter(url).send(make_invoice()) == first
    once(paypal)


def test_an_answer_that_is_only_a_link_is_followed(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    paypal.minimal = True
    assert adapter(url).send(make_invoice()).id == FIRST
    once(paypal)


def test_an_invoice_that_is_paid_is_left_alone(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    adapter(url).send(make_invoice())
    paypal.invoices[FIRST]["status"] = "PAID"
    before = len(paypal.requests)
    assert adapter(url).send(make_invoice()).status == "PAID"
    assert [r.path.rpartition("/")[2] for r in paypal.requests[before:]] == [
        "token",
        "search-invoices",
        FIRST,
    ]


def test_it_is_found_behind_many_whose_number_holds_it(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    provider = adapter(url)
    others = [make_invoice(number=f"2026-000042-{i}") for i in range(120)]
    for invoice in (*others, make_invoice()):
        provider.send(invoice)
    paypal.keys.clear()
    assert provider.send(make_invoice()).id == "INV2-Z56S-5LLA-Q52L-0120"
    assert len(paypal.invoices) == 121


def test_another_invoice_of_that_number_is_not_taken_for_it(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    adapter(url).send(make_invoice())
    with pytest.raises(ProviderRefused, match="another invoice") as refused:
        adapter(url).send(make_invoice(discount="1.00"))
    assert refused.value.reason == "number_taken"
    assert len(paypal.invoices) == 1


def test_one_that_was_cancelled_is_not_taken_for_sent(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    adapter(url).send(make_invoice())
    paypal.invoices[FIRST]["status"] = "CANCELLED"
    with pytest.raises(ProviderRefused, match="422"):  # this server keeps the number for ever
        adapter(url).send(make_invoice())


def test_a_total_that_differs_is_not_sent(server: tuple[PayPal, str]) -> None:
    paypal, url = server

    def add(state: PayPal, _: Any) -> None:
        state.invoices[FIRST]["amount"]["value"] = "116.60"

    paypal.faults = [None, None, None, add]
    with pytest.raises(ProviderRefused, match=r"116\.60 EUR.*not 116\.59") as refused:
        adapter(url).send(make_invoice())
    assert refused.value.reason == "total_differs"
    assert paypal.invoices[FIRST]["status"] == "DRAFT"


def test_two_that_send_the_same_at_once_make_one(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    threads = [threading.Thread(target=lambda: adapter(url).send(make_invoice())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    once(paypal)
