"""Heat maps of tiers and break-even points, against counting and brute force."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenancy.errors import InvalidValue
from tenancy.pricing import PriceBook
from tenancy.whatif import Repricing, break_even, reprice
from whatif_model import START, book, frame_of

pytest.importorskip("numpy")

TIERS = [{"up_to": 1000, "unit": "0.02"}, {"up_to": 5000, "unit": "0.01"}, {"unit": "0.005"}]
TODAY = book("today", metrics={"calls": {"model": "volume", "tiers": TIERS, "included": 100}})
PER_UNIT = book("new", metrics={"calls": {"unit": "0.012"}})


def repriced(quantities: list[Any], today: PriceBook = TODAY) -> Repricing:
    rows = [(f"t{k}", START, "calls", quantity) for k, quantity in enumerate(quantities)]
    return reprice(frame_of(rows), {"today": today, "new": PER_UNIT})


def tier_of(today: PriceBook, quantity: Decimal) -> int:
    """The tier that the explanation names; 0 where only included units were used."""
    lines = today["calls"].explain(quantity).lines
    return max((line.tier or 0 for line in lines if line.kind == "usage"), default=0)


quantities = st.lists(
    st.one_of(
        st.integers(0, 12_000),
        st.sampled_from([0, 100, 101, 1100, 1101, 5100, 5101]),
        st.integers(0, 10**7).map(lambda n: Decimal(n).scaleb(-3)),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(quantities, st.integers(1, 12))
def test_a_heat_map_counts_everybody_once_and_in_the_right_tier(used: list[Any], bins: int) -> None:
    cells = list(repriced(used).tier_heatmap("today", "calls", bins=bins))
    assert sum(cell["customers"] for cell in cells) == len(used)
    assert sum(cell["quantity"] for cell in cells) == sum(map(Decimal, used))
    for tier in range(4):
        mine = [Decimal(q) for q in used if tier_of(TODAY, Decimal(q)) == tier]
        part = [cell for cell in cells if cell["tier"] == tier]
        assert sum(cell["customers"] for cell in part) == len(mine)
        assert sum(cell["quantity"] for cell in part) == sum(mine)
        assert len(part) == (1 if tier == 3 else bins)
    for cell in cells:
        inside = [
            q
            for q in map(Decimal, used)
            if (cell["above"] is None or q > cell["above"])
            and (cell["up_to"] is None or q <= cell["up_to"])
        ]
        assert cell["customers"] == len(inside)


@settings(max_examples=40, deadline=None)
@given(quantities, st.integers(1, 100))
def test_who_is_near_a_boundary(used: list[Any], percent: int) -> None:
    ends = [Decimal(100), Decimal(1100), Decimal(5100)]
    expected = []
    for k, quantity in enumerate(map(Decimal, used)):
        for at, end in enumerate(ends):
            lower = ends[at - 1] if at else Decimal(-1)
            if lower < quantity <= end and quantity > end - end * percent / 100:
                expected.append((f"t{k}", end, end - quantity))
    rows = list(repriced(used).near_boundary("today", "calls", percent=percent))
    assert sorted((r["tenant"], r["boundary"], r["left"]) for r in rows) == sorted(expected)
    shares = [row["percent"] for row in rows]
    assert shares == sorted(shares)


def test_a_plan_with_prices_of_its_own_is_named() -> None:
    team = {"team": {"included": {"calls": 500}}}
    with_plans = book("p", plans=team, metrics={"calls": {"model": "graduated", "tiers": TIERS}})
    usage = frame_of([("a", START, "calls", 400), ("b", START, "calls", 400)])
    result = reprice(usage, {"today": with_plans}, plans={"a": "team", "b": "solo"})
    with pytest.raises(InvalidValue, match=r"plan: plans have books of their own.*team, solo"):
        result.tier_heatmap("today", "calls")
    (free, *_) = result.tier_heatmap("today", "calls", plan="team", bins=1)
    assert (free["tier"], free["up_to"], free["customers"]) == (0, 500, 1)
    (first, *_) = result.tier_heatmap("today", "calls", plan="solo", bins=1)
    assert (first["tier"], first["customers"]) == (1, 1)
    with pytest.raises(InvalidValue, match="no tenant has the plan 'x'"):
        result.tier_heatmap("today", "calls", plan="x")
    with pytest.raises(InvalidValue, match="today has no price for gbs"):
        result.tier_heatmap("today", "gbs", plan="team")
    with pytest.raises(InvalidValue, match="bins"):
        result.tier_heatmap("today", "calls", plan="team", bins=0)


# --- break-even


def brute(base: PriceBook, other: PriceBook, up_to: int) -> list[tuple[int, str]]:
    """Every whole quantity, one after the other."""
    found: list[tuple[int, str]] = []
    for quantity in range(up_to + 1):
        a, b = base.amount({"calls": quantity}), other.amount({"calls": quantity})
        cheaper = "same" if a == b else "base" if a < b else "other"
        if not found or found[-1][1] != cheaper:
            found.append((quantity, cheaper))
    return found


units = st.integers(0, 40).map(lambda n: Decimal(n).scaleb(-1))
bounds = st.lists(st.integers(1, 250), min_size=1, max_size=3, unique=True).map(sorted)


@st.composite
def prices(draw: Any) -> dict[str, Any]:
    model = draw(st.sampled_from(["per_unit", "graduated", "volume", "stairstep", "package"]))
    document: dict[str, Any] = {"model": model}
    if model == "per_unit":
        document["unit"] = draw(units)
    elif model == "package":
        document |= {"unit": draw(st.integers(0, 90)), "package": draw(st.integers(2, 60))}
    else:
        tiers = []
        for end in [*draw(bounds), None]:
            tier: dict[str, Any] = {} if end is None else {"up_to": end}
            tier["flat"] = draw(st.integers(0, 60))
            if model != "stairstep":
                tier["unit"] = draw(units)
                tier["package"] = draw(st.sampled_from([1, 1, 7, 25]))
            tiers.append(tier)
        document["tiers"] = tiers
    document["included"] = draw(st.sampled_from([0, 0, 13, 120]))
    if draw(st.booleans()):
        document["minimum"] = draw(st.integers(0, 80))
    if draw(st.booleans()):
        document["maximum"] = draw(st.integers(80, 300))
    rounding = draw(st.sampled_from(["up", "up", "down", "half_up", "exact"]))
    bound = draw(st.sampled_from(["inclusive", "exclusive"]))
    document["rules"] = {"package_rounding": rounding, "bounds": bound}
    return document


def of_price(document: dict[str, Any], fee: int, maximum: int | None = None) -> PriceBook:
    limits = {} if maximum is None else {"maximum": maximum}
    return book("b", base_fee=fee, **limits, metrics={"calls": document})


@settings(max_examples=150, deadline=None)
@given(prices(), prices(), st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(30, 200))
@example({"unit": 1}, {"unit": 1}, 5, 5, None)
def test_break_even_finds_every_crossing(
    first: dict[str, Any], second: dict[str, Any], fee: int, other_fee: int, most: int | None
) -> None:
    base, other = of_price(first, fee, most), of_price(second, other_fee)
    rows = list(break_even(base, other, "calls", up_to=400))
    assert [(row["from"], row["cheaper"]) for row in rows] == brute(base, other, 400)
    assert [row["to"] for row in rows] == [*(row["from"] - 1 for row in rows[1:]), None]
    for row in rows:
        assert row["base"] == base.amount({"calls": row["from"]})
        assert row["other"] == other.amount({"calls": row["from"]})


def test_break_even_of_a_customer_base_counts_who_lies_where() -> None:
    used = [0, 10, Decimal("200.5"), 900, 2000, 7000, 10**6]
    result = repriced(used)
    rows = list(result.break_even("calls"))
    assert [row["cheaper"] for row in rows[:2]] == ["same", "today"]
    assert sum(row["customers"] for row in rows) == len(used)
    assert sum(row["quantity"] for row in rows) == sum(map(Decimal, used))
    for row in rows:
        end = row["to"] if row["to"] is not None else 10**9
        inside = [q for q in used if row["from"] <= int(q) <= end]
        assert row["customers"] == len(inside)


def test_break_even_holds_other_usage_fixed_and_refuses_nonsense() -> None:
    rows = break_even(book("a"), book("b", metrics={"calls": 0, "gb": 3}), "calls", usage={"gb": 5})
    assert [(row["from"], row["cheaper"]) for row in rows] == [
        (0, "base"), (500, "same"), (501, "other"),
    ]  # fmt: skip
    with pytest.raises(InvalidValue, match="base has no price for call"):
        break_even(TODAY, TODAY, "call")
    with pytest.raises(InvalidValue, match="up_to: expected a whole number"):
        break_even(TODAY, TODAY, "calls", up_to=0)
    tiny = of_price({"model": "package", "unit": 1, "package": 2}, 0)
    with pytest.raises(InvalidValue, match="packages up to"):
        break_even(tiny, TODAY, "calls", up_to=10**9)
