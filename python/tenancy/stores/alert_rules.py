"""What is worth an alert: rules as data, and whether a fact is one that a rule counts.

A rule names facts by their fields, groups them, and says how many of a group within which time are
too many. Nothing here reads or writes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from .._text import duration_ns, life_ns, listed, shown
from ..errors import InvalidValue
from .records import Record

__all__ = ["FIELDS", "SEVERITIES", "Match", "Rule", "check_rules"]

SEVERITIES = ("low", "medium", "high", "critical")

FIELDS = (
    *("type", "action", "result", "reason", "tenant", "principal", "key", "ip", "user_agent"),
    *("resource", "resource_id", "request_id", "session_id", "source", "target"),
)
"""What rules may name, beside `context.<name>`. `source` is who asks: the key, else the principal,
else the address. `target` is whom it was aimed at: the tenant that was named, else the fact's."""

AT_LEAST_MAX = 10_000
WITHIN_MAX = timedelta(days=7)
COOLDOWN_MAX = timedelta(days=30)
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_PATTERNS_MAX = 64
_TEXT_MAX = 255

Patterns = tuple[str, ...]
Match = Mapping[str, str | Collection[str]]
"""Fields and what they must be: a text, or one of several; `role:*` is all that begin so."""


@dataclass(frozen=True)
class Rule(Record):
    """Alert when `at_least` facts that `match` come together `within` a time, for each `by`.

    `match` maps fields to a text or several, of which one must fit; a `*` at the end stands for any
    rest. Of a list of such mappings one must fit. `unless` takes facts out again. `same` names two
    fields that must be equal, such as `("principal", "context.principal")`.

    Facts are counted apart for each value of the fields in `by`; those that lack one of them are
    not counted, except by a rule of single facts. With `distinct` it is not facts that are counted
    but different values of that field. Times are those of the facts: an event that comes late is
    counted where it belongs. After an alert, `cooldown` (unless said, `within`) is quiet: more of
    the same is added to the alert.
    """

    name: str
    match: Match | Sequence[Match]
    by: str | Sequence[str] = ()
    at_least: int = 1
    within: timedelta | None = None
    """None only for rules of single facts."""
    severity: str = "high"
    distinct: str | None = None
    cooldown: timedelta | None = None
    unless: Match | Sequence[Match] = ()
    same: tuple[str, str] | None = None
    summary: str = ""
    """A sentence for people; it may be empty."""
    _wanted: tuple[dict[str, Patterns], ...] = field(init=False, repr=False, compare=False)
    _unwanted: tuple[dict[str, Patterns], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidValue(
                "name",
                f"{shown(self.name)} names no rule",
                remedy="a-z first, then a-z, 0-9, '_', '-', '.'; at most 64 characters",
            )
        place = f"rule {self.name}"
        wanted = _checked_matches(self.match, f"{place}: match")
        if not wanted:
            raise InvalidValue(f"{place}: match", "expected at least one field, got none")
        self._set("_wanted", wanted)
        self._set("_unwanted", _checked_matches(self.unless, f"{place}: unless"))
        self._set("by", _fields((self.by,) if isinstance(self.by, str) else self.by, place, "by"))
        if self.distinct is not None:
            _fields((self.distinct,), place, "distinct")
        if self.same is not None and len(_fields(self.same, place, "same")) != 2:
            raise InvalidValue(f"{place}: same", f"expected two fields, got {shown(self.same)}")
        self._check_numbers(place)
        if not isinstance(self.summary, str) or len(self.summary) > _TEXT_MAX:
            raise InvalidValue(f"{place}: summary", f"expected at most {_TEXT_MAX} characters")

    def _check_numbers(self, place: str) -> None:
        number = self.at_least
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidValue(f"{place}: at_least", f"expected 1 or more, got {shown(number)}")
        if number > AT_LEAST_MAX:
            raise InvalidValue(f"{place}: at_least", f"{number}, at most {AT_LEAST_MAX}")
        if (self.within is None) != (number == 1):
            raise InvalidValue(
                f"{place}: within",
                "a single fact has no window" if number == 1 else f"{number} facts need a window",
                remedy="leave it out" if number == 1 else "within=timedelta(minutes=5)",
            )
        if self.distinct is not None and number == 1:
            raise InvalidValue(f"{place}: distinct", "needs at_least of 2 or more")
        if self.within is not None:
            life_ns(self.within, f"{place}: within")
            if _as_delta(self.within) > WITHIN_MAX:
                raise InvalidValue(f"{place}: within", f"{self.within}, at most {WITHIN_MAX}")
        if self.cooldown is not None:
            duration_ns(self.cooldown, f"{place}: cooldown")
            if _as_delta(self.cooldown) > COOLDOWN_MAX:
                raise InvalidValue(f"{place}: cooldown", f"{self.cooldown}, at most {COOLDOWN_MAX}")
        if self.severity not in SEVERITIES:
            raise InvalidValue(
                f"{place}: severity", shown(self.severity), remedy=f"one of {listed(SEVERITIES)}"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    # ------------------------------------------------------------------------------ for the worker

    @property
    def within_ns(self) -> int:
        return 0 if self.within is None else duration_ns(self.within, "within")

    @property
    def cooldown_ns(self) -> int:
        return self.within_ns if self.cooldown is None else duration_ns(self.cooldown, "cooldown")

    def may_match(self, kind: str) -> bool:
        """Whether a fact of this type can be one of the rule's at all."""
        return any("type" not in one or _fits(kind, one["type"]) for one in self._wanted)

    def matches(self, fact: Mapping[str, str]) -> bool:
        """Whether the rule counts a fact, given as texts by field (see `alert_facts`)."""
        if self.same is not None:
            first, second = (fact.get(name) for name in self.same)
            if first is None or first != second:
                return False
        return _any_fits(fact, self._wanted) and not _any_fits(fact, self._unwanted)

    def group(self, fact: Mapping[str, str]) -> dict[str, str] | None:
        """The values that the fact is counted under; None: it lacks one, and is not counted."""
        if self.distinct is not None and self.distinct not in fact:
            return None
        found = {name: fact[name] for name in self.by if name in fact}
        return found if len(found) == len(self.by) or self.at_least == 1 else None


def check_rules(rules: Any) -> tuple[Rule, ...]:
    """Rules, given one by one or in sequences of several, each name once."""
    found: list[Rule] = []
    if not isinstance(rules, (list, tuple)):
        raise InvalidValue("rules", f"expected a list of rules, got {type(rules).__name__}")
    for item in rules:
        several = item if isinstance(item, (list, tuple)) else (item,)
        for rule in several:
            if not isinstance(rule, Rule):
                raise InvalidValue(
                    "rules",
                    f"expected a Rule, got {type(rule).__name__}",
                    remedy="Rule(name, match=…), or a ready-made one such as brute_force()",
                )
            if any(rule.name == other.name for other in found):
                raise InvalidValue(
                    "rules", f"there are two rules {rule.name!r}", remedy="give one another name"
                )
            found.append(rule)
    return tuple(found)


def _as_delta(length: timedelta | float) -> timedelta:
    return length if isinstance(length, timedelta) else timedelta(seconds=length)


def _checked_matches(matches: Any, place: str) -> tuple[dict[str, Patterns], ...]:
    several = (matches,) if isinstance(matches, Mapping) else matches
    if not isinstance(several, (list, tuple)):
        raise InvalidValue(place, f"expected a mapping of fields, got {type(matches).__name__}")
    return tuple(_checked_match(one, place) for one in several)


def _checked_match(match: Any, place: str) -> dict[str, Patterns]:
    if not isinstance(match, Mapping) or not match:
        raise InvalidValue(
            place,
            f"expected a mapping of fields, got {shown(match)}",
            remedy='{"type": "login_failed"}',
        )
    found = {}
    for name, wanted in match.items():
        _check_field(name, place)
        patterns = (wanted,) if isinstance(wanted, str) else wanted
        if not isinstance(patterns, (list, tuple, set, frozenset)) or not patterns:
            raise InvalidValue(f"{place}: {name}", f"expected texts, got {shown(wanted)}")
        if len(patterns) > _PATTERNS_MAX:
            raise InvalidValue(f"{place}: {name}", f"more than {_PATTERNS_MAX} texts")
        for pattern in patterns:
            _check_pattern(pattern, f"{place}: {name}")
        found[name] = tuple(sorted(patterns))
    return found


def _check_pattern(pattern: Any, place: str) -> None:
    if not isinstance(pattern, str) or not 0 < len(pattern) <= _TEXT_MAX:
        raise InvalidValue(place, f"expected a text, got {shown(pattern)}")
    if "*" in pattern[:-1]:
        raise InvalidValue(place, f"{shown(pattern)}: a * stands only at the end")


def _fields(names: Any, place: str, what: str) -> tuple[str, ...]:
    if not isinstance(names, (list, tuple)):
        raise InvalidValue(f"{place}: {what}", f"expected names of fields, got {shown(names)}")
    for name in names:
        _check_field(name, f"{place}: {what}")
    return tuple(names)


def _check_field(name: Any, place: str) -> None:
    own = isinstance(name, str) and name.startswith("context.") and len(name) > len("context.")
    if not own and name not in FIELDS:
        raise InvalidValue(
            place,
            f"{shown(name)} is no field of a fact",
            remedy=f"one of {listed(FIELDS, 20)}, or context.<name>",
        )


def _fits(text: str, patterns: Patterns) -> bool:
    return any(
        text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
        for pattern in patterns
    )


def _any_fits(fact: Mapping[str, str], matches: tuple[dict[str, Patterns], ...]) -> bool:
    return any(
        all(name in fact and _fits(fact[name], patterns) for name, patterns in match.items())
        for match in matches
    )
