"""Forecasts of usage; `tenancy.forecast` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number
from . import _cost
from ._calendar import NS, UTC_CALENDAR, Calendar, Zone, nanoseconds
from ._calibration import Choice, fit, steps_needed
from ._history import History, Step, read_history
from ._methods import DEFAULTS, Method, Settings
from ._source import Calibrated, Given, Source, Wholes, check_share, whole
from ._windows import level_name

_LEVELS = (0.8, 0.95)
_SHARES = (0.1, 0.5, 0.9)
_SAMPLES_MAX = 100_000


class Forecast:
    """The usage of a period, of every tenant and metric, as a distribution.

    What is known by now is exact; what remains is a distribution. Made by `forecast`,
    `from_samples` or `from_quantiles`.
    """

    def __init__(
        self,
        *,
        tenants: list[Any],
        metrics: list[str],
        tenant_of: Wholes,
        metric_of: Wholes,
        known: Wholes,
        digits: int,
        source: Source,
        times_ns: list[int],
        as_of_ns: int,
        levels: tuple[float, ...],
        choices: list[Choice],
        calendar: Calendar = UTC_CALENDAR,
    ) -> None:
        self.tenants = tenants
        """All tenants, sorted."""
        self.metrics = metrics
        """All metrics, sorted."""
        self.levels = levels
        """The levels of the intervals."""
        self.choices = tuple(choices)
        """Which method each metric got, and why."""
        self.as_of = calendar.shown(as_of_ns)
        """The end of what is known. As other times in the time zone of the forecast; where tenants
        have several, as their clocks show it, without a zone."""
        self.period_end = calendar.shown(times_ns[-1])
        """The end of what is forecast."""
        self._tenant_of, self._metric_of = tenant_of, metric_of
        self._known, self._digits, self._source = known, digits, source
        self._times_ns, self._as_of_ns, self._calendar = times_ns, as_of_ns, calendar
        self._row_of = {key: row for row, key in enumerate(self.series())}

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return (
            f"<Forecast: {len(self.tenants)} tenants, {', '.join(self.metrics)}, "
            f"{self.as_of:%Y-%m-%d %H:%M} to {self.period_end:%Y-%m-%d %H:%M}>"
        )

    def _repr_html_(self) -> str:
        return self.frame()._repr_html_()

    @property
    def samples(self) -> int:
        """How many equally likely samples stand for the distribution where it is sampled."""
        return self._source.samples

    def series(self) -> list[tuple[Any, str]]:
        """Tenant and metric of each row, in the order of `frame` and `quantile`."""
        return [
            (self.tenants[t], self.metrics[m])
            for t, m in zip(self._tenant_of.tolist(), self._metric_of.tolist(), strict=True)
        ]

    def _row(self, tenant: Any, metric: str) -> int:
        try:
            return self._row_of[tenant, metric]
        except KeyError:
            raise InvalidValue("tenant", f"no usage of {metric!r} by {tenant!r}") from None

    def _exact(self, counts: Wholes) -> _core.Amounts:
        return _core.amounts_of_wholes(np.ascontiguousarray(counts).ravel(), self._digits)

    def quantile(self, share: float) -> list[Decimal | None]:
        """The quantity of the whole period that is not passed with this probability, of each row.

        None where a series has no distribution. `frame` has the intervals, and refuses those that
        the history cannot carry.
        """
        check_share("share", share)
        totals = self._totals(share)
        exact = self._exact(np.where(totals < 0, 0, totals))
        return [None if t < 0 else exact[i] for i, t in enumerate(totals.tolist())]

    def _totals(self, share: float) -> Wholes:
        """-1 where there is none."""
        remaining = self._source.remaining(share)
        missing = np.isnan(remaining)
        rounded = whole(np.where(missing, 0.0, remaining))
        return np.where(missing, -1, rounded + self._known)

    def frame(self) -> Frame:
        """One row for each tenant and metric.

        ``known`` is used already, exactly. ``median`` and the ends of the intervals (``low_80``,
        ``high_80``, …) are of the whole period, what is known included. An interval that the
        history cannot carry is missing, and ``refused`` says why.
        """
        rows = range(len(self))
        columns: dict[str, Any] = {
            "tenant": [self.tenants[t] for t in self._tenant_of.tolist()],
            "metric": [self.metrics[m] for m in self._metric_of.tolist()],
            "known": self._exact(self._known),
            "median": self._column(self._totals(0.5), [True] * len(self)),
        }
        refused: list[str | None] = [self._source.reason(row) for row in rows]
        for level in self.levels:
            reasons = [self._source.refusal(row, level) for row in rows]
            refused = [old or new for old, new in zip(refused, reasons, strict=True)]
            given = [reason is None for reason in reasons]
            name = level_name(level)
            columns[f"low_{name}"] = self._column(self._totals((1 - level) / 2), given)
            columns[f"high_{name}"] = self._column(self._totals((1 + level) / 2), given)
        methods = {choice.metric: choice.method for choice in self.choices}
        columns["method"] = [methods.get(metric) for metric in columns["metric"]]
        columns["refused"] = refused
        exact = [name for name in columns if name == "median" or name.startswith(("low_", "high_"))]
        return Frame(columns, amounts=exact, texts=["method", "refused"])

    def _column(self, totals: Wholes, given: list[bool]) -> list[Decimal | None]:
        exact = self._exact(np.maximum(totals, 0))
        return [
            value if good and total >= 0 else None
            for value, total, good in zip(exact, totals.tolist(), given, strict=True)
        ]

    def methods(self) -> Frame:
        """Which method each metric got, why, and how far each one was off in the past: the mean
        absolute residual of the horizon's total, in units of what the history lets expect."""
        names = sorted({name for choice in self.choices for name in choice.errors})
        columns: dict[str, Any] = {
            "metric": [choice.metric for choice in self.choices],
            "method": [choice.method for choice in self.choices],
            "why": [choice.why for choice in self.choices],
        }
        for name in names:
            columns[name] = [float(choice.errors.get(name, np.nan)) for choice in self.choices]
        return Frame(columns)

    def draws(self, tenant: Any, metric: str) -> _core.Amounts:
        """Equally likely quantities of the whole period; the same number is the same future for
        all tenants and metrics, so sums of draws are draws of sums."""
        row = self._row(tenant, metric)
        self._check(row)
        return self._exact(self._drawn(np.array([row])))

    def _check(self, row: int) -> None:
        reason = self._source.reason(row)
        if reason is not None:
            raise InvalidValue("tenant", reason)

    def _column_of(self, counts: Wholes) -> Any:
        """What prices take: whole numbers as they are, others as exact decimals."""
        flat = np.ascontiguousarray(counts).ravel()
        return flat if self._digits == 0 else _core.amounts_of_wholes(flat, self._digits)

    def _drawn(self, rows: Wholes) -> Wholes:
        """Samples of the whole period: a row for each series."""
        drawn = self._source.draw(rows)
        drawn += self._known[rows, None]
        return drawn

    def paths(self, tenant: Any, metric: str) -> NDArray[np.float64]:
        """Usage of the period up to the end of each step ahead, a row for each draw, as floats."""
        row = self._row(tenant, metric)
        self._check(row)
        ways = self._source.paths(row) + self._known[row]
        found: NDArray[np.float64] = ways.astype("float64") / 10.0**self._digits
        return found

    @property
    def times(self) -> list[datetime]:
        """The end of each step ahead."""
        return [self._calendar.shown(ns) for ns in self._times_ns]

    def passing(self, limits: Mapping[str, Number] | Mapping[tuple[Any, str], Number]) -> Frame:
        """When limits (quotas) will be passed.

        ``limits`` are quantities of the period by metric, or by tenant and metric. A row for each
        series with a limit: the probability that the period passes it, and by when with 10, 50 and
        90 % (``by_10``: the end of the step; missing where that is not before the period's end;
        ``as_of`` where what is known passes it). Raises `InvalidValue` for a metric or tenant that
        is not there.
        """
        wanted = self._limits(limits)
        columns: dict[str, list[Any]] = {
            name: [] for name in ("tenant", "metric", "limit", "probability")
        }
        columns |= {f"by_{share * 100:.0f}": [] for share in _SHARES}
        for row, limit in wanted.items():
            number = int(self._tenant_of[row])
            tenant, metric = self.tenants[number], self.metrics[int(self._metric_of[row])]
            shares = self._passed(row, limit)
            columns["tenant"].append(tenant)
            columns["metric"].append(metric)
            columns["limit"].append(limit)
            columns["probability"].append(None if shares is None else float(shares[-1]))
            passed = self._exact(self._known[row : row + 1])[0] > limit
            for share in _SHARES:
                by = self._now(number) if passed else self._by(shares, share, number)
                columns[f"by_{share * 100:.0f}"].append(by)
        return passing_frame(columns, ["limit"])

    def _limits(self, limits: Mapping[Any, Number]) -> dict[int, Decimal]:
        rows = self._row_of
        found: dict[int, Decimal] = {}
        for key, limit in limits.items():
            exact = _core.exact(limit, "limits")
            matching = [rows[key]] if key in rows else [r for (_, m), r in rows.items() if m == key]
            if not matching:
                raise InvalidValue(
                    "limits",
                    f"no usage of {key!r}",
                    remedy="a metric, or a pair of tenant and metric",
                )
            found |= dict.fromkeys(matching, exact)
        return dict(sorted(found.items()))

    def _passed(self, row: int, limit: Decimal) -> NDArray[np.float64] | None:
        """The share of draws that are above a limit by the end of each step."""
        if self._source.reason(row) is not None:
            return None
        numerator, denominator = limit.as_integer_ratio()
        units = numerator * 10**self._digits // denominator
        ways = self._source.paths(row) + self._known[row]
        above: NDArray[np.float64] = (ways > min(units, 1 << 62)).mean(axis=0)
        return above

    def _by(self, shares: NDArray[np.float64] | None, share: float, tenant: int) -> datetime | None:
        if shares is None or shares[-1] < share:
            return None
        return self._calendar.shown(self._times_ns[int(np.argmax(shares >= share))], tenant)

    def _now(self, tenant: int) -> datetime:
        """The end of what is known, for a tenant by its number."""
        return self._calendar.shown(self._as_of_ns, tenant)

    def cost(
        self,
        prices: _cost.Prices,
        *,
        plans: Mapping[Any, str] | None = None,
        budgets: Mapping[Any, Number] | Number | None = None,
    ) -> _cost.CostForecast:
        """What the period will cost each tenant, each plan and all together.

        ``prices`` is a price book, a price (of the only metric), or books by plan; ``plans`` names
        the plan of each tenant, which decides its book or the included units of the one book.
        ``budgets`` are amounts of money by tenant, or one for each of them.

        Each draw of the usage is priced, exactly: the price of the mean is not the mean of the
        price. Where one metric has a price that never falls with usage, the ends of the intervals
        are the prices of the ends of the quantities. Raises `InvalidValue` for a metric without a
        price, a tenant without a plan, and for sums over several currencies.
        """
        return _cost.price(self, prices, plans or {}, budgets)


def passing_frame(columns: dict[str, list[Any]], amounts: list[str]) -> Frame:
    """A frame whose columns keep their kinds where all of their values are missing."""
    times = [name for name in columns if name.startswith("by_")]
    return Frame(columns, amounts=amounts, floats=["probability"], texts=["currency"], times=times)


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Levels of intervals, ascending."""
    if isinstance(levels, float | int):
        levels = (levels,)
    for level in levels:
        check_share("levels", level)
    if not levels:
        raise InvalidValue("levels", "expected at least one level")
    return tuple(sorted({float(level) for level in levels}))


def season_of(step_ns: int, steps: int) -> int:
    """A week of days or (where there are three of them) of hours, a day of hours or minutes."""
    day, week = 86_400 * NS, 604_800 * NS
    for length in (week, day):
        if length % step_ns == 0 and length // step_ns > 1 and steps >= 3 * (length // step_ns):
            return length // step_ns
    return 1


def seasons_of(
    season: int | Mapping[str, int] | None, metrics: list[str], step_ns: int, steps: int
) -> list[int]:
    """The season of each metric in steps."""
    usual = season_of(step_ns, steps)
    if isinstance(season, Mapping):
        for metric in season:
            if metric not in metrics:
                raise InvalidValue("season", f"no usage of {metric!r}")
    found = [
        usual if season is None else season.get(m, usual) if isinstance(season, Mapping) else season
        for m in metrics
    ]
    for each in found:
        if isinstance(each, bool) or not isinstance(each, int) or each < 1:
            raise InvalidValue("season", f"{each!r}, expected steps, at least 1")
    return found


def check_count(field: str, value: Any, least: int, most: int) -> int:
    """A whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidValue(field, f"{value!r}, expected {least} to {most}")
    return value


def forecast(
    usage: Any,
    *,
    horizon: int | timedelta | None = None,
    period_start: datetime | date | None = None,
    period_end: datetime | date | None = None,
    as_of: datetime | date | None = None,
    step: Step = "day",
    zone: Zone | None = None,
    season: int | Mapping[str, int] | None = None,
    method: str | Method = "auto",
    settings: Settings | None = None,
    levels: Sequence[float] = _LEVELS,
    history: int | None = None,
    samples: int = 1000,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    gaps: Literal["refuse", "zero"] = "refuse",
    duplicates: Literal["refuse", "sum"] = "refuse",
    naive: Literal["refuse", "utc"] = "refuse",
    digits: int | None = None,
) -> Forecast:
    """Forecast the usage of a period, of every tenant and metric.

    ``usage`` is a frame of pandas, polars, DuckDB, pyarrow or this package, anything with
    ``__arrow_c_stream__``, or a mapping, with the columns tenant, metric, time and quantity;
    ``columns`` maps these to other names. Quantities are whole numbers or decimals; floats are
    taken where they are whole, or rounded to ``digits``. Times need a time zone, or
    ``naive="utc"``.

    ``as_of`` is the end of what is known, by default of the last step that has a row. The period
    goes on for ``horizon`` steps (or a timedelta; by default 30 steps), or to ``period_end``. What
    was used since ``period_start`` (by default ``as_of``: nothing) is known and part of its total.

    Each ``step`` needs exactly one row of each series between its first row and ``as_of``:
    ``gaps="zero"`` takes missing ones as no usage, ``duplicates="sum"`` adds those of one step.

    Days and weeks are those of UTC, or of ``zone``: the name of a time zone, or names by tenant. A
    day on which clocks are set is one step, of 23 or 25 hours. ``as_of`` and the ends of the period
    may then be dates, which begin at midnight there; with several zones they have to be.

    ``method`` is ``auto`` (chosen for each metric by its past, see `Forecast.methods`), the name of
    one of `METHODS`, or a function like those; ``settings`` are the constants of the built-in ones.
    ``season`` is in steps, also by metric; by default a week or a day. ``history`` is how many
    steps a method sees; by default three horizons. ``levels`` are those of the intervals.
    ``samples`` and ``seed`` are of the draws.

    Raises `InvalidValue` that names the column and the row which is wrong.
    """
    levels = check_levels(levels)
    check_count("samples", samples, 1, _SAMPLES_MAX)
    past = read_history(
        usage, step=step, as_of=as_of, columns=columns, gaps=gaps, duplicates=duplicates,
        naive=naive, digits=digits, zone=zone,
    )  # fmt: skip
    times_ns, weights = _ahead(past, horizon, period_end)
    steps = len(times_ns)
    known = _known(past, period_start)
    window = 3 * steps if history is None else check_count("history", history, 1, 1 << 31)
    seasons = seasons_of(season, past.metrics, past.step_ns, past.steps)
    needed = steps_needed(steps)
    if past.steps < needed:
        raise past.too_short(
            f"{steps} steps ahead cannot be tested on it",
            f"give at least {needed} steps, or a shorter horizon",
        )
    fitted = fit(
        past.counts.astype("float64"), past.first, past.metric_of, past.metrics, steps, seasons,
        method, max(window, steps), levels, settings or DEFAULTS,
    )  # fmt: skip
    source = Calibrated(fitted, weights, past.tenants, past.tenant_of, samples, seed)
    return Forecast(
        tenants=past.tenants,
        metrics=past.metrics,
        tenant_of=past.tenant_of,
        metric_of=past.metric_of,
        known=known,
        digits=past.digits,
        source=source,
        times_ns=times_ns,
        as_of_ns=past.as_of_real_ns,
        levels=levels,
        choices=fitted.choices,
        calendar=past.calendar,
    )


def _ahead(
    past: History, horizon: int | timedelta | None, period_end: datetime | date | None
) -> tuple[list[int], NDArray[np.float64]]:
    """The ends of the steps ahead, and how much of each lies between now and the period's end."""
    step_ns, real = past.step_ns, past.calendar.real
    if period_end is not None:
        if horizon is not None:
            raise InvalidValue("horizon", "given beside period_end", remedy="give one of them")
        end_ns, end_real_ns = past.calendar.point("period_end", period_end)
    else:
        if isinstance(horizon, timedelta):
            end_ns = past.as_of_ns + horizon // timedelta(microseconds=1) * 1000
        else:
            steps = check_count("horizon", 30 if horizon is None else horizon, 1, 100_000)
            end_ns = past.as_of_ns + steps * step_ns
        end_real_ns = real(end_ns)
    if end_real_ns <= past.as_of_real_ns:
        raise InvalidValue("period_end", "is not after as_of: nothing remains to forecast")
    count = max(1, -(-(end_ns - past.end_ns) // step_ns))
    bounds = [real(past.end_ns + i * step_ns) for i in range(count + 1)]
    weights = np.ones(count)
    # Of the hours that the day has: 23 or 25 where clocks are set.
    weights[0] -= (past.as_of_real_ns - bounds[0]) / (bounds[1] - bounds[0])
    weights[-1] -= (bounds[-1] - end_real_ns) / (bounds[-1] - bounds[-2])
    return [*bounds[1:-1], end_real_ns], weights


def _known(past: History, period_start: datetime | date | None) -> Wholes:
    if period_start is None:
        return np.zeros(len(past.counts), "int64")
    start_ns, _ = past.calendar.point("period_start", period_start)
    place, rest = divmod(start_ns - past.start_ns, past.step_ns)
    if rest:
        raise InvalidValue("period_start", "is inside of a step", remedy="a shorter step")
    if start_ns > past.as_of_ns or place > past.steps:
        raise InvalidValue("period_start", "is after as_of")
    if place < 0:
        raise InvalidValue(
            "period_start", "is before the first row: what was used then is not known"
        )
    known: Wholes = past.counts[:, place:].sum(axis=1) + past.partial
    return known


def from_samples(
    samples: Mapping[tuple[Any, str], Any],
    *,
    known: Mapping[tuple[Any, str], Number] | None = None,
    as_of: datetime,
    period_end: datetime,
    steps: int = 30,
    levels: Sequence[float] = _LEVELS,
) -> Forecast:
    """A forecast out of samples of another model: by tenant and metric, as many for each.

    ``samples`` are of the usage that remains (arrays of whole numbers or decimals); sample s of all
    of them is one future. Between ``as_of`` and ``period_end`` usage grows evenly. Raises
    `InvalidValue` for negative or missing samples and for different numbers of them.
    """
    check_count("steps", steps, 1, 100_000)
    if not samples:
        raise InvalidValue("samples", "expected samples of at least one tenant and metric")
    keys = sorted(samples)
    held = [
        _core.FrameColumn.of(samples[key], f"samples of {key}", False).units(f"samples of {key}")
        for key in keys
    ]
    before = _core.amounts_of_numbers([(known or {}).get(key, 0) for key in keys], "known")
    digits = max(each.digits() for each in [*held, before])
    rows = [np.asarray(each.to_wholes(digits)) for each in held]
    for key, row in zip(keys, rows, strict=True):
        if len(row) != len(rows[0]) or not len(row):
            raise InvalidValue("samples", f"{key} has {len(row)} samples, others {len(rows[0])}")
        if row.min() < 0:
            raise InvalidValue("samples", f"{key}: sample {int(np.argmin(row))} is negative")
    tenants, metrics = sorted({t for t, _ in keys}), sorted({m for _, m in keys})
    start_ns, end_ns = nanoseconds("as_of", as_of), nanoseconds("period_end", period_end)
    if end_ns <= start_ns:
        raise InvalidValue("period_end", "is not after as_of: nothing remains to forecast")
    return Forecast(
        tenants=tenants,
        metrics=metrics,
        tenant_of=np.array([tenants.index(t) for t, _ in keys]),
        metric_of=np.array([metrics.index(m) for _, m in keys]),
        known=np.asarray(before.to_wholes(digits)),
        digits=digits,
        source=Given(np.stack(rows), steps),
        times_ns=[start_ns + (end_ns - start_ns) * (i + 1) // steps for i in range(steps)],
        as_of_ns=start_ns,
        levels=check_levels(levels),
        choices=[Choice(metric, "samples", "they were given", {}) for metric in metrics],
    )


def from_quantiles(
    quantiles: Mapping[tuple[Any, str], Mapping[float, Number]],
    *,
    as_of: datetime,
    period_end: datetime,
    known: Mapping[tuple[Any, str], Number] | None = None,
    samples: int = 1000,
    steps: int = 30,
    levels: Sequence[float] = _LEVELS,
) -> Forecast:
    """A forecast out of quantiles of another model: by tenant and metric, quantity by probability.

    Between the quantiles it is a straight line, outside of them the outermost value. Sample s is at
    the same probability for all: the futures of tenants go together, which makes the intervals of
    sums the widest that the quantiles allow.
    """
    check_count("samples", samples, 1, _SAMPLES_MAX)
    places = (np.arange(samples) + 0.5) / samples
    drawn = {}
    for key, points in quantiles.items():
        for share in points:
            check_share("quantiles", share)
        shares = sorted(points)
        exact = _core.amounts_of_numbers([points[share] for share in shares], f"quantiles of {key}")
        digits = exact.digits()
        values = np.asarray(exact.to_wholes(digits))
        if not len(values) or (np.diff(values) < 0).any():
            raise InvalidValue("quantiles", f"{key}: expected quantities that rise")
        between = np.rint(np.interp(places, shares, values)).astype("int64")
        drawn[key] = _core.amounts_of_wholes(between, digits)
    return from_samples(
        drawn, known=known, as_of=as_of, period_end=period_end, steps=steps, levels=levels
    )
