"""`tenancy.plots`: what is drawn is what was given. How it looks was judged by eye."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tenancy import plots
from tenancy.billing import (
    AppliedCredit,
    AppliedDiscount,
    Bill,
    BillLine,
    Period,
    TaxTotal,
    TierLine,
)
from tenancy.errors import InvalidValue
from tenancy.forecast import forecast
from tenancy.pricing import Graduated, Tier, Volume
from tenancy.whatif import reprice
from whatif_model import book, frame_of

matplotlib = pytest.importorskip("matplotlib")

UTC = timezone.utc
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [START + timedelta(days=k) for k in range(10)]
AHEAD = [DAYS[-1] + timedelta(days=k) for k in range(1, 6)]
USED = [100 * k for k in range(10)]
FAN = {
    0.1: [950 + 80 * k for k in range(5)],
    0.5: [1000 + 100 * k for k in range(5)],
    0.9: [1050 + 150 * k for k in range(5)],
}
PRICE = Graduated([Tier(10, 2), Tier(100, 1), Tier(None, "0.5")], base_fee=20, maximum=100)
PERIOD = Period(START, START + timedelta(days=31))


@pytest.fixture(autouse=True)
def no_screen() -> Iterator[None]:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def texts(ax: Any) -> str:
    labels = [label.get_text() for label in ax.get_yticklabels()]
    return "\n".join([text.get_text() for text in ax.texts] + labels + [ax.get_xlabel()])


def saved(ax: Any, path: Path) -> bytes:
    ax.figure.savefig(path / "x.png")
    found = (path / "x.png").read_bytes()
    assert found.startswith(b"\x89PNG")
    return found


def bill() -> Bill:
    tiers = tuple(
        TierLine(line.kind, line.tier, line.quantity, line.unit, line.amount)
        for line in PRICE.explain(150)
    )
    lines = (
        BillLine("base_fee", "Team plan", PERIOD, Decimal("49.00")),
        BillLine("usage", "API calls", PERIOD, Decimal("100.00"), Decimal(150), tiers=tiers),
    )
    return Bill(
        "acme", PERIOD, "EUR", lines, Decimal("149.00"),
        (AppliedDiscount("d", "Launch discount", Decimal("14.90")),), Decimal("14.90"),
        (AppliedCredit("c", "Goodwill", Decimal(20)),), Decimal(20), Decimal("134.10"),
        (TaxTotal("S", Decimal(19), "VAT", Decimal("134.10"), Decimal("25.48")),),
        Decimal("25.48"), Decimal("159.58"), Decimal("139.58"), False, "1",
    )  # fmt: skip


def test_usage_with_a_fan(tmp_path: Path) -> None:
    ax = plots.usage_forecast(DAYS, USED, AHEAD, FAN, quota=1400, unit="calls", title="Acme")
    history, median, *_ = ax.lines
    assert list(history.get_ydata()) == USED
    assert list(median.get_ydata()) == [900, *FAN[0.5]]
    (band,) = ax.collections
    top = max(y for _, y in band.get_paths()[0].vertices)
    assert top == FAN[0.9][-1]
    assert "80 %" in texts(ax)
    assert "quota 1,400" in texts(ax)
    assert (ax.get_title("left"), ax.get_ylabel()) == ("Acme", "calls")
    saved(ax, tmp_path)


def test_it_draws_into_the_axes_it_is_given() -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plots.usage_forecast(DAYS, USED, ax=ax) is ax
    assert plots.cost_distribution([1, 2, 3], ax=ax) is ax
    assert plots.quota_burn_down(DAYS, USED, 1000, ax=ax) is ax
    assert plots.bill_waterfall(PRICE.explain(5), ax=ax) is ax
    assert plots.whatif_scatter([1, 2], [2, 1], ax=ax) is ax


def test_a_cost_distribution_says_how_much_lies_above_the_budget(tmp_path: Path) -> None:
    costs = list(range(100))
    ax = plots.cost_distribution(costs, budget=74.5, currency="EUR", bins=20)
    assert "25.0 % above it" in texts(ax)
    assert "median 49, 80 % between 9 and 89" in texts(ax)
    assert sum(patch.get_height() for patch in ax.patches) == 100
    over = [patch for patch in ax.patches if patch.get_hatch()]
    assert sum(patch.get_height() for patch in over) == 25
    assert min(patch.get_x() for patch in over) == pytest.approx(74.5)
    saved(ax, tmp_path)
    saved(plots.cost_distribution([5, 5, 5], budget=4), tmp_path)
    with pytest.raises(InvalidValue, match="at least one sample"):
        plots.cost_distribution([])


def test_a_bill_falls_step_by_step_to_what_is_due(tmp_path: Path) -> None:
    ax = plots.bill_waterfall(bill(), title="March")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [
        "Team plan", "API calls: tier 1", "API calls: tier 2", "API calls: tier 3",
        "API calls: base fee", "API calls: maximum", "Launch discount", "VAT 19 %", "Goodwill",
        "due",
    ]  # fmt: skip
    widths = [patch.get_width() for patch in ax.patches]
    assert sum(widths[:-1]) == pytest.approx(139.58)
    assert widths[-1] == pytest.approx(139.58)
    assert "−14.90" in texts(ax)
    assert "139.58" in texts(ax)
    saved(ax, tmp_path)
    alone = plots.bill_waterfall(PRICE.explain(5))
    assert [label.get_text() for label in alone.get_yticklabels()] == [
        "tier 1",
        "base fee",
        "total",
    ]
    line = plots.bill_waterfall(bill().lines[0])
    assert [label.get_text() for label in line.get_yticklabels()] == ["Team plan", "total"]
    with pytest.raises(InvalidValue, match="expected a Bill"):
        plots.bill_waterfall(3)  # type: ignore[arg-type]


def test_of_a_bill_below_zero_the_rest_is_carried_over() -> None:
    back = BillLine("adjustment", "Correction of May", PERIOD, Decimal(-150))
    below = dataclasses.replace(
        bill(), lines=(*bill().lines, back), subtotal=Decimal("-1.00"), discounts=(), credits=(),
        discount=Decimal(0), credit=Decimal(0), net=Decimal("-1.00"), taxes=(), tax=Decimal(0),
        total=Decimal("-1.00"), due=Decimal(0),
    )  # fmt: skip
    ax = plots.bill_waterfall(below)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[-3:] == ["Correction of May", "carried over", "due"]
    widths = [patch.get_width() for patch in ax.patches]
    assert widths[-2:] == [pytest.approx(1), 0]
    before = dataclasses.replace(
        bill(), net=Decimal("114.10"), tax=Decimal("21.68"), total=Decimal("135.78"),
        due=Decimal("135.78"),
        taxes=(TaxTotal("S", Decimal(19), "VAT", Decimal("114.10"), Decimal("21.68")),),
    )  # fmt: skip
    labels = [label.get_text() for label in plots.bill_waterfall(before).get_yticklabels()]
    assert labels[-3:] == ["Goodwill", "VAT 19 %", "total"]


def test_lines_of_two_plans_are_told_apart() -> None:
    halves = tuple(
        dataclasses.replace(tiered("1.00", "1"), plan=plan) for plan in ("starter", "business")
    )
    both = dataclasses.replace(
        bill(), lines=halves, subtotal=Decimal(2), discounts=(), credits=(), discount=Decimal(0),
        credit=Decimal(0), net=Decimal(2), taxes=(), tax=Decimal(0), total=Decimal(2),
        due=Decimal(2),
    )  # fmt: skip
    names = [name for name, _ in drawn(plots.bill_waterfall(both))]
    assert names == ["Calls (starter): tier 1", "Calls (business): tier 1", "total"]


def tiered(amount: str, *tiers: str) -> BillLine:
    lines = tuple(
        TierLine("usage", i + 1, Decimal(1), Decimal(each), Decimal(each))
        for i, each in enumerate(tiers)
    )
    return BillLine("usage", "Calls", PERIOD, Decimal(amount), tiers=lines)


def drawn(ax: Any) -> list[tuple[str, str]]:
    """The steps as they are written: name and amount."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    return list(zip(names, [text.get_text() for text in ax.texts], strict=True))


def test_what_rounding_does_is_spread_over_the_tiers() -> None:
    thirds = tiered("1.00", "0.333333333333", "0.333333333333", "0.333333333334")
    assert drawn(plots.bill_waterfall(thirds)) == [
        ("Calls: tier 1", "0.33"), ("Calls: tier 2", "0.33"), ("Calls: tier 3", "0.34"),
        ("total", "1.00"),
    ]  # fmt: skip
    assert drawn(plots.bill_waterfall(tiered("0.33", "0.333")))[0] == ("Calls: tier 1", "0.33")
    back = tiered("-0.10", "-0.055", "-0.045")
    assert drawn(plots.bill_waterfall(back))[-1] == ("total", "−0.10")


def test_what_is_more_than_rounding_is_a_step() -> None:
    half = tiered("1.50", "1.0049", "2.0002")
    assert drawn(plots.bill_waterfall(half)) == [
        ("Calls: tier 1", "1.01"), ("Calls: tier 2", "2.00"), ("Calls: rest", "−1.51"),
        ("total", "1.50"),
    ]  # fmt: skip


def test_a_price_is_explained_with_at_most_two_digits_beyond_the_currency() -> None:
    price = Graduated([Tier(10, "0.00123456"), Tier(None, "0.3333333")], currency="EUR")
    steps = drawn(plots.bill_waterfall(price.explain(13)))
    assert steps == [("tier 1", "0.0123"), ("tier 2", "1.00"), ("total", "1.0123")]
    yen = Graduated([Tier(10, "1.5"), Tier(None, 1)], currency="JPY")
    assert drawn(plots.bill_waterfall(yen.explain(12)))[-1] == ("total", "17.00")


def test_the_interval_of_a_forecast_is_that_of_its_frame(tmp_path: Path) -> None:
    from test_forecast import TWENTY, usage

    coming = forecast(usage(TWENTY))
    for price in (PRICE, Volume([Tier(1000, 2), Tier(None, 1)])):  # exact ends, and sampled ones
        cost = coming.cost(price, budgets={"t0003": 2000})
        row = list(cost.frame())[3]
        ax = plots.cost_distribution(cost, "t0003", level=0.95)
        (bar,) = [
            line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] < 0
        ]
        assert list(bar.get_xdata()) == [float(row["low_95"]), float(row["high_95"])]
        (dot,) = [line for line in ax.lines if len(line.get_xdata()) == 1]
        assert list(dot.get_xdata()) == [float(row["median"])]
        assert "budget 2,000" in texts(ax)
        assert f"{row['over_budget'] * 100:.1f} % above it" in texts(ax)
    with pytest.raises(InvalidValue, match="tenant: given with samples"):
        plots.cost_distribution([1, 2], "t0003")


def test_an_interval_that_is_refused_is_not_drawn() -> None:
    from test_forecast import TWENTY, usage

    cost = forecast(usage({"a": TWENTY["t0001"]})).cost(PRICE)
    ax = plots.cost_distribution(cost, "a")
    assert "no interval of 80 %\n(2 independent windows" in texts(ax)
    assert not [line for line in ax.lines if len(line.get_xdata()) == 2]


def test_a_quota_burns_down(tmp_path: Path) -> None:
    ax = plots.quota_burn_down(DAYS, USED, 1150, ahead=AHEAD, quantiles=FAN, unit="calls")
    lines = [list(line.get_ydata()) for line in ax.lines]
    assert [1150 - used for used in USED] in lines
    assert "empty 13 Mar" in texts(ax)
    assert "250 left" in texts(ax)
    saved(ax, tmp_path)
    over = plots.quota_burn_down(DAYS, USED, 500)
    assert "400 over" in texts(over)
    with pytest.raises(InvalidValue, match="used: has 9 values, and there are 10 times"):
        plots.quota_burn_down(DAYS, USED[:-1], 500)


def test_what_if_in_pictures(tmp_path: Path) -> None:
    events = [(f"t{k}", START, "calls", k * 100) for k in range(40)]
    today = book("t", metrics={"calls": {"tiers": [{"up_to": 1000, "unit": 2}, {"unit": 1}]}})
    result = reprice(frame_of(events), {"today": today, "new": book("n", metrics={"calls": "1.5"})})
    table = result.winners_losers()
    ax = plots.whatif_scatter(table["today"], table["new"], currency="USD", shock=10)
    outcomes = table["outcome"]
    assert f"{outcomes.count('pays more')} pay more" in texts(ax)
    assert f"{outcomes.count('pays less')} pay less" in texts(ax)
    saved(ax, tmp_path)
    heat = plots.tier_heatmap(result.tier_heatmap("today", "calls"), metric="calls")
    assert [label.get_text() for label in heat.get_yticklabels()] == [
        "tier 1: 0 to 1,000", "tier 2: over 1,000",
    ]  # fmt: skip
    numbers = [int(text.get_text()) for text in heat.texts]
    assert sum(numbers) == 40
    saved(heat, tmp_path)


def test_importing_the_package_imports_no_matplotlib() -> None:
    code = "import sys, tenancy, tenancy.plots, tenancy.whatif; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_command_line_draws_into_a_file(tmp_path: Path) -> None:
    from tenancy.cli.usage_plot import save_usage

    points = [(day, Decimal(used)) for day, used in zip(DAYS, USED, strict=True)]
    for name in ("usage.png", "usage.svg", "usage.pdf"):
        save_usage(tmp_path / name, [*points, *points], unit="calls", title="Acme: calls")
        assert (tmp_path / name).stat().st_size > 2000
    with pytest.raises(InvalidValue, match=r"usage.gif: expected .pdf, .png, .svg"):
        save_usage(tmp_path / "usage.gif", points)
    with pytest.raises(InvalidValue, match="--every day"):
        save_usage(tmp_path / "usage.png", points[:1])


def test_without_the_extras_the_error_names_them() -> None:
    code = """
import sys
sys.modules["numpy"] = sys.modules["matplotlib"] = None
from datetime import datetime, timezone
from tenancy import budgets, plots, whatif
from tenancy.errors import ExtraMissing
from tenancy.pricing import PerUnit, PriceBook
day = datetime(2026, 1, 1, tzinfo=timezone.utc)
usage = {"tenant": ["a"], "time": [day], "metric": ["hash_operations"], "quantity": [1]}
for call in (
    lambda: whatif.reprice(usage, {"x": PriceBook.load("tiered")}),
    lambda: plots.bill_waterfall(PerUnit(1).explain(1)),
):
    try:
        call()
    except ExtraMissing as error:
        print(error)
print(budgets.budget("a", 100, 60).percent)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    numpy, pictures, percent = done.stdout.splitlines()
    assert "tenancy[analysis]" in numpy
    assert "tenancy[plots]" in pictures
    assert percent == "60"
