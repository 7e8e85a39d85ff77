"""Documents by e-mail, over the mail server that alerts use too."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import formatdate

from .._text import check_email, shown
from ..billing import to_json
from ..errors import DeliveryFailed, InvalidValue
from ..stores import alert_smtp
from ..stores.alert_destinations import DeliveryError
from ..stores.alert_email import Email
from ._check import Document
from ._exact import exactly
from ._export import FORMATS, Options, export, file_name
from ._view import view_of

__all__ = ["message_id", "send_email"]

_RECIPIENTS_MOST = 20
_ATTEMPTS_MOST = 10
_SUBJECT_MOST = 200
_WAIT_S, _WAIT_MOST_S = 1.0, 30.0


def send_email(
    server: Email,
    document: Document,
    *,
    to: str | Sequence[str] | None = None,
    formats: Sequence[str] = ("pdf",),
    options: Options | None = None,
    subject: str | None = None,
    attempts: int = 4,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Sends an invoice or credit note, and returns the Message-ID.

    `server` says how mail is sent and from whom; its own recipients are not used. `to` is one or
    several addresses, by default the buyer's; each gets a message of its own. `formats` are what is
    attached, of `FORMATS`: `("facturx",)` is a PDF with the XML inside. Each message is tried
    `attempts` times, waiting 1, 2, 4, … seconds in between. The Message-ID is made of the document,
    the same each time: a message that came twice after a lost answer is one to a mail reader.

    Raises `InvalidValue` for an address or document that cannot be, before anything is sent, and
    `DeliveryFailed`, naming who got it and who did not.
    """
    how = options or Options()
    addresses = _addresses(document, to)
    if isinstance(attempts, bool) or not 1 <= attempts <= _ATTEMPTS_MOST:
        raise InvalidValue("attempts", f"{shown(attempts)}, expected 1 to {_ATTEMPTS_MOST}")
    files = [
        (export(document, name, how), FORMATS[name].media_type, file_name(document, name))
        for name in dict.fromkeys(formats)
    ]
    found = message_id(document, server)
    taken: list[str] = []
    for address in addresses:
        message = _message(document, how, server, address, found, subject)
        for content, media_type, name in files:
            main, _, sub = media_type.partition("/")
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
        _send(server, address, message, attempts, sleep, taken)
        taken.append(address)
    return found


def message_id(document: Document, server: Email) -> str:
    """`<…@domain of the sender>`, from everything that is in the document."""
    made = hashlib.sha256(to_json(document).encode()).hexdigest()[:40]
    return f"<{made}@{server.sender.rpartition('@')[2]}>"


def _addresses(document: Document, to: str | Sequence[str] | None) -> tuple[str, ...]:
    if to is None:
        if not document.buyer.email:
            raise InvalidValue(
                "to", "the buyer has no e-mail address", remedy="to='name@example.com'"
            )
        to = document.buyer.email
    several = (to,) if isinstance(to, str) else tuple(to)
    if not 0 < len(several) <= _RECIPIENTS_MOST:
        raise InvalidValue("to", f"expected one to {_RECIPIENTS_MOST} addresses")
    found = []
    for address in several:
        local, _, domain = check_email(address, "to").rpartition("@")
        found.append(f"{local}@{domain.encode('idna').decode()}")
    return tuple(dict.fromkeys(found))


@exactly
def _message(
    document: Document,
    how: Options,
    server: Email,
    address: str,
    found: str,
    subject: str | None,
) -> EmailMessage:
    view = view_of(document, how.language, how.zone)
    title = f"{view.kind} {view.number}"
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = address
    message["Subject"] = _line(subject or f"{title}, {view.seller[0]}")
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = found
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        title,
        "",
        *(f"{name}: {value}" for name, value in view.facts),
        *(f"{one.label}: {one.amount}" for one in view.sums if one.strong),
    ]
    for _, paragraphs in view.blocks:
        lines += ["", *paragraphs]
    lines += ["", *view.seller]
    message.set_content("\n".join(lines) + "\n")
    return message


def _send(
    server: Email,
    address: str,
    message: EmailMessage,
    attempts: int,
    sleep: Callable[[float], None],
    taken: Sequence[str],
) -> None:
    wait = _WAIT_S
    for attempt in range(1, attempts + 1):
        try:
            return alert_smtp.deliver(server, address, message)
        except DeliveryError as error:
            if attempt == attempts:
                already = f"; taken for {', '.join(taken)}" if taken else ""
                raise DeliveryFailed(
                    f"mail to {address}: {error.message} ({attempt} attempts){already}"
                ) from None
        sleep(wait)
        wait = min(wait * 2, _WAIT_MOST_S)
    return None


def _line(text: str) -> str:
    """One line: nothing in it ends a header, and lone surrogates are gone."""
    plain = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in plain)[:_SUBJECT_MOST]
