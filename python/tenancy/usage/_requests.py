"""What a web request used: declared by its route, said by its handler, recorded when it ends."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ..errors import TenancyError
from ..stores.usage_log import CONFLICT, Draft
from ..stores.usage_units import decimal_of, units_of_text
from ._events import Checks

__all__ = ["Measured", "drafts_of", "record"]

KEY_BYTES_MAX = 160

_log = logging.getLogger("tenancy")


class Measured(NamedTuple):
    """A part of what a request used."""

    metric: str
    quantity: str
    properties: str | None
    said: bool
    """By the handler; what the route declared of the same metric does not count then."""


def drafts_of(
    measured: Iterable[Measured], tenant: str, source: str, key: str, wall_ns: int | None
) -> list[Draft]:
    """One event for each metric and set of properties."""
    measured = list(measured)
    said = {each.metric for each in measured if each.said}
    sums: dict[tuple[str, str | None], int] = {}
    for each in measured:
        if each.said or each.metric not in said:
            place = (each.metric, each.properties)
            sums[place] = sums.get(place, 0) + units_of_text(each.quantity)
    drafts = []
    for number, ((metric, properties), units) in enumerate(sums.items()):
        quantity = f"{decimal_of(units):f}"
        name = f"{key}/{metric}" if not number else f"{key}/{metric}/{number}"
        drafts.append(Draft(tenant, metric, name, source, wall_ns, quantity, properties))
    return drafts


def record(
    commit: Callable[..., Sequence[int]], measured: Iterable[Measured], context: Any, key: str
) -> None:
    """In the ring of the log: it survives this process, and the response waits for no disk."""
    if len(key.encode()) > KEY_BYTES_MAX:  # the name of a metric comes behind it
        key = hashlib.sha256(key.encode()).hexdigest()
    caller = context.principal or context.key_id or ""
    drafts = drafts_of(measured, context.tenant_id, f"request:{caller}"[:1024], key, None)
    try:
        statuses = commit(drafts, ack="ring")
    except TenancyError:
        _log.exception("what a request of %s used could not be recorded", context.tenant_id)
        return
    for draft, status in zip(drafts, statuses, strict=True):
        if status == CONFLICT:
            _log.error(
                "request %s of %s was recorded with another quantity of %s; this one is not",
                draft.id, draft.tenant, draft.metric,
            )  # fmt: skip


def measured(
    checks: Checks,
    tenant: str,
    metric: str,
    quantity: int | Decimal | str,
    properties: Mapping[str, Any] | None,
    *,
    said: bool,
) -> Measured:
    """Checked when it is said, so that the handler learns what is wrong."""
    draft = checks.draft(tenant, metric, quantity, id="request", properties=properties)
    return Measured(draft.metric, draft.quantity, draft.properties, said)
