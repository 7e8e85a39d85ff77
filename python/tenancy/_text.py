"""Small rules about text and time that several modules share."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from .errors import InvalidValue

NS = 1_000_000_000
SLUG_MAX = 50
NAME_MAX = 255

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,48}[a-z0-9])?")
_EMAIL_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PRINCIPAL_MAX = 255
_VIRAMA = 9
_JSON_BYTES_MAX = 262_144
_JSON_DEPTH_MAX = 64


def shown(value: object, most: int = 80) -> str:
    """A value for a message, cut short: what comes from outside may be of any length."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def visible(text: str) -> str:
    """The text with `<U+202E>` for each character that is not printable: for pages that people
    trust, where a mark that turns the reading direction could make a row say something else.
    Joiners stay where a script or an emoji needs them."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or _joins(text, i) else f"<U+{ord(c):04X}>" for i, c in enumerate(text)
    )


def _joins(text: str, i: int) -> bool:
    """Whether it is a joiner or non-joiner that shows: between Arabic letters, behind a virama of
    an Indic script (as RFC 5892, appendix A, has it), or between the parts of an emoji."""
    if text[i] not in "\u200c\u200d" or not 0 < i < len(text) - 1:
        return False
    before, after = text[i - 1], text[i + 1]
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if text[i] == "\u200d" and unicodedata.category(after) == "So":
        return unicodedata.category(before) in ("So", "Sk") or before == "\ufe0f"
    return all(unicodedata.bidirectional(c) in ("AL", "NSM") for c in (before, after))


def check_page(limit: int, most: int = 1000) -> int:
    """The number of items that a page may hold."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidValue("limit", f"{shown(limit)}, expected 1 to {most}")
    return limit


def slugify(name: str) -> str:
    """A URL-safe name: `"Café Zürich & Co."` becomes `"cafe-zurich-co"`; may be empty."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_MAX].strip("-")


def check_slug(slug: str) -> str:
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise InvalidValue(
            "slug",
            f"{shown(slug)} is not URL-safe",
            remedy=f"1 to {SLUG_MAX} of a-z, 0-9, '-' and '_', with a-z or 0-9 at both ends",
        )
    return slug


def check_name(name: str, field: str = "name") -> str:
    return check_text(name, field, NAME_MAX)


def check_text(text: str, field: str, longest: int) -> str:
    """Text that people may see: not empty, no control characters, not longer than `longest`."""
    if not isinstance(text, str):
        raise InvalidValue(field, f"expected text, got {type(text).__name__}")
    if not text.strip():
        raise InvalidValue(field, "expected some text, got none")
    if len(text) > longest:
        raise InvalidValue(field, f"{len(text)} characters, at most {longest} are possible")
    if not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise InvalidValue(field, "holds control characters or lone surrogates")
    return text


def storable(text: object) -> bool:
    """Whether it is text that UTF-8 can hold, so that it can be looked up at all."""
    if not isinstance(text, str) or not text or "\0" in text:
        return False
    return text.isprintable() or not any("\ud800" <= character <= "\udfff" for character in text)


def check_principal(principal: str, field: str = "principal") -> str:
    return check_text(principal, field, _PRINCIPAL_MAX)


def check_email(email: str, field: str) -> str:
    """An address mail can be sent to: the dot-atom form of RFC 5322, RFC 5321's lengths."""
    if isinstance(email, str) and len(email) <= 254 and email.count("@") == 1:
        local, domain = email.split("@")
        try:
            labels = domain.encode("idna").decode("ascii").split(".")
        except UnicodeError:
            labels = []
        if (
            len(local) <= 64
            and _EMAIL_LOCAL.fullmatch(local)
            and len(labels) >= 2
            and all(_HOST_LABEL.fullmatch(label) for label in labels)
            and not labels[-1].isdigit()
        ):
            return email
    raise InvalidValue(field, f"{shown(email)} is not an e-mail address", remedy="name@example.com")


def to_json(value: Any, field: str = "value") -> str | None:
    """Canonical JSON; None for what is empty."""
    if not value:
        return None
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        )
    except (TypeError, ValueError) as error:
        raise InvalidValue(field, f"cannot be written as JSON ({error})") from None
    except RecursionError:
        raise InvalidValue(field, "nests too deeply to be written as JSON") from None


def to_bounded_json(value: Any, field: str) -> str | None:
    """`to_json` of what a caller made up, at most 256 KiB of it."""
    text = to_json(value, field)
    if text is None:
        return None
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidValue(field, "holds lone surrogates, which are no text") from None
    if size > _JSON_BYTES_MAX:
        raise InvalidValue(field, f"{size} bytes of JSON, at most {_JSON_BYTES_MAX} are possible")
    return text


def from_json(text: str | None) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text) if text else {}
    return value


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """`base` with `changes` laid over it key by key; a None takes its key away."""
    if depth > _JSON_DEPTH_MAX:
        raise InvalidValue("key", f"mappings nest more than {_JSON_DEPTH_MAX} levels deep")
    result = dict(base)
    for key, value in changes.items():
        if not isinstance(key, str):
            raise InvalidValue("key", f"expected text, got {key!r}")
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value, depth + 1)
        else:
            result[key] = value
    return result


def to_datetime(wall_ns: int | None) -> datetime | None:
    """Unix nanoseconds as an aware datetime in UTC; None for None and 0, which stores keep where
    there is no time."""
    return to_moment(wall_ns) if wall_ns else None


def to_moment(wall_ns: int) -> datetime:
    """Unix nanoseconds as an aware datetime in UTC, cut to microseconds; 0 is 1970-01-01."""
    seconds, rest = divmod(wall_ns, NS)
    return datetime.fromtimestamp(seconds, timezone.utc) + timedelta(microseconds=rest // 1000)


_SECONDS_MAX = 9_200_000_000
"""Nanoseconds have 63 bits."""


def to_ns(moment: datetime | int | float, field: str) -> int:
    """An aware datetime or Unix seconds as Unix nanoseconds."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidValue(
                field, "a datetime without a time zone", remedy="datetime.now(timezone.utc)"
            )
        since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
        value = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    elif isinstance(moment, bool) or not isinstance(moment, (int, float)):
        raise InvalidValue(field, f"expected a datetime, got {type(moment).__name__}")
    elif not -_SECONDS_MAX < moment < _SECONDS_MAX:
        raise InvalidValue(field, f"{moment!r}", remedy="Unix seconds, years 1678 to 2261")
    else:
        value = int(moment * NS)
    if not -_SECONDS_MAX * NS < value < _SECONDS_MAX * NS:
        raise InvalidValue(field, f"{moment}", remedy="years 1678 to 2261")
    return value


def duration_ns(duration: timedelta | int | float, field: str) -> int:
    """A length of time, given as timedelta or seconds; not negative."""
    if isinstance(duration, timedelta):
        micro = (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
        value = micro * 1000
    elif isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise InvalidValue(field, f"expected seconds or a timedelta, got {duration!r}")
    elif not 0 <= duration < _SECONDS_MAX:
        raise InvalidValue(field, f"expected a length of time, got {duration!r}")
    else:
        value = int(duration * NS)
    if not 0 <= value < _SECONDS_MAX * NS:
        raise InvalidValue(field, f"expected a length of time, got {duration!r}")
    return value


def deadline_ns(
    when: datetime | timedelta | int | float | None, now_ns: int, field: str
) -> int | None:
    """A moment in the future: a datetime, or a timedelta or seconds from now."""
    if when is None:
        return None
    moment = to_ns(when, field) if isinstance(when, datetime) else now_ns + duration_ns(when, field)
    if moment >= _SECONDS_MAX * NS:
        raise InvalidValue(field, f"{when!r}", remedy="a moment before the year 2261")
    if moment <= now_ns:
        raise InvalidValue(field, "lies in the past", remedy="name a moment that is still to come")
    return moment


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message: `a, b, c and 5 more`."""
    every = sorted(names)
    shown = ", ".join(every[:most])
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown or "(none)"


def life_ns(duration: timedelta | int | float, field: str) -> int:
    """A length of time that is not nothing."""
    value = duration_ns(duration, field)
    if value == 0:
        raise InvalidValue(field, f"expected more than no time, got {duration!r}")
    return value
