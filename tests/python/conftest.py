"""What every test shares: how hypothesis draws, and a fresh environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Locally each run draws new examples; in continuous integration the same ones, so that a red build
# is about the change. A shared machine stalls at will: examples have no deadline.
_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("local", deadline=None, suppress_health_check=_CHECKS)
settings.register_profile("ci", deadline=None, suppress_health_check=_CHECKS, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)  # the workers read the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several workers (`make test-python`): the tests of a module stay together, since they
    share servers and stores; slow ones go each by itself, and first."""

    def is_slow(item: pytest.Item) -> bool:
        return item.get_closest_marker("slow") is not None

    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.nodeid if is_slow(item) else item.path.name))
    items.sort(key=lambda item: not is_slow(item))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own TENANCY_… variables must not change a test; TENANCY_TEST_… may."""
    for name in list(os.environ):
        if name.startswith("TENANCY_") and not name.startswith("TENANCY_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server of this run's own, started by the first test that asks for it."""
    from postgres_support import running_server

    with running_server() as server:
        yield server
