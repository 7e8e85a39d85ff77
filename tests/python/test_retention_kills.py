"""Retention that is killed: what was deleted has its certificate and its fact, each once."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from retention_support import days, opened, small_log, whole, write
from store_support import make_clock, start_python
from tenancy import Tenancy, _core
from tenancy.errors import StoreDamaged

VICTIM = """
    import os, signal, sys
    from tenancy import Tenancy, _core
    from tenancy.stores import retention
    from tenancy.stores.audit_log import AuditLog
    from tenancy.stores.purge_pending import Pending

    real = _core.Log
    _core.Log = lambda path, **options: real(path, segment_bytes=1 << 16, **options)

    def die(*_args, **_options):
        os.kill(os.getpid(), signal.SIGKILL)

    def before(owner, name):
        setattr(owner, name, die)

    def after(owner, name, turn=1):
        function, left = getattr(owner, name), [turn]
        def then_die(*args, **options):
            done = function(*args, **options)
            left[0] -= 1
            if left[0] == 0:
                die()
            return done
        setattr(owner, name, then_die)

    retention._BATCH = 2
    exec(sys.argv[3])
    t = Tenancy.open(sys.argv[1], clock=_core.FakeClock(int(sys.argv[2])), background=False)
    t.audit.retain(by="operator:ada")
"""

PLACES = {
    "before anything is announced": "before(Pending, 'announce')",
    "before it deletes": "before(AuditLog, 'prune')",
    "after it deleted": "after(AuditLog, 'prune')",
    "in the second batch": "after(AuditLog, 'prune', 2)",
    "before the certificate is named": "before(Pending, 'certify')",
    "before the certificate is written": "after(Pending, 'certify')",
    "after the certificate was written": "after(retention, 'write_whole')",
    "after the fact was written": "before(Pending, 'forget')",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_core, "Log", small_log)
    return tmp_path


def filled(place: Path, clock: Any) -> list[str]:
    """Six segments of the class `access` whose time is over, and some events that are kept."""
    with opened(place, clock) as t:
        write(t, 19)
        days(clock, 31)
        return write(t, 2)


def certificates(t: Tenancy) -> dict[str, dict[str, Any]]:
    """Those that a fact of the log anchors, by the fact's id; every file is one of them."""
    found = {}
    facts = t._host.facts.every({"type": "retention_policy_applied"})
    for fact in facts:
        text = (t.path / fact.context["certificate"]).read_bytes()
        assert hashlib.sha256(text).hexdigest() == fact.context["certificate_sha256"]
        found[fact.id] = {**json.loads(text), "fact": fact}
    names = {Path(one["fact"].context["certificate"]).name for one in found.values()}
    assert {path.name for path in (t.path / "purges").iterdir()} == names
    return found


def stubs(t: Tenancy) -> dict[int, str]:
    found = _core.log_segments(str(t.path / "log"), "access")
    return {first: stub.hex() for first, _, pruned, _, stub in found if pruned and stub}


@pytest.mark.parametrize("where", PLACES)
def test_a_run_that_was_killed_is_made_up_for_by_the_next(place: Path, where: str) -> None:
    clock = make_clock()
    kept = filled(place, clock)
    victim = start_python(VICTIM, place / "data", clock.wall_ns(), PLACES[where])
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    with opened(place, clock) as t:
        gone_then = set(stubs(t))
        made = t.audit.retain(by="operator:eve")
        every = certificates(t)
        told = {
            segment["first"]: segment["stub_sha256"]
            for one in every.values()
            for segment in one["chains"]["access"]["purged"]
        }
        assert told == stubs(t)
        assert len(told) == sum(len(one["chains"]["access"]["purged"]) for one in every.values())
        made_up = [one for one in every.values() if one["made_up"]]
        if where == "after the fact was written":
            assert not made_up
            assert len(every) == 1
        elif gone_then:
            (one,) = made_up
            assert {s["first"] for s in one["chains"]["access"]["purged"]} == gone_then
            assert one["fact"].principal == "operator:ada"
            assert one["fact"].context["made_up"]
            assert one["fact"].context["purged"] > 0
        else:
            assert not made_up
            assert made.purged
        found = {event.id for event in t.audit.search("acme", limit=1000)}
        assert found >= set(kept)
        whole(t)
        # And nothing is told again.
        t.audit.retain()
        assert certificates(t).keys() == every.keys()


def test_the_next_run_may_be_killed_as_well(place: Path) -> None:
    clock = make_clock()
    filled(place, clock)
    for kill in (
        "after(AuditLog, 'prune')",
        *list(PLACES.values())[4:7],
        "before(Pending, 'forget')",
    ):
        victim = start_python(VICTIM, place / "data", clock.wall_ns(), kill)
        victim.communicate()
        assert victim.returncode == -signal.SIGKILL, kill
    with opened(place, clock) as t:
        t.audit.retain()
        every = certificates(t)
        told = [s["first"] for one in every.values() for s in one["chains"]["access"]["purged"]]
        assert sorted(told) == sorted(stubs(t))
        whole(t)


def test_an_announcement_that_cannot_be_read_is_named(place: Path) -> None:
    clock = make_clock()
    filled(place, clock)
    with opened(place, clock) as t:
        (t.path / "purges").mkdir()
        (t.path / "purges" / "pending.json").write_text("{")
        with pytest.raises(StoreDamaged, match=r"pending\.json.*move it away"):
            t.audit.retain()
        assert not stubs(t)
