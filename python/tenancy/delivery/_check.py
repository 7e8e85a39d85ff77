"""What must hold of a document before it goes out in any form.

Documents are values that anybody can build. One whose sums do not add up, or whose texts are of
any length, is refused here, so that the HTML, the PDF and the XML of a number say the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import TypeAlias, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .._text import shown
from ..billing import (
    AppliedCredit,
    AppliedDiscount,
    BillLine,
    CreditNote,
    Invoice,
    Party,
    Period,
    TaxCategory,
    TaxTotal,
)
from ..errors import InvalidValue
from ..pricing import minor_digits
from ._exact import exactly

__all__ = ["Document", "Net", "checked", "day", "last_day", "lines_net", "prepaid", "zone_of"]

Document: TypeAlias = Invoice | CreditNote

_TEXT_MOST = 2_000
_SHORT_MOST = 200
_LINES_MOST = 10_000
_TIERS_MOST = 1_000
_NOTES_MOST = 50
_LARGEST = Decimal(10) ** 26
_CATEGORIES = frozenset(cast("tuple[str, ...]", get_args(TaxCategory)))
_SHORT = frozenset({"country", "postcode", "email", "tax_id", "registration", "iban"})


@dataclass(frozen=True, slots=True)
class Net:
    """One line as tax sees it, on any document."""

    description: str
    net: Decimal
    """Without tax, discount and credit."""
    category: TaxCategory
    rate: Decimal
    tax: Decimal


@exactly
def checked(document: Document) -> Document:
    """The document. Raises `InvalidValue`, naming the field, for one that contradicts itself."""
    if isinstance(document, Invoice):
        _check_invoice(document)
    elif isinstance(document, CreditNote):
        _check_credit_note(document)
    else:
        raise InvalidValue("document", f"expected an Invoice or CreditNote, got {shown(document)}")
    return document


def zone_of(zone: str | tzinfo) -> tzinfo:
    """The time zone in which moments become dates."""
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidValue(
            "zone", f"no time zone {shown(zone)}", remedy="a name such as Europe/Berlin"
        ) from None


def day(moment: datetime, zone: tzinfo) -> date:
    return moment.astimezone(zone).date()


def last_day(period: Period, zone: tzinfo) -> date:
    """The last day that has a part in the period: its end is not in it."""
    last = period.end - timedelta(microseconds=1) if period.end > period.start else period.end
    return day(last, zone)


def lines_net(document: Document) -> tuple[Net, ...]:
    """What tax is due on, line by line; sums to the document's net."""
    if isinstance(document, CreditNote):
        return tuple(
            Net(line.description, line.net, line.tax_category, line.tax_rate, line.tax)
            for line in document.lines
        )
    bill = document.bill
    found = []
    for line in bill.lines:
        net = line.amount - line.discount
        net -= Decimal(0) if bill.credit_after_tax else line.credit
        net -= line.tax if bill.tax_inclusive else Decimal(0)
        found.append(Net(line.description, net, line.tax_category, line.tax_rate, line.tax))
    return tuple(found)


def prepaid(document: Document) -> Decimal:
    """What of the total needs no payment: credits taken after tax. Below 0 where the total is: the
    rest is the buyer's."""
    return document.bill.total - document.bill.due if isinstance(document, Invoice) else Decimal(0)


# ------------------------------------------------------------------------------- the two kinds


def _check_invoice(invoice: Invoice) -> None:
    bill = invoice.bill
    digits = minor_digits(bill.currency)
    _text(invoice.number, "number", _SHORT_MOST, empty=False)
    _party(invoice.seller, "seller")
    _party(invoice.buyer, "buyer")
    _moment(invoice.issued_at, "issued_at")
    _moment(invoice.due_at, "due_at")
    _period(bill.period, "bill.period")
    if len(invoice.notes) > _NOTES_MOST:
        raise InvalidValue("notes", f"{len(invoice.notes)}, at most {_NOTES_MOST} are possible")
    for i, note in enumerate(invoice.notes):
        _text(note, f"notes[{i}]", _TEXT_MOST)
    _count(len(bill.lines), "bill.lines")
    for i, line in enumerate(bill.lines):
        _line(line, f"bill.lines[{i}]", digits)
    applied: dict[str, Sequence[AppliedCredit | AppliedDiscount]] = {
        "discounts": bill.discounts,
        "credits": bill.credits,
    }
    for name, each in applied.items():
        for i, one in enumerate(each):
            _text(one.name, f"bill.{name}[{i}].name", _TEXT_MOST)
            _amount(one.amount, f"bill.{name}[{i}].amount", digits, least=Decimal(0))
    sums = {
        "subtotal": sum((line.amount for line in bill.lines), Decimal(0)),
        "discount": sum((one.amount for one in bill.discounts), Decimal(0)),
        "credit": sum((one.amount for one in bill.credits), Decimal(0)),
        "tax": sum((one.amount for one in bill.taxes), Decimal(0)),
        "total": bill.net + bill.tax,
    }
    for name in ("subtotal", "discount", "credit", "net", "tax", "total", "due"):
        _amount(getattr(bill, name), f"bill.{name}", digits)
    _equal({f"bill.{name}": (getattr(bill, name), value) for name, value in sums.items()})
    left = bill.total - (bill.credit if bill.credit_after_tax else Decimal(0))
    if bill.due != max(left, Decimal(0)):
        raise InvalidValue("bill.due", f"{bill.due}, but {left} of the total is left")
    _taxes(bill.taxes, lines_net(invoice), bill.net, digits, "bill.")


def _check_credit_note(note: CreditNote) -> None:
    digits = minor_digits(note.currency)
    _text(note.number, "number", _SHORT_MOST, empty=False)
    _text(note.invoice, "invoice", _SHORT_MOST, empty=False)
    _text(note.reason, "reason", _TEXT_MOST)
    _party(note.seller, "seller")
    _party(note.buyer, "buyer")
    _moment(note.issued_at, "issued_at")
    if note.invoice_issued_at is not None:
        _moment(note.invoice_issued_at, "invoice_issued_at")
    _count(len(note.lines), "lines")
    for i, line in enumerate(note.lines):
        _text(line.description, f"lines[{i}].description", _TEXT_MOST)
        _amount(line.net, f"lines[{i}].net", digits)
        _tax(line.tax_category, line.tax_rate, f"lines[{i}]")
        _amount(line.tax, f"lines[{i}].tax", digits)
        _amount(line.credit, f"lines[{i}].credit", digits)
    for name in ("net", "tax"):
        _amount(getattr(note, name), name, digits)
    for name in ("total", "refund", "credit"):
        _amount(getattr(note, name), name, digits, least=Decimal(0))
    _equal(
        {
            "tax": (note.tax, sum((one.amount for one in note.taxes), Decimal(0))),
            "total": (note.total, note.net + note.tax),
            "credit": (note.credit, sum((line.credit for line in note.lines), Decimal(0))),
        }
    )
    if note.refund > note.total:
        raise InvalidValue("refund", f"{note.refund} is more than the total {note.total}")
    _taxes(note.taxes, lines_net(note), note.net, digits, "")


def _taxes(
    taxes: tuple[TaxTotal, ...], lines: tuple[Net, ...], net: Decimal, digits: int, at: str
) -> None:
    """The table of taxes has a row for each category and rate of the lines, and their sums."""
    found: dict[tuple[str, Decimal], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for line in lines:
        found[line.category, line.rate][0] += line.net
        found[line.category, line.rate][1] += line.tax
    seen = set()
    for i, one in enumerate(taxes):
        field = f"{at}taxes[{i}]"
        _text(one.name, f"{field}.name", _SHORT_MOST)
        _text(one.reason, f"{field}.reason", _TEXT_MOST)
        _tax(one.category, one.rate, field)
        _amount(one.base, f"{field}.base", digits)
        _amount(one.amount, f"{field}.amount", digits)
        if (one.category, one.rate) in seen:
            raise InvalidValue(field, f"a second row for {one.category} at {one.rate} %")
        seen.add((one.category, one.rate))
        base, amount = found.get((one.category, one.rate), (Decimal(0), Decimal(0)))
        _equal({f"{field}.base": (one.base, base), f"{field}.amount": (one.amount, amount)})
    for category, rate in found.keys() - seen:
        raise InvalidValue(f"{at}taxes", f"no row for {category} at {rate} %, which lines have")
    _equal({f"{at}net": (net, sum((line.net for line in lines), Decimal(0)))})


# ---------------------------------------------------------------------------------- the pieces


def _line(line: BillLine, field: str, digits: int) -> None:
    _text(line.description, f"{field}.description", _TEXT_MOST)
    for name in ("unit", "metric", "plan", "price_book", "price_version"):
        _text(getattr(line, name) or "", f"{field}.{name}", _SHORT_MOST)
    _period(line.period, f"{field}.period")
    for name in ("amount", "discount", "credit", "tax"):
        _amount(getattr(line, name), f"{field}.{name}", digits)
    _number(line.quantity, f"{field}.quantity")
    if line.unit_price is not None:
        _number(line.unit_price, f"{field}.unit_price")
    _tax(line.tax_category, line.tax_rate, field)
    if len(line.tiers) > _TIERS_MOST:
        raise InvalidValue(f"{field}.tiers", f"{len(line.tiers)}, at most {_TIERS_MOST}")
    for i, tier in enumerate(line.tiers):
        _text(tier.kind, f"{field}.tiers[{i}].kind", _SHORT_MOST)
        for name in ("quantity", "unit", "amount"):
            _number(getattr(tier, name), f"{field}.tiers[{i}].{name}")


def _party(party: Party, field: str) -> None:
    for one in fields(party):
        most = _SHORT_MOST if one.name in _SHORT else 500
        _text(getattr(party, one.name), f"{field}.{one.name}", most, empty=one.name != "name")
    if party.country and not (
        len(party.country) == 2 and party.country.isascii() and party.country.isupper()
    ):
        raise InvalidValue(
            f"{field}.country", shown(party.country), remedy="two letters of ISO 3166-1: DE"
        )


def _tax(category: str, rate: Decimal, field: str) -> None:
    if category not in _CATEGORIES:
        raise InvalidValue(f"{field}.tax_category", f"{shown(category)} is none of UNTDID 5305")
    _number(rate, f"{field}.tax_rate")
    if not 0 <= rate <= 1000 or (category != "S" and rate != 0):
        raise InvalidValue(f"{field}.tax_rate", f"{rate} % in category {category}")


def _text(text: object, field: str, most: int, *, empty: bool = True) -> None:
    if not isinstance(text, str):
        raise InvalidValue(field, f"expected text, got {type(text).__name__}")
    if len(text) > most:
        raise InvalidValue(field, f"{len(text):,} characters, at most {most:,} are possible")
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidValue(field, "holds lone surrogates, which are no text")
    if not empty and not text.strip():
        raise InvalidValue(field, "expected some text, got none")


def _number(value: object, field: str) -> None:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise InvalidValue(field, f"expected a Decimal, got {shown(value)}")
    if abs(value) >= _LARGEST or cast(int, value.as_tuple().exponent) < -24:
        raise InvalidValue(field, f"{shown(value)} has too many digits")


def _amount(value: object, field: str, digits: int, *, least: Decimal | None = None) -> None:
    _number(value, field)
    assert isinstance(value, Decimal)
    if round(value, digits) != value:
        raise InvalidValue(field, f"{value} has more than {digits} digits after the point")
    if least is not None and value < least:
        raise InvalidValue(field, f"{value} is below {least}")


def _equal(pairs: Mapping[str, tuple[Decimal, Decimal]]) -> None:
    for field, (told, counted) in pairs.items():
        if told != counted:
            raise InvalidValue(field, f"{told}, but its parts make {counted}")


def _moment(moment: object, field: str) -> None:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidValue(field, f"expected a datetime with a time zone, got {shown(moment)}")


def _period(period: Period, field: str) -> None:
    _moment(period.start, f"{field}.start")
    _moment(period.end, f"{field}.end")
    if period.end < period.start:
        raise InvalidValue(field, "ends before it starts")


def _count(lines: int, field: str) -> None:
    if lines > _LINES_MOST:
        raise InvalidValue(field, f"{lines:,}, at most {_LINES_MOST:,} are possible")
