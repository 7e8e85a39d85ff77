"""The SQLite database: connections, transactions, migrations, and what its errors mean.

Writes are `BEGIN IMMEDIATE` in WAL mode with `synchronous=FULL`: one writer at a time on the host,
readers never wait, and what was committed survives a loss of power. A connection lives as long as
one operation (see `forks`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from ..errors import StoreBusy, StoreDamaged, StoreError, StoreNotWritable, TenancyError
from . import schema
from .directory import DataDirectory
from .forks import ForkGate

__all__ = [
    "APPLICATION_ID",
    "BUSY_TIMEOUT_S",
    "Database",
    "translated",
]


APPLICATION_ID = 0x74656E61  # "tena"
BUSY_TIMEOUT_S = 15.0
_SPACE_MIN = 1 << 20  # below this a write of ours does not fit

_PRAGMAS = (
    f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
)


class Database:
    """Connections to `tenancy.db`. Any thread, any process; nothing is held between operations."""

    def __init__(self, directory: DataDirectory) -> None:
        self.path = directory.database
        self._gate = ForkGate()
        self._engine = sa.create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=NullPool,
            connect_args={
                "timeout": BUSY_TIMEOUT_S,
                "check_same_thread": False,
                "detect_types": sqlite3.PARSE_COLNAMES,
            },
        )
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        with directory.locked(), self._gate.operation(), translated(self.path):
            self._prepare()

    def operation(self) -> AbstractContextManager[None]:
        """Keeps forks out; reads and writes inside it count as part of it."""
        return self._gate.operation()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database throughout."""
        with self._gate.operation(), translated(self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[Connection]:
        """A connection that holds the write lock. The caller commits; otherwise it rolls back."""
        options = {"tenancy_write": True, "tenancy_timeout_ms": int(timeout_s * 1000)}
        with (
            self._gate.operation(),
            translated(self.path),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin() as transaction,
        ):
            try:
                yield connection
            finally:
                if transaction.is_active:
                    transaction.rollback()

    @contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """A plain cursor in one read transaction, for loads of millions of rows."""
        with self._gate.operation(), translated(self.path):
            connection = sqlite3.connect(
                self.path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                detect_types=sqlite3.PARSE_COLNAMES,
            )
            try:
                _on_connect(connection)
                cursor = connection.cursor()
                cursor.execute("BEGIN")
                yield cursor
            finally:
                connection.close()

    def forget(self) -> bool:
        """Let go of what was deleted: empties the file of changes. False: somebody reads."""
        with self._gate.operation(), translated(self.path):
            connection = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            try:
                return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                connection.close()

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to a migration: `head`, or an older one by its number."""
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", "tenancy.stores:migrations")
        config.set_main_option("path_separator", "os")
        script = ScriptDirectory.from_config(config)
        with self.write() as connection:
            config.attributes["connection"] = connection
            current = self._migration(connection)
            target = script.get_current_head() if revision == "head" else revision
            known = [step.revision for step in script.walk_revisions()]  # newest first
            older = revision == "base" or (
                current in known and target in known and known.index(target) > known.index(current)
            )
            (command.downgrade if older else command.upgrade)(config, revision)
            connection.commit()

    def _prepare(self) -> None:
        if not self.path.exists():
            # SQLite would make it with the umask's mode; its -wal and -shm take after it.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            tables = sa.inspect(connection).get_table_names()
            if found not in (0, APPLICATION_ID) or (found == 0 and tables):
                raise StoreDamaged(f"{self.path}: a database of another program")
            current = self._migration(connection) if tables else None
        self._enter_wal()
        # A migration that this release does not know is a newer minor version: it only adds.
        if current is None or current < schema.HEAD:
            self.migrate()

    def _enter_wal(self) -> None:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        finally:
            connection.close()
        if mode != "wal":
            raise StoreError(f"{self.path}: SQLite uses journal mode {mode!r} here, expected 'wal'")

    @staticmethod
    def _migration(connection: Connection) -> str | None:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return None if found is None else str(found)


def _on_connect(connection: Any, _record: Any = None) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("tenancy_write"):
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {options['tenancy_timeout_ms']}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors come out as ours; violated constraints stay, callers know the field."""
    try:
        yield
    except (TenancyError, sa.exc.IntegrityError, sqlite3.IntegrityError):
        raise
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise _meaning(path, error) from error


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _SPACE_MIN


def _meaning(path: Path, error: Exception) -> StoreError:
    text = str(getattr(error, "orig", None) or error)
    if "locked" in text or "busy" in text:
        return StoreBusy(f"{path}: another writer holds it")
    if "readonly" in text or "unable to open" in text or "attempt to write" in text:
        return StoreNotWritable(f"{path}: {text}", remedy="check owner, mode and mount options")
    # A file that SQLite maps or synchronises fails on a full disk with an error of its own.
    if "full" in text or ("disk I/O error" in text and _is_full(path)):
        return StoreNotWritable(
            f"{path}: the disk is full", remedy="free some space; nothing was changed"
        )
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return StoreDamaged(f"{path}: {text}")
    return StoreError(f"{path}: {text}", remedy="look at the disk and the system's log")
