"""The command line, `tenancy`. Exit status: 0 done, 1 refused or check failed, 2 usage."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from . import (
    alerts,
    audit,
    audit_archive,
    audit_log,
    audit_retention,
    bills,
    keys,
    limits,
    plans,
    roles,
    sessions,
    tenants,
    usage,
    usage_events,
)
from ._common import make_app
from ._output import prepare
from .adopt import adopt
from .audit_report import report as audit_report
from .demo import demo, serve
from .explain import explain
from .health import health
from .migrate import migrate

__all__ = ["app", "main"]

app = make_app(
    "Tenants, plans, limits, quotas and permissions of one data directory.", completion=True
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"tenancy {__version__}")
        raise typer.Exit


_VERSION = typer.Option(
    "--version", help="Say which release.", callback=_say_version, is_eager=True
)
Version = Annotated[bool, _VERSION]


@app.callback()
def root(version: Version = False) -> None:
    """Tenants, plans, limits, quotas and permissions of one data directory."""


app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(roles.app, name="roles")
app.add_typer(plans.app, name="plans")
audit_log.add_to(audit.app)
audit_archive.add_to(audit.app)
audit_retention.add_to(audit.app)
app.add_typer(audit.app, name="audit")
app.add_typer(alerts.app, name="alerts")
app.add_typer(limits.app, name="limits")
usage_events.add_to(usage.app)
app.add_typer(usage.app, name="usage")
app.add_typer(bills.app, name="bills")
app.add_typer(sessions.app, name="sessions")
audit.app.command("report")(audit_report)
app.command("explain")(explain)
app.command("health")(health)
app.command("migrate")(migrate)
app.command("adopt")(adopt)
app.command("demo")(demo)
app.command("serve")(serve)


def main() -> None:
    """Entry point of the `tenancy` program."""
    prepare()
    try:
        app()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()
