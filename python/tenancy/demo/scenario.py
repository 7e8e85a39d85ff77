"""Who takes part: three customers on three plans, their people, roles, keys and directory."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import Tenancy
from ..errors import StoreBusy, StoreError
from .traffic import Credentials

__all__ = ["BILLS", "BY", "CATALOG", "CUSTOMERS", "Customer", "fresh_directory", "seed"]

BY = "operator:demo"
CATALOG = "agent-orchestrator"
MARKER = "DEMO"
BILLS = "bills"
"""The data directory of the invoices, inside the other one."""


@dataclass(frozen=True)
class Customer:
    """A tenant of the demonstration."""

    slug: str
    name: str
    plan: str


CUSTOMERS = (
    Customer("sparrow", "Sparrow Labs", "free"),
    Customer("mosaic", "Mosaic Code", "starter"),
    Customer("harbor", "Harbor Analytics", "professional"),
)


@contextmanager
def fresh_directory(path: Path) -> Iterator[Tenancy]:
    """A new data directory, open. One that an earlier demonstration left is replaced, no other."""
    path = path.absolute()
    marker = path / MARKER
    if marker.exists():
        with _locked(marker):
            shutil.rmtree(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise StoreError(
            f"{path}: exists, and no demonstration made it", remedy="name another with --data"
        )
    with Tenancy.open(path, CATALOG) as t, _locked(marker):
        yield t


@contextmanager
def _locked(marker: Path) -> Iterator[None]:
    marker.touch(mode=0o600)
    with marker.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy(
                f"{marker.parent}: a demonstration is running there",
                remedy="name another directory with --data",
            ) from None
        yield


def seed(t: Tenancy) -> dict[str, Credentials]:
    """Make the tenants; the API keys of their people by slug.

    Ada is an engineer everywhere, Vi may only look. A key made for a person has their rights.
    """
    t.roles.define("engineer", permissions=["completion:*", "agent:create"], by=BY)
    t.roles.define("viewer", permissions=["completion:read"], by=BY)
    keys: dict[str, Credentials] = {}
    for customer, neighbour in zip(CUSTOMERS, (*CUSTOMERS[1:], CUSTOMERS[0]), strict=True):
        tenant = t.tenants.create(customer.name, slug=customer.slug, plan=customer.plan, by=BY)
        t.roles.assign(tenant, "ada", "engineer", by=BY)
        t.roles.assign(tenant, "vi", "viewer", by=BY)
        _, ada = t.keys.create(tenant, name="Ada's laptop", principal="ada", by=BY)
        _, vi = t.keys.create(tenant, name="Vi's dashboard", principal="vi", by=BY)
        keys[customer.slug] = Credentials(ada, vi, neighbour.slug)
    return keys
