"""GDPR: Regulation (EU) 2016/679."""

from __future__ import annotations

from ._controls import (
    ALL,
    BY_NOBODY,
    DISPOSALS,
    FAILED,
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

__all__ = ["GDPR"]

_SUSPECTED = f"type in ({SUSPICIONS})"
_REQUESTS = "Which of them answered a person's request, and when it came in."

GDPR = Standard(
    key="gdpr",
    title="GDPR, General Data Protection Regulation",
    version="Regulation (EU) 2016/679",
    controls=(
        organisation(
            "Art. 5(1)(a)-(d), 6, 7",
            "Lawfulness, purpose, minimisation, accuracy; legal basis and consent",
            "Purposes, legal bases and consents are not in the audit log.",
        ),
        control(
            "Art. 5(1)(e)",
            "Personal data is kept no longer than its purpose needs",
            f"type in ({DISPOSALS})",
            FAILED,
            REFUSED,
            checks=("plan", "hold"),
            outside="Which purpose needs which data for how long.",
        ),
        control(
            "Art. 5(1)(f)",
            "Personal data is kept intact and confidential",
            f"type in ({REFUSALS}, {SUSPICIONS})",
            _SUSPECTED,
            SUSPECTED,
            checks=("chain",),
            outside="Encryption, backups, access that passes the engine by.",
        ),
        control(
            "Art. 5(2)",
            "The controller can show that it complies",
            ALL,
            NOT_WRITTEN,
            "Before these, events of the same source were counted and not written: a cap.",
            checks=("chain",),
            outside="All that is not an event of this system.",
        ),
        organisation(
            "Art. 12-14",
            "People are told what is done with their data",
            "Notices are the controller's.",
        ),
        control(
            "Art. 15",
            "People get access to their data",
            "type in (data_export)",
            FAILED,
            REFUSED,
            outside=_REQUESTS,
        ),
        control(
            "Art. 16",
            "People get their data corrected",
            "type in (data_updated)",
            FAILED,
            REFUSED,
            outside=_REQUESTS,
        ),
        control(
            "Art. 17",
            "People get their data erased",
            "type in (data_deleted, data_anonymization, tenant_purged)",
            FAILED,
            REFUSED,
            checks=("hold",),
            outside=_REQUESTS + " Copies outside this system.",
        ),
        control(
            "Art. 20",
            "People get their data in a portable form",
            "type in (data_export)",
            FAILED,
            REFUSED,
            outside=_REQUESTS,
        ),
        control(
            "Art. 25",
            "Protection is built in, and the default is the least access",
            f"type in ({ROLES}, roles_activated, {REFUSALS})",
            f"type in ({ROLES}) and {UNNAMED}",
            BY_NOBODY,
            outside="How the application was designed.",
        ),
        organisation(
            "Art. 28",
            "Processors are bound by contract",
            "Contracts are the controller's.",
        ),
        organisation(
            "Art. 30",
            "Records of processing activities",
            "Purposes, categories of people and data, recipients and transfers are not in the "
            "audit log; retention is stated at the head of this report.",
        ),
        control(
            "Art. 32",
            "Security fits the risk",
            "type in (login, login_failed, mfa_enabled, key_created, key_rotated, "
            f"key_revoked, {REFUSALS}, {SUSPICIONS})",
            f"type in (login_failed, {REFUSALS}, {SUSPICIONS}) or {FAILED}",
            "Access that was refused, failed or suspected.",
            checks=("chain",),
            outside="Encryption and pseudonymisation, recovery, regular tests of the measures.",
        ),
        control(
            "Art. 33",
            "A breach is notified to the authority within 72 hours, unless it is no risk",
            _SUSPECTED,
            _SUSPECTED,
            SUSPECTED,
            outside="Which of them was a breach, when it became known, and the notification.",
        ),
        organisation(
            "Art. 34",
            "People are told of a breach that is a high risk to them",
            "The assessment and the message are the controller's.",
        ),
        organisation(
            "Art. 35, 37, 44-49",
            "Impact assessment, data protection officer, transfers to third countries",
            "They are the controller's.",
        ),
    ),
)
