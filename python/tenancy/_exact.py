"""Exact amounts in NumPy: each is a signed number of 128 bits, as two words of 64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from . import _core
from .errors import ExtraMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Whole = NDArray[np.int64]
    Words = NDArray[np.int64]
    """One row for each amount: the lower word, whose sign means nothing, and the upper one."""


def numpy() -> Any:
    """NumPy, which the extra ``analysis`` brings."""
    try:
        import numpy as np
    except ImportError:
        raise ExtraMissing("analysis", "numpy") from None
    return np


def words(amounts: _core.Amounts) -> Words:
    """The amounts as words; nothing is missing among them."""
    np = numpy()
    return cast("Words", np.frombuffer(_core.amounts_words(amounts), "<i8").reshape(-1, 2))


def amounts(found: Words) -> _core.Amounts:
    """The other way."""
    return _core.amounts_of_words(numpy().ascontiguousarray(found).tobytes())


def subtract(left: Words, right: Words) -> Words:
    """`left` - `right`, row by row. The words of amounts never leave 128 bits by it unnoticed:
    what is out of the range of amounts is refused when they become amounts again."""
    np = numpy()
    low, other = left[:, 0].view("uint64"), right[:, 0].view("uint64")
    difference: Any = np.empty_like(left)
    difference[:, 0] = (low - other).view("int64")
    difference[:, 1] = left[:, 1] - right[:, 1] - (low < other)
    return cast("Words", difference)


def order(found: Words) -> Whole:
    """The rows from the least to the largest amount; equal ones keep their order."""
    return cast("Whole", numpy().lexsort((lower(found), found[:, 1])))


def above(left: Words, right: Words) -> NDArray[np.bool_]:
    """Where `left` is larger than `right`."""
    equal = left[:, 1] == right[:, 1]
    larger: NDArray[np.bool_] = (left[:, 1] > right[:, 1]) | (equal & (lower(left) > lower(right)))
    return larger


def signs(found: Words) -> Whole:
    """-1, 0 or 1 for each amount."""
    np = numpy()
    some = (found[:, 0] != 0) | (found[:, 1] != 0)
    return cast("Whole", np.where(found[:, 1] < 0, -1, some.astype("int64")))


def lower(found: Words) -> NDArray[np.uint64]:
    """The lower words as they count: without a sign."""
    return numpy().ascontiguousarray(found[:, 0]).view("uint64")  # type: ignore[no-any-return]


def sums(values: _core.Amounts, groups: Any, count: int) -> _core.Amounts:
    """The sum of the values of each group, a position below `count`."""
    return _core.sum_rows(values, 1, groups, count)


def floats(values: _core.Amounts) -> NDArray[np.float64]:
    """The nearest doubles."""
    return numpy().asarray(values.to_floats())  # type: ignore[no-any-return]


def pick(values: Sequence[Any] | Mapping[int, Any], rows: Any) -> list[Any]:
    """The values at these positions."""
    return [values[row] for row in rows.tolist()]
