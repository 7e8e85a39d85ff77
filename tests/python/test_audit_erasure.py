"""Erasing a person from the log: before, after, in other processes, and what undoing it shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit_support import flip, log_rows
from store_support import CATALOG, run_python, write_catalog
from tenancy import Tenancy, _core
from tenancy._log_check import verify as verify_plainly
from tenancy.audit import ErasureCertificate, check_export, check_receipt
from tenancy.cli import app
from tenancy.errors import InvalidValue, LegalHold, NotFound, TenancyError
from tenancy.stores.audit_closing import closed
from tenancy.stores.audit_events import LogRow

PERSONAL = "audit: {personal: [principal, ip, user_agent, session_id, email]}\n"
ADA = {"ip": "192.0.2.77", "session_id": "s-ada", "email": "ada@example.com", "pages": 3}


def opened(directory: Path, **options: Any) -> Tenancy:
    catalog = write_catalog(directory, CATALOG + PERSONAL, "sealed.yaml")
    options = {"background": False, "catalog": catalog, **options}
    return Tenancy.open(directory / "data", **options)


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with opened(tmp_path) as tenancy:
        acme = tenancy.tenants.create("Acme")
        tenancy.tenants.create("Beta")
        tenancy.audit.append("data_read", tenant=acme, principal="ada", context=ADA)
        tenancy.audit.append("login", tenant=acme, principal="ada", context={"ip": "192.0.2.78"})
        tenancy.audit.append("data_read", tenant=acme, principal="bob", context={"pages": 1})
        tenancy.audit.append("data_read", tenant="beta", principal="ada", context=ADA)
        yield tenancy


def settle(t: Tenancy) -> None:
    t._host.facts.settle()


def stored(directory: Path) -> bytes:
    """Every byte of the data directory that outlives the processes."""
    left = [path for path in directory.rglob("*") if path.is_file() and path.name != "ring"]
    return b"\n".join(path.read_bytes() for path in left)


def both(data: Path) -> tuple[int, list[tuple[Any, ...]]]:
    """What the two verifiers find, anchors left aside; they must agree."""
    paths = [str(data / part) for part in ("log", "keys/log.verify", "keys/subjects")]
    text = _core.log_verify(paths[0], paths[1], subjects=paths[2])
    names = ("status", "code", "class", "sequence", "segment", "offset")
    report = json.loads(text)
    found = [tuple(finding[name] for name in names) for finding in report["findings"]]
    status, plainly = verify_plainly(paths[0], paths[1], subjects=paths[2])
    assert report["status"] == status
    assert found == [(f.status, f.code, f.chain, f.sequence, f.segment, f.offset) for f in plainly]
    return status, [finding for finding in found if finding[1] != "unanchored"]


# ------------------------------------------------------------------------------------ sealing


def test_sealed_facts_read_and_are_found_as_before(t: Tenancy, tmp_path: Path) -> None:
    before = t.audit.search("acme")
    settle(t)
    assert t.audit.search("acme") == before
    [event] = t.audit.search("acme", ip="192.0.2.77")
    assert (event.principal, dict(event.context), event.erased) == ("ada", ADA, ())
    assert len(t.audit.search("acme", principal="ada", session="s-ada")) == 1
    segments = b"".join(p.read_bytes() for p in (tmp_path / "data/log/segments").iterdir())
    for word in (b"ada", b"192.0.2.77", b"s-ada"):
        assert word not in segments
    assert b"data_read" in segments
    assert t.audit.verify().projection == "same"


def test_a_fact_may_be_about_another_than_its_principal(t: Tenancy) -> None:
    event = t.audit.append(
        "data_updated", tenant="acme", principal="bob", subject="eve", context={"email": "e@x.org"}
    )
    done = t.audit.erase_subject("eve", tenant="acme", reason="asked")
    assert done.records == {"access": 1}
    gone = t.audit.get("acme", event)
    assert (gone.principal, dict(gone.context)) == ("", {})
    assert gone.erased == ("principal", "personal")
    assert [e.type for e in t.audit.search("acme", principal="bob")] == ["data_read"]


def test_system_is_nobody_and_without_the_catalogs_word_nothing_is_sealed(tmp_path: Path) -> None:
    with opened(tmp_path, catalog=write_catalog(tmp_path)) as t:
        acme = t.tenants.create("Acme")
        t.audit.append("data_read", tenant=acme, principal="ada", subject="ada", context=ADA)
        settle(t)
        assert not (tmp_path / "data/keys/subjects").exists()
        with pytest.raises(NotFound, match="'ada'") as error:
            t.audit.erase_subject("ada", tenant=acme, reason="asked")
        assert "audit: personal" in (error.value.remedy or "")
    with opened(tmp_path) as t:
        t.audit.append("data_read", tenant="acme", principal="system", context=ADA)
        settle(t)
        assert all(row.sealed is None for row in log_rows(tmp_path / "data", "access"))


# ------------------------------------------------------------------------------------ erasing


def test_an_erased_person_is_nowhere_in_the_directory_and_no_other_is_touched(
    t: Tenancy, tmp_path: Path
) -> None:
    done = t.audit.erase_subject("ada", tenant="acme", by="ann", reason="asked by mail")
    assert not t.audit.search("acme", principal="ada")
    assert not t.audit.search("acme", ip="192.0.2.77")
    assert [e.principal for e in t.audit.search("beta", ip="192.0.2.77")] == ["ada"]
    assert [e.principal for e in t.audit.search("acme", principal="bob")] == ["bob"]
    read, login = (t.audit.search("acme", type=name)[-1] for name in ("data_read", "login"))
    assert (read.principal, dict(read.context)) == ("", {"pages": 3})
    assert read.erased == ("principal", "ip", "session_id", "personal")
    assert login.erased == ("principal", "ip")
    [told] = t.audit.search("acme", type="data_anonymization")
    assert (told.principal, told.resource_id) == ("ann", done.key)
    t.audit.erase_subject("ada", tenant="beta", reason="asked by mail")
    settle(t)
    for word in (b"192.0.2.77", b"192.0.2.78", b"s-ada", b"ada@example.com"):
        assert word not in stored(tmp_path / "data")
    report = t.audit.verify()
    assert (report.status, report.projection) == (4, "same")
    assert both(tmp_path / "data") == (4, [])


def test_the_certificate_counts_and_says_what_is_left(t: Tenancy) -> None:
    settle(t)
    t.sessions.create("acme", principal="ada")
    done = t.audit.erase_subject("ada", tenant="acme", by="ann", reason="asked")
    assert isinstance(done, ErasureCertificate)
    shown = json.loads(done.to_json())
    assert shown["format"] == "tenancy-erasure-certificate"
    assert (shown["subject"], shown["by"], shown["reason"]) == ("ada", "ann", "asked")
    assert done.records["access"] == 1
    assert done.records["security"] >= 1
    assert set(done.fields) >= {"principal", "ip", "session_id", "personal"}
    assert done.readable == {}
    assert done.definitions == {"sessions": 1}
    assert any("backup" in line for line in done.not_deleted)
    assert any("1 sessions" in line for line in done.not_deleted)
    row = next(row for row in t._host.facts.log.rows("security", done.sequence) if row.kind == 9)
    assert (row.sequence, row.principal) == (done.sequence, "ann")
    assert json.loads(row.rest or "")["subject_key"] == done.key


def test_facts_from_before_sealing_was_on_are_counted_as_readable(tmp_path: Path) -> None:
    with opened(tmp_path, catalog=write_catalog(tmp_path)) as t:
        acme = t.tenants.create("Acme")
        t.audit.append("data_read", tenant=acme, principal="ada", context=ADA)
        settle(t)
    with opened(tmp_path) as t:
        t.audit.append("data_read", tenant="acme", principal="ada", context=ADA)
        done = t.audit.erase_subject("ada", tenant="acme", reason="asked")
        assert (done.records, done.readable) == ({"access": 1}, {"access": 1})
        assert any("1 of class access" in line for line in done.not_deleted)


def test_who_was_erased_may_come_again(t: Tenancy) -> None:
    first = t.audit.erase_subject("ada", tenant="acme", reason="asked")
    with pytest.raises(NotFound):
        t.audit.erase_subject("ada", tenant="acme", reason="asked")
    t.audit.append("login", tenant="acme", principal="ada", context=ADA)
    settle(t)
    assert [e.type for e in t.audit.search("acme", principal="ada")] == ["login"]
    second = t.audit.erase_subject("ada", tenant="acme", reason="asked")
    assert (second.records, second.key == first.key) == ({"security": 1}, False)


def test_a_wrong_subject_or_reason_is_refused(t: Tenancy) -> None:
    for subject, tenant in (("eve", "acme"), ("ada", None), ("acme", "acme")):
        with pytest.raises(NotFound):
            t.audit.erase_subject(subject, tenant=tenant, reason="asked")
    for wrong in ({"subject": "", "reason": "asked"}, {"subject": "ada", "reason": ""}):
        with pytest.raises(InvalidValue):
            t.audit.erase_subject(tenant="acme", **wrong)
    with pytest.raises(TenancyError):
        t.audit.erase_subject("ada", tenant="nobody", reason="asked")
    hold = t.audit.holds.place(tenant="acme", reason="a case")
    with pytest.raises(LegalHold, match=hold.id):
        t.audit.erase_subject("ada", tenant="acme", reason="asked")
    assert len(t.audit.search("acme", principal="ada")) == 2


def test_a_rebuild_and_a_restart_give_the_same(t: Tenancy, tmp_path: Path) -> None:
    t.audit.erase_subject("ada", tenant="acme", reason="asked")
    settle(t)
    before = t.audit.search("acme").items
    t.audit.rebuild()
    assert t.audit.search("acme").items == before
    t.close()
    with opened(tmp_path) as again:
        assert again.audit.search("acme").items == before
        report = again.audit.verify()
        assert (report.status, report.projection) == (4, "same")


def test_another_process_sees_it_at_once(t: Tenancy, tmp_path: Path) -> None:
    settle(t)
    assert t.audit.search("acme", ip="192.0.2.77")
    code = """
        import sys
        from tenancy import Tenancy
        with Tenancy.open(sys.argv[1], background=False) as t:
            t.audit.erase_subject("ada", tenant="acme", reason="asked")
    """
    done = run_python(code, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert not t.audit.search("acme", ip="192.0.2.77")
    rows = list(t._host.facts.log.rows("access", 0))
    assert all(row.ip != "192.0.2.77" for row in rows if row.tenant == t.tenants.get("acme").id)
    t.audit.append("login", tenant="acme", principal="ada")
    assert len(t.audit.search("acme", principal="ada")) == 1
    settle(t)
    assert both(tmp_path / "data") == (4, [])


def test_the_table_is_cleared_by_whoever_reads_the_record(t: Tenancy, tmp_path: Path) -> None:
    """As after a kill between the destruction of the key and the clearing of the table."""
    settle(t)
    acme = t.tenants.get("acme").id
    t._host.facts.log.erase("ada", acme, "ann", "asked")
    report = t.audit.verify()
    assert report.projection == "same"
    assert not t.audit.search("acme", ip="192.0.2.77")
    data = tmp_path / "data"
    t._host.facts.projection.forget()
    assert b"s-ada" in (data / "audit.sqlite").read_bytes()  # that of Beta
    t._host.facts.log.erase("ada", t.tenants.get("beta").id, "ann", "asked")
    found = CliRunner().invoke(app, ["audit", "verify", str(data), "--json"])
    assert json.loads(found.stdout)["projection"] == "same"  # not heard of, and not tampered with
    settle(t)
    t._host.facts.projection.forget()
    assert b"s-ada" not in (data / "audit.sqlite").read_bytes()


def test_closing_a_row_keeps_the_other_members_to_the_byte() -> None:
    rest = '{"a":{"x":[1,"]}"]},"context":"{}","ip2":1e-7,"personal":"{\\"a\\":1}","z":null}'
    row = LogRow(*[0] * 5, *[None] * 15, rest, "k", '["ip","personal","a"]')
    assert closed(row).rest == '{"context":"{}","ip2":1e-7,"z":null}'
    assert closed(row._replace(rest='{"personal":"{}"}')).rest is None
    assert closed(row._replace(sealed=None)).rest == rest


# ------------------------------------------------------------------------------------- proofs


def test_receipts_and_exports_hold_before_and_after_and_show_what_is_sealed(
    t: Tenancy, tmp_path: Path
) -> None:
    settle(t)
    acme = t.tenants.get("acme").id
    [event] = t.audit.search("acme", ip="192.0.2.77")
    early = t.audit.prove("acme", event.id)
    t.audit.export("acme", tmp_path / "early.jsonl")
    t.audit.erase_subject("ada", tenant="acme", reason="asked")
    late = t.audit.prove("acme", event.id)
    t.audit.export("acme", tmp_path / "late.jsonl")
    for receipt in (early, late):
        fields = check_receipt(receipt, t.audit.public_key)["fields"]
        assert set(fields["principal"]) == {"sealed"}
        assert fields["type"] == "data_read"
        assert "192.0.2.77" not in json.dumps(receipt)
    counts = []
    for name in ("early.jsonl", "late.jsonl"):
        with (tmp_path / name).open() as lines:
            counts.append(check_export(lines, t.audit.public_key, tenant=acme)["events"])
    assert counts[1]["access"] == counts[0]["access"] + 1  # that it was erased
    assert counts[1]["security"] == counts[0]["security"] + 1  # the record of the key's end


# ------------------------------------------------------------------------------------ threats


def erased_place(t: Tenancy, data: Path) -> tuple[int, int]:
    """Erase Ada of Acme; the sequence of the record and its offset in the segment."""
    settle(t)
    done = t.audit.erase_subject("ada", tenant="acme", reason="asked")
    settle(t)
    t.close()
    segment = next((data / "log/segments").glob("security-*"))
    return done.sequence, _offset(segment, done.sequence)


def _offset(segment: Path, sequence: int) -> int:
    bytes_, at = segment.read_bytes(), 4096
    for _ in range(sequence):
        at += int.from_bytes(bytes_[at : at + 4], "little")
    return at


def test_threat_the_record_of_an_erasure_is_removed(t: Tenancy, tmp_path: Path) -> None:
    data = tmp_path / "data"
    sequence, at = erased_place(t, data)
    assert both(data) == (4, [])
    segment = next((data / "log/segments").glob("security-*"))
    bytes_ = segment.read_bytes()
    length = int.from_bytes(bytes_[at : at + 4], "little")
    segment.write_bytes(bytes_[:at] + bytes_[at + length :])
    status, findings = both(data)
    assert status == 1
    name = f"segments/{segment.name}"
    assert findings[0] == (1, "record_sequence", "security", sequence, name, at)
    assert (1, "erased_missing", "security", sequence, "keys/subjects", 128) in findings


def test_threat_a_destroyed_key_is_brought_back(t: Tenancy, tmp_path: Path) -> None:
    data = tmp_path / "data"
    settle(t)
    shutil.copy(data / "keys/subjects", tmp_path / "backup")
    sequence, at = erased_place(t, data)
    shutil.copy(tmp_path / "backup", data / "keys/subjects")
    name = f"segments/{next((data / 'log/segments').glob('security-*')).name}"
    assert both(data) == (1, [(1, "erased_undone", "security", sequence, name, at)])
    with opened(tmp_path) as again:
        report = again.audit.verify()
        assert report.first is not None
        assert report.first["code"] == "erased_undone"
        again.audit.erase_subject("ada", tenant="acme", reason="a backup had the key")
        assert again.audit.verify().status == 4


def test_threat_the_file_of_keys_is_taken_away_or_damaged(t: Tenancy, tmp_path: Path) -> None:
    data = tmp_path / "data"
    erased_place(t, data)
    keys = data / "keys/subjects"
    whole = keys.read_bytes()
    flip(keys, 128 * 2 + 50)
    status, findings = both(data)
    assert (status, {finding[1] for finding in findings}) == (
        1,
        {"subjects_torn", "subject_key_missing"},
    )
    keys.write_bytes(whole)
    flip(keys, 40)
    assert both(data) == (1, [(1, "subjects_damaged", None, None, "keys/subjects", 0)])
    keys.unlink()
    status, findings = both(data)
    assert {finding[1] for finding in findings} == {"subject_key_missing"}
    keys.write_bytes(whole[: 128 + 77])
    assert (4, "subjects_torn", None, None, "keys/subjects", 128) in both(data)[1]


# ------------------------------------------------------------------------------- command line


def test_erasing_on_the_command_line(t: Tenancy, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    t.close()

    def run(*words: str, **options: Any) -> Any:
        return CliRunner().invoke(app, ["audit", "erase", *words, "--data", data], **options)

    words = ("ada", "--tenant", "acme")
    assert run(*words, input="n\n").exit_code == 1
    certificate = tmp_path / "certificate.json"
    done = run(*words, "--yes", "--json", "--out", str(certificate), "--reason", "asked")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert (shown["records"]["access"], shown["reason"]) == (1, "asked")
    assert json.loads(certificate.read_text()) == shown
    again = run(*words, "--yes")
    assert again.exit_code == 1
    assert "nothing in the log is sealed" in again.stderr
    assert run("ada", "--tenant", "beta", "--yes").exit_code == 0
    assert "not deleted" in run("bob", "--tenant", "acme", "--yes").stdout
