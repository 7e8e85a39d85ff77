"""Effective values against a small obvious model, and the JSON Schema against the parser."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

from tenancy.catalog import Catalog, Entitlements, schema, shipped
from tenancy.errors import CatalogError

FEATURES = ("sso", "audit", "export")
QUOTAS = {
    "users": {"kind": "count"},
    "tokens": {"kind": "consumption", "period": "day"},
    "storage": {"kind": "size"},
}
ACTIONS = ("api", "spawn", "login")
PLANS = ("a", "b", "c", "d")
LENGTHS = (1, 10, 60, 3600)


# ---------------------------------------------------------------------------------- the model


@dataclass
class Change:
    """What a plan or an override says, before it is spelled."""

    quotas: dict[str, int | None] = field(default_factory=dict)
    limits: dict[str, tuple[bool, dict[int, int | None]]] = field(default_factory=dict)
    """Action or "default" → (drop the others, window length → limit or None for unlimited)."""
    features: dict[str, bool] = field(default_factory=dict)
    all_features: bool = False


@dataclass
class Model:
    """name → (value, origin)."""

    quotas: dict[str, tuple[int | None, str]]
    limits: dict[str, tuple[dict[int, int], str]]
    default: tuple[dict[int, int], str]
    features: dict[str, tuple[bool, str]]


def empty() -> Model:
    return Model(
        {},
        {action: ({}, "absent") for action in ACTIONS},
        ({}, "absent"),
        dict.fromkeys(FEATURES, (False, "absent")),
    )


def merged(windows: dict[int, int], said: tuple[bool, dict[int, int | None]]) -> dict[int, int]:
    drop, changes = said
    both: dict[int, int | None] = {**({} if drop else windows), **changes}
    return {length: limit for length, limit in both.items() if limit is not None}


def changed(model: Model, change: Change, origin: str) -> Model:
    model = copy.deepcopy(model)
    for name, amount in change.quotas.items():
        model.quotas[name] = (amount, origin)
    if "default" in change.limits:
        model.default = (merged(model.default[0], change.limits["default"]), origin)
        for action, (_, before) in model.limits.items():
            if before in ("absent", "default"):
                carried = "override" if origin == "override" else "default"
                model.limits[action] = (model.default[0], carried)
    for action, said in change.limits.items():
        if action != "default":
            model.limits[action] = (merged(model.limits[action][0], said), origin)
    if change.all_features:
        model.features = dict.fromkeys(FEATURES, (True, origin))
    for feature, on in change.features.items():
        model.features[feature] = (on, origin)
    return model


def seen(own: Entitlements) -> Model:
    def windows(limit: Any) -> dict[int, int]:
        return {round(window.window): window.limit for window in limit.windows}

    return Model(
        {name: (each.value.limit, str(each.origin)) for name, each in own.quotas.items()},
        {name: (windows(each.value), str(each.origin)) for name, each in own.rate_limits.items()},
        (windows(own.default_limit.value), str(own.default_limit.origin)),
        {name: (each.value, str(each.origin)) for name, each in own.features.items()},
    )


# -------------------------------------------------------------------------------- its spelling


amounts = st.none() | st.integers(0, 10**18)
limits = st.tuples(
    st.booleans(),
    st.dictionaries(st.sampled_from(LENGTHS), st.none() | st.integers(1, 10_000), max_size=3),
)
changes = st.builds(
    Change,
    st.dictionaries(st.sampled_from(sorted(QUOTAS)), amounts),
    st.dictionaries(st.sampled_from((*ACTIONS, "default")), limits),
    st.dictionaries(st.sampled_from(FEATURES), st.booleans()),
    st.booleans(),
)


def spelled_amount(amount: int | None, draw: Any) -> Any:
    if amount is None:
        return draw(st.sampled_from(["unlimited", -1, {"limit": "unlimited"}]))
    return draw(st.sampled_from([amount, {"limit": amount}]))


def spelled_window(length: int, limit: int | None, draw: Any) -> Any:
    unit = draw(st.sampled_from([f"{length}s", f"{length} seconds", f"{length * 1000}ms"]))
    if limit is None:
        return {"limit": draw(st.sampled_from([-1, "unlimited"])), "window": unit}
    mapping = {"limit": limit, "window": unit}
    return draw(st.sampled_from([f"{limit}/{unit}", f"{limit} per {unit}", mapping]))


def spelled_limit(said: tuple[bool, dict[int, int | None]], draw: Any) -> Any:
    drop, windows = said
    if not windows:
        return draw(st.sampled_from(["unlimited", -1, {"limit": "unlimited"}]))
    items = [spelled_window(length, limit, draw) for length, limit in windows.items()]
    if drop or draw(st.booleans()):
        return {"windows": items, **({"replace": True} if drop else {})}
    return items[0] if len(items) == 1 and draw(st.booleans()) else items


def spelled(change: Change, draw: Any) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if change.quotas:
        document["quotas"] = {n: spelled_amount(a, draw) for n, a in change.quotas.items()}
    if change.limits:
        document["rate_limits"] = {n: spelled_limit(s, draw) for n, s in change.limits.items()}
    if change.all_features:
        change.features = {}
        document["features"] = draw(st.sampled_from(["all", ["all"]]))
    elif change.features:
        only_on = all(change.features.values())
        listed = only_on and draw(st.booleans())
        document["features"] = list(change.features) if listed else dict(change.features)
    return document


def meant(change: Change) -> Change:
    """An empty set of windows is spelled `unlimited`, which drops the others."""
    change.limits = {
        name: (drop or not windows, windows) for name, (drop, windows) in change.limits.items()
    }
    return change


@st.composite
def catalogs(draw: Any) -> tuple[dict[str, Any], dict[str, Model]]:
    models: dict[str, Model] = {}
    plans: dict[str, Any] = {}
    order = draw(st.permutations(PLANS))
    for place, name in enumerate(order):
        change = draw(changes)
        document = spelled(change, draw)
        base = draw(st.none() | st.sampled_from(order[:place])) if place else None
        if base is not None:
            document["extends"] = base
        plans[name] = document
        models[name] = changed(models[base] if base else empty(), meant(change), "plan")
    document = {
        "catalog": "generated",
        "features": list(FEATURES),
        "quotas": QUOTAS,
        "actions": list(ACTIONS),
        "plans": {name: plans[name] for name in draw(st.permutations(PLANS))},
    }
    return document, models


# ----------------------------------------------------------------------------------- the tests


@given(catalogs(), changes, st.data())
def test_effective_values_are_what_the_model_says(
    generated: tuple[dict[str, Any], dict[str, Model]], override: Change, data: st.DataObject
) -> None:
    document, models = generated
    note(str(document))
    catalog = Catalog.from_dict(document)
    overrides = spelled(override, data.draw)
    note(str(overrides))
    meant(override)
    for name, model in models.items():
        assert seen(catalog.effective(name)) == model
        assert seen(catalog.effective(name, overrides)) == changed(model, override, "override")


@given(catalogs())
def test_what_a_catalog_writes_reads_back_the_same(
    generated: tuple[dict[str, Any], dict[str, Model]],
) -> None:
    catalog = Catalog.from_dict(generated[0])
    for kind in ("json", "yaml"):  # JSON is YAML as well
        again = Catalog.from_text(catalog.to_json(), format=kind)  # type: ignore[arg-type]
        assert again == catalog
        assert again.plans == catalog.plans


# ---------------------------------------------------------------------------------- the schema

jsonschema = pytest.importorskip("jsonschema")
VALIDATOR = jsonschema.Draft202012Validator(schema())

# What the parser refuses and a schema cannot express: references, meanings, combinations.
BEYOND_A_SCHEMA = re.compile(
    r"by which the plan is billed"
    r"|unknown (plan|quota|feature|action|role|permission|price book|metric) "
    r"|must ascend without overlap|the last tier must be open|only the last tier may be open"
    r"|above 0, got|must not be above|mixed currencies|at most 1[02] digits after"
    r"|at most 6 digits after the point"
    r"|a number below 10\^26"
    r"|a currency of ISO 4217 that has|these rules round to its minor unit"
    r"|may not (extend|inherit)|a window of this length was given before|all windows of one limit"
    r"|a plan's limit counts per tenant|thresholds in ascending order|\"scope\" is missing"
    r"|^rate limit |expected a duration|expected whole bytes|only fixed_window|has none; use"
    r"|counts at most|expected a lease|another rule has this name|expected \"global\""
    r"|expected a whole number from 1 to 1|takes more than ten years|got \"unlimited\""
    r"|expected a whole number or \"unlimited\", got \"\d+(\.\d+)? ?\w+\"|\"soft: true\" refuses"
)


def verdicts(document: Any) -> tuple[list[str], bool]:
    try:
        Catalog.from_dict(document)
    except CatalogError as error:
        messages = [problem.message for problem in error.problems]
    else:
        messages = []
    return messages, VALIDATOR.is_valid(document)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", shipped)
def test_shipped_catalogs_follow_the_schema(name: str) -> None:
    import json

    VALIDATOR.validate(json.loads(Catalog.load(name).to_json()))


FULL: dict[str, Any] = {
    "$schema": "catalog.schema.json",
    "catalog": "c",
    "version": "1",
    "format": 1,
    "default_plan": "a",
    "default_action": "api",
    "currency": "EUR",
    "permissions": ["t:read"],
    "builtin_roles": True,
    "roles": {"r": {"permissions": ["t:read"], "denies": ["*:x"], "inherits": ["s"]}, "s": ["t:*"]},
    "duties": [{"name": "d", "roles": ["r", "s"], "at_most": 1, "dynamic": False}],
    "features": ["sso"],
    "audit": {
        "refusals": "always",
        "anonymous": {"per_second": 5},
        "key_use": {"sampled": 1},
        "cross_tenant": "refusals",
        "thresholds": "never",
        "on_full": "count",
    },
    "actions": ["api"],
    "quotas": {
        "users": {"kind": "count", "alerts": [50, 100]},
        "tokens": {"kind": "consumption", "period": "day", "anchor": "calendar", "unit": "tokens"},
        "storage": {"kind": "size"},
        "rows": {"kind": "per_object"},
        "agents": {"kind": "concurrency", "lease": "60s"},
    },
    "limits": {
        "ip": {"scope": "ip", "limit": "600/minute"},
        "e": {"scope": "tenant*endpoint", "windows": ["5/s"]},
        "l": [{"scope": "global", "limit": 5, "window": "1s"}, "9/minute"],
    },
    "price_books": {
        "book": {
            "version": 2,
            "currency": "USD",
            "rules": {"preset": "stripe", "zero_usage": "free", "proration_digits": 9},
            "base_fee": 10,
            "minimum": "20",
            "maximum": 900,
            "seats": {"unit": 12, "included": 3},
            "metrics": {
                "calls": "0.5",
                "gb": {"tiers": [{"up_to": 10, "unit": 1, "flat": 2, "package": 5}, {"unit": 0}]},
                "steps": {"model": "stairstep", "tiers": [{"up_to": None, "flat": 5}]},
                "money": {"model": "percentage", "rate": "2.9", "fixed": "0.3", "free_events": 2},
                "share": {"model": "graduated_percentage", "tiers": [{"rate": 1, "flat": 1}]},
            },
            "plans": {"a": {"included": {"calls": 5}}},
        }
    },
    "plans": {
        "a": {
            "title": "A",
            "price": "10.00",
            "period": "month",
            "currency": "USD",
            "price_book": "book",
            "features": ["sso"],
            "quotas": {
                "users": 1,
                "storage": "1 GB",
                "agents": {"limit": 2, "soft": True, "grace": 1},
            },
            "rate_limits": {
                "api": {
                    "limit": 5,
                    "window": "60s",
                    "burst": 9,
                    "shadow": True,
                    "on_full": "allow",
                },
                "default": [
                    "5/s",
                    {"limit": "9/minute", "algorithm": "fixed_window", "anchor": "first"},
                ],
            },
            "isolation": "schema",
            "retention_days": 30,
        },
        "b": {"extends": "a", "features": {"sso": False}, "rate_limits": {"api": "unlimited"}},
    },
}

JUNK: list[Any] = [
    None, True, -2, -1, 0, 1, 5, 10**30, "", "x", "all", "default", "unlimited", "5/s", "5/x",
    "60s", "10 GB", "1.5", "global", "tenant*ip", "a", "USD", "t:read", "*:*",
    [], ["sso"], ["x", "x"], [1], {}, {"x": 1},
    {"limit": 5}, {"limit": "5/s"}, {"limit": 5, "window": "1s"}, {"limit": "5/s", "window": "1s"},
    {"kind": "count"}, {"kind": "size", "period": "day"}, {"windows": ["5/s"]}, {"windows": []},
    "0.5", "1e-3", "0.0000000000001", "free", "stripe", {"unit": 1}, {"tiers": [{"flat": 1}]},
    {"model": "package", "unit": 1}, {"up_to": 5, "unit": 1}, {"preset": "lago"},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found += places(inner, (*path, i))
    return found


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def damaged(draw: Any) -> dict[str, Any]:
    document = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(document)))
        holder = at(document, path[:-1])
        how = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if how == "replace":
            holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        elif how == "remove":
            del holder[path[-1]]
        elif how == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "kind", "limit", "no good", "1"]))] = holder.pop(
                path[-1]
            )
        elif how == "add" and isinstance(holder, dict):
            added = draw(st.sampled_from(["x", "replace", "scope", "burst"]))
            holder[added] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        if not places(document):
            break
    return document


def test_the_full_example_is_valid_for_both() -> None:
    assert verdicts(FULL) == ([], True)


AMOUNTS: list[Any] = [0, 1, "0.5", 20]
TIER_MEMBERS: dict[str, list[Any]] = {
    "up_to": [5, 10, "2.5", None],
    "unit": AMOUNTS,
    "flat": AMOUNTS,
    "rate": AMOUNTS,
    "package": [1, 5],
}
PRICE_MEMBERS: dict[str, list[Any]] = {
    "unit": AMOUNTS,
    "package": [1, 5],
    "rate": AMOUNTS,
    "fixed": AMOUNTS,
    "free_events": [0, 3],
    "minimum_per_event": AMOUNTS,
    "maximum_per_event": AMOUNTS,
    "included": AMOUNTS,
    "base_fee": AMOUNTS,
    "minimum": AMOUNTS,
    "maximum": AMOUNTS,
    "currency": ["USD"],
    "rules": ["stripe", {"package_rounding": "down"}],
}
# What each model needs; those that are not here need tiers.
NEEDED: dict[str | None, list[str]] = {
    None: ["unit"],
    "per_unit": ["unit"],
    "package": ["unit", "package"],
    "percentage": ["rate"],
}
MODELS = [*NEEDED, "graduated", "volume", "stairstep", "graduated_percentage"]


def members_of(members: dict[str, list[Any]], needed: list[str], draw: Any) -> dict[str, Any]:
    """Those that are needed, mostly, and perhaps one more, with values that are mostly good."""
    names = [name for name in needed if draw(st.integers(0, 5))]
    more = draw(st.none() | st.sampled_from(list(members)))
    values = members if draw(st.integers(0, 4)) else dict.fromkeys(members, JUNK)
    return {
        name: copy.deepcopy(draw(st.sampled_from(values[name])))
        for name in dict.fromkeys([*names, more])
        if name is not None
    }


@st.composite
def with_a_price(draw: Any) -> dict[str, Any]:
    """The full example with a price of some model, of which members may be missing or too many."""
    model = draw(st.sampled_from(MODELS))
    price = members_of(PRICE_MEMBERS, NEEDED.get(model, []), draw)
    if model is not None:
        price["model"] = model
    if model not in NEEDED or not draw(st.integers(0, 5)):
        cost = (
            "rate" if model == "graduated_percentage" else draw(st.sampled_from(["unit", "flat"]))
        )
        price["tiers"] = [
            members_of(TIER_MEMBERS, ["up_to", cost], draw) for _ in range(draw(st.integers(1, 2)))
        ]
        price["tiers"][-1].pop("up_to", None)
    return with_price(price, draw(st.sampled_from(["calls", "seats"])))


def with_price(price: Any, name: str = "calls") -> dict[str, Any]:
    document = copy.deepcopy(FULL)
    book = document["price_books"]["book"]
    (book if name == "seats" else book["metrics"])[name] = price
    return document


@given(damaged() | with_a_price())
@example(with_price({"model": "package", "unit": 1}))
@example(with_price({"model": "package", "unit": 1, "package": 5}))
def test_schema_and_parser_agree(document: dict[str, Any]) -> None:
    messages, follows_schema = verdicts(document)
    note(str(messages))
    note(str([error.message for error in VALIDATOR.iter_errors(document)][:3]))
    if not messages:
        assert follows_schema, "the parser accepts what the schema refuses"
    elif follows_schema:
        assert all(BEYOND_A_SCHEMA.search(message) for message in messages)
