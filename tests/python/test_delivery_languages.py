"""Texts that are ours follow the language of a document; the seller's and codes do not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from document_support import line, make_credit_note, make_invoice
from einvoice_support import broken_rules
from tenancy.billing import TAX_REASONS
from tenancy.delivery import to_cii
from test_delivery_einvoice import values
from test_delivery_pages import both_show

D = Decimal


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", ("Reverse charge", "Export outside the EU", "Not subject to tax")),
        (
            "de",
            (
                "Steuerschuldnerschaft des Leistungsempfängers",
                "Ausfuhr aus der EU",
                "Nicht steuerbar",
            ),
        ),
        ("fr", ("Autoliquidation", "Exportation hors de l’UE", "Non soumis à la taxe")),
    ],
)
def test_our_reasons_follow_the_language(language: str, shown: tuple[str, ...]) -> None:
    assert tuple(TAX_REASONS) == ("AE", "G", "O")
    for category, text in zip(TAX_REASONS, shown, strict=True):
        one = line("3.00", tax_category=category, tax_rate=D(0))
        invoice = make_invoice(one, reasons=TAX_REASONS)
        both_show(invoice, text, language=language)
        both_show(make_credit_note(invoice), text, language=language)
        own = make_invoice(one, reasons={category: "Because § 3a says so"})
        both_show(own, "Because § 3a says so", language=language)


def test_texts_follow_the_language_and_codes_do_not() -> None:
    for category, code, german in (
        ("AE", "VATEX-EU-AE", "Steuerschuldnerschaft des Leistungsempfängers"),
        ("K", "VATEX-EU-IC", "Innergemeinschaftliche Leistung"),
        ("G", "VATEX-EU-G", "Ausfuhr aus der EU"),
        ("O", "VATEX-EU-O", "Nicht steuerbar"),
    ):
        one = line("30.00", tax_category=category, tax_rate=D(0))
        for reasons in (TAX_REASONS, {}):
            invoice = make_invoice(one, reasons=reasons, discount="1.00", credit="2.00")
            for language, told in (("de", [german]), ("en", None)):
                xml = to_cii(invoice, language=language)
                assert broken_rules(xml) == []
                assert values(xml, "BT-121") == [code]
                assert told is None or values(xml, "BT-120") == told
            assert values(to_cii(invoice, language="de"), "BT-139") == ["Rabatt", "Guthaben"]
        own = to_cii(make_invoice(one, reasons={category: "§ 13b"}), language="de")
        assert (values(own, "BT-120"), values(own, "BT-121")) == (["§ 13b"], [code])
