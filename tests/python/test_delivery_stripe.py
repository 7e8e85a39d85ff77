"""Invoices to Stripe: exactly what is sent, and that nothing is doubled whatever gets lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from document_support import line, make_credit_note, make_invoice, usage_line
from stripe_support import (
    API_KEY,
    WEBHOOK_SECRET,
    Stripe,
    drop,
    garbage,
    hang,
    lose,
    says,
    stripe_server,
)
from tenancy.billing import Invoice
from tenancy.delivery import PaymentProvider, StripeAdapter
from tenancy.errors import DeliveryFailed, InvalidValue, ProviderRefused

D = Decimal


@pytest.fixture
def server() -> Iterator[tuple[Stripe, str]]:
    with stripe_server() as found:
        yield found


def adapter(url: str, waits: list[float] | None = None, **options: Any) -> StripeAdapter:
    waited = [] if waits is None else waits
    return StripeAdapter(API_KEY, base_url=url, sleep=waited.append, **options)


def test_an_adapter_is_a_provider() -> None:
    assert isinstance(adapter("https://api.stripe.com"), PaymentProvider)


def test_what_is_sent(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    invoice = make_invoice(discount="5.00", credit="10.00")
    sent = adapter(url).send(invoice)
    assert (sent.provider, sent.id, sent.number) == ("stripe", "in_0001", invoice.number)
    assert (sent.status, sent.currency, sent.total) == ("open", "EUR", D("99.28"))
    assert sent.url == "https://pay.example/in_0001"
    [customer] = stripe.posts("/v1/customers")
    assert customer == {"metadata[tenancy_tenant]": "t1"}
    [buyer] = stripe.posts("/v1/customers/cus_0001")
    assert buyer == {
        "name": "Acme SAS",
        "email": "ap@acme.example",
        "address[line1]": "12 rue des Lilas",
        "address[city]": "Lyon",
        "address[postal_code]": "69003",
        "address[state]": "",
        "address[country]": "FR",
    }
    [made] = stripe.posts("/v1/invoices")
    digest = made.pop("metadata[tenancy_digest]")
    assert len(digest) == 64
    assert made == {
        "customer": "cus_0001",
        "currency": "eur",
        "collection_method": "send_invoice",
        "due_date": "1776211200",
        "auto_advance": "false",
        "pending_invoice_items_behavior": "exclude",
        "description": "2026-000042",
        "metadata[tenancy_number]": "2026-000042",
        "metadata[tenancy_tenant]": "t1",
    }
    items = stripe.posts("/v1/invoiceitems")
    assert [(item["description"], item["amount"]) for item in items] == [
        ("Base fee Pro", "4172"),
        ("Hash operations", "1873"),
        ("Seats", "2555"),
        ("VAT 19 %", "1149"),
        ("VAT 7 %", "179"),
    ]
    assert items[0] == {
        "customer": "cus_0001",
        "invoice": "in_0001",
        "amount": "4172",
        "currency": "eur",
        "description": "Base fee Pro",
        "discountable": "false",
        "period[start]": "1772323200",
        "period[end]": "1775001600",
        "metadata[tenancy_item]": "0",
    }
    assert stripe.posts("/v1/invoices/in_0001/finalize") == [{"auto_advance": "true"}]


def test_every_request_bears_key_and_version_and_every_post_an_idempotency_key(
    server: tuple[Stripe, str],
) -> None:
    stripe, url = server
    adapter(url, account="acct_9").send(make_invoice())
    assert len(stripe.requests) > 8
    for request in stripe.requests:
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert request.headers["stripe-version"] == "2024-06-20"
        assert request.headers["stripe-account"] == "acct_9"
        assert (request.key is not None) == (request.method == "POST")
    keys = [request.key for request in stripe.requests if request.key]
    assert len(set(keys)) == len(keys)


def once(stripe: Stripe) -> None:
    """There is one customer, one invoice that was finalised, and each item once."""
    assert [len(stripe.customers), len(stripe.invoices), len(stripe.items)] == [1, 1, 5]
    [invoice] = stripe.invoices.values()
    assert (invoice["status"], invoice["total"]) == ("open", 11659)


CALLS = 12
"""Of one `send` when nothing goes wrong."""


@pytest.mark.parametrize("fault", [lose, drop, says(503), says(429)], ids=lambda f: "")
def test_whichever_answer_is_lost_nothing_is_doubled(fault: Any) -> None:
    for at in range(CALLS):
        with stripe_server() as (stripe, url):
            stripe.faults = [None] * at + [fault]
            waits: list[float] = []
            adapter(url, waits).send(make_invoice())
            once(stripe)
            assert len(waits) == 1
            assert len(stripe.requests) == CALLS + 1


def test_a_process_that_dies_between_any_two_calls_goes_on_when_it_sends_again() -> None:
    for at in range(CALLS):
        with stripe_server() as (stripe, url):
            stripe.faults = [None] * at + [lose]
            with pytest.raises(DeliveryFailed) as failed:
                adapter(url, attempts=1).send(make_invoice())
            assert not failed.value.final
            # Days later: the keys are forgotten, what was made is there.
            stripe.keys.clear()
            adapter(url).send(make_invoice())
            once(stripe)


def test_sending_again_within_the_day_is_answered_from_the_keys(
    server: tuple[Stripe, str],
) -> None:
    stripe, url = server
    stripe.searched_behind = True  # the search learns of a new customer a minute later
    first = adapter(url).send(make_invoice())
    assert adapter(url).send(make_invoice()) == first
    once(stripe)


def test_an_invoice_that_is_paid_is_left_alone(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    adapter(url).send(make_invoice())
    stripe.invoices["in_0001"]["status"] = "paid"
    before = len(stripe.requests)
    assert adapter(url).send(make_invoice()).status == "paid"
    assert [r.method for r in stripe.requests[before:]] == ["GET", "POST", "GET"]


def test_it_is_found_behind_many_others(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.page = 2
    provider = adapter(url)
    invoices = [make_invoice(number=f"2026-{i:06}") for i in range(5)]
    for invoice in invoices:
        provider.send(invoice)
    stripe.keys.clear()
    assert provider.send(invoices[0]).id == "in_0001"
    assert len(stripe.invoices) == 5


def test_another_invoice_of_that_number_is_not_taken_for_it(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    adapter(url).send(make_invoice())
    with pytest.raises(ProviderRefused, match="another invoice") as refused:
        adapter(url).send(make_invoice(discount="1.00"))
    assert refused.value.reason == "number_taken"
    assert len(stripe.invoices) == 1
    stripe.invoices["in_0001"]["status"] = "void"
    assert adapter(url).send(make_invoice(discount="1.00")).id == "in_0002"


def test_a_total_that_differs_is_not_finalised(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    provider = adapter(url)
    provider.ensure_customer("t1", make_invoice().buyer)

    def add(state: Stripe, _: Any) -> None:
        state.invoices["in_0001"]["total"] += 1

    stripe.faults = [None] * 9 + [add]
    with pytest.raises(ProviderRefused, match=r"11660.*not 11659") as refused:
        provider.send(make_invoice())
    assert refused.value.reason == "total_differs"
    assert stripe.invoices["in_0001"]["status"] == "draft"


def test_many_lines_become_an_item_for_each_rate(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    lines = [line("0.10", description=f"l{i}", tax_rate=D(19 if i % 2 else 7)) for i in range(500)]
    invoice = make_invoice(*lines)
    assert adapter(url).send(invoice).total == invoice.bill.total
    items = stripe.posts("/v1/invoiceitems")
    assert [item["amount"] for item in items] == ["2500", "2500", "175", "475"]


def test_prices_with_tax_and_credits_after_it_come_to_what_is_due(
    server: tuple[Stripe, str],
) -> None:
    stripe, url = server
    invoice = make_invoice(inclusive=True, credit="20.00", credit_late=True)
    sent = adapter(url).send(invoice)
    assert sent.total == invoice.bill.due == invoice.bill.total - 20
    assert stripe.posts("/v1/invoiceitems")[-1]["amount"] == "-2000"


@pytest.mark.parametrize(
    ("currency", "amount", "whole"),
    [
        ("JPY", "1234", 1234),
        ("KWD", "12.340", 12340),
        ("USD", "12.34", 1234),
        ("ISK", "500", 50000),
        ("UGX", "500", 50000),
        ("MGA", "500.00", 500),
        ("CLF", "1.2345", None),
        ("KWD", "12.345", None),
        ("MGA", "500.20", None),
        ("USD", "1000000.00", None),
    ],
)
def test_smallest_units_are_those_of_stripe(
    server: tuple[Stripe, str], currency: str, amount: str, whole: int | None
) -> None:
    stripe, url = server
    invoice = make_invoice(line(amount, tax_category="Z", tax_rate=D(0)), currency=currency)
    if whole is None:
        with pytest.raises(InvalidValue, match=r"bill\.due"):
            adapter(url).send(invoice)
        assert not stripe.requests
    else:
        assert adapter(url).send(invoice).total == D(amount)
        assert [item["amount"] for item in stripe.posts("/v1/invoiceitems")] == [str(whole)]


def test_nothing_to_collect_is_nothing_to_send(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    with pytest.raises(InvalidValue, match="nothing to collect"):
        adapter(url).send(make_invoice(line("0.00")))
    assert not stripe.requests


# ------------------------------------------------------------------------------- credit notes


def paid(stripe: Stripe, amount: int) -> None:
    stripe.invoices["in_0001"]["amount_remaining"] -= amount


@pytest.mark.parametrize(
    ("payment", "refund", "sent"),
    [
        (0, "0", {}),
        (11659, "116.59", {"refund_amount": "11659"}),
        (11659, "16.59", {"refund_amount": "1659", "credit_amount": "10000"}),
        (1659, "6.59", {"refund_amount": "659", "credit_amount": "1000"}),
    ],
)
def test_a_credit_note_lowers_what_is_due_and_pays_back_the_rest(
    server: tuple[Stripe, str], payment: int, refund: str, sent: dict[str, str]
) -> None:
    stripe, url = server
    invoice = make_invoice()
    there = adapter(url).send(invoice)
    paid(stripe, payment)
    note = make_credit_note(invoice, refund=refund)
    assert adapter(url).credit(note, there.id) == "cn_0001"
    [form] = stripe.posts("/v1/credit_notes")
    assert len(form.pop("metadata[tenancy_digest]")) == 64
    assert form == {
        "invoice": "in_0001",
        "amount": "11659",
        "memo": "The service was down for two days.",
        "metadata[tenancy_number]": "CN-2026-000007",
        "metadata[tenancy_tenant]": "t1",
        **sent,
    }


def test_a_credit_note_is_not_doubled(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    invoice = make_invoice()
    there = adapter(url).send(invoice)
    paid(stripe, 11659)
    note = make_credit_note(invoice)
    for at in range(3):
        stripe.faults = [None] * at + [lose]
        with contextlib.suppress(DeliveryFailed):
            adapter(url, attempts=1).credit(note, there.id)
        stripe.faults.clear()
        stripe.keys.clear()  # days later
    assert adapter(url).credit(note, there.id) == "cn_0001"
    assert len(stripe.notes) == 1


def test_what_was_not_paid_is_not_refunded(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    invoice = make_invoice()
    there = adapter(url).send(invoice)
    paid(stripe, 1000)
    with pytest.raises(ProviderRefused, match=r"20\.00 EUR.*only 10\.00") as refused:
        adapter(url).credit(make_credit_note(invoice, refund="20.00"), there.id)
    assert refused.value.reason == "refund_above_payment"
    with pytest.raises(ProviderRefused, match="the id"):
        adapter(url).credit(make_credit_note(invoice), "../payouts")
    nothing = make_credit_note(make_invoice(line("0.00")))
    with pytest.raises(InvalidValue, match="nothing to take back"):
        adapter(url).credit(nothing, there.id)
    assert not stripe.notes


# ----------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("fault", [says(500), drop, says(409, "idempotency_error")])
def test_it_gives_up_after_so_many_attempts(server: tuple[Stripe, str], fault: Any) -> None:
    stripe, url = server
    stripe.faults = [fault] * 3
    waits: list[float] = []
    with pytest.raises(DeliveryFailed) as failed:
        adapter(url, waits, attempts=3).send(make_invoice())
    assert not failed.value.final
    assert len(stripe.requests) == 3
    assert len(waits) == 2
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


def test_a_server_that_hangs_is_left_in_time(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.faults = [hang]
    with pytest.raises(DeliveryFailed, match="no answer in time"):
        adapter(url, attempts=1, timeout=0.2).send(make_invoice())


def test_what_the_server_asks_to_wait_is_waited(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.faults = [says(429, retry_after="7"), says(429, retry_after="99999")]
    waits: list[float] = []
    adapter(url, waits).send(make_invoice())
    assert waits == [7.0, 60.0]


def test_stripe_may_say_itself_whether_to_try_again(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.faults = [says(500, stripe_should_retry="false")]
    with pytest.raises(ProviderRefused) as refused:
        adapter(url).send(make_invoice())
    assert refused.value.final
    assert len(stripe.requests) == 1
    stripe.faults = [says(400, stripe_should_retry="true")]
    adapter(url).send(make_invoice())
    once(stripe)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_a_refusal_is_not_repeated_and_says_why(server: tuple[Stripe, str], status: int) -> None:
    stripe, url = server
    stripe.faults = [says(status, "card_error", "card_declined")]
    with pytest.raises(ProviderRefused, match="card_declined") as refused:
        adapter(url).send(make_invoice())
    error = refused.value
    assert (error.http_status, error.kind, error.reason) == (status, "card_error", "card_declined")
    assert (error.request_id, error.final, error.code) == ("req_7", True, "PROVIDER_REFUSED")
    assert len(stripe.requests) == 1


def test_an_answer_that_is_none(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.faults = [garbage]
    with pytest.raises(DeliveryFailed, match="no JSON object"):
        adapter(url).send(make_invoice())


def test_ids_do_not_become_paths(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    stripe.faults = [None, lambda _, __: (200, {"id": "cus_1/../../v1/payouts"}, {})]
    with pytest.raises(ProviderRefused, match="the id"):
        adapter(url).send(make_invoice())


def test_a_wrong_key_is_told_and_never_shown(server: tuple[Stripe, str]) -> None:
    _, url = server
    wrong = StripeAdapter("sk_live_OtherSecretKey", base_url=url, webhook_secret=WEBHOOK_SECRET)
    with pytest.raises(ProviderRefused, match="answered 401") as refused:
        wrong.send(make_invoice())
    shown = f"{wrong!r} {wrong} {refused.value!r} {refused.value} {vars(refused.value)}"
    for secret in ("OtherSecretKey", "SecretSecret", API_KEY):
        assert secret not in shown


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "sk test with blanks"}, "api_key"),
        ({"api_key": "sk_test_1\r\nx: y"}, "api_key"),
        ({"base_url": "http://api.stripe.com"}, "base_url"),
        ({"base_url": "ftp://127.0.0.1"}, "base_url"),
        ({"account": "acct_1\r\nx: y"}, "account"),
        ({"attempts": 0}, "attempts"),
        ({"webhook_secret": "short"}, "webhook_secret"),
        ({"collection": "hope"}, "collection"),
    ],
)
def test_what_an_adapter_cannot_be(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        StripeAdapter(**{"api_key": API_KEY, **options})
    assert refused.value.field == field


def test_texts_of_any_kind_are_sent_as_they_are(server: tuple[Stripe, str]) -> None:
    stripe, url = server
    evil = "a&amount=1 ü%00+'\\\r\n"
    invoice: Invoice = make_invoice(usage_line(description=evil * 30))
    invoice = replace(invoice, tenant="o'brien \\ &x=1")
    adapter(url).send(invoice)
    [customer] = stripe.posts("/v1/customers")
    assert customer == {"metadata[tenancy_tenant]": "o'brien \\ &x=1"}
    item = stripe.posts("/v1/invoiceitems")[0]
    assert item["amount"] == "2200"
    assert item["description"].startswith("a&amount=1 ü%00+'\\\r\na&")
    assert len(item["description"]) == 500
    stripe.keys.clear()
    adapter(url).send(invoice)
    assert len(stripe.customers) == 1
