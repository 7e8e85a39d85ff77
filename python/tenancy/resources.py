"""Resources that belong to tenants, with ids of the tenant's own and a recorded creator.
`Tenancy.resources`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from . import _core
from ._text import check_page, check_text, to_datetime
from .errors import AlreadyExists, InvalidValue, UnknownResource
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import Page, Resource, Tenant
from .stores.schema import resources
from .stores.twins import twin

__all__ = ["Resource", "Resources"]


class Resources:
    """Every call has an `a…` twin. Ids are scoped to tenants: two may own one (type, id)."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def register(
        self,
        tenant: Tenant | str,
        type: str,  # noqa: A002 - the word users look for
        id: str | None = None,  # noqa: A002
        *,
        creator: str | None = None,
        by: str | None = None,
    ) -> Resource:
        """Say that a tenant owns (type, id); without `id` one is made. `creator` is `by` if absent.

        Raises `AlreadyExists` when this tenant has it already.
        """
        _check_type(type)
        if id is not None:
            check_text(id, "id", 255)
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            own = id if id is not None else _core.sortable_id(f"{type}_", change.now_ns)
            row: dict[str, Any] = {
                "tenant_id": tenant_id,
                "type": type,
                "id": own,
                "creator": creator or change.by,
                "created_ns": change.now_ns,
            }
            try:
                change.execute(sa.insert(resources).values(**row))
            except sa.exc.IntegrityError:
                raise AlreadyExists(
                    f"{type} {own!r} is registered already", tenant=tenant_id
                ) from None
            change.touched("resource", tenant_id, type, own)
            change.fact(
                "data_created", f"{type}:create", tenant=tenant_id, resource=type, resource_id=own
            )
        return Resource(tenant_id, type, own, row["creator"], to_datetime(change.now_ns))

    def unregister(
        self,
        tenant: Tenant | str,
        type: str,  # noqa: A002
        id: str,  # noqa: A002
        *,
        by: str | None = None,
    ) -> bool:
        """Forget that the tenant owns it. False: it did not."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            if not change.execute(sa.delete(resources).where(_is(tenant_id, type, id))).rowcount:
                return False
            change.touched("resource", tenant_id, type, id)
            change.fact(
                "data_deleted", f"{type}:delete", tenant=tenant_id, resource=type, resource_id=id
            )
        return True

    def owns(self, tenant: Tenant | str, type: str, id: str) -> bool:  # noqa: A002
        """Whether this tenant owns it; answered by the engine."""
        return self._host.current().owns(self._host.tenant_id(tenant), type, id)

    def get(self, tenant: Tenant | str, type: str, id: str) -> Resource:  # noqa: A002
        """The record with its creator. Raises `UnknownResource`, also for another tenant's."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.read() as connection:
            row = connection.execute(
                sa.select(resources).where(_is(tenant_id, type, id))
            ).one_or_none()
        if row is None:
            raise UnknownResource(f"no {type} {id!r}", tenant=tenant_id)
        return _resource(row)

    def list(
        self,
        tenant: Tenant | str,
        type: str | None = None,  # noqa: A002
        *,
        creator: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Resource]:
        """The tenant's resources in the order of their registration."""
        query = (
            sa.select(resources)
            .where(resources.c.tenant_id == self._host.tenant_id(tenant))
            .order_by(resources.c.seq)
            .limit(check_page(limit) + 1)
        )
        if type is not None:
            query = query.where(resources.c.type == type)
        if creator is not None:
            query = query.where(resources.c.creator == creator)
        if cursor is not None:
            query = query.where(resources.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(_resource(row) for row in rows[:limit]), more)

    aregister = twin(register)
    aunregister = twin(unregister)
    aget = twin(get)
    alist = twin(list)  # noqa: A003


def _is(tenant_id: str, kind: str, name: str) -> Any:
    return sa.and_(
        resources.c.tenant_id == tenant_id, resources.c.type == kind, resources.c.id == name
    )


def _check_type(kind: str) -> None:
    check_text(kind, "type", 64)
    if not _core.valid_permission(f"{kind}:read", False):
        raise InvalidValue("type", f"{kind!r}", remedy="1 to 64 of A-Z, a-z, 0-9, _, . and -")


def _resource(row: Any) -> Resource:
    return Resource(row.tenant_id, row.type, row.id, row.creator, to_datetime(row.created_ns))
