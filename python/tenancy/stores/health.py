"""What an operator should look at. `Tenancy.health`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .background import BackgroundHealth
from .records import Record

__all__ = ["Health"]


@dataclass(frozen=True)
class Health(Record):
    """True when there is nothing to do. `problems` are sentences for operators, not customers."""

    ok: bool
    problems: tuple[str, ...]
    background: BackgroundHealth

    def __bool__(self) -> bool:
        return self.ok

    @classmethod
    def of(cls, background: BackgroundHealth, others: Sequence[str] = ()) -> Health:
        problems = [] if background.error is None else [background.error]
        for job in background.jobs:
            if job.failing:
                times = f"failed {job.failing} times in a row"
                problems.append(f"background job {job.name} {times}: {job.error}")
            problems += [f"background job {job.name}: {text}" for text in job.problems]
        problems += others
        return cls(not problems, tuple(problems), background)
