"""Invoices by e-mail: what arrives, what is tried again, and what no text can do to a message."""

from __future__ import annotations

import email.policy
import email.utils
from dataclasses import replace
from email.message import EmailMessage, Message
from typing import Any

import pytest

from alert_support import free_port, mail, mail_server
from document_support import BUYER, SELLER, make_credit_note, make_invoice
from tenancy.delivery import Options, message_id, send_email, to_cii, to_csv, to_facturx, to_pdf
from tenancy.errors import DeliveryFailed, InvalidValue

OPTIONS = Options(language="de", zone="Europe/Berlin")


def read(message: Message) -> EmailMessage:
    found = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def attached(message: EmailMessage) -> dict[str | None, bytes]:
    return {
        part.get_filename(): part.get_payload(decode=True)  # type: ignore[misc]
        for part in message.iter_attachments()
    }


def test_the_buyer_gets_the_invoice_as_pdf() -> None:
    invoice = make_invoice()
    with mail_server() as server:
        found = send_email(mail(server.port), invoice)
        [(sender, recipients, came)] = server.messages
    message = read(came)
    assert "tenancy@example.com" in sender
    assert recipients == ["ap@acme.example"]
    assert message["To"] == "ap@acme.example"
    assert message["Subject"] == "Invoice 2026-000042, Gateway GmbH"
    assert message["Message-ID"] == found == message_id(invoice, mail(25))
    assert message["Auto-Submitted"] == "auto-generated"
    assert email.utils.parsedate_to_datetime(message["Date"])
    assert attached(message) == {"invoice-2026-000042.pdf": to_pdf(invoice)}
    body = message.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    for expected in ("Total: EUR 116.59", "Payable by: 2026-04-15", "IBAN DE89 3704"):
        assert expected in text


def test_formats_recipients_and_language_are_as_asked() -> None:
    note = make_credit_note(make_invoice())
    with mail_server() as server:
        send_email(
            mail(server.port),
            note,
            to=["a@example.com", "b@bücher.example", "a@example.com"],
            formats=("facturx", "xml", "csv"),
            options=OPTIONS,
        )
        came = [(to, read(message)) for _, to, message in server.messages]
    assert [to for to, _ in came] == [["a@example.com"], ["b@xn--bcher-kva.example"]]
    assert len({message["Message-ID"] for _, message in came}) == 1
    message = came[0][1]
    assert message["Subject"].startswith("Rechnungskorrektur CN-2026-000007")
    how: dict[str, Any] = {"language": "de", "zone": "Europe/Berlin"}
    assert attached(message) == {
        "credit-note-CN-2026-000007.pdf": to_facturx(note, **how),
        "credit-note-CN-2026-000007.xml": to_cii(note, **how),
        "credit-note-CN-2026-000007.csv": to_csv(note),
    }


def test_it_is_tried_again_under_the_same_message_id() -> None:
    waits: list[float] = []
    with mail_server() as server:
        server.refused["ap@acme.example"] = 451

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                server.refused.clear()

        found = send_email(mail(server.port), make_invoice(), sleep=sleep)
        assert [message["Message-ID"] for _, _, message in server.messages] == [found]
        again = send_email(mail(server.port), make_invoice())
    assert waits == [1.0, 2.0]
    assert again == found
    assert message_id(make_invoice(discount="1.00"), mail(25)) != found


def test_who_got_it_and_who_did_not() -> None:
    with mail_server() as server:
        server.refused["b@example.com"] = 550
        with pytest.raises(DeliveryFailed, match=r"b@example\.com.*550.*taken for a@example\.com"):
            send_email(
                mail(server.port),
                make_invoice(),
                to=["a@example.com", "b@example.com"],
                attempts=2,
                sleep=lambda _: None,
            )
        assert [to for _, to, _ in server.messages] == [["a@example.com"]]
    with pytest.raises(DeliveryFailed, match="no connection"):
        send_email(mail(free_port()), make_invoice(), attempts=1)


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: eve@example.com", "x\n\n.\r\nMAIL FROM:<a@b.c>", "\u2028\x00\x7fé" * 80]
)
def test_no_text_of_a_document_ends_a_header(evil: str) -> None:
    seller = replace(SELLER, name=evil)
    invoice = make_invoice(seller=seller, number=f"1 {evil}"[:150], notes=(f"{evil}\n.\n{evil}",))
    with mail_server() as server:
        send_email(mail(server.port), invoice, subject=f"{evil} {evil}")
        send_email(mail(server.port), invoice, formats=("csv",))
        came = [(to, read(message)) for _, to, message in server.messages]
    for to, message in came:
        assert to == ["ap@acme.example"]
        assert "Bcc" not in message
        assert len(attached(message)) == 1
        assert all(name and name.isascii() and "\n" not in name for name in attached(message))


@pytest.mark.parametrize(
    "options",
    [
        {"to": "nobody"},
        {"to": []},
        {"to": ["a@example.com"] * 21},
        {"to": "a@example.com\r\nBcc: b@example.com"},
        {"formats": ("docx",)},
        {"attempts": 0},
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(options: dict[str, Any]) -> None:
    with mail_server() as server:
        with pytest.raises(InvalidValue):
            send_email(mail(server.port), make_invoice(), **options)
        assert not server.messages


def test_a_buyer_without_an_address_is_told() -> None:
    with pytest.raises(InvalidValue, match="no e-mail address"):
        send_email(mail(25), make_invoice(buyer=replace(BUYER, email="")))
