"""The price models; `tenancy.pricing` exports them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from .. import _core
from ..errors import InvalidValue, raise_core

Number: TypeAlias = int | str | Decimal
"""What goes in as a number. A float is refused."""

Rules: TypeAlias = str | Mapping[str, str | int]
"""The name of a preset (``"stripe"``), or options by name, also over a preset:
``{"preset": "stripe", "zero_usage": "free"}``. `presets` has every option with its value."""

_NONE = Decimal(0)


def presets() -> dict[str, dict[str, str | int]]:
    """Every preset of rules with all its options.

    ``default``, and ``stripe``, ``lago``, ``openmeter``, ``killbill``, which reproduce what these
    systems document; docs/pricing.md explains each option and names the sources.
    """
    found: dict[str, dict[str, str | int]] = {}
    for name, options in _core.price_rules().items():
        digits = options.pop("proration_digits")
        found[name] = {**options, "proration_digits": int(digits)}
    return found


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier: quantities up to and including `up_to`, counted from zero over all tiers.

    `unit` is the price of each unit, or of each `package` of units; `flat` is due once, when the
    tier is reached. In a percentage `unit` is the rate in percent. ``up_to=None`` is the open end.
    """

    up_to: Decimal | None
    unit: Decimal = _NONE
    flat: Decimal = _NONE
    package: Decimal = Decimal(1)

    def __init__(
        self, up_to: Number | None, unit: Number = 0, flat: Number = 0, package: Number = 1
    ) -> None:
        exact = _core.exact
        object.__setattr__(self, "up_to", None if up_to is None else exact(up_to, "up_to"))
        object.__setattr__(self, "unit", exact(unit, "unit"))
        object.__setattr__(self, "flat", exact(flat, "flat"))
        object.__setattr__(self, "package", exact(package, "package"))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an explanation."""

    kind: str
    """``usage``, ``flat``, ``included``, ``base_fee``, ``fixed``, ``minimum``, ``maximum``,
    ``rounding``."""
    tier: int | None
    """From 1; ``None`` where no tier is meant."""
    quantity: Decimal
    unit: Decimal
    packages: Decimal | None
    """How many packages were sold; ``None`` where the tier sells single units."""
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Explanation:
    """An amount, line by line; the lines sum to it exactly."""

    quantity: Decimal
    amount: Decimal
    currency: str | None
    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __str__(self) -> str:
        rows = [
            (
                line.kind if line.tier is None else f"{line.kind}, tier {line.tier}",
                f"{line.quantity:f} x {line.unit:f}"
                if line.packages is None
                else f"{line.quantity:f} in {line.packages:f} packages x {line.unit:f}",
                f"{line.amount:f}",
            )
            for line in self.lines
        ]
        rows.append(("total", "", f"{self.amount:f} {self.currency or ''}".rstrip()))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


class Price(_core.PriceCore):
    """What a quantity of one metric costs. Made by the classes of the models, or by `from_dict`.

    All of them take, as keywords:

    ``included``
        units that cost nothing (of a percentage: the volume); ``rules["tiers_count"]`` says whether
        tiers count them
    ``base_fee``
        due in any case
    ``minimum``, ``maximum``
        the amount is raised to the one and cut to the other; ``rules["commitment"]`` says whether
        the base fee counts towards them
    ``currency``
        ISO 4217; needed where the rules round before the invoice
    ``rules``
        a preset or options, see `presets`

    Immutable, hashable and picklable. Raises `InvalidValue`, which names every member that is
    wrong.
    """

    __slots__ = ("_view",)

    _models: ClassVar[dict[str, type[Price]]] = {}
    _view: Mapping[str, Any]

    def __init__(self) -> None:
        raise TypeError("make a price with PerUnit, Graduated, Volume, … or Price.from_dict")

    @classmethod
    def from_dict(cls, document: Mapping[str, Any] | Number) -> Price:
        """A price as a price book writes it: ``{"model": "graduated", "tiers": [...]}``."""
        return _restore(json.dumps(_plain(document, "price")))

    def _start(self, model: str, members: dict[str, Any], options: dict[str, Any]) -> None:
        document = {"model": model, **members}
        document |= {name: value for name, value in options.items() if value is not None}
        self._read(json.dumps(_plain(document, "price")))

    def _read(self, text: str) -> None:
        try:
            problems = self._open(text)
        except _core.CoreError as error:
            raise_core(error, field="price")
        if problems:
            first = problems[0][0] or "price"
            rest = [f"{path}: {message}" if path else message for path, message in problems[1:]]
            raise InvalidValue(first, "; ".join([problems[0][1], *rest]))

    def _described(self) -> Mapping[str, Any]:
        try:
            return self._view
        except AttributeError:
            self._view = MappingProxyType(self._describe())
            return self._view

    @property
    def model(self) -> str:
        """``per_unit``, ``graduated``, ``volume``, ``package``, ``stairstep``, ``percentage`` or
        ``graduated_percentage``."""
        return str(self._described()["model"])

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Its tiers; one for models without tiers. Units of percentages are percent."""
        return tuple(Tier(*tier) for tier in self._described()["tiers"])

    @property
    def included(self) -> Decimal:
        """Units that cost nothing."""
        return Decimal(self._described()["included"])

    @property
    def base_fee(self) -> Decimal:
        """Due in any case."""
        return Decimal(self._described()["base_fee"])

    @property
    def minimum(self) -> Decimal | None:
        """The least that is due."""
        found: Decimal | None = self._described()["minimum"]
        return found

    @property
    def maximum(self) -> Decimal | None:
        """The most that is due."""
        found: Decimal | None = self._described()["maximum"]
        return found

    @property
    def currency(self) -> str | None:
        """ISO 4217, where one was given."""
        found: str | None = self._described()["currency"]
        return found

    @property
    def rules(self) -> Mapping[str, str]:
        """Every option of the rules with its value."""
        found: Mapping[str, str] = MappingProxyType(self._described()["rules"])
        return found

    def explain(self, quantity: Number) -> Explanation:
        """Where the amount of `quantity` comes from: tier by tier, then fees, limits, rounding."""
        lines = tuple(Line(*line) for line in self._explain(quantity))
        exact = _core.exact(quantity, "quantity")
        return Explanation(exact, self.amount(quantity), self.currency, lines)

    def marginal(self, quantity: Number, step: Number = 1) -> Decimal:
        """What `step` more units cost after `quantity`. Volume prices may give less than zero."""
        return self.amount(step, after=quantity)

    def quantity_for(self, budget: Number, step: Number = 1) -> Decimal:
        """The most usage that `budget` pays for, in whole `step`; ``Decimal("Infinity")`` when
        there is no most.

        Under volume prices a smaller quantity may cost more than the answer does. Raises
        `InvalidValue` when the budget does not even pay for no usage.
        """
        found = self._quantity_for(budget, step)
        return Decimal("Infinity") if found is None else found

    def to_dict(self) -> dict[str, Any]:
        """The document that `from_dict` reads back, with every rule spelled out."""
        return _document_of(self._described())

    def _text(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    def __repr__(self) -> str:
        tiers = ", ".join(map(_tier_text, self.tiers))
        return f"<{type(self).__name__} {tiers}{f' {self.currency}' if self.currency else ''}>"

    def __eq__(self, other: object) -> bool:
        return self._text() == other._text() if isinstance(other, Price) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text())

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self._text(),)

    def __init_subclass__(cls, model: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if model:
            Price._models[model] = cls


def price_of_core(core: _core.PriceCore) -> Price:
    """The same price as an object of the class that fits its model."""
    view = core._describe()
    cls = Price._models[view["model"]]
    price = cls.__new__(cls)
    price._adopt(core)
    price._view = MappingProxyType(view)
    return price


def _restore(text: str) -> Price:
    price = Price.__new__(Price)
    price._read(text)
    return price_of_core(price)


def _tier_text(tier: Tier) -> str:
    parts = [] if tier.up_to is None else [f"to {tier.up_to:f}"]
    parts += [f"{tier.unit:f}"] if tier.unit or not tier.flat else []
    parts += [f"flat {tier.flat:f}"] if tier.flat else []
    return " ".join(parts) + (f" per {tier.package:f}" if tier.package != 1 else "")


def _document_of(view: Mapping[str, Any]) -> dict[str, Any]:
    """The members that make this price again."""
    model = view["model"]
    document: dict[str, Any] = {"model": model, "rules": dict(view["rules"])}
    document["rules"]["proration_digits"] = int(document["rules"]["proration_digits"])
    unit = "rate" if model in ("percentage", "graduated_percentage") else "unit"
    tiers = [_tier_document(Tier(*tier), model) for tier in view["tiers"]]
    if model in ("per_unit", "package", "percentage"):
        document[unit] = tiers[0][unit]
        if model != "percentage":
            document["package"] = tiers[0].get("package", "1")
    else:
        document["tiers"] = tiers
    names = ["included", "base_fee", "minimum", "maximum", "currency"]
    if model == "percentage":
        names += ["fixed", "minimum_per_event", "maximum_per_event"]
        document["free_events"] = view["free_events"]
    for name in names:
        value = view[name]
        if value is not None:
            document[name] = value if isinstance(value, str) else f"{value:f}"
    return document


def _tier_document(tier: Tier, model: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if tier.up_to is not None:
        document["up_to"] = f"{tier.up_to:f}"
    if model in ("percentage", "graduated_percentage"):
        document["rate"] = f"{tier.unit:f}"
    elif model != "stairstep":
        document["unit"] = f"{tier.unit:f}"
    elif tier.unit:
        raise InvalidValue(
            "unit", "a stairstep has flat prices only", remedy="use Volume for prices per unit"
        )
    document["flat"] = f"{tier.flat:f}"
    if tier.package != 1:
        document["package"] = f"{tier.package:f}"
    return document


def _plain(value: Any, path: str) -> Any:
    """The value as JSON: numbers as their digits, floats refused."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    return f"{_core.exact(value, path):f}"


def _tiers(tiers: Any, model: str) -> list[dict[str, Any]]:
    if isinstance(tiers, str | bytes) or not isinstance(tiers, Iterable):
        raise InvalidValue("tiers", f"expected a list of Tier, got {type(tiers).__name__}")
    found = []
    for i, tier in enumerate(tiers):
        if not isinstance(tier, Tier):
            raise InvalidValue(f"tiers[{i}]", f"expected a Tier, got {type(tier).__name__}")
        found.append(_tier_document(tier, model))
    return found


def _options(
    included: Number,
    base_fee: Number,
    minimum: Number | None,
    maximum: Number | None,
    currency: str | None,
    rules: Rules | None,
) -> dict[str, Any]:
    return {
        "included": included,
        "base_fee": base_fee,
        "minimum": minimum,
        "maximum": maximum,
        "currency": currency,
        "rules": rules,
    }


class PerUnit(Price, model="per_unit"):
    """Each unit at one price.

    >>> PerUnit("0.0001", included=1000).amount(25_000)
    Decimal('2.4')
    """

    __slots__ = ()

    def __init__(
        self,
        unit: Number,
        *,
        included: Number = 0,
        base_fee: Number = 0,
        minimum: Number | None = None,
        maximum: Number | None = None,
        currency: str | None = None,
        rules: Rules | None = None,
    ) -> None:
        options = _options(included, base_fee, minimum, maximum, currency, rules)
        self._start("per_unit", {"unit": unit}, options)


class _Tiered(Price):
    __slots__ = ()
    _model: ClassVar[str]

    def __init__(
        self,
        tiers: Iterable[Tier],
        *,
        included: Number = 0,
        base_fee: Number = 0,
        minimum: Number | None = None,
        maximum: Number | None = None,
        currency: str | None = None,
        rules: Rules | None = None,
    ) -> None:
        options = _options(included, base_fee, minimum, maximum, currency, rules)
        self._start(self._model, {"tiers": _tiers(tiers, self._model)}, options)


class Graduated(_Tiered, model="graduated"):
    """Each unit at the price of the tier it falls into.

    >>> Graduated([Tier(5, 7), Tier(10, "6.5"), Tier(None, 6)]).amount(6)
    Decimal('41.5')
    """

    __slots__ = ()
    _model = "graduated"


class Volume(_Tiered, model="volume"):
    """All units at the price of the tier that the total reaches.

    >>> Volume([Tier(5, 7), Tier(10, "6.5"), Tier(None, 6)]).amount(6)
    Decimal('39')
    """

    __slots__ = ()
    _model = "volume"


class Stairstep(_Tiered, model="stairstep"):
    """The flat price of the tier that the total reaches.

    >>> Stairstep([Tier(10_000, flat=10), Tier(None, flat=80)]).amount(10_001)
    Decimal('80')
    """

    __slots__ = ()
    _model = "stairstep"


class Package(Price, model="package"):
    """Every started package of `package` units at one price.

    >>> Package(5, package=100, included=100).amount(201)
    Decimal('10')
    """

    __slots__ = ()

    def __init__(
        self,
        unit: Number,
        package: Number,
        *,
        included: Number = 0,
        base_fee: Number = 0,
        minimum: Number | None = None,
        maximum: Number | None = None,
        currency: str | None = None,
        rules: Rules | None = None,
    ) -> None:
        options = _options(included, base_fee, minimum, maximum, currency, rules)
        self._start("package", {"unit": unit, "package": package}, options)


class Percentage(Price, model="percentage"):
    """A share of a volume of money, and a fee for each event.

    `rate` is in percent. `fixed` is due for every event that is not free. `included` is volume
    that is free, `free_events` are the first events; where both are given, the first one that is
    used up ends it. `minimum_per_event` and `maximum_per_event` bound what one event costs.

    ``amount(volume)`` prices one event; ``amount(volume, events=n)`` so many, where their sizes do
    not matter; ``amount_of_events([...])`` each by itself, in their order.

    >>> Percentage("2.9", fixed="0.30").amount("50")
    Decimal('1.75')
    """

    __slots__ = ()

    def __init__(
        self,
        rate: Number,
        fixed: Number = 0,
        *,
        free_events: int = 0,
        minimum_per_event: Number | None = None,
        maximum_per_event: Number | None = None,
        included: Number = 0,
        base_fee: Number = 0,
        minimum: Number | None = None,
        maximum: Number | None = None,
        currency: str | None = None,
        rules: Rules | None = None,
    ) -> None:
        options = _options(included, base_fee, minimum, maximum, currency, rules)
        options["minimum_per_event"] = minimum_per_event
        options["maximum_per_event"] = maximum_per_event
        members = {"rate": rate, "fixed": fixed, "free_events": free_events}
        self._start("percentage", members, options)


class GraduatedPercentage(_Tiered, model="graduated_percentage"):
    """A share of a volume of money that changes with the volume; `Tier.unit` is in percent.

    >>> GraduatedPercentage([Tier(1000, 1, flat=200), Tier(None, 2, flat=300)]).amount(500)
    Decimal('205')
    """

    __slots__ = ()
    _model = "graduated_percentage"
