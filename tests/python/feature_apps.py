"""Applications for real servers, whose options the tests of single web features choose."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, WebSocket

from tenancy import Tenancy
from tenancy.fastapi import CurrentTenant, TenancyMiddleware, consumes
from tenancy.resolve import ClientCertificates


def _open(**options: Any) -> Tenancy:
    return Tenancy.open(os.environ["TENANCY_TEST_DATA"], **options)


def guarded_app() -> Any:
    """Listens to twelve wrong credentials an hour."""
    app = FastAPI()
    t = _open(failed_credentials="12/hour")
    app.add_middleware(TenancyMiddleware, tenancy=t, exempt=["/health"])

    @app.get("/health")
    async def health() -> Any:
        return {}

    @app.get("/")
    async def who(tenant: CurrentTenant) -> Any:
        return {"tenant": tenant.tenant.slug}

    return app


def _guarded_flask() -> Any:
    from flask import Flask

    from tenancy.flask import TenancyFlask

    app = Flask(__name__)
    TenancyFlask(app, _open(failed_credentials="12/hour"), exempt=["/health"])
    app.add_url_rule("/health", "health", dict)
    app.add_url_rule("/", "who", dict)
    return app


def charging_app() -> Any:
    """`POST /work` costs 5 tokens; `POST /hang` as much, tells who serves it, and never ends."""
    t = _open()
    app = FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=t, exempt=["/health"])
    marker = Path(os.environ["TENANCY_TEST_DATA"]).parent / "hanging"

    @app.get("/health")
    async def health() -> Any:
        return {"pid": os.getpid()}

    @app.post("/work", dependencies=[Depends(consumes("tokens", 5))])
    async def work(request: Request, tenant: CurrentTenant) -> Any:
        if request.query_params.get("hang") and not marker.exists():
            marker.write_text(str(os.getpid()))
            await asyncio.sleep(600)
        return {"repeated": tenant.repeated, "pid": os.getpid()}

    return app


def certificate_app(header: str | None = None, **options: Any) -> Any:
    """Says who the certificate's owner is. The test's authorities lie beside the data."""
    t = _open()
    pki = Path(os.environ["TENANCY_TEST_DATA"]).parent
    certificates = ClientCertificates(ca=pki / "ca.pem", crls=[pki / "ca.crl"], header=header)
    app = FastAPI()
    app.add_middleware(
        TenancyMiddleware,
        tenancy=t,
        exempt=["/health"],
        client_certificates=certificates,
        **options,
    )

    @app.get("/health")
    async def health() -> Any:
        return {"pid": os.getpid()}

    @app.get("/")
    async def who(tenant: CurrentTenant) -> Any:
        return {"tenant": tenant.tenant.slug, "principal": tenant.principal}

    @app.websocket("/ws")
    async def talk(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()
        await socket.send_text(str(tenant.principal))
        await socket.close()

    return app


def proxied_certificate_app() -> Any:
    """The same behind a proxy at 127.0.0.2, which alone is believed what it was shown."""
    return certificate_app("X-SSL-Client-Cert", trusted_proxies=["127.0.0.2"])


def _certificate_flask() -> Any:
    from flask import Flask

    from tenancy import require_tenant
    from tenancy.flask import TenancyFlask

    t = _open()
    pki = Path(os.environ["TENANCY_TEST_DATA"]).parent
    app = Flask(__name__)
    TenancyFlask(
        app,
        t,
        exempt=["/health"],
        client_certificates=ClientCertificates(ca=pki / "ca.pem", crls=[pki / "ca.crl"]),
    )

    @app.get("/health")
    def health() -> Any:
        return {}

    @app.get("/")
    def who() -> Any:
        context = require_tenant()
        return {"tenant": context.tenant.slug, "principal": context.principal}

    return app


def __getattr__(name: str) -> Any:
    if name == "certificate_flask":
        return _certificate_flask()
    if name == "guarded_flask":
        return _guarded_flask()
    raise AttributeError(name)
