"""Verification of a log directory and of the projection beside it, without opening either."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _core
from ..errors import StoreBusy, TenancyError
from .anchors import Anchor, collected
from .projection import Projection
from .projection_compare import compare
from .records import Record

__all__ = ["AuditReport", "verify_log"]

_TRIES = 3
WHOLE, TAMPERED, UNVERIFIABLE, RESERVED = 0, 1, 3, 4


@dataclass(frozen=True)
class AuditReport(Record):
    """What verification found (cpp/LOG_FORMAT.md, 11). True when nothing was tampered with."""

    status: int
    """0 whole; 1 tampered; 3 cannot be verified, or an anchor cannot be read; 4 whole, with
    reservations: no anchor was given, or a torn tail was repaired."""
    log: str | None
    records: int
    chains: Mapping[str, Any]
    findings: Sequence[Mapping[str, Any]]
    """Each with `status`, `code`, `class`, `sequence`, `segment`, `offset` and `text`."""
    checkpoints: int = 0
    anchors: int = 0
    projection: str = "absent"
    """`absent`, `same` as the log, `different`, or `unchecked` since the log is not whole."""

    def __bool__(self) -> bool:
        return self.status in (WHOLE, RESERVED)

    @property
    def first(self) -> Mapping[str, Any] | None:
        """The first finding that makes up the status; None when the log is whole."""
        if self.status == WHOLE:
            return None
        return next((f for f in self.findings if f["status"] == self.status), None)


def verify_log(
    directory: Path,
    key: Path,
    anchors: Sequence[Anchor | str] = (),
    *,
    now_ns: int = 0,
    host_key: Path | None = None,
    projection: Path | None = None,
    keys: Path | None = None,
) -> AuditReport:
    """Verify `directory` (a `log/`) with a key like `keys/log.verify`.

    `anchors` are checkpoints kept elsewhere, or the anchors that keep them; with `now_ns` a silence
    up to then is judged; `projection` is the `audit.sqlite` that is compared with the log; `keys`
    the directory of the subjects' keys, with which erasures are judged.
    """
    kept = collected(anchors, _log_id(directory))
    text = _core.log_verify(
        str(directory),
        str(key),
        kept.notes,
        now_ns,
        "" if host_key is None else str(host_key),
        "" if keys is None else str(keys / "subjects"),
    )
    found = json.loads(text)
    findings = [*kept.findings, *found["findings"]]
    status = _worst(found["status"], *(finding["status"] for finding in kept.findings))
    beside = "absent"
    if projection is not None and projection.exists():
        beside = "unchecked"
        if found["status"] in (WHOLE, RESERVED):
            differences = _differences(directory, projection, keys)
            beside = "different" if differences else "same"
            findings = [*differences, *findings]
            status = _worst(status, *(finding["status"] for finding in differences))
            if status == UNVERIFIABLE:
                beside = "unchecked"
    return AuditReport(
        status=status,
        log=found["log"],
        records=int(found["records"]),
        chains=found["chains"],
        findings=findings,
        checkpoints=int(found["checkpoints"]),
        anchors=int(found["anchors"]),
        projection=beside,
    )


def _log_id(directory: Path) -> str | None:
    """As the manifest has it (cpp/LOG_FORMAT.md, 4); whether it is genuine, verification says."""
    try:
        with (directory / "manifest").open("rb") as file:
            return file.read(40)[24:].hex() or None
    except OSError:
        return None


def _worst(*statuses: int) -> int:
    return next(s for s in (TAMPERED, UNVERIFIABLE, RESERVED, WHOLE) if s in statuses)


def _differences(directory: Path, path: Path, keys: Path | None) -> list[dict[str, Any]]:
    def finding(
        chain: str | None, sequence: int | None, text: str, *, busy: bool = False
    ) -> dict[str, Any]:
        remedy = "`tenancy audit rebuild` makes the projection anew from the log"
        return {
            "status": UNVERIFIABLE if busy else TAMPERED,
            "code": "busy" if busy else "projection_content",
            "class": chain,
            "sequence": sequence,
            "segment": path.name,
            "offset": None,
            "text": f"{text}; {'verify again' if busy else remedy}",
        }

    # What differs beside a log that is written to may be an erasure or a prune that came between
    # two looks: the same does not differ again.
    always: list[dict[str, Any]] | None = None
    for _ in range(_TRIES):
        try:
            if not Projection(path).ready():
                return []  # it is just being made
            reader = _core.LogReader(str(directory), "" if keys is None else str(keys))
            found = [
                finding(one.chain, one.sequence, f"an event that is {one.what}")
                for one in compare(path, reader, _core.log_kept_from(str(directory)), keys)
            ]
        except StoreBusy as error:
            found = [finding(None, None, str(error.message), busy=True)]
        except TenancyError as error:
            found = [finding(None, None, str(error.message))]
        except _core.CoreError as error:
            found = [finding(None, None, str(error.args[-1]))]
        if not found:
            return []
        always = found if always is None else [one for one in found if one in always]
    return always or [finding(None, None, "the log changes while it is read", busy=True)]
