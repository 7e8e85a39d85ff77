"""Flask: extension, decorators, blueprint.

>>> app = Flask(__name__)
>>> TenancyFlask(app, t, exempt=["/health", "/static/*"])
>>> @app.post("/agents")
>>> @requires("agent:create")
>>> @limit("agent_spawns")
>>> def create(): return current_tenant().tenant.name
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

try:
    from flask import Blueprint, Flask, Response, jsonify, request
except ImportError as error:
    from .errors import ExtraMissing

    raise ExtraMissing("flask", "Flask") from error

from ._inline import InlineLimit, is_inline
from ._operator_flask import operator_blueprint
from ._usage import sessions_of, usage_of
from ._web import resource_of
from .context import TenantContext, current_tenant, require_tenant
from .errors import InvalidValue, TenancyError
from .problem import of_error
from .resolve import Options
from .wsgi import ANSWERED, TenancyMiddleware

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._middleware_options import MiddlewareOptions

__all__ = [
    "Options",
    "TenancyFlask",
    "consumes",
    "current_tenant",
    "feature",
    "limit",
    "meters",
    "operator_blueprint",
    "require_tenant",
    "requires",
    "requires_feature",
    "usage_blueprint",
]

View = TypeVar("View", bound=Callable[..., Any])
Amount = int | Callable[[Any], int]
"""A number, or a function of Flask's request."""


Measure = int | str | Decimal | None | Callable[[Any], Any]
"""A quantity, or a function of Flask's request."""


class TenancyFlask:
    """`TenancyFlask(app, t, ...)`, or `TenancyFlask(tenancy=t, ...)` and `init_app(app)` later.

    Wraps `app.wsgi_app`, counts endpoints, and answers refusals as problem details. Options:
    `tenancy.resolve.Options`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        tenancy: Any = None,
        *,
        preset: str | None = None,
        **options: Unpack[MiddlewareOptions],
    ) -> None:
        self.tenancy = tenancy
        self._preset = preset
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, tenancy: Any = None) -> None:
        """Protect `app`. Once per application."""
        tenancy = self.tenancy if tenancy is None else tenancy
        if tenancy is None:
            raise InvalidValue("tenancy", "none was given", remedy="TenancyFlask(app, t)")
        if "tenancy" in app.extensions:
            raise InvalidValue("app", "it has the extension already: requests would count twice")
        app.extensions["tenancy"] = tenancy
        app.wsgi_app = TenancyMiddleware(  # type: ignore[method-assign]
            app.wsgi_app, tenancy, preset=self._preset, **self._options
        )
        app.before_request(_count_endpoint)
        for kind in ANSWERED:
            app.register_error_handler(kind, _answer)


def _answer(error: Exception) -> Response:
    assert isinstance(error, TenancyError)
    context = current_tenant()
    now_ns = 0 if context is None else context.request_time_ns
    problem = of_error(error, now_ns=now_ns, instance=request.path)
    body = problem.body()
    return Response(body, problem.status, problem.all_headers(len(body)))


def _count_endpoint() -> None:
    context = current_tenant()
    if context is not None and request.endpoint is not None:
        context.require(endpoint=request.endpoint)


# ------------------------------------------------------------------------------- decorators


def requires(
    permission: str, *, resource: str | Callable[[Any], str] | None = None
) -> Callable[[View], View]:
    """`@requires("doc:read", resource="doc/{doc_id}")`: view arguments in braces, or a function of
    the request."""

    def demand(context: TenantContext) -> None:
        named = resource
        if isinstance(resource, str):
            named = resource_of(resource, request.view_args or {})
        elif resource is not None:
            named = resource(request)
        context.require(endpoint=request.endpoint, permission=permission, resource=named)

    return _decorator(demand)


def consumes(quota: str | Mapping[str, Amount], amount: Amount = 1) -> Callable[[View], View]:
    """`@consumes("tokens", 500)` or `@consumes({"tokens": count, "agents": 1})`.

    All of them or none. Reserved now, kept when the response is below 500, released otherwise; a
    unit of a concurrency quota is held until the response has been sent.
    """
    amounts: Mapping[str, Amount] = {quota: amount} if isinstance(quota, str) else dict(quota)

    def demand(context: TenantContext) -> None:
        context.require(
            endpoint=request.endpoint, consume={name: _number(a) for name, a in amounts.items()}
        )

    return _decorator(demand)


def meters(metric: str | Mapping[str, Measure], quantity: Measure = 1) -> Callable[[View], View]:
    """`@meters("api_calls")` or `@meters({"api_calls": 1, "tokens": None})`.

    Recorded when the request ends, if its response is below 500, without a call by the view. None
    is for what only the view knows: `TenantContext.meter` says it, and says it better than any
    quantity here. With an idempotency key a repeated request counts once.
    """
    amounts: Mapping[str, Measure] = {metric: quantity} if isinstance(metric, str) else dict(metric)

    def demand(context: TenantContext) -> None:
        context.require(endpoint=request.endpoint)
        for name, amount in amounts.items():
            value = amount(request) if callable(amount) else amount
            if value is not None:
                context.declare_meter(name, value)

    return _decorator(demand)


def limit(
    limit: str,
    *,
    cost: Amount = 1,
    scope: str = "tenant",
    name: str | None = None,
    burst: int | None = None,
    algorithm: str | None = None,
) -> Callable[[View], View]:
    """`@limit("agent_spawns")`: an action of the catalog; `@limit("60/minute")`: written here.

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

        def demand(context: TenantContext) -> None:
            context.require(endpoint=request.endpoint, action=limit, cost=_number(cost))

        return _decorator(demand)
    inline = InlineLimit(limit, scope=scope, name=name, burst=burst, algorithm=algorithm)

    def demand_inline(context: TenantContext) -> None:
        inline.hit(context, request.endpoint or "unknown", _number(cost))

    return _decorator(demand_inline)


def feature(name: str) -> Callable[[View], View]:
    """`@feature("sso")`: only for plans that have it."""

    def demand(context: TenantContext) -> None:
        context.require(endpoint=request.endpoint, feature=name)

    return _decorator(demand)


requires_feature = feature


def _number(amount: Amount) -> int:
    return amount if isinstance(amount, int) else amount(request)


def _decorator(demand: Callable[[TenantContext], None]) -> Callable[[View], View]:
    def decorate(view: Any) -> Any:
        if inspect.iscoroutinefunction(view):

            @functools.wraps(view)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                demand(require_tenant())
                return await view(*args, **kwargs)

            return run_async

        @functools.wraps(view)
        def run(*args: Any, **kwargs: Any) -> Any:
            demand(require_tenant())
            return view(*args, **kwargs)

        return run

    return decorate


# ------------------------------------------------------------------------------- ready routes


def usage_blueprint(prefix: str = "/tenancy") -> Blueprint:
    """Read-only routes for the caller's own tenant: `GET {prefix}/usage` and
    `GET {prefix}/sessions`."""
    blueprint = Blueprint("tenancy", __name__, url_prefix=prefix)

    @blueprint.get("/usage")
    def usage() -> Response:
        return jsonify(usage_of(require_tenant()))

    @blueprint.get("/sessions")
    def sessions() -> Response:
        return jsonify(sessions_of(require_tenant(), request.args.get("cursor")))

    return blueprint
