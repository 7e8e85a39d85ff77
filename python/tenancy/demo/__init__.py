"""`tenancy demo`: a web application, several worker processes, three tenants and real traffic.

`app` is the application, which is also an example to begin with; `serve` runs it under uvicorn;
`trace` and `traffic` are its clients; `checks` compares what they saw with plans and counters.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ..errors import ExtraMissing, InvalidValue
from .server import ServerError

__all__ = ["DEFAULT_PATH", "ServerError", "check_extras", "run"]

DEFAULT_PATH = "./tenancy-demo-data"
WORKERS_MAX = 16
SECONDS_MIN, SECONDS_MAX = 1.0, 30.0


def run(
    data: str | os.PathLike[str] = DEFAULT_PATH,
    *,
    workers: int = 3,
    seconds: float = 15.0,
    as_json: bool = False,
) -> bool:
    """Run the demonstration; True when every check passed.

    `data` is made anew when it is absent or left by an earlier demonstration. `seconds` is how long
    the replay of five minutes takes. Raises `ExtraMissing`, `InvalidValue`, `StoreError`, and
    `ServerError` when the workers do not start.
    """
    check_extras()
    if not 1 <= workers <= WORKERS_MAX:
        raise InvalidValue("workers", f"{workers}", remedy=f"1 to {WORKERS_MAX}")
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise InvalidValue("seconds", f"{seconds:g}", remedy=f"{SECONDS_MIN:g} to {SECONDS_MAX:g}")
    from .play import play

    return play(Path(data), workers, seconds, as_json=as_json)


def check_extras() -> None:
    """Raise `ExtraMissing` unless the libraries of the demonstration are installed."""
    for module in ("fastapi", "uvicorn", "httpx"):
        if find_spec(module) is None:
            raise ExtraMissing("demo", module)
