"""A real nginx in front of a real server: what it tells of the caller, and what callers pretend."""

from __future__ import annotations

import ipaddress
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

x509 = pytest.importorskip("cryptography.x509")
httpx = pytest.importorskip("httpx")

from pki_support import SERVER, Authority, Issued, self_signed  # noqa: E402
from server_support import free_port, serving, wait_for  # noqa: E402
from web_support import CATALOG, Shop  # noqa: E402

pytestmark = [pytest.mark.web, pytest.mark.slow]

HEADER = "X-SSL-Client-Cert"
ROOMY = CATALOG.replace("30/minute", "100000/hour").replace("/minute", "000/hour")
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_client_certificate {root}/ca.pem;
    # The application checks: nginx passes on what it was shown, signed by whomever.
    ssl_verify_client optional_no_ca;
    location / {{
      proxy_pass http://127.0.0.1:{backend};
      proxy_bind 127.0.0.2;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
    }}
  }}
}}
"""


def program() -> str:
    # Debian keeps it where only root looks.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail("nginx is not installed: apt-get install nginx-light, or run `make setup`")
    return found


@contextmanager
def nginx(root: Path, ca: Authority, backend: int) -> Iterator[int]:
    """nginx with a certificate of `ca`, before the port `backend`; gives its own port."""
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate, key = ca.issue("proxy", None, names=[loopback], purposes=[SERVER]).write(
        root, "proxy"
    )
    port = free_port()
    (root / "nginx.conf").write_text(
        CONFIGURATION.format(
            root=root, port=port, backend=backend, certificate=certificate, key=key
        )
    )
    server = subprocess.Popen([program(), "-p", str(root), "-c", str(root / "nginx.conf")])
    try:
        wait_for(port, server)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


class Site:
    """The address of the proxy, asked with and without a client certificate."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.url = f"https://127.0.0.1:{port}/"

    def ask(self, issued: Issued | None = None, headers: dict[str, str] | None = None) -> Any:
        context = ssl.create_default_context(cafile=str(self.root / "ca.pem"))
        if issued is not None:
            context.load_cert_chain(*issued.write(self.root, "client"))
        with httpx.Client(verify=context, timeout=60, trust_env=False) as client:
            return client.get(self.url, headers=headers)


def test_nginx_passes_on_the_certificate_of_its_caller(tmp_path: Path) -> None:
    shop = Shop(tmp_path, system_clock=True, text=ROOMY)
    ca = Authority("Clients CA")
    (tmp_path / "ca.pem").write_text(ca.pem)
    (tmp_path / "ca.crl").write_bytes(ca.crl())
    backend = free_port()
    command = [
        "uvicorn", "feature_apps:proxied_certificate_app", "--factory", "--port", str(backend),
        "--log-level", "warning", "--no-proxy-headers",
    ]  # fmt: skip
    ann = ca.issue("ann", "acme")
    with serving(shop.data, command, backend) as direct, nginx(tmp_path, ca, backend) as port:
        site = Site(tmp_path, port)
        assert site.ask(ann).json() == {"tenant": "acme", "principal": "ann"}
        assert site.ask(ca.issue("bob", "globex")).json()["principal"] == "bob"
        # nginx writes the field itself: what a caller sends under its name is not passed on.
        forged = {HEADER: quote(ann.pem, safe="")}
        answer = site.ask(headers=forged)
        assert (answer.status_code, answer.json()["code"]) == (401, "MISSING_TENANT")
        for stranger in (self_signed(ca.now), Authority("Clients CA").issue("ann", "acme")):
            answer = site.ask(stranger)
            assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_CREDENTIAL")
            assert HEADER.lower() not in answer.headers
        ca.revoke(ann)
        (tmp_path / "ca.crl").write_bytes(ca.crl())
        assert site.ask(ann).status_code == 401
        # Past the proxy, from an address that is none, the field is refused.
        assert direct.get("/", headers=forged).status_code == 401
