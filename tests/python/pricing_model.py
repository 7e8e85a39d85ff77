"""A rater of its own, for the tests: every rule said once, in `Fraction`, as plainly as it can be.

It shares no code with the engine and takes no shortcut: tiers are walked for every quantity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

RANGE = Fraction(10**38 - 1, 10**12)
DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}


class TooLarge(Exception):
    """Something passes what a decimal holds."""


def rounded(value: Fraction, digits: int, mode: str = "half_up") -> Fraction:
    scaled = abs(value) * 10**digits
    below = math.floor(scaled)
    rest = scaled - below
    up = {
        "half_up": rest >= Fraction(1, 2),
        "half_even": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1),
        "half_down": rest > Fraction(1, 2),
        "up": rest > 0,
        "down": False,
        "ceiling": rest > 0 and value > 0,
        "floor": rest > 0 and value < 0,
    }[mode]
    return (1 if value >= 0 else -1) * Fraction(below + (1 if up else 0), 10**digits)


def kept(value: Fraction) -> Fraction:
    """What twelve digits hold."""
    value = rounded(value, 12)
    if abs(value) > RANGE:
        raise TooLarge
    return value


@dataclass
class Model:
    kind: str  # graduated or volume
    tiers: list[tuple[Fraction | None, Fraction, Fraction, Fraction]]  # up_to, unit, flat, package
    rules: dict[str, Any]
    included: Fraction = Fraction(0)
    base_fee: Fraction = Fraction(0)
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    currency: str = "USD"
    lines: list[Fraction] = field(default_factory=list)

    def line(self, value: Fraction) -> Fraction:
        value = kept(value)
        if self.rules["round_at"] == "line":
            value = kept(rounded(value, DIGITS[self.currency], self.rules["rounding"]))
        return value

    def usage(self, units: Fraction, unit: Fraction, package: Fraction) -> Fraction:
        how = self.rules["package_rounding"]
        if package != 1 and how != "exact":
            count = units / package
            whole = {
                "up": math.ceil(count),
                "down": math.floor(count),
                "half_up": math.floor(count + Fraction(1, 2)),
            }[how]
            return self.line(whole * unit)
        return self.line(units * unit / package)

    def within(self, quantity: Fraction, up_to: Fraction | None) -> bool:
        if up_to is None:
            return True
        if self.rules["fraction"] == "lower_tier":
            quantity = Fraction(math.floor(quantity))
        return quantity < up_to if self.rules["bounds"] == "exclusive" else quantity <= up_to

    def charges(self, quantity: Fraction) -> Fraction:
        """Usage and flat prices."""
        counts_all = self.rules["tiers_count"] == "all"
        tiers = [t for t in self.tiers if not (counts_all and t[0] and t[0] <= self.included)]
        if quantity <= self.included:
            free = self.rules["zero_usage"] == "free"
            return Fraction(0) if free else self.line(tiers[0][2])
        paid = quantity - self.included
        seen = quantity if counts_all else paid
        if self.kind == "volume":
            _, unit, flat, package = next(t for t in tiers if self.within(seen, t[0]))
            return kept(self.line(flat) + self.usage(paid, unit, package))
        total, lower = Fraction(0), self.included if counts_all else Fraction(0)
        for up_to, unit, flat, package in tiers:
            last = self.within(seen, up_to)
            upper = seen if last or up_to is None else up_to
            total = kept(total + self.line(flat))
            total = kept(total + self.usage(upper - lower, unit, package))
            if last:
                break
            lower = upper
        return total

    def amount(self, quantity: Fraction) -> Fraction:
        if quantity < 0:
            sign = {"credit": -1, "zero": 0}[self.rules["negative"]]
            return -self.amount(-quantity) if sign else self.amount(Fraction(0))
        whole = {
            "up": math.ceil,
            "down": math.floor,
            "half_up": lambda value: math.floor(value + Fraction(1, 2)),
        }.get(self.rules["fraction"])
        if whole is not None:
            quantity = Fraction(whole(quantity))
        fee = self.line(self.base_fee)
        together = self.rules["commitment"] == "all"
        amount = kept(self.charges(quantity) + (fee if together else 0))
        if self.minimum is not None:
            amount = max(amount, self.minimum)
        if self.maximum is not None:
            amount = min(amount, self.maximum)
        if not together:
            amount = kept(amount + fee)
        if self.rules["round_at"] == "charge":
            amount = kept(rounded(amount, DIGITS[self.currency], self.rules["rounding"]))
        return amount


@dataclass
class Card:
    """A percentage with rules for its single events."""

    rate: Fraction  # in percent
    fixed: Fraction
    free_events: int
    included: Fraction
    least: Fraction | None
    most: Fraction | None
    base_fee: Fraction
    digits: int | None  # those of the currency, where every event is rounded

    def free_part(self, i: int, before: Fraction, volume: Fraction) -> Fraction | None:
        """What of an event is free; None where not even its fixed fee is due."""
        if not self.free_events and not self.included:
            return Fraction(0)
        if self.free_events and i >= self.free_events:
            return Fraction(0)
        if not self.included or before + volume <= self.included:
            return None
        return max(self.included - before, Fraction(0))

    def amount(self, events: list[Fraction]) -> Fraction:
        total, before = self.base_fee, Fraction(0)
        for i, volume in enumerate(events):
            free = self.free_part(i, before, volume)
            before += volume
            if free is None:
                continue
            cost = kept((volume - free) * self.rate / 100) + self.fixed
            if self.least is not None:
                cost = max(cost, self.least)
            if self.most is not None:
                cost = min(cost, self.most)
            total += cost if self.digits is None else rounded(cost, self.digits)
        return total
