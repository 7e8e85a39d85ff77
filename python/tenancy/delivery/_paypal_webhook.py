"""Webhooks of PayPal: whether they are PayPal's, and what an invoice there says of payments.

The signature is RSA with SHA-256 over `transmission id|time|webhook id|CRC-32 of the body`
(https://developer.paypal.com/api/rest/webhooks/rest/). It is checked here instead of by PayPal's
endpoint for it: that would take a call for whatever anybody sends, and a body that is parsed and
written again before it is known whose it is.

A CRC-32 is no hash: whoever saw one signed webhook can make another body with the same. So the
signature says that something happened, and of the body only the invoice's id is used; what happened
is read from PayPal.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from .._text import NS, duration_ns, shown
from ..errors import InvalidValue, SignatureInvalid
from ._exact import exactly
from ._payments import PaymentEvent, PaymentKind
from ._paypal_certificates import Certificates
from ._paypal_money import sum_of, value_of

__all__ = ["check_webhook_id", "events_of", "named_invoice", "verified"]

_BODY_MOST = 4 << 20
_TRANSMISSION = re.compile(r"[!-{}~]{1,100}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_WEBHOOK = re.compile(r"[A-Za-z0-9_-]{1,50}")
_SIGNATURE_MOST = 2_000

_EVENTS = frozenset(
    f"INVOICING.INVOICE.{name}" for name in ("CANCELLED", "CREATED", "PAID", "REFUNDED", "UPDATED")
)
_UNSENT = frozenset({"DRAFT", "SCHEDULED"})
_PAID = frozenset({"PAID", "MARKED_AS_PAID"})


def check_webhook_id(webhook_id: object) -> str:
    """Raises `InvalidValue` for what is no id of a webhook."""
    if not isinstance(webhook_id, str) or not _WEBHOOK.fullmatch(webhook_id):
        raise InvalidValue(
            "webhook_id",
            f"{shown(webhook_id)} is no id of a webhook",
            remedy="the id that PayPal's dashboard shows beside the URL of the webhook",
        )
    return webhook_id


def verified(
    headers: Mapping[str, str],
    body: bytes,
    webhook_id: str,
    certificates: Certificates,
    *,
    tolerance: timedelta | float,
    now: datetime,
) -> dict[str, Any]:
    """The event of a webhook, once its signature is found right.

    Raises `SignatureInvalid`; `DeliveryFailed` where PayPal's certificate cannot be fetched.
    """
    if not isinstance(body, (bytes, bytearray)):
        raise InvalidValue("body", f"expected bytes, got {type(body).__name__}")
    told = {str(name).lower(): str(value) for name, value in headers.items()}
    transmission = told.get("paypal-transmission-id", "")
    sent = told.get("paypal-transmission-time", "")
    if not _TRANSMISSION.fullmatch(transmission):
        raise SignatureInvalid("PayPal-Transmission-Id is missing or no id")
    if told.get("paypal-auth-algo", "").lower() != "sha256withrsa":
        raise SignatureInvalid("PayPal-Auth-Algo is not SHA256withRSA")
    away = abs((now - _moment(sent, "PayPal-Transmission-Time")).total_seconds())
    if away > duration_ns(tolerance, "webhook_tolerance") / NS:
        raise SignatureInvalid(
            "PayPal-Transmission-Time is too far from now: sent again, or clocks differ"
        )
    signature = _signature(told.get("paypal-transmission-sig", ""))
    key = certificates.key(told.get("paypal-cert-url", ""), now)
    message = f"{transmission}|{sent}|{webhook_id}|{zlib.crc32(body)}".encode("ascii")
    _check_signature(key, signature, message)
    return _parsed(bytes(body))


def _moment(text: str, name: str) -> datetime:
    """RFC 3339 in UTC, as PayPal writes it."""
    if _TIME.fullmatch(text):
        whole, _, part = text[:-1].partition(".")
        try:
            found = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        except ValueError:
            pass
        else:
            return found + timedelta(microseconds=int(part[:6].ljust(6, "0")))
    raise SignatureInvalid(f"{name} is no moment in UTC")


def _signature(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True) if len(text) <= _SIGNATURE_MOST else b""
    except ValueError:
        found = b""
    if not found:
        raise SignatureInvalid("PayPal-Transmission-Sig is missing or no base64")
    return found


def _check_signature(key: Any, signature: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(signature, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise SignatureInvalid(
            "the signature is not PayPal's for this webhook",
            remedy="is webhook_id that of this URL, and body what came, byte for byte?",
        ) from None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body) if len(body) <= _BODY_MOST else None
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise SignatureInvalid("the body is signed and is no JSON object")
    return event


# --------------------------------------------------------------------------------- what it says


def named_invoice(event: Mapping[str, Any]) -> object:
    """PayPal's id of the invoice that an event is about; None, if it is about something else."""
    if event.get("event_type") not in _EVENTS:
        return None
    resource = event.get("resource")
    invoice = resource.get("invoice") if isinstance(resource, dict) else None
    found = invoice.get("id") if isinstance(invoice, dict) else None
    if found is None:
        raise InvalidValue(
            "body",
            f"{event['event_type']} names no invoice",
            remedy="look at the event in PayPal's dashboard; it can be sent again from there",
        )
    return found


@exactly
def events_of(
    event: Mapping[str, Any], invoice: Mapping[str, Any], provider: str, *, live: bool
) -> Iterator[PaymentEvent]:
    """Where the invoice stands, as events of one webhook; none while it was not sent.

    `invoice` is as PayPal has it now, so events that come late or again tell the same sums.
    """
    status = invoice.get("status")
    if status in _UNSENT:
        return
    total, currency = value_of(invoice.get("amount"), "amount")
    paid = sum_of(invoice, "payments", "paid_amount")
    refunded = sum_of(invoice, "refunds", "refund_amount")
    if status in _PAID and not paid:
        paid = total
    kind: PaymentKind = "paid" if paid >= total > 0 else "opened"
    detail = invoice.get("detail")
    number = detail.get("invoice_number") if isinstance(detail, dict) else None
    at = _moment(str(event.get("create_time", "")), "create_time")
    own = str(invoice.get("id", ""))

    def told(kind: PaymentKind, amount: Any, identifier: str) -> PaymentEvent:
        return PaymentEvent(
            provider=provider,
            id=identifier,
            kind=kind,
            at=at,
            invoice=own,
            number=number if isinstance(number, str) else "",
            object=own,
            currency=currency,
            amount=amount,
            live=live,
        )

    identifier = str(event.get("id", ""))
    yield told("voided" if status == "CANCELLED" else kind, paid, identifier)
    if refunded:
        yield told("refunded", refunded, f"{identifier}:refunded")
