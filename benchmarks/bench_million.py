"""A million tenants with a key each: memory of a worker, time to open, decisions under Zipf(1.0).

Each number comes from a fresh process that opens the directory, as a worker does; decisions are
compared with those over a thousand tenants of the same directory's making.

    python benchmarks/bench_million.py [--tenants 1000000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from bench_decision import CATALOG, zipf_order
from common import each_ns, percentile, print_table
from tenancy import Catalog, Tenancy

BATCH = 50_000
CALLS = 200_000
# A memory of its own for each mapping would hide what a worker costs: only private pages count.
_PRIVATE = ("Private_Clean:", "Private_Dirty:")


def build(directory: str, tenants: int) -> list[str]:
    """The directory with its tenants; returns their secrets."""
    secrets: list[str] = []
    with Tenancy.open(directory, catalog=Catalog.from_dict(CATALOG)) as t:
        names = iter(range(tenants))
        while batch := list(islice(names, BATCH)):
            ids = t.tenants.create_many(
                {"name": f"Tenant {i}", "slug": f"t{i}", "plan": "pro"} for i in batch
            )
            made = t.keys.create_many({"tenant": i, "scopes": ["agent:create"]} for i in ids)
            secrets.extend(secret for _, secret in made)
    return secrets


def private_bytes() -> int:
    total = 0
    with Path("/proc/self/smaps_rollup").open(encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith(_PRIVATE):
                total += int(line.split()[1]) * 1024
    return total


def worker(directory: str, secrets_path: str) -> None:
    """Open, decide, say what it cost: one line of JSON."""
    secrets = json.loads(Path(secrets_path).read_text(encoding="utf-8"))
    before = private_bytes()
    start = time.perf_counter()
    t = Tenancy.open(directory)
    opened_s = time.perf_counter() - start
    memory = private_bytes() - before
    order = zipf_order(len(secrets), CALLS)

    # A request brings its key along: what is looked up is in the cache, the list of all keys not.
    def bring(n: int) -> str:
        return secrets[order[n]].encode().decode()

    def decide(secret: str) -> None:
        t.check(api_key=secret, permission="agent:create", consume={"tokens": 1})

    for n in range(CALLS):
        decide(bring(n))
    times = each_ns(decide, CALLS, bring)
    print(
        json.dumps(
            {
                "open_s": opened_s,
                "bytes": memory,
                "p50": percentile(times, 0.5),
                "p99": percentile(times, 0.99),
                "mean": sum(times) / len(times),
            }
        )
    )


def measure(tenants: int) -> list[str]:
    with tempfile.TemporaryDirectory() as directory:
        data = f"{directory}/data"
        start = time.perf_counter()
        secrets = build(data, tenants)
        built_s = time.perf_counter() - start
        path = Path(directory) / "secrets.json"
        path.write_text(json.dumps(secrets), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, __file__, "--worker", data, str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    told = json.loads(done.stdout)
    return [
        f"{tenants:,}",
        f"{built_s:.1f}",
        f"{told['open_s']:.2f}",
        f"{told['bytes'] / tenants:,.0f}",
        f"{told['p50']:,}",
        f"{told['mean']:,.0f}",
        f"{told['p99']:,}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000_000)
    parser.add_argument("--worker", nargs=2, metavar=("DATA", "SECRETS"))
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    print_table(
        "Tenants of one worker; decision: key, tenant, six windows, permission, quota; Zipf(1.0)",
        [measure(1000), measure(options.tenants)],
        ["tenants", "make s", "open s", "bytes each", "p50 ns", "mean ns", "p99 ns"],
    )


if __name__ == "__main__":
    main()
