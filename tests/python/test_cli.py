"""`tenancy` on the command line: what each command does, its JSON, its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tenancy
from store_support import CATALOG, run_python, write_catalog
from tenancy import Tenancy
from tenancy.cli import app

GROUPS = ("tenants", "keys", "sessions", "roles", "plans", "limits", "usage", "audit")


class Shell:
    """Runs commands on one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.status = 0
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--data", str(self.data)])
        self.error = result.stderr
        assert result.exit_code == status, (words, result.output, result.exception)
        return result.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "data")
    shell("plans", "use", str(write_catalog(tmp_path)))
    return shell


def test_a_tenants_life(sh: Shell) -> None:
    made = sh.json("tenants", "create", "Acme", "--owner-email", "a@b.co", "--plan", "pro")
    assert (made["slug"], made["plan"], made["owner"]) == ("acme", "pro", {"email": "a@b.co"})
    assert made["created"].endswith("Z")
    sh("tenants", "create", "Beta")
    assert [x["slug"] for x in sh.json("tenants", "list")["items"]] == ["acme", "beta"]
    assert [x["slug"] for x in sh.json("tenants", "list", "--plan", "pro")["items"]] == ["acme"]
    first = sh.json("tenants", "list", "--limit", "1")
    rest = sh.json("tenants", "list", "--cursor", first["cursor"])
    assert [x["slug"] for x in rest["items"]] == ["beta"]
    assert sh.json("tenants", "suspend", "acme", "--reason", "unpaid")["status"] == "suspended"
    assert sh.json("tenants", "show", "acme")["suspension_reason"] == "unpaid"
    assert sh.json("tenants", "resume", "acme")["status"] == "active"
    assert sh.json("tenants", "plan", "acme", "free")["after"] == "free"
    assert sh.json("tenants", "plan", "acme", "pro", "--at", "period_end")["scheduled"]
    assert sh.json("tenants", "update", "acme", "--settings", '{"x": 1}')["settings"] == {"x": 1}
    assert sh.json("tenants", "delete", "acme", "--purge-after", "2d")["status"] == "deleted"
    assert sh.json("tenants", "restore", "acme")["status"] == "suspended"
    sh("tenants", "delete", "acme")
    assert sh.json("tenants", "hold", "acme")["legal_hold"]
    sh("tenants", "purge", "acme", "--yes", status=1)
    sh("tenants", "hold", "acme", "--release")
    assert sh.json("tenants", "purge", "acme", "--yes")["status"] == "purged"
    assert sh.json("tenants", "process-due") == {"done": 0}
    first = sh.json("tenants", "default")
    assert (first["slug"], first["name"]) == ("default", "Default")
    assert sh.json("tenants", "default") == first


def test_tables_are_for_people(sh: Shell) -> None:
    sh("tenants", "create", "Acme", "--external-id", "[red]crm[/red]")
    listed = sh("tenants", "list")
    assert "acme" in listed
    assert "status" in listed
    shown = sh("tenants", "show", "acme")
    assert "[red]crm[/red]" in shown  # what tenants write is text, not mark-up
    assert "projects" in shown
    assert "api_requests" in sh("limits", "show", "acme")
    assert "pro" in sh("plans", "show")
    assert "sso" in sh("plans", "show", "pro")


def test_keys(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    made = sh.json("keys", "create", "acme", "--scope", "ticket:read", "--expires", "90d")
    secret = made["secret"]
    with Tenancy.open(sh.data) as t:
        assert t.check(api_key=secret, permission="ticket:read")
    assert sh.json("keys", "list", "acme")["items"][0]["id"] == made["id"]
    assert secret not in sh("keys", "list", "acme")
    new = sh.json("keys", "rotate", made["id"], "--grace", "1h")
    assert sh.json("keys", "show", made["id"])["rotated_to"] == new["id"]
    assert sh.json("keys", "renew", new["id"])["expires"] is None
    assert sh.json("keys", "revoke", new["id"])["revoked"]
    with Tenancy.open(sh.data) as t:
        assert not t.check(api_key=new["secret"])
    sh("keys", "create", "acme", status=2)  # neither scopes nor principal
    sh("keys", "show", "tk_nothing1", status=1)


def test_roles(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    made = sh.json(
        *("roles", "define", "support", "--permission", "ticket:read"),
        *("--permission", "report:read", "--deny", "ticket:write"),
    )
    assert made["permissions"] == ["report:read", "ticket:read"]
    assert sh.json("roles", "assign", "acme", "ann", "support", "--until", "8h")["until"]
    assert sh.json("roles", "assignments", "acme")["items"][0]["principal"] == "ann"
    assert "support" in {r["name"] for r in sh.json("roles", "list")["items"]}
    assert sh.json("roles", "revoke", "acme", "ann", "support") == {"revoked": True}
    sh("roles", "revoke", "acme", "ann", "support", status=1)
    assert sh.json("roles", "report", "acme")["unused"] == []
    assert "support" in sh.json("roles", "report")["unused"]
    sh("roles", "remove", "support")


def test_plans(sh: Shell, tmp_path: Path) -> None:
    assert sh.json("plans", "show", "pro")["quotas"]["projects"] == 10
    bad = write_catalog(tmp_path, CATALOG.replace("projects: 3", "projects: -5"), "bad.yaml")
    runner = CliRunner()
    told = runner.invoke(app, ["plans", "validate", str(bad)])
    assert told.exit_code == 1
    assert "bad.yaml:" in told.stdout
    assert "plans.free.quotas.projects" in told.stdout
    problems = json.loads(runner.invoke(app, ["plans", "validate", str(bad), "--json"]).stdout)
    assert problems["problems"][0]["line"] is not None
    assert runner.invoke(app, ["plans", "validate", "agent-orchestrator"]).exit_code == 0
    sh("plans", "use", str(bad), status=1)
    sh("tenants", "create", "Acme", "--plan", "pro")
    sh("plans", "use", "agent-orchestrator", status=2)
    assert "plan 'pro'" in sh.error
    sh("plans", "show", "gold", status=1)


def test_a_plan_is_shown_with_what_it_inherits(sh: Shell) -> None:
    sh("plans", "use", "agent-orchestrator")
    plan = sh.json("plans", "show", "professional")
    assert plan["price"] == "99"
    assert plan["quotas"]["storage"] == 100 * 10**9
    assert plan["rate_limits"]["agent_spawns"] == ["200/minute"]
    assert {"basic_orchestration", "compliance_tools"} <= set(plan["features"])
    assert sh.json("plans", "show", "enterprise")["quotas"]["users"] == "unlimited"
    assert sh.json("plans", "show", "enterprise")["isolation"] == "schema"


def test_catalogs_are_compared(sh: Shell, tmp_path: Path) -> None:
    bigger = write_catalog(tmp_path, CATALOG.replace("projects: 3", "projects: 4"), "bigger.yaml")
    told = sh.json("plans", "diff", str(bigger))
    assert told == {
        "same": False,
        "changes": [{"path": "plans.free.quotas.projects", "before": 3, "after": 4}],
    }
    assert "plans.free.quotas.projects" in sh("plans", "diff", str(bigger))
    backwards = sh.json("plans", "diff", str(bigger), str(tmp_path / "shop.yaml"))["changes"][0]
    assert (backwards["before"], backwards["after"]) == (4, 3)
    assert sh("plans", "diff", str(tmp_path / "shop.yaml")) == "no difference\n"
    sh("plans", "diff", str(tmp_path / "none.yaml"), status=1)


def test_import_refuses_what_it_cannot_read_or_write(sh: Shell, tmp_path: Path) -> None:
    runner = CliRunner()
    (tmp_path / "plans.json").write_text('{"basic": {"maxUsers": 5}}')
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\0")
    for words, said in (
        ([tmp_path / "shop.yaml"], "is a catalog already"),
        ([tmp_path / "none.json"], "cannot be read: No such file"),
        ([tmp_path / "binary.yaml"], "utf-8"),
        ([tmp_path], "cannot be read"),
        ([tmp_path / "plans.json", "--output", tmp_path], "cannot be written"),
        ([tmp_path / "plans.json", "--output", tmp_path / "no" / "x.yaml"], "cannot be written"),
    ):
        done = runner.invoke(app, ["plans", "import", *map(str, words)])
        assert (done.exit_code, said in done.stderr) == (1, True), done.output
        assert isinstance(done.exception, SystemExit)


def test_foreign_plans_are_converted(tmp_path: Path) -> None:
    foreign = tmp_path / "plans.json"
    foreign.write_text(
        '{"basic": {"maxUsers": 5, "maxProjects": -1, "colour": "blue",'
        ' "api": {"maxRequests": 100, "windowMs": 60000}}}'
    )
    out = tmp_path / "catalog.yaml"
    runner = CliRunner()
    done = runner.invoke(app, ["plans", "import", str(foreign), "--output", str(out)])
    assert done.exit_code == 0, done.output
    assert "colour" in done.stderr
    assert runner.invoke(app, ["plans", "validate", str(out)]).exit_code == 0
    printed = runner.invoke(app, ["plans", "import", str(foreign)]).stdout
    assert printed == out.read_text()
    assert runner.invoke(app, ["plans", "import", str(tmp_path / "none.json")]).exit_code == 1


def test_audit(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    sh("tenants", "suspend", "acme", "--reason", "unpaid")
    events = sh.json("audit", "search", "--tenant", "acme")["items"]
    assert [e["type"] for e in events] == ["tenant_suspended", "tenant_created"]
    assert events[0]["principal"].startswith("operator:")
    every = sh.json("audit", "search", "--type", "config_changed", "--since", "1h")["items"]
    assert [e["action"] for e in every] == ["catalog:replace"]
    shown = sh.json("audit", "show", events[0]["id"])
    assert shown["context"]["reason"] == "unpaid"
    looked = sh.json("audit", "search", "--type", "cross_tenant_access")["items"]
    assert {e["action"] for e in looked} >= {"audit:search", "audit:show"}


def test_limits(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    with Tenancy.open(sh.data) as t:
        for _ in range(100):
            t.check(tenant="acme")
    shown = sh.json("limits", "show", "acme")
    assert (shown["limits"][0]["remaining"], shown["limits"][0]["of"]) == (0, 100)
    assert set(shown["quotas"]) == {"projects", "tokens", "agents"}
    sh("limits", "reset", "acme")
    assert sh.json("limits", "show", "acme")["limits"][0]["remaining"] == 100


def test_every_field_of_a_tenant(sh: Shell) -> None:
    made = sh.json(
        *("tenants", "create", "Acme", "--owner", '{"name": "Ann"}', "--owner-email", "a@b.co"),
        *("--contacts", '[{"name": "Bob"}]', "--company", '{"size": 3}', "--anchor", "2026-01-31"),
        *("--billing", '{"currency": "EUR"}', "--isolation", "schema", "--metadata", '{"a": 1}'),
        *("--external-id", "crm-1", "--time-zone", "Europe/Vienna"),
    )
    assert made["owner"] == {"email": "a@b.co", "name": "Ann"}
    assert made["contacts"] == [{"name": "Bob"}]
    assert (made["company"], made["billing"]) == ({"size": 3}, {"currency": "EUR"})
    assert (made["anchor"], made["metadata"]) == ("2026-01-31T00:00:00Z", {"a": 1})
    changed = sh.json(
        *("tenants", "update", "acme", "--external-id", "", "--time-zone", "", "--isolation", ""),
        *("--owner", '{"name": null}', "--contacts", "[]", "--anchor", "2026-02-01T00:00Z"),
    )
    assert (changed["external_id"], changed["time_zone"], changed["overrides"]) == (None, None, {})
    assert (changed["owner"], changed["contacts"]) == ({"email": "a@b.co"}, [])
    assert changed["anchor"] == "2026-02-01T00:00:00Z"
    sh("tenants", "update", "acme", "--contacts", "{}", status=2)
    sh("tenants", "update", "acme", "--anchor", "soon", status=2)
    assert "ISO 8601" in sh.error


def test_the_other_steps_of_a_tenants_life(sh: Shell) -> None:
    sh("tenants", "create", "Acme", "--status", "pending")
    assert sh.json("tenants", "trial", "acme")["status"] == "trial"
    assert sh.json("tenants", "activate", "acme")["status"] == "active"
    assert sh.json("tenants", "churn", "acme")["status"] == "churned"
    assert sh.json("tenants", "resume", "acme")["status"] == "active"
    sh("tenants", "trial", "acme", status=1)
    assert sh.json("tenants", "plan", "acme", "pro", "--at", "30d")["scheduled"]
    sh("tenants", "plan", "acme", "pro", "--at", "2020-01-01", status=2)
    sh("tenants", "plan", "acme", "gold", status=1)
    assert sh.json("tenants", "keep-plan", "acme") == {"called_off": True}
    sh("tenants", "keep-plan", "acme", status=1)


def test_what_is_in_force_and_why(sh: Shell) -> None:
    sh("tenants", "create", "Acme", "--overrides", '{"quotas": {"projects": 7}}')
    told = sh.json("tenants", "effective", "acme")
    values = {each["name"]: (each["value"], each["origin"]) for each in told["values"]}
    assert told["plan"] == "free"
    assert values["quota projects"] == (7, "override")
    assert values["quota tokens"] == (100, "plan")
    assert values["limit api_requests"] == (["100/minute"], "plan")
    assert values["feature sso"] == (False, "absent")
    assert "override" in sh("tenants", "effective", "acme")


def test_usage(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    assert sh.json("usage", "set", "acme", "projects", "2")["used"] == 2
    assert sh.json("usage", "show", "acme")["projects"]["used"] == 2
    assert "projects" in sh("usage", "show", "acme")
    assert sh.json("usage", "reconcile", "acme", "projects")["reserved"] == 0
    assert sh.json("usage", "end-leases", "acme") == {"ended": 0}
    sh("usage", "set", "acme", "projects", "many", status=2)
    sh("usage", "set", "acme", "agents", "1", status=2)
    sh("usage", "set", "acme", "nothing", "1", status=1)


def test_sessions(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    with Tenancy.open(sh.data) as t:
        ids = [t.sessions.create("acme", name).id for name in ("ann", "ann", "bob")]
    every = sh.json("sessions", "list")["items"]
    assert [x["principal"] for x in every] == ["ann", "ann", "bob"]
    assert not [x for x in every if "id" in x], "an id is a secret"
    assert len(sh.json("sessions", "list", "--tenant", "acme", "--principal", "ann")["items"]) == 2
    sh("sessions", "end", "acme", every[0]["ref"])
    sh("sessions", "end", "acme", every[0]["ref"], status=1)
    assert sh.json("sessions", "end-all", "acme", "--principal", "ann") == {"ended": 1}
    with Tenancy.open(sh.data) as t:
        assert [bool(t.check(session=x)) for x in ids] == [False, False, True]
    sh("sessions", "list", "--principal", "ann", status=2)
    seen = sh.json("audit", "search", "--type", "cross_tenant_access")["items"]
    assert "sessions:list" in {e["action"] for e in seen}


def test_who_may_do_what(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    sh("roles", "assign", "acme", "ann", "agent")
    assert sh.json("roles", "permissions", "acme", "ann") == ["ticket:read", "ticket:write"]
    assert sh("roles", "who-can", "acme", "ticket:read") == "ann\n"
    assert sh.json("roles", "who-can", "acme", "report:read") == []
    sh("roles", "who-can", "acme", "reading", status=2)
    assert "resource:action" in sh.error


def test_health(sh: Shell) -> None:
    told = sh.json("health")
    assert told["ok"]
    assert not told["background"]["running"]
    assert "nobody" in sh("health")
    with Tenancy.open(sh.data, background=False) as t:

        def fail() -> None:
            raise OSError("no space")

        t.background.add("broken", fail, every_s=1)
        t.background.run_due()
        told = sh.json("health", status=1)
        assert told["background"]["running"]
        assert told["problems"] == [
            "background job broken failed 1 times in a row: OSError: no space"
        ]
        assert "broken" in sh("health", status=1)


def test_the_release_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"tenancy {tenancy.__version__}\n"


def test_explain(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    secret = sh.json("keys", "create", "acme", "--scope", "ticket:read")["secret"]
    told = sh.json("explain", "--api-key", secret, "--permission", "ticket:read")
    assert told["allowed"]
    refused = sh.json(
        "explain", "--tenant", "acme", "--principal", "ann", "--permission", "ticket:read", status=1
    )
    assert refused["code"] == "PERMISSION_DENIED"
    refused = sh("explain", "--tenant", "acme", "--principal", "ann", "--role", "lead", status=1)
    assert "is not held" in refused
    sh("explain", "--tenant", "acme", "--consume", "tokens=5000", status=1)
    sh("explain", "--tenant", "acme", "--consume", "nothing=1", status=2)
    sh("explain", "--tenant", "acme", "--consume", "tokens=x", status=2)
    assert "tokens" in sh("explain", "--tenant", "acme", "--consume", "tokens=5")


def test_exit_status_and_messages(sh: Shell, tmp_path: Path) -> None:
    sh("tenants", "show", "nobody", status=1)
    assert "no tenant is named 'nobody'" in sh.error
    sh("tenants", "create", "Acme", "--slug", "Not Good", status=2)
    sh("tenants", "create", status=2)
    sh("tenants", "fly", status=2)
    sh("tenants", "create", "Acme", "--settings", "{", status=2)
    sh("tenants", "show", "nobody", "--json", status=1)
    assert json.loads(sh.error)["error"]["code"] == "UNKNOWN_TENANT"
    elsewhere = Shell(tmp_path / "typo")
    elsewhere("tenants", "list", status=1)
    assert "no data directory" in elsewhere.error
    assert not (tmp_path / "typo").exists()  # a mistyped path makes nothing


def test_the_directory_comes_from_the_environment(
    sh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANCY_DATA", str(sh.data))
    result = CliRunner().invoke(app, ["tenants", "list", "--json"])
    assert json.loads(result.stdout) == {"items": [], "cursor": None}


def test_python_dash_m(sh: Shell) -> None:
    done = run_python(
        f"""
        import runpy, sys
        sys.argv = ["tenancy", "tenants", "list", "--data", {str(sh.data)!r}, "--json"]
        runpy.run_module("tenancy", run_name="__main__")
        """
    )
    assert json.loads(done.stdout) == {"items": [], "cursor": None}, done.stderr


@pytest.mark.parametrize(
    "words",
    [[], *([name] for name in GROUPS)],
)
def test_every_group_has_help(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_migrate_has_nothing_to_do_within_a_major_version(sh: Shell) -> None:
    assert sh.json("migrate")["done"] == []


def test_migrate_puts_counters_of_another_major_version_aside_when_told(sh: Shell) -> None:
    counters = sh.data / "counters"
    with counters.open("r+b") as file:
        file.seek(12)
        file.write((99).to_bytes(4, "little"))
    sh("tenants", "list", status=1)
    assert "tenancy migrate" in sh.error
    sh("migrate", status=1)
    told = sh.json("migrate", "--discard-counters")["done"]
    assert len(told) == 1
    assert "begin anew" in told[0]
    sh("tenants", "list")


@pytest.mark.parametrize(
    "words",
    [
        ("health",),
        ("migrate",),
        ("plans", "show"),
        ("tenants", "list"),
        ("audit", "checkpoint"),
        ("bills", "list"),
        ("serve",),
    ],
    ids=" ".join,
)
def test_a_mistyped_directory_is_not_made(words: tuple[str, ...], tmp_path: Path) -> None:
    missing = tmp_path / "no such" / "ünïcode dir"
    result = CliRunner().invoke(app, [*words, "--data", str(missing)])
    assert result.exit_code == 1
    assert "no data directory" in result.stderr
    assert "tenancy plans use" in result.stderr
    assert not missing.parent.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("tenants", "create", "B", "--anchor", "99999999999999d"), "--anchor: "),
        (("tenants", "plan", "acme", "pro", "--at", "²d"), "--at: "),
        (("tenants", "plan", "acme", "pro", "--at", "36501d"), "at most 36500d"),
        (("tenants", "plan", "acme", "pro", "--at", ""), "--at: "),
        (("keys", "create", "acme", "--scope", "a:b", "--expires", "9" * 5000 + "d"), "--expires"),
        (("keys", "rotate", "tk_nothing1", "--grace", "٣d"), "--grace: "),
        (("audit", "search", "--since", "99999999999w"), "--since: "),
        (("explain", "--tenant", "acme", "--consume", "projects=²"), "--consume: "),
        (("bills", "issue", "2026-10", "--part", "²/²"), "--part: "),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_numbers_are_read_or_refused(sh: Shell, words: tuple[str, ...], told: str) -> None:
    sh("tenants", "create", "Acme")
    sh(*words, status=2)
    assert told in sh.error
    assert len(sh.error) < 300


def test_remedies_are_commands(sh: Shell) -> None:
    sh("tenants", "show", "nobody", status=1)
    assert (
        sh.error
        == "error: no tenant is named 'nobody': `tenancy tenants list` shows those there are\n"
    )
    sh("keys", "show", "tk_nothing1", "--json", status=1)
    assert json.loads(sh.error)["error"]["remedy"].startswith("`tenancy keys list TENANT`")
    sh("tenants", "create", "Acme")
    sh("bills", "account", "acme", "--name", "A", "--country", "AT", "--currency", "EUR")
    sh("bills", "preview", "acme", status=1)
    assert "`tenancy bills configure FILE`" in sh.error
    sh("audit", "hold", "release", "x", status=1)
    assert "`tenancy audit hold list`" in sh.error
    sh("tenants", "hold", "acme")
    sh("audit", "erase", "ada", "--tenant", "acme", "--yes", status=1)
    assert "`tenancy tenants hold TENANT --release`" in sh.error
    sh("audit", "hold", "place", "--tenant", "acme", "--reason", "case 7")
    sh("audit", "erase", "ada", "--tenant", "acme", "--yes", status=1)
    assert "`tenancy audit hold release HOLD`" in sh.error


def test_files_that_cannot_be_read_are_named_once(sh: Shell, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    sh("tenants", "create", "Acme")
    sh("bills", "configure", str(missing), status=2)
    assert sh.error == f"error: file: {missing}: No such file or directory\n"
    sh("bills", "configure", str(write_catalog(tmp_path, "{", "broken")), status=2)
    assert "not JSON" in sh.error
    report = ("audit", "report", "acme", "--standard", "soc2", "--since", "1d")
    sh(*report, "--anchor", str(missing), status=2)
    assert sh.error.count(str(missing)) == 1
    sh(*report, "--key", str(missing), status=2)
    assert f"--key: {missing}: no such file" in sh.error
    sh("audit", "checkpoint", "--to", "nonsense", status=2)
    assert sh.error.startswith("error: anchor: is no URL: file:/")


def test_a_role_of_the_catalog_is_not_said_to_be_missing(sh: Shell) -> None:
    sh("roles", "remove", "agent", status=1)
    assert "belongs to the catalog" in sh.error


def test_lists_without_anything_are_dashes_and_nothing_is_drawn_into_pipes(sh: Shell) -> None:
    sh("tenants", "create", "Acme")
    report = sh("roles", "report", "acme")
    assert "│ unused     │ –" in report
    issued = sh("bills", "issue", "2026-10")
    assert issued.startswith("┏"), "no remains of a progress bar"


def test_the_shell_completes(sh: Shell) -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert "--install-completion" in shown.stdout
    told = CliRunner().invoke(
        app,
        [],
        prog_name="tenancy",
        env={
            "_TENANCY_COMPLETE": "complete_bash",
            "COMP_WORDS": "tenancy tenants sus",
            "COMP_CWORD": "2",
        },
    )
    assert "suspend" in told.stdout
