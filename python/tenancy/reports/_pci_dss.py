"""PCI DSS v4.0.1 (June 2024): requirements 7, 8 and 10, as far as a tenant's log speaks to them."""

from __future__ import annotations

from ._controls import (
    ALL,
    BY_NOBODY,
    FAILED,
    KEYS,
    NOT_WRITTEN,
    REFUSALS,
    REFUSED,
    ROLES,
    SUSPECTED,
    SUSPICIONS,
    UNNAMED,
    Standard,
    control,
    organisation,
)

__all__ = ["PCI_DSS"]

_CREDENTIALS = f"type in ({KEYS}, {ROLES}, mfa_enabled)"

_ACCESS = (
    organisation(
        "7.2.1",
        "An access control model is defined",
        "The catalog defines roles; that they fit the business's needs, the organisation says.",
    ),
    control(
        "7.2.2",
        "Access is assigned by job and with least privilege",
        "type in (role_assigned, role_revoked, roles_activated)",
        f"{UNNAMED} or {FAILED}",
        f"{BY_NOBODY} Or failed or refused.",
        outside="The jobs of people.",
    ),
    control(
        "7.2.3",
        "Privileges are approved by authorised personnel",
        "type in (role_assigned, permission_granted)",
        UNNAMED,
        BY_NOBODY,
        outside="Approvals given outside this system.",
    ),
    organisation(
        "7.2.4",
        "All user accounts and their privileges are reviewed at least every six months",
        "That and when somebody reviewed them. `tenancy roles` lists what there is.",
    ),
    control(
        "7.2.5",
        "Accounts of applications and systems have the least privileges they need",
        f"type in ({KEYS})",
        UNNAMED,
        BY_NOBODY,
        outside="Accounts of hosts and databases; what each application needs.",
    ),
    control(
        "7.2.6",
        "Stored cardholder data is queried only through applications, by role",
        "type in (data_read, data_export)",
        f"principal in (anonymous) or {FAILED}",
        "Done by a caller without a name, failed, or refused.",
        outside="Which of the data is cardholder data; direct access to databases.",
    ),
)

_IDENTITY = (
    control(
        "8.2.1",
        "Every user has an ID of their own before getting access",
        f"type in (data_*, login, session_created, {KEYS}, {ROLES})",
        "principal in (anonymous)",
        "Done by a caller without a name.",
        outside="Whether several people share one identity (8.2.2).",
    ),
    control(
        "8.2.4",
        "IDs and authentication factors are added, changed and deleted with approval",
        _CREDENTIALS,
        UNNAMED,
        BY_NOBODY,
        outside="Approvals, and users of the application's own directory.",
    ),
    control(
        "8.2.5",
        "Access of people who left is revoked immediately",
        "type in (key_revoked, role_revoked, session_ended)",
        FAILED,
        REFUSED,
        outside="Who left when.",
    ),
    organisation(
        "8.2.6",
        "Accounts inactive for 90 days are removed or disabled",
        "Accounts are the application's; keys carry the time of their last use.",
    ),
    control(
        "8.3.4",
        "Invalid attempts to authenticate lock the user out",
        "type in (login_failed, credential_refused)",
        "type in (login_failed, credential_refused)",
        "Attempts that failed.",
        outside="Locking accounts after at most ten attempts, for 30 minutes or until identity is "
        "confirmed, is the application's; the engine bounds attempts per address where "
        "`failed_credentials` is set.",
    ),
    organisation(
        "8.4",
        "Access to the cardholder data environment takes several factors",
        "How the application's users prove who they are.",
    ),
)

_LOGGED = (
    control(
        "10.2.1",
        "Audit logs are active",
        ALL,
        NOT_WRITTEN,
        "Before these, events of the same source were counted and not written: a cap.",
        outside="Components that do not report to this log.",
    ),
    control(
        "10.2.1.1",
        "Every individual access to cardholder data is logged",
        "type in (data_*)",
        "principal in (anonymous)",
        "Done by a caller without a name.",
        outside="Which of the data is cardholder data; access that the application does not log.",
    ),
    control(
        "10.2.1.2",
        "Everything done with administrative access is logged",
        f"principal in (operator:*, system) or type in (config_changed, {ROLES}, tenant_*)",
        FAILED,
        REFUSED,
        outside="Administration of hosts and databases. What operators look at across tenants is "
        "logged for the host, not for a tenant.",
    ),
    control(
        "10.2.1.3",
        "Every access to audit logs is logged",
        "action in (audit:*)",
        FAILED,
        REFUSED,
        outside="A tenant's own searches write no event, and access to the files is the host's. "
        "Operators' searches are logged for the host, not for a tenant.",
    ),
    control(
        "10.2.1.4",
        "Every invalid logical access attempt is logged",
        f"type in (login_failed, {REFUSALS}, cross_tenant, security_violation) "
        f"or type in (login, data_*, cross_tenant_access) and {FAILED}",
        "type in (security_violation, cross_tenant, cross_tenant_access)",
        SUSPECTED,
    ),
    control(
        "10.2.1.5",
        "Every change of identification and authentication credentials is logged",
        _CREDENTIALS,
        UNNAMED,
        BY_NOBODY,
        outside="Users of the application's own directory.",
    ),
    organisation(
        "10.2.1.6",
        "Starting, stopping, pausing and initialising audit logs is logged",
        "The log belongs to the host and not to a tenant: its own records tell it.",
    ),
    control(
        "10.2.1.7",
        "Creation and deletion of system-level objects is logged",
        "type in (tenant_created, tenant_deleted, tenant_purged) "
        "or action in (role:define, role:remove)",
        FAILED,
        REFUSED,
        outside="Objects of operating systems and databases.",
    ),
    control(
        "10.2.2",
        "Each entry says who, what, when, with which result, from where and on what",
        ALL,
        "principal in (anonymous) or resource is absent",
        "Does not say who did it, or on what.",
        outside="Where a request came from is in an event's context as far as the application "
        "gives it (ip, request_id).",
    ),
)

_KEPT = (
    organisation(
        "10.3.1",
        "Only those whose job needs it can read audit logs",
        "Accounts of the host. A data directory opens only with mode 0700 and one owner.",
    ),
    control(
        "10.3.2",
        "Audit logs are protected from modification",
        checks=("chain",),
        outside="The chain shows a modification; accounts and modes of the host prevent it.",
    ),
    organisation(
        "10.3.3",
        "Audit logs are promptly copied to a place that is hard to alter",
        "Where copies go, the organisation says.",
    ),
    control(
        "10.3.4",
        "Changes of existing log data are detected",
        checks=("chain",),
    ),
    control(
        "10.4.1",
        "Security events are reviewed at least daily",
        f"type in ({SUSPICIONS})",
        f"type in ({SUSPICIONS})",
        SUSPECTED,
        outside="That and when somebody reviewed them, and by which means (10.4.1.1).",
    ),
    control(
        "10.5.1",
        "Audit logs are kept for 12 months, the last three at hand",
        checks=("retention>=365",),
        outside="Copies and archives.",
    ),
    organisation(
        "10.6",
        "Clocks are synchronised",
        "The engine reads the clock of its host; what sets it is outside.",
    ),
    control(
        "10.7.2",
        "Failures of critical security controls are detected and answered promptly",
        NOT_WRITTEN,
        NOT_WRITTEN,
        "Events that were counted and not written.",
        checks=("chain",),
        outside="Other controls, who was alerted, and the answers.",
    ),
)

PCI_DSS = Standard(
    key="pci-dss",
    title="PCI DSS, Payment Card Industry Data Security Standard",
    version="4.0.1",
    controls=(
        organisation(
            "1-6, 9, 11, 12",
            "Networks, configurations, stored and transmitted data, malware, development, "
            "physical access, tests, policies",
            "They are outside an audit log.",
        ),
        *_ACCESS,
        *_IDENTITY,
        *_LOGGED,
        *_KEPT,
    ),
)
