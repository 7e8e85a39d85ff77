"""What decisions leave in the log: each refusal once, with who, what, why and which policy."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy import Decision, _core
from tenancy.catalog import Catalog
from web_support import CATALOG, Shop

TYPES = {
    "PERMISSION_DENIED": "permission_denied",
    "FEATURE_NOT_IN_PLAN": "permission_denied",
    "RATE_LIMIT_EXCEEDED": "limit_exceeded",
    "QUOTA_EXCEEDED": "quota_exceeded",
    "CONCURRENCY_EXCEEDED": "quota_exceeded",
    "INVALID_CREDENTIAL": "credential_refused",
    "EXPIRED_CREDENTIAL": "credential_refused",
    "MISSING_TENANT": "tenant_refused",
    "INVALID_TENANT": "tenant_refused",
    "SUSPENDED_TENANT": "tenant_refused",
    "TENANT_CONFLICT": "cross_tenant",
}


class Audited:
    """A shop whose decisions go into a log of their own."""

    def __init__(self, directory: Path, audit: str) -> None:
        self.shop = Shop(directory, text=f"{CATALOG}\naudit: {audit}\n")
        self.t = self.shop.t
        self.log = _core.Log(
            str(directory), background=False, segment_bytes=1 << 20, ring_bytes=1 << 20
        )
        self.engine.set_log(self.log)
        self.read = {"security": 0, "other": 0}

    @property
    def engine(self) -> _core.Engine:
        return self.t._host.engine

    def facts(self, chain: str = "security") -> list[dict[str, Any]]:
        """Those since the last call."""
        self.log.flush()
        reader = _core.LogReader(self.log.log_directory)
        rows = reader.rows(chain, self.read[chain], 1 << 20)
        self.read[chain] += len(rows)
        named = [dict(zip(reader.columns, row, strict=True)) for row in rows]
        facts = [row for row in named if row["kind"] == 0]
        for fact in facts:
            fact["rest"] = json.loads(fact["rest"] or "{}")
        return facts

    def close(self) -> None:
        self.engine.set_log(None)
        self.t.close()
        self.log.close()


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    made = Audited(tmp_path, "{anonymous: always}")
    yield made
    made.close()


def refused(audited: Audited, reason: str, **request: Any) -> tuple[Decision, dict[str, Any]]:
    """A request that is refused for that reason, and the one fact it left."""
    audited.facts()
    decision = audited.t.check(**request)
    assert decision.code == reason
    (fact,) = audited.facts()
    assert fact["type"] == TYPES[reason]
    assert fact["reason"] == reason
    assert fact["result"] == "denied"
    assert fact["policy_revision"] == decision.revision
    assert uuid.UUID(fact["event_id"]).version == 7
    return decision, fact


def test_a_refused_permission(audited: Audited) -> None:
    shop = audited.shop
    _, fact = refused(
        audited,
        "PERMISSION_DENIED",
        api_key=shop.user_secret,
        permission="doc:write",
        resource="doc/9",
        ip="203.0.113.9",
    )
    assert fact["tenant"] == shop.acme.id
    assert (fact["principal"], fact["key_id"]) == ("ann", shop.user_key.id)
    assert (fact["action"], fact["resource"], fact["resource_id"]) == ("doc:write", "doc", "9")
    assert fact["ip"] == "203.0.113.9"
    assert fact["rest"] == {"detail": "doc:write"}
    assert shop.user_secret not in str(fact)


def test_a_refused_quota_and_a_refused_lease(audited: Audited) -> None:
    shop = audited.shop
    _, fact = refused(audited, "QUOTA_EXCEEDED", api_key=shop.other_secret, consume={"projects": 4})
    assert (fact["tenant"], fact["rest"]) == (shop.globex.id, {"detail": "projects"})
    _, fact = refused(
        audited, "CONCURRENCY_EXCEEDED", api_key=shop.other_secret, consume={"agents": 2}
    )
    assert fact["rest"] == {"detail": "agents"}


def test_a_refused_rate(audited: Audited) -> None:
    secret = audited.shop.other_secret
    while audited.t.check(api_key=secret, action="spawns"):
        pass
    _, fact = refused(audited, "RATE_LIMIT_EXCEEDED", api_key=secret, action="spawns")
    assert (fact["action"], fact["rest"]["detail"]) == ("spawns", "spawns")


def test_refused_credentials_name_the_public_part_of_a_key_alone(audited: Audited) -> None:
    shop = audited.shop
    key, secret = shop.t.keys.create(shop.acme, scopes=["doc:*"])
    shop.t.keys.revoke(key, by="system")
    _, fact = refused(audited, "INVALID_CREDENTIAL", api_key=secret, ip="2001:db8::1")
    assert (fact["tenant"], fact["key_id"]) == (None, key.id)
    assert fact["ip"] == "2001:db8:0:0::/64"
    assert secret not in str(fact)
    assert secret[11:] not in str(fact)


def test_refused_tenants(audited: Audited) -> None:
    shop = audited.shop
    _, fact = refused(audited, "INVALID_TENANT", tenant="nobody")
    assert (fact["tenant"], fact["rest"]) == (None, {"named_tenant": "nobody"})
    refused(audited, "MISSING_TENANT")
    shop.t.tenants.suspend(shop.globex, reason="late", by="system")
    _, fact = refused(audited, "SUSPENDED_TENANT", api_key=shop.other_secret)
    assert fact["tenant"] == shop.globex.id


def test_a_crossing_is_a_fact_of_the_tenant_whose_key_was_used(audited: Audited) -> None:
    shop = audited.shop
    _, fact = refused(audited, "TENANT_CONFLICT", api_key=shop.secret, tenant="globex")
    assert (fact["tenant"], fact["key_id"]) == (shop.acme.id, shop.key.id)
    assert fact["rest"] == {"named_tenant": "globex"}


def test_both_halves_of_a_web_request(audited: Audited) -> None:
    shop = audited.shop
    decision = shop.t.admit(api_key=shop.user_secret)
    assert decision
    assert audited.facts() == []
    shop.t.authorize(decision, permission="doc:write", endpoint="/docs")
    (fact,) = audited.facts()
    assert (fact["type"], fact["rest"]["endpoint"]) == ("permission_denied", "/docs")
    shop.t.finish(decision, 403)
    assert audited.facts() == []


def test_a_threshold_is_written_by_whoever_acknowledges_it_and_not_twice(audited: Audited) -> None:
    shop = audited.shop
    assert shop.t.check(api_key=shop.other_secret, consume={"tokens": 90})
    assert shop.t.check(api_key=shop.other_secret, consume={"tokens": 1})
    assert audited.facts("other") == []
    (fact,) = shop.t.audit.search(shop.globex, type="quota_threshold")
    assert (fact.resource, fact.resource_id) == ("quota", "tokens")
    assert fact.context == {"limit": 100, "percent": 80, "used": 90}


def test_a_policy_holds_from_the_next_decision(audited: Audited) -> None:
    shop = audited.shop

    def deny() -> None:
        assert not shop.t.check(api_key=shop.user_secret, permission="doc:write")

    deny()
    assert len(audited.facts()) == 1
    text = f"{CATALOG}\naudit: {{refusals: never, key_use: always}}\n"
    shop.t._host.set_catalog(Catalog.from_text(text), by="system")
    deny()
    (fact,) = audited.facts()
    assert (fact["type"], fact["result"]) == ("key_used", "denied")
    assert shop.t.check(api_key=shop.secret)
    (fact,) = audited.facts()
    assert (fact["type"], fact["result"], fact["reason"]) == ("key_used", "success", "ALLOWED")


def test_strangers_cannot_fill_the_disk(tmp_path: Path) -> None:
    audited = Audited(tmp_path, "{}")
    for _ in range(200):
        assert not audited.t.check(api_key="tk_guess", tenant="acme")
    counts = audited.engine.stats()["facts"]
    assert counts == {"recorded": 10, "suppressed": 190, "lost": 0}
    assert len(audited.facts()) == 10
    audited.shop.advance(1)
    assert not audited.t.check(tenant="nobody")
    assert len(audited.facts()) == 1
    audited.close()


@pytest.mark.parametrize("on_full", ["refuse", "count"])
def test_a_log_without_room_refuses_or_counts_as_the_policy_says(
    tmp_path: Path, on_full: str
) -> None:
    audited = Audited(tmp_path, f"{{key_use: always, on_full: {on_full}}}")
    shop = audited.shop
    audited.log.close()
    decision = shop.t.check(api_key=shop.secret, consume={"projects": 1})
    assert decision.code == ("STATE_UNAVAILABLE" if on_full == "refuse" else "ALLOWED")
    used = shop.t.quotas.status(shop.acme, "projects").used
    assert used == (0 if on_full == "refuse" else 1)
    assert audited.engine.stats()["facts"]["lost"] == 1
    audited.close()


REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(["secret", "other_secret", "user_secret", "wrong"]),
        "tenant": st.sampled_from(["acme", "globex", "nobody"]),
        "permission": st.sampled_from(["doc:read", "doc:write", "agent:create"]),
        "action": st.sampled_from(["api_requests", "spawns"]),
        "consume": st.dictionaries(
            st.sampled_from(["projects", "tokens", "agents"]), st.integers(1, 60), max_size=2
        ),
        "ip": st.sampled_from(["203.0.113.1", "2001:db8:1:2::3"]),
        "halves": st.booleans(),
        "pause": st.integers(1, 30),
    },
)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    made = Audited(tmp_path_factory.mktemp("facts"), "{anonymous: always}")
    yield made
    made.close()


@settings(max_examples=60)
@given(history=st.lists(REQUESTS, min_size=5, max_size=60))
def test_as_many_facts_as_refusals_over_generated_histories(
    lasting: Audited, history: list[dict[str, Any]]
) -> None:
    """Each example goes on with the counters that the one before left."""
    audited, shop = lasting, lasting.shop
    audited.facts()
    expected: Counter[tuple[Any, ...]] = Counter()
    for step in history:
        request = dict(step)
        shop.advance(request.pop("pause", 0))
        key = request.pop("key", None)
        if key is not None:
            request["api_key"] = getattr(shop, key, "tk_wrong")
        if request.pop("halves", False):
            first = {n: request[n] for n in ("api_key", "tenant", "ip") if n in request}
            decision = shop.t.admit(**first)
            if decision:
                names = ("permission", "action", "consume")
                shop.t.authorize(decision, **{n: request[n] for n in names if n in request})
            shop.t.finish(decision, 200)
        else:
            decision = shop.t.check(**request)
        if not decision:
            who = decision.principal or decision.key or "anonymous"
            expected[(decision.code, decision.tenant, who, decision.revision)] += 1
    found = Counter(
        (
            fact["reason"],
            fact["tenant"] if fact["type"] != "cross_tenant" else None,
            fact["principal"],
            fact["policy_revision"],
        )
        for fact in audited.facts()
    )
    assert found == Counter(
        {
            (c, t if c != "TENANT_CONFLICT" else None, p, r): n
            for (c, t, p, r), n in expected.items()
        }
    )
    assert audited.engine.stats()["facts"]["lost"] == 0
