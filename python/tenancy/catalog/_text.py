"""The text of a catalog: YAML 1.2 or JSON in, canonical JSON and the line of every path out.

Both readers feed one `_Builder`, so duplicate keys, nesting, aliases and numbers are judged alike.
Numbers keep the digits they were written with: prices never pass through binary floating point.
Nothing here knows what a catalog means; that is judged by `_core.Catalog.parse`.
"""

from __future__ import annotations

import bisect
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ..errors import CatalogError, Problem

TEXT_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
# What the text may grow to when every alias is written out.
EXPANDED_CHARS_MAX = 4 << 20
KEY_CHARS_MAX = 200
_DIGITS_MAX = 40

_INTEGER = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)")
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Number(str):
    """The digits of a number, as JSON spells them."""

    __slots__ = ()


@dataclass
class Document:
    """What was read. With problems, `value` is what could be made of the rest."""

    value: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def json(self) -> str:
        """The value as JSON text; finds the problems that only show with aliases written out."""
        return _write(self.value, self.problems)

    def line(self, path: str) -> int:
        """The line of the path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def load(name: str, shipped: Sequence[str], what: str) -> str:
    """The text of a file; `CatalogError` when there is none. `shipped` are the names of others."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(TEXT_BYTES_MAX + 1)
    except FileNotFoundError:
        near = difflib.get_close_matches(name, shipped, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"shipped are {', '.join(shipped)}"
        message = f"no such file, and no shipped {what} of this name; {hint}"
        raise CatalogError(name, [Problem("", message)], what) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CatalogError(name, [Problem("", f"cannot be read: {reason}")], what) from error
    if len(data) > TEXT_BYTES_MAX:
        message = f"larger than {TEXT_BYTES_MAX} bytes"
        raise CatalogError(name, [Problem("", message)], what)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise CatalogError(name, [Problem("", message, line)], what) from None


def read(text: str, kind: str) -> Document:
    """Read ``kind`` "yaml" or "json"."""
    builder = _Builder()
    try:
        if not text.strip().strip("\ufeff"):
            raise _Refused(Problem("", "the document is empty; it needs a catalog and plans", 1))
        (_read_json if kind == "json" else _read_yaml)(text.removeprefix("\ufeff"), builder)
    except _Refused as refused:
        builder.document.problems.append(refused.problem)
    return builder.document


# ----------------------------------------------------------------------------------- the tree


class _Frame:
    __slots__ = ("anchor", "items", "key", "line", "mapping", "path", "skip")

    def __init__(self, path: str, mapping: bool, line: int, anchor: str | None) -> None:
        self.path = path
        self.mapping = mapping
        self.items: Any = {} if mapping else []
        self.key: str | None = None
        self.skip = False  # the value of a key that was refused
        self.line = line
        self.anchor = anchor


class _Builder:
    def __init__(self) -> None:
        self.document = Document()
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Any] = {}

    def problem(self, path: str, message: str, line: int) -> None:
        self.document.problems.append(Problem(path, message, line))

    @property
    def wants_key(self) -> bool:
        return bool(self._frames) and self._frames[-1].mapping and self._frames[-1].key is None

    def _path(self) -> str:
        if not self._frames:
            return ""
        frame = self._frames[-1]
        if not frame.mapping:
            return f"{frame.path}[{len(frame.items)}]"
        return f"{frame.path}.{frame.key}" if frame.path else str(frame.key)

    def key(self, name: str, line: int) -> None:
        frame = self._frames[-1]
        frame.key = name
        path = self._path()
        frame.skip = True
        if name == "<<":
            message = 'merge keys are not read; use "extends", or an alias for a whole value'
            self.problem(path, message, line)
        elif name in frame.items:
            first = self.document.lines.get(path)
            self.problem(path, f"duplicate key; it was given on line {first}, keep one", line)
        elif len(name) > KEY_CHARS_MAX or not name.isprintable():
            self.problem(frame.path, f"{name[:40]!r}… is no key: too long or not printable", line)
        else:
            frame.skip = False
            self.document.lines.setdefault(path, line)

    def scalar(self, value: Any, line: int, anchor: str | None = None) -> None:
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self.problem(self._path(), "half of a surrogate pair is not text", line)
                value = None
        self._put(value, line, anchor)

    def start(self, mapping: bool, line: int, anchor: str | None = None) -> None:
        if len(self._frames) == DEPTH_MAX:
            raise _Refused(Problem("", f"nested more than {DEPTH_MAX} levels deep", line))
        self._frames.append(_Frame(self._path(), mapping, line, anchor))

    def end(self) -> None:
        frame = self._frames.pop()
        self._put(frame.items, frame.line, frame.anchor)

    def alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            message = f"*{name} stands before or inside &{name}; put the anchor first"
            raise _Refused(Problem(self._path(), message, line))
        self._put(self._anchors[name], line, None)

    def _put(self, value: Any, line: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._frames:
            self.document.value = value
            return
        frame = self._frames[-1]
        if not frame.mapping:
            self.document.lines.setdefault(self._path(), line)
            frame.items.append(value)
            return
        if not frame.skip:
            frame.items[frame.key] = value
        frame.key = None


def _finish_number(digits: str) -> Number:
    """JSON's spelling: no plus, no leading zeros, digits on both sides of the point."""
    sign = "-" if digits.startswith("-") else ""
    whole, point, fraction = digits.lstrip("+-").replace("_", "").partition(".")
    whole = whole.lstrip("0") or "0"
    return Number(f"{sign}{whole}.{fraction or '0'}" if point else f"{sign}{whole}")


# --------------------------------------------------------------------------------------- YAML


def _read_yaml(text: str, out: _Builder) -> None:
    documents = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            name = type(event).__name__
            if name == "DocumentStartEvent":
                documents += 1
                if documents == 2:
                    raise _Refused(Problem("", "a second document begins here; keep one", line))
            elif name in ("MappingEndEvent", "SequenceEndEvent"):
                out.end()
            elif name not in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
                _yaml_node(event, name, line, out)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        message = error.problem or error.context or "a syntax error"
        if "'\\t'" in message:
            message += "; indent with spaces"
        raise _Refused(Problem("", f"not YAML: {message}", line)) from None
    except (YAMLError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError,
            ValueError) as error:  # fmt: skip
        # The scanner also trips over some malformed texts with other exceptions than its own.
        message = str(error).splitlines()[0] if str(error) else "a syntax error"
        raise _Refused(Problem("", f"not YAML: {message}", 1)) from None


def _yaml_node(event: Any, name: str, line: int, out: _Builder) -> None:
    if name == "AliasEvent":
        if out.wants_key:
            raise _Refused(Problem("", "an alias cannot be a key; write the key out", line))
        out.alias(event.anchor, line)
        return
    if event.tag not in (None, "!"):
        message = f"the tag {event.tag} is not read; quote a value to make it text"
        raise _Refused(Problem("", message, line))
    if name != "ScalarEvent":
        if out.wants_key:
            raise _Refused(Problem("", "a key must be text, got a list or mapping", line))
        out.start(name == "MappingStartEvent", line, event.anchor)
    elif out.wants_key:
        out.key(event.value, line)
    elif event.style is not None or event.tag == "!":
        out.scalar(event.value, line, event.anchor)
    else:
        value, message = _plain(event.value)
        if message:
            out.problem(out._path(), message, line)
        out.scalar(value, line, event.anchor)


def _plain(text: str) -> tuple[Any, str]:
    """An unquoted scalar by the core schema of YAML 1.2, and what is wrong with it.

    ``no``, ``on`` and ``2024-01-01`` are text there. Beyond the schema, ``1_000`` is a number.
    """
    if text in _WORDS:
        return _WORDS[text], ""
    if len(text) > _DIGITS_MAX and (_INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text)):
        return None, f"a number of {len(text)} digits is too large"
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
        return _finish_number(text), ""
    if _BASED.fullmatch(text):
        return Number(int(text[:_DIGITS_MAX], 0)), ""
    if _EXPONENT.fullmatch(text):
        return None, f"expected a number without an exponent, got {text[:_DIGITS_MAX]}"
    if _NOT_FINITE.fullmatch(text):
        return None, f'expected a number or "unlimited", got {text}'
    return text, ""


# --------------------------------------------------------------------------------------- JSON

_SPACE = re.compile(r"[ \t\r\n]*")
_JSON_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_JSON_WORD = re.compile(r"true|false|null")


class _JsonReader:
    def __init__(self, text: str, out: _Builder) -> None:
        self.text = text
        self.out = out
        self.at = 0
        self.newlines = [i for i, char in enumerate(text) if char == "\n"]

    def line(self) -> int:
        return bisect.bisect_left(self.newlines, self.at) + 1

    def refuse(self, expected: str) -> _Refused:
        found = repr(self.text[self.at]) if self.at < len(self.text) else "the end of the text"
        return _Refused(Problem("", f"not JSON: expected {expected}, got {found}", self.line()))

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, char: str) -> bool:
        if self.peek() != char:
            return False
        self.at += 1
        return True

    def token(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def string(self) -> str:
        match = self.token(_JSON_STRING)
        if not match:
            raise self.refuse("a text in double quotes")
        return str(json.loads(match.group()))

    def value(self) -> None:
        first, line = self.peek(), self.line()
        if first == "{":
            self.members(line)
        elif first == "[":
            self.elements(line)
        elif first == '"':
            self.out.scalar(self.string(), line)
        elif match := self.token(_JSON_WORD):
            self.out.scalar(_WORDS[match.group()], line)
        elif match := self.token(_JSON_NUMBER):
            value, message = _plain(match.group())
            if message:
                self.out.problem(self.out._path(), message, line)
            self.out.scalar(value, line)
        else:
            raise self.refuse("a value")

    def members(self, line: int) -> None:
        self.take("{")
        self.out.start(True, line)
        more = not self.take("}")
        while more:
            self.peek()
            name, key_line = self.string(), self.line()
            if not self.take(":"):
                raise self.refuse("':'")
            self.out.key(name, key_line)
            self.value()
            more = self.take(",")
            if not more and not self.take("}"):
                raise self.refuse("',' or '}'")
        self.out.end()

    def elements(self, line: int) -> None:
        self.take("[")
        self.out.start(False, line)
        more = not self.take("]")
        while more:
            self.value()
            more = self.take(",")
            if not more and not self.take("]"):
                raise self.refuse("',' or ']'")
        self.out.end()


def _read_json(text: str, out: _Builder) -> None:
    reader = _JsonReader(text, out)
    reader.value()
    if reader.peek():
        raise reader.refuse("the end of the text")


# ------------------------------------------------------------------------------------- writing


def from_objects(value: Any) -> Document:
    """The same from Python objects: mappings, lists, str, int, bool, Decimal and None."""
    document = Document()
    document.value = _convert(value, "", 0, document.problems)
    return document


def _convert(value: Any, path: str, depth: int, problems: list[Problem]) -> Any:
    if depth > DEPTH_MAX:
        problems.append(Problem(path, f"nested more than {DEPTH_MAX} levels deep"))
        return None
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                problems.append(Problem(path, f"a key must be text, got {key!r:.40}"))
                continue
            inner = f"{path}.{key}" if path else key
            result[key] = _convert(item, inner, depth + 1, problems)
        return result
    if isinstance(value, list | tuple):
        return [_convert(item, f"{path}[{i}]", depth + 1, problems) for i, item in enumerate(value)]
    converted, message = _convert_scalar(value)
    if message:
        problems.append(Problem(path, message))
    return converted


def _convert_scalar(value: Any) -> tuple[Any, str]:
    if value is None or isinstance(value, bool):
        return value, ""
    if isinstance(value, int):
        if abs(value) >= 10**_DIGITS_MAX:
            return None, "the number is too large"
        return Number(int(value)), ""
    if isinstance(value, Decimal):
        text = format(value, "f") if value.is_finite() and abs(value.adjusted()) < 40 else ""
        return (_finish_number(text), "") if text else (None, f"{value} is no usable number")
    if isinstance(value, float):
        return None, f"expected an exact number, got the float {value!r}; use text or Decimal"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return None, "half of a surrogate pair is not text"
        return str(value), ""
    return None, f"expected text, a number, a list or a mapping, got {type(value).__name__}"


def _write(value: Any, problems: list[Problem]) -> str:
    parts: list[str] = []
    size = 0
    try:
        for part in _parts(value, 0):
            size += len(part)
            if size > EXPANDED_CHARS_MAX:
                message = f"more than {EXPANDED_CHARS_MAX} characters with all aliases written out"
                raise _Refused(Problem("", message))
            parts.append(part)
    except _Refused as refused:
        problems.append(refused.problem)
        return "null"
    return "".join(parts)


def _parts(value: Any, depth: int) -> Iterator[str]:
    if depth > DEPTH_MAX:
        raise _Refused(Problem("", f"aliases nest more than {DEPTH_MAX} levels deep"))
    if isinstance(value, dict):
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield f"{',' if i else ''}{json.dumps(key, ensure_ascii=False)}:"
            yield from _parts(item, depth + 1)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for i, item in enumerate(value):
            if i:
                yield ","
            yield from _parts(item, depth + 1)
        yield "]"
    elif isinstance(value, Number):
        yield value
    else:
        yield json.dumps(value, ensure_ascii=False)
