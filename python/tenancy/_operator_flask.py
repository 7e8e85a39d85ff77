"""Operators' endpoints as a blueprint of Flask; see `tenancy.operator_routes`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from ._operator_routes import (
    PERMISSION,
    REASON_HEADER,
    OperatorRoutes,
    Question,
    body_of,
    headers_of,
)
from .context import current_tenant

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def operator_blueprint(
    tenancy: Any,
    *,
    tenant: str,
    permission: str = PERMISSION,
    reason_header: str = REASON_HEADER,
    prefix: str = "/operator",
) -> Blueprint:
    """`app.register_blueprint(operator_blueprint(t, tenant="operators"))`, with `TenancyFlask`.

    Every path below the prefix is its own: whoever is no operator gets the same answer from all.
    """
    routes = OperatorRoutes(
        tenancy, tenant=tenant, permission=permission, reason_header=reason_header
    )
    blueprint = Blueprint("tenancy_operators", __name__, url_prefix=prefix)

    def answer(rest: str = "") -> Response:
        question = Question(
            request.method,
            "/" + rest,
            request.query_string.decode("latin-1"),
            request.headers.get(routes.reason_header),
        )
        reply = routes.answer(current_tenant(), question)
        return Response(body_of(reply), reply.status, headers_of(reply))

    for rule in ("/", "/<path:rest>"):
        blueprint.add_url_rule(
            rule, "operator", answer, methods=_METHODS, provide_automatic_options=False
        )
    return blueprint
