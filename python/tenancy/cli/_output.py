"""The standard output of the program: readers that go away, full disks, terminals without Unicode.

Statuses of its own, so that `audit verify | head` is not mistaken for a log that was tampered with.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, NoReturn, TextIO, cast

__all__ = ["NOT_WRITTEN", "READER_GONE", "Output", "prepare"]

READER_GONE = 141
"""What a shell says of a program that SIGPIPE ended."""
NOT_WRITTEN = 74
"""EX_IOERR of sysexits.h."""

_ESCAPED = "tenancy-escaped"


def prepare() -> None:
    """Make the standard streams safe to write to. For the program, not for callers of its parts."""
    codecs.register_error(_ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ESCAPED)
    if sys.stdout is not None:
        sys.stdout = cast(TextIO, Output(sys.stdout))  # all of it that is used


def _escape(error: UnicodeError) -> tuple[str, int]:
    """What the terminal's encoding lacks, as JSON writes it: JSON stays JSON."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return json.dumps(lost)[1:-1], error.end


class Output:
    """A stream that ends the program with a status of its own when it cannot be written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As a text stream has it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._end(error)

    def writelines(self, lines: Iterable[str]) -> None:
        """As a text stream has it."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As a text stream has it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> NoReturn:
        # What is buffered still is written when the interpreter ends: to nowhere, or it complains.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(READER_GONE) from None
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(NOT_WRITTEN) from None
