"""`tenancy audit` on the command line: statuses, JSON, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit_support import flip
from store_support import write_catalog
from tenancy import Tenancy
from tenancy.cli import app


class Shell:
    """Runs `tenancy audit …` on one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.error = ""

    def __call__(self, *words: str, status: int = 0, data: bool = True) -> str:
        place = ["--data", str(self.data)] if data else []
        result = CliRunner().invoke(app, ["audit", *words, *place])
        self.error = result.stderr
        assert result.exit_code == status, (words, result.output, result.exception)
        return result.stdout

    def json(self, *words: str, status: int = 0, data: bool = True) -> Any:
        return json.loads(self(*words, "--json", status=status, data=data))


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    data = tmp_path / "data"
    with Tenancy.open(data, str(write_catalog(tmp_path)), background=False) as t:
        acme = t.tenants.create("Acme")
        t.tenants.create("Beta")
        t.audit.append("data_read", tenant=acme, context={"ip": "192.0.2.7"}, principal="ann")
        t.audit.append("login", tenant=acme, context={"session_id": "s7"}, principal="ann")
    return Shell(data)


def test_search_by_address_and_session(sh: Shell) -> None:
    [found] = sh.json("search", "--tenant", "acme", "--ip", "192.0.2.7")["items"]
    assert (found["type"], found["principal"]) == ("data_read", "ann")
    [found] = sh.json("search", "--tenant", "acme", "--session", "s7")["items"]
    assert found["type"] == "login"
    assert sh.json("show", found["id"])["id"] == found["id"]
    sh("search", "--ip", "192.0.2.7", status=2)


def test_verify_has_a_status_for_each_outcome(sh: Shell, tmp_path: Path) -> None:
    report = sh.json("verify", status=4)
    assert report["first"]["code"] == "unanchored"
    anchor = tmp_path / "anchor"
    sh("checkpoint", "--out", str(anchor))
    report = sh.json("verify", "--anchor", str(anchor))
    assert (report["status"], report["first"], report["projection"]) == (0, None, "same")
    assert report["chains"]["access"]["events"] == 1
    assert "whole" in sh("verify", "--anchor", str(anchor))
    sh("verify", "--key", str(tmp_path / "none"), "--anchor", str(anchor), status=3)
    sh("verify", "--anchor", str(tmp_path / "none"), status=2)
    sh("verify", "--nonsense", status=2)

    [segment] = (sh.data / "log/segments").glob("access-*.seg")
    at = segment.read_bytes().index(b"192.0.2.7")
    flip(segment, at)
    report = sh.json("verify", "--anchor", str(anchor), status=1)
    first = report["first"]
    assert (first["class"], first["segment"]) == ("access", f"segments/{segment.name}")
    assert isinstance(first["sequence"], int)
    assert isinstance(first["offset"], int)
    assert first["code"]
    assert "TAMPERED" in sh("verify", "--anchor", str(anchor), status=1)


def test_a_log_is_verified_without_the_rest_of_its_directory(sh: Shell, tmp_path: Path) -> None:
    anchor, key = tmp_path / "anchor", tmp_path / "log.verify"
    sh("checkpoint", "--out", str(anchor))
    (sh.data / "keys/log.verify").rename(key)
    words = ("verify", str(sh.data / "log"), "--anchor", str(anchor))
    sh(*words, "--key", str(key), data=False)
    sh(*words, status=3, data=False)


def test_receipts_and_exports_are_checked(sh: Shell, tmp_path: Path) -> None:
    event = sh.json("search", "--tenant", "acme", "--type", "data_read")["items"][0]["id"]
    receipt, export = tmp_path / "receipt.json", tmp_path / "acme.jsonl"
    sh("prove", "acme", event, "--out", str(receipt))
    made = sh.json("export", "acme", str(export))
    assert made["events"] >= 3
    key = ("--key", str(sh.data / "keys/log.pub"))
    found = sh.json("check", str(receipt), *key, data=False)
    assert (found["proven"], found["fields"]["event_id"]) == (True, event)
    assert sh.json("check", str(export), *key, data=False)["events"]["access"] == 1
    sh("check", str(export), *key, "--tenant", "t_other", status=1, data=False)
    sh("check", str(receipt), *key, "--tenant", "t_other", status=1, data=False)
    sh("prove", "acme", event, "--out", str(receipt), status=2)  # is there already
    sh("prove", "beta", event, status=1)
    for path in (receipt, export):
        path.write_text(path.read_text().replace("192.0.2.7", "192.0.2.8"))
        sh("check", str(path), *key, status=1, data=False)


def test_rebuild_mends_the_table(sh: Shell, tmp_path: Path) -> None:
    (sh.data / "audit.sqlite").write_bytes(b"no table at all" * 1000)
    for suffix in ("-wal", "-shm"):
        (sh.data / f"audit.sqlite{suffix}").unlink(missing_ok=True)
    assert sh.json("verify", status=1)["projection"] == "different"
    assert sh.json("rebuild")["events"] > 3
    assert sh.json("verify", status=4)["projection"] == "same"


def test_the_verification_key_is_moved_off_the_host(sh: Shell, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    own = sh.data / "keys/log.verify"
    key = own.read_bytes()
    sh("key", "move", str(sh.data / "elsewhere"), status=2)
    assert own.exists()
    sh("key", "move", str(away))
    assert (away / "log.verify").read_bytes() == key
    assert not own.exists()
    sh("key", "move", str(away), status=1)
    sh("search", "--tenant", "acme")  # the log goes on without it
    assert sh.json("verify", status=3)["status"] == 3
    sh("verify", "--key", str(away / "log.verify"), status=4)


def test_follow_prints_a_line_for_each_fact(sh: Shell) -> None:
    assert sh("follow", "acme", "--for", "0") == ""


def test_holds_and_retention(sh: Shell) -> None:
    placed = sh.json("hold", "place", "--reason", "case 7", "--tenant", "acme")
    assert (placed["reason"], placed["released"]) == ("case 7", None)
    assert [hold["id"] for hold in sh.json("hold", "list")] == [placed["id"]]
    assert "case 7" in sh("hold", "list")
    sh("hold", "place", "--reason", "case 8", "--tenant", "nobody", status=1)
    assert sh.json("hold", "release", placed["id"])["released"] is not None
    sh("hold", "release", placed["id"], status=1)
    assert sh.json("hold", "list") == []
    assert len(sh.json("hold", "list", "--released")) == 1
    made = sh.json("retain", "--dry-run")
    assert (made["dry_run"], made["archive"]) == (True, None)
    assert made["chains"]["security"]["days"] == 2555
    assert "0 records would be deleted" in sh("retain", "--dry-run")
    assert "0 records deleted" in sh("retain")
