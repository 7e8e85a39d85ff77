"""Tokens are verified, never merely decoded. Row R3 with configured keys."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

jwt = pytest.importorskip("jwt")

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402

from store_support import START_NS, make_clock  # noqa: E402
from tenancy.asgi import TenancyMiddleware  # noqa: E402
from tenancy.errors import ExpiredCredential, InvalidCredential, InvalidValue  # noqa: E402
from tenancy.jwt import JWTConfig, JWTVerifier  # noqa: E402
from web_support import Shop, echo, get  # noqa: E402

pytestmark = pytest.mark.web

NOW = START_NS // 1_000_000_000
SECRET = "s" * 32
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def token(
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    claims = {"sub": "ann", "tenant_id": "acme", "exp": NOW + 600, **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    encoded: str = jwt.encode(claims, key, algorithm=algorithm, headers=headers)
    return encoded


def verifier(**config: Any) -> JWTVerifier:
    config = {"keys": SECRET, "algorithms": ["HS256"], **config}
    return JWTVerifier(JWTConfig(**config), make_clock())


def passes(v: JWTVerifier, text: str) -> bool:
    try:
        v.verify(text.encode())
    except InvalidCredential:
        return False
    return True


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def guarded(shop: Shop, **config: Any) -> Any:
    config = {"keys": SECRET, "algorithms": ["HS256"], **config}
    return TenancyMiddleware(echo, shop.t, jwt=JWTConfig(**config))


def bearer(text: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}", **more}


# -------------------------------------------------------------------------- through the middleware


def test_the_claim_names_the_tenant(shop: Shop) -> None:
    app = guarded(shop)
    for claims in ({}, {"tenant_id": "A-1"}, {"tenant_id": None, "organization_id": shop.acme.id}):
        answer = get(app, "/", bearer(token(**claims)))
        assert answer.json() == {"tenant": "acme", "principal": "ann", "session": None}


def test_a_token_of_several_tenants_needs_one_selected(shop: Shop) -> None:
    app = guarded(shop)
    both = token(tenant_id=["acme", "globex"])
    assert get(app, "/", bearer(both)).code == "MISSING_TENANT"
    selected = get(app, "/", bearer(both, **{"X-Tenant-ID": "globex"}))
    assert selected.json()["tenant"] == "globex"
    assert get(app, "/", bearer(both, **{"X-Tenant-ID": "nobody"})).code == "TENANT_CONFLICT"


def test_a_token_without_tenant_selects_only_where_its_user_is_a_member(shop: Shop) -> None:
    app = guarded(shop)
    nobody, ann = token(tenant_id=None, sub="eve"), token(tenant_id=None)
    assert get(app, "/", bearer(ann, **{"X-Tenant-ID": "acme"})).status == 200
    assert get(app, "/", bearer(nobody, **{"X-Tenant-ID": "acme"})).code == "TENANT_CONFLICT"
    assert get(app, "/", bearer(ann)).code == "MISSING_TENANT"


def test_a_header_does_not_move_a_token_to_another_tenant(shop: Shop) -> None:
    app = guarded(shop)
    answer = get(app, "/", bearer(token(), **{"X-Tenant-ID": "globex"}))
    assert (answer.status, answer.code) == (403, "TENANT_CONFLICT")


def test_expired_tokens_say_so(shop: Shop) -> None:
    app, text = guarded(shop), token(exp=NOW + 60)
    assert get(app, "/", bearer(text)).status == 200
    shop.advance(60)
    answer = get(app, "/", bearer(text))
    assert (answer.status, answer.code) == (401, "EXPIRED_CREDENTIAL")
    assert answer.json()["detail"] == "the credential has expired"
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_a_suspended_tenants_token(shop: Shop) -> None:
    app, text = guarded(shop), token()
    assert get(app, "/", bearer(text)).status == 200
    shop.t.tenants.suspend(shop.acme, reason="test")
    assert get(app, "/", bearer(text)).code == "SUSPENDED_TENANT"


def test_bad_tokens_are_limited_before_they_are_verified(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = guarded(shop)
    verified = []
    original = JWTVerifier.verify
    monkeypatch.setattr(
        JWTVerifier, "verify", lambda self, text: (verified.append(text), original(self, text))[1]
    )
    codes = [get(app, "/", bearer(token(key="x" * 32, n=i))).status for i in range(40)]
    assert codes == [401] * 30 + [429] * 10  # 30 a minute for an address
    assert len(verified) == 30


def test_permission_claims_count_only_where_configured(shop: Shop) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        from tenancy import require_tenant

        context = require_tenant()
        assert context.can("doc:write")
        context.require(permission="doc:write")
        await echo(scope, receive, send)

    text = token(scope="openid doc:write", sub="eve")
    config = {"keys": SECRET, "algorithms": ["HS256"]}
    without = TenancyMiddleware(app, shop.t, jwt=JWTConfig(**config))
    with pytest.raises(AssertionError):
        get(without, "/", bearer(text))
    counting = TenancyMiddleware(app, shop.t, jwt=JWTConfig(**config, scopes_claim="scope"))
    assert get(counting, "/", bearer(text)).status == 200


# ----------------------------------------------------------------------------- the verifier


def unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


def test_what_is_not_signed_as_configured_is_refused() -> None:
    good = token()
    assert passes(verifier(), good)
    head, body, signature = good.split(".")
    claims = {"sub": "ann", "tenant_id": "acme", "exp": NOW + 600}
    for text in (
        unsigned(claims), unsigned(claims, "None"), unsigned(claims, "HS256"),
        token(key="x" * 32), token(key="s" * 48, algorithm="HS384"),
        f"{head}.{body}.", f"{head}.{body}",
        f"{head}.{body}.{signature[:-4]}AAAA", "a.b.c", "..", "", "\xff.\xff.\xff",
        f"{head}.{body}x.{signature}", good + "A" * 20_000,
    ):  # fmt: skip
        assert not passes(verifier(), text), text[:80]


def test_a_public_key_is_never_a_secret() -> None:
    v = verifier(keys=PUBLIC_PEM, algorithms=["RS256"])
    assert passes(v, token(key=PRIVATE, algorithm="RS256"))
    assert not passes(v, token(key=OTHER, algorithm="RS256"))
    import hashlib
    import hmac

    head = unsigned({}, "HS256").split(".")[0]
    body = token().split(".")[1]
    mac = hmac.digest(PUBLIC_PEM, f"{head}.{body}".encode(), hashlib.sha256)
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert not passes(v, forged)
    with pytest.raises(InvalidValue, match="together"):
        verifier(keys=PUBLIC_PEM, algorithms=["RS256", "HS256"])


def test_keys_by_id_and_keys_in_a_row() -> None:
    by_id = verifier(keys={"a": PUBLIC_PEM, "b": OTHER.public_key()}, algorithms=["RS256"])
    assert passes(by_id, token(key=PRIVATE, algorithm="RS256", headers={"kid": "a"}))
    assert passes(by_id, token(key=OTHER, algorithm="RS256", headers={"kid": "b"}))
    assert not passes(by_id, token(key=PRIVATE, algorithm="RS256", headers={"kid": "b"}))
    assert not passes(by_id, token(key=PRIVATE, algorithm="RS256", headers={"kid": "../a"}))
    assert not passes(by_id, token(key=PRIVATE, algorithm="RS256"))
    in_a_row = verifier(keys=[PUBLIC_PEM, OTHER.public_key()], algorithms=["RS256"])
    assert passes(in_a_row, token(key=OTHER, algorithm="RS256"))
    curve = ec.generate_private_key(ec.SECP256R1())
    assert passes(
        verifier(keys=curve.public_key(), algorithms=["ES256"]), token(key=curve, algorithm="ES256")
    )


@pytest.mark.parametrize(
    ("claims", "config", "good"),
    [
        ({"exp": None}, {}, False),
        ({"exp": NOW}, {}, False),
        ({"exp": NOW + 1}, {}, True),
        ({"exp": NOW - 5}, {"leeway_s": 10}, True),
        ({"exp": "soon"}, {}, False),
        ({"exp": True}, {}, False),
        ({"exp": 1e400}, {}, False),
        ({"nbf": NOW + 1}, {}, False),
        ({"nbf": NOW}, {}, True),
        ({"iss": "us"}, {"issuer": "us"}, True),
        ({"iss": "them"}, {"issuer": "us"}, False),
        ({}, {"issuer": ["us"]}, False),
        ({"iss": ["us"]}, {"issuer": "us"}, False),
        ({"aud": "api"}, {"audience": "api"}, True),
        ({"aud": ["web", "api"]}, {"audience": "api"}, True),
        ({"aud": "web"}, {"audience": "api"}, False),
        ({}, {"audience": "api"}, False),
        ({"aud": "api"}, {}, False),
        ({"sub": 5}, {}, False),
        ({"sub": None}, {}, True),
        ({"tenant_id": 5}, {}, False),
        ({"tenant_id": []}, {}, False),
        ({"tenant_id": "a\0"}, {}, False),
        ({"tenant_id": ["t"] * 65}, {}, False),
        ({"perms": {"a": 1}}, {"scopes_claim": "perms"}, False),
    ],
    ids=str,
)
def test_claims(claims: dict[str, Any], config: dict[str, Any], good: bool) -> None:
    v = verifier(**config)
    try:
        text = token(**claims)
    except (TypeError, ValueError):  # the library's own check on encoding is as strict
        assert not good
        return
    assert passes(v, text) is good


def test_expired_is_told_apart() -> None:
    with pytest.raises(ExpiredCredential):
        verifier().verify(token(exp=NOW - 1).encode())


def test_what_passed_is_remembered_until_it_expires_or_is_revoked() -> None:
    revoked: set[str] = set()
    epoch, asked = [0], []

    def is_revoked(claims: Any) -> bool:
        asked.append(claims["jti"])
        return claims["jti"] in revoked

    clock = make_clock()
    config = JWTConfig(
        keys=SECRET, algorithms=["HS256"], revoked=is_revoked, epoch=lambda: epoch[0], cache_size=20
    )
    v = JWTVerifier(config, clock)
    text = token(jti="1", exp=NOW + 100).encode()
    assert v.cached(text) is None
    first = v.verify(text)
    assert v.verify(text) is first
    assert v.cached(text) is first
    assert asked == ["1"]
    revoked.add("1")
    assert v.verify(text) is first  # until the epoch says that something happened
    epoch[0] += 1
    with pytest.raises(InvalidCredential):
        v.verify(text)
    revoked.clear()
    v.verify(text)
    clock.advance_ns(100 * 10**9)
    assert v.cached(text) is None
    with pytest.raises(ExpiredCredential):
        v.verify(text)
    for i in range(100):
        v.verify(token(jti=str(i), exp=NOW + 9999).encode())
    assert len(v._seen) <= 20


@pytest.mark.parametrize(
    "config",
    [
        {"algorithms": ["none"]}, {"algorithms": []}, {"algorithms": "HS256"},
        {"algorithms": ["HS256", "XX"]}, {"keys": []}, {"keys": {}},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_configurations_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        verifier(**config)
