"""`tenancy serve`: the demonstration's application on a directory that is there."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tenancy import Tenancy
from tenancy.demo.scenario import fresh_directory, seed
from tenancy.demo.server import listen

PATIENCE_S = 180.0

pytestmark = pytest.mark.web


def command(data: Path, port: int) -> list[str]:
    more = ["--data", str(data), "--port", str(port), "--workers", "2"]
    return [sys.executable, "-m", "tenancy", "serve", *more]


@pytest.fixture
def key(tmp_path: Path) -> str:
    with fresh_directory(tmp_path / "data") as t:
        return seed(t)["mosaic"].engineer


@pytest.fixture
def url(tmp_path: Path, key: str) -> Iterator[str]:
    """A running server; it must end with all of its processes when it is asked to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(command(tmp_path / "data", port), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert f"127.0.0.1:{port}" in server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        everyone = [
            psutil.Process(server.pid),
            *psutil.Process(server.pid).children(recursive=True),
        ]
        server.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(everyone, timeout=PATIENCE_S)
        assert alive == []
    finally:
        server.kill()
        server.communicate()


def test_workers_serve_and_obey_another_process(url: str, key: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/v1/whoami").json()["code"] == "MISSING_TENANT"
        client.headers["X-API-Key"] = key
        usage = client.get("/tenancy/usage").json()
        assert (usage["tenant"]["slug"], usage["plan"]) == ("mosaic", "starter")
        prompt = {"context_tokens": 100, "max_tokens": 64, "generated_tokens": 7}
        assert client.post("/v1/agents", json=prompt).json()["tokens"] == 107
        with Tenancy.open(tmp_path / "data") as t:
            assert t.quotas.status("mosaic", "tokens").used == 107
            assert t.quotas.status("mosaic", "agents").used == 0
            t.tenants.suspend("mosaic", by="operator:test")
            assert client.get("/v1/whoami").json()["code"] == "SUSPENDED_TENANT"
        documented = client.get("/openapi.json").json()["paths"]["/v1/agents"]["post"]
        assert {"401", "403", "429"} <= documented["responses"].keys()


def test_small_responses_do_not_wait_for_delayed_acknowledgements() -> None:
    """With Nagle's algorithm on, every one of them takes 40 ms. Connections inherit the setting."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_an_error_and_not_a_traceback(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = command(tmp_path / "data", taken.getsockname()[1])
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "typo", 8000), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert "no data directory" in done.stderr
    assert not (tmp_path / "typo").exists()
