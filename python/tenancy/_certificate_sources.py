"""Where a request's client certificate is: the TLS layer of the server, or a proxy's header.

Nothing here is verified; that a header may be believed is the resolver's to say.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from . import _core

BYTES_MAX = 65_536
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
ENVOY = b"x-forwarded-client-cert"
RFC_9440 = b"client-cert"
RFC_9440_CHAIN = b"client-cert-chain"


class Presented:
    """A certificate and what came with it, not decoded before somebody asks."""

    __slots__ = ("_decode", "_raw", "digest")

    def __init__(self, raw: bytes, decode: Callable[[bytes], list[bytes]]) -> None:
        # One text may mean different things in different headers, so the decoder is part of it.
        name = decode.__name__.encode("ascii")
        self.digest = _core.sha256(name + b"\0" + raw)
        self._decode, self._raw = decode, raw

    def chain(self) -> list[bytes]:
        """DER, the client's first. Raises `ValueError`."""
        return self._decode(self._raw)


# ------------------------------------------------------------------------------------ TLS layer


def of_connection(request: Mapping[str, Any]) -> Presented | None:
    """What the server's own TLS layer knows: an ASGI scope or a WSGI environ."""
    if "asgi" in request or "type" in request:
        tls = (request.get("extensions") or {}).get("tls") or {}
        chain = tls.get("client_cert_chain") or ()
        return _of_pem("".join(chain)) if chain else None
    # As mod_ssl, mod_wsgi and uWSGI export it.
    exported = request.get("SSL_CLIENT_CERT")
    if exported:
        more = [request.get(f"SSL_CLIENT_CERT_CHAIN_{i}", "") for i in range(8)]
        return _of_pem("\n".join([exported, *more]))
    peer = request.get("gunicorn.socket")
    if isinstance(peer, ssl.SSLSocket):
        return of_ders(ders_of(peer))
    return None


def ders_of(connection: Any) -> list[bytes]:
    """Of an `SSLSocket` or `SSLObject`: the client's certificate, and where Python tells it
    (3.13) what was sent along."""
    der = connection.getpeercert(binary_form=True)
    if not der:
        return []
    chain = getattr(connection, "get_unverified_chain", None)
    return [der, *(chain() or ())[1:]] if chain is not None else [der]


def of_ders(ders: Sequence[bytes]) -> Presented | None:
    if not ders:
        return None
    return Presented(b"".join(len(der).to_bytes(4, "big") + der for der in ders), _lengths)


def _of_pem(text: str) -> Presented:
    return Presented(text.encode("utf-8", "replace"), _pem)


# ------------------------------------------------------------------------------------ headers


def of_header(name: bytes, value: Any, chain: Any) -> Presented | None:
    """What a trusted proxy wrote. None: it has seen no certificate."""
    values = value if isinstance(value, list) else [value]
    joined = b",".join(values)
    if not joined.strip():
        return None
    if name == ENVOY:
        return Presented(joined, _envoy)
    if name == RFC_9440:
        more = chain if isinstance(chain, list) else [chain or b""]
        return Presented(b"\0".join([joined, b",".join(more)]), _byte_sequences)
    return Presented(joined, _escaped)


def _bounded(data: bytes) -> bytes:
    if len(data) > BYTES_MAX:
        raise ValueError("the certificate is too long")
    return data


def _lengths(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(_bounded(raw)):
        length = int.from_bytes(raw[at : at + 4], "big")
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _pem(raw: bytes) -> list[bytes]:
    return [_base64(b"".join(body.split())) for body in _PEM.findall(_bounded(raw))]


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _escaped(raw: bytes) -> list[bytes]:
    """PEM in URL encoding, or DER in base64, several by commas."""
    text = unquote_to_bytes(_bounded(raw))
    if b"-----BEGIN" in text:
        # Some clients of this form write a space where URL encoding has `+`.
        return _pem(text)
    return [_base64(part.strip()) for part in text.split(b",")]


def _byte_sequences(raw: bytes) -> list[bytes]:
    """RFC 9440: `:base64:`, and a list of them."""
    certificate, _, chain = _bounded(raw).partition(b"\0")
    parts = [certificate, *(part for part in chain.split(b",") if part.strip())]
    found = []
    for part in parts:
        text = part.strip()
        if len(text) < 3 or text[:1] != b":" or text[-1:] != b":":
            raise ValueError("expected :base64:")
        found.append(_base64(text[1:-1]))
    return found


def _envoy(raw: bytes) -> list[bytes]:
    """The last element is of the proxy before us; earlier ones are what was sent to it."""
    fields = {
        key.strip().lower(): value
        for key, _, value in (
            pair.partition(b"=") for pair in _split(_split(_bounded(raw), b",")[-1], b";")
        )
    }
    text = fields.get(b"chain") or fields.get(b"cert")
    if not text:
        raise ValueError("the proxy did not send the certificate itself")
    return _pem(unquote_to_bytes(_unquoted(text)))


def _split(text: bytes, at: bytes) -> list[bytes]:
    """Split outside of double quotes."""
    parts, part, quoted, escaped = [], bytearray(), False, False
    for byte in text:
        if escaped:
            escaped = False
        elif quoted and byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            quoted = not quoted
        elif byte == at[0] and not quoted:
            parts.append(bytes(part))
            part.clear()
            continue
        part.append(byte)
    if quoted:
        raise ValueError("a quote is not closed")
    return [*parts, bytes(part)]


def _unquoted(text: bytes) -> bytes:
    text = text.strip()
    if len(text) > 1 and text[:1] == text[-1:] == b'"':
        return re.sub(rb"\\(.)", rb"\1", text[1:-1])
    return text
