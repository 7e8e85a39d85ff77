"""Price books by time: what a plan costs from when on, each book kept as it was.

A catalog that comes into force is a row of the store with its time. What its plans cost is noted
in the same transaction, so that a shipped book that a later release changes stays what it was; of
catalogs from before that was so, when something is first billed. A period is billed by the prices
in force when it began; a plan that came later, by its first ones; a catalog may say that its prices
count at once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ..catalog import Catalog, Plan
from ..errors import BillingRefused
from ..pricing import PriceBook
from ..stores import billing_rows
from ..stores import billing_tables as tables
from ..stores.billing_timeline import SELLER, record
from ..stores.change import Change
from ..stores.host import Host
from ..stores.periods import UNITS
from ._options import CATALOG, options_value

__all__ = [
    "Books",
    "PlanPrices",
    "digest_of",
    "free_book",
    "keep_book",
    "note_prices",
    "pin_prices",
]

UNPRICED = "-"
"""Stands for the book of a plan whose price is not in the catalog."""

_FREE = {"metrics": {"none": {"model": "per_unit", "unit": 0}}}


def digest_of(book: PriceBook) -> str:
    return hashlib.sha256(book.to_json().encode()).hexdigest()


def free_book(currency: str) -> PriceBook:
    """By which nothing is due."""
    return PriceBook.from_dict({"price_book": "none", "currency": currency, **_FREE})


def pin_prices(host: Host, by: str | None = None) -> None:
    """Note what the plans of every catalog cost that was put in force since the last time."""
    with host.cursor() as cursor:
        if not _new_catalogs(cursor):
            return
    with host.write(by) as change:
        note_prices(change)


def note_prices(change: Change) -> None:
    """`pin_prices` in the transaction that puts a catalog in force."""
    cursor = billing_rows.plain_cursor(change)
    for seq, name, document, since_ns in _new_catalogs(cursor):
        catalog = Catalog.from_text(document, format="json", source=name)
        members = json.loads(document, parse_float=Decimal).get("price_books", {})
        prices = []
        for plan in catalog.plans.values():
            book = _book_of(catalog, plan, members)
            digest = book if book is None or book == UNPRICED else keep_book(change, book)
            prices.append(
                {"catalog_seq": seq, "plan": plan.name, "since_ns": since_ns, "book": digest}
            )
        _note_options(change, catalog, since_ns, first=seq == 1)
        billing_rows.add(change, tables.prices, prices)


def _note_options(change: Change, catalog: Catalog, since_ns: int, *, first: bool) -> None:
    """By which periods and when fees are charged, where that is another than before."""
    value = options_value(catalog)
    known = billing_rows.seller_values(billing_rows.plain_cursor(change), CATALOG)
    if not known and not first:
        # Catalogs from before there were options: what holds without a word held until now.
        record(change, SELLER, CATALOG, {}, 0)
        known = [{}]
    if not known or known[-1] != value:
        record(change, SELLER, CATALOG, value, since_ns)


def keep_book(change: Change, book: PriceBook) -> str:
    """Keep a book under its digest."""
    digest = digest_of(book)
    billing_rows.plain_cursor(change).execute(
        "INSERT INTO billing_books (digest, document, recorded_ns) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (digest, book.to_json(), change.now_ns),
    )
    return digest


def _new_catalogs(cursor: sqlite3.Cursor) -> list[tuple[int, str, str, int]]:
    query = (
        "SELECT seq, name, document, created_ns FROM catalogs "
        "WHERE seq > (SELECT coalesce(max(catalog_seq), 0) FROM billing_prices) ORDER BY seq"
    )
    return cursor.execute(query).fetchall()


def _book_of(catalog: Catalog, plan: Plan, members: Mapping[str, Any]) -> PriceBook | Any:
    """The plan's book as a document of its own; None: the plan is free."""
    if plan.price_book is not None:
        member = members.get(plan.price_book)
        if member is None:
            return PriceBook.load(plan.price_book)
        currency = PriceBook.of_plan(catalog, plan.name).currency
        return PriceBook.from_dict(
            {"price_book": plan.price_book, **member, "currency": currency},
        )
    if not plan.price:
        return None
    if plan.price == "custom" or plan.period not in UNITS or plan.currency is None:
        return UNPRICED
    document = {"price_book": plan.name, "currency": plan.currency, "base_fee": plan.price}
    return PriceBook.from_dict({**document, **_FREE})


class Books:
    """Price books by digest, read once. Any thread: a book that is made twice is the same."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[tuple[str, str | None], PriceBook] = {}
        self._free: dict[str, PriceBook] = {}

    def get(self, digest: str, plan: str | None) -> PriceBook:
        """The book with the units that it includes for a plan."""
        found = self._known.get((digest, plan))
        if found is None:
            found = self._read(digest)
            if plan is not None and plan in found.plans:
                found = found.for_plan(plan)
            self._known[digest, plan] = found
        return found

    def free(self, currency: str) -> PriceBook:
        found = self._free.get(currency)
        if found is None:
            found = self._free[currency] = free_book(currency)
        return found

    def _read(self, digest: str) -> PriceBook:
        with self._host.cursor() as cursor:
            row = cursor.execute(
                "SELECT document FROM billing_books WHERE digest = ?", (digest,)
            ).fetchone()
        if row is None or hashlib.sha256(row[0].encode()).hexdigest() != digest:
            raise BillingRefused(
                f"price book {digest} is not what was kept",
                remedy="restore the database from a backup",
            )
        return PriceBook.from_text(row[0], format="json", source=digest)


class PlanPrices:
    """Which book a plan has at a time."""

    def __init__(self, rows: list[tuple[str, int, str | None]]) -> None:
        self._of: dict[str, list[tuple[int, str | None]]] = {}
        for plan, since_ns, digest in rows:
            # Datetimes have microseconds, so that is what periods are made of.
            self._of.setdefault(plan, []).append((since_ns - since_ns % 1000, digest))
        self._times = {at for known in self._of.values() for at, _ in known}

    def changes(self, span: tuple[int, int], at_once: Callable[[int], bool]) -> set[int]:
        """When within a period prices came into force that count at once."""
        within = {at for at in self._times if span[0] < at < span[1]}
        return {at for at in within if at_once(at)}

    def digest(self, plan: str, moment_ns: int) -> str | None:
        """None: the plan is free. Raises `BillingRefused` where no price is known."""
        return self.digest_within(plan, moment_ns, moment_ns, lambda _: False)

    def digest_within(
        self, plan: str, start_ns: int, moment_ns: int, at_once: Callable[[int], bool]
    ) -> str | None:
        """The same for a moment of a period that began at `start_ns`: prices that came since count
        where `at_once` says so of their time."""
        known = self._of.get(plan)
        if known is None:
            raise BillingRefused(f"no catalog in force ever had the plan {plan!r}")
        found = before = known[0][1]
        for since_ns, digest in known:
            if since_ns > moment_ns:
                break
            if since_ns <= start_ns or (digest != before and at_once(since_ns)):
                found = digest
            before = digest
        if found == UNPRICED:
            raise BillingRefused(
                f"what the plan {plan!r} costs is not in the catalog",
                remedy="`billing.prices(tenant, book)`, or give the plan a price_book",
            )
        return found
