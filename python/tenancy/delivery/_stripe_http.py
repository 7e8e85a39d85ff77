"""Calls of Stripe's API: form-encoded, idempotent, tried again where that is safe.

Every POST bears an `Idempotency-Key`, so a request whose answer was lost can be sent again: Stripe
then answers what it answered first (https://docs.stripe.com/api/idempotent_requests).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from .._text import shown
from ..errors import InvalidValue, ProviderRefused
from ..stores import alert_http
from ..stores.alert_destinations import tls_context
from ..stores.alert_webhook import url_parts
from ._provider_http import (
    BODY_MOST,
    check_base_url,
    object_of,
    parsed,
    settled,
    succeeded,
    word,
)

__all__ = ["Client", "Form", "encoded"]

Form = Mapping[str, Any]

_KEY = re.compile(r"[!-~]{8,255}")
_LOCKED = frozenset({"lock_timeout", "idempotency_key_in_use"})


@dataclass(frozen=True)
class Client:
    """Where and how to call; `StripeAdapter` says what."""

    api_key: str = field(repr=False)
    base_url: str
    api_version: str
    account: str | None
    timeout_s: float
    attempts: int
    ca_file: str | None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.api_key, str) or not _KEY.fullmatch(self.api_key):
            raise InvalidValue("api_key", "expected a key of 8 to 255 visible ASCII characters")
        check_base_url(self.base_url)
        for name, value in (("api_version", self.api_version), ("account", self.account)):
            if value is not None and word(value) is None:
                raise InvalidValue(name, f"{shown(value)} is no word of Stripe's")

    def get(self, path: str, query: Form) -> dict[str, Any]:
        """The object, or the page of a list."""
        text = encoded(query)
        return self._call("GET", f"{path}?{text}" if text else path, None, None)

    def post(self, path: str, form: Form, key: str) -> dict[str, Any]:
        """What was made. `key` is the same whenever the same is meant."""
        return self._call("POST", path, encoded(form).encode(), key)

    def _call(self, method: str, path: str, body: bytes | None, key: str | None) -> dict[str, Any]:
        answer = settled(
            "Stripe",
            lambda: self._once(method, path, body, key),
            _again,
            self.attempts,
            self.sleep,
        )
        if succeeded(answer):
            return object_of("Stripe", answer)
        raise _refusal(answer, final=not _again(answer))

    def _once(
        self, method: str, path: str, body: bytes | None, key: str | None
    ) -> alert_http.Answer:
        scheme, host, port, base = url_parts(self.base_url, "base_url")
        headers = {
            "authorization": f"Bearer {self.api_key}",
            "stripe-version": self.api_version,
            "user-agent": "tenancy",
            "accept": "application/json",
        }
        if self.account is not None:
            headers["stripe-account"] = self.account
        if body is not None and key is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["idempotency-key"] = key
        return alert_http.request(
            method,
            (host, port, base.rstrip("/") + path),
            body,
            headers,
            self.timeout_s,
            context=tls_context(self.ca_file) if scheme == "https" else None,
            body_most=BODY_MOST,
        )


def encoded(form: Form) -> str:
    """`a[b]=c` for what nests, in the order of the form; what is None is left out."""
    pairs: list[tuple[str, str]] = []

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name}[{key}]", inner)
        elif isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif value is not None:
            pairs.append((name, str(value)))

    for name, value in form.items():
        add(name, value)
    return urlencode(pairs, errors="replace")


def _again(answer: alert_http.Answer) -> bool:
    """Whether the same request may be answered otherwise later. Stripe may say so itself."""
    told = answer.headers.get("stripe-should-retry", "").lower()
    if told in ("true", "false"):
        return told == "true"
    return answer.status == 429 or answer.status >= 500 or _is_lock(answer)


def _is_lock(answer: alert_http.Answer) -> bool:
    if answer.status != 409:
        return False
    error = _error(answer)
    return error.get("code") in _LOCKED or error.get("type") in (None, "idempotency_error")


def _error(answer: alert_http.Answer) -> Mapping[str, Any]:
    found = (parsed(answer) or {}).get("error")
    return found if isinstance(found, dict) else {}


def _refusal(answer: alert_http.Answer, *, final: bool) -> ProviderRefused:
    """Words of Stripe's vocabulary alone: its messages quote what was sent, keys among it."""
    error = _error(answer)
    kind, reason, parameter, decline = (
        word(error.get(name)) for name in ("type", "code", "param", "decline_code")
    )
    request_id = word(answer.headers.get("request-id"))
    told = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("type", kind),
            ("code", reason or decline),
            ("parameter", parameter),
            ("request", request_id),
        )
        if value
    )
    return ProviderRefused(
        f"Stripe answered {answer.status}" + (f" ({told})" if told else ""),
        http_status=answer.status,
        kind=kind,
        reason=reason or decline,
        parameter=parameter,
        request_id=request_id,
        final=final,
        retry_after=answer.after_s(),
        remedy={
            401: "is api_key right, and of the account that base_url is of?",
            429: "send it again later",
        }.get(answer.status),
    )
