"""A bill as a pure function of terms and usage; `tenancy.billing` exports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from .._text import shown
from ..errors import InvalidValue
from ..pricing import minor_digits
from ._adjustments import Adjustment
from ._charges import Charges, UsageBySpan
from ._documents import AppliedCredit, AppliedDiscount, Bill, TaxTotal
from ._draft import Draft
from ._json import seal_part
from ._numbers import PICO, amount_of, pico_of, rounded, shares, split
from ._reductions import apply_credits, apply_discounts
from ._tax import Due
from ._terms import Terms

__all__ = ["compute", "compute_text"]

_DIGITS_MAX: Final = 26
"""Before the point, as in prices."""


def compute(terms: Terms, usage: UsageBySpan) -> Bill:
    """What a tenant owes for a period.

    `usage` has one mapping for each span of the terms, in order: by metric, the `Cumulative`s from
    the span's start until each of the `cuts(terms)` in it. A metric left out was not used. Raises
    `InvalidValue` for usage that does not fit the terms, for a product without a tax rate, and for
    amounts that pass what prices can hold. The same arguments always give the same bill.
    """
    return compute_text(terms, usage)[0]


def compute_text(terms: Terms, usage: UsageBySpan) -> tuple[Bill, str]:
    """`compute`, and the text that `sealed_text` takes for an invoice of the bill.

    For who issues many: the bill is written as JSON once, for its digest and for its invoice.
    """
    if not isinstance(terms, Terms):
        raise InvalidValue("terms", f"expected Terms, got {shown(terms)}")
    return _Computation(terms, usage).bill()


class _Computation:
    __slots__ = ("charges", "digits", "drafts", "terms", "usage")

    def __init__(self, terms: Terms, usage: UsageBySpan) -> None:
        self.terms = terms
        self.usage = usage
        self.digits = minor_digits(terms.currency)
        self.charges = Charges(terms)
        self.drafts: list[Draft] = []

    def bill(self) -> tuple[Bill, str]:
        charges, digits = self.charges, self.digits
        own = [*charges.of_usage(self.usage), *charges.of_fees()]
        advance = list(charges.of_next_period())
        self._round([*own, *advance])
        adjustments = self._settle_charged(own)
        minimum_first = self.terms.rules.order.startswith("minimum")
        if minimum_first:
            own += charges.commitments(own, digits)
        discounts = apply_discounts(self.terms, [*own, *advance], digits)
        if not minimum_first:
            own += charges.commitments(own, digits)
        self.drafts = [draft for draft in own if not draft.hidden] + advance + adjustments
        self.drafts += map(self._of_earlier_bill, self.terms.adjustments)
        self._decide_tax()
        self._settle_negative()
        return self._document(discounts)

    def _round(self, drafts: Sequence[Draft]) -> None:
        """The one place where exact amounts become money."""
        rules = self.terms.rules
        scale = PICO // 10**self.digits
        if rules.round_at == "line":
            for draft in drafts:
                draft.amount = rounded(draft.pico, scale, rules.rounding)
            return
        exact = [draft.pico for draft in drafts]
        total = rounded(sum(exact), scale, rules.rounding)
        for draft, amount in zip(drafts, shares(total, exact, scale), strict=True):
            draft.amount = amount

    def _settle_charged(self, own: Sequence[Draft]) -> list[Draft]:
        """Fees that an earlier bill charged: hidden where nothing changed, else taken off again."""
        adjustments = []
        for kind in dict.fromkeys(one.kind for one in self.terms.charged):
            charged = [one for one in self.terms.charged if one.kind == kind]
            before = sum(self._units(one.amount) for one in charged)
            fees = [draft for draft in own if draft.kind == kind]
            if sum(draft.amount for draft in fees) == before:
                self._hide(fees, sum(self._units(one.discount) for one in charged))
                continue
            for one in charged:
                draft = self.charges.plain_line("adjustment", self.terms.period, one.plan)
                draft.amount = self._units(one.discount) - self._units(one.amount)
                adjustments.append(draft)
        return adjustments

    def _of_earlier_bill(self, one: Adjustment) -> Draft:
        draft = Draft("adjustment", one.description, one.period, plan=one.plan, metric=one.metric)
        draft.events = one.events
        draft.amount = self._units(one.amount)
        return draft

    def _hide(self, fees: Sequence[Draft], discount: int) -> None:
        """They count towards a minimum, with the discount they had where that comes first."""
        for draft in fees:
            draft.hidden = True
        if discount and self.terms.rules.order.startswith("discount"):
            weights = [draft.amount for draft in fees]
            for draft, part in zip(fees, split(discount, weights), strict=True):
                draft.discount = part

    def _units(self, amount: Decimal) -> int:
        return rounded(pico_of(amount), PICO // 10**self.digits, self.terms.rules.rounding)

    def _decide_tax(self) -> None:
        terms = self.terms
        if terms.tax is None or terms.buyer is None:
            return
        known: dict[str, Due] = {}
        for draft in self.drafts:
            product = terms.tax.product_of(draft)
            if product not in known:
                known[product] = terms.tax.due(product, terms.buyer)
            draft.due = known[product]

    def _settle_negative(self) -> None:
        """Lines that come to less than nothing, before credits, which never do that."""
        rules = self.terms.rules
        left = sum(draft.left for draft in self.drafts)
        if left >= 0 or rules.negative == "credit":
            return
        if rules.negative == "refuse":
            amount = amount_of(left, self.digits)
            raise InvalidValue(
                "terms",
                f"the bill comes to {amount:f} {self.terms.currency}",
                remedy='rules.negative = "credit" leaves it to the tenant, "zero" lifts it',
            )
        lifts = []
        for group in _by_rate(self.drafts):
            lift = self.charges.plain_line("adjustment", self.terms.period, None)
            lift.due = group[0].due
            lift.amount = -sum(draft.left for draft in group)
            lifts.append(lift)
        self.drafts += [lift for lift in lifts if lift.amount]

    def _check_range(self, *sums: int) -> None:
        """A bill holds what a price can hold."""
        if max(map(abs, sums)) >= 10 ** (_DIGITS_MAX + self.digits):
            raise InvalidValue("terms", f"the bill comes to more than {_DIGITS_MAX} digits")

    def _credits(self, payable: Callable[[Draft], int]) -> tuple[tuple[AppliedCredit, ...], int]:
        """What credits pay, each and together; before tax the lines have their parts of it."""
        paid = apply_credits(self.terms, self.drafts, payable, self.digits)
        if self.terms.rules.order.endswith("tax"):
            for draft, part in (pair for _, _, taken in paid for pair in taken):
                draft.credit += part
        return tuple(one for one, _, _ in paid), sum(used for _, used, _ in paid)

    def _document(self, discounts: Sequence[AppliedDiscount]) -> tuple[Bill, str]:
        terms, drafts, digits = self.terms, self.drafts, self.digits
        before_tax = terms.rules.order.endswith("tax")
        inclusive = terms.tax is not None and terms.tax.inclusive
        credits_, credit = self._credits(_net_left) if before_tax else ((), 0)
        taxes = tuple(_taxed(terms, group, digits) for group in _by_rate(drafts))
        if not before_tax:
            credits_, credit = self._credits(_net_left if inclusive else _total_left)
        subtotal = sum(draft.amount for draft in drafts)
        discount = sum(draft.discount for draft in drafts)
        tax = sum(draft.tax for draft in drafts)
        charged = subtotal - discount - (credit if before_tax else 0)
        total = charged if inclusive else charged + tax
        due = max(total if before_tax else total - credit, 0)
        self._check_range(subtotal, total)
        bill = Bill(
            terms.tenant,
            terms.period,
            terms.currency,
            tuple([draft.line(digits) for draft in drafts]),
            amount_of(subtotal, digits),
            tuple(discounts),
            amount_of(discount, digits),
            credits_,
            amount_of(credit, digits),
            amount_of(total - tax, digits),
            taxes,
            amount_of(tax, digits),
            amount_of(total, digits),
            amount_of(due, digits),
            inclusive,
            str(terms.rules),
            credit_after_tax=not before_tax,
        )
        return bill, seal_part(bill)


def _net_left(draft: Draft) -> int:
    return draft.left


def _total_left(draft: Draft) -> int:
    return draft.left + draft.tax


def _by_rate(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """The lines of each category and rate of tax, in the order in which they first stand there."""
    groups: dict[tuple[str, Decimal], list[Draft]] = {}
    for draft in drafts:
        groups.setdefault((draft.due.category, draft.due.rate), []).append(draft)
    return list(groups.values())


def _taxed(terms: Terms, drafts: Sequence[Draft], digits: int) -> TaxTotal:
    """The tax of one rate: on the sum, and allocated back to the lines."""
    rules = terms.rules
    due = drafts[0].due
    base = sum(draft.left for draft in drafts)
    tax = 0
    if due.rate:
        top, bottom = due.rate.as_integer_ratio()
        bottom *= 100
        inclusive = terms.tax is not None and terms.tax.inclusive
        scale = bottom + top if inclusive else bottom
        exact = [draft.left * top for draft in drafts]
        if rules.tax_at == "line":
            parts = [rounded(part, scale, rules.rounding) for part in exact]
        else:
            parts = shares(rounded(sum(exact), scale, rules.rounding), exact, scale)
        for draft, part in zip(drafts, parts, strict=True):
            draft.tax = part
        tax = sum(parts)
        base -= tax if inclusive else 0
    return TaxTotal(
        due.category,
        due.rate,
        due.name,
        amount_of(base, digits),
        amount_of(tax, digits),
        due.reason,
    )
