"""What the benchmarks share: machine and versions, timing, and the table they print."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def machine() -> str:
    """Processor, cores, Python: one line."""
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, CPython {platform.python_version()}"


def version(package: str) -> str:
    """``name 1.2.3``, or that it is not installed."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (not installed)"


def median_ns(call: Callable[[], object], *, calls: int = 20_000, rounds: int = 7) -> float:
    """The median over rounds of the mean nanoseconds of one call, without the collector."""
    for _ in range(min(calls, 1000)):
        call()
    means = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            start = time.perf_counter_ns()
            for _ in range(calls):
                call()
            means.append((time.perf_counter_ns() - start) / calls)
    finally:
        gc.enable()
    return statistics.median(means)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def each_ns(
    call: Callable[[Any], object], count: int, prepare: Callable[[int], Any] = int
) -> list[int]:
    """The time of each call by itself, sorted; includes about 40 ns of the clock.

    What `prepare` makes of the number of the call, outside the time, is the call's argument.
    """
    times = []
    gc.collect()
    gc.disable()
    try:
        for i in range(count):
            argument = prepare(i)
            start = time.perf_counter_ns()
            call(argument)
            times.append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    times.sort()
    return times


def print_table(title: str, rows: Sequence[Sequence[str]], head: Sequence[str]) -> None:
    """A plain table on standard output."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}\n{machine()}")
    for row in [head, ["-" * w for w in widths], *rows]:
        print("  ".join(str(cell).ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()
