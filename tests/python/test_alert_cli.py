"""`tenancy alerts` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alert_support import SECRET, deliver, free_port, mail_server, receiving, turn
from audit_support import open_live
from tenancy.alerts import Alerts, Webhook, critical, verify_webhook
from tenancy.cli import app
from tenancy.cli.alerts import SMTP_PASSWORD, SMTP_USER, WEBHOOK_SECRET


class Shell:
    """Runs `tenancy alerts …` on one data directory."""

    def __init__(self, data: Path, alert: str) -> None:
        self.data, self.alert = data, alert
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        place = [] if words[0] == "test" else ["--data", str(self.data)]
        result = CliRunner().invoke(app, ["alerts", *words, *place])
        self.error = result.stderr
        assert result.exit_code == status, (words, result.output, result.exception)
        return result.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    gone = Webhook(f"http://127.0.0.1:{free_port()}/t0psecret", secret=SECRET, name="hook")
    alerts = Alerts(rules=[critical("boom")], to=[gone])
    with open_live(tmp_path, alerts=alerts) as t:
        acme = t.tenants.create("Acme")
        t.audit.append("boom", tenant=acme, principal="ann")
        turn(t)
        deliver(t)
        [alert] = t.alerts.list()
        return Shell(tmp_path / "data", alert.id)


def test_listing_and_showing(sh: Shell) -> None:
    [found] = sh.json("list")["items"]
    assert (found["id"], found["rule"]) == (sh.alert, "critical")
    assert sh.json("list", "--tenant", "acme", "--since", "1h")["items"] == [found]
    assert sh.json("list", "--rule", "log_failure")["items"] == []
    assert sh.alert in sh("list")
    shown = sh.json("show", sh.alert)
    [delivery] = shown["deliveries"]
    assert (delivery["destination"], delivery["status"]) == ("hook", "pending")
    assert delivery["error"].startswith("no connection")
    assert "hook" in sh("show", sh.alert)
    sh("show", "nobody", status=1)
    assert "no alert" in sh.error


def test_acknowledging_and_retrying(sh: Shell) -> None:
    assert sh.json("acknowledge", sh.alert)["acknowledged_by"].startswith("operator:")
    assert sh.json("list", "--open")["items"] == []
    assert sh.json("retry", sh.alert) == {"deliveries": 1}
    assert sh.json("show", sh.alert)["deliveries"][0]["attempts"] == 0


def test_a_test_alert_to_a_webhook(sh: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        sh("test", "--webhook", receiver.url, status=2)
        assert f"{WEBHOOK_SECRET}: is not set" in sh.error
        monkeypatch.setenv(WEBHOOK_SECRET, SECRET)
        told = sh.json("test", "--webhook", receiver.url)
        [(headers, body)] = receiver.requests
        assert verify_webhook(headers, body, SECRET)["data"]["rule"] == "test"
        assert told == {"alert": headers["webhook-id"], "errors": {"webhook:127.0.0.1": None}}
        receiver.answers += [500]
        shown = sh("test", "--webhook", receiver.url, status=1)
        assert "answered 500" in shown
        assert "t0psecret" not in shown + sh.error
        assert sh("test", "--webhook", "gopher://x", status=2) == ""


def test_a_test_alert_by_e_mail(sh: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(password="t0psecret") as server:
        words = ["test", "--email", "ops@example.com", "--tls", "none"]
        words += ["--smtp-port", str(server.port)]
        assert sh.json(*words)["errors"] == {"email:ops@example.com": None}
        monkeypatch.setenv(SMTP_USER, "u")
        monkeypatch.setenv(SMTP_PASSWORD, "t0psecret")
        sh(*words)
        assert len(server.messages) == 2
        monkeypatch.setenv(SMTP_PASSWORD, "wrong")
        assert "answered 535" in sh(*words, status=1)
    sh("test", status=2)
