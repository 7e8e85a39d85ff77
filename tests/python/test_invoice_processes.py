"""Several processes issue at once, and any of them is killed at any moment: every period has one
invoice, numbers have no gap, the ledger balances."""

from __future__ import annotations

import json
import random
import signal
from datetime import datetime, timezone
from pathlib import Path

import pytest

from invoice_support import BUYER, CATALOG, go_to, make_buyer, open_billing
from store_support import ask, run_python, start_python
from tenancy import Tenancy
from tenancy.billing import CreditNote
from tenancy.errors import StoreNotWritable
from tenancy.testing import FakeClock
from test_full_disk import Disk, disk  # noqa: F401 - a fixture

MARCH = datetime(2026, 3, 1, tzinfo=timezone.utc)
MONTHS = ("2026-01", "2026-02")
PROCESSES = 4

ISSUER = """
import sys
from invoice_support import Meter
from tenancy import Tenancy
from tenancy.testing import FakeClock
t = Tenancy.open(sys.argv[1], clock=FakeClock(path=sys.argv[2]))
t.billing._usage = Meter()
print("ready")
for line in sys.stdin:
    what, *rest = line.split()
    if what == "issue":
        print(t.billing.issue(*rest).digest)
    elif what == "first":
        print(t.billing.issue_first(*rest).digest)
    elif what == "all":
        print(t.billing.issue_all(batch=7).issued)
"""

CRASHING = """
import contextlib, json, os, random, signal, sys, threading, time
from pathlib import Path
from invoice_support import Meter
from tenancy import Tenancy
from tenancy.billing import Part
from tenancy.errors import BillingRefused, InvalidValue
from tenancy.invoices import _corrections, _issue, _ledger, _store
from tenancy.stores import revision
from tenancy.stores.change import Change
from tenancy.testing import FakeClock

data, clock, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
choose = random.Random(seed)
STEPS = {
    "numbered": (_store.Heads, "took"),
    "added": (_store, "add"),
    "posted": (_ledger, "post"),
    "given": (_store, "_give_rest"),
    "committed": (revision.RevisionWord, "after_commit"),
}

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def killed_at(step, left, before):
    place, name = STEPS[step]
    function = getattr(place, name)
    def call(*arguments, **options):
        nonlocal left
        left -= 1
        if left < 0 and before:
            die()
        answer = function(*arguments, **options)
        if left < 0:
            die()
        return answer
    setattr(place, name, call)

def work(step):
    t = Tenancy.open(data, clock=FakeClock(path=clock))
    t.billing._usage = Meter()
    if step == "any":
        pause = choose.random() * 0.15
        threading.Thread(target=lambda: (time.sleep(pause), die()), daemon=True).start()
    else:
        killed_at(step, choose.randrange(12), choose.random() < 0.5)
    for _ in range(choose.randrange(3, 9)):
        what = choose.randrange(5)
        if what == 0:
            t.billing.issue_all(batch=choose.randrange(1, 6))
            continue
        if what == 4:
            with contextlib.suppress(BillingRefused):  # fees in arrears
                t.billing.issue_first(f"t{choose.randrange(12)}")
            continue
        rows = t.billing.list(kind="invoice", limit=1000)
        tenant, month = f"t{choose.randrange(12)}", choose.choice(["2026-01", "2026-02"])
        try:
            if what == 1 or not rows:
                invoice = t.billing.issue(tenant, month)
                told = ["issue", tenant, month, invoice.number, invoice.digest]
            else:
                number = choose.choice(rows).number
                if what == 2:
                    paid = t.billing.pay(number, 1, reference=f"r{choose.randrange(3)}")
                    told = ["pay", number, paid.reference, paid.id]
                else:
                    note = t.billing.credit_note(number, [Part(0, "0.5")], reason="crash")
                    told = ["note", number, note.number, note.digest]
        except (BillingRefused, InvalidValue):
            continue
        os.write(1, (json.dumps(told) + "\\n").encode())

killed = 0
for number in range(rounds):
    step = [*STEPS, "any", "any"][number % (len(STEPS) + 2)]
    seed = choose.random()
    child = os.fork()
    if child == 0:
        choose.seed(seed)
        try:
            work(step)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    killed += os.WIFSIGNALED(status)
print(killed, file=sys.stderr)
"""


ADVANCE = {"fees": "in_advance"}


def seed(tmp_path: Path, tenants: int, billing: dict[str, str] | None = None) -> Path:
    """A shop at the beginning of March whose tenants have two months to be invoiced."""
    clock = FakeClock(path=tmp_path / "clock")
    catalog = {**CATALOG, "billing": billing or {}}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        for i in range(tenants):
            make_buyer(t, f"t{i}", plan="flat" if i % 2 else "team")
        t.billing.credit("t0", 25)
        go_to(clock, MARCH)
    return tmp_path / "clock"


def reopened(tmp_path: Path) -> Tenancy:
    return Tenancy.open(tmp_path / "data", clock=FakeClock(path=tmp_path / "clock"))


def check_whole(t: Tenancy, invoices: int) -> None:
    """One invoice for each period, no gap in a series, a ledger that balances."""
    rows = list(t.billing.every())
    numbers = [row.number for row in rows if row.kind == "invoice"]
    assert numbers == [f"INV-2026-{i + 1:06d}" for i in range(invoices)]
    notes = [row.number for row in rows if row.kind == "credit_note"]
    assert notes == [f"CN-2026-{i + 1:06d}" for i in range(len(notes))]
    periods = [(row.tenant, row.period) for row in rows if row.kind == "invoice"]
    assert len(set(periods)) == invoices
    report = t.billing.verify()
    assert report, report.problems
    assert report.recomputed == invoices
    assert [sum(one.values()) for one in t.billing.accounts().values()] == [0]


def test_four_processes_that_issue_the_same_get_the_same(tmp_path: Path) -> None:
    clock = seed(tmp_path, 6)
    workers = [start_python(ISSUER, tmp_path / "data", clock) for _ in range(PROCESSES)]
    try:
        assert {worker.stdout.readline().strip() for worker in workers} == {"ready"}  # type: ignore[union-attr]
        for month in MONTHS:
            for i in range(3):
                for worker in workers:
                    worker.stdin.write(f"issue t{i} {month}\n")  # type: ignore[union-attr]
                    worker.stdin.flush()  # type: ignore[union-attr]
                digests = {worker.stdout.readline() for worker in workers}  # type: ignore[union-attr]
                assert len(digests) == 1
        for worker in workers:
            worker.stdin.write("all\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        assert sum(int(worker.stdout.readline()) for worker in workers) == 6  # type: ignore[union-attr]
        assert ask(workers[0], "all") == "0"
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    with reopened(tmp_path) as t:
        check_whole(t, 12)


def test_four_processes_that_open_the_same_get_the_same(tmp_path: Path) -> None:
    """The first invoice of fees in advance is one, whoever asks."""
    clock = seed(tmp_path, 3, ADVANCE)
    workers = [start_python(ISSUER, tmp_path / "data", clock) for _ in range(PROCESSES)]
    try:
        assert {worker.stdout.readline().strip() for worker in workers} == {"ready"}  # type: ignore[union-attr]
        for i in range(3):
            for worker in workers:
                worker.stdin.write(f"first t{i}\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
            digests = {worker.stdout.readline() for worker in workers}  # type: ignore[union-attr]
            assert len(digests) == 1
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    with reopened(tmp_path) as t:
        check_whole(t, 3)


@pytest.mark.parametrize(
    ("rounds", "billing", "invoices"),
    [
        (14, {}, 24),
        (14, ADVANCE, 36),
        pytest.param(150, {}, 24, marks=pytest.mark.slow),
        pytest.param(150, ADVANCE, 36, marks=pytest.mark.slow),
    ],
    ids=["arrears", "advance", "arrears, long", "advance, long"],
)
def test_kills_at_any_moment_lose_and_double_nothing(
    tmp_path: Path, rounds: int, billing: dict[str, str], invoices: int
) -> None:
    clock = seed(tmp_path, 12, billing)
    start = random.randrange(1 << 32)
    done = run_python(CRASHING, tmp_path / "data", clock, rounds, start)
    assert done.returncode == 0, (start, done.stderr)
    assert int(done.stderr.split()[-1]) > rounds // 5, "next to none of them was killed"
    with reopened(tmp_path) as t:
        for line in done.stdout.splitlines():  # what was acknowledged is there, unchanged
            what, *told = json.loads(line)
            if what == "issue":
                invoice = t.billing.invoice(told[2])
                assert (t.billing.document(told[2]).digest, invoice.digest) == (told[3], told[3])
            elif what == "note":
                note = t.billing.document(told[1])
                assert isinstance(note, CreditNote)
                assert (note.invoice, note.digest) == (told[0], told[2])
            else:
                assert t.billing.pay(told[0], 1, reference=told[1]).id == told[2]
        from invoice_support import Meter

        t.billing._usage = Meter()
        assert t.billing.issue_all()
        check_whole(t, invoices)


def test_a_full_disk_issues_nothing_and_leaves_no_gap(
    disk: Disk,  # noqa: F811 - the fixture
) -> None:
    from invoice_support import Meter

    clock = FakeClock()
    with open_billing(disk.root, clock) as t:
        for i in range(40):
            make_buyer(t, f"t{i}")
        t.billing._usage = Meter()
        go_to(clock, MARCH)
        first = t.billing.issue("t0", "2026-01")
        for attempt in (
            lambda: t.billing.issue_all(),
            lambda: [t.billing.issue(f"t{i}", "2026-01") for i in range(40)],
        ):
            disk.fill()
            with pytest.raises(StoreNotWritable, match=r"the disk is full.*free some space"):
                attempt()
        disk.free()
        assert t.billing.invoice(first.number) == first
        assert t.billing.issue_all()
        check_whole(t, 80)


def test_a_process_that_is_stopped_inside_a_change_does_not_keep_a_number(tmp_path: Path) -> None:
    """It holds the store while it stands there; killed, what it had begun never was."""
    clock = seed(tmp_path, 2)
    stopped = start_python(
        """
        import os, signal, sys
        from invoice_support import Meter
        from tenancy import Tenancy
        from tenancy.invoices import _ledger
        from tenancy.testing import FakeClock
        t = Tenancy.open(sys.argv[1], clock=FakeClock(path=sys.argv[2]))
        t.billing._usage = Meter()
        post = _ledger.post
        def stop(*arguments):
            post(*arguments)
            print("numbered")
            os.kill(os.getpid(), signal.SIGSTOP)
        _ledger.post = stop
        t.billing.issue("t0", "2026-01")
        """,
        tmp_path / "data",
        clock,
    )
    try:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "numbered\n"
        stopped.send_signal(signal.SIGKILL)
        stopped.wait()
        with reopened(tmp_path) as t:
            assert t.billing.issue("t1", "2026-01", usage={}).number == "INV-2026-000001"
            assert t.billing.invoice("INV-2026-000001").buyer == BUYER
    finally:
        stopped.kill()
        stopped.communicate()
