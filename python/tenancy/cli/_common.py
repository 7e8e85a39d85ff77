"""What every command shares: options, opening the directory, output, exit status.

Exit status: 0 done, 1 refused or check failed, 2 usage.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..app import DEFAULT_PATH, Tenancy
from ..catalog import QuotaGrant, RateLimit
from ..errors import CatalogError, InvalidValue, StoreError, TenancyError
from ..stores.records import Page, Record

Data = Annotated[
    str | None,
    typer.Option("--data", envvar="TENANCY_DATA", help="Data directory [./tenancy-data]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Tenant = Annotated[str, typer.Argument(help="Id, external id or slug.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Items of a page.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Where the page before ended.")]

DONE, REFUSED, USAGE = 0, 1, 2


def make_app(help: str, *, completion: bool = False) -> typer.Typer:  # noqa: A002 - typer's word
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def operator() -> str:
    """Who sits at the terminal, as the author of changes."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user is often in no list
        name = f"uid-{os.getuid()}"
    return f"operator:{name}"


@contextmanager
def opened(data: str | None, as_json: bool, *, catalog: Any = None) -> Iterator[Tenancy]:
    """An open directory; errors of the package become messages and an exit status.

    Only with `catalog` is a directory made; a mistyped path must not make one.
    """
    with reported(as_json):
        path = data or DEFAULT_PATH
        if catalog is None and "://" not in path:
            check_is_there(path)
        with Tenancy.open(path, catalog, background=False) as tenancy:
            yield tenancy


def check_is_there(path: str | Path) -> None:
    """Refuses a path that is no data directory, so that a mistyped one is not made into one."""
    if not (Path(path) / "VERSION").exists():
        raise StoreError(
            f"{path}: no data directory",
            remedy="name one with --data or TENANCY_DATA, or make one with `tenancy plans use`",
        )


@contextmanager
def reported(as_json: bool, *, failed: int = REFUSED) -> Iterator[None]:
    """Errors become messages and an exit status: `failed`, or 2 for what was not typed right."""
    try:
        yield
    except TenancyError as error:
        usage = isinstance(error, InvalidValue) and not isinstance(error, CatalogError)
        _tell(error.code, error.message, error.remedy, str(error), as_json)
        raise typer.Exit(USAGE if usage else failed) from None
    except OSError as error:  # a file that the command was given, or the directory
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str) else ""
        told = f"{name}{error.strerror or error}"
        _tell("SYSTEM_ERROR", told, None, told, as_json)
        raise typer.Exit(failed) from None


def _tell(code: str, message: str, remedy: str | None, whole: str, as_json: bool) -> None:
    if as_json:
        body = {"code": code, "message": message, "remedy": remedy and in_commands(remedy)}
        print(json.dumps({"error": body}, ensure_ascii=False), file=sys.stderr)
    else:
        told = Text(f"error: {in_commands(whole)}", style="red")
        Console(stderr=True, soft_wrap=True).print(told)


_COMMANDS = {
    "`tenants.list()`": "`tenancy tenants list`",
    "`keys.list(tenant)`": "`tenancy keys list TENANT`",
    "`roles.list(tenant)`": "`tenancy roles list --tenant TENANT`",
    "`billing.list(tenant)`": "`tenancy bills list`",
    "`billing.account(tenant, party=…, currency=…)`": "`tenancy bills account TENANT`",
    'billing.configure(seller=Party("Shop AG", "AT"))': "`tenancy bills configure FILE`",
    "`billing.configure`": "`tenancy bills configure FILE`",
    "`billing.issue_first(tenant)`, or `issue_all`": "`tenancy bills first TENANT`",
    "`preview` shows it": "`tenancy bills preview TENANT` shows it",
    "`issue` it at its end": "`tenancy bills issue` it at its end",
    "`billing.coupons()`": "`tenancy bills coupons`",
    'percent=20, or amount=5 with currency="EUR"': "--percent 20, or --amount 5 --currency EUR",
    "`billing.prices(tenant, book)`": "`tenancy bills prices TENANT BOOK`",
    "billing.budget(tenant, 200)": "`tenancy bills budget TENANT 200`",
    "`usage.events` lists": "`tenancy usage events TENANT METRIC` lists",
    "`usage.correct`": "`tenancy usage correct`",
    "with `cancel`, or replace it with `correct`": (
        "with `tenancy usage cancel`, or replace it with `tenancy usage correct`"
    ),
    "`backfill=True`": "--backfill",
    "`tenants.delete`, then `tenants.purge`": "`tenancy tenants delete`, then `purge`",
    "`audit.holds.release(hold)`": "`tenancy audit hold release HOLD`",
    "`tenants.legal_hold(tenant, False)`": "`tenancy tenants hold TENANT --release`",
    "`audit.holds.list()`": "`tenancy audit hold list`",
    "Tenancy.open(..., catalog=...) with": "`tenancy plans use` with",
}
"""Remedies are written for Python; at a terminal they are commands."""


def in_commands(text: str) -> str:
    """A message with remedies that can be typed."""
    for python, command in _COMMANDS.items():
        text = text.replace(python, command)
    return text


# -------------------------------------------------------------------------------------- output


def plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    return value


def json_text(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, indent=2, default=str)


def print_json(value: Any) -> None:
    print(json_text(value))


_NOTHING = "–"


def show(value: Any) -> str:
    """A cell of a table."""
    if value is None or value in ("", (), [], {}):
        return _NOTHING
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return json.dumps(plain(value), ensure_ascii=False, default=str)
    if isinstance(value, (list, tuple)):
        return ", ".join(show(inner) for inner in value)
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    table = Table(*columns, title=title or None, title_justify="left")
    console = Console()
    plainly = not console.encoding.startswith("utf")
    for row in rows:
        cells = [show(value) for value in row]
        if plainly:
            cells = ["-" if cell == _NOTHING else cell for cell in cells]
        table.add_row(*map(Text, cells))
    if not console.is_terminal:
        console = Console(width=200)  # for pipes: lines stay whole
    console.print(table)


def print_page(page: Page[Any], columns: Mapping[str, Callable[[Any], Any]], as_json: bool) -> None:
    if as_json:
        print_json({"items": list(page), "cursor": page.cursor})
        return
    print_table(list(columns), [[get(item) for get in columns.values()] for item in page])
    if page.cursor:
        print(f"more: --cursor {page.cursor}")


def print_record(value: Any, as_json: bool, **more: Any) -> None:
    fields = value.as_dict() if isinstance(value, Record) else dict(value)
    if as_json:
        print_json({**fields, **more})
        return
    rows = [(name, field) for name, field in {**fields, **more}.items()]
    print_table(("field", "value"), rows)


def grant_value(grant: QuotaGrant) -> Any:
    """What a plan grants of a quota, for JSON: a number, `unlimited`, or an object with more."""
    limit = "unlimited" if grant.limit is None else grant.limit
    more = {"soft": True} if grant.soft else {"grace": grant.grace} if grant.grace else {}
    return {"limit": limit, **more} if more else limit


def limit_value(limit: RateLimit) -> Any:
    """The windows of a rate limit, or `unlimited`."""
    return "unlimited" if limit.unlimited else [str(window) for window in limit.windows]


# --------------------------------------------------------------------------------------- input


def parse_object(text: str | None, option: str) -> dict[str, Any] | None:
    """A JSON object given on the command line."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidValue(option, f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InvalidValue(option, "expected a JSON object", remedy='\'{"key": "value"}\'')
    return value


def parse_list(text: str | None, option: str) -> list[Any] | None:
    """A JSON list given on the command line."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidValue(option, f"not JSON ({error})") from None
    if not isinstance(value, list):
        raise InvalidValue(option, "expected a JSON list", remedy='\'[{"key": "value"}]\'')
    return value


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_S = 36_500 * 86_400
_DIGITS_MAX = 12


def parse_duration(text: str | None, option: str) -> timedelta | None:
    """`90`, `90s`, `15m`, `12h`, `30d`, `2w`."""
    if text is None:
        return None
    digits, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not is_number(digits):
        raise InvalidValue(option, f"{text!r}", remedy="a length such as 30s, 15m, 12h, 30d")
    if len(digits) > _DIGITS_MAX or int(digits) * _UNITS[unit] > _LONGEST_S:
        raise InvalidValue(option, f"{text[:40]!r} is too long", remedy="at most 36500d")
    return timedelta(seconds=int(digits) * _UNITS[unit])


def is_number(text: str) -> bool:
    """Whether it is a whole number from 0 on, in the digits 0 to 9."""
    return text.isascii() and text.isdigit()


def parse_moment(text: str | None, option: str) -> datetime | timedelta | None:
    """An ISO 8601 time (UTC unless it says otherwise), or a length of time from now."""
    if text is None:
        return None
    if is_number(text[:-1]) and text[-1:] in _UNITS:
        return parse_duration(text, option)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        try:
            return parse_duration(text, option)
        except InvalidValue:
            remedy = "an ISO 8601 time such as 2026-01-31T12:00Z, or a length such as 15m, 12h, 30d"
            raise InvalidValue(option, f"{text!r}", remedy=remedy) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def parse_time(text: str | None, option: str) -> datetime | None:
    """A point of time; a bare length of time is that long ago."""
    moment = parse_moment(text, option)
    if isinstance(moment, timedelta):
        return datetime.now(timezone.utc) - moment
    return moment
