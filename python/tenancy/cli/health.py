"""`tenancy health`: what an operator should look at."""

from __future__ import annotations

import typer

from . import _common as c

__all__ = ["health"]


def health(data: c.Data = None, as_json: c.Json = False) -> None:
    """What needs a look: background work that fails or that no process does. Exit status 1 if any.

    Workers do the background work while they run; without any, nothing does.
    """
    with c.opened(data, as_json) as t:
        told = t.health()
    if as_json:
        c.print_json(told)
    else:
        work = told.background
        who = f"process {work.pid} since {c.show(work.since)}" if work.running else "nobody"
        print(f"background work: {who}")
        for problem in told.problems:
            print(problem)
    if not told:
        raise typer.Exit(c.REFUSED)
