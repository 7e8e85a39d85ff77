"""One message over SMTP by the standard library: what it says, and sending it within a deadline."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate

from .alert_deadline import Deadline
from .alert_destinations import DeliveryError, check_timeout, json_body, tls_context
from .alert_email import Email
from .alert_records import Alert

__all__ = ["deliver", "message_of", "send"]

_SUBJECT_MAX = 200


def send(server: Email, address: str, alert: Alert) -> None:
    """Returns when the mail server has taken the alert, else raises `DeliveryError`."""
    deliver(server, address, message_of(alert, server.sender, address))


def deliver(server: Email, address: str, message: EmailMessage) -> None:
    """Returns when the mail server has taken the message, else raises `DeliveryError`."""
    try:
        _send(server, address, message)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused([code for code, _ in error.recipients.values()]) from None
    except smtplib.SMTPResponseException as error:  # the server's text may name the user
        raise _refused([error.smtp_code]) from None
    except smtplib.SMTPException as error:
        raise DeliveryError(f"SMTP: {type(error).__name__}") from None
    except TimeoutError:
        raise DeliveryError("no answer in time") from None
    except ssl.SSLError as error:
        raise DeliveryError(f"TLS: {error.reason or type(error).__name__}") from None
    except OSError as error:
        raise DeliveryError(f"no connection: {error.strerror or type(error).__name__}") from None


def _send(server: Email, address: str, message: EmailMessage) -> None:
    seconds = check_timeout(server.timeout)
    context = None if server.tls == "none" else tls_context(server.ca_file)
    with Deadline(seconds) as deadline:
        client = _Client(seconds, context if server.tls == "tls" else None, deadline)
        try:
            code, answer = client.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, answer)
            if server.tls == "starttls":
                client.starttls(context=context)
            if server.user is not None and server.password is not None:
                client.login(server.user, server.password)
            client.send_message(message, server.sender, [address])
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client.quit()
        except (OSError, smtplib.SMTPException):
            if deadline.passed:
                raise TimeoutError from None
            raise
        finally:
            client.close()


class _Client(smtplib.SMTP):
    """With TLS from the start or without, watched by the deadline from its first byte on."""

    def __init__(self, seconds: float, context: ssl.SSLContext | None, deadline: Deadline) -> None:
        # The host's name is given because smtplib would ask the name service for it.
        super().__init__(timeout=seconds, local_hostname=socket.gethostname())
        self._context = context
        self._deadline = deadline

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """What `smtplib.SMTP_SSL` overrides as well."""
        self._host = host  # `starttls` checks the certificate against it
        plain = socket.create_connection((host, port), timeout)
        self._deadline.watch(plain)
        if self._context is None:
            return plain
        return self._context.wrap_socket(plain, server_hostname=host)


def message_of(alert: Alert, sender: str, address: str) -> EmailMessage:
    """The message: plain text, and the alert as JSON beside it."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = address
    message["Subject"] = _line(f"[tenancy] {alert.title}", _SUBJECT_MAX)
    message["Date"] = formatdate(alert.time.timestamp(), usegmt=True)
    message["Message-ID"] = f"<{alert.id}@{sender.rpartition('@')[2]}>"
    message["Tenancy-Alert-Id"] = alert.id
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        _line(alert.title, 2000),
        _line(alert.summary, 2000),
        "",
        f"count: {alert.count}",
        f"first: {alert.first.isoformat()}",
        f"last: {alert.last.isoformat()}",
        f"tenant: {_line(alert.tenant or '-', 500)}",
        *(f"{name}: {_line(value, 500)}" for name, value in alert.group.items()),
        *(f"value: {_line(value, 500)}" for value in alert.values),
        *(f"fact: {_line(fact, 100)}" for fact in alert.facts),
        "",
        f"alert: {alert.id}",
    ]
    message.set_content("\n".join(lines) + "\n")
    message.add_attachment(
        json_body(alert), maintype="application", subtype="json", filename="alert.json"
    )
    return message


def _line(text: str, most: int) -> str:
    """Text from outside as one line: nothing in it ends a header, and lone surrogates are gone."""
    plain = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in plain)[:most]


def _refused(codes: Sequence[int]) -> DeliveryError:
    # Not final at 5xx: servers refuse for good what an administrator mends in an hour.
    return DeliveryError(f"the mail server answered {', '.join(map(str, codes)) or 'nothing'}")
