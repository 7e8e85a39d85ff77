"""A document as XML of EN 16931: UN/CEFACT Cross Industry Invoice, D22B.

`_terms` is the table of what stands where. Amounts are those of the document: nothing is computed
again, so that the XML says what the page says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal

from ..billing import BillLine, CreditNote, Invoice, Period, TaxTotal
from ..errors import InvalidValue
from ..pricing import minor_digits
from ._check import (
    Document,
    Net,
    checked,
    day,
    last_day,
    lines_net,
    prepaid,
    zone_of,
)
from ._cii_parties import buyer, check_parties, seller
from ._exact import exactly
from ._view import View, view_of
from ._xml import Element, document, optional

__all__ = ["GUIDELINE", "UNIT_CODES", "to_cii"]

GUIDELINE = "urn:cen.eu:en16931:2017"

UNIT_CODES: Mapping[str, str] = {
    "second": "SEC",
    "minute": "MIN",
    "hour": "HUR",
    "day": "DAY",
    "week": "WEE",
    "month": "MON",
    "year": "ANN",
    "byte": "AD",
    "kB": "2P",
    "MB": "4L",
    "GB": "E34",
    "TB": "E35",
    "KiB": "E64",
    "MiB": "E63",
    "GiB": "E62",
    "TiB": "E61",
}
"""Codes of UN/ECE Recommendation 20 by unit; everything else is counted in ones, `C62`."""

_ONE = "C62"
_DIGITS_MOST = 2
_REASON_CODES = {"AE": "VATEX-EU-AE", "K": "VATEX-EU-IC", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}


@exactly
def to_cii(
    document: Document,
    *,
    language: str = "en",
    zone: str | tzinfo = "UTC",
    units: Mapping[str, str] | None = None,
) -> bytes:
    """An invoice (type 380) or credit note (381) as XML of EN 16931, in the syntax of CII.

    `language` is that of the texts that are made here, `zone` the time zone in which moments are
    dates, `units` more codes of UN/ECE Recommendation 20 by unit. UTF-8; the same document gives
    the same bytes.

    Raises `InvalidValue`, naming the field and the rule of EN 16931, for what the standard cannot
    say or asks for in vain: a currency of three digits, a country that is not given, a tax category
    without its reason or without the identifiers of the parties.
    """
    view = view_of(document, language, zone)
    return _Builder(document, view, zone_of(zone), {**UNIT_CODES, **(units or {})}).built()


class _Builder:
    def __init__(
        self, source: Document, view: View, zone: tzinfo, units: Mapping[str, str]
    ) -> None:
        self._document = checked(source)
        self._view = view
        self._zone = zone
        self._units = units
        bill = source.bill if isinstance(source, Invoice) else source
        self._currency = bill.currency
        self._taxes: tuple[TaxTotal, ...] = bill.taxes
        self._digits = minor_digits(self._currency)
        self._lines = lines_net(source)
        self._check()

    def built(self) -> bytes:
        note = isinstance(self._document, CreditNote)
        head = Element(
            "rsm:ExchangedDocument",
            Element("ram:ID", self._document.number),
            Element("ram:TypeCode", "381" if note else "380"),
            self._moment("ram:IssueDateTime", day(self._document.issued_at, self._zone)),
            *(
                Element("ram:IncludedNote", Element("ram:Content", text))
                for title, paragraphs in self._view.blocks
                if title != self._view.language["payment"]
                for text in paragraphs
            ),
        )
        transaction = Element(
            "rsm:SupplyChainTradeTransaction",
            *self._items(),
            self._agreement(),
            self._delivery(),
            self._settlement(),
        )
        return document(
            Element(
                "rsm:ExchangedDocumentContext",
                Element(
                    "ram:GuidelineSpecifiedDocumentContextParameter", Element("ram:ID", GUIDELINE)
                ),
            ),
            head,
            transaction,
        )

    def _check(self) -> None:
        """Rules of EN 16931 that a document of ours can miss; each is named in its message."""
        if self._digits > _DIGITS_MOST:
            raise InvalidValue(
                "currency",
                f"{self._currency} has {self._digits} digits, EN 16931 at most {_DIGITS_MOST} "
                "(BR-DEC)",
                remedy="send the PDF without the XML",
            )
        if not self._lines:
            raise InvalidValue("lines", "EN 16931 asks for at least one (BR-16)")
        categories = {tax.category for tax in self._taxes}
        if "O" in categories and len(categories) > 1:
            raise InvalidValue("taxes", "category O stands alone in an invoice (BR-O-11)")
        for tax in self._taxes:
            if tax.category == "S" and tax.rate == 0:
                raise InvalidValue(
                    "taxes", "category S at 0 % (BR-S-05)", remedy="category Z, or E with a reason"
                )
            off = abs(tax.amount - tax.base * tax.rate / 100)
            if off >= 1:
                raise InvalidValue(
                    "taxes",
                    f"{tax.amount} is {off} from {tax.rate} % of {tax.base} (BR-CO-17)",
                    remedy="compute tax on the sum instead of line by line",
                )
            if tax.category == "E" and not tax.reason.strip():
                raise InvalidValue("taxes", "category E has no reason (BR-E-10)")
        check_parties(self._document.seller, self._document.buyer, categories)

    # ------------------------------------------------------------------------------ lines

    def _items(self) -> Iterator[Element]:
        source = self._document
        for i, (line, row) in enumerate(zip(self._lines, self._view.rows, strict=True)):
            bill_line = source.bill.lines[i] if isinstance(source, Invoice) else None
            details = "; ".join(row.details)
            yield Element(
                "ram:IncludedSupplyChainTradeLineItem",
                Element("ram:AssociatedDocumentLineDocument", Element("ram:LineID", str(i + 1))),
                self._product(line, bill_line, details),
                *self._priced(line, bill_line),
            )

    def _product(self, line: Net, bill_line: BillLine | None, details: str) -> Element:
        known = []
        if bill_line is not None:
            known = [
                ("Plan", bill_line.plan),
                ("Price book", bill_line.price_book),
                ("Price version", bill_line.price_version),
                ("Unit", bill_line.unit if self._code(bill_line.unit) == _ONE else None),
            ]
        return Element(
            "ram:SpecifiedTradeProduct",
            optional("ram:SellerAssignedID", bill_line.metric if bill_line else None),
            # BT-153 must be there, whatever the line is called.
            Element("ram:Name", line.description.strip() or "–"),
            optional("ram:Description", details),
            *(
                Element(
                    "ram:ApplicableProductCharacteristic",
                    Element("ram:Description", name),
                    Element("ram:Value", value),
                )
                for name, value in known
                if value
            ),
        )

    def _priced(self, line: Net, bill_line: BillLine | None) -> Iterator[Element]:
        """Price, quantity and net amount: quantity × price ÷ base quantity less allowances."""
        amount, quantity, price, unit = line.net, Decimal(1), None, _ONE
        allowances: list[tuple[Decimal, str]] = []
        if bill_line is not None:
            quantity, unit = bill_line.quantity, self._code(bill_line.unit)
            if not self._inclusive():
                allowances = self._allowances(bill_line)
                amount, price = bill_line.amount, bill_line.unit_price
        billed, each, basis = self._price(quantity, price, amount)
        yield Element(
            "ram:SpecifiedLineTradeAgreement",
            Element(
                "ram:NetPriceProductTradePrice",
                Element("ram:ChargeAmount", _plain(each)),
                Element("ram:BasisQuantity", _plain(basis), unitCode=unit) if basis else None,
            ),
        )
        yield Element(
            "ram:SpecifiedLineTradeDelivery",
            Element("ram:BilledQuantity", _plain(billed), unitCode=unit),
        )
        yield Element(
            "ram:SpecifiedLineTradeSettlement",
            Element(
                "ram:ApplicableTradeTax",
                Element("ram:TypeCode", "VAT"),
                Element("ram:CategoryCode", line.category),
                None if line.category == "O" else self._rate(line.rate),
            ),
            self._period(bill_line.period) if bill_line else None,
            *(self._allowance(value, reason) for value, reason in allowances),
            Element(
                "ram:SpecifiedTradeSettlementLineMonetarySummation",
                Element("ram:LineTotalAmount", self._money(line.net)),
            ),
        )

    def _price(
        self, quantity: Decimal, price: Decimal | None, amount: Decimal
    ) -> tuple[Decimal, Decimal, Decimal | None]:
        """Billed quantity, price, base quantity. A price is never negative (BR-27): what is taken
        back has a negative quantity. Where no one price makes the amount, the amount itself is the
        price, for as many units as were billed."""
        if price is not None and price >= 0 and round(quantity * price, self._digits) == amount:
            return quantity, price, None
        if amount == 0:
            return quantity, Decimal(0), None
        size = abs(quantity) or Decimal(1)
        return size.copy_sign(amount), abs(amount), None if size == 1 else size

    def _allowances(self, line: BillLine) -> list[tuple[Decimal, str]]:
        assert isinstance(self._document, Invoice)
        words = self._view.language
        found = [(line.discount, words["allowance"])]
        if not self._document.bill.credit_after_tax:
            found.append((line.credit, words["allowance_credit"]))
        return [(value, reason) for value, reason in found if value]

    def _allowance(self, value: Decimal, reason: str) -> Element:
        return Element(
            "ram:SpecifiedTradeAllowanceCharge",
            Element(
                "ram:ChargeIndicator", Element("udt:Indicator", "true" if value < 0 else "false")
            ),
            Element("ram:ActualAmount", self._money(abs(value))),
            Element("ram:Reason", reason),
        )

    # ----------------------------------------------------------------------------- header

    def _agreement(self) -> Element:
        source = self._document
        outside = any(tax.category == "O" for tax in self._taxes)
        return Element(
            "ram:ApplicableHeaderTradeAgreement",
            optional("ram:BuyerReference", source.buyer.reference.strip()),
            seller(source.seller, outside),
            buyer(source.buyer, outside),
        )

    def _delivery(self) -> Element:
        """When; and where to, which intra-community supplies ask for (BR-IC-11, BR-IC-12)."""
        source = self._document
        if isinstance(source, Invoice):
            when = last_day(source.bill.period, self._zone)
        else:
            when = day(source.invoice_issued_at or source.issued_at, self._zone)
        place = None
        if any(tax.category == "K" for tax in self._taxes):
            address = Element(
                "ram:PostalTradeAddress", Element("ram:CountryID", source.buyer.country)
            )
            place = Element("ram:ShipToTradeParty", address)
        return Element(
            "ram:ApplicableHeaderTradeDelivery",
            place,
            Element(
                "ram:ActualDeliverySupplyChainEvent", self._moment("ram:OccurrenceDateTime", when)
            ),
        )

    def _settlement(self) -> Element:
        source = self._document
        invoice = source if isinstance(source, Invoice) else None
        return Element(
            "ram:ApplicableHeaderTradeSettlement",
            Element("ram:PaymentReference", invoice.number) if invoice else None,
            Element("ram:InvoiceCurrencyCode", self._currency),
            self._means(invoice) if invoice else None,
            *map(self._tax, self._taxes),
            self._period(invoice.bill.period) if invoice else None,
            self._terms(),
            self._sums(),
            None if isinstance(source, Invoice) else self._preceding(source),
        )

    def _means(self, invoice: Invoice) -> Element | None:
        iban = "".join(invoice.seller.iban.split())
        if not iban:
            return None
        return Element(
            "ram:SpecifiedTradeSettlementPaymentMeans",
            # UNTDID 4461: 58 is a SEPA credit transfer, 30 any other.
            Element("ram:TypeCode", "58" if self._currency == "EUR" else "30"),
            Element(
                "ram:PayeePartyCreditorFinancialAccount",
                Element("ram:IBANID", iban),
                Element("ram:AccountName", invoice.seller.name),
            ),
        )

    def _tax(self, tax: TaxTotal) -> Element:
        words, code = self._view.language, _REASON_CODES.get(tax.category)
        reason = words.tax_reason(tax.category, tax.reason.strip())
        if not reason and code is not None:
            reason = words[f"reason_{tax.category}"]
        return Element(
            "ram:ApplicableTradeTax",
            Element("ram:CalculatedAmount", self._money(tax.amount)),
            Element("ram:TypeCode", "VAT"),
            optional("ram:ExemptionReason", "" if tax.category in ("S", "Z") else reason),
            Element("ram:BasisAmount", self._money(tax.base)),
            Element("ram:CategoryCode", tax.category),
            optional("ram:ExemptionReasonCode", code),
            None if tax.category == "O" else self._rate(tax.rate),
        )

    def _terms(self) -> Element | None:
        source = self._document
        if isinstance(source, Invoice):
            [(_, [text]), *_] = self._view.blocks
            return Element(
                "ram:SpecifiedTradePaymentTerms",
                Element("ram:Description", text),
                self._moment("ram:DueDateDateTime", day(source.due_at, self._zone)),
            )
        words = self._view.language
        # What goes back to credits was an allowance of the invoice: no part of any total.
        parts = (
            (words["refund"], source.refund),
            (words["lowers"], source.total - source.refund),
            (words["returned"], source.credit),
        )
        text = ", ".join(f"{label}: {self._money(part)}" for label, part in parts if part)
        return Element("ram:SpecifiedTradePaymentTerms", Element("ram:Description", text or "–"))

    def _sums(self) -> Element:
        source = self._document
        bill = source.bill if isinstance(source, Invoice) else source
        lines = sum((line.net for line in self._lines), Decimal(0))
        paid = prepaid(source)
        return Element(
            "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
            Element("ram:LineTotalAmount", self._money(lines)),
            Element("ram:TaxBasisTotalAmount", self._money(bill.net)),
            Element("ram:TaxTotalAmount", self._money(bill.tax), currencyID=self._currency),
            Element("ram:GrandTotalAmount", self._money(bill.total)),
            Element("ram:TotalPrepaidAmount", self._money(paid)) if paid else None,
            Element("ram:DuePayableAmount", self._money(bill.total - paid)),
        )

    def _preceding(self, note: CreditNote) -> Element:
        issued = note.invoice_issued_at
        return Element(
            "ram:InvoiceReferencedDocument",
            Element("ram:IssuerAssignedID", note.invoice),
            self._moment("ram:FormattedIssueDateTime", day(issued, self._zone), prefix="qdt")
            if issued
            else None,
        )

    # ----------------------------------------------------------------------------- pieces

    def _inclusive(self) -> bool:
        return isinstance(self._document, Invoice) and self._document.bill.tax_inclusive

    def _code(self, unit: str) -> str:
        return self._units.get(unit) or self._units.get(unit.removesuffix("s"), _ONE)

    def _period(self, period: Period) -> Element:
        return Element(
            "ram:BillingSpecifiedPeriod",
            self._moment("ram:StartDateTime", day(period.start, self._zone)),
            self._moment("ram:EndDateTime", last_day(period, self._zone)),
        )

    def _moment(self, tag: str, value: date | datetime, *, prefix: str = "udt") -> Element:
        text = f"{value.year:04}{value.month:02}{value.day:02}"
        return Element(tag, Element(f"{prefix}:DateTimeString", text, format="102"))

    def _rate(self, rate: Decimal) -> Element:
        return Element("ram:RateApplicablePercent", _plain(rate))

    def _money(self, amount: Decimal) -> str:
        return f"{amount + 0:.{self._digits}f}"


def _plain(value: Decimal) -> str:
    """All digits, none of them for show."""
    text = f"{value + 0:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
