"""The standards a report can be about, by the names that callers use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .._text import listed, shown
from ..errors import InvalidValue
from ._controls import Standard
from ._gdpr import GDPR
from ._hipaa import HIPAA
from ._pci_dss import PCI_DSS
from ._soc2 import SOC2

__all__ = ["STANDARDS", "find_standard"]

STANDARDS: Mapping[str, Standard] = MappingProxyType(
    {standard.key: standard for standard in (SOC2, HIPAA, GDPR, PCI_DSS)}
)
"""`soc2`, `hipaa`, `gdpr`, `pci-dss`."""


def find_standard(name: str) -> Standard:
    standard = STANDARDS.get(name) if isinstance(name, str) else None
    if standard is None:
        raise InvalidValue("standard", shown(name), remedy=f"one of {listed(STANDARDS)}")
    return standard
