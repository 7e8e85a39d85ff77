"""What the tests of archives share: a store with some facts, and what an archive says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit_support import log_rows, open_live
from tenancy import Tenancy
from tenancy.audit import AuditEvent, check_archive
from tenancy.stores.audit_events import CHAINS, event_of_log
from tenancy.stores.audit_log import AuditLog

FORMATS = ("parquet", "jsonl")


def filled(directory: Path, count: int = 6) -> Tenancy:
    t = open_live(directory)
    acme = t.tenants.create("Acme", slug="acme", plan="free")
    add(t, acme.id, count)
    return t


def add(t: Tenancy, tenant: str, count: int) -> None:
    for i in range(count):
        t.audit.append(
            "data_read" if i % 2 else "login",
            tenant=tenant,
            principal=f"user {i}",
            resource="report",
            resource_id=str(i),
            context={"ip": "192.0.2.7", "number": i, "share": 0.5, "né": ["ü", None, 2**60]},
        )


def log_of(t: Tenancy) -> AuditLog:
    t._host.facts.settle()
    return t._host.facts.log


def codes(url: str, key: str | None = None, **options: Any) -> list[str]:
    return [f["code"] for f in check_archive(url, public_key=key, **options).findings]


def in_log(t: Tenancy) -> dict[str, AuditEvent]:
    events = [event_of_log(row) for c in CHAINS for row in log_rows(t.path, c)]
    return {event.id: event for event in events}
