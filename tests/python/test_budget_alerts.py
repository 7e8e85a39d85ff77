"""Budgets as alerts: once for each threshold and period; forecasts where the past carries them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest

from alert_support import SECRET, deliver, receiving, turn
from invoice_support import BUYER, DAY_S, JANUARY, open_billing
from tenancy import Tenancy
from tenancy.alerts import Alerts, Webhook, budget_alerts, verify_webhook
from tenancy.errors import BillingRefused, InvalidValue, UnknownTenant
from tenancy.testing import FakeClock


def customer(t: Tenancy, slug: str = "acme", **options: Any) -> Any:
    """On the plan `team`: 10 a month and 0.01 a call."""
    tenant = t.tenants.create(slug.title(), slug=slug, plan="team", **options)
    t.billing.account(tenant, party=BUYER, currency="EUR")
    return tenant


def use(t: Tenancy, tenant: Any, calls: int) -> None:
    t.usage.record(tenant, "calls", calls)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(JANUARY)


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Iterator[Tenancy]:
    with open_billing(tmp_path, clock) as opened:
        yield opened


def percents(t: Tenancy, tenant: Any, action: str = "budget:spent") -> list[str]:
    found = t.audit.search(tenant, type="budget_threshold", limit=100)
    return sorted(
        (str(fact.context["percent"]) for fact in found if fact.action == action), key=int
    )


# --- what is told


def test_each_threshold_is_told_once_in_a_period_and_again_in_the_next(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = customer(t)
    t.billing.budget(acme, 14, thresholds=(50, 80, 100))
    assert t.billing.check_budgets() == 1  # the base fee of 10 is above one half
    use(t, acme, 100)  # another 1.00 does not reach 11.20
    assert t.billing.check_budgets() == 0
    use(t, acme, 300)
    assert t.billing.check_budgets() == 2
    assert t.billing.check_budgets() == 0
    assert percents(t, acme) == ["50", "80", "100"]
    fact = t.audit.search(acme, type="budget_threshold", limit=1)[0]
    assert {**fact.context} | {"percent": "", "period_start": "", "period_end": ""} == {
        "percent": "", "budget": "14.00", "spent": "14.00", "currency": "EUR", "period_start": "",
        "period_end": "",
    }  # fmt: skip
    clock.advance(31 * DAY_S)
    assert t.billing.check_budgets() == 1
    assert percents(t, acme) == ["50", "50", "80", "100"]


def test_what_was_told_stays_told_after_facts_left_the_outbox_and_after_a_restart(
    tmp_path: Path, clock: FakeClock
) -> None:
    with open_billing(tmp_path, clock) as t:
        acme = customer(t)
        t.billing.budget(acme, 10)
        assert t.billing.check_budgets() == 3
        t.background.run_due()
        t._host.facts.settle()
    with open_billing(tmp_path, clock, catalog=None) as t:
        assert t.billing.check_budgets() == 0
        assert percents(t, acme) == ["50", "80", "100"]


def test_another_amount_is_another_budget_and_none_is_none(t: Tenancy) -> None:
    acme = customer(t)
    t.billing.budget(acme, 20, thresholds=[50])
    assert t.billing.check_budgets() == 1
    t.billing.budget(acme, "20.00", thresholds=[50])  # the same, written otherwise
    assert t.billing.check_budgets() == 0
    t.billing.budget(acme, 15, thresholds=[50])
    assert t.billing.check_budgets() == 1
    t.billing.budget(acme, None)
    assert t.billing.budgets() == []
    t.billing.budget(acme, 12, thresholds=[50])
    t.billing.budget(acme, None)
    assert t.billing.check_budgets() == 0


def test_the_status_is_that_of_the_running_bill(t: Tenancy) -> None:
    acme, globex = customer(t), customer(t, "globex")
    t.billing.budget(acme, 20)
    use(t, acme, 700)
    status = t.billing.budget_status(acme)
    assert (status.spent, status.percent) == (Decimal(17), 85)
    assert [one.percent for one in status.passed] == [50, 80]
    with pytest.raises(InvalidValue, match="has no budget"):
        t.billing.budget_status(globex)


def test_a_tenant_that_cannot_be_billed_does_not_keep_the_others_from_being_told(
    t: Tenancy,
) -> None:
    stray = t.tenants.create("Stray", slug="stray", plan="team")  # has no account
    acme = customer(t)
    t.billing.budget(stray, 5)
    t.billing.budget(acme, 10, thresholds=[100])
    told, problems = t.billing._check_budgets(forecasts=False)
    assert told == 1
    assert len(problems) == 1
    assert f"the budget of {stray.id} cannot be checked" in problems[0]
    with pytest.raises(BillingRefused):
        t.billing.budget_status(stray)


def test_the_statuses_of_all_are_those_of_each(t: Tenancy, clock: FakeClock) -> None:
    """Summed where the events lie, and one by one: corrections, late ones, other aggregations."""
    tenants = [customer(t, f"t{place}") for place in range(6)]
    stray = t.tenants.create("Stray", slug="stray", plan="team")  # has no account
    for place, tenant in enumerate(tenants[:5]):
        t.billing.budget(tenant, 15 + place)
        for day in range(place):
            t.usage.record(tenant, "calls", Decimal("40.5") + day, id=f"{day}", source="s")
            clock.advance(DAY_S)
    t.usage.correct(tenants[4], "2", quantity=7, source="s")
    t.usage.cancel(tenants[3], "0", source="s")
    t.billing.budget(stray, 5)
    found = t.billing.budget_statuses()
    assert list(found) == sorted(tenant.id for tenant in tenants[:5])
    for tenant in tenants[:5]:
        assert found[tenant.id] == t.billing.budget_status(tenant)
        assert t.billing.budget_statuses(tenant) == {tenant.id: found[tenant.id]}
    assert found[tenants[4].id].spent == Decimal("11.33")  # of 40.5, 41.5, 7 and 43.5 calls
    clock.advance(31 * DAY_S)  # the earlier period is not billed yet
    later = t.billing.budget_statuses()
    assert {of: status.spent for of, status in later.items()} == dict.fromkeys(found, Decimal(10))


def test_what_was_told_is_not_written_again_and_what_another_told_is_not_told_twice(
    t: Tenancy, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = customer(t)
    t.billing.budget(acme, 14, thresholds=(50, 80))
    assert t.billing.check_budgets() == 1
    with Tenancy.open(tmp_path / "data", clock=clock) as other:
        assert other.billing.check_budgets() == 0  # it asks, and then knows

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be written")

    with monkeypatch.context() as patched:
        patched.setattr(t._host.database, "write", refuse)
        assert t.billing.check_budgets() == 0
    use(t, acme, 200)
    assert t.billing.check_budgets() == 1
    assert percents(t, acme) == ["50", "80"]


# --- alerts


def test_a_budget_alert_reaches_a_webhook_once(tmp_path: Path, clock: FakeClock) -> None:
    with receiving() as receiver:
        alerts = Alerts(rules=budget_alerts(), to=[Webhook(receiver.url, secret=SECRET)])
        with open_billing(tmp_path, clock, alerts=alerts) as t:
            acme = customer(t)
            t.billing.budget(acme, "12.50")
            for _ in range(3):  # the background work looks again and again
                t.background.run_due()
                turn(t)
                deliver(t)
                clock.advance(400)
            use(t, acme, 250)
            for _ in range(2):
                t.background.run_due()
                turn(t)
                deliver(t)
                clock.advance(400)
            found = t.alerts.list(tenant=acme)
            assert [alert.rule for alert in found] == ["budget.spent"] * 3
            assert {alert.group["context.percent"] for alert in found} == {"50", "80", "100"}
            assert all(alert.severity == "medium" for alert in found)
        bodies = [
            json.loads(body) for headers, body in receiver.requests
            if verify_webhook(headers, body, SECRET)
        ]  # fmt: skip
        assert len(receiver.ids) == len(set(receiver.ids)) == 3
        told = {one["data"]["group"]["context.percent"]: one["data"] for one in bodies}
        assert told["100"]["group"]["context.spent"] == "12.50"
        assert told["80"]["group"]["context.budget"] == "12.50"
        assert {one["tenant"] for one in told.values()} == {acme.id}


def test_budget_alerts_are_among_the_rules_that_are_on_by_default(t: Tenancy) -> None:
    acme = customer(t)
    t.billing.budget(acme, 20, thresholds=[50])
    t.background.run_due()
    turn(t)
    assert [alert.rule for alert in t.alerts.list(tenant=acme)] == ["budget.spent"]


# --- forecasts


def months(t: Tenancy, clock: FakeClock, calls: dict[str, Any], days: int) -> None:
    """Days of use, each at noon."""
    for day in range(days):
        clock.advance(DAY_S // 2)
        for slug, of in calls.items():
            use(t, slug, int(of(day)))
        clock.advance(DAY_S // 2)


def test_a_forecast_above_the_budget_is_told_once_and_names_its_probability(
    t: Tenancy, clock: FakeClock
) -> None:
    source = numpy.random.default_rng(1)
    noise = {f"t{i}": source.poisson(30, 200) for i in range(4)}
    tenants = {slug: customer(t, slug) for slug in noise}
    # Until 11 June.
    months(t, clock, {slug: lambda d, s=slug: noise[s][d] for slug in noise}, 161)
    # A month comes to about 10 + 0.01 * 30 * 30 = 19.
    t.billing.budget(tenants["t0"], 16, thresholds=[100], forecast=0.8)
    t.billing.budget(tenants["t1"], 25, thresholds=[100], forecast=0.8)
    t.billing.budget(tenants["t2"], 16, thresholds=[100])
    assert t.billing.check_budgets() == 1
    assert t.billing.check_budgets() == 0
    (fact,) = t.audit.search(tenants["t0"], type="budget_threshold")
    assert fact.action == "budget:forecast"
    assert float(str(fact.context["probability"])) >= 0.8
    turn(t)
    (alert,) = t.alerts.list(rule="budget.forecast")
    assert alert.tenant == tenants["t0"].id
    # Later the cost itself passes it: that is another story, told as well.
    months(t, clock, {"t0": lambda _: 100}, 5)
    assert t.billing.check_budgets() == 1
    assert percents(t, tenants["t0"]) == ["100"]


def test_without_enough_days_no_probability_is_made_up(t: Tenancy, clock: FakeClock) -> None:
    acme = customer(t)
    t.billing.budget(acme, 11, forecast=0.9, thresholds=[200])
    months(t, clock, {"acme": lambda _: 20}, 10)
    assert t.billing.check_budgets() == 0  # although it will be passed for sure
    months(t, clock, {"acme": lambda _: 20}, 12)
    assert percents(t, acme, "budget:forecast") == []


def test_after_a_change_of_plan_what_is_to_come_costs_what_the_new_one_says(
    t: Tenancy, clock: FakeClock
) -> None:
    source = numpy.random.default_rng(2)
    noise = {f"t{i}": source.poisson(30, 200) for i in range(4)}
    tenants = {slug: customer(t, slug) for slug in noise}
    months(t, clock, {slug: lambda d, s=slug: noise[s][d] for slug in noise}, 161)
    t.tenants.change_plan(tenants["t0"], "big")
    spent = t.billing.running("t0").bill.net
    # About 600 calls are to come: 1.20 by the new plan, 6 by the old one.
    for slug in noise:  # all of them, so that they are forecast together
        t.billing.budget(slug, spent + 3, thresholds=[100], forecast=0.8)
    assert t.billing.check_budgets() == 0
    t.billing.budget("t0", spent + Decimal("0.60"), thresholds=[100], forecast=0.8)
    assert t.billing.check_budgets() == 1
    (fact,) = t.audit.search(tenants["t0"], type="budget_threshold")
    assert fact.action == "budget:forecast"


# --- what is refused


@pytest.mark.parametrize(
    ("amount", "options", "message"),
    [
        (0, {}, "amount: expected an amount above zero"),
        (1.5, {}, "amount.*float"),
        (10, {"thresholds": []}, "thresholds"),
        (10, {"thresholds": [-5]}, "thresholds"),
        (10, {"thresholds": range(1, 30)}, "thresholds: 29, at most 16"),
        (10, {"forecast": 1.0}, "forecast: 1.0, expected a probability"),
        (10, {"forecast": "high"}, "forecast: 'high'"),
        (10, {"forecast": True}, "forecast: True"),
    ],
)
def test_wrong_budgets_are_named(
    t: Tenancy, amount: Any, options: dict[str, Any], message: str
) -> None:
    acme = customer(t)
    with pytest.raises(InvalidValue, match=message):
        t.billing.budget(acme, amount, **options)
    assert t.billing.budgets() == []


def test_nobody_has_a_budget_who_is_not_there(t: Tenancy) -> None:
    with pytest.raises(UnknownTenant):
        t.billing.budget("nobody", 10)


def test_budgets_are_listed_as_they_hold(t: Tenancy) -> None:
    acme, globex = customer(t), customer(t, "globex")
    t.billing.budget(acme, 10, by="operator:ada")
    t.billing.budget(globex, "99.5", thresholds=[100, 50], forecast=0.75)
    t.billing.budget(acme, 20)
    found = {one.tenant: one for one in t.billing.budgets()}
    assert found[acme.id].amount == 20
    assert found[globex.id].thresholds == (50, 100)
    assert t.billing.budgets(globex) == [found[globex.id]]
    changes = t.audit.search(acme, type="config_changed", limit=100)
    amounts = [fact.context["amount"] for fact in changes if fact.action == "billing:budget"]
    assert sorted(amounts) == ["10", "20"]
