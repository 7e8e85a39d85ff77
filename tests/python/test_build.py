"""Configuring the build: what it says when libraries are missing, where else they may be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PACKAGES = {
    "OpenSSL": "libssl-dev",
    "absl": "libabsl-dev",
    "nlohmann_json": "nlohmann-json3-dev",
    "Catch2": "catch2",
}


def configure(build: Path, *definitions: str) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-Wno-dev"]
    options = [f"-D{definition}" for definition in ("TENANCY_BUILD_PYTHON=OFF", *definitions)]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def without(*libraries: str) -> list[str]:
    return [f"CMAKE_DISABLE_FIND_PACKAGE_{library}=ON" for library in libraries]


def test_missing_packages_are_named_in_one_command(tmp_path: Path) -> None:
    done = configure(tmp_path, *without(*SYSTEM_PACKAGES))
    assert done.returncode != 0
    commands = re.findall(r"sudo apt-get install (.+)", done.stderr)
    assert [set(command.split()) for command in commands] == [set(SYSTEM_PACKAGES.values())]


def test_only_what_is_missing_is_named(tmp_path: Path) -> None:
    done = configure(tmp_path, *without("absl"))
    assert done.returncode != 0
    assert re.findall(r"sudo apt-get install (.+)", done.stderr) == ["libabsl-dev"]


def test_a_library_may_come_from_a_directory(tmp_path: Path) -> None:
    source = tmp_path / "json"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(
        "add_library(mine INTERFACE)\nadd_library(nlohmann_json::nlohmann_json ALIAS mine)\n",
        encoding="utf-8",
    )
    done = configure(tmp_path / "build", f"TENANCY_JSON_DIR={source}")
    assert done.returncode == 0, done.stderr


def test_the_tests_need_no_library_that_the_package_does_not(tmp_path: Path) -> None:
    """Somebody who only installs the package is not asked for the test framework."""
    done = configure(tmp_path, "TENANCY_BUILD_TESTS=OFF", *without("Catch2"))
    assert done.returncode == 0, done.stderr


def test_a_mirror_is_used_but_not_trusted(tmp_path: Path) -> None:
    """The pinned hash decides, wherever an archive comes from."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "json-3.11.3.tar.gz").write_bytes(b"not what is pinned")
    mirror_at = f"TENANCY_DEPS_MIRROR={mirror.as_uri()}"
    fetch = ["TENANCY_FETCH_DEPS=ON", "TENANCY_BUILD_TESTS=OFF"]
    done = configure(tmp_path / "build", *fetch, mirror_at, *without("nlohmann_json"))
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "mirror/json-3.11.3.tar.gz" in told
    assert "does not match expected value" in told
