"""Reports as pages and on the command line: what they hold; hostile events cannot bend them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import stat
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pypdf
import pytest
from typer.testing import CliRunner

from report_support import DAY, EVERY, report
from store_support import START, open_shop
from tenancy import Tenancy
from tenancy.cli import app
from tenancy.errors import ExtraMissing, InvalidValue, StoreNotWritable
from tenancy.reports import _pdf


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Tenancy]:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme", plan="pro", by="operator:ada")
        yield t


HOSTILE = "</td><script>alert(1)</script><img src=x onerror=y>{{ 7*7 }}\u202eevil\u2028"


class Page(HTMLParser):
    """Which elements a page has, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_texts_of_events_never_become_markup(shop: Tenancy) -> None:
    shop.tenants.update("acme", name=f"Acme {HOSTILE[:60]}", by="operator:ada")
    append = shop.audit.append
    context = {"note": HOSTILE + "\x00\x1b[2J"}
    kind = "data_<i>x</i>"
    append(kind, tenant="acme", principal="ada", action="a<b>", resource="r&amp;", context=context)
    append("data_read", tenant="acme", principal=HOSTILE, resource_id=HOSTILE, resource=HOSTILE)
    html = report(shop, "pci-dss").html()
    page = Page(html)
    assert not {"script", "img", "i", "iframe", "object", "svg"} & set(page.elements)
    assert page.text.count("<script>alert(1)</script>") > 3
    assert "{{ 7*7 }}" in page.text
    assert "r&amp;" in page.text  # not unescaped, not escaped twice
    assert "<U+202E>evil<U+2028>" in page.text
    assert not {"\u202e", "\u2028", "\x00", "\x1b"} & set(html)


def test_the_page_loads_nothing(shop: Tenancy) -> None:
    page = Page(report(shop).html())
    assert "link" not in page.elements
    links = {value for name, value in page.attributes if name in ("src", "href")}
    assert all(value is not None and value.startswith("#") for value in links)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("content", policy) in page.attributes


def text_of(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("standard", EVERY)
def test_the_pdf_holds_the_counts(
    shop: Tenancy, standard: str, installed: bool, monkeypatch: Any
) -> None:
    if not installed:
        monkeypatch.setattr(_pdf, "_FONT_DIRECTORIES", ())
    for n in range(23):
        shop.audit.append("data_read", tenant="acme", principal=f"user{n}", resource="doc")
    made = report(shop, standard, rows=3)
    text = text_of(made.pdf())
    assert f"Version {made.version}" in text
    for outcome in made.controls:
        assert outcome.id in text
        if outcome.query is not None:
            events = "event" if outcome.count == 1 else "events"
            assert f"{outcome.count} {events}: {outcome.query[:20]}" in text
        if outcome.rows_left_off:
            assert f"the newest 3; {outcome.rows_left_off} left off" in text
    assert "user22" in text
    assert "user1 " not in text


@pytest.mark.parametrize("installed", [True, False])
def test_a_pdf_shows_what_its_font_lacks_by_number(
    shop: Tenancy, installed: bool, monkeypatch: Any
) -> None:
    if not installed:
        monkeypatch.setattr(_pdf, "_FONT_DIRECTORIES", ())
    shop.audit.append(
        "data_read",
        tenant="acme",
        principal="日\u202e本",
        resource="d" * 1000,
        resource_id="𝕏" * 900,
    )
    text = text_of(report(shop).pdf())
    assert "<U+65E5><U+202E><U+672C>" in text.replace(" ", "")
    assert "<b>" not in text


def test_json_is_all_of_it(shop: Tenancy) -> None:
    shop.audit.append("login", tenant="acme", principal="ada", context={"ip": "10.0.0.1"})
    made = report(shop)
    read = json.loads(made.json())
    assert read.pop("summary") == made.summary
    assert read == json.loads(json.dumps(made.as_dict()))
    control = next(one for one in read["controls"] if one["id"] == "CC6.1")
    assert control["rows"][0]["context"] == {"ip": "10.0.0.1"}
    assert read["source"]["revision"] == shop.revision
    assert read["generated"].endswith("Z")
    assert sum(made.summary.values()) == len(made.controls)
    with pytest.raises(InvalidValue, match="id: 'CC99'"):
        made.control("CC99")


def test_the_same_report_is_the_same_pdf(shop: Tenancy) -> None:
    made = report(shop)
    assert made.pdf() == made.pdf()


@pytest.mark.parametrize("ending", ["json", "html", "pdf", "PDF"])
def test_save_goes_by_the_ending(shop: Tenancy, tmp_path: Path, ending: str) -> None:
    made = report(shop)
    target = tmp_path / f"r.{ending}"
    target.write_text("before")
    assert made.save(target) == target
    assert target.read_bytes() == made.render(ending.lower())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_save_says_what_is_wrong_with_a_path(shop: Tenancy, tmp_path: Path) -> None:
    made = report(shop)
    for name in ("r.txt", "r", ".json.bak"):
        with pytest.raises(InvalidValue, match=r"\.json, \.html or \.pdf"):
            made.save(tmp_path / name)
    with pytest.raises(StoreNotWritable, match="nowhere"):
        made.save(tmp_path / "nowhere" / "r.json")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(StoreNotWritable, match="taken"):
        made.save(tmp_path / "taken.json")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(InvalidValue, match="format: 'docx'"):
        made.render("docx")


@pytest.mark.parametrize(
    ("form", "module", "needs"), [("html", "jinja2", "jinja2"), ("pdf", "fpdf", "fpdf2")]
)
def test_a_missing_library_names_the_extra(
    shop: Tenancy, monkeypatch: Any, form: str, module: str, needs: str
) -> None:
    made = report(shop)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=rf"{needs} is not .*pip install 'tenancy\[reports\]'"):
        made.render(form)
    assert made.render("json")


def test_a_report_is_a_value(shop: Tenancy) -> None:
    made = report(shop)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.standard = "x"  # type: ignore[misc]


def test_asyncio(shop: Tenancy) -> None:
    made = asyncio.run(shop.audit.areport("acme", "gdpr", START - DAY, START + DAY))
    assert made.standard == "gdpr"


# -------------------------------------------------------------------------------- command line


class Shell:
    def __init__(self, data: Path) -> None:
        self._data = data
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        arguments = ["audit", "report", *words, "--data", str(self._data)]
        done = CliRunner().invoke(app, arguments)
        self.error = done.stderr
        assert done.exit_code == status, (done.output, done.exception)
        return done.stdout


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme", by="operator:ada")
    return Shell(tmp_path / "data")


RANGE = ("--since", "2025-12-31", "--until", "2026-01-02")


def test_command_prints_a_summary_or_all_of_it(sh: Shell) -> None:
    table = sh("acme", "--standard", "soc2", *RANGE)
    assert "CC6.1" in table
    assert "NOT CONFIGURED" in table
    whole = json.loads(sh("acme", "--standard", "soc2", *RANGE, "--json"))
    assert whole["source"]["events"] == 1
    assert whole == {**whole, "standard": "soc2", "since": "2025-12-31T00:00:00Z"}
    assert sh("acme", "--standard", "gdpr", *RANGE, "--format", "html").startswith("<!DOCTYPE")


def test_command_writes_files(sh: Shell, tmp_path: Path) -> None:
    for name, beginning in (("a.pdf", b"%PDF"), ("a.html", b"<!DOCTYPE"), ("a.json", b"{")):
        target = tmp_path / name
        said = sh("acme", "--standard", "hipaa", *RANGE, "--output", str(target), "--json")
        assert json.loads(said)["output"] == str(target)
        assert target.read_bytes().startswith(beginning)
    target = tmp_path / "evidence"
    assert "HIPAA" in sh(
        "acme", "--standard", "hipaa", *RANGE, "--output", str(target), "--format", "pdf"
    )
    assert target.read_bytes().startswith(b"%PDF")


def test_command_refuses_what_cannot_be_done(sh: Shell, tmp_path: Path) -> None:
    sh("acme", "--standard", "iso", *RANGE, status=2)
    assert "gdpr, hipaa, pci-dss, soc2" in sh.error
    sh("acme", "--standard", "soc2", "--since", "2026-01-02", "--until", "2026-01-01", status=2)
    sh("acme", "--standard", "soc2", *RANGE, "--format", "pdf", status=2)
    assert "--output" in sh.error
    sh("acme", "--standard", "soc2", *RANGE, "--format", "docx", status=2)
    sh("acme", "--standard", "soc2", *RANGE, "--output", str(tmp_path / "a.txt"), status=2)
    sh("acme", "--standard", "soc2", *RANGE, "--anchor", str(tmp_path / "none"), status=2)
    assert "name the file of a checkpoint" in sh.error
    sh("nobody", "--standard", "soc2", *RANGE, status=1)
    sh("acme", "--standard", "soc2", status=2)
