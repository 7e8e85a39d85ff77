"""The language of populations: a condition on audit facts that a person can read.

What a report prints is the text that was parsed and run, so that nobody has to trust a second
description of it.

::

    query     = both { "or" both }
    both      = condition { "and" condition }
    condition = field "in" "(" value { "," value } ")"
              | field "not" "in" "(" value { "," value } ")"
              | field "is" ( "absent" | "present" )
    field     = "type" | "action" | "resource" | "resource_id" | "result" | "principal"
              | "context." name
    value     = characters other than blanks, commas and parentheses; "*" at its end: any ending

`and` binds closer than `or`. An absent field is in no list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from .._text import listed, shown
from ..errors import InvalidValue
from ..stores.records import AuditEvent

__all__ = ["Query"]

Predicate = Callable[[AuditEvent], bool]
Getter = Callable[[AuditEvent], Any]

_FIELDS = ("type", "action", "resource", "resource_id", "result", "principal")
_CONTEXT = "context."
_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")


class Query:
    """A parsed query. `text` is what was parsed; `matches` is what it means."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matches: Predicate = _Parser(text).query()

    def __repr__(self) -> str:
        return f"Query({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    def query(self) -> Predicate:
        ways = [self._both()]
        while self._word() == "or":
            self._take()
            ways.append(self._both())
        if self._word():
            self._fail(f"nothing or `or`, got {self._word()!r}")
        return ways[0] if len(ways) == 1 else lambda event: any(way(event) for way in ways)

    def _both(self) -> Predicate:
        conditions = [self._condition()]
        while self._word() == "and":
            self._take()
            conditions.append(self._condition())
        if len(conditions) == 1:
            return conditions[0]
        return lambda event: all(holds(event) for holds in conditions)

    def _condition(self) -> Predicate:
        get = self._field()
        word = self._take()
        if word == "is":
            return self._presence(get)
        if word == "not":
            self._expect("in")
            among = self._values(get)
            return lambda event: not among(event)
        if word != "in":
            self._fail(f"`in`, `not in` or `is`, got {word!r}")
        return self._values(get)

    def _field(self) -> Getter:
        name = self._take()
        if name in _FIELDS:
            return lambda event: getattr(event, name)
        key = name.removeprefix(_CONTEXT)
        if key in ("", name):
            self._fail(f"one of {listed(_FIELDS)} or context.NAME, got {name!r}")
        return lambda event: event.context.get(key)

    def _presence(self, get: Getter) -> Predicate:
        word = self._take()
        if word == "absent":
            return lambda event: get(event) is None
        if word != "present":
            self._fail(f"`absent` or `present`, got {word!r}")
        return lambda event: get(event) is not None

    def _values(self, get: Getter) -> Predicate:
        self._expect("(")
        whole, beginnings = set(), []
        while True:
            value = self._take()
            if value in ("(", ")", ",", ""):
                self._fail(f"a value, got {value!r}")
            if value.endswith("*"):
                beginnings.append(value[:-1])
            else:
                whole.add(value)
            after = self._take()
            if after == ")":
                break
            if after != ",":
                self._fail(f"`,` or `)`, got {after!r}")
        return _among(get, frozenset(whole), tuple(beginnings))

    def _word(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._word()
        self._next += 1
        return word

    def _expect(self, wanted: str) -> None:
        word = self._take()
        if word != wanted:
            self._fail(f"`{wanted}`, got {word!r}")

    def _fail(self, expected: str) -> NoReturn:
        raise InvalidValue("query", f"{shown(self._text)}: expected {expected}")


def _among(get: Getter, whole: frozenset[str], beginnings: tuple[str, ...]) -> Predicate:
    def holds(event: AuditEvent) -> bool:
        value = get(event)
        if not isinstance(value, str):
            return False
        return value in whole or value.startswith(beginnings)

    return holds
