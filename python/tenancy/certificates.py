"""Client certificates: who a TLS handshake proved the caller to be, by `cryptography`.

A certificate that came with a request (see `_certificate_sources`) is verified here whatever the
server or proxy has checked: chain to a configured authority, times, purpose, revocation. Then its
names are read by rules, and the engine judges the tenant they name like that of any credential.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import _core
from ._certificate_sources import Presented
from ._revocation import Revocations
from .errors import ExpiredCredential, ExtraMissing, InvalidCredential, InvalidValue

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["CertificateVerifier", "ClientCertificates", "VerifiedCertificate"]

Source = str | os.PathLike[str] | bytes
"""A PEM file's path, or its content as bytes."""

CHAIN_MAX = 8
_TEXT_MAX = 255
_log = logging.getLogger("tenancy")


@dataclass(frozen=True, kw_only=True)
class ClientCertificates:
    """How client certificates are found, verified and read.

    `ca` are the authorities that are trusted, `intermediates` what may stand between them and a
    certificate when the client sends no chain. With `crls` (files, PEM or DER, read again when
    they change) each certificate below the authority needs a current list of its issuer that does
    not name it, or with `crl_scope="leaf"` the client's alone; a list that is missing, out of date
    or not its issuer's refuses. Without `crls` nothing is known of revocation.

    `header` is where a trusted proxy writes the certificate: `X-Forwarded-Client-Cert` (Envoy),
    `Client-Cert` (RFC 9440, with `Client-Cert-Chain`), or any other name with PEM in URL encoding
    (nginx: `$ssl_client_escaped_cert`) or DER in base64 (HAProxy, Traefik). From anybody else it is
    refused.

    `names` are rules such as `"san.uri: spiffe://example.org/{tenant}/{principal}"`, each a field
    (`san.uri`, `san.dns`, `san.email`, `subject.CN`, `subject.O`, `subject.OU`,
    `subject.serialNumber`) and a pattern with `{tenant}`, `{principal}` and `*`. What an earlier
    rule gave, a later one does not change. `fingerprints` maps SHA-256 digests (hex, colons or not)
    to `(tenant, principal)`, either may be None, and comes before the rules. `identify` takes the
    place of both. Without a tenant the principal must be a member of the one that the request
    names.
    """

    ca: Source | Sequence[Source]
    names: Sequence[str] = ("subject.O: {tenant}", "subject.CN: {principal}")
    fingerprints: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    identify: Callable[[x509.Certificate], _core.Identity | None] | None = None
    intermediates: Source | Sequence[Source] = ()
    crls: Sequence[str | os.PathLike[str]] = ()
    crl_scope: Literal["chain", "leaf"] = "chain"
    header: str | None = None
    cache_size: int = 10_000


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """A certificate that passed. Times are Unix seconds."""

    identity: _core.Identity
    tenant: str | None
    not_before_s: float
    expires_s: float
    revocations: int


class CertificateVerifier:
    """Verifies and remembers by digest. Any thread; one per middleware."""

    def __init__(self, config: ClientCertificates, clock: _core.Clock) -> None:
        try:
            from cryptography import x509
            from cryptography.x509 import verification
        except ImportError:
            raise ExtraMissing("tls", "cryptography") from None
        if not hasattr(verification, "ExtensionPolicy"):
            raise ExtraMissing("tls", "cryptography 45 or newer")
        self._x509 = x509
        self._config = config
        self._clock = clock
        authorities = _load(config.ca, "client_certificates.ca")
        self._store = verification.Store(authorities)
        self._intermediates = _load(
            config.intermediates, "client_certificates.intermediates", may_be_empty=True
        )
        # Who may tell that a certificate was once ours; what a client sends along does not count.
        self._known = [*authorities, *self._intermediates]
        self._policies = _policies(verification)
        self._verification = verification
        if config.crl_scope not in ("chain", "leaf"):
            raise InvalidValue("crl_scope", f"{config.crl_scope!r}", remedy="'chain' or 'leaf'")
        self._revocations = Revocations(config.crls) if config.crls else None
        self._rules = tuple(_rule(text) for text in _listed(config.names, "names"))
        self._fingerprints = {_digest(text): names for text, names in config.fingerprints.items()}
        self._seen: dict[bytes, VerifiedCertificate] = {}

    def cached(self, presented: Presented) -> VerifiedCertificate | None:
        """What is known of a certificate that passed before and still does."""
        known = self._seen.get(presented.digest)
        if known is None:
            return None
        now = self._clock.wall_ns() / 1e9
        if known.not_before_s <= now < known.expires_s and known.revocations == self._epoch():
            return known
        self._seen.pop(presented.digest, None)
        return None

    def verify(self, presented: Presented) -> VerifiedCertificate:
        """The caller of a certificate. Raises `InvalidCredential` or `ExpiredCredential`."""
        known = self.cached(presented)
        if known is not None:
            return known
        try:
            verified = self._verified(presented)
        except (InvalidCredential, ExpiredCredential):
            raise
        except (ValueError, TypeError, UnicodeError, self._x509.DuplicateExtension) as error:
            _log.debug("a client certificate cannot be read: %s", error)
            raise InvalidCredential("the certificate is not valid") from None
        if len(self._seen) >= self._config.cache_size:
            for oldest in list(self._seen)[: max(1, self._config.cache_size // 10)]:
                self._seen.pop(oldest, None)
        if self._config.cache_size > 0:
            self._seen[presented.digest] = verified
        return verified

    # ------------------------------------------------------------------------------ inside

    def _epoch(self) -> int:
        return 0 if self._revocations is None else self._revocations.epoch()

    def _verified(self, presented: Presented) -> VerifiedCertificate:
        x509 = self._x509
        epoch = self._epoch()
        sent = [x509.load_der_x509_certificate(der) for der in presented.chain()]
        if not 0 < len(sent) <= CHAIN_MAX:
            raise InvalidCredential("the certificate is not valid")
        leaf, between = sent[0], sent[1:]
        now = self._clock.wall_ns() / 1e9
        chain = self._chain(leaf, between, now)
        _check_purpose(x509, leaf)
        expires = min(cert.not_valid_after_utc.timestamp() for cert in chain)
        if self._revocations is not None:
            below = chain[:-1] if self._config.crl_scope == "chain" else chain[:1]
            current = self._revocations.check(list(zip(below, chain[1:], strict=False)), now)
            expires = min(expires, current)
        identity, tenant = self._identity(leaf)
        starts = max(cert.not_valid_before_utc.timestamp() for cert in chain)
        return VerifiedCertificate(identity, tenant, starts, expires, epoch)

    def _chain(
        self, leaf: x509.Certificate, between: list[x509.Certificate], now: float
    ) -> list[x509.Certificate]:
        moment = datetime.fromtimestamp(now, timezone.utc)
        authorities, certificates = self._policies
        builder = self._verification.PolicyBuilder().store(self._store)
        builder = builder.time(moment.replace(tzinfo=None)).max_chain_depth(CHAIN_MAX)
        builder = builder.extension_policies(ca_policy=authorities, ee_policy=certificates)
        try:
            verified = builder.build_client_verifier().verify(
                leaf, [*between, *self._intermediates]
            )
        except self._verification.VerificationError as error:
            # What exactly is wrong helps only an attacker; who operates this finds it in the log.
            _log.info("a client certificate was refused: %s", error)
            if leaf.not_valid_after_utc <= moment and _issued_by_one_of(leaf, self._known):
                raise ExpiredCredential("the certificate has expired") from None
            raise InvalidCredential("the certificate is not valid") from None
        return list(verified.chain)

    # ------------------------------------------------------------------------------ names

    def _identity(self, leaf: x509.Certificate) -> tuple[_core.Identity, str | None]:
        if self._config.identify is not None:
            identity = self._config.identify(leaf)
            if identity is None:
                raise InvalidCredential("the certificate names nobody")
            return identity, None
        tenant, principal = self._names(leaf)
        if tenant is None and principal is None:
            raise InvalidCredential("the certificate names nobody")
        return _core.Identity(principal, () if tenant is None else (tenant,)), tenant

    def _names(self, leaf: x509.Certificate) -> tuple[str | None, str | None]:
        from cryptography.hazmat.primitives.hashes import SHA256

        pinned = self._fingerprints.get(leaf.fingerprint(SHA256()).hex())
        if pinned is not None:
            return pinned
        if self._fingerprints and not self._rules:
            raise InvalidCredential("the certificate is not one of the known ones")
        found: dict[str, str] = {}
        for rule in self._rules:
            given = rule.read(_values(self._x509, leaf, rule.field))
            for name, value in given.items():
                found.setdefault(name, value)
        return found.get("tenant"), found.get("principal")


# ------------------------------------------------------------------------------------ verifying


def _policies(verification: Any) -> tuple[Any, Any]:
    """Authorities as RFC 5280 has them. A client's certificate may name its owner in the subject
    alone, which the web's profile would refuse."""
    policy = verification.ExtensionPolicy
    return policy.webpki_defaults_ca(), policy.permit_all()


def _check_purpose(x509: Any, leaf: x509.Certificate) -> None:
    """For client authentication, said so in the certificate (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    extensions = leaf.extensions
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = ()
    if x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise InvalidCredential("the certificate is not for clients")
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.digital_signature:
        raise InvalidCredential("the certificate is not for clients")
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is not None and constraints.ca:
        raise InvalidCredential("an authority is no client")
    known = (
        x509.AuthorityKeyIdentifier, x509.BasicConstraints, x509.CertificatePolicies,
        x509.ExtendedKeyUsage, x509.KeyUsage, x509.SubjectAlternativeName,
    )  # fmt: skip
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, known):
            raise InvalidCredential("the certificate has a critical extension that is not known")


def _issued_by_one_of(leaf: x509.Certificate, issuers: Sequence[x509.Certificate]) -> bool:
    from cryptography.exceptions import InvalidSignature

    for issuer in issuers:
        try:
            leaf.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return True
    return False


def _load(
    sources: Source | Sequence[Source], name: str, *, may_be_empty: bool = False
) -> list[x509.Certificate]:
    from cryptography import x509

    if isinstance(sources, (str, bytes, os.PathLike)):
        sources = [sources]
    found: list[x509.Certificate] = []
    for source in sources:
        try:
            data = source if isinstance(source, bytes) else Path(source).read_bytes()
            found.extend(x509.load_pem_x509_certificates(data))
        except (OSError, ValueError) as error:  # noqa: PERF203 - at start, a handful
            shown = "bytes" if isinstance(source, bytes) else os.fspath(source)
            raise InvalidValue(name, f"{shown}: {error}", remedy="PEM, a file or bytes") from None
    if not found and not may_be_empty:
        raise InvalidValue(name, "there are none, so no certificate could pass")
    return found


# ------------------------------------------------------------------------------------ names

_FIELDS = (
    "san.uri",
    "san.dns",
    "san.email",
    "subject.CN",
    "subject.O",
    "subject.OU",
    "subject.serialNumber",
)
_SEPARATORS = {"san.uri": "/", "san.dns": ".", "san.email": "@"}
_PLACE = re.compile(r"\{(tenant|principal)\}|(\*)")


@dataclass(frozen=True, slots=True)
class _Rule:
    field: str
    pattern: re.Pattern[str]

    def read(self, values: Sequence[str]) -> Mapping[str, str]:
        """What the one value that fits gives; two that differ give nothing to rely on."""
        given: Mapping[str, str] | None = None
        for value in values:
            match = self.pattern.fullmatch(value)
            if match is None:
                continue
            names = match.groupdict()
            if given is not None and given != names:
                raise InvalidCredential("the certificate has more than one name")
            given = names
        return given or {}


def _rule(text: str) -> _Rule:
    name, found, pattern = text.partition(":")
    name, pattern = name.strip(), pattern.strip()
    if not found or name not in _FIELDS:
        raise InvalidValue(
            "names", f"{text!r}", remedy=f"'subject.O: {{tenant}}'; fields are {', '.join(_FIELDS)}"
        )
    places = [match.group(1) for match in _PLACE.finditer(pattern) if match.group(1)]
    if not places or len(set(places)) != len(places):
        raise InvalidValue("names", f"{text!r}", remedy="{tenant} or {principal}, each once")
    separator = re.escape(_SEPARATORS.get(name, "\0"))
    one = f"[^{separator}]{{1,{_TEXT_MAX}}}"
    parts, at = [], 0
    for match in _PLACE.finditer(pattern):
        parts.append(re.escape(pattern[at : match.start()]))
        parts.append(f"(?P<{match.group(1)}>{one})" if match.group(1) else one)
        at = match.end()
    parts.append(re.escape(pattern[at:]))
    flags = re.IGNORECASE if name == "san.dns" else 0
    return _Rule(name, re.compile("".join(parts), flags))


def _values(x509: Any, leaf: x509.Certificate, name: str) -> list[str]:
    kind, _, attribute = name.partition(".")
    if kind == "subject":
        oid = {
            "CN": x509.oid.NameOID.COMMON_NAME,
            "O": x509.oid.NameOID.ORGANIZATION_NAME,
            "OU": x509.oid.NameOID.ORGANIZATIONAL_UNIT_NAME,
            "serialNumber": x509.oid.NameOID.SERIAL_NUMBER,
        }[attribute]
        found = [entry.value for entry in leaf.subject.get_attributes_for_oid(oid)]
    else:
        general = {
            "uri": x509.UniformResourceIdentifier,
            "dns": x509.DNSName,
            "email": x509.RFC822Name,
        }[attribute]
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        found = names.get_values_for_type(general)
    values = []
    for value in found:
        if not (isinstance(value, str) and 0 < len(value) <= 2048 and value.isprintable()):
            raise InvalidCredential("the certificate's names are not readable")
        values.append(value.lower() if attribute == "dns" else value)
    return values


def _digest(text: str) -> str:
    digest = text.replace(":", "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InvalidValue("fingerprints", f"{text!r}", remedy="SHA-256 in hexadecimal, 64 digits")
    return digest


def _listed(value: Sequence[str], name: str) -> Sequence[str]:
    if isinstance(value, str):
        raise InvalidValue(name, "expected a list, got one text")
    return value
