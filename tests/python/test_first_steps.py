"""What a developer meets first: names that are known, help that helps, mistakes that are told."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import pydoc
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tenancy
from store_support import open_shop, write_catalog
from tenancy import Tenancy
from tenancy._decisions import CheckRequest
from tenancy._middleware_options import MiddlewareOptions
from tenancy.errors import CatalogError, InvalidValue, StoreError
from tenancy.resolve import Options

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(tenancy.__file__).with_name("_core.pyi")


# ------------------------------------------------------------------------------- opening


def test_a_mistyped_directory_is_told_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "tenancy-dat"
    with pytest.raises(InvalidValue, match="tenancy-dat is no data directory yet"):
        Tenancy.open(missing)
    assert not missing.exists()
    missing.mkdir(mode=0o700)
    with pytest.raises(InvalidValue, match="needs a catalog"):
        Tenancy.open(missing)
    assert list(missing.iterdir()) == []


def test_a_mistyped_catalog_leaves_no_directory(tmp_path: Path) -> None:
    for catalog in ("agent-orchestrater", tmp_path / "plans.yml"):
        with pytest.raises(CatalogError):
            Tenancy.open(tmp_path / "data", catalog=catalog)
    assert not (tmp_path / "data").exists()


def test_something_else_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not a directory"):
        Tenancy.open(tmp_path / "file")
    (tmp_path / "full").mkdir(mode=0o700)
    (tmp_path / "full" / "holiday.jpg").write_text("x")
    with pytest.raises(StoreError, match=r"holiday\.jpg"):
        Tenancy.open(tmp_path / "full")


def test_the_class_says_how_one_is_opened() -> None:
    with pytest.raises(TypeError, match=r"Tenancy\.open\("):
        Tenancy("tenancy-data")


def test_paths_may_have_spaces_and_any_letters(tmp_path: Path) -> None:
    place = tmp_path / "mandanten dätä — 客户"
    with Tenancy.open(place, write_catalog(tmp_path)) as t:
        _, secret = t.keys.create(t.tenants.create("Acme"), scopes=["ticket:read"])
        assert t.check(api_key=secret)
    with Tenancy.open(place) as t:
        assert t.check(api_key=secret)


# --------------------------------------------------------------------------------- help


def test_help_tells_of_the_calls_that_decide(tmp_path: Path) -> None:
    told = pydoc.plain(pydoc.render_doc(Tenancy))
    for name in ("check", "require", "admit", "authorize", "finish", "explain", "acheck"):
        assert f"{name}(self" in told, name
    documented = inspect.getdoc(Tenancy.check)
    assert documented is not None
    for argument in CheckRequest.__annotations__:
        assert f"`{argument}`" in documented, argument
    with open_shop(tmp_path) as t:
        assert t.check == t.gate.check, "the compiled call itself: nothing of Python between"


def test_the_arguments_of_check_are_those_of_the_gate() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    [gate] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Gate"]
    [check] = [n for n in gate.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    stub = {a.arg: ast.unparse(a.annotation) for a in check.args.kwonlyargs if a.annotation}
    ours = {
        name: kind.__forward_arg__ if hasattr(kind, "__forward_arg__") else str(kind)
        for name, kind in CheckRequest.__annotations__.items()
    }
    assert ours == stub


@pytest.mark.slow
def test_a_strict_type_checker_knows_the_calls(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    good = """
        from fastapi import Depends, FastAPI
        from tenancy import Tenancy
        from tenancy.fastapi import CurrentTenant, TenancyMiddleware, consumes, limit, requires

        t = Tenancy.open("tenancy-data", catalog="agent-orchestrator")
        acme = t.tenants.create(name="Acme", slug="acme", plan="starter")
        key, secret = t.keys.create(acme, scopes=["agent:create"])
        decision = t.check(api_key=secret, permission="agent:create", consume={"tokens": 800})
        left: int = 0 if decision.tightest is None else decision.tightest.remaining
        t.require(tenant="acme", principal="ada")
        app = FastAPI()
        app.add_middleware(TenancyMiddleware, tenancy=t, exempt=["/health"])

        @app.get("/a", dependencies=[Depends(requires("a:b")), Depends(limit("5/minute"))])
        async def a(tenant: CurrentTenant) -> str:
            return tenant.tenant_id
    """
    bad = """
        from tenancy import Tenancy
        from tenancy.asgi import TenancyMiddleware
        from tenancy.flask import TenancyFlask

        async def wrong(t: Tenancy) -> None:
            t.check(api_kye="x")
            t.check(cost="2")
            t.require(consume=["tokens"])
            await t.acheck(tenant=5)
            t.explain(permision="a:b")
            TenancyMiddleware(None, tenancy=t, exemt=["/health"])  # type: ignore[arg-type]
            TenancyFlask(tenancy=t, exemt=["/health"])
    """
    (tmp_path / "good.py").write_text(textwrap.dedent(good))
    (tmp_path / "bad.py").write_text(textwrap.dedent(bad))
    # Strict, as the package itself is checked, whose cache there may be.
    files = [str(tmp_path / name) for name in ("good.py", "bad.py")]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    told = done.stdout + done.stderr
    assert re.findall(r"(\w+)\.py:(\d+): error", told) == [
        ("bad", str(line)) for line in range(7, 14)
    ], told


def test_the_options_of_the_middlewares_are_those_of_the_resolver() -> None:
    declared = {field.name: field.type for field in dataclasses.fields(Options)}
    ours = {name: kind.__forward_arg__ for name, kind in MiddlewareOptions.__annotations__.items()}
    assert ours == declared


# ----------------------------------------------------------------------------- mistakes


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme")
        with pytest.raises(ValueError, match='unknown quota "token": the catalog does not'):
            t.check(tenant="acme", consume={"token": 1})
        with pytest.raises(ValueError, match='unknown action "api_request": the catalog'):
            t.check(tenant="acme", action="api_request")


@pytest.mark.web
def test_mistakes_in_a_web_application_are_the_developers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fastapi = pytest.importorskip("fastapi")
    from tenancy.fastapi import TenancyMiddleware, requires
    from web_support import get

    with open_shop(tmp_path) as t:
        _, secret = t.keys.create(t.tenants.create("Acme"), scopes=["ticket:read"])
        key = {"X-API-Key": secret}
        app = fastapi.FastAPI()
        wrong = fastapi.Depends(requires("ticket:read", resource="ticket/{number}"))

        @app.get("/tickets/{id}", dependencies=[wrong])
        async def ticket(id: str) -> str:  # noqa: A002
            return id

        with pytest.raises(RuntimeError, match="no parameter 'number'; there are: id"):
            get(TenancyMiddleware(app, tenancy=t), "/tickets/1", key)
        for given in ("tenancy-data", None, Tenancy):
            with pytest.raises(InvalidValue, match="expected an open Tenancy"):
                TenancyMiddleware(app, tenancy=given)

        bare = fastapi.FastAPI()

        @bare.get("/a", dependencies=[fastapi.Depends(requires("ticket:read"))])
        async def a() -> None:
            raise AssertionError("nobody comes here")

        with caplog.at_level(logging.ERROR, "tenancy"):
            assert get(bare, "/a", key).status == 401
            assert get(bare, "/a", key).status == 401
        assert [r.message for r in caplog.records if "TenancyMiddleware" in r.message] == [
            "a dependency of tenancy.fastapi ran where no TenancyMiddleware had: "
            "app.add_middleware(TenancyMiddleware, tenancy=t)"
        ]
        caplog.clear()
        with caplog.at_level(logging.ERROR, "tenancy"):
            exempt = TenancyMiddleware(bare, tenancy=t, exempt=["/a"])
            assert get(exempt, "/a", key).status == 401
        assert not caplog.records, "exempt is no missing middleware"
