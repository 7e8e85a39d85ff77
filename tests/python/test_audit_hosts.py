"""The logs of two hosts side by side: same tenants, one anchor, one archive, and no mixing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit_support import open_live, verified
from tenancy import Tenancy
from tenancy.anchors import FileAnchor
from tenancy.audit import check_archive, check_export, check_receipt, read_archive
from tenancy.cli import app
from tenancy.errors import InvalidValue, ProofInvalid

TENANT = "both"
TYPES = ("login", "data_read")
NAMES = ("east", "west")
FACTS = 20


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Tenancy]]:
    """Two hosts with the same tenants: the second began as a copy of the first one's tables."""
    (tmp_path / "east").mkdir()
    with open_live(tmp_path / "east") as t:
        t.tenants.create("Both", slug=TENANT)
    (tmp_path / "west").mkdir()
    (tmp_path / "west/data").mkdir(mode=0o700)
    for name in ("VERSION", "tenancy.db"):
        shutil.copy(tmp_path / "east/data" / name, tmp_path / "west/data")
    opened = {name: open_live(tmp_path / name) for name in NAMES}
    for name, t in opened.items():
        for i in range(FACTS):
            t.audit.append(TYPES[i % 2], tenant=TENANT, principal=f"{name} {i}")
    yield opened
    for t in opened.values():
        t.close()


def first_code(data: Path, notes: list[str]) -> tuple[int, str]:
    status, findings = verified(data, notes)
    return status, next(f["code"] for f in findings if f["code"] != "key_on_host")


def test_each_is_whole_by_its_own_checkpoint_and_tells_the_others(
    hosts: dict[str, Tenancy], tmp_path: Path
) -> None:
    safe = FileAnchor(tmp_path / "safe")
    notes = {name: t.audit.checkpoint(to=safe) for name, t in hosts.items()}
    for name, other in (NAMES, NAMES[::-1]):
        t = hosts[name]
        assert t.audit.verify(anchors=[safe]).status == 0, "of one anchor that both write to"
        report = t.audit.verify(anchors=[notes[other]])
        assert (report.status, report.first["code"]) == (1, "anchor_signature")
        found = [e.principal for e in t.audit.search(TENANT) if e.principal != "system"]
        assert found == [f"{name} {i}" for i in reversed(range(FACTS))], "and of no other facts"


def test_the_key_of_one_cannot_judge_the_other(hosts: dict[str, Tenancy], tmp_path: Path) -> None:
    hosts["east"].close()
    hosts["west"].close()
    shutil.copy(tmp_path / "west/data/keys/log.verify", tmp_path / "east/data/keys/log.verify")
    assert first_code(tmp_path / "east/data", []) == (3, "wrong_key")
    assert first_code(tmp_path / "west/data", []) == (4, "unanchored")


@pytest.mark.parametrize("what", ["manifest", "head", "checkpoints", "segments"])
def test_nothing_of_one_passes_for_the_others(
    hosts: dict[str, Tenancy], tmp_path: Path, what: str
) -> None:
    """Both began alike, and at the same places lie records of the same tenant."""
    notes = {name: t.audit.checkpoint() for name, t in hosts.items()}
    for t in hosts.values():
        t.close()
    logs = {name: tmp_path / name / "data/log" for name in NAMES}
    taken = [
        path.relative_to(logs["west"])
        for path in sorted(logs["west"].rglob("*"))
        if path.is_file() and (what in str(path) or (what == "segments" and path.suffix == ".seg"))
    ]
    assert taken, sorted(str(p.relative_to(logs["west"])) for p in logs["west"].rglob("*"))
    for path in taken:
        (logs["east"] / path).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(logs["west"] / path, logs["east"] / path)
    assert verified(tmp_path / "east/data", [notes["east"]])[0] == 1
    assert verified(tmp_path / "west/data", [notes["west"]])[0] == 0


def test_proofs_of_one_are_none_under_the_key_of_the_other(
    hosts: dict[str, Tenancy], tmp_path: Path
) -> None:
    keys = {name: t.audit.public_key for name, t in hosts.items()}
    exports: dict[str, list[str]] = {}
    receipts: dict[str, Any] = {}
    for name, t in hosts.items():
        t.audit.export(TENANT, tmp_path / f"{name}.jsonl")
        exports[name] = (tmp_path / f"{name}.jsonl").read_text().splitlines(keepends=True)
        newest = t.audit.search(TENANT, limit=1)[0]
        receipts[name] = t.audit.prove(TENANT, newest.id)
    for name, other in (NAMES, NAMES[::-1]):
        proven = check_export(exports[name], keys[name])["events"]
        assert proven["access"] == FACTS // 2, "its own, and not those of both"
        assert check_receipt(receipts[name], keys[name])["fields"]["principal"].startswith(name)
        with pytest.raises(ProofInvalid):
            check_export(exports[name], keys[other])
        with pytest.raises(ProofInvalid):
            check_receipt(receipts[name], keys[other])
        mixed = [exports[name][0], exports[other][1], *exports[name][2:]]
        with pytest.raises(ProofInvalid):
            check_export(mixed, keys[name])


def test_one_archive_holds_both_and_proves_each(hosts: dict[str, Tenancy], tmp_path: Path) -> None:
    url = str(tmp_path / "archive")
    for t in hosts.values():
        t.audit.archive(url)
    keys = {name: t.audit.public_key for name, t in hosts.items()}
    report = check_archive(url, public_key=keys.values())
    assert (report.status, report.findings) == (0, [])
    told = [
        e.principal or "" for e in read_archive(url, tenant=hosts["east"].tenants.get(TENANT).id)
    ]
    assert sorted(set(told) - {"system"}) == sorted(
        f"{name} {i}" for name in NAMES for i in range(FACTS)
    )
    ids = {name: keys[name].partition("+")[0].removeprefix("tenancy-log/") for name in NAMES}
    for name, other in (NAMES, NAMES[::-1]):
        report = check_archive(url, public_key=keys[name])
        assert report.status == 1, "whose key is not given may be a forger's"
        assert {(f["code"], f["part"].partition("/")[0]) for f in report.findings} == {
            ("part_signature", ids[other])
        }
    with pytest.raises(InvalidValue, match="of each host"):
        check_archive(url, public_key=[])
    files = [tmp_path / name / "data/keys/log.pub" for name in NAMES]
    arguments = [part for file in files for part in ("--key", str(file))]
    told = CliRunner().invoke(app, ["audit", "archive", url, "--check", *arguments])
    assert told.exit_code == 0, told.output
