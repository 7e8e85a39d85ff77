"""Decimals to and from the compiled module are those of their texts, whatever the context is."""

from __future__ import annotations

import decimal
import pickle
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenancy.errors import InvalidValue
from tenancy.pricing import PerUnit

SAME = PerUnit(1, rules={"negative": "credit"})
"""Whose amounts are their quantities."""

UNITS = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(-(2**64), 2**64),
    st.integers(-(10**8), 10**8).map(lambda whole: whole * 10**12),
    st.builds(lambda digits, zeros: digits * 10**zeros, st.integers(-999, 999), st.integers(0, 30)),
)


def shortest(units: int) -> Decimal:
    """Units of 1e-12 with the shortest digits, by text."""
    whole, fraction = divmod(abs(units), 10**12)
    text = f"{whole}.{fraction:012}".rstrip("0").rstrip(".")
    return Decimal(f"-{text}" if units < 0 else text)


@settings(max_examples=300, deadline=None)
@given(UNITS)
@example(0)
@example(2**63 - 1)
@example(2**63)
@example(-(2**63))
@example((2**63 - 1) * 10**12)
@example(2**63 * 10**12)
def test_a_number_comes_back_as_it_went_in(units: int) -> None:
    given_ = shortest(units)
    found = SAME.amount(given_)
    assert found.as_tuple() == given_.as_tuple()
    assert (str(found), hash(found), repr(found + 1)) == (
        str(given_), hash(given_), repr(given_ + 1)
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(found)).as_tuple() == given_.as_tuple()
    assert SAME.amount(str(given_)).as_tuple() == given_.as_tuple()
    if given_ == given_.to_integral_value():
        assert SAME.amount(int(given_)).as_tuple() == given_.as_tuple()


def test_numbers_of_every_form_are_read() -> None:
    class Price(Decimal):
        """A class of somebody else."""

    for text in ("1E+3", "1E+25", "0E+30", "-0", "0.000", "1.50", "12345678901234567890.5"):
        value = Decimal(text)
        assert SAME.amount(value) == value == SAME.amount(Price(text))
    long = Decimal(10**40) - Decimal(10**40) + 7  # its memory was once longer
    assert SAME.amount(long) == 7
    for text, message in (
        ("NaN", "expected"), ("sNaN", "expected"), ("-Infinity", "expected"),
        ("1E+26", "10"), ("0.0000000000001", "12"), ("1E-13", "12"),
    ):  # fmt: skip
        with pytest.raises(InvalidValue, match=message):
            SAME.amount(Decimal(text))


def test_the_context_of_the_caller_has_no_say_and_sees_nothing() -> None:
    price = PerUnit("0.123456789012")
    expected = price.amount(9_876_543)
    with decimal.localcontext(decimal.Context(prec=2, Emax=3, Emin=-3)) as context:
        for signal in context.traps:
            context.traps[signal] = True
        amount = price.amount(9_876_543)
        exact = price.amount(Decimal("9876543"))
        assert not any(context.flags.values())
    assert amount.as_tuple() == exact.as_tuple() == expected.as_tuple()
    assert str(amount) == "1219326.285318945516"


def test_numbers_are_made_anew_each_time() -> None:
    first, second = SAME.amount(Decimal("0.5")), SAME.amount(Decimal("0.25"))
    assert SAME.amount(0) is not SAME.amount(0)
    assert (str(first), str(second), str(Decimal(5)), str(Decimal(25))) == (
        "0.5",
        "0.25",
        "5",
        "25",
    )


def test_without_the_compiled_decimal_everything_goes_by_text() -> None:
    program = (
        "import sys; sys.modules['_decimal'] = None\n"
        "from decimal import Decimal\n"
        "from tenancy.pricing import PerUnit\n"
        "price = PerUnit('0.25')\n"
        "print(Decimal.__add__, price.amount(3), price.amount(Decimal('2.5')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("<function")  # not a method of the compiled one
    assert found.stdout.split()[-2:] == ["0.75", "0.625"]
