"""The README and the pages that belong to it say what is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tenancy import _core
from tenancy.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OURS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{n}.md" for n in ("index", "getting-started", "cli")),
]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", OURS, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", FENCE.sub("", page.read_text(encoding="utf-8")))
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (page.parent / link).exists()] == []


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
        if group in ("plans", "tenants", "keys", "roles", "limits", "audit"):
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
    depth = 1 if words[0] in ("demo", "serve", "explain") else 2
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
