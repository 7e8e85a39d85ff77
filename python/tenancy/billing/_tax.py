"""Which tax is due on what: rates by place and product; `tenancy.billing` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from .._text import shown
from ..errors import InvalidValue
from ..pricing import Number
from ._documents import Party, TaxCategory
from ._numbers import assign, exact, one_of, several
from ._offers import Charge

__all__ = ["EU", "TAX_REASONS", "TaxRate", "TaxRules", "TaxStatus"]

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU: Final = frozenset(_EU.split())
"""The member states of the European Union (ISO 3166-1; Greece is GR, its VAT numbers begin EL)."""


@dataclass(frozen=True, slots=True)
class TaxRate:
    """The rate of a place, in percent. `region` "" is the whole country."""

    country: str
    rate: Decimal
    name: str = "Tax"
    region: str = ""
    product: str = "standard"
    """The class of products it is for, see `TaxRules.products`."""

    def __init__(
        self,
        country: str,
        rate: Number,
        name: str = "Tax",
        region: str = "",
        product: str = "standard",
    ) -> None:
        number = exact(rate, "tax.rate", least=0)
        if number > 1000:
            raise InvalidValue("tax.rate", f"{number:f} percent", remedy="19 means 19 percent")
        assign(
            self,
            country=country_code(country, "tax.country"),
            rate=number,
            name=name,
            region=region,
            product=product,
        )


@dataclass(frozen=True, slots=True)
class TaxStatus:
    """What tax depends on at the buyer's side."""

    country: str
    region: str = ""
    tax_id: str = ""
    """A tax number that was checked: with it a business is meant."""
    exempt: str = ""
    """Why the buyer pays no tax; "" when it does."""

    def __post_init__(self) -> None:
        country_code(self.country, "buyer.country")

    @classmethod
    def of(cls, buyer: Party, exempt: str = "") -> TaxStatus:
        """The status of a party of an invoice."""
        return cls(buyer.country, buyer.region, buyer.tax_id, exempt)


class Due(NamedTuple):
    """The tax on one line."""

    category: TaxCategory
    rate: Decimal
    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TaxRules:
    """The seller's side: where it is, the rates it charges, and whether prices include tax.

    For each line the first of these that fits: the buyer is exempt (E); it is a business in another
    country of `union` (AE, reverse charge); a rate of its region and country for the line's product
    (S, or Z where the rate is 0); it is in a country without any rate, then `abroad` says what
    holds (G export, O outside the scope of tax, or `refuse`: an error). A country that has rates
    but none for the product is an error.
    """

    country: str
    rates: tuple[TaxRate, ...]
    inclusive: bool = False
    """Whether prices have the tax in them."""
    products: Mapping[str, str] = field(default_factory=dict)
    """The product class of a metric, or of a kind of line such as ``seats``; the rest is
    ``standard``."""
    union: frozenset[str] = EU
    """Countries between which a business buyer owes the tax itself; empty: nowhere."""
    abroad: Literal["O", "G", "refuse"] = "O"
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Texts for the invoice by category, instead of ours (`TAX_REASONS`); never translated."""

    def __init__(
        self,
        country: str,
        rates: Sequence[TaxRate],
        *,
        inclusive: bool = False,
        products: Mapping[str, str] | None = None,
        union: frozenset[str] = EU,
        abroad: Literal["O", "G", "refuse"] = "O",
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        rates = several(rates, TaxRate, "tax.rates")
        seen: set[tuple[str, str, str]] = set()
        for rate in rates:
            key = (rate.country, rate.region, rate.product)
            if key in seen:
                place = f"{rate.country} {rate.region}".strip()
                raise InvalidValue("tax.rates", f"two rates of {place} for {rate.product}")
            seen.add(key)
        one_of(abroad, ("O", "G", "refuse"), "tax.abroad")
        assign(
            self,
            country=country_code(country, "tax.country"),
            rates=rates,
            inclusive=bool(inclusive),
            products=dict(products or {}),
            union=frozenset(union),
            abroad=abroad,
            reasons=dict(reasons or {}),
        )

    def product_of(self, line: Charge) -> str:
        """The product class of a line."""
        products = self.products
        if not products:
            return "standard"
        found = products.get(line.metric) if line.metric is not None else None
        return found or products.get(line.kind, "standard")

    def due(self, product: str, buyer: TaxStatus) -> Due:
        """The tax on a product class for a buyer; `InvalidValue` where nothing says."""
        if buyer.exempt:
            return Due("E", _NONE, "", self.reasons.get("E", buyer.exempt))
        in_union = self.country in self.union and buyer.country in self.union
        if in_union and buyer.country != self.country and buyer.tax_id:
            return Due("AE", _NONE, "", self._reason("AE"))
        in_country = [rate for rate in self.rates if rate.country == buyer.country]
        for region in dict.fromkeys((buyer.region, "")):
            for rate in in_country:
                if rate.region == region and rate.product == product:
                    return Due("S" if rate.rate else "Z", rate.rate, rate.name)
        if in_country or self.abroad == "refuse" or buyer.country == self.country or in_union:
            place = f"{buyer.country} {buyer.region}".strip()
            raise InvalidValue(
                "tax.rates",
                f"there is no rate of {place} for {product}",
                remedy="add a TaxRate; a rate of 0 is one too",
            )
        return Due(self.abroad, _NONE, "", self._reason(self.abroad))

    def _reason(self, category: str) -> str:
        return self.reasons.get(category, TAX_REASONS[category])


TAX_REASONS: Final[Mapping[str, str]] = {
    "AE": "Reverse charge",
    "G": "Export outside the EU",
    "O": "Not subject to tax",
}
"""Our texts by category. They stand in bills; pages and e-invoices say the same in their language
(`tenancy.delivery`)."""

NO_RULES: Final = Due("O", Decimal(0), "", TAX_REASONS["O"])

_NONE: Final = Decimal(0)


def country_code(country: str, name: str) -> str:
    if not (isinstance(country, str) and len(country) == 2 and country.isascii()):
        raise InvalidValue(name, f"expected two letters of ISO 3166-1, got {shown(country)}")
    if not country.isalpha() or not country.isupper():
        raise InvalidValue(name, f"expected two capital letters, got {shown(country)}")
    return country
