"""A store whose log has small segments, and what tests of retention do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store_support import CATALOG, DAY_NS, open_shop, write_catalog
from tenancy import Tenancy, _core
from tenancy._log_check import verify as verify_again

AUDIT = "audit: {retention: {access: 30, other: 20}, archive: %s}\n"
TEXT = "x" * 20_000

_open_log = _core.Log


def small_log(path: str, **options: Any) -> _core.Log:
    """With segments of 64 KiB: three of the events that these tests write."""
    return _open_log(path, segment_bytes=1 << 16, **options)


def opened(place: Path, clock: Any, archive: str | None = "none", **options: Any) -> Tenancy:
    audit = AUDIT % archive if archive else AUDIT.replace(", archive: %s", "")
    catalog = write_catalog(place, CATALOG + audit, name="kept.yaml")
    t = open_shop(place, clock, catalog=catalog, background=False, **options)
    if "acme" not in {tenant.slug for tenant in t.tenants.list()}:
        for name in ("Acme", "Beta", "Corp"):
            t.tenants.create(name)
    return t


def write(t: Tenancy, count: int, tenant: str = "acme") -> list[str]:
    """Events of the class `access`, in the log when this returns."""
    ids = [
        t.audit.append("data_read", tenant=tenant, principal="ann", context={"text": TEXT})
        for _ in range(count)
    ]
    t._host.facts.settle()
    return ids


def days(clock: _core.FakeClock, count: float) -> None:
    clock.advance_ns(int(count * DAY_NS))


def whole(t: Tenancy, *anchors: str) -> None:
    """Both verifiers find nothing wrong, and the table is the log's."""
    report = t.audit.verify(anchors=anchors)
    assert report.status in (0, 4), report.findings
    assert report.projection == "same"
    status, findings = verify_again(t.path / "log", t.path / "keys" / "log.verify", anchors)
    assert status == (0 if report.status == 0 else 4), findings
    other = {"silent", "unanchored"}
    assert {f.code for f in findings} - other == {f["code"] for f in report.findings} - other - {
        "key_on_host"
    }
