"""No tenant's operations ever change another's answers.

Histories over several tenants are run twice on fresh data: together, and for one tenant alone. Its
answers have to be the same to the last field.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from store_support import open_shop
from tenancy import Tenancy
from tenancy.errors import TenancyError
from tenancy.testing import FakeClock

TENANTS = ("a", "b", "c")
PERMISSIONS = ("ticket:read", "ticket:write", "report:read", "payment:create")

operations = st.one_of(
    st.tuples(st.just("check"), st.sampled_from(PERMISSIONS), st.integers(0, 40)),
    st.tuples(st.just("consume"), st.sampled_from(["projects", "tokens"]), st.integers(0, 60)),
    st.tuples(st.just("assign"), st.sampled_from(["agent", "lead", "payer"]), st.just(0)),
    st.tuples(st.just("revoke"), st.sampled_from(["agent", "lead", "payer"]), st.just(0)),
    st.tuples(st.just("plan"), st.sampled_from(["free", "pro"]), st.just(0)),
    st.tuples(st.just("suspend"), st.just(""), st.just(0)),
    st.tuples(st.just("resume"), st.just(""), st.just(0)),
    st.tuples(st.just("role"), st.sampled_from(["extra", "other"]), st.just(0)),
    st.tuples(st.just("own"), st.sampled_from(["1", "2"]), st.just(0)),
)
histories = st.lists(
    st.tuples(st.sampled_from(TENANTS), operations, st.integers(0, 20)), max_size=40
)


def run(t: Tenancy, tenant: str, operation: tuple[str, str, int]) -> Any:
    """One operation of one tenant, and everything it tells, without ids and revisions."""
    kind, name, amount = operation
    try:
        if kind == "check":
            d = t.check(tenant=tenant, principal="ann", permission=name, cost=amount)
            left = [(limit.name, limit.remaining, limit.allowed) for limit in d.limits]
            return (d.code, d.detail, d.plan, d.retry_after, left)
        if kind == "consume":
            d = t.check(tenant=tenant, cost=0, consume={name: amount})
            return (d.code, [(q["used"], q["limit"]) for q in d.quotas])
        if kind == "assign":
            t.roles.assign(tenant, "ann", name)
        elif kind == "revoke":
            t.roles.revoke(tenant, "ann", name)
        elif kind == "plan":
            t.tenants.change_plan(tenant, name)
        elif kind == "suspend":
            t.tenants.suspend(tenant, reason="test")
        elif kind == "resume":
            t.tenants.resume(tenant)
        elif kind == "role":
            t.roles.define(name, permissions=["payment:create"], tenant=tenant)
            t.roles.assign(tenant, "ann", name)
        elif kind == "own":
            t.resources.register(tenant, "doc", name, creator="ann")
        return t.access.permissions(tenant, "ann"), t.access.validate_access(tenant, "doc", "1")
    except TenancyError as error:
        return type(error).__name__, error.code


def replay(history: list[tuple[str, tuple[str, str, int], int]], only: str | None) -> list[Any]:
    """The answers of each tenant in `history`, or of one tenant alone while time passes alike."""
    answers = []
    with tempfile.TemporaryDirectory() as directory:
        clock = FakeClock()
        with open_shop(Path(directory), clock=clock) as t:
            for slug in TENANTS if only is None else (only,):
                t.tenants.create(name=slug, slug=slug, plan="free")
            for tenant, operation, seconds in history:
                clock.advance(seconds)
                if only is None or tenant == only:
                    answers.append((tenant, run(t, tenant, operation)))
    return answers


@settings(max_examples=25)
@given(history=histories)
def test_a_tenant_alone_gets_the_answers_it_gets_among_others(
    history: list[tuple[str, tuple[str, str, int], int]],
) -> None:
    together = replay(history, None)
    for tenant in TENANTS:
        assert [answer for answer in together if answer[0] == tenant] == replay(history, tenant)
