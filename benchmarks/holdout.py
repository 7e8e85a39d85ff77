"""Is the default of forecasts chosen to look good? A nested back-test on the recorded series.

The constants of the default were chosen by people who had seen these series. Here 43 candidates (36
combinations of constants, two more, five methods) are chosen on all sources of data but one, and
measured on the one that was left out; then the same with windows alone that had ended before. The
numbers of docs/forecast.md come from it; it has no clock and no lot, so it always prints the same.

    python benchmarks/holdout.py
"""

from __future__ import annotations

import itertools

from common import print_table
from tenancy.demo.recorded import SEASONS, SOURCES, scaled_usage
from tenancy.forecast import METHODS, NestedBacktest, Settings, nested_backtest
from tenancy.pricing import Graduated, Tier

PRICE = Graduated(
    [
        Tier(10_000, "0.001"),
        Tier(100_000, "0.0008"),
        Tier(1_000_000, "0.0005"),
        Tier(None, "0.0003"),
    ],
    currency="USD",
)
MEASURES = ("wape_cost", "wape", "crps", "mase", "smape", "coverage_80", "coverage_95")


def candidates() -> dict[str, Settings | str]:
    """The default first: it is what equal candidates leave."""
    found: dict[str, Settings | str] = {"default": Settings()}
    grid = itertools.product((0.25, 0.125, 0.5, 1.0), (5.0, 3.0, 1e6), (0.5, 0.25, 0.75))
    for half_life, cap, share in grid:
        made = Settings(half_life=half_life, cap=cap, level_share=share)
        if made != Settings():
            found[f"half-life {half_life:g}, cap {cap:g}, level {share:g}"] = made
    found |= {f"prior {prior:g}": Settings(prior=prior) for prior in (0.5, 8.0)}
    return found | {name: name for name in METHODS}


def show(title: str, tested: NestedBacktest) -> None:
    scores = list(tested.scores())
    rows = [(each, *(f"{row[each]:.3f}" for row in scores)) for each in MEASURES]
    head = ("", *(row["method"] for row in scores))
    print_table(f"{title}: {tested.windows} windows, {tested.independent} tenants", rows, head)
    for measure in MEASURES[:3]:
        for other in ("run_rate", "seasonal_naive"):
            low, high = tested.interval(measure, against=other)
            print(f"{measure} beside {other}: {low:+.3f} to {high:+.3f}")
    for level in tested.levels:
        low, high = tested.coverage_interval(level)
        print(f"held by the {level:.0%} interval: {low:.1%} to {high:.1%}")
    print("chosen:", sorted({(row["left_out"], row["chosen"]) for row in tested.choices}))
    print()


def main() -> None:
    for title, earlier in (("other sources", False), ("other sources, earlier windows", True)):
        tested = nested_backtest(
            scaled_usage(), candidates(), leave_out=SOURCES, earlier=earlier, season=SEASONS,
            origins=16, prices=PRICE,
        )  # fmt: skip
        show(title, tested)


if __name__ == "__main__":
    main()
