"""Documents as canonical JSON (RFC 8785), and digests over it; `tenancy.billing` exports them.

Form: the members of the dataclass by name, and at the top ``document`` (``bill``, ``invoice``,
``credit_note``) and ``format`` (1). Amounts and quantities are texts with the fewest digits, times
are UTC (``2026-01-31T12:00:00Z``), empty places null. A member that has its default is left out:
an optional member that a later release adds leaves the digests of old documents as they were.
What a release does not know it refuses, because nothing of a document may be lost unseen.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import re
import types
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache, lru_cache
from json.encoder import encode_basestring
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from .._text import shown
from ..errors import InvalidValue
from ._documents import Bill, CreditNote, Invoice, Period

__all__ = ["Document", "digest", "from_json", "seal_part", "sealed", "sealed_text", "to_json"]

Document: TypeAlias = Bill | Invoice | CreditNote

FORMAT: Final = 1
_NAMES: Final[Mapping[type, str]] = {
    Bill: "bill",
    CreditNote: "credit_note",
    Invoice: "invoice",
}
_CLASSES: Final[Mapping[str, type]] = {name: cls for cls, name in _NAMES.items()}
_DEPTH_MAX: Final = 32
_EXACT_MAX: Final = 2**53

_AnyDocument = TypeVar("_AnyDocument", Bill, Invoice, CreditNote)
_Writer: TypeAlias = Callable[[Any], str]
_MembersOf: TypeAlias = Callable[[Any], list[str]]
_Decoder: TypeAlias = Callable[[Any, str], Any]


def to_json(document: Document) -> str:
    """The document as canonical JSON; equal documents give equal texts.

    Raises `InvalidValue` for what JSON cannot hold exactly: floats and large integers in
    `metadata`, lone surrogates.
    """
    members = _members(document)
    if document.digest:
        _add_digest(members, document.digest)
    _encoded(text := _object(members))
    return text


def digest(document: Document) -> str:
    """Hexadecimal SHA-256 of the canonical JSON of the document without its `digest`."""
    return hashlib.sha256(_encoded(_object(_members(document)))).hexdigest()


def sealed(document: _AnyDocument) -> _AnyDocument:
    """The document with its digest in place."""
    return dataclasses.replace(document, digest=digest(document))


def sealed_text(document: _AnyDocument, bill: str | None = None) -> tuple[_AnyDocument, str]:
    """`sealed`, and `to_json` of it, without writing it twice.

    `bill` is the text of an invoice's bill where `seal_part` wrote it.
    """
    if bill is None:
        members = _members(document)
    else:
        rest: list[str] = _members_of_part(Invoice, "bill")(document)
        members = sorted([*rest, *_head(Invoice), f'"bill":{bill}'])
    value = hashlib.sha256(_encoded(_object(members))).hexdigest()
    _add_digest(members, value)
    return dataclasses.replace(document, digest=value), _object(members)


def seal_part(bill: Bill) -> str:
    """Give a bill that nobody has seen yet its digest; its text as an invoice has it inside."""
    members = _members_of_part(Bill)(bill)
    whole = sorted([*members, *_head(Bill)])
    value = hashlib.sha256(_encoded(_object(whole))).hexdigest()
    _add_digest(members, value)
    object.__setattr__(bill, "digest", value)
    return _object(members)


def from_json(text: str | bytes) -> Document:
    """The document that `to_json` wrote, equal to what it was.

    Raises `InvalidValue` for text of another form, for members that are not known, for a format
    that is newer, and for a document that does not have the digest it states.
    """
    body = _parsed(text)
    name = body.pop("document", None)
    if not isinstance(name, str) or name not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise InvalidValue("document", f"expected one of {known}, got {shown(name)}")
    version = body.pop("format", None)
    if version != FORMAT:
        raise InvalidValue(
            "format",
            f"this release reads format {FORMAT}, the {name} has {shown(version)}",
            remedy="read it with the release that wrote it, or a later one",
        )
    document: Document = _decoder(_CLASSES[name])(body, name)
    _check_digests(document)
    return document


def _check_digests(document: Document) -> None:
    if isinstance(document, Invoice):
        _check_digests(document.bill)
    if document.digest and document.digest != digest(document):
        raise InvalidValue("digest", "the document is not the one that its digest was made of")


def _members(document: Document) -> list[str]:
    """The members of the document but its digest, as text, in order."""
    kind: Any = type(document)
    if kind not in _NAMES:
        raise InvalidValue("document", f"expected a document, got {kind.__name__}")
    return sorted([*_members_of_part(kind)(document), *_head(kind)])


def _add_digest(members: list[str], value: str) -> None:
    # A quote sorts before everything that a name consists of, so texts sort as their names do.
    bisect.insort(members, f'"digest":{_write_text(value)}')


def _object(members: list[str]) -> str:
    return f"{{{','.join(members)}}}"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("document", "holds lone surrogates, which are no text") from None


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        body = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError, TypeError) as error:
        raise InvalidValue("document", f"is not JSON ({error})") from None
    if not isinstance(body, dict):
        raise InvalidValue("document", f"expected an object, got {type(body).__name__}")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands there twice")
    return members


# ------------------------------------------------------------------------------------ writing

_write_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@cache
def _members_of_part(kind: type, *without: str) -> _MembersOf:
    """The members of a document that say nothing of what it is."""
    return _members_of_class(kind, without=("digest", *without))


def _head(kind: type) -> tuple[str, str]:
    """The members that say what it is. Sorted among others they stand where their names do."""
    return f'"document":"{_NAMES[kind]}"', f'"format":{FORMAT}'


@cache
def _writer(kind: Any) -> _Writer:
    """How values of a type are written."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _writer_of_class(kind)
    if kind is Decimal:
        return _write_number
    if kind is datetime:
        return _write_time
    origin = get_origin(kind)
    if origin is tuple:
        one = _writer(get_args(kind)[0])
        return lambda values: f"[{','.join(map(one, values))}]"
    if origin in (Union, types.UnionType):
        (inner,) = [arg for arg in get_args(kind) if arg is not types.NoneType]
        some = _writer(inner)
        return lambda value: "null" if value is None else some(value)
    if origin is Mapping:
        return lambda value: _write_any(_ordered(value, 0))
    if kind is bool or kind is int:
        return _write_bool if kind is bool else _write_integer
    return _write_text


def _writer_of_class(kind: type) -> _Writer:
    members_of = _members_of_class(kind, without=())

    def write(value: Any) -> str:
        return f"{{{','.join(members_of(value))}}}"

    # The lines of a bill are of one period, so that it is written once for all of them.
    return _remembered(write) if kind is Period else write


def _remembered(write: _Writer) -> _Writer:
    known = lru_cache(maxsize=1024)(write)

    def remembered(value: Any) -> str:
        try:
            return known(value)
        except TypeError:  # it holds what cannot be looked up, nor be written
            return write(value)

    return remembered


def _members_of_class(kind: type, without: tuple[str, ...]) -> _MembersOf:
    """Writes the members in the order of their names, which are ASCII."""
    hints = hints_of(kind)
    check = _checker(kind)
    steps = [
        (field.name, f'"{field.name}":', _default(field), _writer(hints[field.name]))
        for field in sorted(dataclasses.fields(kind), key=lambda field: field.name)
        if field.name not in without
    ]

    def members_of(value: Any) -> list[str]:
        check(value)
        found = []
        for name, prefix, default, write in steps:
            member = getattr(value, name)
            if member is not default and member != default:
                found.append(prefix + write(member))
        return found

    return members_of


def _checker(kind: type) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not kind:
            raise InvalidValue("document", f"expected {kind.__name__}, got {shown(value)}")

    return check


def _write_bool(value: Any) -> str:
    if not isinstance(value, bool):
        raise InvalidValue("document", f"expected True or False, got {shown(value)}")
    return "true" if value else "false"


def _write_integer(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _EXACT_MAX:
        raise InvalidValue("document", f"expected a whole number below 2**53, got {shown(value)}")
    return str(value)


def _write_text(text: Any) -> str:
    try:
        return encode_basestring(text)
    except TypeError:
        raise InvalidValue("document", f"expected text, got {shown(text)}") from None


_REQUIRED: Final = object()
"""A default that no member equals."""


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _REQUIRED


def number_text(number: Decimal) -> str:
    """The number with the fewest digits: ``0.1``, ``-12``, ``0``."""
    if not isinstance(number, Decimal) or not number.is_finite():
        raise InvalidValue("document", f"expected a finite Decimal, got {shown(number)}")
    text = str(number)
    if "E" in text:
        text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _write_number(number: Any) -> str:
    if type(number) is Decimal and (text := str(number)).isdecimal():  # most need nothing more
        return f'"{text}"'
    return f'"{number_text(number)}"'


@lru_cache(maxsize=1024)
def _write_time(moment: datetime) -> str:
    return f'"{time_text(moment)}"'


def time_text(moment: datetime) -> str:
    """The moment in UTC, with microseconds where it has some."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidValue("document", f"expected a datetime with a zone, got {shown(moment)}")
    return moment.astimezone(timezone.utc).isoformat()[:-6] + "Z"


def _ordered(value: Any, depth: int) -> Any:
    """A caller's own data with members in the order of RFC 8785: by UTF-16 code units."""
    if depth > _DEPTH_MAX:
        raise InvalidValue("metadata", f"nests more than {_DEPTH_MAX} levels deep")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise InvalidValue("metadata", f"expected text as a name, got {shown(name)}")
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return {name: _ordered(value[name], depth + 1) for name in names}
    if isinstance(value, (list, tuple)):
        return [_ordered(one, depth + 1) for one in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int) and abs(value) <= _EXACT_MAX:
        return value
    raise InvalidValue(
        "metadata", f"cannot hold {shown(value)} exactly", remedy="give it as text, str(value)"
    )


# ------------------------------------------------------------------------------------ reading


@cache
def _decoder(kind: Any) -> _Decoder:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decoder_of_class(kind)
    if kind is Decimal:
        return _number
    if kind is datetime:
        return _time
    origin = get_origin(kind)
    if origin is Mapping:
        return _of_type(dict)
    if origin is Literal:
        return _of_choice(get_args(kind))
    if origin is tuple:
        return _of_list(_decoder(get_args(kind)[0]))
    if origin in (Union, types.UnionType):
        (inner,) = [arg for arg in get_args(kind) if arg is not types.NoneType]
        some = _decoder(inner)
        return lambda value, at: None if value is None else some(value, at)
    return _of_type(kind)


def _decoder_of_class(kind: type) -> _Decoder:
    hints = hints_of(kind)
    fields = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(kind)}
    required = {field.name for field in dataclasses.fields(kind) if _default(field) is _REQUIRED}

    def decode(value: Any, at: str) -> Any:
        if not isinstance(value, dict):
            raise InvalidValue(at, f"expected an object, got {shown(value)}")
        for name in value.keys() - fields.keys():
            raise InvalidValue(
                f"{at}.{name}",
                "is not known to this release",
                remedy="read it with the release that wrote it, or a later one",
            )
        for name in required - value.keys():
            raise InvalidValue(f"{at}.{name}", "is missing")
        return kind(**{name: fields[name](one, f"{at}.{name}") for name, one in value.items()})

    return decode


def _of_list(one: _Decoder) -> _Decoder:
    def decode(value: Any, at: str) -> Any:
        if not isinstance(value, list):
            raise InvalidValue(at, f"expected a list, got {shown(value)}")
        return tuple([one(item, f"{at}[{i}]") for i, item in enumerate(value)])

    return decode


def _of_choice(known: tuple[Any, ...]) -> _Decoder:
    def decode(value: Any, at: str) -> Any:
        if value not in known:
            raise InvalidValue(at, f"expected one of {', '.join(known)}, got {shown(value)}")
        return value

    return decode


def _of_type(kind: type) -> _Decoder:
    def decode(value: Any, at: str) -> Any:
        if type(value) is not kind:
            raise InvalidValue(at, f"expected {kind.__name__}, got {shown(value)}")
        return value

    return decode


# No exponents: "1e999999999" is short, and its digits fill the memory.
_NUMBER: Final = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z")


def _number(value: Any, at: str) -> Decimal:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise InvalidValue(at, f'expected a number as text, such as "1.5", got {shown(value)}')


def _time(value: Any, at: str) -> datetime:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.fromisoformat(value[:-1]).replace(tzinfo=timezone.utc)
    except ValueError:
        pass
    raise InvalidValue(at, f'expected a time such as "2026-01-31T12:00:00Z", got {shown(value)}')
