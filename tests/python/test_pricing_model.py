"""The engine against a rater of its own in `Fraction`, and the laws that prices keep."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from pricing_model import Card, Model, TooLarge
from tenancy.errors import InvalidValue
from tenancy.pricing import (
    Graduated,
    Percentage,
    PerUnit,
    Price,
    PriceBook,
    Tier,
    Volume,
    aggregate,
    rate,
)

TINY = Decimal("0.000000000001")


def numbers(low: str, high: str) -> st.SearchStrategy[Decimal]:
    """Numbers of any size between the two, with up to twelve digits after the point."""
    places = st.sampled_from([0, 0, 1, 2, 6, 12])
    return places.flatmap(
        lambda n: st.decimals(low, high, places=n, allow_nan=False, allow_infinity=False)
    )


QUANTITIES = st.one_of(
    st.just(Decimal(0)),
    st.just(TINY),
    numbers("0", "40"),
    numbers("0", "2000000"),
    st.integers(2**62, 2**80).map(Decimal),
    st.just(Decimal(10**26 - 1)),
)
PRICES = st.one_of(numbers("0", "9"), numbers("0", "0.01"), st.just(TINY), numbers("0", "1000000"))
PACKAGES = st.one_of(st.just(Decimal(1)), st.just(Decimal(1)), numbers("0.5", "50"))

RULES = st.fixed_dictionaries(
    {
        "zero_usage": st.sampled_from(["first_flat", "free", "free_percentage"]),
        "fraction": st.sampled_from(["exact", "exact", "up", "down", "half_up", "lower_tier"]),
        "bounds": st.sampled_from(["inclusive", "exclusive"]),
        "tiers_count": st.sampled_from(["paid", "all"]),
        "package_rounding": st.sampled_from(["up", "down", "half_up", "exact"]),
        "negative": st.sampled_from(["credit", "zero"]),
        "round_at": st.sampled_from(["invoice", "invoice", "charge", "line"]),
        "rounding": st.sampled_from(["half_up", "half_even", "half_down", "up", "down", "floor"]),
        "commitment": st.sampled_from(["all", "usage"]),
    }
)


@st.composite
def prices(draw: Any) -> tuple[Price, Model]:
    kind = draw(st.sampled_from(["graduated", "volume"]))
    bounds = sorted(draw(st.sets(numbers("0.25", "60"), max_size=5)))
    tiers = [
        Tier(bound, draw(PRICES), draw(st.one_of(st.just(Decimal(0)), PRICES)), draw(PACKAGES))
        for bound in [*bounds, None]
    ]
    rules = draw(RULES)
    options: dict[str, Any] = {
        "included": draw(st.one_of(st.just(Decimal(0)), numbers("0", "30"))),
        "base_fee": draw(st.one_of(st.just(Decimal(0)), numbers("0", "30"))),
        "minimum": draw(st.one_of(st.none(), numbers("0", "90"))),
        "maximum": draw(st.one_of(st.none(), numbers("90", "900"))),
        "currency": draw(st.sampled_from(["USD", "JPY", "KWD"])),
    }
    make: Any = Graduated if kind == "graduated" else Volume
    exact = {k: Fraction(v) if isinstance(v, Decimal) else v for k, v in options.items()}
    model = Model(
        kind,
        [
            (
                None if t.up_to is None else Fraction(t.up_to),
                *map(Fraction, (t.unit, t.flat, t.package)),
            )
            for t in tiers
        ],
        rules,
        **exact,
    )
    return make(tiers, rules=rules, **options), model


def expected(model: Model, quantity: Decimal) -> Fraction | None:
    try:
        return model.amount(Fraction(quantity))
    except TooLarge:
        return None


def actual(price: Price, quantity: Decimal) -> Fraction | None:
    try:
        return Fraction(price.amount(quantity))
    except InvalidValue:
        return None


def passes_the_range_in_packages(model: Model, quantity: Decimal) -> bool:
    """Whether so many units are more than the range holds once packages are rounded up."""
    units = abs(Fraction(quantity))
    return any(ceil(units / package) * package >= 10**26 for *_, package in model.tiers)


@given(prices(), st.lists(QUANTITIES, min_size=1, max_size=6), st.booleans())
def test_the_engine_agrees_with_the_rater(
    priced: tuple[Price, Model], quantities: list[Decimal], negative: bool
) -> None:
    price, model = priced
    for quantity in quantities:
        asked = -quantity if negative else quantity
        wanted, got = expected(model, asked), actual(price, asked)
        event("fits" if wanted is not None else "does not fit")
        if wanted is None:
            # The engine may be able to answer where the rater passes the range on its way.
            continue
        if got is None and passes_the_range_in_packages(model, asked):
            continue  # even where they cost nothing
        assert got == wanted, (asked, float(wanted))


@given(prices(), st.lists(QUANTITIES, min_size=1, max_size=40))
def test_arrays_give_what_single_calls_give(
    priced: tuple[Price, Model], quantities: list[Decimal]
) -> None:
    price, _ = priced
    usable = [q for q in quantities if actual(price, q) is not None]
    assert list(price.amounts(usable)) == [price.amount(q) for q in usable]
    whole = [int(q) for q in usable if q == int(q) and q < 2**63]
    assert list(price.amounts(whole)) == [price.amount(q) for q in whole]


@given(prices(), QUANTITIES)
def test_explanations_sum_to_the_amount(priced: tuple[Price, Model], quantity: Decimal) -> None:
    price, _ = priced
    assume(actual(price, quantity) is not None)
    lines = price.explain(quantity).lines
    assert sum(Fraction(line.amount) for line in lines) == Fraction(price.amount(quantity))


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(prices(), QUANTITIES, QUANTITIES)
def test_graduated_never_costs_less_for_more(
    priced: tuple[Price, Model], first: Decimal, second: Decimal
) -> None:
    price, model = priced
    assume(model.kind == "graduated")
    # A fraction that stays in the lower tier may cost more than the next whole unit.
    assume(model.rules["fraction"] != "lower_tier")
    low, high = sorted((first, second))
    assume(actual(price, high) is not None)
    if model.rules["package_rounding"] != "exact":
        # Packages that are cut by a bound may be rounded down where they were up before.
        assume(all(tier.package == 1 for tier in price.tiers))
    assert price.amount(low) <= price.amount(high)


@given(prices(), st.lists(numbers("0", "500"), min_size=1, max_size=6))
def test_usage_split_in_any_way_costs_the_same(
    priced: tuple[Price, Model], parts: list[Decimal]
) -> None:
    price, _ = priced
    total = Fraction(price.amount(0))
    before = Fraction(0)
    for part in parts:
        after = Decimal(before.numerator) / Decimal(before.denominator)
        total += Fraction(price.amount(part, after=after))
        before += Fraction(part)
    whole = Decimal(before.numerator) / Decimal(before.denominator)
    assert total == Fraction(price.amount(whole))


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(prices(), numbers("0", "300"), st.sampled_from(["1", "0.25", "7"]))
def test_a_budget_buys_the_most_it_can(
    priced: tuple[Price, Model], budget: Decimal, step: str
) -> None:
    price, model = priced
    assume(model.kind == "graduated" and model.rules["fraction"] != "lower_tier")
    assume(price.amount(0) <= budget)
    found = price.quantity_for(budget, step)
    if not found.is_finite():
        assert price.amount(10**9) <= budget
        return
    assert found % Decimal(step) == 0
    assert price.amount(found) <= budget
    following = actual(price, found + Decimal(step))
    assert following is None or following > budget


AMOUNTS = numbers("0", "60")


@given(
    numbers("0", "30"),
    st.one_of(st.just(Decimal(0)), AMOUNTS),
    st.sampled_from([0, 0, 1, 3]),
    st.one_of(st.just(Decimal(0)), AMOUNTS),
    st.one_of(st.none(), numbers("0", "5")),
    st.one_of(st.none(), numbers("5", "60")),
    st.booleans(),
    st.lists(st.one_of(st.just(Decimal(0)), AMOUNTS), max_size=7),
)
def test_percentages_of_events_agree_with_the_rater(
    rate_: Decimal,
    fixed: Decimal,
    free_events: int,
    included: Decimal,
    least: Decimal | None,
    most: Decimal | None,
    by_line: bool,
    events: list[Decimal],
) -> None:
    rate_ = rate_.quantize(Decimal("1e-10"))
    price = Percentage(
        rate_,
        fixed,
        free_events=free_events,
        included=included,
        minimum_per_event=least,
        maximum_per_event=most,
        base_fee=3,
        currency="USD",
        rules={"round_at": "line" if by_line else "invoice"},
    )
    card = Card(
        Fraction(rate_),
        Fraction(fixed),
        free_events,
        Fraction(included),
        None if least is None else Fraction(least),
        None if most is None else Fraction(most),
        Fraction(3),
        2 if by_line else None,
    )
    assert Fraction(price.amount_of_events(events)) == card.amount([Fraction(e) for e in events])
    if len(events) == 1 and events[0]:
        assert price.amount(events[0]) == price.amount_of_events(events)


@given(
    st.lists(st.tuples(prices(), numbers("0", "2000")), min_size=1, max_size=4),
    st.one_of(st.none(), numbers("0", "300")),
    st.one_of(st.none(), numbers("300", "3000")),
    numbers("0", "90"),
    st.sampled_from(["all", "usage"]),
)
def test_price_books_agree_with_the_sum_of_their_raters(
    priced: list[tuple[tuple[Price, Model], Decimal]],
    minimum: Decimal | None,
    maximum: Decimal | None,
    base_fee: Decimal,
    commitment: str,
) -> None:
    document: dict[str, Any] = {"price_book": "b", "currency": "KWD", "base_fee": base_fee}
    document |= {"rules": {"commitment": commitment}, "metrics": {}}
    document |= {"minimum": minimum} if minimum is not None else {}
    document |= {"maximum": maximum} if maximum is not None else {}
    total = Fraction(base_fee) if commitment == "all" else Fraction(0)
    usage = {}
    for i, ((price, model), quantity) in enumerate(priced):
        document["metrics"][f"m{i}"] = {**price.to_dict(), "currency": "KWD"}
        model.currency = "KWD"
        wanted = expected(model, quantity)
        assume(wanted is not None)
        total += wanted or 0
        usage[f"m{i}"] = quantity
    if minimum is not None:
        total = max(total, Fraction(minimum))
    if maximum is not None:
        total = min(total, Fraction(maximum))
    total += Fraction(base_fee) if commitment == "usage" else 0
    assume(total < 10**26)
    book = PriceBook.from_dict(document)
    found = book.explain(usage)
    assert Fraction(found.total) == total == sum(Fraction(amount) for _, amount in found)
    assert [Fraction(one) for one in book.amounts({m: [q] for m, q in usage.items()})] == [total]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex", "", "\u00fc\U0001f680", "x" * 40]),
        st.sampled_from(["calls", "tokens"]),
        st.one_of(st.integers(0, 2**62), st.just(0)),
    ),
    max_size=60,
)


@given(EVENTS, st.randoms())
def test_summed_usage_is_that_of_a_dictionary_in_any_order(
    events: list[tuple[str, str, int]], random: Any
) -> None:
    prices = {"calls": PerUnit("0.5"), "tokens": Graduated([Tier(1000, 2), Tier(None, 1)])}
    sums: dict[tuple[str, str], int] = {}
    for tenant, metric, quantity in events:
        sums[tenant, metric] = sums.get((tenant, metric), 0) + quantity
    random.shuffle(events)
    columns: Any = list(zip(*events, strict=True)) or [[], [], []]
    tenants, metrics, quantities = map(list, columns)
    usage = rate(tenants, quantities, metrics, prices=prices)
    assert {(r.tenant, r.metric): int(r.quantity) for r in usage} == sums
    for row in usage:
        assert row.amount == prices[row.metric].amount(row.quantity)
    assert list(usage.tenants) == sorted(usage.tenants, key=lambda t: str(t).encode())
    counted = aggregate(tenants, metrics=metrics, names=["calls", "tokens"])
    assert sum(counted.events) == len(events) == sum(map(int, counted.quantities))
