"""What the tests of alerts share: facts at chosen times, receivers that misbehave."""

from __future__ import annotations

import base64
import contextlib
import email
import http.server
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki_support import Authority
from store_support import open_shop
from tenancy import Tenancy
from tenancy.alerts import Alert, Alerts, Email, Retry, critical, new_webhook_secret
from tenancy.stores import outbox

DEADLINE_S = 60.0
SECRET = new_webhook_secret()


def wait_for(condition: Callable[[], Any], what: str = "") -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def tell(
    t: Tenancy,
    kind: str,
    at_ns: int,
    *,
    tenant: str | None = None,
    by: str = "ann",
    context: Mapping[str, Any] | None = None,
    event_id: str | None = None,
    result: str = "failure",
    action: str | None = None,
) -> str:
    """A fact of that time."""
    with t._host.database.write() as connection:
        found = outbox.append(
            connection,
            now_ns=at_ns,
            by=by,
            type=kind,
            action=action or kind,
            tenant=tenant,
            result=result,
            context=context,
            event_id=event_id,
            revision=1,
        )
        connection.commit()
    assert found is not None
    return found


def job(t: Tenancy, name: str) -> Any:
    return t.background._entries[name].function


def turn(t: Tenancy) -> None:
    """Everything that was written is in the log, and the rules have read it."""
    t._host.facts.settle()
    job(t, "alerts")()


def deliver(t: Tenancy) -> None:
    """What is due now has been tried once, or a destination hangs."""
    deliveries = job(t, "alert deliveries")
    deliveries()
    for busy in list(deliveries._busy.values()):
        busy.thread.join(DEADLINE_S)
        assert not busy.thread.is_alive()


RETRY = Retry(first=timedelta(seconds=10), longest=timedelta(seconds=80), attempts=4)


def open_to(directory: Path, clock: Any, *to: Any) -> Tenancy:
    rules = [critical("boom", cooldown=timedelta(0))]
    return open_shop(directory, clock, alerts=Alerts(rules=rules, to=list(to), retry=RETRY))


def boom(t: Tenancy, **options: Any) -> Alert:
    """A fact, and the alert that it becomes."""
    before = {alert.id for alert in t.alerts.list(limit=1000)}
    tell(t, "boom", t.clock.wall_ns(), **options)
    turn(t)
    [alert] = [alert for alert in t.alerts.list(limit=1000) if alert.id not in before]
    return alert


def statuses(t: Tenancy, alert: Alert) -> dict[str, tuple[str, int, str | None]]:
    return {d.destination: (d.status, d.attempts, d.error) for d in t.alerts.deliveries(alert.id)}


# -------------------------------------------------------------------------------------- HTTP


class Receiver:
    """An HTTP server that answers as told and keeps what came."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[Callable[[Any], None] | int] = []
        """For the next requests, one each; then 204."""
        self.release = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((headers, body))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if callable(answer):
                    answer(self)
                else:
                    self.send_response(answer)
                    self.send_header("content-length", "0")
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.port}/hook?token=t0psecret"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    made = Receiver(**options)
    try:
        yield made
    finally:
        made.close()


def free_port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -------------------------------------------------------------------------------------- SMTP


class MailServer:
    """Enough of RFC 5321, 3207 and 4954 for one client at a time or several."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        password: str | None = None,
    ) -> None:
        self.messages: list[tuple[str, list[str], Message]] = []
        self.refused: dict[str, int] = {}
        """Codes by recipient."""
        self.greeting = b"220 test ESMTP\r\n"
        self.over_tls: list[bool] = []
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
                    server._converse(stack, self.request, tls, implicit, password)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _converse(
        self,
        stack: contextlib.ExitStack,
        plug: socket.socket,
        tls: ssl.SSLContext | None,
        implicit: bool,
        password: str | None,
    ) -> None:
        secure = implicit and tls is not None
        if secure and tls is not None:
            plug = stack.enter_context(tls.wrap_socket(plug, server_side=True))
        plug.sendall(self.greeting)
        lines = stack.enter_context(plug.makefile("rb"))
        sender, recipients = "", []
        while line := lines.readline():
            word, _, rest = line.decode().rstrip("\r\n").partition(" ")
            answer, word = b"250 fine", word.upper()
            if word == "EHLO":
                extensions = [b"250-test"]
                if tls is not None and not secure:
                    extensions.append(b"250-STARTTLS")
                if password is not None:
                    extensions.append(b"250-AUTH PLAIN")
                answer = b"\r\n".join([*extensions, b"250 8BITMIME"])
            elif word == "STARTTLS" and tls is not None:
                plug.sendall(b"220 go on\r\n")
                plug = stack.enter_context(tls.wrap_socket(plug, server_side=True))
                lines, secure = stack.enter_context(plug.makefile("rb")), True
                continue
            elif word == "AUTH":
                given = base64.b64decode(rest.split()[1]).split(b"\0")[2].decode()
                answer = b"235 known" if given == password else b"535 no such user or password"
            elif word == "MAIL":
                sender, recipients = rest, []
            elif word == "RCPT":
                address = rest.partition("<")[2].partition(">")[0]
                code = self.refused.get(address)
                answer = b"250 fine" if code is None else b"%d refused" % code
                recipients.append(address)
            elif word == "DATA":
                plug.sendall(b"354 go on\r\n")
                data = b""
                while (part := lines.readline()) not in (b".\r\n", b""):
                    data += part[1:] if part.startswith(b".") else part
                message = email.message_from_bytes(data)
                self.messages.append((sender, list(recipients), message))
                self.over_tls.append(secure)
            elif word == "QUIT":
                plug.sendall(b"221 bye\r\n")
                return
            plug.sendall(answer + b"\r\n")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def mail(port: int, **options: Any) -> Email:
    defaults: dict[str, Any] = {
        "sender": "tenancy@example.com",
        "to": ["ops@example.com", "sec@example.com"],
        "tls": "none",
    }
    return Email("localhost", port, **{**defaults, **options})


@contextmanager
def mail_server(**options: Any) -> Iterator[MailServer]:
    made = MailServer(**options)
    try:
        yield made
    finally:
        made.close()


# -------------------------------------------------------------------------------------- TLS


@contextmanager
def dripping(greeting: bytes = b"", then: bytes = b"\x16\x03\x03\x40\x00") -> Iterator[int]:
    """The port of a server that begins a TLS record and sends a byte of it now and then. With a
    greeting it answers lines first: it is a mail server that offers STARTTLS."""
    ended = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if greeting:
                    self.wfile.write(greeting)
                    self.rfile.readline()
                    self.wfile.write(b"250-test\r\n250 STARTTLS\r\n")
                    self.rfile.readline()
                    self.wfile.write(b"220 go on\r\n")
                self.wfile.write(then)
                while not ended.wait(0.05):
                    self.wfile.write(b"x")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield int(server.server_address[1])
        ended.set()
        server.shutdown()
        thread.join()


def tls_server(directory: Path) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS as `localhost`, and the file of the authority that a client trusts."""
    authority = Authority("ca")
    names = [x509.DNSName("localhost")]
    issued = authority.issue("localhost", names=names, purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.write(directory, "server"))
    trusted = directory / "ca.pem"
    trusted.write_text(authority.pem)
    return context, str(trusted)
