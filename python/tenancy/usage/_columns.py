"""Which column of a table is which field of a usage event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from .._text import listed, shown
from ..errors import InvalidValue
from ..stores.usage_log import Draft
from ._events import Checks, cloud_event, parse_time

__all__ = ["FIELDS", "Columns", "cell_of"]

FIELDS = ("tenant", "metric", "quantity", "id", "source", "time", "properties")
_UNITS = ("s", "ms", "us", "ns")


class Columns:
    """How rows become events. Immutable."""

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        quantities: Mapping[str, str] | None = None,
        properties: Sequence[str] = (),
        tenant: Any = None,
        metric: str | None = None,
        source: str | None = None,
        time_unit: str | None = None,
        numbered: bool = True,
    ) -> None:
        """See `UsageMeter.import_`. `numbered`: a row without an id is known by its number."""
        unknown = sorted(set(columns or ()) - set(FIELDS))
        if unknown:
            raise InvalidValue(
                "columns", f"no field is named {listed(unknown)}", remedy=f"of {', '.join(FIELDS)}"
            )
        if quantities and (metric is not None or {"metric", "quantity"} & set(columns or ())):
            raise InvalidValue("quantities", "says which metric and quantity", remedy="one of both")
        if time_unit is not None and time_unit not in _UNITS:
            raise InvalidValue("time_unit", shown(time_unit), remedy=f"one of {', '.join(_UNITS)}")
        if isinstance(properties, str):
            raise InvalidValue("properties", "expected the names of columns", remedy="a list")
        self.names = {field: field for field in FIELDS} | dict(columns or {})
        self._given = frozenset(columns or ())
        self.constants = {"tenant": tenant, "metric": metric, "source": source}
        self._plan = tuple(
            (field, name, self.constants.get(field)) for field, name in self.names.items()
        )
        self.quantities = dict(quantities or {})
        self.properties = tuple(properties)
        self.time_unit = time_unit
        self.numbered = numbered

    @property
    def quantity_columns(self) -> tuple[str, ...]:
        return tuple(self.quantities) or (self.names["quantity"],)

    @property
    def used(self) -> frozenset[str]:
        """The columns that are read where they are there; the first of a CloudEvent as well."""
        return frozenset((*self.names.values(), *self.quantities, *self.properties, "specversion"))

    def check_header(self, header: Sequence[str]) -> None:
        """Raise `InvalidValue` when rows with these columns can never be events."""
        here = set(header)
        needed = {self.names[field] for field in self._given}
        needed.update(self.quantities, self.properties)
        for field in ("tenant", "metric"):
            if self.constants[field] is None and not (field == "metric" and self.quantities):
                needed.add(self.names[field])
        missing = sorted(needed - here)
        if missing:
            raise InvalidValue(
                "columns",
                f"there is no column {listed(missing)}; there are {listed(header)}",
                remedy='columns={"tenant": "name of the column", …}, or tenant= and metric=',
            )

    def drafts(self, values: Mapping[str, Any], number: int, checks: Checks) -> list[Draft]:
        """The events of one row."""
        if "specversion" in values:
            return [checks.draft(**cloud_event(values))]
        fields = {
            field: constant if (value := cell_of(values.get(name))) is None else value
            for field, name, constant in self._plan
        }
        if fields["time"] is not None:
            fields["time"] = parse_time(fields["time"], self.time_unit)
        fields["properties"] = self.object(values, fields["properties"])
        if fields["id"] is None:
            fields["id"] = f"row {number}" if self.numbered else _core.uuid7(checks.now_ns)
        if not self.quantities:
            if fields["quantity"] is None:
                if self.names["quantity"] in values:
                    raise InvalidValue("quantity", "expected a number, got none")
                fields["quantity"] = 1
            return [checks.draft(**fields)]
        drafts = []
        for column, metric in self.quantities.items():
            quantity = cell_of(values.get(column))
            if quantity is None:
                raise InvalidValue(column, "expected a number, got none")
            own = {**fields, "metric": metric, "quantity": quantity}
            own["id"] = f"{fields['id']}/{metric}"
            drafts.append(checks.draft(**own))
        return drafts

    def object(self, values: Mapping[str, Any], given: Any) -> Any:
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError) as error:
                raise InvalidValue("properties", f"not JSON ({error})") from None
        if not self.properties:
            return given
        if given is not None and not isinstance(given, Mapping):
            raise InvalidValue("properties", f"expected an object, got {shown(given)}")
        own = {name: cell_of(values.get(name)) for name in self.properties}
        return {
            **(given or {}),
            **{name: value for name, value in own.items() if value is not None},
        }


def cell_of(value: Any) -> Any:
    """A cell; an empty one is none."""
    if isinstance(value, str):
        return value.strip() or None
    return value
