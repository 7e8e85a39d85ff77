"""Documents as HTML and PDF: everything that is on them, in any script, and nothing that a text
could do to them."""

from __future__ import annotations

import html.parser
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import localcontext
from pathlib import Path
from typing import Any

import pypdf
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from hypothesis import given, settings

from billing_support import JANUARY
from document_support import (
    BUYER,
    SELLER,
    D,
    invoices,
    line,
    make_bill,
    make_credit_note,
    make_invoice,
    usage_line,
)
from tenancy.billing import CreditNote, Invoice, Span, Terms, TierLine, compute
from tenancy.delivery import to_html, to_pdf
from tenancy.errors import InvalidValue
from tenancy.pricing import PriceBook


def pages_of(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


class Reader(html.parser.HTMLParser):
    """The texts of a page and its tags, by a parser of its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def shown(document: Invoice | CreditNote, **options: Any) -> tuple[str, str]:
    """The texts of both forms, blanks set aside."""
    page = " ".join(Reader(to_html(document, **options)).texts)
    printed = " ".join(pages_of(to_pdf(document, **options)))
    return "".join(page.split()), "".join(printed.split())


def both_show(document: Invoice | CreditNote, *expected: str, **options: Any) -> None:
    for text in shown(document, **options):
        for one in expected:
            assert "".join(one.split()) in text, one


def test_everything_is_on_the_page() -> None:
    invoice = make_invoice(discount="5.00", credit="10.00", notes=("Thanks.\nQuestions? Ask.",))
    both_show(
        invoice,
        "Invoice 2026-000042",
        *("Gateway GmbH", "Lange Straße 7", "04109 Leipzig, DE", "VAT ID DE123456789"),
        *("Acme SAS", "12 rue des Lilas", "69003 Lyon, FR", "VAT ID FR83404833048"),
        *("Date of issue 2026-04-01", "Period of service 2026-03-01 – 2026-03-31"),
        *("Payable by 2026-04-15", "Your reference PO-2026-77"),
        "Description Quantity Unit price Tax Amount EUR",
        "Base fee Pro",
        *("1 month 49.00 19 % 49.00", "25,000 operation 19 % 22.00", "3 seat 10.00 7 % 30.00"),
        "Tier 1, Usage: 10,000 × 0.001 = 10.00",
        "Tier 2, Usage: 15,000 × 0.0008 = 12.00",
        "25,000 usage events",
        *("Subtotal 101.00", "Discount: Spring offer -5.00", "Credit: Goodwill -10.00"),
        *("Net amount 86.00", "Tax 13.28", "Total EUR 99.28"),
        *("VAT (Standard rate) 19 % 60.45 11.49", "VAT (Standard rate) 7 % 25.55 1.79"),
        "IBAN DE89 3704 0044 0532 0130 00, quoting 2026-000042",
        *("Thanks.", "Questions? Ask."),
        invoice.digest,
    )


def test_a_credit_note_says_what_it_is_for() -> None:
    note = make_credit_note(make_invoice(), refund="20.00")
    both_show(
        note,
        "Credit note CN-2026-000007",
        "For invoice 2026-000042 (2026-04-01)",
        "The service was down for two days.",
        *("Net amount 101.00", "Tax 15.59", "Total credited EUR 116.59"),
        *("Refunded to you EUR 20.00", "Taken off what is due EUR 96.59"),
    )
    for text in shown(note):
        assert "Quantity" not in text
        assert "".join(["Given", "back", "to", "your", "credit"]) not in text


@pytest.mark.parametrize(
    ("language", "each", "together"),
    [
        ("en", "Given back to your credit: 4.85", "Given back to your credit EUR 10.00"),
        ("de", "Zurück auf Ihr Guthaben: 4,85", "Zurück auf Ihr Guthaben EUR 10,00"),
        ("fr", "Rendu à votre crédit: 4,85", "Rendu à votre crédit EUR 10,00"),
    ],
)
def test_a_credit_note_shows_the_credits_that_it_gives_back(
    language: str, each: str, together: str
) -> None:
    note = make_credit_note(make_invoice(credit="10.00"))
    both_show(note, each, together, language=language)


def test_a_credit_note_that_gives_back_nothing_but_credits_says_so() -> None:
    note = make_credit_note(make_invoice(line("12.00", tax_rate=D(20)), credit="12.00"))
    both_show(note, "Total credited EUR 0.00", "Given back to your credit EUR 12.00")


def test_what_a_credit_note_gives_back_is_the_sum_of_its_lines() -> None:
    note = make_credit_note(make_invoice(credit="10.00"))
    with pytest.raises(InvalidValue) as refused:
        to_html(replace(note, credit=D("9.00")))
    assert refused.value.field == "credit"


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", ("Rechnung", "01.03.2026 – 31.03.2026", "25.000 operation", "EUR 116,59", "7 %")),
        ("fr", ("Facture", "01/03/2026 – 31/03/2026", "25 000 operation", "EUR 116,59", "7 %")),
    ],
)
def test_languages_write_words_dates_and_numbers_their_way(
    language: str, expected: tuple[str, ...]
) -> None:
    both_show(make_invoice(), *expected, language=language)
    with pytest.raises(InvalidValue, match="de, en, fr"):
        to_html(make_invoice(), language="xx")


@pytest.mark.parametrize(
    ("currency", "amount", "expected"),
    [("JPY", "1234567", "JPY 1,234,567"), ("KWD", "1234.567", "KWD 1,234.567")],
)
def test_amounts_have_the_digits_of_their_currency(
    currency: str, amount: str, expected: str
) -> None:
    invoice = make_invoice(line(amount, tax_category="Z", tax_rate=D(0)), currency=currency)
    both_show(invoice, expected)


def test_prices_with_tax_say_so() -> None:
    both_show(
        make_invoice(inclusive=True, credit="20.00", credit_late=True),
        "Prices of the lines include tax.",
        "Total EUR 101.00",
        "of which tax 13.30",
        "Credit: Goodwill -20.00",
        "Amount due EUR 81.00",
    )


def test_why_no_tax_is_due_is_told() -> None:
    invoice = make_invoice(line("3.00", tax_category="AE", tax_rate=D(0)))
    both_show(invoice, "VAT (Reverse charge)", "0 % 3.00 0.00", "Reverse charge")
    outside = make_invoice(line("3.00", tax_category="O", tax_rate=D(0)))
    both_show(outside, "Outside the scope of tax", "– 3.00", "Not subject to VAT")


def test_nothing_to_pay_asks_for_nothing() -> None:
    both_show(make_invoice(line("0.00")), "Nothing is to be paid.")
    both_show(make_invoice(seller=replace(SELLER, iban="")), "Please pay EUR 116.59 by 2026-04-15")


def test_every_kind_of_detail() -> None:
    kinds = ("flat", "included", "base_fee", "fixed", "minimum", "maximum", "rounding", "other")
    tiers = tuple(TierLine(kind, i or None, D(2), D("0.5"), D(i)) for i, kind in enumerate(kinds))
    other = make_invoice().bill.period
    half = replace(other, end=datetime.fromisoformat("2026-03-16T00:00:00+00:00"))
    both_show(
        make_invoice(usage_line(tiers=tiers, period=half)),
        "2026-03-01 – 2026-03-15",
        *("Flat fee: 0.00", "Tier 1, Included: 2 × 0.50 = 1.00", "Tier 4, Minimum: 4.00"),
        "Tier 7, other: 7.00",
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Prorated: 0.483870967742 × 31.00 = 15.00"),
        ("de", "Anteilig: 0,483870967742 × 31,00 = 15,00"),
        ("fr", "Au prorata: 0,483870967742 × 31,00 = 15,00"),
    ],
)
def test_a_fee_of_a_part_says_which_part(language: str, text: str) -> None:
    prices = PriceBook.from_dict(
        {"price_book": "b", "currency": "EUR", "base_fee": 31, "metrics": {"calls": 1}}
    )
    half = Span(JANUARY.start, JANUARY.start + timedelta(days=15), prices)
    bill = compute(Terms("acme", JANUARY, "EUR", [half]), [{}])
    both_show(replace(make_invoice(), bill=bill), text, language=language)


@settings(max_examples=30, deadline=None)
@given(invoices())
def test_any_invoice_becomes_a_page_with_its_sums(invoice: Invoice) -> None:
    texts = Reader(to_html(invoice)).texts
    bill = invoice.bill
    digits = 0 if bill.currency == "JPY" else 2
    assert f"{bill.currency} {bill.total:,.{digits}f}" in texts
    assert texts.count(f"{bill.lines[0].amount:,.{digits}f}") >= 1


def test_precision_of_the_program_changes_nothing() -> None:
    invoice = make_invoice(line("12345678.91"), notes=("x",))
    expected = to_html(invoice)
    with localcontext() as context:
        context.prec = 3
        assert to_html(invoice) == expected


# ------------------------------------------------------------------------------ hostile texts

EVIL = (
    "<script>alert(1)</script><img src=x onerror=y>&lt;\"'`{{7*7}}{% raw %}\x00\x07\u202egnp\u2066"
)


def everywhere(text: str) -> Iterator[Invoice | CreditNote]:
    party: dict[str, Any] = dict.fromkeys(
        ("name", "street", "city", "region", "contact", "reference"), text
    )
    seller = replace(SELLER, **party, email=text, tax_id=text, registration=text, iban=text)
    invoice = make_invoice(
        usage_line(
            description=text,
            unit=text,
            plan=text,
            tiers=(TierLine(text, None, D(1), D(1), D(1)),),
        ),
        seller=seller,
        buyer=replace(BUYER, **party),
        number=text,
        notes=(text, text),
        discount="1.00",
        credit="1.00",
        names=(text, text),
        reasons={"S": text},
    )
    yield invoice
    yield make_credit_note(invoice, reason=text)


def test_no_text_becomes_markup() -> None:
    usual = Reader(to_html(make_invoice(notes=("a", "b"))))
    for document in everywhere(EVIL):
        page = to_html(document)
        found = Reader(page)
        assert set(found.tags) <= set(usual.tags)
        assert {name for name, _ in found.attributes} <= {n for n, _ in usual.attributes}
        assert "<script" not in page
        assert "{{7*7}}" in " ".join(found.texts)
        assert "\x00" not in page
        assert "\u202e" not in page
        assert "<U+202E>gnp<U+2066>" in " ".join(found.texts)


def test_the_page_asks_for_nothing() -> None:
    page = to_html(make_invoice())
    assert "default-src 'none'" in page
    found = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(found.tags)
    assert not {"src", "href", "onload", "style"} & {name for name, _ in found.attributes}
    assert "url(" not in page
    assert "@import" not in page


def test_marks_that_nobody_sees_are_shown_in_print_too() -> None:
    for document in everywhere(EVIL.replace("<", "(")):
        text = "".join(" ".join(pages_of(to_pdf(document))).split())
        assert "<U+202E>gnp<U+2066>" in text
        assert "<U+0000>" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: {"notes": (text,)},
        lambda text: {"number": text},
        lambda text: {"seller": replace(SELLER, name=text)},
        lambda text: {"buyer": replace(BUYER, email=text)},
        lambda text: {"bill": make_bill([line("1.00", description=text)])},
        lambda text: {"bill": make_bill([usage_line(unit=text)])},
    ],
)
def test_a_text_of_ten_megabytes_is_refused_at_once(change: Any) -> None:
    invoice = make_invoice()
    for function in (to_html, to_pdf):
        with pytest.raises(InvalidValue, match="10,000,000 characters"):
            function(replace(invoice, **change("x" * 10_000_000)))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": " "}, "number"),
        ({"issued_at": datetime(2026, 4, 1)}, "issued_at"),
        ({"seller": replace(SELLER, country="Germany")}, "seller.country"),
        ({"seller": replace(SELLER, name="\ud800")}, "seller.name"),
        ({"notes": ("x",) * 51}, "notes"),
        ({"bill": {"total": D("116.60")}}, "bill.total"),
        ({"bill": {"subtotal": D("1.00")}}, "bill.subtotal"),
        ({"bill": {"discount": D("1.00")}}, "bill.discount"),
        ({"bill": {"net": D("101.001")}}, "bill.net"),
        ({"bill": {"due": D("1.00")}}, "bill.due"),
        ({"bill": {"tax": D("NaN")}}, "bill.tax"),
        ({"bill": {"taxes": ()}}, "bill.tax"),
        ({"bill": {"currency": "XYZ"}}, "currency"),
        ({"bill": {"lines": (line("101.00", tax=D("15.59")),)}}, "bill.taxes[0].base"),
        ({"bill": {"lines": (line("101.00"),) * 10_001}}, "bill.lines"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(change: dict[str, Any], field: str) -> None:
    invoice = make_invoice()
    if "bill" in change:
        change = {"bill": replace(invoice.bill, **change["bill"])}
    with pytest.raises(InvalidValue) as refused:
        to_html(replace(invoice, **change))
    assert refused.value.field == field


def test_what_is_no_document() -> None:
    for value in (None, make_invoice().bill, "invoice"):
        with pytest.raises(InvalidValue):
            to_html(value)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------- pages


def test_many_lines_fill_pages_with_heads_and_numbers() -> None:
    lines = [line("1.00", description=f"Charge number {i}") for i in range(500)]
    invoice = make_invoice(*lines)
    pages = pages_of(to_pdf(invoice))
    assert 8 < len(pages) < 20
    for i, page in enumerate(pages, 1):
        assert f"page {i} of {len(pages)}" in page
        assert "Invoice 2026-000042" in page
        if "Charge number" in page:
            assert page.count("Amount EUR") == 1
    whole = "\n".join(pages)
    assert re.findall(r"Charge number (\d+)", whole) == [str(i) for i in range(500)]
    assert "Total EUR 595.00" in whole.replace("\n", " ")


def test_no_text_stands_for_the_number_of_pages() -> None:
    lines = [line("1.00", description="{nb} {{nb}} {page} of {pages} **b** __i__")] * 100
    pages = pages_of(to_pdf(make_invoice(*lines, buyer=replace(BUYER, name="{nb}"))))
    assert "{nb}" in pages[0].partition("Number")[0]
    assert "\n".join(pages).count("{nb} {{nb}} {page} of {pages} **b** __i__") == 100


def ends_of(page: Any) -> list[tuple[float, str]]:
    """How far to the right each text goes at least: letters are rarely narrower than 0.3 of their
    size."""
    found: list[tuple[float, str]] = []

    def visit(text: str, _: Any, at: list[float], font: Any, size: float) -> None:
        if text.strip():
            found.append((at[4] + 0.3 * size * len(text.strip()), text))

    page.extract_text(visitor_text=visit)
    return found


def test_nothing_is_beside_the_paper() -> None:
    invoice = make_invoice(discount="5.00", inclusive=True, notes=("Thanks. " * 60,))
    wide = make_invoice(line("123456789012.34", quantity=D("1234567890.123456789"), unit="u" * 40))
    for document in (invoice, make_credit_note(invoice), wide):
        for page in pypdf.PdfReader(io.BytesIO(to_pdf(document))).pages:
            end, text = max(ends_of(page))
            assert end <= 595.28 - 50, text


@pytest.mark.parametrize(
    ("language", "group", "point"), [("en", ",", "."), ("de", ".", ","), ("fr", " ", ",")]
)
def test_a_number_is_torn_behind_a_mark_alone(language: str, group: str, point: str) -> None:
    quantity = D("9876543210987654321.123456789012")
    invoice = make_invoice(
        line("12345678901234567890.12", quantity=quantity, description="w " * 60)
    )
    text = " ".join(pages_of(to_pdf(invoice, language=language))).replace("\u00a0", " ")
    for piece in ("9,876,543,210,987,654", "321.123456789012", "12,345,678,901,234,567", "890.12"):
        shown_as = piece.translate({ord(","): group, ord("."): point})
        assert re.search(rf"(?<![0-9]){re.escape(shown_as)}(?![0-9])", text), (shown_as, text)


def test_the_rule_above_the_foot_is_light_on_every_page() -> None:
    """The last rule of a page may be dark, and the next page's does not change that."""
    invoice = make_invoice(*[line("1.00")] * 53)  # the second page ends with the total
    reader = pypdf.PdfReader(io.BytesIO(to_pdf(invoice)))
    assert len(reader.pages) == 3
    assert "Total" in reader.pages[1].extract_text()
    for page in reader.pages:
        drawn = page.get_contents().get_data().decode("latin-1").split("\n")
        at = max(i for i, one in enumerate(drawn) if one.endswith(" l S"))
        colour = next(one for one in reversed(drawn[:at]) if one.endswith(" RG"))
        assert [round(float(part) * 255) for part in colour.split()[:3]] == [216, 222, 230]


def test_joiners_stay_where_a_script_or_an_emoji_needs_them() -> None:
    for text in (
        "می\u200cخواهم",
        "क्\u200dष",
        "\U0001f468\u200d\U0001f469",
        "\u2764\ufe0f\u200d\U0001f525",
    ):
        assert text in to_html(make_invoice(line("1.00", description=text)))
    for text in (
        "a\u200cb",
        "\u200cمی",
        "می\u200c",
        "1\u200d2",
        "می\u200d\u202eخ",
        "a\u200d\U0001f469",
    ):
        page = to_html(make_invoice(line("1.00", description=text)))
        assert text not in page
        assert "&lt;U+200" in page
    persian = to_pdf(make_invoice(line("1.00", description="می\u200cخواهم")))
    assert "U+200C" not in " ".join(pages_of(persian))


def test_no_part_of_a_long_text_is_lost() -> None:
    words = [f"word{i}" for i in range(250)]
    notes = tuple(" ".join(f"note{i}x{j}" for j in range(150)) for i in range(8))
    invoice = make_invoice(
        line("1.00", description=" ".join(words)),
        line("123456789012.34", description="w" * 2000, quantity=D("123456789.123456789")),
        notes=notes,
    )
    text = "".join("".join(pages_of(to_pdf(invoice))).split())
    for word in words:
        assert word in text
    for note in notes:
        assert note.split()[-1] in text
    assert text.count("w") >= 2000


def test_the_same_document_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib, sys; from document_support import make_invoice, make_credit_note; "
        "from tenancy.delivery import to_html, to_pdf; i = make_invoice(notes=('x',)); "
        "print([hashlib.sha256(one).hexdigest() for one in "
        "(to_html(i).encode(), to_pdf(i), to_pdf(make_credit_note(i)))])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(outputs) == 1


# -------------------------------------------------------------------------------------- fonts


@pytest.fixture(scope="module")
def kana(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font of six letters that DejaVu Sans lacks."""
    letters = "サービス料金"
    names = [".notdef", *(f"g{ord(letter):X}" for letter in letters)]
    pen = TTGlyphPen(None)
    for x, y in ((100, 0), (100, 700), (800, 700), (800, 0)):
        (pen.moveTo if (x, y) == (100, 0) else pen.lineTo)((x, y))
    pen.closePath()
    box = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): f"g{ord(one):X}" for one in letters})
    builder.setupGlyf(dict.fromkeys(names, box))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Six", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path = tmp_path_factory.mktemp("fonts") / "six.ttf"
    builder.save(path)
    return path


def test_letters_that_no_font_has_are_an_error() -> None:
    invoice = make_invoice(line("3.00", description="サービス料金"))
    with pytest.raises(InvalidValue, match=r"U\+30B5 KATAKANA LETTER SA.*fonts=") as refused:
        to_pdf(invoice)
    assert refused.value.field == "fonts"
    assert "サービス料金" in to_html(invoice)


def test_they_come_from_the_fonts_that_are_named(kana: Path) -> None:
    buyer = replace(BUYER, name="サービス料金 SAS")  # in bold
    invoice = make_invoice(line("3.00", description="サービス料金"), buyer=buyer)
    text = " ".join(pages_of(to_pdf(invoice, fonts=[kana])))
    assert text.count("サービス料金") == 2
    assert to_pdf(invoice, fonts=[kana]) == to_pdf(invoice, fonts=[str(kana)])


def test_numbers_keep_their_font_beside_a_name_in_another(tmp_path: Path) -> None:
    """A font that has digits too would go on to the amounts of the row."""
    with TTFont("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf") as font:
        for table in font["cmap"].tables:
            table.cmap[0x6599] = table.cmap[ord("x")]
        font.save(tmp_path / "another.ttf")
    invoice = make_invoice(line("3.17", description="料 (x)"), line("4.00"))
    pdf = to_pdf(invoice, fonts=[tmp_path / "another.ttf"])
    page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
    fonts: dict[str, str] = {}

    def visit(text: str, _: Any, at: list[float], font: Any, size: float) -> None:
        if text.strip():
            fonts[text.strip()] = font["/BaseFont"]

    page.extract_text(visitor_text=visit)
    assert "Mono" in fonts["料"]
    assert "Mono" not in fonts["3.17"]


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "x.ttf").write_bytes(b"not a font")
    for path in (tmp_path / "x.ttf", tmp_path / "missing.ttf"):
        with pytest.raises(InvalidValue, match="cannot be read as a font"):
            to_pdf(make_invoice(), fonts=[path])


def test_greek_cyrillic_hebrew_and_arabic_need_no_other_font() -> None:
    names = ("Ελληνικά ΑΕ", "ООО Ромашка", "חברה", "شركة")
    lines = [line("1.00", description=name) for name in names]
    text = " ".join(pages_of(to_pdf(make_invoice(*lines))))
    for name in names[:2]:
        assert name in text
    # Letters joined and set from right to left: what is read back is their forms, in some order.
    assert set("חברה") <= set(text)


@pytest.mark.parametrize(
    ("missing", "call", "named"),
    [
        ("jinja2", "to_html(make_invoice())", "jinja2"),
        ("fpdf", "to_pdf(make_invoice())", "fpdf2"),
        ("uharfbuzz", "to_pdf(make_invoice(line('1.00', description='חברה')))", "uharfbuzz"),
    ],
)
def test_what_is_not_installed_names_the_extra(missing: str, call: str, named: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from document_support import line, make_invoice\n"
        "from tenancy.delivery import to_cii, to_csv, to_html, to_pdf\n"
        "from tenancy.errors import ExtraMissing\n"
        "assert to_cii(make_invoice()) and to_csv(make_invoice())\n"
        f"try: {call}\n"
        "except ExtraMissing as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert done.stdout == f"{named} is not installed: pip install 'tenancy[einvoice]'\n", done
