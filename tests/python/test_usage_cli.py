"""`tenancy usage` for metering: what each command does, its JSON, its exit status."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from store_support import CATALOG, write_catalog
from test_cli import Shell

METRICS = """
metrics:
  calls: {group_by: [region]}
  tokens: {quota: tokens}
"""


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "data")
    shell("plans", "use", str(write_catalog(tmp_path, CATALOG + METRICS)))
    shell("tenants", "create", "Acme")
    return shell


def test_an_event_from_recording_to_cancelling(sh: Shell) -> None:
    words = (
        "usage",
        "record",
        "acme",
        "calls",
        "0.5",
        "--id",
        "a",
        "--properties",
        '{"region":"eu"}',
    )
    assert sh.json(*words)["duplicate"] is False
    assert sh.json(*words)["duplicate"] is True
    sh("usage", "record", "acme", "calls", "1", "--id", "a", status=1)
    assert "recorded as 0.5 calls" in sh.error
    sh("usage", "record", "acme", "cals", status=1)
    assert "did you mean" in sh.error
    sh("usage", "record", "acme", "calls", "--", "-1", status=2)
    assert sh.json("usage", "correct", "acme", "a", "--quantity", "2")["quantity"] == "2"
    usage = sh.json("usage", "aggregate", "acme", "calls", "--group-by", "region")
    assert usage["quantity"] == "2"
    assert usage["rows"][0]["group"] == {"region": "eu"}
    assert "calls (sum): 2" in sh("usage", "aggregate", "acme", "calls", "--every", "month")
    (event,) = sh.json("usage", "events", "acme")["items"]
    assert (event["id"], event["corrected"]) == ("a", True)
    assert "eu" in sh("usage", "events", "acme", "calls")
    sh("usage", "cancel", "acme", "a")
    sh("usage", "cancel", "acme", "a", status=1)
    assert sh.json("usage", "aggregate", "acme", "calls")["quantity"] == "0"


def test_a_quota_is_charged_or_not(sh: Shell) -> None:
    sh("usage", "record", "acme", "tokens", "100")
    sh("usage", "record", "acme", "tokens", "1", status=1)
    sh("usage", "record", "acme", "tokens", "1", "--no-consume")
    assert sh.json("usage", "show", "acme")["tokens"]["used"] == 100
    assert sh.json("usage", "aggregate", "acme", "tokens")["quantity"] == "101"


def test_a_file_is_imported_once_and_what_is_wrong_is_put_beside_it(
    sh: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("Menge,Region\n3,eu\n4,us\nviel,us\n", encoding="utf-8")
    words = (
        "usage", "import", str(path), "--tenant", "acme", "--metric", "calls",
        "--column", "quantity=Menge", "--property", "Region",
    )  # fmt: skip
    report = sh.json(*words, status=1)
    assert (report["recorded"], report["rejected"]) == (2, 1)
    rejected = Path(report["rejected_path"])
    assert rejected == tmp_path / "usage.csv.rejected.csv"
    with rejected.open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["row"], row["column"]) == ("3", "quantity")
    assert sh.json(*words, status=1)["duplicates"] == 2
    assert "viel" in sh(*words, status=1) + sh.error
    sh("usage", "import", str(path), "--column", "quantity", status=2)
    sh("usage", "import", str(tmp_path / "no.csv"), status=2)


def test_periods_are_shown_and_closed(sh: Shell) -> None:
    found = sh.json("usage", "periods", "acme", "--count", "3")["items"]
    assert found[0]["state"] == "open"
    assert [found[n]["start"] for n in (0, 1)] == [found[n]["end"] for n in (1, 2)]
    closed = sh.json("usage", "close", "acme")
    assert closed["until"] == found[0]["start"]
    assert "closed" in sh("usage", "periods", "acme", "--count", "2")
    sh("usage", "close", "acme", "--until", "2100-01-01", status=2)


def test_usage_over_time_is_drawn_into_a_file(sh: Shell, tmp_path: Path) -> None:
    for hour in range(3):
        sh("usage", "record", "acme", "calls", "2", "--time", f"2026-07-01T0{hour}:00:00Z",
           "--backfill")  # fmt: skip
    day = ("--since", "2026-07-01T00:00:00Z", "--until", "2026-07-02T00:00:00Z")
    picture = tmp_path / "calls.png"
    sh("usage", "aggregate", "acme", "calls", *day, "--every", "hour", "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    sh("usage", "aggregate", "acme", "calls", *day, "--plot", str(picture), status=2)
    assert "--every day" in sh.error
