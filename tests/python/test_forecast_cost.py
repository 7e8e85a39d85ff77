"""What a forecast costs: exactly priced draws, sums that agree, budgets."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.errors import InvalidValue
from tenancy.forecast import Forecast, forecast, from_samples
from tenancy.pricing import Graduated, PerUnit, PriceBook, Stairstep, Tier, Volume
from test_forecast import DAY, START, TWENTY, usage

TIERS = [Tier(1_000, "0.01"), Tier(20_000, "0.004"), Tier(None, "0.001")]
GRADUATED = Graduated(TIERS, currency="USD", included=100, minimum=2)
BOOK = PriceBook.from_text(
    """\
price_book: shop
currency: EUR
base_fee: 5
minimum: 30
metrics:
  calls: {model: graduated, tiers: [{up_to: 1000, unit: 0.01}, {unit: 0.004}]}
  exports: {model: volume, tiers: [{up_to: 10, unit: 3}, {unit: 2}]}
plans:
  team: {included: {calls: 500}}
"""
)


def two_metrics() -> Forecast:
    calls = usage(TWENTY)
    exports = usage({t: [q // 100 for q in TWENTY[t]] for t in list(TWENTY)[:12]}, "exports")
    return forecast(
        {name: calls[name] + exports[name] for name in calls}, period_start=START + 80 * DAY
    )


def test_every_draw_is_priced_exactly() -> None:
    found = forecast(usage(TWENTY), period_start=START + 80 * DAY)
    cost = found.cost(GRADUATED)
    for tenant in ("t0000", "t0007"):
        quantities = found.draws(tenant, "calls")
        assert list(cost.draws(tenant)) == [GRADUATED.amount(q) for q in quantities]
    assert list(cost.frame()["so_far"]) == [
        GRADUATED.amount(sum(days[80:])) for days in TWENTY.values()
    ]
    assert cost.frame()["currency"] == ["USD"] * 20


def test_several_metrics_share_base_fee_and_minimum() -> None:
    found = two_metrics()
    cost = found.cost(BOOK)
    for tenant in ("t0003", "t0015"):  # with and without exports
        calls = list(found.draws(tenant, "calls"))
        exports = list(found.draws(tenant, "exports")) if tenant == "t0003" else [Decimal(0)] * 1000
        expected = [
            BOOK.amount({"calls": a, "exports": b}) for a, b in zip(calls, exports, strict=True)
        ]
        assert list(cost.draws(tenant)) == expected
    rows = {row["tenant"]: row for row in cost.frame()}
    draws = sorted(cost.draws("t0003"))
    assert rows["t0003"]["low_80"] == draws[99]
    assert rows["t0003"]["high_80"] == draws[899]
    assert abs(rows["t0003"]["mean"] - sum(draws) / 1000) < Decimal("1e-11")


def test_fractions_are_priced_as_decimals() -> None:
    columns = usage(TWENTY)
    tenths = {**columns, "quantity": [Decimal(q) / 10 for q in columns["quantity"]]}
    found = forecast(tenths)
    assert list(found.cost(GRADUATED).draws("t0001")) == [
        GRADUATED.amount(q) for q in found.draws("t0001", "calls")
    ]


def test_quantiles_go_through_a_price_that_never_falls() -> None:
    found = forecast(usage(TWENTY))
    frame, cost = found.frame(), found.cost(GRADUATED).frame()
    for name in ("median", "low_80", "high_80", "low_95", "high_95"):
        assert list(cost[name]) == [GRADUATED.amount(q) for q in frame[name]]


def test_a_price_that_falls_at_a_bound_is_sampled() -> None:
    cliff = Volume([Tier(1000, "0.10"), Tier(None, "0.01")], currency="USD")
    given_ = from_samples(
        {("a", "calls"): list(range(901, 1101))}, as_of=START, period_end=START + DAY
    )
    row = next(iter(given_.cost(cliff).frame()))
    amounts = sorted(cliff.amount(q) for q in range(901, 1101))
    assert (row["low_80"], row["high_80"]) == (amounts[19], amounts[179])
    assert row["mean"] == sum(amounts) / 200
    steps = Stairstep([Tier(1000, flat=10), Tier(None, flat=80)], currency="USD")
    assert next(iter(given_.cost(steps).frame()))["high_80"] == 80


def test_the_price_of_the_mean_is_not_the_mean_price() -> None:
    steps = Stairstep([Tier(1000, flat=10), Tier(None, flat=110)])
    given_ = from_samples(
        {("a", "calls"): [500] * 60 + [1500] * 40}, as_of=START, period_end=START + DAY
    )
    mean = next(iter(given_.cost(steps).frame()))["mean"]
    assert (steps.amount(900), mean) == (10, 50)


def test_plans_and_the_total_are_sums_of_the_same_futures() -> None:
    found = two_metrics()
    plans = {tenant: "team" if i % 3 else "free" for i, tenant in enumerate(found.tenants)}
    cost = found.cost({"team": BOOK, "free": BOOK}, plans=plans)
    team = BOOK.for_plan("team")
    assert list(cost.draws("t0019")) == [
        team.amount({"calls": q}) for q in found.draws("t0019", "calls")
    ]
    every = {t: list(cost.draws(t)) for t in found.tenants}
    for row in cost.by_plan():
        members = [every[t] for t, plan in plans.items() if plan == row["plan"]]
        sums = sorted(sum(draw) for draw in zip(*members, strict=True))
        assert (row["tenants"], row["low_80"], row["high_95"]) == (
            len(members), sums[99], sums[974],
        )  # fmt: skip
    total = next(iter(cost.total()))
    sums = sorted(sum(draw) for draw in zip(*every.values(), strict=True))
    assert (total["median"], total["currency"]) == (sums[499], "EUR")
    parts = list(cost.by_plan())
    assert sum(row["so_far"] for row in parts) == total["so_far"]
    assert abs(sum(row["mean"] for row in parts) - total["mean"]) < Decimal("1e-11")
    book = found.cost(BOOK, plans={"t0019": "team"})
    assert book.draws("t0019") == cost.draws("t0019")


def test_what_happens_to_all_tenants_at_once_shows_in_the_total() -> None:
    months = numpy.repeat([1.0, 1.6, 0.6, 1.5, 0.7, 1.3], 30)
    source = numpy.random.default_rng(5)
    series = {f"t{i:02d}": source.poisson(300 * months).tolist() for i in range(30)}
    apart = enumerate(series.items())  # the same months, but each tenant has them at another time
    own = {t: numpy.roll(days, 30 * (i % 6)).tolist() for i, (t, days) in apart}
    price = PerUnit("0.01", currency="USD")

    def spread(which: dict[str, list[int]]) -> float:
        row = next(iter(forecast(usage(which), method="run_rate").cost(price).total()))
        return float((row["high_80"] - row["low_80"]) / row["median"])

    assert spread(series) > 2 * spread(own)


def test_budgets() -> None:
    found = forecast(usage(TWENTY), period_start=START + 80 * DAY)
    middle = found.cost(GRADUATED).frame()["median"]
    budgets = {"t0002": middle[2], "t0004": 10**9, "t0005": "0.01"}
    cost = found.cost(GRADUATED, budgets=budgets)
    rows = {row["tenant"]: row for row in cost.frame()}
    assert abs(rows["t0002"]["over_budget"] - 0.5) < 0.05
    assert (rows["t0004"]["over_budget"], rows["t0005"]["over_budget"]) == (0.0, 1.0)
    assert (rows["t0000"]["budget"], rows["t0000"]["over_budget"]) == (None, None)
    assert cost.probability_over(middle[2], "t0002") == rows["t0002"]["over_budget"]
    when = {row["tenant"]: row for row in cost.passing()}
    assert list(when) == ["t0002", "t0004", "t0005"]
    assert when["t0002"]["probability"] == rows["t0002"]["over_budget"]
    assert found.as_of < when["t0002"]["by_10"] <= found.period_end
    assert when["t0005"]["by_90"] == found.as_of
    assert when["t0004"]["by_10"] is None
    assert cost.passing({"t0001": 1})["tenant"] == ["t0001"]
    assert found.cost(GRADUATED, budgets=5).frame()["budget"].tolist() == [5] * 20
    total = cost.total()["median"][0]
    assert abs(cost.probability_over(total) - 0.5) < 0.05


def test_a_tenant_without_a_forecast_is_in_the_total_with_what_it_owes() -> None:
    found = forecast(usage({**TWENTY, "young": [5_000]}), period_start=START + 80 * DAY)
    cost = found.cost(PerUnit(1, currency="USD"))
    row = list(cost.frame())[-1]
    assert (row["so_far"], row["mean"], row["high_80"]) == (5_000, None, None)
    assert row["refused"] == "1 steps of history, 30 steps ahead need 20"
    total = next(iter(cost.total()))
    assert total["refused"] == "1 tenants are in it with what they owe so far"
    others = found.cost(PerUnit(1, currency="USD"))
    sums = [sum(draw) for draw in zip(*(list(others.draws(t)) for t in TWENTY), strict=True)]
    assert total["median"] == sorted(sums)[499] + 5_000


def test_levels_that_are_refused_for_usage_are_refused_for_cost() -> None:
    few = {t: TWENTY[t] for t in ("t0000", "t0001", "t0002")}
    cost = forecast(usage(few)).cost(GRADUATED)
    for row in (*cost.frame(), *cost.total()):
        assert row["high_95"] is None
        assert row["high_80"] is not None
        assert row["refused"].startswith("6 independent windows to calibrate by, 95% needs 20;")


@pytest.mark.parametrize(
    ("prices", "options", "message"),
    [
        (GRADUATED, {}, "prices: one price for the metrics calls, exports"),
        ({"calls": GRADUATED}, {}, "prices: prices has no price of exports; it has calls"),
        ({"team": BOOK}, {}, "plans: tenant 't0000' has no plan"),
        ({"team": BOOK}, {"plans": {"t0000": "pro"}}, "prices: no price book of plan 'pro'"),
        (
            {"calls": GRADUATED, "exports": PerUnit(1, currency="EUR")}, {},
            "prices: mixed currencies: EUR, USD",
        ),
        (BOOK, {"budgets": {"acme": 5}}, "budgets: no usage of 'acme'"),
        (BOOK, {"budgets": 0.5}, "budgets: .*float"),
    ],
)  # fmt: skip
def test_wrong_prices_plans_and_budgets_are_told(
    prices: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        two_metrics().cost(prices, **options)


def test_no_total_over_several_currencies() -> None:
    dollars = PriceBook.from_dict(
        {"price_book": "us", "currency": "USD", "metrics": {"calls": "0.01"}}
    )
    euros = PriceBook.from_dict(
        {"price_book": "eu", "currency": "EUR", "metrics": {"calls": "0.01"}}
    )
    found = forecast(usage(TWENTY))
    plans = {tenant: "us" if i % 2 else "eu" for i, tenant in enumerate(found.tenants)}
    cost = found.cost({"us": dollars, "eu": euros}, plans=plans)
    assert cost.by_plan()["currency"] == ["EUR", "USD"]
    with pytest.raises(InvalidValue, match="mixed currencies: EUR, USD"):
        cost.total()


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 10**6))
def test_probability_over_a_budget_counts_draws(samples: list[int], budget: int) -> None:
    found = from_samples(
        {("a", "calls"): samples}, as_of=datetime(2026, 1, 1, tzinfo=timezone.utc),
        period_end=START + timedelta(days=1),
    )  # fmt: skip
    expected = sum(GRADUATED.amount(q) > budget for q in samples) / len(samples)
    assert found.cost(GRADUATED).probability_over(budget, "a") == expected
