"""Who sells, who pays, for what: facts that bills are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .. import _core
from .._text import shown, to_moment, to_ns
from ..billing import BillingRules, Party, RulesLike, TaxRules
from ..errors import BillingRefused, InvalidValue
from ..pricing import Number, PriceBook
from ..stores.billing_rows import TenantRows, plain_cursor
from ..stores.billing_timeline import SELLER, record, record_many
from ..stores.change import Change
from ..stores.records import Tenant
from ..stores.twins import twin
from ._base import BillingBase, read_state
from ._checks import check_texts
from ._config import BILLED, Account, Settings, check_country
from ._prices import keep_book
from ._timeline import open_period, settings_at

__all__ = ["Accounts"]

_CHUNK = 500


class Accounts(BillingBase):
    """Base of `Billing`: what is configured."""

    def configure(
        self,
        *,
        seller: Party,
        tax: TaxRules | None = None,
        rules: RulesLike = "default",
        numbering: str = "INV-{year}-{number:06d}",
        credit_notes: str = "CN-{year}-{number:06d}",
        due_days: int = 14,
        billed: Sequence[str] = BILLED,
        notes: Sequence[str] = (),
        since: datetime | None = None,
        by: str | None = None,
    ) -> Settings:
        """Say who sells and how bills are made; all of it holds from `since` on, by default now.

        A period is billed by what holds at its end. `numbering` and `credit_notes` are the
        templates of two series of numbers; they may name ``year`` and ``month``, each of which
        begins a series anew, and name ``number`` once. `billed` are the statuses of tenants whose
        time is billed. Without `tax` no tax is shown. Raises `InvalidValue`.
        """
        if tax is not None and not isinstance(tax, TaxRules):
            raise InvalidValue("tax", f"expected TaxRules, got {type(tax).__name__}")
        settings = Settings(
            seller=seller,
            tax=tax,
            rules=BillingRules.of(rules),
            numbering=numbering,
            credit_notes=credit_notes,
            due_days=due_days,
            billed=check_texts(billed, "billed"),
            notes=check_texts(notes, "notes", 1000),
        )
        check_country(settings.seller, "seller")
        with self._host.write(by) as change:
            since_ns = None if since is None else to_ns(since, "since")
            record(change, SELLER, "settings", settings.to_value(), since_ns)
            change.fact("config_changed", "billing:configure", resource="billing")
        return settings

    def account(
        self,
        tenant: Tenant | str,
        *,
        party: Party,
        currency: str,
        exempt: str = "",
        since: datetime | None = None,
        by: str | None = None,
    ) -> Account:
        """Say who pays for a tenant, and in which currency; from then on it is billed.

        The first account of a tenant is from the start of its period on, by default; later ones
        hold from now on, the currency from the next period. With the tax number of a business in
        another country of the tax union, tax is due from the buyer; `exempt` says why none is due.
        Nothing that was invoiced changes. Raises `InvalidValue`, `UnknownTenant`, and
        `BillingRefused` for a time that has been invoiced.
        """
        tenant_id = self._tenant_id(tenant)
        account = Account(party, currency, exempt).checked()
        with self._host.write(by) as change:
            since_ns = self._since(change, tenant_id, since, first=True)
            record(change, tenant_id, "account", account.to_value(), since_ns)
            self._told(change, tenant_id, "billing:account", {"currency": currency})
        return account

    def account_many(self, rows: Iterable[Mapping[str, Any]], *, by: str | None = None) -> int:
        """Say who pays for many tenants, in one transaction, all or none; returns how many.

        Each row has arguments of `account`; a tenant is there once. One audit fact tells of all.
        """
        accounts: dict[str, tuple[Account, datetime | None]] = {}
        for row in rows:
            given = dict(row)
            tenant_id = self._host.tenant_id(given.pop("tenant"))
            if tenant_id in accounts:
                raise InvalidValue("tenant", f"{tenant_id} is there twice", tenant=tenant_id)
            since = given.pop("since", None)
            accounts[tenant_id] = (Account(**given).checked(), since)
        with self._host.write(by) as change:
            for some in _chunks(list(accounts), _CHUNK):
                known = read_state(plain_cursor(change), some).rows
                facts = []
                for tenant_id in some:
                    account, since = accounts[tenant_id]
                    since_ns = _since(known[tenant_id], since, change.now_ns, first=True)
                    facts.append((tenant_id, "account", account.to_value(), since_ns))
                record_many(change, facts)
            if accounts:
                context = {"count": len(accounts)}
                change.fact(
                    "config_changed", "billing:account_many", resource="billing", context=context
                )
        return len(accounts)

    def seats(
        self,
        tenant: Tenant | str,
        seats: Number,
        *,
        since: datetime | None = None,
        by: str | None = None,
    ) -> None:
        """Say how many seats a tenant has from `since` on, by default from now on.

        They cost something where the price book has a price for them.
        """
        tenant_id = self._tenant_id(tenant)
        number = _core.exact(seats, "seats")
        if number < 0:
            raise InvalidValue("seats", f"expected at least 0, got {number:f}")
        with self._host.write(by) as change:
            since_ns = self._since(change, tenant_id, since)
            record(change, tenant_id, "seats", {"seats": f"{number:f}"}, since_ns)
            self._told(change, tenant_id, "billing:seats", {"seats": f"{number:f}"})

    def prices(
        self,
        tenant: Tenant | str,
        book: PriceBook | None,
        *,
        since: datetime | None = None,
        by: str | None = None,
    ) -> None:
        """Give a tenant prices of its own from `since` on, whatever its plan; None: its plan's."""
        tenant_id = self._tenant_id(tenant)
        if book is not None and not isinstance(book, PriceBook):
            raise InvalidValue("book", f"expected a PriceBook, got {type(book).__name__}")
        with self._host.write(by) as change:
            since_ns = self._since(change, tenant_id, since)
            digest = None if book is None else keep_book(change, book)
            record(change, tenant_id, "book", {"book": digest}, since_ns)
            name = None if book is None else book.name
            self._told(change, tenant_id, "billing:prices", {"book": name, "digest": digest})

    # ------------------------------------------------------------------------------ inside

    def _since(
        self, change: Change, tenant_id: str, since: datetime | None, *, first: bool = False
    ) -> int:
        """From when a new fact counts: never within what was invoiced."""
        rows = read_state(plain_cursor(change), [tenant_id]).rows[tenant_id]
        return _since(rows, since, change.now_ns, first=first)

    @staticmethod
    def _settings(change: Change) -> Settings:
        """What holds now at the seller's side."""
        rows = read_state(plain_cursor(change), []).seller
        return settings_at(rows, change.now_ns)

    @staticmethod
    def _told(change: Change, tenant_id: str, action: str, context: dict[str, Any]) -> None:
        change.fact("config_changed", action, tenant=tenant_id, resource="billing", context=context)

    aconfigure = twin(configure)
    aaccount = twin(account)
    aaccount_many = twin(account_many)
    aseats = twin(seats)
    aprices = twin(prices)


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _since(rows: TenantRows, since: datetime | None, now_ns: int, *, first: bool) -> int:
    """From when a new fact counts: never within what was invoiced."""
    accounts = [fact.since_ns for fact in rows.facts if fact.kind == "account"]
    if since is None:
        if first and not accounts:
            return open_period(rows, now_ns)[0]
        return now_ns
    since_ns = to_ns(since, "since")
    if rows.invoices and since_ns < rows.invoices[-1].end_ns:
        raise BillingRefused(
            f"time before {to_moment(rows.invoices[-1].end_ns)} was invoiced "
            f"({rows.invoices[-1].number})",
            tenant=rows.tenant_id,
            remedy="name a later time, and mend what was invoiced with a credit note",
        )
    if first and accounts and since_ns < min(accounts):
        what = f"{shown(since)} is before its billing began"
        raise InvalidValue("since", what, tenant=rows.tenant_id)
    created = [fact.since_ns for fact in rows.facts if fact.kind == "created"]
    return max([since_ns, *created])
