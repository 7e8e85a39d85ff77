"""Tenant records as rows: what each field may hold, and the way there and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .. import _core
from .._text import (
    check_email,
    check_name,
    check_slug,
    check_text,
    from_json,
    listed,
    storable,
    to_bounded_json,
    to_datetime,
    to_ns,
)
from ..errors import InvalidValue
from .records import Tenant
from .schema import tenants

__all__ = [
    "FIRST_STATUSES",
    "ISOLATIONS",
    "MERGED",
    "REGIONS",
    "STATUSES",
    "by_reference",
    "from_row",
    "to_row",
]


STATUSES = ("pending", "trial", "active", "suspended", "churned", "deleted", "purged")
FIRST_STATUSES = ("pending", "trial", "active")
REGIONS = ("us", "eu", "ap")
ISOLATIONS = ("shared", "schema", "database", "instance")
MERGED = ("owner", "company", "settings", "overrides", "billing", "metadata")
"""Fields of which an update changes single keys."""

_OVERRIDES = ("features", "isolation", "quotas", "rate_limits", "retention_days")
_OWNER = ("email", "name", "user_id")
_CONTACT = ("email", "name", "phone", "role")
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*:\S+")


def to_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """The checked row of those fields that are given; JSON objects must be whole already."""
    row: dict[str, Any] = {}
    for field, value in values.items():
        check = _CHECKS.get(field)
        if check is None:
            raise InvalidValue(field, "not a field of a tenant", remedy=f"one of {listed(_CHECKS)}")
        row["anchor_ns" if field == "anchor" else field] = check(value)
    return row


def from_row(row: Any) -> Tenant:
    created, updated = to_datetime(row.created_ns), to_datetime(row.updated_ns)
    return Tenant(
        id=row.id,
        slug=row.slug or "",
        name=row.name,
        plan=row.plan,
        status=row.status,
        external_id=row.external_id,
        owner=from_json(row.owner),
        contacts=tuple(json.loads(row.contacts) if row.contacts else ()),
        company=from_json(row.company),
        settings=from_json(row.settings),
        overrides=from_json(row.overrides),
        billing=from_json(row.billing),
        metadata=from_json(row.metadata),
        time_zone=row.time_zone,
        anchor=to_datetime(row.anchor_ns),
        suspension_reason=row.suspension_reason,
        legal_hold=bool(row.legal_hold),
        created=created,
        updated=updated,
        suspended=to_datetime(row.suspended_ns),
        deleted=to_datetime(row.deleted_ns),
        purge_after=to_datetime(row.purge_after_ns),
    )


def by_reference(connection: sa.engine.Connection, reference: str) -> Any | None:
    """The row named by id, external id or slug, in this order."""
    if not storable(reference):
        return None
    for column in (tenants.c.id, tenants.c.external_id, tenants.c.slug):
        row = connection.execute(sa.select(tenants).where(column == reference)).one_or_none()
        if row is not None:
            return row
    return None


# ---------------------------------------------------------------------------------- fields


def _object(field: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(field, f"expected a mapping, got {type(value).__name__}")
    return value


def _json(field: str, value: Any) -> str | None:
    return to_bounded_json(value, field)


def _person(field: str, value: Any, known: Sequence[str]) -> Mapping[str, Any]:
    person = _object(field, value)
    for key, text in person.items():
        if key not in known:
            raise InvalidValue(f"{field}.{key}", "unknown", remedy=f"one of {listed(known)}")
        if key == "email":
            check_email(text, f"{field}.email")
        else:
            check_text(text, f"{field}.{key}", 255)
    return person


def _contacts(value: Any) -> str | None:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise InvalidValue("contacts", "expected a list of contacts")
    people = [_person(f"contacts.{i}", person, _CONTACT) for i, person in enumerate(value)]
    return _json("contacts", people)


def _settings(value: Any) -> str | None:
    settings = _object("settings", value)
    allowed = settings.get("allowed_models")
    if allowed is not None:
        _texts("settings.allowed_models", allowed)
    default = settings.get("default_model")
    if default is not None:
        check_text(default, "settings.default_model", 255)
        if allowed is not None and default not in allowed:
            raise InvalidValue(
                "settings.default_model",
                f"{default!r} is not among allowed_models",
                remedy=f"one of {listed(allowed)}",
            )
    if settings.get("compliance") is not None:
        _texts("settings.compliance", settings["compliance"])
    region = settings.get("data_residency")
    if region is not None and region not in REGIONS:
        raise InvalidValue(
            "settings.data_residency", f"unknown {region!r}", remedy=f"one of {listed(REGIONS)}"
        )
    for name, channel in _object("settings.channels", settings.get("channels", {})).items():
        _channel(f"settings.channels.{name}", channel)
    return _json("settings", settings)


def _channel(field: str, value: Any) -> None:
    channel = _object(field, value)
    if not isinstance(channel.get("enabled", False), bool):
        raise InvalidValue(f"{field}.enabled", "expected true or false")
    credentials = channel.get("credentials")
    if credentials is not None and not (
        isinstance(credentials, str) and _REFERENCE.fullmatch(credentials)
    ):
        raise InvalidValue(
            f"{field}.credentials",
            "a secret does not belong here, only a reference to it",
            remedy="for example env:SLACK_TOKEN, file:/run/secrets/slack or vault:slack/acme",
        )


def _texts(field: str, value: Any) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValue(field, "expected a list of texts")
    for i, text in enumerate(value):
        check_text(text, f"{field}.{i}", 255)


def _overrides(value: Any) -> str | None:
    overrides = _object("overrides", value)
    for key in overrides:
        if key not in _OVERRIDES:
            raise InvalidValue(f"overrides.{key}", "unknown", remedy=f"one of {listed(_OVERRIDES)}")
    return _json("overrides", overrides)


def _billing(value: Any) -> str | None:
    billing = _object("billing", value)
    if billing.get("email") is not None:
        check_email(billing["email"], "billing.email")
    currency = billing.get("currency")
    if currency is not None and not (
        isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency)
    ):
        raise InvalidValue(
            "billing.currency", f"{currency!r} is no ISO 4217 code", remedy="for example EUR"
        )
    return _json("billing", billing)


def _time_zone(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _core.valid_time_zone(value):
        raise InvalidValue(
            "time_zone", f"unknown {value!r}", remedy="an IANA name such as Europe/Vienna"
        )
    return value


def _status(value: Any) -> str:
    if value not in STATUSES:
        raise InvalidValue("status", f"unknown {value!r}", remedy=f"one of {listed(STATUSES)}")
    return str(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "id": lambda v: check_text(v, "id", 64),
    "external_id": lambda v: None if v is None else check_text(str(v), "external_id", 255),
    "slug": check_slug,
    "name": check_name,
    "plan": lambda v: check_text(v, "plan", 64),
    "status": _status,
    "owner": lambda v: _json("owner", _person("owner", v, _OWNER)),
    "contacts": _contacts,
    "company": lambda v: _json("company", _object("company", v)),
    "settings": _settings,
    "overrides": _overrides,
    "billing": _billing,
    "metadata": lambda v: _json("metadata", _object("metadata", v)),
    "time_zone": _time_zone,
    "anchor": lambda v: 0 if v is None else to_ns(v, "anchor"),
}
