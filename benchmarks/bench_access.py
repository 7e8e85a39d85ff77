"""An access check from Python: a million users, ten thousand roles, beside casbin and cedarpy.

Every user holds one role, every role gives one permission on one of a thousand resources. The
peers get the same roles but fewer users, which only favours them; policies and entities are
parsed once. Both walk over all policies, so they are also measured with a hundred roles. The warm
user holds the role in the middle: casbin stops at the first policy that allows.

    python benchmarks/bench_access.py [--users 1000000] [--roles 10000] [--peer-users 10000]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable

from common import each_ns, median_ns, percentile, print_table, version
from tenancy import _core

Check = Callable[[int], bool]
CATALOG = {
    "catalog": "bench",
    "version": "1",
    "format": 1,
    "builtin_roles": False,
    "plans": {"free": {}},
}


def resource(role: int) -> str:
    return f"data{role // 10}"


def action(role: int) -> str:
    return f"act{role % 10}"


def make_ours(users: int, roles: int) -> tuple[Check, Callable[[int], None]]:
    """Returns a check of user i, and an edit of role i as a store's writer applies it."""
    catalog = _core.Catalog.parse(json.dumps(CATALOG))
    assert isinstance(catalog, _core.Catalog), catalog
    engine = _core.Engine(counters_path="", clock=_core.Clock.system())
    engine.apply(
        1,
        {
            "tenants": [("ten_1", None, "acme", "active", "free", None, 0, None, None)],
            "roles": [
                ("ten_1", f"r{i}", [f"{resource(i)}:{action(i)}"], [], []) for i in range(roles)
            ],
            "assignments": [("ten_1", f"u{i}", f"r{i % roles}", None, None) for i in range(users)],
        },
        catalog=catalog,
        reset=True,
    )
    names = [f"u{i}" for i in range(users)]
    permissions = [f"{resource(i)}:{action(i)}" for i in range(roles)]
    check = engine.access_check
    revision = [1]

    def edit(i: int) -> None:
        revision[0] += 1
        row: tuple[object, ...] = (
            "ten_1",
            f"r{i % roles}",
            [permissions[i % roles], f"extra:n{i}"],
            [],
            [],
        )
        engine.apply(revision[0], {"roles": [row]})

    return lambda i: check("ten_1", names[i], permissions[i % roles]), edit


def make_casbin(users: int, roles: int) -> Check:
    import casbin

    model = casbin.Model()
    for section, value in [
        ("r", "sub, obj, act"),
        ("p", "sub, obj, act"),
        ("g", "_, _"),
        ("e", "some(where (p.eft == allow))"),
        ("m", "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act"),
    ]:
        model.add_def(section, section, value)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policies([[f"r{i}", resource(i), action(i)] for i in range(roles)])
    enforcer.add_grouping_policies([[f"u{i}", f"r{i % roles}"] for i in range(users)])

    def check(i: int) -> bool:
        role = i % roles
        return bool(enforcer.enforce(f"u{i}", resource(role), action(role)))

    return check


def make_cedar(users: int, roles: int) -> Check:
    import cedarpy

    policies = cedarpy.PolicySet.from_str(
        "\n".join(
            f'permit(principal in Role::"r{i}", action == Action::"{action(i)}", '
            f'resource == Data::"{resource(i)}");'
            for i in range(roles)
        )
    )
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {"uid": {"type": "Role", "id": f"r{i}"}, "attrs": {}, "parents": []}
                for i in range(roles)
            ]
            + [
                {
                    "uid": {"type": "User", "id": f"u{i}"},
                    "attrs": {},
                    "parents": [{"type": "Role", "id": f"r{i % roles}"}],
                }
                for i in range(users)
            ]
        )
    )

    def check(i: int) -> bool:
        role = i % roles
        request = {
            "principal": f'User::"u{i}"',
            "action": f'Action::"{action(role)}"',
            "resource": f'Data::"{resource(role)}"',
            "context": {},
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return check


def calls_within(check: Check, user: int, seconds: float) -> int:
    """How many calls fit, at least three: one check of a peer may take long."""
    start = time.perf_counter()
    check(user)
    once = max(time.perf_counter() - start, 1e-7)
    return max(3, min(20_000, int(seconds / once)))


def measure(check: Check, users: int, roles: int) -> tuple[float, float]:
    """Nanoseconds warm (one user) and uniform (another user each time), medians."""
    assert all(check(i) for i in {0, 1, users - 1}), "every question of this benchmark is a yes"
    calls = calls_within(check, roles // 2, 0.5)
    warm = median_ns(lambda: check(roles // 2), calls=calls, rounds=3 if calls < 100 else 7)
    rng = random.Random(1)
    order = [rng.randrange(users) for _ in range(calls)]
    return warm, percentile(each_ns(lambda n: check(order[n]), calls), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--roles", type=int, default=10_000)
    parser.add_argument("--peer-users", type=int, default=10_000)
    given = parser.parse_args()
    users, roles, peer_users = given.users, given.roles, given.peer_users

    check, edit = make_ours(users, roles)
    ours = measure(check, users, roles)
    edit_ns = percentile(each_ns(edit, 200), 0.5)
    small_check, _ = make_ours(peer_users, 100)
    small = measure(small_check, peer_users, 100)
    rows = [
        ["tenancy", f"{users:,} x {roles:,}", f"{ours[0]:,.0f}", f"{ours[1]:,.0f}", "1"],
        ["tenancy", f"{peer_users:,} x 100", f"{small[0]:,.0f}", f"{small[1]:,.0f}", "1"],
    ]
    for name, make in [("casbin", make_casbin), ("cedarpy", make_cedar)]:
        for peer_roles, reference in [(roles, ours), (100, small)]:
            peer = measure(make(peer_users, peer_roles), peer_users, peer_roles)
            rows.append(
                [
                    version(name),
                    f"{peer_users:,} x {peer_roles:,}",
                    f"{peer[0]:,.0f}",
                    f"{peer[1]:,.0f}",
                    f"{peer[0] / reference[0]:,.0f}",
                ]
            )
    print_table(
        "Access check from Python, nanoseconds (median)",
        rows,
        ["library", "users x roles", "warm", "uniform", "x ours, warm"],
    )
    print(f"one role edit, definitions published: {edit_ns / 1e3:,.0f} us (median)")


if __name__ == "__main__":
    main()
