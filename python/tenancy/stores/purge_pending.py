"""What a run of retention is about to delete, written down before it does.

The certificate and its fact come after the deletion. A run that is killed in between has left this
file, from which the next one makes up for both: of what was announced it lists what is gone. The
fact has the id of the run, so that it is told once, whoever is killed when.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import _core
from ..errors import StoreDamaged
from .purge_certificate import PurgeCertificate, Purged, RetainedChain
from .whole_file import write_whole

__all__ = ["Pending"]

_FILE = "pending.json"
_FORMAT = 1


class Pending:
    """The announcement of one run. Belongs to who has the seat of retention."""

    def __init__(self, directory: Path, told: dict[str, Any]) -> None:
        self._directory = directory
        self._told = told

    @classmethod
    def begin(cls, directory: Path, made: PurgeCertificate, by: str | None, now_ns: int) -> Pending:
        """Of a run that has not deleted anything; nothing is written yet."""
        return cls(
            directory,
            {
                "format": _FORMAT,
                "run": _core.uuid7(now_ns),
                "by": by,
                "log": made.log,
                "time": made.time.isoformat(),
                "archive": made.archive,
                "certificate": None,
                "chains": {},
            },
        )

    @classmethod
    def left(cls, directory: Path) -> Pending | None:
        """What a run that was killed has left."""
        path = directory / _FILE
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            told = json.loads(text)
            if told["format"] != _FORMAT:
                raise ValueError(told["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(
                f"{path}: not what a run of retention wrote ({error})",
                remedy="move it away; the log's own `pruned` records tell what was deleted",
            ) from error
        return cls(directory, told)

    @property
    def run(self) -> str:
        """Id of the run, and of its fact."""
        return str(self._told["run"])

    @property
    def by(self) -> str | None:
        by: str | None = self._told["by"]
        return by

    def announce(self, chain: str, own: RetainedChain, going: Sequence[Purged]) -> None:
        """These are deleted next; durable when it returns. `own` is what became of the class so
        far."""
        told = replace(own, purged=(*own.purged, *going), kept=()).as_dict()
        self._told["chains"][chain] = told
        self._write()

    def certify(self, name: str) -> None:
        """A certificate of that name is written next."""
        self._told["certificate"] = name
        self._write()

    def forget(self) -> None:
        """The fact is there."""
        (self._directory / _FILE).unlink(missing_ok=True)

    def take_back(self) -> None:
        """Remove a certificate of which no fact tells."""
        name = self._told["certificate"]
        if name is not None:
            (self._directory / Path(name).name).unlink(missing_ok=True)

    def made_up(self, gone: Mapping[str, Mapping[int, tuple[int, str]]]) -> PurgeCertificate:
        """The certificate of what was deleted; `gone` are sizes and hashes of the stubs that are
        there, by class and first sequence."""
        chains = {}
        for chain, told in self._told["chains"].items():
            purged = [
                _purged(one, *gone[chain][one["first"]])
                for one in told["purged"]
                if one["first"] in gone[chain]
            ]
            chains[chain] = RetainedChain(
                days=told["days"],
                expired_before=_time(told["expired_before"]),
                kept_from=purged[-1].last + 1 if purged else told["kept_from"],
                purged=tuple(purged),
                kept=(),
                log_records=tuple(told["log_records"]),
            )
        return PurgeCertificate(
            log=self._told["log"],
            time=_time(self._told["time"]),
            dry_run=False,
            archive=self._told["archive"],
            chains=chains,
            made_up=True,
        )

    def _write(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._directory / _FILE, [json.dumps(self._told).encode()])


def _purged(told: Mapping[str, Any], size: int, stub: str) -> Purged:
    times = {name: _time(told[name]) for name in ("since", "until")}
    return Purged(**{**told, **times, "bytes": size, "stub_sha256": stub})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
