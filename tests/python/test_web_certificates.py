"""Client certificates: real authorities and handshakes, and everything that must not pass."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

x509 = pytest.importorskip("cryptography.x509")

import ipaddress  # noqa: E402

from pki_support import DAY, SERVER, Authority, Issued, self_signed  # noqa: E402
from tenancy import Identity  # noqa: E402
from tenancy._certificate_sources import of_header  # noqa: E402
from tenancy.asgi import TenancyMiddleware  # noqa: E402
from tenancy.errors import InvalidValue  # noqa: E402
from tenancy.resolve import ClientCertificates  # noqa: E402
from tenancy.wsgi import TenancyMiddleware as WSGIMiddleware  # noqa: E402
from web_support import CATALOG, Answer, Shop, echo, get, wsgi_echo, wsgi_get  # noqa: E402

ROOMY = CATALOG.replace("30/minute", "100000/hour").replace("/minute", "000/hour")
PROXY, STRANGER = "10.0.0.1", "203.0.113.9"
ENVOY, NGINX, RFC = "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Client-Cert"


class Pki:
    """A shop with an authority, its list, and middleware that trusts them."""

    def __init__(self, directory: Path, shop: Shop) -> None:
        self.directory = directory
        self.shop = shop
        self.now = datetime.fromtimestamp(self.shop.t.clock.wall_ns() / 1e9, timezone.utc)
        self.ca = Authority("Clients CA", self.now)
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_text(self.ca.pem)
        self.crl_file = directory / "ca.crl"
        self.publish()

    def publish(self, content: bytes | None = None) -> None:
        fresh = self.crl_file.with_suffix(".new")
        fresh.write_bytes(self.ca.crl() if content is None else content)
        fresh.replace(self.crl_file)

    def app(self, options: dict[str, Any] | None = None, **more: Any) -> Any:
        settings = {"ca": self.ca_file, "crls": [self.crl_file], **more}
        return TenancyMiddleware(
            echo,
            self.shop.t,
            client_certificates=ClientCertificates(**settings),
            **(options or {}),
        )


@pytest.fixture(scope="module")
def shared_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"), text=ROOMY, failed_credentials=None)
    yield made
    made.t.close()


@pytest.fixture
def pki(tmp_path: Path, shared_shop: Shop) -> Pki:
    return Pki(tmp_path, shared_shop)


def shown(app: Any, *chain: Any, headers: Any = (), **more: Any) -> Answer:
    """A request whose TLS layer has seen the certificate."""
    tls = {"client_cert_chain": [issued.pem for issued in chain]}
    return get(app, "/", headers, extensions={"tls": tls}, **more)


def refused(answer: Answer, code: str = "INVALID_CREDENTIAL") -> bool:
    return (answer.status, answer.code) == (401, code)


# ------------------------------------------------------------------------------ verification


def test_a_certificate_names_tenant_and_principal(pki: Pki) -> None:
    answer = shown(pki.app(), pki.ca.issue("ann", "acme"))
    assert answer.json() == {"tenant": "acme", "principal": "ann", "session": None}
    assert refused(shown(pki.app(), pki.ca.issue("ann", "nobody")), "INVALID_TENANT")


def test_none_is_no_credential(pki: Pki) -> None:
    app = pki.app()
    assert refused(get(app, "/"), "MISSING_TENANT")
    assert refused(shown(app), "MISSING_TENANT")
    assert get(app, "/", pki.shop.headers).status == 200


BAD = {
    "not yet valid": lambda pki: pki.ca.issue(begins=DAY, ends=2 * DAY),
    "of another authority": lambda pki: Authority("Clients CA", pki.now).issue(),
    "self-signed": lambda pki: self_signed(pki.now),
    "for servers": lambda pki: pki.ca.issue(purposes=[SERVER]),
    "for nothing": lambda pki: pki.ca.issue(purposes=[]),
    "without signing": lambda pki: pki.ca.issue(digital_signature=False),
    "the authority itself": lambda pki: pki.ca,
    "naming nobody": lambda pki: pki.ca.issue(None, None),
    "with a critical extension": lambda pki: pki.ca.issue(
        extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]
    ),
    "signed by a client": lambda pki: _signed_by_a_client(pki),
}


def _signed_by_a_client(pki: Pki) -> Issued:
    client = pki.ca.issue("ann", "acme")
    rogue = Authority("rogue", pki.now)
    rogue.key, rogue.name = client.key, client.certificate.subject
    return rogue.issue("bob", "acme")


@pytest.mark.parametrize("name", BAD)
def test_bad_certificates_are_wrong_credentials(pki: Pki, name: str) -> None:
    assert refused(shown(pki.app(), BAD[name](pki)))


def test_a_clients_certificate_cannot_stand_between(pki: Pki) -> None:
    client = pki.ca.issue("ann", "acme")
    rogue = Authority("rogue", pki.now)
    rogue.key, rogue.name = client.key, client.certificate.subject
    assert refused(shown(pki.app(), rogue.issue("bob", "globex"), client))


def test_an_expired_one_of_ours_is_told_so_and_a_foreign_one_is_not(pki: Pki) -> None:
    late = {"begins": -3 * DAY, "ends": -DAY}
    assert refused(shown(pki.app(), pki.ca.issue(**late)), "EXPIRED_CREDENTIAL")
    foreign = Authority("Clients CA", pki.now)
    assert refused(shown(pki.app(), foreign.issue(**late)))


def test_it_expires_while_it_is_remembered(pki: Pki) -> None:
    app = pki.app()
    pki.publish(pki.ca.crl(ends=60 * DAY))
    short = pki.ca.issue(ends=timedelta(hours=1))
    assert shown(app, short).status == 200
    pki.shop.advance(3599)
    assert shown(app, short).status == 200
    pki.shop.advance(2)
    assert refused(shown(app, short), "EXPIRED_CREDENTIAL")


@pytest.mark.parametrize(
    "garbage",
    [
        "", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "\x00\xff" * 50,
        "A" * 100_000,
    ],
)  # fmt: skip
def test_garbage_is_a_wrong_credential(pki: Pki, garbage: str) -> None:
    tls = {"client_cert_chain": [garbage]}
    assert refused(get(pki.app(), "/", extensions={"tls": tls}))


def test_intermediates_are_sent_or_configured(pki: Pki) -> None:
    middle = Authority("Middle CA", pki.now, parent=pki.ca)
    leaf = middle.issue("ann", "acme")
    middle_file, middle_crl = pki.directory / "middle.pem", pki.directory / "middle.crl"
    middle_file.write_text(middle.pem)
    middle_crl.write_bytes(middle.crl())
    crls = [pki.crl_file, middle_crl]
    assert refused(shown(pki.app(crls=crls), leaf))
    assert shown(pki.app(crls=crls), leaf, middle).status == 200
    assert shown(pki.app(crls=crls, intermediates=middle_file), leaf).status == 200
    # A chain needs a list of each issuer, unless only the client's own is asked for.
    assert refused(shown(pki.app(crls=[middle_crl]), leaf, middle))
    assert shown(pki.app(crls=[middle_crl], crl_scope="leaf"), leaf, middle).status == 200
    pki.ca.revoked.append(middle.certificate.serial_number)
    pki.publish()
    assert refused(shown(pki.app(crls=crls), leaf, middle))


# ------------------------------------------------------------------------------ revocation


def test_a_revocation_holds_from_the_next_request(pki: Pki) -> None:
    app, ann, bob = pki.app(), pki.ca.issue("ann"), pki.ca.issue("bob")
    assert shown(app, ann).status == shown(app, bob).status == 200
    pki.ca.revoke(ann)
    pki.publish()
    assert refused(shown(app, ann))
    assert shown(app, bob).status == 200


def test_a_list_that_is_missing_old_foreign_or_broken_refuses_everybody(pki: Pki) -> None:
    app, ann = pki.app(), pki.ca.issue("ann")
    other = Authority("Clients CA", pki.now)
    for content in (
        pki.ca.crl(begins=-3 * DAY, ends=-DAY),
        pki.ca.crl(begins=DAY),
        pki.ca.crl(key=other.key),
        Authority("Other CA", pki.now).crl(),
        b"nonsense",
        pki.ca.crl(extra=[(x509.DeltaCRLIndicator(1), True)]),
    ):
        pki.publish(content)
        assert refused(shown(app, ann))
    pki.crl_file.unlink()
    assert refused(shown(app, ann))
    pki.publish()
    assert shown(app, ann).status == 200


def test_a_list_runs_out_while_a_certificate_is_remembered(pki: Pki) -> None:
    app, ann = pki.app(), pki.ca.issue("ann", ends=30 * DAY)
    assert shown(app, ann).status == 200
    pki.shop.advance(7 * 86_400)
    assert refused(shown(app, ann))


def test_der_lists_and_several_in_a_file(pki: Pki) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    ann = pki.ca.issue("ann")
    listed = x509.load_pem_x509_crl(pki.ca.crl())
    pki.publish(listed.public_bytes(Encoding.DER))
    assert shown(pki.app(), ann).status == 200
    pki.publish(Authority("Other CA", pki.now).crl() + pki.ca.crl())
    assert shown(pki.app(), ann).status == 200


def test_without_lists_nothing_is_known_of_revocation(pki: Pki) -> None:
    assert shown(pki.app(crls=[]), pki.ca.issue("ann")).status == 200


# ------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (
            ["san.uri: spiffe://example.org/{tenant}/sa/{principal}"],
            [x509.UniformResourceIdentifier("spiffe://example.org/acme/sa/ann")],
        ),
        (["san.dns: {principal}.{tenant}.clients.test"], [x509.DNSName("ann.ACME.clients.test")]),
        (
            ["san.email: {principal}@*", "subject.O: {tenant}"],
            [x509.RFC822Name("ann@acme.test"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))],
        ),
        (["subject.CN: host-*-of-{tenant}", "san.uri: urn:user:{principal}"],
         [x509.UniformResourceIdentifier("urn:user:ann")]),
    ],
)  # fmt: skip
def test_rules_read_names(pki: Pki, rules: list[str], names: list[Any]) -> None:
    issued = pki.ca.issue("host-7-of-acme", "acme", names=names)
    answer = shown(pki.app(names=rules), issued)
    assert answer.json() == {"tenant": "acme", "principal": "ann", "session": None}


def test_two_names_that_differ_are_none(pki: Pki) -> None:
    uris = [x509.UniformResourceIdentifier(f"spiffe://x/{name}") for name in ("acme", "globex")]
    rule = ["san.uri: spiffe://x/{tenant}"]
    assert refused(shown(pki.app(names=rule), pki.ca.issue(names=uris)))
    assert shown(pki.app(names=rule), pki.ca.issue(names=uris[:1])).json()["tenant"] == "acme"


def test_a_principal_alone_must_be_a_member_of_the_named_tenant(pki: Pki) -> None:
    app = pki.app(names=["subject.CN: {principal}"])
    ann, eve = pki.ca.issue("ann"), pki.ca.issue("eve")
    named = {"X-Tenant-ID": "globex"}
    assert shown(app, ann, headers=named).json()["tenant"] == "globex"
    assert refused(shown(app, ann), "MISSING_TENANT")
    assert shown(app, eve, headers=named).code == "TENANT_CONFLICT"


def test_fingerprints_pin_certificates(pki: Pki) -> None:
    ann, bob = pki.ca.issue(None, None, names=[x509.DNSName("a.test")]), pki.ca.issue("bob")
    digest = ":".join(ann.fingerprint.upper()[i : i + 2] for i in range(0, 64, 2))
    app = pki.app(names=[], fingerprints={digest: ("acme", "ann")})
    assert shown(app, ann).json()["principal"] == "ann"
    assert refused(shown(app, bob))


def test_identify_takes_their_place(pki: Pki) -> None:
    def identify(certificate: Any) -> Identity | None:
        name = certificate.subject.rfc4514_string()
        return Identity("ann", ["acme"]) if "ann" in name else None

    app = pki.app(identify=identify)
    assert shown(app, pki.ca.issue("ann", "globex")).json()["tenant"] == "acme"
    assert refused(shown(app, pki.ca.issue("bob")))


def test_beside_another_credential_it_must_not_name_another_tenant(pki: Pki) -> None:
    app = pki.app()
    headers = pki.shop.headers
    assert shown(app, pki.ca.issue("ann", "acme"), headers=headers).json()["principal"] is None
    conflict = shown(app, pki.ca.issue("ann", "globex"), headers=headers)
    assert (conflict.status, conflict.code) == (403, "TENANT_CONFLICT")
    assert refused(shown(app, self_signed(pki.now), headers=headers))


# ------------------------------------------------------------------------------ headers


def envoy(issued: Issued, *more: Authority) -> str:
    text = quote(issued.pem, safe="")
    chain = quote("".join([issued.pem, *(each.pem for each in more)]), safe="")
    return f'By=spiffe://x/y;Hash={issued.fingerprint};Subject="CN=a\\"b,c;d";Cert="{text}";Chain="{chain}"'


FORMS = {
    "nginx": (NGINX, lambda issued: quote(issued.pem, safe="")),
    "nginx as it escapes": (NGINX, lambda issued: quote(issued.pem, safe="/+=-")),
    "haproxy": (NGINX, lambda issued: base64.b64encode(issued.der).decode()),
    "traefik": (NGINX, lambda issued: quote(base64.b64encode(issued.der).decode())),
    "envoy": (ENVOY, envoy),
    "envoy behind another": (ENVOY, lambda issued: "By=http://a;Hash=0;URI=b," + envoy(issued)),
    "RFC 9440": (RFC, lambda issued: f":{base64.b64encode(issued.der).decode()}:"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_trusted_proxy_writes_the_certificate(pki: Pki, form: str) -> None:
    header, write = FORMS[form]
    app = pki.app({"trusted_proxies": ["10.0.0.0/8"]}, header=header)
    ann = pki.ca.issue("ann")
    sent = {header: write(ann)}
    assert get(app, "/", sent, client=(PROXY, 1)).json()["principal"] == "ann"
    assert refused(get(app, "/", sent, client=(STRANGER, 1)))
    assert refused(get(app, "/", {**sent, **pki.shop.headers}, client=(STRANGER, 1)))
    assert refused(get(app, "/", {header: write(self_signed(pki.now))}, client=(PROXY, 1)))
    assert refused(get(app, "/", {header: "nonsense"}, client=(PROXY, 1)))
    assert refused(get(app, "/", {header: ""}, client=(PROXY, 1)), "MISSING_TENANT")
    pki.ca.revoke(ann)
    pki.publish()
    assert refused(get(app, "/", sent, client=(PROXY, 1)))


def test_the_chain_of_rfc_9440(pki: Pki) -> None:
    middle = Authority("Middle CA", pki.now, parent=pki.ca)
    leaf = middle.issue("ann", "acme")
    app = pki.app({"trusted_proxies": ["10.0.0.0/8"]}, header=RFC, crls=[])
    sent = {RFC: f":{base64.b64encode(leaf.der).decode()}:"}
    assert refused(get(app, "/", sent, client=(PROXY, 1)))
    sent["Client-Cert-Chain"] = f":{base64.b64encode(middle.der).decode()}:"
    assert get(app, "/", sent, client=(PROXY, 1)).status == 200


def test_envoy_without_the_certificate_itself_proves_nothing(pki: Pki) -> None:
    app = pki.app({"trusted_proxies": ["10.0.0.0/8"]}, header=ENVOY)
    ann = pki.ca.issue("ann")
    for text in (f"Hash={ann.fingerprint};URI=spiffe://x/y", 'Cert="', "," + envoy(ann) + ",By=x"):
        assert refused(get(app, "/", {ENVOY: text}, client=(PROXY, 1)))


def test_the_proxys_own_certificate_is_no_callers(pki: Pki) -> None:
    app = pki.app({"trusted_proxies": ["10.0.0.0/8"]}, header=NGINX)
    proxy = pki.ca.issue("proxy", "acme")
    assert refused(shown(app, proxy, client=(PROXY, 1)), "MISSING_TENANT")
    assert shown(app, proxy, client=(STRANGER, 1)).json()["principal"] == "proxy"


@given(st.binary(max_size=300), st.sampled_from([b"x", b"client-cert", b"x-forwarded-client-cert"]))
def test_no_header_breaks_the_reader(raw: bytes, name: bytes) -> None:
    presented = of_header(name, raw, None)
    if presented is not None:
        try:
            chain = presented.chain()
        except ValueError:
            return
        assert all(isinstance(der, bytes) for der in chain)


def test_wsgi_servers_export_it(pki: Pki) -> None:
    app = WSGIMiddleware(
        wsgi_echo,
        pki.shop.t,
        client_certificates=ClientCertificates(ca=pki.ca_file, crls=[pki.crl_file]),
    )
    ann = pki.ca.issue("ann")
    assert wsgi_get(app, "/", SSL_CLIENT_CERT=ann.pem).json()["principal"] == "ann"
    assert refused(wsgi_get(app, "/", SSL_CLIENT_CERT=self_signed(pki.now).pem))
    assert refused(wsgi_get(app, "/", {"SSL-Client-Cert": ann.pem}), "MISSING_TENANT")


def test_mistakes_show_where_they_were_written(pki: Pki) -> None:
    for wrong in (
        {"ca": []},
        {"ca": pki.directory / "absent.pem"},
        {"ca": b"no pem"},
        {"names": "subject.CN: {principal}"},
        {"names": ["subject.CN"]},
        {"names": ["subject.X: {tenant}"]},
        {"names": ["subject.CN: plain"]},
        {"names": ["san.dns: {tenant}.{tenant}"]},
        {"fingerprints": {"abc": ("acme", None)}},
        {"crls": [pki.directory / "absent.crl"]},
        {"crls": str(pki.crl_file)},
        {"crl_scope": "all"},
        {"header": "no header"},
    ):
        with pytest.raises(InvalidValue):
            pki.app(**wrong)


def test_openapi_names_the_scheme(pki: Pki) -> None:
    fastapi = pytest.importorskip("fastapi")
    from tenancy.fastapi import document
    from tenancy.resolve import Options

    app = fastapi.FastAPI()
    document(app, Options(client_certificates=ClientCertificates(ca=pki.ca_file)))
    schemes = app.openapi()["components"]["securitySchemes"]
    assert schemes["TenancyCertificate"] == {"type": "mutualTLS"}


# ------------------------------------------------------------------------------ real servers


async def greeting(port: int, directory: Path, issued: Issued) -> Any:
    import websockets

    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.load_cert_chain(*issued.write(directory, "client"))
    async with websockets.connect(f"wss://127.0.0.1:{port}/ws", ssl=context) as connection:
        return await connection.recv()


@pytest.mark.web
@pytest.mark.slow
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_handshakes_with_real_servers(tmp_path: Path, server: str) -> None:
    httpx = pytest.importorskip("httpx")
    from server_support import free_port, serving

    shop = Shop(tmp_path, system_clock=True, text=ROOMY)
    ca, foreign = Authority("Clients CA"), Authority("Foreign CA")
    (tmp_path / "ca.pem").write_text(ca.pem)
    (tmp_path / "ca.crl").write_bytes(ca.crl())
    host = ca.issue(
        "server", None, names=[x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], purposes=[SERVER]
    )
    certificate, key = host.write(tmp_path, "server")
    port = free_port()
    if server == "uvicorn":
        command = ["serve_tls", str(port), certificate, key, str(tmp_path / "ca.pem")]
    else:
        command = [
            "gunicorn", "feature_apps:certificate_flask", "--bind", f"127.0.0.1:{port}",
            "--workers", "2", "--certfile", certificate, "--keyfile", key,
            "--ca-certs", str(tmp_path / "ca.pem"), "--cert-reqs", str(int(ssl.CERT_OPTIONAL)),
        ]  # fmt: skip
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    def ask(issued: Issued | None) -> Any:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if issued is not None:
            context.load_cert_chain(*issued.write(tmp_path, "client"))
        with httpx.Client(verify=context, timeout=60, trust_env=False) as client:
            return client.get(f"https://127.0.0.1:{port}/")

    with serving(shop.data, command, port, scheme="https", verify=trust):
        ann, bob = ca.issue("ann", "acme"), ca.issue("bob", "globex")
        assert ask(ann).json() == {"tenant": "acme", "principal": "ann"}
        assert ask(bob).json() == {"tenant": "globex", "principal": "bob"}
        assert ask(None).json()["code"] == "MISSING_TENANT"
        assert ask(ca.issue("ann", "nobody")).json()["code"] == "INVALID_TENANT"
        for bad in (
            foreign.issue(),
            self_signed(ca.now),
            ca.issue(begins=-2 * DAY, ends=-DAY),
            ca.issue(begins=DAY, ends=2 * DAY),
            ca.issue(purposes=[SERVER]),
        ):  # the server's own TLS refuses these before anybody is asked
            with pytest.raises(httpx.TransportError):
                ask(bad)
        if server == "uvicorn":
            assert asyncio.run(greeting(port, tmp_path, ann)) == "ann"
        ca.revoke(ann)  # which only the list knows
        fresh = tmp_path / "ca.new"
        fresh.write_bytes(ca.crl())
        fresh.replace(tmp_path / "ca.crl")
        assert ask(ann).json()["code"] == "INVALID_CREDENTIAL"
        assert ask(bob).status_code == 200
