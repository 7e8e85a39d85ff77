"""Webhooks of Stripe: whether they are Stripe's, and what they say of payments.

The signature is HMAC-SHA256 over `timestamp.body`, in hexadecimal, under the endpoint's secret;
the header may hold several while a secret is changed (https://docs.stripe.com/webhooks).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from .._text import NS, duration_ns
from ..errors import InvalidValue, SignatureInvalid
from ..pricing import currency_codes
from ._payments import PaymentEvent, PaymentKind
from ._stripe_money import major_units

__all__ = ["check_webhook_secrets", "events_of", "verify_stripe_webhook"]

_SIGNATURES_MOST = 16
_BODY_MOST = 4 << 20
_SECRET_LEAST = 16
_CREATED_MOST = 1 << 37  # Unix seconds, in the year 6325

_KINDS: Mapping[str, PaymentKind] = {
    "invoice.finalized": "opened",
    "invoice.paid": "paid",
    "invoice.payment_succeeded": "paid",
    "invoice.payment_failed": "failed",
    "invoice.voided": "voided",
    "invoice.marked_uncollectible": "uncollectible",
    "charge.refunded": "refunded",
}


def check_webhook_secrets(secret: str | Sequence[str]) -> tuple[bytes, ...]:
    """Raises `InvalidValue`, which never shows a secret."""
    several = (secret,) if isinstance(secret, str) else tuple(secret)
    if len(several) > 4:
        raise InvalidValue("webhook_secret", "expected at most four secrets")
    for one in several:
        if not isinstance(one, str) or not one.isascii() or len(one) < _SECRET_LEAST:
            raise InvalidValue(
                "webhook_secret",
                f"expected at least {_SECRET_LEAST} ASCII characters",
                remedy="the signing secret of the endpoint, whsec_…",
            )
    return tuple(one.encode() for one in several)


def verify_stripe_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance: timedelta | float = timedelta(minutes=5),
    now: float | None = None,
) -> dict[str, Any]:
    """The event of a webhook, once `Stripe-Signature` is found right.

    `headers` are those of the request, in any case; `body` its bytes as they came; `secret` the
    signing secret of the endpoint, or several while it is changed. `tolerance` is how far its time
    may be from `now` (Unix seconds, by default the system's clock): what was recorded and is sent
    again later is refused. Within it an event may come more than once; its `id` tells.

    Raises `SignatureInvalid`, and `InvalidValue` for a secret that is none.
    """
    keys = check_webhook_secrets(secret)
    if not keys:
        raise InvalidValue("webhook_secret", "is not set", remedy="StripeAdapter(webhook_secret=…)")
    if not isinstance(body, (bytes, bytearray)):
        raise InvalidValue("body", f"expected bytes, got {type(body).__name__}")
    header = next((v for n, v in headers.items() if str(n).lower() == "stripe-signature"), "")
    stamps, signatures = _parts(str(header))
    if len(stamps) != 1 or not signatures:
        raise SignatureInvalid("Stripe-Signature has not one time and a signature of scheme v1")
    [stamp] = stamps
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        raise SignatureInvalid("the time in Stripe-Signature is no number of Unix seconds")
    current = time.time() if now is None else now
    if abs(current - int(stamp)) > duration_ns(tolerance, "tolerance") / NS:
        raise SignatureInvalid(
            "the time in Stripe-Signature is too far from now: sent again, or clocks differ"
        )
    signed = stamp.encode() + b"." + bytes(body)
    expected = [hmac.digest(key, signed, hashlib.sha256).hex().encode() for key in keys]
    right = [hmac.compare_digest(one, other) for one in signatures for other in expected]
    if not any(right):
        raise SignatureInvalid("no signature is that of the secret")
    return _parsed(bytes(body))


def _parts(header: str) -> tuple[list[str], list[bytes]]:
    """The times and the signatures of scheme v1; v0 is for test events alone and proves nothing."""
    stamps: list[str] = []
    signatures: list[bytes] = []
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        if name == "t":
            stamps.append(value)
        elif name == "v1" and len(signatures) < _SIGNATURES_MOST:
            signatures.append(value.encode("utf-8", "replace"))
    return stamps, signatures


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body) if len(body) <= _BODY_MOST else None
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise SignatureInvalid("the body is signed and is no JSON object")
    return event


def events_of(event: Mapping[str, Any], provider: str) -> Iterator[PaymentEvent]:
    """What an event says of payments; nothing, if it is about something else."""
    kind = _KINDS.get(str(event.get("type")))
    if kind is None:
        return
    data = event.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise InvalidValue("body", f"{event.get('type')} holds no object")
    currency = str(found.get("currency", "")).upper()
    if currency not in currency_codes():
        raise InvalidValue("body", f"{event.get('type')} has no currency of ISO 4217")
    whole = _number(found, "amount_refunded" if kind == "refunded" else "amount_paid")
    own = str(found.get("id", ""))
    metadata = found.get("metadata")
    number = metadata.get("tenancy_number") if isinstance(metadata, dict) else None
    yield PaymentEvent(
        provider=provider,
        id=str(event.get("id", "")),
        kind=kind,
        at=datetime.fromtimestamp(_number(event, "created", _CREATED_MOST), timezone.utc),
        invoice=str(found.get("invoice") or "") if kind == "refunded" else own,
        number=number if isinstance(number, str) else "",
        object=own,
        currency=currency,
        amount=major_units(whole, currency),
        live=event.get("livemode") is not False,
    )


def _number(found: Mapping[str, Any], name: str, most: int = 1 << 53) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
        raise InvalidValue("body", f"{name} is no whole number")
    return value
