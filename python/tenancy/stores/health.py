"""What an operator should look at. `Tenancy.health`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .background import BackgroundHealth
from .records import Record

__all__ = ["FactCounts", "Health"]


@dataclass(frozen=True)
class FactCounts(Record):
    """What became of the facts of this process's decisions since it opened the directory."""

    recorded: int
    """In the log."""
    suppressed: int
    """Held back by the audit policy's samples and bounds."""
    lost: int
    """The log had no room for them in time."""


@dataclass(frozen=True)
class Health(Record):
    """True when there is nothing to do. `problems` are sentences for operators, not customers."""

    ok: bool
    problems: tuple[str, ...]
    background: BackgroundHealth
    facts: FactCounts

    def __bool__(self) -> bool:
        return self.ok

    @classmethod
    def of(
        cls, background: BackgroundHealth, facts: FactCounts, others: Sequence[str] = ()
    ) -> Health:
        problems = [] if background.error is None else [background.error]
        for job in background.jobs:
            if job.failing:
                times = f"failed {job.failing} times in a row"
                problems.append(f"background job {job.name} {times}: {job.error}")
            problems += [f"background job {job.name}: {text}" for text in job.problems]
        if facts.lost:
            problems.append(
                f"log: {facts.lost} facts of decisions found no room and are not recorded"
            )
        problems += others
        return cls(not problems, tuple(problems), background, facts)
