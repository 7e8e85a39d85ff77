"""What the seller decided and what is known of a buyer: values, and their form in the store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .._countries import COUNTRIES
from .._text import check_email, check_text, listed, shown
from ..billing import BillingRules, Party, TaxRate, TaxRules, TaxStatus
from ..errors import InvalidValue
from ..stores.tenant_rows import STATUSES
from ._checks import check_code, check_texts
from ._numbering import Numbering

__all__ = ["Account", "Settings", "check_country", "check_party"]

BILLED = ("active", "suspended")
"""Statuses whose time is billed, unless told otherwise: a trial is free, a suspension is not."""

_COUNTRY = re.compile("[A-Z]{2}")
_MISTAKEN = {"UK": "GB", "EL": "GR"}
"""Codes that are reserved or stand before tax numbers, and the country that is meant."""
_DUE_DAYS_MAX = 365


@dataclass(frozen=True)
class Settings:
    """The seller's side of every bill; see `Billing.configure`."""

    seller: Party
    tax: TaxRules | None = None
    rules: BillingRules = field(default_factory=BillingRules)
    numbering: str = "INV-{year}-{number:06d}"
    credit_notes: str = "CN-{year}-{number:06d}"
    due_days: int = 14
    billed: tuple[str, ...] = BILLED
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_party(self.seller, "seller")
        first, second = Numbering(self.numbering), Numbering(self.credit_notes)
        if first.template == second.template:
            raise InvalidValue("credit_notes", "they need a series of their own")
        days = self.due_days
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _DUE_DAYS_MAX:
            raise InvalidValue("due_days", f"{shown(days)}, expected 0 to {_DUE_DAYS_MAX}")
        for status in check_texts(self.billed, "billed"):
            if status not in STATUSES or status == "purged":
                raise InvalidValue("billed", shown(status), remedy=f"some of {listed(STATUSES)}")
        check_texts(self.notes, "notes", 1000)

    def to_value(self) -> dict[str, Any]:
        """For the store."""
        return {
            "seller": party_value(self.seller),
            "tax": None if self.tax is None else _tax_value(self.tax),
            "rules": asdict(self.rules),
            "numbering": self.numbering,
            "credit_notes": self.credit_notes,
            "due_days": self.due_days,
            "billed": list(self.billed),
            "notes": list(self.notes),
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Settings:
        return cls(
            seller=Party(**value["seller"]),
            tax=None if value["tax"] is None else _tax(value["tax"]),
            rules=BillingRules(**value["rules"]),
            numbering=value["numbering"],
            credit_notes=value["credit_notes"],
            due_days=value["due_days"],
            billed=tuple(value["billed"]),
            notes=tuple(value["notes"]),
        )


@dataclass(frozen=True)
class Account:
    """Who pays for a tenant, in which currency; see `Billing.account`."""

    party: Party
    currency: str
    exempt: str = ""
    """Why no tax is due from it, for the invoice; "" when it is."""

    def checked(self) -> Account:
        """Itself, when it is sound; what comes from the store was checked before it went there."""
        check_party(self.party, "party")
        check_country(self.party, "party")
        check_code(self.currency)
        if self.exempt:
            check_text(self.exempt, "exempt", 255)
        return self

    @property
    def tax_status(self) -> TaxStatus:
        return TaxStatus.of(self.party, self.exempt)

    def to_value(self) -> dict[str, Any]:
        return {
            "party": party_value(self.party),
            "currency": self.currency,
            "exempt": self.exempt,
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Account:
        return cls(Party(**value["party"]), value["currency"], value["exempt"])


def check_party(party: Any, name: str) -> Party:
    """A seller or buyer: its fields are texts, it has a country, an e-mail address is one."""
    if not isinstance(party, Party):
        remedy = 'tenancy.billing.Party("Acme GmbH", "DE")'
        raise InvalidValue(name, f"expected a Party, got {type(party).__name__}", remedy=remedy)
    check_text(party.name, f"{name}.name", 255)
    if not isinstance(party.country, str) or not _COUNTRY.fullmatch(party.country):
        what = f"expected two capital letters of ISO 3166-1, got {shown(party.country)}"
        raise InvalidValue(f"{name}.country", what)
    for member in fields(party):
        text = getattr(party, member.name)
        if not isinstance(text, str):
            raise InvalidValue(f"{name}.{member.name}", f"expected text, got {type(text).__name__}")
        if text:
            check_text(text, f"{name}.{member.name}", 255)
    if party.email:
        check_email(party.email, f"{name}.email")
    return party


def check_country(party: Party, name: str) -> None:
    """That its country exists; asked when it is given, so that what is in the store stays readable
    when a country ends."""
    if party.country not in COUNTRIES:
        meant = _MISTAKEN.get(party.country, "such as AT")
        raise InvalidValue(
            f"{name}.country", f"there is no country {shown(party.country)}", remedy=meant
        )


def party_value(party: Party) -> dict[str, str]:
    return {name: text for name, text in asdict(party).items() if text}


def _tax_value(tax: TaxRules) -> dict[str, Any]:
    rates: Sequence[dict[str, Any]] = [
        {**asdict(rate), "rate": f"{rate.rate:f}"} for rate in tax.rates
    ]
    return {
        "country": tax.country,
        "rates": rates,
        "inclusive": tax.inclusive,
        "products": dict(tax.products),
        "union": sorted(tax.union),
        "abroad": tax.abroad,
        "reasons": dict(tax.reasons),
    }


def _tax(value: Mapping[str, Any]) -> TaxRules:
    rest = {name: value[name] for name in ("inclusive", "products", "abroad", "reasons")}
    return TaxRules(
        value["country"],
        [TaxRate(**rate) for rate in value["rates"]],
        union=frozenset(value["union"]),
        **rest,
    )
