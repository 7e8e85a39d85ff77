"""A file that is either whole or absent, whenever we are stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreNotWritable

__all__ = ["write_whole"]


def write_whole(path: Path, parts: Iterable[bytes], mode: int = 0o600) -> None:
    """Write and sync a new file, then give it its name, and sync its directory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreNotWritable(
            f"{path}: cannot be written ({error.strerror})",
            remedy="free some space, or name a directory that this user may write to",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
