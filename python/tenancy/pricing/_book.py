"""Price books; `tenancy.pricing` exports them."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from .. import _core, catalog
from ..catalog import _text
from ..catalog._files import Kind
from ..errors import InvalidValue, NotFound, UnknownPlan
from ._prices import Number, Price, price_of_core

shipped = tuple(_core.shipped_price_books())
"""The price books that come with the package."""

_KIND = Kind("price book", "price_books", shipped)


@dataclass(frozen=True, slots=True)
class BookAmount:
    """What a price book comes to; the lines sum to the total exactly."""

    total: Decimal
    currency: str
    lines: tuple[tuple[str, Decimal], ...]
    """The charge of each metric, then ``seats``, ``base_fee``, ``minimum``, ``maximum``."""

    def __iter__(self) -> Iterator[tuple[str, Decimal]]:
        return iter(self.lines)


class PriceBook(Mapping[str, Price]):
    """The prices of several metrics, of seats and a base fee, in one currency.

    Made by `load`, `from_text`, `from_dict` or `of_plan`; a mapping of metrics to their prices.
    Immutable.
    """

    __slots__ = (
        "_json",
        "_native",
        "_prices",
        "base_fee",
        "currency",
        "maximum",
        "minimum",
        "name",
        "plan",
        "plans",
        "rules",
        "seats",
        "version",
    )

    _native: _core.PriceBook
    _json: str | None
    _prices: dict[str, Price]
    name: str
    version: str
    currency: str
    base_fee: Decimal
    minimum: Decimal | None
    maximum: Decimal | None
    seats: Price | None
    """The price of a seat."""
    rules: Mapping[str, str]
    plans: Mapping[str, Mapping[str, Decimal]]
    """Included units of the plans it names, by metric; `for_plan` applies them."""
    plan: str | None
    """The plan whose included units are applied."""

    def __init__(self) -> None:
        raise TypeError("make a price book with PriceBook.load, from_text, from_dict or of_plan")

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> PriceBook:
        """Read a shipped book by its name, or a YAML or (``.json``) JSON file by its path.

        Raises `CatalogError` when there is none or it is not valid.
        """
        text, kind, name = _KIND.find(source)
        return cls.from_text(text, format=kind, source=name)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        format: Literal["yaml", "json"] = "yaml",  # noqa: A002 - the word users look for
        source: str = "price book",
    ) -> PriceBook:
        """Read YAML 1.2 or JSON. ``source`` stands before the line in messages."""
        return cls._judged(_KIND.read(text, format, source), source, lines=True)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, source: str = "price book") -> PriceBook:
        """Read a document of mappings, lists, str, int, bool and Decimal. Floats are refused."""
        return cls._judged(_text.from_objects(document), source, lines=False)

    @classmethod
    def of_plan(cls, source: catalog.Catalog, plan: str) -> PriceBook:
        """The book that a plan of a catalog is billed by, with the plan's included units.

        Raises `UnknownPlan`, and `NotFound` when the plan names no book.
        """
        if plan not in source.plans:
            near = difflib.get_close_matches(str(plan), source.plans, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(source.plans)}"
            raise UnknownPlan(f"catalog {source.name} has no plan {plan!r}", remedy=hint)
        name = source.plans[plan].price_book
        if name is None:
            raise NotFound(f"plan {plan} names no price book", remedy='give it a "price_book"')
        book = cls.of_catalog(source, name)
        return book.for_plan(plan) if plan in book.plans else book

    @classmethod
    def of_catalog(cls, source: catalog.Catalog, name: str) -> PriceBook:
        """The book of that name that a catalog defines, else the shipped one."""
        native = _core.PriceBook.of_catalog(source.core, name)
        return cls.load(name) if native is None else cls._of_core(native, None)

    @classmethod
    def _judged(cls, document: _text.Document, source: str, *, lines: bool) -> PriceBook:
        core, text = _KIND.judge(document, _core.PriceBook.parse, source, lines=lines)
        return cls._of_core(core, text)

    @classmethod
    def _of_core(
        cls, core: _core.PriceBook, text: str | None, plan: str | None = None
    ) -> PriceBook:
        self = cls.__new__(cls)
        described = core.describe()
        self._native = core
        self._json = text
        self.plan = plan
        for name in ("name", "version", "currency", "base_fee", "minimum", "maximum"):
            setattr(self, name, described[name])
        self.rules = MappingProxyType(described["rules"])
        self._prices = {m: price_of_core(price) for m, price in described["metrics"].items()}
        self.seats = None if described["seats"] is None else price_of_core(described["seats"])
        self.plans = MappingProxyType(
            {plan: MappingProxyType(units) for plan, units in described["plans"].items()}
        )
        return self

    def __getitem__(self, metric: str) -> Price:
        try:
            return self._prices[metric]
        except KeyError:
            near = difflib.get_close_matches(str(metric), self._prices, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(self._prices)}"
            raise KeyError(f"price book {self.name} has no metric {metric!r}; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def for_plan(self, plan: str) -> PriceBook:
        """The same book with the units that it includes for a plan."""
        if plan not in self.plans:
            hint = f"it names {', '.join(self.plans)}" if self.plans else "it names none"
            raise UnknownPlan(f"price book {self.name} names no plan {plan!r}", remedy=hint)
        return self._of_core(self._native.for_plan(plan), self._json, plan)

    def amount(self, usage: Mapping[str, Number], seats: Number | None = None) -> Decimal:
        """What the usage of one period costs, by metric. A metric left out was not used."""
        return self._native.amount(dict(usage), seats)[0]

    def explain(self, usage: Mapping[str, Number], seats: Number | None = None) -> BookAmount:
        """The same, by charges. `book["metric"].explain(…)` goes on from there."""
        total, lines = self._native.amount(dict(usage), seats)
        return BookAmount(total, self.currency, tuple(lines))

    def amounts(self, usage: Mapping[str, Any], seats: Any = None) -> _core.Amounts:
        """The total of every row of a table: columns (arrays, series) by metric, and of seats.

        Raises `InvalidValue` for floats, missing values and columns of different lengths.
        """
        return self._native.amounts(dict(usage), seats)

    def __repr__(self) -> str:
        plan = "" if self.plan is None else f" for plan {self.plan}"
        return f"<PriceBook {self.name} version {self.version}{plan}: {', '.join(self._prices)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PriceBook):
            return NotImplemented
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("name", "version", "currency", "base_fee", "minimum", "maximum", "seats",
                         "rules", "plans", "_prices")
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.plan))

    def to_json(self) -> str:
        """The document as JSON text, from which `from_text(…, format="json")` makes the same book.

        Units that it includes for a plan are in the document for all plans, so that `for_plan` is
        to be called again. Raises `InvalidValue` for a book that is a member of a catalog.
        """
        if self._json is None:
            raise InvalidValue("price book", "one of a catalog is a part of its document")
        return self._json

    def __reduce__(self) -> tuple[object, ...]:
        if self._json is None:
            raise InvalidValue("price book", "one of a catalog is pickled with its catalog")
        return _restore, (self._json, self.plan)


def _restore(text: str, plan: str | None) -> PriceBook:
    book = PriceBook.from_text(text, format="json")
    return book if plan is None else book.for_plan(plan)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of price book documents; its parts are the catalog's."""
    whole = catalog.schema()
    definitions = whole["$defs"]
    book = json.loads(json.dumps(definitions["price_book"]))
    book["required"] = ["price_book", "currency", *book["required"]]
    book["properties"] = {
        "$schema": True,
        "price_book": {"$ref": "#/$defs/name", "description": "The name of the price book."},
        **book["properties"],
    }
    return {
        "$schema": whole["$schema"],
        "title": "tenancy price book, format 1",
        **book,
        "$defs": definitions,
    }
