"""What the ASGI and WSGI layers share: one request from `admit` to `finish`, without the
protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ._core import Decision
from .context import TenantContext
from .errors import TenancyError
from .headers import NAMES, limit_fields, limit_headers
from .problem import Problem, gateway_error, of_decision
from .resolve import Found, Options, Resolved, Resolver

log = logging.getLogger("tenancy")

_LATE_NS = 45_000_000_000
_ORIGIN = b"origin"


class Web:
    """The compiled options of one middleware. Immutable; any thread."""

    def __init__(self, tenancy: Any, preset: str | None, options: Mapping[str, Any]) -> None:
        self.tenancy = tenancy
        self._finish = tenancy.finish
        self.options = settings = Options.of(preset, options)
        self.resolver = resolver = Resolver(settings, tenancy)
        self.wanted = resolver.wanted | {_ORIGIN}
        self.lone_key = resolver.api_key if resolver.simple and settings.cost == 1 else None
        self.is_exempt = resolver.exempt.holds if settings.exempt else None
        self.shows_limits = settings.limit_headers
        self._tenant_header = settings.tenant_response_header
        self._session_header = settings.session_response_header
        self._tenant_field = _field(self._tenant_header)
        self._session_field = _field(self._session_header)
        shown = [*(NAMES if settings.limit_headers else ("Retry-After",))]
        shown += [
            n for n in (settings.tenant_response_header, settings.session_response_header) if n
        ]
        self.exposed = ", ".join(shown).encode("ascii")

    def admit(
        self,
        found: Found,
        method: str,
        path: str,
        query: bytes,
        peer: str | None,
        request: Mapping[str, Any],
    ) -> tuple[Decision, Resolved]:
        """The first half of the decision, for requests that are not just an API key."""
        resolved = self.resolver.resolve(found, method, path, query, peer, request)
        return self.tenancy.admit(**resolved.arguments), resolved

    def goes_on_without_tenant(self, decision: Decision, resolved: Resolved | None) -> bool:
        """Public service, no credential: nothing was wrong, there is just nobody."""
        return (
            not self.options.require_tenant
            and resolved is not None
            and decision.code == "MISSING_TENANT"
            and "identity" not in resolved.arguments
        )

    def refusal(
        self, decision: Decision, resolved: Resolved | None, now_ns: int, path: str
    ) -> Problem:
        code = None if resolved is None else resolved.code
        if decision.code != "INVALID_CREDENTIAL":
            code = None
        return of_decision(decision, now_ns=now_ns, instance=path, code=code)

    def failure(self, path: str) -> Problem:
        """For an exception of ours, inside an `except` block."""
        log.exception("the request could not be decided; it is refused")
        return gateway_error(path)

    def fields(
        self, decision: Decision, context: TenantContext | None, now_ns: int
    ) -> list[tuple[bytes, bytes]]:
        """What a response says of the caller and of what is left, as ASGI has it."""
        window = decision.tightest
        if context is None or context.window is not None or not self.shows_limits:
            window = self._other_window(window, context)
        fields = [] if window is None else limit_fields(window, now_ns)
        if context is not None:
            tenant = decision.tenant
            if tenant is not None and self._tenant_field is not None:
                fields.append((self._tenant_field, tenant.encode()))
            session = context.session_id
            if session is not None and self._session_field is not None:
                fields.append((self._session_field, session.encode("ascii", "replace")))
        return fields

    def text_fields(
        self, decision: Decision, context: TenantContext | None, now_ns: int
    ) -> list[tuple[str, str]]:
        """The same as WSGI has it."""
        window = decision.tightest
        if context is None or context.window is not None or not self.shows_limits:
            window = self._other_window(window, context)
        fields = [] if window is None else limit_headers(window, now_ns)
        if context is not None:
            tenant = decision.tenant
            if tenant is not None and self._tenant_header is not None:
                fields.append((self._tenant_header, tenant))
            session = context.session_id
            if session is not None and self._session_header is not None:
                fields.append((self._session_header, session))
        return fields

    def _other_window(self, window: Any, context: TenantContext | None) -> Any:
        """The window to show when it is not just the decision's: the smallest share left."""
        if not self.shows_limits:
            return None
        inline = None if context is None else context.window
        if inline is None:
            return window
        if window is None or inline.remaining * window.limit < window.remaining * inline.limit:
            return inline
        return window

    def finish(
        self, decision: Decision, context: TenantContext | None, status: int, done: bool
    ) -> None:
        """Settle. `done`: a response of `status` was begun, and nothing failed."""
        try:
            if context is None:
                self._finish(decision, 500)
                return
            keep = done and status < 500
            if status >= 400 and (context.refused or not decision):
                keep = False  # refused: it keeps nothing, unless its handler made something of it
            if keep and context.reserves:
                self._keep_late(decision, context)
            self._finish(decision, status if keep else 500)
        except Exception:
            log.exception("a decision could not be settled")
        finally:
            if context is not None:
                context.end()

    def _keep_late(self, decision: Decision, context: TenantContext) -> None:
        """What a long request reserved may have expired under it; the use happened all the same."""
        if self.tenancy.clock.wall_ns() - context.request_time_ns < _LATE_NS:
            return
        for handle in decision.reservations:
            if handle.settled or handle.commit():
                continue
            try:
                used = self.tenancy.quotas.consume(context.tenant_id, handle.quota, handle.amount)
            except TenancyError:
                used = None
            if not used:
                log.error(
                    "%s units of %s were used by a long request of %s and cannot be charged",
                    handle.amount, handle.quota, context.tenant_id,
                )  # fmt: skip


def repeat(found: dict[bytes, Any], name: bytes, value: bytes) -> None:
    """A wanted header came again."""
    before = found[name]
    found[name] = [*before, value] if isinstance(before, list) else [before, value]


def expose(fields: list[tuple[bytes, bytes]], exposed: bytes) -> list[tuple[bytes, bytes]]:
    """`fields` with ours among those that a browser lets scripts read."""
    name = b"access-control-expose-headers"
    others = [value for key, value in fields if key.lower() == name]
    if b"*" in others:
        return fields
    kept = [(key, value) for key, value in fields if key.lower() != name]
    return [*kept, (name, b", ".join([*others, exposed]))]


def _field(name: str | None) -> bytes | None:
    return None if name is None else name.lower().encode("ascii")
