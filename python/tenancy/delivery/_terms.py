"""The business terms of EN 16931-1 that documents fill, where each stands, and from what.

A test finds every path in the XML of a full document, and this table in the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TERMS", "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """One business term."""

    id: str
    """`BT-1`, by EN 16931-1."""
    name: str
    path: str
    """Below `rsm:CrossIndustryInvoice`, without the prefixes `ram` and `udt`."""
    source: str
    """The field of `Invoice`, and of `CreditNote` where it differs."""


_DOCUMENT = "rsm:ExchangedDocument"
_TRADE = "rsm:SupplyChainTradeTransaction"
_AGREEMENT = f"{_TRADE}/ApplicableHeaderTradeAgreement"
_DELIVERY = f"{_TRADE}/ApplicableHeaderTradeDelivery"
_SETTLEMENT = f"{_TRADE}/ApplicableHeaderTradeSettlement"
_SUMS = f"{_SETTLEMENT}/SpecifiedTradeSettlementHeaderMonetarySummation"
_TAX = f"{_SETTLEMENT}/ApplicableTradeTax"
_MEANS = f"{_SETTLEMENT}/SpecifiedTradeSettlementPaymentMeans"
_LINE = f"{_TRADE}/IncludedSupplyChainTradeLineItem"
_PRODUCT = f"{_LINE}/SpecifiedTradeProduct"
_PRICE = f"{_LINE}/SpecifiedLineTradeAgreement/NetPriceProductTradePrice"
_LINE_SUM = f"{_LINE}/SpecifiedLineTradeSettlement"
_ALLOWANCE = f"{_LINE_SUM}/SpecifiedTradeAllowanceCharge"
_SELLER = f"{_AGREEMENT}/SellerTradeParty"
_BUYER = f"{_AGREEMENT}/BuyerTradeParty"


def _address(party: str, terms: tuple[str, str, str, str, str], source: str) -> tuple[Term, ...]:
    at = f"{party}/PostalTradeAddress"
    names = (
        ("address line 1", "LineOne", "street"),
        ("city", "CityName", "city"),
        ("post code", "PostcodeCode", "postcode"),
        ("country subdivision", "CountrySubDivisionName", "region"),
        ("country code", "CountryID", "country"),
    )
    return tuple(
        Term(term, f"{source.capitalize()} {name}", f"{at}/{element}", f"{source}.{field}")
        for term, (name, element, field) in zip(terms, names, strict=True)
    )


TERMS: tuple[Term, ...] = (
    Term("BT-1", "Invoice number", f"{_DOCUMENT}/ID", "number"),
    Term(
        "BT-2",
        "Invoice issue date",
        f"{_DOCUMENT}/IssueDateTime/DateTimeString",
        "issued_at, in zone",
    ),
    Term("BT-3", "Invoice type code", f"{_DOCUMENT}/TypeCode", "380; credit note 381"),
    Term("BT-5", "Invoice currency code", f"{_SETTLEMENT}/InvoiceCurrencyCode", "bill.currency"),
    Term(
        "BT-9",
        "Payment due date",
        f"{_SETTLEMENT}/SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString",
        "due_at",
    ),
    Term("BT-10", "Buyer reference", f"{_AGREEMENT}/BuyerReference", "buyer.reference"),
    Term(
        "BT-20",
        "Payment terms",
        f"{_SETTLEMENT}/SpecifiedTradePaymentTerms/Description",
        "how to pay; credit note: refund, the rest, and what goes back to credits",
    ),
    Term("BT-22", "Invoice note", f"{_DOCUMENT}/IncludedNote/Content", "notes; reason"),
    Term(
        "BT-24",
        "Specification identifier",
        "rsm:ExchangedDocumentContext/GuidelineSpecifiedDocumentContextParameter/ID",
        "urn:cen.eu:en16931:2017",
    ),
    Term(
        "BT-25",
        "Preceding invoice reference",
        f"{_SETTLEMENT}/InvoiceReferencedDocument/IssuerAssignedID",
        "credit note: invoice",
    ),
    Term(
        "BT-26",
        "Preceding invoice issue date",
        f"{_SETTLEMENT}/InvoiceReferencedDocument/FormattedIssueDateTime/qdt:DateTimeString",
        "credit note: invoice_issued_at",
    ),
    Term("BT-27", "Seller name", f"{_SELLER}/Name", "seller.name"),
    Term(
        "BT-29",
        "Seller identifier",
        f"{_SELLER}/ID",
        "seller.tax_id, where it is not for VAT and no registration is given",
    ),
    Term(
        "BT-30",
        "Seller legal registration identifier",
        f"{_SELLER}/SpecifiedLegalOrganization/ID",
        "seller.registration",
    ),
    Term(
        "BT-31",
        "Seller VAT identifier",
        f"{_SELLER}/SpecifiedTaxRegistration/ID[@schemeID='VA']",
        "seller.tax_id with its country before it",
    ),
    Term(
        "BT-32",
        "Seller tax registration identifier",
        f"{_SELLER}/SpecifiedTaxRegistration/ID[@schemeID='FC']",
        "seller.tax_id otherwise",
    ),
    Term(
        "BT-34",
        "Seller electronic address",
        f"{_SELLER}/URIUniversalCommunication/URIID",
        "seller.email (scheme EM)",
    ),
    *_address(_SELLER, ("BT-35", "BT-37", "BT-38", "BT-39", "BT-40"), "seller"),
    Term(
        "BT-41",
        "Seller contact point",
        f"{_SELLER}/DefinedTradeContact/PersonName",
        "seller.contact",
    ),
    Term("BT-44", "Buyer name", f"{_BUYER}/Name", "buyer.name"),
    Term(
        "BT-47",
        "Buyer legal registration identifier",
        f"{_BUYER}/SpecifiedLegalOrganization/ID",
        "buyer.registration",
    ),
    Term(
        "BT-48",
        "Buyer VAT identifier",
        f"{_BUYER}/SpecifiedTaxRegistration/ID[@schemeID='VA']",
        "buyer.tax_id with its country before it",
    ),
    Term(
        "BT-49",
        "Buyer electronic address",
        f"{_BUYER}/URIUniversalCommunication/URIID",
        "buyer.email (scheme EM)",
    ),
    *_address(_BUYER, ("BT-50", "BT-52", "BT-53", "BT-54", "BT-55"), "buyer"),
    Term(
        "BT-56",
        "Buyer contact point",
        f"{_BUYER}/DefinedTradeContact/PersonName",
        "buyer.contact",
    ),
    Term(
        "BT-72",
        "Actual delivery date",
        f"{_DELIVERY}/ActualDeliverySupplyChainEvent/OccurrenceDateTime/DateTimeString",
        "last day of bill.period; credit note: invoice_issued_at",
    ),
    Term(
        "BT-73",
        "Invoicing period start date",
        f"{_SETTLEMENT}/BillingSpecifiedPeriod/StartDateTime/DateTimeString",
        "bill.period.start",
    ),
    Term(
        "BT-74",
        "Invoicing period end date",
        f"{_SETTLEMENT}/BillingSpecifiedPeriod/EndDateTime/DateTimeString",
        "last day before bill.period.end",
    ),
    Term(
        "BT-80",
        "Deliver to country code",
        f"{_DELIVERY}/ShipToTradeParty/PostalTradeAddress/CountryID",
        "buyer.country, with category K",
    ),
    Term(
        "BT-81",
        "Payment means type code",
        f"{_MEANS}/TypeCode",
        "58 in EUR, else 30; with seller.iban",
    ),
    Term("BT-83", "Remittance information", f"{_SETTLEMENT}/PaymentReference", "number"),
    Term(
        "BT-84",
        "Payment account identifier",
        f"{_MEANS}/PayeePartyCreditorFinancialAccount/IBANID",
        "seller.iban",
    ),
    Term(
        "BT-85",
        "Payment account name",
        f"{_MEANS}/PayeePartyCreditorFinancialAccount/AccountName",
        "seller.name",
    ),
    Term("BT-106", "Sum of Invoice line net amount", f"{_SUMS}/LineTotalAmount", "bill.net"),
    Term(
        "BT-109",
        "Invoice total amount without VAT",
        f"{_SUMS}/TaxBasisTotalAmount",
        "bill.net; net",
    ),
    Term("BT-110", "Invoice total VAT amount", f"{_SUMS}/TaxTotalAmount", "bill.tax; tax"),
    Term(
        "BT-112", "Invoice total amount with VAT", f"{_SUMS}/GrandTotalAmount", "bill.total; total"
    ),
    Term(
        "BT-113",
        "Paid amount",
        f"{_SUMS}/TotalPrepaidAmount",
        "bill.total - bill.due: credits taken after tax",
    ),
    Term("BT-115", "Amount due for payment", f"{_SUMS}/DuePayableAmount", "bill.due; total"),
    Term("BT-116", "VAT category taxable amount", f"{_TAX}/BasisAmount", "taxes[].base"),
    Term("BT-117", "VAT category tax amount", f"{_TAX}/CalculatedAmount", "taxes[].amount"),
    Term("BT-118", "VAT category code", f"{_TAX}/CategoryCode", "taxes[].category"),
    Term(
        "BT-119",
        "VAT category rate",
        f"{_TAX}/RateApplicablePercent",
        "taxes[].rate; absent in category O",
    ),
    Term(
        "BT-120",
        "VAT exemption reason text",
        f"{_TAX}/ExemptionReason",
        "taxes[].reason, in categories E, AE, K, G, O; ours in language",
    ),
    Term(
        "BT-121",
        "VAT exemption reason code",
        f"{_TAX}/ExemptionReasonCode",
        "VATEX-EU-AE, -IC, -G, -O by category",
    ),
    Term(
        "BT-126",
        "Invoice line identifier",
        f"{_LINE}/AssociatedDocumentLineDocument/LineID",
        "from 1",
    ),
    Term(
        "BT-129",
        "Invoiced quantity",
        f"{_LINE}/SpecifiedLineTradeDelivery/BilledQuantity",
        "lines[].quantity; 1 in a credit note; negative where the amount is",
    ),
    Term(
        "BT-130",
        "Invoiced quantity unit of measure code",
        f"{_LINE}/SpecifiedLineTradeDelivery/BilledQuantity/@unitCode",
        "lines[].unit by UNIT_CODES, else C62",
    ),
    Term(
        "BT-131",
        "Invoice line net amount",
        f"{_LINE_SUM}/SpecifiedTradeSettlementLineMonetarySummation/LineTotalAmount",
        "lines[]: amount - discount - credit, and - tax where prices include it; net",
    ),
    Term(
        "BT-134",
        "Invoice line period start date",
        f"{_LINE_SUM}/BillingSpecifiedPeriod/StartDateTime/DateTimeString",
        "lines[].period.start",
    ),
    Term(
        "BT-135",
        "Invoice line period end date",
        f"{_LINE_SUM}/BillingSpecifiedPeriod/EndDateTime/DateTimeString",
        "last day before lines[].period.end",
    ),
    Term(
        "BT-136",
        "Invoice line allowance amount",
        f"{_ALLOWANCE}/ActualAmount",
        "lines[].discount, lines[].credit; inside the price where prices include tax",
    ),
    Term(
        "BT-139",
        "Invoice line allowance reason",
        f"{_ALLOWANCE}/Reason",
        "Discount or Credit, in language",
    ),
    Term(
        "BT-146",
        "Item net price",
        f"{_PRICE}/ChargeAmount",
        "lines[].unit_price where it makes the amount, else the amount",
    ),
    Term(
        "BT-149",
        "Item price base quantity",
        f"{_PRICE}/BasisQuantity",
        "lines[].quantity, where the amount is the price",
    ),
    Term(
        "BT-151",
        "Invoiced item VAT category code",
        f"{_LINE_SUM}/ApplicableTradeTax/CategoryCode",
        "lines[].tax_category",
    ),
    Term(
        "BT-152",
        "Invoiced item VAT rate",
        f"{_LINE_SUM}/ApplicableTradeTax/RateApplicablePercent",
        "lines[].tax_rate; absent in category O",
    ),
    Term("BT-153", "Item name", f"{_PRODUCT}/Name", "lines[].description"),
    Term(
        "BT-154",
        "Item description",
        f"{_PRODUCT}/Description",
        "tiers, period where it is another, number of events; credit note: lines[].credit",
    ),
    Term("BT-155", "Item Seller's identifier", f"{_PRODUCT}/SellerAssignedID", "lines[].metric"),
    Term(
        "BT-160",
        "Item attribute name",
        f"{_PRODUCT}/ApplicableProductCharacteristic/Description",
        "Plan, Price book, Price version, Unit",
    ),
    Term(
        "BT-161",
        "Item attribute value",
        f"{_PRODUCT}/ApplicableProductCharacteristic/Value",
        "lines[]: plan, price_book, price_version, unit",
    ),
)
