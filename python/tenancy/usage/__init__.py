"""Metering: what tenants used, as events that count once and sums that are exact.

>>> t.usage.record(acme, "tokens", 1234, id="request-1")
>>> t.usage.aggregate(acme, "tokens").quantity
Decimal('1234')

What is metered is defined in the catalog; docs/metering.md describes it.
"""

from __future__ import annotations

from ..stores.usage_purges import UsagePurgeCertificate
from ._records import (
    Closed,
    Recorded,
    Rejected,
    Usage,
    UsageEvent,
    UsagePeriod,
    UsageReport,
    UsageRow,
)
from ._service import UsageMeter
from ._snapshot import UsageSnapshot

__all__ = [
    "Closed",
    "Recorded",
    "Rejected",
    "Usage",
    "UsageEvent",
    "UsageMeter",
    "UsagePeriod",
    "UsagePurgeCertificate",
    "UsageReport",
    "UsageRow",
    "UsageSnapshot",
]
