"""Facts for other systems: the bulk form of search engines, OCSF, and the command line of both and
of the archive."""

from __future__ import annotations

import ast
import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from typer.testing import CliRunner

from audit_support import flip, open_live
from store_support import write_catalog
from tenancy import Tenancy
from tenancy.audit import AuditEvent, to_ocsf
from tenancy.cli import app
from tenancy.errors import InvalidValue, UnknownTenant
from tenancy.stores.ocsf import CLASSES_OF_TYPES

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)


def event(type_: str = "login", **fields: Any) -> AuditEvent:
    values: dict[str, Any] = {
        "id": "0190163d-8694-739b-aea5-966c26f8ad91",
        "time": NOW,
        "tenant": "t_1",
        "principal": "ann",
        "type": type_,
        "action": "report:read",
        "resource": "report",
        "resource_id": "r1",
        "result": "success",
        "context": {},
        "revision": 7,
    }
    return AuditEvent(**{**values, **fields})


# ------------------------------------------------------------------------------ OCSF

# What each class asks for beyond its JSON Schema: https://schema.ocsf.io/1.5.0/classes/<name>,
# "Constraints" and "Required".
REQUIRED = {
    2004: ("detection_finding", {"finding_info"}, set()),
    3001: ("account_change", {"user"}, set()),
    3002: ("authentication", {"user"}, {"service", "dst_endpoint"}),
    3003: ("authorize_session", {"user"}, {"privileges", "group"}),
    3004: ("entity_management", {"entity"}, set()),
    3005: ("user_access", {"user", "privileges"}, set()),
    6003: ("api_activity", {"actor", "api", "src_endpoint"}, set()),
    0: ("base_event", set(), set()),
}
EVERY = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
ONE_OF = {
    "user": {"account", "name", "uid"},
    "actor": {"process", "user", "invoked_by", "session", "app_name", "app_uid"},
    "src_endpoint": {"ip", "uid", "name", "hostname", "svc_name", "domain"},
    "entity": {"name", "uid", "device", "group", "org", "policy", "user"},
    "service": {"name", "uid"},
}
SCHEMAS = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.5.0"))

CONTEXTS: tuple[dict[str, Any], ...] = (
    {},
    {
        "ip": "192.0.2.1",
        "request_id": "q1",
        "session_id": "s1",
        "principal": "bob",
        "roles": ["agent"],
        "code": "PERMISSION_DENIED",
        "detail": "report:read",
        "key": "k_1",
        "resource": "project/1",
    },
    {"severity": "critical", "rule": "brute_force", "values": [1]},
    {"ip": "2001:db8:1:2::/64", "roles": "none", "principal": 5, "session_id": ""},
)
SAMPLES = (
    {},
    {"principal": "", "tenant": None, "resource": None, "resource_id": None, "action": ""},
    {"principal": "system", "result": "denied"},
    {"principal": "operator:eve", "result": "failure"},
)


def of_the_package() -> set[str]:
    """Every type of fact that the sources name: arguments of `fact` and `_violation`, what the
    engine makes, and what the documentation offers to applications."""
    found = set()
    for path in (ROOT / "python/tenancy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [k.value for k in node.keywords if k.arg == "type"]
            if name == "fact":
                given += node.args[:1]
            elif name not in ("append", "_violation"):
                continue
            found |= {n.value for n in given if isinstance(n, ast.Constant)}
    engine = (ROOT / "cpp/tenancy/engine/facts.cc").read_text(encoding="utf-8")
    body = engine[engine.index("fact_type(") : engine.index("proven(")]
    found |= set(re.findall(r'return "(\w+)"', body))
    found |= set(re.findall(r'(?:kType, |put_request\()"(\w+)"', engine))
    found |= {"security_alert_acknowledged", "security_alert_retried"}
    statuses = ("trial", "active", "suspended", "resumed", "churned", "deleted", "purged")
    return found | {f"tenant_{status}" for status in statuses}


def test_every_type_of_the_package_is_in_the_table() -> None:
    types = of_the_package()
    assert {"config_changed", "role_assigned", "credential_refused", "quota_threshold"} <= types
    assert types <= CLASSES_OF_TYPES.keys()
    documented = {"login", "logout", "login_failed", "mfa_enabled", "data_read", "data_created"}
    documented |= {"data_updated", "data_deleted", "permission_denied", "security_violation"}
    documented |= {"suspicious_activity", "data_export", "data_anonymization"}
    documented |= {"retention_policy_applied", "permission_granted"}
    assert documented <= CLASSES_OF_TYPES.keys()


@pytest.mark.parametrize("type_", [*CLASSES_OF_TYPES, "my_own", "data_x", "key_x", "security_x"])
def test_every_event_is_valid(type_: str) -> None:
    for context in CONTEXTS:
        for sample in SAMPLES:
            body = json.loads(json.dumps(to_ocsf(event(type_, context=context, **sample))))
            check_ocsf(body)


def check_ocsf(body: dict[str, Any]) -> None:
    class_uid = body["class_uid"]
    _, required, one_of = REQUIRED[class_uid]
    assert body.keys() >= EVERY | required
    assert body["category_uid"] == class_uid // 1000
    assert body["type_uid"] == class_uid * 100 + body["activity_id"]
    assert len(one_of & body.keys()) == bool(one_of)
    for name, members in ONE_OF.items():
        assert name not in body or body[name].keys() & members, name
    known = SCHEMAS.lookup_class_name_from_uid(class_uid) if class_uid else "base_event"
    jsonschema.Draft202012Validator(SCHEMAS.get_class_schema(known)).validate(body)
    metadata = body["metadata"]
    assert metadata["version"] == "1.5.0"
    assert metadata["product"].keys() >= {"name", "version", "uid"}


def test_the_judge_finds_what_is_wrong() -> None:
    for change in ({"severity_id": 77}, {"time": "now"}, {"nonsense": 1}, {"user": {"nick": "a"}}):
        with pytest.raises((jsonschema.ValidationError, AssertionError)):
            check_ocsf({**to_ocsf(event()), **change})
    for name in ("user", "metadata", "time", "service"):
        body = to_ocsf(event())
        del body[name]
        with pytest.raises((jsonschema.ValidationError, AssertionError, KeyError)):
            check_ocsf(body)


def test_what_a_login_that_failed_becomes() -> None:
    context = {"ip": "192.0.2.1", "code": "INVALID_CREDENTIAL", "key": "k_1", "request_id": "q"}
    body = to_ocsf(event("login_failed", result="denied", context=context))
    assert (body["class_uid"], body["activity_id"], body["type_uid"]) == (3002, 1, 300201)
    assert (body["status_id"], body["status_code"]) == (2, "INVALID_CREDENTIAL")
    assert body["time"] == 1_767_323_045_678
    assert body["src_endpoint"] == {"ip": "192.0.2.1"}
    assert body["actor"]["user"]["credential_uid"] == "k_1"
    assert body["metadata"]["uid"] == event().id
    assert body["metadata"]["tenant_uid"] == "t_1"
    assert body["metadata"]["correlation_uid"] == "q"
    assert body["unmapped"]["context"] == context
    assert body["unmapped"]["result"] == "denied"


def test_who_is_given_a_role_is_the_user_and_who_gave_it_the_actor() -> None:
    body = to_ocsf(
        event("role_assigned", resource="role", resource_id="lead", context={"principal": "bob"})
    )
    assert body["type_uid"] == 300501
    assert (body["user"]["name"], body["actor"]["user"]["name"]) == ("bob", "ann")
    assert body["privileges"] == ["lead"]


def test_an_alert_and_its_acknowledgement_are_one_finding() -> None:
    about: dict[str, Any] = {"resource": "alert", "resource_id": "a1", "principal": "system"}
    context = {"rule": "brute_force", "severity": "critical", "ip": "192.0.2.1"}
    raised = to_ocsf(event("security_alert", context=context, **about))
    assert (raised["type_uid"], raised["severity_id"], raised["status_id"]) == (200401, 5, 1)
    assert raised["finding_info"]["title"] == "brute_force"
    assert raised["evidences"][0]["src_endpoint"] == {"ip": "192.0.2.1"}
    seen = to_ocsf(event("security_alert_acknowledged", context={"rule": "brute_force"}, **about))
    assert (seen["type_uid"], seen["status_id"]) == (200402, 2)
    assert seen["finding_info"]["uid"] == raised["finding_info"]["uid"] == "a1"


# ------------------------------------------------------------------------------ from the log


@pytest.fixture
def t(tmp_path: Path) -> Any:
    with open_live(tmp_path) as t:
        for name in ("Acme", "Beta"):
            tenant = t.tenants.create(name, slug=name.lower(), plan="free")
            for i in range(3):
                t.audit.append(
                    "data_read",
                    tenant=tenant,
                    principal="ann",
                    resource_id=str(i),
                    context={"number": i, "text": "two\nlines"},
                )
        yield t


def test_a_bulk_is_two_lines_for_each_event(t: Tenancy) -> None:
    body = "".join(t.audit.bulk("acme", index="audit-1"))
    assert body.endswith("\n")
    lines = [json.loads(line) for line in body.splitlines()]
    actions, documents = lines[::2], lines[1::2]
    expected = list(t.audit.search("acme", limit=1000))
    assert [a["create"]["_id"] for a in actions] == [e.id for e in expected]
    assert {a["create"]["_index"] for a in actions} == {"audit-1"}
    for document, fact in zip(documents, expected, strict=True):
        fields = fact.as_dict()
        assert document.pop("@timestamp") == fields.pop("time")
        assert document == fields
    assert '"index"' in next(t.audit.bulk("acme", operation="index"))


def test_pages_of_events_leave_nothing_out(t: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenancy.stores.facts._PAGE", 2)
    expected = [e.id for e in t.audit.search("acme", limit=1000)]
    assert [e.id for e in t.audit.events("acme")] == expected
    times = sorted(e.time for e in t.audit.events("acme"))
    between = [e.time for e in t.audit.events("acme", since=times[1], until=times[3])]
    assert sorted(between) == times[1:3]


def test_looking_across_tenants_is_itself_a_fact(t: Tenancy) -> None:
    found = list(t.audit.events(by="operator:eve", reason="for the SIEM"))
    assert len({e.tenant for e in found}) == 3, "of both tenants, and of none"
    [own] = [e for e in found if e.type == "cross_tenant_access"]
    assert (own.principal, own.action) == ("operator:eve", "audit:events")
    assert own.context["reason"] == "for the SIEM"
    before = len(found)
    list(t.audit.ocsf("acme"))
    assert sum(1 for _ in t.audit.bulk()) == 2 * (before + 1)
    assert len(list(t.audit.ocsf())) == before + 2
    assert all(body["metadata"]["tenant_uid"] for body in t.audit.ocsf("acme"))


@pytest.mark.parametrize("index", ["", "Audit", "-a", "a/b", "a b", ".", "..", "a" * 256, 'a"b'])
def test_names_that_no_index_has_are_refused(t: Tenancy, index: str) -> None:
    with pytest.raises(InvalidValue, match="index"):
        t.audit.bulk("acme", index=index)


def test_bad_arguments_are_refused_at_once(t: Tenancy) -> None:
    with pytest.raises(InvalidValue, match="operation"):
        t.audit.bulk("acme", operation="delete")
    with pytest.raises(UnknownTenant):
        t.audit.bulk("nobody")


# ------------------------------------------------------------------------------ command line


def shell(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["audit", *words])
    assert result.exit_code == status, (words, result.output, result.exception)
    return result.stdout


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "data"
    with Tenancy.open(path, str(write_catalog(tmp_path)), background=False) as t:
        acme = t.tenants.create("Acme", slug="acme")
        for _ in range(3):
            t.audit.append("data_read", tenant=acme, principal="ann")
    return str(path)


def test_archives_by_command(tmp_path: Path, data: str) -> None:
    url = str(tmp_path / "archive")
    parts = json.loads(shell("archive", url, "--data", data, "--format", "jsonl", "--json"))
    assert [part["chain"] for part in parts] == ["security", "access", "other", "usage"]
    assert "security-0000" in shell("archive", url, "--data", data)
    assert "whole" in shell("archive", url, "--check", "--data", data)
    pub = f"{data}/keys/log.pub"
    shell("archive", url, "--check", "--key", pub)
    shell("archive", url, "--check", "--key", Path(pub).read_text())
    report = json.loads(shell("archive", url, "--check", "--json", status=4))
    assert [finding["code"] for finding in report["findings"]] == ["key_not_given"]
    flip(Path(url) / parts[1]["name"], 200)
    assert "CHANGED" in shell("archive", url, "--check", "--data", data, status=1)
    shell("archive", url, "--check", "--key", "/nowhere", status=2)
    shell("archive", url, "--format", "csv", "--data", data, status=2)
    shell("archive", "nonsense://x", "--options", "[", "--data", data, status=2)
    shell("archive", url, "--data", str(tmp_path / "none"), status=1)


def test_feeds_by_command(tmp_path: Path, data: str) -> None:
    lines = shell("feed", "--tenant", "acme", "--data", data).splitlines()
    assert [json.loads(line)["type"] for line in lines].count("data_read") == 3
    bulk = shell("feed", "--tenant", "acme", "--format", "bulk", "--index", "a-1", "--data", data)
    assert len(bulk.splitlines()) == 2 * len(lines)
    out = tmp_path / "events.ndjson"
    shell("feed", "--format", "ocsf", "--out", str(out), "--reason", "SIEM", "--data", data)
    bodies = [json.loads(line) for line in out.read_text().splitlines()]
    assert {body["metadata"]["version"] for body in bodies} == {"1.5.0"}
    assert any(body["metadata"]["event_code"] == "cross_tenant_access" for body in bodies)
    shell("feed", "--out", str(out), "--data", data, status=2)
    shell("feed", "--format", "xml", "--data", data, status=2)
    shell("feed", "--tenant", "nobody", "--data", data, status=1)
