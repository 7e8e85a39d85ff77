"""What one process changes is obeyed by the next decision of every other, under load."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from store_support import CATALOG, ask, open_shop, start_python, write_catalog
from tenancy import Tenancy

WORKERS = 3
ROUNDS = 25

WORKER = """
import sys, threading
from tenancy import Tenancy
t = Tenancy.open(sys.argv[1])
secret = sys.argv[2]
going = True
def load():
    while going:
        t.check(api_key=secret, cost=0)
threading.Thread(target=load, daemon=True).start()
print("ready")
for line in sys.stdin:
    permission = line.strip()
    d = t.check(api_key=secret, cost=0, permission=permission or None)
    print(d.code, d.plan)
"""


# Loops without a pause refuse faster than a busy machine writes facts down: what is looked at here
# is what is decided, not whether it is recorded.
COUNTED = f"{CATALOG}audit: {{on_full: count}}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Tenancy]:
    with Tenancy.open(tmp_path / "data", catalog=write_catalog(tmp_path, COUNTED)) as opened:
        yield opened


@pytest.fixture
def secret(shop: Tenancy) -> str:
    tenant = shop.tenants.create(name="Acme", slug="acme", plan="free")
    shop.roles.assign(tenant, "ann", "agent")
    return str(shop.keys.create(tenant, principal="ann")[1])


@pytest.fixture
def workers(shop: Tenancy, secret: str) -> Iterator[list[subprocess.Popen[str]]]:
    started = [start_python(WORKER, shop.path, secret) for _ in range(WORKERS)]
    try:
        for worker in started:
            assert worker.stdout is not None
            assert worker.stdout.readline().strip() == "ready"
        yield started
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()


def everywhere(workers: list[subprocess.Popen[str]], permission: str = "") -> set[str]:
    return {ask(worker, permission) for worker in workers}


def test_suspension(shop: Tenancy, workers: list[subprocess.Popen[str]]) -> None:
    for _ in range(ROUNDS):
        shop.tenants.suspend("acme", reason="test")
        assert everywhere(workers) == {"SUSPENDED_TENANT free"}
        shop.tenants.resume("acme")
        assert everywhere(workers) == {"ALLOWED free"}


def test_role_change(shop: Tenancy, workers: list[subprocess.Popen[str]]) -> None:
    """Trap 9: no cache outlives a revocation."""
    for _ in range(ROUNDS):
        assert everywhere(workers, "ticket:read") == {"ALLOWED free"}
        shop.roles.revoke("acme", "ann", "agent")
        assert everywhere(workers, "ticket:read") == {"PERMISSION_DENIED free"}
        shop.roles.assign("acme", "ann", "agent")


def test_plan_change(shop: Tenancy, workers: list[subprocess.Popen[str]]) -> None:
    for _ in range(ROUNDS):
        for plan in ("pro", "free"):
            shop.tenants.change_plan("acme", plan)
            assert everywhere(workers) == {f"ALLOWED {plan}"}


def test_key_revocation(shop: Tenancy, secret: str, workers: list[subprocess.Popen[str]]) -> None:
    """Trap 9 again, for the credential itself."""
    assert everywhere(workers) == {"ALLOWED free"}
    shop.keys.revoke(shop.keys.list("acme")[0].id)
    assert everywhere(workers) == {"INVALID_CREDENTIAL None"}


def test_a_tenant_made_at_run_time_is_served_by_every_worker(
    shop: Tenancy, tmp_path: Path, workers: list[subprocess.Popen[str]]
) -> None:
    others = [open_shop(tmp_path, catalog=None, clock=shop.clock) for _ in range(2)]
    for i in range(10):
        made = shop.tenants.create(name=f"New {i}", slug=f"new-{i}")
        assert {other.check(tenant=made.slug).tenant for other in others} == {made.id}
    assert everywhere(workers) == {"ALLOWED free"}
    for other in others:
        other.close()
