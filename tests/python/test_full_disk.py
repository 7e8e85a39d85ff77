"""A full disk: changes fail with a clear error and leave nothing half-done, decisions go on."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenancy import Catalog, Tenancy
from tenancy.errors import StateUnavailable, StoreNotWritable

CATALOG = {
    "catalog": "small",
    "version": "1",
    "format": 1,
    "default_plan": "basic",
    "quotas": {"tokens": {"kind": "consumption", "period": "month"}},
    "plans": {"basic": {"quotas": {"tokens": 1000}, "rate_limits": {"work": "2/hour"}}},
}


class Disk:
    """A file system of 48 MB: half of it is taken in advance by log and counters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"

    def fill(self) -> None:
        """Also what was freed meanwhile, by files that were cut or replaced."""
        with self._junk.open("ab", 0) as junk, pytest.raises(OSError, match="No space left"):
            junk.writelines(itertools.repeat(b"x" * 4096))

    def free(self) -> None:
        self._junk.unlink()

    @property
    def _junk(self) -> Path:
        return self.root / "junk"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(root)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system takes root")
    yield Disk(root)
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def test_a_full_disk_refuses_changes_and_keeps_deciding(disk: Disk) -> None:
    with Tenancy.open(disk.data, catalog=Catalog.from_dict(CATALOG)) as t:
        acme = t.tenants.create("Acme", slug="acme")
        _, secret = t.keys.create(acme, scopes=["a:b"])
        quiet = t.tenants.create("Quiet", slug="quiet")
        _, unused = t.keys.create(quiet, scopes=["a:b"])
        assert t.check(api_key=secret, action="work", consume={"tokens": 1})
        disk.fill()
        for change in (
            lambda: t.tenants.create("Beta", slug="beta"),
            lambda: t.tenants.create_many([{"name": f"n{i}", "slug": f"n{i}"} for i in range(500)]),
            lambda: t.tenants.suspend(acme, "unpaid"),
            lambda: t.keys.create(acme, scopes=["a:b"]),
        ):
            disk.fill()
            with pytest.raises(StoreNotWritable, match=r"the disk is full.*free some space"):
                change()
        # What is counted lies in space that was taken at the beginning.
        assert t.check(api_key=secret, action="work", consume={"tokens": 1})
        refused = t.check(api_key=secret, action="work", consume={"tokens": 1})
        assert refused.code == "RATE_LIMIT_EXCEEDED"
        assert t.quotas.status(acme, "tokens").used == 2
        # A counter that needs room is not guessed: refused until there is some.
        assert t.check(api_key=unused, consume={"tokens": 1}).code in {
            "STATE_UNAVAILABLE",
            "ALLOWED",
        }
        disk.free()
        assert t.check(api_key=unused, consume={"tokens": 1})
        t.tenants.create("Gamma", slug="gamma")
        t.tenants.suspend(acme, "unpaid")
        assert t.check(api_key=secret).code == "SUSPENDED_TENANT"
    with Tenancy.open(disk.data) as again:
        assert [tenant.slug for tenant in again.tenants.list()] == ["acme", "quiet", "gamma"]
        assert again.quotas.status(acme, "tokens").used == 2


def test_a_directory_is_not_made_on_a_full_disk_and_is_once_there_is_room(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StoreNotWritable, match="free some space"):
        Tenancy.open(disk.data, catalog=Catalog.from_dict(CATALOG))
    disk.free()
    with Tenancy.open(disk.data, catalog=Catalog.from_dict(CATALOG)) as t:
        assert t.tenants.create("Acme", slug="acme").slug == "acme"


def test_usage_on_a_full_disk_is_refused_or_kept_and_counts_once(disk: Disk) -> None:
    """What was acknowledged is there afterwards; what was refused counts once when it comes again.
    The table of events is made from the log, and catches up when there is room."""
    catalog = Catalog.from_dict({**CATALOG, "metrics": {"calls": {}}})
    with Tenancy.open(disk.data, catalog=catalog) as t:
        acme = t.tenants.create("Acme", slug="acme")
        t.usage.record(acme, "calls", 1, id="first")
        assert t.usage.aggregate(acme, "calls").quantity == 1
        disk.fill()
        refused, errors = [], []
        number = 0
        while not refused:
            try:
                t.usage.record(acme, "calls", 1, id=f"e{number}", properties={"note": "x" * 15_000})
            except (StoreNotWritable, StateUnavailable) as error:
                refused.append(number)
                errors.append(str(error))
            number += 1
        # Not after half a minute, and with the reason.
        assert "No space left on device" in errors[0]
        assert "does not keep up" not in errors[0]
        with pytest.raises(StoreNotWritable):
            t.usage.aggregate(acme, "calls")  # rather than a sum that lacks something
        disk.free()
        for late in refused:
            t.usage.record(acme, "calls", 1, id=f"e{late}", properties={"note": "x" * 15_000})
        found = t.usage.aggregate(acme, "calls")
        assert found.quantity == found.events == 1 + number
    with Tenancy.open(disk.data) as again:
        assert again.usage.aggregate(acme, "calls").events == 1 + number


def test_facts_that_cannot_be_moved_wait_and_whoever_asks_hears_why(disk: Disk) -> None:
    with Tenancy.open(disk.data, catalog=Catalog.from_dict(CATALOG), background=False) as t:
        acme = t.tenants.create("Acme", slug="acme")
        t._host.facts.settle()
        fact = {"context": {"note": "x" * 15_000}}
        ids = [t.audit.append("data_read", tenant=acme, **fact) for _ in range(400)]
        disk.fill()

        def until_nothing_is_left() -> None:
            for _ in range(20):  # of what was allocated ahead
                t._host.facts.settle()
                ids.extend(t.audit.append("data_read", tenant=acme, **fact) for _ in range(100))
                disk.fill()

        with pytest.raises(StoreNotWritable, match=r"No space left on device|the disk is full"):
            until_nothing_is_left()
        disk.free()
        t._host.facts.settle()
        found = {event.id for event in t.audit.search(acme, type="data_read", limit=1000)}
        assert found >= set(ids[:400])
        assert t.audit.verify()
