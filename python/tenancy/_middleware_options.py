"""The options of the middlewares as keyword arguments, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from .resolve import ClientCertificates, Identify, JWTConfig

__all__ = ["MiddlewareOptions"]


class MiddlewareOptions(TypedDict, total=False):
    """The members of `tenancy.resolve.Options`, where each is described."""

    api_key_header: str | None
    authorization: bool
    tenant_header: str | None
    user_header: str | None
    session_header: str | None
    idempotency_header: str | None
    request_id_header: str | None
    query_parameter: str | None
    path: str | None
    base_domain: str | None
    subdomain: str
    ignored_subdomains: Sequence[str]
    jwt: JWTConfig | None
    client_certificates: ClientCertificates | None
    identify: Identify | None
    trusted_proxies: Sequence[str]
    trust_hints: bool
    anonymous: Sequence[str]
    exempt: Sequence[str]
    require_tenant: bool
    cost: int | Callable[[str, str], int]
    limit_headers: bool
    tenant_response_header: str | None
    session_response_header: str | None
