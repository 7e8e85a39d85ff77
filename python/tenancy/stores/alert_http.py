"""One HTTP POST by the standard library: no redirects, no proxies, no cookies, one deadline."""

from __future__ import annotations

import http.client
import socket
import ssl
import time

from .alert_deadline import deadline
from .alert_destinations import DeliveryError

__all__ = ["post"]

Place = tuple[str, int | None, str]
"""Host, port and target."""


def post(
    place: Place,
    body: bytes,
    headers: dict[str, str],
    seconds: float,
    *,
    context: ssl.SSLContext | None,
) -> None:
    """Returns when the answer is 200 to 299, else raises `DeliveryError`. Its text is not read."""
    try:
        status, after = _exchange(place, body, headers, seconds, context)
    except TimeoutError:
        raise DeliveryError("no answer in time") from None
    except ssl.SSLError as error:
        raise DeliveryError(f"TLS: {error.reason or type(error).__name__}") from None
    except OSError as error:
        raise DeliveryError(f"no connection: {error.strerror or type(error).__name__}") from None
    except http.client.HTTPException as error:
        raise DeliveryError(f"no valid answer: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise DeliveryError(
            f"answered {status}", after_s=_seconds(after), final=status == http.HTTPStatus.GONE
        )


def _exchange(
    place: Place,
    body: bytes,
    headers: dict[str, str],
    seconds: float,
    context: ssl.SSLContext | None,
) -> tuple[int, str | None]:
    """Status and `Retry-After` of the answer."""
    host, port, target = place
    if context is None:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    begun = time.monotonic()

    def plug() -> socket.socket | None:
        return connection.sock

    try:
        with deadline(seconds, plug):
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("retry-after")
    except (OSError, http.client.HTTPException):
        if time.monotonic() - begun >= seconds:
            raise TimeoutError from None
        raise
    finally:
        connection.close()


def _seconds(text: str | None) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3) as seconds; its form as a date is not read."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 8 else None
