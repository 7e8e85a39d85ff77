"""What the tests of audit facts and their log share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store_support import open_shop
from tenancy import Tenancy, _core
from tenancy.stores.audit_events import CHAINS, LogRow
from tenancy.stores.audit_log import read_chain

TYPES = ("login", "data_read", "report_made", "data_updated", "permission_denied", "tenant_hello")


def open_live(directory: Path, **options: Any) -> Tenancy:
    """On the system's clock, so that the log's times are those of the test."""
    return open_shop(directory, _core.Clock.system(), **{"background": False, **options})


def log_rows(data: Path, chain: str) -> list[LogRow]:
    """The events of a chain as the files have them."""
    reader = _core.LogReader(str(data / "log"))
    return [row for row in read_chain(reader, chain, 0) if row.kind == 0]


def all_rows(data: Path) -> dict[str, list[LogRow]]:
    return {chain: log_rows(data, chain) for chain in CHAINS}


def verified(data: Path, anchors: list[str]) -> tuple[int, list[dict[str, Any]]]:
    text = _core.log_verify(str(data / "log"), str(data / "keys/log.verify"), anchors)
    report = json.loads(text)
    return report["status"], report["findings"]


def outbox_size(t: Tenancy) -> int:
    with t._host.cursor() as cursor:
        return int(cursor.execute("SELECT count(*) FROM outbox").fetchone()[0])


def flip(path: Path, at: int, mask: int = 1) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


_LEADER = """if True:
    import sys
    from tenancy import _core
    log = _core.Log(sys.argv[1], ring_bytes=1 << 16, segment_bytes=1 << 16)
    log.append("other", {}, ack="disk")
    print("leading", flush=True)
    sys.stdin.read()
"""


@contextmanager
def leader(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that flushes the log of `data`, in a ring of 64 KiB. Stopped by a signal, it
    leaves everybody waiting."""
    with subprocess.Popen(
        [sys.executable, "-c", _LEADER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "leading\n"
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.communicate()
