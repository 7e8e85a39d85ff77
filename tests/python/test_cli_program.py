"""`tenancy` as a program: pipes, full disks, terminals, users, keys at the terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store_support import run_python, write_catalog
from tenancy import Tenancy

NAME = "Kunde №1 — 客户 🏢"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("program")
    with Tenancy.open(directory / "dätä dir", write_catalog(directory)) as t:
        for number in range(200):
            t.tenants.create(NAME, slug=f"c{number}")
    return directory / "dätä dir"


def start(data: Path, *words: str, env: dict[str, str] | None = None, **how: Any) -> Any:
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.Popen(
        [sys.executable, "-m", "tenancy", *words],
        env={**os.environ, "TENANCY_DATA": str(data), **(env or {})},
        **how,
    )


def run(data: Path, *words: str, **how: Any) -> tuple[int, bytes, str]:
    process = start(data, *words, **how)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("tenants", "list", "--limit", "1000", "--json"),
        ("tenants", "list", "--limit", "1000"),
        ("audit", "feed"),
        ("audit", "verify"),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_failed_check(data: Path, words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        status, _, err = run(data, *words, stdout=out)
    assert (status, err) == (141, "")


def test_an_output_that_cannot_be_written_is_said(data: Path) -> None:
    for words in (("tenants", "list"), ("audit", "verify", "--json")):
        with Path("/dev/full").open("wb") as out:
            status, _, err = run(data, *words, stdout=out)
        assert status == 74
        assert err == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_loses_nothing(data: Path, encoding: str) -> None:
    plain = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    status, out, err = run(data, "tenants", "show", "c1", "--json", env=plain)
    assert (status, err) == (0, "")
    assert json.loads(out.decode(encoding))["name"] == NAME
    status, out, err = run(data, "tenants", "show", "c1", env=plain)
    assert (status, err) == (0, "")
    told = out.decode(encoding)
    assert "Kunde \\u21161" in told
    assert "\\u2013" not in told, "what is empty is a plain dash"
    status, _, err = run(data, "tenants", "show", "客户", env=plain)
    assert status == 1
    assert err.startswith("error: no tenant is named '\\u5ba2\\u6237'")


def test_a_narrow_terminal_breaks_lines_and_nothing_else(data: Path) -> None:
    controller, terminal = pty.openpty()
    try:
        process = start(data, "tenants", "show", "c1", stdout=terminal, env={"COLUMNS": "24"})
        os.close(terminal)
        told = b""
        while chunk := _read(controller):
            told += chunk
        _, err = process.communicate(timeout=120)
    finally:
        os.close(controller)
    assert (process.returncode, err) == (0, b"")
    lines = told.decode().splitlines()
    assert any("slug" in line for line in lines)


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # the other end was closed
        return b""


def test_an_interrupt_ends_quietly(data: Path) -> None:
    process = start(
        data,
        *("audit", "follow", "c1", "--json"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with Tenancy.open(data, background=False) as t:
        while not select.select([process.stdout], [], [], 1)[0]:  # it follows what comes
            t.audit.append("login", tenant="c1", principal="ada")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert b"Traceback" not in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_another_user_is_told_why(data: Path) -> None:
    code = """
        import json, os, sys
        from typer.testing import CliRunner
        from tenancy.cli import app
        def ask(words):
            done = CliRunner().invoke(app, words)
            assert isinstance(done.exception, SystemExit), repr(done.exception)
            return done.exit_code, done.stderr
        asked = json.loads(sys.argv[1])
        for words in asked:
            ask([*words, "--data", "/nowhere"])  # what is imported late is, while we may
        os.setgid(12345)
        os.setuid(12345)
        print(json.dumps([ask([*words, "--data", sys.argv[2]]) for words in asked]))
    """
    words = (
        ("tenants", "list"),
        ("migrate",),
        ("audit", "key", "move", "/nowhere"),
        ("audit", "verify"),
        ("audit", "archive", str(data / "archive"), "--check"),
    )
    done = run_python(code, json.dumps(words), data)
    assert done.returncode == 0, done.stderr
    statuses, errors = zip(*json.loads(done.stdout), strict=True)
    assert statuses == (1, 1, 1, 3, 3)
    for error in errors:
        assert error.startswith("error: ")
        assert "Permission denied" in error


def test_a_user_without_a_name_is_a_number(data: Path) -> None:
    code = """
        import getpass, os, sys
        from tenancy.cli import _common
        def getuser():
            raise KeyError("getpwuid(): uid not found: 12345")
        getpass.getuser = getuser
        os.environ.pop("SUDO_USER", None)
        print(_common.operator())
    """
    assert run_python(code).stdout.strip() == f"operator:uid-{os.getuid()}"
