"""`tenancy alerts`: what the rules found, whether it arrived, and whether a destination works."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from ..alerts import Alert, Alerts, Email, Webhook
from ..errors import InvalidValue
from ..stores.alert_destinations import DeliveryError, Destination
from . import _common as c

__all__ = ["app"]

app = c.make_app("See what alert rules found, deliver it again, try a destination.")

Id = Annotated[str, typer.Argument(metavar="ALERT", help="The alert's id.")]

WEBHOOK_SECRET = "TENANCY_ALERT_WEBHOOK_SECRET"  # noqa: S105 - the variable's name
SMTP_USER = "TENANCY_ALERT_SMTP_USER"
SMTP_PASSWORD = "TENANCY_ALERT_SMTP_PASSWORD"  # noqa: S105

_COLUMNS: dict[str, Callable[[Alert], Any]] = {
    "time": lambda a: a.time,
    "id": lambda a: a.id,
    "rule": lambda a: a.rule,
    "severity": lambda a: a.severity,
    "group": lambda a: a.group,
    "count": lambda a: a.count + a.more,
    "seen by": lambda a: a.acknowledged_by,
}


@app.command("list")
def list_(
    rule: Annotated[str | None, typer.Option(help="Such as brute_force.ip.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Those of one tenant alone.")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 2h ago.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Those nobody has acknowledged.")] = False,
    limit: c.Limit = 50,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Alerts, newest first."""
    with c.opened(data, as_json) as t:
        page = t.alerts.list(
            rule=rule,
            tenant=tenant,
            since=c.parse_time(since, "--since"),
            acknowledged=False if open_ else None,
            limit=limit,
            cursor=cursor,
        )
        c.print_page(page, _COLUMNS, as_json)


@app.command("show")
def show(alert: Id, data: c.Data = None, as_json: c.Json = False) -> None:
    """One alert in full, and where it went."""
    with c.opened(data, as_json) as t:
        found, deliveries = t.alerts.get(alert), t.alerts.deliveries(alert)
    if as_json:
        c.print_json({**found.as_dict(), "deliveries": [one.as_dict() for one in deliveries]})
        return
    c.print_record(found, as_json)
    if deliveries:
        names = ("destination", "status", "attempts", "next", "delivered", "error")
        c.print_table(names, [[getattr(one, name) for name in names] for one in deliveries])


@app.command("retry")
def retry(alert: Id, data: c.Data = None, as_json: c.Json = False) -> None:
    """Deliver anew what was not delivered; the workers do it."""
    with c.opened(data, as_json) as t:
        c.print_record({"deliveries": t.alerts.retry(alert, by=c.operator())}, as_json)


@app.command("acknowledge")
def acknowledge(alert: Id, data: c.Data = None, as_json: c.Json = False) -> None:
    """Say that you have seen to it."""
    with c.opened(data, as_json) as t:
        c.print_record(t.alerts.acknowledge(alert, by=c.operator()), as_json)


@app.command("test")
def send_test(
    webhook: Annotated[
        str | None, typer.Option(help=f"URL to post to; its secret is ${WEBHOOK_SECRET}.")
    ] = None,
    email: Annotated[
        str | None, typer.Option(help=f"Address to write to; ${SMTP_USER}, ${SMTP_PASSWORD}.")
    ] = None,
    smtp_host: Annotated[str, typer.Option(help="Mail server.")] = "localhost",
    smtp_port: Annotated[int, typer.Option(help="Its port.")] = 587,
    sender: Annotated[str | None, typer.Option(help="Address to write from; else --email.")] = None,
    tls: Annotated[str, typer.Option(help="starttls, tls or none.")] = "starttls",
    ca_file: Annotated[Path | None, typer.Option(help="PEM file of trusted authorities.")] = None,
    as_json: c.Json = False,
) -> None:
    """Send a test alert to a webhook or an address, once. Status 1: it was not taken."""
    trusted = None if ca_file is None else str(ca_file)
    with c.reported(as_json):
        to: list[Webhook | Email] = []
        if webhook is not None:
            to.append(Webhook(webhook, secret=_secret(), ca_file=trusted))
        if email is not None:
            to.append(
                Email(
                    smtp_host,
                    smtp_port,
                    sender or email,
                    email,
                    user=os.environ.get(SMTP_USER) or None,
                    password=os.environ.get(SMTP_PASSWORD) or None,
                    tls=tls,
                    ca_file=trusted,
                )
            )
        if not to:
            raise InvalidValue("--webhook", "nowhere to send to", remedy="--webhook or --email")
        alert = _test_alert()
        errors = {one.name: _try(one, alert) for one in Alerts(to=to).destinations()}
    if as_json:
        c.print_json({"alert": alert.id, "errors": errors})
    else:
        rows = [(name, error or "taken") for name, error in errors.items()]
        c.print_table(("destination", "result"), rows)
    if any(errors.values()):
        raise typer.Exit(c.REFUSED)


def _secret() -> str:
    secret = os.environ.get(WEBHOOK_SECRET)
    if not secret:
        raise InvalidValue(
            WEBHOOK_SECRET, "is not set", remedy="put the webhook's secret, whsec_…, there"
        )
    return secret


def _test_alert() -> Alert:
    now = datetime.now(timezone.utc)
    return Alert(
        id=str(uuid.uuid4()),
        rule="test",
        severity="low",
        tenant=None,
        group={},
        time=now,
        first=now,
        last=now,
        count=1,
        summary="A test, sent by hand: nothing has happened.",
    )


def _try(destination: Destination, alert: Alert) -> str | None:
    try:
        destination.send(alert)
    except DeliveryError as error:
        return error.message
    return None
