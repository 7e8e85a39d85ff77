"""What the tests of the store and the services share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tenancy import Tenancy, _core

START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
DAY_NS = 86_400_000_000_000
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

CATALOG = """
catalog: shop
version: "1"
format: 1
default_plan: free
default_action: api_requests
quotas:
  projects: {kind: count}
  tokens: {kind: consumption, period: month}
  agents: {kind: concurrency, lease: 60s}
features: [sso]
permissions: [ticket:read, ticket:write, report:read, report:write, payment:create, payment:approve]
roles:
  agent: {permissions: [ticket:read, ticket:write]}
  lead: {inherits: [agent], permissions: ["report:*"]}
  payer: {permissions: [payment:create]}
  approver: {permissions: [payment:approve]}
duties:
  - {name: four_eyes, roles: [payer, approver], at_most: 1}
plans:
  free:
    quotas: {projects: 3, tokens: 100, agents: 1}
    rate_limits: {api_requests: 100/minute}
  pro:
    quotas: {projects: 10, tokens: 1000, agents: 2}
    rate_limits: {api_requests: 1000/minute}
    features: [sso]
    retention_days: 7
"""


def make_clock(path: Path | None = None) -> _core.FakeClock:
    return _core.FakeClock(START_NS, None if path is None else str(path))


def write_catalog(directory: Path, text: str = CATALOG, name: str = "shop.yaml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def open_shop(directory: Path, clock: Any = None, **options: Any) -> Tenancy:
    """A Tenancy on `directory/data` with the catalog above."""
    options.setdefault("catalog", write_catalog(directory))
    return Tenancy.open(directory / "data", clock=clock or make_clock(), **options)


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with this one's import path."""
    program = textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """The same, to be spoken to: lines in, lines out."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen[str], line: str) -> str:
    """Send one line, read one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process ended"
    return answer.strip()


def killed(process: subprocess.CompletedProcess[str]) -> bool:
    return process.returncode == -signal.SIGKILL


FULL: dict[str, Any] = {
    "slug": "acme",
    "plan": "pro",
    "external_id": "crm-1",
    "owner": {"user_id": "u1", "email": "ann@acme.example", "name": "Ann"},
    "contacts": [{"name": "Bob", "email": "bob@acme.example", "role": "billing"}],
    "company": {"name": "Acme Ltd", "size": 12},
    "settings": {
        "default_model": "small",
        "allowed_models": ["small", "large"],
        "compliance": ["gdpr"],
        "data_residency": "eu",
        "channels": {"slack": {"enabled": True, "credentials": "env:SLACK"}},
        "backend": {"url": "https://acme.internal", "timeout": 30},
    },
    "overrides": {"quotas": {"projects": 20}, "features": {"sso": False}},
    "billing": {"customer_id": "cus_1", "email": "pay@acme.example", "currency": "EUR"},
    "metadata": {"tier": "gold"},
    "time_zone": "Europe/Vienna",
}
