"""Recording by columns comes to what recording row by row comes to, whatever is in the columns."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from store_support import DAY_NS, START, START_NS, make_clock
from tenancy import Tenancy
from tenancy.errors import InvalidValue
from tenancy.usage import _batches, _rows
from usage_model import open_metered

NOW_NS = START_NS + 70 * DAY_NS
NAMES = ("a", "b", "c")
TENANT = re.compile(r"\b(x?[abc])\b")
MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Side:
    """One of the two; `by_columns` counts the blocks that were taken by columns."""

    t: Tenancy
    names: dict[str, str] = field(default_factory=dict)
    read: int = 0
    by_columns: int = 0

    def begin(self, number: int) -> None:
        """Tenants without any usage."""
        made = [
            self.t.tenants.create(
                name=n, slug=f"{n}-{number}", external_id=f"x{n}-{number}", anchor=START
            )
            for n in NAMES
        ]
        self.names = {tenant.id: tenant.name for tenant in made}
        self.new_events()

    def new_events(self) -> list[Any]:
        """In their order in the log, without their place in it; ids that were made up are alike."""
        log = self.t.usage._log
        found, self.read = log.read(self.read, 10_000, log.readable())
        return [
            e._replace(position=0, tenant=self.names.get(e.tenant), id=MADE_UP.sub("new", e.id))
            for e in found
        ]

    def back_fills(self) -> list[Any]:
        return [
            (name, e.action, dict(e.context))
            for tenant, name in self.names.items()
            for e in self.t.audit.search(tenant=tenant, type="config_changed")
        ]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    with ExitStack() as opened:
        made = []
        for _ in range(2):
            clock = make_clock()
            clock.advance_ns(NOW_NS - START_NS)
            t = opened.enter_context(open_metered(tmp_path_factory.mktemp("side"), clock))
            made.append(Side(t))
        yield made[0], made[1]


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


# ------------------------------------------------------------------------------------- tables


def ns(days: float) -> int:
    return NOW_NS + int(days * DAY_NS)


GOOD_NS = [ns(-d) for d in (0, 0.5, 1, 5, 9)] + [ns(-1) + 7]
BAD_NS = [ns(-50), ns(3), 0, -5]
FAR_S = 60 * 365 * 86_400 * 150


def iso(value: int) -> str:
    moment = START + timedelta(microseconds=(value - START_NS) // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{value % 1000:03d}Z"


def cells(good: list[Any], bad: list[Any], clean: bool) -> st.SearchStrategy[Any]:
    picked = st.sampled_from(good)
    return picked if clean else st.one_of(picked, picked, picked, st.sampled_from(bad))


TEXTS = (
    pyarrow.string(),
    pyarrow.large_string(),
    pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
)
Kind = tuple[pyarrow.DataType, list[Any], list[Any]]
"""Of a column: its type, values that may be right, and values that may be wrong."""


def texts(good: list[Any], bad: list[Any]) -> list[Kind]:
    return [(kind, good, bad) for kind in TEXTS]


def decimals(digits: int, scale: int, good: str, bad: str) -> Kind:
    kind = pyarrow.decimal128(digits, scale)
    return kind, [*map(Decimal, good.split())], [None, *map(Decimal, bad.split())]


def moments(unit: str, per_unit: int, zone: str | None = None, *bad: Any) -> Kind:
    kind = pyarrow.timestamp(unit, zone)
    return kind, [v // per_unit for v in GOOD_NS], [None, ns(3) // per_unit, *bad]


STRING, INT = pyarrow.string(), pyarrow.int64()
COLUMNS: dict[str, list[Kind]] = {
    "tenant": [
        *texts(["a", "b", "xc", " a", "xa"], ["", None, "nobody", "a\n"]),
        (INT, [5], [None]),
    ],
    "metric": texts(["calls", "sum", "last", "tokens ", "max"], ["unique", "sun", None]),
    "quantity": [
        (INT, [0, 1, 7, 2**62], [-1, None]),
        (pyarrow.uint64(), [0, 5], [2**64 - 1, None]),
        (pyarrow.int8(), [0, 5], [-3]),
        decimals(20, 3, "1.5 2 0.001", "-1"),
        decimals(38, 14, "1.5", "0.00000000000001"),
        decimals(38, 0, "3", "1000000000000000000000000000"),
        (
            STRING,
            ["1", "1.50", " 2", "0", "123456789012345678901.5", "1.5"],
            ["", "x", "-1", "1e3", "007", "+1", ".5", "9" * 27, "1\n", None],
        ),
        (pyarrow.bool_(), [True], [None]),
        (pyarrow.float64(), [1.0], [None]),
    ],
    "id": [
        *texts(
            ["i0", "i1", "i2", "i3", " i1 ", "x y"],
            ["", None, "é", "x" * 257, "a\nb", "\u00a0i1", "\x1fi1"],
        ),
        (pyarrow.int32(), [1, 2, 3], [None, -1]),
        decimals(5, 1, "1.0", "2.5"),
        (pyarrow.bool_(), [True], [None]),
    ],
    "source": [
        *texts(["s", "t", " s"], ["", None, "é", "x" * 1025]),
        (INT, [0, 1], [None]),
    ],
    "time": [
        moments("ns", 1, None, *BAD_NS),
        moments("us", 1000, "Europe/Berlin"),
        moments("s", 10**9, None, FAR_S, -FAR_S),
        (INT, [v // 10**6 for v in GOOD_NS], [-1, 2**62, None]),
        *texts(
            [iso(v) for v in GOOD_NS],
            [
                "", None, "2026-03-05 01:02", "2026-03-01T00:00:00+01:00", "2026-02-30T00:00:00Z",
                "9999-01-01T00:00:00", "1767312000000", "soon", iso(ns(-50)),
                "2026-03-01T23:59:60Z", "1970-01-01T00:00:00Z",
            ],
        ),
    ],
    "properties": texts(
        ['{"user": "u"}', '{"b":1,"a":2}', '{"a":2, "b":1}', ' {"region": "eu"} '],
        ["", None, "{", "[]", "5", "null", '{"user": null}', '"x"'],
    ),
    "user": [
        *texts(["u", " v", "w"], ["", None]),
        (pyarrow.float64(), [0.0, -0.0, 1.5], [None, float("nan")]),
    ],
    "region": [
        (STRING, ["eu", "us"], ["", None]),
        (INT, [1, 2], [None]),
        (pyarrow.bool_(), [True, False], [None]),
        decimals(5, 2, "1.50 2.00", ""),
        (pyarrow.timestamp("us"), [1, 2], [None]),
        (pyarrow.struct([("x", INT)]), [{"x": 1}], [None]),
    ],
}  # fmt: skip
COLUMNS["in"] = COLUMNS["out"] = COLUMNS["quantity"]


LACKING = pyarrow.table({"metric": ["calls", "unique", "unique"], "user": [None, "u", None]})
ZEROS = pyarrow.table({"quantity": ["1.50", "007"]})
TWICE = pyarrow.table({"tenant": ["b", "a", "xb", "a"], "id": ["i", "i", "i", "j"]})


@st.composite
def batches(draw: st.DrawFn) -> tuple[pyarrow.Table, dict[str, Any]]:
    """A table, and what is said of it."""
    clean = draw(st.booleans())
    size = draw(st.integers(0, 9))
    options: dict[str, Any] = {"backfill": draw(st.booleans()), "time_unit": "ms"}
    some = ["id", "source", "time", "properties"]
    names = {name for name in some if draw(st.booleans())}
    for name, constant in (("tenant", "a"), ("metric", "sum"), ("source", "all")):
        if draw(st.booleans()):
            options[name] = constant
        elif name != "source":
            names.add(name)
    if draw(st.integers(0, 3)) == 0:
        options.pop("metric", None)
        names.discard("metric")
        options["quantities"] = {"in": "calls", "out": "last"}
        names |= {"in", "out"}
    elif draw(st.integers(0, 4)):
        names.add("quantity")
    options["properties"] = draw(st.lists(st.sampled_from(["user", "region"]), unique=True))
    names |= set(options["properties"])
    made = {}
    for name in sorted(names):
        kinds = COLUMNS[name]
        kind, good, bad = kinds[0] if draw(st.booleans()) else draw(st.sampled_from(kinds))
        values = draw(st.lists(cells(good, bad, clean), min_size=size, max_size=size))
        made[name] = pyarrow.array(values, kind)
    assume(made)
    return pyarrow.table(made), options


@pytest.mark.parametrize("examples", [80, pytest.param(250, marks=pytest.mark.slow)])
def test_the_columns_of_a_table_come_to_what_its_rows_come_to(
    sides: tuple[Side, Side], numbers: Iterator[int], tmp_path: Path, examples: int
) -> None:
    by_rows, by_columns = sides

    @settings(max_examples=examples, deadline=None)
    @example((LACKING, {"time_unit": None, "properties": ["user"], "tenant": "a"}), "arrow", 9)
    @example((TWICE, {"time_unit": None, "backfill": True, "metric": "sum"}), "arrow", 9)
    @example((ZEROS, {"time_unit": None, "tenant": "a", "metric": "sum"}), "arrow", 9)
    @given(batches(), st.sampled_from(FORMS), st.integers(1, 6))
    def check(batch: tuple[pyarrow.Table, dict[str, Any]], form: str, block: int) -> None:
        number = next(numbers)
        table, options = numbered(*batch, number)
        for side in sides:
            side.begin(number)
        with (
            mock.patch.object(_rows, "WORTH_ROWS", 0),
            mock.patch.object(_rows, "BLOCK_ROWS", block),
            mock.patch.object(_rows, "CSV_ROWS", block),
        ):
            before = by_columns.by_columns
            with mock.patch.object(_batches, "bulk", return_value=None):
                expected = outcome(by_rows.t, table, options, form, tmp_path)
            with mock.patch.object(_batches, "bulk", counting(by_columns)):
                found = outcome(by_columns.t, table, options, form, tmp_path)
        event(f"{form}: {'columns' if by_columns.by_columns > before else 'rows'}")
        assert found == expected
        assert by_columns.new_events() == by_rows.new_events()
        assert by_columns.back_fills() == by_rows.back_fills()

    by_columns.by_columns = 0
    check()
    assert by_columns.by_columns > examples // 4


def numbered(
    table: pyarrow.Table, options: dict[str, Any], number: int
) -> tuple[pyarrow.Table, dict[str, Any]]:
    """With the names of this example's tenants."""
    if "tenant" in options:
        options = {**options, "tenant": f"{options['tenant']}-{number}"}
    if "tenant" in table.column_names:
        place, column = table.column_names.index("tenant"), table.column("tenant")
        if not pyarrow.types.is_integer(column.type):
            names = [TENANT.sub(rf"\1-{number}", v) if v else v for v in column.to_pylist()]
            column = pyarrow.array(names, column.type)
        table = table.set_column(place, "tenant", column)
    return table, options


def counting(side: Side) -> Any:
    real = _batches.bulk

    def bulk(*arguments: Any) -> Any:
        made = real(*arguments)
        side.by_columns += made is not None
        return made

    return bulk


def outcome(
    t: Tenancy, table: pyarrow.Table, options: dict[str, Any], form: str, path: Path
) -> Any:
    """The report, or the error of the whole."""
    try:
        if form == "parquet":
            pyarrow.parquet.write_table(table, path / "u.parquet")
            report = t.usage.import_(path / "u.parquet", **options)
        elif form == "csv":
            write_csv(table, path / "u.csv")
            report = t.usage.import_(path / "u.csv", **options)
        else:
            rows: Any = table
            if form in MADE_OF_OBJECTS:
                rows = MADE_OF_OBJECTS[form](table)
            report = t.usage.record_many(rows, **options)
    except InvalidValue as error:
        return str(error)
    return repr(report)  # NaN is not equal to itself


def lists(table: pyarrow.Table) -> dict[str, Any]:
    return {
        name: column.combine_chunks() if n % 2 else column.cast(plain(column.type)).to_pylist()
        for n, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True))
    }


def mappings(table: pyarrow.Table) -> list[dict[str, Any]]:
    """With `datetime`s and objects; every other one lacks what is None."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        as_datetime = pyarrow.types.is_timestamp(column.type) and column.type.unit == "us"
        values = column.to_pylist() if as_datetime else column.cast(plain(column.type)).to_pylist()
        columns[name] = [parsed(value) if name == "properties" else value for value in values]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return [
        {k: v for k, v in row.items() if v is not None} if number % 2 else row
        for number, row in enumerate(rows)
    ]


def parsed(text: Any) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return text
    return value if isinstance(value, dict) else text


MADE_OF_OBJECTS = {"lists": lists, "mappings": mappings}
FORMS = ("arrow", "parquet", "csv", "lists", "mappings", "mappings")


def plain(kind: pyarrow.DataType) -> pyarrow.DataType:
    """Timestamps that `datetime` can hold are for the other forms."""
    return pyarrow.int64() if pyarrow.types.is_timestamp(kind) else kind


def write_csv(table: pyarrow.Table, path: Path) -> None:
    columns = [column.cast(plain(column.type)).to_pylist() for column in table.columns]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table.column_names)
        for row in zip(*columns, strict=True):
            writer.writerow([json.dumps(c) if isinstance(c, dict) else c for c in row])


# --------------------------------------------------------------------------- which way is taken


def big(t: Tenancy, size: int = 70_000) -> pyarrow.Table:
    tenants = [t.tenants.create(name=f"T{n}", anchor=START).id for n in range(3)]
    return pyarrow.table(
        {
            "tenant": [tenants[n % 3] for n in range(size)],
            "metric": [("calls", "sum")[n % 2] for n in range(size)],
            "id": [f"event {n}" for n in range(size)],
            "quantity": pyarrow.array(range(size), pyarrow.int64()),
            "time": pyarrow.array([ns(-1) + n for n in range(size)], pyarrow.timestamp("ns")),
            "region": [("eu", None, "us")[n % 3] for n in range(size)],
        }
    )


def test_blocks_go_by_columns_and_only_those_with_something_wrong_by_rows(
    tmp_path: Path, sides: tuple[Side, Side]
) -> None:
    _, side = sides
    table = big(side.t)
    tenant = table["tenant"][0].as_py()
    side.by_columns = 0
    told: list[tuple[int, int | None]] = []
    options: dict[str, Any] = {"properties": ["region"], "source": "big"}
    with mock.patch.object(_batches, "bulk", counting(side)):
        report = side.t.usage.record_many(table, progress=lambda *at: told.append(at), **options)
        assert (report.rows, report.recorded, report.duplicates) == (70_000, 70_000, 0)
        assert side.by_columns == 2
        assert told == [(65_536, 70_000), (70_000, 70_000)]
        pyarrow.parquet.write_table(table, tmp_path / "u.parquet")
        assert side.t.usage.import_(tmp_path / "u.parquet", **options).duplicates == 70_000
        assert side.by_columns == 4
        times = pyarrow.array([iso(ns(-1) + n) for n in range(70_000)])
        write_csv(table.set_column(4, "time", times), tmp_path / "u.csv")
        assert side.t.usage.import_(tmp_path / "u.csv", **options).duplicates == 70_000
        assert side.by_columns == 9
        wrong = table.slice(0, 100).to_pylist()
        wrong[99]["quantity"] = -1
        end = pyarrow.Table.from_pylist(wrong, table.schema)
        report = side.t.usage.record_many(pyarrow.concat_tables([table, end]), **options)
        assert (report.duplicates, report.rejected) == (70_099, 1)
        assert report.rejections[0].row == 70_100
        assert side.by_columns == 11
    usage = side.t.usage.aggregate(tenant, "calls", START, None)
    right = [n for n in range(0, 70_000, 3) if n % 2 == 0]
    assert (usage.quantity, usage.events) == (sum(right), len(right))


def test_mappings_go_by_columns_where_they_are_alike(sides: tuple[Side, Side]) -> None:
    _, side = sides
    tenant = side.t.tenants.create(name="M", anchor=START).id
    rows: list[dict[str, Any]] = [
        {
            "id": f"m{n}",
            "quantity": Decimal(n) / 8,
            "time": (START + timedelta(days=69, seconds=n)).astimezone(ZoneInfo("Asia/Tokyo")),
            "properties": {"region": ("eu", "us")[n % 2], "n": n % 3},
        }
        for n in range(_rows.WORTH_ROWS)
    ]
    for row in rows[::5]:
        del row["properties"]

    def taken(given: Any) -> tuple[int, int, int]:
        before = side.by_columns
        with mock.patch.object(_batches, "bulk", counting(side)):
            report = side.t.usage.record_many(given, tenant=tenant, metric="sum")
        return side.by_columns - before, report.recorded, report.duplicates

    assert taken(rows) == (1, len(rows), 0)
    assert taken(iter(rows)) == (0, 0, len(rows))  # row by row: it might be one that changes
    # Another zone, or none, and the same time.
    rows[7]["time"] = START + timedelta(days=69, seconds=7)
    rows[8]["time"] = (START + timedelta(days=69, seconds=8)).replace(tzinfo=None)
    assert taken(rows) == (1, 0, len(rows))
    del rows[8]["quantity"]  # 1, which is what it was; for a column it would be none
    assert taken(rows) == (0, 0, len(rows))
    assert taken(tuple(rows[9:])) == (0, 0, len(rows) - 9)  # too few to be worth it
    used = side.t.usage.aggregate(tenant, "sum", START, None)
    assert used.quantity == Decimal(sum(range(len(rows)))) / 8


def test_with_a_quota_each_row_is_charged(sides: tuple[Side, Side]) -> None:
    _, side = sides
    tenant = side.t.tenants.create(name="Q", plan="free", anchor=START)
    table = pyarrow.table({"quantity": [60, 60, 30], "id": ["a", "b", "c"]})
    report = side.t.usage.record_many(table, tenant=tenant, metric="tokens", consume=True)
    assert (report.recorded, report.rejected, report.rejections[0].row) == (2, 1, 2)
    assert side.t.quotas.status(tenant, "tokens").used == 90


def test_no_event_by_columns_comes_into_a_month_that_was_closed(sides: tuple[Side, Side]) -> None:
    _, side = sides
    tenant = side.t.tenants.create(name="C", plan="free", anchor=START)
    table = pyarrow.table(
        {"time": pyarrow.array([ns(-1), ns(-20)], pyarrow.timestamp("ns")), "id": ["a", "b"]}
    )
    side.t.usage.close(tenant)
    report = side.t.usage.record_many(table, tenant=tenant, metric="calls")
    assert (report.recorded, report.rejections[0].column) == (1, "time")
    assert "events are taken from" in report.rejections[0].reason
