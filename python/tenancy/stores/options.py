"""Options of `Tenancy.open`, checked before anything is made."""

from __future__ import annotations

import os
from typing import Any

from .._text import check_text, life_ns, shown
from ..errors import InvalidValue

__all__ = ["check_sizes", "works_in_background"]

_SWITCH = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


def check_sizes(
    reservation_s: float, counters_bytes_max: int, anonymous_bytes: int, default_tenant: str | None
) -> None:
    """Raise `InvalidValue` for what the engine could not take, by the name of the option."""
    life_ns(reservation_s, "reservation_s")
    sizes = {"counters_bytes_max": counters_bytes_max, "anonymous_bytes": anonymous_bytes}
    for field, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 63:
            raise InvalidValue(field, f"expected a number of bytes, got {shown(size)}")
    if default_tenant is not None:
        check_text(default_tenant, "default_tenant", 255)


def works_in_background(background: bool | None, clock: Any) -> bool:
    """Whether this process is a candidate: as said, else by the environment, else by the clock."""
    if background is not None:
        if not isinstance(background, bool):
            raise InvalidValue("background", shown(background), remedy="True, False or None")
        return background
    text = os.environ.get("TENANCY_BACKGROUND", "").lower()
    if not text:
        return clock is None
    if text not in _SWITCH:
        raise InvalidValue("TENANCY_BACKGROUND", shown(text), remedy="1 or 0")
    return _SWITCH[text]
