"""What the page of a document shows, as text: HTML and PDF lay the same view out.

Texts come from callers. What cannot be seen on paper (a control character, a mark that turns the
reading direction) is shown by its number, so that no name makes an amount read otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal

from .._text import visible
from ..billing import BillLine, CreditNote, Invoice, Party, TaxTotal, TierLine
from ..pricing import minor_digits
from ._check import Document, checked, day, last_day, zone_of
from ._words import Language, language_of

__all__ = ["Row", "Sum", "TaxRow", "View", "view_of"]


_BLANKS = {0x09: " ", 0xA0: " ", 0x202F: " "}


@dataclass(frozen=True, slots=True)
class Row:
    """One charge; `details` stand below its description."""

    description: str
    details: tuple[str, ...]
    quantity: str
    price: str
    rate: str
    amount: str


@dataclass(frozen=True, slots=True)
class Sum:
    """A line below the charges."""

    label: str
    amount: str
    strong: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class TaxRow:
    """A line of the table of taxes."""

    label: str
    rate: str
    base: str
    amount: str
    reason: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is on the page, in its order."""

    language: Language
    kind: str
    number: str
    currency: str
    seller: tuple[str, ...]
    buyer: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    sums: tuple[Sum, ...]
    tax_head: tuple[str, ...]
    taxes: tuple[TaxRow, ...]
    blocks: tuple[tuple[str, tuple[str, ...]], ...]
    """Titles and paragraphs below: reason, payment, notes."""
    digest: str

    def texts(self) -> Iterator[str]:
        """All of it, for whoever has to know which letters are needed."""
        yield from (self.kind, self.number, self.currency, self.digest)
        yield from (*self.seller, *self.buyer, *self.head, *self.tax_head)
        for pair in self.facts:
            yield from pair
        for row in self.rows:
            yield from (row.description, *row.details, row.quantity, row.price, row.rate)
            yield row.amount
        for total in self.sums:
            yield from (total.label, total.amount)
        for tax in self.taxes:
            yield from (tax.label, tax.rate, tax.base, tax.amount, tax.reason)
        for title, paragraphs in self.blocks:
            yield from (title, *paragraphs)
        yield self.language["page"]


def view_of(document: Document, language: str, zone: str | tzinfo) -> View:
    """Raises `InvalidValue` for a document that contradicts itself, a language, a time zone."""
    words, place = language_of(language), zone_of(zone)
    checked(document)
    if isinstance(document, Invoice):
        return _Builder(words, place, document.bill.currency).invoice(document)
    return _Builder(words, place, document.currency).credit_note(document)


class _Builder:
    def __init__(self, words: Language, zone: tzinfo, currency: str) -> None:
        self._words = words
        self._zone = zone
        self._currency = currency
        self._digits = minor_digits(currency)

    def invoice(self, invoice: Invoice) -> View:
        words, bill, place = self._words, invoice.bill, self._zone
        facts = [
            (words["number"], _plain(invoice.number)),
            (words["issued"], words.day(day(invoice.issued_at, place))),
            (
                words["period"],
                words.days(day(bill.period.start, place), last_day(bill.period, place)),
            ),
            (words["due"], words.day(day(invoice.due_at, place))),
        ]
        if invoice.buyer.reference:
            facts.append((words["reference"], _plain(invoice.buyer.reference)))
        notes = [*map(_plain, _paragraphs(invoice.notes))]
        if bill.tax_inclusive:
            notes.insert(0, words["inclusive"])
        blocks: list[tuple[str, tuple[str, ...]]] = [(words["payment"], (self._payment(invoice),))]
        if notes:
            blocks.append((words["notes"], tuple(notes)))
        return View(
            language=words,
            kind=words["invoice"],
            number=_plain(invoice.number),
            currency=self._currency,
            seller=self._party(invoice.seller),
            buyer=self._party(invoice.buyer),
            facts=tuple(facts),
            head=self._head(),
            rows=tuple(self._row(line, invoice) for line in bill.lines),
            sums=tuple(self._sums(invoice)),
            tax_head=self._tax_head(),
            taxes=tuple(map(self._tax_row, bill.taxes)),
            blocks=tuple(blocks),
            digest=_plain(invoice.digest),
        )

    def credit_note(self, note: CreditNote) -> View:
        words = self._words
        of = _plain(note.invoice)
        if note.invoice_issued_at is not None:
            of += f" ({words.day(day(note.invoice_issued_at, self._zone))})"
        facts = [
            (words["number"], _plain(note.number)),
            (words["issued"], words.day(day(note.issued_at, self._zone))),
            (words["of_invoice"], of),
        ]
        if note.buyer.reference:
            facts.append((words["reference"], _plain(note.buyer.reference)))
        sums = [
            Sum(words["net"], self._money(note.net)),
            Sum(words["tax"], self._money(note.tax)),
            Sum(words["credited"], self._money(note.total, code=True), strong=True),
        ]
        if note.refund:
            sums.append(Sum(words["refund"], self._money(note.refund, code=True)))
        if note.refund < note.total:
            sums.append(Sum(words["lowers"], self._money(note.total - note.refund, code=True)))
        if note.credit:
            sums.append(Sum(words["returned"], self._money(note.credit, code=True)))
        rows = tuple(
            Row(
                _plain(line.description),
                (f"{words['returned']}: {self._money(line.credit)}",) if line.credit else (),
                "",
                "",
                self._rate(line.tax_category, line.tax_rate),
                self._money(line.net),
            )
            for line in note.lines
        )
        return View(
            language=words,
            kind=words["credit_note"],
            number=_plain(note.number),
            currency=note.currency,
            seller=self._party(note.seller),
            buyer=self._party(note.buyer),
            facts=tuple(facts),
            head=(words["description"], "", "", words["rate"], self._in("net_in")),
            rows=rows,
            sums=tuple(sums),
            tax_head=self._tax_head(),
            taxes=tuple(map(self._tax_row, note.taxes)),
            blocks=((words["reason"], tuple(map(_plain, _paragraphs([note.reason])))),)
            if note.reason.strip()
            else (),
            digest=_plain(note.digest),
        )

    # ------------------------------------------------------------------------------ pieces

    def _head(self) -> tuple[str, ...]:
        words = self._words
        names = ("description", "quantity", "price", "rate")
        return (*(words[name] for name in names), self._in("amount_in"))

    def _in(self, name: str) -> str:
        return self._words[name].format(currency=self._currency)

    def _tax_head(self) -> tuple[str, ...]:
        words = self._words
        return (words["taxes"], words["tax_rate"], words["base"], words["tax_amount"])

    def _row(self, line: BillLine, invoice: Invoice) -> Row:
        words = self._words
        quantity = words.number(line.quantity)
        details = []
        if line.period != invoice.bill.period:
            first, last = day(line.period.start, self._zone), last_day(line.period, self._zone)
            details.append(words.days(first, last))
        if line.unit_price is None:
            details += map(self._tier, line.tiers)
        if line.events is not None and line.events.events:
            n = line.events.events
            details.append(
                words["event"] if n == 1 else words["events"].format(n=words.number(Decimal(n)))
            )
        return Row(
            _plain(line.description),
            tuple(details),
            f"{quantity} {_plain(line.unit)}".rstrip(),
            "" if line.unit_price is None else words.number(line.unit_price, self._digits),
            self._rate(line.tax_category, line.tax_rate),
            self._money(line.amount),
        )

    def _tier(self, tier: TierLine) -> str:
        words = self._words
        label = words.words.get(tier.kind) or _plain(tier.kind)
        if tier.tier is not None:
            label = f"{words['tier'].format(tier=tier.tier)}, {label}"
        amount = words.number(tier.amount, self._digits)
        if tier.kind in ("usage", "included", "prorated"):
            unit = words.number(tier.unit, self._digits)
            return f"{label}: {words.number(tier.quantity)} × {unit} = {amount}"
        return f"{label}: {amount}"

    def _sums(self, invoice: Invoice) -> Iterator[Sum]:
        words, bill = self._words, invoice.bill
        inclusive, late = bill.tax_inclusive, bill.credit_after_tax
        taken = [
            Sum(words["credit"].format(name=_plain(one.name)), self._money(-one.amount))
            for one in bill.credits
        ]
        if bill.discounts or (bill.credits and not late):
            yield Sum(words["subtotal"], self._money(bill.subtotal))
        for one in bill.discounts:
            yield Sum(words["discount"].format(name=_plain(one.name)), self._money(-one.amount))
        if not late:
            yield from taken
        if not inclusive:
            yield Sum(words["net"], self._money(bill.net))
            yield Sum(words["tax"], self._money(bill.tax))
        yield Sum(words["total"], self._money(bill.total, code=True), strong=True)
        if inclusive:
            yield Sum(words["tax_of_it"], self._money(bill.tax), soft=True)
        if late:
            yield from taken
        if bill.due != bill.total:
            yield Sum(words["payable"], self._money(bill.due, code=True), strong=True)

    def _tax_row(self, tax: TaxTotal) -> TaxRow:
        words = self._words
        return TaxRow(
            self._tax_name(tax),
            self._rate(tax.category, tax.rate),
            words.number(tax.base, self._digits),
            words.number(tax.amount, self._digits),
            _plain(words.tax_reason(tax.category, tax.reason)),
        )

    def _tax_name(self, tax: TaxTotal) -> str:
        meaning = self._words[f"cat_{tax.category}"]
        return f"{_plain(tax.name)} ({meaning})" if tax.name else meaning

    def _rate(self, category: str, rate: Decimal) -> str:
        return "–" if category == "O" else f"{self._words.number(rate)} %"

    def _money(self, amount: Decimal, *, code: bool = False) -> str:
        text = self._words.number(amount, self._digits)
        return f"{self._currency} {text}" if code else text

    def _payment(self, invoice: Invoice) -> str:
        words, bill = self._words, invoice.bill
        if bill.due <= 0:
            return words["nothing"]
        amount = self._money(bill.due, code=True)
        number = _plain(invoice.number)
        when = words["pay"].format(
            amount=amount, day=words.day(day(invoice.due_at, self._zone)), number=number
        )
        if not invoice.seller.iban:
            return when
        return words["pay_to"].format(
            amount=amount,
            name=_plain(invoice.seller.name),
            iban=_plain(invoice.seller.iban),
            number=number,
        )

    def _party(self, party: Party) -> tuple[str, ...]:
        words = self._words
        town = " ".join(part for part in (party.postcode, party.city) if part)
        place = ", ".join(part for part in (town, party.region, party.country) if part)
        labelled = (
            (words["tax_id"], party.tax_id),
            (words["registration"], party.registration),
        )
        lines = [party.name, party.contact, party.street, place]
        lines += [f"{label} {value}" for label, value in labelled if value]
        lines.append(party.email)
        return tuple(_plain(line) for line in lines if line)


def _plain(text: str) -> str:
    return visible(text.translate(_BLANKS))


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from filter(None, map(str.strip, text.splitlines()))
