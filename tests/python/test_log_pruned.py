"""A log of which segments were pruned: both verifiers agree on it, whole or tampered with."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from store_support import START_NS
from tenancy import _core
from test_log_check import agreed, codes

EVENT_BYTES = 3000


def write(log: _core.Log, count: int, start: int = 0) -> None:
    events = [
        ("access", f"ten_{number % 3}", 0, {"type": "data_read", "text": "x" * EVENT_BYTES})
        for number in range(start, start + count)
    ]
    log.append_many(events)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A data directory whose chain `access` has stubs before its segments, and its checkpoints."""
    path = tmp_path_factory.mktemp("pruned")
    log = _core.Log(
        str(path),
        clock=_core.FakeClock(START_NS),
        shared=False,
        background=False,
        segment_bytes=1 << 16,
        epoch_interval_ns=0,
        checkpoint_interval_ns=0,
    )
    write(log, 10)
    notes = [log.checkpoint()]
    write(log, 50, 10)
    log.rotate()
    notes.append(log.checkpoint())
    assert log.prune("access", 45)["record"] == 62
    write(log, 10, 60)
    notes.append(log.checkpoint())
    log.close()
    return path, notes


@pytest.fixture
def log(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "data")
    return tmp_path / "data"


def kept(path: Path) -> int:
    return _core.log_kept_from(str(path / "log"))["access"]


def stubs(path: Path) -> list[Path]:
    return sorted((path / "log" / "segments").glob("*.stub"))


def test_both_find_a_pruned_log_whole_with_any_anchor(
    log: Path, made: tuple[Path, list[str]]
) -> None:
    first = kept(log)
    for note in made[1]:
        assert agreed(log, [note]) == (
            0,
            [(0, "pruned", "access", first, f"segments/access-{first:020}.seg", 0)],
        )
    assert codes(agreed(log)) == ["pruned", "unanchored"]


def test_the_segments_say_what_was_pruned(log: Path) -> None:
    found = _core.log_segments(str(log / "log"), "access")
    assert [pruned for _, _, pruned, _, _ in found] == [True, True, False, False]
    assert [first for first, *_ in found[1:]] == [end for _, end, *_ in found[:-1]]
    first, end = found[2][:2]
    assert end is not None
    assert first == kept(log)
    content = _core.log_segment_content(str(log / "log"), "access", first, end, ["ten_0", "ten_9"])
    assert content == (end - first, end - first, START_NS, START_NS, ["ten_0"])
    with pytest.raises(_core.CoreError, match="NOT_FOUND"):
        _core.log_segment_content(str(log / "log"), "access", 0, found[0][1])


def test_missing_and_swapped_stubs_are_judged_alike(log: Path) -> None:
    first, second = stubs(log)
    data = first.read_bytes(), second.read_bytes()
    for victim in (first, second):
        before = victim.read_bytes()
        victim.unlink()
        assert "stub_missing" in codes(agreed(log))
        victim.write_bytes(before)
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    assert "stub_content" in codes(agreed(log))
    second.unlink()
    first.unlink()
    assert codes(agreed(log))[0] == "stub_missing"


def test_changed_bytes_of_stubs_are_found_by_both_at_one_place(
    log: Path, made: tuple[Path, list[str]]
) -> None:
    choose = random.Random(3)
    for path in stubs(log):
        before = path.read_bytes()
        for _ in range(25):
            data = bytearray(before)
            data[choose.randrange(len(data))] ^= choose.randrange(1, 256)
            path.write_bytes(data)
            status, findings = agreed(log, [made[1][-1]])
            assert (status, findings[0][4]) == (1, f"segments/{path.name}")
        for size in (0, 76, 4096, len(before) - 1):
            path.write_bytes(before[:size])
            assert "stub_damaged" in codes(agreed(log))
        path.write_bytes(before)


def test_what_a_broken_off_prune_leaves_is_no_finding(log: Path) -> None:
    segments, first = log / "log" / "segments", kept(log)
    # Segments that were to be removed: anything may be in them, nobody reads them.
    left = [
        stubs(log)[1].with_suffix(".seg"),
        segments / f"access-{first:020}.stub",
        segments / f"access-{first:020}.stub.new",
    ]
    for path in left:
        path.write_bytes(b"left over")
    assert codes(agreed(log)) == ["pruned", "unanchored"]
    stray = segments / f"access-{first + 1:020}.stub"
    stray.write_bytes(b"of no segment")
    assert codes(agreed(log)) == ["unexpected_file", "pruned", "unanchored"]
    stray.unlink()
    again = _core.Log(str(log), clock=_core.FakeClock(START_NS), shared=False, background=False)
    again.flush()
    again.close()
    assert not [path for path in left if path.exists()]
    assert codes(agreed(log)) == ["pruned", "unanchored"]


def test_a_log_without_its_manifest_is_still_read_behind_its_stubs(log: Path) -> None:
    (log / "log" / "manifest").unlink()
    assert codes(agreed(log)) == ["manifest_missing", "pruned", "unanchored"]


def test_a_manifest_from_before_the_prune_misses_segments(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    writer = _core.Log(
        str(before),
        clock=_core.FakeClock(START_NS),
        shared=False,
        background=False,
        segment_bytes=1 << 16,
    )
    write(writer, 50)
    old = (before / "log" / "manifest").read_bytes()
    writer.prune("access", 30)
    writer.close()
    (before / "log" / "manifest").write_bytes(old)
    assert "segment_missing" in codes(agreed(before))
