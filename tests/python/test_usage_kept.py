"""Totals that are brought up by what is new: exact, and at the price of what is new."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoice_support import BUYER, DAY_S, JANUARY, open_billing
from tenancy import Tenancy
from tenancy.billing import Cumulative
from tenancy.stores import derived
from tenancy.testing import FakeClock
from tenancy.usage import _kept as kept_module
from tenancy.usage._kept import KeptTotals
from usage_model import KINDS, open_metered

HOUR = timedelta(hours=1)
NOW = datetime(2026, 1, 20, tzinfo=timezone.utc)


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with open_metered(tmp_path, FakeClock(NOW)) as opened:
        for slug in ("acme", "globex"):
            opened.tenants.create(name=slug, slug=slug, plan="free")
        yield opened


def told(t: Tenancy, kept: KeptTotals, since: datetime, cuts: list[datetime]) -> dict[str, Any]:
    with t.usage.snapshot() as now:
        return {
            slug: now.totals(kept).quantities(slug, since=since, cuts=cuts)
            for slug in ("acme", "globex")
        }


def anew(t: Tenancy, since: datetime, cuts: list[datetime]) -> dict[str, Any]:
    """From all events, without their digests."""
    return {
        slug: {
            metric: tuple(replace(part, digest="") for part in parts)
            for metric, parts in t.usage.quantities(slug, since=since, cuts=cuts).items()
        }
        for slug in ("acme", "globex")
    }


def act(t: Tenancy, rng: random.Random, ids: list[tuple[str, str, str]]) -> None:
    """One event, at any time of the last days, or one that is corrected or taken back."""
    slug, metric = rng.choice(["acme", "globex"]), rng.choice(KINDS)
    when = NOW - rng.choice([0, 1, 30, 60]) * HOUR - rng.randrange(50) * HOUR / 50
    what = rng.random()
    if what < 0.7 or not ids:
        name = f"{len(ids)}-{rng.random()}"
        t.usage.record(
            slug, metric, Decimal(rng.choice(["1", "0", "2.5", "7" * 26])), id=name, time=when,
            properties={"user": rng.choice("abc")},
        )  # fmt: skip
        ids.append((slug, metric, name))
    elif what < 0.85:
        slug, metric, name = rng.choice(ids)
        moved = rng.choice([None, when])
        t.usage.correct(slug, name, quantity=rng.randrange(9), time=moved)
    else:
        slug, metric, name = ids.pop(rng.randrange(len(ids)))
        t.usage.cancel(slug, name)


@pytest.mark.parametrize("seed", range(6))
def test_after_any_history_they_are_what_all_events_come_to(t: Tenancy, seed: int) -> None:
    rng, kept = random.Random(seed), KeptTotals()
    stretches = [
        (NOW - 70 * HOUR, [NOW - 40 * HOUR, NOW + HOUR]),
        (NOW - 40 * HOUR, [NOW + HOUR]),
        (NOW - 20 * HOUR, [NOW - 20 * HOUR, NOW - 5 * HOUR]),
    ]
    ids: list[tuple[str, str, str]] = []
    for _ in range(12):
        for _ in range(rng.randrange(6)):
            act(t, rng, ids)
        asked = rng.sample(stretches, rng.randrange(1, 4))
        for since, cuts in asked:
            assert told(t, kept, since, cuts) == anew(t, since, cuts)
        if rng.random() < 0.3:
            kept.turn()


def test_sums_beyond_64_bits_are_exact(t: Tenancy) -> None:
    kept, whole = KeptTotals(), "9" * 26 + ".999999999999"
    asked = NOW - HOUR, [NOW + HOUR]
    for place in range(3):
        t.usage.record("acme", "sum", whole, id=f"{place}")
    assert told(t, kept, *asked) == anew(t, *asked)
    t.usage.correct("acme", "1", quantity="0.000000000001")
    t.usage.cancel("acme", "2")
    (part,) = told(t, kept, *asked)["acme"]["sum"]
    assert part == Cumulative(NOW + HOUR, Decimal("1E26"), 2)


def test_of_a_table_that_is_made_again_or_was_pruned_they_are_its_own(
    t: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, asked = KeptTotals(), (NOW - HOUR, [NOW + HOUR])
    for name in ("a", "b", "c"):
        t.usage.record("acme", "sum", 5, id=name)
    told(t, kept, *asked)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "data" / f"usage.sqlite{suffix}").unlink(missing_ok=True)
    t.usage.cancel("acme", "a")
    assert told(t, kept, *asked) == anew(t, *asked)
    second = t.usage.events("acme", "sum").items[1].position >> 12
    monkeypatch.setattr(t.usage._log, "kept_from", lambda: second)
    t.usage.record("acme", "sum", 5, id="d")
    found = told(t, kept, *asked)
    assert found == anew(t, *asked)
    assert found["acme"]["sum"][0].quantity == 10


def test_an_earlier_state_is_answered_as_it_was(t: Tenancy) -> None:
    kept, since, cuts = KeptTotals(), NOW - HOUR, [NOW + HOUR]
    t.usage.record("acme", "sum", 1)
    with t.usage.snapshot() as before:
        assert before.aggregate("acme", "sum").quantity == 1
        t.usage.record("acme", "sum", 2)
        for _ in range(2):  # in turn, as two threads may ask
            assert told(t, kept, since, cuts)["acme"]["sum"][0].quantity == 3
            found = before.totals(kept).quantities("acme", since=since, cuts=cuts)
            assert found["sum"][0].quantity == 1


def test_a_table_of_an_earlier_version_gets_its_index_and_keeps_its_rows(
    t: Tenancy, tmp_path: Path
) -> None:
    t.usage.record("acme", "sum", 1)
    t.usage.aggregate("acme", "sum")
    path = tmp_path / "data" / "usage.sqlite"
    inode = path.stat().st_ino
    with sqlite3.connect(path, isolation_level=None) as table:
        table.execute("DROP INDEX events_ended")
    t.usage.record("acme", "sum", 2)
    assert t.usage.aggregate("acme", "sum").quantity == 3
    with sqlite3.connect(path) as table:
        names = {name for (name,) in table.execute("SELECT name FROM sqlite_schema")}
        version = table.execute("PRAGMA user_version").fetchone()[0]
    assert ("events_ended" in names, version, path.stat().st_ino) == (True, 1, inode)


def test_what_nobody_asks_for_is_forgotten_and_their_number_is_bounded(
    t: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptTotals()
    told(t, kept, NOW - HOUR, [NOW])
    many = kept._count
    assert many == 2 * len(t.usage.metrics())
    kept.turn()
    told(t, kept, NOW - HOUR, [NOW + HOUR])
    assert kept._count == 2 * many
    kept.turn()
    assert kept._count == many
    kept.turn()
    assert (kept._count, kept._kept) == (0, {})
    monkeypatch.setattr(kept_module, "STRETCHES_MAX", many - 1)
    assert told(t, kept, NOW - HOUR, [NOW]) == anew(t, NOW - HOUR, [NOW])
    assert kept._count < many


# --- what a pass of the budgets costs


class Steps:
    """Steps of SQLite's machine in the table of events, and the statements: no clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.statements: Counter[str] = Counter()
        connect = derived._connect

        def connected(path: Path) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_progress_handler(self._step, 1)
            connection.set_trace_callback(self._statement)
            return connection

        monkeypatch.setattr(derived, "_connect", connected)

    def _step(self) -> int:
        self.steps += 1
        return 0

    def _statement(self, text: str) -> None:
        self.statements[text] += 1

    def of_pass(self, t: Tenancy) -> int:
        """How many a pass takes, the table being up to the log."""
        t.usage.aggregate("t0", "calls")
        self.steps = 0
        self.statements.clear()
        t.billing.check_budgets(forecasts=False)
        return self.steps


def test_a_pass_reads_what_is_new_however_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        for place in range(5):
            tenant = t.tenants.create(f"T{place}", slug=f"t{place}", plan="team", anchor=JANUARY)
            t.billing.account(tenant, party=BUYER, currency="EUR")
            t.billing.budget(tenant, 20)
        clock.advance(10 * DAY_S)
        counter = Steps(monkeypatch)

        def use(events: int, prefix: str) -> None:
            t.usage.record_many(
                {
                    "tenant": [f"t{row % 5}" for row in range(events)],
                    "metric": ["calls"] * events,
                    "quantity": [row % 3 for row in range(events)],
                    "id": [f"{prefix}-{row}" for row in range(events)],
                }
            )

        costs = []
        for lot in range(3):
            use(2000, f"lot {lot}")
            lots = counter.of_pass(t)
            still = counter.of_pass(t)
            assert sum(counter.statements.values()) < 5  # whatever the number of tenants
            use(5, f"some {lot}")
            t.usage.cancel("t1", f"lot {lot}-1")
            t.usage.correct("t2", f"lot {lot}-2", quantity=9)
            few = counter.of_pass(t)
            assert lots > 2000 * 5
            costs.append((still, few))
        assert costs[0] == costs[1] == costs[2]
        assert costs[0][0] < 200
        assert costs[0][1] < 1000
        with_digests = {of: t.billing.running(of).bill.net for of in ("t0", "t1", "t2", "t3")}
        statuses = t.billing.budget_statuses()
        ids = {slug: t.tenants.get(slug).id for slug in with_digests}
        assert {slug: statuses[of].spent for slug, of in ids.items()} == with_digests
