"""The choices in which billing systems differ; `tenancy.billing` exports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, get_args

from ..errors import InvalidValue
from ._numbers import one_of

__all__ = ["BillingRules", "RulesLike"]

VERSION: Final = "1"

Order = Literal[
    "minimum discount credit tax",
    "discount minimum credit tax",
    "minimum discount tax credit",
    "discount minimum tax credit",
]
RoundAt = Literal["line", "invoice"]
Rounding = Literal["half_up", "half_even", "half_down", "up", "down", "ceiling", "floor"]
Proration = Literal["book", "second", "day", "day_inclusive", "none"]
Stacking = Literal["sequential", "parallel"]
DiscountOrder = Literal["given", "percent_first", "fixed_first"]
DiscountWhen = Literal["service", "bill"]
CreditWhen = Literal["usage", "bill"]
TaxAt = Literal["rate", "line"]
Negative = Literal["credit", "zero", "refuse"]
ZeroLines = Literal["used", "all", "none"]


@dataclass(frozen=True, slots=True)
class BillingRules:
    """How a bill is put together. Each option is a choice that vendors make differently.

    `BillingRules.preset("stripe")` is a set of choices by the name of who makes them; options laid
    over it are `BillingRules.preset("stripe", round_at="invoice")`. docs/billing.md explains every
    option. Raises `InvalidValue` for an unknown option or value.
    """

    order: Order = "minimum discount credit tax"
    """What happens to the charges, in this order. `minimum` stands for both commitments."""
    round_at: RoundAt = "line"
    """Each line alone, or all of them so that they sum to the rounded exact sum."""
    rounding: Rounding = "half_up"
    """Half up is half away from zero."""
    proration: Proration = "book"
    """How fees count a part of a period; `book`: as the rules of each span's price book say."""
    proration_digits: int = -1
    """Digits to which the fraction of the period is rounded first, -1: not; of `book`: its own."""
    prorate_commitments: bool = True
    """Whether minimum and maximum of a span are reduced to its part of the period."""
    prorate_included: bool = False
    """Whether included units of a span are reduced to its part of the period."""
    stacking: Stacking = "sequential"
    """Whether a percentage is of what earlier discounts left, or of the charges."""
    discount_order: DiscountOrder = "given"
    discount_when: DiscountWhen = "service"
    """A time limit is compared with the start of each line's period, or with the bill's end."""
    credit_when: CreditWhen = "usage"
    """A credit's times are compared with when usage happened, or with the bill's end."""
    tax_at: TaxAt = "rate"
    """Where tax is rounded: on the sum of a rate, or on each line."""
    negative: Negative = "credit"
    """A total below zero: nothing is due and the rest is the tenant's; an adjustment lifts it to
    zero; or it is an error."""
    zero_lines: ZeroLines = "used"
    """Which lines of usage without an amount are shown: those with a quantity, all, none."""
    name: str = "default"
    """The preset that the options come from."""

    def __post_init__(self) -> None:
        for field, known in _KNOWN.items():
            one_of(getattr(self, field), known, f"rules.{field}")
        digits = self.proration_digits
        if isinstance(digits, bool) or not isinstance(digits, int) or not -1 <= digits <= 12:
            raise InvalidValue("rules.proration_digits", "expected 0 to 12, or -1 for all")
        for field in ("prorate_commitments", "prorate_included"):
            if not isinstance(getattr(self, field), bool):
                raise InvalidValue(f"rules.{field}", "expected True or False")

    @classmethod
    def preset(cls, name: str = "default", **options: Any) -> BillingRules:
        """The choices of a vendor by its name, with options laid over them."""
        one_of(name, tuple(_PRESETS), "rules")
        unknown = options.keys() - _NAMES
        if unknown:
            raise InvalidValue(
                f"rules.{min(unknown)}", "no such option", remedy=f"there are {', '.join(_NAMES)}"
            )
        return replace(_PRESETS[name], **options)

    @classmethod
    def of(cls, rules: RulesLike) -> BillingRules:
        """Rules as they are written: an object, a preset's name, or options by name, also over a
        preset: ``{"preset": "stripe", "round_at": "invoice"}``."""
        if isinstance(rules, BillingRules):
            return rules
        if isinstance(rules, str):
            return cls.preset(rules)
        if not isinstance(rules, Mapping):
            raise InvalidValue("rules", f"expected rules, got {type(rules).__name__}")
        options = dict(rules)
        return cls.preset(options.pop("preset", "default"), **options)

    @staticmethod
    def presets() -> dict[str, BillingRules]:
        """Every preset by its name."""
        return dict(_PRESETS)

    def __str__(self) -> str:
        """The version of the rules, the preset, and the options that differ from it."""
        return _shown(self)


@lru_cache(maxsize=256)
def _shown(rules: BillingRules) -> str:
    base = _PRESETS.get(rules.name, _PRESETS["default"])
    other = [
        f"{name}={getattr(rules, name)}"
        for name in _NAMES
        if getattr(rules, name) != getattr(base, name)
    ]
    return " ".join([VERSION, rules.name, *other])


RulesLike: TypeAlias = BillingRules | str | Mapping[str, Any]
"""What is taken for rules: see `BillingRules.of`."""

_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "order": get_args(Order),
    "round_at": get_args(RoundAt),
    "rounding": get_args(Rounding),
    "proration": get_args(Proration),
    "stacking": get_args(Stacking),
    "discount_order": get_args(DiscountOrder),
    "discount_when": get_args(DiscountWhen),
    "credit_when": get_args(CreditWhen),
    "tax_at": get_args(TaxAt),
    "negative": get_args(Negative),
    "zero_lines": get_args(ZeroLines),
}
_NAMES: Final = tuple(field.name for field in fields(BillingRules) if field.name != "name")

# Each preset differs from the default in what its row says; docs/billing.md names the sources.
_PRESETS: Final[Mapping[str, BillingRules]] = {
    "default": BillingRules(),
    "stripe": BillingRules(
        name="stripe",
        order="minimum discount tax credit",
        proration="second",
        discount_when="bill",
        credit_when="bill",
        tax_at="line",
    ),
    "lago": BillingRules(
        name="lago",
        order="minimum discount tax credit",
        proration="day",
        discount_when="bill",
        credit_when="bill",
    ),
    "openmeter": BillingRules(
        name="openmeter", order="discount minimum tax credit", proration="second"
    ),
    "killbill": BillingRules(
        name="killbill",
        order="minimum discount tax credit",
        proration="day",
        proration_digits=9,
        discount_when="bill",
        credit_when="bill",
    ),
}
