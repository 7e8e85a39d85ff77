"""Pictures of usage, cost, limits and prices, by matplotlib (the extra ``plots``).

Each function draws into `ax`, or into axes of its own, and returns them; nothing is shown or saved.
Colours are told apart by colour-blind readers and in grey; whatever a colour says, a mark, a line
style or a word says too.

    >>> from tenancy import plots                                    # doctest: +SKIP
    >>> plots.quota_burn_down(times, used, limit=1000).figure.savefig("quota.png")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from . import _core, _exact
from .billing import Bill, BillLine
from .errors import ExtraMissing, InvalidValue
from .pricing import Explanation, minor_digits

__all__ = [
    "bill_waterfall",
    "cost_distribution",
    "quota_burn_down",
    "tier_heatmap",
    "usage_forecast",
    "whatif_scatter",
]

# Okabe and Ito's palette for colour-blind readers (jfly.uni-koeln.de/color).
_BLUE, _RED, _INK, _GREY = "#0072B2", "#D55E00", "#222222", "#8A8A8A"
_DPI = 120


def usage_forecast(
    times: Sequence[datetime],
    used: Sequence[Any],
    ahead: Sequence[datetime] = (),
    quantiles: Mapping[float, Sequence[Any]] | None = None,
    *,
    quota: Any = None,
    unit: str = "units",
    title: str = "",
    ax: Any = None,
) -> Any:
    """Usage so far, and a fan of what is to come.

    `times` and `used` are the history; `ahead` are the coming times, and `quantiles` has what will
    be used at each of them, by share: ``{0.1: …, 0.5: …, 0.9: …}``. Shares are taken in pairs, the
    outermost is the lightest band; 0.5 is the dashed line. `quota` is a horizontal line.
    """
    ax = _axes(ax)
    _same_length("used", times, used)
    ax.plot(times, _floats(used), color=_INK, linewidth=1.6)
    shares = sorted(quantiles or {})
    for share in shares:
        _same_length(f"quantiles[{share}]", ahead, (quantiles or {})[share])
    last = ([times[-1]], [_floats(used)[-1]]) if len(times) else ([], [])
    along = [*last[0], *ahead]
    curves = {share: [*last[1], *_floats((quantiles or {})[share])] for share in shares}
    pairs = [(low, high) for low, high in zip(shares, reversed(shares), strict=True) if low < high]
    for depth, (low, high) in enumerate(pairs):
        ax.fill_between(
            along, curves[low], curves[high], color=_BLUE, linewidth=0,
            alpha=0.16 + 0.16 * depth,
        )  # fmt: skip
        label = f"{(high - low) * 100:.0f} %"
        # In turn above and below, so that they do not meet.
        side = high if depth % 2 == 0 else low
        place = "bottom" if side == high else "top"
        _note(ax, along[-1], curves[side][-1], label, color=_BLUE, va=place)
    if 0.5 in curves:
        ax.plot(along, curves[0.5], color=_BLUE, linewidth=1.6, linestyle=(0, (4, 2)))
        _note(ax, along[-1], curves[0.5][-1], "median", color=_BLUE, va="center")
    if quota is not None:
        _level(ax, float(quota), f"quota {_number(float(quota))}")
    _finish(ax, title, ylabel=unit)
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    _dates(ax)
    return ax


def cost_distribution(
    costs: Any,
    tenant: Any = None,
    *,
    budget: Any = None,
    currency: str = "",
    level: float = 0.8,
    bins: int = 40,
    title: str = "",
    ax: Any = None,
) -> Any:
    """What a period may cost: samples of the cost as a histogram, against a budget.

    `costs` are numbers, or `Amounts`; or a forecast of the cost and the `tenant` whose it is, with
    its currency and its budget unless another one is given. The interval below the bars is then
    that of `CostForecast.frame`, else the smallest samples that hold so much of them. What lies
    above the budget is hatched, and its share is said.
    """
    np = _exact.numpy()
    ax = _axes(ax)
    samples = costs
    if hasattr(costs, "draws"):
        samples = costs.draws(tenant)
        budget = costs.budget(tenant) if budget is None else budget
        currency = currency or costs.currency(tenant) or ""
    elif tenant is not None:
        raise InvalidValue("tenant", "given with samples that are of nobody", remedy="leave it out")
    values = np.sort(np.asarray(_floats(samples)))
    if len(values) == 0:
        raise InvalidValue("costs", "expected at least one sample")
    limit = None if budget is None else float(budget)
    edges = np.histogram_bin_edges(values, bins)
    widths = np.diff(edges)
    if limit is not None and edges[0] < limit < edges[-1]:
        # No bar lies on both sides of the budget.
        below, above = (
            np.ceil((limit - edges[0]) / widths[0]),
            np.ceil((edges[-1] - limit) / widths[0]),
        )
        edges = limit + widths[0] * np.arange(-below, above + 1)
        widths = np.diff(edges)
    heights, _ = np.histogram(values, edges)
    over = np.zeros(len(heights), bool) if limit is None else edges[:-1] >= limit - widths[0] / 2
    ax.bar(edges[:-1][~over], heights[~over], widths[~over], align="edge", color=_BLUE, alpha=0.55)
    ax.bar(
        edges[:-1][over], heights[over], widths[over],
        align="edge", color="white", edgecolor=_RED, hatch="////", linewidth=0.6,
    )  # fmt: skip
    middle, ends, said = _interval(costs, tenant, values, level)
    base = -0.045 * heights.max()
    ax.plot(ends, [base] * len(ends), color=_INK, linewidth=2, solid_capstyle="butt")
    ax.plot([middle], [base], marker="o", color=_INK, markersize=5)
    if limit is not None:
        ax.axvline(limit, color=_RED, linewidth=1.5)
        share = float((values > limit).mean())
        _side(ax, limit, f" budget {_number(limit)}\n {share * 100:.1f} % above it", values)
    unit = f", {currency}" if currency else ""
    _finish(ax, title, xlabel=f"cost{unit}: median {_number(middle)}, {said}")
    ax.set_yticks([])
    ax.set_ylim(top=heights.max() * 1.22)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    _numbers(ax.xaxis)
    return ax


def _interval(costs: Any, tenant: Any, values: Any, level: float) -> tuple[float, list[float], str]:
    """The median, the ends of the interval or nothing, and the words for it."""
    np = _exact.numpy()
    percent = f"{level * 100:g} %"
    if not hasattr(costs, "interval"):
        shares = [(1 - level) / 2, 0.5, (1 + level) / 2]
        low, middle, high = map(float, np.quantile(values, shares, method="inverted_cdf"))
    else:
        exact, ends, refused = costs.interval(tenant, level)
        if ends is None:
            return float(exact), [], f"no interval of {percent}\n({refused})"
        low, middle, high = float(ends[0]), float(exact), float(ends[1])
    return middle, [low, high], f"{percent} between {_number(low)} and {_number(high)}"


def bill_waterfall(bill: Bill | BillLine | Explanation, *, title: str = "", ax: Any = None) -> Any:
    """How a bill comes to its total: charge by charge and tier by tier, then discounts, credits and
    tax. A line of a bill, or the explanation of a price, alone as well."""
    steps, total, currency = _steps(bill)
    ax = _axes(ax, height=0.42 * (len(steps) + 1) + 1.2)
    at = 0.0
    reach = [0.0, float(total[1])]
    for row, (_, amount) in enumerate(steps):
        value = float(amount)
        ax.barh(
            row, value, left=at, height=0.62, color=_BLUE if value >= 0 else "white",
            edgecolor=_BLUE if value >= 0 else _RED, hatch=None if value >= 0 else "////",
        )  # fmt: skip
        at += value
        reach.append(at)
        ax.plot([at, at], [row + 0.31, row + 0.69], color=_GREY, linewidth=0.8)
    ax.barh(len(steps), float(total[1]), height=0.62, color=_INK)
    at = 0.0
    pad = 0.008 * (max(reach) - min(reach) or 1)
    for row, (_, amount) in enumerate([*steps, total]):
        end = float(amount) if row == len(steps) else max(at, at + float(amount))
        ax.text(max(end, 0) + pad, row, _money(amount), va="center", fontsize=9, color=_INK)
        at += float(amount)
    ax.set_yticks(range(len(steps) + 1), [name for name, _ in [*steps, total]])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.invert_yaxis()
    _finish(ax, title, xlabel=currency)
    ax.set_xlim(min(0, min(reach) * 1.1), max(reach) * 1.16 or 1)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    _numbers(ax.xaxis)
    return ax


def quota_burn_down(
    times: Sequence[datetime],
    used: Sequence[Any],
    limit: Any,
    *,
    end: datetime | None = None,
    ahead: Sequence[datetime] = (),
    quantiles: Mapping[float, Sequence[Any]] | None = None,
    unit: str = "units",
    title: str = "",
    ax: Any = None,
) -> Any:
    """What is left of a quota. `used` is the running total at each of `times`, the first of which
    begins the period and `end` ends it; the thin line is even use. `quantiles` is what will have
    been used in all at the times `ahead`, by share, as in `usage_forecast`.
    """
    ax = _axes(ax)
    _same_length("used", times, used)
    if not len(times):
        raise InvalidValue("times", "expected at least one")
    most = float(limit)
    left = [most - value for value in _floats(used)]
    finish = end or (ahead[-1] if len(ahead) else times[-1])
    ax.plot([times[0], finish], [most, 0], color=_GREY, linewidth=1, linestyle=(0, (1, 2)))
    shares = sorted(quantiles or {})
    along = [times[-1], *ahead]
    curves = {}
    for share in shares:
        values = _floats((quantiles or {})[share])
        _same_length(f"quantiles[{share}]", ahead, values)
        curves[share] = [left[-1], *(max(most - value, 0) for value in values)]
    for low, high in zip(shares, reversed(shares), strict=True):
        if low < high:
            ax.fill_between(along, curves[low], curves[high], color=_BLUE, alpha=0.2, linewidth=0)
    if 0.5 in curves:
        ax.plot(along, curves[0.5], color=_BLUE, linewidth=1.6, linestyle=(0, (4, 2)))
        empty = next((at for at, value in zip(along, curves[0.5], strict=True) if value <= 0), None)
        if empty is not None:
            ax.plot([empty], [0], marker="X", color=_RED, markersize=9, clip_on=False, zorder=5)
            _note(ax, empty, most * 0.06, f"empty {empty:%d %b}", color=_RED, ha="center")
    ax.plot(times, left, color=_INK, linewidth=1.8)
    ax.plot(times[-1], left[-1], marker="o", color=_INK, markersize=5)
    state = f" {_number(abs(left[-1]))} {'left' if left[-1] >= 0 else 'over'}"
    _note(ax, times[-1], left[-1], state, va="bottom")
    if min(left) < 0:
        ax.fill_between(times, left, 0, where=[value < 0 for value in left], color=_RED, alpha=0.3)
    _finish(ax, title, ylabel=f"{unit} left")
    ax.set_ylim(bottom=min(0, min(left) * 1.15), top=most * 1.04)
    if min(left) < 0:
        ax.axhline(0, color=_RED, linewidth=1)
    _dates(ax)
    return ax


def whatif_scatter(
    base: Any,
    other: Any,
    *,
    names: tuple[str, str] = ("today", "new"),
    currency: str = "",
    shock: float | None = None,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Each tenant's bill under two price books: a point above the line pays more.

    `base` and `other` are numbers or `Amounts`, one for each tenant, as the columns of
    `Repricing.winners_losers` have them. `shock` draws a second line so many percent above.
    """
    np = _exact.numpy()
    ax = _axes(ax, height=4.6)
    x, y = np.asarray(_floats(base)), np.asarray(_floats(other))
    _same_length("other", x, y)
    more, less = y > x, y < x
    positive = np.concatenate([x[x > 0], y[y > 0]])
    wide = len(positive) and positive.max() / positive.min() > 200
    size = 26 if len(x) <= 200 else 9
    for mask, colour, mark in ((more, _RED, "^"), (less, _BLUE, "o"), (~more & ~less, _GREY, "D")):
        face = colour if mark == "^" else "none"
        ax.scatter(x[mask], y[mask], s=size, marker=mark, facecolors=face, edgecolors=colour,
                   linewidths=0.8, alpha=0.75)  # fmt: skip
    top = max(float(x.max(initial=0)), float(y.max(initial=0))) * 1.05 or 1.0
    low = float(positive.min()) / 1.5 if wide else 0.0
    # Straight lines bend where a logarithmic scale goes over to zero.
    along = np.append(0, np.geomspace(low, top, 200)) if wide else np.array([0, top])
    ax.plot(along, along, color=_INK, linewidth=1)
    if shock is not None:
        grown = along * (1 + shock / 100)
        ax.plot(along, grown, color=_INK, linewidth=0.9, linestyle="--")
        at = (low * top) ** 0.5 if wide else top / 4
        _note(ax, at, at * (1 + shock / 100) * 1.15, f"+{shock:g} % ", ha="right", va="bottom")
    if wide:
        linear = float(positive.min())
        ax.set_xscale("symlog", linthresh=linear)
        ax.set_yscale("symlog", linthresh=linear)
    bottom = 0.0 if (x <= 0).any() or (y <= 0).any() or not wide else low
    ax.set_xlim(bottom, top)
    ax.set_ylim(bottom, top)
    for at, mark, count, way, colour in (
        ((0.03, 0.96), "▲", int(more.sum()), "more", _RED),
        ((0.97, 0.04), "○", int(less.sum()), "less", _BLUE),
    ):
        words = f"{mark} {count:,} {'pays' if count == 1 else 'pay'} {way}"
        left, high = at[0] < 0.5, at[1] > 0.5
        ax.text(
            *at, words, color=colour, transform=ax.transAxes,
            ha="left" if left else "right", va="top" if high else "bottom",
        )  # fmt: skip
    unit = f", {currency}" if currency else ""
    _finish(ax, title, xlabel=f"{names[0]}{unit}", ylabel=f"{names[1]}{unit}")
    for axis in (ax.xaxis, ax.yaxis):
        _numbers(axis)
    return ax


def tier_heatmap(
    frame: Any, *, value: str = "customers", metric: str = "", title: str = "", ax: Any = None
) -> Any:
    """How many customer periods sit where in which tier: the frame of `Repricing.tier_heatmap`.

    A row for each tier, from its beginning to its end: the last columns are next to the boundary.
    `value` is ``customers`` or ``quantity``.
    """
    if value not in ("customers", "quantity"):
        raise InvalidValue("value", f'expected "customers" or "quantity", got {value!r}')
    rows = list(
        zip(frame["tier"], frame["bin"], _floats(frame[value]), frame["up_to"], strict=True)
    )
    tiers = list(dict.fromkeys(frame["tier"]))
    ax = _axes(ax, height=0.55 * len(tiers) + 1.5)
    top = max((amount for _, _, amount, _ in rows), default=0) or 1
    labels = []
    lower = "0"
    for place, tier in enumerate(tiers):
        cells = [(amount, up_to) for of, _, amount, up_to in rows if of == tier]
        end = cells[-1][1]
        for at, (amount, _) in enumerate(cells):
            _cell(ax, at / len(cells), place, 1 / len(cells), amount, top)
        upper = "more" if end is None else _number(float(end))
        name = "free" if tier == 0 else f"tier {tier}"
        labels.append(f"{name}: {lower} to {upper}" if end is not None else f"{name}: over {lower}")
        lower = upper
    ax.set_xlim(0, 1)
    ax.set_ylim(len(tiers) - 0.5, -0.5)
    ax.set_yticks(range(len(tiers)), labels)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["begins", "25 %", "50 %", "75 %", "ends"])
    _finish(ax, title, xlabel=f"place in the tier{f' of {metric}' if metric else ''}, {value} in "
            "each part")  # fmt: skip
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    return ax


# --- what a bill is made of


def _steps(
    bill: Bill | BillLine | Explanation,
) -> tuple[list[tuple[str, Decimal]], tuple[str, Decimal], str]:
    """The steps by name, the total, and the currency; amounts as they are written."""
    if isinstance(bill, Explanation):
        names = [_tier_name(line.kind, line.tier) for line in bill.lines]
        digits = _digits(bill.currency, bill.amount)
        total = round(bill.amount, digits)
        amounts = _shared([line.amount for line in bill.lines], total, digits)
        return _merged(zip(names, amounts, strict=True)), ("total", total), bill.currency or ""
    if isinstance(bill, BillLine):
        return (
            _line_steps(bill, _name(bill), _digits(None, bill.amount)),
            ("total", bill.amount),
            "",
        )
    if not isinstance(bill, Bill):
        raise InvalidValue("bill", f"expected a Bill, got {type(bill).__name__}")
    minor = minor_digits(bill.currency)
    steps = []
    for line in bill.lines:
        # After a change of plan there are two lines of what was used.
        several = len({one.plan for one in bill.lines if _name(one) == _name(line)}) > 1
        name = f"{_name(line)} ({line.plan})" if several and line.plan else _name(line)
        steps += _line_steps(line, name, minor)
    steps += [(discount.name, -discount.amount) for discount in bill.discounts]
    taken = [(credit.name, -credit.amount) for credit in bill.credits]
    # Tax that is in the prices is no step.
    taxes = [(f"{tax.name} {tax.rate:f} %", tax.amount) for tax in bill.taxes if tax.amount]
    taxes = [] if bill.tax_inclusive else taxes
    added = Decimal(0) if bill.tax_inclusive else bill.tax
    after_tax = bill.total == bill.subtotal - bill.discount + added
    steps += taxes + taken if after_tax else taken + taxes
    # Of a bill below zero nothing is due.
    steps.append(("carried over", bill.due - sum((amount for _, amount in steps), Decimal(0))))
    name = "due" if bill.due != bill.total else "total"
    return _merged(steps), (name, bill.due), bill.currency


def _name(line: BillLine) -> str:
    return line.description or line.metric or line.kind


def _line_steps(line: BillLine, what: str, digits: int) -> list[tuple[str, Decimal]]:
    """The tiers of a line, and what a share of the period or a limit adds or takes. What rounding
    does is spread over the tiers."""
    if not line.tiers:
        return [(what, line.amount)]
    exact = [tier.amount for tier in line.tiers]
    whole = sum(exact, Decimal(0))
    small = abs(line.amount - whole) < Decimal(1).scaleb(-digits)
    target = line.amount if small else round(whole, digits)
    names = [f"{what}: {_tier_name(tier.kind, tier.tier)}" for tier in line.tiers]
    steps = list(zip(names, _shared(exact, target, digits), strict=True))
    return steps if target == line.amount else [*steps, (f"{what}: rest", line.amount - target)]


def _digits(currency: str | None, amount: Decimal) -> int:
    """How many digits are written: the currency's, and at most two that a price has beyond it."""
    minor = 2 if currency is None else minor_digits(currency)
    own = -int(amount.normalize().as_tuple().exponent)
    return min(max(own, minor), minor + 2)


def _shared(amounts: Sequence[Decimal], total: Decimal, digits: int) -> list[Decimal]:
    """Amounts rounded to so many digits that come to the total: the largest remainders go up."""
    unit = Decimal(1).scaleb(-digits)
    floors = [amount.quantize(unit, ROUND_FLOOR) for amount in amounts]
    missing = int((total - sum(floors, Decimal(0))) / unit)
    order = sorted(range(len(amounts)), key=lambda i: floors[i] - amounts[i])
    up = set(order[:missing])
    return [floor + unit if i in up else floor for i, floor in enumerate(floors)]


def _tier_name(kind: str, tier: int | None) -> str:
    name = kind.replace("_", " ")
    if tier is None:
        return name
    return f"tier {tier}" if kind == "usage" else f"tier {tier}, {name}"


def _merged(steps: Iterable[tuple[str, Decimal]]) -> list[tuple[str, Decimal]]:
    return [(name, amount) for name, amount in steps if amount]


# --- how pictures look


def _axes(ax: Any, *, height: float = 3.6) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ExtraMissing("plots", "matplotlib") from None
    _, made = pyplot.subplots(figsize=(7.2, height), dpi=_DPI, layout="constrained")
    return made


def _finish(ax: Any, title: str, *, xlabel: str = "", ylabel: str = "") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#E4E4E4", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title, loc="left", fontsize=11)
    if ylabel:
        _numbers(ax.yaxis)


def _numbers(axis: Any) -> None:
    """Ticks as people write numbers."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _dates(ax: Any) -> None:
    from matplotlib import dates

    made: Any = dates  # its functions have no types
    locator = made.AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(made.ConciseDateFormatter(locator))


def _number(value: float) -> str:
    """12, 3.5, 1,200, 45 K, 1.2 M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= size:
            scale = 1e3 if letter == "K" else size
            return f"{value / scale:.3g} {letter}" if abs(value) < 1e15 else f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _money(amount: Decimal) -> str:
    """All digits of an amount, with at least two after the point."""
    digits = -int(amount.normalize().as_tuple().exponent)
    return f"{amount:,.{max(digits, 2)}f}".replace("-", "\N{MINUS SIGN}")


def _note(ax: Any, x: Any, y: float, text: str, *, color: str = _INK, **how: Any) -> None:
    ax.annotate(
        text, (x, y), xytext=(3, 0), textcoords="offset points",
        color=color, fontsize=8.5, annotation_clip=False, **how,
    )  # fmt: skip


def _level(ax: Any, y: float, text: str) -> None:
    ax.axhline(y, color=_RED, linewidth=1.3, linestyle=(0, (6, 2)))
    ax.annotate(
        text, (0, y), xycoords=("axes fraction", "data"), xytext=(3, 3),
        textcoords="offset points", color=_RED, fontsize=8.5,
    )  # fmt: skip


def _side(ax: Any, x: float, text: str, values: Any) -> None:
    """A text beside a vertical line, on the side where there is room."""
    right = x <= (values[0] + values[-1]) / 2
    words = text if right else text.replace("\n ", " \n") + " "
    ax.text(
        x, 0.98, words, color=_RED, fontsize=9, va="top", ha="left" if right else "right",
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip


def _cell(ax: Any, x: float, row: int, width: float, amount: float, top: float) -> None:
    """One cell: the more, the darker; the number in it in black or white."""
    from matplotlib.patches import Rectangle

    depth = (amount / top) ** 0.5
    shade = tuple(1 - depth * (1 - part) for part in (0.0, 0.27, 0.45))
    ax.add_patch(Rectangle((x, row - 0.46), width, 0.92, facecolor=shade, edgecolor="#DADADA"))
    if amount:
        ax.text(x + width / 2, row, _number(amount), ha="center", va="center", fontsize=8,
                color="white" if depth > 0.55 else _INK)  # fmt: skip


def _floats(values: Any) -> list[float]:
    if isinstance(values, _core.Amounts):
        return [float(value) for value in memoryview(values.to_floats())]
    return [float(value) for value in values]


def _same_length(name: str, first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise InvalidValue(name, f"has {len(second)} values, and there are {len(first)} times")
