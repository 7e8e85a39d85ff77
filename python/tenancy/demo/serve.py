"""The demonstration's application under uvicorn: several worker processes on one data directory."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
from pathlib import Path

import uvicorn

__all__ = ["end_with_parent", "serve"]

KEEP_ALIVE_S = 75
_PR_SET_PDEATHSIG = 1


def serve(data: str | os.PathLike[str], descriptor: int, *, workers: int) -> None:
    """Serve `tenancy.demo.app` on a listening socket until SIGINT or SIGTERM."""
    os.environ["TENANCY_DATA"] = str(Path(data).absolute())  # the workers inherit it
    uvicorn.run(
        "tenancy.demo.worker:make",
        factory=True,
        fd=descriptor,
        workers=workers,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=3,
    )


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, however it dies (prctl(2))."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _main() -> None:
    """What the demonstration starts; people type `tenancy serve`."""
    parser = argparse.ArgumentParser(prog="python -m tenancy.demo.serve")
    parser.add_argument("--data", required=True)
    parser.add_argument("--descriptor", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent()
    serve(arguments.data, arguments.descriptor, workers=arguments.workers)


if __name__ == "__main__":
    _main()
