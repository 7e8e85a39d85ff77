"""`tenancy bills configure`: who sells, and how bills are made, from a JSON file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from .._text import listed, shown
from ..billing import Party, TaxRate, TaxRules
from ..errors import InvalidValue
from . import _common as c

__all__ = ["bills_configure", "configuration"]

_KNOWN = ("seller", "tax", "rules", "numbering", "credit_notes", "due_days", "billed", "notes")
_Made = TypeVar("_Made")


def bills_configure(
    file: Annotated[Path, typer.Argument(help="JSON: seller, tax, rules, numbering, due_days, …")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say who sells, and how bills are made, from now on."""
    with c.opened(data, as_json) as t:
        options = configuration(file)
        settings = t.billing.configure(**options, by=c.operator())
        c.print_record(settings.to_value(), as_json)


def configuration(file: Path) -> dict[str, Any]:
    """The arguments of `Billing.configure` from a JSON file; amounts in it may be numbers.

    Raises `InvalidValue`, which names the file and the member that is wrong.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"), parse_float=str)
    except OSError as error:
        raise InvalidValue("file", f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidValue("file", f"{file}: not JSON ({error})") from None
    _check_members(value, f"{file}: ", _KNOWN)
    if "seller" not in value:
        raise InvalidValue(f"{file}: seller", "is missing", remedy='{"name": …, "country": …}')
    value["seller"] = _made(Party, value["seller"], f"{file}: seller")
    if value.get("tax") is not None:
        value["tax"] = _tax(value["tax"], f"{file}: tax")
    return dict(value)


def _tax(value: Any, name: str) -> TaxRules:
    _check_members(value, f"{name}.", tuple(inspect.signature(TaxRules).parameters))
    told = dict(value)
    rates = told.get("rates", [])
    if not isinstance(rates, list):
        raise InvalidValue(f"{name}.rates", f"expected a list, got {shown(rates)}")
    told["rates"] = [_made(TaxRate, rate, f"{name}.rates[{i}]") for i, rate in enumerate(rates)]
    if "union" in told:
        if not isinstance(told["union"], list):
            raise InvalidValue(f"{name}.union", f"expected a list, got {shown(told['union'])}")
        told["union"] = frozenset(told["union"])
    return _made(TaxRules, told, name)


def _made(kind: Callable[..., _Made], value: Any, name: str) -> _Made:
    """The value of an object whose members are the arguments of its class."""
    parameters = inspect.signature(kind).parameters
    _check_members(value, f"{name}.", tuple(parameters))
    needed = [one.name for one in parameters.values() if one.default is one.empty]
    for member in needed:
        if member not in value:
            raise InvalidValue(
                f"{name}.{member}", "is missing", remedy=f"it needs {listed(needed)}"
            )
    try:
        return kind(**value)
    except InvalidValue as error:
        raise InvalidValue(name, error.message, remedy=error.remedy) from None


def _check_members(value: Any, prefix: str, known: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        what = f"expected an object of {listed(known)}, got {shown(value)}"
        raise InvalidValue(prefix.rstrip(".: "), what)
    for member in value:
        if member not in known:
            raise InvalidValue(f"{prefix}{member}", "is not known", remedy=f"of {listed(known)}")
