"""Prices and price books: shipped figures, what goes in and comes out, what is refused."""

from __future__ import annotations

import decimal
import pickle
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tenancy import pricing
from tenancy.catalog import Catalog
from tenancy.errors import CatalogError, InvalidValue, NotFound, UnknownPlan
from tenancy.pricing import (
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceBook,
    Stairstep,
    Tier,
    Volume,
)

FOUR = [
    Tier(10_000, "0.001"),
    Tier(100_000, "0.0008"),
    Tier(1_000_000, "0.0005"),
    Tier(None, "0.0003"),
]

# --------------------------------------------------------------------------- the shipped books


def test_per_operation_to_the_last_digit() -> None:
    book = PriceBook.load("per_operation")
    assert book.currency == "USD"
    for metric, unit in {
        "hash_operations": "0.001",
        "stamps": "0.01",
        "api_calls": "0.0001",
        "storage_gb_months": "0.10",
    }.items():
        for quantity in (0, 1, 7, 12_345, 10**18):
            assert book.amount({metric: quantity}) == Decimal(unit) * quantity
    usage = {"hash_operations": 1, "stamps": 1, "api_calls": 1, "storage_gb_months": 1}
    assert book.amount(usage) == Decimal("0.1111")


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, "0"),
        (1, "0.001"),
        (10_000, "10"),
        (10_001, "10.0008"),
        (100_000, "82"),
        (100_001, "82.0005"),
        (1_000_000, "532"),
        (1_000_001, "532.0003"),
        (10**12, "300000232"),
    ],
)
def test_tiered_to_the_last_digit(quantity: int, expected: str) -> None:
    assert PriceBook.load("tiered").amount({"hash_operations": quantity}) == Decimal(expected)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [(0, 10), (1, 10), (10_000, 10), (10_001, 80), (100_000, 80), (100_001, 600),
     (1_000_000, 600), (1_000_001, 5_000), (10**15, 5_000)],
)  # fmt: skip
def test_volume_to_the_last_digit(quantity: int, expected: int) -> None:
    assert PriceBook.load("volume").amount({"hash_operations": quantity}) == expected


def test_tokens_per_million_and_the_volume_twin() -> None:
    book, twin = PriceBook.load("llm-tokens"), PriceBook.load("llm-tokens-volume")
    one = {"context_tokens": 1, "generated_tokens": 1}
    assert book.amount(one) == Decimal("0.00000075")
    million = {"context_tokens": 1_000_000, "generated_tokens": 1_000_000}
    assert book.amount(million) == twin.amount(million) == Decimal("0.75")
    beyond = {"context_tokens": 12_345_678}
    assert book.amount(beyond) == Decimal("1.5") + Decimal("2.345678") * Decimal("0.12")
    assert twin.amount(beyond) == Decimal("12.345678") * Decimal("0.12")
    starter = book.for_plan("starter")
    assert starter.amount({"context_tokens": 1_000_000, "generated_tokens": 200_000}) == 0
    assert starter.amount({"context_tokens": 1_000_001}) == Decimal("0.00000015")
    assert starter["context_tokens"].included == 1_000_000


@pytest.mark.parametrize("name", pricing.shipped)
def test_shipped_books_load_and_pickle(name: str) -> None:
    book = PriceBook.load(name)
    assert book.name == name
    assert pickle.loads(pickle.dumps(book)) == book
    for plan in book.plans:
        again = pickle.loads(pickle.dumps(book.for_plan(plan)))
        assert again == book.for_plan(plan)
        assert again.plan == plan


# ------------------------------------------------------------------------------ in and out


def test_results_are_decimals_of_exactly_the_right_digits() -> None:
    price = Graduated(FOUR)
    amount = price.amount(25_000)
    assert type(amount) is Decimal
    assert str(amount) == "22"
    assert str(PerUnit("0.10").amount(3)) == "0.3"
    assert str(PerUnit("0").amount(3)) == "0"


def test_pythons_decimal_context_has_no_say() -> None:
    price = PerUnit("0.123456789012")
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        context.traps[decimal.Rounded] = True
        assert str(price.amount(10**13)) == "1234567890120"
        assert str(price.amount(Decimal("9876543210.000000000001"))) == "1219326311.24487120852"
        book = PriceBook.load("per_operation")
        assert str(book.amount({"stamps": 10**9 + 1, "api_calls": 1})) == "10000000.0101"


@pytest.mark.parametrize("quantity", [25_000, "25000", "2.5e4", Decimal("2.5E+4"), Decimal(25000)])
def test_numbers_go_in_as_int_str_or_decimal(quantity: Any) -> None:
    assert Graduated(FOUR).amount(quantity) == 22


def test_numpy_integers_are_integers() -> None:
    numpy = pytest.importorskip("numpy")
    assert Graduated(FOUR).amount(numpy.int32(25_000)) == 22
    with pytest.raises(InvalidValue, match="quantity: got a float"):
        Graduated(FOUR).amount(numpy.float64(1))


@pytest.mark.parametrize(
    "bad", [1.5, float("nan"), True, None, b"1", [1], Fraction(1, 2), object()]
)
def test_other_numbers_are_refused(bad: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^quantity: "):
        PerUnit(1).amount(bad)
    with pytest.raises(InvalidValue):
        Tier(None, bad)
    with pytest.raises(InvalidValue):
        PerUnit(bad)


def test_a_float_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidValue) as caught:
        PerUnit("0.1").amount(0.1)  # type: ignore[arg-type]
    assert 'pass an int, a str such as "0.1", or a Decimal' in str(caught.value)
    with pytest.raises(InvalidValue, match="unit: got a float"):
        Tier(10, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    ["", "1,5", "NaN", "Infinity", "-", "0x10", "1_000", "\u0661", "\ud800", Decimal("NaN"),
     Decimal("-Infinity"), "1e26", 10**26, -(10**26), 10**5000, "0.0000000000001",
     Decimal("1E-13")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_number_in_range_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^quantity: "):
        PerUnit(1).amount(bad)


def test_beyond_64_bits() -> None:
    price = Graduated(FOUR)
    assert price.amount(2**64) == Decimal("232") + Decimal("0.0003") * 2**64
    assert price.amount(10**26 - 1) == Decimal("30000000000000000000231.9997")
    with pytest.raises(InvalidValue, match=r"passes 10\^26"):
        PerUnit(2).amount(10**26 - 1)
    with pytest.raises(InvalidValue, match=r"the price of the tiers together passes 10\^26"):
        Graduated([Tier("1e20", "1e20"), Tier(None, 1)])


# --------------------------------------------------------------------------- what a price can


def test_explanations_read_well_and_sum() -> None:
    price = Graduated(FOUR, included=500, base_fee=5, minimum=20, currency="USD")
    explanation = price.explain(12_000)
    assert sum(line.amount for line in explanation) == explanation.amount == price.amount(12_000)
    assert str(explanation) == (
        "included       500 x 0        0\n"
        "usage, tier 1  10000 x 0.001  10\n"
        "usage, tier 2  1500 x 0.0008  1.2\n"
        "base_fee       1 x 5          5\n"
        "minimum        1 x 0          3.8\n"
        "total                         20 USD"
    )


def test_marginal_cost_and_what_a_budget_buys() -> None:
    price = Graduated(FOUR)
    assert price.marginal(9_999) == Decimal("0.001")
    assert price.marginal(10_000) == Decimal("0.0008")
    assert Volume(FOUR).marginal(10_000) == Decimal("-1.9992")
    assert price.marginal(0, step=1_000_000) == 532
    assert price.quantity_for(82) == 100_000
    assert price.quantity_for("82.0004", step="0.1") == Decimal("100000.8")
    assert PerUnit(0).quantity_for(1) == Decimal("Infinity")
    with pytest.raises(InvalidValue, match="does not pay for no usage"):
        PerUnit(1, base_fee=5).quantity_for(4)
    with pytest.raises(InvalidValue, match=r"^step: expected a step above 0, got 0"):
        PerUnit(1).quantity_for(4, step=0)


def test_prices_are_values() -> None:
    prices: list[Price] = [
        PerUnit("0.1", included=5),
        Graduated(FOUR, rules="lago", currency="USD"),
        Volume(FOUR, maximum=7),
        Package(5, package=100),
        Stairstep([Tier(10, flat=1), Tier(None, flat=2)]),
        Percentage("2.9", "0.30", free_events=3, maximum_per_event=12),
        GraduatedPercentage([Tier(1000, 1, flat=200), Tier(None, 2, flat=300)]),
    ]
    for price in prices:
        again = pickle.loads(pickle.dumps(price))
        assert again == price
        assert hash(again) == hash(price)
        assert type(again) is type(price)
        assert Price.from_dict(price.to_dict()) == price
        assert again.amount(50) == price.amount(50)
        assert type(price).__name__ in repr(price)
    assert len(set(prices)) == len(prices)
    assert prices[0] != PerUnit("0.1")
    assert prices[1].tiers == tuple(FOUR)
    assert prices[1].rules["negative"] == "zero"
    assert Price.from_dict("0.5") == PerUnit("0.5")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Graduated([]), "expected 1 to 100 tiers, got 0"),
        (lambda: Graduated([Tier(5, 1), Tier(5, 1), Tier(None, 1)]), "ascend without overlap"),
        (lambda: Graduated([Tier(5, 1), Tier(4, 1), Tier(None, 1)]), "ascend without overlap"),
        (lambda: Graduated([Tier(5, 1)]), "the last tier must be open"),
        (lambda: Graduated([Tier(None, 1), Tier(None, 1)]), "only the last tier may be open"),
        (lambda: Graduated([Tier(None, -1)]), "expected a price from 0"),
        (lambda: Graduated([Tier(-1, 1), Tier(None, 1)]), "expected a bound above 0"),
        (lambda: Graduated([5]), "expected a Tier, got int"),  # type: ignore[list-item]
        (lambda: Graduated("tiers"), "expected a list of Tier, got str"),  # type: ignore[arg-type]
        (lambda: Stairstep([Tier(None, 1)]), "a stairstep has flat prices only"),
        (lambda: Package(1, package=0), "expected a number of units above 0"),
        (lambda: PerUnit(1, minimum=5, maximum=4), 'must not be above "maximum"'),
        (lambda: PerUnit(1, currency="XBC"), "expected a currency of ISO 4217"),
        (lambda: PerUnit(1, rules="strip"), 'did you mean "stripe"'),
        (lambda: PerUnit(1, rules="stripe"), '"currency" is missing'),
        (lambda: PerUnit(1, rules={"frction": "up"}), 'did you mean "fraction"'),
        (lambda: Percentage(1, minimum_per_event=2, maximum_per_event=1), "must not be above"),
        (lambda: Percentage(1, free_events=-1), "expected a whole number from 0"),
        (lambda: Price.from_dict({"model": "tiered", "unit": 1}), 'expected "per_unit"'),
        (lambda: PriceBook.load("per_operations"), 'did you mean "per_operation"'),
    ],
)
def test_bad_definitions_are_told(make: Any, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make()
    assert message in str(caught.value)


def test_negative_usage_is_refused_or_priced_as_the_rules_say() -> None:
    with pytest.raises(InvalidValue, match="expected a number from 0, got -5"):
        Graduated(FOUR).amount(-5)
    assert Graduated(FOUR, rules={"negative": "credit"}).amount(-5) == Decimal("-0.005")
    assert Graduated(FOUR, rules={"negative": "zero"}).amount(-5) == 0


def test_presets_spell_out_every_option() -> None:
    found = pricing.presets()
    assert {"default", "stripe", "lago", "openmeter", "killbill"} == found.keys()
    assert len({tuple(options) for options in found.values()}) == 1
    for name, options in found.items():
        price = PerUnit(1, currency="USD", rules=options)
        assert price == PerUnit(1, currency="USD", rules=name)


# ------------------------------------------------------------------------------- price books

BOOK = """\
price_book: shop
currency: EUR
base_fee: 10
seats: {unit: 12, included: 3}
metrics:
  calls: 0.5
  files: {model: package, unit: 2, package: 10}
plans:
  team: {included: {calls: 10}}
"""


def test_a_book_from_text_dict_and_file(tmp_path: Path) -> None:
    book = PriceBook.from_text(BOOK)
    assert book.amount({"calls": 4, "files": 11}, seats=5) == 2 + 4 + 24 + 10
    explained = book.explain({"calls": 4}, seats=3)
    assert dict(explained) == {"calls": 2, "files": 0, "seats": 0, "base_fee": 10}
    assert explained.total == sum(amount for _, amount in explained)
    assert list(book) == ["calls", "files"]
    assert book.for_plan("team").amount({"calls": 10}) == 10
    file = tmp_path / "shop.yaml"
    file.write_text(BOOK, encoding="utf-8")
    assert PriceBook.load(file) == book
    document = {
        "price_book": "shop",
        "currency": "EUR",
        "base_fee": Decimal(10),
        "seats": {"unit": 12, "included": 3},
        "metrics": {"calls": "0.5", "files": {"model": "package", "unit": 2, "package": 10}},
        "plans": {"team": {"included": {"calls": 10}}},
    }
    assert PriceBook.from_dict(document) == book


def test_problems_of_a_book_have_file_line_and_path() -> None:
    text = BOOK.replace("0.5", "-0.5").replace("unit: 2,", "unit: 2, currency: USD,")
    with pytest.raises(CatalogError) as caught:
        PriceBook.from_text(text, source="shop.yaml")
    assert str(caught.value) == (
        "shop.yaml: 2 problems in the price book\n"
        '  shop.yaml:6: metrics.calls: expected a price from 0, or a mapping with "model", '
        "got -0.5\n"
        "  shop.yaml:7: metrics.files.currency: mixed currencies: the book is in EUR, this price "
        "in USD; make one book for each currency"
    )


def test_unknown_names_are_told() -> None:
    book = PriceBook.from_text(BOOK)
    with pytest.raises(InvalidValue, match='unknown metric "call"; did you mean "calls"'):
        book.amount({"call": 1})
    with pytest.raises(KeyError, match="did you mean"):
        book["call"]
    with pytest.raises(UnknownPlan, match="it names team"):
        book.for_plan("free")
    with pytest.raises(InvalidValue, match="no price for seats"):
        PriceBook.load("tiered").amount({}, seats=2)


def test_the_book_of_a_plan() -> None:
    text = (
        "catalog: c\ncurrency: EUR\nplans:\n  free: {}\n  team: {price_book: own}\n"
        "  big: {extends: team}\n  other: {price_book: llm-tokens}\n"
        "price_books:\n  own:\n    metrics: {calls: 0.5}\n"
        "    plans: {team: {included: {calls: 4}}}\n"
    )
    catalog = Catalog.from_text(text)
    assert PriceBook.of_plan(catalog, "team").amount({"calls": 6}) == 1
    assert PriceBook.of_plan(catalog, "team").currency == "EUR"
    assert PriceBook.of_plan(catalog, "big").amount({"calls": 6}) == 3
    assert PriceBook.of_plan(catalog, "other").name == "llm-tokens"
    with pytest.raises(NotFound, match="plan free names no price book"):
        PriceBook.of_plan(catalog, "free")
    with pytest.raises(UnknownPlan):
        PriceBook.of_plan(catalog, "nobody")
    with pytest.raises(CatalogError, match='unknown price book "ovn"; did you mean "own"'):
        Catalog.from_text(text.replace("price_book: own", "price_book: ovn"))
