"""Recorded traffic against limits and quotas: who would have been refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import _core, _exact
from .._frames_in import as_table
from ..errors import InvalidValue, raise_core
from ..frames import Frame
from ._table import (
    check_numbers,
    check_times,
    moment,
    names_of,
    period_starts,
    read_usage,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Limits: TypeAlias = str | Mapping[str, Any]
"""``"100/minute"``, several joined by ``;``, or the keywords of `tenancy.limits.Limiter`:
``{"limit": "100/minute", "burst": 20}``."""

_OPTIONS = ("limit", "burst", "algorithm", "anchor")


def replay_limits(
    traffic: Any, limits: Mapping[str, Limits], *, columns: Mapping[str, str] | None = None
) -> Frame:
    """Who would have been refused under these rate limits.

    `traffic` is a frame with the columns ``tenant`` (or whatever the limit counts by), ``time``
    and, where requests cost more than 1, ``cost``; one row for each request, in any order.
    `columns` says what they are called. `limits` gives each scenario its name: what a `Limiter`
    takes. Each tenant is counted by the algorithms of the limiter itself, as if it had stood before
    the traffic.

    A refused request is not tried again. The answer has a row for each scenario and tenant:

    ``requests``, ``refused``, ``cost``, ``cost_refused``, ``refused_percent``
        how many, and what they cost
    ``first_refusal``
        when, None where nothing was refused
    ``longest_spell``, ``longest_spell_s``
        the longest run of refusals without an admission in between: how many, and the seconds from
        the first to the last of them
    ``delayed``, ``longest_delay_s``
        requests that a leaky queue lets wait

    Raises `InvalidValue` for what cannot be a limit, and for a row that has no tenant, no time, or
    a cost that is no whole number above 0.
    """
    np = _exact.numpy()
    policies = {name: _policies(name, limit) for name, limit in _named(limits).items()}
    keys, ids, column, costs = _read(traffic, columns)
    times = column.times_ns("time")
    frames = {
        name: _core.replay_limits(policy, keys, len(ids), times, costs)
        for name, policy in policies.items()
    }
    return _frame(frames, ids, np)


def replay_quotas(
    traffic: Any,
    quotas: Mapping[str, int],
    *,
    period: str = "month",
    zone: str = "UTC",
    columns: Mapping[str, str] | None = None,
) -> Frame:
    """Who would have been refused under these quotas, by calendar period in `zone`.

    `quotas` gives each scenario its name: the most that a tenant may use in one period. A request
    that does not fit takes nothing, and smaller ones may pass after it. `traffic` and the answer
    are those of `replay_limits`.
    """
    np = _exact.numpy()
    for name, most in _named(quotas).items():
        if not isinstance(most, int) or isinstance(most, bool) or not 0 <= most < 1 << 63:
            raise InvalidValue("quotas", f"{name}: expected a whole number, got {most!r}")
    keys, ids, column, costs = _read(traffic, columns)
    starts = period_starts(period, zone, column, "time")
    times = column.times_ns("time")
    frames = {
        name: _core.replay_quota(most, starts, keys, len(ids), times, costs)
        for name, most in quotas.items()
    }
    return _frame(frames, ids, np)


def _named(scenarios: Any) -> Mapping[str, Any]:
    if not isinstance(scenarios, Mapping) or not scenarios:
        raise InvalidValue("limits", "expected at least one", remedy='{"today": "100/minute"}')
    return scenarios


def _policies(name: str, limit: Limits) -> list[_core.LimitPolicy]:
    options: Mapping[str, Any] = {"limit": limit} if isinstance(limit, str) else limit
    if not isinstance(options, Mapping) or "limit" not in options:
        raise InvalidValue("limits", f"{name}: expected a limit", remedy='such as "100/minute"')
    for option in options:
        if option not in _OPTIONS:
            raise InvalidValue(
                "limits", f"{name}: there is no {option!r}", remedy=f"name {', '.join(_OPTIONS)}"
            )
    anchor = options.get("anchor", "clock")
    if anchor not in ("clock", "first"):
        raise InvalidValue("limits", f'{name}: anchor: expected "clock" or "first", got {anchor!r}')
    try:
        return _core.limit_policies(
            options["limit"],
            algorithm=options.get("algorithm"),
            burst=options.get("burst"),
            anchor_first=anchor == "first",
            shadow=False,
            allow_on_full=False,
        )
    except TypeError:
        raise InvalidValue("limits", f"{name}: a limit and an algorithm are texts") from None
    except _core.CoreError as error:
        raise_core(error, field=f"limits[{name}]")


def _read(
    traffic: Any, columns: Mapping[str, str] | None
) -> tuple[NDArray[np.int64], list[Any], _core.FrameColumn, Any]:
    """Codes of the tenants, the tenants, times, costs."""
    np = _exact.numpy()
    names = names_of(columns, "tenant", "time", "cost")
    traffic = as_table(traffic, list(names.values()))
    wanted = ["tenant", "time"]
    if "cost" in (columns or {}) or _has(traffic, names["cost"]):
        wanted.append("cost")
    found = read_usage(traffic, {name: names[name] for name in wanted}, ids=("tenant",))
    codes, ids = found["tenant"].codes(names["tenant"])
    costs = _costs(found["cost"], names["cost"]) if "cost" in found else None
    check_times(found["time"], names["time"])
    times = found["time"]
    return np.asarray(codes), ids, times, costs


def _costs(column: _core.FrameColumn, name: str) -> NDArray[np.int64]:
    check_numbers(column, name, ("int",), "whole numbers")
    costs: NDArray[np.int64] = _exact.numpy().asarray(column.wholes(name))
    if len(costs) and costs.min() < 1:
        row = int((costs < 1).argmax())
        raise InvalidValue(
            name,
            f"row {row}: expected a whole number above 0, got {costs[row]}",
            remedy="leave out what costs nothing",
        )
    return costs


def _has(traffic: Any, name: str) -> bool:
    if isinstance(traffic, Mapping):
        return name in traffic
    columns = getattr(traffic, "column_names", None) or getattr(traffic, "columns", ())
    return name in list(columns) if isinstance(columns, Sequence) or columns is not None else False


def _frame(replayed: Mapping[str, Mapping[str, bytes]], ids: Sequence[Any], np: Any) -> Frame:
    held: dict[str, list[Any]] = {}

    def add(column: str, values: list[Any]) -> None:
        held.setdefault(column, []).extend(values)

    for name, columns in replayed.items():
        found = {column: np.frombuffer(values, "<i8") for column, values in columns.items()}
        requests = np.maximum(found["requests"], 1)
        add("scenario", [name] * len(ids))
        add("tenant", list(ids))
        for column in ("requests", "refused", "cost", "cost_refused"):
            add(column, found[column].tolist())
        add("refused_percent", (found["refused"] * 100 / requests).tolist())
        first = found["first_refusal_ns"].tolist()
        add("first_refusal", [None if ns < 0 else moment(ns) for ns in first])
        add("longest_spell", found["spell"].tolist())
        lasted = found["spell_end_ns"] - found["spell_begin_ns"]
        add("longest_spell_s", (lasted / 1e9).tolist())
        add("delayed", found["delayed"].tolist())
        add("longest_delay_s", (found["delay_max_ns"] / 1e9).tolist())
    return Frame(held)
