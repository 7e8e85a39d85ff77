"""What is scheduled for tenants, as the background work does it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store_support import DAY_NS, make_clock, open_shop, write_catalog
from tenancy import Tenancy, _core
from tenancy.errors import InvalidValue


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


def test_an_item_that_fails_is_tried_again_later_and_holds_up_no_other(
    t: Tenancy, clock: _core.FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = t.tenants.create("Stuck", plan="free")
    fine = t.tenants.create("Fine", plan="free")
    tries: list[int] = []

    def refuse(tenant: Any) -> None:
        if tenant.id == stuck.id and len(tries) < 4:
            tries.append(clock.mono_ns())
            raise RuntimeError("not yet")

    t.tenants.on("change_plan", before=refuse)
    for tenant in (stuck, fine):
        t.tenants.change_plan(tenant, "pro", at="period_end")
    clock.advance_ns(31 * DAY_NS)
    with caplog.at_level(logging.ERROR, "tenancy"):
        t.background.run_due()
    assert t.tenants.get(fine).plan == "pro"
    (problem,) = t.health().problems
    assert f"change_plan of tenant {stuck.id}, due since 2026-02-01 00:00:00+00:00" in problem
    assert "failed 1 times: HookRefused" in problem
    for _ in range(60):
        clock.advance_ns(1_000_000_000)
        t.background.run_due()
    assert [(x - tries[0]) // 1_000_000_000 for x in tries] == [0, 5, 15, 35]
    assert t.tenants.get(stuck).plan == "free"
    clock.advance_ns(20_000_000_000)
    t.background.run_due()
    assert t.tenants.get(stuck).plan == "pro"
    assert t.health()


@pytest.mark.parametrize("what", ["called off", "moved", "done"])
def test_an_item_that_was_overtaken_while_it_was_looked_at_is_left_alone(
    t: Tenancy, clock: _core.FakeClock, what: str
) -> None:
    acme = t.tenants.create("Acme", plan="free")
    t.tenants.change_plan(acme, "pro", at="period_end")
    clock.advance_ns(31 * DAY_NS)
    (item,) = t.tenants.due_items()
    if what == "called off":
        t.tenants.cancel_plan_change(acme)
    elif what == "moved":
        t.tenants.change_plan(acme, "pro", at="period_end")
    else:
        assert t.tenants.process_item(item)
        t.tenants.change_plan(acme, "free")
    assert not t.tenants.process_item(item)
    assert t.tenants.get(acme).plan == "free"


def test_a_purge_that_was_overtaken_by_a_restore_and_a_new_deletion_waits(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    acme = t.tenants.create("Acme", plan="pro")
    t.tenants.delete(acme)
    clock.advance_ns(8 * DAY_NS)
    (item,) = t.tenants.due_items()
    t.tenants.restore(acme)
    t.tenants.delete(acme)
    assert not t.tenants.process_item(item)
    assert t.tenants.get(acme).status == "deleted"


def test_an_item_of_a_newer_release_is_left_to_it(t: Tenancy, clock: _core.FakeClock) -> None:
    acme = t.tenants.create("Acme", plan="free")
    with t._host.database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO schedule (tenant_id, kind, due_ns, created_by) VALUES (?, 'sing', 1, 'x')",
            (acme.id,),
        )
        connection.commit()
    assert t.background.run_due()
    assert t.process_due() == 0
    assert t.health()
    assert [item.kind for item in t.tenants.due_items()] == ["sing"]


def test_a_catalog_without_a_scheduled_plan_is_refused(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme", plan="free")
    t.tenants.change_plan(acme, "pro", at="period_end")
    text = (tmp_path / "shop.yaml").read_text().split("  pro:\n")[0]
    smaller = write_catalog(tmp_path, text, "smaller.yaml")
    with pytest.raises(InvalidValue, match=r"is to get the plan 'pro'.*cancel_plan_change"):
        t.reload_catalog(smaller)
    t.tenants.cancel_plan_change(acme)
    assert t.reload_catalog(smaller)
