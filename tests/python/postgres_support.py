"""A PostgreSQL server of the tests' own: started from Debian's programs, gone when they end."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

DEADLINE_S = 120


def programs() -> Path:
    """Where the newest installed server's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    named = shutil.which("initdb")
    assert found or named, "PostgreSQL is missing: `make setup` installs Debian's postgresql"
    return found[-1].parent if found else Path(str(named)).parent


def unprivileged() -> dict[str, Any]:
    """The server refuses to run as root: who runs it then, as arguments of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("no user to run PostgreSQL as")


class Server:
    """Listens on a socket in its own directory alone; each test takes a database of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.password = secrets.token_hex(8)
        self._count = 0

    def url(self, database: str, user: str = "boss") -> str:
        return f"postgresql://{user}:{self.password}@/{database}?host={self.directory}"

    def connect(self, database: str, user: str = "boss") -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(database, user), autocommit=True)

    def fresh(self) -> str:
        """A new empty database, owned by the role `app`, which is no superuser."""
        self._count += 1
        name = f"test_{self._count}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER app")
        return name


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[Server]:
    """``durable``: commits wait for the disk, as they do outside tests."""
    directory = Path(tempfile.mkdtemp(prefix="tenancy-pg-"))
    server, who = Server(directory), unprivileged()
    process = None
    try:
        password = directory / "password"
        password.write_text(server.password)
        if who:
            for path in (directory, password):
                os.chown(path, who["user"], who["group"])
        data = directory / "data"
        made = subprocess.run(
            [
                *(programs() / "initdb", "-D", data, "-U", "boss", "--no-sync", "-E", "UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}"),
            ],
            cwd=directory,
            capture_output=True,
            text=True,
            **who,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": directory,
            "fsync": "on" if durable else "off",
            "shared_buffers": "32MB",
            "max_wal_size": "256MB",
        }
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(programs() / "postgres", "-D", data),
                    *(part for k, v in settings.items() for part in ("-c", f"{k}={v}")),
                ],
                cwd=directory,
                stdout=log,
                stderr=log,
                **who,
            )
        _wait_until_ready(server, process)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # at once: nobody needs the data
            process.wait(DEADLINE_S)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            connection = server.connect("postgres")
            break
        except psycopg.OperationalError:
            told = (server.directory / "log").read_text(errors="replace")
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
    with connection:
        for role in ("app", "clerk"):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{server.password}'")
