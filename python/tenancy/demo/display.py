"""What the demonstration shows: a live screen on a terminal, lines elsewhere, tables at the end."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .bills import METRICS, Billed
from .checks import Exact, Latency, Suspension
from .scenario import BILLS, CUSTOMERS
from .traffic import ALLOWED, LIMITED, Results

__all__ = ["Limits", "Screen"]

Limits = Mapping[str, Mapping[str, int]]
"""By tenant, then by name of limit or quota."""

REASONS = {
    "RATE_LIMIT_EXCEEDED": 429,
    "QUOTA_EXCEEDED": 403,
    "CONCURRENCY_EXCEEDED": 403,
    "PERMISSION_DENIED": 403,
    "FEATURE_NOT_IN_PLAN": 403,
    "TENANT_CONFLICT": 403,
    "INVALID_CREDENTIAL": 401,
    "SUSPENDED_TENANT": 401,
}
NAMES = {
    "api_requests": "requests/min",
    "agent_spawns": "agents/min",
    "agents": "agents at once",
    "tokens": "tokens/month",
}
_BAR_CELLS = 10
_REDRAW_S = 0.1
_LINE_S = 2.0


class Screen:
    """Where the demonstration speaks. With `silent` it says nothing."""

    def __init__(self, console: Console, *, silent: bool = False) -> None:
        self.console = console
        self.silent = silent
        self._next = 0.0

    def say(self, text: str = "") -> None:
        if not self.silent:
            self.console.print(text, highlight=False, soft_wrap=True)

    # ------------------------------------------------------------------------------ while it runs

    @contextmanager
    def live(self, results: Results, limits: Limits) -> Iterator[Callable[[], None]]:
        """Gives the function to call whenever something has happened."""
        if self.silent:
            yield lambda: None
        elif self.console.is_terminal:
            with Live(console=self.console, auto_refresh=False, transient=True) as screen:

                def draw() -> None:
                    screen.update(_live(results, limits), refresh=True)

                yield self._throttled(draw, _REDRAW_S)
        else:
            yield self._throttled(lambda: self.say(_line(results)), _LINE_S)

    def _throttled(self, show: Callable[[], None], every_s: float) -> Callable[[], None]:
        def tell() -> None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + every_s
                show()

        return tell

    # ------------------------------------------------------------------------------ at the end

    def outcomes(self, results: Results) -> None:
        """Per tenant: allowed, and refused why."""
        if self.silent:
            return
        total: Counter[str] = sum(results.codes.values(), Counter())
        table = _table("What the requests were answered", "")
        for customer in CUSTOMERS:
            table.add_column(f"{customer.name}\n[dim]{customer.plan}[/]", justify="right")
        for code in (ALLOWED, *REASONS):
            if not total[code]:
                continue
            cells = [_count(results.codes.get(c.slug, Counter())[code]) for c in CUSTOMERS]
            style = "green" if code == ALLOWED else "yellow" if code == LIMITED else "red"
            table.add_row(f"[{style}]{REASONS.get(code, 200)} {code}[/]", *cells)
        sums = [sum(results.codes.get(c.slug, Counter()).values()) for c in CUSTOMERS]
        table.add_row("sent", *map(_count, sums), style="bold")
        self._show(table)

    def exactness(self, found: Sequence[Exact], workers: int) -> None:
        """Admitted against the limits, over all workers together."""
        if self.silent:
            return
        names = {customer.slug: customer.name for customer in CUSTOMERS}
        title = f"Admitted by {workers} workers together, against the plan"
        table = _table(title, "tenant", "limit", "> plan", "> admitted", "> refused", "")
        last = ""
        for one in found:
            table.add_row(
                "" if one.tenant == last else names[one.tenant],
                NAMES[one.name],
                f"{one.limit:,}",
                f"{one.admitted:,}",
                _count(one.refused),
                _verdict(one),
            )
            last = one.tenant
        self._show(table)

    def latency(self, told: Latency) -> None:
        if self.silent:
            return
        title = "Time in a worker until the response begins"
        table = _table(title, f"{told.samples} requests each", "> p50", "> p95")
        for name, spread in (
            ("the endpoint alone", told.bare_ms),
            ("with two dependencies that do nothing", told.empty_ms),
            ("with tenancy: key, tenant, limit, permission", told.tenancy_ms),
            ("[bold]added by tenancy[/]", told.added_ms),
        ):
            table.add_row(name, f"{spread.p50:.3f} ms", f"{spread.p95:.3f} ms")
        one = told.decision_us
        table.add_row("one decision, in this process", f"{one.p50:.1f} µs", f"{one.p95:.1f} µs")
        self._show(table)

    def suspension(self, told: Suspension) -> None:
        if self.silent:
            return
        name = next(c.name for c in CUSTOMERS if c.slug == told.tenant)
        title = f"{name} is suspended by another process"
        table = _table(title, "> worker", "before", "very next request", "after resuming")
        for worker, before in told.before.items():
            answers = (before, told.suspended.get(worker, "–"), told.resumed.get(worker, "–"))
            cells = [f"[{'green' if a == ALLOWED else 'red'}]{a}[/]" for a in answers]
            table.add_row(str(worker), *cells)
        self._show(table)

    def bills(self, told: Sequence[Billed]) -> None:
        if self.silent:
            return
        title = "An hour of requests to two language models, metered and invoiced"
        table = _table(title, "prices", "invoice", "> tokens in", "> tokens out", "> total", "")
        for one in told:
            tokens = [f"{one.used[metric]:,f}" for metric in METRICS]
            total = f"{one.total:,f} {one.currency}"
            verdict = "[green]✓ exact[/]" if one.ok else "[bold red]✗[/]"
            table.add_row(one.plan, one.number, *tokens, total, verdict)
        self._show(table)

    def _show(self, table: Table) -> None:
        self.console.print(table)
        self.console.print()

    def introduction(self, data: str, catalog: str, url: str, workers: int) -> None:
        """What there is."""
        self.say("[bold]tenancy demo[/]")
        self.say(f"  data      {escape(data)}, catalog {catalog}")
        self.say(f"  server    FastAPI under uvicorn, {workers} worker processes, {url}")

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A sign of life while nothing can be told."""
        if self.silent or not self.console.is_terminal:
            return nullcontext()
        return self.console.status(what)

    def traffic(self, count: int, seconds: float) -> None:
        """What comes."""
        told = f"{count:,} real requests to two language models, 5 minutes in {seconds:.0f} s"
        self.say(f"  traffic   {told}")
        self.say("            Azure Public Dataset, github.com/Azure/AzurePublicDataset, CC BY 4.0")
        self.say()

    def ending(self, ok: bool, seconds: float) -> None:
        """The verdict."""
        verdict = "[bold green]All checks passed" if ok else "[bold red]A check FAILED"
        self.say(f"{verdict}[/] in {seconds:g} s. Nothing is left running.")

    def next_steps(self, data: str, key: str, invoice: str) -> None:
        """What to type now."""
        program = _program()
        self.say()
        self.say("The data is still there. Try next:")
        for command in (
            "tenants list",
            "limits show sparrow",
            "audit search --limit 10",
            f"explain --api-key {key} --permission agent:create",
            "serve",
        ):
            self.say(f"  {program} {escape(command)} --data {escape(data)}")
        self.say(f"  curl -H 'X-API-Key: {key}' http://127.0.0.1:8000/tenancy/usage")
        place = f"{data}/{BILLS}"
        self.say(f"  {program} bills show {invoice} --data {escape(place)}")


def _program() -> str:
    """What to type for this installation's `tenancy`."""
    if shutil.which("tenancy"):
        return "tenancy"
    beside = Path(sys.executable).with_name("tenancy")
    if not beside.exists():
        return "python -m tenancy"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)


def _table(title: str, *columns: str) -> Table:
    """Columns whose name begins with `> ` are aligned to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        right = column.startswith("> ")
        table.add_column(column.removeprefix("> "), justify="right" if right else "left")
    return table


def _verdict(one: Exact) -> str:
    if not one.ok:
        return f"[bold red]✗ counted {one.counted:,}[/]"
    if one.admitted == one.limit:
        return "[green]✓ exact[/]"
    if one.name == "tokens" and one.refused:
        return "[green]✓ used up[/]"
    return "[green]✓ within[/]"


def _count(number: int) -> str:
    return f"{number:,}" if number else "[dim]–[/]"


def _live(results: Results, limits: Limits) -> Group:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("tenant", NAMES["api_requests"], NAMES["tokens"]):
        table.add_column(column)
    for column, style in (("allowed", "green"), ("limited", "yellow"), ("refused", "red")):
        table.add_column(column, justify="right", style=style)
    for customer in CUSTOMERS:
        slug = customer.slug
        codes = results.codes.get(slug, Counter[str]())
        allowed, limited = codes[ALLOWED], codes[LIMITED]
        table.add_row(
            f"[bold]{customer.name}[/]\n[dim]{customer.plan}[/]",
            _bar(results.requests[slug], limits[slug]["api_requests"]),
            _bar(results.tokens[slug], limits[slug]["tokens"]),
            f"{allowed:,}",
            f"{limited:,}",
            f"{sum(codes.values()) - allowed - limited:,}",
        )
    lines: list[Table | Text] = [Text(_line(results), style="bold"), Text(), table, Text()]
    last = results.last_refusal
    if last is not None:
        named = f" {last.limit}" if last.limit else ""
        told = f"last refusal        {last.call.tenant}: {last.status} {last.code}{named}"
        lines.append(Text(told, style="dim"))
    spread = "  ".join(f"{worker}: {count:,}" for worker, count in sorted(results.workers.items()))
    lines.append(Text(f"answered by worker  {spread}", style="dim"))
    return Group(*lines)


def _bar(used: int, limit: int) -> Text:
    filled = min(_BAR_CELLS, used * _BAR_CELLS // max(1, limit))
    colour = "red" if used >= limit else "yellow" if used * 10 >= limit * 8 else "green"
    bar = Text("█" * filled, style=colour)
    bar.append("░" * (_BAR_CELLS - filled), style="dim")
    bar.append(f"\n{used:,} / {limit:,}")
    return bar


def _line(results: Results) -> str:
    done, seconds = len(results.outcomes), results.seconds
    rate = done / seconds if seconds else 0
    return f"{seconds:5.1f} s  {done:,} of {results.total:,} requests, {rate:,.0f} a second"
