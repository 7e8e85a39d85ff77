"""Rows of the store in the shape that `Engine.apply` takes: all of them, or what has changed.

SQL produces the tuples as they are; no Python code runs for a row, which is what lets a million
tenants load in seconds.
"""

from __future__ import annotations

import gc
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = [
    "Rows",
    "catalog_document",
    "decode_ref",
    "encode_ref",
    "everything",
    "since",
    "slice_of",
]


Rows = dict[str, Sequence[tuple[Any, ...]]]

# Columns in the order of the engine's rows. A revoked key stays: it is refused by name.
_TENANT = (
    "SELECT id, external_id, slug, status, plan, time_zone, anchor_ns, overrides, NULL "
    "FROM tenants WHERE status <> 'purged'"
)
_KEY = (
    'SELECT id, tenant_id, digest, principal, scopes AS "scopes [tenancy_list]", expires_ns, '
    "revoked_ns, grace_until_ns, rate_limit FROM api_keys"
)
_SESSION = (
    "SELECT digest, tenant_id, principal, platform, expires_ns, "
    'roles AS "roles [tenancy_list]" FROM sessions'
)
_ROLE = (
    "SELECT NULLIF(tenant_id, ''), name, permissions AS \"permissions [tenancy_list]\", "
    'denies AS "denies [tenancy_list]", inherits AS "inherits [tenancy_list]" FROM roles'
)
_ASSIGNMENT = "SELECT tenant_id, principal, role, NULLIF(resource, ''), until_ns FROM assignments"
_RESOURCE = "SELECT tenant_id, type, id, creator FROM resources"

_ALL = {
    "tenants": _TENANT,
    "keys": _KEY,
    "sessions": _SESSION,
    "roles": _ROLE,
    "assignments": _ASSIGNMENT,
    "resources": _RESOURCE,
}

# kind of a change -> (engine's rows, query, the columns that `ref` names)
_ONE = {
    "tenant": ("tenants", f"{_TENANT} AND id = ?"),
    "key": ("keys", f"{_KEY} WHERE id = ?"),
    "session": ("sessions", f"{_SESSION} WHERE digest = ?"),
    "role": ("roles", f"{_ROLE} WHERE tenant_id = ? AND name = ?"),
    "assignment": (
        "assignments",
        f"{_ASSIGNMENT} WHERE tenant_id = ? AND principal = ? AND role = ? AND resource = ?",
    ),
    "resource": ("resources", f"{_RESOURCE} WHERE tenant_id = ? AND type = ? AND id = ?"),
}
_MANY = {
    "tenants": ("tenants", f"{_TENANT} AND seq BETWEEN ? AND ?"),
    "keys": ("keys", f"{_KEY} WHERE seq BETWEEN ? AND ?"),
}


class _Lists(dict[bytes, list[str]]):
    """JSON lists by their text; a store holds few different ones. The engine only reads them."""

    def __missing__(self, text: bytes) -> list[str]:
        if len(self) > 65_536:
            self.clear()
        value: list[str] = json.loads(text)
        self[text] = value
        return value


sqlite3.register_converter("tenancy_list", _Lists().__getitem__)


def everything(cursor: sqlite3.Cursor) -> tuple[int, Rows]:
    """The newest revision and every row."""
    revision = _newest(cursor)
    with _without_gc():
        return revision, {kind: cursor.execute(query).fetchall() for kind, query in _ALL.items()}


def slice_of(cursor: sqlite3.Cursor, tenant_id: str | None, principal: str | None) -> Rows:
    """One tenant, its roles, the assignments of one principal. None: every tenant's roles."""
    rows: Rows = {}
    if tenant_id is None:
        rows["tenants"] = cursor.execute(
            f"{_TENANT} AND id IN (SELECT tenant_id FROM roles)"  # noqa: S608 - constants
        ).fetchall()
        rows["roles"] = cursor.execute(_ROLE).fetchall()
        return rows
    rows["tenants"] = cursor.execute(f"{_TENANT} AND id = ?", (tenant_id,)).fetchall()
    rows["roles"] = cursor.execute(f"{_ROLE} WHERE tenant_id IN ('', ?)", (tenant_id,)).fetchall()
    if principal is not None:
        rows["assignments"] = cursor.execute(
            f"{_ASSIGNMENT} WHERE tenant_id = ? AND principal = ?", (tenant_id, principal)
        ).fetchall()
    return rows


def since(cursor: sqlite3.Cursor, revision: int) -> tuple[int, Rows, bool] | None:
    """What changed after `revision`: the newest revision, rows, and whether the catalog did too.

    None when the changes do not reach back that far, or forward, so that everything must be read.
    """
    newest, oldest = _newest(cursor), _oldest(cursor)
    if newest < revision or (newest > revision and oldest > revision + 1):
        return None
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    catalog = False
    touched = cursor.execute(
        "SELECT kind, ref, low, high, min(revision) FROM changes WHERE revision > ? "
        "GROUP BY kind, ref, low, high ORDER BY min(revision)",
        (revision,),
    ).fetchall()
    for kind, ref, low, high, _ in touched:
        if kind == "catalog":
            catalog = True
        elif kind == "everything":
            return None
        elif kind in _MANY:
            name, query = _MANY[kind]
            rows[name].extend(cursor.execute(query, (low, high)))
        elif kind in _ONE:  # others belong to newer minor versions
            name, query = _ONE[kind]
            values = decode_ref(kind, ref)
            found = cursor.execute(query, values).fetchone()
            if found is not None:
                rows[name].append(found)
            else:
                rows[f"removed_{name}"].append(_gone(kind, values))
    return newest, dict(rows), catalog


def catalog_document(cursor: sqlite3.Cursor) -> tuple[str, str] | None:
    """`(name, JSON document)` of the catalog in force."""
    found = cursor.execute(
        "SELECT name, document FROM catalogs ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return None if found is None else (str(found[0]), str(found[1]))


def encode_ref(kind: str, values: Iterable[Any]) -> str:
    """The identity of one thing as text of the `changes` table."""
    parts = [v.hex() if isinstance(v, bytes) else v for v in values]
    return str(parts[0]) if kind in ("tenant", "key", "session") else json.dumps(parts)


def decode_ref(kind: str, ref: str) -> tuple[Any, ...]:
    if kind == "session":
        return (bytes.fromhex(ref),)
    return (ref,) if kind in ("tenant", "key") else tuple(json.loads(ref))


def _gone(kind: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if kind == "role":
        return (values[0] or None, values[1])
    if kind == "assignment":
        return (*values[:3], values[3] or None)
    return values


def _newest(cursor: sqlite3.Cursor) -> int:
    return int(cursor.execute("SELECT max(revision) FROM changes").fetchone()[0] or 0)


def _oldest(cursor: sqlite3.Cursor) -> int:
    return int(cursor.execute("SELECT min(revision) FROM changes").fetchone()[0] or 0)


@contextmanager
def _without_gc() -> Iterator[None]:
    """Millions of tuples that all stay alive: the collector would walk them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
