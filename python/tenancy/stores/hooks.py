"""Functions of the application that run before and after a step of a tenant's life."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .._text import listed
from ..errors import HookRefused, InvalidValue

__all__ = ["Hook", "Hooks"]

Hook = Callable[..., Any]
_log = logging.getLogger("tenancy")

STEPS = {
    *("create", "activate", "start_trial", "suspend", "resume", "churn", "delete", "restore"),
    *("purge", "change_plan", "update", "stop_work"),
}
"""`stop_work` comes after every step that takes a tenant out of service: end what still runs."""


class Hooks:
    """`before` hooks may refuse by raising; what `after` hooks raise is logged: it is done."""

    def __init__(self) -> None:
        self._before: defaultdict[str, list[Hook]] = defaultdict(list)
        self._after: defaultdict[str, list[Hook]] = defaultdict(list)

    def on(self, step: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
        """Run `before(tenant)` and `after(tenant)` around `step`, with the record as it is then."""
        if step not in STEPS:
            raise InvalidValue("step", f"unknown step {step!r}", remedy=f"one of {listed(STEPS)}")
        for hook in (before, after):
            if hook is not None and not callable(hook):
                raise InvalidValue(step, f"expected a function, got {type(hook).__name__}")
        if before is not None:
            self._before[step].append(before)
        if after is not None:
            self._after[step].append(after)

    def run_before(self, step: str, tenant: Any) -> None:
        for hook in self._before[step]:
            try:
                hook(tenant)
            except Exception as error:  # noqa: PERF203
                raise HookRefused(
                    f"{step} of tenant {getattr(tenant, 'id', tenant)} was refused by a hook "
                    f"({type(error).__name__}: {error})",
                    tenant=getattr(tenant, "id", None),
                ) from error

    def run_after(self, step: str, tenant: Any) -> None:
        for hook in self._after[step]:
            try:
                hook(tenant)
            except Exception:  # noqa: PERF203
                _log.exception("hook after %s of tenant %s failed", step, tenant.id)
