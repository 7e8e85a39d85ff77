"""Where alerts go: what all destinations share, and functions of the application.

A destination is data and one method, `send`, which returns when the alert has been taken and raises
otherwise. It is called in a thread of its own, one alert at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .._text import life_ns, shown
from ..errors import InvalidValue
from .alert_records import Alert

__all__ = [
    "Callback",
    "DeliveryError",
    "Destination",
    "check_destination_name",
    "check_timeout",
    "json_body",
    "tls_context",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@+/-]{0,127}")
TIMEOUT_MAX = timedelta(minutes=2)


class DeliveryError(Exception):
    """An alert was not taken. The message is kept with the delivery, so it holds no secret."""

    def __init__(self, message: str, *, after_s: float | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.after_s = after_s
        """What the receiver asked to wait."""
        self.final = final
        """Trying again is of no use."""


class Destination(ABC):
    """Base of `Webhook`, `Mailbox` and `Callback`."""

    name: str

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Deliver, or raise; what is not `DeliveryError` is told by its type alone."""


@dataclass(frozen=True)
class Callback(Destination):
    """A function of the application, called with the `Alert` in the elected worker.

    Plain or `async`; what it raises counts as not delivered. `name` is by default that of the
    function: it tells its deliveries from those of others, also after a restart.
    """

    function: Callable[[Alert], Any]
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InvalidValue("function", f"expected a function, got {shown(self.function)}")
        if not self.name:
            plain = getattr(self.function, "__name__", "").strip("<>") or "function"
            object.__setattr__(self, "name", f"callback:{plain}")
        check_destination_name(self.name)

    def send(self, alert: Alert) -> None:
        answer = self.function(alert)
        if inspect.isawaitable(answer):
            asyncio.run(_awaited(answer))


async def _awaited(answer: Any) -> Any:
    return await answer


def check_destination_name(name: Any) -> str:
    """A name that may stand in the store, in a log and in a message."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidValue(
            "name",
            f"{shown(name)} names no destination",
            remedy="letters, digits and _.:@+/-, at most 128 characters",
        )
    return name


def check_timeout(timeout: timedelta | float) -> float:
    """Seconds that one attempt may take."""
    seconds = life_ns(timeout, "timeout") / 1e9
    if seconds > TIMEOUT_MAX.total_seconds():
        raise InvalidValue("timeout", f"{seconds} s, at most {TIMEOUT_MAX}")
    return seconds


def json_body(alert: Alert) -> bytes:
    """What is sent, in the form that Standard Webhooks recommends."""
    told = alert.as_dict()
    for name in ("more", "acknowledged", "acknowledged_by"):
        del told[name]  # each attempt sends the same
    body = {"type": "security.alert", "timestamp": told["time"], "data": told}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "replace")


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and names are checked, by the authorities in a PEM file or by the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidValue(
            "ca_file", f"{shown(ca_file)} cannot be read: {type(error).__name__}"
        ) from None
