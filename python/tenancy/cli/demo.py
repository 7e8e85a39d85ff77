"""`tenancy demo` and `tenancy serve`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..demo import DEFAULT_PATH, ServerError, check_extras, run
from ..demo.server import listen
from . import _common as c

__all__ = ["demo", "serve"]

INTERRUPTED = 130


def demo(
    data: Annotated[str, typer.Option("--data", help="Data directory, made anew.")] = DEFAULT_PATH,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 3,
    seconds: Annotated[float, typer.Option(help="How long five minutes of traffic take.")] = 15.0,
    as_json: c.Json = False,
) -> None:
    """A web application, several workers, three tenants and real traffic, in under a minute."""
    with c.reported(as_json):
        try:
            passed = run(data, workers=workers, seconds=seconds, as_json=as_json)
        except ServerError as error:
            print(f"error: {error}", file=sys.stderr)
            passed = False
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
    if not passed:
        raise typer.Exit(c.REFUSED)


def serve(
    data: c.Data = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
) -> None:
    """Serve the demonstration's application on a data directory, such as the one it left."""
    with c.opened(data, False) as t:
        check_extras()
        path = t.path
    from ..demo.serve import serve as run_server

    try:
        listener = listen(host, port)
    except OSError as error:
        print(f"error: {host}:{port}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(c.REFUSED) from None
    with listener:
        told = f"http://{host}:{port} on {path}, {workers} workers; documentation at /docs"
        print(told, flush=True)
        run_server(path, listener.fileno(), workers=workers)
