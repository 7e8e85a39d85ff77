"""Alerts by e-mail: whom they reach, over which way, and what a text cannot do to a message."""

from __future__ import annotations

import json
import ssl
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from alert_support import boom, deliver, free_port, mail, mail_server, open_to, statuses, tls_server
from store_support import make_clock
from tenancy import _core
from tenancy.alerts import Alert
from tenancy.stores.alert_smtp import message_of

S = 1_000_000_000


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return tls_server(tmp_path_factory.mktemp("pki"))


def test_each_recipient_gets_a_message_of_its_own(tmp_path: Path, clock: Any) -> None:
    with mail_server() as server, open_to(tmp_path, clock, mail(server.port)) as t:
        server.refused["sec@example.com"] = 450
        alert = boom(t)
        deliver(t)
        [(sender, recipients, message)] = server.messages
        assert "tenancy@example.com" in sender
        assert recipients == ["ops@example.com"]
        assert message["Message-ID"] == f"<{alert.id}@example.com>"
        assert message["Tenancy-Alert-Id"] == alert.id
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Subject"].startswith("[tenancy] critical (critical)")
        text, attached = message.get_payload()  # type: ignore[misc]
        assert alert.id in text.get_payload()  # type: ignore[union-attr, operator]
        assert json.loads(attached.get_payload(decode=True))["data"]["id"] == alert.id  # type: ignore[union-attr, arg-type]
        assert statuses(t, alert) == {
            "email:ops@example.com": ("delivered", 1, None),
            "email:sec@example.com": ("pending", 1, "the mail server answered 450"),
        }
        server.refused.clear()
        clock.advance_ns(10 * S)
        deliver(t)
        assert [recipients for _, recipients, _ in server.messages] == [
            ["ops@example.com"],
            ["sec@example.com"],
        ]
        assert server.messages[1][2]["Message-ID"] == message["Message-ID"]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_mail_goes_over_tls_with_a_password(
    tmp_path: Path, clock: Any, pki: tuple[ssl.SSLContext, str], implicit: bool
) -> None:
    context, trusted = pki
    with mail_server(tls=context, implicit=implicit, password="t0psecret") as server:
        options: dict[str, Any] = {"user": "u", "tls": "tls" if implicit else "starttls"}
        to = [
            mail(server.port, to=f"{name}@example.com", password=password, ca_file=ca, **options)
            for name, password, ca in (
                ("right", "t0psecret", trusted),
                ("wrong", "t0psecret2", trusted),
                ("strict", "t0psecret", None),
            )
        ]
        with open_to(tmp_path, clock, *to) as t:
            alert = boom(t)
            deliver(t)
            found = statuses(t, alert)
            assert found["email:right@example.com"] == ("delivered", 1, None)
            assert found["email:wrong@example.com"][2] == "the mail server answered 535"
            assert found["email:strict@example.com"][2] == "TLS: CERTIFICATE_VERIFY_FAILED"
            assert [to for _, to, _ in server.messages] == [["right@example.com"]]
            assert server.over_tls == [True]


def test_without_the_tls_that_was_asked_for_nothing_is_sent(tmp_path: Path, clock: Any) -> None:
    with mail_server() as server:
        to = mail(server.port, to="ops@example.com", tls="starttls")
        with open_to(tmp_path, clock, to) as t:
            alert = boom(t)
            deliver(t)
            assert list(statuses(t, alert).values()) == [
                ("pending", 1, "SMTP: SMTPNotSupportedError")
            ]
            assert not server.messages


def test_a_mail_server_that_wants_nobody_or_hangs(tmp_path: Path, clock: Any) -> None:
    with mail_server() as server, mail_server() as mute:
        server.greeting = b"554 go away\r\n"
        mute.greeting = b"220-well"
        to = [
            mail(server.port, to="a@example.com"),
            mail(mute.port, to="b@example.com", timeout=0.3),
            mail(free_port(), to="c@example.com"),
        ]
        with open_to(tmp_path, clock, *to) as t:
            alert = boom(t)
            deliver(t)
            errors = {name: error for name, (_, _, error) in statuses(t, alert).items()}
            assert errors["email:a@example.com"] == "the mail server answered 554"
            assert errors["email:b@example.com"] == "no answer in time"
            assert str(errors["email:c@example.com"]).startswith("no connection")


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: eve@example.com", "x\n\n.\r\nMAIL", "\u2028x\x00\x7fé"]
)
def test_no_header_can_be_smuggled_in(tmp_path: Path, clock: Any, evil: str) -> None:
    with mail_server() as server:
        with open_to(tmp_path, clock, mail(server.port, to="ops@example.com")) as t:
            boom(t, by=evil)
            deliver(t)
        [(_, recipients, message)] = server.messages
        assert recipients == ["ops@example.com"]
        assert message["Bcc"] is None
        assert "\n" not in str(message["Subject"]).replace("\n ", "")
        assert len(message.get_all("To", [])) == 1


def test_a_message_takes_any_text() -> None:
    now = datetime.now(timezone.utc)
    group = {"principal": "\ud800é" * 300}
    alert = Alert("i", "r", "high", "t\r\nX: y", group, now, now, now, 3, values=["\r\nz"] * 3)
    text = message_of(alert, "a@example.com", "b@example.com").as_bytes()
    assert b"\nX: y" not in text
