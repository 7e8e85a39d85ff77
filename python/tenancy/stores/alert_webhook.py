"""Alerts by HTTP POST, signed: where to, and what is allowed there. `alert_http` sends."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from ..errors import InvalidValue
from .alert_destinations import (
    Destination,
    check_destination_name,
    check_timeout,
    json_body,
    tls_context,
)
from .alert_records import Alert
from .alert_signature import check_secrets, sign

__all__ = ["Webhook", "url_parts"]

_URL = re.compile(r"[!-~]{1,2000}")


@dataclass(frozen=True)
class Webhook(Destination):
    """An HTTP endpoint. An answer of 200 to 299 takes the alert; anything else is tried again.

    `secret` signs each request (`new_webhook_secret`, `verify_webhook`); several sign it each, so
    that a receiver can change to another. `url` is `https`, or `http` where the way is safe.
    `ca_file` is a PEM file of the authorities to trust instead of the system's. `name` is by
    default made of the host: path and query may be secret, and are never shown. An attempt takes
    `timeout` at most. Redirects are not followed; 410 (gone) ends a delivery.
    """

    url: str = field(repr=False)
    secret: str | Sequence[str] = field(repr=False)
    name: str = ""
    timeout: timedelta | float = 15.0
    ca_file: str | None = None

    def __post_init__(self) -> None:
        check_secrets(self.secret)
        _, host, _, _ = url_parts(self.url)
        if not self.name:
            object.__setattr__(self, "name", f"webhook:{host}")
        check_destination_name(self.name)
        check_timeout(self.timeout)
        if self.ca_file is not None:
            tls_context(self.ca_file)

    def send(self, alert: Alert) -> None:
        from . import alert_http

        body = json_body(alert)
        moment = int(time.time())  # the receiver compares it with its own clock
        headers = {
            "content-type": "application/json",
            "user-agent": "tenancy",
            "tenancy-alert-id": alert.id,
            "webhook-id": alert.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": sign(alert.id, moment, body, check_secrets(self.secret)),
        }
        scheme, host, port, target = url_parts(self.url)
        context = tls_context(self.ca_file) if scheme == "https" else None
        alert_http.post(
            (host, port, target), body, headers, check_timeout(self.timeout), context=context
        )


def url_parts(url: object, field: str = "url") -> tuple[str, str, int | None, str]:
    """Scheme, host, port and target of a URL. Its errors do not show it."""
    remedy = "https://host/path"
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise InvalidValue(field, "expected a URL in ASCII without blanks", remedy=remedy)
    try:
        found = urlsplit(url)
        host, port = found.hostname, found.port
    except ValueError:
        raise InvalidValue(field, "host or port have no valid form", remedy=remedy) from None
    if found.scheme not in ("http", "https") or not host:
        raise InvalidValue(field, "expected http or https and a host", remedy=remedy)
    if found.username is not None or found.password is not None:
        raise InvalidValue(field, "holds credentials", remedy="requests are signed; leave them out")
    if found.fragment:
        raise InvalidValue(field, "holds a fragment, which is never sent", remedy="leave it out")
    target = (found.path or "/") + (f"?{found.query}" if found.query else "")
    return found.scheme, host, port, target
