"""Real servers on real sockets: uvicorn with one and two workers, gunicorn with preload and
fork."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx")

from web_support import CATALOG, Shop  # noqa: E402

pytestmark = [pytest.mark.web, pytest.mark.slow]

HERE = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(shop: Shop, command: list[str], port: int) -> Iterator[Any]:
    path = os.pathsep.join([str(HERE), *(p for p in sys.path if p)])
    log = shop.data.parent / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, "PYTHONPATH": path, "TENANCY_TEST_DATA": str(shop.data)},
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=shop.data.parent,
        )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False
        ) as client:
            deadline = time.monotonic() + 60
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
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def uvicorn(shop: Shop, workers: int = 1) -> Any:
    port = free_port()
    command = ["uvicorn", "web_apps:fastapi_app", "--factory", "--port", str(port)]
    return serving(shop, [*command, "--workers", str(workers), "--log-level", "warning"], port)


def gunicorn(shop: Shop) -> Any:
    port = free_port()
    command = ["gunicorn", "web_apps:flask_app", "--preload", "--workers", "2", "--threads", "2"]
    return serving(shop, [*command, "--bind", f"127.0.0.1:{port}", "--log-level", "warning"], port)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    # All clients have one address here; and a slow machine must not see a window pass.
    text = CATALOG.replace("30/minute", "10000/hour").replace("/minute", "/hour")
    return Shop(tmp_path, system_clock=True, text=text)


def ask(base_url: Any, count: int, path: str, headers: dict[str, str]) -> list[Any]:
    """`count` requests, each on a connection of its own, so that every worker gets some."""

    def one(_: int) -> Any:
        with httpx.Client(base_url=base_url, timeout=30, trust_env=False) as client:
            return client.get(path, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


def statuses(answers: list[Any]) -> dict[int, int]:
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status_code] = found.get(answer.status_code, 0) + 1
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_trap_02_uvicorn_workers_count_together(shop: Shop, workers: int) -> None:
    with uvicorn(shop, workers) as client:
        answers = ask(client.base_url, 24, "/", shop.other_headers)
        assert statuses(answers) == {200: 8, 429: 16}  # the endpoint's 8, inside the plan's 10
        pids = {answer.json()["pid"] for answer in answers if answer.status_code == 200}
        assert len(pids) <= workers
        inline = ask(client.base_url, 20, "/inline", shop.headers)
        assert statuses(inline) == {200: 7, 429: 13}
        refused = next(a for a in answers if a.status_code == 429)
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/denied", headers=shop.headers).json()["code"] == "PERMISSION_DENIED"
        # What this process changes holds from the next request on, in each worker.
        shop.t.tenants.suspend(shop.acme, reason="test")
        after = ask(client.base_url, 8, "/", shop.headers)
        assert {a.json()["code"] for a in after} == {"SUSPENDED_TENANT"}
        shop.t.tenants.resume(shop.acme)
        shop.t.keys.revoke(shop.key)
        after = ask(client.base_url, 8, "/", shop.headers)
        assert {a.json()["code"] for a in after} == {"INVALID_CREDENTIAL"}


def test_streams_disconnects_and_sockets_on_uvicorn(shop: Shop) -> None:
    with uvicorn(shop) as client:
        assert client.get("/stream", headers=shop.headers).text == "0 acme\n1 acme\n2 acme\n"
        wait_for(lambda: client.get("/used").json() == {"used": 2, "reserved": 0})

        # A client that goes away in the middle of a stream has begun to receive: it is charged.
        with client.stream("GET", "/stream?pieces=1000", headers=shop.headers) as response:
            next(response.iter_raw())
        wait_for(lambda: client.get("/used").json() == {"used": 4, "reserved": 0})
        asyncio.run(talk(client.base_url, shop))


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def talk(base_url: Any, shop: Shop) -> None:
    import websockets

    url = f"ws://127.0.0.1:{base_url.port}/ws"
    name = (
        "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"
    )
    async with websockets.connect(url, **{name: shop.headers}) as connection:  # type: ignore[arg-type]
        for word in ("a", "b"):
            await connection.send(word)
            assert await connection.recv() == f"acme {word}"
    for headers in ({}, {"X-API-Key": "tk_no"}):
        with pytest.raises(websockets.WebSocketException) as refused:
            async with websockets.connect(url, **{name: headers}):  # type: ignore[arg-type]
                pass
        assert any(code in str(refused.value) for code in ("401", "403"))


def test_gunicorn_preloads_forks_and_counts_together(shop: Shop) -> None:
    with gunicorn(shop) as client:
        answers = ask(client.base_url, 24, "/", shop.other_headers)
        assert statuses(answers) == {200: 8, 429: 16}
        assert client.get("/stream", headers=shop.headers).text == "0 true\n1 true\n2 true\n"
        wait_for(lambda: shop.t.quotas.status(shop.acme, "tokens").used == 2)
        assert client.get("/health", headers=shop.headers).json()["tenant"] is False
        shop.t.tenants.suspend(shop.acme, reason="test")
        after = ask(client.base_url, 8, "/", shop.headers)
        assert {a.json()["code"] for a in after} == {"SUSPENDED_TENANT"}
        assert client.get("/", headers={"X-API-Key": "no"}).status_code == 401
