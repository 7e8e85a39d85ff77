"""Seller and buyer in the XML of EN 16931, and what its rules ask of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..billing import Party
from ..errors import InvalidValue
from ._xml import Element, optional

__all__ = ["buyer", "check_parties", "seller"]

_PREFIXES = {"GR": ("GR", "EL"), "GB": ("GB", "XI")}
"""Countries whose VAT identifiers begin otherwise than ISO 3166-1 says."""


def check_parties(seller: Party, buyer: Party, categories: Iterable[str]) -> None:
    """Raises `InvalidValue` for an identifier or a country that a rule asks for."""
    for field, party, rule in (("seller", seller, "BR-09"), ("buyer", buyer, "BR-11")):
        if not party.country:
            raise InvalidValue(f"{field}.country", f"EN 16931 asks for it ({rule})")
    if not (seller.tax_id.strip() or seller.registration.strip()):
        raise InvalidValue(
            "seller", "neither tax_id nor registration is given, EN 16931 asks for one (BR-CO-26)"
        )
    for category in categories:
        rule = f"BR-{'IC' if category == 'K' else category}-02"
        if category in ("S", "Z", "E", "AE") and not seller.tax_id.strip():
            raise InvalidValue("seller.tax_id", f"category {category} asks for it ({rule})")
        if category in ("K", "G") and not _is_vat(seller):
            raise InvalidValue(
                "seller.tax_id",
                f"category {category} asks for a VAT identifier ({rule})",
                remedy=f"with its country before it: {seller.country}…",
            )
        if category == "AE" and not (_is_vat(buyer) or buyer.registration.strip()):
            raise InvalidValue(
                "buyer.tax_id", f"reverse charge asks for it, or for a registration ({rule})"
            )
        if category == "K" and not _is_vat(buyer):
            raise InvalidValue(
                "buyer.tax_id", f"intra-community supply asks for a VAT identifier ({rule})"
            )


def seller(party: Party, outside: bool) -> Element:
    return _party(party, "Seller", outside)


def buyer(party: Party, outside: bool) -> Element:
    return _party(party, "Buyer", outside)


def _party(party: Party, role: Literal["Seller", "Buyer"], outside: bool) -> Element:
    """Outside the scope of tax there are no VAT identifiers (BR-O-02)."""
    vat = _is_vat(party) and not outside
    tax_id = party.tax_id.strip()
    # A seller needs an identifier of some kind (BR-CO-26); a local tax number is none by itself.
    own = tax_id if role == "Seller" and not vat and not party.registration.strip() else None
    scheme = "VA" if vat else "FC" if role == "Seller" else None
    return Element(
        f"ram:{role}TradeParty",
        optional("ram:ID", own),
        Element("ram:Name", party.name),
        Element("ram:SpecifiedLegalOrganization", Element("ram:ID", party.registration))
        if party.registration.strip()
        else None,
        Element("ram:DefinedTradeContact", Element("ram:PersonName", party.contact))
        if party.contact.strip()
        else None,
        Element(
            "ram:PostalTradeAddress",
            optional("ram:PostcodeCode", party.postcode),
            optional("ram:LineOne", party.street),
            optional("ram:CityName", party.city),
            Element("ram:CountryID", party.country),
            optional("ram:CountrySubDivisionName", party.region),
        ),
        Element("ram:URIUniversalCommunication", Element("ram:URIID", party.email, schemeID="EM"))
        if party.email.strip()
        else None,
        Element("ram:SpecifiedTaxRegistration", Element("ram:ID", tax_id, schemeID=scheme))
        if tax_id and scheme and not (outside and role == "Buyer")
        else None,
    )


def _is_vat(party: Party) -> bool:
    """Whether the tax identifier is one for VAT: its country stands before it (BR-CO-09)."""
    prefixes = _PREFIXES.get(party.country, (party.country,))
    return bool(party.country) and party.tax_id.strip().upper().startswith(prefixes)
