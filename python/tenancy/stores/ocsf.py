"""Audit facts as events of the Open Cybersecurity Schema Framework, version 1.5.0.

Source of classes, activities, required attributes and constraints: https://schema.ocsf.io/1.5.0.
`CLASSES_OF_TYPES` says which class and activity a type is; a type that is not there goes by its
beginning (`_PREFIXES`), else it is a Base Event. What the class has no attribute for stands in
`unmapped`, so nothing of a fact is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import _core
from .records import AuditEvent

__all__ = ["CLASSES_OF_TYPES", "OCSF_VERSION", "to_ocsf"]

OCSF_VERSION = "1.5.0"

BASE, FINDING = 0, 2004
ACCOUNT, AUTHENTICATION, SESSION, ENTITY, ACCESS = 3001, 3002, 3003, 3004, 3005
API = 6003
OTHER = 99
"""The activity of what a class has no name for; `activity_name` is then the fact's type."""
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH, _CRITICAL = 1, 2, 3, 4, 5


class Kind(NamedTuple):
    """What a type of fact is in OCSF."""

    class_uid: int
    activity_id: int
    severity_id: int = _INFORMATIONAL


CLASSES_OF_TYPES: Mapping[str, Kind] = {
    # who came in
    "login": Kind(AUTHENTICATION, 1),
    "login_failed": Kind(AUTHENTICATION, 1, _MEDIUM),
    "logout": Kind(AUTHENTICATION, 2),
    "credential_refused": Kind(AUTHENTICATION, 1, _MEDIUM),
    "key_used": Kind(AUTHENTICATION, 1),
    "session_created": Kind(AUTHENTICATION, 1),
    "session_ended": Kind(AUTHENTICATION, 2),
    "roles_activated": Kind(SESSION, 1),
    "mfa_enabled": Kind(ACCOUNT, 10),
    "mfa_disabled": Kind(ACCOUNT, 11, _MEDIUM),
    "password_changed": Kind(ACCOUNT, 3),
    "password_reset": Kind(ACCOUNT, 4),
    # who may do what
    "role_assigned": Kind(ACCESS, 1),
    "role_revoked": Kind(ACCESS, 2),
    "permission_granted": Kind(ENTITY, 3),
    "key_created": Kind(ENTITY, 1),
    "key_rotated": Kind(ENTITY, 3),
    "key_renewed": Kind(ENTITY, 3),
    "key_revoked": Kind(ENTITY, 9),
    # what was changed
    "config_changed": Kind(ENTITY, 3),
    "tenant_created": Kind(ENTITY, 1),
    "tenant_pending": Kind(ENTITY, 3),
    "tenant_trial": Kind(ENTITY, 10),
    "tenant_active": Kind(ENTITY, 10),
    "tenant_suspended": Kind(ENTITY, 12, _LOW),
    "tenant_resumed": Kind(ENTITY, 13),
    "tenant_churned": Kind(ENTITY, 11),
    "tenant_deleted": Kind(ENTITY, 4, _LOW),
    "tenant_restored": Kind(ENTITY, 8),
    "tenant_purged": Kind(ENTITY, 4, _LOW),
    "retention_policy_applied": Kind(ENTITY, OTHER),
    # who used what
    "data_created": Kind(API, 1),
    "data_read": Kind(API, 2),
    "data_updated": Kind(API, 3),
    "data_deleted": Kind(API, 4),
    "data_export": Kind(API, 2, _LOW),
    "data_anonymization": Kind(API, 3),
    "cross_tenant_access": Kind(API, 2, _MEDIUM),
    # what was refused
    "permission_denied": Kind(API, OTHER, _LOW),
    "tenant_refused": Kind(API, OTHER, _LOW),
    "request_refused": Kind(API, OTHER, _LOW),
    "limit_exceeded": Kind(API, OTHER, _LOW),
    "quota_exceeded": Kind(API, OTHER, _LOW),
    "state_unavailable": Kind(API, OTHER, _HIGH),
    "quota_threshold": Kind(BASE, OTHER, _LOW),
    "budget_threshold": Kind(BASE, OTHER, _LOW),
    # what is suspected
    "cross_tenant": Kind(FINDING, 1, _HIGH),
    "security_violation": Kind(FINDING, 1, _HIGH),
    "security_alert": Kind(FINDING, 1, _HIGH),
    "security_alert_acknowledged": Kind(FINDING, 2),
    "security_alert_retried": Kind(FINDING, 2),
    "suspicious_activity": Kind(FINDING, 1, _HIGH),
}

_PREFIXES: tuple[tuple[str, Kind], ...] = (
    ("login", Kind(AUTHENTICATION, OTHER)),
    ("logout", Kind(AUTHENTICATION, 2)),
    ("credential", Kind(AUTHENTICATION, OTHER)),
    ("session_", Kind(AUTHENTICATION, OTHER)),
    ("mfa_", Kind(ACCOUNT, OTHER)),
    ("password_", Kind(ACCOUNT, OTHER)),
    *((name, Kind(ENTITY, OTHER)) for name in ("key_", "role_", "config_", "tenant_", "legal_")),
    *((name, Kind(API, OTHER)) for name in ("data_", "access_", "permission_", "cross_tenant_")),
    ("security_", Kind(FINDING, 1, _HIGH)),
    ("suspicious_", Kind(FINDING, 1, _HIGH)),
)

_OTHER_KIND = Kind(BASE, OTHER)
_SEVERITIES = {"low": _LOW, "medium": _MEDIUM, "high": _HIGH, "critical": _CRITICAL}
_NEW, _IN_PROGRESS = 1, 2
_STATUS = {"success": (1, "Success"), "failure": (2, "Failure"), "denied": (2, "Failure")}
_UNKNOWN = "unknown"


def to_ocsf(event: AuditEvent) -> dict[str, Any]:
    """One fact as an OCSF 1.5.0 event that JSON can hold; `metadata.uid` is the fact's id."""
    kind = _kind_of(event.type)
    status_id, status = _STATUS.get(event.result, (0, "Unknown"))
    body: dict[str, Any] = {
        "class_uid": kind.class_uid,
        "category_uid": kind.class_uid // 1000,
        "activity_id": kind.activity_id,
        "type_uid": kind.class_uid * 100 + kind.activity_id,
        "severity_id": kind.severity_id,
        "time": int(event.time.timestamp()) * 1000 + event.time.microsecond // 1000,
        "status_id": status_id,
        "message": f"{event.type}: {event.action} ({event.result})",
        "metadata": _metadata(event),
        "unmapped": _unmapped(event),
    }
    if kind.class_uid != FINDING:  # there, a status is how far the finding was dealt with
        body["status"] = status
    if kind.activity_id == OTHER:
        body["activity_name"] = event.type
    code = event.context.get("code")
    if isinstance(code, str):
        body["status_code"] = code
    detail = event.context.get("detail")
    if isinstance(detail, str):
        body["status_detail"] = detail
    if kind.class_uid in _OF_CLASS:
        body.update(_OF_CLASS[kind.class_uid](event))
    return body


def _kind_of(type_: str) -> Kind:
    found = CLASSES_OF_TYPES.get(type_)
    if found is not None:
        return found
    return next((kind for start, kind in _PREFIXES if type_.startswith(start)), _OTHER_KIND)


def _metadata(event: AuditEvent) -> dict[str, Any]:
    metadata = {
        "version": OCSF_VERSION,
        "product": {
            "name": "tenancy",
            "vendor_name": "tenancy",
            "version": _core.__version__,
            "uid": "tenancy",
        },
        "uid": event.id,
        "event_code": event.type,
        "log_name": "audit",
        "original_time": event.as_dict()["time"],
    }
    if event.tenant is not None:
        metadata["tenant_uid"] = event.tenant
    request = _text(event, "request_id")
    if request is not None:
        metadata["correlation_uid"] = request
    return metadata


def _unmapped(event: AuditEvent) -> dict[str, Any]:
    body = {
        "action": event.action,
        "resource": event.resource,
        "resource_id": event.resource_id,
        "result": event.result,
        "revision": event.revision,
        "context": dict(event.context) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


# ------------------------------------------------------------------------------ by class


def _authentication(event: AuditEvent) -> dict[str, Any]:
    return {
        **_endpoint(event),
        **_session(event),
        "actor": _actor(event),
        "user": _user(_subject(event)),
        "service": {"name": "tenancy"},
    }


def _account(event: AuditEvent) -> dict[str, Any]:
    user = _user(_subject(event))
    return {**_endpoint(event), "actor": _actor(event), "user": user}


def _authorize_session(event: AuditEvent) -> dict[str, Any]:
    roles = event.context.get("roles")
    privileges = [str(role) for role in roles] if isinstance(roles, (list, tuple)) else []
    return {
        **_endpoint(event),
        **_session(event),
        "actor": _actor(event),
        "user": _user(_subject(event)),
        "privileges": privileges or [event.action or _UNKNOWN],
    }


def _user_access(event: AuditEvent) -> dict[str, Any]:
    on = _text(event, "resource")
    return {
        **_endpoint(event),
        "actor": _actor(event),
        "user": _user(_subject(event)),
        "privileges": [event.resource_id or event.action or _UNKNOWN],
        **({"resources": [{"name": on, "uid": on}]} if on else {}),
    }


def _entity(event: AuditEvent) -> dict[str, Any]:
    kind = event.resource or event.action.partition(":")[0] or event.type
    uid = event.resource_id or event.tenant
    entity = {"type": kind, "name": uid or kind, **({"uid": uid} if uid else {})}
    return {**_endpoint(event), "actor": _actor(event), "entity": entity}


def _api(event: AuditEvent) -> dict[str, Any]:
    found: dict[str, Any] = {"src_endpoint": {"name": _UNKNOWN}, "actor": _actor(event)}
    found.update(_endpoint(event))
    found["api"] = {"operation": event.action or event.type, "service": {"name": "tenancy"}}
    request = _text(event, "request_id")
    if request is not None:
        found["api"]["request"] = {"uid": request}
    if event.resource or event.resource_id:
        resource = {"type": event.resource, "name": event.resource_id or event.resource}
        resource["uid"] = event.resource_id
        found["resources"] = [{name: text for name, text in resource.items() if text}]
    return found


def _finding(event: AuditEvent) -> dict[str, Any]:
    """What follows an alert is an update of the alert's own finding."""
    alert = event.resource_id if event.resource == "alert" else None
    title = _text(event, "rule") or f"{event.type}: {event.action or _UNKNOWN}"
    found: dict[str, Any] = {
        "finding_info": {"uid": alert or event.id, "title": title, "types": [event.type]},
        "is_alert": True,
        "evidences": [{"actor": _actor(event), **_endpoint(event)}],
        "status_id": _IN_PROGRESS if event.type.endswith("_acknowledged") else _NEW,
    }
    severity = _SEVERITIES.get(_text(event, "severity") or "")
    return {**found, **({} if severity is None else {"severity_id": severity})}


_OF_CLASS: Mapping[int, Callable[[AuditEvent], dict[str, Any]]] = {
    AUTHENTICATION: _authentication,
    ACCOUNT: _account,
    SESSION: _authorize_session,
    ACCESS: _user_access,
    ENTITY: _entity,
    API: _api,
    FINDING: _finding,
}


def _actor(event: AuditEvent) -> dict[str, Any]:
    session = _session(event).get("session")
    return {"user": _user(event.principal, event), **({"session": session} if session else {})}


def _user(principal: str, event: AuditEvent | None = None) -> dict[str, Any]:
    name = principal or _UNKNOWN
    user: dict[str, Any] = {"name": name, "uid": name, "type_id": 1 if principal else 0}
    if principal == "system":
        user["type_id"] = 3
    elif principal.startswith("operator:"):
        user["type_id"] = 2
    key = None if event is None else _text(event, "key")
    if key is not None:
        user["credential_uid"] = key
    return user


def _subject(event: AuditEvent) -> str:
    """Whom it is about: a change names somebody else than its author."""
    return _text(event, "principal") or event.principal


def _endpoint(event: AuditEvent) -> dict[str, Any]:
    ip = _text(event, "ip")
    if ip is None:
        return {}
    if "/" in ip:  # an IPv6 network, which is no address
        return {"src_endpoint": {"name": ip}}
    return {"src_endpoint": {"ip": ip}}


def _session(event: AuditEvent) -> dict[str, Any]:
    uid = _text(event, "session_id")
    if uid is None and event.resource == "session":
        uid = event.resource_id
    return {} if uid is None else {"session": {"uid": uid}}


def _text(event: AuditEvent, name: str) -> str | None:
    value = event.context.get(name)
    return value if isinstance(value, str) and value else None
