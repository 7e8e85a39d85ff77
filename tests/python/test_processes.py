"""One data directory in many kinds of processes: spawned, forked, threaded, with several loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from store_support import open_shop, write_catalog
from tenancy import Tenancy
from tenancy.testing import FakeClock


def spend(path: str, clock_path: str, tries: int) -> int:
    """A worker of its own: opens the directory and spends what it gets."""
    with Tenancy.open(path, clock=FakeClock(path=clock_path)) as t:
        return sum(bool(t.check(tenant="acme")) for _ in range(tries))


def shop_with_shared_clock(directory: Path) -> Tenancy:
    clock = FakeClock(path=directory / "clock")
    t = Tenancy.open(directory / "data", catalog=write_catalog(directory), clock=clock)
    t.tenants.create(name="Acme", slug="acme", plan="free")
    return t


def test_spawned_workers_share_the_limit(tmp_path: Path) -> None:
    with shop_with_shared_clock(tmp_path) as t:
        jobs = [(str(t.path), str(tmp_path / "clock"), 80)] * 2
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert sum(pool.starmap_async(spend, jobs, chunksize=1).get(300)) == 100


def test_opened_before_the_fork_as_preloading_servers_do(tmp_path: Path) -> None:
    with shop_with_shared_clock(tmp_path) as t:
        reader, writer = os.pipe()
        for _ in range(4):
            if os.fork() == 0:
                granted = sum(bool(t.check(tenant="acme")) for _ in range(60))
                t.tenants.update("acme", metadata={str(os.getpid()): granted})
                os.write(writer, f"{granted}\n".encode())
                os._exit(0)
        for _ in range(4):
            assert os.wait()[1] == 0
        os.close(writer)
        with os.fdopen(reader) as answers:
            assert sum(map(int, answers.read().split())) == 100
        assert len(t.tenants.get("acme").metadata) == 4, "each child could also write"


def test_threads_share_one_tenancy(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create(name="Acme", slug="acme", plan="free")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: bool(t.check(tenant="acme")), range(400)))
    assert sum(answers) == 100


def test_two_event_loops_share_one_tenancy(tmp_path: Path) -> None:
    granted: list[int] = []
    with open_shop(tmp_path) as t:
        t.tenants.create(name="Acme", slug="acme", plan="free")

        async def many() -> None:
            made = await t.tenants.acreate(name=f"Loop {threading.get_ident()}")
            answers = await asyncio.gather(*(t.acheck(tenant="acme") for _ in range(80)))
            granted.append(sum(map(bool, answers)))
            assert (await t.acheck(tenant=made.id)).tenant == made.id

        threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(granted) == 100
    assert len(granted) == 2
