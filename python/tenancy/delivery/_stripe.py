"""Invoices to Stripe: a customer, an invoice with final amounts as its items, finalised.

Stripe adds nothing and taxes nothing: each line comes with what it is without tax, each tax as an
item of its own, and before the invoice is finalised its total is compared with ours.

Nothing is doubled, whenever an answer is lost: requests bear idempotency keys made of the document,
which Stripe remembers for a day; after that, what is there already is found by its metadata.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

from .._text import check_text, shown
from ..billing import CreditNote, Invoice, Party, Period, digest
from ..errors import InvalidValue, ProviderRefused
from ..stores.alert_destinations import check_timeout
from ._check import checked, lines_net, prepaid
from ._exact import exactly
from ._payments import PaymentEvent, ProviderInvoice
from ._stripe_http import Client, Form
from ._stripe_money import major_units, minor_units
from ._stripe_webhook import check_webhook_secrets, events_of, verify_stripe_webhook

__all__ = ["STRIPE_API_VERSION", "StripeAdapter"]

STRIPE_API_VERSION = "2024-06-20"
"""What requests and answers are written for; sent with each request."""

_ITEMS_MOST = 200
"""Stripe takes 250 items for an invoice; with more lines there is an item for each tax rate."""
_DESCRIPTION_MOST = 500
_PAGES_MOST = 50


@dataclass(frozen=True)
class _Item:
    description: str
    amount: int
    period: Period | None = None


@dataclass(frozen=True)
class StripeAdapter:
    """Stripe as a `PaymentProvider`.

    `api_key` and `webhook_secret` (the endpoint's signing secret, or several while it is changed)
    are never shown. `collection` is `send_invoice` (Stripe mails a page to pay on) or
    `charge_automatically` (the customer's default payment method). `account` is a connected
    account. A call takes `timeout` at most and is tried `attempts` times after time-outs, lost
    connections and answers 409 (locked), 429 and 5xx, with growing waits.
    """

    api_key: str = field(repr=False)
    webhook_secret: str | Sequence[str] = field(default=(), repr=False)
    base_url: str = "https://api.stripe.com"
    collection: Literal["send_invoice", "charge_automatically"] = "send_invoice"
    account: str | None = None
    api_version: str = STRIPE_API_VERSION
    timeout: timedelta | float = 20.0
    attempts: int = 4
    ca_file: str | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_webhook_secrets(self.webhook_secret)
        if self.collection not in ("send_invoice", "charge_automatically"):
            raise InvalidValue(
                "collection", shown(self.collection), remedy="send_invoice or charge_automatically"
            )
        if isinstance(self.attempts, bool) or not 1 <= self.attempts <= 10:
            raise InvalidValue("attempts", f"{shown(self.attempts)}, expected 1 to 10")
        _ = self._client

    @property
    def name(self) -> str:
        return "stripe"

    def ensure_customer(self, tenant: str, buyer: Party) -> str:
        """The id of the tenant's customer, made if there is none, with name and address of now."""
        check_text(tenant, "tenant", 255)
        # One key for one tenant: the customer is made with nothing that could change meanwhile.
        query = f"metadata['tenancy_tenant']:'{_quoted(tenant)}'"
        found = self._client.get("/v1/customers/search", {"query": query, "limit": 2})
        rows = _rows(found)
        if rows:
            made = rows[0]
        else:
            made = self._client.post(
                "/v1/customers",
                {"metadata": {"tenancy_tenant": tenant}},
                _key("customer", tenant),
            )
        customer = _id(made)
        form = _customer(buyer)
        self._client.post(f"/v1/customers/{customer}", form, _key("buyer", customer, repr(form)))
        return customer

    @exactly
    def send(self, invoice: Invoice) -> ProviderInvoice:
        """Has Stripe collect what is due on an issued invoice; see `PaymentProvider.send`.

        Raises `InvalidValue` for an invoice on which nothing is due, or whose amounts Stripe cannot
        take, before anything is sent; `ProviderRefused` where Stripe says no or has another total;
        `DeliveryFailed` where no answer came. In the last case send it again.
        """
        checked(invoice)
        currency = invoice.bill.currency
        due = minor_units(invoice.bill.due, currency, "bill.due")
        if due <= 0:
            raise InvalidValue("bill.due", f"{invoice.bill.due} is nothing to collect")
        items = tuple(_items(invoice))
        made = digest(invoice)
        customer = self.ensure_customer(invoice.tenant, invoice.buyer)
        found = self._find(invoice, customer, made)
        if found is None:
            form = self._invoice(invoice, customer, made)
            found = self._client.post("/v1/invoices", form, _key("invoice", made))
            there: set[str] = set()
        elif found.get("status") == "draft":
            there = self._items_of(_id(found))
        else:
            return _result(found, invoice)
        provider_id = _id(found)
        for i, item in enumerate(items):
            if str(i) not in there:
                self._add(provider_id, customer, currency, i, item, made)
        draft = self._client.get(f"/v1/invoices/{provider_id}", {})
        if draft.get("total") != due:
            raise ProviderRefused(
                f"Stripe has {shown(draft.get('total'))} as total of {invoice.number}, not {due}",
                reason="total_differs",
                remedy=f"look at {provider_id}: it is a draft, and was not finalised",
            )
        done = self._client.post(
            f"/v1/invoices/{provider_id}/finalize",
            {"auto_advance": True},
            _key("finalize", made),
        )
        return _result(done, invoice)

    @exactly
    def credit(self, note: CreditNote, invoice: str) -> str:
        """Has Stripe take back what a credit note does, and returns Stripe's id of it.

        `invoice` is Stripe's (`ProviderInvoice.id`). What is still to be paid is lowered first; of
        the rest `note.refund` is paid back, and what is left is kept for the customer's next
        invoice. Sent again, nothing is doubled.

        Raises `InvalidValue` for a credit note of nothing, `ProviderRefused` where more is to be
        refunded than was paid, or Stripe says no, `DeliveryFailed` where no answer came.
        """
        checked(note)
        total = minor_units(note.total, note.currency, "total")
        refund = minor_units(note.refund, note.currency, "refund")
        if total <= 0:
            raise InvalidValue("total", f"{note.total} is nothing to take back")
        made, invoice = digest(note), _id({"id": invoice})
        for row in self._all("/v1/credit_notes", {"invoice": invoice}):
            metadata = row.get("metadata")
            if isinstance(metadata, dict) and metadata.get("tenancy_digest") == made:
                return _id(row)
        there = self._client.get(f"/v1/invoices/{invoice}", {})
        left = there.get("amount_remaining")
        if isinstance(left, bool) or not isinstance(left, int):
            raise ProviderRefused(
                "Stripe answered an invoice without amount_remaining", final=False
            )
        back = total - min(total, max(left, 0))
        if refund > back:
            raise ProviderRefused(
                f"{note.refund} {note.currency} are to be refunded, but of the credit note only "
                f"{major_units(back, note.currency)} were paid on {invoice}",
                reason="refund_above_payment",
            )
        form = {
            "invoice": invoice,
            "amount": total,
            "refund_amount": refund or None,
            "credit_amount": back - refund or None,
            "memo": note.reason[:_DESCRIPTION_MOST] or None,
            "metadata": {
                "tenancy_number": note.number,
                "tenancy_tenant": note.tenant,
                "tenancy_digest": made,
            },
        }
        return _id(self._client.post("/v1/credit_notes", form, _key("credit", made)))

    def events(self, headers: Mapping[str, str], body: bytes) -> tuple[PaymentEvent, ...]:
        """What a webhook says; see `PaymentProvider.events` and `verify_stripe_webhook`."""
        return tuple(
            events_of(verify_stripe_webhook(headers, body, self.webhook_secret), self.name)
        )

    # ----------------------------------------------------------------------------- requests

    @cached_property
    def _client(self) -> Client:
        return Client(
            self.api_key,
            self.base_url,
            self.api_version,
            self.account,
            check_timeout(self.timeout),
            self.attempts,
            self.ca_file,
            self.sleep,
        )

    def _invoice(self, invoice: Invoice, customer: str, made: str) -> Form:
        due_date = int(invoice.due_at.timestamp()) if self.collection == "send_invoice" else None
        return {
            "customer": customer,
            "currency": invoice.bill.currency.lower(),
            "collection_method": self.collection,
            "due_date": due_date,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": invoice.number,
            "metadata": {
                "tenancy_number": invoice.number,
                "tenancy_tenant": invoice.tenant,
                "tenancy_digest": made,
            },
        }

    def _add(
        self, provider_id: str, customer: str, currency: str, i: int, item: _Item, made: str
    ) -> None:
        period = item.period and {
            "start": int(item.period.start.timestamp()),
            "end": int(item.period.end.timestamp()),
        }
        self._client.post(
            "/v1/invoiceitems",
            {
                "customer": customer,
                "invoice": provider_id,
                "amount": item.amount,
                "currency": currency.lower(),
                "description": item.description[:_DESCRIPTION_MOST],
                "discountable": False,
                "period": period,
                "metadata": {"tenancy_item": str(i)},
            },
            _key("item", made, str(i)),
        )

    def _find(self, invoice: Invoice, customer: str, made: str) -> dict[str, Any] | None:
        """The invoice, if it is there from an earlier try. The list is never behind, as the search
        is; it begins a day before ours was issued, for clocks that differ."""
        since = int((invoice.issued_at - timedelta(days=1)).timestamp())
        query = {"customer": customer, "created": {"gte": since}}
        for row in self._all("/v1/invoices", query):
            metadata = row.get("metadata")
            if not isinstance(metadata, dict) or metadata.get("tenancy_number") != invoice.number:
                continue
            if row.get("status") == "void":
                continue
            if metadata.get("tenancy_digest") != made:
                raise ProviderRefused(
                    f"Stripe has another invoice {invoice.number}: {_id(row)}",
                    reason="number_taken",
                    remedy="void it there first, if it is wrong",
                )
            return row
        return None

    def _items_of(self, provider_id: str) -> set[str]:
        found = set()
        for row in self._all("/v1/invoiceitems", {"invoice": provider_id}):
            metadata = row.get("metadata")
            if isinstance(metadata, dict):
                found.add(str(metadata.get("tenancy_item")))
        return found

    def _all(self, path: str, query: Form) -> Iterator[dict[str, Any]]:
        after: str | None = None
        for _ in range(_PAGES_MOST):
            page = self._client.get(path, {**query, "limit": 100, "starting_after": after})
            rows = _rows(page)
            yield from rows
            if not page.get("has_more") or not rows:
                return
            after = _id(rows[-1])
        raise ProviderRefused(f"Stripe lists more than {_PAGES_MOST * 100:,} at {path}")


# ---------------------------------------------------------------------------------- the pieces


def _items(invoice: Invoice) -> Iterator[_Item]:
    """Lines without tax, then taxes, then credits taken after tax: together what is due."""
    bill, currency = invoice.bill, invoice.bill.currency
    lines = lines_net(invoice)
    taxed = [tax for tax in bill.taxes if tax.amount]
    if len(lines) + len(taxed) + 1 <= _ITEMS_MOST:
        for i, line in enumerate(lines):
            amount = minor_units(line.net, currency, f"bill.lines[{i}]")
            if amount:
                yield _Item(line.description or f"Line {i + 1}", amount, bill.lines[i].period)
    else:
        for tax in bill.taxes:
            amount = minor_units(tax.base, currency, "bill.taxes")
            if amount:
                text = f"{invoice.number}, charges at {tax.rate} % ({tax.category})"
                yield _Item(text, amount, bill.period)
    for tax in taxed:
        yield _Item(
            f"{tax.name or 'Tax'} {tax.rate} %", minor_units(tax.amount, currency, "bill.taxes")
        )
    credit = prepaid(invoice)
    if credit:
        yield _Item("Credit", -minor_units(credit, currency, "bill.credit"))


def _customer(buyer: Party) -> Form:
    address = {
        "line1": buyer.street,
        "city": buyer.city,
        "postal_code": buyer.postcode,
        "state": buyer.region,
        "country": buyer.country,
    }
    # An empty text takes a value away; all are given, so that what changed is what Stripe has.
    return {"name": buyer.name[:256], "email": buyer.email, "address": address}


def _result(found: Mapping[str, Any], invoice: Invoice) -> ProviderInvoice:
    total = found.get("total")
    if isinstance(total, bool) or not isinstance(total, int):
        raise ProviderRefused("Stripe answered an invoice without a total", final=False)
    url = found.get("hosted_invoice_url")
    return ProviderInvoice(
        provider="stripe",
        id=_id(found),
        number=invoice.number,
        status=str(found.get("status")),
        currency=invoice.bill.currency,
        total=major_units(total, invoice.bill.currency),
        url=url if isinstance(url, str) else None,
    )


def _rows(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = page.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _id(found: Mapping[str, Any]) -> str:
    """Ids become parts of paths: nothing else is taken for one."""
    value = found.get("id")
    if not isinstance(value, str) or not value.isascii() or not value.replace("_", "").isalnum():
        raise ProviderRefused(f"Stripe answered the id {shown(value)}", final=False)
    return value


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _key(*parts: str) -> str:
    """The same for the same; parts cannot run into each other."""
    joined = "\0".join(f"{len(part)}:{part}" for part in parts)
    return (
        f"tenancy-{parts[0]}-{hashlib.sha256(joined.encode('utf-8', 'replace')).hexdigest()[:48]}"
    )
