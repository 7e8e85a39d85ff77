"""Certificate revocation lists: read from files, again when those change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidCredential, InvalidValue

if TYPE_CHECKING:
    from cryptography import x509

_log = logging.getLogger("tenancy")

Stamp = tuple[tuple[int, int, int, int], ...]


class Revocations:
    """The lists of some files. Any thread. What cannot be read refuses everybody, until it can."""

    def __init__(self, files: Sequence[str | os.PathLike[str]]) -> None:
        if isinstance(files, (str, os.PathLike)):
            raise InvalidValue("crls", "expected a list of files, got one")
        self._files = tuple(Path(file) for file in files)
        self._lock = threading.Lock()
        self._epoch = 1
        self._stamp = self._look()
        self._lists = self._read()

    def epoch(self) -> int:
        """A number that changes when the files do."""
        stamp = self._look()
        if stamp == self._stamp:
            return self._epoch
        with self._lock:
            if stamp != self._stamp:
                try:
                    self._lists = self._read()
                except InvalidValue:
                    _log.exception("revocation lists cannot be read: every certificate is refused")
                    self._lists = {}
                self._stamp = stamp
                self._epoch += 1
            return self._epoch

    def check(
        self, pairs: Sequence[tuple[x509.Certificate, x509.Certificate]], now: float
    ) -> float:
        """For each certificate and its issuer: not revoked. Answers until when that is known, in
        Unix seconds. Raises `InvalidCredential`."""
        until = float("inf")
        for certificate, issuer in pairs:
            until = min(until, self._check_one(certificate, issuer, now))
        return until

    def _check_one(
        self, certificate: x509.Certificate, issuer: x509.Certificate, now: float
    ) -> float:
        until = 0.0
        for listed in self._lists.get(issuer.subject.public_bytes(), ()):
            if not _is_of(listed, issuer):
                continue
            # A revocation stays true when its list is out of date.
            if listed.get_revoked_certificate_by_serial_number(certificate.serial_number):
                raise InvalidCredential("the certificate was revoked")
            ends = listed.next_update_utc
            if listed.last_update_utc.timestamp() <= now and ends is not None:
                until = max(until, ends.timestamp())
        if until <= now:
            _log.warning(
                "there is no current revocation list of %s: its certificates are refused",
                issuer.subject.rfc4514_string(),
            )
            raise InvalidCredential("nothing is known of the certificate's revocation")
        return until

    # ------------------------------------------------------------------------------ inside

    def _look(self) -> Stamp:
        stamps = []
        for file in self._files:
            try:
                found = file.stat()
            except OSError:
                stamps.append((0, 0, 0, 0))
                continue
            stamps.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(stamps)

    def _read(self) -> dict[bytes, list[x509.CertificateRevocationList]]:
        lists: dict[bytes, list[x509.CertificateRevocationList]] = {}
        for file in self._files:
            try:
                found = _load(file.read_bytes())
            except (OSError, ValueError) as error:
                raise InvalidValue("crls", f"{file}: {error}", remedy="PEM or DER") from None
            for listed in found:
                _must_be_whole(listed, file)
                lists.setdefault(listed.issuer.public_bytes(), []).append(listed)
        return lists


def _load(data: bytes) -> list[x509.CertificateRevocationList]:
    from cryptography import x509

    end = b"-----END X509 CRL-----"
    if b"-----BEGIN X509 CRL-----" not in data:
        return [x509.load_der_x509_crl(data)]
    blocks = data.split(end)[:-1]
    return [x509.load_pem_x509_crl(block + end + b"\n") for block in blocks]


def _must_be_whole(listed: x509.CertificateRevocationList, file: Path) -> None:
    """Parts of a list, and lists of changes only, say too little to rely on."""
    from cryptography import x509

    for extension in listed.extensions:
        known = isinstance(extension.value, (x509.CRLNumber, x509.AuthorityKeyIdentifier))
        if isinstance(extension.value, x509.DeltaCRLIndicator) or (
            extension.critical and not known
        ):
            raise InvalidValue(
                "crls", f"{file}: a partial or delta list", remedy="give the issuer's whole list"
            )


def _is_of(listed: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        usage: Any = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return listed.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
