"""FastAPI: middleware, dependencies, documentation.

>>> app = FastAPI()
>>> app.add_middleware(TenancyMiddleware, tenancy=t, exempt=["/health", "/docs", "/openapi.json"])
>>> wants = [Depends(requires("agent:create")), Depends(limit("agent_spawns"))]
>>> @app.post("/agents", dependencies=wants)
>>> async def create(tenant: CurrentTenant): ...

The dependencies continue the decision that the middleware began; a refusal is answered as problem
details.
"""

# Annotations are values here: older FastAPI releases cannot resolve texts on callable objects.

import inspect
import weakref
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

try:
    from fastapi import APIRouter, Depends, FastAPI
    from fastapi.openapi.models import APIKey, APIKeyIn
    from fastapi.security.base import SecurityBase
    from starlette.middleware.exceptions import ExceptionMiddleware
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
except ImportError as error:
    from .errors import ExtraMissing

    raise ExtraMissing("fastapi", "FastAPI") from error

from . import asgi
from ._inline import InlineLimit, is_inline
from ._operator_fastapi import operator_router
from ._usage import sessions_of, usage_of
from ._web import log, resource_of
from .context import TenantContext, require_tenant
from .errors import InvalidValue, TenancyError
from .problem import MEDIA_TYPE, SCHEMA, of_error
from .resolve import Options

__all__ = [
    "CurrentTenant",
    "Options",
    "TenancyMiddleware",
    "TenantContext",
    "consumes",
    "document",
    "feature",
    "limit",
    "meters",
    "operator_router",
    "requires",
    "requires_feature",
    "usage_router",
]

Amount = int | Callable[[Any], int | Awaitable[int]]
"""A number, or a function of the request (it may be a coroutine function)."""

Measure = int | str | Decimal | None | Callable[[Any], Any]
"""A quantity, or a function of the request (it may be a coroutine function)."""

_API_KEY, _BEARER, _CERTIFICATE = "TenancyApiKey", "TenancyBearer", "TenancyCertificate"


class TenancyMiddleware(asgi.TenancyMiddleware):
    """`tenancy.asgi.TenancyMiddleware`, which also teaches the application to answer refusals and
    to document them. `app.add_middleware(TenancyMiddleware, tenancy=t, ...)`; options:
    `tenancy.resolve.Options`."""

    def _begin(self, scope: Any, send: Any, *, caught_up: bool = False) -> Any:
        app = scope.get("app")
        if app is not None:
            _teach(app)
        if isinstance(app, FastAPI):
            document(app, self.web.options)
        # Once: later requests find the original first.
        self._begin = super()._begin  # type: ignore[method-assign]
        return self._begin(scope, send, caught_up=caught_up)


# ------------------------------------------------------------------------------- dependencies


_KEY_MODEL = APIKey.model_validate({"in": APIKeyIn.header, "name": "X-API-Key"})


class _Requirement(SecurityBase):
    """A dependency. Continues the request's decision and gives the context.

    It is a security scheme itself and depends on nothing: FastAPI solves every dependency of a
    dependency with each request, whether or not it only documents. `document` adds the others.
    """

    model = _KEY_MODEL
    scheme_name = _API_KEY

    async def __call__(self, connection: HTTPConnection) -> TenantContext:
        try:
            context = require_tenant()
            await self.demand(context, connection)
        except TenancyError:
            app = connection.scope.get("app")
            _teach(app)
            if "tenancy" not in connection.scope.get("state", {}):
                _tell_of_no_middleware(app)
            raise
        return context

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        """Refuse by raising."""
        context.require(endpoint=_endpoint(connection))


class _Permission(_Requirement):
    def __init__(self, permission: str, resource: str | Callable[[Any], str] | None) -> None:
        self._permission = permission
        self._resource = resource

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        context.require(
            endpoint=_endpoint(connection),
            permission=self._permission,
            resource=_resource(self._resource, connection),
        )


class _Consumption(_Requirement):
    def __init__(self, amounts: Mapping[str, Amount]) -> None:
        self._amounts = dict(amounts)

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        amounts = {name: await _number(a, connection) for name, a in self._amounts.items()}
        context.require(endpoint=_endpoint(connection), consume=amounts)


class _Action(_Requirement):
    def __init__(self, action: str, cost: Amount) -> None:
        self._action = action
        self._cost = cost

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        cost = await _number(self._cost, connection)
        context.require(endpoint=_endpoint(connection), action=self._action, cost=cost)


class _Metering(_Requirement):
    def __init__(self, amounts: Mapping[str, Measure]) -> None:
        self._amounts = dict(amounts)

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        context.require(endpoint=_endpoint(connection))
        for metric, amount in self._amounts.items():
            value = amount(connection) if callable(amount) else amount
            value = await value if inspect.isawaitable(value) else value
            if value is not None:
                context.declare_meter(metric, value)


class _Inline(_Requirement):
    def __init__(self, limit: InlineLimit, cost: Amount) -> None:
        self._limit = limit
        self._cost = cost

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        endpoint = _endpoint(connection)
        context.require(endpoint=endpoint)
        self._limit.hit(context, endpoint, await _number(self._cost, connection))


class _Feature(_Requirement):
    def __init__(self, feature: str) -> None:
        self._feature = feature

    async def demand(self, context: TenantContext, connection: HTTPConnection) -> None:
        context.require(endpoint=_endpoint(connection), feature=self._feature)


CurrentTenant = Annotated[TenantContext, Depends(_Requirement())]
"""`async def endpoint(tenant: CurrentTenant)`: the context; 401 where there is none."""


def requires(
    permission: str, *, resource: str | Callable[[Any], str] | None = None
) -> Callable[..., Awaitable[TenantContext]]:
    """`Depends(requires("doc:read", resource="doc/{doc_id}"))`.

    `resource` is `type/id` with path parameters in braces, or a function of the request.
    """
    return _Permission(permission, resource)


def consumes(
    quota: str | Mapping[str, Amount], amount: Amount = 1
) -> Callable[..., Awaitable[TenantContext]]:
    """`Depends(consumes("tokens", 500))` or `Depends(consumes({"tokens": count, "agents": 1}))`.

    All of them or none. Reserved now, kept when the response is below 500, released otherwise; a
    unit of a concurrency quota is held until the request ends. `TenantContext.reservation` settles
    one by hand, with the amount that was used in the end.
    """
    return _Consumption({quota: amount} if isinstance(quota, str) else quota)


def meters(
    metric: str | Mapping[str, Measure], quantity: Measure = 1
) -> Callable[..., Awaitable[TenantContext]]:
    """`Depends(meters("api_calls"))` or `Depends(meters({"api_calls": 1, "tokens": None}))`.

    Recorded when the request ends, if its response is below 500, without a call by the handler.
    None is for what only the handler knows: `TenantContext.meter` says it, and says it better than
    any quantity here. With an idempotency key a repeated request counts once.
    """
    return _Metering({metric: quantity} if isinstance(metric, str) else metric)


def limit(
    limit: str,
    *,
    cost: Amount = 1,
    scope: str = "tenant",
    name: str | None = None,
    burst: int | None = None,
    algorithm: str | None = None,
) -> Callable[..., Awaitable[TenantContext]]:
    """`Depends(limit("agent_spawns"))`: an action of the catalog; `Depends(limit("60/minute"))`:
    written here.

    An inline limit counts per endpoint, or together where endpoints share a `name`, for each
    `scope`: `tenant`, `user` or `global`.
    """
    if not is_inline(limit):
        if (scope, name, burst, algorithm) != ("tenant", None, None, None):
            raise InvalidValue(
                "limit",
                f"scope and algorithm of {limit!r} are the catalog's",
                remedy="set them there",
            )
        return _Action(limit, cost)
    return _Inline(
        InlineLimit(limit, scope=scope, name=name, burst=burst, algorithm=algorithm), cost
    )


def feature(name: str) -> Callable[..., Awaitable[TenantContext]]:
    """`Depends(feature("sso"))`: only for plans that have it."""
    return _Feature(name)


requires_feature = feature


def _endpoint(connection: HTTPConnection) -> str:
    """A name for the endpoint that is the same in every worker, whatever routes to it."""
    endpoint = connection.scope.get("endpoint")
    if endpoint is None:
        return "unknown"
    name = getattr(endpoint, "__qualname__", None) or type(endpoint).__qualname__
    return f"{getattr(endpoint, '__module__', '')}.{name}"


def _resource(
    resource: str | Callable[[Any], str] | None, connection: HTTPConnection
) -> str | None:
    if resource is None or isinstance(resource, str):
        return resource and resource_of(resource, connection.path_params)
    return resource(connection)


async def _number(amount: Amount, connection: HTTPConnection) -> int:
    if isinstance(amount, int):
        return amount
    value = amount(connection)
    return await value if inspect.isawaitable(value) else value


# ------------------------------------------------------------------------------- answers

_taught: weakref.WeakSet[Any] = weakref.WeakSet()
_told: weakref.WeakSet[Any] = weakref.WeakSet()


async def _handle(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, TenancyError)
    if connection.scope["type"] == "websocket":
        await connection.close(code=1008, reason=error.code)  # type: ignore[attr-defined]
        return None
    context = connection.scope.get("state", {}).get("tenancy")
    now_ns = context.request_time_ns if context is not None else 0
    problem = of_error(error, now_ns=now_ns, instance=connection.scope["path"])
    body = problem.body()
    response = Response(body, problem.status)
    response.raw_headers = problem.raw_headers(len(body))
    return response


def _tell_of_no_middleware(app: Any) -> None:
    """Once: everybody is refused, and nobody who calls can mend it."""
    if app is not None and app not in _told:
        _told.add(app)
        log.error(
            "a dependency of tenancy.fastapi ran where no TenancyMiddleware had: "
            "app.add_middleware(TenancyMiddleware, tenancy=t)"
        )


def _teach(app: Any) -> None:
    """Give the application's own exception layer our handlers, where it has none of its users'.

    Its layer, because each mounted application has one, and turns what it does not know into 500.
    """
    if app is None or app in _taught:
        return
    _taught.add(app)
    layer = getattr(app, "middleware_stack", None)
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)
    if layer is None or TenancyError in layer._exception_handlers:
        return
    for kind in asgi.ANSWERED:
        if kind not in layer._exception_handlers:
            layer.add_exception_handler(kind, _handle)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- documentation

_MEANINGS = {
    "401": "No valid credential, or its tenant is not served.",
    "403": "Not permitted, not in the plan, or a quota is spent.",
    "409": "Another request with the same idempotency key has not ended.",
    "429": "A rate limit is exceeded.",
    "503": "The state that the decision needs is not available.",
}
_LIMIT_HEADERS = {
    "Retry-After": "Seconds to wait.",
    "X-RateLimit-Limit": "Size of the window with the smallest share left.",
    "X-RateLimit-Remaining": "What is left in it.",
    "X-RateLimit-Reset": "When it is whole again, in Unix seconds.",
    "RateLimit": "What is left, as draft-ietf-httpapi-ratelimit-headers has it.",
    "RateLimit-Policy": "The window's policy.",
}
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def document(app: FastAPI, options: Options | None = None) -> None:
    """Add security schemes and refusals to the application's OpenAPI document.

    The middleware does it with its first request; call it where the document is exported without
    one.
    """
    original = app.openapi
    if getattr(original, "documents_tenancy", False):
        return
    chosen = options or Options()

    def openapi() -> dict[str, Any]:
        schema = original()
        _add_to(schema, chosen)
        return schema

    openapi.documents_tenancy = True  # type: ignore[attr-defined]
    app.openapi = openapi  # type: ignore[method-assign]


def _add_to(schema: dict[str, Any], options: Options) -> None:
    from .resolve import PathSet

    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["TenancyProblem"] = SCHEMA
    schemes = components.setdefault("securitySchemes", {})
    accepted: list[dict[str, list[str]]] = []
    if options.api_key_header is not None:
        schemes[_API_KEY] = {"type": "apiKey", "in": "header", "name": options.api_key_header}
        accepted.append({_API_KEY: []})
    if options.authorization:
        schemes.setdefault(
            _BEARER,
            {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, a session's id, or a JWT.",
            },
        )
        accepted.append({_BEARER: []})
    if options.client_certificates is not None:
        schemes[_CERTIFICATE] = {"type": "mutualTLS"}
        accepted.append({_CERTIFICATE: []})
    exempt = PathSet(options.exempt, "exempt")
    for path, operations in schema.get("paths", {}).items():
        if exempt.holds(path):
            continue
        for method, operation in operations.items():
            if method in _METHODS:
                _add_security(operation, accepted)
                _add_responses(operation.setdefault("responses", {}), options)


def _add_security(operation: dict[str, Any], accepted: list[dict[str, list[str]]]) -> None:
    """Every way to authenticate, where a dependency of ours has named one or nobody any."""
    ours: dict[str, list[str]] = {_API_KEY: []}
    named = operation.setdefault("security", accepted)
    if ours in named:
        operation["security"] = [*accepted, *(s for s in named if s != ours and s not in accepted)]


def _add_responses(responses: dict[str, Any], options: Options) -> None:
    reference = {"schema": {"$ref": "#/components/schemas/TenancyProblem"}}
    for status, meaning in _MEANINGS.items():
        if status == "409" and options.idempotency_header is None:
            continue
        response = {"description": meaning, "content": {MEDIA_TYPE: reference}}
        if status == "429":
            response["headers"] = {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _LIMIT_HEADERS.items()
            }
        responses.setdefault(status, response)


# ------------------------------------------------------------------------------- ready routes


def usage_router(prefix: str = "/tenancy") -> APIRouter:
    """Read-only routes for the caller's own tenant: `GET {prefix}/usage` and
    `GET {prefix}/sessions`."""
    router = APIRouter(prefix=prefix, tags=["tenancy"])

    @router.get("/usage", summary="Plan, limits and usage of the caller's tenant")
    def usage(tenant: CurrentTenant) -> dict[str, Any]:
        return usage_of(tenant)

    @router.get("/sessions", summary="The caller's own sessions")
    def sessions(tenant: CurrentTenant, cursor: str | None = None) -> dict[str, Any]:
        return sessions_of(tenant, cursor)

    return router
