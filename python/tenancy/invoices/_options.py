"""What a catalog says of billing, as a fact: since when periods are which, and fees in advance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..catalog import Catalog
from ..stores.billing_rows import Fact
from ..stores.periods import billing_unit

__all__ = ["CATALOG", "Options", "options_of", "options_value"]

CATALOG = "catalog"
"""The kind of the seller's facts that have it."""


@dataclass(frozen=True)
class Options:
    """See `tenancy.catalog.BillingPolicy`."""

    anchored: bool = True
    in_advance: bool = False
    at_once: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    """By plan, what its periods are; months where it is not named."""

    def unit(self, plan: str) -> str:
        return self.units.get(plan, "month")


def options_value(catalog: Catalog) -> dict[str, Any]:
    """For the store: what differs from what holds without a word."""
    policy = catalog.billing
    units = {plan: billing_unit(catalog, plan) for plan in catalog.plans}
    value = {
        "anchored": policy.anchor == "subscription",
        "in_advance": policy.fees == "in_advance",
        "at_once": policy.price_changes == "at_once",
        "units": {plan: unit for plan, unit in units.items() if unit != "month"},
    }
    usual = {"anchored": True, "in_advance": False, "at_once": False, "units": {}}
    return {name: what for name, what in value.items() if what != usual[name]}


def options_of(seller: Sequence[Fact]) -> list[tuple[int, Options]]:
    """Since when which options hold; what came first holds before it as well."""
    found = [(fact.since_ns, _options(fact.value)) for fact in seller if fact.kind == CATALOG]
    return found or [(0, _USUAL)]


@lru_cache(maxsize=64)
def _options(text: str) -> Options:
    return Options(**json.loads(text))


_USUAL = Options()
