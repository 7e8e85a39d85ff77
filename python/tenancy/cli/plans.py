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
from ..errors import CatalogError, Problem, StoreError, UnknownPlan
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


@app.command("diff")
def diff(
    source: Source,
    other: Annotated[
        str | None, typer.Argument(help="Compare with this one; by default the one in force.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say what would change: from the catalog in force to SOURCE, or from SOURCE to OTHER."""
    with c.reported(as_json):
        first = Catalog.load(source)
        second = None if other is None else Catalog.load(other)
    if second is None:
        with c.opened(data, as_json) as t:
            first, second = t.catalog, first
    before, after = _leaves(first), _leaves(second)
    changed = [
        {"path": path, "before": before.get(path), "after": after.get(path)}
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    if as_json:
        c.print_json({"same": not changed, "changes": changed})
    elif not changed:
        print("no difference")
    else:
        rows = [(each["path"], each["before"], each["after"]) for each in changed]
        c.print_table(("path", "before", "after"), rows)


def _leaves(catalog: Catalog) -> dict[str, Any]:
    """Every value of a catalog by its path; lists are compared as a whole."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else str(key))
        else:
            found[path] = value

    walk(json.loads(catalog.to_json()), "")
    return found


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
        document = _read(file)
        if isinstance(document, dict) and {"catalog", "plans"} <= document.keys():
            told = "is a catalog already: check it with `tenancy plans validate`"
            raise CatalogError(str(file), [Problem("", told)])
        result = import_plans(document, name=name)
        result.catalog()
        if output is not None:
            _write(output, _yaml(result.document))
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
    except OSError as error:
        told = f"cannot be read: {error.strerror}"
        raise CatalogError(str(file), [Problem("", told)]) from error
    except (ValueError, YAMLError, RecursionError) as error:
        raise CatalogError(str(file), [Problem("", str(error))]) from error


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be written ({error.strerror})", remedy="name another file"
        ) from error


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
        c.print_json(
            {
                "name": plan.name,
                "title": plan.title,
                "price": None if plan.price is None else str(plan.price),
                "currency": plan.currency,
                "period": plan.period,
                "features": sorted(plan.features),
                "all_features": plan.all_features,
                "quotas": {n: c.grant_value(grant) for n, grant in plan.quotas.items()},
                "rate_limits": {n: c.limit_value(each) for n, each in plan.rate_limits.items()},
                "default_limit": c.limit_value(plan.default_limit),
                "isolation": plan.isolation,
                "retention_days": plan.retention_days,
                "price_book": plan.price_book,
            }
        )
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
