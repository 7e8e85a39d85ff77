"""SOC 2: Trust Services Criteria of the AICPA, 2017, with the points of focus revised in 2022."""

from __future__ import annotations

from ._controls import (
    BY_NOBODY,
    DISPOSALS,
    FAILED,
    KEYS,
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

__all__ = ["SOC2"]

_SUSPECTED = f"type in ({SUSPICIONS})"

SOC2 = Standard(
    key="soc2",
    title="SOC 2, Trust Services Criteria",
    version="2017, points of focus revised 2022",
    controls=(
        organisation(
            "CC1-CC5",
            "Control environment, communication, risk assessment, monitoring, control activities",
            "Policies, people, risk assessments and their review are the organisation's.",
        ),
        control(
            "CC6.1",
            "Access to protected information is restricted by logical access controls",
            "type in (login, login_failed, logout, session_created, session_ended, "
            f"roles_activated, key_used, {REFUSALS}, {SUSPICIONS})",
            f"type in (login_failed, {REFUSALS}, {SUSPICIONS}) or {FAILED}",
            "Access that was refused, failed or suspected.",
            outside="Encryption at rest and the protection of its keys.",
        ),
        control(
            "CC6.2",
            "Users are registered and authorised before they get credentials; credentials end "
            "with the authorisation",
            f"type in ({KEYS}, mfa_enabled, session_created, session_ended)",
            UNNAMED,
            BY_NOBODY,
            outside="Who was authorised by whom outside this system, and who has left.",
        ),
        control(
            "CC6.3",
            "Access is given, changed and taken by role, with least privilege and separated duties",
            f"type in ({ROLES}, roles_activated)",
            f"{UNNAMED} or {FAILED}",
            f"{BY_NOBODY} Or failed or refused.",
            outside="The periodic review of who holds what.",
        ),
        organisation(
            "CC6.4",
            "Physical access to facilities and protected assets is restricted",
            "Buildings and machines are outside the engine.",
        ),
        organisation(
            "CC6.5",
            "Physical assets lose their protection only when no data can be recovered from them",
            "Disks and their disposal are outside the engine; for deleted data see C1.2.",
        ),
        control(
            "CC6.6",
            "The system is protected against threats from outside its boundary",
            "type in (login_failed, credential_refused, tenant_refused, limit_exceeded, "
            f"{SUSPICIONS})",
            _SUSPECTED,
            SUSPECTED,
            outside="Firewalls, intrusion detection, hardening of hosts.",
        ),
        control(
            "CC6.7",
            "Information moves and leaves only by authorised users and ways",
            "type in (data_export)",
            FAILED,
            REFUSED,
            outside="Encryption of connections, removable media, mobile devices.",
        ),
        organisation(
            "CC6.8",
            "Unauthorised and malicious software is prevented or found",
            "What is installed on hosts and clients is outside the engine.",
        ),
        control(
            "CC7.1",
            "Changes of configuration and new vulnerabilities are detected",
            "type in (config_changed, permission_granted)",
            f"{UNNAMED} or {FAILED}",
            f"{BY_NOBODY} Or failed or refused.",
            checks=("chain",),
            outside="Vulnerability scans; changes of hosts and of the application's code.",
        ),
        control(
            "CC7.2",
            "Components are watched for anomalies that point to attacks, disasters or errors",
            "type in (login_failed, limit_exceeded, quota_exceeded, quota_threshold, "
            f"{REFUSALS}, {SUSPICIONS})",
            _SUSPECTED,
            SUSPECTED,
            checks=("chain",),
            outside="Monitoring of hosts and networks.",
        ),
        control(
            "CC7.3",
            "Security events are evaluated: did one keep the organisation from its objectives?",
            _SUSPECTED,
            _SUSPECTED,
            SUSPECTED,
            outside="The evaluations and their outcome.",
        ),
        control(
            "CC7.4",
            "Incidents are answered by a defined response",
            "type in (tenant_suspended, tenant_resumed, key_revoked, role_revoked, session_ended)",
            FAILED,
            REFUSED,
            outside="The response programme; which of these steps answered an incident.",
        ),
        organisation(
            "CC7.5",
            "The organisation recovers from incidents",
            "Recovery plans and their tests are the organisation's.",
        ),
        control(
            "CC8.1",
            "Changes are authorised, tested, approved and documented",
            "type in (config_changed, permission_granted, tenant_*)",
            UNNAMED,
            BY_NOBODY,
            outside="Design, test and approval; changes of code and infrastructure.",
        ),
        organisation(
            "CC9",
            "Risks of disruption, vendors and partners are mitigated",
            "Contracts and assessments are the organisation's.",
        ),
        control(
            "A1.1",
            "Capacity is measured and managed to meet demand",
            "type in (limit_exceeded, quota_exceeded, quota_threshold)",
            "type in (limit_exceeded, quota_exceeded)",
            "Demand beyond what the plan grants.",
            outside="Capacity of hosts, and its forecast.",
        ),
        organisation(
            "A1.2",
            "Environmental protection, backup and recovery infrastructure are in place",
            "Backups and sites are the organisation's.",
        ),
        control(
            "C1.1",
            "Confidential information is identified and kept as long as it is needed",
            "type in (data_created, data_read, data_updated)",
            FAILED,
            REFUSED,
            checks=("plan",),
            outside="Which data is confidential.",
        ),
        control(
            "C1.2",
            "Confidential information is disposed of when it is no longer needed",
            f"type in ({DISPOSALS})",
            FAILED,
            REFUSED,
            checks=("hold",),
            outside="Copies outside this system, such as backups.",
        ),
    ),
    note="An opinion on SOC 2 is a CPA's, over a period and the whole system; this is evidence.",
)
