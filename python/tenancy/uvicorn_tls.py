"""Client certificates under uvicorn, which does not tell its applications of them.

>>> uvicorn.run(
...     "app:app", http=HTTP, ws=WebSocket, ssl_certfile="server.pem", ssl_keyfile="server.key",
...     ssl_ca_certs="clients-ca.pem", ssl_cert_reqs=ssl.CERT_OPTIONAL,
... )

`HTTP` and `WebSocket` are uvicorn's own protocols (h11 and websockets) with the `tls` extension of
ASGI: `scope["extensions"]["tls"]["client_cert_chain"]`, PEM texts, the client's first.
"""

from __future__ import annotations

import ssl
from typing import Any

try:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    try:
        from uvicorn.protocols.websockets.websockets_sansio_impl import (
            WebSocketsSansIOProtocol as _Protocol,
        )
    except ImportError:  # uvicorn before 0.35
        from uvicorn.protocols.websockets.websockets_impl import (  # type: ignore[assignment]
            WebSocketProtocol as _Protocol,
        )
except ImportError as error:
    from .errors import ExtraMissing

    raise ExtraMissing("demo", "uvicorn and websockets") from error

from ._certificate_sources import ders_of

__all__ = ["HTTP", "WebSocket"]


class _TLS:
    """Stands before the application of one connection."""

    def __init__(self, app: Any, connection: Any) -> None:
        self._app = app
        chain = [ssl.DER_cert_to_PEM_cert(der) for der in ders_of(connection)]
        self._extension = {
            "server_cert": None,
            "client_cert_chain": chain,
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": None,
            "cipher_suite": None,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})["tls"] = self._extension
        await self._app(scope, receive, send)


class HTTP(H11Protocol):
    """uvicorn's h11 protocol with client certificates."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _TLS(self.app, connection)


class WebSocket(_Protocol):
    """uvicorn's websockets protocol with client certificates."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _TLS(self.app, connection)
