"""Wrong credentials are bounded per address, over all workers, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenancy import Tenancy
from tenancy.asgi import TenancyMiddleware
from tenancy.errors import InvalidValue
from tenancy.wsgi import TenancyMiddleware as WSGIMiddleware
from web_support import CATALOG, Shop, echo, get, wsgi_echo, wsgi_get

# As the shipped catalogs: no limit of an address.
TEXT = CATALOG.replace("per_address: {scope: ip, limit: 30/minute}", "").replace(
    "/minute", "000/hour"
)
WRONG = {"X-API-Key": "tk_wrong"}
HERE = ("203.0.113.7", 1)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, text=TEXT, failed_credentials="30/minute")
    yield made
    made.t.close()


def asgi(shop: Shop, headers: Any, address: str = "203.0.113.7", **options: Any) -> Any:
    app = TenancyMiddleware(echo, shop.t, exempt=["/health"], **options)
    return get(app, "/", headers, client=(address, 1))


def wsgi(shop: Shop, headers: Any, address: str = "203.0.113.7", **options: Any) -> Any:
    app = WSGIMiddleware(wsgi_echo, shop.t, exempt=["/health"], **options)
    return wsgi_get(app, "/", headers, REMOTE_ADDR=address)


@pytest.mark.parametrize("ask", [asgi, wsgi])
def test_thirty_wrong_ones_a_minute_then_429_for_right_ones_too(shop: Shop, ask: Any) -> None:
    for _ in range(30):
        assert ask(shop, WRONG).code == "INVALID_CREDENTIAL"
    for headers in (WRONG, shop.headers, {"Authorization": "Bearer sess_wrong"}):
        answer = ask(shop, headers)
        assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
        assert answer.json()["limit_name"] == "failed_credentials"
        assert "tenant" not in answer.json()
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["x-ratelimit-remaining"] == "0"
    assert ask(shop, {}).code == "MISSING_TENANT"  # who tries nothing is not refused for it
    assert ask(shop, shop.headers, "203.0.113.8").status == 200
    shop.advance(61)
    assert ask(shop, shop.headers).status == 200


def test_an_ipv6_network_counts_as_one_address(shop: Shop) -> None:
    for i in range(30):
        assert asgi(shop, WRONG, f"2001:db8::{i:x}").status == 401
    assert asgi(shop, WRONG, "2001:db8::ffff").status == 429
    assert asgi(shop, WRONG, "2001:db8:0:1::1").status == 401


def test_behind_a_proxy_the_callers_address_counts(shop: Shop) -> None:
    behind = {"trusted_proxies": ["10.0.0.0/8"]}
    for _ in range(31):
        last = asgi(shop, {**WRONG, "X-Forwarded-For": "198.51.100.1"}, "10.0.0.1", **behind)
    assert last.status == 429
    other = {**shop.headers, "X-Forwarded-For": "198.51.100.2"}
    assert asgi(shop, other, "10.0.0.1", **behind).status == 200


def test_tokens_are_not_verified_for_an_address_that_has_had_its_attempts(shop: Shop) -> None:
    jwt = pytest.importorskip("jwt")
    from tenancy.resolve import JWTConfig

    secret = "a secret of thirty-two characters"
    config = JWTConfig(keys=secret, algorithms=["HS256"])
    now = shop.t.clock.wall_ns() // 10**9

    def bearer(key: str, user: str) -> dict[str, str]:
        claims = {"sub": user, "tenant_id": "acme", "exp": now + 3600}
        return {"Authorization": f"Bearer {jwt.encode(claims, key, 'HS256')}"}

    for i in range(30):
        wrong = bearer("another secret of thirty-two char", f"u{i}")
        assert asgi(shop, wrong, jwt=config).status == 401
    assert asgi(shop, bearer(secret, "ann"), jwt=config).status == 429
    assert asgi(shop, bearer(secret, "ann"), "203.0.113.8", jwt=config).status == 200


def test_expired_credentials_and_conflicts_do_not_count(shop: Shop) -> None:
    from datetime import datetime, timedelta, timezone

    now = datetime.fromtimestamp(shop.t.clock.wall_ns() / 1e9, timezone.utc)
    _, old = shop.t.keys.create(shop.acme, scopes=["doc:*"], expires=now + timedelta(seconds=5))
    shop.advance(10)
    for _ in range(40):
        assert asgi(shop, {"X-API-Key": old}).code == "EXPIRED_CREDENTIAL"
        assert asgi(shop, {**shop.headers, "X-Tenant-ID": "globex"}).code == "TENANT_CONFLICT"
    assert asgi(shop, shop.headers).status == 200


def test_neither_do_expired_tokens_nor_certificates(shop: Shop, tmp_path: Path) -> None:
    jwt = pytest.importorskip("jwt")
    from datetime import datetime, timezone

    from pki_support import DAY, Authority
    from tenancy.resolve import ClientCertificates, JWTConfig

    secret = "a secret of thirty-two characters"
    now = shop.t.clock.wall_ns() / 1e9
    claims = {"sub": "ann", "tenant_id": "acme", "exp": int(now) - 5}
    token = {"Authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}
    authority = Authority("CA", datetime.fromtimestamp(now, timezone.utc))
    (tmp_path / "ca.pem").write_text(authority.pem)
    old = {"client_cert_chain": [authority.issue(begins=-3 * DAY, ends=-DAY).pem]}
    app = TenancyMiddleware(
        echo,
        shop.t,
        jwt=JWTConfig(keys=secret, algorithms=["HS256"]),
        client_certificates=ClientCertificates(ca=tmp_path / "ca.pem"),
    )
    for _ in range(35):
        assert get(app, "/", token, client=HERE).code == "EXPIRED_CREDENTIAL"
        answer = get(app, "/", client=HERE, extensions={"tls": old})
        assert answer.code == "EXPIRED_CREDENTIAL"
    assert get(app, "/", shop.headers, client=HERE).status == 200


def test_it_can_be_set_and_turned_off(tmp_path: Path) -> None:
    shop = Shop(tmp_path, text=TEXT, failed_credentials="3/hour")
    assert [asgi(shop, WRONG).status for _ in range(4)] == [401, 401, 401, 429]
    shop.t.close()
    with Tenancy.open(shop.data, clock=shop.clock, failed_credentials=None) as t:
        shop.t = t
        assert {asgi(shop, WRONG).status for _ in range(50)} == {401}
    for wrong in ("", "often", "3/minute; 9/hour", 30):
        with pytest.raises(InvalidValue, match="failed_credentials"):
            Tenancy.open(shop.data, failed_credentials=wrong)  # type: ignore[arg-type]


def test_explain_says_why(shop: Shop) -> None:
    for _ in range(30):
        asgi(shop, WRONG)
    why = shop.t.explain(api_key=shop.secret, ip=HERE[0])
    assert (why["code"], why["detail"]) == ("RATE_LIMIT_EXCEEDED", "failed_credentials")
    assert shop.t.explain(api_key=shop.secret, ip="203.0.113.8")["allowed"]


@pytest.mark.web
@pytest.mark.slow
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_workers_count_together(tmp_path: Path, server: str) -> None:
    httpx = pytest.importorskip("httpx")
    from server_support import free_port, serving

    shop = Shop(tmp_path, system_clock=True, text=TEXT, failed_credentials=None)
    port = free_port()
    if server == "uvicorn":
        command = ["uvicorn", "feature_apps:guarded_app", "--factory", "--port", str(port)]
    else:
        command = ["gunicorn", "feature_apps:guarded_flask", "--bind", f"127.0.0.1:{port}"]
    with serving(shop.data, [*command, "--workers", "2"], port) as client:

        def ask(_: int) -> Any:
            with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as own:
                return own.get("/", headers=WRONG)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(40)))
        found = [a.status_code for a in answers]
        assert (found.count(401), found.count(429)) == (12, 28)
        assert client.get("/", headers=shop.headers).status_code == 429
        assert client.get("/health").status_code == 200
