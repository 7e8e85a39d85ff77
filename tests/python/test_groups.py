"""With several workers the tests of a module run in one of them, and slow ones each by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
import os

import pytest


@pytest.fixture(scope="module")
def made():
    with open("made", "a", encoding="utf-8") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']}\\n")


@pytest.mark.parametrize("number", range(8))
def test_of_the_module(made, number):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_slow(number):
    with open("slow", "a", encoding="utf-8") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']}\\n")
"""


def test_a_fixture_of_a_module_is_made_once_and_slow_tests_are_spread(tmp_path: Path) -> None:
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "test_module.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n", encoding="utf-8")
    # As the Makefile starts it, and not as a worker of this run.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"]
    options = ["--no-loadscope-reorder", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {name: of for name, of in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout
    assert len((tmp_path / "made").read_text(encoding="utf-8").split()) == 1
    assert len(set((tmp_path / "slow").read_text(encoding="utf-8").split())) == 2
