"""Anchors over a network: a row of PostgreSQL, a resource of HTTP. What each keeps is in `anchors`.

Invariants:
 1. Nothing waits longer than the anchor's timeout.
 2. Passwords and tokens are in no name, no `repr` and no message.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from .._text import check_text, duration_ns, shown
from ..errors import Conflict, ExtraMissing, InvalidValue, StoreError
from .anchors import (
    NOTES_BYTES_MAX,
    TIMEOUT_S,
    Anchor,
    anchor_of_words,
    another,
    check_new,
    log_and_size,
    split_notes,
)

__all__ = ["HttpAnchor", "PostgresAnchor", "anchor_from_url", "as_anchor", "note_or_anchor"]

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SHOWN_MAX = 300


# -------------------------------------------------------------------------------- PostgreSQL


class PostgresAnchor:
    """Rows of a table in a PostgreSQL database that this host cannot change: give its role SELECT
    and INSERT on the table and no more.

    `dsn` is a URL or a connection string of libpq. The table has the columns `log` (text),
    `size` (bigint), `note` (text) and `kept_at`, the first two its primary key; it is made when it
    is not there and the role may. Needs the extra `postgres`.
    """

    def __init__(
        self, dsn: str, *, table: str = "tenancy_anchors", timeout_s: float = TIMEOUT_S
    ) -> None:
        if not isinstance(table, str) or not _TABLE.fullmatch(table):
            remedy = "such as tenancy_anchors or audit.anchors, in lower case"
            raise InvalidValue("table", f"{shown(table)} is no name of a table", remedy=remedy)
        duration_ns(timeout_s, "timeout_s")
        try:
            import psycopg
        except ImportError:
            raise ExtraMissing("postgres", "psycopg") from None
        self._psycopg: Any = psycopg
        self._dsn, self.table, self.timeout_s = dsn, table, timeout_s
        try:
            parts = psycopg.conninfo.conninfo_to_dict(dsn)
        except (psycopg.ProgrammingError, TypeError):
            raise InvalidValue(
                "dsn", "not a connection string", remedy="postgresql://user@host/database"
            ) from None
        self._password = str(parts.get("password") or "")
        host, port = parts.get("host") or "localhost", parts.get("port")
        place = f"{quote(str(host))}:{port}" if port else quote(str(host))
        self._name = f"postgresql://{place}/{parts.get('dbname') or ''}#{table}"

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<PostgresAnchor {self._name}>"

    def publish(self, note: str) -> None:
        own = log_and_size(note)
        with self._connected() as connection:
            found = connection.execute("SELECT to_regclass(%s)", (self.table,)).fetchone()
            if found is None or found[0] is None:
                self._make(connection)
            connection.execute(
                f"INSERT INTO {self.table} (log, size, note) VALUES (%s, %s, %s)"  # noqa: S608
                " ON CONFLICT DO NOTHING",
                (*own, note),
            )
            kept = connection.execute(
                f"SELECT note FROM {self.table} WHERE log = %s AND size = %s",  # noqa: S608
                own,
            ).fetchone()
        if kept is None or kept[0] != note:
            raise another(self.name, own)

    def fetch(self) -> list[str]:
        with self._connected() as connection:
            query = f"SELECT note FROM {self.table} ORDER BY log, size"  # noqa: S608
            return [str(row[0]) for row in connection.execute(query)]

    def _make(self, connection: Any) -> None:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} (log text, size bigint, note text NOT NULL,"
            " kept_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log, size))"
        )

    def _connected(self) -> _Connected:
        return _Connected(self)

    def _open(self) -> Any:
        wait_s = max(2, int(self.timeout_s))  # libpq takes no less
        wait_ms = int(self.timeout_s * 1000)
        connection = self._psycopg.connect(
            self._dsn,
            autocommit=True,
            connect_timeout=wait_s,
            # A server that is gone in the middle is noticed as well.
            tcp_user_timeout=wait_ms,
            keepalives_idle=wait_s,
            keepalives_interval=wait_s,
            keepalives_count=1,
        )
        connection.execute(f"SET statement_timeout = {wait_ms}")
        return connection

    def _failed(self, error: BaseException) -> StoreError:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        if self._password:
            text = text.replace(self._password, "…")
        return StoreError(
            f"{self.name}: {text[:_SHOWN_MAX]}",
            remedy="look at the server, the network, and the rights of the role",
        )


class _Connected:
    """A connection whose errors come out as ours."""

    def __init__(self, anchor: PostgresAnchor) -> None:
        self._anchor = anchor

    def __enter__(self) -> Any:
        try:
            self._connection = self._anchor._open()
        except self._anchor._psycopg.Error as error:
            raise self._anchor._failed(error) from None
        return self._connection

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._connection.close()
        if isinstance(error, self._anchor._psycopg.Error):
            raise self._anchor._failed(error) from None


# -------------------------------------------------------------------------------------- HTTP


class HttpAnchor:
    """A resource of HTTP. `POST` with a note as its body (`text/plain`) keeps it and answers 2xx,
    also when it was there; 409 when there is another of its number. `GET` answers all notes, one
    after the other.

    `token` goes along as `Authorization: Bearer`, never without TLS except to this machine.
    Redirections are not followed: they would take the token elsewhere.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        check_text(url, "url", 4096)
        duration_ns(timeout_s, "timeout_s")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidValue("url", "not a URL", remedy="https://host/path") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InvalidValue("url", "not a URL of HTTP", remedy="https://host/path")
        if parts.username or parts.password:
            raise InvalidValue("url", "holds a password", remedy="pass it as token=…")
        if token is not None and (not token or not token.isascii() or not token.isprintable()):
            raise InvalidValue("token", "expected printable ASCII")
        if token is not None and parts.scheme == "http" and host not in _LOOPBACK:
            raise InvalidValue("url", "a token over http is read on its way", remedy="https://…")
        self._host, self._port, self._tls = host, port, parts.scheme == "https"
        self._target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self._token, self.timeout_s = token, timeout_s
        self._name = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))

    @property
    def name(self) -> str:
        """The URL, without its query."""
        return self._name

    def __repr__(self) -> str:
        return f"<HttpAnchor {self._name}>"

    def publish(self, note: str) -> None:
        own = log_and_size(note)
        status, _ = self._request("POST", note.encode())
        if status == 409:
            if check_new(note, self.fetch(), self.name):
                raise Conflict(f"{self.name}: did not take checkpoint {own[1]} (409)")
        elif not 200 <= status < 300:
            raise StoreError(f"{self.name}: answered {status} to POST")

    def fetch(self) -> list[str]:
        status, body = self._request("GET", None)
        if status != 200:
            raise StoreError(f"{self.name}: answered {status} to GET")
        return split_notes(body.decode("utf-8", "replace"))

    def _request(self, method: str, body: bytes | None) -> tuple[int, bytes]:
        end = time.monotonic() + self.timeout_s
        headers = {"Content-Type": "text/plain; charset=utf-8"} if body is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, self._target, body, headers)
            response = connection.getresponse()
            data = bytearray()
            while piece := response.read1(1 << 16):
                data += piece
                if len(data) > NOTES_BYTES_MAX or time.monotonic() > end:
                    raise StoreError(f"{self.name}: its answer is too long, or too slow")
            return response.status, bytes(data)
        except (OSError, http.client.HTTPException) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreError(
                f"{self.name}: {method} failed ({text[:_SHOWN_MAX]})",
                remedy="look at the server and the network",
            ) from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout_s)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self.timeout_s, context=context
        )


# --------------------------------------------------------------------------------------- URL


def anchor_from_url(url: str) -> Anchor:
    """The anchor that a URL names.

    `file:/mnt/safe/anchors`, `postgresql://user@host/database#table`, `https://host/path`, with the
    token as `https://:TOKEN@host/path`, or `command:program and its arguments`.
    """
    found = anchor_of_words(url)
    if found is not None:
        return found
    parts = urlsplit(url)
    if parts.scheme in ("postgresql", "postgres"):
        dsn, _, table = url.partition("#")
        return PostgresAnchor(dsn, table=table) if table else PostgresAnchor(dsn)
    if parts.scheme in ("http", "https"):
        place = parts.netloc.rpartition("@")[2]
        plain = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
        return HttpAnchor(plain, token=unquote(parts.password) if parts.password else None)
    raise InvalidValue(
        "anchor",
        f"{shown(parts.scheme)}: no kind of anchor" if parts.scheme else "is no URL",
        remedy="file:/…, postgresql://…, https://… or command:…",
    )


def as_anchor(anchor: Anchor | str) -> Anchor:
    """An anchor as it is, or that of a URL."""
    if isinstance(anchor, str):
        return anchor_from_url(anchor)
    if not isinstance(anchor, Anchor):
        raise InvalidValue(
            "anchors",
            f"{type(anchor).__name__} is no anchor",
            remedy="an object with `name`, `publish` and `fetch`, or a URL",
        )
    return anchor


def note_or_anchor(given: Anchor | str) -> Anchor | str:
    """A checkpoint as it is, else the anchor that an object or a URL is."""
    if isinstance(given, str) and ("\n" in given or not given or given.startswith("tenancy-log/")):
        return given
    return as_anchor(given)
