"""Verification beside real processes that write, rotate, prune and erase: never "tampered"."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from audit_support import open_live
from store_support import start_python
from tenancy import Tenancy
from tenancy.stores.audit_verify import verify_log

COMMON = """
    import sys, time
    from pathlib import Path
    from tenancy import Tenancy, _core
    real = _core.Log
    _core.Log = lambda path, **options: real(path, segment_bytes=1 << 16, **options)
    t = Tenancy.open(sys.argv[1], background=False)
    acme = t.tenants.get("acme")
    log = t._host.facts.log
    print("open", flush=True)
    while True:
"""
PROCESSES = {
    "writes": """
        for _ in range(20):
            t.audit.append("data_read", tenant=acme, principal="ann", context={"text": "x" * 5000})
            assert not t.check(tenant="acme", principal="ann", permission="report:read")
        t._host.facts.settle()
        time.sleep(0.2)
""",
    "rotates": """
        log.core.rotate()
        t.audit.checkpoint()
        time.sleep(0.02)
""",
    "prunes": """
        log.prune("access", log.positions()["access"])
        log.prune("security", log.positions()["security"])
        time.sleep(0.05)
""",
    "erases": """
        who = f"person-{time.monotonic_ns()}"
        t.audit.append("data_read", tenant=acme, principal=who)
        t.audit.erase_subject(who, tenant=acme, by="dpo", reason="asked")
        time.sleep(0.01)
""",
}
NOTES = {"unanchored", "key_on_host", "pruned", "erasing", "silent"}
TORN = {"torn_tail", "head_torn"}
"""What a write under way looks like, should it look so three times."""


@contextmanager
def running(data: Path, *names: str) -> Iterator[None]:
    victims = [start_python(COMMON + PROCESSES[name], data) for name in names]
    try:
        for victim in victims:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "open\n"
        yield
        for name, victim in zip(names, victims, strict=True):
            assert victim.poll() is None, (name, victim.communicate())
    finally:
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
            victim.communicate()


def check(report: dict[str, Any]) -> None:
    codes = {finding["code"] for finding in report["findings"]}
    if report["status"] == 3:
        assert codes <= {*NOTES, "busy"}, report["findings"]
    else:
        assert report["status"] in (0, 4), report["findings"]
        assert codes <= NOTES | TORN, report["findings"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    catalog = tmp_path / "personal.yaml"
    catalog.write_text(
        "catalog: c\ndefault_plan: p\npermissions: [report:read]\nplans: {p: {}}\n"
        "audit: {personal: [principal]}\n"
    )
    with open_live(tmp_path, catalog=catalog) as t:
        t.tenants.create("Acme", slug="acme")
    return tmp_path / "data"


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [("writes", "writes", "rotates"), ("writes", "prunes"), ("writes", "erases"),
     ("writes", "rotates", "prunes", "erases")],
    ids=" and ".join,
)  # fmt: skip
def test_what_others_write_meanwhile_is_no_tampering(data: Path, names: tuple[str, ...]) -> None:
    with running(data, *names), Tenancy.open(data, background=False) as t:
        for turn in range(8):
            report = t.audit.verify()
            check({"status": report.status, "findings": report.findings})
            if turn == 4:
                command = [sys.executable, "-m", "tenancy", "audit", "verify", "--json"]
                done = subprocess.run(
                    command, env={"TENANCY_DATA": str(data)}, capture_output=True, check=False
                )
                assert done.returncode in (0, 3, 4), done
                check(json.loads(done.stdout))


STEP_BY_STEP = """
    import sys, time
    from tenancy import Tenancy
    t = Tenancy.open(sys.argv[1], background=False)
    acme = t.tenants.get("acme")
    while True:
        who = f"person-{time.monotonic_ns()}"
        t.audit.append("data_read", tenant=acme, principal=who)
        assert t.audit.search(acme, principal=who)
        print("erases", flush=True)
        t.audit.erase_subject(who, tenant=acme, by="dpo", reason="asked")
"""


@pytest.mark.slow
def test_an_erasure_that_stands_still_is_no_tampering(data: Path) -> None:
    """Between any two of its steps: its key opens nothing any more, and the table has not heard."""
    erasing = data / "keys" / "subjects.erasing"
    met = 0
    for number in range(400):
        victim = start_python(STEP_BY_STEP, data)
        assert victim.stdout is not None
        for _ in range(number % 3 + 1):
            assert victim.stdout.readline() == "erases\n"
        until = time.monotonic() + 60
        while not erasing.exists() and time.monotonic() < until:
            pass
        time.sleep(number % 7 * 1e-4)
        victim.send_signal(signal.SIGSTOP)
        try:
            report = verify_log(
                data / "log",
                data / "keys" / "log.verify",
                projection=data / "audit.sqlite",
                keys=data / "keys",
            )
            assert report.projection == "same", report.findings
            met += any(finding["code"] == "erasing" for finding in report.findings)
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
        if met == 5:
            return
    raise AssertionError("no erasure was met between its steps")
