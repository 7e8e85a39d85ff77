"""Tables that are made from the log alone, each in a database file of its own beside it.

Such a file may be deleted at any time, so it need not survive a loss of power. What is deleted in
it is overwritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .database import BUSY_TIMEOUT_S, translated

__all__ = ["empty_changes", "reading", "remove", "writing"]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Cursor]:
    """A cursor in one read transaction."""
    with translated(path):
        connection = _connect(path)
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            yield cursor
        finally:
            connection.close()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that begins its transactions itself; the file is made where there is none."""
    with translated(path):
        if not path.exists():
            path.touch(mode=0o600)
        connection = _connect(path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            yield connection
        finally:
            connection.close()


def empty_changes(connection: sqlite3.Connection) -> bool:
    """Let go of what was overwritten: empties the file of changes. False: somebody reads."""
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def remove(path: Path) -> None:
    """Delete the files of a table."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
