"""What services answer: frozen records. Times are aware datetimes in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar, overload

__all__ = [
    "ApiKey",
    "Assignment",
    "AuditEvent",
    "NewKey",
    "Page",
    "PlanChange",
    "QuotaStatus",
    "Record",
    "Resource",
    "Role",
    "Session",
    "Tenant",
]


T = TypeVar("T")


@dataclass(frozen=True)
class Page(Sequence[T], Generic[T]):
    """Some items and the `cursor` of the next page; no cursor on the last one."""

    items: tuple[T, ...]
    cursor: str | None = None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)


class Record:
    """Base of the records: `as_dict` gives what JSON can hold."""

    def as_dict(self) -> dict[str, Any]:
        def plain(value: Any) -> Any:
            if isinstance(value, datetime):
                return value.isoformat().replace("+00:00", "Z")
            if isinstance(value, Mapping):
                return {key: plain(inner) for key, inner in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(inner) for inner in value]
            return value

        hidden = {f.name for f in fields(self) if not f.repr}  # type: ignore[arg-type]
        return {k: plain(v) for k, v in asdict(self).items() if k not in hidden}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Tenant(Record):
    """A customer organisation. Accepted wherever a tenant is named."""

    id: str
    slug: str
    name: str
    plan: str
    status: str
    """pending, trial, active, suspended, churned, deleted or purged."""
    external_id: str | None = None
    owner: Mapping[str, str] = field(default_factory=dict)
    """`user_id`, `email`, `name`."""
    contacts: Sequence[Mapping[str, str]] = ()
    company: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`default_model`, `allowed_models`, `compliance`, `data_residency`, `channels`, your own."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """`rate_limits`, `quotas`, `features`, `isolation`, `retention_days`, as a plan writes them."""
    billing: Mapping[str, Any] = field(default_factory=dict)
    """`customer_id`, `subscription_id`, `email`, `currency`, `tax_location`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    time_zone: str | None = None
    anchor: datetime | None = None
    """Start of the subscription: anchored periods begin on its day."""
    suspension_reason: str | None = None
    legal_hold: bool = False
    created: datetime | None = None
    updated: datetime | None = None
    suspended: datetime | None = None
    deleted: datetime | None = None
    purge_after: datetime | None = None

    @property
    def served(self) -> bool:
        return self.status in ("active", "trial")


@dataclass(frozen=True)
class PlanChange(Record):
    """What a change of plan does. What is over the new limits is reported, never destroyed."""

    tenant: str
    before: str
    after: str
    effective: datetime
    scheduled: bool
    """True: it takes effect later."""
    over: Sequence[Mapping[str, Any]] = ()
    """`quota`, `used`, `limit` of each quota that is used beyond what the new plan grants."""


@dataclass(frozen=True)
class ApiKey(Record):
    """An API key without its secret, which nobody keeps."""

    id: str
    """Public id: the key's first characters, safe to log."""
    tenant: str
    name: str
    principal: str | None = None
    """Whose rights the key has, cut to its scopes; None: exactly its scopes."""
    scopes: Sequence[str] | None = None
    limit: str | None = None
    created: datetime | None = None
    created_by: str = "system"
    expires: datetime | None = None
    revoked: datetime | None = None
    grace_until: datetime | None = None
    """Rotated: valid until then."""
    rotated_to: str | None = None
    last_used: datetime | None = None
    uses_since_rotation: int = 0

    def state(self, now: datetime) -> str:
        """`active`, `grace` (rotated, still valid), `rotated`, `revoked` or `expired`."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        if self.grace_until is not None:
            return "grace" if now < self.grace_until else "rotated"
        return "active"


class NewKey(NamedTuple):
    """A key and its secret, shown this once. Unpacks as `key, secret`; the repr hides it."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey(key={self.key!r}, secret='{self.key.id}…')"


@dataclass(frozen=True)
class Session(Record):
    """A session of (tenant, principal, platform)."""

    ref: str
    """Names the session in lists and logs; does not authenticate."""
    tenant: str
    principal: str
    platform: str
    id: str | None = field(default=None, repr=False)
    """The credential; only where the session was created, or got by its owner."""
    client_id: str | None = None
    """The caller's own name for it, such as a chat's thread; does not authenticate."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    roles: Sequence[str] | None = None
    """The roles that are active in it; None: all that its principal holds."""
    created: datetime | None = None
    last_activity: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True)
class Role(Record):
    name: str
    tenant: str | None = None
    """None: every tenant has it."""
    permissions: Sequence[str] = ()
    denies: Sequence[str] = ()
    inherits: Sequence[str] = ()
    origin: str = "store"
    """`catalog` or `store`."""


@dataclass(frozen=True)
class Assignment(Record):
    tenant: str
    principal: str
    role: str
    resource: str | None = None
    """`type/id` of the one resource it is for; None: the whole tenant."""
    until: datetime | None = None
    created: datetime | None = None
    created_by: str = "system"


@dataclass(frozen=True)
class Resource(Record):
    tenant: str
    type: str
    id: str
    creator: str
    created: datetime | None = None


@dataclass(frozen=True)
class QuotaStatus(Record):
    """Usage of one quota. `used + n <= limit` is what a consumption of n asks for."""

    quota: str
    kind: str
    allowed: bool
    used: int
    reserved: int
    limit: int | None
    """None: unlimited."""
    percent: float
    exceeded: bool
    """True from `used >= limit` on."""
    soft: bool = False
    overage: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class AuditEvent(Record):
    id: str
    time: datetime
    tenant: str | None
    principal: str
    type: str
    action: str
    resource: str | None
    resource_id: str | None
    result: str
    context: Mapping[str, Any]
    revision: int
    erased: Sequence[str] = ()
    """Names of the fields that are sealed with a key that was destroyed, or is not there:
    `principal`, `ip`, …; `personal` are members of the context."""
