"""Catalogs as Python sees them: the shipped ones to the number, views, effective values, reload."""

from __future__ import annotations

import pickle
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tenancy.catalog import Catalog, Effective, Origin, Plan, shipped
from tenancy.errors import CatalogError, UnknownPlan

KIB, MIB, GIB = 2**10, 2**20, 2**30
GB, TB = 10**9, 10**12


def windows(plan: Plan, action: str) -> dict[float, int]:
    return {window.window: window.limit for window in plan.rate_limits[action].windows}


def quotas(plan: Plan) -> dict[str, int | None]:
    return {name: grant.limit for name, grant in plan.quotas.items()}


# --------------------------------------------------------------- the shipped catalogs, row P5


@pytest.mark.parametrize(
    ("plan", "rates", "amounts"),
    [
        ("free", (10, 100, 500), (10, 10_000, 500, 100 * MIB)),
        ("starter", (50, 1_000, 10_000), (100, 100_000, 10_000, GIB)),
        ("professional", (100, 5_000, 50_000), (1_000, 1_000_000, 50_000, 10 * GIB)),
        ("enterprise", (500, 50_000, 1_000_000), (None, None, 1_000_000, 100 * GIB)),
    ],
)
def test_spreadsheet_gateway(plan: str, rates: tuple[int, ...], amounts: tuple[Any, ...]) -> None:
    catalog = Catalog.load("spreadsheet-gateway")
    got = catalog.plans[plan]
    assert windows(got, "requests") == dict(zip((60, 3_600, 86_400), rates, strict=True))
    names = ("spreadsheets", "rows_per_spreadsheet", "api_calls", "storage")
    assert quotas(got) == dict(zip(names, amounts, strict=True))
    assert got.price is None
    assert list(catalog.plans) == ["free", "starter", "professional", "enterprise"]
    assert [catalog.quotas[name].kind for name in names] == [
        "count", "per_object", "consumption", "size",
    ]  # fmt: skip
    assert catalog.quotas["api_calls"].period == "day"
    assert catalog.default_action == "requests"


@pytest.mark.parametrize(
    ("plan", "isolation", "stamps", "storage", "features"),
    [
        ("basic", "shared", 10_000, 10 * GB, {"core_features"}),
        ("professional", "shared", 100_000, 100 * GB, {"core_features", "advanced_analytics"}),
        (
            "enterprise",
            "database",
            1_000_000,
            TB,
            {"core_features", "advanced_analytics", "custom_integrations", "sla"},
        ),
        (
            "premium",
            "instance",
            None,
            None,
            {
                "core_features",
                "advanced_analytics",
                "custom_integrations",
                "sla",
                "white_label",
                "dedicated_support",
            },
        ),
    ],
)
def test_stamping_service(
    plan: str, isolation: str, stamps: int | None, storage: int | None, features: set[str]
) -> None:
    catalog = Catalog.load("stamping-service")
    got = catalog.plans[plan]
    assert got.isolation == isolation
    assert quotas(got) == {"stamps": stamps, "storage": storage}
    assert got.features == features
    assert got.price is None
    assert list(catalog.plans) == ["basic", "professional", "enterprise", "premium"]
    assert (catalog.quotas["stamps"].kind, catalog.quotas["stamps"].period) == (
        "consumption",
        "day",
    )


ORCHESTRATOR_FEATURES = [
    {"basic_orchestration"},
    {"custom_skills", "priority_support"},
    {"custom_agents", "compliance_tools"},
    {"sso", "dedicated_support", "sla", "audit_logs", "compliance_dashboards"},
]


@pytest.mark.parametrize(
    ("place", "plan", "price", "amounts", "requests", "spawns"),
    [
        (0, "free", Decimal(0), (1, 3, 100_000, GB, 2), 100, 10),
        (1, "starter", Decimal(29), (5, 10, 1_000_000, 10 * GB, 5), 500, 50),
        (2, "professional", Decimal(99), (25, 50, 5_000_000, 100 * GB, 15), 2_000, 200),
        (3, "enterprise", "custom", (None, None, None, None, 50), 10_000, 1_000),
    ],
)
def test_agent_orchestrator(
    place: int, plan: str, price: Any, amounts: tuple[Any, ...], requests: int, spawns: int
) -> None:
    catalog = Catalog.load("agent-orchestrator")
    got = catalog.plans[plan]
    assert got.price == price
    assert (got.currency, got.period) == ("USD", "month")
    names = ("users", "projects", "tokens", "storage", "agents")
    assert quotas(got) == dict(zip(names, amounts, strict=True))
    assert windows(got, "api_requests") == {60: requests}
    assert windows(got, "agent_spawns") == {60: spawns}
    assert got.features == set().union(*ORCHESTRATOR_FEATURES[: place + 1])
    assert got.all_features == (plan == "enterprise")
    assert got.isolation == ("schema" if plan == "enterprise" else "shared")
    assert list(catalog.plans) == ["free", "starter", "professional", "enterprise"]
    assert catalog.default_plan == "free"
    assert catalog.default_action == "api_requests"
    kinds = {name: quota.kind for name, quota in catalog.quotas.items()}
    assert kinds == dict(
        zip(names, ("count", "count", "consumption", "size", "concurrency"), strict=True)
    )
    assert catalog.quotas["tokens"].period == "month"


PLATFORM_FEATURES = [
    {"basic"},
    {"customPatterns", "auditLogs", "dataExport"},
    {"advancedAnalytics", "sso", "prioritySupport"},
    {"dedicatedSupport", "customIntegrations", "sla"},
]


@pytest.mark.parametrize(
    ("place", "plan", "price", "amounts", "rate", "days"),
    [
        (0, "free", Decimal(0), (3, 1_000, GB), 10, 7),
        (1, "starter", Decimal(99), (10, 10_000, 10 * GB), 50, 30),
        (2, "professional", Decimal(499), (50, 100_000, 100 * GB), 200, 90),
        (3, "enterprise", "custom", (None, None, None), None, 365),
    ],
)
def test_agent_platform(
    place: int, plan: str, price: Any, amounts: tuple[Any, ...], rate: int | None, days: int
) -> None:
    catalog = Catalog.load("agent-platform")
    got = catalog.plans[plan]
    assert got.price == price
    assert quotas(got) == dict(zip(("agents", "executions", "storage"), amounts, strict=True))
    assert windows(got, "executions") == ({60: rate} if rate else {})
    assert got.rate_limits["executions"].unlimited == (rate is None)
    assert got.retention_days == days
    assert got.features == set().union(*PLATFORM_FEATURES[: place + 1])
    assert catalog.quotas["executions"].period == "month"
    assert list(catalog.plans) == ["free", "starter", "professional", "enterprise"]


@pytest.mark.parametrize("name", shipped)
def test_shipped_catalogs_have_the_ready_roles(name: str) -> None:
    roles = Catalog.load(name).roles
    assert list(roles) == ["admin", "developer", "operator", "readonly"]
    assert roles["admin"].permissions == ("*:*",)
    assert roles["developer"].inherits == ("operator",)
    assert set(roles["developer"].permissions) == {
        *(f"metadata_stamp:{action}" for action in ("create", "read", "update", "delete")),
        *(f"api_key:{action}" for action in ("create", "read", "delete")),
    }
    assert roles["operator"].inherits == ("readonly",)
    assert set(roles["operator"].permissions) == {
        "metadata_stamp:create", "metadata_stamp:read", "system:read",
    }  # fmt: skip
    assert set(roles["readonly"].permissions) == {"metadata_stamp:read", "system:read"}


# ------------------------------------------------------------------------ loading and looking


SHOP = """
catalog: shop
version: 3
default_plan: free
features: [sso, audit]
quotas:
  users: {kind: count}
  storage: {kind: size}
  agents: {kind: concurrency, lease: 90s}
limits:
  per_address: {scope: ip, limit: 600/minute, on_full: allow}
roles:
  support: {permissions: ["ticket:*"], denies: ["ticket:delete"], inherits: [readonly]}
duties:
  - {name: pay, roles: [admin, support], at_most: 1, dynamic: true}
audit: {thresholds: {sampled: 0.025}, on_full: count}
plans:
  free:
    price: 29.90
    quotas: {users: 1, storage: 1.5 GiB, agents: {limit: 2, soft: true, grace: 1}}
    rate_limits:
      api: [10/s, {limit: 100, window: 60s, burst: 20}]
      default: 50/minute
  open: {features: all, rate_limits: {api: -1}}
"""


def test_everything_of_a_catalog_can_be_read() -> None:
    shop = Catalog.from_text(SHOP)
    assert (shop.name, shop.version, shop.currency) == ("shop", "3", "USD")
    assert shop.features == ("sso", "audit")
    assert shop.actions == ("api",)
    assert shop.quotas["agents"].lease == 90.0
    assert shop.quotas["users"].alerts == (80, 100)
    assert shop.quotas["storage"].unit == "bytes"
    address = shop.limits["per_address"]
    assert (address.scope, str(address), address.windows[0].on_full) == (
        "ip",
        "600/minute",
        "allow",
    )
    assert shop.roles["support"].denies == ("ticket:delete",)
    assert (shop.duties[0].name, shop.duties[0].at_most, shop.duties[0].dynamic) == ("pay", 1, True)
    free = shop.plans["free"]
    assert free.price == Decimal("29.90")
    assert str(free.price) == "29.90"
    assert free.quotas["storage"].limit == 3 * 2**29
    agents = free.quotas["agents"]
    assert (agents.limit, agents.soft, agents.grace, agents.unlimited) == (2, True, 1, False)
    second, minute = free.rate_limits["api"].windows
    assert (second.text, second.algorithm, second.worst_case) == ("10/second", "sliding_window", 10)
    assert (minute.algorithm, minute.burst, minute.worst_case) == ("token_bucket", 20, 120)
    assert str(free.default_limit) == "50/minute"
    assert shop.plans["open"].all_features
    assert shop.plans["open"].price is None
    assert repr(shop) == "<Catalog shop version 3: free, open>"
    audit = shop.audit
    assert (audit.refusals.mode, audit.key_use.mode, audit.on_full) == ("always", "never", "count")
    assert (audit.anonymous.mode, audit.anonymous.per_second) == ("per_second", 10)
    assert (audit.thresholds.mode, audit.thresholds.share) == ("sampled", Decimal("0.025"))


def test_catalogs_are_immutable_values() -> None:
    shop = Catalog.from_text(SHOP)
    with pytest.raises(TypeError):
        shop.plans["free"] = shop.plans["open"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        shop.plans["free"].title = "x"  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"Catalog\.load"):
        Catalog()
    again = Catalog.from_text(shop.to_json(), format="json")
    assert again == shop
    assert hash(again) == hash(shop)
    assert pickle.loads(pickle.dumps(shop)) == shop
    assert Catalog.load(shop) is shop


def test_files_are_read_by_their_ending_and_again_after_a_change(tmp_path: Path) -> None:
    file = tmp_path / "plans.yaml"
    file.write_text(SHOP, encoding="utf-8")
    first = Catalog.load(file)
    assert first.source == str(file)
    file.write_text(SHOP.replace("users: 1", "users: 2"), encoding="utf-8-sig")
    assert Catalog.load(str(file)).plans["free"].quotas["users"].limit == 2
    assert first.plans["free"].quotas["users"].limit == 1
    as_json = tmp_path / "plans.json"
    as_json.write_text(first.to_json(), encoding="utf-8")
    assert Catalog.load(as_json) == first


def test_python_objects_make_the_same_catalog() -> None:
    document = {
        "catalog": "c",
        "quotas": {"users": {"kind": "count"}},
        "plans": {"p": {"price": Decimal("9.50"), "quotas": {"users": 3}}},
    }
    catalog = Catalog.from_dict(document)
    assert catalog.plans["p"].price == Decimal("9.50")
    assert catalog.plans["p"].quotas["users"].limit == 3


# ---------------------------------------------------------------------------- effective values


def test_effective_values_say_where_they_come_from() -> None:
    shop = Catalog.from_text(SHOP)
    own = shop.effective(
        "free",
        {
            "quotas": {"users": 7},
            "rate_limits": {"api": "200/minute"},
            "features": {"sso": True},
            "retention_days": 30,
        },
    )
    assert own.plan == "free"
    assert own.quotas["users"].value.limit == 7
    assert own.quotas["users"].origin is Origin.OVERRIDE
    assert own.quotas["storage"].origin is Origin.PLAN
    assert str(own.rate_limits["api"].value) == "10/second, 200/minute"
    assert own.rate_limits["api"].origin is Origin.OVERRIDE
    assert own.features["sso"] == Effective(True, Origin.OVERRIDE)
    assert own.features["audit"] == Effective(False, Origin.ABSENT)
    assert own.retention_days == Effective(30, Origin.OVERRIDE)
    assert own.isolation == Effective("shared", Origin.ABSENT)
    assert own.default_limit.origin is Origin.PLAN
    assert str(Origin.DEFAULT) == "default"


def test_without_overrides_the_plan_is_effective() -> None:
    shop = Catalog.from_text(SHOP)
    assert shop.effective("free") == shop.effective("free", {})
    plan, own = shop.plans["free"], shop.effective("free")
    assert {name: each.value for name, each in own.quotas.items()} == plan.quotas
    assert {name: each.value for name, each in own.rate_limits.items()} == plan.rate_limits


def test_unknown_plans_and_wrong_overrides_are_told_apart() -> None:
    shop = Catalog.from_text(SHOP)
    with pytest.raises(UnknownPlan, match='did you mean "free"'):
        shop.effective("fre")
    with pytest.raises(UnknownPlan, match="there are free, open"):
        shop.effective("enterprise")
    with pytest.raises(CatalogError) as caught:
        shop.effective("free", {"quotas": {"user": 1}, "features": {"sso": "on"}})
    assert [problem.path for problem in caught.value.problems] == ["quotas.user", "features.sso"]
    assert 'did you mean "users"' in str(caught.value)
    with pytest.raises(CatalogError, match="float"):
        shop.effective("free", {"quotas": {"users": 1.0}})


# ------------------------------------------------------------------------- the documentation


def test_the_yaml_of_the_documentation_loads() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "catalog.md"
    text = page.read_text(encoding="utf-8")
    example, spellings, *_ = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    team = Catalog.from_text(example).plans["team"]
    assert str(team.rate_limits["api_requests"]) == "10/second, 500/minute"
    assert team.features == {"search", "sso"}
    assert (team.price, team.isolation, team.retention_days) == (Decimal("29.90"), "schema", 30)
    for spelling in spellings.splitlines():
        plan = f"catalog: c\nplans:\n  p:\n    rate_limits:\n      {spelling}\n"
        limit = Catalog.from_text(plan).plans["p"].rate_limits["api_requests"]
        assert str(limit) == "100/minute"


def test_personal_fields_are_named_by_the_catalog_and_none_without() -> None:
    plain = {"catalog": "c", "plans": {"free": {}}}
    assert Catalog.from_dict(plain).audit.personal == ()
    own = Catalog.from_dict({**plain, "audit": {"personal": ["user_agent", "ip", "email"]}})
    assert own.audit.personal == ("email", "ip", "user_agent")
    with pytest.raises(CatalogError, match=r"audit\.personal\[0\].*may be sealed"):
        Catalog.from_dict({**plain, "audit": {"personal": ["event_id"]}})
