"""Who asks, and for which tenant: rows R1 and R2, and hostile input. On both protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy import Identity
from tenancy.asgi import TenancyMiddleware
from tenancy.errors import InvalidCredential, InvalidValue
from tenancy.resolve import Options, tenant_in
from tenancy.wsgi import TenancyMiddleware as WsgiMiddleware
from web_support import Answer, Shop, echo, get, wsgi_echo, wsgi_get


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


class Both:
    """The same request through ASGI and WSGI must have the same answer."""

    def __init__(self, shop: Shop, **options: Any) -> None:
        self._asgi = TenancyMiddleware(echo, shop.t, **options)
        self._wsgi = WsgiMiddleware(wsgi_echo, shop.t, **options)

    def get(
        self,
        path: str = "/",
        headers: dict[str, str] | None = None,
        *,
        query: str = "",
        peer: str | None = "203.0.113.7",
        method: str = "GET",
    ) -> Answer:
        first = get(
            self._asgi, path, headers or {}, query=query.encode(), method=method,
            client=None if peer is None else (peer, 5000),
        )  # fmt: skip
        second = wsgi_get(
            self._wsgi, path, headers or {}, QUERY_STRING=query, REMOTE_ADDR=peer or "",
            REQUEST_METHOD=method,
        )  # fmt: skip
        assert first.status == second.status
        assert first.json() == second.json() or first.status == 429
        return first


# ----------------------------------------------------------------------------- strategies


def test_a_key_names_its_tenant(shop: Shop) -> None:
    answer = Both(shop).get("/", shop.headers)
    assert (answer.status, answer.json()["tenant"]) == (200, "acme")
    assert answer.headers["x-mcp-tenant-id"] == shop.acme.id


def test_a_key_as_bearer_token(shop: Shop) -> None:
    app = Both(shop)
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = app.get("/", {"Authorization": f"{scheme} {shop.secret}"})
        assert answer.json()["tenant"] == "acme"


def test_a_key_of_a_user_acts_as_the_user(shop: Shop) -> None:
    assert Both(shop).get("/", {"X-API-Key": shop.user_secret}).json()["principal"] == "ann"


def test_a_session_authenticates(shop: Shop) -> None:
    session = shop.t.sessions.create(shop.acme, "ann")
    app = Both(shop, preset="mcp")
    expected = {"tenant": "acme", "principal": "ann", "session": session.id}
    by_header = app.get("/", {"X-MCP-Session-ID": session.id})
    assert by_header.json() == expected
    assert by_header.headers["x-mcp-session-id"] == session.id
    assert app.get("/", {"Authorization": f"Bearer {session.id}"}).json() == expected
    shop.t.sessions.end(shop.acme, session)
    assert app.get("/", {"X-MCP-Session-ID": session.id}).code == "INVALID_CREDENTIAL"


def test_a_session_of_another_tenant_is_a_conflict(shop: Shop) -> None:
    session = shop.t.sessions.create(shop.globex, "ann")
    answer = Both(shop, preset="mcp").get("/", {**shop.headers, "X-MCP-Session-ID": session.id})
    assert (answer.status, answer.code) == (403, "TENANT_CONFLICT")


@pytest.mark.parametrize("name", ["acme", "A-1", "id"])
def test_hints_select_what_the_key_allows(shop: Shop, name: str) -> None:
    reference = shop.acme.id if name == "id" else name
    app = Both(
        shop, query_parameter="tenant", path="/api/tenants/{tenant}/", base_domain="example.com"
    )
    headers = {**shop.headers, "X-Tenant-ID": reference}
    assert app.get("/", headers).status == 200
    assert app.get(f"/api/tenants/{reference}/docs", shop.headers).status == 200
    assert app.get("/", shop.headers, query=f"a=1&tenant={reference}").status == 200
    if name == "acme":
        assert app.get("/", {**shop.headers, "Host": "acme.example.com:8000"}).status == 200


def test_a_hint_never_overrides_the_credential(shop: Shop) -> None:
    app = Both(
        shop, query_parameter="tenant", path="/api/tenants/{tenant}/", base_domain="example.com"
    )
    conflicts = [
        app.get("/", {**shop.headers, "X-Tenant-ID": "globex"}),
        app.get("/api/tenants/globex", shop.headers),
        app.get("/", shop.headers, query="tenant=globex"),
        app.get("/", shop.headers, query="ten%61nt=globex"),
        app.get("/", {**shop.headers, "Host": "globex.example.com"}),
        app.get("/", {**shop.headers, "X-Tenant-ID": "nobody-at-all"}),
    ]
    assert {(answer.status, answer.code) for answer in conflicts} == {(403, "TENANT_CONFLICT")}
    # Unknown and foreign look alike.
    assert len({answer.body for answer in (conflicts[0], conflicts[5])}) == 1
    facts = shop.t.operator(by="test", reason="test").audit(limit=100)
    assert any("globex" not in str(fact.tenant) and fact.result == "denied" for fact in facts)


def test_a_hint_alone_names_nobody(shop: Shop) -> None:
    answer = Both(shop).get("/", {"X-Tenant-ID": "acme"})
    assert (answer.status, answer.code) == (401, "MISSING_TENANT")
    assert answer.headers["www-authenticate"] == 'Bearer realm="tenancy"'


def test_a_hint_of_a_trusted_proxy_names_the_tenant_and_the_user(shop: Shop) -> None:
    app = Both(shop, preset="mcp", trusted_proxies=["10.0.0.0/8"], trust_hints=True)
    headers = {"X-MCP-Tenant-ID": "acme", "X-MCP-User-ID": "ann"}
    assert app.get("/", headers, peer="10.1.2.3").json() == {
        "tenant": "acme", "principal": "ann", "session": None,
    }  # fmt: skip
    assert app.get("/", headers, peer="203.0.113.7").code == "MISSING_TENANT"
    assert app.get("/", {"X-MCP-Tenant-ID": "x"}, peer="10.1.2.3").code == "INVALID_TENANT"


def test_on_an_anonymous_path_a_hint_names_the_tenant_but_no_user(shop: Shop) -> None:
    app = Both(shop, preset="mcp", anonymous=["/public/*"])
    headers = {"X-MCP-Tenant-ID": "acme", "X-MCP-User-ID": "ann"}
    assert app.get("/public/page", headers).json() == {
        "tenant": "acme", "principal": None, "session": None,
    }  # fmt: skip
    assert app.get("/private", headers).code == "MISSING_TENANT"
    assert app.get("/public/../private", headers).code == "MISSING_TENANT"


def test_the_user_hint_counts_only_beside_a_key(tmp_path: Path) -> None:
    shop = Shop(tmp_path, default_tenant="acme")
    app = Both(shop, user_header="X-User-ID")
    assert app.get("/", {"X-User-ID": "ann"}).json() == {
        "tenant": "acme", "principal": None, "session": None,
    }  # fmt: skip
    assert app.get("/", {**shop.headers, "X-User-ID": "ann"}).json()["principal"] == "ann"


def test_subdomains(shop: Shop) -> None:
    app = Both(
        shop, base_domain="example.com", subdomain="{subdomain}",
        trusted_proxies=["10.0.0.1"], trust_hints=True,
    )  # fmt: skip
    ask = lambda host: app.get("/", {"Host": host}, peer="10.0.0.1")  # noqa: E731
    assert ask("acme.example.com").json()["tenant"] == "acme"
    assert ask("ACME.Example.COM:8443").json()["tenant"] == "acme"
    for host in (
        "www.example.com", "api.example.com", "example.com", "acme.example.org",
        "acme.example.com.evil.net", "evilexample.com", "a.acme.example.com", "[::1]:80", "",
    ):  # fmt: skip
        assert ask(host).code == "MISSING_TENANT", host
    org = Both(shop, base_domain="example.com", subdomain="A-{subdomain}", anonymous=["/"])
    assert org.get("/", {"Host": "1.example.com"}).json()["tenant"] == "acme"


def test_the_default_tenant_comes_last(tmp_path: Path) -> None:
    shop = Shop(tmp_path, default_tenant="globex")
    app = Both(shop)
    assert app.get("/").json()["tenant"] == "globex"
    assert app.get("/", shop.headers).json()["tenant"] == "acme"
    assert app.get("/", {"X-Tenant-ID": "acme"}).code == "MISSING_TENANT"


def test_a_strategy_of_ones_own(shop: Shop) -> None:
    def certificate(request: Any) -> Identity | None:
        peer = (request.get("client") or (request.get("REMOTE_ADDR"),))[0]
        if peer == "10.0.0.9":
            raise InvalidCredential("revoked")
        return Identity("ann", ("acme",)) if peer == "10.0.0.1" else None

    app = Both(shop, identify=certificate)
    assert app.get("/", peer="10.0.0.1").json()["principal"] == "ann"
    assert app.get("/", peer="10.0.0.9").code == "INVALID_CREDENTIAL"
    assert app.get("/", peer="10.0.0.2").code == "MISSING_TENANT"
    assert app.get("/", shop.other_headers, peer="10.0.0.1").json()["tenant"] == "globex"


def test_exempt_paths_have_no_tenant_and_count_nothing(shop: Shop) -> None:
    app = Both(shop, exempt=["/health", "/static/*"])
    for path in ("/health", "/static/a.css", "/static/a/b"):
        assert app.get(path, shop.headers).json() == {"tenant": None}
    for path in ("/health/x", "/static", "/static/../docs", "/static//docs", "/static/./x"):
        assert app.get(path).code == "MISSING_TENANT", path
    assert shop.t.limits.peek(shop.acme)[0].remaining in (2, 1000)


def test_without_a_tenant_where_none_is_required(shop: Shop) -> None:
    app = Both(shop, require_tenant=False)
    assert app.get("/").json() == {"tenant": None}
    assert app.get("/", {"X-Tenant-ID": "acme"}).json() == {"tenant": None}
    assert app.get("/", shop.headers).json()["tenant"] == "acme"
    # What was sent and is wrong does not count as nothing.
    assert app.get("/", {"X-API-Key": "nonsense"}).code == "INVALID_CREDENTIAL"


def test_preflight_passes_but_other_options_requests_do_not(shop: Shop) -> None:
    app = Both(shop)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert app.get("/", preflight, method="OPTIONS").json() == {"tenant": None}
    assert app.get("/", {"Origin": "https://a.example"}, method="OPTIONS").status == 401
    assert app.get("/", preflight, method="POST").status == 401


# ----------------------------------------------------------------------------- wrong and hostile


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": "tk_nonsense"},
        {"X-API-Key": "k" * 100_000},
        {"X-API-Key": "tk_\xff\xfe"},
        {"X-API-Key": "tk_a\x00b"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer  "},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer sess_\xff"},
        {"Authorization": "Bearer " + "x" * 100_000},
    ],
    ids=lambda headers: next(iter(headers)) + next(iter(headers.values()))[:12],
)
def test_an_invalid_credential_never_falls_through(tmp_path: Path, headers: dict[str, str]) -> None:
    shop = Shop(tmp_path, default_tenant="acme")
    app = Both(shop, trusted_proxies=["10.0.0.1"], trust_hints=True, require_tenant=False)
    answer = app.get("/", {**headers, "X-Tenant-ID": "acme"}, peer="10.0.0.1")
    assert (answer.status, answer.code) == (401, "INVALID_CREDENTIAL")
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_another_authentication_scheme_is_the_applications(shop: Shop) -> None:
    headers = {"Authorization": "Basic YTpi"}
    assert Both(shop).get("/", headers).code == "MISSING_TENANT"
    assert Both(shop).get("/", {**headers, **shop.headers}).status == 200
    ignoring = Both(shop, authorization=False)
    assert ignoring.get("/", {"Authorization": "Bearer theirs", **shop.headers}).status == 200


def test_two_credentials_are_refused(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t)
    same = {"X-API-Key": shop.secret, "Authorization": f"Bearer {shop.secret}"}
    assert get(app, "/", same).status == 200
    key, other = shop.secret, shop.other_secret
    for pairs in (
        [("x-api-key", key), ("authorization", f"Bearer {other}")],
        [("x-api-key", key), ("authorization", "Bearer sess_x")],
        [("x-api-key", key), ("x-api-key", other)],
        [("x-api-key", key), ("x-api-key", key)],
        [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {other}")],
    ):
        assert get(app, "/", pairs).code == "INVALID_CREDENTIAL", pairs
    joined = {"X-API-Key": f"{key},{other}"}  # as WSGI servers join them
    assert wsgi_get(WsgiMiddleware(wsgi_echo, shop.t), "/", joined).code == "INVALID_CREDENTIAL"


def test_two_tenant_headers(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t, trusted_proxies=["10.0.0.1"], trust_hints=True)
    key = ("x-api-key", shop.secret)
    hint = lambda *names: [("x-tenant-id", name) for name in names]  # noqa: E731
    assert get(app, "/", [key, *hint("acme", "acme")]).status == 200
    assert get(app, "/", [key, *hint("acme", "globex")]).code == "TENANT_CONFLICT"
    trusted = ("10.0.0.1", 1)
    assert get(app, "/", hint("acme", "globex"), client=trusted).code == "TENANT_CONFLICT"
    many = hint(*(f"t{i}" for i in range(50)))
    assert get(app, "/", [key, *many]).code == "TENANT_CONFLICT"


@pytest.mark.parametrize(
    "value", [b"", b"\xff\xfe", b"a\x00b", b"acme\r\nX-Evil: 1", b"a" * 300, b"../acme", b"acme "]
)
def test_hostile_tenant_headers(shop: Shop, value: bytes) -> None:
    app = TenancyMiddleware(echo, shop.t, trusted_proxies=["10.0.0.1"], trust_hints=True)
    key = (b"x-api-key", shop.secret.encode())
    answer = get(app, "/", [key, (b"x-tenant-id", value)])
    assert (answer.status, answer.code) == (403, "TENANT_CONFLICT")
    answer = get(app, "/", [(b"x-tenant-id", value)], client=("10.0.0.1", 1))
    assert (answer.status, answer.code) == (401, "INVALID_TENANT")
    assert b"Evil" not in answer.body


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b"x-api-key", b"authorization", b"x-mcp-tenant-id", b"x-mcp-user-id",
                 b"x-mcp-session-id", b"host", b"x-forwarded-for", b"origin", b"cookie"]
            ),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([b"acme", b"globex", b"Bearer x.y.z", b"Bearer tk_", b"a.b.com"]),
            ),
        ),
        max_size=6,
    ),
    query=st.one_of(st.just(b""), st.binary(max_size=60)),
    path=st.text(max_size=30).map(lambda text: "/" + text),
)  # fmt: skip
def test_no_request_without_a_credential_gets_in_or_breaks_anything(
    shop_for_fuzzing: Shop, headers: Any, query: bytes, path: str
) -> None:
    app = TenancyMiddleware(
        echo, shop_for_fuzzing.t, preset="mcp", query_parameter="tenant",
        path="/t/{tenant}/", base_domain="example.com", trusted_proxies=["10.0.0.0/8"],
    )  # fmt: skip
    shop_for_fuzzing.advance(61)
    for client in (("203.0.113.7", 1), ("10.0.0.1", 1), None):
        answer = get(app, path, headers, query=query, client=client)
        assert answer.status == 401 or (answer.status == 403 and answer.code == "TENANT_CONFLICT")


@pytest.fixture(scope="module")
def shop_for_fuzzing(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("fuzz"))


# ----------------------------------------------------------------------------- address


def spend_address(app: Both, headers: dict[str, str], peer: str) -> None:
    """30 a minute for each address; each call asks twice (ASGI and WSGI)."""
    for _ in range(15):
        assert app.get("/", headers, peer=peer).code == "MISSING_TENANT"


def test_trap_05_the_left_most_forwarded_address_is_the_senders_claim(shop: Shop) -> None:
    app = Both(shop, trusted_proxies=["10.0.0.0/8"])
    for i in range(15):  # a new claim each time does not make a new sender
        claim = {"X-Forwarded-For": f"198.51.100.{i}, 192.0.2.9"}
        assert app.get("/", claim, peer="10.0.0.1").code == "MISSING_TENANT"
    answer = app.get("/", {"X-Forwarded-For": "1.1.1.1, 192.0.2.9"}, peer="10.0.0.1")
    assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
    # Another sender behind the same proxy is another one.
    assert app.get("/", {"X-Forwarded-For": "192.0.2.10"}, peer="10.0.0.1").status == 401


def test_forwarded_addresses_of_strangers_count_for_nothing(shop: Shop) -> None:
    app = Both(shop, trusted_proxies=["10.0.0.0/8"])
    spend_address(app, {}, "203.0.113.50")
    answer = app.get("/", {"X-Forwarded-For": "192.0.2.77"}, peer="203.0.113.50")
    assert answer.status == 429


@pytest.mark.parametrize(
    ("forwarded", "same_as"),
    [
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),  # our own proxies in a row
        ("192.0.2.1:4711", "192.0.2.1"),
        ("garbage, 192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::ffff"),  # the same /64
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_which_address_counts(shop: Shop, forwarded: str, same_as: str) -> None:
    app = Both(shop, trusted_proxies=["10.0.0.0/8"])
    spend_address(app, {"X-Forwarded-For": forwarded}, "10.0.0.1")
    assert app.get("/", {"X-Forwarded-For": same_as}, peer="10.0.0.1").status == 429


def test_garbage_from_the_proxy_counts_as_the_proxy(shop: Shop) -> None:
    app = Both(shop, trusted_proxies=["10.0.0.0/8"])
    spend_address(app, {"X-Forwarded-For": "192.0.2.1, unknown"}, "10.0.0.1")
    assert app.get("/", {"X-Forwarded-For": ""}, peer="10.0.0.1").status == 429


# ----------------------------------------------------------------------------- options, messages


@pytest.mark.parametrize(
    "options",
    [
        {"exempt": "/health"}, {"exempt": ["health"]}, {"exempt": ["/a*b"]}, {"exempt": ["/ab*"]},
        {"trusted_proxies": ["10.0.0.1/8"]}, {"trusted_proxies": "10.0.0.0/8"},
        {"trust_hints": True}, {"path": "/api"}, {"path": "{tenant}"}, {"preset": "other"},
        {"tenant_header": "X Tenant"}, {"base_domain": "a.com", "subdomain": "x"}, {"colour": 1},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options_are_refused_at_once(shop: Shop, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        TenancyMiddleware(echo, shop.t, **options)


def test_every_option_is_documented_by_its_default() -> None:
    assert Options.of(None, {}) == Options()
    assert Options.of("mcp", {"user_header": "X-U"}).user_header == "X-U"
    assert Options.of("mcp", {}).tenant_header == "X-MCP-Tenant-ID"


def test_the_cost_of_a_request(shop: Shop) -> None:
    app = TenancyMiddleware(echo, shop.t, cost=lambda method, path: 5 if path == "/big" else 1)
    assert get(app, "/big", shop.other_headers).headers["x-ratelimit-remaining"] == "5"
    assert get(app, "/small", shop.other_headers).headers["x-ratelimit-remaining"] == "4"


def test_the_tenant_inside_a_message() -> None:
    assert tenant_in({"tenantId": "acme"}) == "acme"
    assert tenant_in(b'{"meta": {"tenant": "acme"}}', "meta.tenant") == "acme"
    assert tenant_in("{}") is None
    for wrong in ({"tenantId": 5}, {"tenantId": ""}, "nonsense", {"tenantId": "a\0b"}):
        with pytest.raises(InvalidValue):
            tenant_in(wrong)
