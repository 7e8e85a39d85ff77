"""Coverage-guided fuzzing of what reads requests: headers, host, forwarded addresses, query, path.

    python tests/python/fuzz/fuzz_request.py -max_total_time=15 [libFuzzer's options] [directories]

An input is text: the number of a configuration, the peer's address, the path, the query, then
headers, one a line; `%KEY%` stands for a key that exists. Whatever it is, resolving and deciding
must not raise, and what comes out must hold to the trust rule of `tenancy.resolve`.
"""

from __future__ import annotations

import inspect
import ipaddress
import re
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import atheris

from tenancy import Tenancy, jwt, resolve
from tenancy._core import scan_headers
from tenancy.resolve import NO_TENANT, WRONG_CREDENTIAL, JWTConfig, Options, Resolver

CATALOG = """
catalog: fuzz
version: "1"
format: 1
default_plan: big
default_action: requests
plans:
  big: {rate_limits: {requests: 60000000/minute}}
"""
PROXIES = ("10.0.0.0/8", "2001:db8::/32", "unix")
EXEMPT = ("/health", "/static/*")
ANONYMOUS = ("/public/*",)
JWT = JWTConfig(keys={"1": b"k" * 32}, algorithms=["HS256"], issuer="i", audience="a")
CONFIGURATIONS: tuple[tuple[str | None, dict[str, Any]], ...] = (
    (None, {}),
    ("mcp", {"exempt": EXEMPT}),
    (None, {"path": "/api/tenants/{tenant}/", "query_parameter": "tenant"}),
    (None, {"base_domain": "example.com", "subdomain": "{subdomain}"}),
    (None, {"trusted_proxies": PROXIES, "user_header": "X-User"}),
    ("mcp", {"trusted_proxies": PROXIES, "trust_hints": True, "base_domain": "example.com"}),
    (None, {"anonymous": ANONYMOUS, "query_parameter": "tenant"}),
    (None, {"jwt": JWT}),
    (None, {"authorization": False, "session_header": "X-Session", "tenant_header": None}),
)  # fmt: skip

CREDENTIALS = {"api_key", "session", "identity"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Target:
    def __init__(self, t: Tenancy, secret: str, names: set[str]) -> None:
        self.t = t
        self.secret = secret.encode()
        self.names = names
        self.options = [Options.of(preset, given) for preset, given in CONFIGURATIONS]
        self.resolvers = [Resolver(options, t) for options in self.options]

    def __call__(self, data: bytes) -> None:
        lines = data.replace(b"%KEY%", self.secret).split(b"\n")
        number, peer, path, query = ([*lines, b"", b"", b"", b""])[:4]
        which = (number[0] - ord("0") if number else 0) % len(self.resolvers)
        headers = [
            (name.lower(), value.strip())
            for name, found, value in (line.partition(b":") for line in lines[4:])
            if found
        ]
        self.check(
            which, peer.decode("latin-1") or None, path.decode("utf-8", "replace"), query, headers
        )

    def check(
        self,
        which: int,
        peer: str | None,
        path: str,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        options, resolver = self.options[which], self.resolvers[which]
        found = scan_headers(headers, resolver.wanted)
        assert found == expected_headers(headers, resolver.wanted)
        check_path_sets(resolver, path)
        resolved = resolver.resolve(found, "GET", path, query, peer, {})
        arguments = resolved.arguments
        assert len(arguments.keys() & CREDENTIALS) <= 1 or "session" in arguments
        sent = [value for name, value in headers if name == resolver.api_key]
        if len(sent) > 1 or b"" in sent:
            assert arguments["api_key"] == WRONG_CREDENTIAL
        trusted = is_trusted(options, peer)
        assert arguments.get("ip") == expected_address(options, trusted, peer, headers)
        for hint in arguments.get("hints", ()):
            assert hint == NO_TENANT or (0 < len(hint) <= 300 and not CONTROL.search(hint)), hint
        assert len(arguments.get("hints", ())) <= 8
        anonymous = any(path.startswith(prefix[:-1]) for prefix in options.anonymous)
        if arguments.get("trust_hints"):
            assert (trusted and options.trust_hints) or anonymous
        if arguments.get("principal") is not None:
            assert (trusted and options.trust_hints) or "api_key" in arguments
        self.decide(arguments)

    def decide(self, arguments: dict[str, Any]) -> None:
        decision = self.t.admit(**arguments)
        hints = set(arguments.get("hints", ()))
        if decision:
            proven = arguments.get("api_key") == self.secret
            assert proven or (arguments.get("trust_hints") and hints)
            assert hints <= self.names
        assert decision.code != "STATE_UNAVAILABLE"


def expected_headers(headers: list[tuple[bytes, bytes]], wanted: frozenset[bytes]) -> Any:
    names = [name for name, _ in headers if name in wanted]
    values = {name: [v for n, v in headers if n == name] for name in names}
    return {name: v if len(v) > 1 else v[0] for name, v in values.items()}


def check_path_sets(resolver: Resolver, path: str) -> None:
    if not resolver.exempt.holds(path):
        return
    assert path == "/health" or path.startswith("/static/")
    inner = path.split("/")[1:-1]
    assert not {"", ".", ".."} & {*inner, "." if path.endswith(("/.", "/..")) else "x"}
    assert "\\" not in path


def parsed(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_trusted(options: Options, peer: str | None) -> bool:
    if peer is None:
        return "unix" in options.trusted_proxies
    address = parsed(peer.partition("%")[0])
    if address is None:
        return False
    networks = [ipaddress.ip_network(p) for p in options.trusted_proxies if p != "unix"]
    forms = [address, getattr(address, "ipv4_mapped", None)]
    return any(f.version == n.version and f in n for n in networks for f in forms if f is not None)


def expected_address(
    options: Options, trusted: bool, peer: str | None, headers: list[tuple[bytes, bytes]]
) -> str | None:
    """The right-most address that is not a trusted proxy's; what is no address ends the search."""
    entries = [v for name, v in headers if name == b"x-forwarded-for"]
    if not trusted or not entries:
        return peer
    nearest = peer
    for raw in reversed(b",".join(entries)[-4096:].split(b",")):
        entry = raw.strip()
        if len(entry) > 64 or not entry.isascii():
            return nearest
        text = entry.decode("ascii")
        if text.startswith("["):
            text = text[1:].split("]")[0]
        elif text.count(":") == 1:
            text = text.split(":")[0]
        address = parsed(text)
        if address is None:
            return nearest
        nearest = str(address)
        if not is_trusted(options, nearest):
            return nearest
    return nearest


def instrument(*modules: types.ModuleType) -> None:
    """Make their functions report coverage. The import hook of atheris does not see modules that
    an editable installation loads."""
    for module in modules:
        values = list(vars(module).values())
        for cls in [value for value in values if inspect.isclass(value)]:
            values += vars(cls).values()
        for value in values:
            function = inspect.unwrap(value) if callable(value) else None
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)


def main() -> None:
    instrument(resolve, jwt)
    with tempfile.TemporaryDirectory() as directory:
        catalog = Path(directory, "fuzz.yaml")
        catalog.write_text(CATALOG, encoding="utf-8")
        t = Tenancy.open(Path(directory, "data"), catalog=catalog)
        acme = t.tenants.create(name="Acme", slug="acme", plan="big", external_id="A-1")
        t.tenants.create(name="Globex", slug="globex", plan="big")
        _, secret = t.keys.create(acme, scopes=["doc:*"])
        # Trusted hints may name either; a credential only its own.
        names = {acme.id, "acme", "A-1", "globex"}
        target = Target(t, secret, names)

        @atheris.instrument_func
        def one_input(data: bytes) -> None:
            target(data)

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
