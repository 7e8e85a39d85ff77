"""The data directory, the database, the installation."""

# ruff: noqa: N818 - the names are the field's: `except QuotaExceeded` reads as it is meant

from __future__ import annotations

from ._base import TenancyError


class StoreError(TenancyError):
    """The data directory or the database cannot be used."""

    code = "STORE_ERROR"
    status = 503


class StoreNotWritable(StoreError):
    """The directory, the file system or the disk does not take writes."""

    code = "STORE_NOT_WRITABLE"


class StoreUnsafe(StoreError):
    """Others could read or change the data: wrong owner, wrong mode, or a network file system."""

    code = "STORE_UNSAFE"


class StoreBusy(StoreError):
    """Another writer held the store longer than we wait."""

    code = "STORE_BUSY"
    default_remedy = "try again; if it stays so, look for a process that hangs inside a change"


class StoreDamaged(StoreError):
    """The files are not what we wrote."""

    code = "STORE_DAMAGED"
    default_remedy = "restore the directory from a backup; nothing was changed"


class VersionMismatch(StoreError):
    """The directory was written by another major version."""

    code = "VERSION_MISMATCH"


class StoreUnsupported(StoreError):
    """This release has no store of that kind."""

    code = "STORE_UNSUPPORTED"


class ProofInvalid(TenancyError):
    """A receipt or an export of audit events does not prove what it says."""

    code = "PROOF_INVALID"


class SignatureInvalid(TenancyError):
    """A webhook was not signed with the secret, or not just now."""

    code = "SIGNATURE_INVALID"
    status = 401


class StoreClosed(TenancyError):
    """The `Tenancy` was closed."""

    code = "CLOSED"
    default_remedy = "open it again with `Tenancy.open(...)`"


class ExtraMissing(TenancyError, ImportError):
    """An optional dependency is not installed."""

    code = "EXTRA_MISSING"

    def __init__(self, extra: str, needs: str) -> None:
        super().__init__(f"{needs} is not installed", remedy=f"pip install 'tenancy[{extra}]'")
