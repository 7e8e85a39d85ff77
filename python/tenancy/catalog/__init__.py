"""Catalogs: plans, features, quotas, limits and roles, read from YAML, JSON or Python objects.

>>> from tenancy.catalog import Catalog
>>> catalog = Catalog.load("agent-orchestrator")
>>> catalog.plans["starter"].quotas["users"].limit
5

A `Catalog` is immutable and was validated as a whole; what is wrong with a document is told all at
once, each problem with file, line and path, as `tenancy.errors.CatalogError`. The format is
described in docs/catalog.md and, for editors, in the JSON Schema that `schema()` returns.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from .. import _core
from ..errors import CatalogError, Problem, UnknownPlan
from . import _text
from ._files import Kind
from ._import import ImportedPlans, import_plans
from ._views import (
    AuditPolicy,
    AuditRule,
    BillingPolicy,
    Duty,
    Effective,
    Entitlements,
    Metering,
    Metric,
    Origin,
    Plan,
    Quota,
    QuotaGrant,
    RateLimit,
    Role,
    Window,
    audit_view,
    billing_view,
    entitlements_view,
    limit_view,
    plan_view,
    quota_view,
)

__all__ = [
    "AuditPolicy",
    "AuditRule",
    "BillingPolicy",
    "Catalog",
    "Duty",
    "Effective",
    "Entitlements",
    "ImportedPlans",
    "Metering",
    "Metric",
    "Origin",
    "Plan",
    "Quota",
    "QuotaGrant",
    "RateLimit",
    "Role",
    "Window",
    "import_plans",
    "schema",
    "shipped",
]

shipped = ("agent-orchestrator", "agent-platform", "spreadsheet-gateway", "stamping-service")
"""The catalogs that come with the package."""

_KIND = Kind("catalog", "catalogs", shipped)


class Catalog:
    """A validated catalog. Made by `load`, `from_text` or `from_dict`."""

    __slots__ = (
        "_json",
        "_native",
        "actions",
        "audit",
        "billing",
        "currency",
        "default_action",
        "default_plan",
        "duties",
        "features",
        "limits",
        "metering",
        "metrics",
        "name",
        "permissions",
        "plans",
        "price_books",
        "quotas",
        "roles",
        "source",
        "version",
    )

    _native: _core.Catalog
    _json: str
    name: str
    version: str
    source: str
    """The file or name it was loaded from."""
    currency: str
    default_plan: str | None
    """The plan of a tenant for whom none is named."""
    default_action: str | None
    """The action counted for a request that names none."""
    features: tuple[str, ...]
    actions: tuple[str, ...]
    permissions: tuple[str, ...]
    """The permissions it lists; empty when it lists none."""
    quotas: Mapping[str, Quota]
    plans: Mapping[str, Plan]
    roles: Mapping[str, Role]
    """The ready roles and its own."""
    duties: tuple[Duty, ...]
    limits: Mapping[str, RateLimit]
    """Limits outside plans."""
    metrics: Mapping[str, Metric]
    """Those it defines; what a price book prices can be metered without."""
    metering: Metering
    """Until when usage events are taken."""
    billing: BillingPolicy
    """By which periods tenants are billed, and when fees and new prices count."""
    price_books: tuple[str, ...]
    """Names of the price books it defines."""
    audit: AuditPolicy
    """Which facts of decisions go into the log."""

    def __init__(self) -> None:
        raise TypeError("make a catalog with Catalog.load, Catalog.from_text or Catalog.from_dict")

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Catalog) -> Catalog:
        """Read a shipped catalog by its name, or a YAML or (``.json``) JSON file by its path.

        Raises `CatalogError` when there is none, when it cannot be read, or when it is not valid.
        """
        if isinstance(source, Catalog):
            return source
        text, kind, name = _KIND.find(source)
        return cls.from_text(text, format=kind, source=name)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        format: Literal["yaml", "json"] = "yaml",  # noqa: A002 - the word users look for
        source: str = "catalog",
    ) -> Catalog:
        """Read YAML 1.2 or JSON. ``source`` stands before the line in messages."""
        return cls._judged(_KIND.read(text, format, source), source, lines=True)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, source: str = "catalog") -> Catalog:
        """Read a document of mappings, lists, str, int, bool and Decimal. Floats are refused."""
        return cls._judged(_text.from_objects(document), source, lines=False)

    @classmethod
    def _judged(cls, document: _text.Document, source: str, *, lines: bool) -> Catalog:
        core, text = _KIND.judge(document, _core.Catalog.parse, source, lines=lines)
        return cls._from_core(core, text, source)

    @classmethod
    def _from_core(cls, core: _core.Catalog, text: str, source: str) -> Catalog:
        self = object.__new__(cls)
        described = core.describe()
        self._native = core
        self._json = text
        self.source = source
        for name in (
            "name",
            "version",
            "currency",
            "default_plan",
            "default_action",
            "features",
            "actions",
            "permissions",
            "price_books",
        ):
            setattr(self, name, described[name])
        quotas, plans = described["quotas"], described["plans"]
        self.quotas = MappingProxyType({n: quota_view(n, q) for n, q in quotas.items()})
        self.plans = MappingProxyType({n: plan_view(n, p) for n, p in plans.items()})
        self.roles = MappingProxyType({n: Role(n, *r) for n, r in described["roles"].items()})
        self.duties = tuple(Duty(*duty) for duty in described["duties"])
        self.audit = audit_view(described["audit"])
        metrics = described["metrics"]
        self.metrics = MappingProxyType({n: Metric(n, **m) for n, m in metrics.items()})
        self.metering = Metering(*(length_ns / 1e9 for length_ns in described["metering"]))
        self.billing = billing_view(*described["billing"])
        rules = [limit_view(rule) for rule in described["limits"]]
        self.limits = MappingProxyType({rule.name: rule for rule in rules})
        return self

    @property
    def core(self) -> _core.Catalog:
        """What the engine takes."""
        return self._native

    def to_json(self) -> str:
        """The document as canonical JSON; `from_text` with ``format="json"`` reads it back."""
        return self._json

    def effective(self, plan: str, overrides: Mapping[str, Any] | None = None) -> Entitlements:
        """What a tenant on ``plan`` has with ``overrides``, each value with where it came from.

        Overrides are written like a plan: ``quotas``, ``rate_limits``, ``features``, ``isolation``
        and ``retention_days``. Raises `UnknownPlan`, and `CatalogError` for wrong overrides.
        """
        if plan not in self.plans:
            near = difflib.get_close_matches(str(plan), self.plans, 1)
            names = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(self.plans)}"
            raise UnknownPlan(f"catalog {self.name} has no plan {plan!r}", remedy=names)
        document = _text.from_objects({} if overrides is None else overrides)
        text = document.json()
        if document.problems:
            raise CatalogError("overrides", document.problems)
        result = self._native.effective(plan, text)
        if isinstance(result, list):
            raise CatalogError("overrides", [Problem(path, message) for path, message in result])
        return entitlements_view(result)

    def __repr__(self) -> str:
        plans = ", ".join(self.plans)
        return f"<Catalog {self.name} version {self.version}: {plans}>"

    def __eq__(self, other: object) -> bool:
        return self._json == other._json if isinstance(other, Catalog) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._json)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self._json, self.source)


def _restore(text: str, source: str) -> Catalog:
    return Catalog.from_text(text, format="json", source=source)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of catalog documents, for editors and other validators."""
    file = resources.files("tenancy") / "schemas" / "catalog.schema.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
