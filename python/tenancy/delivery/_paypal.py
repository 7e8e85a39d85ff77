"""Invoices to PayPal: a draft with final amounts as its items, compared, sent.

PayPal adds nothing and taxes nothing: it would compute tax from rates, item by item, with roundings
of its own. So each line comes with its amount and its discount, each tax as an item of its own, and
before the draft is sent its total is compared with ours.

Nothing is doubled, whenever an answer is lost: an invoice is looked for by its number first, and
requests bear ids made of the document, which PayPal keeps for some hours.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any

from .._text import check_email, shown
from ..billing import BillLine, Invoice, Party, digest
from ..errors import InvalidValue, ProviderRefused
from ..stores.alert_destinations import check_timeout
from ..stores.alert_webhook import url_parts
from ._check import checked, lines_net, prepaid
from ._exact import exactly
from ._payments import PaymentEvent, ProviderInvoice
from ._paypal_certificates import LIVE_HOSTS, Certificates
from ._paypal_http import Client
from ._paypal_money import check_currency, money, value_of
from ._paypal_webhook import check_webhook_id, events_of, named_invoice, verified

__all__ = ["PayPalAdapter"]

_ITEMS_MOST = 100
"""PayPal takes no more; with more lines there is an item for each tax rate."""
_NUMBER_MOST = 25
_NAME_MOST, _NOTE_MOST, _MEMO_MOST = 200, 4_000, 500
_PAGE, _PAGES_MOST = 100, 10
_ID = re.compile(r"[A-Za-z0-9-]{1,50}")
_INVOICES = "/v2/invoicing/invoices"


@dataclass(frozen=True)
class _Item:
    field: str
    name: str
    amount: Decimal
    discount: Decimal = Decimal(0)


@dataclass(frozen=True)
class PayPalAdapter:
    """PayPal as a `PaymentProvider`, by its Invoicing API v2.

    `client_id` and `client_secret` are the app's; the secret and the tokens it gets are never
    shown. `webhook_id` is the id PayPal gave the webhook. `base_url` is
    `https://api-m.sandbox.paypal.com` for tests. `email` is the address of the PayPal account, if
    invoices shall name it. With `notify` PayPal mails the invoice to a buyer that has an address;
    else `ProviderInvoice.url` is where to pay. A call takes `timeout` at most and is tried
    `attempts` times after time-outs, lost connections and answers 409, 429 and 5xx, with growing
    waits. A webhook may be `webhook_tolerance` old: PayPal sends one again for three days, and what
    it is about is read anew each time. Webhooks need the extra `tls`.
    """

    client_id: str
    client_secret: str = field(repr=False)
    webhook_id: str | None = None
    base_url: str = "https://api-m.paypal.com"
    email: str | None = None
    notify: bool = True
    webhook_tolerance: timedelta | float = timedelta(days=4)
    timeout: timedelta | float = 20.0
    attempts: int = 4
    ca_file: str | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.webhook_id is not None:
            check_webhook_id(self.webhook_id)
        if self.email is not None:
            check_email(self.email, "email")
        if isinstance(self.attempts, bool) or not 1 <= self.attempts <= 10:
            raise InvalidValue("attempts", f"{shown(self.attempts)}, expected 1 to 10")
        _ = self._client

    @property
    def name(self) -> str:
        return "paypal"

    @exactly
    def send(self, invoice: Invoice) -> ProviderInvoice:
        """Has PayPal collect what is due on an issued invoice; see `PaymentProvider.send`.

        Raises `InvalidValue` for an invoice on which nothing is due, or whose currency, number or
        amounts PayPal cannot take, before anything is sent; `ProviderRefused` where PayPal says no
        or has another total; `DeliveryFailed` where no answer came. In the last case send it again.
        """
        checked(invoice)
        currency, due = invoice.bill.currency, invoice.bill.due
        check_currency(currency, "bill.currency")
        if due <= 0:
            raise InvalidValue("bill.due", f"{due} is nothing to collect")
        if len(invoice.number) > _NUMBER_MOST:
            raise InvalidValue(
                "number",
                f"{shown(invoice.number)} is longer than the {_NUMBER_MOST} characters of PayPal",
                remedy="a shorter prefix of the numbers",
            )
        made = digest(invoice)
        draft = self._draft(invoice, made)
        there, cancelled = self._find(invoice.number, made)
        if there is None:
            there = self._created(invoice.number, draft, made, cancelled)
        self._compare(there, invoice)
        if there.get("status") != "DRAFT":
            return _result(there, invoice)
        there_id = _id(there)
        to_buyer = self.notify and bool(invoice.buyer.email)
        self._client.post(
            f"{_INVOICES}/{there_id}/send",
            {"send_to_recipient": to_buyer, "send_to_invoicer": False},
            _key("send", made, there_id),
        )
        return _result(self._client.get(f"{_INVOICES}/{there_id}"), invoice)

    def events(self, headers: Mapping[str, str], body: bytes) -> tuple[PaymentEvent, ...]:
        """What a webhook says; see `PaymentProvider.events`.

        Of the webhook only the invoice's id is believed; where that stands is read from PayPal.
        Raises `SignatureInvalid` for a webhook that PayPal did not send, `DeliveryFailed` where its
        certificate or the invoice could not be read: answer with an error, and PayPal sends it
        again.
        """
        if self.webhook_id is None:
            raise InvalidValue("webhook_id", "is not set", remedy="PayPalAdapter(webhook_id=…)")
        event = verified(
            headers,
            body,
            self.webhook_id,
            self._certificates,
            tolerance=self.webhook_tolerance,
            now=datetime.now(timezone.utc),
        )
        named = named_invoice(event)
        if named is None:
            return ()
        found = self._client.get(f"{_INVOICES}/{_id({'id': named})}")
        _, host, _, _ = url_parts(self.base_url, "base_url")
        return tuple(events_of(event, found, self.name, live=host in LIVE_HOSTS))

    # ----------------------------------------------------------------------------- requests

    @cached_property
    def _client(self) -> Client:
        return Client(
            self.client_id,
            self.client_secret,
            self.base_url,
            check_timeout(self.timeout),
            self.attempts,
            self.ca_file,
            self.sleep,
        )

    @cached_property
    def _certificates(self) -> Certificates:
        return Certificates(self.base_url, self.ca_file, check_timeout(self.timeout))

    def _created(
        self, number: str, draft: Mapping[str, Any], made: str, cancelled: tuple[str, ...]
    ) -> dict[str, Any]:
        try:
            found = self._client.post(_INVOICES, draft, _key("invoice", made, *cancelled))
        except ProviderRefused as refusal:
            # The search may be behind: what it did not show has the number, and may be ours.
            there, _ = self._find(number, made) if refusal.http_status == 422 else (None, ())
            if there is None:
                raise
            return there
        # The answer may be a link to what was made, or the whole of it.
        return self._client.get(f"{_INVOICES}/{_made_id(found)}")

    def _find(self, number: str, made: str) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
        """Our invoice, if it is there from an earlier try, and the ids of cancelled ones."""
        cancelled = []
        for row in self._search(number):
            if row.get("status") == "CANCELLED":
                cancelled.append(_id(row))
                continue
            found = self._client.get(f"{_INVOICES}/{_id(row)}")
            if made not in str(_detail(found).get("memo", "")).split():
                raise ProviderRefused(
                    f"PayPal has another invoice {number}: {_id(row)}",
                    reason="number_taken",
                    remedy="cancel it there first, if it is wrong",
                )
            return found, ()
        return None, tuple(sorted(cancelled))

    def _search(self, number: str) -> Iterator[dict[str, Any]]:
        """PayPal finds numbers that hold this one, too."""
        for page in range(1, _PAGES_MOST + 1):
            found = self._client.post(
                f"/v2/invoicing/search-invoices?page={page}&page_size={_PAGE}",
                {"invoice_number": number},
                None,
            )
            rows = found.get("items")
            rows = rows if isinstance(rows, list) else []
            for row in rows:
                if isinstance(row, dict) and _detail(row).get("invoice_number") == number:
                    yield row
            if len(rows) < _PAGE:
                return
        raise ProviderRefused(f"PayPal lists more than {_PAGES_MOST * _PAGE:,} for {number}")

    def _compare(self, there: Mapping[str, Any], invoice: Invoice) -> None:
        total, currency = value_of(there.get("amount"), "amount")
        if (total, currency) != (invoice.bill.due, invoice.bill.currency):
            raise ProviderRefused(
                f"PayPal has {total} {currency} as total of {invoice.number}, not "
                f"{invoice.bill.due} {invoice.bill.currency}",
                reason="total_differs",
                remedy=f"look at {_id(there)} in PayPal: it was not sent by this call",
            )

    def _draft(self, invoice: Invoice, made: str) -> dict[str, Any]:
        """All of it checked, so that what cannot be taken is refused before anything is sent."""
        currency, buyer = invoice.bill.currency, invoice.buyer
        items = list(_items(invoice))
        total = sum((item.amount - item.discount for item in items), Decimal(0))
        if total != invoice.bill.due:
            raise InvalidValue("bill", f"its parts sum to {total}, not to {invoice.bill.due}")
        detail = {
            "invoice_number": invoice.number,
            "reference": buyer.reference[:120],
            "invoice_date": invoice.issued_at.astimezone(timezone.utc).date().isoformat(),
            "currency_code": currency,
            "note": "\n".join(invoice.notes)[:_NOTE_MOST],
            "memo": f"tenancy {made} {invoice.tenant}"[:_MEMO_MOST],
            "payment_term": {
                "term_type": "DUE_ON_DATE_SPECIFIED",
                "due_date": invoice.due_at.astimezone(timezone.utc).date().isoformat(),
            },
        }
        invoicer = {"business_name": invoice.seller.name[:300], "email_address": self.email}
        return {
            "detail": _filled(detail),
            "invoicer": _filled(invoicer),
            "primary_recipients": [{"billing_info": _billing(buyer)}],
            "items": [_line(item, currency) for item in items],
            "configuration": {
                "allow_tip": False,
                "partial_payment": {"allow_partial_payment": False},
                "tax_inclusive": False,
            },
        }


# ---------------------------------------------------------------------------------- the pieces


def _items(invoice: Invoice) -> Iterator[_Item]:
    """Lines without tax, then taxes, then credits taken after tax: together what is due."""
    bill = invoice.bill
    lines = lines_net(invoice)
    taxed = [tax for tax in bill.taxes if tax.amount]
    if len(lines) + len(taxed) + 1 <= _ITEMS_MOST:
        for i, line in enumerate(lines):
            discount = _discount(bill.lines[i], line.net)
            if line.net or discount:
                name = line.description or f"Line {i + 1}"
                yield _Item(f"bill.lines[{i}]", name, line.net + discount, discount)
    else:
        for i, tax in enumerate(bill.taxes):
            if tax.base:
                name = f"{invoice.number}, charges at {tax.rate} % ({tax.category})"
                yield _Item(f"bill.taxes[{i}]", name, tax.base)
    for i, tax in enumerate(bill.taxes):
        if tax.amount:
            yield _Item(f"bill.taxes[{i}]", f"{tax.name or 'Tax'} {tax.rate} %", tax.amount)
    credit = prepaid(invoice)
    if credit:
        yield _Item("bill.credit", "Credit", -credit)


def _discount(line: BillLine, net: Decimal) -> Decimal:
    """What the line's amount is lowered by, where PayPal can show it: what is left without tax is
    then the amount less the discount, and neither is negative."""
    discount = line.amount - net
    return discount if net >= 0 and discount == line.discount + line.credit else Decimal(0)


def _line(item: _Item, currency: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": item.name[:_NAME_MOST],
        "quantity": "1",
        "unit_amount": money(item.amount, currency, item.field),
        "unit_of_measure": "AMOUNT",
    }
    if item.discount:
        found["discount"] = {"amount": money(item.discount, currency, item.field)}
    return found


def _billing(buyer: Party) -> dict[str, Any]:
    address = {
        "address_line_1": buyer.street[:300],
        "admin_area_2": buyer.city[:300],
        "admin_area_1": buyer.region[:300],
        "postal_code": buyer.postcode[:60],
        "country_code": buyer.country,
    }
    return _filled(
        {
            "business_name": buyer.name[:300],
            "email_address": buyer.email,
            "address": _filled(address),
        }
    )


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What has a value: PayPal takes no empty addresses."""
    return {name: value for name, value in fields.items() if value}


def _result(found: Mapping[str, Any], invoice: Invoice) -> ProviderInvoice:
    total, currency = value_of(found.get("amount"), "amount")
    metadata = _detail(found).get("metadata")
    url = metadata.get("recipient_view_url") if isinstance(metadata, dict) else None
    return ProviderInvoice(
        provider="paypal",
        id=_id(found),
        number=invoice.number,
        status=str(found.get("status")),
        currency=currency,
        total=total,
        url=url if isinstance(url, str) else None,
    )


def _detail(found: Mapping[str, Any]) -> Mapping[str, Any]:
    detail = found.get("detail")
    return detail if isinstance(detail, dict) else {}


def _made_id(found: Mapping[str, Any]) -> str:
    href = found.get("href")
    if "id" not in found and isinstance(href, str):
        return _id({"id": href.rpartition("/")[2]})
    return _id(found)


def _id(found: Mapping[str, Any]) -> str:
    """Ids become parts of paths: nothing else is taken for one."""
    value = found.get("id")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ProviderRefused(f"PayPal answered the id {shown(value)}", final=False)
    return value


def _key(*parts: str) -> str:
    """The same for the same; parts cannot run into each other. As long as a UUID, which any of
    PayPal's APIs takes."""
    joined = "\0".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:36]
