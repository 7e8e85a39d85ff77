"""JSON Web Tokens: verified, never merely decoded. The one place that speaks to PyJWT.

Signature by an algorithm of the list, `exp` always, `nbf`, `iss` and `aud` as configured. The
tenants a
token names are only candidates; the engine judges whether they exist, agree with the request and
are served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _core
from .errors import (
    ExpiredCredential,
    ExtraMissing,
    InvalidCredential,
    InvalidValue,
)

__all__ = ["JWTConfig", "JWTVerifier", "Verified"]

TOKEN_BYTES_MAX = 16_384
_TENANTS_MAX = 64
_SCOPES_MAX = 256
_ROLES_MAX = 64
_TEXT_MAX = 255

_FAMILIES = {
    "HS256": "secret", "HS384": "secret", "HS512": "secret",
    "RS256": "rsa", "RS384": "rsa", "RS512": "rsa",
    "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
    "ES256": "ec", "ES256K": "ec", "ES384": "ec", "ES512": "ec",
    "EdDSA": "okp",
}  # fmt: skip

Key = Any
"""A PEM text or bytes, a secret, or a key object of `cryptography`."""


@dataclass(frozen=True, kw_only=True)
class JWTConfig:
    """How tokens are verified.

    `keys` is one key, several to be tried, or a mapping of `kid` to key. `algorithms` are those
    that are
    accepted; secret and public-key algorithms cannot be mixed, or a public key could be passed off
    as
    a secret. `issuer` and `audience` are demanded where they are given, and a token with an
    audience is
    refused where none is. `tenant_claims`: the first one present names the tenant or tenants (a
    text or a
    list); without any, the user must be a member of the tenant that the request names. Permission
    claims
    count only when `scopes_claim` is set. `roles_claim` names the user's roles that are active (a
    list); a token without it has all of them. `revoked` may refuse a verified token by its claims;
    `epoch` answers a number, and when it changes, what was verified before is verified again.
    """

    keys: Key | Sequence[Key] | Mapping[str, Key]
    algorithms: Sequence[str]
    issuer: str | Sequence[str] | None = None
    audience: str | Sequence[str] | None = None
    tenant_claims: Sequence[str] = ("tenant_id", "organization_id")
    user_claim: str = "sub"
    scopes_claim: str | None = None
    roles_claim: str | None = None
    leeway_s: float = 0.0
    cache_size: int = 10_000
    revoked: Callable[[Mapping[str, Any]], bool] | None = None
    epoch: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that passed."""

    identity: _core.Identity
    scopes: tuple[str, ...]
    expires_s: float
    not_before_s: float
    epoch: int


class JWTVerifier:
    """Verifies and remembers. Any thread; one per middleware."""

    def __init__(self, config: JWTConfig, clock: _core.Clock) -> None:
        try:
            import jwt
        except ImportError:
            raise ExtraMissing("jwt", "PyJWT") from None
        self._jwt = jwt
        self._config = config
        self._clock = clock
        self._algorithms = _checked_algorithms(config.algorithms)
        self._keys: Mapping[str, Key] | None = None
        self._tried: tuple[Key, ...] = ()
        if isinstance(config.keys, Mapping):
            self._keys = dict(config.keys)
        elif isinstance(config.keys, (list, tuple)):
            self._tried = tuple(config.keys)
        else:
            self._tried = (config.keys,)
        if not (self._keys or self._tried):
            raise InvalidValue("jwt.keys", "there are none, so no token could pass")
        self._seen: dict[bytes, Verified] = {}

    def cached(self, token: bytes) -> Verified | None:
        """What is known of a token that passed before and still does."""
        return self._recall(_core.sha256(token))

    def verify(self, token: bytes) -> Verified:
        """The caller of a token. Raises `InvalidCredential` or `ExpiredCredential`."""
        if len(token) > TOKEN_BYTES_MAX:
            raise InvalidCredential("the token is too long")
        digest = _core.sha256(token)
        known = self._recall(digest)
        if known is not None:
            return known
        epoch = self._epoch()
        claims = self._claims(token)
        verified = self._verified(claims, epoch)
        if len(self._seen) >= self._config.cache_size:
            for oldest in list(self._seen)[: max(1, self._config.cache_size // 10)]:
                self._seen.pop(oldest, None)
        if self._config.cache_size > 0:
            self._seen[digest] = verified
        return verified

    # ------------------------------------------------------------------------------ inside

    def _epoch(self) -> int:
        return 0 if self._config.epoch is None else self._config.epoch()

    def _now_s(self) -> float:
        return self._clock.wall_ns() / 1e9

    def _recall(self, digest: bytes) -> Verified | None:
        known = self._seen.get(digest)
        if known is None:
            return None
        # The moment of expiry is known; a clock set back before `nbf` is looked at as well.
        if known.not_before_s <= self._now_s() < known.expires_s and known.epoch == self._epoch():
            return known
        self._seen.pop(digest, None)
        return None

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        jwt, config = self._jwt, self._config
        options = {
            # Times are checked below, by our clock.
            "verify_signature": True, "verify_exp": False, "verify_nbf": False, "verify_iat": False,
            "verify_aud": True, "verify_iss": config.issuer is not None, "require": ["exp"],
        }  # fmt: skip
        issuer = config.issuer
        try:
            keys = self._candidates(jwt.get_unverified_header(token))
            for position, key in enumerate(keys):
                try:
                    claims: Mapping[str, Any] = jwt.decode(
                        token,
                        key,
                        algorithms=self._algorithms,
                        audience=_listed(config.audience),
                        options=options,
                    )
                    break
                except jwt.InvalidSignatureError:
                    if position + 1 == len(keys):
                        raise
        except (jwt.PyJWTError, ValueError, TypeError, UnicodeError, RecursionError):
            # What exactly is wrong helps only an attacker.
            raise InvalidCredential("the token is not valid") from None
        if issuer is not None and claims.get("iss") not in (_listed(issuer) or ()):
            raise InvalidCredential("the token is not valid")
        return claims

    def _candidates(self, header: Mapping[str, Any]) -> Sequence[Key]:
        if self._keys is None:
            return self._tried
        key_id = header.get("kid")
        if not isinstance(key_id, str) or key_id not in self._keys:
            raise InvalidCredential("the token is not valid")
        return (self._keys[key_id],)

    def _verified(self, claims: Mapping[str, Any], epoch: int) -> Verified:
        config = self._config
        now, leeway = self._now_s(), config.leeway_s
        expires = _seconds(claims, "exp") + leeway
        not_before = _seconds(claims, "nbf") - leeway if "nbf" in claims else -math.inf
        if now >= expires:
            raise ExpiredCredential("the token has expired")
        if now < not_before:
            raise InvalidCredential("the token is not valid yet")
        if config.revoked is not None and config.revoked(claims):
            raise InvalidCredential("the token was revoked")
        user = claims.get(config.user_claim)
        if user is not None and not _is_text(user):
            raise InvalidCredential("the token's user is no text")
        scopes = self._scopes(claims)
        identity = _core.Identity(
            user,
            self._tenants(claims),
            None if config.scopes_claim is None else scopes,
            self._roles(claims),
        )
        return Verified(identity, scopes, expires, not_before, epoch)

    def _tenants(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        for name in self._config.tenant_claims:
            if name in claims:
                value = claims[name]
                listed = value if isinstance(value, list) else [value]
                if not 0 < len(listed) <= _TENANTS_MAX or not all(map(_is_text, listed)):
                    raise InvalidCredential(f"the token's {name} is no tenant")
                return tuple(listed)
        return ()

    def _roles(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        name = self._config.roles_claim
        if name is None or name not in claims:
            return None
        listed = claims[name]
        if (
            not isinstance(listed, list)
            or len(listed) > _ROLES_MAX
            or not all(map(_is_text, listed))
        ):
            raise InvalidCredential(f"the token's {name} are no roles")
        return tuple(listed)

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        if self._config.scopes_claim is None:
            return ()
        value = claims.get(self._config.scopes_claim, ())
        listed = value.split() if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)) or len(listed) > _SCOPES_MAX:
            raise InvalidCredential("the token's permissions are not readable")
        # Others' scopes (`openid`) may stand among ours.
        return tuple(s for s in listed if isinstance(s, str) and _core.valid_permission(s, True))


def _checked_algorithms(algorithms: Sequence[str]) -> list[str]:
    if isinstance(algorithms, str) or not algorithms:
        raise InvalidValue("jwt.algorithms", "expected a list, such as ['RS256']")
    unknown = [name for name in algorithms if name not in _FAMILIES]
    if unknown:
        raise InvalidValue("jwt.algorithms", f"not accepted here: {', '.join(map(str, unknown))}")
    families = {_FAMILIES[name] for name in algorithms}
    if "secret" in families and len(families) > 1:
        raise InvalidValue(
            "jwt.algorithms",
            "secret and public-key algorithms together",
            remedy="configure one kind: a public key must never be taken for a secret",
        )
    return list(algorithms)


def _listed(value: str | Sequence[str] | None) -> list[str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidCredential(f"the token's {name} is no time")
    return float(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _TEXT_MAX and value.isprintable()
