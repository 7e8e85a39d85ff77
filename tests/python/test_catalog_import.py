"""Plans in other systems' spellings."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.catalog import ImportedPlans, import_plans
from tenancy.errors import CatalogError


def test_camel_case_limits_with_windows_in_milliseconds() -> None:
    result = import_plans(
        json.loads("""{
            "plans": {
                "free": {"maxUsers": 5, "maxProjects": 3, "price": 0, "features": {"sso": false},
                         "rateLimit": {"maxRequests": 100, "windowMs": 60000}},
                "pro": {"maxUsers": -1, "maxProjects": null, "price": 29.9,
                        "features": {"sso": true},
                        "rateLimit": {"maxRequests": 2000, "windowMs": 60000}}
            }
        }""")
    )
    catalog = result.catalog()
    free, pro = catalog.plans["free"], catalog.plans["pro"]
    assert free.quotas["users"].limit == 5
    assert pro.quotas["users"].unlimited
    assert pro.quotas["projects"].unlimited
    assert str(free.rate_limits["requests"]) == "100/minute"
    assert str(pro.rate_limits["requests"]) == "2000/minute"
    assert pro.price == Decimal("29.9")
    assert pro.features == {"sso"}
    assert free.features == frozenset()
    assert not result.skipped
    assert ("plans.free.maxUsers", "plans.free.quotas.users", 5) in [
        (each.source, each.target, each.value) for each in result.mapped
    ]


def test_a_list_of_plans_with_limits_per_period() -> None:
    catalog = import_plans(
        [
            {
                "id": "Basic Plan",
                "name": "Basic",
                "priceMonthly": "$9",
                "limits": {
                    "requestsPerMinute": 10,
                    "requestsPerHour": 100,
                    "requestsPerDay": 500,
                    "apiCallsPerDay": 500,
                    "tokensPerMonth": 100_000,
                    "maxStorageGB": 1,
                    "uploadLimitMiB": 7,
                    "maxRowsPerSpreadsheet": 10_000,
                    "maxConcurrentAgents": 2,
                    "monthlyExecutions": 9,
                },
                "retentionDays": 30,
                "isolationLevel": "schema-level",
            },
            {"id": "Top", "price": "Contact us", "features": "*"},
        ]
    ).catalog()
    basic = catalog.plans["basic_plan"]
    assert (basic.title, basic.price, basic.retention_days) == ("Basic", Decimal(9), 30)
    assert basic.isolation == "schema"
    assert str(basic.rate_limits["requests"]) == "10/minute, 100/hour, 500/day"
    assert {name: grant.limit for name, grant in basic.quotas.items()} == {
        "api_calls": 500,
        "tokens": 100_000,
        "storage": 10**9,
        "upload": 7 * 2**20,
        "rows_per_spreadsheet": 10_000,
        "concurrent_agents": 2,
        "executions": 9,
    }
    kinds = {name: (quota.kind, quota.period) for name, quota in catalog.quotas.items()}
    assert kinds["api_calls"] == ("consumption", "day")
    assert kinds["executions"] == ("consumption", "month")
    assert kinds["storage"] == ("size", None)
    assert kinds["rows_per_spreadsheet"] == ("per_object", None)
    assert kinds["concurrent_agents"] == ("concurrency", None)
    assert catalog.plans["top"].price == "custom"


def test_what_is_not_understood_is_reported_and_left_out() -> None:
    result = import_plans(
        {
            "p": {
                "maxUsers": "many",
                "color": "red",
                "price": "cheap",
                "isolation": "moon",
                "rateLimits": {
                    "api": {"max": 5, "windowMs": 0},
                    "uploads": 3,
                    "x": {"max": 0, "windowMs": 9},
                },
                "features": 3,
                "maxSeats": 1.5,
            },
            "q": 3,
        }
    )
    assert {each.path for each in result.skipped} == {
        "p.maxUsers",
        "p.color",
        "p.price",
        "p.isolation",
        "p.rateLimits.api.window_ms",
        "p.rateLimits.uploads",
        "p.rateLimits.x",
        "p.features",
        "p.maxSeats",
        "q",
    }
    assert result.document["plans"] == {"p": {}}
    assert result.catalog().plans["p"].quotas == {}


@pytest.mark.parametrize("document", [None, 3, "plans", [], {}, {"plans": {}}, [1, 2]])
def test_without_plans_there_is_nothing_to_import(document: Any) -> None:
    with pytest.raises(CatalogError, match="expected plans"):
        import_plans(document)


keys = st.sampled_from(
    ["maxUsers", "requestsPerMinute", "windowMs", "max", "limit", "features", "price",
     "rateLimits", "limits", "storageGB", "apiCallsPerDay", "isolation", "name",
     "retentionDays", "dailyTokens",
     "é", "", "1", "per_day"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=5), max_size=3))
def test_any_document_is_imported_or_refused(document: dict[str, Any]) -> None:
    try:
        result = import_plans(document)
    except CatalogError:
        return
    assert isinstance(result, ImportedPlans)
    # What was understood is always a valid catalog.
    assert set(result.catalog().plans) == set(result.document["plans"])
