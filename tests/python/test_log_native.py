"""The log as Python writes and reads it: values, processes, kills, and rows beside a writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_support import leader
from tenancy import _core

Rows = list[dict[str, Any]]


def read(log_directory: str, chain: str = "other", start: int = 0) -> Rows:
    """All durable events of a chain."""
    reader = _core.LogReader(log_directory)
    rows = [
        dict(zip(reader.columns, row, strict=True)) for row in reader.rows(chain, start, 1 << 20)
    ]
    return [row for row in rows if row["kind"] == 0]


def opened(data: Path, **options: Any) -> _core.Log:
    """A log with small files: segments take their whole space from the beginning."""
    return _core.Log(str(data), **{"segment_bytes": 1 << 16, "ring_bytes": 1 << 20, **options})


def verified(data: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        _core.log_verify(str(data / "log"), str(data / "keys/log.verify"))
    )
    return report


def code_of(error: pytest.ExceptionInfo[_core.CoreError]) -> str:
    return str(error.value.args[0])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def log(data: Path) -> Iterator[_core.Log]:
    mine = opened(data, host="here")
    yield mine
    mine.close()


KNOWN = {
    "event_id": "0190163d-8694-739b-aea5-966c26f8ad91",
    "type": "data_read",
    "action": "doc:read",
    "resource": "doc",
    "resource_id": "7",
    "principal": "u1",
    "result": "success",
    "ip": "192.0.2.1",
    "user_agent": "Ünï",
    "request_id": "r",
    "session_id": "",
    "policy_revision": 2**64 - 1,
    "reason": None,
    "source": "outbox/1",
    "key_id": "tk_1",
}


def test_every_known_field_comes_back_in_its_column(log: _core.Log) -> None:
    at = log.append("access", dict(reversed(KNOWN.items())), tenant="ten_1", time_ns=5, ack="disk")
    (row,) = read(log.log_directory, "access")
    assert {name: row[name] for name in KNOWN} == KNOWN
    assert (row["sequence"], row["time_ns"], row["tenant"]) == (at, 5, "ten_1")
    assert (row["tenant_sequence"], row["rest"]) == (1, None)


def test_other_fields_come_back_as_canonical_json(log: _core.Log) -> None:
    named = {
        "z": None,
        "a": True,
        "größe": -3,
        "big": 2**64 - 1,
        "blob": b"\x00\xff",
        "text": 'q"\\\n\x01é',
        "deep": {"b": [1, 1.5, {"y": 1e30, "x": -0.0}], "a": (None, False)},
        "ratio": 1e-7,
        "quantity": "12.50",
    }
    log.append("other", named, ack="disk")
    (row,) = read(log.log_directory)
    assert row["rest"] == (
        '{"a":true,"big":"18446744073709551615","blob":"00ff",'
        '"deep":{"a":[null,false],"b":[1,1.5,{"x":0,"y":1e+30}]},"größe":-3,'
        '"quantity":"12.50","ratio":1e-7,"text":"q\\"\\\\\\n\\u0001é","z":null}'
    )
    assert uuid.UUID(row["event_id"]).version == 7
    assert row["tenant"] is None
    assert row["tenant_sequence"] is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def one_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_core.Log]:
    log = opened(tmp_path_factory.mktemp("generated"), background=False)
    yield log
    log.close()


@settings(max_examples=150, deadline=None)
@given(values=st.lists(JSON, min_size=1, max_size=10))
def test_generated_values_come_back_equal_and_names_sorted_by_utf16(
    one_log: _core.Log, values: list[Any]
) -> None:
    start = one_log.position("other")
    one_log.append_many([("other", None, 0, {"v": {"w": value}}) for value in values])
    rows = read(one_log.log_directory, start=start)

    def number(digits: str) -> float:
        """RFC 8785 writes doubles without a fraction as integers: 1e20 as 1 and twenty zeros."""
        return float(digits) if abs(int(digits)) > 2**53 else int(digits)

    found = [json.loads(row["rest"], parse_int=number)["v"]["w"] for row in rows]
    assert found == values

    def ordered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name.encode("utf-16-be") for name, _ in pairs]
        assert names == sorted(names)
        return dict(pairs)

    for row in rows:
        json.loads(row["rest"], object_pairs_hook=ordered)


BAD: list[tuple[Any, str]] = [
    ({"event_id": "0190163D-8694-739B-AEA5-966C26F8AD91"}, "lower case"),
    ({"event_id": "x"}, "expected a UUID"),
    ({"policy_revision": -1}, "0 to 2"),
    ({"policy_revision": 2**64}, "0 to 2"),
    ({"n": 2**64}, "64 bits"),
    ({"n": -(2**63) - 1}, "64 bits"),
    ({"": 1}, "1 to 255"),
    ({"x" * 256: 1}, "1 to 255"),
    ({"f": float("nan")}, "NaN"),
    ({"f": [float("inf")]}, "infinity"),
    ({"big": b"x" * (1 << 20)}, "1 MiB"),
    ({f"f{i}": i for i in range(5000)}, "4095"),
]


@pytest.mark.parametrize(("fields", "text"), BAD, ids=[text for _, text in BAD])
def test_bad_values_are_refused_and_nothing_is_recorded(
    log: _core.Log, fields: dict[str, Any], text: str
) -> None:
    before = log.position("other")
    with pytest.raises(_core.CoreError, match=text) as error:
        log.append("other", fields)
    assert code_of(error) == "INVALID_ARGUMENT"
    with pytest.raises(_core.CoreError, match=text):
        log.append_many([("other", None, 0, {}), ("other", None, 0, fields)])
    assert log.position("other") == before


@pytest.mark.parametrize(
    "fields",
    [
        {"type": 5},
        {"type": b"x"},
        {"policy_revision": True},
        {"x": object()},
        {"x": [set()]},
        {"x": {1: 2}},
        {1: "x"},
    ],
)
def test_values_of_wrong_types_are_type_errors(log: _core.Log, fields: Any) -> None:
    with pytest.raises(TypeError):
        log.append("other", fields)


def test_bad_arguments_say_what_was_expected(log: _core.Log, data: Path) -> None:
    for bad in (
        lambda: log.append("nothing", {}),
        lambda: log.append("other", {}, ack="soon"),
        lambda: log.append("other", {}, tenant="x" * 1025),
        lambda: _core.Log(str(data / "b"), segment_bytes=1),
        lambda: _core.LogReader(log.log_directory).rows("other", 0, 0),
        lambda: _core.LogReader(log.log_directory).rows("none", 0, 1),
    ):
        with pytest.raises(_core.CoreError) as error:
            bad()
        assert code_of(error) == "INVALID_ARGUMENT"
    for wrong in ([("other", None, 0)], [("other", None, 0, 5)], [(1, None, 0, {})]):
        with pytest.raises(TypeError):
            log.append_many(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        log.append("other", {"x": "\ud800"})
    looped: list[Any] = []
    looped.append(looped)
    with pytest.raises(_core.CoreError, match="64 levels"):
        log.append("other", {"x": looped})


def test_a_reader_sees_only_what_is_durable_and_goes_on_from_there(data: Path) -> None:
    log = opened(data, background=False)
    log.flush()
    reader = _core.LogReader(log.log_directory)
    assert [row[1] for row in reader.rows("access", 0, 10)] == [1]
    log.append("access", {"type": "a"})
    assert reader.rows("access", 1, 10) == []
    log.flush()
    assert [row[6] for row in reader.rows("access", 1, 10)] == ["a"]
    log.append_many([("access", None, 0, {"type": str(i)}) for i in range(5)])
    assert [row[6] for row in reader.rows("access", 2, 2)] == ["0", "1"]
    assert [row[6] for row in reader.rows("access", 4, 9)] == ["2", "3", "4"]
    assert [row[6] for row in reader.rows("access", 3, 1)] == ["1"]
    log.close()
    assert [row[1] for row in reader.rows("access", 7, 9)] == [5]


def test_rows_run_through_segments_rotations_and_checkpoints(data: Path) -> None:
    log = opened(data)
    for part in range(4):
        log.append_many([("access", "t", 0, {"n": part * 500 + i}) for i in range(500)])
        log.rotate()
        assert log.checkpoint().startswith(f"tenancy-log/{log.id}\n")
    assert log.health()["epoch"] == 4
    log.close()
    rows = read(str(data / "log"), "access")
    assert [json.loads(row["rest"])["n"] for row in rows] == list(range(2000))
    assert [row["tenant_sequence"] for row in rows] == list(range(1, 2001))
    assert len(list((data / "log/segments").glob("access-*"))) > 3
    assert verified(data)["status"] == 4  # no anchor


def test_reading_while_writing_gives_every_record_once_and_in_order(data: Path) -> None:
    log = opened(data, sync_interval_ns=1_000_000)
    many = 5000

    def write() -> None:
        for i in range(many):
            log.append("access", {"resource_id": str(i)})
        log.flush()

    writer = threading.Thread(target=write)
    writer.start()
    reader = _core.LogReader(log.log_directory)
    seen: list[str] = []
    following = 0
    while len(seen) < many:
        rows = reader.rows("access", following, 700)
        assert [row[0] for row in rows] == list(range(following, following + len(rows)))
        following += len(rows)
        seen += [row[9] for row in rows if row[1] == 0]
    writer.join()
    log.close()
    assert seen == [str(i) for i in range(many)]


def test_a_closed_log_refuses_and_closing_twice_is_nothing(data: Path) -> None:
    log = opened(data)
    log.append("other", {"type": "last"})
    log.close()
    log.close()
    for call in (
        lambda: log.append("other", {}),
        lambda: log.append_many([("other", None, 0, {})]),
        log.flush,
        log.rotate,
        log.checkpoint,
        log.tend,
    ):
        with pytest.raises(_core.CoreError, match="closed") as error:
            call()
        assert code_of(error) == "CONFLICT"
    assert [row["type"] for row in read(log.log_directory)] == ["last"]


def test_closing_beside_threads_that_wait_for_the_disk(data: Path) -> None:
    log = opened(data)
    kept = [0] * 4
    ends: list[str] = []

    def write(index: int) -> None:
        try:
            while True:
                log.append("other", {}, ack="disk")
                kept[index] += 1
        except _core.CoreError as error:
            ends.append(error.args[0])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    while sum(kept) < 20:
        pass
    log.close()
    for thread in threads:
        thread.join()
    assert set(ends) <= {"CONFLICT", "IO"}
    assert sum(kept) <= len(read(log.log_directory)) <= sum(kept) + 4


def test_a_full_ring_without_a_flusher_is_an_error_and_not_a_loss(data: Path) -> None:
    """The leader is a process that was stopped: nothing can be written for us."""
    with leader(data) as other:
        log = opened(data, full_wait_ns=20_000_000)
        other.send_signal(signal.SIGSTOP)
        before = log.position("other")
        with pytest.raises(_core.CoreError) as error:
            deque((log.append("other", {"type": "mine"}) for _ in range(10_000)), maxlen=0)
        recorded = log.position("other") - before
        assert code_of(error) == "FULL"
    log.close()
    assert [row["type"] for row in read(log.log_directory)].count("mine") == recorded


def test_a_forked_child_goes_on_and_both_are_in_one_order(data: Path) -> None:
    log = opened(data)
    log.append("other", {"type": "before"})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(500):
                log.append("other", {"type": "child"})
            log.append("other", {"type": "child"}, ack="disk")
            log.close()
            status = 0
        finally:
            os._exit(status)
    for _ in range(500):
        log.append("other", {"type": "parent"})
    assert os.waitpid(child, 0)[1] == 0
    log.close()
    types = [row["type"] for row in read(log.log_directory)]
    assert (types.count("before"), types.count("child"), types.count("parent")) == (1, 501, 500)
    assert len({row["event_id"] for row in read(log.log_directory)}) == 1002
    assert verified(data)["status"] == 4


WRITER = """if True:
    import sys
    from tenancy import _core
    log = _core.Log(sys.argv[1], segment_bytes=1 << 16)
    i = 0
    while True:
        log.append("other", {"type": sys.argv[2], "resource_id": str(i)}, ack=sys.argv[3])
        i += 1
        print(i, flush=True)
"""


@pytest.mark.parametrize("ack", ["ring", "disk"])
def test_killed_writers_lose_nothing_that_was_acknowledged(data: Path, ack: str) -> None:
    log = opened(data)
    for name in ("a", "b", "c"):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data), name, ack], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            last = ""
            for last in writer.stdout:
                if int(last) >= 50:
                    break
            writer.kill()
            acknowledged = int((writer.stdout.read().split() or [last])[-1])
        log.append("other", {"type": "me"}, ack="disk")
        rows = [row for row in read(log.log_directory) if row["type"] == name]
        assert len(rows) in (acknowledged, acknowledged + 1)
        assert [row["resource_id"] for row in rows] == [str(i) for i in range(len(rows))]
    log.close()
    assert verified(data)["status"] == 4


def test_the_only_process_killed_leaves_a_log_that_opens_again(data: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data), "a", "ring"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 50:
            pass
        writer.kill()
        acknowledged = int((writer.stdout.read().split() or ["50"])[-1])
    log = opened(data)
    log.close()
    assert len(read(log.log_directory)) in (acknowledged, acknowledged + 1)
    assert verified(data)["status"] == 4


def test_each_chain_begins_with_its_genesis_whoever_comes_first(tmp_path: Path) -> None:
    """The flusher's thread finds heartbeats due at once in an empty chain: it has to come later."""
    for number in range(20):
        data = tmp_path / str(number)
        data.mkdir()
        log = opened(data)
        log.flush()
        reader = _core.LogReader(log.log_directory)
        for chain in ("security", "access", "other", "usage"):
            assert reader.rows(chain, 0, 1)[0][1] == 1
        log.close()


def test_two_processes_cannot_share_a_private_log(data: Path, log: _core.Log) -> None:
    with pytest.raises(_core.CoreError, match="open it shared") as error:
        _core.Log(str(data), shared=False)
    assert code_of(error) == "CONFLICT"


def test_time_is_the_clocks(data: Path) -> None:
    clock = _core.FakeClock(1_000_000_000_000)
    log = opened(data, clock=clock, background=False, heartbeat_interval_ns=10**9)
    clock.advance_ns(5 * 10**9)
    log.append("other", {"type": "x"})
    log.tend()
    log.close()
    (row,) = read(log.log_directory)
    assert row["time_ns"] == 1_005_000_000_000
    kinds = [row[1] for row in _core.LogReader(log.log_directory).rows("usage", 0, 9)]
    assert kinds == [1, 3, 5]  # genesis, heartbeat, closed


def test_one_reader_belongs_to_one_thread_at_a_time(log: _core.Log) -> None:
    log.append_many([("other", None, 0, {"n": i}) for i in range(20_000)])
    reader = _core.LogReader(log.log_directory)
    answers: list[object] = []

    def many() -> None:
        try:
            answers.append(len(reader.rows("other", 1, 20_000)))
        except _core.CoreError as error:
            answers.append(error.args[0])

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {20_000, "CONFLICT"}
    assert 20_000 in answers


def test_missing_and_damaged_logs_are_named(data: Path) -> None:
    log = opened(data)
    with pytest.raises(_core.CoreError, match="nowhere"):
        _core.LogReader(str(data / "nowhere")).rows("other", 0, 1)
    log.append_many([("other", None, 0, {"n": i}) for i in range(50)])
    log.close()
    (segment,) = (data / "log/segments").glob("other-*")
    content = bytearray(segment.read_bytes())
    content[4096 + 5000] ^= 1
    segment.write_bytes(content)
    reader = _core.LogReader(log.log_directory)
    good = reader.rows("other", 0, 100)
    assert 0 < len(good) < 50
    with pytest.raises(_core.CoreError, match="tenancy audit verify") as error:
        reader.rows("other", len(good), 100)
    assert code_of(error) == "DAMAGED"
