"""The archive of the log: parts that are whole, never written over, and prove what they hold."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from archive_support import FORMATS, add, codes, filled, in_log, log_of
from audit_support import flip
from store_support import killed, run_python
from tenancy import Tenancy, _core
from tenancy.audit import Archive, check_archive, read_archive
from tenancy.errors import Conflict, InvalidValue, StoreDamaged, StoreError, StoreNotWritable
from tenancy.stores.audit_events import CHAINS
from tenancy.stores.audit_log import read_chain
from tenancy.stores.log_records import parsed, read_records, row_of

# ------------------------------------------------------------------------------ on a disk


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_has_every_record_and_proves_it(tmp_path: Path, form: str) -> None:
    url = str(tmp_path / "archive")
    with filled(tmp_path) as t:
        parts = t.audit.archive(url, format=form)
        assert [part.chain for part in parts] == list(CHAINS)
        positions = log_of(t).positions()
        for part in parts:
            assert (part.first, part.records) == (0, part.last + 1)
            held = [data for one, data in Archive(url).records() if one == part]
            assert held == list(read_records(log_of(t).directory, part.chain, 0, part.records))
            assert Path(url, part.name).stat().st_size == part.bytes
            assert Path(url, part.name).stat().st_mode & 0o077 == 0
        assert {part.chain: part.last + 1 for part in parts} == {
            chain: positions[chain] if chain != "security" else parts[0].last + 1
            for chain in CHAINS
        }
        report = check_archive(url, public_key=t.audit.public_key)
        assert (report.status, report.parts) == (0, 4)
        assert report.records == sum(part.records for part in parts)
        assert codes(url) == ["key_not_given"]
        assert check_archive(url)
        archived = {event.id: event for event in read_archive(url)}
        assert archived == in_log(t)


@pytest.mark.parametrize("form", FORMATS)
def test_only_what_is_new_is_written_and_time_ranges_when_asked(tmp_path: Path, form: str) -> None:
    url = str(tmp_path / "archive")
    with filled(tmp_path) as t:
        first = t.audit.archive(url, format=form)
        [tenant] = t.tenants.list()
        add(t, tenant.id, 4)
        second = t.audit.archive(url, format=form)
        behind = {part.chain: part.last + 1 for part in first}
        assert second
        assert all(part.first == behind[part.chain] for part in second)
        for part in second:
            before = next(p for p in first if p.chain == part.chain)
            assert part.tags[0] == before.tags[1]
        key = t.audit.public_key
        assert codes(url, key) == []

        times = sorted(event.time for event in in_log(t).values() if event.type == "data_read")
        other = str(tmp_path / "other")
        between = t.audit.archive(other, format=form, since=times[1], until=times[3])
        [access] = [part for part in between if part.chain == "access"]
        found = [e.time for e in read_archive(other) if e.type == "data_read"]
        assert (
            found
            == times[1:3]
            == [e.time for e in read_archive(other, tenant=tenant.id) if e.type == "data_read"]
        )
        assert access.records == 2
        assert set(codes(other, key)) == {"gap"}
        assert check_archive(other, public_key=key).status == 4
        future = datetime.now(timezone.utc) + timedelta(days=1)
        assert t.audit.archive(other, since=future) == ()


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_again_is_no_error_and_writes_nothing(tmp_path: Path, form: str) -> None:
    archive = Archive(str(tmp_path / "archive"), format=form)
    with filled(tmp_path) as t:
        log = log_of(t)
        part = archive.write(log, "access", 1, 3)
        files = {p: p.stat().st_mtime_ns for p in Path(archive.url).rglob("*") if p.is_file()}
        assert len(files) == 2
        assert archive.write(log, "access", 1, 3) == part
        assert archive.parts() == (part,)
        assert files == {
            p: p.stat().st_mtime_ns for p in Path(archive.url).rglob("*") if p.is_file()
        }
        overlapping = archive.write(log, "access", 0, 2)
        assert [p.name for p in archive.parts()] == [overlapping.name, part.name]
        assert len(list(archive.records())) == 3, "what two parts have is read once"


def test_other_content_is_never_written_over(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "archive"), format="jsonl")
    with filled(tmp_path) as t:
        log = log_of(t)
        part = archive.write(log, "access", 0, 3)
        file, manifest = (tmp_path / "archive" / n for n in (part.name, part.manifest))
        good = file.read_bytes()
        file.write_bytes(good.replace(b"192.0.2.7", b"192.0.2.8"))
        with pytest.raises(StoreDamaged, match="the file was changed"):
            archive.write(log, "access", 0, 3)

        manifest.unlink()
        file.write_bytes(good)
        assert archive.write(log, "access", 0, 3).sha256 == part.sha256, "an interrupted write"

        manifest.unlink()
        file.write_bytes(b"\n".join(good.split(b"\n")[:2]) + b"\n")
        with pytest.raises(Conflict, match="holds other records"):
            archive.write(log, "access", 0, 3)
        assert file.read_bytes() != good
        assert not manifest.exists()


@pytest.mark.parametrize(
    ("chain", "start", "end"), [("access", 2, 2), ("access", -1, 2), ("access", 0, 99), ("x", 0, 1)]
)
def test_ranges_that_are_not_there_are_refused(
    tmp_path: Path, chain: str, start: int, end: int
) -> None:
    with filled(tmp_path) as t, pytest.raises(InvalidValue):
        Archive(str(tmp_path / "archive")).write(log_of(t), chain, start, end)


def test_a_damaged_log_is_not_archived(tmp_path: Path) -> None:
    with filled(tmp_path) as t:
        log = log_of(t)
        [segment] = (log.directory / "segments").glob("access-*.seg")
        at = segment.read_bytes().index(b"192.0.2.7")
        flip(segment, at)
        with pytest.raises(StoreDamaged, match="not those of its checkpoint"):
            Archive(str(tmp_path / "archive")).write(log, "access", 0, 3)
        flip(segment, at)  # whoever closes the log looks at it
        data = next(iter(read_records(log.directory, "access", 1, 2)))
        checksum = segment.read_bytes().index(data) + len(data) - 1
        flip(segment, checksum)  # of which no tree knows
        with pytest.raises(StoreDamaged):
            Archive(str(tmp_path / "archive")).write(log, "access", 0, 3)
        flip(segment, checksum)
    assert not (tmp_path / "archive").exists()


def test_rows_are_those_of_the_compiled_reader(tmp_path: Path) -> None:
    with filled(tmp_path) as t:
        log = log_of(t)
        log.core.append(
            "usage",
            {
                "type": "used",
                "metric": "tokens",
                "quantity": "7",
                "raw": b"\x01",
                "big": 2**62,
                "f": 1e300,
                "yes": True,
                "none": None,
                "list": [1, {"a": 2}],
                "reason": "R",
            },
        )
        log.core.checkpoint()
        log.flush()
        reader = _core.LogReader(str(log.directory))
        for chain, end in log.positions().items():
            rows = list(read_chain(reader, chain, 0))
            own = [row_of(parsed(d)) for d in read_records(log.directory, chain, 0, end)]
            assert len(rows) == end
            for row, mine in zip(rows, own, strict=True):
                assert mine._replace(rest=None) == row._replace(rest=None)
                assert json.loads(mine.rest or "{}") == json.loads(row.rest or "{}")


# ------------------------------------------------------------------------------ changed archives


@pytest.mark.parametrize("form", FORMATS)
def test_every_byte_of_a_part_counts(tmp_path: Path, form: str) -> None:
    archive = Archive(str(tmp_path / "archive"), format=form)
    with filled(tmp_path) as t:
        part, key = archive.write(log_of(t), "access", 0, 4), t.audit.public_key
    assert codes(archive.url, key) == []
    for name in (part.name, part.manifest):
        path = tmp_path / "archive" / name
        good = path.read_bytes()
        for at in range(3, len(good), max(1, len(good) // 40)):
            flip(path, at)
            report = check_archive(archive.url, public_key=key)
            assert report.status == 1, (name, at)
            assert not report
            path.write_bytes(good)
    assert codes(archive.url, key) == []


def rewritten(archive: Path, name: str, line: int, old: str, new: str) -> None:
    """Edit a row and make all sums of file and manifest fit again, as a forger would."""
    import hashlib

    from tenancy.stores.archive_part import manifest_of, manifest_text

    path = archive / name
    rows = path.read_text().splitlines(keepends=True)
    assert old in rows[line]
    rows[line] = rows[line].replace(old, new)
    path.write_text("".join(rows))
    manifest = archive / f"{name}.json"
    part = manifest_of(manifest.read_bytes(), "", f"{name}.json")
    data = path.read_bytes()
    from dataclasses import replace

    part = replace(part, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    manifest.write_text(manifest_text(part))


def test_a_forger_who_mends_the_sums_is_found(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    with filled(tmp_path) as t:
        key = t.audit.public_key
        part = Archive(str(root), format="jsonl").write(log_of(t), "access", 0, 4)
    good = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    rewritten(root, part.name, 2, "user 3", "user 9")
    report = check_archive(str(root), public_key=key)
    [finding] = report.findings
    assert (finding["code"], finding["sequence"]) == ("part_content", 2)
    assert "principal" in finding["text"]

    for path, data in good.items():
        path.write_bytes(data)
    record = json.loads((root / part.name).read_text().splitlines()[2])["record"]
    rewritten(
        root,
        part.name,
        2,
        record,
        record[:400] + ("A" if record[400] != "A" else "B") + record[401:],
    )
    [finding] = check_archive(str(root), public_key=key).findings
    assert (finding["code"], finding["sequence"]) == ("record_damaged", 2)


def test_another_log_s_records_do_not_pass(tmp_path: Path) -> None:
    """Everything fits, but the key is not the one that was given."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with filled(tmp_path / "a") as t:
        key = t.audit.public_key
    with filled(tmp_path / "b") as t:
        t.audit.archive(str(tmp_path / "archive"))
    assert codes(str(tmp_path / "archive")) == ["key_not_given"]
    assert set(codes(str(tmp_path / "archive"), key)) == {"part_signature"}
    with pytest.raises(InvalidValue):
        check_archive(str(tmp_path / "archive"), public_key="nonsense")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    archive = Archive(str(root))
    with filled(tmp_path, 12) as t:
        key, log = t.audit.public_key, log_of(t)
        parts = [archive.write(log, "access", n, n + 2) for n in (0, 2, 4)]
    (root / parts[1].name).unlink()
    assert codes(str(root), key) == ["part_missing", "gap"]
    (root / parts[1].manifest).unlink()
    [finding] = check_archive(str(root), public_key=key).findings
    assert (finding["code"], finding["sequence"], finding["chain"]) == ("gap", 2, "access")
    (root / parts[0].manifest).unlink()
    assert codes(str(root), key) == ["manifest_missing", "gap"]
    report = check_archive(str(tmp_path / "nowhere"), public_key=key)
    assert (report.status, report.parts, report.findings[0]["code"]) == (3, 0, "no_archive")


# ------------------------------------------------------------------------------ whole or absent


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from tenancy import Tenancy
from tenancy.audit import Archive

data, target, form, at = sys.argv[1:]
calls = 0

def deadly(real):
    def call(*args, **options):
        global calls
        calls += 1
        if calls == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call

with Tenancy.open(data, background=False) as t:
    log = t._host.facts.log
    log.flush()
    os.fsync, Path.rename = deadly(os.fsync), deadly(Path.rename)
    Archive(target, format=form).write(log, "access", 0, 4)
"""


def test_a_killed_writer_leaves_nothing_half(tmp_path: Path) -> None:
    with filled(tmp_path, 8) as t:
        key = t.audit.public_key
    for at in (2, 3, 5, 6):  # before and after the renames of file and manifest
        target = tmp_path / f"archive {at}"
        done = run_python(KILLED_AT, tmp_path / "data", target, "jsonl", at)
        assert killed(done), done.stderr
        assert check_archive(str(target), public_key=key).status != 1
        with Tenancy.open(tmp_path / "data", background=False) as t:
            Archive(str(target), format="jsonl").write(log_of(t), "access", 0, 4)
        assert codes(str(target), key) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(str(tmp_path / "archive"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with filled(tmp_path) as t:
        log = log_of(t)
        log.checkpoint()
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(StoreNotWritable, match="No space left"):
                archive.write(log, "access", 0, 3)
        assert [p for p in (tmp_path / "archive").rglob("*") if p.is_file()] == []
        archive.write(log, "access", 0, 3)


# ------------------------------------------------------------------------------ readers


def test_parquet_has_types_that_tools_understand(tmp_path: Path) -> None:
    with filled(tmp_path) as t:
        parts = t.audit.archive(str(tmp_path / "archive"))
        expected = in_log(t)
    [access] = [part for part in parts if part.chain == "access"]
    table = pq.read_table(tmp_path / "archive" / access.name)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["time"] == "timestamp[ns, tz=UTC]"
    assert types["sequence"] == "int64"
    assert types["record"] == "binary"
    assert types["principal"] == types["context"] == types["event_id"] == "string"
    # Python's own times have no nanoseconds.
    rows = [row for row in table.drop_columns("time").to_pylist() if row["kind"] == "event"]
    assert len(rows) == 3
    for row in rows:
        event = expected[row["event_id"]]
        assert (row["principal"], row["type"], row["ip"]) == (
            event.principal,
            event.type,
            event.context.get("ip"),
        )
        assert json.loads(row["context"]) == event.context
        assert row["sealed"] is None


def test_json_lines_are_read_without_this_package(tmp_path: Path) -> None:
    with filled(tmp_path) as t:
        parts = t.audit.archive(str(tmp_path / "archive"), format="jsonl")
    files = [(tmp_path / "archive" / part.name).read_text() for part in parts]
    lines = [line for text in files for line in text.splitlines()]
    rows = [json.loads(line) for line in lines]
    read = [row for row in rows if row.get("type") == "data_read"]
    assert [row["context"]["number"] for row in read] == [1, 3, 5]
    assert all(
        re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", row["time"]) for row in rows
    )


# ------------------------------------------------------------------------------ other places


def test_the_memory_file_system_of_fsspec(tmp_path: Path) -> None:
    url = f"memory://archive-{tmp_path.name}"
    with filled(tmp_path) as t:
        parts = t.audit.archive(url)
        again = t.audit.archive(url, since=datetime(2020, 1, 1, tzinfo=timezone.utc))
        assert again[1] == parts[1]
        assert codes(url, t.audit.public_key) == []
        assert {event.id for event in read_archive(url)} == in_log(t).keys()
    files = fsspec.filesystem("memory")
    [name] = [n for n in files.find(url) if n.endswith(parts[1].name)]
    files.pipe_file(name, b"other")
    with pytest.raises(StoreDamaged):
        list(read_archive(url))


def test_a_file_system_that_is_neither_disk_nor_object_store(tmp_path: Path) -> None:
    """`dir::` puts another one in between: files get another name first and are moved."""
    (tmp_path / "root").mkdir()
    options = {"path": str(tmp_path / "root"), "target_protocol": "file"}
    with filled(tmp_path) as t:
        archive = Archive("dir://archive", storage_options=options)
        assert "file" not in archive.place._protocols
        archive.write(log_of(t), "access", 0, 3)
        archive.write(log_of(t), "access", 0, 3)
        assert codes("dir://archive", t.audit.public_key, storage_options=options) == []
    assert not list((tmp_path / "root").rglob("*.new"))


@pytest.mark.parametrize(
    "url", ["", "nonsense://x", "s3://", "\x00", "http://user:sesame-open@127.0.0.1:9/x"]
)
def test_bad_places_are_refused_without_their_secrets(tmp_path: Path, url: str) -> None:
    options = {"key": "sesame-open"} if url.startswith("nonsense") else None
    with filled(tmp_path) as t, pytest.raises((InvalidValue, StoreError, ImportError)) as caught:
        t.audit.archive(url, storage_options=options)
    assert "sesame-open" not in str(caught.value)


def test_credentials_are_not_shown() -> None:
    archive = Archive("memory://someone:hidden-word@place/path?token=hidden-word", format="jsonl")
    assert "hidden-word" not in repr(archive) + archive.url + repr(archive.place)
    with pytest.raises(InvalidValue, match="format"):
        Archive("memory://x", format="csv")


def test_options_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = {"path": str(tmp_path), "target_protocol": "file"}
    monkeypatch.setenv("TENANCY_ARCHIVE_OPTIONS", json.dumps(options))
    assert Archive("dir://archive").parts() == ()
    for bad in ('{"secret": "sesame-open"', '["sesame-open"]', "sesame-open"):
        monkeypatch.setenv("TENANCY_ARCHIVE_OPTIONS", bad)
        with pytest.raises(InvalidValue, match="TENANCY_ARCHIVE_OPTIONS") as caught:
            Archive("dir://archive")
        assert "sesame-open" not in str(caught.value)
        assert Archive("memory://x", storage_options={}).url == "memory://x"
