"""Webhooks of PayPal: signed by PayPal or refused; what they say is what PayPal has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from document_support import make_invoice
from paypal_support import (
    CLIENT_ID,
    CLIENT_SECRET,
    WEBHOOK_ID,
    PayPal,
    event,
    paypal_server,
    says,
    signed,
)
from pki_support import CLIENT, DAY, SERVER, Authority
from tenancy.delivery import PaymentEvent, PayPalAdapter, payment_of
from tenancy.delivery._paypal_certificates import Certificates, _authorities
from tenancy.errors import DeliveryFailed, InvalidValue, ProviderRefused, SignatureInvalid

D = Decimal
FIRST = "INV2-Z56S-5LLA-Q52L-0000"
LIVE = "messageverificationcerts.paypal.com"
SANDBOX = "messageverificationcerts.sandbox.paypal.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class World:
    """PayPal with an invoice that was sent, its authority, and our adapter."""

    paypal: PayPal
    url: str
    authority: Authority
    adapter: PayPalAdapter

    def certify(self, name: str = LIVE, key: Any = KEY, **options: Any) -> None:
        defaults: dict[str, Any] = {"names": [x509.DNSName(name)], "purposes": (SERVER,)}
        issued = self.authority.issue(name, "PayPal, Inc.", key=key, **{**defaults, **options})
        self.paypal.certificate = issued.pem.encode()

    def events(self, body: bytes, **options: Any) -> tuple[PaymentEvent, ...]:
        return self.adapter.events(signed(body, KEY, self.url, **options), body)

    def asked(self, word: str) -> int:
        return sum(word in request.path for request in self.paypal.requests)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    authority = Authority("Web authority of a test")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(authority.pem)
    with paypal_server() as (paypal, url):
        adapter = PayPalAdapter(
            CLIENT_ID,
            CLIENT_SECRET,
            WEBHOOK_ID,
            base_url=url,
            ca_file=str(ca_file),
            attempts=1,
        )
        adapter.send(make_invoice())
        found = World(paypal, url, authority, adapter)
        found.certify()
        paypal.requests.clear()
        yield found


def pay(world: World, amount: str = "116.59", status: str = "PAID", refund: str = "") -> None:
    invoice = world.paypal.invoices[FIRST]
    invoice["status"] = status
    invoice["payments"] = {"paid_amount": {"currency_code": "EUR", "value": amount}}
    if refund:
        invoice["refunds"] = {"refund_amount": {"currency_code": "EUR", "value": refund}}


# ------------------------------------------------------------------------------ what it becomes


def test_an_event_becomes_values(world: World) -> None:
    pay(world)
    [found] = world.events(event("INVOICING.INVOICE.PAID"))
    assert found == PaymentEvent(
        provider="paypal",
        id="WH-1",
        kind="paid",
        at=datetime(2026, 4, 1, 10, 40, 0, 656_000, tzinfo=timezone.utc),
        invoice=FIRST,
        number="2026-000042",
        object=FIRST,
        currency="EUR",
        amount=D("116.59"),
        live=False,
    )


@pytest.mark.parametrize(
    ("status", "paid", "refund", "kinds", "stands"),
    [
        ("SENT", "0", "", ["opened"], "open"),
        ("UNPAID", "0", "", ["opened"], "open"),
        ("PAYMENT_PENDING", "0", "", ["opened"], "open"),
        ("PARTIALLY_PAID", "16.59", "", ["opened"], "open"),
        ("PAID", "116.59", "", ["paid"], "paid"),
        ("MARKED_AS_PAID", "116.59", "", ["paid"], "paid"),
        ("PARTIALLY_REFUNDED", "116.59", "16.59", ["paid", "refunded"], "paid"),
        ("REFUNDED", "116.59", "116.59", ["paid", "refunded"], "refunded"),
        ("MARKED_AS_REFUNDED", "116.59", "116.59", ["paid", "refunded"], "refunded"),
        ("CANCELLED", "0", "", ["voided"], "voided"),
        ("DRAFT", "0", "", [], "open"),
        ("SCHEDULED", "0", "", [], "open"),
    ],
)
def test_what_holds_is_what_paypal_has(
    world: World, status: str, paid: str, refund: str, kinds: list[str], stands: str
) -> None:
    """Whatever the webhook says: its signature covers a CRC-32 alone, which anybody can keep."""
    pay(world, paid, status, refund)
    found = world.events(event("INVOICING.INVOICE.UPDATED"))
    assert [one.kind for one in found] == kinds
    assert len({one.id for one in found}) == len(found)
    payment = payment_of(found)
    assert (payment.status, payment.paid) == (stands, D(paid) if found else 0)
    assert payment.refunded == D(refund or 0)


def test_a_late_event_tells_the_sums_of_now(world: World) -> None:
    first = event("INVOICING.INVOICE.PAID", identifier="WH-1")
    pay(world)
    heard = [*world.events(first)]
    pay(world, status="PARTIALLY_REFUNDED", refund="6.59")
    heard += world.events(event("INVOICING.INVOICE.REFUNDED", identifier="WH-2"))
    heard += world.events(first)  # delivered again
    for order in (heard, list(reversed(heard)), heard * 2):
        payment = payment_of(order)
        assert (payment.status, payment.paid, payment.refunded) == ("paid", D("116.59"), D("6.59"))


def test_an_event_about_something_else_asks_nothing(world: World) -> None:
    assert world.events(event("CUSTOMER.DISPUTE.CREATED")) == ()
    assert world.asked("/v2/") == 0


def test_an_event_without_its_invoice_is_told(world: World) -> None:
    """PayPal has sent `"invoice": null` for invoices that were paid."""
    with pytest.raises(InvalidValue, match="names no invoice"):
        world.events(event("INVOICING.INVOICE.PAID", None))
    with pytest.raises(ProviderRefused, match="the id"):
        world.events(event("INVOICING.INVOICE.PAID", "../../v1/payments"))


def test_an_invoice_that_cannot_be_read_is_asked_for_again_later(world: World) -> None:
    world.paypal.faults = [None, says(503)]  # the certificate, the invoice
    with pytest.raises(DeliveryFailed) as failed:
        world.events(event("INVOICING.INVOICE.PAID"))
    assert not failed.value.final
    assert world.events(event("INVOICING.INVOICE.PAID"))


# --------------------------------------------------------------------------------- signatures


def refused(world: World, headers: dict[str, str], body: bytes, match: str) -> None:
    with pytest.raises(SignatureInvalid, match=match):
        world.adapter.events(headers, body)
    assert world.asked("/v2/") == 0  # nothing of it was believed


def test_nothing_of_it_may_change(world: World) -> None:
    body = event("INVOICING.INVOICE.PAID")
    headers = signed(body, KEY, world.url)
    assert world.adapter.events({name.lower(): v for name, v in headers.items()}, body)
    world.paypal.requests.clear()
    other = {"PAYPAL-TRANSMISSION-ID": "bcd47ac0-2b4a-11ee-91e2-870aebfd036e"}
    for changed, sent in (
        (headers, body + b" "),
        (headers, body.replace(b"WH-1", b"WH-2")),
        ({**headers, **other}, body),
        (signed(body, OTHER_KEY, world.url), body),
        (signed(body, KEY, world.url, webhook="0XL90610J3647323C"), body),
    ):
        refused(world, changed, sent, "not PayPal's for this webhook")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("PAYPAL-TRANSMISSION-ID", "", "Transmission-Id"),
        ("PAYPAL-TRANSMISSION-ID", "a|b", "Transmission-Id"),
        ("PAYPAL-TRANSMISSION-TIME", "", "no moment"),
        ("PAYPAL-TRANSMISSION-TIME", "2026-13-01T00:00:00Z", "no moment"),
        ("PAYPAL-TRANSMISSION-TIME", "٢٠٢٦-01-01T00:00:00Z", "no moment"),
        ("PAYPAL-TRANSMISSION-SIG", "", "no base64"),
        ("PAYPAL-TRANSMISSION-SIG", "äöü", "no base64"),
        ("PAYPAL-TRANSMISSION-SIG", "AAAA" * 501, "no base64"),
        ("PAYPAL-TRANSMISSION-SIG", "AAAA", "not PayPal's"),
        ("PAYPAL-AUTH-ALGO", "SHA1withRSA", "SHA256withRSA"),
        ("PAYPAL-AUTH-ALGO", "", "SHA256withRSA"),
        ("PAYPAL-CERT-URL", "", "expected a URL"),
    ],
)
def test_a_header_without_what_it_needs(world: World, name: str, value: str, match: str) -> None:
    body = event("INVOICING.INVOICE.PAID")
    refused(world, {**signed(body, KEY, world.url), name: value}, body, match)


def test_what_was_recorded_is_refused_later(world: World) -> None:
    def at(days: float) -> str:
        moment = datetime.now(timezone.utc) + timedelta(days=days)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    body = event("INVOICING.INVOICE.PAID")
    assert world.events(body, sent=at(-3))  # PayPal sends again for three days
    world.paypal.requests.clear()
    for days in (-4.01, 4.01, -3650):
        refused(world, signed(body, KEY, world.url, sent=at(days)), body, "too far from now")
    assert not world.paypal.requests


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b"\xff", b"[" * 100_000, b'"x"'],
    ids=("list", "cut", "bytes", "deep", "text"),
)
def test_a_body_that_is_no_event(world: World, body: bytes) -> None:
    refused(world, signed(body, KEY, world.url), body, "no JSON object")


def test_without_the_id_of_the_webhook_none_is_taken(world: World) -> None:
    with pytest.raises(InvalidValue, match="is not set") as told:
        PayPalAdapter(CLIENT_ID, CLIENT_SECRET).events({}, b"{}")
    assert told.value.field == "webhook_id"
    parsed: Any = {}
    with pytest.raises(InvalidValue, match="expected bytes"):
        world.adapter.events({}, parsed)


# ------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../../user",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?next=//evil.example",
        "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
        "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
        "https://[::1/",
    ],
)
def test_a_certificate_comes_from_paypal_alone(url: str) -> None:
    live = PayPalAdapter(CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID, attempts=1, timeout=0.01)
    body = event("INVOICING.INVOICE.PAID")
    headers = {**signed(body, KEY, "https://api.paypal.com"), "PAYPAL-CERT-URL": url}
    with pytest.raises(SignatureInvalid, match="PayPal-Cert-Url"):
        live.events(headers, body)


@pytest.mark.parametrize("environment", ["", "sandbox."])
def test_either_host_of_an_environment_has_its_certificates(environment: str) -> None:
    found = Certificates(f"https://api-m.{environment}paypal.com", None, 0.001)
    for host in ("api", "api-m"):
        found._check_url(f"https://{host}.{environment}paypal.com/v1/notifications/certs/CERT-36_a")


def test_a_certificate_is_fetched_once(world: World) -> None:
    for _ in range(3):
        world.events(event("INVOICING.INVOICE.PAID"))
    assert world.asked("/certs/") == 1


def test_a_certificate_of_the_sandbox_is_one_of_tests_only(world: World) -> None:
    world.certify(SANDBOX)
    assert world.events(event("INVOICING.INVOICE.PAID"))
    live = Certificates("https://api-m.paypal.com", world.adapter.ca_file, 1.0)
    with pytest.raises(SignatureInvalid, match=LIVE):
        live._checked(world.paypal.certificate, datetime.now(timezone.utc))
    world.certify()
    assert live._checked(world.paypal.certificate, datetime.now(timezone.utc))


def test_a_chain_leads_to_an_authority(world: World) -> None:
    between = Authority("Between", parent=world.authority)
    issued = between.issue(
        LIVE, "PayPal, Inc.", key=KEY, names=[x509.DNSName(LIVE)], purposes=(SERVER,)
    )
    world.paypal.certificate = issued.pem.encode()
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "not one of")
    world.paypal.certificate += between.pem.encode()
    assert world.events(body)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (LIVE, {"ends": -DAY / 2}),
        (LIVE, {"begins": DAY}),
        ("cert.evil.example", {}),
        ("x." + LIVE, {}),
        (LIVE, {"names": ()}),
        (LIVE, {"purposes": (CLIENT,)}),
    ],
    ids=["expired", "not yet", "another name", "below the name", "no names", "for clients"],
)
def test_a_certificate_that_does_not_hold(world: World, name: str, options: Any) -> None:
    world.certify(name, **options)
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "not one of")


def test_a_certificate_of_another_authority(world: World) -> None:
    world.authority = Authority("Web authority of a test")  # of the same name
    world.certify()
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "not one of")


def test_a_key_that_is_not_rsa(world: World) -> None:
    world.certify(key=ec.generate_private_key(ec.SECP256R1()))
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "no RSA key")


def test_authorities_are_read_again_when_their_file_was_renewed(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(Authority("Another authority").pem)
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "holds now")
    (tmp_path / "ca.pem").write_text(world.authority.pem)
    assert world.events(body)


@pytest.mark.parametrize("content", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate(world: World, content: bytes) -> None:
    world.paypal.certificate = content
    body = event("INVOICING.INVOICE.PAID")
    refused(world, signed(body, KEY, world.url), body, "no certificate")


def test_a_certificate_that_cannot_be_had_is_not_held_against_the_webhook(world: World) -> None:
    """An error of ours: PayPal sends the webhook again. One that is not there is the sender's."""
    body = event("INVOICING.INVOICE.PAID")
    headers = signed(body, KEY, world.url)
    for status, error in ((503, DeliveryFailed), (429, DeliveryFailed), (404, SignatureInvalid)):
        world.paypal.certificate_status = status
        with pytest.raises(error, match=str(status)):
            world.adapter.events(headers, body)
    world.paypal.certificate_status = 302
    with pytest.raises(SignatureInvalid, match="302"):  # redirects are not followed
        world.adapter.events(headers, body)
    world.paypal.certificate_status = 200
    assert world.adapter.events(headers, body)


def test_the_authorities_of_the_system_are_taken_without_a_file() -> None:
    found = _authorities(None)
    assert len(found) > 20
    assert len({one.fingerprint(SHA256()) for one in found}) == len(found)


def test_a_file_without_authorities_is_told(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with pytest.raises(InvalidValue, match="no authority") as told:
        _authorities(str(path))
    assert told.value.field == "ca_file"


def test_the_shape_of_a_webhook_is_the_one_that_was_seen() -> None:
    """The id stands where PayPal's events of invoices have it."""
    found = json.loads(event("INVOICING.INVOICE.PAID"))
    assert found["resource"]["invoice"]["id"] == FIRST
