"""Tenants, plans, limits, quotas and permissions of a web service, decided by one native call.

>>> from tenancy import Tenancy
>>> t = Tenancy.open("./tenancy-data", catalog="agent-orchestrator")
>>> acme = t.tenants.create(name="Acme", slug="acme", plan="starter")
>>> key, secret = t.keys.create(acme, scopes=["agent:*"])
>>> if t.check(api_key=secret, permission="agent:create", action="agent_spawns"):
...     ...

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Decision, Identity
    from .app import Tenancy
    from .catalog import Catalog
    from .context import TenantContext, bind, current_tenant, require_tenant
    from .errors import Reason, TenancyError

__all__ = [
    "Catalog",
    "Decision",
    "Identity",
    "Reason",
    "Tenancy",
    "TenancyError",
    "TenantContext",
    "bind",
    "current_tenant",
    "errors",
    "require_tenant",
]

_HOMES = {
    "Catalog": "catalog",
    "Decision": "_core",
    "Identity": "_core",
    "Reason": "errors",
    "Tenancy": "app",
    "TenancyError": "errors",
    "TenantContext": "context",
    "bind": "context",
    "current_tenant": "context",
    "require_tenant": "context",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(".errors", __name__)
    if name == "__version__":
        return import_module("._core", __name__).__version__
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
