"""The roles that are to be active in a question, a request or a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from . import _core
from ._text import listed
from .errors import DutyViolated, InvalidValue, raise_core

__all__ = ["activating"]


@contextmanager
def activating(roles: Sequence[str] | None, field: str = "roles") -> Iterator[list[str] | None]:
    """The roles as the engine takes them, and its objections as errors of this package."""
    if isinstance(roles, (str, bytes)):
        raise InvalidValue("roles", "expected a list of role names", remedy=listed([str(roles)]))
    try:
        yield None if roles is None else list(roles)
    except _core.CoreError as error:
        if roles is not None and error.args[0] == "CONFLICT":
            raise DutyViolated(
                str(error.args[1]), remedy="activate fewer of them, in sessions of their own"
            ) from error
        raise_core(error, field=field)
