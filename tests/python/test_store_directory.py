"""The data directory: made, checked, refused with a remedy; nothing half-done."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from store_support import make_clock, open_shop, run_python, start_python, write_catalog
from tenancy import Tenancy
from tenancy.errors import (
    InvalidValue,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreUnsafe,
    StoreUnsupported,
    VersionMismatch,
)
from tenancy.stores import directory, schema
from tenancy.stores.database import Database
from tenancy.stores.directory import file_system_of, open_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with open_shop(tmp_path) as t:
            t.sessions.create(t.tenants.create("Acme"), "u1")
            data = tmp_path / "data"
            assert mode(data) == 0o700
            assert mode(data / "keys") == 0o700
            for file in ("VERSION", "tenancy.db", "counters", "keys/sessions"):
                assert mode(data / file) == 0o600, file
    finally:
        os.umask(old)


def test_the_catalog_is_remembered(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    with Tenancy.open(tmp_path / "data") as t:
        assert t.catalog.name == "shop"


def test_the_first_opening_needs_a_catalog(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="agent-orchestrator"):
        Tenancy.open(tmp_path / "data")


@pytest.mark.parametrize("wrong", [0o755, 0o750, 0o701])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, wrong: int) -> None:
    open_shop(tmp_path).close()
    (tmp_path / "data").chmod(wrong)
    with pytest.raises(StoreUnsafe, match="chmod 700"):
        Tenancy.open(tmp_path / "data")


def test_a_database_open_to_others_is_refused(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    (tmp_path / "data" / "tenancy.db").chmod(0o644)
    with pytest.raises(StoreUnsafe, match="chmod 600"):
        Tenancy.open(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    os.chown(tmp_path / "data", 12345, -1)
    with pytest.raises(StoreUnsafe, match="uid 12345"):
        Tenancy.open(tmp_path / "data")


def test_a_read_only_directory_is_refused_with_the_remedy() -> None:
    code = """
        import os, sys
        from pathlib import Path
        from tenancy.stores.directory import open_directory
        from tenancy.errors import StoreNotWritable
        if os.geteuid() == 0:
            os.chown(sys.argv[1], 65534, -1)
            os.setuid(65534)
        os.chmod(sys.argv[1], 0o500)
        try:
            open_directory(Path(sys.argv[1]))
        except StoreNotWritable as error:
            print("refused", error)
    """
    with tempfile.TemporaryDirectory() as parent:  # pytest's own are closed to other users
        Path(parent).chmod(0o755)
        target = Path(parent) / "data"
        target.mkdir(mode=0o700)
        done = run_python(code, target)
    assert done.stdout.startswith("refused"), done.stderr
    assert "may write" in done.stdout


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hello")
    with pytest.raises(StoreError, match="not a directory"):
        open_shop(tmp_path)


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "photo.jpg").write_text("x")
    with pytest.raises(StoreError, match=r"photo\.jpg"):
        open_shop(tmp_path)
    assert sorted(p.name for p in data.iterdir()) == ["photo.jpg"]


def test_a_database_without_its_version_file_is_refused(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    (tmp_path / "data" / "VERSION").unlink()
    with pytest.raises(StoreDamaged, match="VERSION"):
        Tenancy.open(tmp_path / "data")


def test_another_major_version_is_refused_naming_the_command(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    version = tmp_path / "data" / "VERSION"
    for major, command in ((0, "tenancy migrate --data"), (2, "install the release")):
        version.write_text(json.dumps({"format": "tenancy-data", "major": major, "minor": 3}))
        with pytest.raises(VersionMismatch, match=command):
            Tenancy.open(tmp_path / "data")


def test_a_newer_minor_version_works(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
    data = tmp_path / "data"
    text = json.dumps({"format": "tenancy-data", "major": 1, "minor": 9, "colour": "green"})
    (data / "VERSION").write_text(text)
    with sqlite3.connect(data / "tenancy.db") as connection:
        connection.execute("ALTER TABLE tenants ADD COLUMN mood TEXT")
        connection.execute("CREATE TABLE moods (id INTEGER)")
        connection.execute("UPDATE alembic_version SET version_num = '0042'")
        connection.execute("INSERT INTO changes (kind, ref) VALUES ('mood', 'x')")
    connection.close()
    with Tenancy.open(data, clock=make_clock()) as t:
        t.tenants.create("Beta", slug="beta")
        assert [x.slug for x in t.tenants.list()] == ["acme", "beta"]
        assert t.check(tenant="beta")
    assert (data / "VERSION").read_text() == text
    with sqlite3.connect(data / "tenancy.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0042",)
    connection.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other", "major": 1, "minor": 0}'])
def test_a_damaged_version_file_is_refused(tmp_path: Path, text: str) -> None:
    open_shop(tmp_path).close()
    (tmp_path / "data" / "VERSION").write_text(text)
    with pytest.raises(StoreDamaged):
        Tenancy.open(tmp_path / "data")


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_shop(tmp_path).close()
    database = tmp_path / "data" / "tenancy.db"
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    database.chmod(0o600)
    before = database.read_bytes()
    with pytest.raises(StoreDamaged, match="another program"):
        Tenancy.open(tmp_path / "data")
    assert database.read_bytes() == before


@pytest.mark.parametrize("junk", [b"hello world" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_database_is_refused(tmp_path: Path, junk: bytes) -> None:
    open_shop(tmp_path).close()
    (tmp_path / "data" / "tenancy.db").write_bytes(junk)
    with pytest.raises(StoreDamaged, match="backup"):
        Tenancy.open(tmp_path / "data")


@pytest.mark.parametrize("junk", [b"hello world" * 1000, b"\x7fELF" + bytes(8192)])
def test_a_foreign_counter_file_is_refused_and_left_alone(tmp_path: Path, junk: bytes) -> None:
    open_shop(tmp_path).close()
    counters = tmp_path / "data" / "counters"
    counters.unlink()
    counters.write_bytes(junk)
    counters.chmod(0o600)
    with pytest.raises(StoreError, match=r"move .* away"):
        Tenancy.open(tmp_path / "data")
    assert counters.read_bytes() == junk


def test_processes_that_open_a_new_directory_together_agree(tmp_path: Path) -> None:
    program = """
        import sys
        from tenancy import Tenancy
        with Tenancy.open(sys.argv[1], catalog=sys.argv[2]) as t:
            print(t.tenants.ensure_default().id)
    """
    catalog = write_catalog(tmp_path)
    processes = [start_python(program, tmp_path / "data", catalog) for _ in range(4)]
    ids = {process.communicate(timeout=180)[0].strip() for process in processes}
    assert len(ids) == 1
    with Tenancy.open(tmp_path / "data") as t, t._host.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM catalogs").scalar() == 1


def test_postgresql_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(StoreUnsupported, match="SQLite"):
        Tenancy.open("postgresql://db/tenancy", catalog=write_catalog(tmp_path))


def test_network_file_systems_are_recognised() -> None:
    mounts = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 21 0:40 / /srv/nfs rw shared:7 - nfs4 host:/export rw\n"
        "31 30 8:2 / /srv/nfs/local rw - xfs /dev/sdb1 rw\n"
        "32 21 0:41 / /mnt/with\\040space rw - fuse.sshfs me@host: rw\n"
    )
    assert file_system_of(Path("/home/me"), mounts) == "ext4"
    assert file_system_of(Path("/srv/nfs/data"), mounts) == "nfs4"
    assert file_system_of(Path("/srv/nfsdata"), mounts) == "ext4"
    assert file_system_of(Path("/srv/nfs/local/x"), mounts) == "xfs"
    assert file_system_of(Path("/mnt/with space/x"), mounts) == "fuse.sshfs"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_directory_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The kernel's table of mounts is made to say so; a real mount needs a server and rights."""
    monkeypatch.setattr(directory, "file_system_of", lambda path, mounts: kind)
    with pytest.raises(StoreUnsafe, match=rf"network file system \({kind}\).*local disk"):
        open_shop(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_migrations_go_forward_and_back_and_forward(tmp_path: Path) -> None:
    directory = open_directory(tmp_path / "data")
    database = Database(directory)
    database.migrate("base")
    with database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
    database.migrate()
    with database.read() as connection:
        names = set(sa.inspect(connection).get_table_names())
    assert names == {*schema.metadata.tables, "alembic_version"}


def test_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(open_directory(tmp_path / "data"))
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        for table in schema.metadata.tables:
            made = sa.text("SELECT sql FROM sqlite_master WHERE name = :name")
            sql = connection.execute(made, {"name": table}).scalar_one()
            assert sql.rstrip().endswith("STRICT"), table


def test_a_closed_tenancy_says_so(tmp_path: Path) -> None:
    t = open_shop(tmp_path)
    t.close()
    t.close()
    for call in (
        lambda: t.tenants.create("Acme"),
        lambda: t.check(tenant="acme"),
        lambda: t.quotas.status("acme", "tokens"),
        lambda: t.revision,
    ):
        with pytest.raises(StoreClosed):
            call()
    assert "closed" in repr(t)


def test_a_full_disk_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        t.tenants.create("Acme", slug="acme")
        before = t.revision, t.engine.word()

        def fill() -> None:
            with t._host.write("system") as change:
                pages = change.connection.exec_driver_sql("PRAGMA page_count").scalar()
                change.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
                for number in range(10_000):
                    change.fact("test", "fill", context={"text": "x" * 500, "number": number})

        with pytest.raises(StoreError, match="nothing was changed"):
            fill()
        assert (t.revision, t.engine.word()) == before
        assert t.tenants.create("Beta").slug == "beta"
