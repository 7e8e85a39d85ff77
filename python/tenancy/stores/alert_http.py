"""One HTTP POST by the standard library: no redirects, no proxies, no cookies, one deadline."""

from __future__ import annotations

import http.client
import ssl

from .alert_deadline import Deadline
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
    with Deadline(seconds) as deadline:
        connection = _Connection(host, port, seconds, context, deadline)
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("retry-after")
        except (OSError, http.client.HTTPException):
            if deadline.passed:
                raise TimeoutError from None
            raise
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """With TLS or without, watched by the deadline from its first byte on."""

    def __init__(
        self,
        host: str,
        port: int | None,
        seconds: float,
        context: ssl.SSLContext | None,
        deadline: Deadline,
    ) -> None:
        self.default_port = http.client.HTTP_PORT if context is None else http.client.HTTPS_PORT
        super().__init__(host, port, timeout=seconds)
        self._context = context
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


def _seconds(text: str | None) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3) as seconds; its form as a date is not read."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 8 else None
