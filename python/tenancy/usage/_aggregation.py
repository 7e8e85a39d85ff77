"""What the events of a stretch of time come to. Pure functions on whole numbers of 10^-12.

Events come in the order of their times, and of their places in the log where times are equal; so
the order of recording plays no part but there. For a stretch from `since` on and before `until`:

    sum            of the quantities
    count          of the events, whatever their quantities
    max            the largest quantity; 0 without events
    last           the quantity of the newest event; 0 without events
    unique         how many different values one property has; events without it count nothing
    time_weighted  the integral of a level over the time, divided by the length. An event sets the
                   level from its time on until the next one, also beyond `until`: a stretch begins
                   with the level that the last event before it set, 0 where there was none. The
                   quotient is rounded half away from zero at 12 places
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..catalog import Metric
from ..stores.usage_units import SCALE, ratio

__all__ = ["Event", "Stretch", "accumulator", "property_text", "stretches"]


class Event(NamedTuple):
    """As much of an event as an aggregation reads."""

    time_ns: int
    units: int
    value: str | None = None
    """Of `unique`: the property, as text."""
    group: tuple[str | None, ...] = ()


class Sum:
    """Sums; the pattern of the others as well."""

    __slots__ = ("events", "units")

    def __init__(self, _start_ns: int) -> None:
        self.events = 0
        self.units = 0

    def add(self, event: Event) -> None:
        self.events += 1
        self.units += event.units

    def at(self, _until_ns: int) -> int:
        """What it comes to if the stretch ends there: not before the newest event."""
        return self.units

    def following(self, start_ns: int) -> Any:
        """Of the stretch behind."""
        return type(self)(start_ns)

    @property
    def idle(self) -> bool:
        """Without events, and with nothing brought along."""
        return not self.events


class Count(Sum):
    __slots__ = ()

    def at(self, _until_ns: int) -> int:
        return self.events * SCALE


class Max(Sum):
    __slots__ = ()

    def add(self, event: Event) -> None:
        self.events += 1
        self.units = max(self.units, event.units)


class Last(Sum):
    __slots__ = ()

    def add(self, event: Event) -> None:
        self.events += 1
        self.units = event.units


class Unique(Sum):
    __slots__ = ("values",)

    def __init__(self, start_ns: int) -> None:
        super().__init__(start_ns)
        self.values: set[str] = set()

    def add(self, event: Event) -> None:
        self.events += 1
        if event.value is not None:
            self.values.add(event.value)

    def at(self, _until_ns: int) -> int:
        return len(self.values) * SCALE


class TimeWeighted(Sum):
    """`units` is the level, `area` its integral up to `since_ns`."""

    __slots__ = ("area", "begin_ns", "since_ns")

    def __init__(self, start_ns: int, level: int = 0) -> None:
        super().__init__(start_ns)
        self.begin_ns = self.since_ns = start_ns
        self.units = level
        self.area = 0

    def add(self, event: Event) -> None:
        if event.time_ns < self.begin_ns:  # before the stretch: the level that it begins with
            self.units = event.units
            return
        self.events += 1
        self.area += self.units * (event.time_ns - self.since_ns)
        self.since_ns, self.units = event.time_ns, event.units

    def at(self, until_ns: int) -> int:
        length = until_ns - self.begin_ns
        return ratio(self.area + self.units * (until_ns - self.since_ns), length) if length else 0

    def following(self, start_ns: int) -> TimeWeighted:
        return TimeWeighted(start_ns, self.units)

    @property
    def idle(self) -> bool:
        return not self.events and not self.units


_KINDS: Mapping[str, Callable[[int], Any]] = {
    "sum": Sum,
    "count": Count,
    "max": Max,
    "last": Last,
    "unique": Unique,
    "time_weighted": TimeWeighted,
}


def accumulator(metric: Metric, start_ns: int) -> Any:
    return _KINDS[metric.aggregation](start_ns)


class Stretch(NamedTuple):
    """The usage of one stretch of time and one group."""

    since_ns: int
    until_ns: int
    units: int
    events: int
    group: tuple[str | None, ...]


def stretches(
    metric: Metric, events: Iterable[Event], bounds: Sequence[int], *, grouped: bool
) -> Iterator[Stretch]:
    """What events come to between each two bounds, by group.

    Without groups every stretch is told, with them those that have something to tell. Of
    `time_weighted` the events begin where the first level was set.
    """
    running: dict[tuple[str | None, ...], Any] = {}
    if not grouped:
        running[()] = accumulator(metric, bounds[0])
    place = 1
    for event in events:
        while event.time_ns >= bounds[place]:
            yield from _told(running, bounds, place, grouped)
            place += 1
        found = running.get(event.group)
        if found is None:
            found = running[event.group] = accumulator(metric, bounds[place - 1])
        found.add(event)
    while place < len(bounds):
        yield from _told(running, bounds, place, grouped)
        place += 1


def _told(
    running: dict[tuple[str | None, ...], Any], bounds: Sequence[int], place: int, grouped: bool
) -> Iterator[Stretch]:
    since_ns, until_ns = bounds[place - 1], bounds[place]
    for group in sorted(running, key=_order):
        done = running[group]
        if not (grouped and done.idle):
            yield Stretch(since_ns, until_ns, done.at(until_ns), done.events, group)
        running[group] = done.following(until_ns)
        if grouped and running[group].idle:
            del running[group]


def _order(group: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in group)


def property_text(value: Any, write: Callable[[Any], str]) -> str | None:
    """A property as text that tells it from others: a text itself, else its JSON."""
    if value is None:
        return None
    return value if isinstance(value, str) else write(value)
