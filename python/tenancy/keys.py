"""API keys: made, rotated, renewed, revoked. `Tenancy.keys`.

A key is `tk_` and eight characters of public id, a secret of 190 bits and a checksum. Only its
SHA-256 digest is kept; the text is shown once. A key made for a principal has that principal's
rights cut to its scopes; one without is its own principal with exactly its scopes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from . import _core
from ._text import (
    check_name,
    check_page,
    check_principal,
    deadline_ns,
    duration_ns,
    shown,
    storable,
    to_datetime,
)
from .errors import Conflict, InvalidValue, UnknownKey, UnknownTenant
from .stores.change import Change
from .stores.grants import check_patterns, must_hold_patterns
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import ApiKey, NewKey, Page, Tenant
from .stores.schema import keys
from .stores.tenant_rows import by_reference
from .stores.twins import twin

__all__ = ["ApiKey", "Keys", "NewKey"]

GRACE = timedelta(days=1)


class Keys:
    """Every call has an `a…` twin. `key` arguments take an `ApiKey` or a public id (`tk_…`)."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def create(
        self,
        tenant: Tenant | str,
        *,
        name: str = "key",
        scopes: Iterable[str] | None = None,
        principal: str | None = None,
        expires: datetime | timedelta | float | None = None,
        limit: str | None = None,
        by: str | None = None,
    ) -> NewKey:
        """Make a key: `key, secret = t.keys.create(acme, scopes=["agent:create"])`.

        `scopes` are permission patterns and must be held by `by`; a key without principal needs
        them. `expires` is a moment, or a length of time from now. `limit` is the key's own rate
        limit, such as `"100/minute"`.
        """
        if not scopes and principal is None:
            raise InvalidValue(
                "scopes",
                "a key without principal has exactly its scopes, so it needs some",
                remedy='scopes=["resource:action", …], or principal="<user>"',
            )
        patterns = None if scopes is None else check_patterns(scopes, "scopes")
        check_name(name)
        if principal is not None:
            check_principal(principal)
        with self._host.write(by) as change:
            tenant_id = _tenant_id(change, tenant)
            self._must_hold(change, tenant_id, principal, patterns)
            values = {
                "tenant_id": tenant_id,
                "name": name,
                "principal": principal,
                "scopes": None if patterns is None else json.dumps(patterns),
                "rate_limit": limit,
                "expires_ns": deadline_ns(expires, change.now_ns, "expires") or 0,
            }
            new = self._insert(change, values)
            change.fact(
                "key_created",
                "api_key:create",
                tenant=tenant_id,
                resource="api_key",
                resource_id=new.key.id,
                context={"scopes": patterns, "principal": principal},
            )
        return new

    def rotate(
        self,
        key: ApiKey | str,
        *,
        grace: timedelta | float = GRACE,
        expires: datetime | timedelta | float | None = None,
        by: str | None = None,
    ) -> NewKey:
        """Replace a key by a new one with the same rights; the old one works on for `grace`.

        How often the old one is still used is in its record's `uses_since_rotation`.
        """
        grace_ns = duration_ns(grace, "grace")
        with self._host.write(by) as change:
            row = _usable(change, key)
            if row.rotated_to is not None:
                raise Conflict(f"key {row.id} was rotated already, to {row.rotated_to}")
            patterns = None if row.scopes is None else json.loads(row.scopes)
            self._must_hold(change, row.tenant_id, row.principal, patterns)
            copied = ("tenant_id", "name", "principal", "scopes", "rate_limit", "expires_ns")
            values = {column: getattr(row, column) for column in copied}
            if expires is not None:
                values["expires_ns"] = deadline_ns(expires, change.now_ns, "expires")
            new = self._insert(change, values)
            until = change.now_ns + grace_ns
            self._update(change, row.id, rotated_to=new.key.id, grace_until_ns=until)
            change.fact(
                "key_rotated",
                "api_key:rotate",
                tenant=row.tenant_id,
                resource="api_key",
                resource_id=row.id,
                context={"successor": new.key.id, "grace_until_ns": until},
            )
        return new

    def renew(
        self,
        key: ApiKey | str,
        expires: datetime | timedelta | float | None,
        *,
        by: str | None = None,
    ) -> ApiKey:
        """Move the expiry of a key that is still valid, or take it away with None."""
        with self._host.write(by) as change:
            row = _usable(change, key)
            moment = deadline_ns(expires, change.now_ns, "expires") or 0
            self._update(change, row.id, expires_ns=moment)
            change.fact(
                "key_renewed",
                "api_key:renew",
                tenant=row.tenant_id,
                resource="api_key",
                resource_id=row.id,
                context={"expires_ns": moment},
            )
            row = _found(change.connection, row.id)
        return self._record(row)

    def revoke(self, key: ApiKey | str, *, by: str | None = None) -> ApiKey:
        """End a key: refused by the next decision of every worker. Revoking twice is no error."""
        with self._host.write(by) as change:
            row = _found(change.connection, key)
            if not row.revoked_ns:
                self._update(change, row.id, revoked_ns=change.now_ns)
                change.fact(
                    "key_revoked",
                    "api_key:revoke",
                    tenant=row.tenant_id,
                    resource="api_key",
                    resource_id=row.id,
                )
                row = _found(change.connection, row.id)
        return self._record(row)

    def get(self, key: ApiKey | str, *, tenant: Tenant | str | None = None) -> ApiKey:
        """The key's record with its last use. With `tenant`, only if it is that tenant's."""
        owner = None if tenant is None else self._host.tenant_id(tenant)
        with self._host.read() as connection:
            row = _found(connection, key)
        if owner is not None and row.tenant_id != owner:
            raise UnknownKey(f"no key {row.id!r}", tenant=owner)
        return self._record(row)

    def list(
        self,
        tenant: Tenant | str,
        *,
        revoked: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[ApiKey]:
        """The tenant's keys in the order of their making; revoked ones only when asked for."""
        query = (
            sa.select(keys)
            .where(keys.c.tenant_id == self._host.tenant_id(tenant))
            .order_by(keys.c.seq)
            .limit(check_page(limit) + 1)
        )
        if not revoked:
            query = query.where(keys.c.revoked_ns == 0)
        if cursor is not None:
            query = query.where(keys.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(self._record(row) for row in rows[:limit]), more)

    def last_used(self, key: ApiKey | str) -> datetime | None:
        """To the minute; None when it was never used."""
        return self.get(key).last_used

    def create_many(
        self, rows: Iterable[Mapping[str, Any]], *, by: str | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Make many keys in one transaction, all or none: `(public id, secret)` in order.

        Each row holds `tenant` and arguments of `create`. One audit fact tells of all.
        """
        with self._host.write(by) as change:
            made, values = [], []
            for row in rows:
                full, public_id = _core.make_api_key()
                made.append((public_id, full))
                values.append(self._bulk_row(change, row, public_id, full))
            if not made:
                return ()
            ids = {row["tenant_id"]: "" for row in values}
            for reference in ids:
                ids[reference] = self._host.tenant_id(reference)
            for row in values:
                row["tenant_id"] = ids[row["tenant_id"]]
            for tenant_id, who, patterns in {
                (v["tenant_id"], v["principal"], v["scopes"]) for v in values
            }:
                scopes = None if patterns is None else json.loads(patterns)
                self._must_hold(change, tenant_id, who, scopes)
            low = 1 + (change.execute(sa.select(sa.func.max(keys.c.seq))).scalar() or 0)
            change.execute(sa.insert(keys), values)
            high = change.execute(sa.select(sa.func.max(keys.c.seq))).scalar()
            change.touched_many("keys", low, high)
            change.fact(
                "key_created",
                "api_key:create_many",
                resource="api_key",
                context={"count": len(made)},
            )
        return tuple(made)

    # ------------------------------------------------------------------------------ inside

    def _must_hold(
        self, change: Change, tenant_id: str, principal: str | None, patterns: Sequence[str] | None
    ) -> None:
        """A key for oneself is cut to one's rights anyway; one for another must not exceed them."""
        if principal is None or principal != change.by:
            needed = ("*:*",) if patterns is None else patterns
            must_hold_patterns(self._host, change, tenant_id, needed)

    def _insert(self, change: Change, values: dict[str, Any]) -> NewKey:
        full, public_id = _core.make_api_key()
        row = {
            **values,
            "id": public_id,
            "digest": _core.sha256(full.encode()),
            "revoked_ns": 0,
            "grace_until_ns": 0,
            "created_ns": change.now_ns,
            "created_by": change.by,
        }
        change.execute(sa.insert(keys).values(**row))
        self._try(change, row)
        change.touched("key", public_id)
        return NewKey(self._record(_found(change.connection, public_id)), full)

    def _try(self, change: Change, row: Mapping[str, Any]) -> None:
        """The engine's own judgement of scopes and limit."""
        if row["rate_limit"] is None:
            return
        order = ("id", "tenant_id", "digest", "principal", "scopes", "expires_ns")
        values = dict(row, scopes=None if row["scopes"] is None else json.loads(row["scopes"]))
        trial = (*(values[c] for c in order), 0, 0, row["rate_limit"])
        self._host.rehearse(change, row["tenant_id"], field="limit", extra={"keys": [trial]})

    def _bulk_row(
        self, change: Change, row: Mapping[str, Any], public_id: str, full: str
    ) -> dict[str, Any]:
        patterns = row.get("scopes")
        if patterns is None and row.get("principal") is None:
            raise InvalidValue("scopes", "a key without principal needs scopes")
        return {
            "id": public_id,
            "tenant_id": row["tenant"],
            "digest": _core.sha256(full.encode()),
            "name": check_name(row.get("name", "key")),
            "principal": row.get("principal"),
            "scopes": None if patterns is None else json.dumps(check_patterns(patterns, "scopes")),
            "rate_limit": None,
            "expires_ns": deadline_ns(row.get("expires"), change.now_ns, "expires") or 0,
            "revoked_ns": 0,
            "grace_until_ns": 0,
            "created_ns": change.now_ns,
            "created_by": change.by,
        }

    @staticmethod
    def _update(change: Change, public_id: str, **values: Any) -> None:
        change.execute(sa.update(keys).where(keys.c.id == public_id).values(**values))
        change.touched("key", public_id)

    def _record(self, row: Any) -> ApiKey:
        uses, last_used_ns = 0, 0
        # A key made in this very transaction is not known yet: it was never used.
        with contextlib.suppress(_core.CoreError):
            uses, last_used_ns = self._host.engine.key_usage(row.id)
        return ApiKey(
            id=row.id,
            tenant=row.tenant_id,
            name=row.name,
            principal=row.principal,
            scopes=None if row.scopes is None else tuple(json.loads(row.scopes)),
            limit=row.rate_limit,
            created=to_datetime(row.created_ns),
            created_by=row.created_by,
            expires=to_datetime(row.expires_ns),
            revoked=to_datetime(row.revoked_ns),
            grace_until=to_datetime(row.grace_until_ns),
            rotated_to=row.rotated_to,
            last_used=to_datetime(last_used_ns),
            uses_since_rotation=uses if row.rotated_to is not None else 0,
        )

    acreate = twin(create)
    arotate = twin(rotate)
    arenew = twin(renew)
    arevoke = twin(revoke)
    aget = twin(get)
    alist = twin(list)  # noqa: A003
    acreate_many = twin(create_many)


def _tenant_id(change: Change, tenant: Tenant | str) -> str:
    """The id, by what this transaction sees; purged tenants get no keys."""
    reference = tenant.id if isinstance(tenant, Tenant) else tenant
    row = by_reference(change.connection, reference)
    if row is None or row.status == "purged":
        raise UnknownTenant(f"no tenant is named {shown(reference)}")
    return str(row.id)


def _found(connection: Any, key: ApiKey | str) -> Any:
    public_id = key.id if isinstance(key, ApiKey) else key
    which = sa.select(keys).where(keys.c.id == public_id)
    row = connection.execute(which).one_or_none() if storable(public_id) else None
    if row is None:
        # Somebody may have passed the secret: never repeat more than its public part.
        public = public_id[:11] if isinstance(public_id, str) else public_id
        raise UnknownKey(f"no key {shown(public)}")
    return row


def _usable(change: Change, key: ApiKey | str) -> Any:
    row = _found(change.connection, key)
    if row.revoked_ns or (row.expires_ns and row.expires_ns <= change.now_ns):
        state = "revoked" if row.revoked_ns else "expired"
        raise Conflict(f"key {row.id} is {state}", tenant=row.tenant_id, remedy="make a new one")
    return row
