"""Tenants: records, status machine, hooks, change of plan, deletion, settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, START, START_NS, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy._text import check_email, merged, slugify
from tenancy.errors import (
    AlreadyExists,
    CatalogError,
    HookRefused,
    IllegalTransition,
    InvalidValue,
    LegalHold,
    ModelNotAllowed,
    RegionNotAllowed,
    UnknownPlan,
    UnknownTenant,
)
from tenancy.stores.periods import month_end_ns
from tenancy.tenants import Tenant


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


FULL: dict[str, Any] = {
    "slug": "acme",
    "plan": "pro",
    "external_id": "crm-1",
    "owner": {"user_id": "u1", "email": "ann@acme.example", "name": "Ann"},
    "contacts": [{"name": "Bob", "email": "bob@acme.example", "role": "billing"}],
    "company": {"name": "Acme Ltd", "size": 12},
    "settings": {
        "default_model": "small",
        "allowed_models": ["small", "large"],
        "compliance": ["gdpr"],
        "data_residency": "eu",
        "channels": {"slack": {"enabled": True, "credentials": "env:SLACK"}},
        "backend": {"url": "https://acme.internal", "timeout": 30},
    },
    "overrides": {"quotas": {"projects": 20}, "features": {"sso": False}},
    "billing": {"customer_id": "cus_1", "email": "pay@acme.example", "currency": "EUR"},
    "metadata": {"tier": "gold"},
    "time_zone": "Europe/Vienna",
}


# ------------------------------------------------------------------------------------ records


def test_a_record_keeps_everything_it_was_given(t: Tenancy) -> None:
    made = t.tenants.create("Acme", **FULL)
    found = t.tenants.get(made.id)
    assert found == made
    for field, value in FULL.items():
        got = getattr(found, field)
        assert (list(got) if field == "contacts" else got) == value
    assert found.created == found.updated == found.anchor == START
    assert found.id.startswith("ten_")
    assert found.served


def test_a_tenant_is_found_by_id_external_id_and_slug(t: Tenancy) -> None:
    made = t.tenants.create("Acme", slug="acme", external_id="7f0e")
    for reference in (made, made.id, "7f0e", "acme"):
        assert t.tenants.get(reference) == made
    for reference in (made.id, "7f0e", "acme"):
        assert t.check(tenant=reference).tenant == made.id
    assert t.tenants.by_slug("acme") == made
    with pytest.raises(UnknownTenant):
        t.tenants.by_slug("7f0e")


@pytest.mark.parametrize("reference", ["", "nobody", "ten_", "acme\x00", "\ud800", "x" * 10_000])
def test_unknown_tenants_are_an_error(t: Tenancy, reference: str) -> None:
    with pytest.raises(UnknownTenant):
        t.tenants.get(reference)


def test_slugs_are_made_from_names_and_unique(t: Tenancy) -> None:
    assert [t.tenants.create("Café Zürich & Co.").slug for _ in range(3)] == [
        "cafe-zurich-co",
        "cafe-zurich-co-2",
        "cafe-zurich-co-3",
    ]
    assert t.tenants.create("株式会社").slug == "tenant"
    assert len(t.tenants.create("x" * 255).slug) <= 50


@given(st.text())
def test_a_made_slug_is_url_safe_or_empty(name: str) -> None:
    slug = slugify(name)
    assert len(slug) <= 50
    assert slug.strip("-") == slug
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in slug)


@pytest.mark.parametrize(
    "slug", ["Acme", "a b", "-a", "a-", "", "ä", "a" * 51, "a/b", "a\n", "..", "a%20b"]
)
def test_slugs_that_are_not_url_safe_are_refused(t: Tenancy, slug: str) -> None:
    with pytest.raises(InvalidValue, match="slug"):
        t.tenants.create("Acme", slug=slug)


def test_one_name_leads_to_one_tenant(t: Tenancy) -> None:
    first = t.tenants.create("A", slug="a", external_id="x-1")
    for clash in (
        {"slug": "a"},
        {"slug": "b", "external_id": "x-1"},
        {"slug": "x-1"},
        {"slug": "c", "external_id": "a"},
        {"slug": "d", "external_id": first.id},
    ):
        with pytest.raises(AlreadyExists):
            t.tenants.create("B", **clash)
    assert len(t.tenants.list()) == 1
    second = t.tenants.create("B", slug="b")
    with pytest.raises(AlreadyExists):
        t.tenants.update(second, slug="x-1")


@pytest.mark.parametrize(
    ("field", "value", "about"),
    [
        ("owner", {"email": "nobody"}, "owner.email"),
        ("owner", {"mail": "a@b.co"}, "owner.mail"),
        ("contacts", [{"email": "a@b@c"}], "contacts.0.email"),
        ("contacts", {"email": "a@b.co"}, "contacts"),
        ("billing", {"email": "a b@c.de"}, "billing.email"),
        ("billing", {"currency": "euro"}, "billing.currency"),
        ("settings", {"data_residency": "mars"}, "settings.data_residency"),
        ("settings", {"allowed_models": "gpt"}, "settings.allowed_models"),
        ("settings", {"default_model": "b", "allowed_models": ["a"]}, "settings.default_model"),
        ("settings", {"channels": {"slack": {"enabled": "yes"}}}, "settings.channels.slack"),
        ("settings", {"channels": {"slack": {"credentials": "xoxb 1"}}}, "credentials"),
        ("settings", {"x": {1, 2}}, "JSON"),
        ("settings", {"x": float("nan")}, "JSON"),
        ("overrides", {"quota": {}}, "overrides.quota"),
        ("time_zone", "Mars/Olympus", "time_zone"),
        ("external_id", "", "external_id"),
        ("status", "suspended", "status"),
        ("name", "x" * 256, "name"),
        ("name", "a\x07", "name"),
    ],
)
def test_what_is_wrong_is_refused_by_name(t: Tenancy, field: str, value: Any, about: str) -> None:
    with pytest.raises(InvalidValue, match=about.replace(".", r"\.")):
        t.tenants.create(**{"name": "Acme", "slug": "acme", field: value})
    assert len(t.tenants.list()) == 0


def test_overrides_must_fit_the_plan(t: Tenancy) -> None:
    with pytest.raises(CatalogError, match="projets"):
        t.tenants.create("Acme", overrides={"quotas": {"projets": 5}})
    acme = t.tenants.create("Acme", overrides={"quotas": {"projects": 5}})
    with pytest.raises(CatalogError):
        t.tenants.update(acme, overrides={"rate_limits": {"api_requests": "often"}})
    assert t.quotas.status(acme, "projects").limit == 5


@pytest.mark.parametrize(
    "email", ["a@b.co", "first.last+tag@sub.example.org", "x@xn--bcher-kva.example", "o'hara@e.ie"]
)
def test_good_email_addresses(email: str) -> None:
    assert check_email(email, "email") == email


@pytest.mark.parametrize(
    "email",
    [
        *("", "a", "@b.co", "a@", "a@b", "a@b..co", ".a@b.co", "a.@b.co", "a@-b.co", "a@b.co\n"),
        *("a b@c.de", "a" * 65 + "@b.co", "a@" + "b" * 250 + ".co", "a@b.123", "a@@b.co"),
        "a@b.co,c@d.co",
    ],
)
def test_bad_email_addresses(email: str) -> None:
    with pytest.raises(InvalidValue):
        check_email(email, "email")


def test_an_unknown_plan_names_those_there_are(t: Tenancy) -> None:
    with pytest.raises(UnknownPlan, match="free, pro"):
        t.tenants.create("Acme", plan="gold")


# -------------------------------------------------------------------------------------- update


def test_an_update_merges_key_by_key(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", **FULL)
    after = t.tenants.update(
        acme,
        settings={"backend": {"timeout": 5}, "compliance": None, "x": 1},
        metadata={"tier": None},
        owner={"name": "Anna"},
    )
    assert after.settings["backend"] == {"url": "https://acme.internal", "timeout": 5}
    assert "compliance" not in after.settings
    assert after.settings["default_model"] == "small"
    assert after.metadata == {}
    assert after.owner == {"user_id": "u1", "email": "ann@acme.example", "name": "Anna"}


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


@given(OBJECT, OBJECT)
def test_merging_against_its_definition(base: dict[str, Any], changes: dict[str, Any]) -> None:
    result = merged(base, changes)
    for key in base.keys() | changes.keys():
        if key not in changes:
            assert result[key] == base[key]
        elif changes[key] is None:
            assert key not in result
        elif isinstance(changes[key], dict):
            old = base.get(key)
            assert result[key] == merged(old if isinstance(old, dict) else {}, changes[key])
        else:
            assert result[key] == changes[key]


def test_a_refused_update_changes_nothing(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", **FULL)
    revision = t.revision
    with pytest.raises(InvalidValue):
        t.tenants.update(acme, name="New", settings={"data_residency": "mars"})
    assert t.tenants.get(acme) == acme
    assert t.revision == revision


def test_references_can_be_taken_away(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", slug="acme", external_id="x", time_zone="Asia/Tokyo")
    after = t.tenants.update(acme, external_id=None, time_zone=None, slug="acme-2")
    assert (after.external_id, after.time_zone, after.slug) == (None, None, "acme-2")
    assert not t.check(tenant="x")
    assert not t.check(tenant="acme")
    assert t.check(tenant="acme-2")


# --------------------------------------------------------------------------------------- lists


def test_lists_are_filtered_and_paged(t: Tenancy) -> None:
    for number in range(25):
        t.tenants.create(f"Org {number:02}", plan="pro" if number % 5 == 0 else "free")
    t.tenants.suspend("org-03")
    t.tenants.create("100% _Odd_", slug="odd", owner={"email": "odd@example.org"})
    seen: list[Tenant] = []
    cursor = None
    while True:
        page = t.tenants.list(limit=10, cursor=cursor)
        seen += page
        cursor = page.cursor
        if cursor is None:
            break
    assert [x.name for x in seen] == [f"Org {n:02}" for n in range(25)] + ["100% _Odd_"]
    assert len(t.tenants.list(plan="pro")) == 5
    assert [x.slug for x in t.tenants.list(status="suspended")] == ["org-03"]
    assert [x.slug for x in t.tenants.list(text="ORG 07")] == ["org-07"]
    assert [x.slug for x in t.tenants.list(text="0% _o")] == ["odd"]
    assert [x.slug for x in t.tenants.list(text="ODD@example")] == ["odd"]
    assert not t.tenants.list(text="_")[1:]
    with pytest.raises(InvalidValue, match="cursor"):
        t.tenants.list(cursor="!")
    with pytest.raises(InvalidValue, match="limit"):
        t.tenants.list(limit=0)


def test_many_at_once_all_or_none(t: Tenancy) -> None:
    rows = [{"name": f"Org {n}", "slug": f"org-{n}", "plan": "pro"} for n in range(2000)]
    ids = t.tenants.create_many(rows)
    assert len(set(ids)) == 2000
    assert t.check(tenant="org-1999").tenant == ids[-1]
    with pytest.raises(AlreadyExists):
        t.tenants.create_many([{"name": "New", "slug": "new"}, {"name": "X", "slug": "org-7"}])
    assert not t.check(tenant="new")
    with pytest.raises(UnknownPlan):
        t.tenants.create_many([{"name": "New", "slug": "new", "plan": "gold"}])
    with pytest.raises(CatalogError):
        t.tenants.create_many([{"name": "N", "slug": "n", "overrides": {"quotas": {"no": 1}}}])
    assert t.tenants.create_many([]) == ()


def test_the_default_tenant_is_made_once(t: Tenancy) -> None:
    first = t.tenants.ensure_default()
    assert (first.name, first.slug) == ("Default", "default")
    assert t.tenants.ensure_default() == first


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
    got = month_end_ns(now_ns, round(start.timestamp()) * 10**9, None)
    assert datetime.fromtimestamp(got / 1e9, timezone.utc) == _month_end_slowly(now, start)


def test_month_ends_follow_the_tenants_time_zone() -> None:
    end = month_end_ns(START_NS, 0, "America/New_York")  # there it is still December
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


# ------------------------------------------------------------------------------------ settings


def test_settings_are_enforced(t: Tenancy) -> None:
    acme, free = t.tenants.create("Acme", **FULL), t.tenants.create("Free")
    assert t.tenants.choose_model(acme) == "small"
    assert t.tenants.choose_model(acme, "large") == "large"
    with pytest.raises(ModelNotAllowed, match="large, small"):
        t.tenants.choose_model(acme, "huge")
    assert t.tenants.choose_model(free, "anything") == "anything"
    assert t.tenants.choose_model(free) is None
    t.tenants.require_region(acme, "eu")
    t.tenants.require_region(free, "us")
    with pytest.raises(RegionNotAllowed, match="'eu'"):
        t.tenants.require_region(acme, "us")


def test_effective_values_say_where_they_come_from(t: Tenancy) -> None:
    acme = t.tenants.create("Acme", plan="pro", overrides={"quotas": {"projects": 20}})
    effective = t.tenants.effective(acme)
    assert (effective.quotas["projects"].value.limit, effective.quotas["projects"].origin) == (
        20,
        "override",
    )
    assert effective.quotas["tokens"].origin == "plan"


# -------------------------------------------------------------------------------------- catalog


def test_a_catalog_that_does_not_fit_is_refused_and_nothing_changes(t: Tenancy) -> None:
    from store_support import CATALOG
    from tenancy import Catalog

    acme = t.tenants.create("Acme", plan="pro", overrides={"quotas": {"projects": 20}})
    before = t.revision
    without_pro = CATALOG.replace("  pro:", "  gold:")
    with pytest.raises(InvalidValue, match="1 tenants have the plan 'pro'"):
        t.reload_catalog(Catalog.from_text(without_pro))
    without_projects = CATALOG.replace("projects: {kind: count}", "things: {kind: count}")
    without_projects = without_projects.replace("projects: 3", "things: 3")
    without_projects = without_projects.replace("projects: 10", "things: 10")
    with pytest.raises(InvalidValue, match="projects"):
        t.reload_catalog(Catalog.from_text(without_projects))
    assert t.revision == before
    assert t.catalog.plans["pro"].quotas["projects"].limit == 10
    bigger = Catalog.from_text(CATALOG.replace("tokens: 1000", "tokens: 5000"))
    assert t.reload_catalog(bigger)
    assert not t.reload_catalog(bigger)
    assert t.quotas.status(acme, "tokens").limit == 5000
