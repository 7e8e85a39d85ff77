"""Real servers for tests: started on a free port, waited for, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).resolve().parent
PATIENCE_S = 180.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until somebody listens at the port; fails when the process has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"nobody listens at port {port}: status {server.poll()}")
        time.sleep(0.05)


@contextmanager
def serving(
    data: Path, command: list[str], port: int, *, scheme: str = "http", verify: Any = True
) -> Iterator[Any]:
    """`python -m command`, for the data directory, until `/health` answers; gives a client."""
    path = os.pathsep.join([str(HERE), *(p for p in sys.path if p)])
    log = data.parent / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, "PYTHONPATH": path, "TENANCY_TEST_DATA": str(data)},
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=data.parent,
        )
    try:
        with httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{port}",
            timeout=PATIENCE_S,
            trust_env=False,
            verify=verify,
        ) as client:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    if client.get("/health").status_code == 200:
                        break
                except httpx.TransportError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the server did not start:\n{log.read_text()}")
                    time.sleep(0.1)
            yield client
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(PATIENCE_S)
