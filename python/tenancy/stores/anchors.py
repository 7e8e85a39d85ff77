"""Outside anchors: places off the host that keep the log's checkpoints.

Whoever owns the host can put its whole directory back to an older copy; a checkpoint that lies
elsewhere shows it. An anchor takes notes and gives them back; it cannot be written over from here:
a note that it has is no error, another one of the same number is (`Conflict`): then the log that
writes now is not the one that wrote before.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from .._text import check_text, duration_ns, shown
from ..errors import Conflict, InvalidValue, StoreError, StoreNotWritable, TenancyError

__all__ = [
    "Anchor",
    "AnchorNotes",
    "CommandAnchor",
    "FileAnchor",
    "anchor_of_words",
    "another",
    "check_new",
    "collected",
    "log_and_size",
    "split_notes",
]

TIMEOUT_S = 10.0
NOTES_BYTES_MAX = 64 << 20
_BEGIN = "tenancy-log/"
# Text, an empty line, signatures, one of them of our length: the others are witnesses'. (C2SP)
_NOTE = re.compile(
    r"^tenancy-log/[0-9a-f]{32}\n(?:(?!tenancy-log/)[^\n]+\n)+\n"
    r"(?:— [^\n]+\n)*?— tenancy-log/[0-9a-f]{32} [A-Za-z0-9+/]{91}=\n(?:— [^\n]+\n)*",
    re.MULTILINE,
)
_HEAD = re.compile(r"tenancy-log/([0-9a-f]{32})\n([1-9]\d{0,18})\n")
_TEXT_MAX = 300


@runtime_checkable
class Anchor(Protocol):
    """What keeps notes. Your own class may be one: `Tenancy.open(anchors=[…])` takes it."""

    @property
    def name(self) -> str:
        """What people know it by, without secrets; what was sent is remembered under it."""
        ...

    def publish(self, note: str) -> None:
        """Keep a note for good; return when it is kept. One that is there is no error. Raises a
        `StoreError` when it cannot be kept now, `Conflict` when there is another of its number."""
        ...

    def fetch(self) -> list[str]:
        """All notes that were kept, in any order. Raises a `StoreError`."""
        ...


# ------------------------------------------------------------------------------------- notes


def split_notes(text: str) -> list[str]:
    """Notes that stand one after the other. One that was not written to its end is left out; what
    is neither is given too, and no verification takes it for a note."""
    notes, behind = [], 0
    for match in _NOTE.finditer(text):
        notes += [*_strange(text[behind : match.start()]), match[0]]
        behind = match.end()
    return notes + _strange(text[behind:])


def _strange(between: str) -> list[str]:
    """What stands between notes, unless it is the beginning of one, or a crash left it."""
    rest = between.strip("\0 \r\n\t")
    torn = rest.startswith(_BEGIN) or _BEGIN.startswith(rest)
    return [] if torn else [rest]


def _trimmed(note: str) -> str:
    return note.rstrip("\n") + "\n"


def log_and_size(note: str) -> tuple[str, int]:
    """The log's id, and how many checkpoints it had with this one. Raises `InvalidValue`."""
    match = _HEAD.match(note) if isinstance(note, str) else None
    if match is None:
        raise InvalidValue("note", f"{shown(note, 60)} is no checkpoint of a log")
    return match[1], int(match[2])


def check_new(note: str, kept: Iterable[str], name: str) -> bool:
    """Whether a note is to be added to these; False: it is there. Raises `Conflict`."""
    own = log_and_size(note)
    for other in kept:
        if other == note:
            return False
        match = _HEAD.match(other)
        if match is not None and (match[1], int(match[2])) == own:
            raise another(name, own)
    return True


def another(name: str, own: tuple[str, int]) -> Conflict:
    return Conflict(
        f"{name}: holds another checkpoint {own[1]} of log {own[0]}",
        remedy="the log was put back to an older copy, or the anchor was edited: "
        "`tenancy audit verify --anchor …` says which",
    )


class AnchorNotes(NamedTuple):
    """What anchors say about one log."""

    notes: list[str]
    findings: list[dict[str, Any]]


def collected(anchors: Sequence[Anchor | str], log: str | None) -> AnchorNotes:
    """Notes as they are, and those of anchors; a finding for each anchor that gave none.

    Other logs' notes in an anchor are passed over: several hosts may share one.
    """
    notes: list[str] = []
    findings = []
    for anchor in anchors:
        if isinstance(anchor, str):
            notes.append(anchor)
            continue
        try:
            kept = anchor.fetch()
        except TenancyError as error:
            findings.append(_finding(3, "anchor_unreadable", f"{anchor.name}: {error.message}"))
            continue
        own = [note for note in kept if not _of_another(note, log)]
        notes += own
        if not kept:
            text = f"{anchor.name}: holds no checkpoint"
            findings.append(_finding(4, "anchor_empty", text))
        elif not own:
            text = f"{anchor.name}: holds checkpoints, none of them of this log"
            findings.append(_finding(3, "anchor_foreign", text))
    return AnchorNotes(notes, findings)


def _of_another(note: str, log: str | None) -> bool:
    match = _HEAD.match(note)
    return log is not None and match is not None and match[1] != log


def _finding(status: int, code: str, text: str) -> dict[str, Any]:
    place = dict.fromkeys(("class", "sequence", "segment", "offset"))
    return {"status": status, "code": code, **place, "text": text}


# -------------------------------------------------------------------------------------- file


class FileAnchor:
    """A file to which notes are appended: on another host's disk, a removable one, or one that
    can be written once. Its directory must be there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise InvalidValue("path", f"{shown(text)} names no file")
        self.path = Path(text).absolute()

    @property
    def name(self) -> str:
        return f"file:{self.path}"

    def __repr__(self) -> str:
        return f"FileAnchor({str(self.path)!r})"

    def publish(self, note: str) -> None:
        note = _trimmed(note)
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            with os.fdopen(os.open(self.path, flags, 0o600), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                kept = file.read()
                text = kept.decode("utf-8", "replace")
                if check_new(note, split_notes(text), self.name):
                    # Behind a note that was not written to its end, a new line begins.
                    torn = b"" if not kept or kept.endswith(b"\n") else b"\n"
                    self._append(file, torn + note.encode(), len(kept))
        except OSError as error:
            raise StoreNotWritable(
                f"{self.name}: cannot be written ({error.strerror})",
                remedy="mount the disk, free some space, or let this user write to the file",
            ) from None

    @staticmethod
    def _append(file: Any, data: bytes, size: int) -> None:
        try:
            if file.write(data) != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise

    def fetch(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                data = file.read(NOTES_BYTES_MAX + 1)
        except OSError as error:
            raise StoreError(f"{self.name}: cannot be read ({error.strerror})") from None
        if len(data) > NOTES_BYTES_MAX:
            raise StoreError(f"{self.name}: more than {NOTES_BYTES_MAX} bytes")
        return split_notes(data.decode("utf-8", "replace"))


# ----------------------------------------------------------------------------------- command


class CommandAnchor:
    """A program of yours: `argv … publish` gets a note on its standard input and ends with 0 when
    it is kept; `argv … fetch` prints all notes, one after the other."""

    def __init__(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> None:
        if isinstance(argv, str) or not argv or not all(isinstance(a, str) and a for a in argv):
            raise InvalidValue("argv", "expected a program and its arguments, as a list of texts")
        duration_ns(timeout_s, "timeout_s")
        self._argv = list(argv)
        self.timeout_s = timeout_s
        digest = hashlib.sha256("\0".join(self._argv).encode("utf-8", "replace")).hexdigest()
        self._name = f"command:{Path(self._argv[0]).name} ({digest[:8]})"

    @property
    def name(self) -> str:
        """The program, without its arguments, which may be secret, and a digest of all."""
        return self._name

    def __repr__(self) -> str:
        return f"<CommandAnchor {self._name}>"

    def publish(self, note: str) -> None:
        log_and_size(note)
        self._run("publish", _trimmed(note))

    def fetch(self) -> list[str]:
        return split_notes(self._run("fetch", ""))

    def _run(self, what: str, given: str) -> str:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program
                [*self._argv, what],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise StoreError(f"{self.name}: cannot be run ({reason})") from None
        with process:
            try:
                out, told = process.communicate(given.encode(), self.timeout_s)
            except subprocess.TimeoutExpired:
                raise StoreError(f"{self.name}: {what} took over {self.timeout_s:g} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            text = " ".join(told.decode("utf-8", "replace").split())
            for secret in filter(lambda word: len(word) > 5, self._argv[1:]):
                text = text.replace(secret, "…")
            code = process.returncode
            raise StoreError(f"{self.name}: {what} ended with {code} ({text[:_TEXT_MAX]})")
        return out.decode("utf-8", "replace")


def anchor_of_words(url: str) -> Anchor | None:
    """The anchor of a `file:` or `command:` URL; None for another one."""
    check_text(url, "anchor", 4096)
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise InvalidValue("anchor", f"{shown(url)}: a file of another host", remedy="file:/…")
        return FileAnchor(unquote(parts.path))
    if scheme == "command":
        try:
            words = shlex.split(rest)
        except ValueError as error:
            raise InvalidValue("anchor", f"command: not a command line ({error})") from None
        return CommandAnchor(words)
    return None
