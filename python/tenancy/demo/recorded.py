"""Usage that was recorded, not made up: thirteen series of real services, for trying forecasts.

What is in ``data/usage.csv.gz`` was summed to hours (the language models: to 20 seconds) from

- the Numenta Anomaly Benchmark (https://github.com/numenta/NAB, MIT licence): mentions of six
  companies on Twitter in 2015, which behave like the API calls of six tenants; taxi rides in New
  York in 2014; requests at a load balancer and bytes into a machine in 2014;
- the Azure Public Dataset (https://github.com/Azure/AzurePublicDataset, CC BY 4.0): context and
  generated tokens of two language model services in one hour of 2023.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from importlib import resources

from ..frames import Frame

__all__ = ["SEASONS", "SOURCES", "recorded_usage", "scaled_usage"]

SEASONS = {"mentions": 21, "rides": 7, "requests": 12, "bytes_in": 12}
"""The season of `scaled_usage` by metric, in steps: a week; a day of requests and bytes."""

SOURCES = {
    **dict.fromkeys(("aapl", "amzn", "crm", "fb", "goog", "pfe"), "Twitter"),
    **dict.fromkeys(("llm-code", "llm-conv"), "language models"),
    "nyc-taxi": "taxi",
    "elb-8c0756": "load balancer",
    "ec2-257a54": "machine",
}
"""Who recorded each tenant: series of one source may have things in common."""

_STEP_SECONDS = {"mentions": 28_800, "rides": 86_400, "requests": 7_200, "bytes_in": 7_200}
_TOKENS_SECONDS = 20
_SCALED_DAYS = 162
_SCALED_END = datetime(2026, 1, 1, tzinfo=timezone.utc)


def _rows() -> list[tuple[str, str, datetime, int]]:
    packed = resources.files(__package__).joinpath("data/usage.csv.gz").read_bytes()
    reader = csv.reader(gzip.decompress(packed).decode().splitlines()[1:])
    return [
        (tenant, metric, datetime.fromisoformat(time.replace("Z", "+00:00")), int(quantity))
        for tenant, metric, time, quantity in reader
    ]


def recorded_usage() -> Frame:
    """The series with the columns tenant, metric, time and quantity; the first and the last step of
    each are not whole."""
    tenant, metric, time, quantity = zip(*_rows(), strict=True)
    return Frame({"tenant": tenant, "metric": metric, "time": time, "quantity": quantity})


def scaled_usage() -> Frame:
    """The same on one scale: each series has 162 steps of its own length, named as days.

    A step is a day of taxi rides, eight hours of mentions, two hours of requests and of bytes, 20
    seconds of tokens. So one call forecasts all of them 30 steps ahead from 90 steps before, and
    calibrates over all of them.
    """
    sums: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for tenant, metric, time, quantity in _rows():
        seconds = _STEP_SECONDS.get(metric, _TOKENS_SECONDS)
        sums[tenant, metric][int(time.timestamp()) // seconds] += quantity
    columns: dict[str, list[object]] = {
        name: [] for name in ("tenant", "metric", "time", "quantity")
    }
    for (tenant, metric), steps in sums.items():
        last = max(steps) - 1  # the last one is not whole
        for day in range(_SCALED_DAYS):
            columns["tenant"].append(tenant)
            columns["metric"].append(metric)
            columns["time"].append(_SCALED_END - timedelta(days=_SCALED_DAYS - day))
            columns["quantity"].append(steps.get(last - _SCALED_DAYS + 1 + day, 0))
    return Frame(columns)
