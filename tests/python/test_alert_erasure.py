"""Alerts of a person who is erased hold nothing of them that the log had sealed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alert_support import tell, turn
from store_support import CATALOG, START_NS, make_clock, open_shop, run_python, write_catalog
from tenancy import Tenancy
from tenancy.alerts import Alerts, Rule, brute_force, critical
from tenancy.errors import NotFound
from tenancy.stores import alert_job
from tenancy.stores.schema import alert_hits

PERSONAL = "audit: {personal: [principal, ip, email]}\n"
NAME, IP, EMAIL = "ada@example.com", "192.0.2.77", "ada@mail.example"
RULES = (
    brute_force(),
    critical("data_export"),
    Rule("by_mail", {"type": "login_failed"}, by="context.email", at_least=2,
         within=timedelta(minutes=5)),
    Rule("many", {"type": "login_failed"}, by="tenant", distinct="principal", at_least=2,
         within=timedelta(minutes=5)),
    Rule("slow", {"type": "login_failed"}, by=("tenant", "principal"), at_least=1000,
         within=timedelta(minutes=5)),
    Rule("slow_values", {"type": "login_failed"}, by="tenant", distinct="ip", at_least=1000,
         within=timedelta(minutes=5)),
)  # fmt: skip


def opened(directory: Path) -> Tenancy:
    catalog = write_catalog(directory, CATALOG + PERSONAL, "sealed.yaml")
    return open_shop(directory, make_clock(), catalog=catalog, alerts=Alerts(rules=list(RULES)))


@pytest.fixture
def t(tmp_path: Path) -> Iterator[Tenancy]:
    with opened(tmp_path) as tenancy:
        for slug in ("acme", "beta"):
            tenant = tenancy.tenants.create(slug.title(), slug=slug)
            for second in range(12):
                for name, ip, email in ((NAME, IP, EMAIL), ("bob", "192.0.2.9", "bob@x.example")):
                    tell(
                        *(tenancy, "login_failed", START_NS + second), tenant=tenant.id, by=name,
                        context={"ip": ip, "email": email},
                    )  # fmt: skip
            tell(tenancy, "data_export", START_NS + 20, tenant=tenant.id, by=NAME)
        turn(tenancy)
        tenancy._host.facts.settle()
        yield tenancy


def shown(t: Tenancy, tenant: str) -> str:
    rows = t.alerts.list(tenant=t.tenants.get(tenant), limit=1000)
    return "\n".join(f"{row.title} {dict(row.group)} {row.values}" for row in rows)


def left_on_disk(data: Path) -> bytes:
    files = [path for path in data.rglob("*") if path.is_file() and path.name != "ring"]
    return b"\n".join(path.read_bytes() for path in files)


def test_what_was_sealed_is_taken_out_of_alerts_and_of_no_one_elses(
    t: Tenancy, tmp_path: Path
) -> None:
    rules = {alert.rule for alert in t.alerts.list(limit=1000)}
    assert rules >= {"by_mail", "many"}
    assert any(rule.startswith("brute_force") for rule in rules)
    before = shown(t, "acme")
    assert all(text in before for text in (NAME, IP, EMAIL, "bob"))
    others = shown(t, "beta")

    certificate = t.audit.erase_subject(NAME, tenant="acme", by="dpo", reason="asked")
    assert certificate.alerts >= 3
    after = shown(t, "acme")
    assert not any(text in after for text in (NAME, IP, EMAIL))
    assert "erased" in after
    assert "bob" in after
    assert shown(t, "beta") == others
    assert len(after.splitlines()) == len(before.splitlines())
    # Later facts of the same kind still become alerts.
    for second in range(12):
        tell(t, "login_failed", START_NS + 10**12 + second, tenant=t.tenants.get("acme").id,
             by="eve", context={"ip": "192.0.2.3"})  # fmt: skip
    turn(t)
    assert "192.0.2.3" in shown(t, "acme")

    t.audit.erase_subject(NAME, tenant="beta", by="dpo", reason="asked")
    t.close()
    left = left_on_disk(tmp_path / "data")
    assert not any(text.encode() in left for text in (NAME, IP, EMAIL))


def test_facts_that_alerts_leave_have_nothing_that_is_sealed(t: Tenancy) -> None:
    facts = t.audit.search("acme", type="security_alert", limit=1000)
    rules = {fact.context["rule"] for fact in facts}
    assert rules >= {"by_mail", "many"}
    assert any(rule.startswith("brute_force") for rule in rules)
    for fact in facts:
        assert not any(text in str(fact) for text in (NAME, IP, EMAIL, "bob"))
        assert fact.context["facts"]
        assert t.audit.get("acme", fact.context["facts"][0]).principal in {NAME, "bob"}


def test_without_sealed_fields_alerts_and_their_facts_name_whom_they_are_about(
    tmp_path: Path,
) -> None:
    with open_shop(tmp_path, alerts=Alerts(rules=[brute_force()])) as t:
        acme = t.tenants.create("Acme")
        for second in range(12):
            tell(t, "login_failed", START_NS + second, tenant=acme.id, by=NAME, context={"ip": IP})
        turn(t)
        assert any(IP in str(f.context) for f in t.audit.search(acme, type="security_alert"))
        with pytest.raises(NotFound):
            t.audit.erase_subject(NAME, tenant=acme, by="dpo", reason="asked")
        assert any(IP in str(dict(alert.group)) for alert in t.alerts.list())


def test_an_alert_of_facts_that_were_read_before_the_erasure_is_raised_without_them(
    t: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = START_NS + 10**12
    for second in range(12):
        tell(t, "login_failed", later + second, tenant=t.tenants.get("acme").id, by=NAME,
             context={"ip": IP, "email": EMAIL})  # fmt: skip
    real, batches = alert_job.read, []

    def read_then_erase(*arguments: Any) -> Any:
        batch = real(*arguments)
        batches.append(any(row.principal == NAME for row in batch[0]))
        if len(batches) == 1:  # nothing is written of it yet
            t.audit.erase_subject(NAME, tenant="acme", by="dpo", reason="asked")
        return batch

    monkeypatch.setattr(alert_job, "read", read_then_erase)
    turn(t)
    assert batches[:2] == [True, False]  # read again, with the key gone
    assert not any(text in shown(t, "acme") for text in (NAME, IP, EMAIL))
    assert NAME in shown(t, "beta")
    with t._host.read() as connection:
        counted = connection.execute(
            sa.select(alert_hits).where(alert_hits.c.time_ns >= later)
        ).all()
    assert not any(NAME in str(hit) or IP in str(hit) or EMAIL in str(hit) for hit in counted)


def test_killed_with_the_key_gone_alerts_have_nothing_left(t: Tenancy, tmp_path: Path) -> None:
    t.close()
    program = """
        import os, signal, sys
        from pathlib import Path
        from tenancy.stores import facts
        import test_alert_erasure as here
        t = here.opened(Path(sys.argv[1]))
        real, calls = facts.erase_alerts, []
        def die(*args):
            calls.append(1)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)
        facts.erase_alerts = die
        t.audit.erase_subject(here.NAME, tenant="acme", by="dpo", reason="asked")
    """
    assert run_python(program, tmp_path).returncode == -9
    with opened(tmp_path) as again:
        after = shown(again, "acme")
        assert not any(text in after for text in (NAME, IP, EMAIL))
        assert not again.audit.search("acme", principal=NAME)
