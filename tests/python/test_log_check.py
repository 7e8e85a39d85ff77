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
from tenancy import _core
from tenancy._log_check import verify

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
    return first


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
