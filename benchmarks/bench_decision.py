"""A whole decision from Python: API key, tenant, six windows on two scopes, permission, quota.

Beside it the usual way to put the same together from installable parts: SHA-256 from hashlib and a
dict of keys, six `limits` windows (moving window, in memory: the kind that is exact like ours),
casbin for the permission and a counter for the quota. The peer keeps all state in one process; ours
is shared by all workers. A second table has the price of the fact that a decision leaves in the
log: a refusal, and the use of a key.

    python benchmarks/bench_decision.py [--tenants 1000]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

from common import each_ns, median_ns, percentile, print_table, version
from tenancy import Catalog, Tenancy

CATALOG = {
    "catalog": "bench",
    "version": "1",
    "format": 1,
    "default_plan": "pro",
    "default_action": "api_requests",
    "quotas": {"tokens": {"kind": "consumption", "period": "month"}},
    "limits": {
        "per_user": {
            "scope": "tenant*user",
            "windows": ["1000000/minute", "10000000/hour", "60000000/day"],
        }
    },
    "roles": {"agent": {"permissions": ["agent:create"]}},
    "plans": {
        "pro": {
            "quotas": {"tokens": 10**15},
            "rate_limits": {"api_requests": ["1000000/minute", "10000000/hour", "60000000/day"]},
        }
    },
}


def zipf_order(count: int, draws: int, seed: int = 1) -> list[int]:
    """Draws of Zipf(1.0) over ``count`` items, ranks shuffled: hot ones lie far apart."""
    rng = random.Random(seed)
    edges = list(accumulate(1 / (rank + 1) for rank in range(count)))
    places = list(range(count))
    rng.shuffle(places)
    return [places[bisect_left(edges, rng.random() * edges[-1])] for _ in range(draws)]


class Ours:
    """`Tenancy.check` on a real data directory."""

    def __init__(self, directory: str, tenants: int, audit: dict[str, str] | None = None) -> None:
        catalog = Catalog.from_dict({**CATALOG, "audit": audit or {}})
        self.tenancy = Tenancy.open(directory, catalog=catalog, background=audit is None)
        self.secrets = []
        for i in range(tenants):
            tenant = self.tenancy.tenants.create(name=f"Tenant {i}", slug=f"t{i}", plan="pro")
            self.tenancy.roles.assign(tenant, "u1", "agent")
            _, secret = self.tenancy.keys.create(tenant, principal="u1")
            self.secrets.append(secret)

    def hot(self) -> Callable[[], object]:
        """One tenant over and over, with nothing around the call."""
        check, secret = self.tenancy.check, self.secrets[0]
        return lambda: check(api_key=secret, permission="agent:create", consume={"tokens": 1})

    def refused(self) -> Callable[[], object]:
        """As `hot`, but the permission is missing."""
        check, secret = self.tenancy.check, self.secrets[0]
        return lambda: check(api_key=secret, permission="agent:delete", consume={"tokens": 1})

    def decide(self, i: int) -> bool:
        return self.tenancy.check(
            api_key=self.secrets[i], permission="agent:create", consume={"tokens": 1}
        ).allowed


class Assembled:
    """limits + casbin + hashlib."""

    def __init__(self, tenants: int) -> None:
        import casbin
        import limits

        self.storage = limits.storage.MemoryStorage()
        self.limiter = limits.strategies.MovingWindowRateLimiter(self.storage)
        texts = ["1000000/minute", "10000000/hour", "60000000/day"]
        self.windows = [limits.parse(text) for text in texts]
        model = casbin.Model()
        for section, key, value in [
            ("r", "r", "sub, dom, obj, act"),
            ("p", "p", "sub, dom, obj, act"),
            ("g", "g", "_, _, _"),
            ("e", "e", "some(where (p.eft == allow))"),
            ("m", "m", "g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act"),
        ]:
            model.add_def(section, key, value)
        self.enforcer = casbin.Enforcer(model)
        self.enforcer.add_policy("agent", "*", "agent", "create")
        self.keys: dict[str, tuple[str, str]] = {}
        self.secrets = []
        self.used: dict[str, int] = {}
        for i in range(tenants):
            secret = f"sk_{i:040d}"
            digest = hashlib.sha256(secret.encode()).hexdigest()
            self.keys[digest] = (f"t{i}", "u1")
            self.secrets.append(secret)
            self.enforcer.add_grouping_policy("u1", "agent", f"t{i}")

    def hot(self) -> Callable[[], object]:
        return lambda: self.decide(0)

    def decide(self, i: int) -> bool:
        digest = hashlib.sha256(self.secrets[i].encode()).hexdigest()
        tenant, user = self.keys[digest]
        for window in self.windows:
            if not self.limiter.hit(window, tenant):
                return False
            if not self.limiter.hit(window, tenant, user):
                return False
        if not self.enforcer.enforce(user, tenant, "agent", "create"):
            return False
        used = self.used.get(tenant, 0)
        if used + 1 > 10**15:
            return False
        self.used[tenant] = used + 1
        return True


def measure(side: Ours | Assembled, tenants: int, calls: int) -> tuple[float, list[int]]:
    hot = median_ns(side.hot(), calls=calls)
    order = zipf_order(tenants, calls * 5)
    for i in order[: calls // 2]:
        side.decide(i)
    return hot, each_ns(lambda n: side.decide(order[n]), len(order))


def facts() -> None:
    """What a fact costs its decision. Another worker moves it into the table that is searched."""
    rows = []
    for name, rule, call in (
        ("allowed", {"key_use": "never"}, Ours.hot),
        ("allowed, use of its key in the log", {"key_use": "always"}, Ours.hot),
        ("refused", {"refusals": "never"}, Ours.refused),
        ("refused, in the log", {"refusals": "always"}, Ours.refused),
    ):
        with tempfile.TemporaryDirectory() as directory:
            ours = Ours(directory, 1, rule)
            decide = call(ours)
            # Once around the log's ring: the kernel maps each of its pages when a process writes
            # it for the first time, which takes longer than a decision.
            for _ in range(30_000):
                decide()
            cost = median_ns(decide, calls=5_000)
            lost = ours.tenancy.stats()["facts"]["lost"]
            ours.tenancy.close()
        rows.append([name, f"{cost:,.0f}", f"{lost}"])
    print_table("Whole decision and its fact, one tenant", rows, ["", "hot ns", "facts lost"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    tenants = parser.parse_args().tenants
    with tempfile.TemporaryDirectory() as directory:
        ours = Ours(directory, tenants)
        ours_hot, ours_zipf = measure(ours, tenants, 20_000)
        ours.tenancy.close()
    peer_hot, peer_zipf = measure(Assembled(tenants), tenants, 300)
    rows = [
        [
            "tenancy",
            f"{ours_hot:,.0f}",
            f"{percentile(ours_zipf, 0.5):,}",
            f"{percentile(ours_zipf, 0.99):,}",
            "1",
        ],
        [
            "limits + casbin + hashlib",
            f"{peer_hot:,.0f}",
            f"{percentile(peer_zipf, 0.5):,}",
            f"{percentile(peer_zipf, 0.99):,}",
            f"{peer_hot / ours_hot:,.0f} x",
        ],
    ]
    print_table(
        f"Whole decision, {tenants} tenants; {version('limits')}, {version('casbin')}",
        rows,
        ["", "hot ns", "Zipf p50 ns", "Zipf p99 ns", "hot ratio"],
    )
    facts()


if __name__ == "__main__":
    main()
