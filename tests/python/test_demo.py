"""`tenancy demo` from beginning to end, and its processes when it is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenancy import Tenancy
from tenancy.demo import run
from tenancy.errors import InvalidValue, StoreBusy, StoreError

WORKERS = 2
PATIENCE_S = 300.0
IN_TIME_S = 40.0

pytestmark = pytest.mark.web


def command(data: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tenancy", "demo", "--data", str(data), *more]


def processes_of(data: Path) -> list[psutil.Process]:
    """The server and its workers: they name the directory, or descend from one that does."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        if {str(data), "tenancy.demo.serve"} <= set(_line(process)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {process, *process.children(recursive=True)}
    return list(found)


@contextmanager
def started(data: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A demonstration in its own process, once all of its workers are there."""
    parent = subprocess.Popen(
        command(data, "--workers", str(WORKERS), "--seconds", "20"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A suite that runs in the background inherits an ignored SIGINT; at a terminal it is not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and parent.poll() is None:
            workers = [p for p in processes_of(data) if "spawn_main" in " ".join(_line(p))]
            if len(workers) == WORKERS:
                break
            time.sleep(0.05)
        everyone = processes_of(data)
        assert parent.poll() is None, parent.communicate()[0]
        assert len(everyone) > WORKERS
        yield parent, everyone
    finally:
        for process in [*processes_of(data), parent]:
            process.kill()
        parent.communicate()


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def in_time(summary: dict[str, Any]) -> bool:
    """False on a machine so busy that calls were left out or the windows of a minute passed: the
    demonstration is still right then, but nothing has to have been refused."""
    return bool(summary.get("seconds", IN_TIME_S) < IN_TIME_S)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    data = tmp_path_factory.mktemp("demo") / "data"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TENANCY_")}
    for last in (False, True):
        done = subprocess.run(
            command(data, "--workers", str(WORKERS), "--seconds", "5", "--json"),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=environment,
        )
        summary = json.loads(done.stdout or "{}")
        if last or in_time(summary):
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return data, summary


def test_every_check_passes(finished: tuple[Path, dict[str, Any]]) -> None:
    _, summary = finished
    assert summary["ok"]
    assert all(one["ok"] for one in summary["exact"])
    assert summary["suspension"]["ok"]


def test_all_workers_take_part(finished: tuple[Path, dict[str, Any]]) -> None:
    _, summary = finished
    asked = summary["suspension"]["suspended"]
    assert len(asked) == WORKERS
    assert set(asked.values()) == {"SUSPENDED_TENANT"}
    assert asked.keys() <= summary["workers"].keys()


def test_demand_beyond_a_limit_fills_it_exactly(finished: tuple[Path, dict[str, Any]]) -> None:
    _, summary = finished
    found = {(one["tenant"], one["name"]): one for one in summary["exact"]}
    for tenant, limit in (("sparrow", 100), ("mosaic", 500)):
        one = found[tenant, "api_requests"]
        assert one["limit"] == limit
        if in_time(summary):
            assert one["refused"] > 0
            assert one["admitted"] == one["counted"] == limit
        assert one["admitted"] <= limit or not one["judged"]
    assert found["harbor", "api_requests"]["refused"] == 0


def test_everything_that_can_be_refused_is(finished: tuple[Path, dict[str, Any]]) -> None:
    _, summary = finished
    seen = {code for codes in summary["answers"].values() for code in codes}
    if in_time(summary):
        assert seen >= {"RATE_LIMIT_EXCEEDED", "QUOTA_EXCEEDED"}
    assert seen >= {
        "ALLOWED",
        "PERMISSION_DENIED",
        "FEATURE_NOT_IN_PLAN",
        "INVALID_CREDENTIAL",
        "TENANT_CONFLICT",
        "SUSPENDED_TENANT",
    }
    assert not [code for code in seen if code in ("NO_CODE", "GATEWAY_ERROR", "STATE_UNAVAILABLE")]


def test_no_process_is_left(finished: tuple[Path, dict[str, Any]]) -> None:
    data, summary = finished
    assert processes_of(data) == []
    workers = [int(pid) for pid in summary["suspension"]["suspended"]]
    assert not [pid for pid in workers if psutil.pid_exists(pid)]


def test_the_data_is_there_to_look_at(finished: tuple[Path, dict[str, Any]]) -> None:
    data, summary = finished
    tokens = {o["tenant"]: o["admitted"] for o in summary["exact"] if o["name"] == "tokens"}
    with Tenancy.open(data) as t:
        assert [tenant.slug for tenant in t.tenants.list()] == ["sparrow", "mosaic", "harbor"]
        assert {slug: t.quotas.status(slug, "tokens").used for slug in tokens} == tokens
        assert t.tenants.get("harbor").status == "active"
        actions = [event.action for event in t.audit.search("harbor")]
        assert "tenant:suspend" in actions


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_demonstration(how: signal.Signals, tmp_path: Path) -> None:
    with started(tmp_path / "data") as (parent, everyone):
        parent.send_signal(how)
        _, alive = psutil.wait_procs(everyone, timeout=PATIENCE_S)
        assert alive == []
        status = parent.wait(PATIENCE_S)
    # Python ends itself by SIGINT when the interrupt came inside an `exec`, such as the making of a
    # dataclass, even if it was caught: to a shell that is 130 as well.
    ended = {-signal.SIGKILL} if how == signal.SIGKILL else {130, -signal.SIGINT}
    assert status in ended


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    Tenancy.open(tmp_path / "data", catalog="agent-platform").close()
    before = sorted(path.name for path in (tmp_path / "data").iterdir())
    with pytest.raises(StoreError, match="no demonstration made it"):
        run(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == before


def test_a_directory_is_remade_and_not_shared_by_two(tmp_path: Path) -> None:
    from tenancy.demo.scenario import fresh_directory

    with fresh_directory(tmp_path / "data") as t:
        t.tenants.create("Old", slug="old")
        with pytest.raises(StoreBusy, match="is running there"), fresh_directory(tmp_path / "data"):
            pass
    with fresh_directory(tmp_path / "data") as t:
        assert len(t.tenants.list()) == 0


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 99}, {"seconds": 0.1}])
def test_senseless_options_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidValue):
        run(tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    import asyncio

    from tenancy.demo import ServerError
    from tenancy.demo.server import running
    from tenancy.demo.traffic import open_lanes

    # The directory was never made into a data directory: the workers cannot open it.
    (tmp_path / "stranger").write_text("")
    tmp_path.chmod(0o700)
    with running(tmp_path, 1) as server, pytest.raises(ServerError, match="not a data directory"):
        asyncio.run(open_lanes(server, 1))
