"""`tenancy bills coupon`, `coupons`, `redeem`, `seats` and `prices`: what tenants get and pay."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer

from .._text import to_moment
from ..invoices import Coupon
from ..pricing import PriceBook
from . import _common as c

__all__ = ["bills_coupon", "bills_coupons", "bills_prices", "bills_redeem", "bills_seats"]

CATALOG = "catalog"

Code = Annotated[str, typer.Argument(help="What tenants redeem it by.")]
Since = Annotated[str | None, typer.Option(help="ISO 8601 time [now].")]


def bills_coupon(
    code: Code,
    percent: Annotated[str | None, typer.Option(help="Off what it is for: 20.")] = None,
    amount: Annotated[str | None, typer.Option(help="Off, with --currency.")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217, such as EUR.")] = None,
    cap: Annotated[str | None, typer.Option(help="At most so much of each bill.")] = None,
    name: Annotated[str, typer.Option(help="What bills call it [the code].")] = "",
    periods: Annotated[int | None, typer.Option(help="How many bills of a tenant.")] = None,
    ends: Annotated[
        str | None, typer.Option(help="ISO 8601 time, or such as 90d: the end.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only of this usage; repeated.")] = None,
    plan: Annotated[list[str] | None, typer.Option(help="Only of this plan; repeated.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="usage, base_fee, seats, …; repeated.")
    ] = None,
    max_redemptions: Annotated[int | None, typer.Option(help="How many tenants.")] = None,
    redeem_until: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 30d.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Make a discount that tenants can redeem: a percentage or an amount of money."""
    with c.opened(data, as_json) as t:
        made = t.billing.coupon(
            code,
            name=name,
            percent=percent,
            amount=amount,
            currency=currency,
            cap=cap,
            periods=periods,
            ends=_ahead(ends, "--ends"),
            metrics=metric or (),
            plans=plan or (),
            kinds=kind or (),
            max_redemptions=max_redemptions,
            redeem_until=_ahead(redeem_until, "--redeem-until"),
            by=c.operator(),
        )
    c.print_record(made if as_json else _shown(made), as_json)


def bills_coupons(data: c.Data = None, as_json: c.Json = False) -> None:
    """All coupons, and how often each was redeemed."""
    with c.opened(data, as_json) as t:
        found = t.billing.coupons()
    if as_json:
        c.print_json({"coupons": [one.as_dict() for one in found]})
        return
    rows = [_shown(one) for one in found]
    c.print_table(("code", "terms", "redeemed"), [[*row.values()] for row in rows])


def bills_redeem(
    tenant: c.Tenant,
    code: Code,
    since: Annotated[
        str | None, typer.Option(help="ISO 8601 time [the start of the open period].")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give a tenant the discount of a coupon."""
    with c.opened(data, as_json) as t:
        made = t.billing.redeem(tenant, code, since=c.parse_time(since, "--since"), by=c.operator())
        c.print_record(made, as_json)


def bills_seats(
    tenant: c.Tenant,
    seats: Annotated[str, typer.Argument(help="How many it has from then on.")],
    since: Since = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say how many seats a tenant has."""
    with c.opened(data, as_json) as t:
        t.billing.seats(tenant, seats, since=c.parse_time(since, "--since"), by=c.operator())
        c.print_record({"tenant": tenant, "seats": seats}, as_json)


def bills_prices(
    tenant: c.Tenant,
    book: Annotated[
        str,
        typer.Argument(
            help=f"A price book as YAML or JSON, or the name of one of the package; "
            f"{CATALOG}: those of its plan again."
        ),
    ],
    since: Since = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give a tenant prices of its own, or those of its plan again."""
    with c.opened(data, as_json) as t:
        found = None if book == CATALOG else PriceBook.load(book)
        t.billing.prices(tenant, found, since=c.parse_time(since, "--since"), by=c.operator())
        shown = None if found is None else f"{found.name} ({found.currency})"
        c.print_record({"tenant": tenant, "prices": shown}, as_json)


def _ahead(text: str | None, option: str) -> datetime | None:
    moment = c.parse_moment(text, option)
    return datetime.now(timezone.utc) + moment if isinstance(moment, timedelta) else moment


def _shown(coupon: Coupon) -> dict[str, Any]:
    """For people: moments in place of nanoseconds."""
    terms = {
        name.removesuffix("_ns"): f"{to_moment(value):%Y-%m-%dT%H:%M:%SZ}"
        if name.endswith("_ns")
        else value
        for name, value in coupon.terms.items()
    }
    return {"code": coupon.code, "terms": terms, "redeemed": coupon.redeemed}
