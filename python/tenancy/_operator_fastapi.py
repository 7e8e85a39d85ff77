"""Operators' endpoints as a router of FastAPI; see `tenancy.operator_routes`."""

# Annotations are values here: FastAPI resolves them on functions made in a loop.

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ._operator_routes import (
    DOCUMENTED,
    PERMISSION,
    REASON_HEADER,
    OperatorRoutes,
    Question,
    body_of,
    headers_of,
)
from .context import current_tenant

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def operator_router(
    tenancy: Any,
    *,
    tenant: str,
    permission: str = PERMISSION,
    reason_header: str = REASON_HEADER,
    prefix: str = "/operator",
) -> APIRouter:
    """`app.include_router(operator_router(t, tenant="operators"))`, below `TenancyMiddleware`.

    Every path below the prefix is its own: whoever is no operator gets the same answer from all.
    """
    routes = OperatorRoutes(
        tenancy, tenant=tenant, permission=permission, reason_header=reason_header
    )
    router = APIRouter(prefix=prefix, tags=["tenancy operators"])
    for template, summary in DOCUMENTED.items():
        router.add_api_route(
            template,
            _endpoint(routes, template),
            methods=["GET"],
            summary=summary,
            name=f"operator {template}",
            response_class=Response,
        )
    router.add_api_route("/{rest:path}", _rest(routes), methods=_METHODS, include_in_schema=False)
    return router


# Not coroutines: they read the store, and FastAPI runs them on a thread, context and all.


def _endpoint(routes: OperatorRoutes, template: str) -> Callable[..., Response]:
    if "{tenant}" in template:

        def of_tenant(request: Request, tenant: str) -> Response:
            return _respond(routes, request, template.replace("{tenant}", tenant))

        return of_tenant
    if "{event}" in template:

        def of_event(request: Request, event: str) -> Response:
            return _respond(routes, request, template.replace("{event}", event))

        return of_event

    def of_all(request: Request) -> Response:
        return _respond(routes, request, template)

    return of_all


def _rest(routes: OperatorRoutes) -> Callable[..., Response]:
    def rest(request: Request) -> Response:
        return _respond(routes, request, "/" + str(request.path_params["rest"]))

    return rest


def _respond(routes: OperatorRoutes, request: Request, path: str) -> Response:
    question = Question(
        request.method, path, request.url.query, request.headers.get(routes.reason_header)
    )
    reply = routes.answer(current_tenant(), question)
    return Response(body_of(reply), reply.status, headers_of(reply))
