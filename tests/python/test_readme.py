"""The README and the pages that belong to it say what is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tenancy import _core
from tenancy.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = (
    "alerts",
    "audit",
    "bills",
    "keys",
    "limits",
    "plans",
    "roles",
    "sessions",
    "tenants",
    "usage",
)
OURS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{n}.md" for n in ("index", "getting-started", "cli")),
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("cpp/*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as its readers' sites make them."""
    headings = re.findall(
        r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", text.strip().lower()).replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in links:
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    missing = [page for page in sorted(pages) if f"]({page})" not in index]
    assert not missing, "add a line to docs/index.md"


def test_the_two_commands_come_first_and_exist() -> None:
    first = re.search(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert first is not None
    commands = [line.split("#")[0].split() for line in first.group(1).splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_first_example_has_ten_lines() -> None:
    first = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert first is not None
    assert len([line for line in first.group(1).splitlines() if line.strip()]) <= 10


def test_the_table_of_a_decision_names_its_fields() -> None:
    section = README.split("## What a decision says")[1].split("\n## ")[0]
    named = set()
    for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE):
        named |= set(re.findall(r"`(\w+)`", row))
    decision = {n for n in vars(_core.Decision) if not n.startswith("_")}
    left_out = {
        "finished",
        "credential_tenant",
        "principal_is_hint",
        "permissions",
        "explain_permission",
    }
    assert named == decision - left_out


def commands() -> list[tuple[str, str]]:
    """Every `tenancy …` that a page prints, and `sub` of "| `tenancy x` | `sub`, … |"."""
    found = []
    for page in OURS:
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"^tenancy ([a-z][^\n|>]*)", text, re.MULTILINE)
        lines += re.findall(r"`tenancy ([a-z][a-z -]*)[^`]*`", text)
        found += [(name(page), line.strip()) for line in lines]
    table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for group, told in re.findall(r"^\| `tenancy (\w+)` \| (.*) \|$", table, re.MULTILINE):
        if group in GROUPS:
            found += [
                ("docs/cli.md", f"{group} {sub}")
                for sub in re.findall(r"`([a-z-]+)[ `]", told)
                if not sub.startswith("--")
            ]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), commands())
def test_printed_commands_exist(page: str, line: str) -> None:
    words = []
    for word in line.split():
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            break
        words.append(word)
    depth = 2 if words[0] in GROUPS else 1
    done = CliRunner().invoke(app, [*words[:depth], "--help"])
    assert done.exit_code == 0, f"{page}: tenancy {line}\n{done.output}"
    for option in re.findall(r"(?<= )--[a-z-]+", line):
        assert option in done.output, f"{page}: tenancy {line}: no {option}"


def test_the_session_of_the_command_line_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    session = text.split("## A session")[1].split("```")[1].strip().splitlines()
    monkeypatch.setenv("TENANCY_DATA", str(tmp_path / "data"))
    assert len(session) > 5
    for line in session:
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.web
@pytest.mark.slow
def test_the_application_of_the_readme_runs_on_several_workers(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from server_support import free_port, serving

    first, second = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[:2]
    once = first + "t.tenants.resume(acme)\nprint(secret)\n"
    made = subprocess.run(
        [sys.executable, "-c", once], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    health = "\n\n@app.get('/health')\ndef health(): ...\n"
    (tmp_path / "service.py").write_text(second + health, encoding="utf-8")
    assert "uvicorn service:app --workers 4" in README
    key = {"X-API-Key": made.stdout.strip()}
    data, port = tmp_path / "tenancy-data", free_port()
    command = ["uvicorn", "service:app", "--workers", "2", "--port", str(port)]
    with serving(data, command, port) as client:
        for _ in range(3):
            assert client.post("/agents", headers=key).status_code == 200
            client.headers["Connection"] = "close"  # each request may meet the other worker
        assert client.post("/agents").json()["code"] == "MISSING_TENANT"
        suspended = ["tenants", "suspend", "acme", "--data", str(data)]
        assert CliRunner().invoke(app, suspended).exit_code == 0
        for _ in range(6):
            refused = client.post("/agents", headers=key)
            assert (refused.status_code, refused.json()["code"]) == (401, "SUSPENDED_TENANT")
