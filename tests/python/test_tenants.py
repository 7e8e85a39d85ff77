"""Tenants: records, updates, lists, settings, the catalog they must fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_support import FULL, START, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy._text import check_email, merged, slugify
from tenancy.errors import (
    AlreadyExists,
    CatalogError,
    InvalidValue,
    ModelNotAllowed,
    RegionNotAllowed,
    UnknownPlan,
    UnknownTenant,
)
from tenancy.tenants import Tenant


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


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
