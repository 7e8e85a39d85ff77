"""Facts of refusals that are no decisions: a limit written at an endpoint, a quota or a right that
is asked for by itself, a tenant that is not served.

The engine writes them, as it writes those of decisions: by the same rules of the catalog's `audit`,
with the same fields. Who asked and from where is what the context in force says, where it is of
that tenant.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..context import TenantContext, current_tenant

if TYPE_CHECKING:
    from .. import _core
    from .host import Host

__all__ = ["Refusals"]

_PROGRAM = "system"
"""Who asks where no context is in force."""
_log = logging.getLogger("tenancy")


class Refusals:
    """One per `Host`. Any thread. Nothing here raises: the refusal stands."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._gate: _core.Gate | None = None

    def go_through(self, gate: _core.Gate) -> None:
        self._gate = gate

    def quota(self, tenant_id: str, call: str, quota: str, *, leased: bool = False) -> None:
        """There was not enough left of a quota."""
        code = "CONCURRENCY_EXCEEDED" if leased else "QUOTA_EXCEEDED"
        self.note(code, quota, tenant_id, permission=f"quota:{call}", resource=f"quota/{quota}")

    def inline(self, context: TenantContext, limit: str, endpoint: str) -> None:
        """A limit that is written at an endpoint is exceeded."""
        self._note("RATE_LIMIT_EXCEEDED", limit, context.tenant_id, context, endpoint=endpoint)

    def right(self, tenant_id: str, principal: str | None, permission: str, resource: Any) -> None:
        """A right was demanded that the principal does not have."""
        self.note(
            *("PERMISSION_DENIED", permission, tenant_id),
            principal=principal, permission=permission, resource=resource,
        )  # fmt: skip

    def question(
        self, tenant_id: str, principal: str | None, permission: str, resource: Any
    ) -> None:
        """It was asked whether the principal has a right, and the answer was no."""
        if self._host.catalog.audit.questions.mode == "never":
            return  # asked in loops, to hide what somebody may not do
        self._note(
            *("PERMISSION_DENIED", permission, tenant_id, current_tenant()), question=True,
            principal=principal, permission=permission, resource=resource,
        )  # fmt: skip

    def note(self, code: str, detail: str, tenant_id: str, **asked: Any) -> None:
        """A refusal with that code; `asked` are keywords of `_core.Gate.check` that say of what."""
        self._note(code, detail, tenant_id, current_tenant(), **asked)

    def unknown(self, code: str, detail: str, **asked: Any) -> None:
        """The same where nobody knows the tenant."""
        self._write(None, code, detail, False, asked)

    def _note(
        self,
        code: str,
        detail: str,
        tenant_id: str,
        context: TenantContext | None,
        *,
        question: bool = False,
        **asked: Any,
    ) -> None:
        decision, actor = None, _PROGRAM
        if context is not None and context.tenancy.engine is self._host.engine:
            actor = context.principal or context.key_id or "anonymous"
            if context.tenant_id == tenant_id:
                decision = context.decision
        if decision is None:
            asked["tenant"] = tenant_id
            asked["principal"] = asked.get("principal") or actor
        self._write(decision, code, detail, question, asked)

    def _write(
        self, decision: Any, code: str, detail: str, question: bool, asked: dict[str, Any]
    ) -> None:
        if self._gate is None:
            return
        try:
            self._gate.note_refusal(decision, code, detail, question, **asked)
        except Exception:
            _log.exception("the fact of a refusal could not be written")
