"""Facts of decisions as the application sees them: searched for, counted, and refused for."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_support import all_rows, open_live, outbox_size
from store_support import start_python
from tenancy import Tenancy, _core
from tenancy.stores import drain, facts
from tenancy.stores.host import Host
from tenancy.stores.records import AuditEvent
from web_support import CATALOG, Shop

RULES = ("always", "never", "refusals", "{sampled: 0.5}", "{per_second: 3}")
CLASSES = ("refusals", "anonymous", "key_use", "cross_tenant", "thresholds")
CALLS = 40


def open_shop(directory: Path, audit: str = "{}", **options: Any) -> Shop:
    return Shop(directory, text=f"{CATALOG}\naudit: {audit}\n", **options)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = open_shop(tmp_path)
    yield made
    made.t.close()


def everything(t: Tenancy, **filters: Any) -> list[AuditEvent]:
    """Facts of all tenants and of none."""
    return list(t.operator(by="eve", reason="test").audit(limit=1000, **filters))


def facts_of(t: Tenancy, kinds: tuple[str, ...]) -> list[AuditEvent]:
    return [event for event in everything(t) if event.type in kinds]


# ------------------------------------------------------------------------- classes and rules

MADE: dict[str, tuple[tuple[str, ...], Callable[[Shop, int], Any]]] = {
    "refusals": (
        ("permission_denied",),
        lambda shop, _: shop.t.check(tenant="acme", principal="ann", permission="doc:write"),
    ),
    "anonymous": (("credential_refused",), lambda shop, _: shop.t.check(api_key="tk_guess")),
    "key_use": (("key_used",), lambda shop, _: shop.t.check(api_key=shop.secret)),
    "cross_tenant": (
        ("cross_tenant",),
        lambda shop, _: shop.t.check(api_key=shop.secret, hints=["globex"]),
    ),
    # 80 of 100, each time of another tenant.
    "thresholds": (
        ("quota_threshold",),
        lambda shop, number: shop.t.quotas.consume(f"many-{number}", "tokens", 80),
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("of", CLASSES)
def test_each_class_leaves_the_facts_that_its_rule_wants(
    tmp_path: Path, of: str, rule: str
) -> None:
    others = ", ".join(f"{name}: never" for name in CLASSES if name != of)
    shop = open_shop(tmp_path, f"{{{of}: {rule}, {others}}}")
    kinds, make = MADE[of]
    if of == "thresholds":
        many = [{"name": "Many", "slug": f"many-{n}", "plan": "free"} for n in range(CALLS)]
        shop.t.tenants.create_many(many)
    made = [make(shop, number) for number in range(CALLS)]
    refused = 0 if of == "thresholds" else sum(not decision for decision in made)
    found = len(facts_of(shop.t, kinds))
    counts = shop.t.stats()["facts"]
    expected = {
        "always": (CALLS, CALLS),
        "never": (0, 0),
        # A key that is used and a threshold that is reached are no refusals.
        "refusals": (refused, refused),
        "{sampled: 0.5}": (2, CALLS - 2),  # wrong by chance once in a thousand million times
        "{per_second: 3}": (3, 3),
    }[rule]
    assert expected[0] <= found <= expected[1]
    assert counts["lost"] == 0
    assert counts["suppressed"] == (0 if rule in RULES[:3] else CALLS - found)
    assert counts["recorded"] == (0 if of == "thresholds" else found)
    shop.t.close()


def test_thresholds_are_told_once_whatever_becomes_of_their_facts(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, "{thresholds: never}")
    told: list[Any] = []
    shop.t.quotas.on_alert(told.append)
    for _ in range(2):
        for _ in range(5):
            assert shop.t.check(tenant="acme", consume={"tokens": 180})
        shop.t.quotas.set("acme", "tokens", 0, by="system")
    assert sorted(alert.percent for alert in told) == [80]
    assert not shop.t.audit.search("acme", type="quota_threshold")
    shop.t.close()


# ------------------------------------------------------------------------- one's own writes


def test_a_refusal_is_found_as_soon_as_it_was_answered(shop: Shop) -> None:
    t = shop.t
    for number in range(20):
        decision = t.check(tenant="acme", permission="doc:write", ip=f"192.0.2.{number}")
        assert decision.code == "PERMISSION_DENIED"
        newest = t.audit.search(shop.acme, ip=f"192.0.2.{number}")[0]
        assert (newest.type, newest.action, newest.result) == (
            "permission_denied", "doc:write", "denied",
        )  # fmt: skip
        assert newest.revision == decision.revision
        assert newest.context["code"] == "PERMISSION_DENIED"
        assert t.audit.get(shop.acme, newest.id) == newest
    assert len(t.audit.search(shop.acme, type="permission_denied")) == 20
    assert not t.audit.search(shop.globex, type="permission_denied")


def test_the_revision_is_that_of_the_definitions_that_decided(shop: Shop) -> None:
    t = shop.t
    seen = []
    for number in range(3):
        seen.append(t.check(tenant="acme", permission="doc:write").revision)
        t.tenants.create(f"Another {number}")
        shop.advance(1)
    assert seen == sorted(set(seen))
    found = t.audit.search(shop.acme, type="permission_denied")
    assert [event.revision for event in reversed(found.items)] == seen


def test_searching_again_does_nothing_when_nothing_is_new(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = shop.t
    t.check(tenant="acme", permission="doc:write")
    t._host.facts.settle()
    t.audit.search(shop.acme)

    def called(*_: Any) -> None:
        raise AssertionError("nothing is new")

    monkeypatch.setattr(t._host.facts.log, "readable", called)
    assert t.audit.search(shop.acme, type="permission_denied")
    t.check(tenant="acme", permission="doc:write")
    with pytest.raises(AssertionError, match="nothing is new"):
        t.audit.search(shop.acme)


def test_facts_are_followed_as_they_come_each_once(shop: Shop) -> None:
    t = shop.t
    t.check(tenant="acme", permission="doc:write", ip="192.0.2.1")
    following = t.audit.follow(shop.acme, every_s=0.001, for_s=60)
    for number in range(2, 8):
        t.check(tenant="acme", permission="doc:write", ip=f"192.0.2.{number}")
        if number % 3 == 0:
            t.audit.append("login", tenant=shop.acme, context={"ip": f"192.0.2.{number}"})
    seen = [next(following) for _ in range(8)]
    assert sorted((e.type, e.context["ip"]) for e in seen) == sorted(
        [("permission_denied", f"192.0.2.{n}") for n in range(2, 8)]
        + [("login", "192.0.2.3"), ("login", "192.0.2.6")]
    )


def test_pages_of_refusals_and_changes_are_in_one_order(shop: Shop) -> None:
    t = shop.t
    for number in range(30):
        shop.advance(1)
        if number % 3:
            t.check(tenant="acme", permission="doc:write")
        else:
            t.audit.append("login", tenant=shop.acme)
    found: list[AuditEvent] = []
    cursor = None
    while True:
        page = t.audit.search(shop.acme, limit=7, cursor=cursor)
        found += page
        cursor = page.cursor
        if cursor is None:
            break
    assert len({event.id for event in found}) == len(found)
    assert [e.time for e in found] == sorted((e.time for e in found), reverse=True)
    assert sum(e.type == "permission_denied" for e in found) == 20


def test_a_report_of_verify_covers_refusals(shop: Shop) -> None:
    for _ in range(50):
        shop.t.check(tenant="acme", permission="doc:write")
    note = shop.t.audit.checkpoint()
    report = shop.t.audit.verify(anchors=[note])
    assert (report.status, report.projection) == (0, "same")
    event = shop.t.audit.search(shop.acme, type="permission_denied")[0]
    assert shop.t.audit.prove(shop.acme, event.id)["event"]["fields"]["action"] == "doc:write"


# ------------------------------------------------------------------------- what is not in them


def test_no_secret_is_ever_in_a_fact(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, "{anonymous: always, key_use: always}")
    t = shop.t
    session = t.sessions.create(shop.acme, principal="ann", platform="web")
    secrets = [shop.secret, shop.other_secret, shop.user_secret, session.id]
    foreign = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2VjcmV0LXNpZ25hdHVyZQ"
    for secret in (*secrets, foreign, shop.secret[:-1] + "x"):
        for name in ("api_key", "session"):
            for more in ({}, {"permission": "no:way"}, {"hints": ["globex"]}):
                t.check(**{name: secret, "ip": "192.0.2.1", **more})
    for secret in secrets:  # where a name should be
        assert not t.check(hints=[secret])
        assert not t.check(tenant=secret, principal=secret)
        t.check(api_key=shop.secret, principal=secret, permission="no:way", request_id=secret)
    text = json.dumps([event.as_dict() for event in everything(t)], default=str)
    assert "credential_refused" in text
    assert "key_used" in text
    for secret in (*secrets, foreign, shop.secret[:-1] + "x"):
        assert secret not in text
        assert secret[12:] not in text
    shop.t.close()


# ------------------------------------------------------------------------- what cannot be decided


def test_a_refusal_for_stale_definitions_is_a_fact_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = False
    on_stale = Host.on_stale
    monkeypatch.setattr(Host, "on_stale", lambda host: False if stale else on_stale(host))
    shop = open_shop(tmp_path)
    t = shop.t
    first = t.admit(api_key=shop.secret, ip="192.0.2.1")
    assert first
    with Tenancy.open(shop.data, clock=shop.clock) as other:
        other.tenants.create("Another")
    stale = True
    whole = t.check(api_key=shop.secret, permission="doc:read", ip="192.0.2.2")
    t.authorize(first, permission="doc:read")
    stale = False
    assert [whole.code, first.code] == ["STATE_UNAVAILABLE"] * 2
    # The first was not looked at: nobody knows whose it was. The second was admitted before.
    second, unknown = sorted(
        everything(t, type="state_unavailable"), key=lambda event: event.tenant is None
    )
    assert (unknown.tenant, unknown.principal) == (None, "anonymous")
    assert (unknown.context["ip"], unknown.action) == ("192.0.2.2", "doc:read")
    assert (second.tenant, second.principal) == (shop.acme.id, shop.key.id)
    assert second.context["detail"] == "definitions"
    assert t.stats()["decided"]["STATE_UNAVAILABLE"] == 2
    t.close()


# ------------------------------------------------------------------------- a log without room

LEADING = """
    import os, signal, sys
    from tenancy import Tenancy
    t = Tenancy.open(sys.argv[1], background=False)
    assert t._host.facts.log.core.health()["flusher_alive"]
    print("leads", flush=True)
    sys.stdin.readline()
"""


class Stopped:
    """A shop whose log is written by another process, which is stopped in the middle of it."""

    def __init__(self, directory: Path, audit: str) -> None:
        text = f"{CATALOG.replace('1000/minute', '10000000/minute')}\naudit: {audit}\n"
        Shop(directory, text=text, system_clock=True, background=False).t.close()
        self.leader = start_python(LEADING, directory / "data")
        assert self.leader.stdout is not None
        assert self.leader.stdout.readline() == "leads\n"
        self.t = Tenancy.open(directory / "data", background=False)
        self.leader.send_signal(signal.SIGSTOP)

    def fill(self) -> int:
        """Refusals that were recorded before the ring was full."""
        for number in itertools.count():
            if self.t.stats()["facts"]["lost"]:
                return number - 1
            code = self.t.check(tenant="acme", permission="doc:write").code
            assert code in ("PERMISSION_DENIED", "STATE_UNAVAILABLE")
            assert number < 1_000_000
        raise AssertionError

    def goes_on(self) -> None:
        self.leader.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.goes_on()
        self.leader.communicate("\n", timeout=60)
        self.t.close()


@pytest.fixture
def stopped(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stopped]:
    made = Stopped(tmp_path, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("stopped", ["{on_full: refuse}"], indirect=True)
def test_a_full_log_refuses_what_would_leave_no_fact(stopped: Stopped) -> None:
    t = stopped.t
    recorded = stopped.fill()
    decision = t.check(tenant="acme", permission="doc:write")
    assert (decision.code, decision.status) == ("STATE_UNAVAILABLE", 503)
    assert decision.retry_after == 1.0
    assert t.check(tenant="acme", permission="agent:create", principal="ann").status == 503
    assert t.check(tenant="acme")  # what leaves no fact is decided
    counts = t.health().facts
    assert (counts.recorded, counts.lost) == (recorded, 3)
    assert "3 facts of decisions found no room" in t.health().problems[0]
    assert t.stats()["decided"]["STATE_UNAVAILABLE"] == 3
    # A search says what is on the disk, rather than nothing.
    assert isinstance(t.audit.search("acme").items, tuple)
    stopped.goes_on()
    assert t.check(tenant="acme", permission="doc:write", ip="192.0.2.9").status in (403, 503)
    t._host.facts.settle()
    assert t.check(tenant="acme", permission="doc:write", ip="192.0.2.10").status == 403
    assert t.audit.search("acme", ip="192.0.2.10")


@pytest.mark.parametrize("stopped", ["{on_full: count}"], indirect=True)
def test_a_full_log_may_be_only_counted(stopped: Stopped) -> None:
    t = stopped.t
    stopped.fill()
    for _ in range(5):
        assert t.check(tenant="acme", permission="doc:write").code == "PERMISSION_DENIED"
    assert t.stats()["facts"]["lost"] == 6
    assert not t.health()


@pytest.mark.parametrize("stopped", ["{key_use: always, on_full: refuse}"], indirect=True)
@pytest.mark.parametrize("reserve", [False, True], ids=["check", "web"])
def test_a_full_log_leaves_an_idempotency_key_free(stopped: Stopped, reserve: bool) -> None:
    t = stopped.t
    _, secret = t.keys.create("acme", scopes=["doc:*"])
    tries: dict[str, Any] = {"consume": {"tokens": 7}, "idempotency_key": "7f0c-1"}

    def attempt(status: int) -> Any:
        if not reserve:
            return t.check(api_key=secret, **tries)
        decision = t.admit(api_key=secret)
        if decision:
            t.authorize(decision, **tries)
        t.finish(decision, status)
        return decision

    stopped.fill()
    for _ in range(2):
        assert attempt(503).code == "STATE_UNAVAILABLE"
    status = t.quotas.status("acme", "tokens")
    assert (status.used, status.reserved) == (0, 0)
    stopped.goes_on()
    t._host.facts.settle()
    first, second = attempt(200), attempt(200)
    assert (first.code, second.code) == ("ALLOWED", "ALLOWED")
    assert (first.repeated, second.repeated) == (False, True)
    assert t.quotas.status("acme", "tokens").used == 7


def test_a_refusal_of_the_second_half_is_not_answered_without_its_fact(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    t = shop.t
    decision = t.admit(api_key=shop.user_secret)
    t.authorize(decision, consume={"tokens": 5})
    assert decision
    assert t.quotas.status("acme", "tokens").reserved == 5
    t._host.facts.log.core.close()
    t.authorize(decision, permission="doc:write")
    assert decision.code == "STATE_UNAVAILABLE"
    t.finish(decision, 503)
    assert t.quotas.status("acme", "tokens").reserved == 0
    t.close()


# ------------------------------------------------------------------------- over forks and closing


def test_facts_go_on_in_forked_children_and_in_their_parent(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, system_clock=True, background=False)
    t = shop.t
    t.check(tenant="acme", permission="doc:write", ip="10.0.0.0")
    children = []
    for number in range(1, 4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for place in range(25):
                    t.check(tenant="acme", permission="doc:write", ip=f"10.0.{number}.{place}")
                mine = t.audit.search("acme", ip=f"10.0.{number}.24")
                status = 0 if len(mine) == 1 else 2
            finally:
                os._exit(status)  # no close, no flush: the ring is the host's
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    t.check(tenant="acme", permission="doc:write", ip="10.0.0.1")
    found = t.audit.search("acme", type="permission_denied", limit=1000)
    expected = {"10.0.0.0", "10.0.0.1"} | {f"10.0.{n}.{p}" for n in range(1, 4) for p in range(25)}
    assert len(found) == len(expected)
    assert {event.context["ip"] for event in found} == expected
    t.close()


def test_closing_writes_what_decisions_left(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, system_clock=True, background=False)
    for number in range(10):
        shop.t.check(tenant="acme", permission="doc:write", ip=f"10.0.0.{number}")
    engine: _core.Engine = shop.t.engine
    shop.t.close()
    rows = [row for row in all_rows(shop.data)["security"] if row.type == "permission_denied"]
    assert [row.ip for row in rows] == [f"10.0.0.{n}" for n in range(10)]
    assert engine.stats()["facts"] == {"recorded": 10, "suppressed": 0, "lost": 0}


def test_a_long_backlog_is_projected_in_parts_and_searched_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "ROWS", 10)
    monkeypatch.setattr(facts, "ROWS", 10)
    with open_live(tmp_path) as t:
        acme = t.tenants.create("Acme", slug="acme")
        for number in range(35):
            t.check(tenant="acme", permission="no:way", ip=f"10.0.0.{number}")
        event = t.audit.append("data_read", tenant=acme)
    with open_live(tmp_path) as t:
        progress = t._host.facts.projection.progress()
        assert 0 < sum(progress.values()) <= 20
        assert t.audit.get(acme, event).type == "data_read"
        assert t.background.run_due()
        found = t.audit.search(acme, limit=1000)
        assert sum(e.type == "permission_denied" for e in found) == 35
        assert len({e.id for e in found}) == len(found)
        t._host.facts.settle()
        assert outbox_size(t) == 0
