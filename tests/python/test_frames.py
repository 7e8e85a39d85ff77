"""Frames: into and out of pandas, polars, DuckDB, pyarrow and NumPy, exactly."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import numpy
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy import _core
from tenancy._frames_in import read_columns
from tenancy.errors import InvalidValue
from tenancy.frames import Frame
from tenancy.pricing import PerUnit, PriceBook, aggregate, rate

UTC = timezone.utc
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

DECIMALS = st.decimals(
    min_value=Decimal(-(10**26) + 1), max_value=Decimal(10**26 - 1), places=12, allow_nan=False
)


def sample() -> Frame:
    return Frame(
        {
            "tenant": ["acme", None, "globex"],
            "events": [1, None, -(2**62)],
            "share": [0.5, 1, None],
            "time": [NOON, NOON + timedelta(microseconds=1), None],
            "amount": ["11.60", 3, None],
        },
        amounts=["amount"],
    )


def test_columns_have_kinds_and_values() -> None:
    frame = sample()
    assert frame.kinds == {
        "tenant": "text", "events": "int", "share": "float", "time": "time", "amount": "decimal",
    }  # fmt: skip
    assert frame["time"] == [NOON, NOON + timedelta(microseconds=1), None]
    assert list(frame["amount"]) == [Decimal("11.6"), Decimal(3), None]
    assert next(iter(frame)) == {
        "tenant": "acme", "events": 1, "share": 0.5, "time": NOON, "amount": Decimal("11.6"),
    }  # fmt: skip
    assert (len(frame), "share" in frame, "cost" in frame) == (3, True, False)
    with pytest.raises(KeyError, match="no column 'cost'; there are tenant, events"):
        frame["cost"]


def test_pyarrow_polars_duckdb_and_pandas_read_the_same_values() -> None:
    frame = sample()
    table = frame.to_arrow()
    assert table.schema.types == [
        pyarrow.large_string(), pyarrow.int64(), pyarrow.float64(), pyarrow.timestamp("ns", "UTC"),
        pyarrow.decimal128(38, 12),
    ]  # fmt: skip
    assert table.column("amount").to_pylist() == [Decimal("11.6"), Decimal(3), None]
    assert table.column("events").to_pylist() == [1, None, -(2**62)]
    assert frame.to_polars()["amount"].to_list() == [Decimal("11.6"), Decimal(3), None]
    assert frame.to_polars()["tenant"].to_list() == ["acme", None, "globex"]
    table_of_arrow = table  # noqa: F841 - DuckDB finds it by its name
    rows = duckdb.sql("select sum(amount), max(time) from table_of_arrow").fetchall()[0]
    assert rows[0] == Decimal("14.6")
    pandas_frame = frame.to_pandas()
    assert pandas_frame["amount"].tolist() == [Decimal("11.6"), Decimal(3), None]
    assert pandas_frame["time"].dt.tz is not None
    assert pandas_frame["events"].tolist()[2] == -(2**62)


def test_floats_only_where_they_are_asked_for() -> None:
    assert sample().to_arrow(floats=True).schema.field("amount").type == pyarrow.float64()
    assert sample().to_polars(floats=True)["amount"].to_list()[0] == 11.6
    assert sample().to_pandas(floats=True)["amount"].tolist()[:2] == [11.6, 3.0]


def test_floats_are_the_nearest_ones() -> None:
    numbers = ["1.82", "-793.706644531677", "8185.856125855757", "99999999999999999999999999"]
    found = Frame({"amount": numbers}, amounts=["amount"]).with_floats()["amount"]
    assert found == list(map(float, numbers))


@given(st.lists(st.none() | DECIMALS), st.lists(st.none() | st.text(), min_size=1))
def test_any_values_survive_the_way_through_arrow(
    amounts: list[Decimal | None], texts: list[str | None]
) -> None:
    texts = [None if t is None else t.encode("utf-8", "replace").decode() for t in texts]
    table = Frame({"a": amounts}, amounts=["a"]).to_arrow()
    assert table.column("a").to_pylist() == amounts
    assert Frame({"t": texts}, texts=["t"]).to_arrow().column("t").to_pylist() == texts


def test_a_consumer_may_keep_a_column_and_let_the_rest_go() -> None:
    column = sample().to_arrow().column("tenant").combine_chunks()
    capsule = sample().__arrow_c_stream__()  # never read: released with its capsule
    del capsule
    assert column.to_pylist() == ["acme", None, "globex"]


def test_notebooks_see_an_escaped_table_of_the_first_rows() -> None:
    frame = Frame({"tenant": ["<b>&"] + ["x"] * 29, "amount": [1] * 30}, amounts=["amount"])
    shown = frame._repr_html_()
    assert "&lt;b&gt;&amp;" in shown
    assert "<b>" not in shown
    assert shown.count("<tr>") == 21
    assert "10 more rows" in shown


def test_notebooks_see_floats_with_the_digits_that_people_read() -> None:
    shown = Frame({"percent": [66.2999997594419, 1e-7, 12345678.25, float("nan")]})._repr_html_()
    for cell in ("66.3", "1e-07", "12345678.2", "nan"):
        assert f"<td>{cell}</td>" in shown


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "b: has 1 rows, but the column a has 2"),
        ({"a": [1, "x"]}, "a: row 1: expected int like the rows before, got str"),
        ({"a": ["x", 1]}, "a: row 1: expected text like the rows before, got int"),
        ({"a": [True]}, "a: row 0: expected int like the rows before, got bool"),
        ({"a": [NOON, NOON.replace(tzinfo=None)]}, "a: row 1: .* has no time zone"),
        ({"a": [NOON, 5]}, "a: row 1: expected a datetime, got int"),
        ({"a": [Decimal(1), 0.5]}, r"a\[1\]: got a float"),
        ({"a": [1, 1 << 70]}, r'a: row 1: a number of 71 bits .* amounts=\["a"\]'),
        ({"a": [-(1 << 63) - 1]}, "a: row 0: a number of 64 bits does not fit"),
        ({"a": [NOON.replace(year=2300)]}, "a: row 0: the time .* the years 1678 to 2261"),
    ],
)
def test_wrong_columns_are_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Frame(columns)
    with pytest.raises(InvalidValue, match="amuont: there is no such column; there are a"):
        Frame({"a": ["1"]}, amounts=["amuont"])


# --- frames of others

ROWS = {
    "tenant": ["b", "a", "b"],
    "time": [NOON, NOON + timedelta(days=1), NOON],
    "quantity": [3, 2**53 + 1, 0],
}


def arrow_table() -> Any:
    return pyarrow.table(ROWS).cast(
        pyarrow.schema(
            {"tenant": pyarrow.string(), "time": pyarrow.timestamp("ms", "UTC"),
             "quantity": pyarrow.int64()}
        )
    )  # fmt: skip


def in_chunks() -> Any:
    table = arrow_table()
    return pyarrow.concat_tables([table.slice(0, 1), table.slice(1, 2)])


SOURCES = {
    "columns": lambda: ROWS,
    "frame": lambda: Frame(ROWS),
    "pandas": lambda: pandas.DataFrame(ROWS),
    "pandas categories": lambda: pandas.DataFrame(ROWS).astype({"tenant": "category"}),
    "polars": lambda: polars.DataFrame(ROWS),
    "polars categories": lambda: polars.DataFrame(ROWS).cast({"tenant": polars.Categorical}),
    "pyarrow": arrow_table,
    "chunks": in_chunks,
    "slice": lambda: pyarrow.concat_tables([arrow_table(), arrow_table()]).slice(3, 3),
    "batch": lambda: pyarrow.RecordBatch.from_pydict(ROWS).slice(0, 3),
    "duckdb": lambda: duckdb.from_arrow(arrow_table()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_frames_of_other_libraries_are_read(source: str) -> None:
    held = read_columns(SOURCES[source](), ["tenant", "time", "quantity"], ids=["tenant"])
    codes, names = held["tenant"].codes("tenant")
    assert [names[i] for i in numpy.asarray(codes)] == ROWS["tenant"]
    assert numpy.asarray(held["quantity"].wholes("quantity")).tolist() == ROWS["quantity"]
    times = numpy.asarray(held["time"].times_ns("time"))
    assert (times - times[0]).tolist() == [0, 86_400 * 10**9, 0]
    assert times[0] == int(NOON.timestamp()) * 10**9
    assert held["time"].zone


def test_whole_numbers_come_in_without_a_copy() -> None:
    numbers = numpy.arange(1000)
    table = pyarrow.table({"n": numbers})
    view = numpy.asarray(read_columns(table, ["n"], ids=[])["n"].wholes("n"))
    assert view.__array_interface__["data"][0] == table.column("n").chunk(0).buffers()[1].address
    assert not view.flags.writeable
    del table
    assert view.sum() == numbers.sum()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"tenant": ["a"]}, "quantity: there is no such column; there are tenant"),
        (
            {"tenant": ["a"], "quantity": [1, 2]},
            "quantity: has 2 rows, but the column tenant has 1",
        ),
        ({"tenant": ["a"], "quantity": "12"}, "quantity: .*a text"),
        (7, "usage: expected a data frame or a mapping of columns, got int"),
        (
            pyarrow.table({"tenant": ["a"], "quantity": pyarrow.array([True])}),
            "quantity: Arrow type .b. is not read",
        ),
    ],
)
def test_columns_that_cannot_be_read_are_named(frame: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        read_columns(frame, ["tenant", "quantity"], ids=["tenant"])


def test_frames_work_without_pyarrow_pandas_and_numpy() -> None:
    code = """
import sys
for name in ("pyarrow", "pandas", "numpy"):
    sys.modules[name] = None
from tenancy.errors import ExtraMissing
from tenancy._frames_in import read_columns
from tenancy.frames import Frame
frame = Frame({"tenant": ["a", "b"], "amount": ["0.1", 2]}, amounts=["amount"])
held = read_columns(frame, ["tenant", "amount"], ids=["tenant"])
print(held["tenant"].codes("tenant")[1], held["amount"].units("amount").sum())
for to in (frame.to_arrow, frame.to_pandas):
    try:
        to()
    except ExtraMissing as error:
        print("missing", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['a', 'b'] 2.1\nmissing")
    assert done.stdout.count("pip install 'tenancy[") == 2


def test_pandas_is_read_without_pyarrow() -> None:
    code = """
import sys, pandas
sys.modules["pyarrow"] = None
from tenancy._frames_in import read_columns
held = read_columns(pandas.DataFrame({"t": ["b", "a"], "q": [1, 2],
    "w": pandas.to_datetime(["2026-01-01", "2026-01-02"], utc=True)}), ["t", "q", "w"], ids=["t"])
print(held["t"].codes("t")[1], held["q"].kind, held["w"].kind, held["w"].zone or "none")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:3] == ["['b',", "'a']", "int"]
    assert "time" in done.stdout


# --- usage that was rated


def test_rated_usage_is_a_frame_with_its_currency() -> None:
    usage = rate(["b", "a"], [2_000, 5], ["hash_operations"] * 2, prices=PriceBook.load("tiered"))
    assert isinstance(usage, Frame)
    assert usage.columns == ("tenant", "metric", "events", "quantity", "amount", "currency")
    assert usage.to_polars()["currency"].to_list() == ["USD", "USD"]
    assert usage.to_pandas()["amount"].tolist() == [Decimal("0.005"), Decimal(2)]
    assert "<td>hash_operations</td>" in usage._repr_html_()
    assert rate([7], prices=PerUnit(2)).columns[-1] == "amount"
    assert aggregate([7, 7]).to_arrow().to_pydict() == {
        "tenant": [7], "metric": ["usage"], "events": [2], "quantity": [2],
    }  # fmt: skip


# --- samples of money


@given(
    st.lists(st.lists(st.integers(-50, 50), min_size=4, max_size=4), min_size=1, max_size=6),
    st.data(),
)
def test_sums_means_and_quantiles_of_samples(rows: list[list[int]], data: st.DataObject) -> None:
    flat = _core.amounts_of_wholes([n for row in rows for n in row], 2)
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    sums = _core.sum_rows(flat, 4, groups, 3).tolist()
    for group in range(3):
        mine = [row for row, g in zip(rows, groups, strict=True) if g == group]
        expected = [sum((Decimal(r[s]) for r in mine), Decimal(0)) / 100 for s in range(4)]
        assert sums[group * 4 : group * 4 + 4] == expected
    shares = [0.25, 0.5, 0.51, 1.0]
    found = _core.row_quantiles(flat, 4, shares).tolist()
    for i, row in enumerate(rows):
        ordered = sorted(row)
        expected = [Decimal(ordered[k]) / 100 for k in (0, 1, 2, 3)]
        assert found[i * 4 : i * 4 + 4] == expected
    means = _core.row_means(flat, 4).tolist()
    assert means == [Decimal(sum(row)) / 400 for row in rows]


def test_amounts_say_how_many_digits_they_need() -> None:
    amounts = _core.amounts_of_numbers(["1.25", 3, None], "a")
    assert amounts.digits() == 2
    assert numpy.asarray(amounts.to_wholes(2)).tolist() == [125, 300, 0]
    with pytest.raises(InvalidValue, match="row 0 is no whole number"):
        amounts.to_wholes(1)
    assert _core.concat_amounts([_core.amounts_of_wholes([1], 0)] * 2).tolist() == [1, 1]
