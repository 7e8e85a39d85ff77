"""Fonts of a PDF, and whether they have every letter of a text.

No font is shipped. DejaVu Sans is taken from the system (Latin, Greek, Cyrillic, Hebrew, Arabic and
more); fonts for other scripts are named by the caller. A letter that no font has is an error: an
invoice with a box in a name is worth less than none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .._text import listed, shown
from ..errors import ExtraMissing, InvalidValue

__all__ = ["FAMILY", "close_fonts", "load_fonts", "need_shaping"]

FAMILY = "Document"

_DIRECTORIES = (
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/usr/share/fonts/TTF",
    "/usr/local/share/fonts/dejavu",
)
_FILES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_JOINED = ("R", "AL")
_JOINED_SCRIPTS = (
    "DEVANAGARI",
    "BENGALI",
    "GURMUKHI",
    "GUJARATI",
    "ORIYA",
    "TAMIL",
    "TELUGU",
    "KANNADA",
    "MALAYALAM",
    "SINHALA",
    "THAI",
    "LAO",
    "TIBETAN",
    "MYANMAR",
    "KHMER",
)


def load_fonts(pdf: Any, fonts: Sequence[str | PathLike[str]], texts: Iterable[str]) -> None:
    """Gives the PDF its fonts: DejaVu Sans of the system, and `fonts` for letters that it lacks.

    Raises `InvalidValue` for a file that is no font and for letters that none has.
    """
    needed = frozenset("".join(texts)) - {"\n", " "}
    system = _system()
    paths = [Path(one) for one in fonts]
    for path in paths:
        _check_font(path)
    if system is not None:
        first: dict[str, Path] = system
    elif paths:
        first = {"": paths[0], "B": paths[0]}
    else:
        raise InvalidValue(
            "fonts",
            "this system has no DejaVu Sans",
            remedy="install fonts-dejavu-core, or name a TrueType file: fonts=['…/Font.ttf']",
        )
    for style, path in first.items():
        pdf.add_font(FAMILY, style, path)
    for i, path in enumerate(paths):
        for style in _FILES:
            pdf.add_font(f"{FAMILY}{i}", style, path)
    # The family itself as well: its bold has fewer letters than its regular.
    families = [f"{FAMILY}{i}" for i in range(len(paths))]
    pdf.set_fallback_fonts([*families, FAMILY], exact_match=False)
    have = frozenset().union(*(font.cmap for font in pdf.fonts.values()))
    missing = sorted(letter for letter in needed if ord(letter) not in have)
    if missing:
        names = [f"{one} U+{ord(one):04X} {unicodedata.name(one, '')}".rstrip() for one in missing]
        raise InvalidValue(
            "fonts",
            f"no font has {listed(names, 5)}",
            remedy="name a TrueType or OpenType file that has them: fonts=['…/NotoSansSC.ttf']",
        )


def _system() -> dict[str, Path] | None:
    for directory in map(Path, _DIRECTORIES):
        found = {style: directory / name for style, name in _FILES.items()}
        if all(path.is_file() for path in found.values()):
            return found
    return None


def _check_font(path: Path) -> None:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped, unused-ignore]

    try:
        with path.open("rb") as file:
            TTFont(file, lazy=True).getBestCmap()
    except Exception as error:  # fontTools raises whatever a damaged file leads it to
        raise InvalidValue(
            "fonts", f"{shown(str(path))} cannot be read as a font: {type(error).__name__}"
        ) from None


def close_fonts(pdf: Any) -> None:
    """The files of the fonts, which stay open where no PDF came of it."""
    for font in pdf.fonts.values():
        font.close()


def need_shaping(texts: Iterable[str]) -> bool:
    """Whether letters join, stack or run from right to left. Needs uharfbuzz then."""
    for letter in frozenset("".join(texts)):
        if letter.isascii():
            continue
        if unicodedata.bidirectional(letter) in _JOINED:
            break
        if unicodedata.name(letter, "").startswith(_JOINED_SCRIPTS):
            break
    else:
        return False
    try:
        import uharfbuzz  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        raise ExtraMissing("einvoice", "uharfbuzz") from None
    return True
