"""From a request to the arguments of `admit`: which credential, which hints, which address.

Protocol-free: ASGI and WSGI hand over the headers that were asked for. Rules:

 1. One credential. Two different ones, a repeated one, or one that is not valid are refused; no
 other    strategy is tried after it.
 2. Header, path, query and subdomain are hints: they select among what the credential allows.
 Alone they
    name a tenant only where that is configured: behind a trusted proxy, or on an anonymous path.
 3. The user named by a header counts only beside an API key, or from a trusted proxy.
 4. What is malformed is not ignored: it takes the way of a wrong credential or an unknown tenant.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from . import _core
from ._certificate_sources import RFC_9440, RFC_9440_CHAIN, Presented, of_connection, of_header
from .certificates import CertificateVerifier, ClientCertificates
from .errors import ExpiredCredential, InvalidCredential, InvalidValue
from .jwt import JWTConfig, JWTVerifier

__all__ = ["ClientCertificates", "JWTConfig", "Options", "Resolved", "Resolver", "tenant_in"]

Found = Mapping[bytes, Any]
"""Wanted headers by lower-case name: the value, or a list of values where it was repeated."""

Identify = Callable[[Mapping[str, Any]], _core.Identity | None]

WRONG_CREDENTIAL = b"-"
"""Never a key. Asking with it lets the limits before authentication count the attempt."""
NO_TENANT = "\0"
"""Never a tenant's name."""

_HINT_BYTES_MAX = 255
_HINTS_MAX = 8
_FORWARDED_BYTES_MAX = 4096
_SESSION_BYTES_MAX = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSAFE_PATH = re.compile(r"//|\\|(?:^|/)\.\.?(?:/|$)")

_PRESETS: dict[str, dict[str, Any]] = {
    "mcp": {
        "tenant_header": "X-MCP-Tenant-ID",
        "user_header": "X-MCP-User-ID",
        "session_header": "X-MCP-Session-ID",
    }
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How requests are resolved and answered; the options of both middlewares."""

    api_key_header: str | None = "X-API-Key"
    authorization: bool = True
    """Read `Authorization: Bearer` (an API key, a session's id, or a JWT). False: it is someone
    else's."""
    tenant_header: str | None = "X-Tenant-ID"
    user_header: str | None = None
    session_header: str | None = None
    idempotency_header: str | None = "Idempotency-Key"
    """What a request with it consumes is charged once, however often it is repeated. None: off."""
    request_id_header: str | None = "X-Request-ID"
    """Its value is written down with what the decision leaves in the log. None: off."""
    query_parameter: str | None = None
    path: str | None = None
    """Such as `/api/tenants/{tenant}/`."""
    base_domain: str | None = None
    """`acme.example.com` names a tenant when this is `example.com`."""
    subdomain: str = "{subdomain}"
    """Template from subdomain to tenant, such as `org_{subdomain}`."""
    ignored_subdomains: Sequence[str] = ("www", "api")
    jwt: JWTConfig | None = None
    client_certificates: ClientCertificates | None = None
    """A certificate is the credential where there is no other. Beside another it is verified as
    well, and must not name another tenant."""
    identify: Identify | None = None
    """A strategy of your own: from the ASGI scope or WSGI environ to an
    `Identity`, to None, or raising `InvalidCredential`. Asked when there is no other credential."""
    trusted_proxies: Sequence[str] = ()
    """Networks, and `unix` for a Unix socket. Their `X-Forwarded-For` counts."""
    trust_hints: bool = False
    """A trusted proxy authenticates: its hints name tenant and user by themselves."""
    anonymous: Sequence[str] = ()
    """Paths on which a hint names the tenant without a credential; `/public/*` for all below."""
    exempt: Sequence[str] = ()
    """Paths that are not decided at all: health, documentation, static files."""
    require_tenant: bool = True
    """False: a request without credential goes on without tenant."""
    cost: int | Callable[[str, str], int] = 1
    """Of a request against the limits: a number, or a function of method and path."""
    limit_headers: bool = True
    tenant_response_header: str | None = "X-MCP-Tenant-ID"
    session_response_header: str | None = "X-MCP-Session-ID"

    @classmethod
    def of(cls, preset: str | None, given: Mapping[str, Any]) -> Options:
        """Defaults, then a preset, then what is given. Raises `InvalidValue` for unknown names."""
        if preset is not None and preset not in _PRESETS:
            raise InvalidValue("preset", f"unknown {preset!r}", remedy=f"one of {sorted(_PRESETS)}")
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidValue(
                unknown[0], "no option has this name", remedy=f"one of {', '.join(sorted(known))}"
            )
        return replace(cls(), **{**(_PRESETS[preset] if preset else {}), **given})


class Resolved:
    """What `admit` is to be asked, and what the answer needs to know of the request."""

    __slots__ = ("arguments", "certified", "claims", "code", "session")

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.certified: str | None = None
        """The tenant that a certificate beside another credential names."""
        self.claims: tuple[str, ...] = ()
        self.code: str | None = None
        """A more exact code for `INVALID_CREDENTIAL`."""
        self.session: str | None = None
        """The session's id, ours or the client's, as it was sent."""


class Resolver:
    """The compiled options. Immutable but for the cache of tokens; any thread."""

    def __init__(self, options: Options, tenancy: Any) -> None:
        self.options = options
        self._tenancy = tenancy
        self.api_key = _wire(options.api_key_header)
        self.tenant = _wire(options.tenant_header)
        self.user = _wire(options.user_header)
        self.session = _wire(options.session_header)
        self.idempotency = _wire(options.idempotency_header)
        self.request_id = _wire(options.request_id_header)
        certificates = options.client_certificates
        self.certificate = _wire(None if certificates is None else certificates.header)
        self.wanted = frozenset(
            name
            for name in (
                self.api_key,
                b"authorization" if options.authorization else None,
                self.tenant,
                self.user,
                self.session,
                self.idempotency,
                self.request_id,
                self.certificate,
                RFC_9440_CHAIN if self.certificate == RFC_9440 else None,
                b"host" if options.base_domain is not None else None,
                b"x-forwarded-for" if options.trusted_proxies else None,
            )
            if name is not None
        )
        self._networks, self._trust_unix = _networks(options.trusted_proxies)
        if options.trust_hints and not (self._networks or self._trust_unix):
            raise InvalidValue(
                "trust_hints",
                "no proxy is trusted, so nobody's hints could be",
                remedy="name the proxies in `trusted_proxies`",
            )
        self._path = None if options.path is None else _path_pattern(options.path)
        self._query = None if options.query_parameter is None else options.query_parameter.encode()
        self._domain = _domain_suffix(options)
        self.exempt = PathSet(options.exempt, "exempt")
        self._anonymous = PathSet(options.anonymous, "anonymous")
        self._verifier = None
        if options.jwt is not None:
            self._verifier = JWTVerifier(options.jwt, tenancy.clock)
        self._certificates = None
        if options.client_certificates is not None:
            self._certificates = CertificateVerifier(options.client_certificates, tenancy.clock)
        self.simple = not (
            self._path
            or self._query
            or options.base_domain
            or options.trusted_proxies
            or options.anonymous
            or options.identify
            or options.client_certificates
            or callable(options.cost)
        )
        """Nothing but headers matters, so a lone API key needs no further look."""

    def resolve(
        self,
        found: Found,
        method: str,
        path: str,
        query: bytes,
        peer: str | None,
        request: Mapping[str, Any],
    ) -> Resolved:
        """`request` is the scope or environ, for `identify` alone."""
        out = Resolved()
        arguments, options = out.arguments, self.options
        trusted = self._trusts(peer)
        address = self._address(found, peer) if trusted else peer
        if address is not None:
            arguments["ip"] = address
        request_id = found.get(self.request_id) if self.request_id is not None else None
        if request_id is not None and not isinstance(request_id, list):
            arguments["request_id"] = request_id
        if options.cost != 1:
            cost = options.cost
            arguments["cost"] = cost(method, path) if callable(cost) else cost
        if not self._credential(found, request, out, address, trusted):
            arguments["api_key"] = WRONG_CREDENTIAL
            if out.code == ExpiredCredential.code:
                arguments["credential_expired"] = True
            return out
        hints = self._hints(found, path, query)
        if out.certified is not None:
            hints = (*hints, out.certified)
        if hints:
            arguments["hints"] = hints
        speaks_for_users = trusted and options.trust_hints
        if speaks_for_users or (self._anonymous.some and self._anonymous.holds(path)):
            arguments["trust_hints"] = True
        if self.user is not None and self.user in found:
            user = _text(found[self.user])
            if user is None:
                arguments["hints"] = (NO_TENANT,)
            elif speaks_for_users or "api_key" in arguments:
                arguments["principal"] = user
        if self.idempotency is not None and self.idempotency in found:
            arguments["idempotency_key"] = _idempotency_key(found[self.idempotency])
            arguments["fingerprint"] = f"{method} {path}".encode("utf-8", "surrogatepass")
        return out

    # ------------------------------------------------------------------------------ credential

    def _credential(
        self,
        found: Found,
        request: Mapping[str, Any],
        out: Resolved,
        address: str | None,
        trusted: bool,
    ) -> bool:
        """False: what was sent cannot be a credential, or is more than one."""
        arguments = out.arguments
        key = found.get(self.api_key) if self.api_key is not None else None
        if key is not None:
            if not key or isinstance(key, list):
                return False
            arguments["api_key"] = key
        token = None
        authorization = found.get(b"authorization")
        if authorization is not None:
            if isinstance(authorization, list):
                return False
            scheme, _, rest = authorization.strip().partition(b" ")
            if scheme.lower() == b"bearer":  # other schemes belong to the application
                token = rest.strip()
        if token is not None and not self._bearer(token, out, address):
            return False
        if not self._session(found, out):
            return False
        if self._certificates is not None:
            try:
                self._certificate(self._certificates, found, request, out, address, trusted)
            except InvalidCredential as error:
                out.code = error.code
                return False
        if self.options.identify is not None and not arguments.keys() & _CREDENTIALS:
            try:
                identity = self.options.identify(request)
            except InvalidCredential as error:
                out.code = error.code
                return False
            if identity is not None:
                arguments["identity"] = identity
        return True

    def _bearer(self, token: bytes, out: Resolved, address: str | None) -> bool:
        arguments = out.arguments
        if token.startswith(b"tk_"):
            if arguments.setdefault("api_key", token) != token:
                return False
        elif "api_key" in arguments:
            return False
        elif token.startswith(b"sess_"):
            session = _ascii(token)
            if session is None:
                return False
            arguments["session"] = out.session = session
        elif self._verifier is not None:
            return self._token(self._verifier, token, out, address)
        else:
            return False
        return True

    def _token(
        self, verifier: JWTVerifier, token: bytes, out: Resolved, address: str | None
    ) -> bool:
        verified = verifier.cached(token) if len(token) < 1 << 14 else None
        if verified is None and address is not None and self._is_refused(address):
            return False
        try:
            verified = verified or verifier.verify(token)
        except ExpiredCredential as error:
            out.code = error.code
            return False
        except InvalidCredential:
            return False
        out.arguments["identity"] = verified.identity
        out.claims = verified.scopes
        return True

    def _certificate(
        self,
        verifier: CertificateVerifier,
        found: Found,
        request: Mapping[str, Any],
        out: Resolved,
        address: str | None,
        trusted: bool,
    ) -> None:
        presented = self._presented(found, request, trusted)
        if presented is None:
            return
        verified = verifier.cached(presented)
        if verified is None and address is not None and self._is_refused(address):
            raise InvalidCredential("the address has had its attempts")
        verified = verified or verifier.verify(presented)
        if out.arguments.keys() & _CREDENTIALS:
            out.certified = verified.tenant
        else:
            out.arguments["identity"] = verified.identity

    def _presented(
        self, found: Found, request: Mapping[str, Any], trusted: bool
    ) -> Presented | None:
        header = self.certificate
        if header is not None and trusted:
            # The proxy's own certificate, on this connection, is no caller's.
            if header not in found:
                return None
            return of_header(header, found[header], found.get(RFC_9440_CHAIN))
        if header is not None and found.get(header):
            raise InvalidCredential("who sent the certificate's header is not a trusted proxy")
        return of_connection(request)

    def _is_refused(self, address: str) -> bool:
        """A signature costs a hundred times as much as a decision: not before the address's own
        limits have been looked at."""
        asked = self._tenancy.gate.dry_run(api_key=WRONG_CREDENTIAL, ip=address)
        return bool(asked.code == "RATE_LIMIT_EXCEEDED")

    def _session(self, found: Found, out: Resolved) -> bool:
        raw = found.get(self.session) if self.session is not None else None
        if raw is None:
            return True
        session = None if isinstance(raw, list) else _ascii(raw)
        if session is None or (out.session is not None and session != out.session):
            return False
        out.session = session
        if session.startswith("sess_"):  # else it is the client's own name for it
            out.arguments["session"] = session
        return True

    # ------------------------------------------------------------------------------ hints

    def _hints(self, found: Found, path: str, query: bytes) -> tuple[str, ...]:
        hints: list[str] = []
        if self.tenant is not None and self.tenant in found:
            values = found[self.tenant]
            sent = values if isinstance(values, list) else (values,)
            hints.extend(_text(value) or NO_TENANT for value in sent)
        if self._path is not None and (match := self._path.match(path)):
            hints.append(_text(match.group(1)) or NO_TENANT)
        if self._query is not None and query:
            hints.extend(self._query_hints(query))
        if self._domain is not None and b"host" in found:
            hosts = found[b"host"]
            for host in hosts if isinstance(hosts, list) else (hosts,):
                hint = self._subdomain_hint(host)
                if hint is not None:
                    hints.append(hint)
        if len(hints) > _HINTS_MAX:
            return (NO_TENANT,)
        return tuple(dict.fromkeys(hints))

    def _query_hints(self, query: bytes) -> list[str]:
        assert self._query is not None
        if self._query not in query and b"%" not in query:
            return []
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=256)
        except ValueError:
            return [NO_TENANT]
        return [_text(value) or NO_TENANT for name, value in pairs if name == self._query]

    def _subdomain_hint(self, host: bytes) -> str | None:
        name = host.lower()
        if not name.endswith(b"]"):
            name = name.partition(b":")[0]
        name = name.rstrip(b".")
        assert self._domain is not None
        if not name.endswith(self._domain):
            return None
        label = _text(name[: -len(self._domain)])
        if label is None:
            return NO_TENANT
        if "." in label or label in self.options.ignored_subdomains:
            return None
        return self.options.subdomain.replace("{subdomain}", label)

    # ------------------------------------------------------------------------------ address

    def _trusts(self, peer: str | None) -> bool:
        if peer is None:
            return self._trust_unix
        return bool(self._networks) and _is_in(peer, self._networks)

    def _address(self, found: Found, peer: str | None) -> str | None:
        """The right-most address that no trusted proxy has; the left ones are the sender's
        claims."""
        values = found.get(b"x-forwarded-for")
        if values is None:
            return peer
        joined = b",".join(values) if isinstance(values, list) else values
        nearest = peer
        for entry in reversed(joined[-_FORWARDED_BYTES_MAX:].split(b",")):
            address = _address_of(entry.strip())
            if address is None:
                return nearest
            if not _is_in(address, self._networks):
                return address
            nearest = address
        return nearest


_CREDENTIALS = frozenset({"api_key", "session", "identity"})


class PathSet:
    """Paths, and prefixes written `/static/*`. A path that a router could read otherwise is in
    none."""

    __slots__ = ("_exact", "_prefixes", "some")

    def __init__(self, paths: Sequence[str], option: str) -> None:
        if isinstance(paths, str):
            raise InvalidValue(option, "expected a list of paths, got one text")
        for path in paths:
            if not path.startswith("/") or "*" in path[:-1]:
                raise InvalidValue(
                    option, f"{path!r} is no path", remedy="'/health', or '/static/*' for all below"
                )
            if path.endswith("*") and not path.endswith("/*"):
                raise InvalidValue(
                    option, f"{path!r}", remedy=f"{path[:-1]}/* for what is below it"
                )
        self._exact = frozenset(path for path in paths if not path.endswith("*"))
        self._prefixes = tuple(path[:-1] for path in paths if path.endswith("*"))
        self.some = bool(paths)

    def holds(self, path: str) -> bool:
        if path in self._exact:
            return True
        return path.startswith(self._prefixes) and not _UNSAFE_PATH.search(path)


def tenant_in(message: Mapping[str, Any] | str | bytes, field: str = "tenantId") -> str | None:
    """The tenant that a message or its envelope names, for `TenantContext.must_be` or as a hint.

    `message` is a mapping or JSON; `field` may be a dotted path (`meta.tenantId`). Bodies are never
    read by the middleware: the handler has them anyway. Raises `InvalidValue` for what is no name.
    """
    value: Any = message
    if isinstance(message, (str, bytes)):
        try:
            value = json.loads(message)
        except ValueError:
            raise InvalidValue(field, "the message is not JSON") from None
    for part in field.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    if value is None:
        return None
    name = _text(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else None
    if name is None:
        raise InvalidValue(field, f"expected a tenant's name, got {type(value).__name__}")
    return name


def _wire(header: str | None) -> bytes | None:
    if header is None:
        return None
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header):
        raise InvalidValue("header", f"{header!r} is no header's name")
    return header.lower().encode("ascii")


def _text(value: Any) -> str | None:
    """A name as it came over the wire; None for what cannot be one."""
    if isinstance(value, bytes):
        if not 0 < len(value) <= _HINT_BYTES_MAX:
            return None
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if not isinstance(value, str) or not 0 < len(value) <= _HINT_BYTES_MAX:
        return None
    return None if _CONTROL.search(value) else value


def _idempotency_key(value: Any) -> bytes:
    """As draft-ietf-httpapi-idempotency-key-header has it, a quoted string, or bare as most clients
    send it. What cannot be one is answered by the engine when the request consumes something."""
    if isinstance(value, list):
        return b""
    key: bytes = value.strip()
    if len(key) > 1 and key[:1] == key[-1:] == b'"':
        key = key[1:-1]
    return key


def _ascii(value: bytes) -> str | None:
    if not 0 < len(value) <= _SESSION_BYTES_MAX or not value.isascii():
        return None
    text = value.decode("ascii")
    return text if text.isprintable() else None


def _path_pattern(pattern: str) -> re.Pattern[str]:
    before, found, after = pattern.partition("{tenant}")
    if not found or not pattern.startswith("/") or "{" in before + after:
        raise InvalidValue("path", f"{pattern!r}", remedy="such as /api/tenants/{tenant}/")
    tail = re.escape(after.rstrip("/")) + "(?:/|$)"
    return re.compile(re.escape(before) + "([^/]+)" + tail)


def _domain_suffix(options: Options) -> bytes | None:
    if options.base_domain is None:
        return None
    if "{subdomain}" not in options.subdomain:
        raise InvalidValue("subdomain", f"{options.subdomain!r}", remedy="such as org_{subdomain}")
    return b"." + options.base_domain.strip(".").lower().encode("idna")


def _networks(proxies: Sequence[str]) -> tuple[tuple[Any, ...], bool]:
    if isinstance(proxies, str):
        raise InvalidValue("trusted_proxies", "expected a list of networks, got one text")
    networks = []
    for proxy in proxies:
        if proxy == "unix":
            continue
        try:
            networks.append(ipaddress.ip_network(proxy))
        except ValueError as error:
            raise InvalidValue("trusted_proxies", str(error)) from None
    return tuple(networks), "unix" in proxies


@functools.lru_cache(maxsize=4096)
def _is_in(address: str, networks: tuple[Any, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network or parsed in network for network in networks)


@functools.lru_cache(maxsize=4096)
def _address_of(entry: bytes) -> str | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    if len(entry) > 64 or not entry.isascii():
        return None
    text = entry.decode("ascii")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
