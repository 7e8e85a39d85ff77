"""Limits that no catalog names: guessing of credentials, memory of idempotency keys."""

from __future__ import annotations

from typing import Any

from . import _core
from .errors import InvalidValue

_DAY_S = 86_400.0
_WINDOW_S_MAX = 400 * _DAY_S
_REPEATS_MAX = 4095
_KEYS_MAX = 1 << 26


def own_limits(
    failed_credentials: str | None, window_s: float, repeats: int, keys_max: int
) -> dict[str, Any]:
    """The options of `Tenancy.open` as the engine takes them. Raises `InvalidValue`."""
    if failed_credentials is not None:
        _check_limit(failed_credentials)
    if not 1.0 <= window_s <= _WINDOW_S_MAX:
        raise InvalidValue(
            "idempotency_window_s", f"{window_s!r}", remedy="seconds, from 1 to 400 days"
        )
    _check_number("idempotency_repeats", repeats, 0, _REPEATS_MAX)
    _check_number("idempotency_keys_max", keys_max, 1, _KEYS_MAX)
    return {
        "failed_credentials": failed_credentials or "",
        "idempotency_window_ns": int(window_s * 1e9),
        "idempotency_repeats": repeats,
        "idempotency_keys_max": keys_max,
    }


def _check_limit(text: Any) -> None:
    if not isinstance(text, str) or not text:
        raise InvalidValue(
            "failed_credentials", f"{text!r}", remedy="such as '30/minute', or None for no bound"
        )
    try:
        policies = _core.limit_policies(text, None, None, False, False, False)
    except _core.CoreError as error:
        raise InvalidValue("failed_credentials", str(error.args[-1])) from None
    if len(policies) != 1:
        raise InvalidValue("failed_credentials", f"{text!r}", remedy="one window, not several")


def _check_number(field: str, value: Any, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidValue(field, f"{value!r}", remedy=f"a number from {lowest} to {highest}")
