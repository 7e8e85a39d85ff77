"""Published worked examples of other billing systems, priced under the presets of their names.

Each test names its source. Where a system publishes an amount before it is rounded, the example is
priced with the preset's rounding moved to the invoice.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tenancy.pricing import (
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Tier,
    Volume,
    prorate,
    round_money,
)

STRIPE: Any = {"rules": "stripe", "currency": "USD"}
LAGO: Any = {"rules": "lago", "currency": "USD"}
LAGO_UNROUNDED: Any = {"rules": {"preset": "lago", "round_at": "invoice"}}
OPENMETER: Any = {"rules": "openmeter", "currency": "USD"}
KILLBILL: Any = {"rules": "killbill", "currency": "USD"}

# ------------------------------------------------------------------------------------- Stripe
# docs.stripe.com/subscriptions/pricing-models/tiered-pricing

FONTS = [Tier(5, 7), Tier(10, "6.5"), Tier(None, 6)]
FLAT_FONTS = [Tier(5, 5, 10), Tier(10, 4, 20), Tier(15, 3, 30), Tier(20, 2, 40), Tier(None, 1, 50)]


@pytest.mark.parametrize(
    ("fonts", "volume", "graduated"),
    [(1, 7, 7), (5, 35, 35), (6, 39, "41.5"), (20, 120, "127.5"), (25, 150, "157.5")],
)
def test_stripe_fonts_by_volume_and_graduated(fonts: int, volume: Any, graduated: Any) -> None:
    assert Volume(FONTS, **STRIPE).amount(fonts) == Decimal(volume)
    assert Graduated(FONTS, **STRIPE).amount(fonts) == Decimal(graduated)


def test_stripe_flat_rates_and_a_quantity_of_zero() -> None:
    assert Volume(FLAT_FONTS, **STRIPE).amount(12) == 66
    assert Graduated(FLAT_FONTS, **STRIPE).amount(12) == 111
    assert Volume(FLAT_FONTS, **STRIPE).amount(0) == 10
    assert Graduated(FLAT_FONTS, **STRIPE).amount(0) == 10


def test_stripe_transform_quantity() -> None:
    """docs.stripe.com/billing/subscriptions/usage-based/transform-quantities: a car by the hour;
    stripe.com/docs/billing/subscriptions/quantity-transformation: five users for 10 USD."""
    assert Package(10, package=60, **STRIPE).amount(150) == 30
    users = Package(10, package=5, **STRIPE)
    assert [users.amount(n) for n in (1, 3, 5, 6, 7)] == [10, 10, 10, 20, 20]
    down: Any = {"rules": {"preset": "stripe", "package_rounding": "down"}, "currency": "USD"}
    assert Package(10, package=5, **down).amount(9) == 10


def test_stripe_decimal_amounts_are_rounded_to_the_cent() -> None:
    """docs.stripe.com/products-prices/pricing-models: 0.05 cents for each MB, rounded to the
    nearest whole cent."""
    storage = PerUnit("0.0005", **STRIPE)
    assert storage.amount(1_110) == Decimal("0.56")
    assert storage.amount(1_109) == Decimal("0.55")


def test_stripe_prorates_by_the_second() -> None:
    """docs.stripe.com/billing/subscriptions/prorations: from 10 to 20 USD half-way through the
    period costs 5 more."""
    start = datetime(2026, 4, 1, tzinfo=timezone.utc)
    period = (start, start + timedelta(days=30))
    rest = (start + timedelta(days=15), period[1])
    assert prorate(20, rest, period, "stripe") - prorate(10, rest, period, "stripe") == 5


# --------------------------------------------------------------------------------------- Lago
# getlago.com/docs/guide/plans/charges/charge-models/…, and the specifications of getlago/lago-api,
# spec/services/charge_models/


def test_lago_package() -> None:
    """…/package: 5 USD per 100 units, the first 100 free; package_service_spec.rb."""
    assert Package(5, package=100, included=100, **LAGO).amount(201) == 10
    assert Package(100, package=10, **LAGO).amount(121) == 1300
    assert Package(100, package=10, included=10, **LAGO).amount(121) == 1200
    assert Package(100, package=10, included=200, **LAGO).amount(121) == 0


def test_lago_volume() -> None:
    """…/volume: 65,000 API calls; volume_service_spec.rb, with usage between the bounds."""
    calls = [
        Tier(10_000, "0.0010", 10),
        Tier(50_000, "0.0008", 10),
        Tier(100_000, "0.0006", 10),
        Tier(None, "0.0004", 10),
    ]
    assert Volume(calls, **LAGO).amount(65_000) == 49
    ranges = Volume([Tier(100, 2, 10), Tier(200, 1, 0), Tier(None, "0.5", 50)], **LAGO)
    expected = {0: 10, 1: 12, 100: 210, "100.5": "100.5", 101: 101, 200: 200, 300: 200, 210: 155}
    for quantity, amount in expected.items():
        assert ranges.amount(quantity) == Decimal(amount), quantity


def test_lago_graduated() -> None:
    """…/graduated: 1 USD to 100 calls, 0.50 to 200, then 0.10; graduated_service_spec.rb."""
    calls = Graduated([Tier(100, 1), Tier(200, "0.50"), Tier(None, "0.10")], **LAGO)
    assert calls.amount(250) == 155
    ranges = Graduated([Tier(10, 10, 2), Tier(20, 5, 3), Tier(None, 5, 3)], **LAGO)
    for quantity, amount in {0: 2, 1: 12, 10: 102, 11: 110, 12: 115, 21: 163}.items():
        assert ranges.amount(quantity) == amount, quantity
    decimals = Graduated([Tier("0.1", 10), Tier(1, 5), Tier(None, 2)], **LAGO)
    assert decimals.amount("0.05") == Decimal("0.5")
    assert decimals.amount("0.5") == 3


def test_lago_graduated_percentage_transaction_by_transaction() -> None:
    """…/graduated-percentage: 500, then 550, then 4,000 USD."""
    price = GraduatedPercentage(
        [Tier(1_000, 1, 200), Tier(10_000, 2, 300), Tier(None, 3, 400)], **LAGO
    )
    assert price.amount(500) == 205
    assert price.amount(550, after=500) == 306
    assert price.amount(4_000, after=1_050) == 80


def test_lago_graduated_percentage_of_a_sum() -> None:
    """graduated_percentage_service_spec.rb: without usage not even the first flat price is due."""
    price = GraduatedPercentage(
        [Tier(10, 1, 200), Tier(20, 2, 300), Tier(None, 3, 400)], **LAGO_UNROUNDED
    )
    expected = {0: 0, 1: "200.01", 10: "200.1", 11: "500.12", 12: "500.14", 21: "900.33"}
    for quantity, amount in expected.items():
        assert price.amount(quantity) == Decimal(amount), quantity
    assert sum(line.amount for line in price.explain(0)) == 0
    assert price.amount(1, after=0) == Decimal("200.01")


@pytest.mark.parametrize(
    ("options", "events", "expected"),
    [
        # percentage_service_spec.rb: four events of 50, 100, 250 and 400
        ({"free_events": 3, "included": 250}, [50, 100, 250, 400], "11.15"),
        ({"included": 250}, [50, 100, 250, 400], "11.15"),
        ({"free_events": 3}, [50, 100, 250, 400], "7.2"),
        ({"free_events": 3, "included": 500}, [50, 100, 250, 400], "7.2"),
        ({}, [50, 100, 250, 400], "18.4"),
        ({"free_events": 5}, [50, 100, 250], "0"),
    ],
)
def test_lago_percentage_with_free_events_and_volume(
    options: Any, events: list[int], expected: str
) -> None:
    price = Percentage("1.3", 2, **options, **LAGO_UNROUNDED)
    assert price.amount_of_events(events) == Decimal(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # the same file: events of 10, 80 and 10,000 at 2.99 %, at least 1.75 and at most 12 each
        ({}, "16.142"),
        ({"fixed": 2}, "18.691"),
        ({"free_events": 2}, "12"),
        ({"included": 30}, "13.794"),
        ({"free_events": 3, "included": 10_000}, "2.691"),
    ],
)
def test_lago_percentage_with_a_minimum_and_maximum_per_event(options: Any, expected: str) -> None:
    options = {"minimum_per_event": "1.75", "maximum_per_event": 12, **options}
    price = Percentage("2.99", **options, **LAGO_UNROUNDED)
    assert price.amount_of_events([10, 80, 10_000]) == Decimal(expected)


def test_lago_prorates_by_the_day() -> None:
    """getlago.com/docs/guide/subscriptions/upgrades-downgrades: 100 EUR, upgraded on January 15."""
    january = (date(2026, 1, 1), date(2026, 2, 1))
    used = prorate(100, (january[0], date(2026, 1, 15)), january, "lago")
    assert round_money(used, "EUR") == Decimal("45.16")


def test_lago_charges_nothing_for_negative_volume() -> None:
    """volume_service_spec.rb, an aggregation of -5; with a first tier that has no flat price."""
    assert Volume([Tier(100, 2), Tier(None, 1)], **LAGO).amount(-5) == 0


# ---------------------------------------------------------------------------------- OpenMeter
# openmeterio/openmeter, openmeter/billing/service/lineservice/

STEPS = [Tier(5, 0, 100), Tier(10, 0, 50), Tier(15, 10), Tier(None, 5)]


@pytest.mark.parametrize(
    ("quantity", "total"),
    [(0, 100), (3, 100), (5, 100), ("5.001", 150), (7, 150), (12, 170), (22, 235)],
)
def test_openmeter_graduated(quantity: Any, total: int) -> None:
    """pricegraduatedtiered_test.go, TestTieredPriceCalculator."""
    assert Graduated(STEPS, **OPENMETER).amount(quantity) == total


def test_openmeter_graduated_from_the_middle_of_a_period_and_its_limits() -> None:
    """The same file, TestTieredGraduatedCalculation."""
    tiers = [Tier(5, 0, 100), Tier(10, 0, 50), Tier(15, 5), Tier(None, 1)]
    price = Graduated(tiers, **OPENMETER)
    assert price.amount(22) == 100 + 50 + 5 * 5 + 7
    assert price.amount(1, after=7) == 0
    assert price.amount(10, after=12) == 3 * 5 + 7
    capped = Graduated(tiers, maximum=170, **OPENMETER)
    assert capped.amount(12) == 160
    assert capped.amount(10, after=12) == 10
    assert Graduated(tiers, minimum=1000, **OPENMETER).amount(0) == 1000


@pytest.mark.parametrize(
    ("quantity", "total"),
    [(0, 100), (3, 100), (5, 100), (14, 140), (15, 150), (16, 80), (100, 500)],
)
def test_openmeter_volume(quantity: int, total: int) -> None:
    """pricevolumetiered_test.go, TestTieredVolumeCalculation."""
    tiers = [Tier(5, 0, 100), Tier(10, 0, 150), Tier(15, 10), Tier(None, 5)]
    assert Volume(tiers, **OPENMETER).amount(quantity) == total
    assert Volume(tiers, maximum=125, **OPENMETER).amount(7) == 125
    assert Volume(tiers, minimum=150, **OPENMETER).amount(0) == 150


def test_openmeter_package() -> None:
    """pricepackage_test.go."""
    price = Package(15, package=10, **OPENMETER)
    assert [price.amount(n) for n in (0, 1, 9, 10, 11)] == [0, 15, 15, 15, 30]
    assert price.amount(5, after=17) == 15
    assert Package(15, package=10, minimum=100, **OPENMETER).amount(0) == 100
    assert Package(15, package=10, maximum=100, **OPENMETER).amount(50, after=60) == 10


def test_openmeter_per_unit() -> None:
    """openmeter.io/docs/billing/product-catalog/pricing-models: 10,000 tokens at 0.01 USD."""
    assert PerUnit("0.01", **OPENMETER).amount(10_000) == 100


# ----------------------------------------------------------------------------------- Kill Bill


def test_killbill_videos_and_litres() -> None:
    """docs.killbill.io/latest/consumable_in_arrear (5 videos at 2 USD, then 1 USD) and
    docs.killbill.io/latest/catalog-examples (1,200 litres over 30 USD: 1,930)."""
    videos = Graduated([Tier(5, 2), Tier(None, 1)], base_fee=30, **KILLBILL)
    assert videos.amount(0) == 30
    assert videos.amount(7) == 30 + 5 * 2 + 2 * 1
    water = Graduated([Tier(1_000, "1.5"), Tier(None, "2.0")], base_fee=30, **KILLBILL)
    assert water.amount(1_200) == 1_930


def test_killbill_all_tiers() -> None:
    """killbill/killbill, TestContiguousIntervalConsumableInArrear, the tests of ALL_TIERS: blocks
    of 100 and of 1,000 units, and of single units."""
    blocks = Graduated([Tier(1_000, 1, package=100), Tier(None, 1, package=1_000)], **KILLBILL)
    assert blocks.amount(5_325) == 15
    single = Graduated([Tier(10, "1.5"), Tier(110, "1.0"), Tier(None, "0.5")], **KILLBILL)
    assert single.amount(111) == Decimal("115.5")


@pytest.mark.parametrize(
    ("units", "amount"), [(1_000, 10), (101_000, 101), (101_001, 51), (300_000, 150)]
)
def test_killbill_top_tier(units: int, amount: int) -> None:
    """The same file, testComputeBilledUsageWith_TOP_TIER: all units at the tier that is reached."""
    tiers = [
        Tier(1_000, 1, package=100),
        Tier(101_000, 1, package=1_000),
        Tier(None, "0.5", package=1_000),
    ]
    assert Volume(tiers, **KILLBILL).amount(units) == amount


def test_killbill_counts_whole_units_and_prorates_to_nine_digits() -> None:
    """killbill/killbill, ContiguousIntervalConsumableUsageInArrear (whole units alone count) and
    InvoiceDateUtils (days without the last one; the fraction has nine digits, half up)."""
    assert PerUnit(2, **KILLBILL).amount("3.9") == 6
    third = ((date(2026, 1, 1), date(2026, 1, 11)), (date(2026, 1, 1), date(2026, 1, 31)))
    assert prorate(1000, *third, "killbill") == Decimal("333.333333")
