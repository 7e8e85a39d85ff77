"""The calls that decide, as they are documented, completed and type-checked.

They are the compiled gate's own: a `Tenancy` puts those into itself when it is opened, in front of
the methods here, so that a call is not one of Python's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from . import _core
from .errors import refusal

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._core import Decision, Identity

__all__ = ["CheckRequest", "Decisions"]


class CheckRequest(TypedDict, total=False):
    """What may be asked of `check` and its kin; each by name, each optional."""

    api_key: str | bytes | None
    session: str | None
    identity: Identity | None
    tenant: str | None
    principal: str | None
    hints: Sequence[str] | None
    trust_hints: bool
    permission: str | None
    resource: str | None
    feature: str | None
    action: str | None
    cost: int
    consume: Mapping[str, int] | None
    ip: str | None
    endpoint: str | None
    request_id: str | bytes | None
    request: Mapping[str, Any] | None
    idempotency_key: str | bytes | None
    fingerprint: str | bytes | None
    roles: Sequence[str] | None


class Decisions:
    """What `Tenancy` has for deciding requests."""

    gate: _core.Gate

    def check(self, **request: Unpack[CheckRequest]) -> Decision:
        """Decide. A refusal is a value: the decision is false, and says why.

        >>> t.check(api_key=secret, permission="agent:create", consume={"tokens": 800})

        All arguments are named and optional:

        - who asks: `api_key`, `session`, or `identity` (which the program verified itself); or
          `tenant` and `principal`, the program's own word, which is believed. `hints` are tenants
          that the request names: they only select among what the credential allows, unless
          `trust_hints`. `roles`: those of the principal's that are to be active, else all;
        - what for: `permission` (on a `resource`, type/id), `feature`, `action` (the limit that is
          counted, with its `cost`), `consume` (amounts by quota; a concurrency quota takes leases);
        - from where: `ip`, `endpoint`; `request_id` is only written down with the facts, as are
          method, path and user agent of `request`, an ASGI scope or WSGI environ;
        - `idempotency_key`: what is consumed under it is charged once, however often it is asked;
          `fingerprint` is what the key stands for, and another one with the same key is refused.

        Raises `TypeError` and `ValueError` for arguments that are none, such as a quota that the
        catalog does not define.
        """
        return self.gate.check(**request)

    def admit(self, **request: Any) -> Decision:
        """The first half of a decision, for adapters of web frameworks; see `_core.Gate.admit`."""
        return self.gate.admit(**request)

    def authorize(self, decision: Decision, **wants: Any) -> Decision:
        """The second half, which continues `decision`; see `_core.Gate.authorize`."""
        return self.gate.authorize(decision, **wants)

    def finish(self, decision: Decision, status: int = 200) -> None:
        """Settle what was reserved: kept below status 500, given back from 500 on."""
        self.gate.finish(decision, status)

    def require(self, **request: Unpack[CheckRequest]) -> Decision:
        """`check`, raising the error of a refusal (`PermissionDenied`, `RateLimitExceeded`, …)."""
        decision = self.check(**request)
        if decision:
            return decision
        raise refusal(decision)
