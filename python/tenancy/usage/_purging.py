"""Deleting the usage of tenants that were purged."""

from __future__ import annotations

import logging
import sqlite3
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

from .._text import NS
from ..errors import TenancyError
from ..stores.host import Host
from ..stores.records import Tenant
from ..stores.twins import twin
from ..stores.usage_log import UsageLog
from ..stores.usage_projection import UsageProjection
from ..stores.usage_purges import UsagePurgeCertificate, UsagePurges

__all__ = ["Purging"]

_log = logging.getLogger("tenancy")

LOOK_EVERY_NS = 60 * NS


class Purging(ABC):
    """Base of `UsageMeter`."""

    _host: Host
    _log: UsageLog
    _projection: UsageProjection
    _purges: UsagePurges
    _looked_ns = 0

    @abstractmethod
    def _reading(self) -> AbstractContextManager[sqlite3.Cursor]:
        """The table of events, brought up to the log."""

    def purge(self, tenant: Tenant | str, *, by: str | None = None) -> UsagePurgeCertificate:
        """Delete the usage events of a tenant that was purged, by its id.

        It happens by itself when a tenant is purged, or later when the catalog's
        `billing: {dispute: …}` has passed since its newest invoice and no legal hold stands. The
        log keeps its records until their retention ends; the certificate says so. Again it gives
        the same certificate. Raises `Conflict` for a tenant that was not purged or may still
        dispute an invoice, `LegalHold`, `UnknownTenant`.
        """
        tenant_id = self._host.kept_id(tenant)
        with self._reading() as cursor, self._host.write(by) as change:
            if not self._purges.known(change, tenant_id):
                self._purges.check(tenant_id)
                self._purges.certify(change, cursor, tenant_id)
        self._forget()
        return self._purges.certificate(tenant_id)

    def purged(self, tenant: Tenant | str) -> UsagePurgeCertificate:
        """The certificate that a tenant's usage was deleted. Raises `NotFound`, `UnknownTenant`."""
        return self._purges.certificate(self._host.kept_id(tenant))

    def purge_due(self, _tenant: Any = None) -> int:
        """Do what `purge` does for all tenants for whom its time has come; returns how many."""
        done = 0
        for tenant_id in self._purges.due():
            try:
                self.purge(tenant_id, by="system")
                done += 1
            except TenancyError:  # noqa: PERF203 - one that fails holds up no other
                _log.exception("the usage of purged tenant %s cannot be deleted", tenant_id)
        return done

    # ------------------------------------------------------------------------------ inside

    def _tend_purges(self) -> None:
        """Of the background work: a look each minute."""
        now_ns = self._host.clock.wall_ns()
        if abs(now_ns - self._looked_ns) >= LOOK_EVERY_NS:
            self.purge_due()
            self._looked_ns = now_ns

    def _forget(self) -> None:
        with self._host.database.operation():
            self._projection.catch_up(self._log, self._log.readable())

    apurge = twin(purge)
    apurged = twin(purged)
    apurge_due = twin(purge_due)
