"""`tenancy migrate`: bring a data directory to this release's formats."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..app import DEFAULT_PATH, Tenancy
from ..errors import VersionMismatch
from . import _common as c

__all__ = ["migrate"]

COUNTERS = "counters"


def migrate(
    discard_counters: Annotated[
        bool,
        typer.Option(help="Put counters of another major version aside; they begin anew."),
    ] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Convert a data directory. Stop all workers first. Exit status 1 when this release cannot.

    Within a major version there is nothing to convert: opening the directory brings its tables up
    to date, and old and new workers run side by side.
    """
    path = Path(data or DEFAULT_PATH)
    done = []
    with c.reported(as_json):
        c.check_is_there(path)
        try:
            Tenancy.open(path, background=False).close()
        except VersionMismatch as mismatch:
            counters = path / COUNTERS
            if not (discard_counters and str(counters) in str(mismatch)):
                raise
            aside = path / f"{COUNTERS}.{os.getpid()}.old"
            counters.rename(aside)
            done.append(f"put {counters} aside as {aside.name}; limits and quota usage begin anew")
            Tenancy.open(path, background=False).close()
    if as_json:
        c.print_json({"data": str(path), "done": done})
    else:
        print("\n".join(done) if done else f"{path}: nothing to convert")
