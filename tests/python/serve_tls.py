"""uvicorn with client certificates: `python -m serve_tls PORT CERTIFICATE KEY AUTHORITIES`."""

import ssl
import sys

import uvicorn

from tenancy.uvicorn_tls import HTTP, WebSocket

if __name__ == "__main__":
    port, certificate, key, authorities = sys.argv[1:]
    uvicorn.run(
        "feature_apps:certificate_app",
        factory=True,
        port=int(port),
        http=HTTP,
        ws=WebSocket,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=authorities,
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
        log_level="warning",
    )
