"""`Audit.emit` and `aemit`: facts that go straight into the log, at a level that is chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from .. import _core
from .._text import check_principal, check_text, shown, to_bounded_json
from ..errors import InvalidValue
from .audit_events import LogRecord, OutboxRow, record_of
from .host import Host
from .outbox import check_result
from .records import Tenant

__all__ = ["Emitting", "check_fact"]

ACKS = ("ring", "os", "disk")


class Emitting:
    """The part of `Audit` that writes without the store."""

    _host: Host
    _emitter: _core.Emitter

    def _emit_natively(self) -> None:
        """Put the compiled `emit` before the method: it takes what most facts are by itself, and
        leaves all else to the method, which records the same."""
        host = self._host
        self._emitter = _core.Emitter(host.facts.log.core, host.engine, Tenant, self.emit)
        vars(self)["emit"] = self._emitter.emit

    def emit(
        self,
        type: str,  # noqa: A002 - the field's name
        *,
        tenant: Tenant | str | None = None,
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str = "success",
        context: Mapping[str, Any] | None = None,
        principal: str | None = None,
        subject: str | None = None,
        ack: str = "disk",
    ) -> str:
        """Write one fact straight into the log; returns its id when the fact is at `ack`.

        The arguments are those of `append`, which writes into the store first: that waits for the
        store's write lock, and holds while the log cannot be written. This waits for neither, and
        many callers share one sync. `ack`: `ring` survives the death of this process, `os` is in
        the file, `disk` is synced and survives a loss of power. A search finds the fact once this
        has returned.

        Raises `InvalidValue`, `UnknownTenant`; `StateUnavailable` when the log has no room for 2
        seconds, and then nothing was recorded; `StoreNotWritable`, or `StoreClosed` when the log
        was closed meanwhile, with "recorded, but" when the fact is recorded and not at `ack`.
        """
        _check_ack(ack)
        if ack != "ring":  # which the compiled one would have taken
            submit = partial(
                self._emitter.submit, type, tenant=tenant, action=action, resource=resource,
                resource_id=resource_id, result=result, context=context, principal=principal,
                subject=subject,
            )  # fmt: skip
            if (taken := self._host.facts.log.committed(submit, ack)) is not None:
                return taken
        check_fact(type, action, resource, resource_id, principal, subject, context)
        self._host.current()
        event, record = self._record(
            type, tenant, action, resource, resource_id, result, context, principal, subject
        )
        self._host.facts.log.emit(record, ack)
        self._tell_emitter(type, record[0])
        return event

    async def aemit(
        self,
        type: str,  # noqa: A002 - the field's name
        *,
        tenant: Tenant | str | None = None,
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str = "success",
        context: Mapping[str, Any] | None = None,
        principal: str | None = None,
        subject: str | None = None,
        ack: str = "disk",
    ) -> str:
        """`emit` for asyncio, without a thread for each call: the event loop runs on, and all tasks
        that wait share the syncs. Raises what `emit` does.

        Cancelled, it stops waiting; the fact is recorded all the same, and durable a second later
        at the latest.
        """
        _check_ack(ack)
        submit = partial(
            self._emitter.submit, type, tenant=tenant, action=action, resource=resource,
            resource_id=resource_id, result=result, context=context, principal=principal,
            subject=subject,
        )  # fmt: skip
        if (taken := await self._host.facts.log.acommitted(submit, ack)) is not None:
            return taken
        check_fact(type, action, resource, resource_id, principal, subject, context)
        if not self._host.engine.current():
            await asyncio.to_thread(self._host.refresh)
        event, record = self._record(
            type, tenant, action, resource, resource_id, result, context, principal, subject
        )
        await self._host.facts.log.aemit(record, ack)
        self._tell_emitter(type, record[0])
        return event

    def _tell_emitter(self, type: str, chain: str) -> None:  # noqa: A002
        """What was seen to be right, so that the next such fact needs nothing of this."""
        catalog = self._host.catalog
        if not catalog.audit.personal:
            self._emitter.nothing_sealed(catalog.core)
        self._emitter.know(type, chain)

    def _record(
        self,
        type: str,  # noqa: A002
        tenant: Tenant | str | None,
        action: str | None,
        resource: str | None,
        resource_id: str | None,
        result: str,
        context: Mapping[str, Any] | None,
        principal: str | None,
        subject: str | None,
    ) -> tuple[str, LogRecord]:
        host = self._host
        check_result(result)
        now_ns = host.clock.wall_ns()
        event = _core.uuid7(now_ns)
        row = OutboxRow(
            seq=0,
            event_id=event,
            time_ns=now_ns,
            tenant=None if tenant is None else host.tenant_id(tenant),
            principal=host.acting(principal).name,
            type=type,
            action=action or type,
            resource=resource,
            resource_id=resource_id,
            result=result,
            context=to_bounded_json(context, "context"),
            revision=host.engine.revision,
            subject=subject,
        )
        return event, record_of(row, host.catalog.audit.personal)


def check_fact(
    type: str,  # noqa: A002
    action: str | None,
    resource: str | None,
    resource_id: str | None,
    principal: str | None,
    subject: str | None,
    context: Mapping[str, Any] | None,
) -> None:
    """What a caller says of a fact. Raises `InvalidValue`, which names the argument."""
    if context is not None and not isinstance(context, Mapping):
        raise InvalidValue("context", f"expected a mapping, got {shown(context)}")
    check_text(type, "type", 64)
    if principal is not None:
        check_principal(principal)
    if subject is not None:
        check_principal(subject, "subject")
    for field, text in (("action", action), ("resource", resource), ("resource_id", resource_id)):
        if text is not None:
            check_text(text, field, 1000)


def _check_ack(ack: str) -> None:
    if ack not in ACKS:
        raise InvalidValue("ack", f"{ack!r}", remedy=f"one of {', '.join(ACKS)}")
