"""`tenancy usage` for metering: `record`, `import`, `correct`, `aggregate`, `events`, `purge`, …"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from ..errors import InvalidValue
from ..usage import UsagePeriod
from . import _common as c
from . import usage_plot

__all__ = ["add_to"]

Metric = Annotated[str, typer.Argument(help="A metric of the catalog or of a price book.")]
Since = Annotated[
    str | None, typer.Option(help="ISO 8601 time, or such as 90d ago [start of the period].")
]
Until = Annotated[
    str | None, typer.Option(help="ISO 8601 time, or such as 1d ago [end of the period].")
]
Source = Annotated[str, typer.Option(help="Who sent it; ids are told apart by it.")]
Backfill = Annotated[
    bool, typer.Option("--backfill", help="Also into a period that is closed. Audited.")
]
Properties = Annotated[str | None, typer.Option(help="A JSON object.")]
OfRows = Annotated[str | None, typer.Option(help="Of rows without such a column.")]
EventId = Annotated[str, typer.Argument(help="The event's id.")]


def add_to(app: typer.Typer) -> None:
    app.command("record")(record)
    app.command("import")(import_)
    app.command("correct")(correct)
    app.command("cancel")(cancel)
    app.command("aggregate")(aggregate)
    app.command("events")(events)
    app.command("periods")(periods)
    app.command("close")(close)
    app.command("purge")(purge)


def record(
    tenant: c.Tenant,
    metric: Metric,
    quantity: Annotated[str, typer.Argument(help="How much, such as 3 or 0.25.")] = "1",
    id: Annotated[str | None, typer.Option(help="Makes a retry safe.")] = None,  # noqa: A002
    source: Source = "",
    time: Annotated[str | None, typer.Option(help="When it was used, ISO 8601 [now].")] = None,
    properties: Properties = None,
    consume: Annotated[
        bool | None, typer.Option("--consume/--no-consume", help="Charge the metric's quota.")
    ] = None,
    backfill: Backfill = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Record that a tenant used so much of a metric."""
    with c.opened(data, as_json) as t:
        done = t.usage.record(
            tenant,
            metric,
            quantity,
            id=id,
            source=source,
            time=c.parse_time(time, "--time"),
            properties=_object(properties),
            consume=consume,
            backfill=backfill,
            by=c.operator(),
        )
        c.print_record(done, as_json)


def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines (also .gz) or Parquet.")],
    tenant: OfRows = None,
    metric: OfRows = None,
    source: Annotated[str | None, typer.Option(help="Of rows without one [file's name].")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="field=column, where the names differ; repeated.")
    ] = None,
    quantity_column: Annotated[
        list[str] | None, typer.Option(help="column=metric: a row is several events; repeated.")
    ] = None,
    property: Annotated[  # noqa: A002 - the option's name
        list[str] | None, typer.Option(help="A column that becomes a property; repeated.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="Of times as numbers: s, ms, us, ns.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv, jsonl, parquet [by the name].")] = None,  # noqa: A002
    rejected: Annotated[
        Path | None, typer.Option(help="CSV for rows that are wrong [FILE.rejected.csv].")
    ] = None,
    backfill: Backfill = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Record the rows of a file. The same file again is all duplicates.

    A row that is wrong is written to a CSV with the reason, and holds up no other; status 1 then.
    """
    with c.opened(data, as_json) as t, _bar(as_json) as progress:
        report = t.usage.import_(
            file,
            format=format,
            columns=_pairs(column, "--column"),
            quantities=_pairs(quantity_column, "--quantity-column"),
            properties=property or (),
            tenant=tenant,
            metric=metric,
            source=source,
            time_unit=time_unit,
            backfill=backfill,
            progress=progress,
            rejected=rejected or Path(f"{file}.rejected.csv"),
            by=c.operator(),
        )
    shown = {k: v for k, v in report.as_dict().items() if k != "rejections"}
    c.print_record(shown, as_json)
    if report.rejected:
        if not as_json:
            first = report.rejections[0]
            place = f"row {first.row}" + (f", {first.column}" if first.column else "")
            more = f" (and {report.rejected - 1} more)" if report.rejected > 1 else ""
            print(f"{place}: {c.in_commands(first.reason)}{more}", file=sys.stderr)
        raise typer.Exit(c.REFUSED)


def correct(
    tenant: c.Tenant,
    id: EventId,  # noqa: A002 - the argument's name
    quantity: Annotated[str | None, typer.Option(help="What it should have been.")] = None,
    time: Annotated[str | None, typer.Option(help="ISO 8601.")] = None,
    properties: Properties = None,
    source: Source = "",
    backfill: Backfill = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Replace what an event said; what is not given stays."""
    with c.opened(data, as_json) as t:
        done = t.usage.correct(
            tenant,
            id,
            source=source,
            quantity=quantity,
            time=c.parse_time(time, "--time"),
            properties=_object(properties),
            backfill=backfill,
            by=c.operator(),
        )
        c.print_record(done, as_json)


def cancel(
    tenant: c.Tenant,
    id: EventId,  # noqa: A002 - the argument's name
    source: Source = "",
    backfill: Backfill = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Take an event back, so that it does not count."""
    with c.opened(data, as_json) as t:
        t.usage.cancel(tenant, id, source=source, backfill=backfill, by=c.operator())
    c.print_record({"cancelled": id}, as_json)


def aggregate(
    tenant: c.Tenant,
    metric: Metric,
    since: Since = None,
    until: Until = None,
    group_by: Annotated[
        list[str] | None, typer.Option(help="A property to split by; may be repeated.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="hour, day or month.")] = None,
    plot: usage_plot.Plot = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Add up the usage of a metric."""
    with c.opened(data, as_json) as t:
        usage = t.usage.aggregate(
            tenant,
            metric,
            c.parse_time(since, "--since"),
            c.parse_time(until, "--until"),
            group_by=group_by or (),
            every=every,
        )
        if plot is not None:
            points = [(row.since, row.quantity) for row in usage.rows]
            usage_plot.save_usage(plot, points, unit=usage.unit, title=usage.metric)
    if as_json:
        c.print_json(usage)
        return
    title = f"{usage.metric} ({usage.aggregation}): {usage.quantity:f} {usage.unit or ''}".rstrip()
    rows = [
        (row.since, row.until, *(row.group.get(name) for name in group_by or ()), row.quantity,
         row.events)
        for row in usage.rows or (_whole(usage),)
    ]  # fmt: skip
    c.print_table(("since", "until", *(group_by or ()), "quantity", "events"), rows, title=title)


def events(
    tenant: c.Tenant,
    metric: Annotated[str | None, typer.Argument(help="A metric [all].")] = None,
    since: Since = None,
    until: Until = None,
    limit: c.Limit = 100,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List the events behind a number, oldest first."""
    with c.opened(data, as_json) as t:
        page = t.usage.events(
            tenant,
            metric,
            c.parse_time(since, "--since"),
            c.parse_time(until, "--until"),
            limit=limit,
            cursor=cursor,
        )
    columns: Mapping[str, Callable[[Any], Any]] = {
        "time": lambda e: e.time,
        "metric": lambda e: e.metric,
        "quantity": lambda e: e.quantity,
        "id": lambda e: e.id,
        "source": lambda e: e.source,
        "properties": lambda e: e.properties,
    }
    c.print_page(page, columns, as_json)


def periods(
    tenant: c.Tenant,
    count: Annotated[int, typer.Option(min=1, max=120, help="How many, the newest first.")] = 3,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Show a tenant's latest periods, and which still take events."""
    with c.opened(data, as_json) as t:
        found: list[UsagePeriod] = [t.usage.period(tenant)]
        while len(found) < count and found[-1].start.year > 1970:
            found.append(t.usage.period(tenant, found[-1].start.timestamp() - 1))
    if as_json:
        c.print_json({"items": found})
        return
    c.print_table(
        ("start", "end", "state", "late events until"),
        [(p.start, p.end, p.state, p.grace_until) for p in found],
    )


def close(
    tenant: c.Tenant,
    until: Annotated[
        str | None, typer.Option(help="ISO 8601 time [start of the current period].")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Take no more events before a time, as if it had been invoiced."""
    with c.opened(data, as_json) as t:
        done = t.usage.close(tenant, c.parse_time(until, "--until"), by=c.operator())
    c.print_record(done, as_json)


def purge(
    tenant: Annotated[str, typer.Argument(help="The id of a tenant that was purged.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Delete the usage of a tenant that was purged, and show what is left of it."""
    with c.opened(data, as_json) as t:
        done = t.usage.purge(tenant, by=c.operator())
    c.print_record(done, as_json)


def _whole(usage: Any) -> Any:
    from ..usage import UsageRow

    return UsageRow(usage.since, usage.until, usage.quantity, usage.events)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InvalidValue("--properties", f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InvalidValue("--properties", "expected a JSON object", remedy='\'{"key": "value"}\'')
    return value


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidValue(option, repr(text), remedy="name=value")
        pairs[name] = value
    return pairs


@contextmanager
def _bar(as_json: bool) -> Iterator[Callable[[int, int | None], object] | None]:
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield None
        return
    with Bar(console=console) as bar:
        task = bar.add_task("importing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
