"""`tenancy bills`: what tenants owe, as it stands and as it was issued."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from ..billing import Bill, CreditNote, Invoice, Part, Party, to_json
from ..errors import InvalidValue
from ..invoices import DocumentRow, Entry
from ..pricing import minor_digits
from . import _common as c
from .bills_budgets import bills_budget, bills_budgets
from .bills_config import bills_configure
from .bills_export import bills_export
from .bills_offers import bills_coupon, bills_coupons, bills_prices, bills_redeem, bills_seats

__all__ = ["app"]

app = c.make_app("Preview and issue bills; credit notes, credits, payments, the ledger.")
app.command("export")(bills_export)
app.command("budget")(bills_budget)
app.command("budgets")(bills_budgets)
app.command("configure")(bills_configure)
app.command("coupon")(bills_coupon)
app.command("coupons")(bills_coupons)
app.command("redeem")(bills_redeem)
app.command("seats")(bills_seats)
app.command("prices")(bills_prices)

Number = Annotated[str, typer.Argument(help="Number of an invoice or a credit note.")]
Usage = Annotated[
    str | None, typer.Option(help='JSON, instead of what was metered: {"api_calls": 1000}.')
]
Period = Annotated[str, typer.Argument(help="The month in which the period begins: 2026-01.")]

_ROWS: dict[str, Callable[[DocumentRow], Any]] = {
    "number": lambda d: d.number,
    "kind": lambda d: d.kind.replace("_", " "),
    "tenant": lambda d: d.tenant,
    "issued": lambda d: d.issued_at,
    "period": lambda d: None if d.period is None else f"{d.period.start:%Y-%m-%d}",
    "total": lambda d: f"{_money(d.total, d.currency)} {d.currency}",
    "about": lambda d: d.about,
}
_ENTRIES: dict[str, Callable[[Entry], Any]] = {
    "time": lambda e: e.time,
    "source": lambda e: e.source,
    "tenant": lambda e: e.tenant,
    "account": lambda e: e.account,
    "debit": lambda e: _money(e.amount, e.currency) if e.amount > 0 else None,
    "credit": lambda e: _money(e.amount.copy_negate(), e.currency) if e.amount < 0 else None,
    "currency": lambda e: e.currency,
}


@app.command("account")
def account(
    tenant: c.Tenant,
    name: Annotated[str, typer.Option(help="Who pays.")],
    country: Annotated[str, typer.Option(help="ISO 3166-1 alpha-2, such as AT.")],
    currency: Annotated[str, typer.Option(help="ISO 4217, such as EUR.")],
    street: str = "",
    city: str = "",
    postcode: str = "",
    region: str = "",
    email: str = "",
    tax_id: Annotated[str, typer.Option(help="Tax number of a business, with its country.")] = "",
    reference: Annotated[str, typer.Option(help="The buyer's own, printed on the invoice.")] = "",
    exempt: Annotated[str, typer.Option(help="Why no tax is due, for the invoice.")] = "",
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say who pays for a tenant: from then on it is billed."""
    party = Party(name, country, street, city, postcode, region, email, tax_id, reference=reference)
    with c.opened(data, as_json) as t:
        made = t.billing.account(
            tenant, party=party, currency=currency, exempt=exempt, by=c.operator()
        )
        c.print_record(made.to_value(), as_json)


@app.command("preview")
def preview(
    tenant: c.Tenant,
    period: Annotated[str | None, typer.Argument(help="As 2026-01; else the open one.")] = None,
    usage: Usage = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """The bill of a period as it would be issued now; of the open one, what it costs so far."""
    with c.opened(data, as_json) as t:
        _print_bill(t.billing.preview(tenant, period, usage=_usage(usage)), as_json)


@app.command("issue")
def issue(
    period: Period,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="One alone; else all that have an account."),
    ] = None,
    usage: Usage = None,
    part: Annotated[
        str, typer.Option(help="1/2: the first of two parts of the tenants, for two processes.")
    ] = "1/1",
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Issue the invoices of a period, and of those before it. What was issued is not issued again.

    Status 1: some tenant has none, and the reason is told.
    """
    with c.opened(data, as_json) as t:
        if tenant is not None:
            given = _usage(usage)
            made = t.billing.issue(tenant, period, usage=given, by=c.operator())
            _print_document(made, as_json)
            return
        if usage is not None:
            raise InvalidValue("--usage", "is of one tenant", remedy="name it with --tenant")
        console = Console(stderr=True)
        quiet = as_json or not console.is_terminal
        with Progress(transient=True, console=console, disable=quiet) as bar:
            task = bar.add_task("tenants", total=None)
            report = t.billing.issue_all(
                period,
                part=_share(part),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                by=c.operator(),
            )
    c.print_record(report, as_json)
    if not report:
        raise typer.Exit(c.REFUSED)


@app.command("first")
def first(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Issue the first invoice of a tenant whose fees are charged in advance."""
    with c.opened(data, as_json) as t:
        _print_document(t.billing.issue_first(tenant, by=c.operator()), as_json)


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Those of one tenant alone.")] = None,
    kind: Annotated[str | None, typer.Option(help="invoice or credit_note.")] = None,
    limit: c.Limit = 50,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Documents in the order in which they were issued."""
    with c.opened(data, as_json) as t:
        page = t.billing.list(tenant, kind=kind, limit=limit, cursor=cursor)
        if as_json:
            items = [_row(row) for row in page]
            c.print_json({"items": items, "cursor": page.cursor})
        else:
            c.print_page(page, _ROWS, as_json)


@app.command("show")
def show(number: Number, data: c.Data = None, as_json: c.Json = False) -> None:
    """A document as it was issued, and what is open of it. JSON is its canonical form."""
    with c.opened(data, as_json) as t:
        document = t.billing.document(number)
        still_open = t.billing.open(number)
    _print_document(document, as_json)
    if not as_json:
        currency = document.bill.currency if isinstance(document, Invoice) else document.currency
        print(f"open: {_money(still_open, currency)} {currency}")


@app.command("credit-note")
def credit_note(
    number: Number,
    reason: Annotated[str, typer.Option(help="For the document.")],
    part: Annotated[
        list[str] | None,
        typer.Option(help="LINE or LINE=AMOUNT without tax, from 0; else all that is left."),
    ] = None,
    refund: Annotated[str, typer.Option(help="What of it is paid back.")] = "0",
    keep_credits: Annotated[
        bool, typer.Option("--keep-credits", help="What credits paid does not go back to them.")
    ] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Take an invoice back, in parts or as a whole. Credits that paid for it get it back."""
    with c.opened(data, as_json) as t:
        parts = None if not part else [_part(text) for text in part]
        note = t.billing.credit_note(
            number,
            parts,
            reason=reason,
            refund=refund,
            credits="keep" if keep_credits else "return",
            by=c.operator(),
        )
        _print_document(note, as_json)


@app.command("adjust")
def adjust(number: Number, data: c.Data = None, as_json: c.Json = False) -> None:
    """Put what was used otherwise than an invoice says onto the tenant's next bill."""
    with c.opened(data, as_json) as t:
        late = t.billing.adjust(number, by=c.operator())
    if late is not None:
        c.print_record(late, as_json)
    elif as_json:
        c.print_json(None)
    else:
        print(f"{number}: the usage is what was billed")


@app.command("credit")
def credit(
    tenant: c.Tenant,
    amount: Annotated[str, typer.Argument(help="In the account's currency.")],
    name: Annotated[str, typer.Option(help="What bills call it.")] = "Credit",
    priority: Annotated[int, typer.Option(help="The smallest is used first.")] = 0,
    expires: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 30d.")] = None,
    paid: Annotated[bool, typer.Option("--paid", help="Money came in for it.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give a tenant a credit that pays for usage from the open period on."""
    with c.opened(data, as_json) as t:
        given = t.billing.credit(
            tenant,
            amount,
            name=name,
            priority=priority,
            expires=c.parse_moment(expires, "--expires"),
            paid=paid,
            by=c.operator(),
        )
        c.print_record(given, as_json)


@app.command("credits")
def credits_(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """The credits of a tenant, and what is left of them."""
    with c.opened(data, as_json) as t:
        found = t.billing.credits(tenant)
    if as_json:
        c.print_json(list(found))
        return
    names = ("id", "name", "amount", "left", "currency", "priority", "expires", "source")
    c.print_table(names, [[getattr(one, name) for name in names] for one in found])


@app.command("pay")
def pay(
    number: Number,
    amount: Annotated[str | None, typer.Option(help="Else all that is open.")] = None,
    reference: Annotated[str | None, typer.Option(help="Recorded again, it counts once.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Record that an invoice was paid, or the refund of a credit note paid out."""
    with c.opened(data, as_json) as t:
        paid = t.billing.pay(number, amount, reference=reference, by=c.operator())
        c.print_record(paid, as_json)


@app.command("verify")
def verify(
    fast: Annotated[bool, typer.Option("--fast", help="Compute no bill again.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Check documents, ledger and log, and compute every bill again. Status 1: a problem."""
    with c.opened(data, as_json) as t:
        report = t.billing.verify(recompute=not fast)
    c.print_record(report, as_json)
    if not report:
        raise typer.Exit(c.REFUSED)


@app.command("balance")
def balance(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """What a tenant owes, and has."""
    with c.opened(data, as_json) as t:
        found = t.billing.balance(tenant)
    if as_json:
        c.print_json(list(found))
        return
    names = ("currency", "owed", "credits", "refunds")
    c.print_table(names, [[getattr(one, name) for name in names] for one in found])


@app.command("ledger")
def ledger(
    tenant: Annotated[str | None, typer.Option(help="Of one tenant alone.")] = None,
    accounts: Annotated[bool, typer.Option("--accounts", help="The sums of all accounts.")] = False,
    limit: c.Limit = 50,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """The entries of the ledger, or with --accounts what they come to."""
    with c.opened(data, as_json) as t:
        if not accounts:
            c.print_page(t.billing.ledger(tenant, limit=limit, cursor=cursor), _ENTRIES, as_json)
            return
        found = t.billing.accounts(tenant)
    if as_json:
        c.print_json(found)
        return
    for currency, sums in found.items():
        rows = [(name, _money(amount, currency)) for name, amount in sums.items()]
        c.print_table(("account", currency), rows)


# --------------------------------------------------------------------------------------- output


def _row(row: DocumentRow) -> dict[str, Any]:
    period = row.period
    plain = None if period is None else {"start": period.start, "end": period.end}
    fields = {name: getattr(row, name) for name in DocumentRow.__dataclass_fields__}
    return {**fields, "period": plain}


def _print_document(document: Invoice | CreditNote, as_json: bool) -> None:
    if as_json:
        print(to_json(document))
        return
    kind = "Invoice" if isinstance(document, Invoice) else "Credit note"
    print(f"{kind} {document.number} of {document.issued_at:%Y-%m-%d}, to {document.buyer.name}")
    if isinstance(document, Invoice):
        print(f"due {document.due_at:%Y-%m-%d}")
        _print_bill(document.bill, as_json)
        return
    print(f"of {document.invoice}: {document.reason}")

    def money(amount: Decimal) -> str:
        return _money(amount, document.currency)

    rows = [(one.line, one.description, money(one.net), money(one.tax)) for one in document.lines]
    c.print_table(("line", "description", "net", "tax"), rows)
    total, refund = money(document.total), money(document.refund)
    print(f"total {total} {document.currency}, of it a refund {refund}")
    if document.credit:
        print(f"given back to credits: {money(document.credit)} {document.currency}")


def _print_bill(bill: Bill, as_json: bool) -> None:
    if as_json:
        print(to_json(bill))
        return
    period = bill.period

    def money(amount: Decimal) -> str:
        return _money(amount, bill.currency)

    rows = [
        (
            i,
            line.description,
            f"{line.quantity:,f} {line.unit}".strip(),
            None if line.unit_price is None else f"{line.unit_price:f}",
            money(line.amount),
            money(line.discount) if line.discount else None,
            money(line.credit) if line.credit else None,
            money(line.tax),
        )
        for i, line in enumerate(bill.lines)
    ]
    columns = ("line", "what", "quantity", "price", "amount", "discount", "credit", "tax")
    title = f"{period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} UTC, {bill.currency}"
    c.print_table(columns, rows, title=title)
    for tax in bill.taxes:
        print(f"{tax.name or tax.reason} {tax.rate:f} % of {money(tax.base)}: {money(tax.amount)}")
    net, total = money(bill.net), money(bill.total)
    print(f"net {net}, tax {money(bill.tax)}, total {total}, due {money(bill.due)}")


def _money(amount: Decimal, currency: str) -> str:
    """With the digits of the currency, and any further ones there are."""
    exponent = amount.as_tuple().exponent
    digits = -exponent if isinstance(exponent, int) else 0
    return f"{amount:,.{max(digits, minor_digits(currency))}f}"


# ---------------------------------------------------------------------------------------- input


def _usage(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InvalidValue("--usage", f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InvalidValue("--usage", "expected an object of quantities by metric")
    return value


def _share(text: str) -> tuple[int, int]:
    which, _, of = text.partition("/")
    if not (c.is_number(which) and c.is_number(of)):
        raise InvalidValue("--part", f"{text!r}", remedy="1/2 is the first of two parts")
    return int(which), int(of)


def _part(text: str) -> Part:
    line, _, amount = text.partition("=")
    if not c.is_number(line):
        raise InvalidValue("--part", f"{text!r}", remedy="the index of a line: 0 or 0=4.50")
    return Part(int(line), amount or None)
