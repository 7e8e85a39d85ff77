"""What lowers the charges of a bill: discounts, and credits by the time of usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from ._documents import AppliedCredit, AppliedDiscount
from ._draft import Draft
from ._numbers import amount_of, pico_of, rounded, split, units_of
from ._offers import Credit, Discount
from ._terms import Terms


def apply_discounts(terms: Terms, drafts: Sequence[Draft], digits: int) -> list[AppliedDiscount]:
    """Take the discounts off the drafts, in the order that the rules say."""
    rules = terms.rules
    discounts: Sequence[Discount] = terms.discounts
    if rules.discount_order != "given":
        percent_last = rules.discount_order == "fixed_first"
        discounts = sorted(discounts, key=lambda one: (one.percent is not None) == percent_last)
    applied = []
    for discount in discounts:
        lines = [draft for draft in drafts if _discountable(discount, draft, terms)]
        weights = [max(draft.amount - draft.discount, 0) for draft in lines]
        off = _amount_off(discount, lines, drafts, terms, digits)
        if off:
            for draft, part in zip(lines, split(off, weights), strict=True):
                draft.discount += part
            money = amount_of(off, digits)
            applied.append(AppliedDiscount(discount.id, discount.name, money, discount.code))
    return applied


def _discountable(discount: Discount, draft: Draft, terms: Terms) -> bool:
    if discount.periods_left == 0 or draft.hidden or not discount.covers(draft):
        return False
    if terms.rules.discount_when == "bill":
        return discount.valid_until(terms.period.end)
    return discount.valid_at(draft.period.start)


def _amount_off(
    discount: Discount, lines: Sequence[Draft], drafts: Sequence[Draft], terms: Terms, digits: int
) -> int:
    """What it takes off these lines together, never more than they come to."""
    rules = terms.rules
    left = _come_to(lines, drafts, lambda draft: draft.amount - draft.discount)
    if left <= 0:
        return 0
    if discount.percent is not None:
        whole = left
        if rules.stacking == "parallel":
            whole = _come_to(lines, drafts, lambda draft: draft.amount)
        top, bottom = discount.percent.as_integer_ratio()
        off = rounded(whole * top, bottom * 100, rules.rounding)
    else:
        assert discount.amount is not None
        off = rounded(pico_of(discount.amount), 10 ** (12 - digits), rules.rounding)
    if discount.cap is not None:
        off = min(off, pico_of(discount.cap) // 10 ** (12 - digits))
    return min(off, left)


def _come_to(lines: Sequence[Draft], drafts: Sequence[Draft], of: Callable[[Draft], int]) -> int:
    """The sum of the lines; where a maximum cut their span, no more than that comes to."""
    total = sum(map(of, lines))
    for span in {draft.span for draft in drafts if draft.kind == "maximum"}:
        part = sum(of(draft) for draft in lines if draft.span == span)
        whole = sum(of(draft) for draft in drafts if draft.span == span and not draft.hidden)
        total -= max(part - whole, 0)
    return total


class Slice:
    """What a line costs from one moment to the next, and what of it is still to be paid."""

    __slots__ = ("draft", "left", "start")

    def __init__(self, start: datetime, draft: Draft, left: int) -> None:
        self.start = start
        self.draft = draft
        self.left = left


def apply_credits(
    terms: Terms, drafts: Sequence[Draft], payable: Callable[[Draft], int], digits: int
) -> list[tuple[AppliedCredit, int, list[tuple[Draft, int]]]]:
    """What each credit pays: in all, and of each line. Nothing is changed."""
    credits_ = sorted((one for one in terms.credits if one.amount), key=_turn)
    if not credits_:
        return []
    slices = sorted(_slices(terms, drafts, payable), key=lambda piece: piece.start)
    by_moment = [list(pieces) for _, pieces in groupby(slices, key=lambda piece: piece.start)]
    applied = []
    for credit in credits_:
        balance = units_of(credit.amount, digits)
        taken = list(_paid(credit, balance, by_moment, terms))
        used = sum(part for _, part in taken)
        if used:
            shown = AppliedCredit(credit.id, credit.name, amount_of(used, digits))
            applied.append((shown, used, taken))
    return applied


_LAST: Final = datetime.max


def _turn(credit: Credit) -> tuple[int, datetime, datetime, str]:
    expires = _LAST if credit.expires is None else credit.expires.replace(tzinfo=None)
    starts = datetime.min if credit.starts is None else credit.starts.replace(tzinfo=None)
    return (credit.priority, expires, starts, credit.id)


def _slices(
    terms: Terms, drafts: Sequence[Draft], payable: Callable[[Draft], int]
) -> Iterator[Slice]:
    """The payable part of every line by time; lines below zero make the last ones smaller."""
    at_end = terms.rules.credit_when == "bill"
    slices, less = [], 0
    for draft in drafts:
        left = payable(draft)
        if left < 0:
            less -= left
        elif at_end:
            slices.append(Slice(terms.period.end, draft, left))
        elif left:
            weights = [amount for _, amount in draft.accrued]
            if not sum(weights):
                weights = [0] * (len(weights) - 1) + [1]
            for (moment, _), part in zip(draft.accrued, split(left, weights), strict=True):
                slices.append(Slice(moment, draft, part))
    for piece in sorted(slices, key=lambda piece: piece.start, reverse=True):
        part = min(less, piece.left)
        piece.left -= part
        less -= part
    yield from slices


def _paid(
    credit: Credit, balance: int, by_moment: Sequence[Sequence[Slice]], terms: Terms
) -> Iterator[tuple[Draft, int]]:
    """What a credit pays of each line: the earliest usage first, at the same time in proportion."""
    at_end = terms.rules.credit_when == "bill"
    for pieces in by_moment:
        moment = pieces[0].start
        if not (credit.valid_until(moment) if at_end else credit.valid_at(moment)):
            continue
        covered = [piece for piece in pieces if piece.left and credit.covers(piece.draft)]
        due = sum(piece.left for piece in covered)
        pay = min(balance, due)
        if pay:
            balance -= pay
            for piece, part in zip(
                covered, split(pay, [piece.left for piece in covered]), strict=True
            ):
                piece.left -= part
                yield piece.draft, part
