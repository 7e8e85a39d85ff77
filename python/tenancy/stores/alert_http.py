"""One HTTP request by the standard library: no redirects, no proxies, no cookies, one deadline."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass

from .alert_deadline import Deadline
from .alert_destinations import DeliveryError

__all__ = ["Answer", "post", "request"]

Place = tuple[str, int | None, str]
"""Host, port and target."""


@dataclass(frozen=True)
class Answer:
    """Status, header fields by lower-case name, and the body as far as it was asked for."""

    status: int
    headers: dict[str, str]
    body: bytes

    def after_s(self) -> float | None:
        """`Retry-After` (RFC 9110, 10.2.3) as seconds; its form as a date is not read."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() and text.isascii() and len(text) < 8 else None


def post(
    place: Place,
    body: bytes,
    headers: dict[str, str],
    seconds: float,
    *,
    context: ssl.SSLContext | None,
) -> None:
    """Returns when the answer is 200 to 299, else raises `DeliveryError`. Its text is not read."""
    answer = request("POST", place, body, headers, seconds, context=context)
    if not 200 <= answer.status < 300:
        raise DeliveryError(
            f"answered {answer.status}",
            after_s=answer.after_s(),
            final=answer.status == http.HTTPStatus.GONE,
        )


def request(
    method: str,
    place: Place,
    body: bytes | None,
    headers: dict[str, str],
    seconds: float,
    *,
    context: ssl.SSLContext | None,
    body_most: int = 0,
) -> Answer:
    """Any answer, with `body_most` bytes of its body; raises `DeliveryError` where none came."""
    try:
        return _exchange(method, place, body, headers, seconds, context, body_most)
    except TimeoutError:
        raise DeliveryError("no answer in time") from None
    except ssl.SSLError as error:
        raise DeliveryError(f"TLS: {error.reason or type(error).__name__}") from None
    except OSError as error:
        raise DeliveryError(f"no connection: {error.strerror or type(error).__name__}") from None
    except http.client.HTTPException as error:
        raise DeliveryError(f"no valid answer: {type(error).__name__}") from None


def _exchange(
    method: str,
    place: Place,
    body: bytes | None,
    headers: dict[str, str],
    seconds: float,
    context: ssl.SSLContext | None,
    body_most: int,
) -> Answer:
    host, port, target = place
    with Deadline(seconds) as deadline:
        connection = _Connection(host, port, seconds, context, deadline)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            content = answer.read(body_most) if body_most else b""
            if body_most and deadline.passed:  # what is cut off by it can look like an end
                raise TimeoutError
            return Answer(answer.status, fields, content)
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
