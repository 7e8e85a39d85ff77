"""The compiled verifier and the one in plain Python say the same of good and damaged logs."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from log_model import ModelLog, sample
from tenancy import _core, _log_auditor
from tenancy._log_auditor import audit
from tenancy._log_check import verify

IN_REACH = {
    *(f"record_{what}" for what in ("damaged", "version", "log", "class", "mac", "sequence")),
    *(f"segment_{what}" for what in ("missing", "header", "foreign", "mac", "name", "link")),
    *(f"seal_{what}" for what in ("missing", "damaged", "mac", "content")),
    *(f"manifest_{what}" for what in ("missing", "damaged", "mac")),
    *(f"head_{what}" for what in ("missing", "damaged", "mac", "content")),
    *("record_previous", "tenant_sequence", "tenant_previous", "tail_missing", "trailing_bytes"),
}

Facts = tuple[int, list[tuple[Any, ...]]]


def compiled(path: Path, anchors: list[str], now: int = 0) -> Facts:
    text = _core.log_verify(str(path / "log"), str(path / "keys/log.verify"), anchors, now)
    report = json.loads(text)
    names = ("status", "code", "class", "sequence", "segment", "offset")
    found = [tuple(finding[name] for name in names) for finding in report["findings"]]
    return report["status"], found


def plain(path: Path, anchors: list[str], now: int = 0) -> Facts:
    status, findings = verify(path / "log", path / "keys/log.verify", anchors, now)
    return status, [(f.status, f.code, f.chain, f.sequence, f.segment, f.offset) for f in findings]


def agreed(path: Path, anchors: list[str] | None = None, now: int = 0) -> Facts:
    first = compiled(path, anchors or [], now)
    second = plain(path, anchors or [], now)
    assert first == second
    heart_agrees(path, first)
    return first


def heart_agrees(path: Path, facts: Facts) -> None:
    """The one file for auditors judges less: what it finds is what the others find, unless they
    stopped before it in that class; and what is in its reach does not escape it."""
    status, own = audit(path / "log", path / "keys/log.verify")
    if facts[0] == 3:
        assert status == 3
        return
    alike = {"record_resigned": "record_mac"}
    changed = [(alike.get(code, code), *rest) for level, code, *rest in facts[1] if level == 1]
    for one in own:
        if one.status == 1 and (*one[1:2], *one[4:], *one[2:4]) not in changed:
            earlier = [
                f
                for f in changed
                if f[1] == one.chain is not None and (f[2] or 0) <= (one.sequence or 0)
            ]
            assert earlier, one
    if status != 1:
        assert not {code for code, *_ in changed} & IN_REACH, changed


@pytest.fixture
def log(tmp_path: Path) -> ModelLog:
    return sample(tmp_path / "data")


def codes(facts: Facts) -> list[str]:
    return [finding[1] for finding in facts[1]]


def test_both_find_a_model_of_the_format_whole(log: ModelLog) -> None:
    anchors = [note.decode() for note in log.notes]
    assert codes(agreed(log.path, anchors)) == ["repaired"]
    assert codes(agreed(log.path)) == ["repaired", "unanchored"]


def test_silence_up_to_now_is_judged_by_both(log: ModelLog) -> None:
    day = log.now + 86_400 * 10**9
    assert codes(agreed(log.path, [log.notes[-1].decode()], day)).count("silent") == 4


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 5000])
def test_files_cut_to_any_length_are_judged_alike(log: ModelLog, size: int) -> None:
    for path in sorted((log.path / "log").rglob("*")):
        if path.is_file() and path.stat().st_size > size:
            before = path.read_bytes()
            path.write_bytes(before[:size])
            assert agreed(log.path)[0] in (1, 3, 4), path
            path.unlink()
            assert agreed(log.path)[0] in (1, 4 if path.name == "tenants" else 1), path
            path.write_bytes(before)


def test_single_changed_bytes_are_found_by_both_at_one_place(log: ModelLog) -> None:
    choose = random.Random(7)
    anchors = [log.notes[-1].decode()]
    for path in sorted((log.path / "log").rglob("*")):
        if path.is_dir():
            continue
        before = path.read_bytes()
        for _ in range(30):
            data = bytearray(before)
            at = choose.randrange(len(data))
            data[at] ^= choose.randrange(1, 256)
            path.write_bytes(data)
            status, findings = agreed(log.path, anchors)
            assert status in (1, 4)
            assert findings != [(4, "repaired")]
        path.write_bytes(before)


def test_moved_removed_and_foreign_files_are_judged_alike(log: ModelLog, tmp_path: Path) -> None:
    other = sample(tmp_path / "other", seed=2)
    names = sorted(p.relative_to(log.path / "log") for p in (log.path / "log").rglob("*.seg"))
    for name in [*names, Path("manifest"), Path("head"), Path("checkpoints"), Path("tenants")]:
        mine, theirs = log.path / "log" / name, other.path / "log" / name
        before = mine.read_bytes()
        shutil.copy(theirs, mine)
        assert agreed(log.path)[0] == 1, name
        mine.write_bytes(before)
        for victim in names:
            (log.path / "log" / victim).write_bytes((log.path / "log" / victim).read_bytes())
    first, second = (log.path / "log" / name for name in names[:2])
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    assert agreed(log.path)[0] == 1


def forge(log: ModelLog, code: str) -> None:
    """As one could who has the key: tags and checksums are right."""
    chain, wrong = log.chains[1], bytes([1]) * 32
    number, tag = chain.tenants["ten_a"]
    if code == "tenant_sequence":
        chain.tenants["ten_a"] = (number + 1, tag)
    elif code == "tenant_previous":
        chain.tenants["ten_a"] = (number, wrong)
    elif code == "record_previous":
        chain.tag = wrong
    elif code == "record_sequence":
        chain.leaves.append(wrong)
    log.event(1, "ten_a", 99)
    if code == "seal_content":
        chain.tenants["ten_a"] = (number + 1, wrong)
        log.roll(1)
    elif code == "head_content":
        chain.tag = wrong


FORGED = ("tenant_sequence", "tenant_previous", "record_previous", "record_sequence")


@pytest.mark.parametrize("code", [*FORGED, "seal_content", "head_content"])
def test_a_chain_that_was_broken_with_the_key_is_found_by_all(log: ModelLog, code: str) -> None:
    forge(log, code)
    log.save()
    assert code in codes(agreed(log.path))
    status, found = audit(log.path / "log", log.path / "keys/log.verify")
    assert status == 1
    assert [one.code for one in found if one.status == 1] == [code]


def test_anchors_keys_and_strange_files_are_judged_alike(log: ModelLog, tmp_path: Path) -> None:
    other = sample(tmp_path / "other", seed=2)
    assert "anchor_signature" in codes(agreed(log.path, [other.notes[0].decode(), "no note"]))
    same_size = log.checkpoint()
    assert codes(agreed(log.path, [same_size]))[-1] == "checkpoint_missing"
    log.event(1, "ten_a", 0)
    ahead = log.checkpoint()
    assert codes(agreed(log.path, [ahead]))[-1] == "rolled_back"
    (log.path / "log" / "segments" / "strange").write_text("x")
    assert "unexpected_file" in codes(agreed(log.path))
    shutil.copy(other.path / "keys" / "log.verify", log.path / "keys" / "log.verify")
    assert agreed(log.path) == (3, [(3, "wrong_key", None, None, "", 0)])
    (log.path / "keys" / "log.verify").write_text("no key")
    assert codes(agreed(log.path)) == ["wrong_key"]
    (log.path / "keys" / "log.verify").unlink()
    assert codes(agreed(log.path)) == ["io_error"]
    shutil.rmtree(log.path / "log")
    shutil.copy(other.path / "keys" / "log.verify", log.path / "keys" / "log.verify")
    assert codes(agreed(log.path)) == ["not_a_log"]


def test_the_plain_one_is_a_command(log: ModelLog, tmp_path: Path) -> None:
    note = tmp_path / "anchor"
    note.write_bytes(log.notes[-1])
    command = [sys.executable, "-m", "tenancy._log_check"]
    where = [str(log.path / "log"), str(log.path / "keys" / "log.verify"), str(note)]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert [f["code"] for f in json.loads(done.stdout)["findings"]] == ["repaired"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_the_one_for_auditors_runs_where_nothing_of_ours_is(log: ModelLog, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "audit.py"
    alone.parent.mkdir()
    shutil.copy(_log_auditor.__file__, alone)
    where = [str(log.path / "log"), str(log.path / "keys" / "log.verify")]
    command = [sys.executable, "-I", "-S", str(alone)]  # neither packages nor this directory
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "cut" in done.stdout
    segment = max((log.path / "log" / "segments").glob("access-*.seg"))
    data = bytearray(segment.read_bytes())
    data[4096 + 200] ^= 1
    segment.write_bytes(data)
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"record_damaged segments/{segment.name} 4096 access" in done.stdout
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_the_one_for_auditors_says_nothing_of_a_log_that_has_nothing(tmp_path: Path) -> None:
    log = _core.Log(str(tmp_path), background=False)
    for number in range(300):
        log.append("access", {"type": "read", "resource_id": str(number)}, tenant=f"t{number % 7}")
        if number % 100 == 99:
            log.rotate()
    log.close()
    assert audit(tmp_path / "log", tmp_path / "keys/log.verify") == (0, [])


def test_proofs_from_files_verify(log: ModelLog) -> None:
    directory, note = str(log.path / "log"), log.notes[-1].decode()
    assert _core.log_last_note(directory) == note
    record, proof = _core.log_prove_record(directory, "access", 5, note)
    assert len(proof) >= 4
    assert record[:4] == len(record).to_bytes(4, "little")
    assert _core.log_prove_consistency(directory, "access", 8, 20)
    with pytest.raises(_core.CoreError, match="covers"):
        _core.log_prove_record(directory, "access", 999, note)
    with pytest.raises(_core.CoreError, match="expected security"):
        _core.log_prove_record(directory, "none", 0, note)
