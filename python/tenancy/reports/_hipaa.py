"""HIPAA: the Security Rule, 45 CFR part 164 subpart C."""

from __future__ import annotations

from ._controls import (
    ALL,
    BY_NOBODY,
    DISPOSALS,
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

__all__ = ["HIPAA"]

# Six years hold at most two leap days.
_SIX_YEARS_DAYS = 6 * 365 + 2

HIPAA = Standard(
    key="hipaa",
    title="HIPAA Security Rule",
    version="45 CFR Part 164 Subpart C",
    controls=(
        organisation(
            "164.308(a)(1)(ii)(A)-(C)",
            "Risk analysis, risk management, sanctions",
            "Assessments and personnel decisions are the organisation's.",
        ),
        control(
            "164.308(a)(1)(ii)(D)",
            "Records of system activity are reviewed regularly",
            ALL,
            FAILED,
            REFUSED,
            outside="That and when somebody reviewed them.",
        ),
        organisation(
            "164.308(a)(2)",
            "One official is responsible for security",
            "Who it is, the organisation says.",
        ),
        control(
            "164.308(a)(3)",
            "The workforce has the access it should have, and nobody else; it ends on leaving",
            f"type in ({ROLES}, key_revoked, session_ended)",
            UNNAMED,
            BY_NOBODY,
            outside="Clearance, supervision, and who left when.",
        ),
        control(
            "164.308(a)(4)",
            "Access to ePHI is authorised, established and modified by policy",
            f"type in ({ROLES}, roles_activated, {KEYS})",
            f"{UNNAMED} or {FAILED}",
            f"{BY_NOBODY} Or failed or refused.",
            outside="The policies; which of the data is ePHI.",
        ),
        control(
            "164.308(a)(5)(ii)(C)",
            "Log-ins are watched and discrepancies reported",
            "type in (login, login_failed, logout, credential_refused, session_created)",
            f"type in (login_failed, credential_refused) or {FAILED}",
            "Attempts that failed or were refused.",
            outside="Training; who the reports went to.",
        ),
        control(
            "164.308(a)(6)(ii)",
            "Security incidents are recognised, answered, mitigated and documented",
            f"type in ({SUSPICIONS})",
            f"type in ({SUSPICIONS})",
            SUSPECTED,
            outside="Response, mitigation and outcome of each incident.",
        ),
        organisation(
            "164.308(a)(7)",
            "Contingency: backup, recovery, emergency operation",
            "Backups and plans are the organisation's.",
        ),
        organisation(
            "164.308(b)(1)",
            "Business associates have given assurances by contract",
            "Contracts are the organisation's.",
        ),
        organisation(
            "164.310",
            "Facilities, workstations, devices and media are protected",
            "They are outside the engine.",
        ),
        control(
            "164.312(a)(1)",
            "Only persons and programs with access rights reach ePHI",
            f"type in (login, login_failed, session_created, key_used, {REFUSALS}, "
            f"{SUSPICIONS}, data_*)",
            f"type in (login_failed, {REFUSALS}, {SUSPICIONS}) or {FAILED}",
            "Access that was refused, failed or suspected.",
            outside="Which of the data is ePHI; ways to it that pass the engine by.",
        ),
        control(
            "164.312(a)(2)(i)",
            "Every user has a name of their own, by which acts are tracked",
            f"type in (data_*, login, session_created, {KEYS}, {ROLES})",
            "principal in (anonymous)",
            "Done by a caller without a name.",
            outside="Whether several people share one identity.",
        ),
        organisation(
            "164.312(a)(2)(ii)-(iv)",
            "Emergency access, automatic logoff, encryption at rest",
            "Sessions expire without an event; the rest is outside the engine.",
        ),
        control(
            "164.312(b)",
            "Activity in systems with ePHI is recorded and can be examined",
            ALL,
            NOT_WRITTEN,
            "Before these, events of the same source were counted and not written: a cap.",
            checks=("chain",),
            outside="Systems that do not report to this log.",
        ),
        control(
            "164.312(c)(1)",
            "ePHI is protected from improper alteration and destruction",
            f"type in (data_created, data_updated, {DISPOSALS})",
            f"principal in (anonymous) or {FAILED}",
            "Done by a caller without a name, failed, or refused.",
            checks=("chain",),
            outside="The data itself: the chain proves the log, not the records it tells about.",
        ),
        control(
            "164.312(d)",
            "Who seeks access is verified to be who they claim",
            "type in (login, login_failed, mfa_enabled, session_created, key_used, "
            "credential_refused)",
            f"type in (login_failed, credential_refused) or {FAILED}",
            "Proofs of identity that failed.",
            outside="How the application's users prove who they are.",
        ),
        organisation(
            "164.312(e)(1)",
            "ePHI is guarded while it is transmitted",
            "Connections end in the web server or the proxy before it.",
        ),
        control(
            "164.316(b)(2)(i)",
            "Required documentation is kept for six years",
            checks=(f"retention>={_SIX_YEARS_DAYS}",),
            outside="Which events are documentation in the sense of 164.316(b)(1), and the "
            "policies and procedures themselves.",
        ),
    ),
)
