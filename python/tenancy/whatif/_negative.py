"""Which rows took back more than was used: an error about a sum names the first of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .. import _core, _exact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Taken", "rows_below_zero", "some_below_zero"]

_IDS = ("tenant", "metric")


class Taken(NamedTuple):
    """Of whom and what a row is that has a quantity below zero."""

    tenant: int | str
    period: int
    """Its position among the periods."""
    metric: str


def some_below_zero(columns: Mapping[str, Any]) -> bool:
    """Whether any of the sums is."""
    return any(len(column) and _below_zero(column).any() for column in columns.values())


def rows_below_zero(
    found: Mapping[str, _core.FrameColumn],
    names: Mapping[str, str],
    labels: Mapping[str, Sequence[Any]],
    starts: Sequence[int],
) -> dict[Taken, int]:
    """The first row of each tenant, period and metric whose quantity is below zero."""
    np = _exact.numpy()
    quantity, name = found["quantity"], names["quantity"]
    exact = quantity.wholes(name) if quantity.kind == "int" else quantity.units(name)
    rows = np.flatnonzero(_below_zero(exact))
    times = np.asarray(found["time"].times_ns(names["time"]))[rows]
    periods = np.searchsorted(np.asarray(starts), times, "right") - 1
    tenants, metrics = (_values(found[each], names[each], labels, rows) for each in _IDS)
    first: dict[Taken, int] = {}
    for row, *taken in zip(rows.tolist(), tenants, periods.tolist(), metrics, strict=True):
        first.setdefault(Taken(*taken), row)
    return first


def _below_zero(values: Any) -> NDArray[np.bool_]:
    if isinstance(values, _core.Amounts):
        return _exact.signs(_exact.words(values)) < 0
    return cast("NDArray[np.bool_]", _exact.numpy().asarray(values) < 0)


def _values(
    column: _core.FrameColumn, name: str, labels: Mapping[str, Sequence[Any]], rows: Any
) -> list[Any]:
    np = _exact.numpy()
    if name in labels:
        codes, values = column.wholes(name), labels[name]
    else:
        codes, values = column.codes(name)
    return [values[code] for code in np.asarray(codes)[rows].tolist()]
