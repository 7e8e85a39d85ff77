"""Usage events, each once and durable: our log beside tables with a unique key.

Every peer takes the same events in the same batches, ends each batch durable, and is sent half of
them a second time. SQLite: WAL, synchronous=FULL, ``INSERT OR IGNORE`` by executemany. PostgreSQL:
synchronous commit, COPY into a temporary table, then ``INSERT … ON CONFLICT DO NOTHING``.

    python benchmarks/bench_usage.py [--events 1000000] [--peer-events 200000] [--without-postgres]
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from common import median_ns, print_table, version
from tenancy import Tenancy, _core
from tenancy.catalog import Catalog

TENANTS = 1_000
METRICS = ("calls", "tokens", "seconds", "bytes", "jobs")
BATCHES = (1_000, 100_000)
SCHEMA = (
    "CREATE TABLE usage (tenant TEXT, source TEXT, id TEXT, metric TEXT, quantity {number},"
    " time_ns {number}, PRIMARY KEY (tenant, source, id))"
)
Rows = list[tuple[str, str, str, str, int, int]]
COLUMNS = ("tenants", "sources", "ids", "metrics", "quantities", "times_ns")


@dataclass
class Ingested:
    """What one of them did with all batches."""

    seconds: float
    kept: int


def events(count: int) -> Rows:
    """Half as many different ones, each sent twice, the second time a while later."""
    once = [
        (
            f"ten_{i * 7919 % TENANTS:08d}",
            "/worker",
            f"evt_{i * 2654435761 % 2**32:032x}",
            METRICS[i % len(METRICS)],
            i % 1000,
            1_700_000_000_000_000_000 + i * 1_000_000,
        )
        for i in range(count // 2)
    ]
    rows: Rows = []
    step = max(count // 20, 1)
    for start in range(0, len(once), step):
        rows += once[start : start + step] * 2
    return rows


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def timed(parts: list[Any], take: Callable[[Any], object]) -> float:
    start = time.perf_counter()
    for part in parts:
        take(part)
    return time.perf_counter() - start


# ------------------------------------------------------------------------------------------ ours


@contextmanager
def opened() -> Iterator[tuple[_core.Log, _core.UsageLog]]:
    with tempfile.TemporaryDirectory(prefix="bench-usage-") as directory:
        log = _core.Log(directory, ring_bytes=64 << 20)
        usage = _core.UsageLog(log, directory)
        yield log, usage
        usage.close()
        log.close()


def lists_of(rows: Rows) -> dict[str, Any]:
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))


def arrays_of(rows: Rows) -> dict[str, Any]:
    made = {name: pa.array(values) for name, values in lists_of(rows).items()}
    coded = {name: made[name].dictionary_encode() for name in ("tenants", "sources", "metrics")}
    return {**made, **coded}


def ours(rows: Rows, size: int, columns: Callable[[Rows], dict[str, Any]]) -> Ingested:
    parts = [columns(batch) for batch in batches(rows, size)]
    kept = 0
    with opened() as (_, usage):

        def take(part: dict[str, Any]) -> None:
            nonlocal kept
            kept += usage.record(**part, ack="disk").recorded

        return Ingested(timed(parts, take), kept)


def read_back(rows: Rows) -> tuple[float, float]:
    """Events in a second: decoded, and as rows of Python objects."""
    with opened() as (log, usage):
        usage.record(**lists_of(rows), ack="disk")
        log.flush()
        seconds = []
        for with_rows in (False, True):
            start, position, found = time.perf_counter(), 0, 0
            while len(batch := usage.read(position)):
                position = batch.next
                found += len(batch.rows()) if with_rows else len(batch)
            seconds.append(found / (time.perf_counter() - start))
    return seconds[0], seconds[1]


def single() -> list[tuple[str, str]]:
    rows = []
    with opened() as (_, usage):
        number = iter(range(1 << 40))
        for ack in ("ring", "os"):

            def call(ack: str = ack) -> None:
                usage.record(tenants="ten_1", metrics="calls", ids=f"e{next(number)}", ack=ack)

            rows.append((f'one event, ack="{ack}"', f"{median_ns(call, calls=3000) / 1000:.1f} µs"))
    return rows


# ----------------------------------------------------------------------------------------- peers


def sqlite(rows: Rows, size: int) -> Ingested:
    with tempfile.TemporaryDirectory(prefix="bench-usage-") as directory:
        connection = sqlite3.connect(Path(directory) / "usage.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(SCHEMA.format(number="INTEGER"))

        def take(part: Rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO usage VALUES (?, ?, ?, ?, ?, ?)", part)
            connection.execute("COMMIT")

        seconds = timed(list(batches(rows, size)), take)
        kept = connection.execute("SELECT count(*) FROM usage").fetchone()[0]
        connection.close()
        return Ingested(seconds, kept)


@contextmanager
def postgres() -> Iterator[tuple[str, Callable[[Rows, int], Ingested]]]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
    from postgres_support import running_server

    with running_server(durable=True) as server:

        def ingest(rows: Rows, size: int) -> Ingested:
            with server.connect(server.fresh()) as connection:
                connection.execute(SCHEMA.format(number="bigint"))
                connection.execute("CREATE TEMPORARY TABLE batch (LIKE usage)")

                def take(part: Rows) -> None:
                    with connection.transaction(), connection.cursor() as cursor:
                        cursor.execute("TRUNCATE batch")
                        with cursor.copy("COPY batch FROM STDIN") as copy:
                            for row in part:
                                copy.write_row(row)
                        cursor.execute(
                            "INSERT INTO usage SELECT * FROM batch ON CONFLICT DO NOTHING"
                        )

                seconds = timed(list(batches(rows, size)), take)
                found = connection.execute("SELECT count(*) FROM usage").fetchone()
                assert found is not None
                return Ingested(seconds, int(found[0]))

        with server.connect(server.fresh()) as connection:
            found = connection.execute("SHOW server_version").fetchone()
            assert found is not None
        yield f"PostgreSQL {str(found[0]).split()[0]}", ingest


def ingestion(count: int, peer_count: int, with_postgres: bool) -> None:
    rows, peer_rows = events(count), events(peer_count)
    table = []

    def compare(name: str, peer: Callable[[Rows, int], Ingested] | None) -> None:
        for size in BATCHES:
            mine = {"lists": ours(rows, size, lists_of), "Arrow": ours(rows, size, arrays_of)}
            for form, done in mine.items():
                assert done.kept == len(rows) // 2, (form, done.kept)
            cells = [f"{len(rows) / done.seconds:,.0f}" for done in mine.values()]
            if peer is None:
                table.append((f"{size:,} in a batch", *cells, "", ""))
                continue
            theirs = peer(peer_rows, size)
            assert theirs.kept == len(peer_rows) // 2, theirs.kept
            rate = len(peer_rows) / theirs.seconds
            ratio = len(rows) / mine["Arrow"].seconds / rate
            table.append((f"{name}, {size:,}", *cells, f"{rate:,.0f}", f"{ratio:.1f}"))

    compare(f"SQLite {sqlite3.sqlite_version}", sqlite)
    if with_postgres:
        with postgres() as (name, ingest):
            compare(name, ingest)
    title = f"Events in a second, each once and durable ({count:,}, half of them twice; peers "
    title += f"{peer_count:,}); {version('pyarrow')}, {version('psycopg')}"
    print_table(title, table, ("beside, batch", "lists", "Arrow", "peer", "ratio"))


# ---------------------------------------------------------------------------- through `Tenancy`


def many(count: int) -> list[tuple[str, str]]:
    """Rows in a second that `record_many` takes, tenants and metrics looked up."""
    catalog = Catalog.from_dict(
        {
            "catalog": "bench",
            "default_plan": "p",
            "plans": {"p": {}},
            "metrics": {name: {} for name in METRICS},
        }
    )
    with (
        tempfile.TemporaryDirectory(prefix="bench-usage-") as directory,
        Tenancy.open(Path(directory) / "data", catalog) as t,
    ):
        tenants = [t.tenants.create(name=f"T{i}", slug=f"t-{i}").id for i in range(100)]
        first = time.time_ns() - count
        ids = [f"evt_{i * 2654435761 % 2**32:032x}" for i in range(count)]
        table = pa.table(
            {
                "tenant": pa.array([tenants[i % 100] for i in range(count)]).dictionary_encode(),
                "metric": pa.array([METRICS[i % 5] for i in range(count)]).dictionary_encode(),
                "id": ids,
                "quantity": pa.array(range(count), pa.int64()),
                "time": pa.array(range(first, first + count), pa.timestamp("ns", "UTC")),
                "region": pa.array([("eu", "us")[i % 2] for i in range(count)]),
            }
        )
        rows = []
        lists, rest = table.drop_columns(["time"]).to_pydict(), table.slice(0, count // 10)
        for name, source, form, size in (
            ("Arrow table", "arrow", table, count),
            ("Arrow table, all duplicates", "arrow", table, count),
            ("columns of lists", "lists", lists, count),
            ("mappings", "mappings", rest.to_pylist(), count // 10),
        ):
            start, before = time.perf_counter(), time.process_time()
            report = t.usage.record_many(form, properties=["region"], source=source)
            seconds, cpu = time.perf_counter() - start, time.process_time() - before
            assert report.recorded + report.duplicates == size, report
            rows.append((f"record_many, {name}", f"{size / seconds:,.0f}", f"{size / cpu:,.0f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer-events", type=int, default=200_000)
    parser.add_argument("--without-postgres", action="store_true")
    arguments = parser.parse_args()
    ingestion(arguments.events, arguments.peer_events, not arguments.without_postgres)
    title = f"Rows in a second through Tenancy ({arguments.events:,}; mappings a tenth)"
    print_table(title, many(arguments.events), ("what", "by the clock", "of CPU"))
    decoded, as_rows = read_back(events(arguments.events))
    rows = [
        *single(),
        ("reading back, decoded", f"{decoded:,.0f} events/s"),
        ("reading back, as rows", f"{as_rows:,.0f} events/s"),
    ]
    print_table("One event, and reading back", rows, ("what", ""))


if __name__ == "__main__":
    main()
