"""Response headers that tell a caller what is left of a limit.

`X-RateLimit-*` are in wide use without a standard: `Limit` and `Remaining` are units of the limit,
`Reset` is Unix seconds, rounded up. `RateLimit-Policy` and `RateLimit` are those of
draft-ietf-httpapi-ratelimit-headers-11 (May 2026), lists of structured fields (RFC 9651). They
describe one window, the one with the smallest share left:

    RateLimit-Policy: "api_requests-60s";q=100;w=60
    RateLimit: "api_requests-60s";r=40;t=30

The draft may still move. Its syntax is written in one native file, `cpp/bindings/header_fields.cc`,
and its rules are these; sections are the draft's.

- The item is a String (3, 4): printable ASCII, with `"` and `\\` escaped. The rest of a name, and
  `%`, is percent-encoded as in a Display String (RFC 9651, 4.1.11), so that two names never meet.
  The window is part of it, because clients keep policies by name and an action may have several.
- `q` (3.1.1), `r` (4.1.1) and `t` (4.1.2) are non-negative Integers of at most 15 digits (RFC 9651,
  3.3.1). Larger values are shown as the largest of these.
- `w` (3.1.3) is in whole seconds, never 0: the time in which `q` comes back at the policy's rate,
  rounded up. With a burst that is not the window: 10 a second with a burst of 100 is
  `q=100;w=10`. Sub-second precision is not supported there, so below a second `w` is left out.
- `t` (4.1.2) is in whole seconds, rounded up. A refused caller sees the time it is asked to wait,
  so that `Retry-After` is never before the end of `t` (6). Otherwise it is the time until the full
  limit is back, and never so short that `r` in it would be a higher rate than the policy's (6 and
  8.5: a bucket that lacks one token is full again at once, which must not read as an invitation to
  send everything at once).
- `qu` and `pk` (3.1.2, 3.1.4) are optional and not sent: units are requests or what the
  application counts as its cost, and tenants are not told apart in a shared answer.
"""

from __future__ import annotations

from math import ceil
from typing import Protocol

from ._core import limit_fields, limit_headers

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


class Window(Protocol):
    """What `Limit` and the answers of `Limiter` have in common. Times are seconds."""

    @property
    def name(self) -> str: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def limit(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def window(self) -> float: ...
    @property
    def refill(self) -> float:
        """In how long `limit` comes back at the policy's rate."""

    @property
    def reset_after(self) -> float: ...
    @property
    def retry_after(self) -> float | None: ...


def retry_after_seconds(retry_after: float) -> int:
    """Whole seconds, rounded up, at least 1 (RFC 9110, 10.2.3)."""
    return max(1, ceil(retry_after))
