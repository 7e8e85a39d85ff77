"""Numbers of documents: a series for each template and year, each counting from 1 without gaps."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from .._text import check_text, shown
from ..errors import InvalidValue

__all__ = ["Numbering", "numbering_of"]

_DIGITS = re.compile(r"(0[1-9]\d?d)?")
_NUMBER_MAX = 64


@dataclass(frozen=True, slots=True)
class Numbering:
    """A template such as ``INV-{year}-{number:06d}``.

    It may name ``year`` and ``month`` of the day of issue (UTC), each of which begins a new series,
    and must name ``number`` once.
    """

    template: str

    def __post_init__(self) -> None:
        check_text(self.template, "numbering", _NUMBER_MAX)
        remedy = 'such as "INV-{year}-{number:06d}"'
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise InvalidValue(
                "numbering", f"{shown(self.template)}: {error}", remedy=remedy
            ) from None
        names = [name for _, name, _, _ in parts if name is not None]
        for _, name, spec, conversion in parts:
            if name is None:
                continue
            good = name in ("year", "month", "number") and not conversion
            if not good or not _DIGITS.fullmatch(spec or ""):
                raise InvalidValue("numbering", f"{shown(name)} is not known", remedy=remedy)
        if names.count("number") != 1:
            raise InvalidValue("numbering", "it must name {number} once", remedy=remedy)
        if "month" in names and "year" not in names:
            raise InvalidValue("numbering", "with {month} it must name {year} as well")

    def series(self, moment: datetime) -> str:
        """The series of documents that are issued at this moment (in UTC)."""
        before, _, after = self.template.partition("{number")
        _, _, after = after.partition("}")
        year, month = moment.year, moment.month
        return "#".join(part.format(year=year, month=month) for part in (before, after))

    def number(self, moment: datetime, ordinal: int) -> str:
        return self.template.format(year=moment.year, month=moment.month, number=ordinal)


@lru_cache(maxsize=64)
def numbering_of(template: str) -> Numbering:
    """The same for many documents."""
    return Numbering(template)
