"""The demonstration's server as a child of this process, which never outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Server", "ServerError", "listen", "running"]

LOG = "demo-server.log"
STOP_S = 8.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes a free one.

    A connection inherits TCP_NODELAY from it. Workers that share a socket which uvicorn made itself
    do not set the option (asyncio looks at the protocol number, and there it is 0), and then a
    response in two segments waits 40 ms for the client's delayed acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class ServerError(RuntimeError):
    """The workers did not start, or died. The message ends with what they wrote."""


class Server:
    """uvicorn and its workers, in a process group of their own."""

    def __init__(self, data: Path, workers: int) -> None:
        self.workers = workers
        self.log = data / LOG
        command = [sys.executable, "-m", "tenancy.demo.serve", "--data", str(data)]
        command += ["--workers", str(workers), "--descriptor"]
        self.log.touch(mode=0o600)
        with listen("127.0.0.1", 0) as listener, self.log.open("wb") as log:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop them in order
            )

    def check(self) -> None:
        """Raise `ServerError` unless it still runs."""
        status = self.process.poll()
        if status is not None:
            raise self.failed(f"the server ended with status {status}")

    def failed(self, what: str) -> ServerError:
        told = self.log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        return ServerError(f"{what}; {self.log}:\n{told}" if told else what)

    def stop(self) -> None:
        """Ask it to end, and see to it that all of its processes have."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        deadline = time.monotonic() + STOP_S
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        while self._any_left() and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _any_left(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 0)
            return True
        return False


@contextmanager
def running(data: Path, workers: int) -> Iterator[Server]:
    """A server that is stopped with the block, whatever ends it."""
    server = Server(data, workers)
    try:
        yield server
    finally:
        server.stop()
