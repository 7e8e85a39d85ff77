"""Rate limits alone: no tenants, no store, no server.

>>> from tenancy.limits import Limiter
>>> limiter = Limiter("100/minute")
>>> answer = limiter.hit("203.0.113.7")
>>> answer.allowed, answer.limit, answer.remaining, answer.retry_after
(True, 100, 99, 0.0)
>>> both = Limiter("10/second; 1000/hour")
>>> [window.remaining for window in both.hit("203.0.113.7").windows]
[9, 999]

Counting is exact: in one process over all its threads, and with ``shared=path`` over all processes
that open the same path, whatever kills them.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast

from . import _core
from ._core import LimitAnswer, LimitPolicy
from .errors import InvalidValue, RateLimitExceeded, StoreError, raise_core

__all__ = ["LimitAnswer", "LimitPolicy", "Limiter"]

P = ParamSpec("P")
R = TypeVar("R")

Key = str | bytes
AlgorithmName = Literal[
    "sliding_window",
    "token_bucket",
    "leaky_bucket",
    "leaky_queue",
    "fixed_window",
    "sliding_counter",
    "sliding_log",
]


class Limiter(_core.LimiterCore):
    """Counts hits by key against one or several limits, all of which hold at once.

    `limit` is a text such as ``"100/minute"``, ``"5/s"`` or ``"1000 per 2 hours"``; several are
    joined by ``;`` or given as a list. The default algorithm is the sliding window: never more than
    100 in *any* minute. `burst` makes it a token bucket of that capacity; `algorithm` chooses
    another one. `explain` says what the choice promises.

    `shared` is the path of a file: every process that opens it counts together, and counting goes
    on where it stopped after a crash or restart. Limiters with another `name` on one file count
    apart.
    `on_full` says what happens to new keys when the counters have no room left (`max_bytes`):
    ``"refuse"`` or ``"allow"``. `shadow` counts and reports, and refuses nothing. `anchor="first"`
    begins a fixed window with its first hit. `clock` is `tenancy.testing.FakeClock` in tests.

    Raises `InvalidValue` for what cannot be a limit, `StoreError` for a file that cannot be used.
    """

    __slots__ = ("_policies",)

    def __init__(
        self,
        limit: str | Iterable[str],
        *,
        burst: int | None = None,
        algorithm: AlgorithmName | None = None,
        shared: str | os.PathLike[str] | None = None,
        clock: Any = None,
        on_full: Literal["refuse", "allow"] = "refuse",
        shadow: bool = False,
        anchor: Literal["clock", "first"] = "clock",
        name: str = "",
        max_bytes: int = 4 << 30,
    ) -> None:
        text = _one_text(limit)
        path = _path(shared)
        _check_options(burst, algorithm, on_full, anchor, name, max_bytes)
        native = getattr(clock, "native", clock)
        if native is not None and not isinstance(native, _core.Clock):
            raise InvalidValue(
                "clock", f"{type(clock).__name__} is no clock", remedy="tenancy.testing.FakeClock"
            )
        try:
            self._policies = _core.limit_policies(
                text,
                algorithm=algorithm,
                burst=burst,
                anchor_first=anchor == "first",
                shadow=bool(shadow),
                allow_on_full=on_full == "allow",
            )
        except _core.CoreError as error:
            raise_core(error, field="limit")
        try:
            self._open(self._policies, path, native, name, max_bytes)
        except _core.CoreError as error:
            if error.args[0] in ("NOT_FOUND", "INVALID_ARGUMENT"):
                raise StoreError(error.args[1]) from error
            raise_core(error, field="shared")

    @property
    def policies(self) -> tuple[LimitPolicy, ...]:
        """What was understood, in the order given."""
        return tuple(self._policies)

    def explain(self) -> str:
        """Worst case, exactness, when capacity returns and memory per key, for each limit."""
        return "\n".join(policy.explain() for policy in self._policies)

    def limit(
        self,
        key: Key | Callable[..., Key] | None = None,
        *,
        cost: int | Callable[..., int] = 1,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: each call is a hit, a refused one raises `RateLimitExceeded`.

        `key` and `cost` are values, or functions of the call's arguments; without a key all calls
        of the function count together. Plain and ``async`` functions alike; nothing waits except in
        a leaky queue, where the call begins after its delay (``async`` functions await it).
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            own_key = f"{function.__module__}.{function.__qualname__}" if key is None else key

            def admit(args: Any, kwargs: Any) -> float:
                who = own_key(*args, **kwargs) if callable(own_key) else own_key
                price = cost(*args, **kwargs) if callable(cost) else cost
                answer = self.hit(who, price)
                if not answer:
                    raise _exceeded(self._policies, answer)
                return answer.delay

            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                    delay = admit(args, kwargs)
                    if delay > 0:
                        await asyncio.sleep(delay)
                    return await function(*args, **kwargs)

                return cast(Callable[P, R], later)

            @functools.wraps(function)
            def now(*args: P.args, **kwargs: P.kwargs) -> R:
                delay = admit(args, kwargs)
                if delay > 0:
                    time.sleep(delay)
                return function(*args, **kwargs)

            return now

        return decorate

    def __repr__(self) -> str:
        return f"Limiter({'; '.join(map(str, self._policies))!r})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Limiter cannot be pickled: open one in each process, with the same shared=path"
        )


def _one_text(limit: str | Iterable[str]) -> str:
    texts: list[Any] = [limit] if isinstance(limit, (str, bytes, bytearray)) else _list(limit)
    for text in texts:
        if not isinstance(text, str):
            raise _no_text(text)
    if not texts:
        raise InvalidValue("limit", "no limit was given", remedy='such as "100/minute"')
    return ";".join(texts)


def _list(limit: Any) -> list[Any]:
    if not isinstance(limit, Iterable):
        raise _no_text(limit)
    return list(limit)


def _no_text(value: object) -> InvalidValue:
    return InvalidValue(
        "limit", f"expected text, got {type(value).__name__}", remedy='such as "100/minute"'
    )


def _path(shared: str | os.PathLike[str] | None) -> str:
    if shared is None:
        return ""
    path = os.fspath(shared)
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidValue("shared", f"{shared!r} is no path of a file", remedy="pass it as text")
    return str(Path(path).absolute())


def _check_options(
    burst: object, algorithm: object, on_full: object, anchor: object, name: object, size: object
) -> None:
    if burst is not None and (not isinstance(burst, int) or isinstance(burst, bool) or burst < 1):
        raise InvalidValue("burst", f"expected a positive int, got {burst!r}")
    if algorithm is not None and not isinstance(algorithm, str):
        raise InvalidValue("algorithm", f"expected a name, got {algorithm!r}")
    if on_full not in ("refuse", "allow"):
        raise InvalidValue("on_full", f'expected "refuse" or "allow", got {on_full!r}')
    if anchor not in ("clock", "first"):
        raise InvalidValue("anchor", f'expected "clock" or "first", got {anchor!r}')
    if not isinstance(name, str):
        raise InvalidValue("name", f"expected text, got {name!r}")
    if not isinstance(size, int) or not 1 << 20 <= size <= 1 << 40:
        raise InvalidValue("max_bytes", f"expected 1 MiB to 1 TiB, got {size!r}")


def _exceeded(policies: list[LimitPolicy], answer: LimitAnswer) -> RateLimitExceeded:
    refusing = [
        str(policy)
        for policy, window in zip(policies, answer.windows, strict=True)
        if not window.allowed
    ]
    return RateLimitExceeded(
        f"more than {' and '.join(refusing)}",
        limit="; ".join(refusing),
        retry_after=answer.retry_after,
        remedy=None if answer.retry_after is not None else "it costs more than the limit",
    )
