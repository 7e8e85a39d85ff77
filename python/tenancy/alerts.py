"""Alerts while events happen: rules over audit facts, and where what they find is sent.

The elected worker of the host reads the log as it grows. What a rule finds is recorded exactly
once, as a fact and in `Tenancy.alerts`, and delivered at least once to each destination, under an
id that never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ._text import check_principal, check_text, to_ns
from .errors import InvalidValue, SignatureInvalid
from .stores import alert_listing as listing
from .stores.alert_delivery import Retry
from .stores.alert_destinations import Callback, Destination
from .stores.alert_email import Email
from .stores.alert_ready import (
    brute_force,
    budget_alerts,
    critical,
    cross_tenant_probing,
    default_rules,
    log_failure,
    privilege_escalation,
)
from .stores.alert_records import Alert, Delivery
from .stores.alert_rules import Rule, check_rules
from .stores.alert_signature import new_webhook_secret, verify_webhook
from .stores.alert_webhook import Webhook
from .stores.host import Host
from .stores.records import Page, Tenant
from .stores.twins import twin

__all__ = [
    "Alert",
    "Alerts",
    "Callback",
    "Delivery",
    "Email",
    "RaisedAlerts",
    "Retry",
    "Rule",
    "SignatureInvalid",
    "Webhook",
    "brute_force",
    "budget_alerts",
    "critical",
    "cross_tenant_probing",
    "default_rules",
    "log_failure",
    "new_webhook_secret",
    "privilege_escalation",
    "verify_webhook",
]

DESTINATIONS_MAX = 32


@dataclass(frozen=True)
class Alerts:
    """Which rules are watched, and where alerts go: `Tenancy.open(..., alerts=Alerts(...))`.

    `rules` are `Rule`s and ready-made ones, in any order; unless said, `default_rules()`; an empty
    list watches nothing. `to` are `Webhook`, `Email` and `Callback` objects, each named once. Every
    process of the host passes the same: any of them may be elected.
    """

    rules: Sequence[Rule | Sequence[Rule]] = field(default_factory=default_rules)
    to: Sequence[Webhook | Email | Callback] = ()
    retry: Retry = field(default_factory=Retry)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", check_rules(self.rules))
        if not isinstance(self.to, (list, tuple)):
            raise InvalidValue("to", f"expected a list, got {type(self.to).__name__}")
        if not isinstance(self.retry, Retry):
            raise InvalidValue("retry", f"expected a Retry, got {type(self.retry).__name__}")
        found = self.destinations()
        if len(found) > DESTINATIONS_MAX:
            raise InvalidValue("to", f"{len(found)} destinations, at most {DESTINATIONS_MAX}")
        names = [one.name for one in found]
        for name in names:
            if names.count(name) > 1:
                raise InvalidValue(
                    "to",
                    f"there are two destinations {name!r}",
                    remedy="give one another name=",
                )

    def destinations(self) -> tuple[Destination, ...]:
        """Each that has deliveries of its own; an `Email` has one for each recipient."""
        return tuple(_expanded(self.to))


def _expanded(to: Sequence[Any]) -> Iterator[Destination]:
    for one in to:
        if isinstance(one, Email):
            yield from one.mailboxes()
        elif isinstance(one, (Webhook, Callback)):
            yield one
        else:
            raise InvalidValue(
                "to", f"{type(one).__name__} is no destination", remedy="Webhook, Email or Callback"
            )


class RaisedAlerts:
    """What the rules found. `Tenancy.alerts`. Every call has an `a…` twin."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def list(
        self,
        *,
        rule: str | None = None,
        tenant: Tenant | str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        acknowledged: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Alert]:
        """Alerts of all tenants, newest first; `since` ≤ time < `until`.

        `tenant` narrows them to those all of whose facts are its own.
        """
        if rule is not None:
            check_text(rule, "rule", 64)
        tenant_id = None if tenant is None else self._host.tenant_id(tenant)
        with self._host.read() as connection:
            return listing.page(
                connection,
                rule=rule,
                tenant_id=tenant_id,
                since_ns=None if since is None else to_ns(since, "since"),
                until_ns=None if until is None else to_ns(until, "until"),
                acknowledged=acknowledged,
                limit=limit,
                cursor=cursor,
            )

    def get(self, alert_id: str) -> Alert:
        """One alert. Raises `NotFound`."""
        with self._host.read() as connection:
            return listing.find(connection, alert_id)

    def deliveries(self, alert_id: str) -> Sequence[Delivery]:
        """Where an alert went or is to go, and how far that is. Raises `NotFound`."""
        with self._host.read() as connection:
            listing.find(connection, alert_id)
            return listing.deliveries_of(connection, alert_id)

    def retry(self, alert_id: str, *, by: str | None = None) -> int:
        """Deliver what was not delivered, now and with all attempts anew; how many deliveries.

        Audited. Raises `NotFound`.
        """
        with self._host.write(by) as change:
            return listing.retry(change, listing.find(change.connection, alert_id))

    def acknowledge(self, alert_id: str, *, by: str) -> Alert:
        """Say that somebody has seen to it; its dead deliveries are not told any more. Audited, the
        first time. Raises `NotFound`."""
        check_principal(by, "by")
        with self._host.write(by) as change:
            listing.acknowledge(change, listing.find(change.connection, alert_id))
            return listing.find(change.connection, alert_id)

    adeliveries = twin(deliveries)
    aget = twin(get)
    aretry = twin(retry)
    aacknowledge = twin(acknowledge)
    alist = twin(list)  # noqa: A003
