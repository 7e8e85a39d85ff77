"""The state of a tenant's rate limits. `Tenancy.limits`. Decisions take from it by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import InvalidValue, raise_core
from .stores.host import Host
from .stores.records import Tenant
from .stores.twins import twin

if TYPE_CHECKING:
    from ._core import Limit

__all__ = ["Limits"]


class Limits:
    """`action` names an action of the catalog (default: its default action), `principal` a user."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def peek(
        self, tenant: Tenant | str, action: str | None = None, *, principal: str | None = None
    ) -> Sequence[Limit]:
        """Every window as it stands; takes nothing."""
        answer: Sequence[Limit] = self._ask(
            self._host.current().peek_limits, tenant, action, principal
        )
        return answer

    def reset(
        self,
        tenant: Tenant | str,
        action: str | None = None,
        *,
        principal: str | None = None,
        by: str | None = None,
    ) -> None:
        """Give the full limit back at once. Audited."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            change.fact(
                "config_changed",
                "limit:reset",
                tenant=tenant_id,
                resource="limit",
                resource_id=action,
                context={"principal": principal},
            )
        self._ask(self._host.current().reset_limits, tenant_id, action, principal)

    def refund(
        self,
        tenant: Tenant | str,
        action: str | None = None,
        *,
        cost: int = 1,
        principal: str | None = None,
    ) -> None:
        """Give back what a request took that did not happen."""
        if isinstance(cost, bool) or not isinstance(cost, int) or cost < 0:
            raise InvalidValue("cost", f"expected an integer from 0 on, got {cost!r}")
        self._ask(self._host.current().refund_limits, tenant, action, principal, cost)

    def _ask(
        self,
        function: Callable[..., Any],
        tenant: Tenant | str,
        action: str | None,
        principal: str | None,
        *args: int,
    ) -> Any:
        tenant_id = self._host.tenant_id(tenant)
        try:
            return function(tenant_id, action, principal, *args)
        except _core.CoreError as error:
            raise_core(error, field="action", tenant=tenant_id)

    apeek = twin(peek)
    areset = twin(reset)
    arefund = twin(refund)
