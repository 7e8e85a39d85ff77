"""What analysts hand over by mistake: each either works or is an error that says where it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import numpy
import pandas
import polars
import pyarrow
import pytest

from tenancy.errors import InvalidValue
from tenancy.forecast import forecast
from tenancy.pricing import PriceBook
from tenancy.whatif import reprice
from test_forecast import usage

DAYS = 40
COLUMNS = usage({name: [10 + i % 7 for i in range(DAYS)] for name in "abcdef"})
PLAIN = pandas.DataFrame(COLUMNS)
BOOK = PriceBook.from_dict({"price_book": "b", "currency": "USD", "metrics": {"calls": "0.01"}})


def forecast_of(frame: Any) -> Any:
    return forecast(frame, horizon=10, levels=[0.5]).frame()


def priced(frame: Any) -> Any:
    return reprice(frame, {"b": BOOK}).totals()


both = pytest.mark.parametrize("read", [forecast_of, priced])


def with_first(quantity: Any) -> list[Any]:
    return [quantity, *COLUMNS["quantity"][1:]]


def chunks() -> Any:
    table = pyarrow.Table.from_pandas(PLAIN)
    return pyarrow.concat_tables([table[:100], table[100:101], table[101:101], table[101:]])


def arrow(name: str, kind: Any) -> Any:
    table = pyarrow.Table.from_pandas(PLAIN)
    return table.set_column(table.column_names.index(name), name, table[name].cast(kind))


@both
@pytest.mark.parametrize(
    "frame",
    [
        PLAIN.set_index("tenant"),
        PLAIN.set_index(["tenant", "metric", "time"]),
        PLAIN.set_axis([0] * len(PLAIN)),
        PLAIN.assign(tenant=PLAIN["tenant"].astype("category")),
        PLAIN.assign(metric=PLAIN["metric"].astype("string")),
        PLAIN.assign(quantity=PLAIN["quantity"].astype("Int64")),
        PLAIN.assign(quantity=PLAIN["quantity"].astype("uint8")),
        PLAIN.assign(quantity=[Decimal(q) for q in PLAIN["quantity"]]),
        PLAIN.assign(quantity=pandas.arrays.SparseArray(PLAIN["quantity"])),
        PLAIN.assign(time=PLAIN["time"].dt.tz_convert("Europe/Berlin")),
        PLAIN.convert_dtypes(dtype_backend="pyarrow"),
        polars.DataFrame(COLUMNS).lazy(),
        polars.DataFrame(COLUMNS).with_columns(polars.col("tenant").cast(polars.Categorical)),
        polars.DataFrame(COLUMNS).with_columns(polars.col("quantity").cast(polars.Decimal(20, 3))),
        duckdb.from_df(PLAIN),
        chunks(),
        arrow("quantity", pyarrow.decimal128(38, 15)),
        arrow("tenant", pyarrow.string_view()),
        {name: tuple(values) for name, values in COLUMNS.items()},
        {name: PLAIN[name] for name in PLAIN},
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_frames_of_all_kinds_say_the_same(read: Callable[[Any], Any], frame: Any) -> None:
    assert read(frame) == read(COLUMNS)


@both
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (PLAIN.drop(columns="tenant"), "tenant: there is no such column; there are metric, time"),
        (PLAIN["quantity"], "usage: expected a data frame, got a Series, which is one column"),
        (
            PLAIN.groupby(["tenant", "metric", "time"])["quantity"].sum(),
            "usage: .* which is one column",
        ),
        (
            pandas.concat([PLAIN, PLAIN[["quantity"]]], axis=1),
            "quantity: there are 2 columns of this name",
        ),
        (
            PLAIN.assign(quantity=pandas.Series([1.5, *map(Decimal, COLUMNS["quantity"][1:])])),
            "quantity: row 1: expected a number, got Decimal",
        ),
        (PLAIN.assign(quantity=PLAIN["quantity"] + 1j), "quantity: holds complex numbers"),
        (PLAIN.assign(quantity=PLAIN["quantity"] > 12), 'quantity: Arrow type "b" is not read'),
        (
            PLAIN.assign(quantity=PLAIN["quantity"].astype("timedelta64[ns]")),
            'quantity: Arrow type "tDn" is not read',
        ),
        (
            PLAIN.assign(quantity=pandas.array(with_first(pandas.NA), dtype="Int64")),
            "quantity: row 0:? .*no value",
        ),
        (PLAIN.assign(time=[pandas.NaT, *PLAIN["time"][1:]]), "time: row 0:? .*no value"),
        (PLAIN.assign(time=PLAIN["time"].astype(str)), "time: expected times, got .*text"),
        (PLAIN.assign(time=PLAIN["time"].astype("int64")), "time: expected times, got .*int"),
        (
            PLAIN.assign(tenant=pandas.Categorical([None, *PLAIN["tenant"][1:]])),
            "tenant: row 0:? .*no value",
        ),
        ({**COLUMNS, "quantity": [True] * 240}, r"quantity: row 0: expected int, .*got bool"),
        ({**COLUMNS, "tenant": [1, *["a"] * 239]}, "tenant: row 1: expected int, got str"),
        (
            {**COLUMNS, "tenant": [*COLUMNS["tenant"][:7], b"x", *COLUMNS["tenant"][8:]]},
            "tenant: row 7: expected str, got bytes",
        ),
        ({**COLUMNS, "metric": "calls"}, "metric: expected a column of values, got a text"),
        ({**COLUMNS, "quantity": [1]}, "quantity: has 1 rows, but the column tenant has 240"),
        (PLAIN.to_dict("records"), r"usage: expected a data frame .*pandas.DataFrame\(rows\)"),
        ("usage.csv", "usage: expected a data frame or a mapping of columns, got str"),
        (None, "usage: expected a data frame or a mapping of columns, got NoneType"),
        (
            pyarrow.concat_tables(
                [chunks()[:100], chunks()[100:101].set_column(
                    chunks().column_names.index("quantity"), "quantity",
                    pyarrow.array([None], pyarrow.int64()),
                )]
            ),
            "quantity: row 100:? .*no value",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_column_and_row(
    read: Callable[[Any], Any], frame: Any, message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        read(frame)


ABOVE = (1 << 63) + 1
NUMBERS = [7] * len(PLAIN)


def with_sixth(values: list[Any], value: Any) -> list[Any]:
    return [*values[:5], value, *values[6:]]


@both
@pytest.mark.parametrize(
    "frame",
    [
        PLAIN.assign(tenant=numpy.array(with_sixth(NUMBERS, ABOVE), "uint64")),
        polars.DataFrame(COLUMNS).with_columns(
            tenant=polars.Series(with_sixth(NUMBERS, ABOVE), dtype=polars.UInt64)
        ),
        arrow("quantity", "int64").set_column(
            0, "tenant", pyarrow.array(with_sixth(NUMBERS, ABOVE), pyarrow.uint64())
        ),
        {**COLUMNS, "tenant": with_sixth(NUMBERS, ABOVE)},
        {**COLUMNS, "tenant": with_sixth(NUMBERS, 1 << 70)},
    ],
    ids=["pandas", "polars", "pyarrow", "list", "list of more"],
)
def test_an_id_above_64_bits_is_told_with_its_row(read: Callable[[Any], Any], frame: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^tenant: row 5: a number (above 2\^63|of \d+ bits)"):
        read(frame)


@pytest.mark.parametrize(
    "column",
    [
        numpy.array(with_sixth(NUMBERS, ABOVE), "uint64"),
        pyarrow.array(with_sixth(NUMBERS, ABOVE), pyarrow.uint64()),
        with_sixth(NUMBERS, ABOVE),
    ],
    ids=["numpy", "pyarrow", "list"],
)
def test_a_quantity_above_2_63_is_priced_exactly_and_too_much_to_forecast(column: Any) -> None:
    frame = {**COLUMNS, "quantity": column}
    assert priced(frame)["revenue"].tolist() == [(ABOVE + 7 * 239) * Decimal("0.01")]
    with pytest.raises(InvalidValue, match=r"^quantity: row 5\b.*(2\^63|64 bits hold)"):
        forecast_of(frame)


@both
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Decimal(10) ** 27, pyarrow.decimal128(38, 2)),
        (Decimal("1e-13"), pyarrow.decimal128(38, 13)),
    ],
)
def test_a_decimal_that_does_not_fit_is_told_with_its_row(
    read: Callable[[Any], Any], value: Decimal, kind: Any
) -> None:
    frame = {**COLUMNS, "quantity": pyarrow.array(with_sixth([Decimal(1)] * 240, value), kind)}
    with pytest.raises(InvalidValue, match=r"^quantity: row 5: expected a number below 10\^26"):
        read(frame)


OTHERS = [
    (pyarrow.array([[1]] * 240), "+l"),
    (pyarrow.array([{"a": 1}] * 240), "+s"),
    (pyarrow.array([b"a"] * 240), "z"),
    (pyarrow.array([b"ab"] * 240, pyarrow.binary(2)), "w:2"),
    (pyarrow.array([True] * 240), "b"),
    (pyarrow.array([1] * 240, pyarrow.time32("s")), "tts"),
    (pyarrow.array([1] * 240, pyarrow.duration("s")), "tDs"),
    (pyarrow.array([(1, 2, 3)] * 240, pyarrow.month_day_nano_interval()), "tin"),
    (pyarrow.array([Decimal(1)] * 240, pyarrow.decimal256(60, 2)), "d:60,2,256"),
    (pyarrow.array(numpy.ones(240, "float16")), "e"),
    (pyarrow.array(NUMBERS).dictionary_encode(), "dictionary"),
    (pyarrow.RunEndEncodedArray.from_arrays([240], ["a"]), "+r"),
]


@both
@pytest.mark.parametrize("name", list(COLUMNS))
@pytest.mark.parametrize(("values", "kind"), OTHERS, ids=[kind for _, kind in OTHERS])
def test_a_type_that_is_not_read_is_told_with_its_column(
    read: Callable[[Any], Any], name: str, values: Any, kind: str
) -> None:
    table = pyarrow.table(PLAIN)
    frame = table.set_column(table.column_names.index(name), name, values)
    with pytest.raises(InvalidValue, match=f'^{name}: Arrow type "{re.escape(kind)}" is '):
        read(frame)
    # Where nobody asks for the column, it may be of any type.
    read(table.append_column("note", values))


@both
def test_a_time_that_nanoseconds_do_not_hold_is_told_with_its_row(
    read: Callable[[Any], Any],
) -> None:
    far = pyarrow.array(with_sixth(NUMBERS, 1 << 62), pyarrow.timestamp("ms", "UTC"))
    with pytest.raises(InvalidValue, match=r"^time: row 5: the time is outside of 1677 to 2262"):
        read(pyarrow.table(PLAIN).drop_columns("time").append_column("time", far))


@pytest.mark.parametrize("frame", [PLAIN[:0], polars.DataFrame(COLUMNS)[:0]])
def test_an_empty_frame_has_nothing_to_forecast_and_nothing_to_price(frame: Any) -> None:
    with pytest.raises(InvalidValue, match="tenant: the frame has no rows"):
        forecast_of(frame)
    assert len(reprice(frame, {"b": BOOK})) == 0


def test_one_day_is_too_little_and_says_how_much_is_needed() -> None:
    with pytest.raises(InvalidValue, match=r"row 0: .* has 1 step; .* give at least 16 steps"):
        forecast_of(PLAIN.groupby("tenant").tail(1))


def test_a_hole_and_a_row_that_is_there_twice_are_told_with_their_rows() -> None:
    with pytest.raises(InvalidValue, match="time: after row 4: tenant 'a' has no row of calls"):
        forecast_of(PLAIN.drop(index=5))
    with pytest.raises(InvalidValue, match=r"time: row 240: the same .* as row 0"):
        forecast_of(pandas.concat([PLAIN, PLAIN[:1]]))
    with pytest.raises(InvalidValue, match="quantity: row 3: negative usage"):
        forecast_of({**COLUMNS, "quantity": [1, 2, 3, -4, *COLUMNS["quantity"][4:]]})
    later = [t + timedelta(days=1) for t in COLUMNS["time"]]
    mixed = {**COLUMNS, "time": [later[0].replace(tzinfo=None), *later[1:]]}
    with pytest.raises(InvalidValue, match="time: row 1: the time zone is UTC, of the rows before"):
        forecast_of(mixed)


def test_integers_of_numpy_in_a_list_are_read() -> None:
    wrapped = {**COLUMNS, "quantity": numpy.array(COLUMNS["quantity"])}
    assert forecast_of(wrapped) == forecast_of(COLUMNS)
