"""Whatever is passed to `t.billing`, what comes back is an error of this package, and the ledger
and the documents stay whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from invoice_support import BUYER, JANUARY, SELLER, go_to, make_buyer, open_billing
from tenancy import Tenancy
from tenancy.billing import Party
from tenancy.errors import TenancyError
from tenancy.testing import FakeClock

BAD: list[Any] = [
    float("inf"),
    float("nan"),
    0.5,
    Decimal("NaN"),
    Decimal("Infinity"),
    10**40,
    -1,
    True,
    "",
    "\ud800",
    "\0",
    "1e5",
    "x" * 100_000,
    b"x",
    None,
    [],
    [1],
    {},
    (1, 2),
    object(),
    datetime(2026, 1, 1),
    datetime(9999, 1, 1, tzinfo=timezone.utc),
    timedelta(days=999_999_999),
]
NUMBER = "INV-2026-000001"
codes = (f"C{i}" for i in itertools.count())

CALLS: dict[str, Callable[[Any, Any], object]] = {
    "issue tenant": lambda b, x: b.issue(x, "2026-01", usage={}),
    "issue period": lambda b, x: b.issue("acme", x, usage={}),
    "issue metadata": lambda b, x: b.issue("acme", "2026-02", usage={}, metadata=x),
    "metadata value": lambda b, x: b.issue("acme", "2026-02", usage={}, metadata={"a": x}),
    "issue_all period": lambda b, x: b.issue_all(x),
    "issue_all part": lambda b, x: b.issue_all(part=x),
    "issue_all batch": lambda b, x: b.issue_all(batch=x),
    "usage": lambda b, x: b.preview("acme", usage=x),
    "usage of a metric": lambda b, x: b.preview("acme", usage={"calls": x}),
    "credit amount": lambda b, x: b.credit("acme", x),
    "credit name": lambda b, x: b.credit("acme", 1, name=x),
    "credit expires": lambda b, x: b.credit("acme", 1, expires=x),
    "credit starts": lambda b, x: b.credit("acme", 1, starts=x),
    "credit priority": lambda b, x: b.credit("acme", 1, priority=x),
    "credit currency": lambda b, x: b.credit("acme", 1, currency=x),
    "coupon code": lambda b, x: b.coupon(x, percent=5),
    "coupon percent": lambda b, x: b.coupon(next(codes), percent=x),
    "coupon amount": lambda b, x: b.coupon(next(codes), amount=x, currency="EUR"),
    "coupon currency": lambda b, x: b.coupon(next(codes), amount=5, currency=x),
    "coupon name": lambda b, x: b.coupon(next(codes), percent=5, name=x),
    "coupon periods": lambda b, x: b.coupon(next(codes), percent=5, periods=x),
    "coupon ends": lambda b, x: b.coupon(next(codes), percent=5, ends=x),
    "coupon metrics": lambda b, x: b.coupon(next(codes), percent=5, metrics=x),
    "redeem": lambda b, x: b.redeem("acme", x),
    "redeem since": lambda b, x: b.redeem("acme", b.coupon(next(codes), percent=1).code, since=x),
    "party": lambda b, x: b.account("acme", party=x, currency="EUR"),
    "party name": lambda b, x: b.account("acme", party=Party(x, "AT"), currency="EUR"),
    "account currency": lambda b, x: b.account("other", party=BUYER, currency=x),
    "account exempt": lambda b, x: b.account("acme", party=BUYER, currency="EUR", exempt=x),
    "account since": lambda b, x: b.account("acme", party=BUYER, currency="EUR", since=x),
    "seats": lambda b, x: b.seats("acme", x),
    "prices": lambda b, x: b.prices("acme", x),
    "numbering": lambda b, x: b.configure(seller=SELLER, numbering=x),
    "due_days": lambda b, x: b.configure(seller=SELLER, due_days=x),
    "billed": lambda b, x: b.configure(seller=SELLER, billed=x),
    "notes": lambda b, x: b.configure(seller=SELLER, notes=x),
    "rules": lambda b, x: b.configure(seller=SELLER, rules=x),
    "tax": lambda b, x: b.configure(seller=SELLER, tax=x),
    "settings since": lambda b, x: b.configure(seller=SELLER, since=x),
    "note of": lambda b, x: b.credit_note(x, reason="r"),
    "note parts": lambda b, x: b.credit_note(NUMBER, x, reason="r"),
    "note part": lambda b, x: b.credit_note(NUMBER, [x], reason="r"),
    "note reason": lambda b, x: b.credit_note(NUMBER, reason=x),
    "note refund": lambda b, x: b.credit_note(NUMBER, reason="r", refund=x),
    "pay": lambda b, x: b.pay(x),
    "pay amount": lambda b, x: b.pay(NUMBER, x),
    "pay reference": lambda b, x: b.pay(NUMBER, "0.01", reference=x),
    "pay currency": lambda b, x: b.pay(NUMBER, "0.01", currency=x),
    "list tenant": lambda b, x: b.list(x),
    "list kind": lambda b, x: b.list(kind=x),
    "list limit": lambda b, x: b.list(limit=x),
    "list cursor": lambda b, x: b.list(cursor=x),
    "document": lambda b, x: b.document(x),
    "document of": lambda b, x: b.document(NUMBER, tenant=x),
    "open": lambda b, x: b.open(x),
    "adjust": lambda b, x: b.adjust(x, usage={}),
    "recompute": lambda b, x: b.recompute(x),
}


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path_factory.mktemp("shop"), clock) as opened:
        make_buyer(opened)
        make_buyer(opened, "other")
        go_to(clock, datetime(2026, 2, 1, tzinfo=timezone.utc))
        opened.billing.issue("acme", "2026-01", usage={})
        yield opened
        assert opened.billing.verify()


@pytest.mark.parametrize("what", CALLS)
def test_bad_values_are_refused_or_taken_as_what_they_are(t: Tenancy, what: str) -> None:
    refused = sum(refuses(CALLS[what], t.billing, value) for value in BAD)
    assert refused > len(BAD) // 2


def refuses(call: Callable[[Any, Any], object], billing: Any, value: Any) -> bool:
    try:
        call(billing, value)
    except TenancyError:
        return True
    return False
