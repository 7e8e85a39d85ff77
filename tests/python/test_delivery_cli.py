"""`tenancy bills export` on the command line."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from einvoice_support import broken_rules
from invoice_support import CATALOG
from tenancy import Catalog, Tenancy
from tenancy.billing import Invoice, Party
from tenancy.cli import app
from tenancy.delivery import to_cii, to_csv, to_facturx
from tenancy.testing import FakeClock

SELLER = {
    "seller": {"name": "Shop AG", "country": "AT", "tax_id": "ATU12345678"},
    "tax": {"country": "AT", "rates": [{"country": "AT", "rate": 20, "name": "USt"}]},
}


@pytest.fixture
def issued(tmp_path: Path) -> tuple[Path, Invoice]:
    """A data directory, and the invoice that was issued in it."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=timezone.utc))
    data = tmp_path / "data"
    with Tenancy.open(data, Catalog.from_dict(CATALOG), clock=clock) as t:
        t.tenants.create("Acme", slug="acme", anchor=clock.now())
        t.billing.configure(seller=Party("Shop AG", "AT", tax_id="ATU12345678"))
        file = tmp_path / "seller.json"
        file.write_text(json.dumps(SELLER), encoding="utf-8")
    run(data, "configure", str(file))
    with Tenancy.open(data, clock=clock) as t:
        t.billing.account("acme", party=Party("Acme GmbH", "AT"), currency="EUR")
        clock.advance(40 * 86_400)
        made = t.billing.issue("acme", "2026-01", usage={"calls": 1000})
    assert isinstance(made, Invoice)
    return data, made


def run(data: Path, *words: str, status: int = 0) -> Any:
    result = CliRunner().invoke(app, ["bills", *words, "--data", str(data)])
    assert result.exit_code == status, (words, result.output, result.exception)
    return result


def test_a_document_is_exported_in_every_form(tmp_path: Path, issued: tuple[Path, Invoice]) -> None:
    data, invoice = issued
    xml = run(data, "export", invoice.number, "--format", "xml").stdout
    assert xml == to_cii(invoice).decode()
    assert broken_rules(xml.encode()) == []
    table = run(data, "export", invoice.number, "--format", "csv").stdout
    assert table.splitlines() == to_csv(invoice).decode().splitlines()
    german = ("--language", "de", "--zone", "Europe/Vienna")
    file = tmp_path / "x.pdf"
    told = run(data, "export", invoice.number, "--format", "facturx", "-o", str(file), *german)
    assert invoice.number in told.stdout
    assert file.read_bytes() == to_facturx(invoice, language="de", zone="Europe/Vienna")
    run(data, "export", invoice.number, "-o", str(tmp_path), "--json")
    assert (tmp_path / f"invoice-{invoice.number}.pdf").read_bytes().startswith(b"%PDF-1.7")


def test_what_cannot_be_exported_is_told(tmp_path: Path, issued: tuple[Path, Invoice]) -> None:
    data, invoice = issued
    for words, status in (
        (("NONE-1",), 1),
        ((invoice.number, "--format", "docx"), 2),
        ((invoice.number, "--format", "pdf"), 2),
        ((invoice.number, "--output", str(tmp_path / "x.docx")), 2),
        ((invoice.number, "--language", "xx", "--format", "html"), 2),
    ):
        assert "error" in run(data, "export", *words, status=status).stderr
    assert not (tmp_path / "x.docx").exists()
