"""The certificates that PayPal signs its webhooks with: from whom they are taken, and when.

A webhook names the URL of its certificate, and whoever sends one chooses it. So only PayPal's own
hosts are asked, and what they answer must hold as a certificate of PayPal's name under an authority
that is trusted, as for a server of that name.
"""

from __future__ import annotations

import re
import ssl
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._text import shown
from ..errors import DeliveryFailed, ExtraMissing, InvalidValue, SignatureInvalid
from ..stores import alert_http
from ..stores.alert_destinations import DeliveryError, tls_context
from ..stores.alert_webhook import url_parts

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["LIVE_HOSTS", "Certificates"]

LIVE_HOSTS = frozenset({"api-m.paypal.com", "api.paypal.com"})
_SANDBOX_HOSTS = frozenset({"api-m.sandbox.paypal.com", "api.sandbox.paypal.com"})
_LIVE_NAME = "messageverificationcerts.paypal.com"
_SANDBOX_NAME = "messageverificationcerts.sandbox.paypal.com"
_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9_-]{1,100}")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_BODY_MOST = 1 << 16
_CHAIN_MOST = 8
_KEPT_MOST = 16


class Certificates:
    """The keys of PayPal's certificates, each fetched and checked once while it is valid.

    `base_url` is that of the API: a certificate comes from its environment (live, sandbox), or from
    the server itself where that is neither. Threads may share it. Needs the extra `tls`.
    """

    def __init__(self, base_url: str, ca_file: str | None, timeout_s: float) -> None:
        self._base = url_parts(base_url, "base_url")
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._kept: dict[str, tuple[RSAPublicKey, datetime]] = {}
        self._changing = threading.Lock()

    def key(self, url: str, now: datetime) -> RSAPublicKey:
        """The key that the certificate at `url` proves to be PayPal's at this moment.

        Raises `SignatureInvalid` for a URL or a certificate that is not PayPal's, `DeliveryFailed`
        where it cannot be fetched.
        """
        self._check_url(url)
        kept = self._kept.get(url)
        if kept is not None and now < kept[1]:
            return kept[0]
        key, until = self._checked(self._fetched(url), now)
        with self._changing:
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            self._kept[url] = (key, until)
        return key

    def _check_url(self, url: str) -> None:
        scheme, host, port, _ = self._base
        hosts = next((known for known in (LIVE_HOSTS, _SANDBOX_HOSTS) if host in known), {host})
        try:
            found = url_parts(url, "PayPal-Cert-Url")
        except InvalidValue as error:
            raise SignatureInvalid(error.message) from None
        ours = found[0] == scheme and found[1] in hosts and found[2] == port
        if not ours or not _PATH.fullmatch(found[3]):
            raise SignatureInvalid(
                f"PayPal-Cert-Url is no certificate of PayPal's at {' or '.join(sorted(hosts))}"
            )

    def _fetched(self, url: str) -> bytes:
        scheme, host, port, target = url_parts(url)
        context = tls_context(self._ca_file) if scheme == "https" else None
        try:
            answer = alert_http.request(
                "GET",
                (host, port, target),
                None,
                {"user-agent": "tenancy"},
                self._timeout_s,
                context=context,
                body_most=_BODY_MOST,
            )
        except DeliveryError as error:
            raise DeliveryFailed(
                f"PayPal's certificate: {error.message}",
                remedy="answer with an error of the server; PayPal sends the webhook again",
            ) from None
        if answer.status >= 500 or answer.status == 429:
            raise DeliveryFailed(
                f"PayPal answered {answer.status} for its certificate",
                remedy="answer with an error of the server; PayPal sends the webhook again",
            )
        if answer.status != 200:
            raise SignatureInvalid(f"PayPal answered {answer.status} for the certificate")
        return answer.body

    def _checked(self, pem: bytes, now: datetime) -> tuple[RSAPublicKey, datetime]:
        x509, verification = _libraries()
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

        try:
            leaf, *between = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise SignatureInvalid("there is no certificate at PayPal-Cert-Url") from None
        names = (_LIVE_NAME,) if self._base[1] in LIVE_HOSTS else (_LIVE_NAME, _SANDBOX_NAME)
        builder = verification.PolicyBuilder().store(
            verification.Store(list(_authorities(self._ca_file)))
        )
        # By name and nothing else: the web's rules of what a server's certificate holds apply.
        builder = builder.time(now.replace(tzinfo=None)).max_chain_depth(_CHAIN_MOST)
        for name in names:
            try:
                builder.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
                break
            except verification.VerificationError:
                continue
        else:
            raise SignatureInvalid(
                f"the certificate is not one of {' or '.join(names)} that holds now",
                remedy="where PayPal's authority is not among the system's, name a ca_file",
            )
        key = leaf.public_key()
        if not isinstance(key, RSAPublicKey):
            raise SignatureInvalid("the certificate holds no RSA key")
        return key, leaf.not_valid_after_utc


def _libraries() -> tuple[Any, Any]:
    try:
        from cryptography import x509
        from cryptography.x509 import verification
    except ImportError:
        raise ExtraMissing("tls", "cryptography") from None
    return x509, verification


def _authorities(ca_file: str | None) -> Sequence[x509.Certificate]:
    """Those of a PEM file, or the system's; read again when a file was renewed."""
    found = _read_authorities(tuple((str(path), *_state(path)) for path in _files(ca_file)))
    if not found:
        raise InvalidValue(
            "ca_file",
            f"there is no authority in {shown(ca_file) if ca_file else 'the system'}",
            remedy="name a PEM file of authorities, or install the system's (ca-certificates)",
        )
    return found


@lru_cache(maxsize=8)
def _read_authorities(files: tuple[tuple[str, int, int], ...]) -> Sequence[x509.Certificate]:
    """What cannot be read among them is left out, as by OpenSSL."""
    found: dict[bytes, x509.Certificate] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some authorities are older than the rules for serials
        for path, *_ in files:
            for block in _PEM.findall(_content(Path(path))):
                with suppress(ValueError):
                    found[block] = _libraries()[0].load_pem_x509_certificate(block)
    return tuple(found.values())


def _state(path: Path) -> tuple[int, int]:
    """Another one when the file was written anew."""
    try:
        told = path.stat()
    except OSError:
        return 0, 0
    return told.st_mtime_ns, told.st_ino


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _files(ca_file: str | None) -> list[Path]:
    if ca_file is not None:
        return [Path(ca_file)]
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath:
        files.extend({path.resolve() for path in Path(paths.capath).iterdir()})
    return [path for path in files if path.is_file()]
