"""Invoices of generated tenants: usage read, bills computed, numbered, chained, stored, in the
ledger and in the outbox of the log, everything that `issue_all` does, with its progress.

    python benchmarks/bench_invoices.py [--tenants 100000] [--events 3] [--processes 2] [--quick]

Each tenant has three metrics, each used `--events` times, an account with an address, and every
tenth of the first ones a credit. By default as many processes share the work as the machine has
processors. `verify` then checks digests, chains, numbers, ledger and log of all of them.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from common import machine, print_table
from tenancy import Catalog, Tenancy
from tenancy.billing import Party, TaxRate, TaxRules
from tenancy.testing import FakeClock

JANUARY = datetime(2026, 1, 1, tzinfo=timezone.utc)
METRICS = ("calls", "storage", "stamps")
CATALOG = {
    "catalog": "bench",
    "version": "1",
    "format": 1,
    "default_plan": "team",
    "currency": "EUR",
    "plans": {"team": {"price_book": "team"}},
    "price_books": {
        "team": {
            "base_fee": 10,
            "metrics": {
                "calls": {
                    "tiers": [
                        {"up_to": 10_000, "unit": "0.001"},
                        {"up_to": 100_000, "unit": "0.0008"},
                        {"up_to": 1_000_000, "unit": "0.0005"},
                        {"unit": "0.0003"},
                    ]
                },
                "storage": "0.10",
                "stamps": "0.01",
            },
        }
    },
}


def seed(t: Tenancy, tenants: int, events: int) -> None:
    seller = Party("Shop AG", "AT", tax_id="ATU12345678")
    t.billing.configure(seller=seller, tax=TaxRules("AT", [TaxRate("AT", 20, "USt")]))
    rows = [{"name": f"Tenant {i}", "slug": f"t{i}", "anchor": JANUARY} for i in range(tenants)]
    ids = t.tenants.create_many(rows)
    t.billing.account_many(
        {
            "tenant": tenant,
            "party": Party(f"Tenant {i} GmbH", "AT", street="Ring 1", city="Wien", postcode="1010"),
            "currency": "EUR",
        }
        for i, tenant in enumerate(ids)
    )
    for tenant in ids[::10][:1000]:
        t.billing.credit(tenant, 5)
    draw = random.Random(7)
    columns = {
        "tenant": [tenant for tenant in ids for _ in range(events * len(METRICS))],
        "metric": [metric for _ in ids for metric in METRICS for _ in range(events)],
        "quantity": [draw.randrange(1, 200_000) for _ in range(tenants * events * len(METRICS))],
    }
    t.usage.record_many(columns)


def issue(data: Path, clock: Path, processes: int) -> None:
    """One process does it here; several are programs of their own."""
    parts = [(i + 1, processes) for i in range(processes)]
    if processes > 1:
        code = f"from bench_invoices import part; part({str(data)!r}, {str(clock)!r}, %r)"
        place = Path(__file__).parent
        running = [
            subprocess.Popen([sys.executable, "-c", code % (one,)], cwd=place) for one in parts
        ]
        assert [one.wait() for one in running] == [0] * processes
    else:
        part(str(data), str(clock), parts[0])


def part(data: str, clock: str, which: tuple[int, int]) -> None:
    with Tenancy.open(data, clock=FakeClock(path=clock)) as t:
        report = t.billing.issue_all("2026-01", part=which, progress=shown)
        assert report, report.refused


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    tenants = 1_000 if options.quick else options.tenants
    with tempfile.TemporaryDirectory() as directory:
        clock = FakeClock(JANUARY, path=Path(directory) / "clock")
        data = Path(directory) / "data"
        with Tenancy.open(data, Catalog.from_dict(CATALOG), clock=clock) as t:
            start = time.perf_counter()
            seed(t, tenants, options.events)
            seeded = time.perf_counter() - start
            clock.advance(timedelta(days=31 + 3).total_seconds())  # late events come no more
            start = time.perf_counter()
            issue(data, Path(directory) / "clock", options.processes)
            issued = time.perf_counter() - start
            assert t.billing.issue_all("2026-01").already == tenants
            start = time.perf_counter()
            checked = t.billing.verify(recompute=False)
            verified = time.perf_counter() - start
            assert checked, checked.problems
            size = (data / "tenancy.db").stat().st_size
    rows = [
        ("seeding", f"{seeded:.1f} s", f"{seeded / tenants * 1e6:.0f} µs"),
        (
            f"issue_all, {options.processes} processes",
            f"{issued:.1f} s",
            f"{issued / tenants * 1e6:.0f} µs",
        ),
        (
            "verify, without computing again",
            f"{verified:.1f} s",
            f"{verified / tenants * 1e6:.0f} µs",
        ),
        ("database", f"{size / 2**20:.0f} MiB", f"{size / tenants:.0f} bytes"),
    ]
    print(machine())
    title = f"{tenants} tenants, {options.events} events of each of {len(METRICS)} metrics"
    print_table(title, rows, ("what", "all", "each"))


def shown(done: int, total: int) -> None:
    print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
