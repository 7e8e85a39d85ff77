"""Five minutes of real traffic to two language models, and the calls the demonstration makes of it.

The trace is a slice of the Azure Public Dataset, https://github.com/Azure/AzurePublicDataset,
CC BY 4.0; see data/README.md. Times and tokens are the trace's. Who calls, and what goes wrong now
and then, is decided here by counting, so that every run sends the same calls.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

__all__ = ["DURATION_S", "Call", "Kind", "Row", "calls", "hour_file", "load"]

DURATION_S = 300.0

Kind = Literal["completion", "agent", "skill", "wrong key", "other tenant", "viewer", "top-up"]

_ROUND_TO = 64  # callers ask for max_tokens in round numbers


@dataclass(frozen=True)
class Row:
    """One request of the trace. `service` is `conv` or `code`."""

    offset_s: float
    service: str
    context_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Call:
    """One request of the demonstration: when, in whose name, what kind, how many tokens."""

    offset_s: float
    tenant: str
    kind: Kind
    context_tokens: int
    generated_tokens: int

    @property
    def max_tokens(self) -> int:
        """What the caller lets the model answer at most."""
        return -(-self.generated_tokens // _ROUND_TO) * _ROUND_TO

    @property
    def tokens(self) -> int:
        """What the call really uses."""
        return self.context_tokens + self.generated_tokens


def load() -> Iterator[Row]:
    """The slice that ships with the package, in order of time."""
    source = files(__package__) / "data" / "azure_llm_2023.csv"
    with source.open("r", encoding="utf-8") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        for row in csv.DictReader(lines):
            yield Row(
                int(row["offset_ms"]) / 1000,
                row["service"],
                int(row["context_tokens"]),
                int(row["generated_tokens"]),
            )


def hour_file() -> Path:
    """The whole hour of both services, as a file that `tenancy usage import` reads.

    Columns: `time`, `service` (`conv` or `code`), `context_tokens`, `generated_tokens`; 28,185 rows
    from 2023-11-16T18:15:46Z to 19:14:20Z.
    """
    return Path(str(files(__package__) / "data" / "llm_hour_2023.csv.gz"))


def calls(free: str, starter: str, professional: str) -> Iterator[Call]:
    """The trace as calls of three tenants, named by their slugs.

    The coding service's requests are the starter tenant's; of the chat requests one in six is the
    free tenant's and the others are the professional one's.
    """
    chats = 0
    sent: Counter[str] = Counter()
    for row in load():
        if row.service == "code":
            tenant = starter
        else:
            tenant = professional if chats % 6 else free
            chats += 1
        kind = _kind(sent[tenant])
        sent[tenant] += 1
        yield Call(row.offset_s, tenant, kind, row.context_tokens, row.generated_tokens)


def _kind(number: int) -> Kind:
    """What a tenant's `number`-th request is: agents come six in a row, mistakes one at a time."""
    if number // 6 % 8 == 5:
        return "agent"
    if number % 41 == 7:
        return "wrong key"
    if number % 53 == 11:
        return "other tenant"
    if number % 47 == 13:
        return "viewer"
    if number % 43 == 17:
        return "skill"
    return "completion"
