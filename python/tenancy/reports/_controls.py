"""What a control is, and the standards that a report can be about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._query import Query

__all__ = ["Control", "Standard", "control", "organisation"]


@dataclass(frozen=True)
class Control:
    """One control of a standard and the evidence that the engine has for it.

    It has a population, checks, both, or neither: then `not_configured` says why.
    """

    id: str
    """As the standard numbers it."""
    title: str
    """What it asks for, in our words; the standard's text is binding."""
    population: Query | None = None
    """The facts that are evidence."""
    exceptions: Query | None = None
    """Of those, the ones that a reviewer has to look at."""
    meaning: str = ""
    """Why these are exceptions."""
    checks: Sequence[str] = ()
    """What is looked at besides facts: `chain`, `hold`, `plan`, `retention>=DAYS`."""
    not_configured: str | None = None
    """What the engine cannot know of this control."""


@dataclass(frozen=True)
class Standard:
    """A standard: its controls as far as a log can speak to them, and those it cannot."""

    key: str
    """What callers say: `soc2`."""
    title: str
    version: str
    controls: Sequence[Control]
    note: str = ""


def control(
    id: str,  # noqa: A002 - the field's name
    title: str,
    population: str | None = None,
    exceptions: str | None = None,
    meaning: str = "",
    *,
    checks: Sequence[str] = (),
    outside: str | None = None,
) -> Control:
    """A control with evidence; `outside` is the part of it that the engine cannot know."""
    return Control(
        id,
        title,
        None if population is None else Query(population),
        None if exceptions is None else Query(exceptions),
        meaning,
        tuple(checks),
        outside,
    )


def organisation(id: str, title: str, reason: str) -> Control:  # noqa: A002
    """A control that only the organisation can answer."""
    return Control(id, title, not_configured=reason)


ALL = "type in (*)"
FAILED = "result in (failure, denied)"
UNNAMED = "principal in (anonymous, system)"

# What the engine, the services and `Tenancy.audit.append` write; lists that several controls share.
SUSPICIONS = "security_violation, suspicious_activity, cross_tenant, cross_tenant_access"
REFUSALS = "permission_denied, credential_refused, tenant_refused"
KEYS = "key_created, key_rotated, key_renewed, key_revoked"
ROLES = "role_assigned, role_revoked, permission_granted"
DISPOSALS = (
    "data_deleted, data_anonymization, retention_policy_applied, tenant_deleted, tenant_purged"
)
NOT_WRITTEN = "context.not_written_before is present or context.not_written is present"

BY_NOBODY = "Done by the system or by a caller without a name: no person answers for it."
REFUSED = "Failed or refused."
SUSPECTED = "Each is a suspicion that somebody has to judge."
