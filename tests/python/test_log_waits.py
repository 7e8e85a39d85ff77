"""Recording and waiting apart: `_core.Log.submit`, and futures of asyncio that share syncs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_support import leader
from store_support import run_python
from tenancy import _core
from tenancy.stores import log_waits
from tenancy.stores.log_waits import LogWaits


def opened(directory: Path, **options: Any) -> _core.Log:
    return _core.Log(str(directory), **{"segment_bytes": 1 << 16, "ring_bytes": 1 << 20, **options})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[_core.Log]:
    mine = opened(tmp_path)
    yield mine
    mine.close()
    for thread in helpers():
        thread.join()


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[_core.Log]:
    """Without a thread: nothing is written until somebody waits."""
    mine = opened(tmp_path, background=False)
    yield mine
    mine.close()


def code_of(error: pytest.ExceptionInfo[_core.CoreError]) -> str:
    return str(error.value.args[0])


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tenancy-log-waits"]


def types(log: _core.Log) -> list[str]:
    reader = _core.LogReader(log.log_directory)
    place = reader.columns.index("type")
    return [row[place] for row in reader.rows("other", 0, 1 << 20) if row[1] == 0]


def fill(log: _core.Log) -> None:
    while True:
        log.submit("other", {"type": "x" * 1000}, wait_ns=0)


async def record(log: _core.Log, waits: LogWaits, kind: str, ack: str = "disk") -> str:
    _, end = log.submit("other", {"type": kind}, tenant="ten_1")
    await waits.future(end, ack)
    return kind


# ------------------------------------------------------------------------------- the compiled log


def test_a_record_is_reached_once_it_was_waited_for_and_others_with_it(idle: _core.Log) -> None:
    sequence, first = idle.submit("other", {"type": "a"}, tenant="ten_1", time_ns=5)
    following, second = idle.submit("other", {"type": "b"})
    assert (following, second > first) == (sequence + 1, True)
    assert idle.reached(first, "ring")
    assert not idle.reached(first, "os")
    idle.wait(first, "os")
    assert idle.reached(first, "os")
    assert not idle.reached(first)
    idle.wait(second)
    assert idle.reached(first)
    assert types(idle) == ["a", "b"]


def test_bad_arguments_are_named(idle: _core.Log) -> None:
    submit: Any = idle.submit
    append: Any = idle.append
    with pytest.raises(TypeError, match=r"submit\(\) takes 2 positional"):
        submit("other", {}, "ten_1")
    with pytest.raises(TypeError, match=r"submit\(\) got an unexpected .* \"ack\""):
        submit("other", {}, ack="disk")
    with pytest.raises(TypeError, match=r"append\(\) got an unexpected .* \"wait_ns\""):
        append("other", {}, wait_ns=1)
    with pytest.raises(TypeError, match=r"submit\(\) misses the argument \"fields\""):
        submit("other")
    with pytest.raises(TypeError):
        submit("other", {}, wait_ns="soon")
    _, end = idle.submit("other", {})
    for bad in (lambda: idle.wait(end + 1), lambda: idle.wait(0), lambda: idle.reached(end, "so")):
        with pytest.raises(_core.CoreError) as error:
            bad()
        assert code_of(error) == "INVALID_ARGUMENT"


def test_a_closed_log_answers_for_what_it_has_and_takes_no_more(log: _core.Log) -> None:
    _, end = log.submit("other", {"type": "last"})
    log.close()
    assert log.reached(end)
    log.wait(end)
    with pytest.raises(_core.CoreError, match="closed") as error:
        log.submit("other", {})
    assert code_of(error) == "CONFLICT"


def test_whoever_waits_for_room_lets_other_threads_run(tmp_path: Path) -> None:
    with leader(tmp_path) as other:
        log = opened(tmp_path)
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(_core.CoreError) as error:
            fill(log)
        assert code_of(error) == "FULL"
        going_on = threading.Timer(0.05, other.send_signal, (signal.SIGCONT,))
        going_on.start()  # which needs the interpreter while this thread waits
        _, end = log.submit("other", {"type": "behind"}, wait_ns=60_000_000_000)
        going_on.join()
        log.wait(end)
    log.close()
    assert types(log)[-1] == "behind"


# --------------------------------------------------------------------------------------- asyncio


async def test_tasks_of_one_turn_share_a_sync(log: _core.Log) -> None:
    log.flush()
    waits, before = LogWaits(log), log.health()["syncs"]
    done = await asyncio.gather(*(record(log, waits, str(i)) for i in range(64)))
    assert log.health()["syncs"] - before <= 4  # one, and more where an interval ends just then
    assert len(helpers()) <= 1
    assert types(log) == done


async def test_each_task_goes_on_when_its_own_record_is_durable(log: _core.Log) -> None:
    waits, durable = LogWaits(log), []

    async def committer(name: int) -> None:
        for i in range(25):
            _, end = log.submit("other", {"type": f"{name}.{i}"})
            await waits.future(end, "disk")
            durable.append(log.reached(end))

    await asyncio.gather(*(committer(name) for name in range(16)))
    assert durable == [True] * 400
    assert len(types(log)) == 400


async def test_levels_are_waited_for_apart(idle: _core.Log) -> None:
    waits = LogWaits(idle)
    _, end = idle.submit("other", {})
    await waits.future(end, "os")
    assert (idle.reached(end, "os"), idle.reached(end)) == (True, False)
    await waits.future(end, "disk")
    assert idle.reached(end)


async def test_a_cancelled_task_stops_waiting_and_its_record_stays(log: _core.Log) -> None:
    waits = LogWaits(log)
    tasks = [asyncio.create_task(record(log, waits, str(i))) for i in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[1], asyncio.CancelledError)
    assert [done[0], *done[2:]] == ["0", "2", "3"]
    assert types(log) == ["0", "1", "2", "3"]


async def test_a_failed_wait_is_told_to_all_who_were_there_and_the_next_ones_go_on(
    tmp_path: Path,
) -> None:
    with leader(tmp_path) as other:
        log = opened(tmp_path, ack_wait_ns=20_000_000)
        waits = LogWaits(log)
        other.send_signal(signal.SIGSTOP)
        failed = await asyncio.gather(
            *(record(log, waits, str(i)) for i in range(8)), return_exceptions=True
        )
        assert {type(error) for error in failed} == {_core.CoreError}
        assert len({id(error) for error in failed}) == 8  # none has another's traceback
        for error in failed:
            assert isinstance(error, _core.CoreError)
            code, message = error.args
            assert (code, message[:13]) == ("IO", "recorded, but")
        other.send_signal(signal.SIGCONT)
        while True:  # the leader has what it left first
            try:
                assert await record(log, waits, "after") == "after"
                break
            except _core.CoreError:
                continue
    log.close()
    assert types(log)[1:9] == [str(i) for i in range(8)]  # behind the leader's own


async def test_closing_the_log_ends_the_waiting_with_the_record_durable(log: _core.Log) -> None:
    waits = LogWaits(log)
    tasks = [asyncio.create_task(record(log, waits, str(i))) for i in range(8)]
    await asyncio.sleep(0)
    log.close()  # before the thread has begun
    assert await asyncio.gather(*tasks) == [str(i) for i in range(8)]


def test_a_loop_that_is_closed_early_leaves_its_records_and_no_thread(log: _core.Log) -> None:
    waits = LogWaits(log)

    async def leave() -> None:
        for i in range(8):
            _, end = log.submit("other", {"type": str(i)})
            waits.future(end, "disk")
        await asyncio.sleep(0)

    for _ in range(3):
        asyncio.run(leave())
    for thread in helpers():
        thread.join()
    log.flush()
    assert types(log) == [str(i) for i in range(8)] * 3


def test_each_loop_has_one_thread(log: _core.Log) -> None:
    waits, found = LogWaits(log), []
    both = threading.Barrier(2)

    async def busy() -> None:
        for i in range(20):
            await asyncio.gather(*(record(log, waits, str(i)) for _ in range(4)))
            both.wait()
            found.append(len(helpers()))
            both.wait()

    loops = [threading.Thread(target=asyncio.run, args=(busy(),)) for _ in range(2)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    assert max(found) <= 2
    assert len(types(log)) == 160


async def test_a_thread_that_has_ended_is_followed_by_another(
    log: _core.Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_waits, "LINGER_S", 0.0)
    waits = LogWaits(log)
    for i in range(20):
        assert await record(log, waits, str(i)) == str(i)
    for thread in helpers():
        await asyncio.to_thread(thread.join)
    assert await record(log, waits, "again") == "again"


def test_a_forked_child_waits_with_a_thread_of_its_own(log: _core.Log) -> None:
    waits = LogWaits(log)

    async def parent() -> None:
        task = asyncio.create_task(record(log, waits, "parent"))
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            os._exit(in_child())
        assert await task == "parent"
        assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0

    def in_child() -> int:
        done: list[str] = []

        def run() -> None:  # a thread has no running loop
            done.append(asyncio.run(record(log, waits, "child")))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
        return 0 if done == ["child"] else 1

    asyncio.run(parent())
    assert sorted(types(log)) == ["child", "parent"]


def test_a_program_that_ends_at_once_ends_with_its_record_durable(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = run_python(
        """
        import asyncio, sys
        from tenancy import _core
        from tenancy.stores.log_waits import LogWaits
        log = _core.Log(sys.argv[1], segment_bytes=1 << 16)
        waits = LogWaits(log)
        async def main():
            for i in range(3):
                _, end = log.submit("other", {"type": str(i)})
                waits.future(end, "disk")
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - begun < 60
    log = opened(tmp_path)
    log.close()
    assert types(log) == ["0", "1", "2"]
