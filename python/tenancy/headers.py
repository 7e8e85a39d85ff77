"""Response headers that tell a caller what is left.

`X-RateLimit-*` as they are in wide use (Reset in Unix seconds), and `RateLimit`/`RateLimit-Policy`
in the
syntax of draft-ietf-httpapi-ratelimit-headers-11 (Structured Fields, RFC 9651). The draft may still
move: nothing else knows it. They describe one window, the one with the smallest share left.
"""

from __future__ import annotations

from math import ceil
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


Parts = tuple[str, str, str, bytes, bytes, bytes]

_known: dict[tuple[str, int, float], Parts] = {}
"""What stays the same in the fields of a window: size, policy, beginning of the state; twice."""


def _learn(name: str, limit: int, window: float) -> Parts:
    seconds = max(1, ceil(window))
    # A name stays with one window: clients keep policies by name, and an action has several.
    shown = "".join(c if " " <= c <= "~" and c not in '"\\' else "-" for c in name) or "limit"
    item = f'"{shown}-{seconds}s"'
    texts = str(limit), f"{item};q={limit};w={seconds}", f"{item};r="
    size, policy, state = (text.encode("ascii") for text in texts)
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    parts = _known[(name, limit, window)] = (*texts, size, policy, state)
    return parts


def limit_fields(window: Window, now_wall_ns: int) -> list[tuple[bytes, bytes]]:
    """The fields of one window as ASGI has them."""
    place = window.name, window.limit, window.window
    _, _, _, size, policy, state = _known.get(place) or _learn(*place)
    reset_after = window.reset_after
    remaining = b"%d" % window.remaining
    return [
        (b"x-ratelimit-limit", size),
        (b"x-ratelimit-remaining", remaining),
        (b"x-ratelimit-reset", b"%d" % _reset(now_wall_ns, reset_after)),
        (b"ratelimit-policy", policy),
        (b"ratelimit", b"%b%b;t=%d" % (state, remaining, ceil(reset_after))),
    ]


def limit_headers(window: Window, now_wall_ns: int) -> list[tuple[str, str]]:
    """The same as WSGI has them."""
    place = window.name, window.limit, window.window
    size, policy, state, _, _, _ = _known.get(place) or _learn(*place)
    reset_after = window.reset_after
    remaining = str(window.remaining)
    return [
        ("X-RateLimit-Limit", size),
        ("X-RateLimit-Remaining", remaining),
        ("X-RateLimit-Reset", str(_reset(now_wall_ns, reset_after))),
        ("RateLimit-Policy", policy),
        ("RateLimit", f"{state}{remaining};t={ceil(reset_after)}"),
    ]


def _reset(now_wall_ns: int, reset_after: float) -> int:
    """Unix seconds, rounded up. In integers: a float of today's nanoseconds is hundreds of them
    off."""
    return (now_wall_ns + int(reset_after * 1e9) + 999_999_999) // 1_000_000_000


def retry_after_seconds(retry_after: float) -> int:
    """Whole seconds, rounded up, at least 1 (RFC 9110, 10.2.3)."""
    return max(1, ceil(retry_after))
