"""One usage event as a caller gives it: what it may be, and the form in which it is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .. import _core
from .._text import NS, shown, to_datetime, to_ns
from ..catalog import Metric
from ..errors import InvalidValue
from ..stores.host import Host
from ..stores.usage_log import ID_BYTES_MAX, PROPERTIES_BYTES_MAX, SOURCE_BYTES_MAX, Draft
from ..stores.usage_units import quantity_text
from ._metrics import Metrics

__all__ = [
    "PER_SECOND",
    "SECONDS_MAX",
    "Checks",
    "Ns",
    "cloud_event",
    "lacks",
    "parse_time",
    "properties_json",
    "text_of",
]

SECONDS_MAX = 9_200_000_000
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?"
    r"\s?(?:([Zz]|UTC)|([+-])(\d\d):?(\d\d)?)?"
)
_EPOCH = date(1970, 1, 1)
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": NS}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


_ENCODE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), default=_plain
).encode


class Ns(int):
    """A time as Unix nanoseconds."""


class Checks:
    """Reads the events of one call. One thread."""

    def __init__(self, host: Host, metrics: Metrics) -> None:
        catalog = host.catalog
        self._host = host
        self._metric_of: Callable[[str], Metric] = lambda name: metrics.get(catalog, name)
        self._tenants: dict[str, str] = {}
        self._metrics: dict[str, Metric] = {}
        self.now_ns = host.clock.wall_ns()
        self._latest_ns = self.now_ns + int(catalog.metering.ahead * NS)

    def tenant(self, tenant: Any) -> str:
        if not isinstance(tenant, str):
            return self._host.tenant_id(tenant)
        found = self._tenants.get(tenant)
        if found is None:
            found = self._tenants[tenant] = self._host.tenant_id(tenant)
        return found

    def metric(self, name: Any) -> Metric:
        found = self._metrics.get(name) if isinstance(name, str) else None
        if found is None:
            found = self._metrics[name] = self._metric_of(name)
        return found

    def draft(
        self,
        tenant: Any,
        metric: Any,
        quantity: Any = 1,
        *,
        id: Any = None,  # noqa: A002 - the field's name
        source: Any = "",
        time: Any = None,
        properties: Any = None,
    ) -> Draft:
        """An event as the log takes it. Raises `InvalidValue`, `UnknownTenant`, `UnknownMetric`."""
        tenant_id, known = self.tenant(tenant), self.metric(metric)
        json_text = properties_json(properties)
        if known.unique_by is not None and lacks(properties, known.unique_by):
            raise InvalidValue(
                "properties",
                f"{known.name} counts the different values of {known.unique_by!r}, "
                "and the event has none",
                remedy=f"properties={{{known.unique_by!r}: …}}",
            )
        if source is None:
            source = ""
        if id is None:
            id = _core.uuid7(self.now_ns)  # noqa: A001
        return Draft(
            tenant_id,
            known.name,
            text_of(id, "id", ID_BYTES_MAX),
            "" if source == "" else text_of(source, "source", SOURCE_BYTES_MAX),
            None if time is None else self.time_ns(time),
            quantity_text(quantity),
            json_text,
        )

    def time_ns(self, time: Any) -> int:
        value = int(time) if isinstance(time, Ns) else to_ns(time, "time")
        if value > self._latest_ns:
            raise InvalidValue(
                "time",
                f"{_moment(value)} is in the future, now is {_moment(self.now_ns)}",
                remedy="set the sender's clock right; `metering: {ahead: …}` of the catalog says"
                " by how much it may be ahead",
            )
        if value <= 0:
            raise InvalidValue("time", f"{_moment(value)}", remedy="a time after 1970")
        return value


def properties_json(properties: Any) -> str | None:
    """Canonical JSON of an object, None for one without members."""
    if not properties:
        if properties is None or isinstance(properties, Mapping):
            return None
        raise InvalidValue("properties", f"expected a mapping, got {shown(properties)}")
    if not isinstance(properties, Mapping):
        raise InvalidValue("properties", f"expected a mapping, got {shown(properties)}")
    for key in properties:
        if not isinstance(key, str):
            raise InvalidValue("properties", f"expected names as text, got {shown(key)}")
    text = json_text(properties)
    size = len(text) if text.isascii() else len(text.encode())
    if size > PROPERTIES_BYTES_MAX:
        raise InvalidValue(
            "properties", f"{size} bytes of JSON, at most {PROPERTIES_BYTES_MAX} are possible"
        )
    return text


def json_text(value: Any) -> str:
    """Canonical JSON. Raises `InvalidValue` for what JSON cannot hold."""
    try:
        text = _ENCODE(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("properties", "holds lone surrogates, which are no text") from None
    except (TypeError, ValueError) as error:
        raise InvalidValue("properties", f"cannot be written as JSON ({error})") from None
    except RecursionError:
        raise InvalidValue("properties", "nests too deeply to be written as JSON") from None
    return text


def lacks(properties: Any, name: str) -> bool:
    """Whether an event with these has nothing that a metric could count by the name."""
    return not properties or properties.get(name) is None


def text_of(value: Any, field: str, most: int) -> str:
    """Text without control characters that is not empty."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidValue(field, f"expected text, got {shown(value)}")
    text = str(value)
    if text.isascii() and text.isprintable() and 0 < len(text) <= most:
        return text
    if not text:
        raise InvalidValue(field, "expected some text, got none")
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text):
        raise InvalidValue(field, f"{shown(text)} holds control characters or lone surrogates")
    size = len(text) if text.isascii() else len(text.encode())
    if size > most:
        raise InvalidValue(field, f"{size} bytes, at most {most} are possible")
    return text


def _moment(time_ns: int) -> str:
    moment = to_datetime(time_ns)
    return "1970" if moment is None else moment.isoformat()


def parse_time(value: Any, unit: str | None = None) -> Any:
    """A time out of a file: ISO 8601, UTC where it names no zone, or a number of `unit` since 1970
    (``s``, ``ms``, ``us``, ``ns``)."""
    if isinstance(value, Ns):
        if not -SECONDS_MAX * NS < value < SECONDS_MAX * NS:
            raise InvalidValue("time", f"{value} ns since 1970", remedy="years 1678 to 2261")
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    if isinstance(value, str):
        text = value.strip()
        found = _TIME.fullmatch(text)
        if found:
            return _iso_ns(found, text)
        digits = text
    elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        digits = f"{value:f}" if isinstance(value, Decimal) else str(value)
    else:
        raise InvalidValue("time", f"expected a time, got {shown(value)}")
    if not re.fullmatch(r"\d{1,20}(\.\d{1,9})?", digits):
        raise InvalidValue(
            "time", f"{shown(value)} is no time", remedy="ISO 8601: 2026-01-31T12:00:00Z"
        )
    if unit is None:
        raise InvalidValue(
            "time", f"{shown(value)} may be seconds or milliseconds", remedy='time_unit="s"'
        )
    ns = int(Decimal(digits) * (NS // PER_SECOND[unit]))
    if ns >= SECONDS_MAX * NS:
        raise InvalidValue("time", f"{shown(value)} {unit} are after 2261", remedy="time_unit=…")
    return Ns(ns)


def _iso_ns(found: re.Match[str], text: str) -> Ns:
    day, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    try:
        seconds = _day_s(day)
    except ValueError as error:
        raise InvalidValue("time", f"{shown(text)}: {error}") from None
    clock = (int(hour), int(minute), int(second or 0))
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 59:
        raise InvalidValue("time", f"{shown(text)}: no such time of day")
    seconds += 3600 * clock[0] + 60 * clock[1] + clock[2]
    if sign is not None:
        offset = 3600 * int(hours) + 60 * int(minutes or 0)
        if offset >= 86_400 or int(minutes or 0) > 59:
            raise InvalidValue("time", f"{shown(text)}: no such offset")
        seconds += offset if sign == "-" else -offset
    if not -SECONDS_MAX < seconds < SECONDS_MAX:
        raise InvalidValue("time", f"{shown(text)}", remedy="years 1678 to 2261")
    return Ns(seconds * NS + int((fraction or "0").ljust(9, "0")))


@lru_cache(maxsize=4096)
def _day_s(day: str) -> int:
    """When a day begins in UTC; a file has many times of the same days."""
    return (date.fromisoformat(day) - _EPOCH).days * 86_400


def cloud_event(event: Any) -> dict[str, Any]:
    """The arguments of `record` that a CloudEvents 1.0 object stands for.

    `type` is the metric, `subject` the tenant; `quantity` of its `data` is the quantity, its other
    members are the properties.
    """
    if not isinstance(event, Mapping):
        raise InvalidValue("event", f"expected a CloudEvents object, got {shown(event)}")
    version = event.get("specversion")
    if version != "1.0":
        raise InvalidValue("specversion", f"expected '1.0', got {shown(version)}")
    for name in ("id", "source", "type", "subject"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidValue(name, f"expected text, got {shown(event.get(name))}")
    kind = str(event.get("datacontenttype") or "application/json")
    if "json" not in kind.lower():
        raise InvalidValue("datacontenttype", f"{shown(kind)}, expected JSON")
    data = event.get("data")
    if data is not None and not isinstance(data, Mapping):
        raise InvalidValue("data", f"expected an object, got {shown(data)}")
    properties = dict(data or {})
    moment = event.get("time")
    return {
        "tenant": event["subject"],
        "metric": event["type"],
        "id": event["id"],
        "source": event["source"],
        "time": None if moment is None else parse_time(moment),
        "quantity": properties.pop("quantity", 1),
        "properties": properties,
    }
