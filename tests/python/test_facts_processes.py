"""Refusals of several worker processes, some of them killed: none that was answered is missing, and
none is there twice. The logs of two hosts, side by side."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audit_support import all_rows, open_live, verified
from store_support import run_python
from tenancy import _core
from tenancy.audit import check_export, check_receipt
from tenancy.errors import ProofInvalid

WORKERS = 4
KILLS = int(os.environ.get("TENANCY_KILL_ROUNDS", "8"))

# Each worker refuses, and says after each refusal that it was answered. The parent kills one after
# the other in the middle of it, and puts another in its place.
KILLED = """
    import os, random, select, signal, sys, time
    from pathlib import Path
    from tenancy import Tenancy

    data, workers, kills, preload = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    choose = random.Random(int(sys.argv[5]))
    t = Tenancy.open(data, background=False) if preload == "True" else None
    heard = {}  # by pipe: a line may come in two pieces
    running = {}

    def work(number, say):
        mine = t or Tenancy.open(data, background=False)
        for place in range(1_000_000):
            ip = f"w{number}-{place}"
            if place % 50 == 49:
                mine.audit.append("data_read", tenant="acme", context={"ip": ip})
            elif mine.check(tenant="acme", permission="no:way", ip=ip).status == 503:
                continue  # refused because its fact found no room
            os.write(say, (ip + "\\n").encode())

    def start(number):
        hear, say = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(hear)
                work(number, say)
            except BaseException as error:
                os.write(2, repr(error).encode())
            finally:
                os._exit(1)
        os.close(say)
        running[child] = hear
        heard[hear] = []

    def listen(seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for hear in select.select(list(running.values()), [], [], left)[0]:
                heard[hear].append(os.read(hear, 1 << 16))

    def kill(child):
        os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == -signal.SIGKILL, status
        hear = running.pop(child)
        while data := os.read(hear, 1 << 16):
            heard[hear].append(data)

    for number in range(workers):
        start(number)
    listen(1)
    for number in range(kills):
        kill(choose.choice(list(running)))
        start(workers + number)
        listen(0.05 * choose.random())
    for child in list(running):
        kill(child)
    sys.stdout.write("".join(b"".join(lines).decode() for lines in heard.values()))
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.parametrize("preload", [False, True], ids=["opened by each", "opened before the fork"])
def test_no_answered_refusal_is_missing_whoever_is_killed(tmp_path: Path, preload: bool) -> None:
    with open_live(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
    seed = random.randrange(1 << 30)
    done = run_python(KILLED, tmp_path / "data", WORKERS, KILLS, preload, seed)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    answered = set(done.stdout.splitlines())
    assert len(answered) > 500
    with open_live(tmp_path) as t:
        assert t.audit.verify(anchors=[t.audit.checkpoint()]).status == 0
        found: Counter[str] = Counter()
        cursor = None
        while True:
            page = t.audit.search("acme", limit=1000, cursor=cursor)
            found.update(event.context["ip"] for event in page if "ip" in event.context)
            cursor = page.cursor
            if cursor is None:
                break
    rows = [row for rows in all_rows(tmp_path / "data").values() for row in rows]
    logged = Counter(row.ip for row in rows if row.ip is not None)
    assert set(found) == set(logged)
    for counted in (found, logged):
        assert max(counted.values()) == 1, f"seed {seed}: a fact is there twice"
        assert answered <= set(counted), f"seed {seed}: a fact is lost"
    # Each death can leave one fact whose answer nobody heard.
    assert len(logged) - len(answered) <= WORKERS + KILLS
    assert len({row.event_id for row in rows}) == len(rows)


# ------------------------------------------------------------------------- two hosts


class HostOf:
    """A data directory of its own, with one tenant's refusals, its receipt and its export."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.data = directory / "data"
        with open_live(directory) as t:
            acme = t.tenants.create("Acme", slug="acme")
            for number in range(20):
                t.check(tenant="acme", permission="ticket:write", ip=f"10.0.0.1{number % 10}")
            newest = t.audit.search("acme", type="permission_denied")[0]
            self.acme = acme.id
            self.receipt = t.audit.prove("acme", newest.id)
            t.audit.export("acme", directory / "acme.jsonl")
            self.export = (directory / "acme.jsonl").read_text().splitlines()
            self.key = t.audit.public_key
            self.note = t.audit.checkpoint()
            self.log_id = t._host.facts.log.id

    def verified(self, notes: list[str], key: Path | None = None) -> tuple[int, list[Any]]:
        report = json.loads(
            _core.log_verify(
                str(self.data / "log"), str(key or self.data / "keys/log.verify"), notes
            )
        )
        return report["status"], report["findings"]


def segment(data: Path) -> Path:
    """The one of the class `security`."""
    (found,) = (data / "log" / "segments").glob("security*")
    return found


def records(data: Path) -> list[tuple[int, int]]:
    """Where records begin and end in that segment (cpp/LOG_FORMAT.md, 4 and 6)."""
    content = segment(data).read_bytes()
    found, at = [], 4096
    while at + 4 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        if not 0 < length <= 1 << 20:
            break
        found.append((at, at + length))
        at += length
    return found


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> tuple[HostOf, HostOf]:
    root = tmp_path_factory.mktemp("hosts")
    return HostOf(root / "one"), HostOf(root / "two")


def test_two_hosts_logs_verify_side_by_side_each_with_its_own_key(
    hosts: tuple[HostOf, HostOf],
) -> None:
    one, two = hosts
    assert one.log_id != two.log_id
    assert one.key != two.key
    for host, other in ((one, two), (two, one)):
        assert host.verified([host.note])[0] == 0
        status, findings = host.verified([host.note], other.data / "keys/log.verify")
        assert (status, findings[0]["code"]) == (3, "wrong_key")
        status, findings = host.verified([other.note])
        assert (status, findings[0]["code"]) == (1, "anchor_signature")


def test_receipts_and_exports_check_against_the_key_of_their_own_host_alone(
    hosts: tuple[HostOf, HostOf],
) -> None:
    for host, other in (hosts, hosts[::-1]):
        assert check_receipt(host.receipt, host.key)["fields"]["action"] == "ticket:write"
        proven = check_export(host.export, host.key, tenant=host.acme)
        assert proven["events"]["security"] == 21  # with the tenant's making
        for document in (host.receipt, {**host.receipt, "checkpoint": other.receipt["checkpoint"]}):
            with pytest.raises(ProofInvalid):
                check_receipt(document, other.key)
        with pytest.raises(ProofInvalid):
            check_receipt({**host.receipt, "checkpoint": other.receipt["checkpoint"]}, host.key)
        with pytest.raises(ProofInvalid):
            check_export(host.export, other.key, tenant=host.acme)


def copied(host: HostOf, to: Path) -> Path:
    shutil.copytree(host.data, to)
    return to


def test_a_segment_of_the_other_host_is_caught(
    hosts: tuple[HostOf, HostOf], tmp_path: Path
) -> None:
    one, two = hosts
    data = copied(one, tmp_path / "data")
    segment(data).write_bytes(segment(two.data).read_bytes())
    status, findings = verified(data, [one.note])
    assert (status, findings[0]["code"]) == (1, "segment_foreign")
    assert findings[0]["class"] == "security"


@pytest.mark.parametrize("place", [1, 7, 19])
def test_a_record_of_the_other_host_is_caught_in_its_place(
    hosts: tuple[HostOf, HostOf], tmp_path: Path, place: int
) -> None:
    """Both hosts did the same, so that the records are as long as each other."""
    one, two = hosts
    data = copied(one, tmp_path / "data")
    (begin, end), (other_begin, other_end) = records(one.data)[place], records(two.data)[place]
    assert end - begin == other_end - other_begin
    content = bytearray(segment(data).read_bytes())
    content[begin:end] = segment(two.data).read_bytes()[other_begin:other_end]
    segment(data).write_bytes(content)
    status, findings = verified(data, [one.note])
    assert (status, findings[0]["code"]) == (1, "record_log")
    assert (findings[0]["class"], findings[0]["sequence"]) == ("security", place)


def test_a_record_of_the_other_host_is_caught_behind_the_last(
    hosts: tuple[HostOf, HostOf], tmp_path: Path
) -> None:
    one, two = hosts
    data = copied(one, tmp_path / "data")
    begin, end = records(two.data)[5]
    behind = records(data)[-1][1]
    content = segment(data).read_bytes()
    with segment(data).open("wb") as file:
        file.write(content[:behind] + segment(two.data).read_bytes()[begin:end])
    status, findings = verified(data, [one.note])
    assert status in (1, 4)
    assert findings[0]["code"] in ("record_log", "torn_tail", "trailing_bytes")
