"""Rows of billing, read for many tenants at once and added. What money means is not known here.

Reading takes marks: how far each table is read. Rows are only ever added, so that the marks of an
issued bill give the same facts again at any time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import billing_tables as tables
from .change import Change

__all__ = [
    "CreditRow",
    "DocumentRow",
    "Fact",
    "InvoiceRow",
    "Marks",
    "RedemptionRow",
    "TenantRows",
    "Use",
    "accounts_count",
    "add",
    "changed",
    "document_row",
    "document_rows",
    "entries_of",
    "inputs_of",
    "last_of_series",
    "marks",
    "plain_cursor",
    "price_rows",
    "read",
    "seller_values",
    "tenant_ids",
]

Marks = dict[str, int]
"""By table, the newest row that counts."""

_MARKED = ("timeline", "prices", "credits", "redemptions", "uses", "documents")
_TENANTS_OF = {name: f"billing_{name}" for name in _MARKED if name != "prices"}


class Fact(NamedTuple):
    """Something that holds from a time on."""

    kind: str
    since_ns: int
    value: str


class CreditRow(NamedTuple):
    id: str
    currency: str
    amount: str
    priority: int
    since_ns: int
    expires_ns: int | None
    name: str
    source: str


class RedemptionRow(NamedTuple):
    id: str
    code: str
    value: str
    since_ns: int


class Use(NamedTuple):
    """What a bill took from a credit or a discount."""

    kind: str
    ref: str
    amount: str


class DocumentRow(NamedTuple):
    """A document as it is stored."""

    seq: int
    number: str
    series: str
    ordinal: int
    kind: str
    tenant: str
    about: str | None
    start_ns: int | None
    end_ns: int | None
    currency: str
    total: str
    digest: str
    document: str


class InvoiceRow(NamedTuple):
    """The place of an invoice."""

    number: str
    start_ns: int | None
    """None: it is the opening bill, of no period; it comes first."""
    end_ns: int


@dataclass(frozen=True)
class TenantRows:
    """All that a bill of one tenant is computed from, except usage and prices."""

    tenant_id: str
    facts: tuple[Fact, ...]
    seller: tuple[Fact, ...]
    credits: tuple[CreditRow, ...]
    redemptions: tuple[RedemptionRow, ...]
    uses: tuple[Use, ...]
    invoices: tuple[InvoiceRow, ...]
    """In the order of their periods."""
    due: tuple[tuple[str, int], ...] = ()
    """What is scheduled and not yet done: kind and time."""


_FACTS = """
    SELECT tenant_id, kind, since_ns, value FROM billing_timeline
     WHERE tenant_id IN (SELECT value FROM json_each(?)) AND seq <= ?
     ORDER BY tenant_id, since_ns, seq
"""
_CREDITS = """
    SELECT tenant_id, id, currency, amount, priority, since_ns, expires_ns, name, source
      FROM billing_credits
     WHERE tenant_id IN (SELECT value FROM json_each(?)) AND seq <= ?
     ORDER BY tenant_id, seq
"""
_REDEMPTIONS = """
    SELECT r.tenant_id, r.id, c.code, c.value, r.since_ns
      FROM billing_redemptions r JOIN billing_coupons c ON c.id = r.coupon_id
     WHERE r.tenant_id IN (SELECT value FROM json_each(?)) AND r.seq <= ?
     ORDER BY r.tenant_id, r.seq
"""
_USES = """
    SELECT tenant_id, kind, ref, amount FROM billing_uses
     WHERE tenant_id IN (SELECT value FROM json_each(?)) AND seq <= ?
     ORDER BY tenant_id, seq
"""
_INVOICES = """
    SELECT tenant_id, number, period_start_ns, period_end_ns FROM billing_documents
     WHERE tenant_id IN (SELECT value FROM json_each(?)) AND seq <= ? AND kind = 'invoice'
     ORDER BY tenant_id, period_start_ns
"""
_DUE = """
    SELECT tenant_id, kind, due_ns FROM schedule
     WHERE tenant_id IN (SELECT value FROM json_each(?)) AND kind = 'change_plan' AND seq > ?
"""
_MARKS = """
    SELECT (SELECT max(seq) FROM billing_timeline), (SELECT max(seq) FROM billing_prices),
           (SELECT max(seq) FROM billing_credits), (SELECT max(seq) FROM billing_redemptions),
           (SELECT max(seq) FROM billing_uses), (SELECT max(seq) FROM billing_documents)
"""
_DOCUMENTS = """
    SELECT seq, number, series, ordinal, kind, tenant_id, about, period_start_ns, period_end_ns,
           currency, total, digest, document
      FROM billing_documents
"""


def plain_cursor(change: Change) -> sqlite3.Cursor:
    """The driver's own cursor in the transaction of a change, for many rows."""
    cursor: sqlite3.Cursor = change.connection.connection.cursor()  # type: ignore[assignment]
    return cursor


def marks(cursor: sqlite3.Cursor) -> Marks:
    """How far the tables reach now."""
    row = cursor.execute(_MARKS).fetchone()
    return {name: int(newest or 0) for name, newest in zip(_MARKED, row, strict=True)}


def read(
    cursor: sqlite3.Cursor, tenants: Sequence[str], until: Marks, *, scheduled: bool = True
) -> tuple[dict[str, TenantRows], tuple[Fact, ...]]:
    """The rows of some tenants, and the seller's, as they were when the tables reached `until`."""
    names = json.dumps([*tenants, ""])
    facts = _grouped(cursor, _FACTS, names, until["timeline"], Fact)
    credits_ = _grouped(cursor, _CREDITS, names, until["credits"], CreditRow)
    redemptions = _grouped(cursor, _REDEMPTIONS, names, until["redemptions"], RedemptionRow)
    uses = _grouped(cursor, _USES, names, until["uses"], Use)
    invoices = _grouped(cursor, _INVOICES, names, until["documents"], InvoiceRow)
    due = _due(cursor, names) if scheduled else {}
    seller = tuple(facts.get("", ()))
    found = {
        tenant: TenantRows(
            tenant,
            tuple(facts.get(tenant, ())),
            seller,
            tuple(credits_.get(tenant, ())),
            tuple(redemptions.get(tenant, ())),
            tuple(uses.get(tenant, ())),
            tuple(invoices.get(tenant, ())),
            tuple(due.get(tenant, ())),
        )
        for tenant in tenants
    }
    return found, seller


def changed(cursor: sqlite3.Cursor, rows: Sequence[TenantRows], since: Marks) -> set[str]:
    """Of tenants whose rows were read when the tables reached `since`: those that have others now.

    Rows are only ever added, so it is enough to look at those behind the marks.
    """
    now = marks(cursor)
    found: set[str] = set()
    for name, table in _TENANTS_OF.items():
        if now[name] != since[name]:
            query = f"SELECT DISTINCT tenant_id FROM {table} WHERE seq > ?"  # noqa: S608
            found.update(tenant for (tenant,) in cursor.execute(query, (since[name],)))
    if "" in found:  # the seller, who is part of every bill
        return {one.tenant_id for one in rows}
    due = _due(cursor, json.dumps([one.tenant_id for one in rows]))
    found.update(one.tenant_id for one in rows if one.due != tuple(due.get(one.tenant_id, ())))
    return found


def _due(cursor: sqlite3.Cursor, names: str) -> dict[str, list[tuple[str, int]]]:
    return _grouped(cursor, _DUE, names, 0, lambda kind, ns: (kind, ns))


def _grouped(
    cursor: sqlite3.Cursor, query: str, names: str, until: int, make: Any
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for tenant, *rest in cursor.execute(query, (names, until)):
        found.setdefault(tenant, []).append(make(*rest))
    return found


def price_rows(cursor: sqlite3.Cursor, until: int) -> list[tuple[str, int, str | None]]:
    """Plan, since when, and the digest of its book; ordered by time."""
    query = "SELECT plan, since_ns, book FROM billing_prices WHERE seq <= ? ORDER BY since_ns, seq"
    return cursor.execute(query, (until,)).fetchall()


def seller_values(cursor: sqlite3.Cursor, kind: str) -> list[Any]:
    """What the seller's facts of a kind say, in the order of their times."""
    query = (
        "SELECT value FROM billing_timeline WHERE tenant_id = '' AND kind = ?"
        " ORDER BY since_ns, seq"
    )
    return [json.loads(value) for (value,) in cursor.execute(query, (kind,))]


def tenant_ids(cursor: sqlite3.Cursor, after: str, limit: int) -> list[str]:
    """Tenants that have an account, in the order of their ids."""
    query = (
        "SELECT DISTINCT tenant_id FROM billing_timeline "
        "WHERE tenant_id > ? AND kind = 'account' ORDER BY tenant_id LIMIT ?"
    )
    return [row[0] for row in cursor.execute(query, (after, limit))]


def accounts_count(cursor: sqlite3.Cursor) -> int:
    """How many tenants have an account."""
    query = "SELECT count(DISTINCT tenant_id) FROM billing_timeline WHERE kind = 'account'"
    return int(cursor.execute(query).fetchone()[0])


def document_row(cursor: sqlite3.Cursor, number: str) -> DocumentRow | None:
    row = cursor.execute(f"{_DOCUMENTS} WHERE number = ?", (number,)).fetchone()
    return None if row is None else DocumentRow(*row)


def document_rows(cursor: sqlite3.Cursor, after: int, limit: int) -> list[DocumentRow]:
    """Documents in the order of their issue, behind the serial `after`."""
    query = f"{_DOCUMENTS} WHERE seq > ? ORDER BY seq LIMIT ?"
    return [DocumentRow(*row) for row in cursor.execute(query, (after, limit))]


def inputs_of(cursor: sqlite3.Cursor, numbers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """How far the tables reached when invoices were issued, as text, and their quantities."""
    query = (
        "SELECT number, as_of, quantities FROM billing_usage "
        "WHERE number IN (SELECT value FROM json_each(?))"
    )
    rows = cursor.execute(query, (json.dumps(list(numbers)),))
    return {number: (as_of, quantities) for number, as_of, quantities in rows}


def entries_of(cursor: sqlite3.Cursor, sources: Sequence[str]) -> dict[str, dict[str, int]]:
    """By source and account, the sums of entries."""
    query = (
        "SELECT source, account, sum(amount_minor) FROM billing_entries "
        "WHERE source IN (SELECT value FROM json_each(?)) GROUP BY source, account"
    )
    found: dict[str, dict[str, int]] = {source: {} for source in sources}
    for source, account, minor in cursor.execute(query, (json.dumps(list(sources)),)):
        found[source][account] = minor
    return found


def last_of_series(connection: Connection, series: str) -> tuple[int, str]:
    """Ordinal and digest of the newest document of a series; (0, "") before the first."""
    documents = tables.documents.c
    query = (
        sa.select(documents.ordinal, documents.digest)
        .where(documents.series == series)
        .order_by(documents.ordinal.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return (0, "") if row is None else (int(row.ordinal), str(row.digest))


def add(change: Change, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows that have the same columns, at least two, in one prepared statement."""
    values = list(rows)
    if not values:
        return
    names = list(values[0])
    places = ", ".join("?" * len(names))
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
    plain_cursor(change).executemany(text, map(itemgetter(*names), values))
