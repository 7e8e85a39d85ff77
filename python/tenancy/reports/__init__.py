"""Evidence for SOC 2, HIPAA, GDPR and PCI DSS out of the audit facts of one tenant.

>>> report = t.audit.report("acme", "pci-dss", since, until)    # doctest: +SKIP
>>> report.control("10.2.1.4").count                            # doctest: +SKIP
>>> report.save("acme.pdf")                                     # doctest: +SKIP

A report names for each control the query that was run, how many events it found, which of them a
reviewer has to look at, and what the engine cannot know. HTML and PDF need the extra `reports`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

from .. import _core
from ..audit import Audit
from ..stores.records import Tenant
from ..stores.twins import twin
from ..tenants import Tenants
from ._build import build, check_range, check_rows
from ._controls import Control, Standard
from ._query import Query
from ._report import FORMATS, Outcome, Report, Source
from ._standards import STANDARDS, find_standard
from ._state import RETENTION_DAYS, Chain, Check, Retention, chain_of

__all__ = [
    "FORMATS",
    "RETENTION_DAYS",
    "STANDARDS",
    "Chain",
    "Check",
    "Control",
    "Outcome",
    "Query",
    "Report",
    "ReportingAudit",
    "Retention",
    "Source",
    "Standard",
]


class ReportingAudit(Audit):
    """`Tenancy.audit`: facts, and reports about them."""

    def report(
        self,
        tenant: Tenant | str,
        standard: str,
        since: datetime,
        until: datetime,
        *,
        rows: int = 20,
        by: str | None = None,
        key: str | os.PathLike[str] | None = None,
        anchors: Sequence[str] = (),
    ) -> Report:
        """Evidence for `standard` (`soc2`, `hipaa`, `gdpr`, `pci-dss`): `since` ≤ time < `until`.

        Counts are exact; of each control the newest `rows` events are shown (0 to 1,000), and as
        many exceptions. That a report was made is itself a fact, `audit:report`, in the name of
        `by`. The whole log of the host is verified for it where there is one: `key` is the file of
        the verification key if it was moved off the host, `anchors` are checkpoints kept elsewhere.

        Raises `InvalidValue` for another standard, times without a zone and an empty range.
        """
        chosen = find_standard(standard)
        start, end = check_range(since, until)
        check_rows(rows)
        record = Tenants(self._host).get(tenant)
        self.append(
            "data_export",
            tenant=record,
            action="audit:report",
            resource="audit",
            context={
                "standard": chosen.key,
                "since": start.isoformat(),
                "until": end.isoformat(),
            },
            principal=by,
        )
        return build(
            self._host,
            self,
            chosen,
            record,
            start,
            end,
            rows=rows,
            version=_core.__version__,
            chain=lambda: chain_of(self, key, tuple(anchors)),
        )

    areport = twin(report)
