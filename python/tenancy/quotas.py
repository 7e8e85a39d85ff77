"""Usage against what the plan grants. `Tenancy.quotas`.

A consumption of n is allowed while `used + reserved + n <= limit`; a refused one changes nothing.
Periods are the tenant's own, in its time zone, and from its subscription's day where the catalog
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import _core
from ._text import duration_ns, listed, to_datetime
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
        """Use some of it for good. Falsy, with nothing changed, when there is not enough left."""
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(amount)
        if quota in self._gauges:
            return _status(
                self._counted(tenant_id, quota, engine.quota_status(tenant_id, quota), amount)
            )
        return self._done(tenant_id, self._ask(engine.quota_consume, tenant_id, quota, amount))

    def decrement(self, tenant: Tenant | str, quota: str, amount: int = 1) -> QuotaStatus:
        """Give some back: a user removed, a file deleted. Never below 0."""
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(amount)
        return self._done(tenant_id, self._ask(engine.quota_decrement, tenant_id, quota, amount))

    def set(
        self, tenant: Tenant | str, quota: str, used: int, *, by: str | None = None
    ) -> QuotaStatus:
        """Say how much is used (a recount); reservations stay on top. Audited."""
        engine, tenant_id = self._place(tenant, quota)
        _check_amount(used)
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
        state, handle = self._ask(
            engine.quota_reserve, tenant_id, quota, amount, duration_ns(ttl, "ttl")
        )
        self._done(tenant_id, state)
        if handle is None:
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
        life = 0 if ttl is None else duration_ns(ttl, "ttl")
        state, handle = self._ask(engine.quota_acquire, tenant_id, quota, life)
        self._done(tenant_id, state)
        if handle is None:
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
        function = self._gauges.get(quota)
        return None if function is None else int(function(tenant_id))

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
        used = self._gauges[quota](tenant_id)
        limit = state["limit"]
        fits = state["unlimited"] or state["soft"] or used + amount <= limit
        return {**state, "used": used, "reserved": 0, "allowed": fits}

    def _done(self, tenant_id: str, state: Mapping[str, Any]) -> QuotaStatus:
        if state["crossed"]:
            self._events.thresholds(tenant_id, state)
        return _status(state)

    astatus = twin(status)
    aall = twin(all)  # noqa: A003
    aconsume = twin(consume)
    adecrement = twin(decrement)
    aset = twin(set)  # noqa: A003
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
        f"no quota is named {quota!r}", remedy=f"one of {listed(host.catalog.quotas)}"
    )


def _check_amount(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount < 1 << 63:
        raise InvalidValue("amount", f"expected an integer from 0 to 2^63 - 1, got {amount!r}")
