"""`tenancy explain`: what a request would be answered, stage by stage; takes nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import InvalidValue
from . import _common as c

__all__ = ["explain"]


def explain(
    api_key: Annotated[str | None, typer.Option(help="The key's text.")] = None,
    session: Annotated[str | None, typer.Option(help="A session's id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Id, external id or slug.")] = None,
    principal: Annotated[str | None, typer.Option(help="The user.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="A role to be active; repeatable. None: all held.")
    ] = None,
    permission: Annotated[str | None, typer.Option(help="resource:action")] = None,
    resource: Annotated[str | None, typer.Option(help="type/id")] = None,
    feature: Annotated[str | None, typer.Option(help="A feature of the plan.")] = None,
    action: Annotated[str | None, typer.Option(help="The action that is counted.")] = None,
    consume: Annotated[list[str] | None, typer.Option(help="quota=amount; repeatable.")] = None,
    ip: Annotated[str | None, typer.Option(help="The client's address.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="The endpoint's name.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Show how a request would be decided. Exit status 1 when it would be refused."""
    request: dict[str, Any] = {
        "api_key": api_key,
        "session": session,
        "tenant": tenant,
        "principal": principal,
        "roles": role or None,
        "permission": permission,
        "resource": resource,
        "feature": feature,
        "action": action,
        "ip": ip,
        "endpoint": endpoint,
    }
    with c.opened(data, as_json) as t:
        request = {name: value for name, value in request.items() if value is not None}
        if consume:
            request["consume"] = dict(_amount(text) for text in consume)
        try:
            told = t.explain(**request)
        except (ValueError, TypeError) as error:
            raise InvalidValue("request", str(error)) from error
    if as_json:
        c.print_json(told)
    else:
        _print(told)
    if not told["allowed"]:
        raise typer.Exit(c.REFUSED)


def _amount(text: str) -> tuple[str, int]:
    quota, _, amount = text.partition("=")
    if not quota or not c.is_number(amount or "1"):
        raise InvalidValue("--consume", f"{text!r}", remedy="quota=amount, such as agents=1")
    return quota, int(amount or "1")


def _print(told: dict[str, Any]) -> None:
    stages = told.get("stages", [])
    rest = {name: value for name, value in told.items() if name != "stages"}
    c.print_table(("field", "value"), list(rest.items()))
    if stages:
        columns = list(dict.fromkeys(key for stage in stages for key in stage))
        c.print_table(columns, [[stage.get(column) for column in columns] for stage in stages])
