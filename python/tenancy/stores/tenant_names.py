"""Names that lead to tenants: slugs and external ids, each to one tenant only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from .. import _core
from .._text import check_slug, listed, slugify
from ..errors import AlreadyExists, InvalidValue
from .change import Change
from .schema import tenants
from .tenant_rows import FIRST_STATUSES

__all__ = ["check_references", "first_status", "free_slug"]


def first_status(status: str) -> str:
    if status not in FIRST_STATUSES:
        raise InvalidValue(
            "status", f"a tenant cannot begin as {status!r}", remedy=listed(FIRST_STATUSES)
        )
    return status


def free_slug(change: Change, name: str) -> str:
    """A slug from the name that nobody has: `acme`, `acme-2`, …"""
    base = slugify(name) or "tenant"
    for number in range(1, 21):
        end = "" if number == 1 else f"-{number}"
        slug = base[: 50 - len(end)].rstrip("-") + end
        if not _taken(change, slug):
            return slug
    return check_slug(f"{base[:37].rstrip('-')}-{_core.random_base62(12).lower()}")


def _taken(change: Change, reference: str, but: str | None = None) -> str | None:
    """The column in which another tenant has this reference."""
    for column in (tenants.c.id, tenants.c.external_id, tenants.c.slug):
        owner = change.execute(sa.select(tenants.c.id).where(column == reference)).scalar()
        if owner is not None and owner != but:
            return str(column.name)
    return None


def check_references(change: Change, row: Mapping[str, Any], own: str | None) -> None:
    """A name leads to one tenant only, whichever of the three kinds it is."""
    for field in ("external_id", "slug"):
        value = row.get(field)
        if value is not None and (column := _taken(change, value, own)):
            raise AlreadyExists(
                f"{field} {value!r} is taken (another tenant's {column})",
                remedy="choose another"
                + (", or leave `slug` out to have one made" if field == "slug" else ""),
            )
