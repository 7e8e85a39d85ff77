"""What a catalog holds, as read-only values; `tenancy.catalog` exports them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")


class Origin(str, enum.Enum):
    """Where an effective value came from."""

    ABSENT = "absent"
    """Nothing says anything: no limit, no feature, shared rows."""
    DEFAULT = "default"
    """The plan's default limit for actions it does not name."""
    PLAN = "plan"
    OVERRIDE = "override"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Effective(Generic[T]):
    """A value and where it came from."""

    value: T
    origin: Origin


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a rate limit: at most `limit` units of cost in `window` seconds."""

    limit: int
    window: float
    burst: int | None
    algorithm: str
    anchor: Literal["clock", "first"]
    shadow: bool
    """Counts and reports, never refuses."""
    on_full: Literal["refuse", "allow"]
    """What happens when the table of counters has no room."""
    worst_case: int
    """The most that can be admitted in any `window` seconds."""
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A named limit; without windows it is unlimited."""

    name: str
    scope: str
    """What is counted apart: ``tenant*action``, ``ip``, ``global``, …"""
    windows: tuple[Window, ...]

    @property
    def unlimited(self) -> bool:
        return not self.windows

    def __str__(self) -> str:
        return ", ".join(window.text for window in self.windows) or "unlimited"


@dataclass(frozen=True, slots=True)
class Quota:
    """What a quota is, the same in every plan."""

    name: str
    kind: Literal["count", "consumption", "size", "per_object", "concurrency"]
    period: str | None
    """Of consumption: ``day``, ``month``, …"""
    anchored: bool
    """Periods begin on the subscription's day, not the calendar's."""
    unit: str | None
    alerts: tuple[int, ...]
    """Thresholds in percent."""
    lease: float | None
    """Seconds a lease of a concurrency quota lives without renewal."""


@dataclass(frozen=True, slots=True)
class QuotaGrant:
    """How much of a quota is granted; sizes in bytes."""

    limit: int | None
    """``None`` is unlimited; 0 is none."""
    soft: bool
    """More is allowed and reported as overage."""
    grace: int
    """Allowed beyond the limit before refusing."""

    @property
    def unlimited(self) -> bool:
        return self.limit is None

    def __str__(self) -> str:
        return "unlimited" if self.limit is None else str(self.limit)


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What a tenant has: a plan's values with its overrides merged in, each with its origin.

    A quota that is missing here is not granted by the plan or the overrides.
    """

    plan: str
    quotas: Mapping[str, Effective[QuotaGrant]]
    rate_limits: Mapping[str, Effective[RateLimit]]
    """Every action of the catalog; those not named carry the default limit."""
    default_limit: Effective[RateLimit]
    """The limit of actions the catalog does not know, counted for each."""
    features: Mapping[str, Effective[bool]]
    isolation: Effective[str]
    retention_days: Effective[int | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of the catalog, read-only."""

    name: str
    title: str
    price: Decimal | Literal["custom"] | None
    """Exact, per `period`; ``None`` where the catalog says nothing, which is not 0."""
    currency: str
    period: str
    features: frozenset[str]
    all_features: bool
    quotas: Mapping[str, QuotaGrant]
    rate_limits: Mapping[str, RateLimit]
    default_limit: RateLimit
    isolation: str
    retention_days: int | None
    price_book: str | None


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the catalog defines it."""

    name: str
    permissions: tuple[str, ...]
    denies: tuple[str, ...]
    inherits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duty:
    """Separation of duty: one principal holds (or uses at once) at most `at_most` of the roles."""

    name: str
    roles: tuple[str, ...]
    at_most: int
    dynamic: bool


@dataclass(frozen=True, slots=True)
class Metric:
    """What is metered, and what the events of a period come to."""

    name: str
    aggregation: Literal["sum", "count", "max", "last", "unique", "time_weighted"] = "sum"
    unit: str | None = None
    description: str = ""
    unique_by: str | None = None
    """Of ``unique``: the property whose different values are counted."""
    group_by: tuple[str, ...] = ()
    """Properties by which usage may be split."""
    quota: str | None = None
    """A quota that each recording charges."""


@dataclass(frozen=True, slots=True)
class Metering:
    """Until when usage events are taken."""

    grace: float
    """Seconds after the end of a period in which late events are taken."""
    ahead: float
    """Seconds by which a sender's clock may be ahead."""


@dataclass(frozen=True, slots=True)
class BillingPolicy:
    """By which periods tenants are billed, and when fees and new prices count."""

    period: Literal["day", "week", "month", "quarter", "year"]
    """Of plans that name none."""
    anchor: Literal["subscription", "calendar"]
    """Whether periods begin on the day of the subscription, or with those of the calendar."""
    fees: Literal["in_arrears", "in_advance"]
    """When base fees and seats are charged: when their period has ended, or when it begins."""
    price_changes: Literal["next_period", "at_once"]
    """From when the prices of this catalog count: from each tenant's next period on, or from the
    time at which it came into force, which splits the period."""
    dispute: float
    """Seconds for which the usage of a purged tenant is kept after its newest document."""


@dataclass(frozen=True, slots=True)
class AuditRule:
    """Which facts of one class of events are recorded."""

    mode: Literal["always", "never", "refusals", "sampled", "per_second"]
    share: Decimal | None
    """Of ``sampled``: the share that is recorded."""
    per_second: int | None
    """The most that one process records in a second; others are counted."""


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What decisions leave in the log."""

    refusals: AuditRule
    """Refusals of callers with a proven tenant."""
    anonymous: AuditRule
    """Refusals of all others."""
    key_use: AuditRule
    cross_tenant: AuditRule
    thresholds: AuditRule
    questions: AuditRule
    """Questions about rights that were answered with no, which refuses nothing."""
    on_full: Literal["refuse", "count"]
    """What becomes of a decision whose fact the log has no room for."""
    retention: Mapping[str, int]
    """Days for which the log keeps records, by retention class."""
    archive: str | None
    """Where records go before they end: a URL or a path; ``none``: nowhere; None: not said, so that
    no record ends."""
    personal: tuple[str, ...] = ()
    """Names of the fields that are sealed with the key of the person they are about."""


_NS = 1_000_000_000


def audit_view(audit: dict[str, Any]) -> AuditPolicy:
    own = ("on_full", "retention", "archive", "personal")
    rules = {name: rule for name, rule in audit.items() if name not in own}
    views = {
        name: AuditRule(mode, None if share is None else Decimal(share).normalize(), most)
        for name, (mode, share, most) in rules.items()
    }
    return AuditPolicy(
        on_full=audit["on_full"],
        retention=MappingProxyType(dict(audit["retention"])),
        archive=audit["archive"],
        personal=tuple(audit["personal"]),
        **views,
    )


def limit_view(rule: dict[str, Any]) -> RateLimit:
    windows = tuple(
        Window(window=fields.pop("window_ns") / _NS, **fields)
        for fields in map(dict, rule["windows"])
    )
    return RateLimit(rule["name"], rule["scope"], windows)


def quota_view(name: str, quota: dict[str, Any]) -> Quota:
    lease_ns = quota["lease_ns"]
    return Quota(
        name=name,
        kind=quota["kind"],
        period=quota["period"],
        anchored=quota["anchored"],
        unit=quota["unit"],
        alerts=quota["alerts"],
        lease=None if lease_ns is None else lease_ns / _NS,
    )


def entitlements_view(own: dict[str, Any]) -> Entitlements:
    default, default_origin = own["default_limit"]
    isolation, isolation_origin = own["isolation"]
    days, days_origin = own["retention_days"]
    return Entitlements(
        plan=own["plan"],
        quotas=MappingProxyType(
            {
                name: Effective(QuotaGrant(limit, soft, grace), Origin(origin))
                for name, (limit, soft, grace, origin) in own["quotas"].items()
            }
        ),
        rate_limits=MappingProxyType(
            {
                name: Effective(limit_view(rule), Origin(origin))
                for name, (rule, origin) in own["rate_limits"].items()
            }
        ),
        default_limit=Effective(limit_view(default), Origin(default_origin)),
        features=MappingProxyType(
            {name: Effective(on, Origin(origin)) for name, (on, origin) in own["features"].items()}
        ),
        isolation=Effective(isolation, Origin(isolation_origin)),
        retention_days=Effective(days, Origin(days_origin)),
    )


def billing_view(
    period: Any, anchored: bool, fees: Any, price_changes: Any, dispute_ns: int
) -> BillingPolicy:
    anchor: Any = "subscription" if anchored else "calendar"
    return BillingPolicy(period, anchor, fees, price_changes, dispute_ns / 1e9)


def plan_view(name: str, plan: dict[str, Any]) -> Plan:
    own = entitlements_view(plan["entitlements"])
    price = plan["price"]
    return Plan(
        name=name,
        title=plan["title"],
        price=price if price is None or price == "custom" else Decimal(price),
        currency=plan["currency"],
        period=plan["period"],
        features=frozenset(feature for feature, on in own.features.items() if on.value),
        all_features=plan["all_features"],
        quotas=MappingProxyType({quota: each.value for quota, each in own.quotas.items()}),
        rate_limits=MappingProxyType({act: each.value for act, each in own.rate_limits.items()}),
        default_limit=own.default_limit.value,
        isolation=own.isolation.value,
        retention_days=own.retention_days.value,
        price_book=plan["price_book"],
    )
