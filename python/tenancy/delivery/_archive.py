"""What makes a PDF one for archives (PDF/A-3, ISO 19005-3): its metadata and its colours."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from .._text import visible

__all__ = ["FACTURX_NAMESPACE", "output_intent", "xmp"]

FACTURX_NAMESPACE = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"

_PROPERTIES = (
    ("DocumentFileName", "name of the file with the data of the invoice"),
    ("DocumentType", "kind of the document"),
    ("Version", "version of the schema of the data"),
    ("ConformanceLevel", "profile that the data conform to"),
)


def output_intent(pdf: Any) -> None:
    """Says that colours are sRGB, by a profile inside the file."""
    from fpdf.enums import OutputIntentSubType
    from fpdf.output import PDFICCProfile
    from PIL import ImageCms

    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 of the header (ICC.1, 7.2) are when the profile was made: never the same twice.
    made[24:36] = bytes((0x07, 0xD0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))
    pdf.add_output_intent(
        OutputIntentSubType.PDFA,
        "sRGB IEC61966-2.1",
        "sRGB",
        "http://www.color.org",
        PDFICCProfile(contents=bytes(made), n=3, alternate="DeviceRGB"),
        "sRGB IEC61966-2.1",
    )


def xmp(*, title: str, author: str, made: datetime, producer: str, attached: str | None) -> str:
    """The metadata of the file: XMP with the identification of PDF/A-3b, and of Factur-X."""
    when = made.isoformat(timespec="seconds")
    parts = [
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/"'
        ' xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">',
        "<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>",
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{_text(title)}</rdf:li></rdf:Alt>'
        "</dc:title>",
        f"<dc:creator><rdf:Seq><rdf:li>{_text(author)}</rdf:li></rdf:Seq></dc:creator>",
        "<dc:format>application/pdf</dc:format>",
        f"<xmp:CreateDate>{when}</xmp:CreateDate><xmp:ModifyDate>{when}</xmp:ModifyDate>",
        f"<xmp:MetadataDate>{when}</xmp:MetadataDate>",
        f"<xmp:CreatorTool>tenancy</xmp:CreatorTool><pdf:Producer>{_text(producer)}</pdf:Producer>",
        "</rdf:Description>",
    ]
    if attached is not None:
        parts += [*_facturx(attached), *_extension()]
    return "\n".join([*parts, "</rdf:RDF>", "</x:xmpmeta>"])


def _facturx(name: str) -> list[str]:
    values = (name, "INVOICE", "1.0", "EN 16931")
    return [
        f'<rdf:Description rdf:about="" xmlns:fx="{FACTURX_NAMESPACE}">',
        *(
            f"<fx:{property_}>{_text(value)}</fx:{property_}>"
            for (property_, _), value in zip(_PROPERTIES, values, strict=True)
        ),
        "</rdf:Description>",
    ]


def _extension() -> list[str]:
    """PDF/A asks that properties outside its own list are described in the file."""
    properties = [
        '<rdf:li rdf:parseType="Resource">'
        f"<pdfaProperty:name>{name}</pdfaProperty:name>"
        "<pdfaProperty:valueType>Text</pdfaProperty:valueType>"
        "<pdfaProperty:category>external</pdfaProperty:category>"
        f"<pdfaProperty:description>{meaning}</pdfaProperty:description></rdf:li>"
        for name, meaning in _PROPERTIES
    ]
    return [
        '<rdf:Description rdf:about=""'
        ' xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"'
        ' xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"'
        ' xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">',
        '<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">',
        "<pdfaSchema:schema>Factur-X</pdfaSchema:schema>",
        f"<pdfaSchema:namespaceURI>{FACTURX_NAMESPACE}</pdfaSchema:namespaceURI>",
        "<pdfaSchema:prefix>fx</pdfaSchema:prefix>",
        "<pdfaSchema:property><rdf:Seq>",
        *properties,
        "</rdf:Seq></pdfaSchema:property>",
        "</rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>",
    ]


def _text(text: str) -> str:
    return escape(visible(text))
