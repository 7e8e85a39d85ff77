"""`tenancy plans`: look at, check, convert and replace the catalog."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..catalog import Catalog, import_plans
from ..errors import CatalogError, Problem, UnknownPlan
from . import _common as c

__all__ = ["app"]

app = c.make_app("Look at, check, convert and replace the catalog of plans.")

Source = Annotated[str, typer.Argument(help="A YAML or JSON file, or a shipped catalog's name.")]


@app.command("show")
def show(
    plan: Annotated[str | None, typer.Argument(help="One plan in full.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Show the plans in force, or one of them."""
    with c.opened(data, as_json) as t:
        if plan is None:
            _print_catalog(t.catalog, as_json)
        elif plan not in t.catalog.plans:
            raise UnknownPlan(f"no plan is named {plan!r}", remedy=", ".join(t.catalog.plans))
        else:
            _print_plan(t.catalog, plan, as_json)


@app.command("validate")
def validate(source: Source, as_json: c.Json = False) -> None:
    """Check a catalog; every problem with file, line and path. Exit status 1 if there are any."""
    try:
        catalog = Catalog.load(source)
    except CatalogError as error:
        if as_json:
            c.print_json({"valid": False, "problems": [_problem(p) for p in error.problems]})
        else:
            for p in error.problems:
                print(f"{error.source}{'' if p.line is None else f':{p.line}'}: {p}")
        raise typer.Exit(c.REFUSED) from None
    if as_json:
        c.print_json({"valid": True, "catalog": catalog.name, "plans": list(catalog.plans)})
    else:
        print(f"{source}: valid; catalog {catalog.name} with {', '.join(catalog.plans)}")


@app.command("use")
def use(source: Source, data: c.Data = None, as_json: c.Json = False) -> None:
    """Put a catalog in force; makes the data directory when there is none.

    Every tenant is tried against it first; when one does not fit, nothing changes.
    """
    with c.reported(as_json):
        catalog = Catalog.load(source)
    with c.opened(data, as_json, catalog=catalog) as t:
        _print_catalog(t.catalog, as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Plans as another system writes them.")],
    name: Annotated[str, typer.Option(help="The catalog's name.")] = "imported",
    output: Annotated[Path | None, typer.Option(help="Write the catalog there.")] = None,
    as_json: c.Json = False,
) -> None:
    """Convert plans from other spellings (maxUsers, windowMs, -1) to a catalog.

    Prints the catalog as YAML; what was left out is said on standard error.
    """
    with c.reported(as_json):
        result = import_plans(_read(file), name=name)
        result.catalog()
        if output is not None:
            output.write_text(_yaml(result.document), encoding="utf-8")
    if as_json:
        c.print_json(
            {
                "document": result.document,
                "mapped": [
                    {"source": m.source, "target": m.target, "value": m.value}
                    for m in result.mapped
                ],
                "skipped": [_problem(p) for p in result.skipped],
            }
        )
        return
    for problem in result.skipped:
        typer.echo(f"left out: {problem}", err=True)
    if output is None:
        print(_yaml(result.document), end="")
    else:
        print(f"{output}: written; check it with `tenancy plans validate {output}`")


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".json":
            return json.loads(text)
        return YAML(typ="safe", pure=True).load(text)
    except (OSError, ValueError, YAMLError) as error:
        raise CatalogError(str(file), [Problem("", str(error))]) from error


def _yaml(document: dict[str, Any]) -> str:
    out = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.dump(json.loads(json.dumps(document, default=str)), out)
    return out.getvalue()


def _problem(problem: Problem) -> dict[str, Any]:
    return {"path": problem.path, "line": problem.line, "message": problem.message}


def _print_catalog(catalog: Catalog, as_json: bool) -> None:
    if as_json:
        c.print_json(json.loads(catalog.to_json()))
        return
    rows = [
        (
            plan.name,
            "–" if plan.price is None else f"{plan.price} {plan.currency}/{plan.period}",
            [f"{name} {grant}" for name, grant in plan.quotas.items()],
            [f"{name} {limit}" for name, limit in plan.rate_limits.items()],
        )
        for plan in catalog.plans.values()
    ]
    title = f"{catalog.name} version {catalog.version}"
    c.print_table(("plan", "price", "quotas", "rate limits"), rows, title=title)


def _print_plan(catalog: Catalog, name: str, as_json: bool) -> None:
    plan = catalog.plans[name]
    if as_json:
        c.print_json(json.loads(catalog.to_json())["plans"][name])
        return
    fields = {
        "title": plan.title,
        "price": plan.price,
        "isolation": plan.isolation,
        "retention days": plan.retention_days,
        "features": sorted(plan.features),
        **{f"quota {n}": str(grant) for n, grant in plan.quotas.items()},
        **{f"limit {n}": str(limit) for n, limit in plan.rate_limits.items()},
    }
    c.print_table(("field", "value"), list(fields.items()), title=name)
