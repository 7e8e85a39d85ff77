"""The peers of `bench_log.py` that keep an audit table, and how commits are counted.

An audit table as it is usually written: json, hmac, an INSERT, into SQLite or PostgreSQL.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 2.0
KEY = b"k" * 32
EVENT: dict[str, Any] = {
    "type": "permission_denied",
    "action": "invoice:read",
    "resource": "invoice",
    "resource_id": "inv_01j9x0q4",
    "principal": "usr_01j9x0q4ann",
    "result": "denied",
    "ip": "203.0.113.7",
    "policy_revision": 17,
    "reason": "PERMISSION_DENIED",
}
TENANT = "ten_01j9x0q4acme"
TABLE = "CREATE TABLE audit (id {id} PRIMARY KEY, tenant TEXT, body TEXT, mac TEXT)"


def body() -> str:
    return json.dumps({"tenant": TENANT, **EVENT}, sort_keys=True, separators=(",", ":"))


def signed() -> tuple[str, str, str]:
    text = body()
    return TENANT, text, hmac.new(KEY, text.encode(), "sha256").hexdigest()


# ----------------------------------------------------------------------------------------- counting


def per_second(committers: int, make: Callable[[], Callable[[], object]]) -> float:
    """Commits in a second by so many threads, each with what `make` gives it."""
    calls = [make() for _ in range(committers)]
    counts = [0] * committers
    begin = threading.Barrier(committers + 1)
    over = threading.Event()

    def commit(place: int) -> None:
        call = calls[place]
        begin.wait()
        while not over.is_set():
            call()
            counts[place] += 1

    threads = [threading.Thread(target=commit, args=(i,)) for i in range(committers)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = time.perf_counter()
    time.sleep(SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


async def tasks_per_second(commits: list[Callable[[], Awaitable[object]]]) -> float:
    """Commits in a second by as many tasks of one event loop."""
    start = time.perf_counter()

    async def committer(commit: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while time.perf_counter() - start < SECONDS:
            await commit()
            count += 1
        return count

    done = await asyncio.gather(*map(committer, commits))
    return sum(done) / (time.perf_counter() - start)


# ------------------------------------------------------------------------------------------- SQLite


def sqlite(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    return connection


def sqlite_commits(committers: int) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        path = Path(directory) / "audit.db"
        first = sqlite(path, "FULL")
        first.execute(TABLE.format(id="INTEGER"))
        made: list[sqlite3.Connection] = []

        def make() -> Callable[[], object]:
            connection = sqlite3.connect(
                path, isolation_level=None, timeout=60, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous=FULL")
            made.append(connection)
            insert = "INSERT INTO audit (tenant, body, mac) VALUES (?, ?, ?)"
            return lambda: connection.execute(insert, signed())

        rate = per_second(committers, make)
        for connection in [*made, first]:
            connection.close()
    return rate


# --------------------------------------------------------------------------------------- PostgreSQL


class Postgres:
    """A server of its own with synchronous commit, and a table."""

    def __init__(self, server: Any, programs: Path) -> None:
        self.server, self.programs = server, programs
        self.database = server.fresh()
        with server.connect(self.database) as boss:
            self.version = str(boss.execute("SHOW server_version").fetchone()[0]).split()[0]
            assert boss.execute("SHOW synchronous_commit").fetchone()[0] == "on"
            boss.execute(TABLE.format(id="bigint GENERATED ALWAYS AS IDENTITY"))
            boss.execute("ALTER TABLE audit SET (autovacuum_enabled = off)")

    def come_to_rest(self) -> None:
        """What a run has left to do, so that none of it is done during the next one."""
        with self.server.connect(self.database) as boss:
            boss.execute("CHECKPOINT")

    def from_python(self, committers: int) -> float:
        made: list[Any] = []

        def make() -> Callable[[], object]:
            connection = self.server.connect(self.database)
            made.append(connection)
            insert = "INSERT INTO audit (tenant, body, mac) VALUES (%s, %s, %s)"
            return lambda: connection.execute(insert, signed())

        rate = per_second(committers, make)
        for connection in made:
            connection.close()
        return rate

    def from_asyncio(self, committers: int) -> float:
        """As many connections of one event loop."""
        import psycopg

        insert = "INSERT INTO audit (tenant, body, mac) VALUES (%s, %s, %s)"

        def commits(connection: Any) -> Callable[[], Awaitable[object]]:
            return lambda: connection.execute(insert, signed())

        async def run() -> float:
            url = self.server.url(self.database)
            made = [
                await psycopg.AsyncConnection.connect(url, autocommit=True)
                for _ in range(committers)
            ]
            rate = await tasks_per_second([*map(commits, made)])
            for connection in made:
                await connection.close()
            return rate

        return asyncio.run(run())

    def from_c(self, committers: int, threads: int) -> float:
        """pgbench on so many threads: one prepared INSERT of the same bytes each time."""
        # By variables: pgbench would look for some of its own in the texts.
        names = ("tenant", "body", "mac")
        values = [f"-D{name}={value}" for name, value in zip(names, signed(), strict=True)]
        script = self.server.directory / "insert.sql"
        script.write_text("INSERT INTO audit (tenant, body, mac) VALUES (:tenant, :body, :mac);\n")
        told = subprocess.run(
            [
                *(str(self.programs / "pgbench"), "-n", "-M", "prepared", "-f", str(script)),
                *("-c", str(committers), "-j", str(threads)),
                *("-T", str(round(SECONDS)), "-h", str(self.server.directory), "-U", "boss"),
                *values,
                self.database,
            ],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PGPASSWORD": self.server.password},
        ).stdout
        tps = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", told)
        assert tps is not None, told
        return float(tps[1])


@contextmanager
def postgres() -> Iterator[Postgres]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
    from postgres_support import programs, running_server

    with running_server(durable=True) as server:
        yield Postgres(server, programs())
