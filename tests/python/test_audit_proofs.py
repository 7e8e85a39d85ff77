"""What a tenant, or an auditor, checks with a key: verification, checkpoints, receipts, exports."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_support import TYPES, flip, log_rows, open_live
from tenancy import Tenancy
from tenancy.audit import check_export, check_receipt
from tenancy.errors import InvalidValue, NotFound, ProofInvalid, StoreDamaged
from tenancy.stores.audit_verify import AuditReport, verify_log

Lines = list[str]


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with open_live(tmp_path) as tenancy:
        for name in ("Acme", "Beta", "Corp"):
            tenancy.tenants.create(name)
        for number in range(12):
            tenancy.audit.append(
                TYPES[number % len(TYPES)],
                tenant=("acme", "beta")[number // 2 % 2],
                context={"ip": "192.0.2.1", "größe": number},
                principal=f"user-{number}",
            )
        yield tenancy


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Tenancy]:
    place = tmp_path / "other"
    place.mkdir()
    with open_live(place) as tenancy:
        yield tenancy


# ---------------------------------------------------------------------------------- verify


def verify(data: Path, *anchors: str, key: Path | None = None) -> AuditReport:
    return verify_log(data / "log", key or data / "keys/log.verify", anchors)


def test_verify_wants_an_anchor_and_says_so(t: Tenancy) -> None:
    report = t.audit.verify()
    assert (report.status, bool(report), report.projection) == (4, True, "same")
    assert report.first is not None
    assert report.first["code"] == "unanchored"
    note = t.audit.checkpoint()
    t.audit.append("login", tenant="acme")
    report = t.audit.verify(anchors=[note])
    assert (report.status, report.first, report.anchors) == (0, None, 1)
    assert report.chains["access"]["events"] == 4


@pytest.mark.parametrize("chain", ["security", "access", "other"])
def test_verify_finds_a_changed_byte_of_a_segment_and_its_place(
    t: Tenancy, tmp_path: Path, chain: str
) -> None:
    note = t.audit.checkpoint()
    t.close()
    data = tmp_path / "data"
    [row] = [r for r in log_rows(data, chain) if r.principal == {
        "security": "user-0", "access": "user-1", "other": "user-2",
    }[chain]]  # fmt: skip
    [segment] = (data / "log/segments").glob(f"{chain}-*.seg")
    at = segment.read_bytes().index(str(row.principal).encode())
    flip(segment, at)
    report = verify(data, note)
    first = report.first
    assert report.status == 1
    assert first is not None
    assert (first["class"], first["sequence"]) == (chain, row.sequence)
    assert first["segment"] == f"segments/{segment.name}"
    assert first["offset"] <= at
    flip(segment, at)
    assert verify(data, note).status == 0


def test_verify_cannot_judge_with_another_logs_key(
    t: Tenancy, other: Tenancy, tmp_path: Path
) -> None:
    note = t.audit.checkpoint()
    report = verify(tmp_path / "data", note, key=tmp_path / "other/data/keys/log.verify")
    assert report.status == 3
    assert verify(tmp_path / "data", note, key=tmp_path / "nothing").status == 3


def test_an_anchor_shows_a_rolled_back_directory(t: Tenancy, tmp_path: Path) -> None:
    t.audit.checkpoint()
    t.close()
    shutil.copytree(tmp_path / "data", tmp_path / "before")
    with open_live(tmp_path) as again:
        again.audit.append("login", tenant="acme")
        note = again.audit.checkpoint()
    assert verify(tmp_path / "data", note).status == 0
    assert verify(tmp_path / "before").status == 4  # whole by itself: nothing can show it
    assert verify(tmp_path / "before", note).status == 1


# ---------------------------------------------------------------------------------- receipts


def event_of(t: Tenancy, tenant: str, kind: str = "data_read") -> str:
    return t.audit.search(tenant, type=kind)[0].id


def test_a_receipt_is_checked_with_the_public_key_alone(t: Tenancy, tmp_path: Path) -> None:
    event = event_of(t, "acme")
    expected = t.audit.get("acme", event)
    key = t.audit.public_key
    assert key == (tmp_path / "data/keys/log.pub").read_text().strip()
    receipt = json.dumps(t.audit.prove("acme", event))
    t.close()
    shutil.rmtree(tmp_path / "data")
    seen = check_receipt(receipt, key)
    assert seen["fields"]["event_id"] == event
    assert seen["tenant"] == expected.tenant
    assert seen["fields"]["principal"] == expected.principal
    assert json.loads(seen["fields"]["context.context"]) == expected.context


def test_a_receipt_of_an_older_event_needs_no_new_checkpoint(t: Tenancy) -> None:
    event = event_of(t, "acme")
    first = t.audit.prove("acme", event)
    assert t.audit.prove("acme", event)["checkpoint"] == first["checkpoint"]
    fresh = t.audit.append("data_read", tenant="acme")
    assert check_receipt(t.audit.prove("acme", fresh), t.audit.public_key)


def test_another_tenants_event_is_not_proven(t: Tenancy) -> None:
    with pytest.raises(NotFound):
        t.audit.prove("beta", event_of(t, "acme"))
    with pytest.raises(NotFound):
        t.audit.prove("beta", "no such event")


RECEIPT_EDITS: dict[str, Callable[[Any], None]] = {
    "event": lambda r: r["event"]["fields"].update(principal="eve"),
    "event added to": lambda r: r["event"]["fields"].update(more=1),
    "tenant": lambda r: r["event"].update(tenant="t_other"),
    "record": lambda r: r.update(record=r["record"][:-8] + "AAAAAAA="),
    "record gone": lambda r: r.pop("record"),
    "proof": lambda r: r["proof"].append(r["proof"][0]),
    "proof shortened": lambda r: r["proof"].pop(),
    "proof emptied": lambda r: r.update(proof=[]),
    "proof replaced": lambda r: r.update(proof={"0": r["proof"][0]}),
    "checkpoint": lambda r: r.update(
        checkpoint=r["checkpoint"].replace("chain access ", "chain access 1", 1)
    ),
    "signature gone": lambda r: r.update(checkpoint=r["checkpoint"].split("\n\n")[0] + "\n\n"),
    "format": lambda r: r.update(format="tenancy-audit-export"),
    "version": lambda r: r.update(version=2),
}


@pytest.mark.parametrize("what", RECEIPT_EDITS)
def test_an_edited_receipt_proves_nothing(t: Tenancy, what: str) -> None:
    receipt = t.audit.prove("acme", event_of(t, "acme"))
    check_receipt(copy.deepcopy(receipt), t.audit.public_key)
    RECEIPT_EDITS[what](receipt)
    with pytest.raises(ProofInvalid):
        check_receipt(receipt, t.audit.public_key)


def test_every_changed_byte_of_a_receipts_record_is_found(t: Tenancy) -> None:
    import base64

    receipt = t.audit.prove("acme", event_of(t, "acme"))
    data = base64.b64decode(receipt["record"])
    for at in range(len(data)):
        edited = bytearray(data)
        edited[at] ^= 0x10
        with pytest.raises(ProofInvalid):
            check_receipt(
                {**receipt, "record": base64.b64encode(edited).decode()}, t.audit.public_key
            )


def test_a_receipt_does_not_check_with_another_key(t: Tenancy, other: Tenancy) -> None:
    receipt = t.audit.prove("acme", event_of(t, "acme"))
    with pytest.raises(ProofInvalid, match=r"another log|not signed"):
        check_receipt(receipt, other.audit.public_key)
    name, digest, line = t.audit.public_key.split("+", 2)
    with pytest.raises(InvalidValue, match="changed"):
        check_receipt(receipt, f"{name}+{int(digest, 16) ^ 1:08x}+{line}")
    with pytest.raises(InvalidValue, match="verifier key"):
        check_receipt(receipt, "secret")


# ---------------------------------------------------------------------------------- exports


def exported(t: Tenancy, tenant: str, path: Path) -> Lines:
    t.audit.export(tenant, path)
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def test_an_export_has_every_event_of_its_tenant_and_no_other(t: Tenancy, tmp_path: Path) -> None:
    path = tmp_path / "acme.jsonl"
    lines = exported(t, "acme", path)
    acme, beta = t.tenants.get("acme"), t.tenants.get("beta")
    events: list[dict[str, Any]] = []
    found = check_export(lines, t.audit.public_key, tenant=acme.id, each=events.append)
    assert sum(found["events"].values()) == len(events)
    assert found["events"]["access"] == 2
    assert {e["fields"]["event_id"] for e in events} == {e.id for e in t.audit.search("acme")}
    text = path.read_text()
    assert beta.id not in text
    assert "user-2" not in text  # one of beta's
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidValue, match="already"):
        t.audit.export("acme", path)


def test_an_export_of_a_tenant_without_events_in_a_chain_proves_that(
    t: Tenancy, tmp_path: Path
) -> None:
    for number in range(5):
        t.tenants.create(f"More {number}", slug=f"more{number}")
        t.audit.append("data_read", tenant=f"more{number}")
        lines = exported(t, "corp", tmp_path / f"corp{number}.jsonl")
        found = check_export(lines, t.audit.public_key)
        assert found["events"]["access"] == 0
        assert found["events"]["security"] > 0


def test_no_line_of_an_export_can_be_left_out_doubled_or_moved(t: Tenancy, tmp_path: Path) -> None:
    lines = exported(t, "acme", tmp_path / "acme.jsonl")
    key = t.audit.public_key
    for at in range(len(lines)):
        with pytest.raises(ProofInvalid):
            check_export(lines[:at] + lines[at + 1 :], key)
        with pytest.raises(ProofInvalid):
            check_export([*lines[:at], lines[at], *lines[at:]], key)
    for at in range(1, len(lines)):
        if not lines[at].startswith('{"chain"') and not lines[at - 1].startswith('{"chain"'):
            moved = [*lines]
            if '"record"' in moved[at] and '"record"' in moved[at - 1]:
                moved[at - 1], moved[at] = moved[at], moved[at - 1]
                with pytest.raises(ProofInvalid):
                    check_export(moved, key)


def test_lines_of_another_tenant_or_time_do_not_fit(t: Tenancy, tmp_path: Path) -> None:
    mine = exported(t, "acme", tmp_path / "acme.jsonl")
    theirs = exported(t, "beta", tmp_path / "beta.jsonl")
    t.audit.append("data_read", tenant="acme")
    later = exported(t, "acme", tmp_path / "later.jsonl")
    key = t.audit.public_key
    with pytest.raises(ProofInvalid):
        check_export([*mine[:1], *theirs[1:]], key)
    with pytest.raises(ProofInvalid):
        check_export([*later[:1], *mine[1:]], key)
    with pytest.raises(ProofInvalid, match="tenant"):
        check_export(mine, key, tenant="t_other")


def test_an_export_that_denies_a_tenants_events_is_found_out(t: Tenancy, tmp_path: Path) -> None:
    """All records of a chain left out, and another tenant's neighbours shown instead."""
    mine = exported(t, "acme", tmp_path / "acme.jsonl")
    none = exported(t, "corp", tmp_path / "corp.jsonl")
    lines = [
        line
        for line in mine
        if '"record"' not in line or json.loads(line)["event"]["chain"] != "access"
    ]
    for number, line in enumerate(lines):
        if '"chain":"access"' in line and '"record"' not in line:
            lines[number] = next(x for x in none if '"chain":"access"' in x and '"record"' not in x)
    with pytest.raises(ProofInvalid, match="access: events of the tenant are missing"):
        check_export(lines, t.audit.public_key)


def test_an_edited_export_proves_nothing(t: Tenancy, other: Tenancy, tmp_path: Path) -> None:
    lines = exported(t, "acme", tmp_path / "acme.jsonl")
    key = t.audit.public_key
    edited = [line.replace("user-1", "user-9") for line in lines]
    assert edited != lines
    for wrong in (edited, [*lines, "{}\n"], [*lines, "[]\n"], lines[:1], [], ["x\n", *lines[1:]]):
        with pytest.raises(ProofInvalid):
            check_export(wrong, key)
    with pytest.raises(ProofInvalid):
        check_export(lines, other.audit.public_key)


def test_a_damaged_log_is_not_exported(t: Tenancy, tmp_path: Path) -> None:
    t.audit.checkpoint()
    [segment] = (tmp_path / "data/log/segments").glob("access-*.seg")
    at = segment.read_bytes().index(b"user-1")
    flip(segment, at)
    with pytest.raises(StoreDamaged, match="tenancy audit verify"):
        t.audit.export("acme", tmp_path / "acme.jsonl")
    assert not (tmp_path / "acme.jsonl").exists()
    flip(segment, at)
