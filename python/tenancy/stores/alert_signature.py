"""Signatures of webhooks: Standard Webhooks 1.0.0 (standardwebhooks.com), the symmetric scheme.

`webhook-signature` holds `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for
each secret in use, with a space between.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from .._text import NS, duration_ns
from ..errors import InvalidValue, SignatureInvalid

__all__ = ["check_secrets", "new_webhook_secret", "sign", "verify_webhook"]

_PREFIX = "whsec_"
_KEY_MIN, _KEY_MAX = 24, 64
_SIGNATURES_MAX = 16


def new_webhook_secret() -> str:
    """A fresh secret for a webhook and its receiver: `whsec_` and the base64 of 32 bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secrets(secret: str | Sequence[str], field: str = "secret") -> tuple[bytes, ...]:
    """The keys of one or several secrets. Raises `InvalidValue`, which never shows a secret."""
    several = (secret,) if isinstance(secret, str) else secret
    if not isinstance(several, (list, tuple)) or not 0 < len(several) <= 4:
        raise InvalidValue(field, "expected one to four secrets", remedy="new_webhook_secret()")
    return tuple(_key(one, field) for one in several)


def _key(secret: Any, field: str) -> bytes:
    remedy = f"{_PREFIX} and the base64 of {_KEY_MIN} to {_KEY_MAX} bytes: new_webhook_secret()"
    if not isinstance(secret, str) or not secret.startswith(_PREFIX):
        raise InvalidValue(field, f"does not begin with {_PREFIX}", remedy=remedy)
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(field, "is not base64", remedy=remedy) from None
    if not _KEY_MIN <= len(key) <= _KEY_MAX:
        raise InvalidValue(field, f"{len(key)} bytes", remedy=remedy)
    return key


def sign(message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance: timedelta | float = timedelta(minutes=5),
    now: float | None = None,
) -> dict[str, Any]:
    """What a receiver calls: checks the signature and the age of a webhook, and returns its body.

    `headers` are those of the request, in any case; `body` its bytes as they came. `secret` is the
    one that the sender has, or several while it is changed. `tolerance` is how far the request's
    time may be from `now` (Unix seconds, by default the system's clock). Comparison takes the same
    time whatever was sent. Delivery is at least once: drop what came under a known `webhook-id`.

    Raises `SignatureInvalid`, and `InvalidValue` for a secret that is none.
    """
    keys = check_secrets(secret)
    if not isinstance(body, (bytes, bytearray)):
        raise InvalidValue(
            "body", f"expected bytes, got {type(body).__name__}", remedy="the body as it came"
        )
    found = {str(name).lower(): str(value) for name, value in headers.items()}
    message_id, stamp, signatures = (
        found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not message_id or not stamp or not signatures:
        raise SignatureInvalid("a header is missing: webhook-id, webhook-timestamp or -signature")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        raise SignatureInvalid("webhook-timestamp is no number of Unix seconds")
    current = time.time() if now is None else now
    if abs(current - int(stamp)) > duration_ns(tolerance, "tolerance") / NS:
        raise SignatureInvalid(
            "webhook-timestamp is too far from now: sent again, or clocks differ"
        )
    expected = sign(message_id, int(stamp), bytes(body), keys).encode().split(b" ")
    given = signatures.encode("utf-8", "replace").split(b" ")[:_SIGNATURES_MAX]
    right = [hmac.compare_digest(one, other) for one in given for other in expected]
    if not any(right):
        raise SignatureInvalid("no signature is that of the secret")
    return _parsed(bytes(body))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SignatureInvalid("the body is signed and is no JSON object")
    return value
