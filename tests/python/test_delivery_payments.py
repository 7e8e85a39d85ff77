"""What a provider's webhooks say of a payment: signed or refused, in any order, repeated or not."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_support import API_KEY, WEBHOOK_SECRET, event, signature
from tenancy.delivery import Payment, PaymentEvent, StripeAdapter, payment_of, verify_stripe_webhook
from tenancy.errors import InvalidValue, SignatureInvalid

D = Decimal
NOW = 1_775_040_000
OTHER = "whsec_AnotherSecretOfOurs"


def verify(header: str, body: bytes, secret: Any = WEBHOOK_SECRET, **options: Any) -> Any:
    return verify_stripe_webhook(
        {"Stripe-Signature": header}, body, secret, **{"now": NOW, **options}
    )


def test_a_signed_event_is_taken() -> None:
    body = event("invoice.paid", amount_paid=9928)
    assert verify(signature(body, NOW), body) == json.loads(body)
    assert verify_stripe_webhook(
        {"STRIPE-SIGNATURE": signature(body, NOW)}, body, WEBHOOK_SECRET, now=NOW
    )


def test_one_right_signature_of_several_is_enough() -> None:
    body = event("invoice.paid")
    both = signature(body, NOW, OTHER, WEBHOOK_SECRET)
    assert both.count("v1=") == 2
    assert verify(both, body)
    assert verify(signature(body, NOW, OTHER), body, [WEBHOOK_SECRET, OTHER])
    assert verify(signature(body, NOW) + ",v0=00,v9=zz", body)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1775040000",
        "v1=aa",
        "t=,v1=aa",
        "t=x,v1=aa",
        "t=1775040000,v1=",
        "t=1775040000,v1=äöü",
        "t=1775040000,t=1775040000,v1=aa",
        "t=177504000000000000000,v1=aa",
        "t=١٧٧٥٠٤٠٠٠٠,v1=aa",
    ],
)
def test_a_header_without_what_it_needs(header: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(header, event("invoice.paid"))


def test_nothing_of_it_may_change() -> None:
    body = event("invoice.paid")
    header = signature(body, NOW)
    v0 = header.replace("v1=", "v0=")
    for changed, sent in (
        (header, body + b" "),
        (header.replace(f"t={NOW}", f"t={NOW + 1}"), body),
        (header[:-1] + ("0" if header[-1] != "0" else "1"), body),
        (v0, body),
    ):
        with pytest.raises(SignatureInvalid):
            verify(changed, sent)
    with pytest.raises(SignatureInvalid):
        verify(header, body, OTHER)


def test_what_was_recorded_is_refused_later() -> None:
    body = event("invoice.paid")
    header = signature(body, NOW)
    assert verify(header, body, now=NOW + 300)
    for now in (NOW + 301, NOW - 301):
        with pytest.raises(SignatureInvalid, match="too far from now"):
            verify(header, body, now=now)
    assert verify(header, body, now=NOW + 3000, tolerance=3600)


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 100_000, b'"x"'])
def test_a_body_that_is_no_event(body: bytes) -> None:
    import hashlib
    import hmac

    made = hmac.new(WEBHOOK_SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    with pytest.raises(SignatureInvalid):
        verify(f"t={NOW},v1={made}", body)


@pytest.mark.parametrize("secret", ["", "short", [], ["x" * 40] * 5, "ü" * 40])
def test_a_secret_that_is_none_is_never_shown(secret: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        verify("t=1,v1=aa", b"{}", secret)
    assert refused.value.field == "webhook_secret"
    assert not secret or str(secret) not in str(refused.value)


# -------------------------------------------------------------------------------------- events


def events(body: bytes) -> tuple[PaymentEvent, ...]:
    provider = StripeAdapter(API_KEY, webhook_secret=WEBHOOK_SECRET)
    import time

    now = int(time.time())
    return provider.events({"stripe-signature": signature(body, now)}, body)


def test_an_event_becomes_values() -> None:
    [found] = events(event("invoice.paid", amount_paid=9928))
    assert found == PaymentEvent(
        provider="stripe",
        id="evt_1",
        kind="paid",
        at=datetime(2026, 4, 1, 10, 40, tzinfo=timezone.utc),
        invoice="in_0001",
        number="2026-000042",
        object="in_0001",
        currency="EUR",
        amount=D("99.28"),
        live=False,
    )
    [refund] = events(
        event("charge.refunded", id="ch_1", invoice="in_0001", amount_refunded=500, metadata={})
    )
    assert (refund.kind, refund.invoice, refund.object) == ("refunded", "in_0001", "ch_1")
    assert (refund.amount, refund.number) == (D("5.00"), "")
    assert events(event("customer.updated")) == ()


@pytest.mark.parametrize(
    ("currency", "whole", "amount"),
    [("jpy", 1234, "1234"), ("kwd", 12340, "12.340"), ("isk", 50000, "500"), ("mga", 5, "5.00")],
)
def test_amounts_have_the_digits_of_the_currency(currency: str, whole: int, amount: str) -> None:
    with localcontext() as context:
        context.prec = 2
        [found] = events(event("invoice.paid", currency=currency, amount_paid=whole))
    assert str(found.amount) == amount


@pytest.mark.parametrize(
    "found",
    [
        {"currency": "zzz"},
        {"amount_paid": "9928"},
        {"amount_paid": -1},
        {"amount_paid": True},
        {"amount_paid": 1 << 53},
    ],
)
def test_an_event_that_is_signed_and_makes_no_sense(found: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        events(event("invoice.paid", **found))


def test_an_event_of_no_time_that_can_be() -> None:
    with pytest.raises(InvalidValue, match="created is no whole number"):
        events(event("invoice.paid", created=1 << 52))


# ---------------------------------------------------------------------------------- their sum


def told(kind: Any, amount: str = "0", object_: str = "in_1") -> PaymentEvent:
    at = datetime(2026, 4, 1, tzinfo=timezone.utc)
    id_ = f"{kind}{amount}{object_}"
    return PaymentEvent(
        "stripe",
        id_,
        kind,
        at,
        "in_1",
        "1",
        object_,
        "EUR",
        D(amount),
    )


STORY = (
    told("opened"),
    told("failed"),
    told("failed", "40"),
    told("paid", "100"),
    told("refunded", "10", "ch_1"),
    told("refunded", "25", "ch_1"),
    told("refunded", "5", "ch_2"),
)


def test_order_and_repetition_change_nothing() -> None:
    expected = Payment("paid", "EUR", D(100), D(30))
    for order in itertools.permutations(STORY):
        assert payment_of(order) == expected
    assert payment_of([*STORY, *reversed(STORY)]) == expected


@given(st.lists(st.sampled_from(STORY), max_size=12), st.randoms())
def test_what_was_heard_decides_and_not_when(heard: list[PaymentEvent], random: Any) -> None:
    mixed = [*heard, *heard[:3]]
    random.shuffle(mixed)
    found = payment_of(mixed)
    assert found == payment_of(dict.fromkeys(heard))
    assert found.paid == max((e.amount for e in heard if e.object == "in_1"), default=D(0))


@pytest.mark.parametrize(
    ("heard", "status"),
    [
        ([], "open"),
        ([told("opened")], "open"),
        ([told("failed")], "failed"),
        ([told("failed"), told("voided")], "voided"),
        ([told("uncollectible"), told("failed")], "uncollectible"),
        ([told("paid", "100"), told("uncollectible"), told("failed")], "paid"),
        ([told("paid", "100"), told("refunded", "100", "ch_1")], "refunded"),
        ([told("refunded", "100", "ch_1"), told("opened")], "open"),
    ],
)
def test_where_an_invoice_stands(heard: list[PaymentEvent], status: str) -> None:
    assert payment_of(heard).status == status


def test_events_of_two_currencies_are_of_two_invoices() -> None:
    import dataclasses

    with pytest.raises(InvalidValue, match="EUR, USD"):
        payment_of([told("paid", "1"), dataclasses.replace(told("paid", "1"), currency="USD")])
