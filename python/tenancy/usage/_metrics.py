"""The metrics that can be recorded: those of the catalog, and what its price books price."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .._text import listed, shown
from ..catalog import Catalog, Metric
from ..errors import UnknownMetric
from ..pricing import PriceBook

__all__ = ["Metrics"]


class Metrics:
    """Follows the catalog in force. Any thread."""

    def __init__(self) -> None:
        self._of: tuple[Catalog | None, Mapping[str, Metric]] = (None, {})

    def of(self, catalog: Catalog) -> Mapping[str, Metric]:
        """Every metric by name; what only a price book names is summed."""
        known, metrics = self._of
        if known is not catalog:
            metrics = {**{name: Metric(name) for name in _priced(catalog)}, **catalog.metrics}
            self._of = (catalog, metrics)
        return metrics

    def get(self, catalog: Catalog, name: str) -> Metric:
        metrics = self.of(catalog)
        found = metrics.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnknownMetric(f"no metric is named {shown(name)}", remedy=hint(name, metrics))
        return found


def hint(name: object, metrics: Mapping[str, Metric]) -> str:
    near = difflib.get_close_matches(str(name), metrics, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not metrics:
        return 'list it under "metrics" in the catalog'
    return f'one of {listed(metrics)}, or list it under "metrics" in the catalog'


def _priced(catalog: Catalog) -> set[str]:
    names: set[str] = set()
    seen: set[str] = set()
    for plan in catalog.plans.values():
        if plan.price_book is not None and plan.price_book not in seen:
            seen.add(plan.price_book)
            names.update(PriceBook.of_plan(catalog, plan.name))
    for book in catalog.price_books:
        if book not in seen:
            names.update(PriceBook.of_catalog(catalog, book))
    return names
