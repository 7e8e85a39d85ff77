"""What a report says besides facts: is the log whole, how long is it kept, does a hold stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audit import Audit, Hold
from ..catalog import AuditPolicy
from ..errors import TenancyError
from ..stores.records import Record, Tenant

__all__ = [
    "NOT_CONFIGURED",
    "RETENTION_DAYS",
    "Chain",
    "Check",
    "Retention",
    "chain_of",
    "check",
    "retention_of",
]

NOT_CONFIGURED = "NOT CONFIGURED"

RETENTION_DAYS: Mapping[str, int] = {"security": 2555, "access": 1095, "other": 365}
"""How long events of a class are kept unless the catalog says otherwise: 7, 3 years, 1 year."""

_HOLDS = {
    "security": "authentication, refusals, suspicions, rights, keys, configuration, tenants",
    "access": "data_*",
    "other": "everything else",
}
_VERIFIED = {
    0: ("WHOLE", "Every record is there and unchanged, up to an anchor kept elsewhere."),
    1: ("TAMPERED", "Records were changed, removed or added."),
    3: ("CANNOT VERIFY", "The verification key is missing, or belongs to another log."),
    4: (
        "WHOLE, WITH RESERVATIONS",
        "Every record is there and unchanged; without an anchor kept elsewhere a roll-back of the "
        "whole directory would not be seen, or the end of the log was repaired after a crash.",
    ),
}


@dataclass(frozen=True)
class Chain(Record):
    """Whether the log that the events come from is whole."""

    status: str
    """WHOLE; WHOLE, WITH RESERVATIONS; TAMPERED; CANNOT VERIFY; NOT CONFIGURED."""
    text: str
    log: str | None = None
    """Id of the log."""
    records: int | None = None
    findings: Sequence[Mapping[str, Any]] = ()

    @property
    def whole(self) -> bool | None:
        """None: nobody knows."""
        if self.status == NOT_CONFIGURED:
            return None
        return self.status.startswith("WHOLE")


@dataclass(frozen=True)
class Retention(Record):
    """How long the tenant's events and data are kept, and what stops their end."""

    classes: Sequence[Mapping[str, Any]]
    """`class`, `holds`, `days`."""
    expiry: str
    """What removes events whose time is over."""
    plan_days: int | None
    """The plan's, for the tenant's data after deletion; None: the plan names none."""
    plan_origin: str
    legal_hold: bool


@dataclass(frozen=True)
class Check(Record):
    """Something that was looked at for a control, apart from events."""

    name: str
    status: str
    """PASSED, EXCEPTION or NOT CONFIGURED."""
    text: str


def chain_of(
    audit: Audit, key: str | os.PathLike[str] | None = None, anchors: Sequence[str] = ()
) -> Chain:
    """Verify the whole log, if this installation writes one."""
    verify = getattr(audit, "verify", None)
    if verify is None:
        return Chain(
            NOT_CONFIGURED,
            "Events are rows of the host's database; no tamper-evident log is written that could "
            "be verified.",
        )
    try:
        found = verify(key=key, anchors=anchors)
    except TenancyError as error:
        return Chain("CANNOT VERIFY", str(error))
    status, text = _VERIFIED.get(found.status, ("CANNOT VERIFY", f"status {found.status}"))
    return Chain(status, text, found.log, found.records, tuple(found.findings))


def retention_of(
    tenant: Tenant, audit: AuditPolicy, holds: Sequence[Hold], plan_days: int | None, origin: str
) -> Retention:
    """`holds` are all that stand on the log."""
    own = [hold for hold in holds if hold.tenant in (None, tenant.id)]
    return Retention(
        classes=tuple(
            {"class": name, "holds": _HOLDS[name], "days": audit.retention[name]}
            for name in RETENTION_DAYS
        ),
        expiry=_expiry(audit.archive),
        plan_days=plan_days,
        plan_origin=origin,
        legal_hold=tenant.legal_hold or bool(own),
    )


def _expiry(archive: str | None) -> str:
    if archive is None:
        return (
            f"{NOT_CONFIGURED}: nothing removes events when their time is over; "
            "they are kept beyond it."
        )
    first = "without an archive" if archive == "none" else "after they were archived"
    return f"Segments of the log whose time is over are deleted daily, {first}."


def check(name: str, chain: Chain, retention: Retention) -> Check:
    """Do what a control's `checks` name."""
    if name == "chain":
        return _check_chain(chain)
    if name == "hold":
        return _check_hold(retention)
    if name == "plan":
        return _check_plan(retention)
    kind, _, days = name.partition(">=")
    assert kind == "retention", name
    return _check_retention(int(days), retention)


def _check_chain(chain: Chain) -> Check:
    if chain.whole is None:
        return Check("chain", NOT_CONFIGURED, chain.text)
    status = "PASSED" if chain.whole else "EXCEPTION"
    return Check("chain", status, f"{chain.status}: {chain.text}")


def _check_hold(retention: Retention) -> Check:
    if retention.legal_hold:
        text = "A legal hold stands: what it is on is not purged while it does."
        return Check("legal hold", "EXCEPTION", text)
    return Check("legal hold", "PASSED", "No legal hold stands.")


def _check_plan(retention: Retention) -> Check:
    if retention.plan_days is None:
        text = "The plan names no retention days for the tenant's data."
        return Check("plan's retention", NOT_CONFIGURED, text)
    text = f"{retention.plan_days:,} days ({retention.plan_origin})."
    return Check("plan's retention", "PASSED", text)


def _check_retention(days: int, retention: Retention) -> Check:
    short = [one for one in retention.classes if one["days"] < days]
    name = f"retention of at least {days:,} days"
    if short:
        names = ", ".join(f"{one['class']} ({one['days']:,})" for one in short)
        return Check(name, "EXCEPTION", f"Classes that may end sooner: {names}.")
    return Check(name, "PASSED", "Every class is kept that long.")
