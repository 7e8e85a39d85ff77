"""Background work: jobs that run again and again in one elected process of the host.

Every process with an open directory is a candidate: a thread sleeps and tries for the seat
(`election`) once a second. Who has it runs the jobs; when it dies, however, the kernel frees the
seat and the next candidate that wakes goes on.

Invariants:
 1. A job runs in at most one process of the host at a time, and in one thread of it.
 2. What a job raises is logged, told by `health` and answered with a longer pause; the other jobs
    and the thread go on.
 3. When a job is due is read from the directory's clock; real time only says how long to sleep.
 4. The thread is stopped before a fork, unless a job takes longer than a second, and started again
    in the parent and in the child, which is a candidate of its own.
 5. The thread keeps nothing alive: a `Tenancy` that is forgotten takes its thread along.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .. import _core
from .._text import NS, to_datetime
from ..errors import InvalidValue, StoreClosed, TenancyError
from .election import Election
from .host import Host
from .records import Record

__all__ = ["Background", "BackgroundHealth", "Job", "JobHealth"]

Job = Callable[[], Sequence[str] | None]
"""Does its work and returns; what stands against it, if anything, as sentences. May raise."""

FILE = "background"
ELECTION_S = 1.0
"""How often the seat is tried for, and the longest sleep of who has it."""
PAUSE_MAX_S = 300.0
"""The longest pause of a job that keeps failing."""
_FORK_WAIT_S = 1.0
_CLOSE_WAIT_S = 10.0
_TEXT_MAX = 300

_log = logging.getLogger("tenancy")


@dataclass(frozen=True)
class JobHealth(Record):
    """One job, as far as this process knows it."""

    name: str
    every_s: float | None = None
    runs: int = 0
    failures: int = 0
    failing: int = 0
    """Times it failed since it last succeeded."""
    error: str | None = None
    problems: tuple[str, ...] = ()
    """What stands against single items of its work; they are tried again."""
    last_run: datetime | None = None

    @property
    def ok(self) -> bool:
        return not self.failing and not self.problems


@dataclass(frozen=True)
class BackgroundHealth(Record):
    """The host's background work, as this process sees it."""

    enabled: bool
    """This process is a candidate."""
    elected: bool
    """This process runs the jobs."""
    running: bool
    """Some process of the host does."""
    pid: int | None = None
    """Which one, in its own PID namespace."""
    since: datetime | None = None
    jobs: tuple[JobHealth, ...] = ()
    """All of them where this process is elected, else those that fail."""
    error: str | None = None
    """Why this process cannot be elected."""

    @property
    def ok(self) -> bool:
        return self.error is None and all(job.ok for job in self.jobs)


@dataclass
class _Entry:
    name: str
    function: Job
    every_ns: int
    first_ns: int = 0
    due_ns: int = 0
    runs: int = 0
    failures: int = 0
    failing: int = 0
    error: str | None = None
    problems: tuple[str, ...] = ()
    last_run_ns: int | None = None

    def health(self) -> JobHealth:
        return JobHealth(
            name=self.name,
            every_s=self.every_ns / NS,
            runs=self.runs,
            failures=self.failures,
            failing=self.failing,
            error=self.error,
            problems=self.problems,
            last_run=to_datetime(self.last_run_ns),
        )


@dataclass
class _Thread:
    """A thread and the event that ends it; each thread has its own."""

    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Background:
    """The jobs of one open directory in this process. Any thread; survives forks."""

    def __init__(self, host: Host, *, enabled: bool) -> None:
        self.enabled = enabled
        self._clock: _core.Clock = host.clock
        self._election = Election(host.directory.path / FILE)
        self._entries: dict[str, _Entry] = {}
        self._started = False
        self._closed = False
        self._current: _Thread | None = None
        self._since_ns: int | None = None
        self._note: dict[str, Any] = {}
        self._error: str | None = None
        self._turning = threading.RLock()
        _backgrounds.add(self)

    def add(self, name: str, job: Job, *, every_s: float, first_s: float = 0.0) -> None:
        """Run `job` every `every_s` seconds, for the first time `first_s` seconds after this
        process was elected.

        Jobs run one after the other: one that has much to do does a part and returns.
        """
        if every_s <= 0:
            raise InvalidValue("every_s", f"expected more than 0 seconds, got {every_s!r}")
        if name in self._entries:
            raise InvalidValue("name", f"there is a job {name!r} already")
        self._entries[name] = entry = _Entry(name, job, int(every_s * NS), int(first_s * NS))
        entry.due_ns = self._clock.mono_ns() + entry.first_ns if first_s else 0

    def start(self) -> None:
        """Become a candidate, unless background work is off here."""
        if self.enabled and not self._closed:
            self._started = True
            self._start_thread()

    def run_due(self) -> int:
        """Do what is due, here and now, and return how many jobs ran.

        For tests, which own the clock, and for programs with a timer of their own. 0 when another
        process is elected.
        """
        if self._closed:
            raise StoreClosed("this Tenancy was closed")
        return self._turn(threading.Event())[0]

    def health(self) -> BackgroundHealth:
        if self._election.held:
            own = tuple(entry.health() for entry in list(self._entries.values()))
            since = to_datetime(self._since_ns)
            return BackgroundHealth(self.enabled, True, True, os.getpid(), since, own)
        running, note = self._election.look()
        jobs = tuple(_from_note(job) for job in note.get("jobs", ()))
        return BackgroundHealth(
            enabled=self.enabled,
            elected=False,
            running=running,
            pid=note.get("pid"),
            since=to_datetime(note.get("since_ns")),
            jobs=jobs,
            error=self._error,
        )

    def close(self) -> None:
        """End the thread, after the job under way, and free the seat for others."""
        self._closed = True
        self._stop_thread(_CLOSE_WAIT_S)
        self._election.resign()

    # ------------------------------------------------------------------------------ one turn

    def _turn(self, stop: threading.Event) -> tuple[int, float]:
        """What is due now: how many jobs ran, and how many seconds to sleep."""
        with self._turning:
            if self._closed or not self._elected():
                return 0, ELECTION_S
            ran = 0
            for entry in list(self._entries.values()):
                if stop.is_set():
                    break
                if self._is_due(entry):
                    self._run(entry)
                    ran += 1
            self._tell()
            now = self._clock.mono_ns()
            next_s = min((e.due_ns - now for e in self._entries.values()), default=NS) / NS
            return ran, min(max(next_s, 0.0), ELECTION_S)

    def _elected(self) -> bool:
        if self._election.held:
            return True
        try:
            won = self._election.win()
        except OSError as error:
            if self._error is None:
                _log.exception("%s cannot be opened: no background work here", self._election.path)
            self._error = f"{self._election.path}: {error.strerror}"
            return False
        self._error = None
        if won:
            self._since_ns = self._clock.wall_ns()
            self._note = {}
            now_ns = self._clock.mono_ns()
            for entry in self._entries.values():
                entry.due_ns = now_ns + entry.first_ns if entry.first_ns else 0
            self._tell()
        return won

    def _is_due(self, entry: _Entry) -> bool:
        ahead_ns = entry.due_ns - self._clock.mono_ns()
        # Further away than any pause: the clock was set back.
        return ahead_ns <= 0 or ahead_ns > max(entry.every_ns, int(PAUSE_MAX_S * NS))

    def _run(self, entry: _Entry) -> None:
        entry.last_run_ns = self._clock.wall_ns()
        entry.runs += 1
        pause_ns = entry.every_ns
        try:
            entry.problems = tuple(text[:_TEXT_MAX] for text in entry.function() or ())
            entry.failing, entry.error = 0, None
        except BaseException as error:
            if not isinstance(error, Exception) and not self._in_own_thread():
                raise  # an interrupt of the program that called `run_due`
            if self._closed:
                return
            entry.failing += 1
            entry.failures += 1
            entry.error = f"{type(error).__name__}: {error}"[:_TEXT_MAX]
            longest_ns = max(entry.every_ns, int(PAUSE_MAX_S * NS))
            pause_ns = min(entry.every_ns << min(entry.failing, 40), longest_ns)
            _log.error(
                "background job %r failed, next try in %g s: %s", entry.name, pause_ns / NS, error,
                exc_info=not isinstance(error, TenancyError),  # those say where and the remedy
            )  # fmt: skip
        finally:
            entry.due_ns = self._clock.mono_ns() + pause_ns

    def _tell(self) -> None:
        """Tells the others who is elected and what fails; written only when that changes."""
        trouble = [
            {"name": e.name, "failing": e.failing, "error": e.error, "problems": list(e.problems)}
            for e in self._entries.values()
            if e.failing or e.problems
        ]
        note = {"pid": os.getpid(), "since_ns": self._since_ns, "jobs": trouble}
        if note != self._note:
            self._note = note
            self._election.write(note)

    # ------------------------------------------------------------------------------ the thread

    def _start_thread(self) -> None:
        if self._current is not None:
            return
        current = _Thread()
        current.thread = threading.Thread(
            target=_run_thread,
            args=(weakref.ref(self), current.stop),
            name="tenancy-background",
            daemon=True,
        )
        try:
            current.thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            self._error = str(error)
            _log.warning("no background work in this process: %s", error)
            return
        self._current = current

    def _stop_thread(self, wait_s: float) -> None:
        current, self._current = self._current, None
        if current is None or current.thread is None:
            return
        current.stop.set()
        if current.thread is not threading.current_thread():
            current.thread.join(wait_s)

    def _in_own_thread(self) -> bool:
        return threading.current_thread().name == "tenancy-background"

    def _before_fork(self) -> None:
        self._stop_thread(_FORK_WAIT_S)

    def _in_parent(self) -> None:
        if self._started and not self._closed:
            self._start_thread()

    def _in_child(self) -> None:
        self._turning = threading.RLock()
        self._current = None
        self._since_ns = None
        if self._started and not self._closed:
            self._start_thread()


def _run_thread(reference: weakref.ref[Background], stop: threading.Event) -> None:
    while not stop.is_set():
        background = reference()
        if background is None:
            return
        _, sleep_s = background._turn(stop)
        del background  # asleep, the thread holds nothing
        stop.wait(sleep_s)


def _from_note(job: Any) -> JobHealth:
    return JobHealth(
        name=str(job["name"]),
        failing=int(job["failing"]),
        error=job["error"],
        problems=tuple(job["problems"]),
    )


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


def _each(step: Callable[[Background], None]) -> Callable[[], None]:
    def hook() -> None:
        for background in list(_backgrounds):
            step(background)

    return hook


# `host` is imported above, so its hooks are registered before these. Hooks before a fork run in the
# reverse order: the threads stop while the store still answers them.
os.register_at_fork(
    before=_each(Background._before_fork),
    after_in_parent=_each(Background._in_parent),
    after_in_child=_each(Background._in_child),
)
