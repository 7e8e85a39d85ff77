"""Usage against what the plan grants. `Tenancy.quotas`.

A consumption of n is allowed while `used + reserved + n <= limit`; a refused one changes nothing.
Periods are the tenant's own, in its time zone, and from its subscription's day where the catalog
says so.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import _core
from ._text import life_ns, listed, shown, to_datetime
from .errors import ConcurrencyExceeded, InvalidValue, QuotaExceeded, UnknownQuota, raise_core
from .stores.events import AlertFunction, Events, QuotaAlert
from .stores.host import Host
from .stores.records import QuotaStatus, Tenant
from .stores.twins import twin

if TYPE_CHECKING:
    from ._core import Handle

__all__ = ["QuotaAlert", "QuotaStatus", "Quotas"]

RESERVATION = timedelta(seconds=60)
GaugeFunction = Callable[[str], int]
USED_MAX = (1 << 61) - 1
"""The most that a counter holds."""


class Quotas:
    """Every call has an `a…` twin. Exact over all threads and processes of the host."""

    def __init__(self, host: Host, events: Events) -> None:
        self._host = host
        self._events = events
        self._gauges: dict[str, GaugeFunction] = {}
        self._gauges_changed: Callable[[list[str]], object] = len

    def status(self, tenant: Tenant | str, quota: str) -> QuotaStatus:
        """Used, limit, percent, exceeded (used ≥ limit) and the period's end."""
        engine, tenant_id = self._place(tenant, quota)
        state = engine.quota_status(tenant_id, quota)
        if quota in self._gauges:
            state = self._counted(tenant_id, quota, state, 0)
        return _status(state)

    def all(self, tenant: Tenant | str) -> Mapping[str, QuotaStatus]:
        """The status of every quota that the tenant's plan or overrides speak of."""
        tenant_id = self._host.tenant_id(tenant)
        return {name: self.status(tenant_id, name) for name in self._host.catalog.quotas}

    def consume(self, tenant: Tenant | str, quota: str, amount: int = 1) -> QuotaStatus:
        """Use some of it for good. Falsy, with nothing changed, when there is not enough left;
        that is a refusal, which leaves its fact."""
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(amount)
        self._check_counts(quota, "consume")
        if quota in self._gauges:
            status = _status(
                self._counted(tenant_id, quota, engine.quota_status(tenant_id, quota), amount)
            )
        else:
            state = self._ask(engine.quota_consume, tenant_id, quota, amount)
            status = self._done(tenant_id, state)
        if not status:
            self._host.refusals.quota(tenant_id, "consume", quota)
        return status

    def decrement(self, tenant: Tenant | str, quota: str, amount: int = 1) -> QuotaStatus:
        """Give some back: a user removed, a file deleted. Never below 0."""
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(amount)
        self._check_counts(quota, "decrement", stored=True)
        return self._done(tenant_id, self._ask(engine.quota_decrement, tenant_id, quota, amount))

    def set(
        self, tenant: Tenant | str, quota: str, used: int, *, by: str | None = None
    ) -> QuotaStatus:
        """Say how much is used (a recount); reservations of the living stay on top. Audited.

        What killed processes left charged is given back, as `reconcile` does.
        """
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(used, "used", most=USED_MAX)
        self._check_counts(quota, "set", stored=True)
        with self._host.write(by) as change:
            change.fact(
                "config_changed",
                "quota:set",
                tenant=tenant_id,
                resource="quota",
                resource_id=quota,
                context={"used": used},
            )
        return self._done(tenant_id, self._ask(engine.quota_set, tenant_id, quota, used))

    def reconcile(self, tenant: Tenant | str, quota: str) -> QuotaStatus:
        """Give back what processes killed in the middle of something left charged.

        It shows as `reserved` that nobody has. To be certain, this waits until every process of the
        host is through with what it was doing, at most half a second; when one is stopped, or the
        quota is being changed without pause, nothing is given back: call it again.
        """
        engine, tenant_id = self._place(tenant, quota)
        self._check_counts(quota, "reconcile", stored=True)
        return self._done(tenant_id, self._ask(engine.quota_reconcile, tenant_id, quota))

    def reserve(
        self,
        tenant: Tenant | str,
        quota: str,
        amount: int = 1,
        *,
        ttl: timedelta | float = RESERVATION,
    ) -> Handle:
        """Take some until it is committed or released; a context manager.

        Released by itself after `ttl`. Raises `QuotaExceeded` when there is not enough left.
        """
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(amount)
        self._check_counts(quota, "reserve")
        state, handle = self._ask(
            engine.quota_reserve, tenant_id, quota, amount, life_ns(ttl, "ttl")
        )
        self._done(tenant_id, state)
        if handle is None:
            self._host.refusals.quota(tenant_id, "reserve", quota)
            raise _refused(QuotaExceeded, tenant_id, quota, state, self._host.clock.wall_ns())
        return handle  # type: ignore[no-any-return]

    def lease(
        self, tenant: Tenant | str, quota: str, *, ttl: timedelta | float | None = None
    ) -> Handle:
        """Hold one unit of a concurrency quota: `with t.quotas.lease(acme, "agents"): …`.

        It ends with the block, when `ttl` (by default the catalog's) passes without `renew`, when
        this process dies, and when the tenant is suspended. Raises `ConcurrencyExceeded`.
        """
        engine, tenant_id = self._place(tenant, quota)
        life = 0 if ttl is None else life_ns(ttl, "ttl")
        state, handle = self._ask(engine.quota_acquire, tenant_id, quota, life)
        self._done(tenant_id, state)
        if handle is None:
            self._host.refusals.quota(tenant_id, "lease", quota, leased=True)
            raise _refused(ConcurrencyExceeded, tenant_id, quota, state, self._host.clock.wall_ns())
        return handle  # type: ignore[no-any-return]

    def release(self, handle: Handle) -> bool:
        """Give back a reservation or end a lease. False: it had ended before."""
        return handle.release()

    def revoke_leases(self, tenant: Tenant | str) -> int:
        """End every lease of the tenant. Returns how many."""
        return self._host.current().quota_revoke_leases(self._host.tenant_id(tenant))

    def gauge(self, quota: str, function: GaugeFunction) -> None:
        """Let the application count: `function(tenant_id)` answers how much is used now.

        Decisions ask it whenever they consume this quota, and store nothing.
        """
        if quota not in self._host.catalog.quotas:
            raise _unknown(quota, self._host)
        self._check_counts(quota, "gauge", stored=True)
        if not callable(function):
            raise InvalidValue("function", f"expected a function, got {shown(function)}")
        self._gauges[quota] = function
        self._gauges_changed(sorted(self._gauges))

    def on_alert(self, function: AlertFunction) -> None:
        """Call `function(QuotaAlert)` when a quota reaches a threshold: once per period.

        It runs in the process whose request reached it, within that request.
        """
        self._events.on_alert(function)

    # ------------------------------------------------------------------------------ inside

    def read_gauge(self, tenant_id: str, quota: str) -> int | None:
        """For the gate."""
        return self._gauge(tenant_id, quota) if quota in self._gauges else None

    def when_gauges_change(self, function: Callable[[list[str]], object]) -> None:
        self._gauges_changed = function

    def _place(self, tenant: Tenant | str, quota: str) -> tuple[_core.Engine, str]:
        engine, tenant_id = self._host.current(), self._host.tenant_id(tenant)
        if quota not in self._host.catalog.quotas:
            raise _unknown(quota, self._host)
        return engine, tenant_id

    @staticmethod
    def _ask(function: Callable[..., Any], tenant_id: str, quota: str, *args: int) -> Any:
        try:
            return function(tenant_id, quota, *args)
        except _core.CoreError as error:
            raise_core(error, field=quota, tenant=tenant_id)

    def _counted(
        self, tenant_id: str, quota: str, state: Mapping[str, Any], amount: int
    ) -> dict[str, Any]:
        used = self._gauge(tenant_id, quota)
        limit = state["limit"]
        fits = state["unlimited"] or state["soft"] or used + amount <= limit
        return {**state, "used": used, "reserved": 0, "allowed": fits}

    def _gauge(self, tenant_id: str, quota: str) -> int:
        value = self._gauges[quota](tenant_id)
        try:
            used = operator.index(value)
        except TypeError:
            used = -1
        if not 0 <= used <= USED_MAX:
            raise InvalidValue(
                f"gauge of {quota}", f"expected an integer from 0 to 2^61 - 1, got {shown(value)}"
            )
        return used

    def _check_counts(self, quota: str, call: str, *, stored: bool = False) -> None:
        """Refuse what the kind of a quota has no use for, rather than to do nothing."""
        kind = self._host.catalog.quotas[quota].kind
        if kind == "concurrency":
            raise InvalidValue("quota", f"{quota} counts leases: no {call}", remedy="quotas.lease")
        if stored and kind == "per_object":
            raise InvalidValue(
                "quota",
                f"{quota} is a maximum of each object, nothing of it is stored: no {call}",
                remedy="quotas.consume compares an amount with it",
            )

    def _done(self, tenant_id: str, state: Mapping[str, Any]) -> QuotaStatus:
        if state["crossed"]:
            self._events.thresholds(tenant_id, state)
        return _status(state)

    astatus = twin(status)
    aall = twin(all)  # noqa: A003
    aconsume = twin(consume)
    adecrement = twin(decrement)
    aset = twin(set)  # noqa: A003
    areconcile = twin(reconcile)
    areserve = twin(reserve)
    alease = twin(lease)
    arevoke_leases = twin(revoke_leases)


def _status(state: Mapping[str, Any]) -> QuotaStatus:
    limit = None if state["unlimited"] else int(state["limit"])
    used = int(state["used"])
    share = used / limit if limit else 1.0
    return QuotaStatus(
        quota=state["quota"],
        kind=state["kind"],
        allowed=bool(state["allowed"]),
        used=used,
        reserved=int(state["reserved"]),
        limit=limit,
        percent=0.0 if limit is None else 100.0 * share,
        exceeded=limit is not None and used >= limit,
        soft=bool(state["soft"]),
        overage=int(state["overage"]),
        period_start=to_datetime(state["period_start_wall_ns"]),
        period_end=to_datetime(state["period_end_wall_ns"]),
    )


def _refused(
    kind: type[QuotaExceeded], tenant_id: str, quota: str, state: Mapping[str, Any], now_ns: int
) -> QuotaExceeded:
    end = state["period_end_wall_ns"]
    return kind(
        f"quota {quota}: {state['used'] + state['reserved']} of {state['limit']} are used",
        tenant=tenant_id,
        limit=quota,
        retry_after=(end - now_ns) / 1e9 if end else None,
    )


def _unknown(quota: str, host: Host) -> UnknownQuota:
    return UnknownQuota(
        f"no quota is named {shown(quota)}", remedy=f"one of {listed(host.catalog.quotas)}"
    )


def _check_amount(amount: int, field: str = "amount", most: int = (1 << 63) - 1) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= most:
        power = (most + 1).bit_length() - 1
        raise InvalidValue(
            field, f"expected an integer from 0 to 2^{power} - 1, got {shown(amount)}"
        )
