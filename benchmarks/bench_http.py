"""FastAPI through sockets: uvicorn with one and two workers under wrk, beside its peers.

All servers are up at once and idle but for the one in turn. Turns are short and interleaved, so
that a machine that is slower for a while is slower for all; a round compares each server with the
bare one of the same round, and the figures are medians of the rounds. wrk runs on the same machine
and takes its share of the processor. The processor time that the workers spend on a request does
not depend on what else the machine does, so it is the steadier of the two figures.

`fixed headers` sends as many fields as ours and decides nothing: what the server itself spends on
them.

    python benchmarks/bench_http.py [--seconds 1] [--rounds 9] [--workers 1 2]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from common import print_table, version
from web_common import open_bench

SERVERS = {
    "bare": "bare_http",
    "fixed headers": "fixed_http",
    "ours": "ours_http",
    "slowapi": "slowapi_http",
    "BaseHTTPMiddleware": "by_hand_http",
}
HEAD = ("server", "requests/s", "beside bare", "processor µs", "beside bare", "p99 ms")
HERE = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    factory: str, workers: int, directory: str, key: str
) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    path = os.pathsep.join([str(HERE), *(p for p in sys.path if p)])
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"web_common:{factory}", "--factory", "--port", str(port),
         "--workers", str(workers), "--log-level", "warning", "--no-access-log"],
        env={**os.environ, "PYTHONPATH": path, "TENANCY_BENCH_DIR": directory},
        cwd=directory,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    try:
        request = urllib.request.Request(url, headers={"X-API-Key": key})
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5):
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{factory} did not start")
        time.sleep(1.0)  # the other workers too
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(20)


def cpu_seconds(root: psutil.Process) -> float:
    """Processor time of a server and its workers."""
    times = [p.cpu_times() for p in (root, *root.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def wrk(url: str, key: str, seconds: int) -> tuple[float, float, int]:
    """Requests a second, the 99th percentile in milliseconds, and how many requests there were."""
    done = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-H", f"X-API-Key: {key}", url],
        capture_output=True,
        text=True,
        check=True,
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    assert refused is None, done.stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    assert rate is not None
    assert tail is not None
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail.group(2)]
    count = re.search(r"(\d+) requests in", done.stdout)
    assert count is not None
    return float(rate.group(1)), float(tail.group(1)) * factor, int(count.group(1))


def measure(
    workers: int, directory: str, key: str, seconds: int, rounds: int
) -> dict[str, list[tuple[float, float, float]]]:
    """By server, for each round: requests a second, µs of processor a request, p99 in ms."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in SERVERS}
    with contextlib.ExitStack() as stack:
        running = {
            name: stack.enter_context(serving(factory, workers, directory, key))
            for name, factory in SERVERS.items()
        }
        for number in range(rounds + 1):
            for name, (url, server) in running.items():
                before = cpu_seconds(server)
                rate, tail, count = wrk(url, key, seconds)
                spent = (cpu_seconds(server) - before) / count * 1e6
                if number:  # the first one warms up
                    found[name].append((rate, spent, tail))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed: apt-get install wrk")
        return
    directory = tempfile.mkdtemp(prefix="bench-http-")
    t, key = open_bench(directory)
    t.close()
    versions = ", ".join(map(version, ("tenancy", "fastapi", "starlette", "uvicorn", "slowapi")))
    for workers in arguments.workers:
        found = measure(workers, directory, key, arguments.seconds, arguments.rounds)
        rows = []
        for name, turns in found.items():
            rate, cpu, tail = (statistics.median(values) for values in zip(*turns, strict=True))
            pairs = list(zip(turns, found["bare"], strict=True))
            rates = statistics.median(ours[0] / bare[0] for ours, bare in pairs) - 1
            cpus = statistics.median(ours[1] / bare[1] for ours, bare in pairs) - 1
            figures = (f"{rate:,.0f}", f"{rates:+.1%}", f"{cpu:.1f}", f"{cpus:+.1%}")
            rows.append((name, *figures, f"{tail:.2f}"))
        title = f"{workers} worker{'s' if workers > 1 else ''}: {versions}"
        print_table(title, rows, HEAD)
    print("target: at most 5 % fewer requests than bare")


if __name__ == "__main__":
    main()
