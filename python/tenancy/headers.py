"""Response headers that tell a caller what is left.

`X-RateLimit-*` as they are in wide use (Reset in Unix seconds), and `RateLimit`/`RateLimit-Policy` in the
syntax of draft-ietf-httpapi-ratelimit-headers-11 (Structured Fields, RFC 9651). The draft may still
move: nothing else knows it. They describe one window, the one with the smallest share left.
"""

from __future__ import annotations

import math
from typing import Protocol

__all__ = ["NAMES", "Window", "limit_fields", "limit_headers", "retry_after_seconds"]

NAMES = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "Retry-After",
)
"""What browsers must be told that scripts may read."""

_SECOND_NS = 1_000_000_000
_KNOWN_MAX = 4096


class Window(Protocol):
    """What `Limit` and the answers of `Limiter` have in common."""

    @property
    def limit(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def reset_after(self) -> float: ...
    @property
    def window(self) -> float: ...
    @property
    def name(self) -> str: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def retry_after(self) -> float | None: ...


# (name, limit, window) -> its parts that stay the same: b"100", b'"x";q=100;w=60', b'"x";r='.
_known: dict[tuple[str, int, float], tuple[bytes, bytes, bytes]] = {}


def _constant_parts(name: str, limit: int, window: float) -> tuple[bytes, bytes, bytes]:
    seconds = max(1, math.ceil(window))
    # A name stays with one window: clients keep policies by name, and one action has several windows.
    shown = "".join(c if " " <= c <= "~" and c not in '"\\' else "-" for c in name) or "limit"
    item = f'"{shown}-{seconds}s"'
    parts = (
        b"%d" % limit,
        f"{item};q={limit};w={seconds}".encode(),
        f"{item};r=".encode(),
    )
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[(name, limit, window)] = parts
    return parts


def limit_fields(window: Window, now_wall_ns: int) -> list[tuple[bytes, bytes]]:
    """The fields of one window as ASGI has them."""
    name, limit, seconds = window.name, window.limit, window.window
    parts = _known.get((name, limit, seconds)) or _constant_parts(name, limit, seconds)
    reset_ns = int(window.reset_after * 1e9)
    remaining = b"%d" % window.remaining
    return [
        (b"x-ratelimit-limit", parts[0]),
        (b"x-ratelimit-remaining", remaining),
        (b"x-ratelimit-reset", b"%d" % -(-(now_wall_ns + reset_ns) // _SECOND_NS)),
        (b"ratelimit-policy", parts[1]),
        (b"ratelimit", b"%b%b;t=%d" % (parts[2], remaining, -(-reset_ns // _SECOND_NS))),
    ]


def limit_headers(window: Window, now_wall_ns: int) -> list[tuple[str, str]]:
    """The same as WSGI has them."""
    values = limit_fields(window, now_wall_ns)
    return [(NAMES[i], value.decode("ascii")) for i, (_, value) in enumerate(values)]


def retry_after_seconds(retry_after: float) -> int:
    """Whole seconds, rounded up, at least 1 (RFC 9110, 10.2.3)."""
    return max(1, math.ceil(retry_after))
