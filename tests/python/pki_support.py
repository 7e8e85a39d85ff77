"""A certificate authority of the tests' own: real keys, certificates and revocation lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
DAY = timedelta(days=1)


def subject(common_name: str | None, organisation: str | None = None) -> x509.Name:
    attributes = []
    if organisation is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Certificate and key as files, for a server or a client."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_text(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(certificate), str(key)


class Authority:
    """Issues and revokes. `now` is the middle of what it issues is valid for."""

    def __init__(
        self, name: str, now: datetime | None = None, parent: Authority | None = None
    ) -> None:
        self.now = now or datetime.now(timezone.utc)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = subject(name)
        issuer, signer = (self.name, self.key) if parent is None else (parent.name, parent.key)
        public = self.key.public_key()
        builder = (
            self._builder(self.name, issuer, public, self.now - 10 * DAY, self.now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        self.certificate = builder.sign(signer, hashes.SHA256())
        self.revoked: list[int] = []

    @staticmethod
    def _builder(
        name: x509.Name, issuer: x509.Name, public: Any, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        common_name: str | None = "ann",
        organisation: str | None = "acme",
        *,
        names: Sequence[x509.GeneralName] = (),
        purposes: Sequence[Any] = (CLIENT,),
        begins: timedelta = -DAY,
        ends: timedelta = 30 * DAY,
        digital_signature: bool = True,
        extra: Sequence[tuple[Any, bool]] = (),
        key: Any = None,
    ) -> Issued:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(
            subject(common_name, organisation),
            self.name,
            key.public_key(),
            self.now + begins,
            self.now + ends,
        )
        usage = _usage(authority=False, digital_signature=digital_signature)
        builder = builder.add_extension(usage, critical=True).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
            critical=False,
        )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(names), critical=common_name is None
            )
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def revoke(self, issued: Issued) -> None:
        self.revoked.append(issued.certificate.serial_number)

    def crl(
        self,
        *,
        ends: timedelta = 7 * DAY,
        begins: timedelta = -DAY,
        key: Any = None,
        extra: Sequence[tuple[Any, bool]] = (),
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(self.now + begins)
            .next_update(self.now + ends)
        )
        for serial in self.revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(self.now)
                .build()
            )
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(key or self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def self_signed(now: datetime, common_name: str = "ann", organisation: str = "acme") -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    name = subject(common_name, organisation)
    builder = (
        Authority._builder(name, name, key.public_key(), now - DAY, now + DAY)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([CLIENT]), critical=False)
    )
    return Issued(builder.sign(key, hashes.SHA256()), key)


def _usage(*, authority: bool, digital_signature: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature and not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not authority and not digital_signature,
        encipher_only=False,
        decipher_only=False,
    )
