"""The WSGI layer with its decision, in process, beside Flask-like code by hand.

One request: API key → tenant → limit → application → headers → close. What the layer costs is the
time with it less the time without it; rounds are interleaved, processor time is taken, the smallest
round counts.

    python benchmarks/bench_wsgi.py [--calls 5000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

from common import print_table, version
from tenancy.flask import TenancyFlask
from tenancy.wsgi import TenancyMiddleware
from web_common import CLIENT_HEADERS, open_bench


def minimal(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def flask_app() -> Any:
    from flask import Flask

    app = Flask(__name__)

    @app.get("/")
    def root() -> str:
        return "ok"

    return app


def flask_by_hand(t: Any) -> Any:
    """Our decision in the hooks that everybody writes first."""
    from flask import abort, g, request

    from tenancy.headers import limit_headers

    app = flask_app()

    @app.before_request
    def decide() -> None:
        g.decision = t.admit(api_key=request.headers.get("X-API-Key"), ip=request.remote_addr)
        if not g.decision:
            abort(g.decision.status)

    @app.after_request
    def tell(response: Any) -> Any:
        response.headers.extend(limit_headers(g.decision.tightest, t.clock.wall_ns()))
        t.finish(g.decision, response.status_code)
        return response

    return app


def environ_of(key: str) -> dict[str, Any]:
    import io
    import sys

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "RAW_URI": "/",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "50000",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "bench",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in {**CLIENT_HEADERS, "x-api-key": key}.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
    assert status.startswith("200"), status


def serve(app: Any, environ: dict[str, Any], calls: int) -> float:
    start = time.process_time_ns()
    for _ in range(calls):
        result = app(environ.copy(), start_response)
        for _piece in result:
            pass
        close = getattr(result, "close", None)
        if close is not None:
            close()
    return (time.process_time_ns() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    t, key = open_bench()
    environ = environ_of(key)
    protected = flask_app()
    TenancyFlask(protected, t)
    apps = {
        "minimal": minimal,
        "minimal, ours": TenancyMiddleware(minimal, t),
        "Flask": flask_app(),
        "Flask, ours": protected,
        "Flask, by hand": flask_by_hand(t),
    }
    best = dict.fromkeys(apps, float("inf"))
    for round_number in range(arguments.rounds + 1):
        for name, app in apps.items():
            gc.collect()
            gc.disable()
            spent = serve(app, environ, arguments.calls)
            gc.enable()
            if round_number:
                best[name] = min(best[name], spent)
    ours = best["minimal, ours"] - best["minimal"]
    rows = []
    for name, spent in best.items():
        layer = spent - best["minimal" if name.startswith("minimal") else "Flask"]
        ratio = f"{layer / ours:.1f} x" if layer > 0 else ""
        rows.append((name, f"{spent / 1000:.2f}", f"{layer / 1000:.2f}", ratio))
    title = ", ".join(map(version, ("tenancy", "flask", "werkzeug")))
    print_table(title, rows, ("application", "µs a request", "µs of the layer", "beside ours"))
    print(f"target: at most 3 µs; the layer takes {ours / 1000:.2f} µs")


if __name__ == "__main__":
    main()
