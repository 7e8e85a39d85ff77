"""The end of records: retention, legal holds, certificates."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retention_support import days, opened, small_log, whole, write
from store_support import START, make_clock, start_python
from tenancy import Tenancy, _core
from tenancy.audit import check_export, check_receipt, read_archive
from tenancy.errors import (
    Conflict,
    InvalidValue,
    NotFound,
    ProofInvalid,
    StoreBusy,
    UnknownTenant,
)
from tenancy.stores.election import Election
from tenancy.stores.retention import _public


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_core, "Log", small_log)
    return tmp_path


@pytest.fixture
def t(place: Path, clock: _core.FakeClock) -> Iterator[Tenancy]:
    with opened(place, clock) as tenancy:
        yield tenancy


def reasons(made: Any, chain: str = "access") -> list[str]:
    return [kept.reason for kept in made.chains[chain].kept]


# ------------------------------------------------------------------------------------ retention


def test_records_end_when_their_time_is_over(t: Tenancy, clock: _core.FakeClock) -> None:
    old = write(t, 14)
    note = t.audit.checkpoint()
    days(clock, 31)
    new = write(t, 5)

    would = t.audit.retain(dry_run=True)
    assert would.dry_run
    assert would.event is None
    assert would.purged > 0, would.chains
    assert t.audit.get("acme", old[0]).type == "data_read"

    made = t.audit.retain(by="operator:ada")
    assert made
    assert made.purged == would.purged
    access = made.chains["access"]
    assert (access.days, access.kept_from) == (30, access.purged[-1].last + 1)
    assert access.purged[0].first == 0
    assert [one.first for one in access.purged[1:]] == [one.last + 1 for one in access.purged[:-1]]
    assert reasons(made) == ["not_expired", "behind"] or reasons(made) == ["active"]
    for one in access.purged:
        stub = t.path / "log" / "segments" / f"access-{one.first:020}.stub"
        assert hashlib.sha256(stub.read_bytes()).hexdigest() == one.stub_sha256
    assert len(made.not_known) == 4

    with pytest.raises(NotFound):
        t.audit.get("acme", old[0])
    assert t.audit.get("acme", new[-1]).type == "data_read"
    found = {event.id for event in t.audit.search("acme", type="data_read", limit=100)}
    assert set(new) <= found
    assert len(found) == 19 - sum(one.events for one in access.purged)
    whole(t, note)
    t.audit.rebuild()
    whole(t, t.audit.checkpoint())
    again = t.audit.retain()
    assert (again.purged, again.event, bool(again)) == (0, None, True)


def test_the_certificate_is_anchored_by_a_fact(t: Tenancy, clock: _core.FakeClock) -> None:
    write(t, 10)
    days(clock, 31)
    made = t.audit.retain(by="operator:ada")
    assert made.event is not None
    facts = t.operator(by="operator:ada", reason="test").audit(type="retention_policy_applied")
    [fact] = facts
    assert (fact.id, fact.principal, fact.result) == (made.event, "operator:ada", "success")
    assert fact.context["certificate_sha256"] == made.sha256
    text = (t.path / fact.context["certificate"]).read_text()
    assert text == made.to_json()
    assert hashlib.sha256(text.encode()).hexdigest() == made.sha256
    body = json.loads(text)
    assert (body["format"], body["version"]) == ("tenancy-purge-certificate", 1)
    assert body["chains"]["access"]["purged"][0]["first"] == 0
    [record] = made.chains["access"].log_records
    reader = _core.LogReader(str(t.path / "log"))
    assert reader.rows("access", record, 1)[0][1] == 8


def test_without_a_word_about_an_archive_nothing_ends(place: Path, clock: _core.FakeClock) -> None:
    with opened(place, clock, archive=None) as t:
        write(t, 10)
        days(clock, 3000)
        made = t.audit.retain()
        assert (made.purged, bool(made), made.archive) == (0, True, None)
        assert reasons(made)[0] == "no_archive"
        assert "archive: none" in made.chains["access"].kept[0].text
        t.background.run_due()
        days(clock, 1)
        t.background.run_due()
        [problem] = {j.name: j for j in t.background.health().jobs}["retention"].problems
        assert problem.startswith("access: the catalog does not say")


def test_credentials_of_the_archive_are_in_no_certificate() -> None:
    assert _public("s3://key:secret@bucket/audit") == "s3://bucket/audit"
    assert [_public(url) for url in ("none", "/mnt/a@b", "s3://bucket")] == [
        "none",
        "/mnt/a@b",
        "s3://bucket",
    ]


def test_records_are_archived_first(place: Path, clock: _core.FakeClock) -> None:
    archive = place / "archive"
    with opened(place, clock, archive=str(archive)) as t:
        old = write(t, 10)
        days(clock, 31)
        made = t.audit.retain()
        assert made.purged > 0
        assert all(one.archived for one in made.chains["access"].purged)
        gone = [e for e in old if e not in {x.id for x in t.audit.search("acme", limit=100)}]
        assert gone
        assert set(gone) <= {event.id for event in read_archive(str(archive))}
        whole(t)


def test_when_the_archive_fails_nothing_ends(place: Path, clock: _core.FakeClock) -> None:
    (place / "file").write_text("no directory")
    with opened(place, clock, archive=str(place / "file" / "archive")) as t:
        old = write(t, 10)
        days(clock, 31)
        made = t.audit.retain()
        assert not made
        assert made.purged == 0
        assert reasons(made) == ["archive_failed", "behind"]
        assert made.event is not None
        assert t.audit.get("acme", old[0])
        facts = t.operator(by="x", reason="test").audit(type="retention_policy_applied")
        assert [fact.result for fact in facts] == ["failure"]
        whole(t)


def test_a_damaged_segment_is_kept(t: Tenancy, clock: _core.FakeClock) -> None:
    write(t, 10)
    days(clock, 31)
    path = t.path / "log" / "segments" / f"access-{0:020}.seg"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    made = t.audit.retain()
    assert not made
    assert made.purged == 0
    assert reasons(made)[0] == "failed"
    assert path.exists()


def test_the_elected_worker_does_it_daily(t: Tenancy, clock: _core.FakeClock) -> None:
    write(t, 10)
    t.background.run_due()
    days(clock, 31)
    t.background.run_due()
    assert t._host.facts.log.kept_from()["access"] > 0
    whole(t)


def test_one_run_at_a_time(t: Tenancy, clock: _core.FakeClock) -> None:
    write(t, 10)
    days(clock, 31)
    seat = Election(t.path / "retention")
    assert seat.win()
    with pytest.raises(StoreBusy, match="already"):
        t.audit.retain()
    t.background.run_due()
    days(clock, 1)
    t.background.run_due()
    assert t.health().background.ok
    seat.resign()
    assert t.audit.retain().purged > 0


def test_every_call_has_a_twin(t: Tenancy) -> None:
    async def run() -> None:
        hold = await t.audit.holds.aplace(reason="case 7")
        assert await t.audit.holds.alist() == (hold,)
        await t.audit.holds.arelease(hold)
        assert (await t.audit.aretain(dry_run=True)).purged == 0

    asyncio.run(run())


# ---------------------------------------------------------------------------------------- holds


def test_a_hold_on_a_tenant_keeps_its_segments_and_all_behind(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    write(t, 5)
    write(t, 4, "beta")
    write(t, 10)
    days(clock, 31)
    write(t, 5)
    hold = t.audit.holds.place(tenant="beta", reason="case 7", by="counsel")
    beta = t.tenants.get("beta").id
    assert (hold.tenant, hold.placed_by, hold.stands) == (beta, "counsel", True)
    made = t.audit.retain()
    assert made.purged > 0
    held, behind = made.chains["access"].kept
    assert (held.reason, held.holds, held.tenants) == ("held", (hold.id,), (beta,))
    assert (behind.reason, behind.first) == ("behind", (held.last or 0) + 1)
    assert len(t.audit.search("beta", type="data_read", limit=100)) == 4
    whole(t)

    released = t.audit.holds.release(hold, by="counsel")
    assert not released.stands
    assert t.audit.holds.list() == ()
    assert t.audit.holds.list("beta", released=True) == (released,)
    assert t.audit.retain().purged > 0
    assert len(t.audit.search("beta", type="data_read", limit=100)) == 0
    whole(t)


def test_a_hold_without_a_tenant_keeps_everything(t: Tenancy, clock: _core.FakeClock) -> None:
    write(t, 10)
    days(clock, 4000)
    hold = t.audit.holds.place(reason="case 8")
    made = t.audit.retain()
    assert made.purged == 0
    assert made.chains["access"].kept[0].holds == (hold.id,)
    t.audit.holds.release(hold.id)
    assert t.audit.retain().purged > 0


def test_a_tenant_that_must_not_be_purged_keeps_its_records(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    write(t, 10)
    days(clock, 31)
    t.tenants.legal_hold("acme")
    made = t.audit.retain()
    assert made.purged == 0
    assert made.chains["access"].kept[0].holds == ("tenants.legal_hold",)


def test_holds_are_facts_and_their_errors_name_them(t: Tenancy) -> None:
    hold = t.audit.holds.place(tenant="acme", reason="case 9", by="counsel")
    t.audit.holds.release(hold.id, by="counsel")
    facts = [
        (fact.action, fact.principal, fact.resource_id, fact.context.get("reason"))
        for fact in t.audit.search("acme", type="config_changed")
    ]
    assert facts[:2] == [
        ("legal_hold_released", "counsel", hold.id, None),
        ("legal_hold_placed", "counsel", hold.id, "case 9"),
    ]
    with pytest.raises(Conflict, match="was released"):
        t.audit.holds.release(hold)
    with pytest.raises(NotFound, match="no hold"):
        t.audit.holds.release("hold_none")
    with pytest.raises(UnknownTenant):
        t.audit.holds.place(tenant="nobody", reason="case 10")
    with pytest.raises(InvalidValue, match="reason"):
        t.audit.holds.place(reason="")


def test_a_report_states_days_expiry_and_holds(t: Tenancy, clock: _core.FakeClock) -> None:
    end = START.replace(year=2027)
    made = t.audit.report("acme", "gdpr", START, end)
    assert {one["class"]: one["days"] for one in made.retention.classes} == {
        "security": 2555,
        "access": 30,
        "other": 20,
    }
    assert "deleted daily, without an archive" in made.retention.expiry
    assert not made.retention.legal_hold
    t.audit.holds.place(tenant="beta", reason="case 11")
    assert not t.audit.report("acme", "gdpr", START, end).retention.legal_hold
    t.audit.holds.place(reason="case 12")
    assert t.audit.report("acme", "gdpr", START, end).retention.legal_hold


# --------------------------------------------------------------------------------------- proofs


def test_receipts_and_exports_go_on_proving_what_is_kept(
    t: Tenancy, clock: _core.FakeClock
) -> None:
    rare = write(t, 1, "corp")
    write(t, 9)
    days(clock, 31)
    kept = write(t, 5)
    t.audit.checkpoint()
    key = t.audit.public_key
    before = t.audit.prove("acme", kept[-1])
    made = t.audit.retain()
    assert made.purged > 0
    assert t.audit.prove("acme", kept[-1])["proof"] == before["proof"]
    assert check_receipt(before, key)["fields"]["event_id"] == kept[-1]
    with pytest.raises(NotFound):
        t.audit.prove("corp", rare[0])

    lines = exported(t, "acme")
    proven = check_export(lines, key)
    gone = sum(one.events for one in made.chains["access"].purged) - 1  # one of them was corp's
    assert proven["pruned"] == {"access": gone}
    assert proven["events"]["access"] == 14 - gone
    # All that corp had was pruned; of beta there never was anything.
    assert check_export(exported(t, "corp"), key)["pruned"] == {"access": 1}
    assert check_export(exported(t, "beta"), key)["pruned"] == {"access": 0}
    assert check_export(exported(t, "beta"), key)["events"]["access"] == 0
    tampered_exports(lines, key)


def exported(t: Tenancy, tenant: str) -> list[str]:
    path = t.path.parent / f"{tenant}-{random.getrandbits(32)}.jsonl"
    t.audit.export(tenant, path)
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def tampered_exports(lines: list[str], key: str) -> None:
    begin = next(i for i, line in enumerate(lines) if '"pruned"' in line)
    body = json.loads(lines[begin])

    def refused(change: dict[str, Any] | None, *, drop: int | None = None) -> None:
        changed = list(lines)
        if change is None:
            del changed[begin]
        else:
            new = {**body, "pruned": {**body["pruned"], **change}}
            changed[begin] = json.dumps(new)
        if drop is not None:
            del changed[drop]
        with pytest.raises(ProofInvalid):
            check_export(changed, key)

    refused(None)
    refused({"tenant_sequence": body["pruned"]["tenant_sequence"] + 1})
    refused({"tenant_sequence": -1})
    refused({"tag": body["pruned"]["tag"][::-1]})
    refused({"proof": []})
    refused({"log_record": json.loads(lines[begin + 1])["record"]})
    refused({}, drop=begin + 1)


# ----------------------------------------------------------------------------------------- kill


VICTIM = """
    import sys
    from tenancy import Tenancy, _core
    real = _core.Log
    _core.Log = lambda path, **options: real(path, segment_bytes=1 << 16, **options)
    clock = _core.FakeClock(int(sys.argv[2]))
    t = Tenancy.open(sys.argv[1], clock=clock, background=False)
    print("open", flush=True)
    sys.stdin.readline()
    made = t.audit.retain()
    print(made.purged, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("turn", range(3))
def test_killed_in_the_middle_nothing_that_is_kept_is_lost(
    place: Path, clock: _core.FakeClock, turn: int
) -> None:
    with opened(place, clock) as t:
        write(t, 14)
        days(clock, 31)
        kept = write(t, 5)
        note = t.audit.checkpoint()
    victim = start_python(VICTIM, place / "data", clock.wall_ns())
    assert victim.stdin is not None
    assert victim.stdout is not None
    assert victim.stdout.readline() == "open\n"
    victim.stdin.write("go\n")
    victim.stdin.flush()
    time.sleep(turn * 0.02)  # wherever it is then: each place must do
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdin.close()
    victim.stdout.close()
    with opened(place, clock) as t:
        t.audit.retain()
        assert t._host.facts.log.kept_from()["access"] > 0
        found = {event.id for event in t.audit.search("acme", limit=1000)}
        assert set(kept) <= found
        whole(t, note)
