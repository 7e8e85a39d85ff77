"""The log from Python: emitting, durable events, verification, recovery, the table of events.

Peers: an audit table as it is usually written (json, hmac, an INSERT into SQLite), a bare HMAC of
the same bytes, SQLite in WAL mode with synchronous=FULL, PostgreSQL with synchronous commit.
Durable events are measured twice: everything in C (the log from C++, PostgreSQL driven by pgbench),
and everything from Python (PostgreSQL by psycopg). A committer commits again when its last commit
is durable. It has a thread of its own, or each thread (the event loop of asyncio) has many, and the
peer has as many threads. `limit` is what the disk allows just before and after: one `fdatasync` of
a whole group after the other.

    python benchmarks/bench_log.py [--events 1000000] [--only durable] [--without-postgres]
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from common import median_ns, print_table, version
from log_peers import (
    EVENT,
    KEY,
    SECONDS,
    TABLE,
    TENANT,
    Postgres,
    body,
    per_second,
    postgres,
    signed,
    sqlite,
    sqlite_commits,
    tasks_per_second,
)
from tenancy import Tenancy, _core
from tenancy.stores.audit_log import AuditLog
from tenancy.stores.directory import DataDirectory
from tenancy.stores.log_waits import LogWaits
from tenancy.stores.projection import Projection

COMMITTERS = (1, 8, 64)
RECORD_BYTES = 400
SPACE = 4 << 20
NATIVE = Path(__file__).resolve().parents[1] / "build" / "release" / "bench_log"


@contextmanager
def opened(ring_mib: int = 64, **options: Any) -> Iterator[tuple[_core.Log, Path]]:
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        log = _core.Log(directory, ring_bytes=ring_mib << 20, **options)
        yield log, Path(directory)
        log.close()


# ------------------------------------------------------------------------------------- emitting


def emitting() -> None:
    # The kernel maps each page of the ring when a process writes it for the first time, which takes
    # longer than the events that go there: once around the ring first. What is measured then fits
    # into it, so that nobody waits for the disk.
    with opened(ring_mib=16) as (log, _):
        for _ in range(3):
            log.append_many([("security", TENANT, 0, EVENT)] * 20_000)
        ours = median_ns(lambda: log.append("security", EVENT, tenant=TENANT), calls=4000)
    public = emit_ns()
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        connection = sqlite(Path(directory) / "audit.db", "NORMAL")
        connection.execute(TABLE.format(id="INTEGER"))
        insert = "INSERT INTO audit (tenant, body, mac) VALUES (?, ?, ?)"
        theirs = median_ns(lambda: connection.execute(insert, signed()), calls=2000)
        connection.close()
    data = body().encode() * 2
    bare = median_ns(lambda: hmac.digest(KEY, data[:400], "sha256"))
    rows = [
        (name, f"{each / 1000:.2f} µs", f"{each / public:.2f}")
        for name, each in (
            ("audit.emit of a Tenancy, acknowledged by the ring", public),
            ("Log.append of a dict of fields, the same", ours),
            ("json + hmac + INSERT, WAL, NORMAL", theirs),
            ("hmac.digest of 400 bytes", bare),
        )
    ]
    title = f"Emit one event from Python; SQLite {sqlite3.sqlite_version}"
    print_table(title, rows, ("what", "each", "ratio"))


def emit_ns() -> float:
    """What an application calls, with everything it checks."""
    context = {"ip": EVENT["ip"], "code": EVENT["reason"]}
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        t = Tenancy.open(f"{directory}/data", catalog="agent-orchestrator", background=False)
        acme = t.tenants.create("Acme", slug="acme")

        def emit() -> str:  # written out, as callers do: a dict of arguments takes 0.3 µs
            return t.audit.emit(
                "permission_denied", tenant=acme, principal="usr_01j9x0q4ann", result="denied",
                action="invoice:read", resource="invoice", resource_id="inv_01j9x0q4",
                context=context, ack="ring",
            )  # fmt: skip

        for _ in range(60_000):  # once around the ring, as above
            emit()
        each = median_ns(emit, calls=4000)
        t.close()
    return each


# -------------------------------------------------------------------------------------- durable


def log_commits(log: _core.Log, rate_of: Callable[[_core.Log], float]) -> tuple[float, str]:
    log.flush()
    before = log.health()
    rate = rate_of(log)
    after = log.health()
    syncs = after["syncs"] - before["syncs"]
    groups = max(after["groups"] - before["groups"], 1)
    return rate, f"{syncs / groups:.2f} syncs per group, {rate * SECONDS / max(syncs, 1):.1f} each"


def log_threads(committers: int) -> tuple[float, str]:
    def rate_of(log: _core.Log) -> float:
        return per_second(
            committers, lambda: lambda: log.append("security", EVENT, tenant=TENANT, ack="disk")
        )

    with opened() as (log, _):
        return log_commits(log, rate_of)


def log_tasks(committers: int) -> tuple[float, str]:
    def rate_of(log: _core.Log) -> float:
        waits = LogWaits(log)

        def commit() -> Awaitable[None]:
            _, end = log.submit("security", EVENT, tenant=TENANT)
            return waits.future(end, "disk")

        return asyncio.run(tasks_per_second([commit] * committers))

    with opened() as (log, _):
        return log_commits(log, rate_of)


def audit_tasks(committers: int) -> tuple[float, str]:
    """The whole of `audit.aemit`: checks, identifier, context as JSON."""
    names = ("action", "resource", "resource_id", "principal", "result")
    what = {name: EVENT[name] for name in names}
    context = {"ip": EVENT["ip"], "code": EVENT["reason"]}
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        t = Tenancy.open(f"{directory}/data", catalog="agent-orchestrator", background=False)
        acme = t.tenants.create("Acme", slug="acme")

        def commit() -> Awaitable[str]:
            return t.audit.aemit(EVENT["type"], tenant=acme, context=context, **what)

        def rate_of(_: _core.Log) -> float:
            return asyncio.run(tasks_per_second([commit] * committers))

        told = log_commits(t._host.facts.log.core, rate_of)
        t.close()
    return told


def syncs_of(committers: int) -> list[float]:
    """Seconds that the disk takes for each sync of as many bytes as a group of all has, written
    over bytes that are there."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        file = os.open(Path(directory) / "file", os.O_RDWR | os.O_CREAT)
        os.write(file, bytes(SPACE))
        os.fsync(file)
        group = bytes(RECORD_BYTES * committers)
        over = time.perf_counter() + SECONDS / 4
        while time.perf_counter() < over:
            os.pwrite(file, group, len(took) * len(group) % (SPACE - len(group)))
            start = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - start)
        os.close(file)
    return took


def native_commits(committers: int, threads: int) -> tuple[float, str]:
    """The log from C++."""
    command = [str(NATIVE), str(SECONDS), "commit", str(committers), str(threads)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    rate, syncs, groups = float(told[0]), int(told[1]), max(int(told[2]), 1)
    return rate, f"{syncs / groups:.2f} syncs per group, {rate * SECONDS / max(syncs, 1):.1f} each"


class Way(NamedTuple):
    """A way to have many committers, and the peer that has them alike."""

    name: str
    ours: Callable[[int], tuple[float, str]]
    peer: Callable[[int], float] | None
    committers: tuple[int, ...] = COMMITTERS


def native_ways(server: Postgres | None) -> list[Way]:
    """A thread for each committer, which pgbench can have for its connections too; and as many on
    each thread as pgbench mostly has: on one, and on one for each processor."""

    def way(name: str, threads_of: Callable[[int], int], committers: tuple[int, ...]) -> Way:
        return Way(
            name,
            lambda n: native_commits(n, threads_of(n)),
            (lambda n: server.from_c(n, threads_of(n))) if server else None,
            committers,
        )

    processors = max(os.cpu_count() or 1, 2)
    return [
        way("threads", lambda n: n, COMMITTERS),
        way(f"on {processors} threads, pgbench too", lambda n: min(n, processors), COMMITTERS[1:]),
        way("on one thread, pgbench too", lambda _: 1, COMMITTERS[1:]),
    ]


def compare(
    title: str, sqlite_rates: dict[int, float], server: Postgres | None, *ways: Way
) -> None:
    rows = []
    for committers in COMMITTERS:
        for way in ways:
            if committers not in way.committers:
                continue
            # In turn, so that a disk that is slow for a while is slow for all.
            theirs = way.peer(committers) if way.peer else None
            if server:
                server.come_to_rest()
            os.sync()
            before = syncs_of(committers)
            rate, told = way.ours(committers)
            limit = committers / statistics.median(before + syncs_of(committers))
            os.sync()
            rows.append(
                (
                    f"{committers} {way.name}",
                    f"{rate:,.0f}",
                    f"{limit:,.0f}",
                    f"{rate / limit:.0%}",
                    f"{sqlite_rates[committers]:,.0f}",
                    f"{rate / sqlite_rates[committers]:.1f}",
                    f"{theirs:,.0f}" if theirs else "left out",
                    f"{rate / theirs:.1f}" if theirs else "",
                    told,
                )
            )
    head = ("", "log", "limit", "of it", "SQLite", "ratio", "PostgreSQL", "ratio", "syncs")
    print_table(title, rows, head)


def durable(with_postgres: bool) -> None:
    with opened() as (log, _):
        batch = [("security", TENANT, 0, EVENT)] * 5000
        start = time.perf_counter()
        for _ in range(20):
            log.append_many(batch)
        rate = 20 * len(batch) / (time.perf_counter() - start)
        syncs = log.health()["syncs"]
    rows = [("batches of 5,000", f"{rate:,.0f}", f"{syncs}")]
    print_table("Durable events in a second from Python", rows, ("", "log", "syncs"))
    sqlite_rates = {committers: sqlite_commits(committers) for committers in COMMITTERS}
    beside = f"SQLite {sqlite3.sqlite_version} WAL FULL"
    with postgres() if with_postgres else nullcontext() as server:
        if server is not None:
            beside += f", PostgreSQL {server.version}"
        if NATIVE.exists():
            compare(
                f"Durable events in a second from C++; {beside} by pgbench",
                sqlite_rates,
                server,
                *native_ways(server),
            )
        else:
            print(f"\n{NATIVE} is not there: `make bench` builds it, and has the rows of C++")
        from_asyncio = server.from_asyncio if server else None
        compare(
            f"Durable events in a second from Python; {beside} by {version('psycopg')}",
            sqlite_rates,
            server,
            Way("threads", log_threads, server.from_python if server else None),
            Way("tasks of one event loop", log_tasks, from_asyncio),
            Way("tasks, the whole of audit.aemit", audit_tasks, from_asyncio),
        )


# -------------------------------------------------------------------- verify, recover, read


WRITER = """if True:
    import json, os, sys
    from tenancy import _core
    directory, count, event = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    log = _core.Log(directory, ring_bytes=64 << 20, segment_bytes=int(sys.argv[4]))
    for i in range(count):
        log.append("security", event, tenant="ten_%d" % (i % 1000))
    log.flush()
    os._exit(0)
"""


TABLES = (
    ("the table, with the index of tenant and time", False),
    ("the table, with all indexes", True),
)


def project(data: Path, search_indexes: bool) -> float:
    """Seconds to make the table that is searched."""
    log = AuditLog(DataDirectory(data, 1, 0), _core.Clock.system())
    table = Projection(data / "audit.sqlite", search_indexes=search_indexes)
    start = time.perf_counter()
    table.rebuild(log)
    took = time.perf_counter() - start
    log.close()
    table.remove()
    return took


def files(events: int) -> None:
    # One segment holds all of them: recovery reads the last one.
    segment = str(max(events * 420, 1 << 16))
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        subprocess.run(
            [sys.executable, "-c", WRITER, directory, str(events), json.dumps(EVENT), segment],
            check=True,
        )
        data = Path(directory)
        # As after a power cut: what is not in files is gone.
        (data / "log" / "ring").unlink()
        start = time.perf_counter()
        log = _core.Log(directory, segment_bytes=int(segment))
        recovered = time.perf_counter() - start
        log.close()
        start = time.process_time()
        report = json.loads(_core.log_verify(str(data / "log"), str(data / "keys" / "log.verify")))
        verified = time.process_time() - start
        reader = _core.LogReader(str(data / "log"))
        start = time.perf_counter()
        at = 0
        while rows := reader.rows("security", at, 10_000):
            at += len(rows)
        read = time.perf_counter() - start
        projected = [(name, project(data, search)) for name, search in TABLES]
        size = sum(p.stat().st_size for p in data.rglob("*") if p.is_file())
    assert report["status"] == 4, report["findings"]
    assert at >= events
    rows = [
        ("recovery of the tail", f"{recovered:.2f} s", f"{events / recovered:,.0f}"),
        ("verification, seconds of processor", f"{verified:.2f} s", f"{events / verified:,.0f}"),
        ("reading rows", f"{read:.2f} s", f"{at / read:,.0f}"),
        *((name, f"{took:.2f} s", f"{at / took:,.0f}") for name, took in projected),
    ]
    print_table(
        f"A log of {events:,} records, {size / 1e6:,.0f} MB",
        rows,
        ("what", "all", "records in a second"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("emit", "durable", "files"))
    parser.add_argument("--without-postgres", action="store_true")
    arguments = parser.parse_args()
    if arguments.only in (None, "emit"):
        emitting()
    if arguments.only in (None, "durable"):
        durable(not arguments.without_postgres)
    if arguments.only in (None, "files"):
        files(arguments.events)


if __name__ == "__main__":
    main()
