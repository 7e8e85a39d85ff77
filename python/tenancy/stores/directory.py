"""The data directory: who may use it, which version wrote it, what lies in it.

::

    tenancy-data/       0700, one owner
    ├── VERSION         {"format": "tenancy-data", "major": 1, "minor": 0}
    ├── tenancy.db      definitions and outbox (SQLite; -wal and -shm beside it)
    ├── counters        rate limits, quotas and the revision word, mapped by every worker
    └── keys/           secrets of this host

The same major version works both ways: a newer minor one is used as it is, an older one is brought
up to date by whoever opens it next. Making and migrating happen under a lock on the directory.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreDamaged, StoreError, StoreNotWritable, StoreUnsafe, VersionMismatch
from .whole_file import write_whole

__all__ = ["DataDirectory", "file_system_of", "is_missing", "open_directory"]

FORMAT = "tenancy-data"
MAJOR = 1
MINOR = 0

DATABASE = "tenancy.db"
COUNTERS = "counters"
KEYS = "keys"
VERSION = "VERSION"

_NETWORK_TYPES = {
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs"),
    *("beegfs", "gfs2", "gpfs", "ocfs2", "orangefs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph"),
    *("fuse.cephfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"),
}


@dataclass(frozen=True)
class DataDirectory:
    """A directory that was checked; its files may be opened."""

    path: Path
    major: int
    minor: int

    @property
    def database(self) -> Path:
        return self.path / DATABASE

    @property
    def counters(self) -> Path:
        return self.path / COUNTERS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock under which the directory is made, migrated and repaired."""
        with _locked(self.path):
            yield

    def secret(self, name: str, size: int = 32) -> bytes:
        """The secret `keys/<name>`, made on first use."""
        path = self.path / KEYS / name
        with self.locked():
            if not path.exists():
                write_whole(path, [secrets.token_bytes(size)])
            _check_private(path, 0o600)
            value = path.read_bytes()
        if len(value) != size:
            raise StoreDamaged(f"{path}: expected {size} bytes, found {len(value)}")
        return value


def is_missing(path: Path) -> bool:
    """Whether there is nothing at the path, or an empty directory."""
    try:
        return next(path.iterdir(), None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False  # something is there: `open_directory` says what is wrong with it


def open_directory(path: Path) -> DataDirectory:
    """Check the directory, or make it. A `StoreError` says what is wrong and the remedy."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (NotADirectoryError, FileExistsError):
        raise StoreError(f"{path}: not a directory", remedy="name another path") from None
    except OSError as error:
        raise StoreNotWritable(
            f"{path}: cannot be made ({error.strerror})",
            remedy="name a directory on a disk that this user may write to",
        ) from error
    _check_private(path, 0o700)
    _check_file_system(path)
    with _locked(path):
        if not (path / VERSION).exists():
            _initialise(path)
        major, minor = _read_version(path)
        for name in (DATABASE, COUNTERS):
            if (path / name).exists():
                _check_private(path / name, 0o600)
    return DataDirectory(path, major, minor)


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`, by /proc/self/mountinfo (proc(5))."""
    best, found = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = path.as_posix() == mount or path.as_posix().startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, found = mount, after.split()[0]
    return found


def _check_file_system(path: Path) -> None:
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    kind = file_system_of(path.resolve(), mountinfo)
    if kind in _NETWORK_TYPES:
        raise StoreUnsafe(
            f"{path}: lies on a network file system ({kind}), where memory is not shared "
            "between the hosts that map it",
            remedy="put the directory on a local disk; each host has its own",
        )


def _check_private(path: Path, mode: int) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise StoreUnsafe(
            f"{path}: belongs to uid {status.st_uid}, this process is uid {os.geteuid()}",
            remedy="run as its owner; one directory serves one user",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreUnsafe(
            f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others in, expected {mode:04o}",
            remedy=f"chmod {mode:o} {path}",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _initialise(path: Path) -> None:
    foreign = sorted(
        entry.name
        for entry in path.iterdir()
        if not entry.name.startswith(".") and entry.name not in ("lost+found", KEYS)
    )
    if foreign:
        kind = StoreDamaged if DATABASE in foreign else StoreError
        raise kind(
            f"{path}: holds {foreign[0]!r} but no {VERSION} file, so it is not a data directory",
            remedy="name an empty directory, or restore the one that was there",
        )
    try:
        (path / KEYS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreNotWritable(
            f"{path}: cannot be written ({error.strerror})",
            remedy="name a directory that this user may write to",
        ) from error
    text = json.dumps({"format": FORMAT, "major": MAJOR, "minor": MINOR})
    write_whole(path / VERSION, [text.encode() + b"\n"])


def _read_version(path: Path) -> tuple[int, int]:
    file = path / VERSION
    try:
        value = json.loads(file.read_bytes())
        if value["format"] != FORMAT:
            raise StoreDamaged(f"{file}: format {value['format']!r}, expected {FORMAT!r}")
        major, minor = int(value["major"]), int(value["minor"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(f"{file}: not the version file of a data directory") from error
    if major != MAJOR:
        older = major < MAJOR
        raise VersionMismatch(
            f"{path}: written by format version {major}.{minor}, this release reads {MAJOR}.x",
            remedy=f"tenancy migrate --data {path}"
            if older
            else f"install the release that wrote it, whose `tenancy migrate --data {path}` "
            f"converts it to {MAJOR}.x",
        )
    return major, minor
