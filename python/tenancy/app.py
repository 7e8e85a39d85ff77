"""`Tenancy`: one data directory, open in this process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from . import _core
from ._decisions import CheckRequest, Decisions
from ._own_limits import own_limits
from ._text import check_principal
from .access import Access
from .alerts import Alerts, RaisedAlerts
from .catalog import Catalog
from .context import current_tenant
from .errors import (
    InvalidValue,
    Reason,
    StoreClosed,
    StoreUnsupported,
    TenancyError,
)
from .explanation import Explainer
from .invoices import Billing
from .invoices._budgets import EVERY_S as BUDGETS_EVERY_S
from .invoices._budgets import BudgetJob
from .invoices._prices import note_prices
from .keys import Keys
from .limit_counters import Limits
from .operators import Operator
from .quotas import Quotas
from .reports import ReportingAudit
from .resources import Resources
from .roles import Roles
from .sessions import Sessions
from .stores.alert_delivery import EVERY_S as DELIVER_EVERY_S
from .stores.alert_delivery import DeliveryJob
from .stores.alert_job import EVERY_S as ALERT_EVERY_S
from .stores.alert_job import AlertJob
from .stores.alert_rules import check_rules
from .stores.anchoring import EVERY_S as ANCHORS_EVERY_S
from .stores.anchoring import Anchoring
from .stores.anchors import Anchor
from .stores.anchors_remote import as_anchor
from .stores.background import Background
from .stores.change import Actor
from .stores.directory import is_missing, open_directory
from .stores.drain import EVERY_S as DRAIN_EVERY_S
from .stores.due import EVERY_S, DueJob
from .stores.events import Events
from .stores.grants import SYSTEM
from .stores.health import FactCounts, Health
from .stores.host import Closed, Host, no_catalog
from .stores.options import check_sizes, works_in_background
from .stores.retention import EVERY_S as RETAIN_EVERY_S
from .stores.retention import FIRST_S as RETAIN_FIRST_S
from .stores.retention import Retention, RetentionJob
from .stores.twins import twin
from .tenants import Tenants
from .usage import UsageMeter
from .usage._service import EVERY_S as USAGE_EVERY_S

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._core import Decision

__all__ = ["Tenancy"]

CatalogSource = str | os.PathLike[str] | Catalog
DEFAULT_PATH = "./tenancy-data"


class Tenancy(Decisions):
    """Tenants, plans, limits, quotas and permissions of one host.

    Made by `Tenancy.open`; a context manager. Any thread, any event loop; it may be opened before a
    fork or after one. `check` decides, `require` is `check` that raises, `explain` says why.
    Administration is in its members: `tenants`, `keys`, `sessions`, `roles`, `access`, `limits`,
    `quotas`, `usage`, `billing`, `audit`, `alerts`; `help(tenancy.tenants.Tenants)` and so on.
    """

    tenants: Tenants
    keys: Keys
    sessions: Sessions
    roles: Roles
    access: Access
    quotas: Quotas
    usage: UsageMeter
    limits: Limits
    resources: Resources
    audit: ReportingAudit
    alerts: RaisedAlerts
    billing: Billing
    _deliveries: DeliveryJob | None
    background: Background
    """Jobs that one elected process of the host runs; see `health`."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError("open one with Tenancy.open(path, catalog=...)")

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        catalog: CatalogSource | None = None,
        *,
        clock: Any = None,
        default_tenant: str | None = None,
        quota_status: int = 403,
        reservation_s: float = 60.0,
        counters_bytes_max: int = 4 << 30,
        anonymous_bytes: int = 8 << 20,
        failed_credentials: str | None = None,
        idempotency_window_s: float = 86_400.0,
        idempotency_repeats: int = 5,
        idempotency_keys_max: int = 100_000,
        hooks: Mapping[str, Callable[..., Any]] | None = None,
        background: bool | None = None,
        alerts: Alerts | None = None,
        anchors: Sequence[Anchor | str] = (),
    ) -> Tenancy:
        """Open a data directory, or make it.

        `path` is by default `$TENANCY_DATA`, else `./tenancy-data`. `catalog` is a shipped
        catalog's name, a YAML or JSON file, or a `Catalog`; the directory remembers it, so that it
        is needed once, and another one replaces it if every tenant fits. `clock` is the system's
        unless a test passes its `FakeClock`. `default_tenant` serves requests that name none.
        `quota_status` is the HTTP status of a spent quota, 403 or 429. After `failed_credentials`
        wrong ones, such as `30/minute`, no credential of that address (IPv6: /64) is looked at. A
        charge under an idempotency key is remembered for `idempotency_window_s` seconds and may be
        repeated `idempotency_repeats` times; a tenant may add `idempotency_keys_max` of them in
        that time. `hooks` maps steps of a tenant's life to functions that run after them.

        Raises a `StoreError` that says what is wrong with the directory, `CatalogError`, or
        `InvalidValue`.

        `anchors` keep the checkpoints of the audit log off the host: objects of `tenancy.anchors`,
        or their URLs. Each new checkpoint is sent to all of them by the background work.

        `background=False`, or `TENANCY_BACKGROUND=0`, keeps this process from doing the host's
        background work. With a test's clock it does none unless told: the test drives it with
        `background.run_due`.

        `alerts` says which rules the background work watches and where it sends what they find;
        unless said, `alerts.default_rules()` are watched and nothing is sent.
        """
        watched = _checked_alerts(alerts)
        works = works_in_background(background, clock)
        check_sizes(reservation_s, counters_bytes_max, anonymous_bytes, default_tenant)
        if quota_status not in (403, 429):
            raise InvalidValue("quota_status", f"{quota_status}", remedy="403 or 429")
        own = own_limits(
            failed_credentials, idempotency_window_s, idempotency_repeats, idempotency_keys_max
        )
        outside = [as_anchor(anchor) for anchor in anchors]
        loaded = None if catalog is None else Catalog.load(catalog)
        where = _path(path)
        if loaded is None and is_missing(where):
            raise no_catalog(where)  # before a mistyped path becomes a directory
        directory = open_directory(where)
        host = Host(
            directory,
            _clock(clock),
            default_tenant=default_tenant,
            actor=_actor,
            engine_options={
                "reservation_ns": int(reservation_s * 1e9),
                "max_bytes": counters_bytes_max,
                "anonymous_bytes": anonymous_bytes,
                **own,
            },
        )
        host.with_catalog.append(note_prices)
        host.open(loaded)
        self = object.__new__(cls)
        self._start(host, quota_status, hooks or {})
        self.background = Background(host, enabled=works)
        self.background.add("schedule", DueJob(self.tenants, host.clock), every_s=EVERY_S)
        budgets = BudgetJob(self.billing, host.clock.wall_ns)
        self.background.add("budgets", budgets, every_s=BUDGETS_EVERY_S)
        self.background.add("audit", host.facts.drain, every_s=DRAIN_EVERY_S)
        self.background.add("usage", self.usage.job, every_s=USAGE_EVERY_S)
        self._watch(host, watched)
        self.background.add(
            "retention",
            RetentionJob(Retention(host)),
            every_s=RETAIN_EVERY_S,
            first_s=RETAIN_FIRST_S,
        )
        if outside:
            job = Anchoring(directory.path, host.facts.log, outside)
            self.background.add("anchors", job, every_s=ANCHORS_EVERY_S)
        self.background.start()
        return self

    def _watch(self, host: Host, alerts: Alerts) -> None:
        """Behind the job that moves facts into the log: an alert comes in the same turn."""
        destinations = alerts.destinations()
        if alerts.rules:
            job = AlertJob(host, check_rules(alerts.rules), [one.name for one in destinations])
            self.background.add("alerts", job, every_s=ALERT_EVERY_S)
        if destinations:
            self._deliveries = DeliveryJob(host, destinations, alerts.retry)
            self.background.add("alert deliveries", self._deliveries, every_s=DELIVER_EVERY_S)

    def _start(
        self, host: Host, quota_status: int, hooks: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._host = host
        self._deliveries = None
        self._events = events = Events(host)
        self.path = host.directory.path
        self.clock = host.clock
        self.engine = host.engine
        self.tenants = Tenants(host)
        self.keys = Keys(host)
        self.sessions = Sessions(host)
        self.roles = Roles(host)
        self.access = Access(host)
        self.quotas = Quotas(host, events)
        self.usage = UsageMeter(host, self.quotas)
        self.limits = Limits(host)
        self.resources = Resources(host)
        self.audit = ReportingAudit(host)
        self.alerts = RaisedAlerts(host)
        self.billing = Billing(host, self.tenants, self.usage)
        self.tenants.on("purge", after=self.usage.purge_due)
        for step, function in hooks.items():
            self.tenants.on(step, after=function)
        # Bound to the parts, not to self: a Tenancy that is forgotten can go.
        self.gate = gate = _core.Gate(
            host.engine,
            on_stale=host.on_stale,
            on_event=events.on_decision,
            on_gauge=self.quotas.read_gauge,
            reasons=list(Reason),
            quota_status=quota_status,
        )
        host.refusals.go_through(gate)
        self._refusals = host.refusals
        self.quotas.when_gauges_change(gate.set_gauges)
        self._decide_by(gate.check, gate.admit, gate.authorize, gate.finish, Explainer(gate))
        self.tenants.process_due()
        _open.add(self)

    # ------------------------------------------------------------------------------ decisions

    def _decide_by(self, *calls: Callable[..., Any]) -> None:
        """Put calls before the methods of the class: the compiled ones, without Python between."""
        vars(self).update(
            zip(("check", "admit", "authorize", "finish", "explain"), calls, strict=True)
        )

    def explain(self, **request: Unpack[CheckRequest]) -> dict[str, Any]:
        """What `check` would answer and why, stage by stage, without taking anything."""
        return Explainer(self.gate)(**request)

    async def acheck(self, **request: Unpack[CheckRequest]) -> Decision:
        """`check` for asyncio. It takes microseconds, so it runs in the loop itself; only when the
        definitions have changed does it go to a thread to read them."""
        if self.engine.word() != 2 * self.engine.revision:
            await asyncio.to_thread(self._host.on_stale)
        return self.check(**request)

    async def arequire(self, **request: Unpack[CheckRequest]) -> Decision:
        """`require` for asyncio."""
        if self.engine.word() != 2 * self.engine.revision:
            await asyncio.to_thread(self._host.on_stale)
        return self.require(**request)

    # ------------------------------------------------------------------------------ definitions

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self._host.catalog

    @property
    def default_tenant(self) -> str | None:
        return self._host.default_tenant

    @property
    def revision(self) -> int:
        """Revision of the definitions by which this process decides."""
        return self.engine.revision

    def reload_catalog(self, catalog: CatalogSource, *, by: str | None = None) -> bool:
        """Put another catalog in force on every worker, without a restart.

        Every tenant, role and key is tried against it first; when something does not fit, an error
        says what, and nothing has changed. False: it is the one in force.
        """
        return self._host.set_catalog(Catalog.load(catalog), by=by)

    def refresh(self) -> None:
        """Read what other workers changed. Decisions do it by themselves."""
        self._host.refresh()

    def process_due(self) -> int:
        """Do what was scheduled and is due; see `tenants.process_due`."""
        return self.tenants.process_due()

    def refused_operator(self, context: Any, action: str, **details: Any) -> None:
        """Write down that somebody asked for what only operators may. Capped per source; what the
        cap swallows is counted in the source's next fact."""
        self._events.refused_operator(context, action, details)

    def operator(self, *, by: str, reason: str) -> Operator:
        """Reading across tenants, for one person and one reason; each call is audited."""
        return Operator(self._host, by, reason, self)

    def stats(self) -> dict[str, Any]:
        """Decisions by reason, facts they left in the log, latency, memory: of this process, for
        monitoring."""
        return self.engine.stats()

    def health(self) -> Health:
        """What a person should look at: background work of the host that fails, a log that cannot
        be written, facts of decisions that it did not take."""
        facts = FactCounts(**self.engine.stats()["facts"])
        return Health.of(self.background.health(), facts, self._host.facts.problems())

    # ------------------------------------------------------------------------------ end

    def close(self) -> None:
        """Write what is pending. Calls after it raise `StoreClosed`. Closing twice is no error."""
        if self not in _open:
            return
        _open.discard(self)
        try:
            self.background.close()
            if self._deliveries is not None:
                self._deliveries.close()
            self._events.flush()
            self.usage.close_log()
        finally:
            self._host.close()
            self.engine = self.gate = cast(Any, Closed())
            self.quotas.when_gauges_change(len)
            self._decide_by(_refuse, _refuse, _refuse, _finish_late, _refuse)

    def __enter__(self) -> Tenancy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self not in _open:
            return f"<Tenancy {self.path} closed>"
        return f"<Tenancy {self.path} catalog={self.catalog.name} revision={self.revision}>"

    areload_catalog = twin(reload_catalog)
    arefresh = twin(refresh)
    aprocess_due = twin(process_due)
    aclose = twin(close)


def _refuse(*_args: Any, **_request: Any) -> NoReturn:
    raise StoreClosed("this Tenancy was closed")


def _finish_late(*_args: Any, **_status: Any) -> None:
    """A request may end after its application has closed; its reservations expire."""


_open: weakref.WeakSet[Tenancy] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for tenancy in list(_open):
        # The process is ending, and what was acknowledged is in the store.
        with contextlib.suppress(TenancyError):
            tenancy.close()


def _path(path: str | os.PathLike[str] | None) -> Path:
    if path is None:
        path = os.environ.get("TENANCY_DATA") or DEFAULT_PATH
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidValue("path", f"expected a path, got {type(path).__name__}")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InvalidValue("path", f"{text[:80]!r} names no directory")
    if "://" in text:
        scheme = text.split("://", 1)[0]
        raise StoreUnsupported(
            f"{scheme}://: this release keeps its definitions in SQLite",
            remedy="pass a directory, such as ./tenancy-data",
        )
    return Path(text).absolute()


def _clock(clock: Any) -> _core.Clock:
    if clock is None:
        return _core.Clock.system()
    native = getattr(clock, "native", clock)
    if not isinstance(native, _core.Clock):
        raise InvalidValue("clock", f"{type(clock).__name__}", remedy="tenancy.testing.FakeClock")
    return native


def _checked_alerts(alerts: Any) -> Alerts:
    if alerts is None:
        return Alerts()
    if not isinstance(alerts, Alerts):
        remedy = "tenancy.alerts.Alerts(...)"
        raise InvalidValue("alerts", type(alerts).__name__, remedy=remedy)
    return alerts


def _actor(by: str | None) -> Actor:
    """Who acts: as said, else the context's caller, else the system."""
    if by is not None:
        return Actor(check_principal(by, "by"))
    context = current_tenant()
    if context is None:
        return Actor(SYSTEM)
    key = context.key_id
    return Actor(context.principal or key or "anonymous", context.tenant_id, key)
