"""Calls of PayPal's API: JSON under a token that is asked for once, tried again where that is safe.

The token comes for the client's id and secret (OAuth 2.0, client credentials) and serves until it
expires (https://developer.paypal.com/api/rest/authentication/). Whatever makes something bears a
`PayPal-Request-Id`, so a request whose answer was lost can be sent again
(https://developer.paypal.com/api/rest/reference/idempotency/).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DeliveryFailed, InvalidValue, ProviderRefused
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

__all__ = ["Client"]

_CREDENTIAL = re.compile(r"[!-9;-~]{8,255}")
"""Visible ASCII without the colon, which ends the id in HTTP's basic authentication."""
_TOKEN = re.compile(r"[!-~]{8,8192}")
_EARLY_S = 60.0
"""A token is not used in its last minute: it could expire on the way."""
_LIFE_MOST_S = 24 * 3600.0


@dataclass
class Client:
    """Where and how to call; `PayPalAdapter` says what. Threads may share it."""

    client_id: str
    client_secret: str = field(repr=False)
    base_url: str
    timeout_s: float
    attempts: int
    ca_file: str | None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _token: tuple[str, float] | None = field(default=None, init=False, repr=False)
    """The token, and when it is no longer used, by `clock`."""
    _asking: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("client_id", "client_secret"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
                raise InvalidValue(
                    name,
                    "expected 8 to 255 visible ASCII characters without a colon",
                    remedy="the app's credentials in PayPal's developer dashboard",
                )
        check_base_url(self.base_url)

    def get(self, path: str) -> dict[str, Any]:
        """The object."""
        return self._authorized("GET", path, None, None)

    def post(self, path: str, body: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        """What was made. `key` is the same whenever the same is meant; None where nothing is."""
        return self._authorized("POST", path, json.dumps(body).encode(), key)

    def _authorized(
        self, method: str, path: str, body: bytes | None, key: str | None
    ) -> dict[str, Any]:
        headers = {"prefer": "return=representation"}
        if body is not None:
            headers["content-type"] = "application/json"
        if key is not None:
            headers["paypal-request-id"] = key
        for fresh in (False, True):
            token = self._access()
            answer = self._call(
                method, path, body, {**headers, "authorization": f"Bearer {token}"}, fresh=fresh
            )
            if answer is not None:
                return answer
            self._forget(token)
        raise AssertionError("the second refusal is raised")

    # ------------------------------------------------------------------------------- the token

    def _access(self) -> str:
        # One thread asks; the others wait for what it gets.
        with self._asking:
            if self._token is not None and self.clock() < self._token[1]:
                return self._token[0]
            asked = self.clock()
            pair = f"{self.client_id}:{self.client_secret}".encode("ascii")
            found = self._call(
                "POST",
                "/v1/oauth2/token",
                b"grant_type=client_credentials",
                {
                    "content-type": "application/x-www-form-urlencoded",
                    "authorization": f"Basic {base64.b64encode(pair).decode()}",
                },
                fresh=True,
            )
            token, life = (found or {}).get("access_token"), (found or {}).get("expires_in")
            if (
                not isinstance(token, str)
                or not _TOKEN.fullmatch(token)
                or isinstance(life, bool)
                or not isinstance(life, int)
            ):
                raise DeliveryFailed(
                    "PayPal answered no token", remedy="is base_url that of the API?"
                )
            self._token = (token, asked + max(0.0, min(life, _LIFE_MOST_S) - _EARLY_S))
            return token

    def _forget(self, token: str) -> None:
        with self._asking:
            if self._token is not None and self._token[0] == token:
                self._token = None

    # ----------------------------------------------------------------------------- the requests

    def _call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, fresh: bool
    ) -> dict[str, Any] | None:
        """The object; None where the token was not taken and is not `fresh`."""
        answer = settled(
            "PayPal",
            lambda: self._once(method, path, body, headers),
            _again,
            self.attempts,
            self.sleep,
        )
        if succeeded(answer):
            return object_of("PayPal", answer)
        if answer.status == 401 and not fresh:
            return None
        raise _refusal(answer, final=not _again(answer))

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> alert_http.Answer:
        scheme, host, port, base = url_parts(self.base_url, "base_url")
        return alert_http.request(
            method,
            (host, port, base.rstrip("/") + path),
            body,
            {"user-agent": "tenancy", "accept": "application/json", **headers},
            self.timeout_s,
            context=tls_context(self.ca_file) if scheme == "https" else None,
            body_most=BODY_MOST,
        )


def _again(answer: alert_http.Answer) -> bool:
    """409 is for two requests with one id at once: the other's answer is there soon."""
    return answer.status in (409, 429) or answer.status >= 500


def _refusal(answer: alert_http.Answer, *, final: bool) -> ProviderRefused:
    """Words of PayPal's vocabulary alone; the path of a field has points instead of strokes."""
    error = parsed(answer) or {}
    details = error.get("details")
    first = details[0] if isinstance(details, list) and details else {}
    detail = first if isinstance(first, dict) else {}
    path = detail.get("field")
    kind = word(error.get("name")) or word(error.get("error"))
    reason = word(detail.get("issue"))
    parameter = word(path.strip("/").replace("/", ".")) if isinstance(path, str) else None
    request_id = word(error.get("debug_id")) or word(answer.headers.get("paypal-debug-id"))
    told = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("error", kind),
            ("issue", reason),
            ("field", parameter),
            ("debug id", request_id),
        )
        if value
    )
    return ProviderRefused(
        f"PayPal answered {answer.status}" + (f" ({told})" if told else ""),
        http_status=answer.status,
        kind=kind,
        reason=reason,
        parameter=parameter,
        request_id=request_id,
        final=final,
        retry_after=answer.after_s(),
        remedy={
            401: "are client_id and client_secret right, and of the environment of base_url?",
            403: "may the app create and send invoices? Its features are in PayPal's dashboard",
            429: "send it again later",
        }.get(answer.status),
    )
