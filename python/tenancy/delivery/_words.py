"""The words of a document in the languages it can be written in, and how each writes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from .._text import shown
from ..billing import TAX_REASONS
from ..errors import InvalidValue

__all__ = ["LANGUAGES", "Language", "language_of"]


@dataclass(frozen=True, slots=True)
class Language:
    """Labels by name, and the marks of numbers and dates."""

    code: str
    group: str
    point: str
    date_form: str
    words: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.words[name]

    def number(self, value: Decimal, digits: int = 0) -> str:
        """All digits that there are, and at least `digits` after the point."""
        whole, _, part = f"{abs(value):f}".partition(".")
        part = part.rstrip("0").ljust(digits, "0")
        grouped = f"{int(whole):,}".replace(",", self.group)
        sign = "-" if value < 0 else ""
        return f"{sign}{grouped}{self.point}{part}" if part else f"{sign}{grouped}"

    def tax_reason(self, category: str, told: str) -> str:
        """Why no tax is due. What the bill says of it, if it was the seller's text; ours in this
        language."""
        return self.words[f"reason_{category}"] if told == TAX_REASONS.get(category) else told

    def day(self, value: date) -> str:
        # Not strftime: it follows the locale of the process, and does not pad years everywhere.
        return self.date_form.format(y=value.year, m=value.month, d=value.day)

    def days(self, first: date, last: date) -> str:
        return self.day(first) if first == last else f"{self.day(first)} – {self.day(last)}"


_EN = {
    "invoice": "Invoice",
    "credit_note": "Credit note",
    "number": "Number",
    "issued": "Date of issue",
    "due": "Payable by",
    "period": "Period of service",
    "reference": "Your reference",
    "of_invoice": "For invoice",
    "from": "From",
    "to": "Bill to",
    "tax_id": "VAT ID",
    "registration": "Register no.",
    "description": "Description",
    "quantity": "Quantity",
    "price": "Unit price",
    "rate": "Tax",
    "amount_in": "Amount {currency}",
    "net_in": "Net {currency}",
    "tier": "Tier {tier}",
    "usage": "Usage",
    "flat": "Flat fee",
    "included": "Included",
    "base_fee": "Base fee",
    "fixed": "Per event",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "rounding": "Rounding",
    "prorated": "Prorated",
    "events": "{n} usage events",
    "event": "1 usage event",
    "subtotal": "Subtotal",
    "discount": "Discount: {name}",
    "credit": "Credit: {name}",
    "net": "Net amount",
    "tax": "Tax",
    "tax_of_it": "of which tax",
    "total": "Total",
    "payable": "Amount due",
    "credited": "Total credited",
    "refund": "Refunded to you",
    "lowers": "Taken off what is due",
    "returned": "Given back to your credit",
    "taxes": "Tax",
    "tax_rate": "Rate",
    "base": "Taxable amount",
    "tax_amount": "Tax amount",
    "payment": "Payment",
    "pay_to": "Please transfer {amount} to {name}, IBAN {iban}, quoting {number}.",
    "pay": "Please pay {amount} by {day}, quoting {number}.",
    "nothing": "Nothing is to be paid.",
    "inclusive": "Prices of the lines include tax.",
    "reason": "Reason",
    "notes": "Notes",
    "page": "page {page} of {pages}",
    "cat_S": "Standard rate",
    "cat_Z": "Zero rate",
    "cat_E": "Exempt from tax",
    "cat_AE": "Reverse charge",
    "cat_K": "Intra-community supply",
    "cat_G": "Export",
    "cat_O": "Outside the scope of tax",
    "reason_AE": "Reverse charge",
    "reason_K": "Intra-community supply",
    "reason_G": "Export outside the EU",
    "reason_O": "Not subject to tax",
    "allowance": "Discount",
    "allowance_credit": "Credit",
}

_DE = {
    "invoice": "Rechnung",
    "credit_note": "Rechnungskorrektur",
    "number": "Nummer",
    "issued": "Rechnungsdatum",
    "due": "Zahlbar bis",
    "period": "Leistungszeitraum",
    "reference": "Ihre Referenz",
    "of_invoice": "Zur Rechnung",
    "from": "Von",
    "to": "An",
    "tax_id": "USt-IdNr.",
    "registration": "Registernr.",
    "description": "Beschreibung",
    "quantity": "Menge",
    "price": "Einzelpreis",
    "rate": "Steuer",
    "amount_in": "Betrag {currency}",
    "net_in": "Netto {currency}",
    "tier": "Stufe {tier}",
    "usage": "Verbrauch",
    "flat": "Pauschale",
    "included": "Inklusive",
    "base_fee": "Grundgebühr",
    "fixed": "Je Vorgang",
    "minimum": "Mindestbetrag",
    "maximum": "Höchstbetrag",
    "rounding": "Rundung",
    "prorated": "Anteilig",
    "events": "{n} Verbrauchsereignisse",
    "event": "1 Verbrauchsereignis",
    "subtotal": "Zwischensumme",
    "discount": "Rabatt: {name}",
    "credit": "Guthaben: {name}",
    "net": "Nettobetrag",
    "tax": "Steuer",
    "tax_of_it": "darin Steuer",
    "total": "Gesamtbetrag",
    "payable": "Zu zahlen",
    "credited": "Gutgeschrieben",
    "refund": "Wird Ihnen erstattet",
    "lowers": "Mindert den offenen Betrag",
    "returned": "Zurück auf Ihr Guthaben",
    "taxes": "Steuer",
    "tax_rate": "Satz",
    "base": "Bemessungsgrundlage",
    "tax_amount": "Steuerbetrag",
    "payment": "Zahlung",
    "pay_to": "Bitte überweisen Sie {amount} an {name}, IBAN {iban}, Verwendungszweck {number}.",
    "pay": "Bitte zahlen Sie {amount} bis {day} unter Angabe von {number}.",
    "nothing": "Es ist nichts zu zahlen.",
    "inclusive": "Die Preise der Positionen enthalten die Steuer.",
    "reason": "Grund",
    "notes": "Hinweise",
    "page": "Seite {page} von {pages}",
    "cat_S": "Regelsatz",
    "cat_Z": "Nullsatz",
    "cat_E": "Steuerfrei",
    "cat_AE": "Steuerschuldnerschaft des Leistungsempfängers",
    "cat_K": "Innergemeinschaftliche Leistung",
    "cat_G": "Ausfuhr",
    "cat_O": "Nicht steuerbar",
    "reason_AE": "Steuerschuldnerschaft des Leistungsempfängers",
    "reason_K": "Innergemeinschaftliche Leistung",
    "reason_G": "Ausfuhr aus der EU",
    "reason_O": "Nicht steuerbar",
    "allowance": "Rabatt",
    "allowance_credit": "Guthaben",
}

_FR = {
    "invoice": "Facture",
    "credit_note": "Avoir",
    "number": "Numéro",
    "issued": "Date d’émission",
    "due": "Payable avant le",
    "period": "Période de service",
    "reference": "Votre référence",
    "of_invoice": "Pour la facture",
    "from": "De",
    "to": "Facturé à",
    "tax_id": "N° de TVA",
    "registration": "N° d’immatriculation",
    "description": "Désignation",
    "quantity": "Quantité",
    "price": "Prix unitaire",
    "rate": "Taxe",
    "amount_in": "Montant {currency}",
    "net_in": "Net {currency}",
    "tier": "Tranche {tier}",
    "usage": "Consommation",
    "flat": "Forfait",
    "included": "Inclus",
    "base_fee": "Abonnement",
    "fixed": "Par événement",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "rounding": "Arrondi",
    "prorated": "Au prorata",
    "events": "{n} événements de consommation",
    "event": "1 événement de consommation",
    "subtotal": "Sous-total",
    "discount": "Remise : {name}",
    "credit": "Crédit : {name}",
    "net": "Montant net",
    "tax": "Taxe",
    "tax_of_it": "dont taxe",
    "total": "Total",
    "payable": "À payer",
    "credited": "Total crédité",
    "refund": "Vous est remboursé",
    "lowers": "Déduit du montant dû",
    "returned": "Rendu à votre crédit",
    "taxes": "Taxe",
    "tax_rate": "Taux",
    "base": "Base imposable",
    "tax_amount": "Montant de la taxe",
    "payment": "Paiement",
    "pay_to": "Veuillez virer {amount} à {name}, IBAN {iban}, référence {number}.",
    "pay": "Veuillez payer {amount} avant le {day}, référence {number}.",
    "nothing": "Rien n’est à payer.",
    "inclusive": "Les prix des lignes comprennent la taxe.",
    "reason": "Motif",
    "notes": "Remarques",
    "page": "page {page} sur {pages}",
    "cat_S": "Taux normal",
    "cat_Z": "Taux zéro",
    "cat_E": "Exonéré",
    "cat_AE": "Autoliquidation",
    "cat_K": "Livraison intracommunautaire",
    "cat_G": "Exportation",
    "cat_O": "Hors champ de la taxe",
    "reason_AE": "Autoliquidation",
    "reason_K": "Livraison intracommunautaire",
    "reason_G": "Exportation hors de l’UE",
    "reason_O": "Non soumis à la taxe",
    "allowance": "Remise",
    "allowance_credit": "Crédit",
}

LANGUAGES = {
    "de": Language("de", ".", ",", "{d:02}.{m:02}.{y:04}", _DE),
    "en": Language("en", ",", ".", "{y:04}-{m:02}-{d:02}", _EN),
    "fr": Language("fr", "\u00a0", ",", "{d:02}/{m:02}/{y:04}", _FR),
}


def language_of(code: str) -> Language:
    if not isinstance(code, str) or code not in LANGUAGES:
        raise InvalidValue("language", shown(code), remedy=f"one of {', '.join(sorted(LANGUAGES))}")
    return LANGUAGES[code]
