"""Anchors: checkpoints kept off the host, which show what no log can show of itself."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import DNSName
from typer.testing import CliRunner

from audit_support import open_live
from pki_support import SERVER, Authority
from tenancy import Tenancy
from tenancy.anchors import (
    Anchor,
    CommandAnchor,
    FileAnchor,
    HttpAnchor,
    PostgresAnchor,
    anchor_from_url,
)
from tenancy.cli import app
from tenancy.errors import Conflict, InvalidValue, StoreError, StoreNotWritable
from tenancy.stores.anchoring import Anchoring
from tenancy.stores.anchors import log_and_size, split_notes
from tenancy.stores.audit_verify import verify_log

TOKEN = "a-token-of-the-test"

KEEPER = """
import pathlib, sys
file, what = pathlib.Path(sys.argv[1]), sys.argv[-1]
if what == "publish":
    with file.open("a") as kept:
        kept.write(sys.stdin.read())
elif file.exists():
    print(file.read_text(), end="")
"""


class Notary(http.server.ThreadingHTTPServer):
    """Keeps notes in memory, one of each number, as `HttpAnchor` describes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), NotaryHandler)
        self.notes: dict[tuple[str, str], str] = {}
        self.answer: int | None = None
        self.hangs = threading.Event()
        self.go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/notes"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that did not wait is no error of the test."""


class NotaryHandler(http.server.BaseHTTPRequestHandler):
    server: Notary

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        note = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not self._allowed():
            return
        log, size = note.split("\n")[:2]
        kept = self.server.notes.setdefault((log, size), note)
        self._say(200 if kept == note else 409, "")

    def do_GET(self) -> None:
        if self._allowed():
            self._say(200, "".join(self.server.notes.values()))

    def _allowed(self) -> bool:
        if self.server.hangs.is_set():
            self.server.go.wait(60)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._say(401, "no")
        elif self.server.answer is not None:
            self._say(self.server.answer, "no", Location="http://127.0.0.1:9/other")
        else:
            return True
        return False

    def _say(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def notary() -> Iterator[Notary]:
    server = Notary()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.go.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


def command(tmp_path: Path) -> CommandAnchor:
    script = tmp_path / "keeper.py"
    script.write_text(KEEPER)
    return CommandAnchor([sys.executable, str(script), str(tmp_path / "kept")])


KINDS = ("file", "command", "http", "postgres")


@pytest.fixture(params=KINDS)
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Anchor:
    return make(request, tmp_path, request.param)


def make(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Anchor:
    if kind == "file":
        return FileAnchor(tmp_path / "anchor")
    if kind == "command":
        return command(tmp_path)
    if kind == "http":
        return HttpAnchor(request.getfixturevalue("notary").url, token=TOKEN)
    postgres = request.getfixturevalue("postgres")
    return PostgresAnchor(postgres.url(postgres.fresh()), table="safe_notes")


def codes(t: Tenancy, *anchors: Anchor | str) -> list[str]:
    return [f["code"] for f in t.audit.verify(anchors=anchors).findings if f["status"]]


# ------------------------------------------------------------------------------ each kind


def test_an_anchor_keeps_notes_and_a_roll_back_is_seen(tmp_path: Path, anchor: Anchor) -> None:
    assert isinstance(anchor, Anchor)
    data, old = tmp_path / "data", tmp_path / "old"
    with open_live(tmp_path) as t:
        t.audit.append("login")
        first = t.audit.checkpoint(to=anchor)
        anchor.publish(first)
        if not isinstance(anchor, CommandAnchor):  # that one is the test's own program
            assert anchor.fetch() == [first]
    shutil.copytree(data, old)
    with open_live(tmp_path) as t:
        t.audit.append("login")
        second = t.audit.checkpoint(to=anchor)
        assert set(anchor.fetch()) == {first, second}
        report = t.audit.verify(anchors=[anchor])
        assert (report.status, report.findings[-1]["code"]) == (0, "key_on_host")
        assert report.anchors >= 2

    shutil.rmtree(data)
    old.rename(data)
    place = (data / "log", data / "keys/log.verify")
    assert verify_log(*place, [first]).status == 0, "by itself it is a whole log"
    report = verify_log(*place, [anchor])
    assert (report.status, report.first and report.first["code"]) == (1, "rolled_back")
    with open_live(tmp_path) as t:
        t.audit.append("another history")
        assert not t.audit.verify(anchors=[anchor])
        if isinstance(anchor, CommandAnchor):
            return
        for _ in range(log_and_size(second)[1] - log_and_size(first)[1] - 1):
            t.audit.checkpoint()
        # The number of the one that was lost is used again.
        with pytest.raises(Conflict, match="another checkpoint"):
            t.audit.checkpoint(to=anchor)
        assert second in anchor.fetch(), "it is not written over"


def test_notes_of_several_logs_in_one_anchor(tmp_path: Path, anchor: Anchor) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with open_live(tmp_path / name) as t:
            t.audit.checkpoint(to=anchor)
    with open_live(tmp_path / "a") as t:
        assert t.audit.verify(anchors=[anchor]).status == 0
        [other] = [note for note in anchor.fetch() if t._host.facts.log.id not in note]
        assert codes(t, other) == ["anchor_signature"], "named as such, it must be of this log"
    (tmp_path / "c").mkdir()
    with open_live(tmp_path / "c") as t:
        report = t.audit.verify(anchors=[anchor])
        assert (report.status, report.first["code"]) == (3, "anchor_foreign")


def test_an_empty_anchor_is_no_anchor(tmp_path: Path, anchor: Anchor) -> None:
    if isinstance(anchor, FileAnchor):
        anchor.path.touch()
    if isinstance(anchor, PostgresAnchor):
        with anchor._connected() as connection:
            anchor._make(connection)
    with open_live(tmp_path) as t:
        t.audit.append("login")
        report = t.audit.verify(anchors=[anchor])
        assert report.status == 4
        assert {"anchor_empty", "unanchored"} <= {f["code"] for f in report.findings}
        with pytest.raises(InvalidValue):
            anchor.publish("no checkpoint")


# ------------------------------------------------------------------------------ edits


def test_an_edited_note_is_found(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "anchor")
    with open_live(tmp_path) as t:
        for _ in range(3):
            t.audit.append("login")
            t.audit.checkpoint(to=anchor)
        good = anchor.path.read_text()
        notes = split_notes(good)
        assert "".join(notes) == good
        assert t.audit.verify(anchors=[anchor]).status == 0
        at = good.index("chain security") + len("chain security ")
        anchor.path.write_text(good[:at] + str(9 - int(good[at])) + good[at + 1 :])
        report = t.audit.verify(anchors=[anchor])
        assert (report.status, report.first["code"]) == (1, "anchor_signature")
        anchor.path.write_text("x" + good)
        assert codes(t, anchor)[0] == "anchor_signature"


def test_a_note_that_was_not_written_to_its_end_is_passed_over(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "anchor")
    with open_live(tmp_path) as t:
        first, second = t.audit.checkpoint(to=anchor), t.audit.checkpoint()
        for cut in range(1, len(second) - 1):
            assert split_notes(second[:cut]) == []
            assert split_notes(f"{first}{second[:cut]}\n{second}") == [first, second]
        for cut in (5, 60, 200, len(second) - 2):
            anchor.path.write_text(first + second[:cut])
            assert anchor.fetch() == [first]
            anchor.publish(second)
            assert anchor.fetch() == [first, second]
        anchor.path.write_text(first + second[:200] + "\0" * 99)
        anchor.publish(second)
        assert t.audit.verify(anchors=[anchor]).status == 0


# ------------------------------------------------------------------------------ out of reach


def unreachable(tmp_path: Path) -> dict[str, Callable[[], Anchor]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "fails.py").write_text("import sys; sys.exit('full of ' + sys.argv[1])")
    fails, secret = str(tmp_path / "fails.py"), "sesame-open"
    sleeps = "import time; time.sleep(60)"
    return {
        "file": lambda: FileAnchor(tmp_path / "none" / "anchor"),
        "http": lambda: HttpAnchor(f"http://127.0.0.1:{port}/x?k={secret}", token=secret),
        "postgres": lambda: PostgresAnchor(f"postgresql://me:{secret}@127.0.0.1:{port}/none"),
        "command": lambda: CommandAnchor([sys.executable, fails, secret]),
        "no command": lambda: CommandAnchor(["/no/such/program", secret]),
        "slow command": lambda: CommandAnchor([sys.executable, "-c", sleeps], timeout_s=0.3),
    }


@pytest.mark.parametrize(
    "kind", ["file", "http", "postgres", "command", "no command", "slow command"]
)
def test_an_anchor_out_of_reach_is_said_and_never_whole(tmp_path: Path, kind: str) -> None:
    anchor = unreachable(tmp_path)[kind]()
    with open_live(tmp_path) as t:
        note = t.audit.checkpoint()
        with pytest.raises(StoreError) as caught:
            t.audit.checkpoint(to=anchor)
        report = t.audit.verify(anchors=[note, anchor])
        assert (report.status, report.first["code"]) == (3, "anchor_unreadable")
        assert not report
        shown = repr(anchor) + anchor.name + str(caught.value) + str(report.findings)
        assert "sesame-open" not in shown
        assert anchor.name in report.first["text"]


def test_answers_of_http(tmp_path: Path, notary: Notary) -> None:
    anchor = HttpAnchor(notary.url, token=TOKEN, timeout_s=0.5)
    with open_live(tmp_path) as t:
        note = t.audit.checkpoint()
        for status in (302, 307, 404, 500):  # a redirection would take the token elsewhere
            notary.answer = status
            for call in (anchor.fetch, lambda: anchor.publish(note)):
                with pytest.raises(StoreError, match=str(status)):
                    call()
        notary.answer = None
        with pytest.raises(StoreError, match="401"):
            HttpAnchor(notary.url).fetch()
        notary.hangs.set()
        with pytest.raises(StoreError, match="timed out"):
            anchor.fetch()


def test_over_tls_only_to_a_server_that_somebody_vouches_for(
    tmp_path: Path, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority("anchors")
    issued = authority.issue("localhost", names=[DNSName("localhost")], purposes=(SERVER,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.write(tmp_path, "server"))
    notary.socket = context.wrap_socket(notary.socket, server_side=True)
    url = f"https://localhost:{notary.server_port}/notes"
    with open_live(tmp_path) as t:
        note = t.audit.checkpoint()
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            HttpAnchor(url, token=TOKEN).publish(note)
        assert not notary.notes
        (tmp_path / "authority.pem").write_text(authority.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        t.audit.checkpoint(to=HttpAnchor(url, token=TOKEN))
        assert t.audit.verify(anchors=[HttpAnchor(url, token=TOKEN)]).status == 0


def test_a_full_disk_leaves_no_half_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anchor = FileAnchor(tmp_path / "anchor")
    with open_live(tmp_path) as t:
        first, second = t.audit.checkpoint(to=anchor), t.audit.checkpoint()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StoreNotWritable, match="No space"):
            anchor.publish(second)
    assert anchor.path.read_text() == first


def test_a_role_that_may_only_insert_is_enough(tmp_path: Path, postgres: Any) -> None:
    database = postgres.fresh()
    owner = PostgresAnchor(postgres.url(database), table="audit_notes")
    with open_live(tmp_path) as t:
        t.audit.checkpoint(to=owner)
        with postgres.connect(database) as connection:
            connection.execute("GRANT SELECT, INSERT ON audit_notes TO clerk")
        clerk = PostgresAnchor(postgres.url(database, "clerk"), table="audit_notes")
        t.audit.checkpoint(to=clerk)
        assert len(clerk.fetch()) == 2
        assert t.audit.verify(anchors=[clerk]).status == 0
        none = PostgresAnchor(postgres.url(database, "clerk"), table="elsewhere")
        with pytest.raises(StoreError, match="elsewhere"):
            none.fetch()
        with postgres.connect(database) as connection:
            connection.execute("UPDATE audit_notes SET note = replace(note, 'epoch 0', 'epoch 1')")
        assert "anchor_signature" in codes(t, clerk)


# ------------------------------------------------------------------------------ URLs


def test_urls_name_anchors(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/with%20blank"
    found = anchor_from_url(url)
    assert isinstance(found, FileAnchor)
    assert found.path == tmp_path / "with blank"
    assert anchor_from_url(f"file:{tmp_path}/x").name == f"file:{tmp_path}/x"
    found = anchor_from_url("postgresql://me:sesame-open@db.example:5433/safe#audit.notes")
    assert isinstance(found, PostgresAnchor)
    assert found.name == "postgresql://db.example:5433/safe#audit.notes"
    found = anchor_from_url("https://:sesame-open@notary.example/notes?x=1")
    assert isinstance(found, HttpAnchor)
    assert (found.name, found._token) == ("https://notary.example/notes", "sesame-open")
    assert "sesame-open" not in repr(found)
    found = anchor_from_url("command:/usr/bin/keeper --to 'a b'")
    assert isinstance(found, CommandAnchor)
    assert found._argv == ["/usr/bin/keeper", "--to", "a b"]


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "ftp://x/y", "file://other.host/x", "command:", "command:'x", "https://"),
        *("postgresql://h/d#Bad Table", "postgresql://h/d?nonsense=1", "https://h:port/x"),
        *("http://:token@far.example/x", "https://:%00@h/x", "file:"),
    ],
)
def test_urls_that_name_none_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidValue):
        anchor_from_url(url)
    with pytest.raises(InvalidValue):
        open_live(tmp_path, anchors=[url])
    assert not (tmp_path / "data").exists(), "nothing was made"


def test_what_is_no_anchor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="is no anchor"):
        open_live(tmp_path, anchors=[5])  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match="one name"):
        open_live(tmp_path, anchors=["file:/tmp/x", "file:/tmp/x"])
    for bad in ("one text", [], [""], [5]):
        with pytest.raises(InvalidValue):
            CommandAnchor(bad)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ the job


class Flaky:
    """An anchor of the application's own, which can be down."""

    name = "flaky"

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.down = False
        self.dies_after = 10**9

    def publish(self, note: str) -> None:
        if self.down or len(self.kept) >= self.dies_after:
            raise RuntimeError("no line")
        self.kept.append(note)

    def fetch(self) -> list[str]:
        return self.kept


def turn(t: Tenancy) -> list[str]:
    """One turn of the job, as the elected worker does it."""
    return list(t.background._entries["anchors"].function() or ())


def test_each_new_checkpoint_is_sent_to_every_anchor(tmp_path: Path) -> None:
    flaky, file = Flaky(), FileAnchor(tmp_path / "anchor")
    with open_live(tmp_path, anchors=[flaky, f"file:{file.path}"]) as t:
        assert turn(t) == [] == flaky.kept, "there is none yet"
        old = t.audit.checkpoint()
        newest = t.audit.checkpoint()
        assert turn(t) == []
        assert flaky.kept == file.fetch() == [newest], "an anchor begins with the newest one"
        flaky.down = True
        later = [t.audit.checkpoint() for _ in range(3)]
        [problem] = turn(t)
        assert problem == "anchor flaky: RuntimeError: no line; 3 checkpoints behind"
        assert file.fetch() == [newest, *later]
        flaky.down, flaky.dies_after = False, 3
        [problem] = turn(t)
        assert "1 checkpoints behind" in problem
    # Whoever is elected next goes on behind what was kept, in order.
    flaky.dies_after = 10**9
    with open_live(tmp_path, anchors=[flaky, file]) as t:
        assert turn(t) == []
        assert flaky.kept == file.fetch()[:4] == [newest, *later]
        assert old not in flaky.kept
        assert t.audit.verify(anchors=[flaky, file]).status == 0
        sent = json.loads((tmp_path / "data/anchors.json").read_text())
        assert set(sent["sent"].values()) == {5}


def test_health_names_the_anchor_that_fails(tmp_path: Path) -> None:
    flaky = Flaky()
    flaky.down = True
    with open_live(tmp_path, anchors=[flaky]) as t:
        t.audit.checkpoint()
        t.background.run_due()
        health = t.health()
        assert not health
        assert "anchor flaky: RuntimeError: no line; nothing was sent yet" in health.problems[0]
        flaky.down = False
        assert turn(t) == []


def test_an_anchor_that_hangs_holds_nobody_up(
    tmp_path: Path, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenancy.stores.anchoring._WAIT_S", 0.2)
    notary.hangs.set()
    slow, flaky = HttpAnchor(notary.url, token=TOKEN, timeout_s=60), Flaky()
    with open_live(tmp_path, anchors=[slow, flaky]) as t:
        note = t.audit.checkpoint()
        for _ in range(2):
            [problem] = turn(t)
            assert "has not answered yet" in problem
        assert flaky.kept == [note]
        notary.hangs.clear()
        notary.go.set()
        monkeypatch.setattr("tenancy.stores.anchoring._WAIT_S", 30.0)
        assert turn(t) == []
        assert slow.fetch() == [note]


def test_a_lost_state_sends_the_newest_again(tmp_path: Path) -> None:
    flaky = Flaky()
    for state in (None, b"nonsense", b'{"log": "another", "sent": {"flaky": 99}}', b"[]"):
        with open_live(tmp_path) as t:
            t.audit.checkpoint()
            path = t.path / "anchors.json"
            path.unlink(missing_ok=True)
            if state is not None:
                path.write_bytes(state)
            log = t._host.facts.log
            assert list(Anchoring(t.path, log, [flaky])()) == []
            assert list(Anchoring(t.path, log, [flaky])()) == []
    assert len(flaky.kept) == 4
    assert len(set(flaky.kept)) == 4


# ------------------------------------------------------------------------------ command line


def shell(*words: str, status: int = 0) -> Any:
    result = CliRunner().invoke(app, ["audit", *words, "--json"])
    assert result.exit_code == status, (words, result.output, result.exception)
    return json.loads(result.stdout or "null")


def test_anchors_by_command(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    with open_live(tmp_path) as t:
        t.audit.append("login")
    url = f"file:{tmp_path}/anchor"
    for _ in range(2):
        shell("checkpoint", "--to", url, *data)
    assert shell("verify", "--anchor", url, *data)["status"] == 0
    report = shell("verify", "--anchor", str(tmp_path / "anchor"), *data)
    assert (report["status"], report["anchors"]) == (0, 2)
    none = f"file:{tmp_path}/none"
    report = shell("verify", "--anchor", url, "--anchor", none, *data, status=3)
    assert report["first"]["code"] == "anchor_unreadable"
    shell("checkpoint", "--to", f"file:{tmp_path}/no/where", *data, status=1)
    shell("checkpoint", "--to", "ftp://x", *data, status=2)
    shell("verify", "--anchor", "postgresql://h/d#B-d", *data, status=2)
