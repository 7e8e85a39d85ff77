"""One hit of a limiter from Python, with everything that response headers need.

Beside `limits`, `throttled-py` and `pyrate-limiter`, each with its in-memory store, in one run:
time of a hit, tail over 100,000 keys, memory per key of each algorithm in private memory and in a
shared file, and the price of sharing between processes (which the peers' in-memory stores cannot
do: each of their processes counts for itself).

    python benchmarks/bench_limiter.py [--keys 100000] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import gc
import multiprocessing
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import limits
import limits.storage
import limits.strategies
import pyrate_limiter
from throttled import Throttled, rate_limiter, store

from common import each_ns, median_ns, percentile, print_table, version
from tenancy.limits import Limiter

PER_MINUTE = 60_000_000
Hit = Callable[[str], object]

# Each maker gives a function that hits a key and reads remaining, reset and retry.


def ours(**options: object) -> Hit:
    hit = Limiter(f"{PER_MINUTE}/minute", **options).hit

    def header_ready(key: str) -> object:
        answer = hit(key)
        return answer.allowed, answer.remaining, answer.reset_after, answer.retry_after

    return header_ready


def with_limits(strategy: type[limits.strategies.RateLimiter]) -> Hit:
    limiter = strategy(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerMinute(PER_MINUTE)

    def header_ready(key: str) -> object:
        allowed = limiter.hit(item, key)
        reset, remaining = limiter.get_window_stats(item, key)
        return allowed, remaining, reset, 0 if allowed else reset - time.time()

    return header_ready


def with_throttled(algorithm: str) -> Hit:
    limiter = Throttled(
        using=algorithm,
        quota=rate_limiter.per_min(PER_MINUTE),
        store=store.MemoryStore(options={"MAX_SIZE": 1_000_000}),
    )

    def header_ready(key: str) -> object:
        result = limiter.limit(key)
        state = result.state
        return not result.limited, state.remaining, state.reset_after, state.retry_after

    return header_ready


def with_pyrate() -> Hit:
    rates = [pyrate_limiter.Rate(PER_MINUTE, pyrate_limiter.Duration.MINUTE)]
    limiters: dict[str, tuple[pyrate_limiter.Limiter, pyrate_limiter.StateBucket]] = {}

    def header_ready(key: str) -> object:
        found = limiters.get(key)
        if found is None:
            bucket = pyrate_limiter.StateBucket(rates, pyrate_limiter.GCRA())
            found = limiters[key] = (pyrate_limiter.Limiter(bucket), bucket)
        limiter, bucket = found
        allowed = limiter.try_acquire(key, blocking=False)
        return allowed, PER_MINUTE - bucket.count()

    return header_ready


OURS: dict[str, Callable[[], Hit]] = {
    "tenancy sliding window": ours,
    "tenancy token bucket": lambda: ours(burst=PER_MINUTE),
    "tenancy sliding counter": lambda: ours(algorithm="sliding_counter"),
    "tenancy fixed window": lambda: ours(algorithm="fixed_window"),
}
PEERS: dict[str, Callable[[], Hit]] = {
    "limits fixed window": lambda: with_limits(limits.strategies.FixedWindowRateLimiter),
    "limits sliding counter": lambda: with_limits(
        limits.strategies.SlidingWindowCounterRateLimiter
    ),
    "limits moving window": lambda: with_limits(limits.strategies.MovingWindowRateLimiter),
    "throttled-py gcra": lambda: with_throttled("gcra"),
    "throttled-py token bucket": lambda: with_throttled("token_bucket"),
    "throttled-py fixed window": lambda: with_throttled("fixed_window"),
    "throttled-py sliding window": lambda: with_throttled("sliding_window"),
    "pyrate-limiter gcra": with_pyrate,
}
VERSIONS = ", ".join(map(version, ("tenancy", "limits", "throttled-py", "pyrate-limiter")))


def hot_key(calls: int) -> None:
    times: dict[str, float] = {}
    for name, make in {**OURS, **PEERS}.items():
        hit = make()
        # A log grows with every hit: the moving window is measured on a short one.
        few = min(calls, 3_000) if name in PEERS else calls
        times[name] = median_ns(functools.partial(hit, "203.0.113.7"), calls=few)
    bare = Limiter(f"{PER_MINUTE}/minute").hit
    times["tenancy hit alone"] = median_ns(functools.partial(bare, "203.0.113.7"), calls=calls)
    times["an empty function"] = median_ns(lambda: None, calls=calls)
    best = min(times[name] for name in PEERS)
    rows = [
        (name, f"{ns:,.0f} ns", f"{best / ns:.1f} x")
        for name, ns in times.items()
        if name != "an empty function"
    ]
    rows.append(("(an empty function)", f"{times['an empty function']:,.0f} ns", ""))
    head = ("one hot key, header-ready", "median", "against the best peer")
    print_table(f"Hit with remaining, reset and retry. {VERSIONS}", rows, head)


def tail(keys: int, calls: int) -> None:
    names = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(keys)]
    found: dict[str, list[float]] = {}
    # pyrate-limiter starts a thread with every limiter, and needs one for each key.
    compared = ["limits fixed window", "limits sliding counter", "throttled-py gcra"]
    for name in [*OURS, *compared]:
        hit = {**OURS, **PEERS}[name]()
        for key in names:
            hit(key)
        random.seed(1)
        order = random.choices(names, k=calls if name in OURS else calls // 4)
        times = each_ns(lambda i, hit=hit, order=order: hit(order[i]), len(order))
        found[name] = [percentile(times, share) / 1000 for share in (0.5, 0.99, 0.9999)]
    best = min(found[name][0] for name in compared)
    rows = [
        (name, *(f"{us:,.2f} µs" for us in times), f"{best / times[0]:.1f} x")
        for name, times in found.items()
    ]
    head = ("", "p50", "p99", "p99.99", "p50 against the best peer")
    print_table(f"{keys:,} keys, each hit by itself. {VERSIONS}", rows, head)


def bytes_per_key(names: list[str], shared: str | None, options: dict[str, object]) -> float:
    # A limit this low keeps every key alive: what has drained is given back to others at once.
    limiter = Limiter("100/day", shared=shared, **options)
    before = limiter._bytes()
    for key in names:
        limiter.hit(key)
    return (limiter._bytes() - before) / len(names)


def memory(keys: int) -> None:
    names = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(keys)]
    rows = []
    algorithms: list[tuple[str, dict[str, object]]] = [
        ("tenancy sliding window", {}),
        ("tenancy token bucket", {"burst": 100}),
        ("tenancy sliding counter", {"algorithm": "sliding_counter"}),
        ("tenancy fixed window", {"algorithm": "fixed_window"}),
    ]
    for name, options in algorithms:
        private = bytes_per_key(names, None, options)
        with tempfile.TemporaryDirectory() as directory:
            shared = bytes_per_key(names, str(Path(directory) / "counters"), options)
        rows.append((name, f"{private:,.0f} bytes", f"{shared:,.0f} bytes"))
    for name in [name for name in PEERS if name != "pyrate-limiter gcra"]:
        gc.collect()
        hit = PEERS[name]()
        tracemalloc.start()
        for key in names:
            hit(key)
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        rows.append((name, f"{used / keys:,.0f} bytes", ""))
    head = ("", "per key", "in a shared file")
    title = f"Memory, {keys:,} keys (peers: without the key texts themselves). {VERSIONS}"
    print_table(title, rows, head)


def share(path: str, key: str, calls: int) -> float:
    hit = Limiter(f"{PER_MINUTE}/minute", shared=path).hit
    start = time.perf_counter_ns()
    for _ in range(calls):
        hit(key)
    return (time.perf_counter_ns() - start) / calls


def shared(calls: int) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "counters")
        private = Limiter(f"{PER_MINUTE}/minute").hit
        alone = median_ns(functools.partial(private, "a"), calls=calls)
        hit = Limiter(f"{PER_MINUTE}/minute", shared=path).hit
        rows.append(("private memory, one process", f"{alone:,.0f} ns"))
        one = median_ns(functools.partial(hit, "a"), calls=calls)
        rows.append(("shared file, one process", f"{one:,.0f} ns"))
        for title, names in (("own keys", ("a", "b")), ("one key", ("a", "a"))):
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                times = pool.starmap(share, [(path, name, calls * 10) for name in names])
            rows.append((f"shared file, two processes, {title}", f"{max(times):,.0f} ns"))
    print_table("Shared by processes: one hit", rows, ("", "mean"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    hot_key(100_000 // part)
    tail(options.keys // part, 400_000 // part)
    memory(options.keys // part)
    shared(100_000 // part)


if __name__ == "__main__":
    main()
