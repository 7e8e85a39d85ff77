"""What the ASGI and WSGI layers share: one request from `admit` to `finish`, without the
protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ._core import Decision, ResponseFields
from .context import TenantContext
from .errors import InvalidValue, TenancyError
from .headers import NAMES
from .problem import Problem, gateway_error, of_decision, of_error
from .resolve import Found, Options, Resolved, Resolver

log = logging.getLogger("tenancy")

_LATE_NS = 45_000_000_000
_ORIGIN = b"origin"


class Web:
    """The compiled options of one middleware. Immutable; any thread."""

    def __init__(self, tenancy: Any, preset: str | None, options: Mapping[str, Any]) -> None:
        if not hasattr(tenancy, "engine"):
            told = f"expected an open Tenancy, got {type(tenancy).__name__}"
            raise InvalidValue("tenancy", told, remedy='Tenancy.open("tenancy-data")')
        self.tenancy = tenancy
        self._finish = tenancy.finish
        self.options = settings = Options.of(preset, options)
        self._idempotency = settings.idempotency_header
        self.resolver = resolver = Resolver(settings, tenancy)
        self.wanted = resolver.wanted | {_ORIGIN}
        self.lone_key = resolver.api_key if resolver.simple and settings.cost == 1 else None
        self.request_id = resolver.request_id
        self.is_exempt = resolver.exempt.holds if settings.exempt else None
        self.fields = ResponseFields(
            limits=settings.limit_headers,
            tenant=settings.tenant_response_header,
            session=settings.session_response_header,
        )
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
        return self.tenancy.admit(request=request, **resolved.arguments), resolved

    def goes_on_without_tenant(self, decision: Decision, resolved: Resolved | None) -> bool:
        """Public service, no credential: nothing was wrong, there is just nobody."""
        return (
            not self.options.require_tenant
            and resolved is not None
            and decision.code == "MISSING_TENANT"
            and "identity" not in resolved.arguments
        )

    def refusal(self, decision: Decision, resolved: Resolved | None, path: str) -> Problem:
        code = None if resolved is None else resolved.code
        if decision.code != "INVALID_CREDENTIAL":
            code = None
        now_ns = self.tenancy.clock.wall_ns()
        return of_decision(decision, now_ns=now_ns, instance=path, code=code)

    def answer(self, error: TenancyError, path: str) -> Problem:
        """For an error that left the application."""
        return of_error(error, now_ns=self.tenancy.clock.wall_ns(), instance=path)

    def failure(
        self, path: str, error: BaseException, request: Mapping[str, Any], peer: str | None
    ) -> Problem:
        """For an exception of ours. `request` is the scope or environ."""
        log.error("the request could not be decided; it is refused", exc_info=error)
        self.tenancy._refusals.unknown(
            "STATE_UNAVAILABLE", type(error).__name__, request=request, ip=peer
        )
        return gateway_error(path)

    def expose_fields(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Fields of a response, as ASGI has them, with ours readable for a browser's scripts."""
        return expose(fields, self.exposed)

    def expose_headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The same as WSGI has them."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        fields = expose(raw, self.exposed)
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]

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
            if keep and context.meters is not None:
                self._meter(context)
        except Exception:
            log.exception("a decision could not be settled")
        finally:
            if context is not None:
                context.end()

    def _meter(self, context: TenantContext) -> None:
        """Record what the request used. A repeat of it, with its idempotency key, counts once."""
        key = self._idempotency and context.headers.get(self._idempotency)
        self.tenancy.usage.finish(context, key or None)

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


def resource_of(template: str, given: Mapping[str, Any]) -> str:
    """`type/id` with the path's parameters put in. A name that the path lacks is our user's
    mistake, not the caller's: no error that would be answered as one."""
    try:
        return template.format_map(given)
    except (KeyError, ValueError, IndexError) as error:
        there = ", ".join(given) or "none"
        told = f"resource {template!r}: the path has no parameter {error}; there are: {there}"
        raise RuntimeError(told) from None


def expose(fields: list[tuple[bytes, bytes]], exposed: bytes) -> list[tuple[bytes, bytes]]:
    """`fields` with ours among those that a browser lets scripts read."""
    name = b"access-control-expose-headers"
    others = [value for key, value in fields if key.lower() == name]
    if b"*" in others:
        return fields
    kept = [(key, value) for key, value in fields if key.lower() != name]
    return [*kept, (name, b", ".join([*others, exposed]))]
