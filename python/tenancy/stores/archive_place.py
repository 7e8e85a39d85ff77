"""Where an archive lies: a directory of any file system that fsspec knows, as five operations.

Invariants:
 1. A file appears whole or not at all: written and synced under another name and renamed on a disk,
    moved on other file systems, one put on object stores.
 2. No file is written over: a name that is taken raises `Taken`.
 3. Credentials, in the URL or in the options, are in no message and no `repr`.
"""

from __future__ import annotations

import hashlib
import inspect
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .._text import check_text, shown
from ..errors import (
    ExtraMissing,
    InvalidValue,
    NotFound,
    StoreError,
    StoreNotWritable,
    TenancyError,
)
from .whole_file import write_whole

__all__ = ["ColdError", "Place", "TakenError"]

_OBJECT_STORES = {
    *("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "oss2", "r2"),
}
_EXTRAS = {"s3": ("s3", "s3fs"), "s3a": ("s3", "s3fs"), "gs": ("gcs", "gcsfs")}
_PIECE = 1 << 20
_TEXT_MAX = 300


class TakenError(Exception):
    """There is a file of that name."""


class ColdError(Exception):
    """The store has it, but in a class from which it must be restored first (S3 Glacier)."""


class Place:
    """One directory. Any thread."""

    def __init__(self, url: str, options: Mapping[str, Any] | None) -> None:
        check_text(url, "url", 4096)
        self._options = dict(options or {})
        self._secrets = sorted(_texts(self._options), key=len, reverse=True)
        self.url = _without_secrets(url)
        try:
            from fsspec.core import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
                url_to_fs,
            )
        except ImportError:
            raise ExtraMissing("archive", "fsspec") from None
        try:
            self._files, root = url_to_fs(url, **self._options)
        except ImportError as error:
            extra, needs = _EXTRAS.get(url.partition("://")[0], ("archive", str(error)[:_TEXT_MAX]))
            raise ExtraMissing(extra, needs) from None
        except Exception as error:
            raise InvalidValue("url", f"{shown(self.url)}: {self._told(error)}") from None
        protocols = self._files.protocol
        self._protocols = {protocols} if isinstance(protocols, str) else set(protocols)
        self._root = root.rstrip("/")

    def __repr__(self) -> str:
        return f"<Place {self.url}>"

    def names(self, suffixes: tuple[str, ...]) -> list[str]:
        """Names, relative to the place, of all files below it that end so."""
        with self._reading(""):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
        behind = len(self._root) + 1
        return sorted(path[behind:] for path in found if path.endswith(suffixes))

    def size(self, name: str) -> int | None:
        """Bytes of a file; None: it is not there."""
        with self._reading(name):
            self._files.invalidate_cache()
            try:
                return int(self._files.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def read(self, name: str) -> bytes:
        with self._reading(name):
            data = self._files.cat_file(self._path(name))
            assert isinstance(data, bytes)
            return data

    def fetch(self, name: str, target: Path) -> str:
        """Copy a file to the disk; its SHA-256 in hexadecimal digits."""
        digest = hashlib.sha256()
        with (
            self._reading(name),
            self._files.open(self._path(name), "rb") as source,
            target.open("wb") as copy,
        ):
            while piece := source.read(_PIECE):
                digest.update(piece)
                copy.write(piece)
        return digest.hexdigest()

    def put(self, name: str, source: Path, *, warm: bool = False) -> None:
        """Write a new file. `warm`: in the store's ordinary class, whatever the options ask for
        the others, so that it can be read at once. Raises `TakenError`."""
        path = self._path(name)
        with self._writing(name):
            if "file" in self._protocols:
                self._put_on_disk(Path(path), source)
            elif "memory" in self._protocols:
                self._files.pipe_file(path, source.read_bytes(), mode="create")
            elif self._protocols & _OBJECT_STORES:
                self._put_object(path, source, warm)
            else:
                self._put_and_move(path, source)

    def _put_on_disk(self, path: Path, source: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            raise FileExistsError
        with source.open("rb") as file:
            write_whole(path, iter(lambda: file.read(_PIECE), b""))

    def _put_object(self, path: str, source: Path, warm: bool) -> None:
        if self._files.exists(path):
            raise FileExistsError
        more: dict[str, Any] = {}
        if warm and self._protocols & {"s3", "s3a"}:
            more["StorageClass"] = "STANDARD"
        put = getattr(self._files, "_put_file", self._files.put_file)
        parameters = inspect.signature(put).parameters
        if "mode" in parameters:
            more["mode"] = "create"  # the store itself refuses a second writer
        elif "overwrite" in parameters:
            more["overwrite"] = False  # Azure
        self._files.put_file(str(source), path, **more)

    def _put_and_move(self, path: str, source: Path) -> None:
        parent, _, own = path.rpartition("/")
        self._files.makedirs(parent, exist_ok=True)
        if self._files.exists(path):
            raise FileExistsError
        temporary = f"{parent}/.{own}.{secrets.token_hex(4)}.new"
        try:
            self._files.put_file(str(source), temporary)
            self._files.mv(temporary, path)
        finally:
            if self._files.exists(temporary):
                self._files.rm_file(temporary)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    # ------------------------------------------------------------------------------ errors

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise TakenError(name) from None
        except TenancyError:
            raise
        except Exception as error:  # every file system has errors of its own
            raise StoreNotWritable(
                f"{self.url}/{name}: cannot be written ({self._told(error)})",
                remedy="nothing half is left; mend the cause and archive again",
            ) from None

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"{self.url}/{name}: is not there") from None
        except TenancyError:
            raise
        except Exception as error:
            if "InvalidObjectState" in repr(error.__cause__):
                raise ColdError(name) from None
            raise StoreError(
                f"{self.url}/{name}: cannot be read ({self._told(error)})",
                remedy="look at the address, the credentials and the network",
            ) from None

    def _told(self, error: BaseException) -> str:
        """An error's text without what the options keep secret."""
        text = " ".join(f"{type(error).__name__}: {error}".split())
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text[:_TEXT_MAX]


def _texts(value: Any) -> Iterator[str]:
    """All texts in options that may be secrets; too short ones would hide half of a message."""
    if isinstance(value, str) and len(value) > 5:
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment."""
    if "://" not in url:
        return url.rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://…"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
