"""`plans import`: reads plans in the spellings other systems use.

Understood are camelCase and snake_case; ``maxUsers`` or ``users_limit``; ``maxRequests`` with
``windowMs``; ``requestsPerMinute``, ``apiCallsPerDay``, ``tokensPerMonth``; ``maxStorageGB``;
``maxConcurrentAgents``; ``maxRowsPerSpreadsheet``; -1, ``null`` and "unlimited" for no limit. What
was read, and as what, is reported; what was not understood is reported and left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import CatalogError, Problem

if TYPE_CHECKING:
    from . import Catalog


@dataclass(frozen=True, slots=True)
class Mapped:
    """One value that was read."""

    source: str
    """Its path in the other system's document."""
    target: str
    """Its path in ours."""
    value: Any


@dataclass(slots=True)
class ImportedPlans:
    """A catalog document made from foreign plans, and how."""

    document: dict[str, Any]
    mapped: list[Mapped] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    """What was left out, and why."""

    def catalog(self) -> Catalog:
        """The document as a validated catalog; raises `CatalogError`."""
        from . import Catalog  # here: it imports this module

        return Catalog.from_dict(self.document, source="import")


def import_plans(document: Any, *, name: str = "imported") -> ImportedPlans:
    """Turn foreign plans into a catalog document called ``name``.

    ``document`` is a parsed JSON or YAML value: a mapping of plans, a list of plans with a name
    each, or either under ``plans``. Raises `CatalogError` when no plan can be found in it.
    """
    plans = dict(_plans_of(document))
    if not plans:
        message = "expected plans: a mapping of names to plans, or a list of plans with a name each"
        raise CatalogError("import", [Problem("", message)])
    head = {"catalog": name, "version": "1", "format": 1}
    result = ImportedPlans({**head, "quotas": {}, "plans": {}})
    features: dict[str, None] = {}
    for plan_name, (path, plan) in plans.items():
        if not isinstance(plan, Mapping):
            result.skipped.append(Problem(path, f"expected a mapping, got {type(plan).__name__}"))
            continue
        reader = _PlanReader(plan_name, result)
        reader.read(plan, path)
        reader.finish()
        features.update(dict.fromkeys(reader.features))
    if features:
        result.document["features"] = list(features)
    if not result.document["quotas"]:
        del result.document["quotas"]
    _drop_what_is_refused(result)
    return result


def _drop_what_is_refused(result: ImportedPlans) -> None:
    """Take out what a catalog does not allow (a limit of 10^30, a window of 1 ns), and say so."""
    while problems := _problems(result):
        if sum(_drop(result, problem) for problem in problems) == 0:
            raise CatalogError("import", problems)


def _problems(result: ImportedPlans) -> tuple[Problem, ...]:
    try:
        result.catalog()
    except CatalogError as error:
        return error.problems
    return ()


def _drop(result: ImportedPlans, problem: Problem) -> bool:
    """Remove the member of a plan that `problem` is about."""
    match = re.match(r"plans\.(\w+)\.((?:quotas|rate_limits)\.\w+|\w+)", problem.path)
    if not match:
        return False
    holder = result.document["plans"][match[1]]
    *section, name = match[2].split(".")
    holder = holder.get(section[0], {}) if section else holder
    if name not in holder:
        return False
    del holder[name]
    target = f"plans.{match[1]}.{match[2]}"
    for each in [each for each in result.mapped if each.target == target]:
        result.mapped.remove(each)
        result.skipped.append(Problem(each.source, problem.message))
    return True


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None


_NAME_KEYS = ("name", "id", "key", "slug", "plan", "tier")


def _plans_of(document: Any) -> Iterator[tuple[str, tuple[str, Any]]]:
    prefix = ""
    if isinstance(document, Mapping):
        for key in ("plans", "tiers", "subscriptionPlans", "subscription_plans"):
            if isinstance(document.get(key), Mapping | list | tuple):
                document, prefix = document[key], key
                break
    if isinstance(document, Mapping):
        for key, plan in document.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            yield _plan_name(str(key)), (path, plan)
    elif isinstance(document, list | tuple):
        for i, plan in enumerate(document):
            if isinstance(plan, Mapping):
                named = next((str(plan[k]) for k in ("id", "key", "slug", "name") if k in plan), "")
                yield _plan_name(named) or f"plan{i + 1}", (f"{prefix}[{i}]", plan)


def _plan_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64]
    return name if name[:1].isalpha() or not name else f"plan_{name}"[:64]


def _feature_name(text: str) -> str:
    """A name as catalogs allow it, or nothing."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:64]
    return name if re.match(r"[A-Za-z]", name) and name != "all" else ""


def _snake(key: str) -> str:
    key = re.sub(r"([KMGT])iB\b", r"\1ib", key)
    key = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key)
    key = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", key)
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")


_GROUPS = {"limits", "quotas", "quota", "usage_limits", "resources", "entitlements", "settings"}
_RATE_GROUPS = {"rate_limits", "rate_limit", "rate_limiting", "throttle", "throttling", "rates"}
_PRICE_KEYS = {"price", "monthly_price", "price_monthly", "price_per_month", "cost", "amount"}
_TITLE_KEYS = {"title", "display_name", "label"}
_ISOLATIONS = {
    "shared": "shared",
    "row": "shared",
    "row_level": "shared",
    "schema": "schema",
    "schema_level": "schema",
    "separate_schema": "schema",
    "database": "database",
    "database_level": "database",
    "dedicated_database": "database",
    "separate_database": "database",
    "instance": "instance",
    "dedicated_instance": "instance",
    "own_instance": "instance",
}
_UNITS = {
    "bytes": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_PER = re.compile(r"(.+?)_per_(second|minute|hour|day|week|month|year)")
_PERIOD_ADVERBS = {"daily": "day", "hourly": "hour", "monthly": "month", "weekly": "week"}
_RATE_PERIODS = {"second", "minute", "hour"}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_WINDOW_KEYS = {
    "window_ms": Decimal("0.001"),
    "interval_ms": Decimal("0.001"),
    "window_seconds": Decimal(1),
    "window_sec": Decimal(1),
    "window_s": Decimal(1),
    "interval_seconds": Decimal(1),
    "window_minutes": Decimal(60),
}


class _PlanReader:
    def __init__(self, name: str, result: ImportedPlans) -> None:
        self.name = name
        self.result = result
        self.plan: dict[str, Any] = {}
        self.quotas: dict[str, Any] = {}
        self.rates: dict[str, list[dict[str, Any]]] = {}
        self.daily: dict[str, tuple[str, Any]] = {}
        self.features: list[str] = []

    def read(self, members: Mapping[Any, Any], path: str, *, rates: bool = False) -> None:
        for key, value in members.items():
            self.member(_snake(str(key)), value, f"{path}.{key}", rates)

    def finish(self) -> None:
        for action, (path, value) in self.daily.items():
            # A day beside shorter windows of one action is one more window; alone it is a quota.
            if action in self.rates:
                self.rate(action, value, "24h", path)
            else:
                self.quota(action, value, {"kind": "consumption", "period": "day"}, path)
        for members, name in ((self.quotas, "quotas"), (self.rates, "rate_limits")):
            if members:
                self.plan[name] = members
        self.result.document["plans"][self.name] = self.plan

    def set(self, target: str, value: Any, path: str) -> None:
        self.result.mapped.append(Mapped(path, f"plans.{self.name}.{target}", value))

    def skip(self, path: str, why: str) -> None:
        self.result.skipped.append(Problem(path, why))

    def member(self, key: str, value: Any, path: str, rates: bool) -> None:
        if key in _RATE_GROUPS | _GROUPS and isinstance(value, Mapping):
            self.group(key, value, path)
        elif key in _PRICE_KEYS:
            self.price(value, path)
        elif key in _TITLE_KEYS or (key in _NAME_KEYS and isinstance(value, str)):
            if key in _TITLE_KEYS or key == "name":
                self.plan["title"] = str(value)
                self.set("title", str(value), path)
        elif key == "features":
            self.read_features(value, path)
        elif key in ("isolation", "isolation_level", "tenancy_model"):
            self.isolation(value, path)
        elif key in ("retention_days", "data_retention_days", "log_retention_days"):
            amount = self.amount(value, path)
            if amount is not None:
                self.plan["retention_days"] = amount
                self.set("retention_days", amount, path)
        elif key == "currency" and isinstance(value, str):
            self.plan["currency"] = value.upper()
            self.set("currency", value.upper(), path)
        elif isinstance(value, Mapping):
            self.window(key, value, path)
        else:
            self.limit(key, value, path, rates)

    def group(self, key: str, value: Mapping[Any, Any], path: str) -> None:
        spelled = {_snake(str(k)) for k in value}
        if spelled & set(_WINDOW_KEYS):
            self.window("requests", value, path)
        else:
            self.read(value, path, rates=key in _RATE_GROUPS)

    def price(self, value: Any, path: str) -> None:
        price: Any = None
        if isinstance(value, bool):
            price = None
        elif isinstance(value, int | Decimal) and value >= 0:
            price = value
        elif isinstance(value, float) and 0 <= value < 10**9:
            price = Decimal(repr(value))  # the digits that were written, not their binary value
        elif isinstance(value, str) and re.fullmatch(r"\$?[0-9]+(\.[0-9]+)?", value):
            price = value.removeprefix("$")
        elif value in (-1, None) or (
            isinstance(value, str) and value.lower() in ("custom", "contact", "contact us")
        ):
            price = "custom"
        if price is None:
            self.skip(path, f"not a price: {value!r:.60}")
            return
        self.plan["price"] = price
        self.set("price", price, path)

    def read_features(self, value: Any, path: str) -> None:
        if value in ("all", "*", ["all"], ["*"]):
            self.plan["features"] = "all"
            self.set("features", "all", path)
            return
        if isinstance(value, Mapping):
            said = {str(name): on for name, on in value.items()}
        elif isinstance(value, list | tuple):
            said = {str(name): True for name in value if isinstance(name, str)}
        else:
            self.skip(path, f"expected a list or mapping of features, got {value!r:.40}")
            return
        granted: dict[str, None] = {}
        for text, on in said.items():
            name = _feature_name(text)
            if not name or not isinstance(on, bool):
                self.skip(f"{path}.{text}", f"expected a feature that is on or off, got {on!r:.40}")
                continue
            self.features.append(name)
            if on:
                granted[name] = None
        self.plan["features"] = list(granted)
        self.set("features", list(granted), path)

    def isolation(self, value: Any, path: str) -> None:
        level = _ISOLATIONS.get(_snake(str(value)))
        if level is None:
            self.skip(path, f"expected shared, schema, database or instance, got {value!r:.40}")
            return
        self.plan["isolation"] = level
        self.set("isolation", level, path)

    def window(self, key: str, value: Mapping[Any, Any], path: str) -> None:
        """``{maxRequests: 100, windowMs: 60000}``"""
        spelled = {_snake(str(k)): v for k, v in value.items()}
        lengths = [name for name in spelled if name in _WINDOW_KEYS]
        caps = [n for n in spelled if n in ("limit", "max", "points") or n.startswith("max_")]
        if len(lengths) != 1 or len(caps) != 1 or len(spelled) > 2:
            self.skip(path, "not understood: expected a limit and the length of its window")
            return
        length = spelled[lengths[0]]
        if isinstance(length, bool) or not isinstance(length, int) or length <= 0:
            self.skip(f"{path}.{lengths[0]}", f"not the length of a window: {length!r:.40}")
            return
        milliseconds = int(length * _WINDOW_KEYS[lengths[0]] * 1000)
        text = f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
        action = key
        if key in ("requests", *_RATE_GROUPS):
            action = caps[0].removeprefix("max_") if caps[0].startswith("max_") else "requests"
        self.rate(action, spelled[caps[0]], text, path)

    def limit(self, key: str, value: Any, path: str, rates: bool) -> None:
        bare = re.sub(r"^(max|maximum|limit)_|_(limit|max|quota)$", "", key)
        for adverb, period in _PERIOD_ADVERBS.items():
            bare = re.sub(rf"^{adverb}_(.+)$", rf"\1_per_{period}", bare)
        unit = next((u for u in _UNITS if bare.endswith(f"_{u}")), None)
        per = _PER.fullmatch(bare)
        if per and per[2] in _RATE_PERIODS:
            self.rate(per[1], value, f"{_SECONDS[per[2]]}s", path)
        elif rates and bare in ("per_second", "per_minute", "per_hour", "per_day"):
            self.rate("requests", value, f"{_SECONDS[bare[4:]]}s", path)
        elif per and per[2] == "day":
            self.daily[per[1]] = (path, value)
        elif per:
            self.quota(per[1], value, {"kind": "consumption", "period": per[2]}, path)
        elif rates and isinstance(value, str):
            self.rates_text(bare, value, path)
        elif "_per_" in bare:
            self.quota(bare, value, {"kind": "per_object"}, path)
        elif bare.startswith("concurrent_"):
            self.quota(bare, value, {"kind": "concurrency"}, path)
        elif unit:
            name = re.sub(r"_(limit|max|quota)$", "", bare.removesuffix(f"_{unit}"))
            self.quota(name, value, {"kind": "size"}, path, factor=_UNITS[unit])
        elif rates:
            self.skip(path, "a rate limit without the length of its window")
        elif key != bare or isinstance(value, int) or value == "unlimited":
            self.quota(bare, value, {"kind": "count"}, path)
        else:
            self.skip(path, f"not understood: {value!r:.60}")

    def rates_text(self, action: str, value: str, path: str) -> None:
        if not _is_plain(action):
            self.skip(path, "its name has no letter to begin with")
            return
        self.rates.setdefault(action, []).append({"limit": value})
        self.set(f"rate_limits.{action}", value, path)

    def amount(self, value: Any, path: str, factor: int = 1) -> int | str | None:
        """A whole number, "unlimited", or nothing after it was reported."""
        endless = value is None or value == -1 or value == float("inf")
        if endless or (isinstance(value, str) and value.lower() in ("unlimited", "infinity", "∞")):
            return "unlimited"
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        if isinstance(exact, int | Decimal) and not isinstance(exact, bool):
            scaled = exact * factor
            if scaled >= 0 and scaled == int(scaled):
                return int(scaled)
        self.skip(path, f"expected a whole number or unlimited, got {value!r:.60}")
        return None

    def quota(
        self, name: str, value: Any, kind: dict[str, str], path: str, *, factor: int = 1
    ) -> None:
        amount = self.amount(value, path, factor)
        if amount is None:
            return
        if not _is_plain(name):
            self.skip(path, "its name has no letter to begin with")
            return
        known = self.result.document["quotas"].setdefault(name, kind)
        if known != kind:
            self.skip(path, f"quota {name} is of kind {known['kind']} in another plan")
            return
        self.quotas[name] = amount
        self.set(f"quotas.{name}", amount, path)

    def rate(self, action: str, value: Any, window: str, path: str) -> None:
        amount = self.amount(value, path)
        if amount is None:
            return
        if not _is_plain(action):
            self.skip(path, "its name has no letter to begin with")
            return
        if amount == 0:
            self.skip(path, "a rate limit of 0; take the permission or feature away instead")
            return
        self.rates.setdefault(action, []).append({"limit": amount, "window": window})
        self.set(f"rate_limits.{action}", f"{amount}/{window}", path)
