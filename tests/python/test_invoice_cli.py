"""`tenancy bills` on the command line."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from invoice_support import CATALOG
from tenancy import Catalog, Tenancy
from tenancy.billing import CreditNote, Invoice, from_json
from tenancy.cli import _common, app
from tenancy.testing import FakeClock

MARCH = datetime(2026, 3, 1, tzinfo=timezone.utc)
SELLER = {
    "seller": {"name": "Shop AG", "country": "AT"},
    "tax": {"country": "AT", "rates": [{"country": "AT", "rate": 20, "name": "USt"}]},
    "rules": {"preset": "default", "round_at": "line"},
    "due_days": 30,
}


class Shell:
    """Runs `tenancy bills …` on one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, ["bills", *words, "--data", str(self.data)])
        self.error = result.stderr
        assert result.exit_code == status, (words, result.output, result.exception)
        return result.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=timezone.utc))
    with Tenancy.open(tmp_path / "data", Catalog.from_dict(CATALOG), clock=clock) as t:
        t.tenants.create("Acme", slug="acme", anchor=clock.now())
        file = tmp_path / "seller.json"
        file.write_text(json.dumps(SELLER), encoding="utf-8")
    shell = Shell(tmp_path / "data")
    shell("configure", str(file))
    with Tenancy.open(tmp_path / "data", clock=clock) as t:
        # The command's clock is the system's: what was before is said by a clock that is not.
        from tenancy.billing import Party

        party = Party("Acme GmbH", "AT")
        t.billing.account("acme", party=party, currency="EUR")
        t.billing.credit("acme", 4)
    return shell


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object of billed"),
        ('{"due_days": 3}', "seller: is missing"),
        ('{"seller": {"name": "G"}}', "seller.country: is missing: it needs country, name"),
        ('{"seller": "G"}', "seller: expected an object of"),
        ('{"sellers": {}}', ": sellers: is not known: of billed"),
        ('{"seller": {"name": "G", "country": "AT", "zip": "1"}}', "seller.zip: is not known"),
        ('"tax": {"rates": []}', "tax.country: is missing"),
        ('"tax": {"country": "AT", "rates": {}}', "tax.rates: expected a list"),
        ('"tax": {"country": "AT", "rates": [{"country": "AT"}]}', "tax.rates[0].rate: is missing"),
        (
            '"tax": {"country": "AT", "rates": [{"country": "AT", "rate": "x"}]}',
            "tax.rates[0]: tax.rate: expected a decimal number",
        ),
        ('"tax": {"country": "AT", "union": "AT"}', "tax.union: expected a list"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_by_file_and_member(
    sh: Shell, tmp_path: Path, text: str, told: str
) -> None:
    if text.startswith('"tax"'):
        text = f'{{"seller": {{"name": "G", "country": "AT"}}, {text}}}'
    file = tmp_path / "wrong.json"
    file.write_text(text, encoding="utf-8")
    sh("configure", str(file), status=2)
    assert "wrong.json" in sh.error
    assert told in sh.error


def test_late_usage_is_shown_by_metric(sh: Shell) -> None:
    number = sh.json("issue", "2026-01", "--tenant", "acme")["number"]
    assert "the usage is what was billed" in sh("adjust", number)
    with Tenancy.open(sh.data) as t:
        late = datetime(2026, 1, 15, tzinfo=timezone.utc)
        t.usage.record("acme", "calls", 1000, time=late, backfill=True)
    told = sh("adjust", number)
    assert '{"calls": "10"}' in told
    assert number in told


def test_coupons_from_the_terminal(sh: Shell) -> None:
    terms = ("--percent", "50", "--cap", "5", "--currency", "EUR", "--periods", "2")
    made = sh.json("coupon", "SPRING", *terms, "--ends", "2099-01-01", "--metric", "calls")
    assert made["terms"]["metrics"] == ["calls"]
    assert "2099-01-01T00:00:00Z" in sh("coupons")
    before = sh.json("preview", "acme", "2026-01", "--usage", '{"calls": 1000}')
    assert sh.json("redeem", "acme", "SPRING", "--since", "2026-01-01")["code"] == "SPRING"
    after = sh.json("preview", "acme", "2026-01", "--usage", '{"calls": 1000}')
    assert (before["discount"], after["discount"]) == ("0", "5")
    [coupon] = sh.json("coupons")["coupons"]
    assert (coupon["code"], coupon["redeemed"]) == ("SPRING", 1)
    for words, told in (
        (("coupon", "SPRING", "--percent", "1"), "a code that none has had"),
        (("redeem", "acme", "SPRING"), "has redeemed SPRING: a coupon holds once"),
        (("redeem", "acme", "AUTUMN"), "`tenancy bills coupons` shows"),
    ):
        sh(*words, status=1)
        assert told in sh.error
    sh("coupon", "NONE", status=2)
    assert "--percent 20, or --amount 5 --currency EUR" in sh.error
    sh("coupon", "LATE", "--percent", "1", "--ends", "soon", status=2)
    assert "--ends: 'soon'" in sh.error


def test_seats_and_prices_of_a_tenant_from_the_terminal(sh: Shell, tmp_path: Path) -> None:
    book = tmp_path / "own.yaml"
    book.write_text("price_book: own\ncurrency: EUR\nseats: {unit: 12}\nmetrics: {calls: 0.5}\n")
    since = ("--since", "2026-01-01")
    assert sh.json("prices", "acme", str(book), *since)["prices"] == "own (EUR)"
    assert sh.json("seats", "acme", "5", *since)["seats"] == "5"
    bill = sh.json("preview", "acme", "2026-01", "--usage", '{"calls": 10}')
    assert {line["kind"]: line["amount"] for line in bill["lines"]} == {"seats": "60", "usage": "5"}
    assert sh.json("prices", "acme", "catalog", *since)["prices"] is None
    again = sh.json("preview", "acme", "2026-01", "--usage", '{"calls": 10}')
    assert "seats" not in {line["kind"] for line in again["lines"]}
    sh("seats", "acme", "many", status=2)
    assert "seats: expected a decimal number" in sh.error
    sh("prices", "acme", "nowhere.yaml", status=1)
    assert "no shipped price book of this name" in sh.error


def test_remedies_are_commands(sh: Shell) -> None:
    """None of Python's spellings is left, and each is one that the package really says."""
    with Tenancy.open(sh.data) as t:
        t.tenants.create("Other", slug="other")
    sh("preview", "other", status=1)
    assert "`tenancy bills account TENANT`" in sh.error
    sh("issue", "2099-01", "--tenant", "acme", status=1)
    assert "`tenancy bills preview TENANT` shows it" in sh.error
    root = Path(_common.__file__).parents[1]
    sources = [path for path in root.rglob("*.py") if path != Path(_common.__file__)]
    told = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert [python for python in _common._COMMANDS if python not in told] == []


def test_from_preview_to_payment(sh: Shell) -> None:
    usage = ("--usage", '{"calls": 1000, "storage": 2.5}')
    assert sh.json("preview", "acme", "2026-01", *usage)["due"] == "19.5"  # 10 + 10 + 0.25 - 4
    assert "storage" in sh("preview", "acme", "2026-01", *usage)
    invoice = from_json(sh("issue", "2026-01", "--tenant", "acme", *usage, "--json"))
    assert isinstance(invoice, Invoice)
    assert sh.json("show", invoice.number)["digest"] == invoice.digest
    text = sh("show", invoice.number)
    assert "USt 20 % of 16.25: 3.25" in text
    assert "open: 19.5" in text
    assert sh.json("list")["items"][0]["number"] == invoice.number
    assert sh.json("list", "--tenant", "acme", "--kind", "credit_note")["items"] == []
    assert sh.json("pay", invoice.number, "--amount", "9.5", "--reference", "r1")["open"] == "10"
    oops = ("credit-note", invoice.number, "--reason", "Oops", "--part", "0=1", "--keep-credits")
    note = from_json(sh(*oops, "--json"))
    assert isinstance(note, CreditNote)
    assert note.total == from_json(sh("show", note.number, "--json")).total  # type: ignore[union-attr]
    assert "Oops" in sh("show", note.number)
    assert sh.json("balance", "acme")[0]["owed"] == "8.8"
    assert [one["left"] for one in sh.json("credits", "acme")] == ["0"]
    returned = from_json(sh(*oops[:-1], "--json"))
    assert isinstance(returned, CreditNote)
    assert f"given back to credits: {returned.credit}" in sh("show", returned.number)
    assert [one["left"] for one in sh.json("credits", "acme")] == [f"{returned.credit:f}"] != ["0"]
    accounts = sh.json("ledger", "--accounts")["EUR"]
    assert (accounts["cash"], accounts["receivable"]) == ("9.5", "7.6")
    assert "receivable" in sh("ledger", "--tenant", "acme")
    assert len(sh.json("ledger", "--limit", "2")["items"]) == 2
    assert sh.json("verify")["problems"] == []
    assert "INV-" in sh("list")


def test_what_goes_wrong_is_told_and_is_a_status(sh: Shell, tmp_path: Path) -> None:
    sh("show", "INV-1", status=1)
    assert "no document has the number" in sh.error
    sh("issue", "2026-13", "--tenant", "acme", "--usage", "{}", status=2)
    sh("issue", "2026-01", "--usage", "{}", status=2)
    assert "name it with --tenant" in sh.error
    sh("issue", "2026-01", "--part", "half", status=2)
    sh("issue", "2026-01", "--part", "3/2", status=2)
    sh("issue", "2026-02", "--tenant", "acme", "--usage", "[]", status=2)
    sh("preview", "acme", "2026-01", "--usage", "{", status=2)
    sh("credit", "acme", "-5", status=2)
    sh("credit", "acme", "5", "--expires", "soon", status=2)
    sh("pay", "INV-1", status=1)
    sh("credit-note", "INV-1", "--reason", "x", "--part", "first", status=2)
    for text in ("{", "[]", '{"seller": {"nam": "x"}}', '{"due_days": 3}', '{"sellers": 1}'):
        file = tmp_path / "bad.json"
        file.write_text(text, encoding="utf-8")
        sh("configure", str(file), status=2)
    sh("configure", str(tmp_path / "none.json"), status=2)


def test_an_account_and_a_credit_are_given_to_a_tenant(sh: Shell) -> None:
    made = sh.json("account", "acme", "--name", "Acme Ltd", "--country", "DE", "--currency", "EUR")
    assert made["party"] == {"name": "Acme Ltd", "country": "DE"}
    given = sh.json("credit", "acme", "12.50", "--expires", "30d", "--paid", "--name", "Prepaid")
    assert (given["left"], given["source"], given["expired"]) == ("12.5", "paid", False)
    assert "Prepaid" in sh("credits", "acme")
    sh("account", "acme", "--name", "A", "--country", "Austria", "--currency", "EUR", status=2)
    sh("account", "acme", "--name", "A", "--country", "XX", "--currency", "EUR", status=2)
    assert "there is no country 'XX'" in sh.error


def test_budgets_are_set_listed_and_checked(sh: Shell) -> None:
    made = sh.json("budget", "acme", "8", "--threshold", "50", "--threshold", "120")
    assert (made["budget"], made["thresholds"], made["forecast"]) == ("8", "50, 120", None)
    found = sh.json("budgets", "--check")
    assert (found["told"], len(found["budgets"])) == (2, 1)
    assert found["budgets"][0]["percent"] == "125"  # the plan costs 10 a month
    assert sh.json("budgets", "--check")["told"] == 0
    assert "125" in sh("budgets")
    sh("budget", "acme", "8", "--forecast", "2", status=2)
    assert "forecast: 2.0, expected a probability between 0 and 1" in sh.error
    assert sh.json("budget", "acme", "none") == {"budget": None}
    assert sh.json("budgets") == {"budgets": []}
