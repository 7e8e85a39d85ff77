"""What goes wrong with the log and cannot be read in it, as facts for alert rules.

Each is told when it begins; the quiet time of a rule keeps it from being told again by the next
process that is elected.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from .host import Host

__all__ = ["Condition", "Conditions"]

Condition = tuple[Mapping[str, str], str]
"""Texts by field, and an id."""


class Conditions:
    """Belongs to the alert job, and so to one thread."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._standing: dict[str, str] = {}
        self._told: set[str] = set()

    def look(self) -> Sequence[Condition]:
        """What has begun and was not told yet."""
        found = self._found()
        self._standing = {name: self._standing.get(name) or str(uuid.uuid4()) for name in found}
        self._told &= found.keys()
        return [
            (texts, self._standing[name]) for name, texts in found.items() if name not in self._told
        ]

    def told(self, conditions: Sequence[Condition]) -> None:
        ids = {event_id for _, event_id in conditions}
        self._told |= {name for name, event_id in self._standing.items() if event_id in ids}

    def _found(self) -> dict[str, Mapping[str, str]]:
        found: dict[str, Mapping[str, str]] = {}
        health = self._host.facts.log.core.health()
        if health.get("failing"):
            found["failing"] = _texts("log_failing", str(health.get("reason") or "unknown"))
        lost = int(self._host.engine.stats().get("facts", {}).get("lost", 0))
        if lost:
            found[f"lost {lost}"] = _texts("log_facts_lost", "no room in the log")
        return found


def _texts(kind: str, reason: str) -> Mapping[str, str]:
    action = "log:" + kind.removeprefix("log_")
    return {
        "type": kind,
        "action": action,
        "result": "failure",
        "reason": reason,
        "resource": "log",
    }
