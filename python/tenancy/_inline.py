"""Limits written at the endpoint, such as `"60/minute"`: exact over all workers of the host."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

from .context import TenantContext
from .errors import InvalidValue, RateLimitExceeded
from .limits import Limiter

_FILE = "inline-limits"
_SCOPES = ("tenant", "user", "global")

_lock = threading.Lock()
_opened: weakref.WeakKeyDictionary[Any, dict[Any, Limiter]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class InlineWindow:
    """What headers and bodies say of an inline limit."""

    name: str
    allowed: bool
    limit: int
    remaining: int
    window: float
    refill: float
    reset_after: float
    retry_after: float | None


class InlineLimit:
    """One limit of one endpoint or of a name that endpoints share."""

    def __init__(
        self,
        text: str,
        *,
        scope: str = "tenant",
        name: str | None = None,
        burst: int | None = None,
        algorithm: Any = None,
    ) -> None:
        if scope not in _SCOPES:
            raise InvalidValue("scope", f"unknown {scope!r}", remedy=f"one of {_SCOPES}")
        Limiter(text, burst=burst, algorithm=algorithm)  # a mistake shows where it was written
        self._text = text
        self._scope = scope
        self._name = name
        self._burst = burst
        self._algorithm = algorithm

    def hit(self, context: TenantContext, endpoint: str, cost: int) -> None:
        """Count. Raises `RateLimitExceeded`, which has the `window`."""
        name = self._name or endpoint
        answer = self._limiter(context.tenancy).hit(f"{self._who(context)}\0{name}", cost)
        window = InlineWindow(
            name, answer.allowed, answer.limit, answer.remaining, answer.window,
            answer.refill, answer.reset_after, answer.retry_after,
        )  # fmt: skip
        context.note_window(window)
        if answer.allowed:
            return
        context.tenancy._refusals.inline(context, name, endpoint)
        error = RateLimitExceeded(
            f"rate limit {name} is exceeded",
            tenant=context.tenant_id,
            limit=name,
            retry_after=answer.retry_after,
        )
        error.window = window  # type: ignore[attr-defined]
        raise error

    def _who(self, context: TenantContext) -> str:
        if self._scope == "global":
            return "global"
        if self._scope == "tenant":
            return f"tenant\0{context.tenant_id}"
        decision = context.decision
        user = context.principal or (decision.key if decision is not None else None) or ""
        return f"user\0{context.tenant_id}\0{user}"

    def _limiter(self, tenancy: Any) -> Limiter:
        settings = (self._text, self._burst, self._algorithm)
        known = _opened.get(tenancy)
        if known is None or settings not in known:
            with _lock:
                known = _opened.setdefault(tenancy, {})
                if settings not in known:
                    known[settings] = Limiter(
                        self._text,
                        burst=self._burst,
                        algorithm=self._algorithm,
                        shared=tenancy.path / _FILE,
                        clock=tenancy.clock,
                        name=repr(settings),
                    )
        return known[settings]


def is_inline(limit: str) -> bool:
    """`60/minute` is a limit, `agent_spawns` names an action."""
    return limit[:1].isdigit()
