"""One transaction of definitions under way: its rows, its entries in `changes`, its audit fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import loading, outbox, schema
from .revision import newest_revision

__all__ = ["Actor", "Change"]

CHANGES_KEPT = 65_536


@dataclass(frozen=True)
class Actor:
    """Who makes a change: named by the program, or the caller of the current context."""

    name: str
    tenant: str | None = None
    """The tenant in which the name means somebody; None: named by the program."""
    key: str | None = None
    """Public id of the API key that the caller came with, whose scopes cut its rights."""


class Change:
    """One transaction under way. Belongs to the thread that began it."""

    def __init__(self, connection: Connection, now_ns: int, actor: Actor) -> None:
        self.connection = connection
        self.now_ns = now_ns
        self.actor = actor
        self.by = actor.name
        self.base = newest_revision(connection)
        self.revision: int | None = None

    def execute(self, statement: Any, rows: Sequence[Mapping[str, Any]] | None = None) -> Any:
        return (
            self.connection.execute(statement, rows) if rows else self.connection.execute(statement)
        )

    def touched(self, kind: str, *ref: Any) -> None:
        """Says that the thing named `ref` is new, different or gone."""
        self._record(kind=kind, ref=loading.encode_ref(kind, ref))

    def touched_many(self, kind: str, low: int, high: int) -> None:
        """The same of all rows of a table from serial `low` to `high`."""
        self._record(kind=kind, ref="", low=low, high=high)

    def _record(self, **values: Any) -> None:
        done = self.connection.execute(sa.insert(schema.changes).values(**values))
        key = done.inserted_primary_key
        assert key is not None
        self.revision = int(key[0])

    def fact(self, type: str, action: str, **what: Any) -> str | None:  # noqa: A002
        """Write the audit fact of this change."""
        return outbox.append(
            self.connection,
            now_ns=self.now_ns,
            by=self.by,
            type=type,
            action=action,
            revision=self.base if self.revision is None else self.revision,
            **what,
        )

    def prune(self) -> None:
        """Old entries of `changes` go; who is further behind reads everything."""
        if self.revision is not None and self.revision % 1024 == 0:
            old = schema.changes.c.revision <= self.revision - CHANGES_KEPT
            self.connection.execute(sa.delete(schema.changes).where(old))
