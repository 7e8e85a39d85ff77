"""Many events at once: each row becomes recorded, a duplicate, or a rejection with its reason."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import InvalidValue, NotFound, QuotaExceeded, TenancyError
from ..stores.usage_log import DUPLICATE, RECORDED, Draft
from ._bulk import bulk
from ._columns import Columns
from ._events import Checks
from ._recording import Recorder, problem
from ._records import Rejected, UsageReport
from ._rows import Block, Row, Rows

__all__ = ["HEADING", "KEPT_MAX", "Batch", "Progress"]

CHUNK = 4096
KEPT_MAX = 10_000
"""Rejections that a report keeps in memory."""
HEADING = ("row", "column", "reason", "values")

Progress = Callable[[int, int | None], object]
"""Called with what is done and the total: bytes of a file, else rows; None: nobody knows."""


@dataclass
class _Pending:
    number: int
    values: Mapping[str, Any]
    draft: Draft


class Batch:
    """One import. One thread, once."""

    def __init__(
        self,
        recorder: Recorder,
        checks: Callable[[], Checks],
        columns: Columns,
        *,
        backfill: bool,
        ack: str,
        rejected: Path | None,
        progress: Progress | None,
        charge: Callable[[Draft], int] | None = None,
    ) -> None:
        self._recorder = recorder
        self._new_checks = checks
        self._columns = columns
        self._backfill = backfill
        self._ack = ack
        self._progress = progress
        self._charge = charge
        self._path = rejected
        self._file: IO[str] | None = None
        self._pending: list[_Pending] = []
        self._wrong: list[Rejected] = []
        self._kept: list[Rejected] = []
        self._rows = self._recorded = self._duplicates = self._events = self._rejected = 0
        self.backfilled: dict[str, int] = {}
        """Events by tenant, for the fact of a back-fill."""

    def run(self, rows: Rows) -> UsageReport:
        with ExitStack() as opened:
            for block in rows.blocks:
                if not self._take_columns(block):
                    self._take_rows(block, opened, rows)
                self._flush(opened)
                self._tell(rows)
            if not self._rows:
                self._tell(rows)
        return UsageReport(
            rows=self._rows,
            events=self._events,
            recorded=self._recorded,
            duplicates=self._duplicates,
            rejected=self._rejected,
            rejections=tuple(self._kept),
            rejected_path=None if self._file is None else str(self._path),
        )

    def _take_columns(self, block: Block) -> bool:
        """The block at once. False, and nothing was done: it is read row by row."""
        if self._charge is not None or block.table is None:
            return False
        checks = self._new_checks()
        events = bulk(block.table(), block.first, self._columns, checks)
        if events is None:
            return False
        statuses = self._recorder.commit_bulk(events, ack=self._ack, backfill=self._backfill)
        if statuses is None:
            return False
        recorded, duplicates = statuses.count(RECORDED), statuses.count(DUPLICATE)
        self._rows += events.events // events.per_row
        self._recorded += recorded
        self._duplicates += duplicates
        self._events += recorded + duplicates
        if self._backfill:
            for tenant, count in events.recorded_by_tenant(statuses).items():
                self.backfilled[tenant] = self.backfilled.get(tenant, 0) + count
        if recorded + duplicates < len(statuses):
            self._explain(block, statuses, events.per_row, checks)
        return True

    def _explain(self, block: Block, statuses: bytes, per_row: int, checks: Checks) -> None:
        """Rejects what the log refused, with the rows as they came."""
        for place, row in enumerate(block.rows()):
            own = statuses[place * per_row : (place + 1) * per_row]
            if own.count(RECORDED) + own.count(DUPLICATE) == per_row:
                continue
            drafts = self._columns.drafts(row.values, row.number, checks)
            for status, draft in zip(own, drafts, strict=True):
                if status not in (RECORDED, DUPLICATE):
                    error = problem(status, draft, self._recorder)
                    self._reject(row.number, _field(error), _reason(error), row.values)

    def _take_rows(self, block: Block, opened: ExitStack, rows: Rows) -> None:
        checks = self._new_checks()
        for row in block.rows():
            self._rows += 1
            self._take(row, checks)
            if len(self._pending) + len(self._wrong) >= CHUNK:
                self._flush(opened)
                self._tell(rows)
                checks = self._new_checks()  # time goes on, tenants come and go

    def _take(self, row: Row, checks: Checks) -> None:
        if row.problem:
            self._reject(row.number, "", row.problem, row.values)
            return
        try:
            drafts = self._columns.drafts(row.values, row.number, checks)
        except (InvalidValue, NotFound) as error:
            column = getattr(error, "field", _field(error))
            self._reject(row.number, column, _reason(error), row.values)
            return
        self._pending.extend(_Pending(row.number, row.values, each) for each in drafts)

    def _flush(self, opened: ExitStack) -> None:
        pending, self._pending = self._pending, []
        self._settle(pending)
        wrong, self._wrong = sorted(self._wrong, key=lambda each: each.row), []
        self._rejected += len({each.row for each in wrong})  # a row may be several events
        for each in wrong:
            self._write(each, opened)

    def _settle(self, pending: list[_Pending]) -> None:
        drafts = [each.draft for each in pending]
        if not drafts:
            return
        if self._charge is None:
            done = self._recorder.commit(drafts, ack=self._ack, backfill=self._backfill)
            outcomes: list[int | TenancyError] = list(done)
        else:
            outcomes = [self._charged(draft) for draft in drafts]
        for each, outcome in zip(pending, outcomes, strict=True):
            if outcome == RECORDED:
                self._recorded += 1
                tenant = each.draft.tenant
                self.backfilled[tenant] = self.backfilled.get(tenant, 0) + 1
            elif outcome == DUPLICATE:
                self._duplicates += 1
            else:
                error = outcome
                if not isinstance(error, TenancyError):
                    error = problem(error, each.draft, self._recorder)
                self._reject(each.number, _field(error), _reason(error), each.values)
                continue
            self._events += 1

    def _charged(self, draft: Draft) -> int | TenancyError:
        assert self._charge is not None
        try:
            return self._charge(draft)
        except (InvalidValue, QuotaExceeded) as error:
            return error

    def _reject(self, row: int, column: str, reason: str, values: Mapping[str, Any]) -> None:
        self._wrong.append(Rejected(row, column, reason, dict(values)))

    def _write(self, wrong: Rejected, opened: ExitStack) -> None:
        if self._path is not None:
            if self._file is None:
                self._file = opened.enter_context(_open(self._path))
                csv.writer(self._file).writerow(HEADING)
            cells = (wrong.row, wrong.column, _plain(wrong.reason), _plain(wrong.values))
            csv.writer(self._file).writerow(cells)
        if len(self._kept) < KEPT_MAX:
            self._kept.append(wrong)
        elif self._path is None:
            raise InvalidValue(
                "rejected",
                f"more than {KEPT_MAX} rows are rejected, the last is row {wrong.row}: "
                f"{wrong.reason}",
                remedy="name a file for them, rejected=…; what was recorded so far counts once"
                " when it comes again",
            )

    def _tell(self, rows: Rows) -> None:
        if self._progress is not None:
            self._progress(self._rows if rows.done is None else rows.done(), rows.total)


def _field(error: TenancyError) -> str:
    return {
        "UNKNOWN_TENANT": "tenant",
        "UNKNOWN_METRIC": "metric",
        "PERIOD_CLOSED": "time",
        "USAGE_CONFLICT": "id",
        "QUOTA_EXCEEDED": "quantity",
    }.get(error.code, "")


def _reason(error: TenancyError) -> str:
    """What is wrong and how to mend it, without the field, which has a column of its own."""
    message = error.message.removeprefix(f"{getattr(error, 'field', '')}: ")
    return f"{message}: {error.remedy}" if error.remedy else message


def _open(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidValue("rejected", f"{path}: {error.strerror}") from None


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()
