"""Whether the table that is searched has what the log has, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .audit_closing import closed, erased_key
from .audit_events import CHAINS, LogRow, outbox_serial
from .audit_log import read_chain
from .projection import COLUMNS, ERASED, EVENT, SHIFT, Projection

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """The first event of a chain that the table has otherwise than the log."""

    chain: str
    sequence: int
    what: str


def compare(
    path: Path, reader: Any, kept_from: Mapping[str, int], keys: Path | None = None
) -> Iterator[Difference]:
    """What a table has otherwise than the log, the first of each chain; `reader` reads the log,
    whose records before `kept_from` were pruned, with the subjects' keys in `keys`."""
    projection = Projection(path)
    erasing = _erasing(keys)
    with projection.cursor() as cursor:
        done = dict(cursor.execute("SELECT chain, next FROM progress"))
        # Erased a moment ago, and the table has not heard of it.
        erased = {
            erased_key(row)
            for row in read_chain(reader, CHAINS[0], max(done.get(0, 0), kept_from[CHAINS[0]]))
            if row.kind == ERASED
        }
        for code, chain in enumerate(CHAINS):
            cursor.execute(
                f"SELECT position & {(1 << SHIFT) - 1}, serial, {', '.join(COLUMNS)} FROM events"  # noqa: S608
                " WHERE position >= ? AND position < ? ORDER BY position",
                (code << SHIFT | kept_from[chain], (code + 1) << SHIFT),
            )
            found = _first_difference(
                chain,
                cursor,
                read_chain(reader, chain, kept_from[chain], done.get(code, 0)),
                erased,
                erasing,
            )
            if found is not None:
                yield found


def _erasing(keys: Path | None) -> str | None:
    """The key of an erasure that is under way (cpp/LOG_FORMAT.md, 3.2): what is sealed with it may
    be closed already or not yet, in the log and in the table."""
    try:
        return None if keys is None else (keys / "subjects.erasing").read_bytes()[16:32].hex()
    except FileNotFoundError:
        return None


def _first_difference(
    chain: str,
    table: sqlite3.Cursor,
    log: Iterator[LogRow],
    erased: Collection[str],
    erasing: str | None,
) -> Difference | None:
    for record in log:
        if record.kind != EVENT:
            continue
        row = table.fetchone()
        if row is None or row[0] > record.sequence:
            return Difference(chain, record.sequence, "missing")
        if row[0] < record.sequence:
            return Difference(chain, row[0], "not in the log")
        found = LogRow(record.sequence, EVENT, *row[2:])
        if found.subject_key == erasing is not None:
            found, record = closed(found), closed(record)
        elif found.subject_key in erased:
            found = closed(found)
        if found != record or row[1] != outbox_serial(record.source):
            return Difference(chain, record.sequence, "different")
    row = table.fetchone()
    return None if row is None else Difference(chain, row[0], "not in the log")
