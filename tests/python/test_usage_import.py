"""Import: files and frames of any quality; no row is lost, and none counts twice."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from store_support import DAY_NS, START, make_clock, run_python
from tenancy import Tenancy
from tenancy.catalog import Catalog
from tenancy.demo.trace import hour_file
from tenancy.errors import InvalidValue
from tenancy.usage import UsageReport
from tenancy.usage._events import parse_time
from usage_model import open_metered


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    clock = make_clock()
    clock.advance_ns(10 * DAY_NS)
    with open_metered(tmp_path_factory.mktemp("import"), clock) as made:
        yield made


@pytest.fixture
def tenant(t: Tenancy) -> Any:
    return t.tenants.create(name="T", plan="free", anchor=START)


def calls(t: Tenancy, tenant: Any) -> Decimal:
    return t.usage.aggregate(tenant, "calls").quantity


def settled(report: UsageReport) -> tuple[int, int, int]:
    """Recorded, duplicates, rejected rows."""
    return report.recorded, report.duplicates, report.rejected


HEAD = "tenant,metric,quantity,id,time\n"


# -------------------------------------------------------------------------------------- every row


def test_a_csv_with_everything_wrong_loses_nothing(t: Tenancy, tenant: Any, tmp_path: Path) -> None:
    ok = f"{tenant.id},calls"
    lines = [
        f"{ok},1,a,2026-01-02T03:04:05Z",
        f"{ok},0.25,b,2026-01-02 03:04:05.123456789+01:00",
        "nobody,calls,1,c,",
        f"{tenant.id},cals,1,d,",
        f"{ok},-1,e,",
        f"{ok},x,f,",
        f"{ok},1,g,2027-01-01T00:00:00Z",
        f"{ok},1,h,2020-01-01T00:00:00Z",
        f"{ok},1,i,yesterday",
        f"{ok},1",
        f"{ok},1,j,,surplus",
        f"{ok},2,a,2026-01-02T03:04:05Z",  # another content
        f"{ok},1,a,2026-01-02T03:04:05Z",  # the same
        f"{ok},,k,",
        f"{ok},1,\xff,",
        "",
        f'{ok},1,"l,',  # never closed: the rest is one cell
    ]
    path = tmp_path / "usage.csv"
    path.write_bytes((HEAD + "\n".join(lines) + "\n").encode("latin-1"))
    report = t.usage.import_(path, rejected=tmp_path / "rejected.csv")
    assert settled(report) == (2, 1, 13)
    assert report.rows == 16
    assert calls(t, tenant) == Decimal("1.25")
    columns = {r.row: r.column for r in report.rejections}
    assert columns == {
        3: "tenant", 4: "metric", 5: "quantity", 6: "quantity", 7: "time", 8: "time", 9: "time",
        10: "", 11: "", 12: "id", 14: "quantity", 15: "id", 16: "",
    }  # fmt: skip
    with (tmp_path / "rejected.csv").open(encoding="utf-8", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [int(row["row"]) for row in written] == sorted(columns)
    assert [row["reason"] for row in written][4].startswith("2027-01-01")
    assert "did you mean" in written[1]["reason"]
    assert "such as 3" in written[3]["reason"]
    assert json.loads(written[3]["values"])["quantity"] == "x"
    assert settled(t.usage.import_(path)) == (0, 3, 13)
    assert calls(t, tenant) == Decimal("1.25")


def test_json_lines_may_be_rows_or_cloud_events(t: Tenancy, tenant: Any, tmp_path: Path) -> None:
    rows: list[Any] = [
        {"tenant": tenant.id, "metric": "calls", "quantity": 2, "id": 7},
        {"specversion": "1.0", "id": "e", "source": "s", "type": "calls", "subject": tenant.id,
         "data": {"quantity": "0.5", "model": "a"}},
        {"tenant": tenant.id, "metric": "unique", "properties": {"user": "ada"}},
        [1], None, {"tenant": tenant.id}, {"tenant": 5, "metric": "calls"},
    ]  # fmt: skip
    lines = [json.dumps(row).encode() for row in rows]
    lines += [b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 5000, b'{"x": "' + b"y" * 2_000_000 + b'"}']
    lines.append(b'{"tenant": "%s", "metric": "calls", "quantity": 0.1}' % tenant.id.encode())
    path = tmp_path / "usage.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    report = t.usage.import_(path)
    assert settled(report) == (4, 0, 9)
    assert calls(t, tenant) == Decimal("2.6")  # 0.1 is read as its digits
    assert settled(t.usage.import_(path)) == (0, 4, 9)
    assert t.usage.event(tenant, "e", source="s").properties == {"model": "a"}


def test_a_file_that_was_cut_off_can_be_imported_again(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    text = "".join(f'{{"metric": "calls", "quantity": {n}}}\n' for n in range(9000))
    whole = gzip.compress(text.encode())
    path = tmp_path / "usage.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidValue, match="cannot be read to its end"):
        t.usage.import_(path, tenant=tenant)
    path.write_bytes(whole)
    report = t.usage.import_(path, tenant=tenant)
    assert report.recorded + report.duplicates == 9000
    assert calls(t, tenant) == sum(range(9000))


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("usage.csv", b"", "path"),
        ("usage.csv", b"a,b\n1,2\n", "columns"),
        ("usage.csv.gz", b"no gzip", "path"),
        ("usage.parquet", b"no parquet", "path"),
        ("usage.parquet", b"", "path"),
        ("usage.txt", b"", "path"),
        ("missing.csv", None, "path"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(
    t: Tenancy, tmp_path: Path, name: str, content: bytes | None, field: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidValue) as caught:
        t.usage.import_(tmp_path / name)
    assert caught.value.field == field


def test_a_cell_that_is_too_long_is_one_rejected_row(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(f"quantity,note\n1,{'x' * 200_000}\n2,ok\n3,\n", encoding="utf-8")
    report = t.usage.import_(path, tenant=tenant, metric="calls")
    assert settled(report) == (2, 0, 1)
    assert "field larger than" in report.rejections[0].reason
    assert calls(t, tenant) == 5


def test_more_rejected_rows_than_fit_into_memory_need_a_file(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("metric,quantity\n" + "calls,x\n" * 10_001, encoding="utf-8")
    with pytest.raises(InvalidValue, match=r"rejected=…"):
        t.usage.import_(path, tenant=tenant)
    report = t.usage.import_(path, tenant=tenant, rejected=tmp_path / "r.csv")
    assert (report.rejected, len(report.rejections)) == (10_001, 10_000)
    assert (tmp_path / "r.csv").read_text(encoding="utf-8").count("\n") == 10_002


# ------------------------------------------------------------------------------------- columns


def test_columns_have_the_names_that_the_file_gives_them(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("Kunde,Menge,ms,Region\nx,3,1767312000000,eu\nx,4,1767312000000,\n", "utf-8")
    options = {
        "tenant": tenant, "metric": "sum", "time_unit": "ms", "properties": ["Region"],
        "columns": {"quantity": "Menge", "time": "ms"}, "source": "crm",
    }  # fmt: skip
    assert settled(t.usage.import_(path, **options)) == (2, 0, 0)
    found = list(t.usage.events(tenant, "sum"))
    assert [(e.id, e.source, e.properties) for e in found] == [
        ("row 1", "crm", {"Region": "eu"}), ("row 2", "crm", {}),
    ]  # fmt: skip
    assert found[0].time == datetime(2026, 1, 2, tzinfo=timezone.utc)
    for wrong, field in (
        ({"columns": {"amount": "Menge"}}, "columns"),
        ({"columns": {"quantity": "Mengen"}}, "columns"),
        ({"quantities": {"Menge": "sum"}}, "quantities"),
        ({"time_unit": "h"}, "time_unit"),
        ({"properties": "Region"}, "properties"),
    ):
        with pytest.raises(InvalidValue) as caught:
            t.usage.import_(path, **{**options, **wrong})
        assert caught.value.field == field
    assert t.usage.import_(path, **{**options, "time_unit": None}).rejected == 2


def test_what_a_row_says_itself_stands_before_what_is_said_of_all(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    other = t.tenants.create(name="O", plan="free", anchor=START)
    path = tmp_path / "usage.csv"
    path.write_text(f"tenant,source,id\n,,a\n{other.id},,a\n,own,a\n", encoding="utf-8")
    assert settled(t.usage.import_(path, tenant=tenant, metric="calls")) == (3, 0, 0)
    assert [e.source for e in t.usage.events(tenant)] == ["usage.csv", "own"]
    assert [e.source for e in t.usage.events(other)] == ["usage.csv"]


@pytest.mark.parametrize(
    ("text", "unit", "nanoseconds"),
    [
        ("1970-01-02T00:00:00Z", None, 86_400_000_000_000),
        ("1970-01-02 00:00", None, 86_400_000_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", None, 1),
        ("1970-01-01T00:00:00-00:30", None, 1_800_000_000_000),
        ("1970-01-01t00:00:01.5z", None, 1_500_000_000),
        ("1970-01-01T00:00:01,25 UTC", None, 1_250_000_000),
        ("1.000000001", "s", 1_000_000_001),
        (Decimal("1.5"), "ms", 1_500_000),
        (7, "us", 7_000),
        ("9", "ns", 9),
    ],
)
def test_times_are_read_to_the_nanosecond(text: Any, unit: str | None, nanoseconds: int) -> None:
    assert parse_time(text, unit) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z",
     "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00+24:00", "2026-01-01",
     "2026-01-01T00:00:00+01:60", "9999-01-01T00:00:00Z", "1", "1e9", "-1", 5, True, None, 1.5],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_time(text)
    assert caught.value.field == "time"


def test_a_row_may_be_several_events(t: Tenancy, tenant: Any, tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("in,out\n5,1\n7,\n-1,2\n", encoding="utf-8")
    report = t.usage.import_(path, tenant=tenant, quantities={"in": "calls", "out": "sum"})
    assert (report.rows, report.recorded, report.rejected) == (3, 2, 2)
    assert calls(t, tenant) == 5


def test_the_hour_of_language_models_is_metered_as_it_was(tmp_path: Path) -> None:
    """28,185 requests, two metrics; the sums are those of the trace."""
    clock = make_clock()
    catalog = Catalog.from_dict(
        {"catalog": "c", "default_plan": "p", "plans": {"p": {"price_book": "llm-tokens"}},
         "metrics": {"context_tokens": {"group_by": ["service"]}}}
    )  # fmt: skip
    with open_metered(tmp_path, clock, catalog=catalog) as t:
        tenant = t.tenants.create(name="T", plan="p")
        seen: list[tuple[int, int | None]] = []
        options = {
            "tenant": tenant, "properties": ["service"], "backfill": True,
            "quantities": {n: n for n in ("context_tokens", "generated_tokens")},
        }  # fmt: skip
        report = t.usage.import_(
            hour_file(), progress=lambda done, total: seen.append((done, total)), **options
        )
        assert settled(report) == (2 * 28_185, 0, 0)
        assert seen[-1][0] == seen[-1][1] == hour_file().stat().st_size
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        since = datetime(2023, 11, 16, 18, tzinfo=timezone.utc)
        until = datetime(2023, 11, 16, 20, tzinfo=timezone.utc)
        context = t.usage.aggregate(tenant, "context_tokens", since, until, group_by="service")
        assert context.quantity == 40_421_844
        assert {row.group["service"]: row.events for row in context} == {
            "code": 8819,
            "conv": 19_366,
        }
        generated = t.usage.aggregate(tenant, "generated_tokens", since, until)
        assert (generated.quantity, generated.events) == (4_334_561, 28_185)
        assert settled(t.usage.import_(hour_file(), **options)) == (0, 2 * 28_185, 0)


# ------------------------------------------------------------------------------------- frames


def test_an_arrow_table_and_a_parquet_file_are_read_alike(
    t: Tenancy, tenant: Any, tmp_path: Path
) -> None:
    table = pyarrow.table(
        {
            "metric": pyarrow.array(["calls"] * 4).dictionary_encode(),
            "quantity": pyarrow.array([Decimal("1.5"), Decimal(2), None, Decimal(4)],
                                      pyarrow.decimal128(20, 3)),
            "id": [f"p{n}" for n in range(4)],
            "time": pyarrow.array([1767312000_000000001] * 4, pyarrow.timestamp("ns")),
        }
    )  # fmt: skip
    report = t.usage.record_many(table, tenant=tenant, source="warehouse")
    assert settled(report) == (3, 0, 1)
    assert report.rejections[0].row == 3
    path = tmp_path / "usage.parquet"
    pyarrow.parquet.write_table(table, path)
    assert settled(t.usage.import_(path, tenant=tenant, source="warehouse")) == (0, 3, 1)
    assert calls(t, tenant) == Decimal("7.5")
    floats = pyarrow.table({"metric": ["calls"], "quantity": [1.5]})
    with pytest.raises(InvalidValue, match="cast the column"):
        t.usage.record_many(floats, tenant=tenant)


def test_columns_and_rows_of_a_program_are_read_alike(t: Tenancy, tenant: Any) -> None:
    columns = {"quantity": [1, 2, 3], "id": ["x", "y", "z"]}
    assert settled(t.usage.record_many(columns, tenant=tenant, metric="calls")) == (3, 0, 0)
    rows = ({"quantity": n, "id": name} for n, name in zip(*columns.values(), strict=True))
    assert settled(t.usage.record_many(rows, tenant=tenant, metric="calls")) == (0, 3, 0)
    for wrong in ({"quantity": [1], "id": []}, {"quantity": "abc"}, "usage.csv", 5):
        with pytest.raises(InvalidValue):
            t.usage.record_many(wrong, tenant=tenant, metric="calls")
    assert settled(t.usage.record_many([], tenant=tenant, metric="calls")) == (0, 0, 0)


def test_rows_without_ids_count_each_time_unless_their_source_is_named(
    t: Tenancy, tenant: Any
) -> None:
    rows = [{"quantity": 1}, {"quantity": 1}]
    for _ in range(2):
        t.usage.record_many(rows, tenant=tenant, metric="calls")
    assert calls(t, tenant) == 4
    for _ in range(2):
        t.usage.record_many(rows, tenant=tenant, metric="calls", source="nightly 2026-01-10")
    assert calls(t, tenant) == 6


def test_frames_of_pandas_and_polars_are_read(t: Tenancy, tenant: Any) -> None:
    rows = {"quantity": [1, 2], "id": ["a", "b"]}
    pandas = pytest.importorskip("pandas", minversion="2.2")
    assert t.usage.record_many(pandas.DataFrame(rows), tenant=tenant, metric="calls").recorded == 2
    polars = pytest.importorskip("polars", minversion="1.3")
    frame = polars.DataFrame(rows)
    assert t.usage.record_many(frame, tenant=tenant, metric="calls").duplicates == 2


def test_hostile_files_end_in_a_report_or_an_error(t: Tenancy, tenant: Any, tmp_path: Path) -> None:
    """Random bytes, and a good file with random damage."""
    good = HEAD + "".join(f"{tenant.id},calls,1,h{n},\n" for n in range(50))
    refused = []
    for seed in range(40):
        noise = random.Random(seed)
        content = bytearray(good.encode())
        for _ in range(noise.randrange(1, 40)):
            content[noise.randrange(len(content))] = noise.randrange(256)
        path = tmp_path / f"usage{seed}.{noise.choice(['csv', 'jsonl', 'parquet'])}"
        path.write_bytes(content if seed % 4 else noise.randbytes(500))
        try:
            report = t.usage.import_(path, source="hostile")
        except InvalidValue as error:
            refused.append(error.field)
            continue
        assert report.rows == report.recorded + report.duplicates + report.rejected
    assert set(refused) == {"path", "columns"}


@pytest.mark.slow
def test_a_huge_file_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """200,000 rows, one in ten wrong, in a process whose peak is measured."""
    path = tmp_path / "usage.csv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("quantity,id\n")
        for number in range(200_000):
            stream.write(f"{'x' if number % 10 == 9 else number},h{number}\n")
    program = """
        import resource, sys
        from tenancy import Tenancy
        from tenancy.catalog import Catalog
        catalog = Catalog.from_dict(
            {"catalog": "c", "plans": {"p": {}}, "default_plan": "p", "metrics": {"calls": {}}}
        )
        with Tenancy.open(sys.argv[1], catalog) as t:
            tenant = t.tenants.create(name="T")
            options = {"tenant": tenant, "metric": "calls", "rejected": sys.argv[2] + ".rejected"}
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            report = t.usage.import_(sys.argv[2], **options)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(report.recorded, report.rejected, t.usage.aggregate(tenant, "calls").quantity)
            print((after - before) // 1024)
    """
    done = run_python(program, tmp_path / "data", path)
    assert done.returncode == 0, done.stderr
    counts, grown = done.stdout.splitlines()
    right = sum(number for number in range(200_000) if number % 10 != 9)
    assert counts.split() == ["180000", "20000", str(right)]
    assert int(grown) < 100, "MiB"
