"""The rules of the house, checked on the sources themselves: layers, names, sizes, commands."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp" / "tenancy"
PACKAGE = ROOT / "python" / "tenancy"

# A layer includes only layers of a strictly lower rank; the same rank never.
CPP_RANKS = {
    "base": 0,
    "catalog": 1,
    "counters": 1,
    "log": 1,
    "tenants": 2,
    "limits": 2,
    "access": 2,
    "billing": 2,
    "metering": 2,
    "quotas": 3,
    "engine": 4,
    "bindings": 5,
}

# The same for Python, by the first part of the module's name; "" is the package itself.
PYTHON_RANKS = {
    "_core": 0,
    "_active_roles": 4,
    "_audit_proofs": 2,
    "_exact": 2,
    "_leases": 1,
    "_log_auditor": 0,
    "_log_chain": 2,
    "_log_check": 5,
    "_log_format": 0,
    "_log_stub": 1,
    "_log_subjects": 4,
    "errors": 1,
    "headers": 1,
    "_countries": 2,
    "_text": 2,
    "catalog": 2,
    "_frames_in": 2,
    "frames": 2,
    "limits": 2,
    "problem": 2,
    "context": 3,
    "_certificate_sources": 4,
    "_revocation": 4,
    "jwt": 4,
    "pricing": 4,
    "stores": 4,
    "_decisions": 4,
    "_inline": 5,
    "_own_limits": 5,
    "_usage": 5,
    "access": 5,
    "adopt": 5,
    "alerts": 5,
    "anchors": 5,
    "audit": 5,
    "billing": 5,
    "budgets": 5,
    "certificates": 5,
    "explanation": 5,
    "forecast": 5,
    "keys": 5,
    "limit_counters": 5,
    "operators": 5,
    "quotas": 5,
    "delivery": 6,
    "reports": 6,
    "usage": 6,
    "resolve": 6,
    "resources": 5,
    "roles": 5,
    "sessions": 5,
    "tenants": 5,
    "testing": 5,
    "whatif": 5,
    "_operator_routes": 6,
    "plots": 6,
    "_middleware_options": 7,
    "_web": 7,
    "invoices": 7,
    "app": 8,
    "": 9,
    "uvicorn_tls": 10,
    "asgi": 11,
    "wsgi": 11,
    "operator_routes": 12,
    "_operator_fastapi": 12,
    "_operator_flask": 12,
    "fastapi": 13,
    "flask": 13,
    "demo": 14,
    "cli": 15,
    "__main__": 16,
}

HEAVY_HEADERS = re.compile(r'#include [<"](absl|nlohmann|openssl|pybind11)/')
INCLUDE = re.compile(r'^\s*#\s*include\s+"(?!absl/|nlohmann/|openssl/)([^"]+)"', re.MULTILINE)
LINES_MAX = 600
STUB_LINES_MAX = 1400  # a compiled module has one stub, which is its whole reference


def files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


CPP_FILES = files(
    "cpp/tenancy/*/*.h", "cpp/tenancy/*/*.cc", "cpp/bindings/*.h", "cpp/bindings/*.cc"
)
CPP_TEST_FILES = files("tests/cpp/**/*.h", "tests/cpp/**/*.cc", "benchmarks/cpp/*.cc")
PYTHON_FILES = files("python/tenancy/**/*.py")
TEXT_FILES = [
    *CPP_FILES,
    *CPP_TEST_FILES,
    *files("python/**/*.py", "python/**/*.pyi", "tests/python/**/*.py", "benchmarks/**/*.py"),
    *files("*.md", "docs/**/*.md", "cpp/*.md", "CMakeLists.txt", "cpp/**/CMakeLists.txt"),
    *files("cpp/cmake/*.cmake", ".ci/*", "Makefile", "pyproject.toml"),
]


def layer_of(path: Path) -> str:
    return path.parent.name


# ---------------------------------------------------------------------------------- C++ layers


def test_every_directory_of_the_engine_is_a_layer_of_the_table() -> None:
    directories = {path.name for path in CPP.iterdir() if any(path.iterdir())}
    assert directories == CPP_RANKS.keys() - {"bindings"}


@pytest.mark.parametrize("path", CPP_FILES, ids=relative)
def test_includes_point_to_strictly_lower_ranks(path: Path) -> None:
    layer = layer_of(path)
    for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
        included = ROOT / "cpp" / name
        if layer == "bindings" and not name.startswith("tenancy/"):
            included = path.parent / name
        assert included.is_file(), f"{name}: include as tenancy/<layer>/x.h"
        target = layer_of(included)
        assert target == layer or CPP_RANKS[target] < CPP_RANKS[layer], (
            f"{layer} (rank {CPP_RANKS[layer]}) includes {name} (rank {CPP_RANKS[target]})"
        )


@pytest.mark.parametrize("path", CPP_TEST_FILES, ids=relative)
def test_tests_include_only_their_layer_and_lower_ones(path: Path) -> None:
    layer = layer_of(path)
    rank = CPP_RANKS.get(layer, max(CPP_RANKS.values()))
    for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
        if not name.startswith("tenancy/"):
            assert any((base / name).is_file() for base in (path.parent, ROOT / "tests/cpp")), name
            continue
        included = ROOT / "cpp" / name
        assert included.is_file(), name
        target = layer_of(included)
        assert target == layer or CPP_RANKS[target] < rank, f"{layer} includes {name}"


@pytest.mark.parametrize("path", [p for p in CPP_FILES if p.suffix == ".h"], ids=relative)
def test_heavy_headers_stay_out_of_public_headers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    opening = text.split("#pragma once")[0]
    assert (
        layer_of(path) == "bindings" or "Internal" in opening or not HEAVY_HEADERS.search(text)
    ), (
        "absl, nlohmann, openssl and pybind11 belong into .cc files and into headers that say "
        "in their opening comment that they are internal"
    )


@pytest.mark.parametrize("path", [p for p in CPP_FILES if p.suffix == ".h"], ids=relative)
def test_internal_headers_stay_inside_their_layer(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in INCLUDE.findall(text):
        included = ROOT / "cpp" / name
        if not included.is_file() or layer_of(included) == layer_of(path):
            continue
        opening = included.read_text(encoding="utf-8").split("#pragma once")[0]
        assert "Internal" not in opening, f"{name} is internal to {layer_of(included)}"


@pytest.mark.parametrize("path", [p for p in CPP_FILES if p.suffix == ".h"], ids=relative)
def test_headers_say_what_they_are_and_are_guarded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("//"), "a header opens with what the thing is"
    assert re.search(r"^#pragma once$", text, re.MULTILINE)


def test_every_source_file_implements_a_header_of_its_layer_and_is_tested() -> None:
    missing = []
    for source in (path for path in CPP_FILES if path.suffix == ".cc"):
        layer = layer_of(source)
        if layer == "bindings":
            continue
        if f'#include "tenancy/{layer}/' not in source.read_text(encoding="utf-8"):
            missing.append(f"{relative(source)}: includes no header of its layer")
        if not any((ROOT / "tests" / "cpp" / layer).glob("test_*.cc")):
            missing.append(f"{relative(source)}: no tests of its layer")
    assert not missing


def test_there_is_one_target_per_layer_and_it_links_lower_ranks_only() -> None:
    text = (ROOT / "cpp" / "CMakeLists.txt").read_text(encoding="utf-8")
    targets = {
        name: set(deps.split())
        for name, deps in re.findall(r"tenancy_layer\((\w+)(?: DEPS ([a-z ]+))?", text)
    }
    assert targets.keys() == CPP_RANKS.keys() - {"bindings"}
    for name, deps in targets.items():
        assert all(CPP_RANKS[dep] < CPP_RANKS[name] for dep in deps), name
        included = {
            layer_of(ROOT / "cpp" / include)
            for path in CPP_FILES
            if layer_of(path) == name
            for include in INCLUDE.findall(path.read_text(encoding="utf-8"))
        } - {name}
        assert included <= deps, f"tenancy_layer({name}) lacks DEPS {sorted(included - deps)}"


def test_only_one_file_names_third_party_libraries() -> None:
    finders = re.compile(r"\b(find_package|FetchContent_Declare|pkg_check_modules)\b")
    for path in files("CMakeLists.txt", "cpp/**/CMakeLists.txt", "tests/cpp/CMakeLists.txt"):
        assert not finders.search(path.read_text(encoding="utf-8")), relative(path)
    for path in files("cpp/cmake/*.cmake"):
        found = finders.search(path.read_text(encoding="utf-8"))
        assert not found or path.name == "deps.cmake", relative(path)


# ------------------------------------------------------------------------------- Python layers


def module_of(path: Path) -> str:
    """`python/tenancy/stores/sqlite.py` is `stores.sqlite`; the package itself is ``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return name == "_core" or path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported_modules(path: Path) -> set[str]:
    """The modules of this package that a file imports, at any depth, relative to the package."""
    parts = ["tenancy", *path.relative_to(PACKAGE).with_suffix("").parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parts[: -node.level] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if is_module(inner.removeprefix("tenancy.")) else source)
    return {
        name.removeprefix("tenancy").removeprefix(".")
        for name in found
        if name.split(".")[0] == "tenancy"
    }


def python_rank(module: str) -> int:
    top = module.split(".")[0]
    assert top in PYTHON_RANKS, f"{module}: give it a rank in PYTHON_RANKS"
    return PYTHON_RANKS[top]


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_imports_point_to_strictly_lower_ranks(path: Path) -> None:
    module = module_of(path)
    for target in imported_modules(path):
        same_package = target.split(".")[0] == module.split(".")[0]
        assert same_package or python_rank(target) < python_rank(module), (
            f"{module or 'tenancy'} (rank {python_rank(module)}) imports {target or 'tenancy'} "
            f"(rank {python_rank(target)})"
        )


def public_modules() -> list[str]:
    """What users import: the package and its modules, not the parts inside `stores` and `cli`."""
    return [
        f"tenancy.{name}" if name else "tenancy"
        for name in map(module_of, PYTHON_FILES)
        if not name.startswith("_") and "." not in name
    ]


def by_kind(name: str) -> tuple[int, str]:
    """The order that ruff keeps: CONSTANTS, Classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", public_modules())
def test_public_names_are_sorted_and_importable(name: str) -> None:
    module = importlib.import_module(name)
    names = list(module.__all__)
    assert names == sorted(set(names), key=by_kind), "constants, classes, others; each sorted"
    for public in names:
        assert not public.startswith("_") or public == "__version__"
        assert getattr(module, public) is not None


@pytest.mark.parametrize("name", public_modules())
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{public}"


def test_the_package_imports_without_its_extras() -> None:
    """Importing `tenancy` imports no web framework, no library for JWTs or reports, no typer."""
    code = (
        "import sys, tenancy; extras = {'fastapi','starlette','flask','werkzeug','jwt','typer'}; "
        "print(sorted((extras | {'jinja2','fpdf'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ----------------------------------------------------------------------------------- the stub


def stub_names() -> dict[str, set[str]]:
    """Public names of `_core.pyi`: of each class under its name, of the module under ``."""
    found: dict[str, set[str]] = {"": set()}

    def read(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[owner].add(node.name)
                found[node.name] = set()
                read(node.body, node.name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[owner].add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[owner].add(node.target.id)

    read(ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8")).body, "")
    return {owner: {n for n in names if not n.startswith("_")} for owner, names in found.items()}


def test_the_stub_names_exactly_what_was_compiled() -> None:
    core = importlib.import_module("tenancy._core")
    stub = stub_names()
    compiled = {
        name
        for name, value in vars(core).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert compiled == stub.pop("")
    for name, members in stub.items():
        cls = getattr(core, name)
        bases = {n for base in cls.__mro__[1:] for n in vars(base)}
        actual = {n for n in vars(cls) if not n.startswith("_")}
        assert actual - bases <= members <= actual | bases, name


# ----------------------------------------------------------------------------- all text files


@pytest.mark.parametrize("path", TEXT_FILES, ids=relative)
def test_text_is_finished_and_tidy(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    unfinished = re.search(
        r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|^(<{7}|>{7}) ", text, re.MULTILINE
    )
    assert not unfinished, f"unfinished: {unfinished}"
    assert "\r" not in text
    assert not re.search(r"[ \t]+$", text, re.MULTILINE) or path.suffix == ".md", "trailing blanks"
    assert text.endswith("\n") or not text, "no newline at the end"
    if path.suffix in {".cc", ".h", ".py", ".pyi"}:
        lines = text.count("\n")
        most = STUB_LINES_MAX if path.suffix == ".pyi" else LINES_MAX
        assert lines <= most, f"{lines} lines: split it"


@pytest.mark.parametrize("path", CPP_FILES, ids=relative)
def test_shared_code_uses_no_fences_and_throws_nothing(path: Path) -> None:
    text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    assert "atomic_thread_fence" not in text, "GCC's thread sanitizer does not know fences"
    if layer_of(path) != "bindings":
        assert not re.search(r"\bthrow\b", text), "errors of the engine are values"


# ------------------------------------------------------------------ documentation and commands


DOCUMENTS = files("*.md", "docs/**/*.md", "cpp/*.md")


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / ".ci" / "run"], ids=relative)
def test_documented_commands_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^\s*|&& )make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named <= make_targets(), f"no such target: {sorted(named - make_targets())}"
    for script in re.findall(r"`(\.ci/[\w.-]+)", text):
        assert os.access(ROOT / script, os.X_OK), f"{script} is not there or not executable"


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


def test_the_readme_names_both_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_one_version_everywhere() -> None:
    def first(pattern: str, name: str) -> str:
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, name
        return found.group(1)

    versions = {
        first(r'^version = "([^"]+)"', "pyproject.toml"),
        first(r"project\(tenancy VERSION ([\d.]+)", "CMakeLists.txt"),
        first(r"^## \[([\d.]+)\]", "CHANGELOG.md"),
        importlib.import_module("tenancy").__version__,
        importlib.metadata.version("tenancy"),
    }
    assert len(versions) == 1, versions


def test_every_preset_of_continuous_integration_exists() -> None:
    presets = json.loads((ROOT / "CMakePresets.json").read_text(encoding="utf-8"))
    names = {preset["name"] for preset in presets["configurePresets"]}
    assert names >= {"dev", "release", "asan", "tsan", "tidy", "fuzz"}
    for path in [ROOT / "Makefile", *files(".ci/*")]:
        used = set(re.findall(r"--preset (\w+)", path.read_text(encoding="utf-8")))
        assert used <= names, relative(path)
