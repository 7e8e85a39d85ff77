"""Arguments that several calls take, judged before anything is looked at or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._text import check_text, shown, storable, to_bounded_json
from ..billing import Part
from ..errors import InvalidValue
from ..pricing import minor_digits

__all__ = ["check_code", "check_metadata", "check_parts", "check_texts", "check_whole"]


def check_code(currency: Any, field: str = "currency") -> str:
    """A code of ISO 4217 that has a smallest unit."""
    if not isinstance(currency, str) or not storable(currency):
        raise InvalidValue(field, f"{shown(currency)} is no ISO 4217 code", remedy="such as EUR")
    minor_digits(currency)
    return currency


def check_whole(number: Any, field: str, least: int, most: int = 1_000_000_000) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise InvalidValue(field, f"{shown(number)}, expected a whole number from {least} on")
    return number


def check_texts(values: Any, field: str, longest: int = 255) -> tuple[str, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise InvalidValue(field, f"expected a list of texts, got {shown(values)}")
    return tuple(check_text(value, f"{field}[{i}]", longest) for i, value in enumerate(values))


def check_parts(parts: Any) -> Sequence[Part] | None:
    if parts is None:
        return None
    if isinstance(parts, (str, bytes)) or not isinstance(parts, Sequence):
        raise InvalidValue("parts", f"expected a list, got {shown(parts)}", remedy="[Part(0)]")
    for part in parts:
        if not isinstance(part, Part):
            raise InvalidValue("parts", f"expected a Part, got {shown(part)}", remedy="[Part(0)]")
    return list(parts)


def check_metadata(metadata: Any) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidValue("metadata", f"expected a mapping, got {type(metadata).__name__}")
    own = dict(metadata)
    to_bounded_json(own, "metadata")
    return own
