"""A tenant's life: status machine, hooks, suspension, change of plan, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, FULL, START, START_NS, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy.errors import (
    HookRefused,
    IllegalTransition,
    InvalidValue,
    LegalHold,
    UnknownPlan,
    UnknownTenant,
)
from tenancy.stores.periods import period_bounds_ns
from tenancy.tenants import Tenant


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


# ------------------------------------------------------------------------------ status machine

STEPS = {
    "pending": {"trial", "active", "deleted"},
    "trial": {"active", "suspended", "churned", "deleted"},
    "active": {"suspended", "churned", "deleted"},
    "suspended": {"active", "churned", "deleted"},
    "churned": {"active", "deleted"},
    "deleted": {"suspended", "purged"},
    "purged": set(),
}
CALLS = {
    "suspend": ({"trial", "active"}, "suspended"),
    "resume": ({"suspended", "churned"}, "active"),
    "activate": ({"pending", "trial"}, "active"),
    "start_trial": (None, "trial"),
    "churn": (None, "churned"),
    "delete": (None, "deleted"),
    "restore": ({"deleted"}, "suspended"),
    "purge": (None, "purged"),
}


@settings(max_examples=20)
@given(
    first=st.sampled_from(["pending", "trial", "active"]),
    calls=st.lists(st.sampled_from(sorted(CALLS)), max_size=12),
)
def test_the_status_machine_against_a_model(
    tmp_path_factory: pytest.TempPathFactory, first: str, calls: list[str]
) -> None:
    with open_shop(tmp_path_factory.mktemp("shop")) as t:
        acme = t.tenants.create("Acme", slug="acme", status=first)
        status = first
        for call in calls:
            only, after = CALLS[call]
            legal = after in STEPS[status] and (only is None or status in only)
            if legal:
                assert getattr(t.tenants, call)(acme).status == after
                status = after
            else:
                with pytest.raises(IllegalTransition) as told:
                    getattr(t.tenants, call)(acme)
                assert set(told.value.allowed) == STEPS[status]
            assert t.tenants.get(acme).status == status
            assert bool(t.check(tenant=acme.id)) is (status in ("active", "trial"))
        kinds = [e.type for e in t.audit.search(acme.id, limit=100)] if status != "purged" else []
        if kinds:
            assert kinds.count("tenant_created") == 1


def test_hooks_run_around_a_step_and_may_refuse_it(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", slug="acme")
    seen: list[tuple[str, str]] = []
    t.tenants.on(
        "suspend",
        before=lambda x: seen.append(("before", x.status)),
        after=lambda x: seen.append(("after", x.status)),
    )
    t.tenants.on("stop_work", after=lambda x: seen.append(("stop_work", x.status)))
    t.tenants.suspend(acme)
    assert seen == [("before", "active"), ("stop_work", "suspended"), ("after", "suspended")]

    def never(tenant: Tenant) -> None:
        raise RuntimeError("not on a Friday")

    t.tenants.on("delete", before=never)
    with pytest.raises(HookRefused, match="not on a Friday"):
        t.tenants.delete(acme)
    assert t.tenants.get(acme).status == "suspended"
    t.tenants.on("resume", after=never)
    assert t.tenants.resume(acme).status == "active"  # logged, not undone
    with pytest.raises(InvalidValue, match="unknown step"):
        t.tenants.on("explode", after=never)


def test_suspension_stops_everything(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", slug="acme")
    _, secret = t.keys.create(acme, scopes=["ticket:read"])
    session = t.sessions.create(acme, "u1")
    lease = t.quotas.lease(acme, "agents")
    suspended = t.tenants.suspend(acme, "unpaid", by="operator:eve")
    assert (suspended.suspension_reason, suspended.suspended) == ("unpaid", START)
    assert t.check(api_key=secret).code == "SUSPENDED_TENANT"
    assert not t.check(session=session.id)
    assert len(t.sessions.list(acme)) == 0
    assert t.quotas.status(acme, "agents").used == 0
    assert not lease.renew()
    event = t.audit.search(acme, type="tenant_suspended")[0]
    assert (event.principal, event.context["reason"]) == ("operator:eve", "unpaid")
    t.tenants.resume(acme)
    assert t.check(api_key=secret)
    assert t.check(session=session.id).code == "INVALID_CREDENTIAL"


# ------------------------------------------------------------------------------ change of plan


def test_a_smaller_plan_reports_what_is_over_and_destroys_nothing(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", plan="pro")
    t.quotas.consume(acme, "projects", 7)
    t.quotas.consume(acme, "tokens", 50)
    change = t.tenants.change_plan(acme, "free")
    assert (change.before, change.after, change.scheduled) == ("pro", "free", False)
    assert change.over == ({"quota": "projects", "used": 7, "limit": 3},)
    status = t.quotas.status(acme, "projects")
    assert (status.used, status.limit, status.exceeded) == (7, 3, True)
    assert not t.quotas.consume(acme, "projects")
    with pytest.raises(UnknownPlan):
        t.tenants.change_plan(acme, "gold")


def test_a_change_for_the_period_end_waits_for_it(t: Tenancy, clock: _core.FakeClock) -> None:
    acme = t.tenants.create("Acme", plan="pro")
    change = t.tenants.change_plan(acme, "free", at="period_end")
    assert change.scheduled
    assert change.effective == datetime(2026, 2, 1, tzinfo=timezone.utc)
    clock.advance_ns(30 * DAY_NS)
    assert t.process_due() == 0
    assert t.check(tenant=acme.id).plan == "pro"
    clock.advance_ns(DAY_NS)
    assert t.process_due() == 1
    assert t.check(tenant=acme.id).plan == "free"
    assert t.process_due() == 0


def test_a_scheduled_change_can_be_cancelled_or_overtaken(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    acme = t.tenants.create("Acme", plan="pro")
    t.tenants.change_plan(acme, "free", at="period_end")
    assert t.tenants.cancel_plan_change(acme)
    assert not t.tenants.cancel_plan_change(acme)
    t.tenants.change_plan(acme, "free", at="period_end")
    t.tenants.change_plan(acme, "pro")
    clock.advance_ns(60 * DAY_NS)
    assert t.process_due() == 0
    assert t.tenants.get(acme).plan == "pro"


def test_what_cannot_be_done_when_due_stops_nothing_else(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    first, second = t.tenants.create("A", plan="pro"), t.tenants.create("B", plan="pro")

    def never(tenant: Tenant) -> None:
        if tenant.id == first.id:
            raise RuntimeError

    t.tenants.on("change_plan", before=never)
    for tenant in (first, second):
        t.tenants.change_plan(tenant, "free", at="period_end")
    clock.advance_ns(40 * DAY_NS)
    assert t.process_due() == 1
    assert [x.plan for x in t.tenants.list()] == ["pro", "free"]


def _month_end_slowly(now: datetime, start: datetime) -> datetime:
    """Go through the days one by one."""
    day = now.replace(hour=start.hour, minute=start.minute, second=0, microsecond=0)
    day -= timedelta(days=1)
    while True:
        tomorrow = day + timedelta(days=1)
        last = tomorrow.day == 1
        if day > now and (day.day == start.day or (last and day.day < start.day)):
            return day
        day = tomorrow


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(timezone.utc)),
    st.datetimes(datetime(2019, 1, 1), datetime(2020, 1, 1), timezones=st.just(timezone.utc)),
)
def test_month_ends_against_a_slow_model(now: datetime, start: datetime) -> None:
    start = start.replace(second=0, microsecond=0)
    now_ns = round(now.timestamp()) * 10**9
    now = datetime.fromtimestamp(now_ns // 10**9, timezone.utc)
    got = period_bounds_ns(now_ns, round(start.timestamp()) * 10**9, None)[1]
    assert datetime.fromtimestamp(got / 1e9, timezone.utc) == _month_end_slowly(now, start)


def test_month_ends_follow_the_tenants_time_zone() -> None:
    end = period_bounds_ns(START_NS, 0, "America/New_York")[1]  # there it is still December
    assert datetime.fromtimestamp(end / 1e9, timezone.utc) == datetime(
        2026, 1, 1, 5, tzinfo=timezone.utc
    )


# ------------------------------------------------------------------------------------ deletion


def test_deletion_schedules_the_purge(t: Tenancy, clock: _core.FakeClock) -> None:
    free, pro = t.tenants.create("Free"), t.tenants.create("Pro", plan="pro")
    own = t.tenants.create("Own")
    assert t.tenants.delete(free).purge_after == START + timedelta(days=30)
    assert t.tenants.delete(pro).purge_after == START + timedelta(days=7)
    assert t.tenants.delete(own, purge_after=timedelta(days=2)).purge_after == START + timedelta(
        days=2
    )
    clock.advance_ns(3 * DAY_NS)
    assert t.process_due() == 1
    assert t.tenants.get(own.id).status == "purged"
    assert t.tenants.restore(free).status == "suspended"
    clock.advance_ns(40 * DAY_NS)
    t.process_due()
    assert t.tenants.get(free).status == "suspended"
    assert t.tenants.get(pro.id).status == "purged"


def test_a_purge_erases_names_and_credentials(t: Tenancy, tmp_path: Path) -> None:
    acme = t.tenants.create("Acme Secret Name", **{**FULL, "slug": "acme-slug"})
    _, secret = t.keys.create(acme, scopes=["ticket:read"])
    t.roles.assign(acme, "u1", "agent")
    t.resources.register(acme, "doc", "d1")
    t.tenants.delete(acme)
    purged = t.tenants.purge(acme)
    assert (purged.name, purged.slug, purged.external_id, purged.owner) == ("", "", None, {})
    assert t.check(api_key=secret).code == "INVALID_CREDENTIAL"
    with pytest.raises(UnknownTenant):
        t.tenants.get("acme-slug")
    with t._host.read() as connection:
        for table in ("api_keys", "assignments", "resources", "sessions", "schedule"):
            count = connection.exec_driver_sql(
                f"SELECT count(*) FROM {table} WHERE tenant_id = ?", (acme.id,)
            )
            assert count.scalar() == 0, table
    assert t.tenants.create("Acme", slug="acme-slug", external_id="crm-1")
    assert [x.id for x in t.tenants.list(status="purged")] == [acme.id]
    assert acme.id not in {x.id for x in t.tenants.list()}


def test_a_legal_hold_stops_the_purge(t: Tenancy, clock: _core.FakeClock) -> None:
    acme = t.tenants.create("Acme")
    t.tenants.delete(acme)
    assert t.tenants.legal_hold(acme).legal_hold
    with pytest.raises(LegalHold, match="legal_hold"):
        t.tenants.purge(acme)
    clock.advance_ns(100 * DAY_NS)
    assert t.process_due() == 0
    t.tenants.legal_hold(acme, False)
    assert t.process_due() == 1
    assert t.tenants.get(acme.id).status == "purged"
