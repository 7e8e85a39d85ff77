"""Nested back-tests: settings chosen on some tenants, measured on others.

The best of many candidates looks better than it is: part of what makes it the best is luck on the
series by which it was picked. Here the series that choose and those that are measured are never the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Price, PriceBook
from ._backtest import COMPARED, Backtest, Plan, plan
from ._calendar import Zone
from ._history import History, Step, check_choice, read_history
from ._methods import DEFAULTS, Method, Settings
from ._windows import Windows

Candidate: TypeAlias = Settings | str | Method | tuple[str, Settings]
"""Settings of the default method; a method by name or as a function; a name with settings."""

_CRITERIA = ("wape_cost", "wape", "crps", "pinball", "mase", "smape")
NESTED, HINDSIGHT = "nested", "hindsight"


class NestedBacktest(Backtest):
    """How good the choice among candidates is on tenants that had no part in it.

    Made by `nested_backtest`. ``nested`` is what is measured that way; ``hindsight`` is the one
    candidate that is best on all these windows, which nobody could have known: the distance between
    the two is how much a choice and a measurement on the same series would flatter.
    """

    def __init__(
        self,
        history: History,
        found: dict[str, Windows],
        currency: str | None,
        choices: Frame,
        hindsight: str,
    ) -> None:
        super().__init__(history, found, currency)
        self.choices = choices
        """For each group that was left out (and each origin, with ``earlier``): the candidate that
        was chosen, by how many windows and series of the others, its score there, and the score
        there of the first candidate."""
        self.hindsight = hindsight
        """The candidate that is best on what is measured."""


def nested_backtest(
    usage: Any,
    candidates: Mapping[str, Candidate],
    *,
    leave_out: Mapping[Any, Any] | None = None,
    criterion: str = "crps",
    earlier: bool = False,
    horizon: int = 30,
    history: int | None = None,
    origins: int = 6,
    prices: PriceBook | Price | Mapping[str, Price] | None = None,
    levels: Sequence[float] = (0.8, 0.95),
    step: Step = "day",
    zone: Zone | None = None,
    season: int | Mapping[str, int] | None = None,
    columns: Mapping[str, str] | None = None,
    gaps: Literal["refuse", "zero"] = "refuse",
    duplicates: Literal["refuse", "sum"] = "refuse",
    naive: Literal["refuse", "utc"] = "refuse",
    digits: int | None = None,
) -> NestedBacktest:
    """Choose among candidates on the other tenants, and measure on the one that was left out.

    Every tenant is left out once. ``leave_out`` names the group of each tenant, where several
    belong together (were recorded by one source, are one customer) and shall be left out together.
    On the windows of all others the candidate with the least ``criterion`` (a measure of
    `Backtest.scores`) is chosen; of candidates that are equal, the one that was named first. With
    ``earlier`` only windows that had ended before the measured one began have a say, and windows
    before which there are none are not measured. The other arguments are those of `backtest`.

    Raises `InvalidValue` for fewer than two candidates or groups.
    """
    check_choice("criterion", criterion, _CRITERIA)
    if len(candidates) < 2:
        raise InvalidValue("candidates", f"{len(candidates)}, expected two or more to choose from")
    past = read_history(
        usage, step=step, as_of=None, columns=columns, gaps=gaps, duplicates=duplicates,
        naive=naive, digits=digits, zone=zone,
    )  # fmt: skip
    made = plan(past, horizon, history, origins, levels, season, prices)
    if criterion == "wape_cost" and made.pricer is None:
        raise InvalidValue("criterion", "wape_cost needs prices", remedy="prices=")
    group_of = _groups(past, leave_out)
    tried = {name: _run(made, name, each) for name, each in candidates.items()}
    simple = {name: made.run(name) for name in COMPARED}
    choosing = _Choosing(made, group_of, tried, criterion, earlier)
    nested = choosing.nested()
    hindsight = _best({name: each.pick(choosing.measured) for name, each in tried.items()},
                      criterion)  # fmt: skip
    found = {NESTED: nested, HINDSIGHT: tried[hindsight]} | simple
    shown = {
        name: each if name == NESTED else each.pick(choosing.measured)
        for name, each in found.items()
    }
    currency = made.pricer.currency if made.pricer else None
    return NestedBacktest(past, shown, currency, choosing.frame(), hindsight)


def _run(made: Plan, name: str, candidate: Candidate) -> Windows:
    if isinstance(candidate, Settings):
        return made.run("auto", candidate)
    if isinstance(candidate, tuple):
        method, settings = candidate
        return made.run(method, settings)
    if isinstance(candidate, str) or callable(candidate):
        return made.run(candidate, DEFAULTS)
    raise InvalidValue(
        f"candidates.{name}", f"{candidate!r}", remedy="Settings, a method, or both as a pair"
    )


def _groups(past: History, leave_out: Mapping[Any, Any] | None) -> NDArray[np.object_]:
    """The group of each series."""
    groups: list[Any] = list(past.tenants)
    if leave_out is not None:
        for tenant in past.tenants:
            if tenant not in leave_out:
                raise InvalidValue("leave_out", f"there is no group of tenant {tenant!r}")
        groups = [leave_out[tenant] for tenant in past.tenants]
    if len(set(groups)) < 2:
        raise InvalidValue(
            "leave_out", f"there is one group only, {groups[0]!r}",
            remedy="tenants of at least two, one of which can be left out",
        )  # fmt: skip
    found = np.empty(len(past.tenant_of), object)
    found[:] = [groups[tenant] for tenant in past.tenant_of.tolist()]
    return found


def _best(tried: dict[str, Windows], criterion: str) -> str:
    """The candidate with the least error; the first of several."""
    scores = {name: found.score(criterion) for name, found in tried.items()}
    return min(scores, key=lambda name: (np.isnan(scores[name]), scores[name]))


class _Choosing:
    """Which windows choose for which, and what they choose."""

    def __init__(
        self,
        made: Plan,
        group_of: NDArray[np.object_],
        tried: dict[str, Windows],
        criterion: str,
        earlier: bool,
    ) -> None:
        self.made, self.tried, self.criterion = made, tried, criterion
        any_of = next(iter(tried.values()))
        self.groups = group_of[any_of.series]
        self.origins = np.array(any_of.origin)
        self.series = np.array(any_of.series)
        self.first = next(iter(tried))
        self.rows: dict[str, list[Any]] = {
            name: []
            for name in ("left_out", "origin", "chosen", "series", "windows", "score", "first")
        }
        self.measured = np.zeros(len(self.series), bool)
        self.by_origin = made.origins if earlier else [None]

    def nested(self) -> Windows:
        """The windows of each group as the candidate said that the others chose."""
        found = Windows(self.made.levels)
        parts: list[tuple[NDArray[np.bool_], str]] = []
        for group in dict.fromkeys(self.groups.tolist()):
            for origin in self.by_origin:
                mine, others = self._split(group, origin)
                if mine.any() and others.any():
                    parts.append((mine, self._choose(group, origin, others)))
                    self.measured |= mine
        if not parts:
            raise InvalidValue(
                "origins", "no window of others had ended before one began",
                remedy="more history, or earlier=False",
            )  # fmt: skip
        name_of = np.empty(len(self.series), object)
        for mine, name in parts:
            name_of[mine] = name
        for name in self.tried:
            found.add(self.tried[name].pick(np.array([each == name for each in name_of])))
        # In the order of the windows of the other methods, so that they can be compared.
        places = [np.flatnonzero(np.array([each == n for each in name_of])) for n in self.tried]
        order = np.argsort(np.concatenate(places), kind="stable")
        return found.ordered(order)

    def _split(self, group: Any, origin: int | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What is measured, and what chooses for it."""
        mine = np.array([each == group for each in self.groups.tolist()])
        others = ~mine
        if origin is not None:
            mine &= self.origins == origin
            others &= self.origins + self.made.horizon <= origin
        return mine, others

    def _choose(self, group: Any, origin: int | None, others: NDArray[np.bool_]) -> str:
        seen = {name: found.pick(others) for name, found in self.tried.items()}
        best = _best(seen, self.criterion)
        row = {
            "left_out": str(group),
            "origin": -1 if origin is None else origin,
            "chosen": best,
            "series": len(set(self.series[others].tolist())),
            "windows": int(others.sum()),
            "score": seen[best].score(self.criterion),
            "first": seen[self.first].score(self.criterion),
        }
        for name, value in row.items():
            self.rows[name].append(value)
        return best

    def frame(self) -> Frame:
        """A row for each choice."""
        rows = dict(self.rows)
        if self.by_origin == [None]:
            del rows["origin"]
        return Frame(rows)
