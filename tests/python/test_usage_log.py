"""`_core.UsageLog` as Python uses it: columns, an obvious model, processes, kills, verification."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy import _core
from tenancy._log_check import verify
from tenancy.errors import InvalidValue
from tenancy.stores.archive_part import view_of
from tenancy.stores.log_records import parsed, read_records
from tenancy.testing import FakeClock

pa = pytest.importorskip("pyarrow")

RECORDED, DUPLICATE, CONFLICT, UNKNOWN = range(4)
DAY_NS = 86_400 * 10**9


def opened(data: Path, **options: Any) -> tuple[_core.Log, _core.UsageLog]:
    """A log with small files, and its usage."""
    log = _core.Log(str(data), segment_bytes=1 << 16, ring_bytes=1 << 20, shared=True)
    return log, _core.UsageLog(log, str(data), first_table_log2=11, **options)


def events(usage: _core.UsageLog, limit: int = 1 << 16) -> list[dict[str, Any]]:
    """All that is durable."""
    found: list[dict[str, Any]] = []
    position = 0
    while True:
        batch = usage.read(position, limit)
        rows = batch.rows()
        assert len(batch) == len(rows)
        if not rows:
            return found
        found += [dict(zip(batch.columns, row, strict=True)) for row in rows]
        position = batch.next


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def log(data: Path) -> Iterator[_core.Log]:
    mine = _core.Log(str(data), segment_bytes=1 << 16, ring_bytes=1 << 20)
    yield mine
    mine.close()


@pytest.fixture
def usage(log: _core.Log, data: Path) -> Iterator[_core.UsageLog]:
    mine = _core.UsageLog(log, str(data), first_table_log2=11)
    yield mine
    mine.close()


# ---------------------------------------------------------------------------------------- columns


def test_one_event_is_read_back_as_it_was_sent(log: _core.Log, usage: _core.UsageLog) -> None:
    result = usage.record(
        tenants="ten_1",
        metrics="tokens",
        ids="evt-1",
        sources="/worker",
        times_ns=1_700_000_000_000_000_001,
        quantities=Decimal("0.000000000001"),
        properties='{"model":"ü"}',
        ack="disk",
    )
    assert (result.recorded, result.duplicates, result.conflicts, result.unknown) == (1, 0, 0, 0)
    assert result.statuses == bytes([RECORDED])
    assert result.sequence == log.position("usage")
    (event,) = events(usage)
    recorded_ns = event.pop("recorded_ns")
    assert recorded_ns > 1_700_000_000_000_000_001
    assert event == {
        "sequence": 1,
        "number": 0,
        "tenant": "ten_1",
        "metric": "tokens",
        "source": "/worker",
        "id": "evt-1",
        "time_ns": 1_700_000_000_000_000_001,
        "quantity": "0.000000000001",
        "properties": '{"model":"ü"}',
        "action": "record",
    }


def test_what_is_left_out_has_a_meaning(usage: _core.UsageLog) -> None:
    usage.record(tenants="t", metrics="m", ids=["a"], ack="disk")
    (event,) = events(usage)
    assert (event["source"], event["quantity"], event["properties"]) == ("", "1", None)
    assert event["time_ns"] == event["recorded_ns"]


def columns(kind: str) -> dict[str, Any]:
    """The same four events in several forms."""
    tenants, metrics = ["t1", "t2", "t1", "t1"], ["m", "m", "n", "m"]
    ids, quantities = ["a", "b", "c", "d"], [1, 2**63 - 1, -3, 0]
    properties, times = ['{"k":1}', None, '{"k":1}', None], [5, None, 7, 8]
    plain = {
        "tenants": tenants,
        "metrics": metrics,
        "ids": ids,
        "quantities": quantities,
        "properties": properties,
        "times_ns": times,
    }
    if kind == "lists":
        return plain
    if kind == "arrow":
        return {
            **{name: pa.array(plain[name]) for name in ("tenants", "metrics", "ids", "times_ns")},
            "quantities": pa.array([Decimal(q) for q in quantities], pa.decimal128(38, 12)),
            "properties": pa.array(properties, pa.large_string()),
        }
    if kind == "dictionaries":
        chunks = [
            pa.array(tenants[:1]).dictionary_encode(),
            pa.array(tenants[1:]).dictionary_encode(),
        ]
        return {
            "tenants": pa.chunked_array(chunks),
            "metrics": pa.array(metrics).dictionary_encode(),
            "ids": pa.chunked_array([ids[:3], ids[3:]]),
            "quantities": pa.chunked_array([quantities[:2], quantities[2:]]),
            "properties": pa.array(properties).dictionary_encode(),
            "times_ns": pa.array(times),
        }
    return {
        **plain,
        "tenants": np.array(tenants),
        "ids": np.array(ids, dtype=object),
        "metrics": np.array(metrics, dtype=object),
        "quantities": np.array(quantities),
    }


@pytest.mark.parametrize("kind", ["lists", "arrow", "dictionaries", "numpy"])
def test_lists_and_arrays_say_the_same(usage: _core.UsageLog, kind: str) -> None:
    assert usage.record(**columns(kind), ack="disk").recorded == 4
    assert usage.record(**columns("lists")).statuses == bytes([DUPLICATE] * 4)
    found = {(e["tenant"], e["id"]): e for e in events(usage)}
    assert found["t1", "a"]["properties"] == '{"k":1}'
    assert found["t2", "b"]["quantity"] == str(2**63 - 1)
    assert found["t1", "c"]["quantity"] == "-3"
    assert found["t1", "d"]["time_ns"] == 8
    assert found["t2", "b"]["time_ns"] == found["t2", "b"]["recorded_ns"]


def test_a_batch_is_an_arrow_record_batch_too(usage: _core.UsageLog) -> None:
    usage.record(**columns("lists"), ack="disk")
    batch = usage.read()
    table = pa.record_batch(batch)
    del batch
    assert table.schema.names == list(_core.UsageBatch.columns)
    assert table.schema.field("quantity").type == pa.decimal128(38, 12)
    found = [
        {**row, "quantity": str(int(row["quantity"]))}  # all of these are whole
        for row in table.to_pylist()
    ]
    assert found == events(usage)
    assert pa.record_batch(usage.read(1_000_000)).num_rows == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ids", [""]),
        ("ids", ["x" * 257]),
        ("ids", [1]),
        ("ids", [None]),
        ("ids", 7),
        ("tenants", ""),
        ("tenants", ["a", "b"]),
        ("tenants", "t" * 1025),
        ("metrics", None),
        ("metrics", "m" * 129),
        ("sources", "s" * 1025),
        ("properties", "[]"),
        ("properties", "{"),
        ("properties", '{"a":' + "9" * 16384 + "}"),
        ("quantities", 1.5),
        ("quantities", np.array([1.5])),
        ("quantities", Decimal("1e26")),
        ("quantities", "1e-13"),
        ("quantities", [1, 2]),
        ("quantities", "many"),
        ("times_ns", 1.0),
        ("times_ns", [1, 2]),
        ("actions", "delete"),
        ("actions", ["record", "record"]),
    ],
)
def test_a_value_that_can_never_be_recorded_is_named(
    usage: _core.UsageLog, field: str, value: Any
) -> None:
    good: dict[str, Any] = {"tenants": "t", "metrics": "m", "ids": ["a"]}
    with pytest.raises(InvalidValue) as refused:
        usage.record(**{**good, field: value})
    assert str(refused.value).startswith(field)
    assert usage.record(**good).statuses == bytes([RECORDED])


def test_texts_that_are_no_utf8_are_refused(usage: _core.UsageLog) -> None:
    with pytest.raises(UnicodeEncodeError):
        usage.record(tenants="t", metrics="m", ids=["\ud800"])
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(InvalidValue, match="UTF-8"):
        usage.record(tenants="t", metrics="m", ids=broken)


def test_no_events_are_no_error(usage: _core.UsageLog) -> None:
    result = usage.record(tenants="t", metrics="m", ids=[])
    assert (result.recorded, result.statuses) == (0, b"")


# ------------------------------------------------------------------------------------------ model

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["t1", "t2"]),
        st.sampled_from(["", "s"]),
        st.sampled_from("abcd"),
        st.integers(1, 2),
        st.sampled_from(["record", "record", "correct", "cancel"]),
    ),
    max_size=25,
)


class Model:
    """What became of each id: all its contents, and the one in force."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, str, str], set[int]] = {}
        self.now: dict[tuple[str, str, str], int | None] = {}

    def record(self, key: tuple[str, str, str], quantity: int, action: str) -> int:
        if key not in self.said:
            if action != "record":
                return UNKNOWN
        elif action == "record":
            return DUPLICATE if quantity in self.said[key] else CONFLICT
        elif self.now[key] == (None if action == "cancel" else quantity):
            return DUPLICATE
        self.now[key] = None if action == "cancel" else quantity
        self.said.setdefault(key, set())
        if action != "cancel":
            self.said[key].add(quantity)
        return RECORDED


@settings(deadline=None, max_examples=30)
@given(calls=st.lists(EVENTS, max_size=8), reopen=st.sets(st.integers(0, 7)))
def test_statuses_and_content_are_those_of_an_obvious_model(
    calls: list[list[tuple[str, str, str, int, str]]],
    reopen: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("usage")
    log, usage = opened(data)
    model = Model()
    for number, call in enumerate(calls):
        if number in reopen:
            usage.close()
            (data / "usage-ids" / "control").unlink()  # as after a restart of the machine
            usage = _core.UsageLog(log, str(data), first_table_log2=11)
        wanted = bytes(model.record(event[:3], *event[3:]) for event in call)
        result = usage.record(
            tenants=[e[0] for e in call],
            sources=[e[1] for e in call],
            ids=[e[2] for e in call],
            quantities=[e[3] for e in call],
            actions=[e[4] for e in call],
            metrics="m",
            ack="ring",
        )
        assert result.statuses == wanted
        counts = (result.recorded, result.duplicates, result.conflicts, result.unknown)
        assert counts == tuple(wanted.count(status) for status in range(4))
    log.flush("disk")
    found: dict[tuple[str, str, str], int | None] = {}
    for event in events(usage, limit=3):
        key = (event["tenant"], event["source"], event["id"])
        found[key] = None if event["action"] == "cancel" else int(event["quantity"])
    assert found == model.now
    usage.close()
    log.close()


def test_an_id_is_forgotten_after_the_window(data: Path) -> None:
    clock = FakeClock(start=1_700_000_000)
    log = _core.Log(str(data), clock=clock.native, background=False)
    usage = _core.UsageLog(log, str(data), clock=clock.native)
    assert usage.window_ns == 32 * DAY_NS
    sent: dict[str, Any] = {"tenants": "t", "metrics": "m", "ids": ["a"]}
    assert usage.record(**sent).recorded == 1
    clock.advance(32 * 86_400 - 1)
    assert usage.record(**sent).duplicates == 1
    clock.advance(2)
    assert usage.record(**sent).recorded == 1
    usage.close()
    log.close()


# ------------------------------------------------------------------------- processes and threads

WRITER = """
import random, sys
from tenancy import _core
data, seed, ack = sys.argv[1], int(sys.argv[2]), sys.argv[3]
log = _core.Log(data, ring_bytes=1 << 20, full_wait_ns=60 * 10**9)
usage = _core.UsageLog(log, data, first_table_log2=11, wait_ns=60 * 10**9)
rng = random.Random(seed)
while True:
    ids = [str(rng.randrange(100_000)) for _ in range(rng.randrange(1, 200))]
    usage.record(tenants=[f"t{len(i)}" for i in ids], metrics="m", ids=ids, ack=ack)
    print(*ids, flush=True)
"""


@pytest.mark.slow
def test_kill_nine_under_load_loses_and_doubles_nothing(data: Path) -> None:
    rng = random.Random(1)
    acknowledged: set[str] = set()

    def spawn(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(data), str(seed), rng.choice(["ring", "os"])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    writers = [spawn(seed) for seed in range(4)]
    for seed in range(4, 24):
        victim = writers.pop(rng.randrange(len(writers)))
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(rng.randrange(1, 40))]
        victim.kill()
        rest = victim.communicate()[0]
        # The last line may have been cut.
        whole = ("".join(lines) + rest).rpartition("\n")[0]
        acknowledged.update(whole.split())
        writers.append(spawn(seed))
    for writer in writers:
        writer.kill()
        acknowledged.update(writer.communicate()[0].rpartition("\n")[0].split())
    log, usage = opened(data)
    log.flush("disk")
    times = Counter((e["tenant"], e["id"]) for e in events(usage))
    assert max(times.values()) == 1
    assert acknowledged <= {name for _, name in times}
    every = [str(i) for i in range(100_000)]
    again = usage.record(tenants=[f"t{len(i)}" for i in every], metrics="m", ids=every)
    assert again.duplicates == len(times)
    usage.close()
    log.close()
    assert statuses_of(data) == (4, 4)


FULL_DISK = """
import resource, signal, sys
from tenancy import _core
log = _core.Log(sys.argv[1], segment_bytes=1 << 16, ring_bytes=1 << 16)
usage = _core.UsageLog(log, sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # the first table takes two MiB
try:
    usage.record(tenants="t", metrics="m", ids=["a"], ack="disk")
except _core.CoreError as error:
    print(error.args[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(usage.record(tenants="t", metrics="m", ids=["a"], ack="disk").recorded)
usage.close()
log.close()
"""


def test_without_room_for_its_id_an_event_is_not_recorded(data: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["FULL", "1"]
    log, usage = opened(data)
    assert [event["id"] for event in events(usage)] == ["a"]
    usage.close()
    log.close()


def test_threads_get_their_turn(log: _core.Log, usage: _core.UsageLog) -> None:
    recorded = [0] * 4

    def work(place: int) -> None:
        for start in range(0, 2000, 50):
            ids = [str(i) for i in range(start, start + 50)]
            recorded[place] += usage.record(tenants="t", metrics="m", ids=ids, ack="ring").recorded

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(recorded) == 2000


def test_a_forked_child_goes_on(log: _core.Log, usage: _core.UsageLog) -> None:
    usage.record(tenants="t", metrics="m", ids=["a"])
    child = os.fork()
    if child == 0:
        statuses = usage.record(tenants="t", metrics="m", ids=["a", "b"]).statuses
        os._exit(0 if statuses == bytes([DUPLICATE, RECORDED]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert usage.record(tenants="t", metrics="m", ids=["b"]).duplicates == 1


# --------------------------------------------------------------- verification and other readers


def statuses_of(data: Path) -> tuple[int, int]:
    """What the compiled verifier and the one in plain Python say."""
    paths = data / "log", data / "keys" / "log.verify"
    report = _core.log_verify(str(paths[0]), str(paths[1]))
    return int(report.partition('"status":')[2][0]), verify(*paths, [])[0]


def hundred(start: int) -> dict[str, Any]:
    ids = [str(i) for i in range(start, start + 100)]
    properties = [f'{{"of":"{i:0>60}"}}' for i in ids]
    return {"tenants": ["t1", "t2"] * 50, "metrics": "m", "ids": ids, "properties": properties}


def filled(data: Path) -> Path:
    """The path of a segment with usage in it, of a closed log."""
    log, usage = opened(data)
    for start in range(0, 3000, 100):
        usage.record(**hundred(start))
    usage.close()
    log.close()
    return min((data / "log" / "segments").glob("usage-*.seg"))


def test_both_verifiers_take_usage_for_whole_and_see_a_flipped_byte(data: Path) -> None:
    segment = filled(data)
    assert statuses_of(data) == (4, 4)  # 4: no anchor was given
    good = segment.read_bytes()
    at = good.index(b"\x011") + 1  # an id of one character
    segment.write_bytes(good[:at] + b"2" + good[at + 1 :])
    assert statuses_of(data) == (1, 1)
    segment.write_bytes(good)
    assert statuses_of(data) == (4, 4)


def test_other_readers_know_the_kind_and_leave_the_batch_alone(data: Path) -> None:
    filled(data)
    reader = _core.LogReader(str(data / "log"))
    rows = [dict(zip(reader.columns, row, strict=True)) for row in reader.rows("usage", 0, 1 << 16)]
    batches = [row for row in rows if row["kind"] == 11]
    assert {row["tenant"] for row in batches} == {"t1", "t2"}
    assert all(row["rest"] is None and row["event_id"] is None for row in batches)
    numbers = [row["tenant_sequence"] for row in batches if row["tenant"] == "t1"]
    assert numbers == list(range(1, len(numbers) + 1))
    first = batches[0]["sequence"]
    (record,) = read_records(data / "log", "usage", first, first + 1)
    view = view_of(parsed(record))
    assert (view["kind"], view["tenant"], view["context"]) == ("usage", "t1", None)


def test_reading_below_what_was_pruned_is_refused(data: Path) -> None:
    filled(data)
    log, usage = opened(data)
    kept = log.prune("usage", log.position("usage"))["kept_from"]
    assert kept > 0
    with pytest.raises(_core.CoreError) as refused:
        usage.read(0)
    assert refused.value.args[0] == "OUT_OF_RANGE"
    assert len(usage.read(kept, 10)) > 0
    for start in range(0, 3000, 100):
        assert usage.record(**hundred(start)).duplicates == 100
    usage.close()
    log.close()


def test_a_limit_out_of_bounds_is_refused(usage: _core.UsageLog) -> None:
    for limit in (0, -1, 1 << 25):
        with pytest.raises(InvalidValue, match="limit"):
            usage.read(0, limit)


def test_closing_ends_recording(log: _core.Log, usage: _core.UsageLog) -> None:
    usage.settle()
    usage.close()
    usage.close()
    with pytest.raises(_core.CoreError, match="CONFLICT"):
        usage.record(tenants="t", metrics="m", ids=["a"])
