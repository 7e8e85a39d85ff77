"""E-invoices: valid by the official schema and rules, and saying what the document says."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import facturx
import pypdf
import pytest
from hypothesis import given, settings
from lxml import etree

from document_support import (
    BUYER,
    REASONS,
    SELLER,
    D,
    invoices,
    line,
    make_credit_note,
    make_invoice,
    usage_line,
)
from einvoice_support import broken_rules
from tenancy.billing import BillLine, Invoice, Period
from tenancy.delivery import TERMS, UNIT_CODES, to_cii, to_facturx, to_pdf
from tenancy.errors import InvalidValue

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}


def tree(xml: bytes) -> Any:
    return etree.fromstring(xml)


def xpath(path: str) -> str:
    """A path of the table with the prefixes that it leaves out."""
    steps = []
    for step in path.split("/"):
        named = ":" in step.partition("[")[0] or step.startswith("@")
        kind = "udt" if step == "DateTimeString" else "ram"
        steps.append(step if named else f"{kind}:{step}")
    return "/rsm:CrossIndustryInvoice/" + "/".join(steps)


def values(xml: bytes, term: str) -> list[str]:
    """What a business term has, by its path in the table."""
    [path] = [xpath(one.path) for one in TERMS if one.id == term]
    found = tree(xml).xpath(path, namespaces=NAMES)
    return [one if isinstance(one, str) else one.text for one in found]


def amounts(xml: bytes, term: str) -> list[Decimal]:
    return [Decimal(text) for text in values(xml, term)]


def untaxed(amount: str, category: str) -> BillLine:
    return line(amount, tax_category=category, tax_rate=D(0))


def varied() -> Iterator[tuple[str, Invoice]]:
    yield "usual", make_invoice(discount="5.00", credit="10.00", notes=("Thanks\nto you",))
    yield "inclusive", make_invoice(discount="5.00", inclusive=True)
    yield "credit after tax", make_invoice(credit="7.00", credit_late=True)
    yield "all paid by credit", make_invoice(credit="116.59", credit_late=True)
    yield "yen", make_invoice(line("1234", tax_rate=D(10)), currency="JPY")
    for category in ("Z", "E", "AE", "K", "G", "O"):
        lines = [
            line(amount, tax_category=category, tax_rate=D(0)) for amount in ("12.00", "-2.00")
        ]
        yield category, make_invoice(*lines)
        yield (
            f"{category} by default words",
            make_invoice(*lines, reasons={"E": REASONS["E"]} if category == "E" else {}),
        )
    yield "all paid before tax", make_invoice(line("12.00"), credit="12.00")
    yield "mixed", make_invoice(line("1.00"), untaxed("2.00", "E"))
    yield "below zero", make_invoice(line("1.00"), line("-3.00"))
    yield "nothing", make_invoice(line("0.00", quantity=D(0)))
    yield (
        "bare",
        make_invoice(
            line("3.00", description=" "),
            seller=replace(
                SELLER,
                street="",
                city="",
                postcode="",
                registration="",
                email="",
                contact="",
                iban="",
            ),
            buyer=replace(
                BUYER, street="", city="", postcode="", tax_id="", email="", reference=""
            ),
        ),
    )
    abroad = replace(SELLER, country="US", tax_id="98-7654321", registration="", region="CA")
    yield "local tax number", make_invoice(seller=abroad, buyer=replace(BUYER, country="US"))
    yield "Greek", make_invoice(seller=replace(SELLER, country="GR", tax_id="EL123456789"))
    yield "dollars", make_invoice(currency="USD")


VARIED = dict(varied())


@pytest.mark.parametrize("name", VARIED)
def test_the_official_rules_find_nothing(name: str) -> None:
    assert broken_rules(to_cii(VARIED[name])) == []


@pytest.mark.parametrize("name", [n for n, one in VARIED.items() if one.bill.total >= 0])
def test_nor_in_credit_notes(name: str) -> None:
    assert broken_rules(to_cii(make_credit_note(VARIED[name]))) == []


@settings(max_examples=25, deadline=None)
@given(invoices())
def test_nor_in_invoices_of_any_kind(invoice: Invoice) -> None:
    xml = to_cii(invoice)
    assert broken_rules(xml) == []
    agrees(xml, invoice)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(invoices())
def test_nor_in_many(invoice: Invoice) -> None:
    xml = to_cii(invoice)
    assert broken_rules(xml) == []
    agrees(xml, invoice)
    if invoice.bill.total >= 0:
        assert broken_rules(to_cii(make_credit_note(invoice))) == []


def agrees(xml: bytes, invoice: Invoice) -> None:
    """The rules of arithmetic, counted apart; and the totals are those of the invoice."""
    bill = invoice.bill
    one = {term: amounts(xml, term)[0] for term in ("BT-106", "BT-109", "BT-110", "BT-112")}
    [due] = amounts(xml, "BT-115")
    paid = sum(amounts(xml, "BT-113"), D(0))
    assert one["BT-106"] == sum(amounts(xml, "BT-131"), D(0))  # BR-CO-10
    assert one["BT-109"] == one["BT-106"] == bill.net  # BR-CO-13, without BG-20 and BG-21
    assert one["BT-110"] == sum(amounts(xml, "BT-117"), D(0)) == bill.tax  # BR-CO-14
    assert one["BT-112"] == one["BT-109"] + one["BT-110"] == bill.total  # BR-CO-15
    assert due == one["BT-112"] - paid == bill.due  # BR-CO-16
    assert sum(amounts(xml, "BT-116"), D(0)) == bill.net
    root = tree(xml)
    for item in root.iterfind(".//ram:IncludedSupplyChainTradeLineItem", NAMES):
        number = {
            name: Decimal(item.findtext(f".//ram:{name}", "1", NAMES))
            for name in ("ChargeAmount", "BasisQuantity", "BilledQuantity", "LineTotalAmount")
        }
        allowance = D(0)
        for part in item.iterfind(".//ram:SpecifiedTradeAllowanceCharge", NAMES):
            allowance += Decimal(part.findtext("ram:ActualAmount", "", NAMES))
        exact = number["ChargeAmount"] * number["BilledQuantity"] / number["BasisQuantity"]
        assert abs(exact - allowance - number["LineTotalAmount"]) <= D("0.5")
        assert number["ChargeAmount"] >= 0  # BR-27


def test_the_check_itself_finds_what_is_wrong() -> None:
    xml = to_cii(make_invoice())
    for old, new, rule in (
        (b"<ram:GrandTotalAmount>116.59<", b"<ram:GrandTotalAmount>116.60<", "BR-CO-15"),
        (b"<ram:LineTotalAmount>101.00<", b"<ram:LineTotalAmount>101.01<", "BR-CO-10"),
        (b"<ram:CategoryCode>S<", b"<ram:CategoryCode>E<", "BR-E"),
        (b"<ram:CountryID>DE<", b"<ram:CountryID>ZZ<", "Value of"),
    ):
        assert old in xml
        assert any(rule in found for found in broken_rules(xml.replace(old, new)))
    with pytest.raises(Exception, match="XML Schema"):
        broken_rules(xml.replace(b"ram:GrandTotalAmount", b"ram:GrandTotal"))


# ------------------------------------------------------------------------- what stands where


def test_every_term_of_the_table_has_its_place() -> None:
    parties: dict[str, Any] = {
        "seller": replace(SELLER, region="Sachsen"),
        "buyer": replace(BUYER, region="Rhône", registration="834 048 330", contact="Ann"),
    }
    supply = usage_line(tax_category="K", tax_rate=D(0))
    first = make_invoice(supply, line("30.00"), discount="5.00", notes=("Thanks",), **parties)
    local = replace(SELLER, tax_id="12/345/67890", registration="")
    xmls = [
        to_cii(first),
        to_cii(make_invoice(credit="3.00", credit_late=True, seller=local)),
        to_cii(make_credit_note(first)),
    ]
    for term in TERMS:
        assert any(text for xml in xmls for text in values(xml, term.id)), term
    ids = [int(term.id.removeprefix("BT-")) for term in TERMS]
    assert ids == sorted(set(ids))


def test_every_value_of_the_xml_has_a_term() -> None:
    """What is written is in the table, but for codes that the syntax itself asks for."""
    paths = {re.sub(r"\[.*?\]|/@.*", "", term.path) for term in TERMS}
    fixed = {"TypeCode", "udt:Indicator"}
    for document in (VARIED["usual"], VARIED["K"], make_credit_note(VARIED["usual"])):
        root = tree(to_cii(document))
        for leaf in root.iter(etree.Element):
            if len(leaf):
                continue
            steps = []
            at = leaf
            while at is not root:
                name = etree.QName(at)
                prefix = next(p for p, uri in NAMES.items() if uri == name.namespace)
                plain = prefix == "ram" or (name.localname == "DateTimeString" and prefix == "udt")
                steps.append(name.localname if plain else f"{prefix}:{name.localname}")
                at = at.getparent()
            path = "/".join(reversed(steps))
            assert path in paths or steps[0] in fixed, path


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    for term in TERMS:
        assert f"| {term.id} | {term.name} | {term.source} |" in text, term


def test_an_invoice_and_what_became_of_it() -> None:
    invoice = make_invoice(discount="5.00", credit="10.00", notes=("Thanks\nto you",))
    xml = to_cii(invoice)
    for term, expected in {
        "BT-1": ["2026-000042"],
        "BT-2": ["20260401"],
        "BT-3": ["380"],
        "BT-5": ["EUR"],
        "BT-9": ["20260415"],
        "BT-10": ["PO-2026-77"],
        "BT-22": ["Thanks", "to you"],
        "BT-31": ["DE123456789"],
        "BT-48": ["FR83404833048"],
        "BT-72": ["20260331"],
        "BT-73": ["20260301"],
        "BT-74": ["20260331"],
        "BT-81": ["58"],
        "BT-84": ["DE89370400440532013000"],
        "BT-112": ["99.28"],
        "BT-115": ["99.28"],
        "BT-116": ["60.45", "25.55"],
        "BT-117": ["11.49", "1.79"],
        "BT-118": ["S", "S"],
        "BT-119": ["19", "7"],
        "BT-126": ["1", "2", "3"],
        "BT-129": ["1", "25000", "3"],
        "BT-130": ["MON", "C62", "C62"],
        "BT-131": ["41.72", "18.73", "25.55"],
        "BT-136": ["2.43", "4.85", "1.09", "2.18", "1.48", "2.97"],
        "BT-139": ["Discount", "Credit"] * 3,
        "BT-146": ["49", "22", "10"],
        "BT-149": ["25000"],
        "BT-155": ["hash_operations"],
    }.items():
        assert values(xml, term) == expected, term
    [description] = values(xml, "BT-154")
    assert "Tier 2, Usage: 15,000 × 0.0008 = 12.00" in description


def test_a_credit_note_and_its_invoice() -> None:
    note = make_credit_note(make_invoice(), refund="20.00")
    xml = to_cii(note)
    for term, expected in {
        "BT-1": ["CN-2026-000007"],
        "BT-3": ["381"],
        "BT-20": ["Refunded to you: 20.00, Taken off what is due: 96.59"],
        "BT-22": ["The service was down for two days."],
        "BT-25": ["2026-000042"],
        "BT-26": ["20260401"],
        "BT-115": ["116.59"],
        "BT-131": ["49.00", "22.00", "30.00"],
    }.items():
        assert values(xml, term) == expected, term


def test_credits_that_a_note_gives_back_are_told_and_in_no_sum() -> None:
    note = make_credit_note(make_invoice(credit="10.00"))
    xml = to_cii(note)
    assert broken_rules(xml) == []
    [terms] = values(xml, "BT-20")
    assert terms.endswith(", Given back to your credit: 10.00")
    told = [text.removeprefix("Given back to your credit: ") for text in values(xml, "BT-154")]
    assert [Decimal(text) for text in told] == [one.credit for one in note.lines]
    assert amounts(xml, "BT-115") == [note.total]
    assert values(xml, "BT-113") == []


def test_dates_are_those_of_the_zone() -> None:
    berlin = timezone(timedelta(hours=2))
    march = Period(
        datetime(2026, 3, 1, tzinfo=berlin).astimezone(timezone.utc),
        datetime(2026, 4, 1, tzinfo=berlin).astimezone(timezone.utc),
    )
    invoice = make_invoice(line("3.00", period=march))
    assert values(to_cii(invoice), "BT-134") == ["20260228"]
    assert values(to_cii(invoice, zone=berlin), "BT-134") == ["20260301"]
    assert values(to_cii(invoice, zone=berlin), "BT-135") == ["20260331"]
    assert values(to_cii(invoice, zone="Europe/Berlin"), "BT-135") == ["20260331"]
    with pytest.raises(InvalidValue, match="Europe/Berlin"):
        to_cii(invoice, zone="Mars/Olympus")


def test_units_of_the_caller_come_first() -> None:
    invoice = make_invoice(line("3.00", unit="GB"), line("3.00", unit="hours"), line("3", unit="x"))
    assert values(to_cii(invoice), "BT-130") == ["E34", "HUR", "C62"]
    own = {"GB": "E62", "x": "XAB"}
    assert values(to_cii(invoice, units=own), "BT-130") == ["E62", "HUR", "XAB"]
    assert broken_rules(to_cii(make_invoice(*(line("1.00", unit=u) for u in UNIT_CODES)))) == []


def test_precision_of_the_program_changes_nothing() -> None:
    invoice = make_invoice(line("12345678.91", quantity=D("1234.5678"), unit_price=D("10000")))
    expected = to_cii(invoice)
    with localcontext() as context:
        context.prec = 3
        assert to_cii(invoice) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"currency": "KWD", "lines": [line("3.000")]}, "BR-DEC"),
        ({"lines": [line("3.00", tax_rate=D(0))]}, "BR-S-05"),
        ({"lines": [untaxed("3", "E")], "reasons": {}}, "BR-E-10"),
        ({"lines": [untaxed("3", "O"), line("3.00")]}, "BR-O-11"),
        ({"seller": replace(SELLER, country="")}, "BR-09"),
        ({"buyer": replace(BUYER, country="")}, "BR-11"),
        ({"seller": replace(SELLER, tax_id="", registration="")}, "BR-CO-26"),
        ({"seller": replace(SELLER, tax_id="")}, "BR-S-02"),
        (
            {
                "lines": [untaxed("3", "G")],
                "seller": replace(SELLER, tax_id="1"),
            },
            "BR-G-02",
        ),
        (
            {
                "lines": [untaxed("3", "AE")],
                "buyer": replace(BUYER, tax_id=""),
            },
            "BR-AE-02",
        ),
        (
            {
                "lines": [untaxed("3", "K")],
                "buyer": replace(BUYER, tax_id="8"),
            },
            "BR-IC-02",
        ),
    ],
)
def test_what_the_standard_cannot_say_is_refused(options: dict[str, Any], message: str) -> None:
    lines = options.pop("lines", ())
    with pytest.raises(InvalidValue, match=re.escape(message)):
        to_cii(make_invoice(*lines, **options))


def test_an_invoice_without_lines_and_tax_by_the_line() -> None:
    invoice = make_invoice(line("3.00"))
    bill = replace(
        invoice.bill, lines=(), taxes=(), subtotal=D(0), net=D(0), tax=D(0), total=D(0), due=D(0)
    )
    with pytest.raises(InvalidValue, match="BR-16"):
        to_cii(replace(invoice, bill=bill))
    lines = tuple(replace(line("0.03"), tax=D("0.01")) for _ in range(300))
    taxes = tuple(replace(one, base=D(9), amount=D(3)) for one in invoice.bill.taxes)
    bill = replace(
        bill, lines=lines, taxes=taxes, subtotal=D(9), net=D(9), tax=D(3), total=D(12), due=D(12)
    )
    with pytest.raises(InvalidValue, match="BR-CO-17"):
        to_cii(replace(invoice, bill=bill))


EVIL = (
    "]]><x>&amp;&#0;\"'\x00\x08\x0b\x1f\x7f\ufffe\uffff\u202e\r\n\t<!DOCTYPE x [<!ENTITY y 'z'>]>"
)


def test_no_text_breaks_out_of_the_xml() -> None:
    seller = replace(SELLER, name=EVIL, street=EVIL, city=EVIL, contact=EVIL)
    invoice = make_invoice(
        usage_line(description=EVIL, metric=EVIL, plan=EVIL, unit=EVIL),
        seller=seller,
        number=f"1{EVIL}",
        notes=(EVIL,),
    )
    xml = to_cii(invoice)
    assert b"<x>" not in xml
    assert b"<!DOCTYPE" not in xml
    [name] = values(xml, "BT-27")
    assert name.startswith("]]><x>&amp;&#0;\"'<U+0000><U+0008>")
    assert broken_rules(xml) == []


# ---------------------------------------------------------------------------------- Factur-X


@pytest.fixture(scope="module")
def hybrid() -> tuple[Invoice, bytes]:
    invoice = make_invoice(discount="5.00", notes=("Thanks",))
    return invoice, to_facturx(invoice)


def test_the_xml_is_inside(hybrid: tuple[Invoice, bytes]) -> None:
    invoice, pdf = hybrid
    name, xml = facturx.get_facturx_xml_from_pdf(pdf, check_xsd=True)
    assert name == "factur-x.xml"
    assert xml == to_cii(invoice)
    assert broken_rules(xml) == []
    note = make_credit_note(invoice)
    assert facturx.get_facturx_xml_from_pdf(to_facturx(note))[1] == to_cii(note)


def test_the_pdf_is_one_for_archives(hybrid: tuple[Invoice, bytes]) -> None:
    """What ISO 19005-3 asks for and can be read off the file without a validator of its own."""
    for pdf, attached in ((hybrid[1], True), (to_pdf(hybrid[0]), False)):
        assert re.match(rb"%PDF-1\.7\n%[\x80-\xff]{4}", pdf)  # 6.1.2
        reader = pypdf.PdfReader(io.BytesIO(pdf))
        root: Any = reader.trailer["/Root"]
        assert "/Encrypt" not in reader.trailer  # 6.1.3
        assert len(reader.trailer["/ID"]) == 2
        assert not {"/AA", "/AcroForm", "/OCProperties"} & root.keys()  # 6.4, 6.5
        assert root["/OpenAction"][1] in ("/FitH", "/Fit")  # a place to begin, no action
        xmp = root["/Metadata"].get_data().decode()
        assert "/Filter" not in root["/Metadata"]  # 6.6.2.1
        assert "<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>" in xmp
        [intent] = root["/OutputIntents"]  # 6.2.3
        assert intent.get_object()["/S"] == "/GTS_PDFA1"
        profile = intent.get_object()["/DestOutputProfile"]
        assert profile["/N"] == 3
        assert profile.get_data()[36:40] == b"acsp"
        for page in reader.pages:
            for font in page["/Resources"]["/Font"].values():  # 6.2.11
                [inner] = font["/DescendantFonts"]
                assert "/FontFile2" in inner.get_object()["/FontDescriptor"]
                assert inner.get_object()["/CIDToGIDMap"]
                assert "/ToUnicode" in font
            assert "/Group" not in page or page["/Group"]["/CS"]
        assert ("/AF" in root) == attached  # 6.8
        if attached:
            [spec] = root["/AF"]
            found = spec.get_object()
            assert (found["/F"], found["/UF"]) == ("factur-x.xml", "factur-x.xml")
            assert found["/AFRelationship"] == "/Alternative"
            stream = found["/EF"]["/F"]
            assert stream["/Subtype"] == "/text/xml"
            assert stream["/Params"]["/ModDate"]
            assert stream["/Params"]["/Size"] == len(to_cii(hybrid[0]))


def test_the_metadata_name_the_profile(hybrid: tuple[Invoice, bytes]) -> None:
    reader = pypdf.PdfReader(io.BytesIO(hybrid[1]))
    root: Any = reader.trailer["/Root"]
    text = root["/Metadata"].get_data().decode()
    xmp = etree.fromstring(re.sub(r"<\?xpacket.*?\?>", "", text).strip())
    fx = "{urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#}"
    found = {etree.QName(one).localname: one.text for one in xmp.iter() if one.tag.startswith(fx)}
    assert found == {
        "DocumentFileName": "factur-x.xml",
        "DocumentType": "INVOICE",
        "Version": "1.0",
        "ConformanceLevel": "EN 16931",
    }
    described = xmp.findall(".//{http://www.aiim.org/pdfa/ns/property#}name")
    assert {one.text for one in described} == found.keys()  # 6.6.2.3.3
    dates = {one.text for one in xmp.iter() if etree.QName(one).localname.endswith("Date")}
    assert dates == {"2026-04-01T09:30:00+00:00"}


def test_the_same_document_gives_the_same_bytes(hybrid: tuple[Invoice, bytes]) -> None:
    assert hashlib.sha256(to_facturx(hybrid[0])).digest() == hashlib.sha256(hybrid[1]).digest()


def test_a_month_on_paper_is_the_month_in_the_xml(hybrid: tuple[Invoice, bytes]) -> None:
    text = pypdf.PdfReader(io.BytesIO(hybrid[1])).pages[0].extract_text()
    total = hybrid[0].bill.total
    for expected in ("2026-03-01 – 2026-03-31", f"EUR {total}", "2026-000042"):
        assert expected in text
    assert values(to_cii(hybrid[0]), "BT-112") == [str(total)]
