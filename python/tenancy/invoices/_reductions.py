"""What lowers bills: coupons that tenants redeem, credits that they have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from .. import _core
from .._text import (
    check_name,
    check_text,
    deadline_ns,
    from_json,
    shown,
    storable,
    to_datetime,
    to_json,
    to_moment,
    to_ns,
)
from ..billing import Discount
from ..errors import AlreadyExists, BillingRefused, InvalidValue, NotFound
from ..pricing import Number, minor_digits, round_money
from ..stores import billing_tables as tables
from ..stores.billing_rows import TenantRows, add, plain_cursor
from ..stores.change import Change
from ..stores.records import Tenant
from ..stores.twins import twin
from . import _ledger
from ._accounts import Accounts
from ._base import read_state
from ._checks import check_code, check_texts, check_whole
from ._records import Coupon, CreditBalance, Redemption
from ._terms import left_of
from ._timeline import open_period

__all__ = ["Reductions"]

_CODE_MAX = 64
_PRIORITY_MAX = 1_000_000


class Reductions(Accounts):
    """Base of `Billing`: coupons and credits."""

    # ------------------------------------------------------------------------------ coupons

    def coupon(
        self,
        code: str,
        *,
        name: str = "",
        percent: Number | None = None,
        amount: Number | None = None,
        currency: str | None = None,
        cap: Number | None = None,
        periods: int | None = None,
        ends: datetime | None = None,
        metrics: Sequence[str] = (),
        plans: Sequence[str] = (),
        kinds: Sequence[str] = (),
        max_redemptions: int | None = None,
        redeem_until: datetime | None = None,
        by: str | None = None,
    ) -> Coupon:
        """Make a coupon: `percent` or `amount` off the bills of tenants that redeem it.

        It takes at most `cap` off a bill, holds for `periods` bills and until `ends`, and only for
        the lines that fit `metrics`, `plans` and `kinds` where they are given; see
        `tenancy.billing.Discount`. At most `max_redemptions` tenants may redeem it, until
        `redeem_until`. An amount or a cap needs its `currency`. Raises `InvalidValue`,
        `AlreadyExists`.
        """
        check_text(code, "code", _CODE_MAX)
        if currency is None and (amount is not None or cap is not None):
            raise InvalidValue("currency", "is missing", remedy="money has a currency")
        for field, number in (("periods", periods), ("max_redemptions", max_redemptions)):
            if number is not None:
                check_whole(number, field, 1)
        if currency is not None:
            check_code(currency)
        if name:
            check_name(name)
        judged = Discount(
            "coupon", name or code, percent=percent, amount=amount, currency=currency, cap=cap,
            code=code, ends=ends, metrics=check_texts(metrics, "metrics"),
            plans=check_texts(plans, "plans"), kinds=check_texts(kinds, "kinds"),
        )  # fmt: skip
        terms = {
            "name": judged.name,
            "percent": _digits(judged.percent),
            "amount": _digits(judged.amount),
            "currency": currency,
            "cap": _digits(judged.cap),
            "periods": periods,
            "ends_ns": None if ends is None else to_ns(ends, "ends"),
            "metrics": list(judged.metrics),
            "plans": list(judged.plans),
            "kinds": list(judged.kinds),
            "max_redemptions": max_redemptions,
            "redeem_until_ns": None
            if redeem_until is None
            else to_ns(redeem_until, "redeem_until"),
        }
        kept = {key: value for key, value in terms.items() if value not in (None, [])}
        with self._host.write(by) as change:
            if _coupon_row(change, code) is not None:
                raise AlreadyExists(
                    f"there is a coupon {shown(code)}", remedy="a code that none has had"
                )
            coupon = f"cpn_{_core.uuid7(change.now_ns)}"
            row = {
                "id": coupon,
                "code": code,
                "value": to_json(kept),
                "recorded_ns": change.now_ns,
                "recorded_by": change.by,
            }
            add(change, tables.coupons, [row])
            change.fact(
                "config_changed",
                "billing:coupon",
                resource="coupon",
                resource_id=coupon,
                context={"code": code, **kept},
            )
        return Coupon(coupon, code, kept)

    def coupons(self) -> Sequence[Coupon]:
        """All coupons, the oldest first, and how often each was redeemed."""
        coupons, redeemed = tables.coupons.c, tables.redemptions.c
        count = sa.select(sa.func.count()).where(redeemed.coupon_id == coupons.id).scalar_subquery()
        query = sa.select(coupons.id, coupons.code, coupons.value, count).order_by(coupons.seq)
        with self._host.read() as connection:
            return tuple(
                Coupon(id_, code, from_json(value), times)
                for id_, code, value, times in connection.execute(query)
            )

    def redeem(
        self,
        tenant: Tenant | str,
        code: str,
        *,
        since: datetime | None = None,
        by: str | None = None,
    ) -> Redemption:
        """Give a tenant the discount of a coupon, from the start of its open period on by default.

        Raises `NotFound` for an unknown code, and `BillingRefused` when it cannot be redeemed any
        more, or was redeemed by this tenant, or is of another currency.
        """
        tenant_id = self._tenant_id(tenant)
        with self._host.write(by) as change:
            found = _coupon_row(change, code) if storable(code) else None
            if found is None:
                raise NotFound(
                    f"there is no coupon {shown(code)}",
                    remedy="`billing.coupons()` shows those there are",
                )
            rows = read_state(plain_cursor(change), [tenant_id]).rows[tenant_id]
            value = from_json(found.value)
            _check_redeemable(change, found, value, rows)
            since_ns = open_period(rows, change.now_ns)[0]
            if since is not None:
                since_ns = to_ns(since, "since")
            redemption = f"dsc_{_core.uuid7(change.now_ns)}"
            row = {
                "id": redemption,
                "tenant_id": tenant_id,
                "coupon_id": found.id,
                "since_ns": since_ns,
                "recorded_ns": change.now_ns,
                "recorded_by": change.by,
            }
            add(change, tables.redemptions, [row])
            self._told(change, tenant_id, "billing:redeem", {"code": found.code})
        return Redemption(redemption, tenant_id, found.code, to_moment(since_ns))

    # ------------------------------------------------------------------------------ credits

    def credit(
        self,
        tenant: Tenant | str,
        amount: Number,
        *,
        name: str = "Credit",
        currency: str | None = None,
        priority: int = 0,
        starts: datetime | None = None,
        expires: datetime | timedelta | float | None = None,
        paid: bool = False,
        by: str | None = None,
    ) -> CreditBalance:
        """Give a tenant a credit, which pays for usage from `starts` on until it `expires`, at a
        moment or after a length of time.

        Of several the smallest `priority` is used first, then what expires first. It is in the
        account's currency, and by default for usage from the start of the open period on. `paid`
        says that money came in for it; otherwise it is given away. Raises `InvalidValue`, and
        `BillingRefused` without an account or for another currency.
        """
        tenant_id = self._tenant_id(tenant)
        check_name(name)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidValue("priority", f"expected a whole number, got {shown(priority)}")
        if abs(priority) > _PRIORITY_MAX:
            raise InvalidValue("priority", f"{priority} is beyond {_PRIORITY_MAX}")
        with self._host.write(by) as change:
            rows = read_state(plain_cursor(change), [tenant_id]).rows[tenant_id]
            own = account_currency(rows)
            check_currency(currency or own, own, tenant_id)
            money = check_amount(amount, own, "amount")
            expires_ns = deadline_ns(expires, change.now_ns, "expires")
            starts_ns = open_period(rows, change.now_ns)[0]
            if starts is not None:
                starts_ns = to_ns(starts, "starts")
            if expires_ns is not None and expires_ns <= starts_ns:
                raise InvalidValue("expires", "is not after it starts")
            credit = new_credit(
                change, tenant_id, own, money, name=name, priority=priority, since_ns=starts_ns,
                expires_ns=expires_ns, source="paid" if paid else "granted",
            )  # fmt: skip
            _ledger.post(
                change,
                [
                    _ledger.of_credit(
                        credit, tenant_id, own, money, paid=paid, time_ns=change.now_ns
                    )
                ],
            )
            context = {"amount": f"{money:f}", "currency": own, "paid": paid, "id": credit}
            self._told(change, tenant_id, "billing:credit", context)
        return next(one for one in self.credits(tenant_id) if one.id == credit)

    def credits(self, tenant: Tenant | str) -> Sequence[CreditBalance]:
        """A tenant's credits in the order in which they came, with what invoices left of them."""
        tenant_id = self._tenant_id(tenant)
        now_ns = self._host.clock.wall_ns()
        with self._host.cursor() as cursor:
            rows = read_state(cursor, [tenant_id]).rows[tenant_id]
        left = left_of(rows)
        return tuple(
            CreditBalance(
                id=credit.id,
                tenant=tenant_id,
                name=credit.name,
                currency=credit.currency,
                amount=Decimal(credit.amount),
                left=left[credit.id],
                priority=credit.priority,
                starts=to_datetime(credit.since_ns),
                expires=to_datetime(credit.expires_ns),
                source=credit.source,
                expired=credit.expires_ns is not None and credit.expires_ns <= now_ns,
            )
            for credit in rows.credits
        )

    acoupon = twin(coupon)
    acoupons = twin(coupons)
    aredeem = twin(redeem)
    acredit = twin(credit)
    acredits = twin(credits)  # noqa: A003


def account_currency(rows: TenantRows) -> str:
    """The currency of the newest account."""
    accounts = [fact.value for fact in rows.facts if fact.kind == "account"]
    if not accounts:
        raise BillingRefused(
            f"tenant {rows.tenant_id} has no account",
            tenant=rows.tenant_id,
            remedy="`billing.account(tenant, party=…, currency=…)`",
        )
    return str(json.loads(accounts[-1])["currency"])


def check_currency(currency: str, own: str, tenant_id: str) -> None:
    if currency != own:
        raise BillingRefused(
            f"{shown(currency)} for a tenant that is billed in {own}",
            tenant=tenant_id,
            remedy="one tenant has one currency at a time; nothing is converted",
        )


def check_amount(amount: Number, currency: str, field: str) -> Decimal:
    """More than nothing, and no more digits than the currency has."""
    money = _core.exact(amount, field)
    if money <= 0:
        raise InvalidValue(field, f"expected more than 0, got {money:f}")
    if round_money(money, currency) != money:
        digits = minor_digits(currency)
        raise InvalidValue(field, f"{money:f} {currency} has more than {digits} digits")
    return money


def new_credit(
    change: Change,
    tenant_id: str,
    currency: str,
    amount: Decimal,
    *,
    name: str,
    source: str,
    priority: int = 0,
    since_ns: int = 0,
    expires_ns: int | None = None,
) -> str:
    """Add a credit; its entry in the ledger is the caller's."""
    credit = f"crd_{_core.uuid7(change.now_ns)}"
    row = {
        "id": credit,
        "tenant_id": tenant_id,
        "currency": currency,
        "amount": f"{amount:f}",
        "priority": priority,
        "since_ns": since_ns,
        "expires_ns": expires_ns,
        "name": name,
        "source": source,
        "recorded_ns": change.now_ns,
        "recorded_by": change.by,
    }
    add(change, tables.grants, [row])
    return credit


def _coupon_row(change: Change, code: str) -> Any:
    coupons = tables.coupons
    return change.execute(sa.select(coupons).where(coupons.c.code == code)).one_or_none()


def _check_redeemable(change: Change, found: Any, value: dict[str, Any], rows: TenantRows) -> None:
    code, tenant_id = found.code, rows.tenant_id
    until_ns = value.get("redeem_until_ns")
    if until_ns is not None and until_ns <= change.now_ns:
        raise BillingRefused(f"coupon {code} could be redeemed until {to_moment(until_ns)}")
    if any(redemption.code == code for redemption in rows.redemptions):
        raise BillingRefused(
            f"tenant {tenant_id} has redeemed {code}",
            tenant=tenant_id,
            remedy="a coupon holds once for a tenant; make another for more",
        )
    redeemed = tables.redemptions.c
    times = sa.select(sa.func.count()).where(redeemed.coupon_id == found.id)
    most = value.get("max_redemptions")
    if most is not None and change.execute(times).scalar_one() >= most:
        raise BillingRefused(f"coupon {code} was redeemed {most} times, as often as it may be")
    if value.get("currency") is not None:
        check_currency(value["currency"], account_currency(rows), tenant_id)


def _digits(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"
