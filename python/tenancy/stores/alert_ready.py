"""Ready-made rules. Each function gives one or several, with thresholds to choose.

They know the facts that changes and decisions leave (`docs/audit.md`, `docs/catalog.md`), and the
types that applications write themselves, such as `login_failed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from .alert_rules import Rule

__all__ = [
    "brute_force",
    "budget_alerts",
    "critical",
    "cross_tenant_probing",
    "default_rules",
    "log_failure",
    "privilege_escalation",
]

_REFUSED_CREDENTIALS = (
    {"type": "login_failed"},
    {"type": "credential_refused"},
    {"type": "security_violation", "reason": ("INVALID_CREDENTIAL", "EXPIRED_CREDENTIAL")},
)
_CROSSINGS = (
    {"type": "cross_tenant"},
    {"type": "security_violation", "action": "tenant:cross"},
    # An operator's own accesses have succeeded.
    {"type": "cross_tenant_access", "result": "denied"},
)
_OUTSIDE = {"principal": ("system", "operator:*")}


def brute_force(
    at_least: int = 10, within: timedelta = timedelta(minutes=5), *, severity: str = "high"
) -> tuple[Rule, ...]:
    """Failed log-ins and refused credentials: of one address, one principal, or one key."""
    groups = {"ip": ("ip",), "principal": ("tenant", "principal"), "key": ("key",)}
    return tuple(
        Rule(
            f"brute_force.{name}",
            match=_REFUSED_CREDENTIALS,
            by=by,
            at_least=at_least,
            within=within,
            severity=severity,
            unless={"principal": "anonymous"} if name == "principal" else (),
            summary="Credentials are being guessed.",
        )
        for name, by in groups.items()
    )


def privilege_escalation(
    at_least: int = 20, within: timedelta = timedelta(minutes=10), *, severity: str = "critical"
) -> tuple[Rule, ...]:
    """Rights given to oneself, refused attempts to give more than one holds, and `at_least` grants
    of one giver within a time. What operators and the system do is not counted."""
    granted = ("role_assigned", "permission_granted")
    return (
        Rule(
            "privilege_escalation.self",
            match={"type": granted},
            same=("principal", "context.principal"),
            by=("tenant", "principal"),
            cooldown=within,
            unless=_OUTSIDE,
            severity=severity,
            summary="Somebody gave rights to themselves.",
        ),
        Rule(
            "privilege_escalation.refused",
            match={"type": "permission_denied", "action": "grant:refused"},
            by=("tenant", "principal"),
            cooldown=within,
            severity=severity,
            summary="Somebody tried to give rights that they do not hold.",
        ),
        Rule(
            "privilege_escalation.many",
            match={"type": granted},
            by=("tenant", "principal"),
            at_least=at_least,
            within=within,
            unless=_OUTSIDE,
            severity="medium",
            summary="Somebody gave many rights in a short time.",
        ),
    )


def cross_tenant_probing(
    targets: int = 3,
    attempts: int = 10,
    within: timedelta = timedelta(minutes=10),
    *,
    severity: str = "critical",
) -> tuple[Rule, ...]:
    """Attempts to reach other tenants, by one key, principal or address: at `targets` different
    ones, or `attempts` at any."""
    return (
        Rule(
            "cross_tenant_probing.targets",
            match=_CROSSINGS,
            by=("source",),
            at_least=targets,
            within=within,
            distinct="target",
            severity=severity,
            summary="Somebody tries one tenant after another.",
        ),
        Rule(
            "cross_tenant_probing.attempts",
            match=_CROSSINGS,
            by=("source",),
            at_least=attempts,
            within=within,
            severity=severity,
            summary="Somebody keeps trying to reach another tenant.",
        ),
    )


def log_failure(
    *, cooldown: timedelta = timedelta(hours=1), severity: str = "critical"
) -> tuple[Rule, ...]:
    """The log cannot be written, was cut or repaired, lost facts, or its table was damaged."""
    return (
        Rule(
            "log_failure",
            match=(
                {"type": ("log_failing", "log_facts_lost", "log_repair", "log_alarm")},
                {"type": "suspicious_activity", "resource": "projection"},
            ),
            by=("type",),
            cooldown=cooldown,
            severity=severity,
            summary="The audit log needs a look.",
        ),
    )


def budget_alerts(*, severity: str = "medium") -> tuple[Rule, ...]:
    """A tenant reached a threshold of its budget, or its period will pass the budget with the
    probability that `billing.budget(forecast=…)` named. Each is told once in a period."""
    numbers = ("percent", "spent", "budget", "currency")
    by = ("tenant", *(f"context.{name}" for name in numbers))
    return (
        Rule(
            "budget.spent",
            match={"type": "budget_threshold", "action": "budget:spent"},
            by=by,
            severity=severity,
            summary="A tenant has used so many percent of its budget.",
        ),
        Rule(
            "budget.forecast",
            match={"type": "budget_threshold", "action": "budget:forecast"},
            by=(*by, "context.probability"),
            severity=severity,
            summary="A tenant's period will probably pass its budget.",
        ),
    )


def critical(
    *types: str,
    name: str = "critical",
    cooldown: timedelta = timedelta(minutes=1),
    severity: str = "critical",
) -> tuple[Rule, ...]:
    """Single facts of these types, such as `data_export`; a `*` at the end stands for any rest.
    More of one type, tenant and principal within `cooldown` is added to the first."""
    return (
        Rule(
            name,
            match={"type": types},
            by=("type", "tenant", "principal"),
            cooldown=cooldown,
            severity=severity,
            summary="A critical event.",
        ),
    )


def default_rules() -> tuple[Rule, ...]:
    """What is on unless something else is said."""
    groups: Iterable[tuple[Rule, ...]] = (
        brute_force(),
        privilege_escalation(),
        cross_tenant_probing(),
        log_failure(),
        budget_alerts(),
    )
    return tuple(rule for group in groups for rule in group)
