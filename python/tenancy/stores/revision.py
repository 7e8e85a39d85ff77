"""The revision word: how a change made in one process reaches the next decision in every other.

The word lies in memory that all workers of the host map. `2 * r` says: revision r is the newest.
Odd says: a writer is about to commit, ask the store. A decision whose snapshot is not what the word
says is not made; the process reads the changes first.

Rules, which hold for any process stopped or killed at any instruction:

1. Before COMMIT, while holding the store's write lock, the writer makes the word `2 * r - 1`.
2. After COMMIT it turns exactly that value into `2 * r`. Should the word have moved on meanwhile,
   another writer or `settle` has seen our revision already, and it is left alone.
3. `settle` holds the write lock, so nobody is between 1 and COMMIT, and writes what the store says.
   Whoever finds the word odd for long, or behind or ahead of the store, settles.

So the word is never even and behind the store after a writer's return, nor for ever odd.
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .._core import Engine
from . import schema

__all__ = [
    "RevisionWord",
    "newest_revision",
]


_SPIN_S = 0.02


class RevisionWord:
    """The word of one engine. Any thread, any process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> int:
        return self._engine.word()

    def before_commit(self, revision: int) -> None:
        """Rule 1. The caller holds the write lock."""
        self._set(2 * revision - 1)

    def after_commit(self, revision: int) -> None:
        """Rule 2."""
        self._engine.swap_word(2 * revision - 1, 2 * revision)

    def settle(self, connection: Connection) -> int:
        """Rule 3. The caller holds the write lock. Returns the newest revision."""
        revision = newest_revision(connection)
        self._set(2 * revision)
        return revision

    def wait_until_even(self) -> bool:
        """Give a writer that is alive the time a commit takes. False when it stays odd."""
        end = time.monotonic() + _SPIN_S
        while self._engine.word() & 1:
            if time.monotonic() >= end:
                return False
            time.sleep(0.0002)
        return True

    def _set(self, value: int) -> None:
        while (seen := self._engine.word()) != value and not self._engine.swap_word(seen, value):
            pass


def newest_revision(connection: Connection) -> int:
    """What the store says; 0 before the first change."""
    return int(connection.execute(sa.select(sa.func.max(schema.changes.c.revision))).scalar() or 0)
