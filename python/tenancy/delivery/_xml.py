"""XML as a tree of values, written with the namespaces of Cross Industry Invoice.

The standard library's writer keeps prefixes in a table that the whole process shares; here they are
written as they stand in the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

__all__ = ["NAMESPACES", "Element", "document", "optional"]

NAMESPACES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}

# What XML 1.0 (2.2) has no way to write, not even as a reference.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Element:
    """A name, attributes, and either text or children; what is None is not there."""

    __slots__ = ("_attributes", "_parts", "_tag")

    def __init__(self, tag: str, *parts: Element | str | None, **attributes: str) -> None:
        self._tag = tag
        self._parts = tuple(part for part in parts if part is not None)
        self._attributes = attributes

    def lines(self, depth: int) -> Iterator[str]:
        indent = "  " * depth
        opening = self._tag + "".join(
            f" {name}={quoteattr(_writable(value))}" for name, value in self._attributes.items()
        )
        if not self._parts:
            yield f"{indent}<{opening}/>"
        elif isinstance(self._parts[0], str):
            text = escape(_writable(self._parts[0]))
            yield f"{indent}<{opening}>{text}</{self._tag}>"
        else:
            yield f"{indent}<{opening}>"
            for part in self._parts:
                assert isinstance(part, Element)
                yield from part.lines(depth + 1)
            yield f"{indent}</{self._tag}>"


def optional(tag: str, text: str | None) -> Element | None:
    """The element, if there is a text for it: an empty one is an error of EN 16931."""
    return Element(tag, text) if text and text.strip() else None


def document(*parts: Element) -> bytes:
    """The whole of it, in UTF-8."""
    names = {f"xmlns:{prefix}": name for prefix, name in NAMESPACES.items()}
    root = Element("rsm:CrossIndustryInvoice", *parts, **names)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', *root.lines(0)]
    return ("\n".join(lines) + "\n").encode()


def _writable(text: str) -> str:
    return _UNWRITABLE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
