"""Reports: controls, queries, and counts that a second evaluation confirms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report_support import DAY, EVERY, Recount, report
from store_support import START, make_clock, open_shop
from tenancy import Tenancy
from tenancy.errors import InvalidValue, StoreNotWritable, UnknownTenant
from tenancy.reports import STANDARDS, Query, _build, _state

SECOND_NS = 1_000_000_000
CONTROLS = [(name, control) for name in EVERY for control in STANDARDS[name].controls]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Tenancy]:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme", plan="pro", by="operator:ada")
        yield t


# ------------------------------------------------------------------------------------ controls


@pytest.mark.parametrize(
    ("standard", "control"), CONTROLS, ids=lambda value: getattr(value, "id", value)
)
def test_every_control_has_evidence_or_says_why_not(standard: str, control: Any) -> None:
    assert control.id
    assert control.title
    assert control.population or control.checks or control.not_configured
    assert control.exceptions is None or (control.population and control.meaning)
    for query in filter(None, (control.population, control.exceptions)):
        assert "  " not in query.text
        assert Query(query.text) == query


@pytest.mark.parametrize("standard", EVERY)
def test_a_control_is_named_once_and_some_are_the_organisations(standard: str) -> None:
    controls = STANDARDS[standard].controls
    assert len({control.id for control in controls}) == len(controls)
    assert any(not c.population and not c.checks for c in controls)


@pytest.mark.parametrize(
    ("standard", "version", "ids"),
    [
        ("soc2", "2017", "CC6.1 CC6.2 CC6.3 CC6.6 CC6.7 CC6.8 CC7.1 CC7.2 CC7.3 CC7.4 CC8.1 A1.2"),
        ("hipaa", "45 CFR", "164.308(a)(5)(ii)(C) 164.312(b) 164.312(c)(1) 164.316(b)(2)(i)"),
        ("gdpr", "2016/679", "5(1)(e) 5(1)(f) 5(2) 15 17 20 25 30 32 33"),
        (
            "pci-dss",
            "4.0.1",
            "7.2.2 8.2.1 8.2.4 8.2.5 8.3.4 10.2.1.1 10.2.1.2 10.2.1.3 10.2.1.4 10.2.1.5 10.2.1.6 "
            "10.2.1.7 10.2.2 10.3.2 10.3.4 10.4.1 10.5.1 10.6 10.7.2",
        ),
    ],
)
def test_the_standards_name_their_version_and_controls(
    standard: str, version: str, ids: str
) -> None:
    assert version in STANDARDS[standard].version
    have = {control.id.removeprefix("Art. ") for control in STANDARDS[standard].controls}
    assert set(ids.split()) <= have


# ------------------------------------------------------------------------------------- queries


def event(**fields: Any) -> Any:
    blank = dict.fromkeys(("principal", "type", "action", "resource", "resource_id", "result"))
    return SimpleNamespace(**{**blank, "context": {}, **fields})


@pytest.mark.parametrize(
    ("query", "fields", "holds"),
    [
        ("type in (login)", {"type": "login"}, True),
        ("type in (login)", {"type": "login_failed"}, False),
        ("type in (data_*, login)", {"type": "data_read"}, True),
        ("type in (*)", {"type": "anything"}, True),
        ("resource in (*)", {"resource": None}, False),
        ("type not in (login)", {"type": "logout"}, True),
        ("type not in (log*)", {"type": "logout"}, False),
        ("resource is absent", {}, True),
        ("resource is present", {}, False),
        ("context.ip is present", {"context": {"ip": "::1"}}, True),
        ("context.ip in (10.*)", {"context": {"ip": "10.0.0.1"}}, True),
        ("context.n in (1)", {"context": {"n": 1}}, False),  # texts only
        # `and` binds closer than `or`
        ("type in (a) or type in (b) and result in (x)", {"type": "a", "result": "y"}, True),
        ("type in (a) and result in (x) or type in (b)", {"type": "a", "result": "y"}, False),
    ],
)
def test_a_query_means_what_it_says(query: str, fields: dict[str, Any], holds: bool) -> None:
    assert Query(query).matches(event(**fields)) is holds


@pytest.mark.parametrize(
    "query",
    [
        "",
        "type",
        "type in",
        "type in (",
        "type in ()",
        "type in (a",
        "type in (a b)",
        "type = a",
        "tenant in (a)",
        "context. is absent",
        "type is there",
        "type not (a)",
        "type in (a) result in (b)",
        "type in (a) and",
        "type in (a) or",
        "type in (a))",
    ],
)
def test_a_wrong_query_is_an_error_that_says_what_was_expected(query: str) -> None:
    with pytest.raises(InvalidValue, match=r"query: .*expected"):
        Query(query)


# -------------------------------------------------------------------------------------- counts

TYPES = (
    *("login", "login_failed", "logout", "mfa_enabled", "data_read", "data_updated"),
    *("data_deleted", "data_export", "permission_denied", "security_violation", "key_created"),
    *("suspicious_activity", "config_changed", "role_assigned", "limit_exceeded", "own_type"),
    *("quota_exceeded", "credential_refused", "tenant_refused", "cross_tenant", "key_used"),
)
WRITTEN = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "result": st.sampled_from(("success", "failure", "denied")),
        "principal": st.sampled_from(
            ("ada", "anonymous", "system", "operator:bob", "a' OR 1=1 --")
        ),
        "resource": st.sampled_from((None, "doc", "role")),
        "action": st.sampled_from((None, "role:define", "audit:search", "doc:read")),
        "context": st.sampled_from(({}, {"not_written_before": 3}, {"ip": "10.0.0.1"})),
    }
)


@pytest.mark.parametrize("standard", EVERY)
def test_counts_are_those_of_a_second_evaluation(tmp_path: Path, standard: str) -> None:
    clock = make_clock()
    with open_shop(tmp_path, clock) as t:
        made = 0

        @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            facts=st.lists(st.tuples(st.booleans(), WRITTEN), max_size=25),
            ends=st.tuples(st.integers(0, 30), st.integers(1, 30)),
            rows=st.integers(0, 5),
        )
        def run(facts: list[Any], ends: tuple[int, int], rows: int) -> None:
            nonlocal made
            made += 1
            ours, theirs = (t.tenants.create(f"T{made}{x}") for x in "ab")
            began = datetime.fromtimestamp(clock.wall_ns() / 1e9, timezone.utc)
            for own, fact in facts:
                clock.advance_ns(SECOND_NS)
                t.audit.append(tenant=ours if own else theirs, **fact)
            since = began + timedelta(seconds=ends[0])
            until = since + timedelta(seconds=ends[1])
            every = [*t.audit.search(ours, limit=1000), *t.audit.search(theirs, limit=1000)]
            clock.advance_ns(100 * SECOND_NS)
            # The report's own fact lies after the range.
            found = t.audit.report(ours, standard, since, until, rows=rows)
            recount = Recount(every)
            window = (ours.id, since.timestamp(), until.timestamp())
            assert found.source.events == recount.count("type in (*)", None, *window)
            for outcome in found.controls:
                if outcome.query is None:
                    assert (outcome.count, outcome.rows) == (0, ())
                    continue
                assert outcome.count == recount.count(outcome.query, None, *window)
                assert sum(outcome.by_type.values()) == outcome.count
                assert len(outcome.rows) == min(outcome.count, rows)
                assert outcome.rows_left_off == outcome.count - len(outcome.rows)
                if outcome.exceptions_query is None:
                    assert outcome.exceptions_in_events == 0
                    continue
                expected = recount.count(outcome.query, outcome.exceptions_query, *window)
                assert outcome.exceptions_in_events == expected
                assert len(outcome.exception_rows) == min(expected, rows)
                failed = sum(check.status == "EXCEPTION" for check in outcome.checks)
                assert outcome.exceptions == expected + failed
            recount.close()

        run()


def test_counts_go_over_more_events_than_a_page(shop: Tenancy, monkeypatch: Any) -> None:
    monkeypatch.setattr(_build, "_PAGE", 7)
    for n in range(50):
        shop.audit.append("data_read", tenant="acme", resource="doc", resource_id=str(n))
    outcome = report(shop, "pci-dss", rows=10).control("10.2.1.1")
    # The report's own fact, a data_export, is the newest.
    assert (outcome.count, outcome.by_type) == (51, {"data_export": 1, "data_read": 50})
    assert [row.resource_id for row in outcome.rows] == [None, *(str(n) for n in range(49, 40, -1))]
    assert outcome.rows_left_off == 41


def test_rows_are_events_that_the_printed_query_finds(shop: Tenancy) -> None:
    shop.audit.append("login_failed", tenant="acme", principal="eve")
    outcome = report(shop, "hipaa").control("164.308(a)(5)(ii)(C)")
    assert outcome.status == "EXCEPTIONS"
    (row,) = outcome.rows
    assert Query(outcome.query or "").matches(row)
    assert outcome.exception_rows == (row,)
    assert row.principal == "eve"


def test_what_the_services_write_is_found(shop: Tenancy) -> None:
    key = shop.keys.create("acme", scopes=["ticket:read"], by="operator:ada").key
    shop.keys.revoke(key, by="operator:ada")
    shop.roles.assign("acme", "ann", "agent", by="operator:ada")
    shop.roles.revoke("acme", "ann", "agent", by="operator:ada")
    shop.tenants.suspend("acme", "unpaid", by="operator:ada")
    pci, soc = report(shop, "pci-dss"), report(shop)
    assert pci.control("8.2.4").by_type == {
        "key_created": 1,
        "key_revoked": 1,
        "role_assigned": 1,
        "role_revoked": 1,
    }
    assert pci.control("8.2.4").exceptions == 0
    assert pci.control("8.2.5").count == 2
    assert pci.control("10.2.1.7").by_type == {"tenant_created": 1}
    assert soc.control("CC7.4").by_type == {
        "key_revoked": 1,
        "role_revoked": 1,
        "tenant_suspended": 1,
    }


def test_changes_by_nobody_in_particular_are_exceptions(shop: Tenancy) -> None:
    shop.roles.assign("acme", "ann", "agent")  # by `system`
    assert report(shop, "pci-dss").control("8.2.4").exceptions == 1


def test_other_tenants_are_not_in_it(shop: Tenancy) -> None:
    shop.tenants.create("Beta", slug="beta")
    shop.audit.append("security_violation", tenant="beta", principal="beta-secret")
    made = report(shop)
    assert made.control("CC7.3").count == 0
    assert "beta" not in made.json()


def test_an_empty_range_has_no_events_and_says_so(shop: Tenancy) -> None:
    made = shop.audit.report("acme", "soc2", START + 2 * DAY, START + 3 * DAY)
    assert made.source.events == 0
    assert not made.range_over
    assert made.control("CC6.1").status == "NO EVENTS"
    assert "not over when this was made" in made.html()
    assert made.pdf().startswith(b"%PDF")


def test_a_report_is_itself_a_fact(shop: Tenancy) -> None:
    report(shop, "gdpr", by="operator:ada")
    newest = shop.audit.search("acme")[0]
    assert (newest.type, newest.action, newest.principal) == (
        "data_export",
        "audit:report",
        "operator:ada",
    )
    assert newest.context["standard"] == "gdpr"
    assert report(shop, "pci-dss").control("10.2.1.3").count == 2


# --------------------------------------------------------------------------------------- state


def test_retention_of_classes_is_held_against_what_a_standard_demands(shop: Tenancy) -> None:
    hipaa, pci = report(shop, "hipaa"), report(shop, "pci-dss")
    days = {one["class"]: one["days"] for one in hipaa.retention.classes}
    assert days == {"security": 2555, "access": 1095, "other": 365}
    six_years = hipaa.control("164.316(b)(2)(i)")
    assert (six_years.status, six_years.exceptions, six_years.count) == ("EXCEPTIONS", 1, 0)
    assert "access (1,095), other (365)" in six_years.checks[0].text
    year = pci.control("10.5.1")
    assert (year.status, year.exceptions) == ("EVIDENCE", 0)


def test_the_plans_retention_and_legal_hold_are_stated(shop: Tenancy) -> None:
    before = report(shop, "gdpr")
    assert (before.retention.plan_days, before.retention.legal_hold) == (7, False)
    assert before.control("Art. 17").exceptions == 0
    shop.tenants.legal_hold("acme")
    held = report(shop, "gdpr")
    assert held.retention.legal_hold
    assert held.control("Art. 17").exceptions == 1
    assert "A legal hold stands" in held.html()


def test_a_plan_without_retention_is_not_configured(shop: Tenancy) -> None:
    shop.tenants.create("Free", slug="free", plan="free")
    made = shop.audit.report("free", "gdpr", START - DAY, START + DAY)
    assert made.retention.plan_days is None
    check = made.control("Art. 5(1)(e)").checks[0]
    assert (check.name, check.status) == ("plan's retention", "NOT CONFIGURED")


def test_without_a_log_the_chain_is_not_configured() -> None:
    chain = _state.chain_of(SimpleNamespace())  # type: ignore[arg-type]
    assert (chain.status, chain.whole, chain.log) == ("NOT CONFIGURED", None, None)
    assert _state.check("chain", chain, None).status == "NOT CONFIGURED"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "word", "check"),
    [
        (0, "WHOLE", "PASSED"),
        (4, "WHOLE, WITH RESERVATIONS", "PASSED"),
        (1, "TAMPERED", "EXCEPTION"),
        (3, "CANNOT VERIFY", "EXCEPTION"),
        (9, "CANNOT VERIFY", "EXCEPTION"),
    ],
)
def test_a_verified_log_is_in_the_report(
    shop: Tenancy, monkeypatch: Any, status: int, word: str, check: str
) -> None:
    findings = [{"status": status, "code": "mac", "text": "<b>bad</b>"}] if status == 1 else []
    found = SimpleNamespace(status=status, log="ab12", records=12345, findings=findings)
    asked = []

    def verify(_: Any, **how: Any) -> Any:
        asked.append(how)
        return found

    monkeypatch.setattr(type(shop.audit), "verify", verify, raising=False)
    made = report(shop, "pci-dss", key="kept/log.verify", anchors=["note"])
    assert asked == [{"key": "kept/log.verify", "anchors": ("note",)}]
    assert (made.chain.status, made.source.log) == (word, "ab12")
    assert made.control("10.3.4").checks[0].status == check
    assert made.control("10.3.4").exceptions == (check == "EXCEPTION")
    assert "12,345 records" in made.html()
    assert "<b>bad" not in made.html()
    assert made.pdf().startswith(b"%PDF")


def test_a_log_that_cannot_be_verified_is_no_crash(shop: Tenancy, monkeypatch: Any) -> None:
    def fails(_: Any, **how: Any) -> None:
        raise StoreNotWritable("keys/log.verify: not there")

    monkeypatch.setattr(type(shop.audit), "verify", fails, raising=False)
    made = report(shop, "gdpr")
    assert made.chain.status == "CANNOT VERIFY"
    assert "keys/log.verify" in made.chain.text


# ------------------------------------------------------------------------------------ refusals


def test_wrong_arguments_are_refused_and_leave_no_fact(shop: Tenancy) -> None:
    call = shop.audit.report
    naive = datetime(2026, 1, 1)
    with pytest.raises(InvalidValue, match=r"standard: 'iso'.*gdpr, hipaa, pci-dss, soc2"):
        call("acme", "iso", START, START + DAY)
    for wrong in (None, 1, ["soc2"]):
        with pytest.raises(InvalidValue, match="standard"):
            call("acme", wrong, START, START + DAY)  # type: ignore[arg-type]
    for since, until, field in (
        (START, START, "until"),
        (START + DAY, START, "until"),
        (naive, START, "since"),
        (START, naive, "until"),
        ("2026-01-01", START, "since"),
        (START, None, "until"),
    ):
        with pytest.raises(InvalidValue, match=f"^{field}:"):
            call("acme", "soc2", since, until)  # type: ignore[arg-type]
    for rows in (-1, 1001, True, 1.0, None):
        with pytest.raises(InvalidValue, match=r"^rows:"):
            call("acme", "soc2", START, START + DAY, rows=rows)  # type: ignore[arg-type]
    with pytest.raises(UnknownTenant):
        call("nobody", "soc2", START, START + DAY)
    assert [e.type for e in shop.audit.search("acme")] == ["tenant_created"]


def test_times_of_any_zone_are_shown_in_utc(shop: Tenancy) -> None:
    vienna = timezone(timedelta(hours=1))
    start = datetime(2026, 1, 1, 0, 30, tzinfo=vienna)
    made = shop.audit.report("acme", "soc2", start, start + DAY)
    assert made.as_dict()["since"] == "2025-12-31T23:30:00Z"
    assert "2025-12-31T23:30:00Z <= time and time < 2026-01-01T23:30:00Z" in made.scope
