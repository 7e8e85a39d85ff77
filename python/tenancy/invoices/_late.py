"""Usage that was recorded or corrected after its period was invoiced.

An invoice never changes. What its usage comes to now is billed with the terms that were known then;
the difference, for each metric, stands as a line on the next bill that is issued.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .. import _core
from ..billing import Bill, BillLine, Terms, compute
from ..errors import StoreBusy
from ..stores import billing_rows
from ..stores.billing_rows import DocumentRow, TenantRows
from ..stores.billing_timeline import record
from ..stores.twins import twin
from ._base import read_state
from ._money import ZERO, minus, total
from ._quantities import UsageLike, read_usage, usage_from_text, usage_to_text
from ._records import LateUsage
from ._verify import Verification

__all__ = ["Late"]

TRIES = 16


class Late(Verification):
    """Base of `Billing`: adjustments."""

    def adjust(
        self, number: str, *, usage: UsageLike | None = None, by: str | None = None
    ) -> LateUsage | None:
        """Bill what was used in the period of an invoice otherwise than the invoice says.

        The difference, also one below zero, is a line of the tenant's next bill, taxed as that bill
        is. None: the usage is what was billed, or costs the same. Adjusting again counts only what
        changed since. Raises `UnknownDocument`.
        """
        for _ in range(TRIES):
            row, terms, billed, labels, known = self._as_billed(number)
            now = read_usage(terms, self._usage if usage is None else usage)
            text = usage_to_text(now, labels)
            if text == billed:
                return None
            before = compute(terms, usage_from_text(billed)[0])
            lines = _differences(number, before, compute(terms, now))
            if not lines:
                return None
            found = self._record(row, terms, lines, text, known, by)
            if found is not None:
                return found
        raise StoreBusy(f"{number} was adjusted {TRIES} times meanwhile")

    # ------------------------------------------------------------------------------ inside

    def _as_billed(
        self, number: str
    ) -> tuple[DocumentRow, Terms, str, Mapping[str, Any], list[dict[str, Any]]]:
        """The terms of an invoice, the usage that is billed, and its adjustments until now."""
        row = self._invoice_row(number)
        terms, quantities = self._terms_of(row)
        with self._host.cursor() as cursor:
            known = _adjustments_of(read_state(cursor, [row.tenant]).rows[row.tenant], number)
        _, labels = usage_from_text(quantities)
        return row, terms, known[-1]["quantities"] if known else quantities, labels, known

    def _record(
        self,
        row: DocumentRow,
        terms: Terms,
        lines: list[dict[str, Any]],
        quantities: str,
        known: list[dict[str, Any]],
        by: str | None,
    ) -> LateUsage | None:
        """None: somebody else adjusted it meanwhile."""
        with self._host.write(by) as change:
            cursor = billing_rows.plain_cursor(change)
            rows = read_state(cursor, [row.tenant]).rows[row.tenant]
            if _adjustments_of(rows, row.number) != known:
                return None
            amount = total(Decimal(line["amount"]) for line in lines)
            value = {
                "id": f"adj_{_core.uuid7(change.now_ns)}",
                "invoice": row.number,
                "currency": terms.currency,
                "total": f"{amount:f}",
                "start_ns": row.start_ns,
                "end_ns": row.end_ns,
                "lines": lines,
                "quantities": quantities,
            }
            record(change, row.tenant, "adjustment", value)
            told = {"invoice": row.number, "amount": f"{amount:f}", "currency": terms.currency}
            self._told(change, row.tenant, "billing:adjust", told)
        return LateUsage(
            id=str(value["id"]),
            tenant=row.tenant,
            invoice=row.number,
            currency=terms.currency,
            amount=amount,
            metrics={str(line["metric"] or "other"): Decimal(line["amount"]) for line in lines},
        )

    aadjust = twin(adjust)


def _adjustments_of(rows: TenantRows, number: str) -> list[dict[str, Any]]:
    found = [json.loads(fact.value) for fact in rows.facts if fact.kind == "adjustment"]
    return [one for one in found if one["invoice"] == number]


def _differences(number: str, before: Bill, after: Bill) -> list[dict[str, Any]]:
    """By metric, and of everything else, what is to be paid more."""
    old, new = _charged(before), _charged(after)
    lines = []
    for metric in dict.fromkeys([*new, *old]):
        amount = minus(new.get(metric, (ZERO, None))[0], old.get(metric, (ZERO, None))[0])
        if not amount:
            continue
        line = new[metric][1] if metric in new else old[metric][1]
        name = line.description if metric is not None else "Other charges"
        events = line.events if metric in new else None
        lines.append(
            {
                "description": f"{name}: late usage of {number}",
                "amount": f"{amount:f}",
                "metric": metric,
                "events": 0 if events is None else events.events,
                "digest": "" if events is None else events.digest,
            }
        )
    return lines


def _charged(bill: Bill) -> dict[str | None, tuple[Decimal, BillLine]]:
    """By metric, what was charged after discounts, and the last line of it. Adjustments of still
    earlier bills are the same on both sides."""
    found: dict[str | None, tuple[Decimal, BillLine]] = {}
    for line in bill.lines:
        if line.kind == "adjustment":
            continue
        amount = total((found.get(line.metric, (ZERO,))[0], line.amount))
        found[line.metric] = (minus(amount, line.discount), line)
    return found
