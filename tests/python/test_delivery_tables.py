"""Documents as tables: every digit, no formula; and a document in the form that a name says."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from document_support import D, invoices, line, make_credit_note, make_invoice, usage_line
from invoice_support import DAY, JANUARY, go_to, make_buyer, open_billing
from tenancy.billing import Invoice, from_json, sealed
from tenancy.cli.bills_export import export_document
from tenancy.delivery import (
    EVENT_COLUMNS,
    FORMATS,
    LINE_COLUMNS,
    Options,
    events_to_csv,
    export,
    file_name,
    save,
    to_cii,
    to_csv,
    to_facturx,
    to_html,
    to_pdf,
)
from tenancy.errors import InvalidValue, StoreNotWritable
from tenancy.testing import FakeClock


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_the_lines_of_an_invoice() -> None:
    rows = read(to_csv(make_invoice(discount="5.00", credit="10.00")))
    assert list(rows[0]) == list(LINE_COLUMNS)
    assert rows[1] == {
        "number": "2026-000042",
        "line": "2",
        "kind": "usage",
        "description": "Hash operations",
        "metric": "hash_operations",
        "plan": "pro",
        "price_book": "tiered",
        "price_version": "2026-01",
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "quantity": "25000",
        "unit": "operation",
        "unit_price": "",
        "amount": "22.00",
        "discount": "1.09",
        "credit": "2.18",
        "net": "18.73",
        "tax_category": "S",
        "tax_rate": "19",
        "tax": "3.56",
        "currency": "EUR",
        "events": "25000",
    }
    assert [row["unit_price"] for row in rows] == ["49", "", "10"]


def test_the_lines_of_a_credit_note() -> None:
    invoice = make_invoice()
    rows = read(to_csv(make_credit_note(invoice)))
    assert [row["line"] for row in rows] == ["1", "2", "3"]
    assert [row["net"] for row in rows] == ["49.00", "22.00", "30.00"]
    assert {row["amount"] for row in rows} == {""}
    back = make_credit_note(make_invoice(credit="10.00"))
    given = [Decimal(row["credit"]) for row in read(to_csv(back))]
    assert given == [one.credit for one in back.lines]
    assert sum(given) == 10


@settings(max_examples=40, deadline=None)
@given(invoices())
def test_the_columns_sum_to_the_invoice(invoice: Invoice) -> None:
    rows = read(to_csv(invoice))
    bill = invoice.bill
    for column, expected in (("amount", bill.subtotal), ("net", bill.net), ("tax", bill.tax)):
        assert sum((Decimal(row[column]) for row in rows), D(0)) == expected


def test_the_form_is_that_of_rfc_4180() -> None:
    content = to_csv(make_invoice(usage_line(description='a "b", c\nd')))
    head, rest = content.split(b"\r\n", 1)
    assert head.decode() == ",".join(LINE_COLUMNS)
    assert b'"a ""b"", c\nd"' in rest
    assert rest.endswith(b"\r\n")
    assert not content.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        '=HYPERLINK("http://evil.example","x")',
        "=cmd|' /C calc'!A0",
    ],
)
def test_no_text_becomes_a_formula(formula: str) -> None:
    invoice = make_invoice(usage_line(description=formula, unit=formula, plan=formula))
    [row] = read(to_csv(invoice))
    for column in ("description", "unit", "plan"):
        assert row[column].lstrip()[0] in "'<", row[column]
    for column in ("id", "properties"):
        [event] = read(b"".join(events_to_csv([{column: formula}])))
        assert event[column].lstrip()[0] in "'<"


@pytest.mark.parametrize("text", ["x;=1+1", "x; @SUM(A1);y", "x\n=1", "x\r\n +1", '"a";-1'])
def test_nor_where_a_spreadsheet_parts_fields_at_semicolons(text: str) -> None:
    content = to_csv(make_invoice(usage_line(description=text)))
    for row in content.decode().split("\r\n"):
        for cell in re.split("[;\n]", row):
            assert cell.lstrip()[:1] not in ("=", "+", "@"), row
            assert not cell.lstrip().startswith("-1"), row
    [event] = read(b"".join(events_to_csv([{"id;=1": "7"}], ["id;=1"])))
    assert list(event) == ["id;'=1"]


def test_numbers_below_zero_stay_numbers() -> None:
    rows = read(to_csv(make_invoice(line("10.00"), line("-2.50"))))
    assert rows[1]["amount"] == "-2.50"


@given(st.text())
def test_any_text_comes_back_or_is_shown_by_number(text: str) -> None:
    content = b"".join(events_to_csv([{"id": text}, {"id": "last"}]))
    first, last = read(content)
    assert last["id"] == "last"
    parts = [part.lstrip() for part in text.split(";")]
    if text.isprintable() and not any(part.startswith(tuple("=+-@＝＋－＠")) for part in parts):
        assert first["id"] == text
    assert all(c == "\n" or c.isprintable() for c in first["id"])


def test_events_are_read_one_by_one() -> None:
    taken = 0

    def many() -> Iterator[Any]:
        nonlocal taken
        for i in range(10_000):
            taken += 1
            yield SimpleNamespace(tenant="t", metric="calls", id=str(i), quantity=1, source=None)

    parts = events_to_csv(many())
    assert next(parts).decode().strip() == ",".join(EVENT_COLUMNS)
    assert next(parts).count(b"\r\n") == 1000
    assert taken == 1000
    assert sum(part.count(b"\r\n") for part in parts) == 9000


def test_every_kind_of_value() -> None:
    moment = datetime(2026, 3, 1, 1, 2, 3, 400, tzinfo=timezone(timedelta(hours=2)))
    with localcontext() as context:
        context.prec = 3
        content = b"".join(
            events_to_csv(
                [
                    {
                        "quantity": Decimal("123456789.000000000001"),
                        "time": moment,
                        "properties": {"b": 1, "a": "=x"},
                        "id": True,
                        "metric": Decimal("1E+3"),
                    }
                ]
            )
        )
    [row] = read(content)
    assert row["quantity"] == "123456789.000000000001"
    assert row["time"] == "2026-02-28T23:02:03.000400Z"
    assert row["properties"] == '{"a":"=x","b":1}'
    assert (row["id"], row["metric"], row["source"]) == ("true", "1000", "")


@pytest.mark.parametrize("value", [1.5, datetime(2026, 1, 1), Decimal("NaN"), object(), b"x"])
def test_what_is_not_exact_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue, match="quantity"):
        list(events_to_csv([{"quantity": value}]))


def test_the_usage_behind_a_line_comes_out_whole(tmp_path: Path) -> None:
    """Recorded, invoiced, read page by page, written: the CSV sums to the line, event by event."""
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        acme = make_buyer(t)
        go_to(clock, JANUARY + 30 * DAY)
        used = {
            f'=c{n},"é': (Decimal(n) / 8, JANUARY + n % 20 * DAY + timedelta(microseconds=n))
            for n in range(25)
        }
        extra = {"model": '=large, "x"', "ratio": 1.5, "big": 10**17 + 1, "parts": [1, None]}
        for name, (quantity, when) in used.items():
            t.usage.record(acme, "calls", quantity, id=name, source="-1", time=when,
                           properties=extra)  # fmt: skip
        t.usage.record(acme, "storage", 7, id="other metric")
        t.usage.record(acme, "calls", 1000, id="wrong")
        t.usage.cancel(acme, "wrong")
        go_to(clock, JANUARY + 31 * DAY)
        t.usage.record(acme, "calls", 1000, id="next month")
        closed = t.usage.close(acme)
        invoice = t.billing.issue(acme, "2026-01")
        t.usage.record(acme, "calls", 1000, id="late", time=JANUARY, backfill=True)
        [line] = [line for line in invoice.bill.lines if line.metric == "calls"]

        def behind() -> Iterator[Any]:
            cursor, more = None, True
            while more:
                page = t.usage.events(
                    acme, line.metric, line.period.start, line.period.end,
                    as_of=closed.position, limit=7, cursor=cursor,
                )  # fmt: skip
                yield from page
                cursor = page.cursor
                more = cursor is not None

        rows = read(b"".join(events_to_csv(behind())))
    assert line.events is not None
    assert line.events.events == len(rows) == 25
    assert sum(Decimal(row["quantity"]) for row in rows) == line.quantity
    found = {
        row["id"].removeprefix("'"): (
            Decimal(row["quantity"]), datetime.fromisoformat(row["time"].replace("Z", "+00:00"))
        )
        for row in rows
    }  # fmt: skip
    assert found == used
    assert [when for _, when in found.values()] == sorted(when for _, when in used.values())
    assert {(row["tenant"], row["metric"], row["source"]) for row in rows} == {
        (acme.id, "calls", "'-1")
    }
    assert all(json.loads(row["properties"]) == extra for row in rows)


# ------------------------------------------------------------------------------------- by name


def test_a_name_says_the_form() -> None:
    invoice = make_invoice()
    how = Options(language="de", zone="Europe/Berlin")
    kw: dict[str, Any] = {"language": "de", "zone": "Europe/Berlin"}
    assert {name: export(invoice, name, how) for name in FORMATS if name != "json"} == {
        "csv": to_csv(invoice),
        "facturx": to_facturx(invoice, **kw),
        "html": to_html(invoice, **kw).encode(),
        "pdf": to_pdf(invoice, **kw),
        "xml": to_cii(invoice, **kw),
    }
    issued = sealed(dataclasses.replace(invoice, digest=""))
    assert from_json(export(issued, "json")) == issued
    with pytest.raises(InvalidValue, match="csv, facturx, html, json, pdf, xml"):
        export(invoice, "docx")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("2026-000042", "invoice-2026-000042.pdf"),
        ("../../etc/passwd", "invoice-etc-passwd.pdf"),
        ("a/b\\c:d\n\x00é", "invoice-a-b-c-d.pdf"),
        ("…", "invoice-document.pdf"),
        ("x" * 190, f"invoice-{'x' * 100}.pdf"),
    ],
)
def test_a_name_of_a_file_is_safe(number: str, expected: str) -> None:
    assert file_name(make_invoice(number=number), "facturx") == expected


def test_a_file_is_whole_and_private(tmp_path: Path) -> None:
    invoice = make_invoice()
    for name, content in (
        ("a.html", to_html(invoice).encode()),
        ("a.csv", to_csv(invoice)),
        ("a.XML", to_cii(invoice)),
    ):
        path = save(invoice, tmp_path / name)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
    save(invoice, str(tmp_path / "a.html"), "csv")
    assert (tmp_path / "a.html").read_bytes() == to_csv(invoice)
    for path in (tmp_path / "a.docx", tmp_path / "a"):
        with pytest.raises(InvalidValue, match="csv, facturx"):
            save(invoice, path)
    with pytest.raises(StoreNotWritable):
        save(invoice, tmp_path / "missing" / "a.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.XML", "a.csv", "a.html"]


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("before")
    code = (
        "import resource, signal, sys; from document_support import make_invoice; "
        "from tenancy.delivery import save; from tenancy.errors import StoreNotWritable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: save(make_invoice(), sys.argv[1])\n"
        "except StoreNotWritable: sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(target)], cwd=Path(__file__).parent, check=False
    )
    assert done.returncode == 7
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


# -------------------------------------------------------------------------------- command line


def exported(document: Invoice, **options: Any) -> None:
    defaults: dict[str, Any] = {"format": None, "output": None, "language": "en", "zone": "UTC"}
    export_document(document, **{**defaults, "fonts": None, "as_json": False, **options})


def test_the_command_writes_files_and_prints_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoice = make_invoice()
    exported(invoice, format="xml", language="de")
    assert capsys.readouterr().out == to_cii(invoice, language="de").decode()
    exported(invoice, output=tmp_path / "x.html")
    assert capsys.readouterr().out == f"{tmp_path / 'x.html'}: 2026-000042\n"
    exported(invoice, output=tmp_path, format="facturx", as_json=True)
    assert json.loads(capsys.readouterr().out)["number"] == "2026-000042"
    assert (tmp_path / "invoice-2026-000042.pdf").read_bytes() == to_facturx(invoice)
    exported(invoice)
    assert json.loads(capsys.readouterr().out)["number"] == "2026-000042"
    for options in ({"format": "pdf"}, {"format": "docx"}, {"output": tmp_path / "x.docx"}):
        with pytest.raises(InvalidValue):
            exported(invoice, **options)
