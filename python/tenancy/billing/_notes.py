"""Taking an invoice back, in parts or as a whole; `tenancy.billing` exports it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from .._text import check_text
from ..errors import InvalidValue
from ..pricing import Number, minor_digits, round_money
from ._documents import BillLine, CreditNote, CreditNoteLine, Invoice, TaxTotal
from ._json import sealed
from ._numbers import amount_of, assign, aware, exact, one_of, rounded, shares, units_of

__all__ = ["Part", "credit_note", "left_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one line of an invoice: an amount without tax, or with it, or all that is left.

    `line` is the line's index. Amounts have the sign of the line's.
    """

    line: int
    net: Decimal | None = None
    total: Decimal | None = None

    def __init__(
        self, line: int, net: Number | None = None, *, total: Number | None = None
    ) -> None:
        if net is not None and total is not None:
            raise InvalidValue("part", "expected net or total, not both")
        assign(
            self,
            line=line,
            net=None if net is None else exact(net, "part.net"),
            total=None if total is None else exact(total, "part.total"),
        )


def left_of(invoice: Invoice, earlier: Iterable[CreditNote] = ()) -> tuple[Part, ...]:
    """What earlier credit notes left of every line, without tax: the most that can be taken."""
    left = _left_of(invoice, earlier)
    digits = minor_digits(invoice.bill.currency)
    return tuple(Part(i, amount_of(net, digits)) for i, (net, _) in enumerate(left))


def credit_note(
    invoice: Invoice,
    parts: Sequence[Part] | None = None,
    *,
    earlier: Iterable[CreditNote] = (),
    reason: str,
    issued_at: datetime,
    refund: Number = 0,
    credits: Literal["return", "keep"] = "return",  # noqa: A002 - what they are
    id: str = "",  # noqa: A002 - the name of the member
    number: str = "",
    previous: str = "",
) -> CreditNote:
    """Takes parts of an invoice back, or without `parts` all that is left of it.

    `earlier` are all credit notes that the invoice has. The tax of the parts is computed for each
    rate on what is left and allocated to its lines by the largest remainder, so that the notes of
    an invoice sum to it exactly, line by line, however it was split. `refund` is what of it is paid
    back; that no more is paid back than was paid is for the caller to see to. What credits paid of
    the parts before tax goes back to them, in proportion; with ``credits="keep"`` it is gone. The
    number may be given later: replace it, and use `sealed`.

    Raises `InvalidValue` for more than is left and for a part that is named twice.
    """
    check_text(reason, "reason", 1000)
    one_of(credits, ("return", "keep"), "credits")
    digits = minor_digits(invoice.bill.currency)
    earlier = list(earlier)
    left = _left_of(invoice, earlier)
    used = _credits_left(invoice, earlier) if credits == "return" else [0] * len(left)
    wanted = _wanted(parts, left, used, digits)
    taken = _split(invoice.bill.lines, wanted, left)
    given = {i: _credit_share(part, used[i]) for i, part in wanted.items()}
    net, tax = sum(net for net, _ in taken.values()), sum(tax for _, tax in taken.values())
    _check_total(invoice, earlier, net + tax, digits)
    back = exact(refund, "refund", least=0)
    if back > amount_of(net + tax, digits) or back != round_money(back, digits=digits):
        raise InvalidValue("refund", f"{back:f} is more than the credit note, or no amount of it")
    note = CreditNote(
        id=id,
        number=number,
        invoice=invoice.number,
        tenant=invoice.tenant,
        currency=invoice.bill.currency,
        issued_at=aware(issued_at, "issued_at"),
        reason=reason,
        seller=invoice.seller,
        buyer=invoice.buyer,
        lines=_note_lines(invoice.bill.lines, taken, given, digits),
        taxes=_tax_totals(invoice, taken, digits),
        net=amount_of(net, digits),
        tax=amount_of(tax, digits),
        total=amount_of(net + tax, digits),
        refund=back,
        digest="",
        previous=previous,
        invoice_issued_at=invoice.issued_at,
        credit=amount_of(sum(given.values()), digits),
    )
    return sealed(note)


def _note_lines(
    lines: Sequence[BillLine],
    taken: Mapping[int, tuple[int, int]],
    given: Mapping[int, int],
    digits: int,
) -> tuple[CreditNoteLine, ...]:
    return tuple(
        CreditNoteLine(
            i,
            lines[i].description,
            amount_of(net, digits),
            lines[i].tax_category,
            lines[i].tax_rate,
            amount_of(tax, digits),
            amount_of(given[i], digits),
        )
        for i, (net, tax) in sorted(taken.items())
    )


def _line_units(line: BillLine, inclusive: bool, digits: int) -> tuple[int, int]:
    """Net and tax of a line of an invoice."""
    tax = units_of(line.tax, digits)
    left = units_of(line.amount, digits) - units_of(line.discount, digits)
    left -= units_of(line.credit, digits)
    return (left - tax if inclusive else left), tax


def _left_of(invoice: Invoice, earlier: Iterable[CreditNote]) -> list[tuple[int, int]]:
    bill = invoice.bill
    digits = minor_digits(bill.currency)
    left = [_line_units(line, bill.tax_inclusive, digits) for line in bill.lines]
    for note in earlier:
        if note.invoice != invoice.number or note.tenant != invoice.tenant:
            raise InvalidValue("earlier", f"{note.number or note.id} is not of {invoice.number}")
        for part in note.lines:
            net, tax = left[_index(part.line, len(left))]
            left[part.line] = (
                net - units_of(part.net, digits),
                tax - units_of(part.tax, digits),
            )
    return left


def _credits_left(invoice: Invoice, earlier: Iterable[CreditNote]) -> list[int]:
    """What credits paid of every line before tax, and has not gone back to them."""
    digits = minor_digits(invoice.bill.currency)
    left = [units_of(line.credit, digits) for line in invoice.bill.lines]
    for note in earlier:
        for part in note.lines:
            left[part.line] -= units_of(part.credit, digits)
    return left


def _credit_share(part: _Wanted, used: int) -> int:
    """Of what credits paid of a line: as much as is taken back of what is left of it."""
    if part.whole:
        return used
    return rounded(used * part.top, part.bottom) if part.bottom else 0


def _index(line: int, lines: int) -> int:
    if isinstance(line, bool) or not isinstance(line, int) or not 0 <= line < lines:
        raise InvalidValue("part.line", f"expected 0 to {lines - 1}, got {line!r}")
    return line


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A part in smallest units: `top` / `bottom` of what is left of the line."""

    top: int
    bottom: int
    is_total: bool
    whole: bool
    """All that is left, also where that is nothing but credits."""


def _wanted(
    parts: Sequence[Part] | None,
    left: Sequence[tuple[int, int]],
    used: Sequence[int],
    digits: int,
) -> dict[int, _Wanted]:
    if parts is None:
        parts = [Part(i) for i, both in enumerate(left) if both != (0, 0) or used[i]]
    wanted: dict[int, _Wanted] = {}
    for part in parts:
        net, tax = left[_index(part.line, len(left))]
        if part.line in wanted:
            raise InvalidValue("part.line", f"line {part.line} is named twice")
        if part.net is None and part.total is None:
            wanted[part.line] = _Wanted(net + tax, net + tax, is_total=True, whole=True)
            continue
        is_total = part.net is None
        most = net + tax if is_total else net
        amount = part.total if part.net is None else part.net
        assert amount is not None
        units = _checked(amount, most, part.line, digits)
        whole = units == most != 0
        wanted[part.line] = _Wanted(units, most, is_total, whole)
    return dict(sorted(wanted.items()))


def _checked(amount: Decimal, most: int, line: int, digits: int) -> int:
    if amount != round_money(amount, digits=digits):
        raise InvalidValue("part", f"{amount:f} has more than {digits} digits after the point")
    units = units_of(amount, digits)
    if not min(most, 0) <= units <= max(most, 0):
        raise InvalidValue(
            "part", f"{amount:f} of line {line}, of which {amount_of(most, digits):f} is left"
        )
    return units


def _split(
    lines: Sequence[BillLine], wanted: Mapping[int, _Wanted], left: Sequence[tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """Net and tax of every part; the tax of a rate is rounded once, on the sum of its parts."""
    by_rate: dict[tuple[str, Decimal], list[int]] = {}
    for i in wanted:
        by_rate.setdefault((lines[i].tax_category, lines[i].tax_rate), []).append(i)
    found: dict[int, tuple[int, int]] = {}
    for group in by_rate.values():
        scale = math.lcm(*(abs(wanted[i].bottom) or 1 for i in group))
        exact_taxes = [_tax_share(wanted[i], left[i][1], scale) for i in group]
        taxes = shares(rounded(sum(exact_taxes), scale), exact_taxes, scale)
        for i, tax in zip(group, taxes, strict=True):
            part = wanted[i]
            found[i] = (part.top - tax if part.is_total else part.top, tax)
    return found


def _tax_share(part: _Wanted, tax: int, scale: int) -> int:
    """The tax of a part, in units of 1 / scale."""
    if part.bottom == 0:
        return 0
    return tax * part.top * (scale // part.bottom)


def _check_total(invoice: Invoice, earlier: Iterable[CreditNote], units: int, digits: int) -> None:
    """Lines below zero make it possible that parts of the others come to more than the invoice."""
    left = units_of(invoice.bill.total, digits)
    if left < 0:
        raise InvalidValue(
            "invoice",
            f"{invoice.number} came to {invoice.bill.total:f} {invoice.bill.currency}: nothing was"
            " charged that could be taken back",
            remedy="put what it gave too much on the next bill, as an Adjustment",
        )
    left -= sum(units_of(note.total, digits) for note in earlier)
    if not 0 <= units <= left:
        raise InvalidValue(
            "parts",
            f"they come to {amount_of(units, digits):f}, of the invoice"
            f" {amount_of(left, digits):f} {invoice.bill.currency} is left",
        )


def _tax_totals(
    invoice: Invoice, parts: Mapping[int, tuple[int, int]], digits: int
) -> tuple[TaxTotal, ...]:
    """A row for each rate, as in the invoice."""
    sums: dict[tuple[str, Decimal], tuple[int, int]] = {}
    for i, (net, tax) in parts.items():
        line = invoice.bill.lines[i]
        before = sums.get((line.tax_category, line.tax_rate), (0, 0))
        sums[line.tax_category, line.tax_rate] = (before[0] + net, before[1] + tax)
    return tuple(
        replace(row, base=amount_of(base, digits), amount=amount_of(tax, digits))
        for row in invoice.bill.taxes
        if (row.category, row.rate) in sums
        for base, tax in (sums[row.category, row.rate],)
    )
