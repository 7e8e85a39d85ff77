"""What rules find in the log: once, whatever dies meanwhile, and in whatever order facts come."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alert_support import job, tell, turn
from audit_support import log_rows
from store_support import START_NS, make_clock, open_shop
from tenancy import Tenancy, _core
from tenancy.alerts import (
    Alerts,
    Rule,
    brute_force,
    critical,
    default_rules,
)
from tenancy.errors import Escalation, InvalidValue, NotFound
from tenancy.stores import alert_job, alert_store
from tenancy.stores.alert_facts import texts_of
from tenancy.stores.alert_windows import Hit
from tenancy.stores.audit_events import LogRow
from test_alert_rules import Model

S = 1_000_000_000


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def t(tmp_path: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with open_shop(tmp_path, clock) as tenancy:
        yield tenancy


def rules_of(t: Tenancy) -> Counter[str]:
    return Counter(alert.rule for alert in t.alerts.list(limit=1000))


# -------------------------------------------------------------------------------- what is found


def test_guessed_passwords_become_an_alert_and_a_fact(t: Tenancy, clock: Any) -> None:
    acme = t.tenants.create("Acme")
    facts = []
    for _ in range(12):
        clock.advance_ns(S)
        facts.append(
            t.audit.append(
                "login_failed", tenant=acme, principal="ann", result="failure",
                context={"ip": "192.0.2.7"},
            )
        )  # fmt: skip
    clock.advance_ns(S)
    assert t.background.run_due() == 5
    [by_ip] = t.alerts.list(rule="brute_force.ip")
    [by_principal] = t.alerts.list(rule="brute_force.principal")
    assert by_ip.group == {"ip": "192.0.2.7"}
    assert by_principal.group == {"tenant": acme.id, "principal": "ann"}
    assert (by_ip.count, by_ip.more, by_ip.severity) == (10, 2, "high")
    assert list(by_ip.facts) == facts[:10]
    assert (by_ip.last - by_ip.first) == timedelta(seconds=9)
    assert by_ip.tenant == acme.id, "all its facts are of one tenant"
    fact = t.audit.get(acme, by_ip.id)
    assert (fact.type, fact.action, fact.resource_id) == ("security_alert", "alert:raise", by_ip.id)
    assert fact.context["rule"] == "brute_force.ip"
    assert [e.id for e in t.audit.search(acme, ip="192.0.2.7", type="security_alert")] == [by_ip.id]
    clock.advance_ns(S)
    t.background.run_due()
    assert rules_of(t) == {"brute_force.ip": 1, "brute_force.principal": 1}
    assert [e.id for e in t.audit.search(acme, type="security_alert", principal="system")]
    t._host.facts.settle()
    rows = [row.event_id for row in log_rows(t.path, "security") if row.type == "security_alert"]
    assert sorted(filter(None, rows)) == sorted([by_ip.id, by_principal.id])


ENGINE_FACTS = [
    # What the engine writes into the log of a refusal, by rule (docs/catalog.md).
    ("credential_refused", {"ip": "192.0.2.9"}, 10, "brute_force.ip"),
    ("credential_refused", {"key": "tk_abc"}, 10, "brute_force.key"),
    ("cross_tenant", {"key": "tk_abc", "named_tenant": "t{n}"}, 3, "cross_tenant_probing.targets"),
    ("cross_tenant", {"key": "tk_abc", "named_tenant": "t"}, 10, "cross_tenant_probing.attempts"),
]


@pytest.mark.parametrize(("kind", "context", "count", "rule"), ENGINE_FACTS)
def test_refusals_of_the_engine_are_known_by_their_types(
    t: Tenancy, kind: str, context: dict[str, str], count: int, rule: str
) -> None:
    for n in range(count):
        assert rule not in rules_of(t)
        told = {name: text.format(n=n) for name, text in context.items()}
        tell(t, kind, START_NS + n * S, by="anonymous", context=told, result="denied")
        turn(t)
    assert rule in rules_of(t)


def test_records_that_the_engine_wrote_itself_are_counted(t: Tenancy) -> None:
    """In its own fields, not in a context."""
    fields = {"type": "cross_tenant", "result": "denied", "key_id": "tk_abc", "ip": "192.0.2.1"}
    for n in range(3):
        more: dict[str, object] = {"event_id": _core.uuid7(START_NS + n), "named_tenant": f"t{n}"}
        t._host.facts.log.append([("security", None, START_NS + n, {**fields, **more})])
    turn(t)
    [alert] = t.alerts.list()
    assert (alert.rule, alert.group) == ("cross_tenant_probing.targets", {"source": "tk_abc"})
    assert list(alert.values) == ["t0", "t1", "t2"]


def test_crossings_of_today_are_counted(t: Tenancy) -> None:
    acme, globex = t.tenants.create("Acme"), t.tenants.create("Globex")
    _, secret = t.keys.create(acme, scopes=["ticket:*"])
    for _ in range(10):
        assert not t.check(api_key=secret, tenant=globex.id, permission="ticket:read")
    turn(t)
    assert rules_of(t)["cross_tenant_probing.attempts"] == 1


def test_rights_given_to_oneself_and_refused_grants(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    t.roles.assign(acme, "ann", "lead", by="system")
    t.roles.assign(acme, "bob", "agent", by="ann")
    turn(t)
    assert not t.alerts.list(), "what is allowed and given to others is no alert"
    t.roles.assign(acme, "ann", "agent", by="ann")
    with pytest.raises(Escalation):
        t.roles.assign(acme, "bob", "payer", by="bob")
    turn(t)
    assert rules_of(t) == {"privilege_escalation.self": 1, "privilege_escalation.refused": 1}
    [refused] = t.audit.search(acme, type="permission_denied")
    assert (refused.action, refused.principal, refused.result) == ("grant:refused", "bob", "denied")
    for n in range(20):
        t.roles.assign(acme, f"u{n}", "agent", by="ann")
        t.roles.assign(acme, f"u{n}", "agent", by="system")
    turn(t)
    assert rules_of(t)["privilege_escalation.many"] == 1


def test_an_alert_of_several_tenants_belongs_to_none(t: Tenancy) -> None:
    acme, globex = t.tenants.create("Acme"), t.tenants.create("Globex")
    for n in range(10):
        tenant = (acme, globex)[n % 2].id
        tell(t, "login_failed", START_NS + n, tenant=tenant, by=f"u{n}", context={"ip": "::1"})
    turn(t)
    [alert] = t.alerts.list()
    assert alert.tenant is None
    assert not t.audit.search(acme, type="security_alert")


def test_quota_thresholds_can_be_a_rule(tmp_path: Path) -> None:
    rule = Rule("quota", match={"type": "quota_threshold", "context.percent": "100"}, by="tenant")
    with open_shop(tmp_path, alerts=Alerts(rules=[rule])) as t:
        acme = t.tenants.create("Acme")
        assert t.check(tenant=acme.id, consume={"tokens": 100})
        turn(t)
        [alert] = t.alerts.list()
        assert alert.tenant == acme.id


def test_without_rules_nothing_is_watched(tmp_path: Path) -> None:
    with open_shop(tmp_path, alerts=Alerts(rules=[])) as t:
        t.background.run_due()
        assert "alerts" not in [job.name for job in t.health().background.jobs]
    with pytest.raises(InvalidValue, match="alerts"):
        open_shop(tmp_path, alerts=[brute_force()])


def test_facts_of_long_ago_are_history(tmp_path: Path, clock: Any) -> None:
    with open_shop(tmp_path, clock, alerts=Alerts(rules=[])) as t:
        for n in range(20):
            tell(t, "login_failed", START_NS - 7200 * S + n, context={"ip": "::1"})
        tell(t, "login_failed", START_NS, context={"ip": "::1"})
    with open_shop(tmp_path, clock) as t:
        turn(t)
        assert not t.alerts.list()
        for n in range(9):
            tell(t, "login_failed", START_NS + n, context={"ip": "::1"})
        turn(t)
        assert t.alerts.list(), "what was there when the rules began counts"


def test_alerts_lead_to_no_alerts(tmp_path: Path) -> None:
    rules = Alerts(rules=[critical("*", cooldown=timedelta(0))])
    with open_shop(tmp_path, alerts=rules) as t:
        tell(t, "boom", START_NS)
        for _ in range(3):
            turn(t)
        assert [alert.group["type"] for alert in t.alerts.list()].count("boom") == 1
        count = len(t.alerts.list())
        turn(t)
        assert len(t.alerts.list()) == count
        assert "security_alert" not in {alert.group["type"] for alert in t.alerts.list()}


# ------------------------------------------------------------------------------- the log itself


def test_a_log_that_fails_is_told_once_also_by_the_next_process(
    t: Tenancy, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn(t)

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(core, name)

        def health(self) -> dict[str, Any]:
            return {**core.health(), "failing": True, "reason": "no space left"}

    for tenancy in (t, t, open_shop(tmp_path, clock)):
        with monkeypatch.context() as patch:
            core = tenancy._host.facts.log.core
            patch.setattr(tenancy._host.facts.log, "core", Failing())
            for _ in range(2):
                clock.advance_ns(S)
                job(tenancy, "alerts")()
        if tenancy is not t:
            tenancy.close()
    [alert] = t.alerts.list()
    assert (alert.rule, alert.group) == ("log_failure", {"type": "log_failing"})
    job(t, "alerts")()  # it is mended
    clock.advance_ns(3700 * S)
    with monkeypatch.context() as patch:
        core = t._host.facts.log.core
        patch.setattr(t._host.facts.log, "core", Failing())
        job(t, "alerts")()
    assert rules_of(t) == {"log_failure": 2}


def test_a_damaged_table_of_facts_is_told(t: Tenancy) -> None:
    t.tenants.create("Acme")
    turn(t)
    t._host.facts.projection.path.write_bytes(b"no database" * 1000)
    turn(t)
    turn(t)
    [alert] = t.alerts.list()
    assert (alert.rule, alert.group) == ("log_failure", {"type": "suspicious_activity"})


@pytest.mark.parametrize(("kind", "name"), [(6, "log_repair"), (10, "log_alarm")])
def test_what_the_log_says_of_its_own_repairs_is_told(t: Tenancy, kind: int, name: str) -> None:
    empty = LogRow._make([None] * len(LogRow._fields))
    row = empty._replace(sequence=7, kind=kind, time_ns=START_NS, rest='{"repair_reason":"torn"}')
    assert texts_of(row)["reason"] == "torn"
    [found] = job(t, "alerts")._of(row)
    assert (found.rule.name, found.group) == ("log_failure", {"type": name})
    heartbeat = row._replace(kind=5)
    assert not job(t, "alerts")._of(heartbeat)


# --------------------------------------------------------------------------- once, in any order

ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 30),  # time
        st.integers(0, 2),  # principal
        st.integers(0, 3),  # target
        st.sampled_from(["security", "access"]),  # chain
    ),
    max_size=20,
)


@settings(max_examples=12)
@given(data=st.data(), arrivals=ARRIVALS)
def test_alerts_are_those_of_the_model_over_restarts_and_late_facts(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, arrivals: list[Any]
) -> None:
    window = timedelta(seconds=30)  # nothing comes later than this
    kinds = {"security": "login_failed", "access": "data_failed"}
    match = {"type": tuple(kinds.values())}
    rules = [
        Rule("many", match=match, by="principal", at_least=3, within=window, cooldown=0),
        Rule("wide", match=match, by="principal", at_least=2, within=window, distinct="target"),
    ]
    models = {(rule.name, who): Model(rule) for rule in rules for who in range(3)}
    directory = tmp_path_factory.mktemp("alerts")
    clock = make_clock()
    clock.advance_ns(60 * S)
    expected: Counter[tuple[str, str, int]] = Counter()
    t = open_shop(directory, clock, alerts=Alerts(rules=rules))
    try:
        turn(t)
        for number, (time, who, target, chain) in enumerate(arrivals):
            at_ns = START_NS + time * S
            event = _core.uuid7(at_ns)
            fields: dict[str, object] = {"event_id": event, "type": kinds[chain], "action": "try"}
            fields |= {"principal": f"u{who}", "named_tenant": f"t{target}", "result": "denied"}
            t._host.facts.log.append([(chain, None, at_ns, fields)])
            for rule in rules:
                value = "" if rule.distinct is None else f"t{target}"
                end = models[rule.name, who].add(Hit(at_ns, event, None, value))
                if end is not None:
                    expected[rule.name, f"u{who}", end] += 1
            job(t, "alerts")()
            if data.draw(st.integers(0, 9), label=f"restart after {number}") == 0:
                t.close()
                t = open_shop(directory, clock, alerts=Alerts(rules=rules))
        found = Counter(
            (a.rule, a.group["principal"], round(a.last.timestamp()) * S)
            for a in t.alerts.list(limit=1000)
        )
        assert found == expected
        assert sum(a.more for a in t.alerts.list(limit=1000)) == sum(
            model.more for model in models.values()
        )
    finally:
        t.close()


def test_chains_are_read_in_the_order_of_their_times(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long way to catch up, in small parts, over two chains."""
    rule = Rule(
        "both", match={"type": ("login_failed", "data_failed")}, by="principal", at_least=2,
        within=timedelta(seconds=2), distinct="action",
    )  # fmt: skip
    with open_shop(tmp_path, clock, alerts=Alerts(rules=[rule])) as t:
        for kind in ("login_failed", "data_failed"):
            for n in range(15):
                tell(t, kind, START_NS + n * 10 * S, by=f"u{n}")
        monkeypatch.setattr(alert_job, "BATCH", 7)
        t._host.facts.settle()
        job(t, "alerts")()
        assert rules_of(t) == {"both": 15}


def test_what_was_read_and_not_found_is_stored_now_and_then(
    t: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn(t)

    def stored() -> str:
        with t._host.cursor() as cursor:
            return str(cursor.execute("SELECT positions FROM alert_cursor").fetchone()[0])

    before = stored()
    for n in range(5):
        tell(t, "data_read", START_NS + n)
        turn(t)
    assert stored() == before, "nothing was found: the place is only in memory"
    monkeypatch.setattr(alert_job, "BATCH", 3)
    tell(t, "data_read", START_NS)
    turn(t)
    assert stored() != before


def test_who_lost_the_seat_writes_nothing(tmp_path: Path, clock: Any) -> None:
    alerts = Alerts(rules=[critical("boom", cooldown=timedelta(0))])
    with (
        open_shop(tmp_path, clock, alerts=alerts) as one,
        open_shop(tmp_path, clock, alerts=alerts) as two,
    ):
        job(one, "alerts")()
        for n in range(6):
            with one._host.read() as connection:
                stale = alert_store.load_cursor(connection)
            tell(one, "boom", START_NS + n)
            one._host.facts.settle()
            job(two, "alerts")()
            assert job(one, "alerts")._write(stale, stale, []) is False
            job(one, "alerts")()
        assert rules_of(one) == {"critical": 6}


def test_a_log_in_anothers_place_is_read_from_its_beginning(tmp_path: Path, clock: Any) -> None:
    alerts = Alerts(rules=[critical("boom", cooldown=timedelta(0))])
    with open_shop(tmp_path, clock, alerts=alerts) as t:
        tell(t, "boom", START_NS)
        turn(t)
        connection = sqlite3.connect(t.path / "tenancy.db")
        with connection:
            places = {"security": [1, "0 of another"], "other": [1, "0 of another"]}
            connection.execute("UPDATE alert_cursor SET positions = ?", (json.dumps(places),))
        connection.close()
        tell(t, "boom", START_NS + 1)
        turn(t)
        assert rules_of(t) == {"critical": 2}


@pytest.mark.parametrize("read_before", [0, 5, 60])
def test_rules_go_on_behind_what_was_pruned(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch, read_before: int
) -> None:
    log = _core.Log
    monkeypatch.setattr(_core, "Log", lambda path, **o: log(path, segment_bytes=1 << 16, **o))
    alerts = Alerts(rules=[critical("data_failed", cooldown=timedelta(0))])

    def write(t: Tenancy, count: int) -> None:
        for n in range(count):
            tell(t, "data_failed", START_NS + n, context={"text": "x" * 6000})
        t._host.facts.settle()

    with open_shop(tmp_path, clock, alerts=alerts) as t:
        write(t, read_before)
        if read_before:
            job(t, "alerts")()
        write(t, 60 - read_before)
        pruned = t._host.facts.log.prune("access", 50)
        assert pruned
        kept = t._host.facts.log.kept_from()["access"]
        assert 5 < kept <= 50
        tell(t, "data_failed", START_NS + 99)
        turn(t)
        log_kept = 61 - max(kept - 1, read_before)  # sequence 0 is the chain's genesis
        assert len(t.alerts.list(limit=1000)) == read_before + log_kept


def test_what_no_window_reaches_is_forgotten(t: Tenancy, clock: Any) -> None:
    def kept() -> int:
        with t._host.cursor() as cursor:
            return int(cursor.execute("SELECT count(*) FROM alert_hits").fetchone()[0])

    acme = t.tenants.create("Acme").id
    tell(t, "login_failed", START_NS, tenant=acme, context={"ip": "::1"})
    turn(t)
    assert kept() == 2, "the address and the principal"
    clock.advance_ns(660 * S)
    later_ns = START_NS + 660 * S
    tell(t, "login_failed", later_ns, tenant=acme, context={"ip": "::2"}, by="bob")
    turn(t)
    assert kept() == 2


# ------------------------------------------------------------------------------ looking at them


def test_listing_by_rule_tenant_time_and_page(t: Tenancy, clock: Any) -> None:
    acme = t.tenants.create("Acme")
    for n in range(3):
        for m in range(10):
            tenant = acme.id if n == 0 else None
            tell(t, "login_failed", START_NS + m, tenant=tenant, context={"ip": f"::{n}"}, by="")
        turn(t)
        clock.advance_ns(S)
    assert len(t.alerts.list()) == 3
    assert [a.group["ip"] for a in t.alerts.list(tenant=acme)] == ["::0"]
    newest = t.alerts.list(limit=2)
    assert [a.group["ip"] for a in newest] == ["::2", "::1"]
    assert [a.group["ip"] for a in t.alerts.list(limit=2, cursor=newest.cursor)] == ["::0"]
    last = newest[0]
    assert list(t.alerts.list(since=last.time)) == [last]
    assert last not in t.alerts.list(until=last.time)
    assert not t.alerts.list(rule="log_failure")
    assert t.alerts.get(last.id) == last
    for call in (t.alerts.get, t.alerts.deliveries, t.alerts.retry):
        with pytest.raises(NotFound):
            call("nobody")
    with pytest.raises(NotFound):
        t.alerts.acknowledge("nobody", by="ops")


async def test_acknowledging_is_audited_once(t: Tenancy) -> None:
    acme = t.tenants.create("Acme")
    t.roles.assign(acme, "ann", "agent", by="system")
    t.roles.assign(acme, "ann", "agent", by="ann")
    turn(t)
    [alert] = await t.alerts.alist(acknowledged=False)
    seen = await t.alerts.aacknowledge(alert.id, by="ops")
    assert seen.acknowledged_by == "ops"
    assert t.alerts.acknowledge(alert.id, by="eve").acknowledged_by == "ops"
    assert not t.alerts.list(acknowledged=False)
    [fact] = t.audit.search(acme, type="security_alert_acknowledged")
    assert (fact.principal, fact.resource_id) == ("ops", alert.id)
    assert seen.as_dict()["acknowledged"].endswith("Z")
    assert await t.alerts.adeliveries(alert.id) == ()
    assert await t.alerts.aget(alert.id) == seen
    assert await t.alerts.aretry(alert.id) == 0


def test_default_rules_have_names_that_say_what_they_are() -> None:
    assert {rule.name.partition(".")[0] for rule in default_rules()} == {
        "brute_force",
        "privilege_escalation",
        "cross_tenant_probing",
        "log_failure",
        "budget",
    }
