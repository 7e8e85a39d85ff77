"""Arrays in and out: NumPy, Arrow and lists; what is refused; usage summed and priced."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from tenancy.errors import InvalidValue
from tenancy.pricing import Graduated, PerUnit, PriceBook, Tier, Volume, aggregate, rate

numpy = pytest.importorskip("numpy")
pyarrow = pytest.importorskip("pyarrow")

PRICE = Graduated([Tier(10_000, "0.001"), Tier(100_000, "0.0008"), Tier(None, "0.0005")])
QUANTITIES = [0, 1, 9_999, 10_000, 10_001, 25_000, 1_000_000]
EXPECTED = [PRICE.amount(quantity) for quantity in QUANTITIES]


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_numpy_integers_of_every_width(dtype: str) -> None:
    fitting = [q for q in QUANTITIES if q <= numpy.iinfo(dtype).max]
    array = numpy.array(fitting, dtype)
    assert list(PRICE.amounts(array)) == [PRICE.amount(q) for q in fitting]
    assert list(PRICE.amounts(array[::-2])) == [PRICE.amount(q) for q in fitting[::-2]]


def test_beyond_63_bits_in_an_unsigned_array() -> None:
    array = numpy.array([2**64 - 1, 5], "uint64")
    assert list(PRICE.amounts(array)) == [PRICE.amount(2**64 - 1), PRICE.amount(5)]


def test_object_arrays_and_lists_of_int_str_and_decimal() -> None:
    mixed = [5, "10000.5", Decimal("0.000000000001"), 2**70]
    expected = [PRICE.amount(q) for q in mixed]
    assert list(PRICE.amounts(mixed)) == expected
    assert list(PRICE.amounts(tuple(mixed))) == expected
    assert list(PRICE.amounts(numpy.array(mixed, object))) == expected
    assert list(PRICE.amounts([])) == []


@pytest.mark.parametrize(
    "type_", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_arrow_integers(type_: str) -> None:
    kind = getattr(pyarrow, type_)()
    fitting = [q for q in QUANTITIES if q <= numpy.iinfo(type_).max]
    array = pyarrow.array([*fitting, None], kind)
    assert list(PRICE.amounts(array)) == [*(PRICE.amount(q) for q in fitting), None]
    assert list(PRICE.amounts(array.slice(1))) == [*(PRICE.amount(q) for q in fitting[1:]), None]
    chunked = pyarrow.chunked_array([array, array.slice(2), pyarrow.array([], kind)])
    assert list(PRICE.amounts(chunked)) == list(PRICE.amounts(array)) + list(
        PRICE.amounts(array.slice(2))
    )


@pytest.mark.parametrize("scale", [0, 2, 12, 15])
def test_arrow_decimals_of_any_scale(scale: int) -> None:
    values = [Decimal("12345.5").quantize(Decimal(1).scaleb(-scale)), None, Decimal(7)]
    array = pyarrow.array(values, pyarrow.decimal128(30, scale))
    expected = [None if v is None else PRICE.amount(v) for v in array.to_pylist()]
    assert list(PRICE.amounts(array)) == expected


def test_results_go_to_arrow_and_numpy_without_a_loss() -> None:
    amounts = PRICE.amounts(QUANTITIES)
    array = pyarrow.array(amounts)
    assert array.type == pyarrow.decimal128(38, 12)
    assert array.to_pylist() == EXPECTED
    assert amounts.sum() == sum(EXPECTED)
    assert amounts[-1] == EXPECTED[-1]
    assert len(amounts) == len(EXPECTED)
    assert amounts == PRICE.amounts(numpy.array(QUANTITIES))
    assert amounts != PRICE.amounts([1])
    with pytest.raises(IndexError):
        amounts[7]
    with_null = PRICE.amounts(pyarrow.array([5, None], pyarrow.int64()))
    assert pyarrow.array(with_null).to_pylist() == [PRICE.amount(5), None]
    assert list(PerUnit(2).amounts(pyarrow.array(amounts))) == [2 * amount for amount in EXPECTED]


def test_an_exported_array_outlives_what_it_came_from() -> None:
    array = pyarrow.array(PRICE.amounts(numpy.arange(100_000)))
    assert array[99_999].as_py() == PRICE.amount(99_999)
    schema, capsule = PRICE.amounts([1]).__arrow_c_array__()
    del schema, capsule  # released without having been used


@pytest.mark.parametrize(
    "bad",
    [
        numpy.array([1.0]),
        numpy.array([1.0], "float32"),
        pyarrow.array([1.0]),
        [1.0],
        numpy.array([1.0], object),
        pyarrow.chunked_array([pyarrow.array([1.0], pyarrow.float32())]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_floats_are_refused_with_the_remedy(bad: Any) -> None:
    with pytest.raises(InvalidValue, match=r"quantities.*float.*(int64|Decimal)"):
        PRICE.amounts(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (numpy.array([True]), "elements of the type"),
        (numpy.array([[1]]), "expected one dimension, got 2"),
        (numpy.array(["a"]), "elements of the type"),
        (numpy.array(["2026-01-01"], "datetime64[D]"), "expected"),
        (pyarrow.array(["1"]), "expected whole numbers or decimals, got a column of texts"),
        (pyarrow.table({"a": [1]}), "got a table; give one of its columns"),
        (pyarrow.array([[1]]), "is not read"),
        ("123", "expected an array or a list, got a text"),
        (5, "expected an array"),
        (None, "expected an array"),
        ([1, None], r"quantities\[1\]: expected int, str or Decimal, got NoneType"),
        ([1, "x"], r"quantities\[1\]: expected a decimal number"),
        ([1, -5], "element 1: expected a number from 0, got -5"),
        (numpy.array([1, -5]), "element 1: expected a number from 0, got -5"),
        (pyarrow.array([Decimal("1E-13")], pyarrow.decimal128(20, 13)), "element 0: expected a"),
    ],
    ids=str,
)
def test_what_no_column_of_quantities_is(bad: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        PRICE.amounts(bad)


def test_a_book_prices_a_table() -> None:
    book = PriceBook.load("per_operation")
    usage = {"stamps": numpy.array([1, 2, 0]), "api_calls": pyarrow.array([10, 0, 5])}
    rows = [{"stamps": 1, "api_calls": 10}, {"stamps": 2}, {"api_calls": 5}]
    assert list(book.amounts(usage)) == [book.amount(row) for row in rows]
    with pytest.raises(InvalidValue, match="different lengths: 3 and 2"):
        book.amounts({"stamps": [1, 2, 3], "api_calls": [1, 2]})
    with pytest.raises(InvalidValue, match="element 1 has no value; write 0"):
        book.amounts({"stamps": pyarrow.array([1, None])})
    with pytest.raises(InvalidValue, match="unknown metric"):
        book.amounts({"stamp": [1]})


def test_threads_price_at_the_same_time() -> None:
    array = numpy.arange(400_000)
    results: list[Decimal] = []
    threads = [
        threading.Thread(target=lambda: results.append(PRICE.amounts(array).sum()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1


# ------------------------------------------------------------------------------------- usage

PRICES = {"calls": PerUnit("0.5"), "tokens": Volume([Tier(1000, 2), Tier(None, 1)])}


def some_events(count: int, tenants: list[Any]) -> tuple[list[Any], list[str], list[int]]:
    source = random.Random(4)
    return (
        source.choices(tenants, k=count),
        source.choices(list(PRICES), k=count),
        [source.randrange(1000) for _ in range(count)],
    )


def model(tenants: list[Any], metrics: list[str], quantities: list[int]) -> dict[Any, int]:
    sums: dict[Any, int] = defaultdict(int)
    for tenant, metric, quantity in zip(tenants, metrics, quantities, strict=True):
        sums[tenant, metric] += quantity
    return sums


@pytest.mark.parametrize(
    "ids",
    [list(range(50)), [2**63 - 1, -(2**63), 0, 7], ["acme", "globex", "\u00fcber", ""]],
    ids=["dense", "64-bit", "texts"],
)
def test_usage_in_every_form_is_that_of_a_dictionary(ids: list[Any]) -> None:
    tenants, metrics, quantities = some_events(5_000, ids)
    expected = model(tenants, metrics, quantities)
    names = list(PRICES)
    texts = isinstance(ids[0], str)
    tenant_forms = [
        tenants,
        pyarrow.array(tenants),
        pyarrow.chunked_array([tenants[:9], tenants[9:]]),
    ]
    if texts:
        tenant_forms += [
            numpy.array(tenants, object),
            numpy.array(tenants),
            pyarrow.array(tenants, pyarrow.large_string()),
            pyarrow.array(tenants).dictionary_encode(),
            pyarrow.chunked_array(
                [pyarrow.array(part).dictionary_encode() for part in (tenants[:77], tenants[77:])]
            ),
        ]
        if hasattr(pyarrow, "string_view"):
            tenant_forms.append(pyarrow.array(tenants, pyarrow.string_view()))
    else:
        tenant_forms.append(numpy.array(tenants, "int64"))
    metric_forms = [
        metrics,
        pyarrow.array(metrics).dictionary_encode(),
        numpy.array([names.index(metric) for metric in metrics], "uint8"),
    ]
    quantity_forms = [
        numpy.array(quantities),
        pyarrow.array(list(map(Decimal, quantities)), pyarrow.decimal128(20, 3)),
        list(map(str, quantities)),
    ]
    for i, tenant_form in enumerate(tenant_forms):
        for metric_form in metric_forms:
            quantity_form = quantity_forms[i % 3]
            usage = rate(tenant_form, quantity_form, metric_form, prices=PRICES)
            assert {(r.tenant, r.metric): r.quantity for r in usage} == expected
            assert all(r.amount == PRICES[r.metric].amount(r.quantity) for r in usage)
            assert usage.total == sum(row.amount or 0 for row in usage)


def test_sliced_and_chunked_arrays_count_from_where_they_begin() -> None:
    tenants, metrics, quantities = some_events(3_000, ["acme", "globex-" * 5, "", "initech"])
    usage = rate(
        pyarrow.chunked_array(
            [pyarrow.array(tenants)[7:1500], pyarrow.array(tenants[1500:])[:900]]
        ),
        numpy.array(quantities)[7:2400],
        pyarrow.array(metrics).dictionary_encode()[7:2400],
        prices=PRICES,
    )
    expected = model(tenants[7:2400], metrics[7:2400], quantities[7:2400])
    assert {(r.tenant, r.metric): r.quantity for r in usage} == expected
    assert len(rate(pyarrow.array(tenants)[:0], prices={"calls": PRICES["calls"]})) == 0


@pytest.mark.parametrize("same", [True, False], ids=["same objects", "equal objects"])
@pytest.mark.parametrize("distinct", [300, 70_000])
def test_objects_of_text_are_the_texts_that_they_hold(same: bool, distinct: int) -> None:
    """Texts that come again, and more of them than are worth a dictionary."""
    names = [f"tenant {i:05}" for i in range(distinct)]
    order = [(i * 11) % distinct for i in range(2 * distinct)]
    tenants = [names[i] if same else f"tenant {i:05}" for i in order]
    expected = dict.fromkeys(names, 2)
    for form in (tenants, numpy.array(tenants, object)):
        usage = aggregate(form)
        assert dict(zip(usage.tenants, usage.events, strict=True)) == expected
    with pytest.raises(InvalidValue, match=f"row {2 * distinct}: expected str, got int"):
        aggregate([*tenants, 7])


def test_long_texts_of_string_views() -> None:
    if not hasattr(pyarrow, "string_view"):
        pytest.skip("this pyarrow has no string views")
    tenants = ["a" * 12, "b" * 13, "c" * 4000, "b" * 13]
    usage = aggregate(pyarrow.array(tenants, pyarrow.string_view()))
    assert {row.tenant: row.events for row in usage} == {
        "a" * 12: 1, "b" * 13: 2, "c" * 4000: 1
    }  # fmt: skip


def test_counting_one_metric_and_the_price_of_the_only_one() -> None:
    usage = rate(["b", "a", "b"], prices=PerUnit(2))
    assert [(r.tenant, r.metric, r.events, r.amount) for r in usage] == [
        ("a", "usage", 1, 2),
        ("b", "usage", 2, 4),
    ]
    assert len(usage) == 2
    summed = aggregate([1, 1], [5, Decimal("0.5")])
    assert [(r.tenant, r.quantity, r.amount) for r in summed] == [(1, Decimal("5.5"), None)]
    with pytest.raises(InvalidValue, match="no prices were given"):
        summed.total  # noqa: B018


def test_rows_to_arrow() -> None:
    table = rate(["b", "a"], [3, 4], prices={"calls": PerUnit("0.5")}, metrics=["calls"] * 2)
    assert table.to_arrow().to_pydict() == {
        "tenant": ["a", "b"],
        "metric": ["calls", "calls"],
        "events": [1, 1],
        "quantity": [Decimal(4), Decimal(3)],
        "amount": [Decimal(2), Decimal("1.5")],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tenants": ["a", "b"], "quantities": [1]}, "quantities: has 1 values, tenants has 2"),
        ({"tenants": ["a"], "quantities": [1.5]}, "float"),
        ({"tenants": ["a"], "metrics": ["cals"]}, 'event 0: unknown metric "cals"'),
        ({"tenants": ["a"], "metrics": [2]}, "event 0: unknown metric 2"),
        ({"tenants": ["a"], "metrics": [-1]}, "event 0: unknown metric -1"),
        ({"tenants": pyarrow.array(["a", None])}, "event 1: tenants has no value"),
        ({"tenants": ["a", 1]}, "tenants: row 1: expected str, got int: values of one kind"),
        ({"tenants": ["a", None]}, "tenants: row 1: no value: leave the row out"),
        ({"tenants": ["a"], "metrics": [None]}, "metrics: row 0: no value: leave the row out"),
        ({"tenants": [1, "a"]}, "tenants: row 1: expected int, got str"),
        ({"tenants": [1.5]}, "tenants: row 0: expected str, int, got float"),
        ({"tenants": ["a"], "quantities": [-1]}, "tenant a, metric calls: expected a number from"),
        ({"tenants": pyarrow.array([Decimal(1)])}, "expected whole numbers or texts, got decimals"),
        ({"tenants": ["a"], "quantities": pyarrow.array(["1"])}, "got texts"),
        (
            {"tenants": ["a", "a"], "quantities": ["99999999999999999999999999"] * 2},
            r"passes 10\^26",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",  # an array's own text has its address
)
def test_what_is_wrong_with_usage_is_told(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        rate(**arguments, prices=PRICES)


def test_tenants_that_are_no_unicode_are_told() -> None:
    names = ["acme", "\ud800"]
    for tenants in (names, numpy.array(names), numpy.array(names, dtype=object)):
        with pytest.raises(InvalidValue, match="tenants: element 1: a text that is no valid Uni"):
            aggregate(tenants)


def test_corrections_below_zero_count_against_the_sum() -> None:
    usage = rate(["a", "a"], [10, -4], prices=PerUnit(2))
    assert usage.total == 12


def test_prices_must_be_prices() -> None:
    with pytest.raises(InvalidValue, match="expected a price for calls, got str"):
        rate(["a"], prices={"calls": "0.5"})  # type: ignore[dict-item]
    with pytest.raises(InvalidValue, match="expected at least one metric"):
        rate(["a"], prices={})
