"""Sessions of (tenant, principal, platform). `Tenancy.sessions`.

A session's id is a credential: `sess_` and 32 characters, derived by HMAC from a random nonce and
a secret of the host (`keys/sessions`). The store keeps the nonce and the id's digest, so the owner
can be given the same id again by any worker and after a restart, while a copy of the database alone
authenticates nobody. A `client_id`, such as a chat's own thread id, only names a session of its
owner; it never authenticates.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from . import _core
from ._active_roles import activating
from ._text import (
    check_page,
    check_principal,
    check_text,
    from_json,
    life_ns,
    merged,
    shown,
    storable,
    to_bounded_json,
    to_datetime,
)
from .errors import InvalidValue, SuspendedTenant, UnknownSession, UnknownTenant
from .stores.change import Change
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import Page, Session, Tenant
from .stores.schema import sessions
from .stores.tenant_rows import by_reference
from .stores.twins import twin

__all__ = ["Session", "Sessions"]

LIFE = timedelta(days=30)
TOUCH_NS = 60_000_000_000
"""`touch` writes at most once in this time."""

_ID = re.compile(r"sess_[0-9A-Za-z]{32}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Sessions:
    """Every call has an `a…` twin. A session is only ever found inside its own tenant."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._secret: bytes | None = None

    def create(
        self,
        tenant: Tenant | str,
        principal: str,
        platform: str = "web",
        *,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        roles: Sequence[str] | None = None,
        ttl: timedelta | float | None = LIFE,
        by: str | None = None,
    ) -> Session:
        """Begin a session. Its `id` authenticates as this principal of this tenant.

        `roles` are those that are active in it (see `activate`); None: all that the principal
        holds. `ttl` is how long it lives; None: until it is ended. Raises `SuspendedTenant` for a
        tenant that is not served, and what `activate` does.
        """
        check_principal(principal)
        check_text(platform, "platform", 64)
        if client_id is not None:
            check_text(client_id, "client_id", 255)
        active = self._activated(tenant, principal, roles)
        with self._host.write(by) as change:
            tenant_id = _served(self._host, change, tenant)
            place = (tenant_id, principal, platform)
            row = self._insert(change, *place, client_id, metadata, ttl, active)
        return self._record(row, with_id=True)

    def get_or_create(
        self,
        tenant: Tenant | str,
        principal: str,
        platform: str = "web",
        *,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: timedelta | float | None = LIFE,
        by: str | None = None,
    ) -> Session:
        """The live session of (tenant, principal, platform), or a new one.

        `session_id` is what the client sent: an id of ours, or the client's own name for a session.
        What belongs to anyone else is not found; the caller gets a session of its own.
        """
        check_principal(principal)
        check_text(platform, "platform", 64)
        ours = bool(session_id) and _ID.fullmatch(str(session_id)) is not None
        client_id = session_id if session_id and not ours else None
        if client_id is not None:
            check_text(client_id, "session_id", 255)
        tenant_id = self._host.tenant_id(tenant)
        place = (tenant_id, principal, platform)
        with self._host.read() as connection:
            row = self._live(connection, *place, session_id if ours else None, client_id)
        if row is None:
            with self._host.write(by) as change:
                tenant_id = _served(self._host, change, tenant_id)
                # Another worker may have been quicker.
                row = self._live(change.connection, *place, None, client_id)
                if row is None:
                    row = self._insert(change, *place, client_id, metadata, ttl)
        return self._record(row, with_id=True)

    def get(self, tenant: Tenant | str, session: Session | str) -> Session:
        """A live session of this tenant by id, `ref` or record. Raises `UnknownSession`."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.read() as connection:
            row = self._found(connection, tenant_id, session)
        return self._record(row, with_id=row.digest == _digest_of(session))

    def list(
        self,
        tenant: Tenant | str,
        *,
        principal: str | None = None,
        platform: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Session]:
        """Live sessions of one tenant, without their ids."""
        query = (
            sa.select(sessions)
            .where(sessions.c.tenant_id == self._host.tenant_id(tenant), self._alive())
            .order_by(sessions.c.seq)
            .limit(check_page(limit) + 1)
        )
        if principal is not None:
            query = query.where(sessions.c.principal == principal)
        if platform is not None:
            query = query.where(sessions.c.platform == platform)
        if cursor is not None:
            query = query.where(sessions.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(self._record(row) for row in rows[:limit]), more)

    def touch(
        self,
        tenant: Tenant | str,
        session: Session | str,
        *,
        metadata: Mapping[str, Any] | None = None,
        ttl: timedelta | float | None = None,
    ) -> Session:
        """Note activity (to the minute), merge metadata key by key, live on for `ttl` from now."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.read() as connection:
            row = self._found(connection, tenant_id, session)
        recent = self._host.clock.wall_ns() - row.active_ns < TOUCH_NS
        if recent and not metadata and ttl is None:
            return self._record(row)
        with self._host.write("system") as change:
            row = self._found(change.connection, tenant_id, session)
            values: dict[str, Any] = {"active_ns": change.now_ns}
            if metadata:
                values["metadata"] = _metadata(merged(from_json(row.metadata), metadata))
            if ttl is not None:
                values["expires_ns"] = change.now_ns + life_ns(ttl, "ttl")
                change.touched("session", row.digest)
            change.execute(sa.update(sessions).where(sessions.c.seq == row.seq).values(**values))
            row = self._found(change.connection, tenant_id, session)
        return self._record(row)

    def activate(
        self,
        tenant: Tenant | str,
        session: Session | str,
        roles: Sequence[str] | None,
        *,
        by: str | None = None,
    ) -> Session:
        """Choose the roles that are active in a session, from its next decision on.

        They are some of those that its principal holds or inherits, as ANSI INCITS 359 has it; what
        the others deny stays denied. An empty list activates none, None all that are held. When one
        of them is taken away later, the session is refused until it is activated anew.

        Raises `InvalidValue` for a role that is not held, `DutyViolated` for a set that a dynamic
        duty forbids, `UnknownSession`.
        """
        tenant_id = self._host.tenant_id(tenant)
        with self._host.read() as connection:
            row = self._found(connection, tenant_id, session)
        active = self._activated(tenant_id, row.principal, roles)
        with self._host.write(by) as change:
            row = self._found(change.connection, tenant_id, session)
            change.execute(
                sa.update(sessions).where(sessions.c.seq == row.seq).values(roles=active)
            )
            change.touched("session", row.digest)
            change.fact(
                "roles_activated",
                "session:activate",
                tenant=tenant_id,
                resource="session",
                resource_id=row.ref,
                context={"principal": row.principal, "roles": _names(active)},
            )
            row = self._found(change.connection, tenant_id, session)
        return self._record(row)

    def end(self, tenant: Tenant | str, session: Session | str, *, by: str | None = None) -> None:
        """End a session of this tenant: refused from the next decision on."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            row = self._found(change.connection, tenant_id, session)
            self._delete(change, tenant_id, sessions.c.seq == row.seq)

    def end_all(
        self, tenant: Tenant | str, *, principal: str | None = None, by: str | None = None
    ) -> int:
        """End every session of the tenant, or of one of its principals. Returns how many."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            which = sa.true() if principal is None else sessions.c.principal == principal
            return self._delete(change, tenant_id, which)

    # ------------------------------------------------------------------------------ inside

    def _insert(
        self,
        change: Change,
        tenant_id: str,
        principal: str,
        platform: str,
        client_id: str | None,
        metadata: Mapping[str, Any] | None,
        ttl: timedelta | float | None,
        roles: str | None = None,
    ) -> Any:
        nonce = secrets.token_bytes(32)
        digest = _core.sha256(self._id(nonce).encode())
        life = None if ttl is None else life_ns(ttl, "ttl")
        row = {
            "digest": digest,
            "tenant_id": tenant_id,
            "principal": principal,
            "platform": platform,
            "expires_ns": 0 if life is None else change.now_ns + life,
            "ref": _core.sortable_id("ses_", change.now_ns),
            "nonce": nonce,
            "client_id": client_id,
            "metadata": _metadata(metadata),
            "created_ns": change.now_ns,
            "active_ns": change.now_ns,
            "roles": roles,
        }
        change.execute(sa.insert(sessions).values(**row))
        change.touched("session", digest)
        change.fact(
            "session_created",
            "session:create",
            tenant=tenant_id,
            resource="session",
            resource_id=row["ref"],
            context={"principal": principal, "platform": platform},
        )
        return change.execute(sa.select(sessions).where(sessions.c.digest == digest)).one()

    def _activated(
        self, tenant: Tenant | str, principal: str, roles: Sequence[str] | None
    ) -> str | None:
        """The roles as the store keeps them, once the engine has agreed to their being active."""
        if roles is None:
            return None
        with activating(roles) as active:
            # Any question makes the engine judge them; this one has no answer to compute.
            self._host.current().access_check_many(
                self._host.tenant_id(tenant), principal, [], None, active
            )
        return json.dumps(list(dict.fromkeys(roles)))

    def _delete(self, change: Change, tenant_id: str, which: Any) -> int:
        gone = change.execute(
            sa.delete(sessions)
            .where(sessions.c.tenant_id == tenant_id, which)
            .returning(sessions.c.digest, sessions.c.ref)
        ).all()
        for digest, ref in gone:
            change.touched("session", digest)
            change.fact(
                "session_ended",
                "session:end",
                tenant=tenant_id,
                resource="session",
                resource_id=ref,
            )
        return len(gone)

    def _live(
        self,
        connection: Any,
        tenant_id: str,
        principal: str,
        platform: str,
        session_id: str | None,
        client_id: str | None,
    ) -> Any | None:
        """The session with this id if it is of this place, else the newest one there."""
        place = sa.and_(
            sessions.c.tenant_id == tenant_id,
            sessions.c.principal == principal,
            sessions.c.platform == platform,
            self._alive(),
        )
        if session_id is not None:
            digest = _core.sha256(session_id.encode())
            exact = sa.select(sessions).where(place, sessions.c.digest == digest)
            found = connection.execute(exact).one_or_none()
            if found is not None:
                return found
        named = (
            sessions.c.client_id.is_(None)
            if client_id is None
            else sessions.c.client_id == client_id
        )
        newest = sa.select(sessions).where(place, named).order_by(sessions.c.seq.desc()).limit(1)
        return connection.execute(newest).one_or_none()

    def _found(self, connection: Any, tenant_id: str, session: Session | str) -> Any:
        if not isinstance(session, Session) and not storable(session):
            raise UnknownSession("no such session", tenant=tenant_id)
        digest = _digest_of(session)
        ref = session.ref if isinstance(session, Session) else session
        which = sessions.c.ref == ref if digest is None else sessions.c.digest == digest
        row = connection.execute(
            sa.select(sessions).where(sessions.c.tenant_id == tenant_id, which, self._alive())
        ).one_or_none()
        if row is None:
            raise UnknownSession("no such session", tenant=tenant_id)
        return row

    def _alive(self) -> Any:
        now = self._host.clock.wall_ns()
        return sa.or_(sessions.c.expires_ns == 0, sessions.c.expires_ns > now)

    def _record(self, row: Any, *, with_id: bool = False) -> Session:
        return Session(
            ref=row.ref,
            tenant=row.tenant_id,
            principal=row.principal,
            platform=row.platform,
            id=self._id(row.nonce) if with_id else None,
            client_id=row.client_id,
            metadata=from_json(row.metadata),
            roles=_names(row.roles),
            created=to_datetime(row.created_ns),
            last_activity=to_datetime(row.active_ns),
            expires=to_datetime(row.expires_ns),
        )

    def _id(self, nonce: bytes) -> str:
        if self._secret is None:
            self._secret = self._host.directory.secret("sessions")
        number = int.from_bytes(hmac.digest(self._secret, nonce, "sha256"), "big")
        digits = []
        for _ in range(32):  # 190 of the 256 bits
            number, digit = divmod(number, 62)
            digits.append(_DIGITS[digit])
        return "sess_" + "".join(digits)

    acreate = twin(create)
    aget_or_create = twin(get_or_create)
    aget = twin(get)
    alist = twin(list)  # noqa: A003
    atouch = twin(touch)
    aactivate = twin(activate)
    aend = twin(end)
    aend_all = twin(end_all)


def _digest_of(session: Session | str) -> bytes | None:
    """The digest of a session's id; None when only its `ref` is known."""
    session_id = session.id if isinstance(session, Session) else session
    if session_id is None or not session_id.startswith("sess_"):
        return None
    return _core.sha256(session_id.encode("utf-8", "surrogatepass"))


def _metadata(metadata: Mapping[str, Any] | None) -> str | None:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidValue("metadata", f"expected a mapping, got {type(metadata).__name__}")
    return to_bounded_json(metadata, "metadata")


def _names(roles: str | None) -> tuple[str, ...] | None:
    return None if roles is None else tuple(json.loads(roles))


def _served(host: Host, change: Change, tenant: Tenant | str) -> str:
    reference = tenant.id if isinstance(tenant, Tenant) else tenant
    row = by_reference(change.connection, reference)
    if row is None:
        raise UnknownTenant(f"no tenant is named {shown(reference)}")
    if row.status not in ("active", "trial"):
        host.refusals.note("SUSPENDED_TENANT", row.status, row.id, permission="session:open")
        raise SuspendedTenant(f"tenant {row.id} is {row.status}", tenant=row.id)
    return str(row.id)
