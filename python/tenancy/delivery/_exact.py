"""Sums of documents do not depend on the precision that a program has set for its decimals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, localcontext
from typing import ParamSpec, TypeVar

__all__ = ["exactly"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def exactly(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, with room for every digit that a document can have."""

    @functools.wraps(function)
    def inner(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with localcontext(Context(prec=120, rounding=ROUND_HALF_UP)):
            return function(*args, **kwargs)

    return inner
