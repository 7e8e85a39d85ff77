"""Which tenant this code runs for, and how that travels: tasks, threads, executors, jobs.

A request's middleware makes a `TenantContext` and puts it into a context variable. It counts while
the request lasts: a task that was started during a request and outlives it has no tenant, unless it
was bound. So a worker that happened to be started by somebody's request never works on in their
name.

>>> executor.submit(bind(work), item)             # a thread, an executor, a task that lives on
>>> queue.put({"do": "report", "for": require_tenant().to_job()})
>>> with bind(message["for"], tenancy=t) as ctx:  # the other end of a queue
...     ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _core
from ._core import Identity, RequestContext
from ._leases import keeper
from ._text import check_principal, to_datetime, to_moment
from .errors import (
    DutyViolated,
    ExpiredCredential,
    InvalidCredential,
    InvalidTenant,
    InvalidValue,
    MissingTenant,
    PermissionDenied,
    SuspendedTenant,
    UnknownKey,
    refusal,
)

if TYPE_CHECKING:
    from ._core import Decision, Handle

__all__ = ["Binding", "TenantContext", "bind", "current_tenant", "require_tenant"]

F = TypeVar("F", bound=Callable[..., Any])

_JOB_VERSION = 1
_DENIED = "denied"
_SERVED = ("active", "trial")

_current: ContextVar[TenantContext | None] = ContextVar("tenancy", default=None)


class Headers(Mapping[str, str]):
    """Request headers, case-insensitive; repeated ones are joined by a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        values: dict[str, str] = {}
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            values[name] = f"{values[name]}, {value}" if name in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self._values)} headers>"  # credentials are among them


def _of_environ(environ: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            header = name[5:].replace("_", "-").encode("latin-1", "replace")
            yield header, str(value).encode("latin-1", "replace")


class TenantContext(RequestContext):
    """The tenant, the principal and what they may do.

    `tenancy` is the `Tenancy` that decided, `decision` the request's decision (None outside of
    one). Everything else is read when it is asked for.
    """

    # One is made per request, and most of it is the same in all of them: that part, with who it is
    # and how it ends, is native. `headers` are pairs of bytes, or a WSGI environ.
    __slots__ = ("__weakref__",)

    # ------------------------------------------------------------------------------ who

    @property
    def tenant(self) -> Any:
        """The tenant's record, read on first use."""
        if self._record is None:
            self._record = self.tenancy.tenants.get(self.tenant_id)
        return self._record

    @property
    def request_time(self) -> datetime:
        return to_moment(self.request_time_ns)

    @property
    def headers(self) -> Mapping[str, str]:
        if not isinstance(self._headers, Headers):
            raw = self._headers
            self._headers = Headers(_of_environ(raw) if isinstance(raw, dict) else raw)
        return self._headers

    # ------------------------------------------------------------------------------ what

    @property
    def permissions(self) -> frozenset[str]:
        """What the caller may do on the tenant as a whole: names, and patterns where those are
        held."""
        self._must_last()
        decision = self.decision
        if decision is not None:
            return frozenset(decision.permissions()).union(self._claims)
        held: Iterable[str] = self._scopes or ()
        if self._principal is not None:
            try:
                held = self.tenancy.access.permissions(
                    self.tenant_id, self._principal, roles=self._roles
                )
            except (InvalidValue, DutyViolated):  # an active role was taken away since
                held = ()
            if self._scopes is not None:
                held = [name for name in held if _any_covers(self._scopes, name)]
        return frozenset(held).union(self._claims)

    def can(self, permission: str, resource: str | None = None) -> bool:
        """Whether the caller has the permission now, perhaps on one resource `type/id`.

        A question only: nothing is taken, a no refuses nothing, and leaves a fact only where the
        catalog's `audit: {questions: …}` says so.
        """
        self._must_last()
        if self._has(permission, resource):
            return True
        self.tenancy._refusals.question(self.tenant_id, self.principal, permission, resource)
        return False

    def _has(self, permission: str, resource: str | None) -> bool:
        decision = self.decision
        if decision is not None:
            answer = decision.explain_permission(permission, resource)
        else:
            try:
                answer = self._engine().access_explain(
                    self.tenant_id, self._principal, permission, resource, self._scopes, self._roles
                )
            except _core.CoreError:  # an active role was taken away since
                return False
        if answer is None:
            return False
        denied = answer["reason"] == _DENIED
        return bool(answer["allowed"]) or (not denied and _any_covers(self._claims, permission))

    @property
    def config(self) -> Mapping[str, Any]:
        """The tenant's settings."""
        settings: Mapping[str, Any] = self.tenant.settings
        return settings

    @property
    def entitlements(self) -> Any:
        """Quotas, limits and features in force, each with its origin:
        `tenancy.catalog.Entitlements`."""
        return self.tenancy.tenants.effective(self.tenant_id)

    @property
    def quotas(self) -> Mapping[str, Any]:
        """The status of every quota."""
        every: Mapping[str, Any] = self.tenancy.quotas.all(self.tenant_id)
        return every

    # ------------------------------------------------------------------------------ deciding

    def require(self, *, endpoint: str | None = None, **wants: Any) -> None:
        """Go on only if allowed: `permission`, `resource`, `feature`, `action`, `cost`, `consume`.

        Within a request this continues its decision, and what is consumed is reserved until the
        request ends; elsewhere it is final. `endpoint` counts once per request. Raises the
        `Refused` that fits.
        """
        self._must_last()
        decision = self.decision
        if decision is None:
            self._require_bound(endpoint, wants)
            return
        if endpoint is not None and not self._endpoint_counted:
            self._endpoint_counted = True
            wants["endpoint"] = endpoint
        if not self.tenancy.authorize(decision, **wants):
            error = refusal(decision)
            # A spent quota: 403 or 429, as configured.
            error.status = decision.status
            raise error
        if wants.get("consume"):
            self._note_held(decision)

    @property
    def repeated(self) -> bool:
        """Whether something of this request was charged to an earlier one with the same idempotency
        key: the client repeats itself, and whoever keeps results can answer with the old one."""
        decision = self.decision
        return decision is not None and decision.repeated

    def _must_last(self) -> None:
        if self.over:
            raise MissingTenant("the request is over", remedy="use `tenancy.bind(...)`")

    def _note_held(self, decision: Decision) -> None:
        self.reserves = True
        if not self._leased and decision.leases:
            self._leased = True
            quotas = self.tenancy.catalog.quotas
            lives = [quotas[lease.quota].lease for lease in decision.leases]
            keeper.keep(self, min(life for life in lives if life is not None))

    def held_leases(self) -> tuple[Handle, ...]:
        """The leases that end with this request."""
        return () if self.decision is None else self.decision.leases

    def note_window(self, window: Any) -> None:
        """Take an inline limit's answer into account, for the response's headers and the end."""
        before = self.window
        self.refused |= not window.allowed
        if before is None or window.remaining * before.limit < before.remaining * window.limit:
            self.window = window

    def _require_bound(self, endpoint: str | None, wants: dict[str, Any]) -> None:
        permission = wants.pop("permission", None)
        resource = wants.get("resource")
        if permission is not None and not self._has(permission, resource):
            self.tenancy._refusals.right(self.tenant_id, self.principal, permission, resource)
            raise PermissionDenied(
                f"permission {permission} is missing", tenant=self.tenant_id, permission=permission
            )
        wants.setdefault("roles", self._roles)
        self.tenancy.require(
            tenant=self.tenant_id, principal=self._principal, endpoint=endpoint, **wants
        )

    def _engine(self) -> Any:
        """The engine, with the newest definitions."""
        engine = self.tenancy.engine
        if engine.word() != 2 * engine.revision:
            self.tenancy.refresh()
        return engine

    def reservation(self, quota: str) -> Handle:
        """The reservation or lease of `quota` that this request holds, to settle it by hand."""
        decision = self.decision
        if decision is not None:
            for handle in (*decision.reservations, *decision.leases):
                if handle.quota == quota:
                    return handle
        raise LookupError(f"this request holds nothing of quota {quota!r}")

    def must_be(self, reference: str) -> None:
        """Raise `TenantConflict` unless `reference` (id, external id or slug) names this tenant.

        For a tenant named inside a body or an envelope; see `tenancy.resolve.tenant_in`. The
        attempt is audited like one made with a header.
        """
        found = self._engine().tenant(reference)
        if found is not None and found[0] == self.tenant_id:
            return
        # Asked as a hint beside the proven tenant, so that the engine refuses, counts and reports
        # it.
        identity = Identity(self.principal, (self.tenant_id,))
        self.tenancy.require(identity=identity, hints=(reference,))

    # ------------------------------------------------------------------------------ metering

    def meter(
        self,
        metric: str,
        quantity: Any = 1,
        *,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what this request used: `context.meter("tokens", 1234)`.

        It is recorded when the request ends, unless it fails (500 and above); what is said of one
        metric in several calls is summed, and stands instead of what the route declared for it.
        Outside of a request it is recorded at once. Errors are those of `Tenancy.usage.record`.
        """
        self._must_last()
        usage = self.tenancy.usage
        if self.decision is None:
            usage.record(self.tenant_id, metric, quantity, properties=properties)
            return
        self._note_meter(usage.measured(self.tenant_id, metric, quantity, properties, said=True))

    def declare_meter(self, metric: str, quantity: Any) -> None:
        """For routes: what the request uses unless its handler says otherwise."""
        self._must_last()
        if self.decision is None:
            return
        usage = self.tenancy.usage
        self._note_meter(usage.measured(self.tenant_id, metric, quantity, None, said=False))

    def _note_meter(self, measured: Any) -> None:
        if self.meters is None:
            self.meters = []
        self.meters.append(measured)

    # ------------------------------------------------------------------------------ sessions

    def open_session(self, platform: str = "web", **options: Any) -> Any:
        """The caller's session on `platform`, resumed by the id it sent, or a new one.

        Its id goes into the response header for sessions.
        """
        arguments = self._session_arguments(platform, options)
        session = self.tenancy.sessions.get_or_create(*arguments, **options)
        self._session_id = session.id
        return session

    async def aopen_session(self, platform: str = "web", **options: Any) -> Any:
        """`open_session` for asyncio."""
        arguments = self._session_arguments(platform, options)
        session = await self.tenancy.sessions.aget_or_create(*arguments, **options)
        self._session_id = session.id
        return session

    def _session_arguments(self, platform: str, options: dict[str, Any]) -> tuple[str, str, str]:
        options.setdefault("session_id", self.client_session_id)
        principal = self.principal
        if principal is None:
            raise InvalidValue("principal", "a session belongs to a user, and none is known")
        return self.tenant_id, principal, platform

    # ------------------------------------------------------------------------------ travelling

    def detached(self) -> TenantContext:
        """A copy that belongs to no request: it reserves nothing and does not end with one."""
        copy = TenantContext(
            self.tenancy, None, self.request_time_ns, self._headers, self.client_session_id
        )
        copy._claims = self._claims
        copy._tenant_id = self.tenant_id
        copy._principal = self.principal
        copy._session_id = self.session_id
        copy._record = self._record
        decision = self.decision
        copy._key_id = self.key_id
        copy._roles = self._roles if decision is None else decision.active_roles
        copy._scopes = self._scopes
        if copy._key_id is not None and copy._scopes is None:
            copy._scopes = _scopes_of(self.tenancy, copy._key_id, copy._tenant_id)
        return copy

    def to_job(self) -> dict[str, Any]:
        """What a job needs to run for this caller, as plain JSON values; `bind` reads it.

        Rights are looked up again when the job runs, so what was revoked in between is gone. No
        credential is in it, and nothing protects it: whoever can write to the queue can name any
        tenant, as with every other argument of a job.
        """
        decision = self.decision
        roles = self._roles if decision is None else decision.active_roles
        return {
            **({} if roles is None else {"roles": list(roles)}),
            "tenancy": _JOB_VERSION,
            "tenant": self.tenant_id,
            "principal": self.principal,
            "key": self.key_id,
            "claims": list(self._claims),
            "time_ns": self.request_time_ns,
        }

    def __repr__(self) -> str:
        over = ", over" if self.over else ""
        return f"TenantContext(tenant={self.tenant_id!r}, principal={self.principal!r}{over})"


def current_tenant() -> TenantContext | None:
    """The context in force, or None."""
    context = _current.get()
    return None if context is None or context.over else context


def require_tenant() -> TenantContext:
    """The context in force. Raises `MissingTenant` when there is none: never "no filter"."""
    context = current_tenant()
    if context is None:
        raise MissingTenant("no tenant is in force here")
    return context


class Binding:
    """What `bind` gives: a context manager, also `async with`. Each entering is a context of its
    own."""

    __slots__ = ("_context", "_entered")

    def __init__(self, context: TenantContext) -> None:
        self._context = context
        self._entered: list[tuple[TenantContext, Token[TenantContext | None]]] = []

    def __enter__(self) -> TenantContext:
        context = self._context.detached()
        self._entered.append((context, _current.set(context)))
        return context

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        context, token = self._entered.pop()
        context.over = True
        _current.reset(token)

    async def __aenter__(self) -> TenantContext:
        return self.__enter__()

    async def __aexit__(self, *exc: Any) -> None:
        self.__exit__()


@overload
def bind(what: F, /) -> F: ...
@overload
def bind(
    what: TenantContext | Mapping[str, Any] | str | Any,
    /,
    *,
    tenancy: Any = None,
    principal: str | None = None,
) -> Binding: ...
def bind(what: Any, /, *, tenancy: Any = None, principal: str | None = None) -> Any:
    """Carry a tenant to where the context variable does not reach.

    - `bind(function)`: the function (or coroutine function), running for the tenant that is in
      force now, in whatever thread or task it is called. Raises `MissingTenant` when none is.
    - `with bind(context)`: a context that was kept.
    - `with bind(job, tenancy=t)`: what `to_job` made.
    - `with bind(tenant, tenancy=t, principal=...)`: a tenant named by the program, as a record, id,
      external id or slug.

    The last two raise `SuspendedTenant` or `InvalidTenant` when the tenant is not served now.
    """
    if isinstance(what, TenantContext):
        return Binding(what)
    if callable(what):
        return _bound_function(what)
    context = current_tenant()
    tenancy = tenancy if tenancy is not None or context is None else context.tenancy
    if tenancy is None:
        raise InvalidValue("tenancy", "nothing says which one", remedy="bind(..., tenancy=t)")
    if isinstance(what, Mapping):
        return Binding(_of_job(what, tenancy))
    return Binding(_of_reference(getattr(what, "id", what), tenancy, principal))


def _bound_function(function: Callable[..., Any]) -> Callable[..., Any]:
    kept = require_tenant().detached()
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            with Binding(kept):
                return await function(*args, **kwargs)

        return run_async

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with Binding(kept):
            return function(*args, **kwargs)

    return run


def _of_job(job: Mapping[str, Any], tenancy: Any) -> TenantContext:
    if job.get("tenancy") != _JOB_VERSION:
        raise InvalidValue("job", f"not made by `to_job` of this release: {sorted(map(str, job))}")
    key, claims, moment = job.get("key"), job.get("claims"), job.get("time_ns")
    roles = job.get("roles")
    if not (
        isinstance(claims, (list, tuple))
        and all(isinstance(claim, str) for claim in claims)
        and (key is None or isinstance(key, str))
        and (roles is None or isinstance(roles, (list, tuple)))
        and all(isinstance(role, str) for role in roles or ())
        and isinstance(moment, int)
    ):
        raise InvalidValue("job", "damaged: it is not as `to_job` made it")
    context = _of_reference(job.get("tenant"), tenancy, job.get("principal"))
    context.request_time_ns = moment
    context._claims = tuple(claims)
    context._roles = None if roles is None else tuple(roles)
    if key is not None:
        context._key_id = key
        context._scopes = _scopes_of(tenancy, key, context.tenant_id)
    return context


def _scopes_of(tenancy: Any, key_id: str, tenant_id: str) -> tuple[str, ...] | None:
    """The scopes of a key that still counts. A rotated one does: its successor has the same."""
    try:
        record = tenancy.keys.get(key_id, tenant=tenant_id)
    except UnknownKey:
        tenancy._refusals.note(InvalidCredential.code, key_id, tenant_id, permission="job:run")
        raise InvalidCredential("the key is gone", tenant=tenant_id) from None
    state = record.state(to_datetime(tenancy.clock.wall_ns()))
    if state in ("revoked", "expired"):
        kind = ExpiredCredential if state == "expired" else InvalidCredential
        tenancy._refusals.note(kind.code, key_id, tenant_id, permission="job:run")
        raise kind(f"the key is {state}", tenant=tenant_id)
    return None if record.scopes is None else tuple(record.scopes)


def _of_reference(reference: Any, tenancy: Any, principal: str | None) -> TenantContext:
    if not isinstance(reference, str):
        raise InvalidValue(
            "tenant", f"expected a tenant, a job or a function, got {type(reference).__name__}"
        )
    if principal is not None:
        check_principal(principal)
    context = TenantContext(tenancy, None, tenancy.clock.wall_ns())
    found = context._engine().tenant(reference)
    if found is None:
        raise InvalidTenant("the tenant is not valid")
    tenant_id, status, _ = found
    if status not in _SERVED:
        kind = SuspendedTenant if status == "suspended" else InvalidTenant
        tenancy._refusals.note(kind.code, status, tenant_id, permission="job:run")
        raise kind(f"the tenant is {status}", tenant=tenant_id)
    context._tenant_id = tenant_id
    context._principal = principal
    return context


def _any_covers(patterns: Iterable[str], permission: str) -> bool:
    """`resource:*`, `*:action` and `*:*` by whole segments, as the engine has it."""
    asked = permission.split(":")
    for pattern in patterns:
        held = pattern.split(":")
        if len(held) == len(asked) and all(h in ("*", a) for h, a in zip(held, asked, strict=True)):
            return True
    return False
