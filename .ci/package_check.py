"""Uses an installed tenancy as a first program does; run with the Python it is installed in."""

from __future__ import annotations

import importlib.resources
import sys
import tempfile
from pathlib import Path

import tenancy
from tenancy import Tenancy

CATALOGS = ("agent-orchestrator", "agent-platform", "spreadsheet-gateway", "stamping-service")


def main() -> None:
    """Fails loudly if a file was left out of the package or the compiled module does not load."""
    root = Path(str(importlib.resources.files(tenancy)))
    assert Path(sys.prefix) in root.parents, f"not the installed package: {root}"
    assert (root / "py.typed").is_file()
    assert (root / "_core.pyi").is_file()
    assert not list(root.rglob("*.cc")), "sources of the engine do not belong into the package"

    for catalog in CATALOGS:
        with tempfile.TemporaryDirectory() as directory, Tenancy.open(directory, catalog=catalog):
            pass

    with (
        tempfile.TemporaryDirectory() as directory,
        Tenancy.open(directory, catalog="agent-orchestrator") as t,
    ):
        acme = t.tenants.create(name="Acme", slug="acme", plan="free")
        _, secret = t.keys.create(acme, scopes=["agent:create"])
        decision = t.check(api_key=secret, permission="agent:create")
        assert decision, decision.reason
        assert not t.check(api_key=secret, permission="agent:delete")
    print(f"tenancy {tenancy.__version__} works from {root}")


if __name__ == "__main__":
    main()
