"""The usage of purged tenants: deleted, kept as long as it must be, certified."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from invoice_support import CATALOG, DAY, JANUARY, go_to, make_buyer, open_billing
from tenancy import Tenancy
from tenancy.errors import Conflict, LegalHold, NotFound, UnknownTenant
from tenancy.testing import FakeClock
from tenancy.usage import UsagePurgeCertificate

FEBRUARY = datetime(2026, 2, 1, tzinfo=timezone.utc)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(JANUARY)


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Iterator[Tenancy]:
    with open_billing(tmp_path, clock, background=False) as opened:
        yield opened


def used(t: Tenancy, slug: str = "acme") -> Any:
    tenant = make_buyer(t, slug)
    for i in range(3):
        t.usage.record(tenant, "calls", i + 1, id=f"secret-{slug}-{i}")
    t.usage.record(tenant, "storage", 5)
    t.usage.correct(tenant, f"secret-{slug}-0", quantity=7)
    return tenant


def gone(t: Tenancy, tenant: Any) -> Any:
    t.tenants.delete(tenant)
    return t.tenants.purge(tenant)


def stored(t: Tenancy) -> dict[str, int]:
    """How many rows of usage there are, by tenant."""
    query = "SELECT name, count(*) FROM events JOIN names ON names.id = tenant GROUP BY name"
    with sqlite3.connect(t.path / "usage.sqlite") as connection:
        return dict(connection.execute(query).fetchall())


def test_a_purge_takes_the_usage_and_says_what_it_left(t: Tenancy, clock: FakeClock) -> None:
    acme, beta = used(t), used(t, "beta")
    assert t.usage.aggregate(acme, "calls").quantity == 12
    gone(t, acme)
    assert stored(t) == {beta.id: 5}
    certificate = t.usage.purged(acme.id)
    assert (certificate.events, certificate.metrics) == (5, {"calls": 4, "storage": 1})
    assert (certificate.records, certificate.retention_days) == (5, 2555)
    assert certificate.first is not None
    assert "until its retention of 2555 days" in certificate.not_deleted[0]
    (fact,) = t.audit.search(acme, action="usage:purge")
    assert fact.context == {"events": 5, "sha256": certificate.sha256}
    assert t.usage.purge(acme.id) == certificate  # again: the same
    assert t.audit.verify()


def test_nothing_of_it_is_in_the_files_beside_the_log(t: Tenancy, clock: FakeClock) -> None:
    acme = used(t)
    t.usage.aggregate(acme, "calls")
    gone(t, acme)
    for name in ("usage.sqlite", "usage.sqlite-wal"):
        path = t.path / name
        assert not path.exists() or b"secret-acme" not in path.read_bytes()


def test_a_table_that_is_made_anew_does_not_have_it_again(t: Tenancy, clock: FakeClock) -> None:
    acme, beta = used(t), used(t, "beta")
    gone(t, acme)
    (t.path / "usage.sqlite").unlink()
    assert t.usage.aggregate(beta, "calls").quantity == 12
    assert stored(t) == {beta.id: 5}


def test_another_process_s_table_follows(t: Tenancy, clock: FakeClock) -> None:
    """The purge is in the store before the table is changed; whoever is next changes it."""
    acme, beta = used(t), used(t, "beta")
    t.usage.aggregate(beta, "calls")
    t.tenants.delete(acme)
    with pytest.MonkeyPatch.context() as patch:  # killed between the two
        patch.setattr(t.usage, "_forget", lambda: None)
        t.tenants.purge(acme)
        assert t.usage.purged(acme.id).events == 5
    assert stored(t)[acme.id] == 5
    with open_billing(t.path.parent, clock, catalog=None, background=False) as other:
        other.usage.record(beta, "calls", 1)
        other.usage.aggregate(beta, "calls")
    assert stored(t) == {beta.id: 6}


def test_usage_stays_as_long_as_an_invoice_can_be_disputed(t: Tenancy, clock: FakeClock) -> None:
    acme = used(t)
    go_to(clock, FEBRUARY)
    invoice = t.billing.issue(acme, "2026-01")
    gone(t, acme)
    assert stored(t) == {acme.id: 5}
    with pytest.raises(NotFound, match="was not deleted"):
        t.usage.purged(acme.id)
    with pytest.raises(Conflict, match=r"disputed until 2026-05-02.*dispute"):
        t.usage.purge(acme.id)
    go_to(clock, FEBRUARY + 89 * DAY)
    assert t.usage.purge_due() == 0
    clock.advance(86_400)
    t.usage.job()
    assert stored(t) == {}
    assert t.usage.purged(acme.id).events == 5
    # The invoice stands on its quantities, which stay.
    assert t.billing.recompute(invoice.number) == invoice.bill
    assert t.billing.verify()


def test_without_a_dispute_period_it_goes_at_once(tmp_path: Path, clock: FakeClock) -> None:
    catalog = {**CATALOG, "billing": {"dispute": 0}}
    with open_billing(tmp_path, clock, catalog=catalog, background=False) as t:
        acme = used(t)
        go_to(clock, FEBRUARY)
        t.billing.issue(acme, "2026-01")
        gone(t, acme)
        assert stored(t) == {}


@pytest.mark.parametrize("everything", [False, True])
def test_a_legal_hold_keeps_it(t: Tenancy, clock: FakeClock, everything: bool) -> None:
    acme = used(t)
    t.usage.aggregate(acme, "calls")
    hold = t.audit.holds.place(tenant=None if everything else acme, reason="Lawsuit")
    gone(t, acme)
    assert stored(t) == {acme.id: 5}
    with pytest.raises(LegalHold, match="under hold"):
        t.usage.purge(acme.id)
    t.audit.holds.release(hold)
    assert t.usage.purge_due() == 1
    assert stored(t) == {}


def test_who_is_not_purged_keeps_its_usage(t: Tenancy, clock: FakeClock) -> None:
    acme = used(t)
    with pytest.raises(Conflict, match=r"is active.*tenants\.purge"):
        t.usage.purge(acme)
    t.tenants.delete(acme)
    with pytest.raises(Conflict, match="is deleted"):
        t.usage.purge(acme)
    for nobody in ("nobody", "", "\0", 3):
        with pytest.raises(UnknownTenant):
            t.usage.purge(nobody)  # type: ignore[arg-type]
    assert t.usage.purge_due() == 0


def test_who_never_used_anything_leaves_no_fact(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    gone(t, acme)
    certificate = t.usage.purged(acme.id)
    assert (certificate.events, certificate.first, certificate.records) == (0, None, 0)
    assert len(t.audit.search(acme, action="usage:purge")) == 0


def test_a_certificate_reads_back_as_it_was(t: Tenancy, clock: FakeClock) -> None:
    acme = used(t)
    gone(t, acme)
    first = t.usage.purged(acme.id)
    with open_billing(t.path.parent, clock, catalog=None, background=False) as other:
        again = other.usage.purged(acme.id)
    assert isinstance(again, UsagePurgeCertificate)
    assert (again, again.sha256) == (first, first.sha256)
