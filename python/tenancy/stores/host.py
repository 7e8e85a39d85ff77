"""The definitions of one data directory as a process uses them: store, engine, and what keeps the
two together.

Invariants:
 1. A change is one transaction: the rows, their entries in `changes`, its audit fact.
 2. After `write` returns, this process decides by the change, and so does every other from its next
    decision on (see `revision`).
 3. Nothing the engine would refuse is committed (see `rehearsal`).
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .. import _core
from .._text import listed, shown, storable
from ..catalog import Catalog, shipped
from ..errors import (
    Escalation,
    InvalidValue,
    StateUnavailable,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    TenancyError,
    UnknownTenant,
    VersionMismatch,
    raise_core,
)
from . import loading, outbox, schema
from .change import Actor, Change
from .database import BUSY_TIMEOUT_S, Database
from .directory import DataDirectory
from .facts import Facts
from .hooks import Hooks
from .records import Tenant
from .refusals import Refusals
from .rehearsal import Rehearsal, private_engine
from .revision import RevisionWord, newest_revision

__all__ = [
    "Closed",
    "Host",
    "no_catalog",
]


_log = logging.getLogger("tenancy")

DECISION_WAIT_S = 0.5
"""How long a decision waits for a writer in the middle of a change, before it is refused."""


def no_catalog(path: Path) -> InvalidValue:
    """The error of a directory that is new, or that is not the one that was meant."""
    return InvalidValue(
        "catalog",
        f"{path} is no data directory yet, and a new one needs a catalog",
        remedy=f"Tenancy.open(..., catalog=...) with {listed(shipped)}, or a file",
    )


class Closed:
    """Stands where the engine was; whatever is asked of it is answered by `StoreClosed`."""

    def __getattr__(self, name: str) -> Any:
        raise StoreClosed("this Tenancy was closed")


class Host:
    """Shared by the services of one `Tenancy`. Any thread; survives forks."""

    def __init__(
        self,
        directory: DataDirectory,
        clock: _core.Clock,
        *,
        default_tenant: str | None,
        actor: Callable[[str | None], Actor],
        engine_options: Mapping[str, Any],
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.hooks = Hooks()
        # Called in the transaction that puts a catalog in force, for what is to be noted with it.
        self.with_catalog: list[Callable[[Change], None]] = []
        self.default_tenant = default_tenant
        self._actor = actor
        self._catalog: Catalog | None = None
        self._catalog_document = ""
        self._closed = False
        self._in_child()
        try:
            self.engine = _core.Engine(
                counters_path=str(directory.counters),
                clock=clock,
                default_tenant=default_tenant or "",
                **engine_options,
            )
        except _core.CoreError as error:
            _raise_counters(directory.counters, error)
        self._word = RevisionWord(self.engine)
        self.database = Database(directory)
        self.facts = Facts(directory, self.database, clock)
        self.engine.set_log(self.facts.log.core)
        self.refusals = Refusals(self)
        _hosts.add(self)

    # ------------------------------------------------------------------------------ catalog

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            raise StateUnavailable("no definitions are loaded")
        return self._catalog

    def open(self, catalog: Catalog | None) -> None:
        """Load everything; make `catalog` the one in force when it is another."""
        self.facts.hand_on()  # what a process left that ended before its facts were in the log
        stored = self._stored_catalog()
        if stored is None and catalog is None:
            raise no_catalog(self.directory.path)
        if catalog is not None and (stored is None or stored[1] != catalog.to_json()):
            self.set_catalog(catalog, by="system", load=False)
        self._load_everything()
        self.refresh()

    def set_catalog(self, catalog: Catalog, *, by: str | None, load: bool = True) -> bool:
        """Put another catalog in force, if all tenants, roles and keys fit. False: the same."""
        with self.write(by, refresh=load) as change:
            stored = change.execute(
                sa.select(schema.catalogs).order_by(schema.catalogs.c.seq.desc()).limit(1)
            ).one_or_none()
            if stored is not None and stored.document == catalog.to_json():
                return False
            self._check_plans(change, catalog)
            self._rehearse_everything(change, catalog)
            change.execute(
                sa.insert(schema.catalogs).values(
                    name=catalog.name,
                    version=catalog.version,
                    document=catalog.to_json(),
                    created_ns=change.now_ns,
                    created_by=change.by,
                )
            )
            for note in self.with_catalog:
                note(change)
            change.touched("catalog", catalog.name)
            change.fact(
                "config_changed",
                "catalog:replace",
                resource="catalog",
                resource_id=catalog.name,
                context={"version": catalog.version},
            )
        return True

    def _check_plans(self, change: Change, catalog: Catalog) -> None:
        plan = schema.tenants.c.plan
        used = sa.select(plan, sa.func.count()).where(schema.tenants.c.status != "purged")
        for name, count in change.execute(used.group_by(plan)).all():
            if name not in catalog.plans:
                raise InvalidValue(
                    "catalog",
                    f"{count} tenants have the plan {name!r}, which {catalog.name} lacks",
                    remedy=f"keep the plan, or move them first; it has {listed(catalog.plans)}",
                )
        due = sa.select(schema.schedule).where(schema.schedule.c.kind == "change_plan")
        for item in change.execute(due).all():
            name = json.loads(item.data)["plan"]
            if name not in catalog.plans:
                raise InvalidValue(
                    "catalog",
                    f"tenant {item.tenant_id} is to get the plan {name!r}, "
                    f"which {catalog.name} lacks",
                    remedy="keep the plan, or call it off with `cancel_plan_change`",
                )

    def _rehearse_everything(self, change: Change, catalog: Catalog) -> None:
        cursor = change.connection.connection.cursor()
        try:
            _, rows = loading.everything(cursor)  # type: ignore[arg-type]
        finally:
            cursor.close()
        try:
            private_engine(self.clock).apply(1, rows, catalog=catalog.core, reset=True)
        except _core.CoreError as error:
            raise_core(error, field="catalog")

    def _stored_catalog(self) -> tuple[str, str] | None:
        with self.database.cursor() as cursor:
            return loading.catalog_document(cursor)

    # ------------------------------------------------------------------------------ changes

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._check_open()
        with self.database.read() as connection:
            yield connection

    @contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """`read` for plain SQL, without the cost of an SQLAlchemy connection."""
        self._check_open()
        with self.database.cursor() as cursor:
            yield cursor

    @contextmanager
    def write(self, by: str | None, *, refresh: bool = True) -> Iterator[Change]:
        """One change of the definitions, or nothing of it when the block raises.

        The block judges by the newest definitions: nobody else writes while it runs.
        """
        self._check_open()
        actor = self.acting(by)
        pending = False
        try:
            with self._newest(refresh) as connection:
                change = Change(connection, self.clock.wall_ns(), actor)
                yield change
                if change.revision is not None:
                    change.prune()
                    pending = True
                    self._word.before_commit(change.revision)
                connection.commit()
            if change.revision is not None:
                self._word.after_commit(change.revision)
            pending = False
        except Escalation as error:
            self._refused_grant(actor, error)
            raise
        finally:
            if pending:
                self._settle()
        if change.revision is not None and refresh:
            self.refresh()

    def _refused_grant(self, actor: Actor, error: Escalation) -> None:
        """Write down that somebody wanted to give more than they hold; the refusal stands."""
        try:
            with self.database.write() as connection:
                outbox.append(
                    connection,
                    now_ns=self.clock.wall_ns(),
                    by=actor.name,
                    type="permission_denied",
                    action="grant:refused",
                    tenant=error.tenant,
                    result="denied",
                    context={"permission": error.permission, "key": actor.key},
                    revision=newest_revision(connection),
                )
                connection.commit()
        except TenancyError:
            _log.exception("a refused grant could not be written down")

    @contextmanager
    def _newest(self, refresh: bool) -> Iterator[Connection]:
        """The write lock, taken when this process's definitions are the store's."""
        for _ in range(64):
            if refresh:
                self.refresh()
            with self.database.write() as connection:
                if not refresh or newest_revision(connection) == self.engine.revision:
                    yield connection
                    return
        raise StoreBusy("other writers were quicker 64 times", remedy="try again")

    def acting(self, by: str | None) -> Actor:
        """Who acts: as said, else the caller of the current context."""
        return self._actor(by)

    def rehearse(
        self,
        change: Change,
        tenant_id: str | None,
        *,
        field: str,
        principal: str | None = None,
        extra: Mapping[str, Sequence[tuple[Any, ...]]] | None = None,
    ) -> _core.Engine:
        """Try the rows of one tenant (of all roles, when None) as they are in this transaction."""
        cursor = change.connection.connection.cursor()
        try:
            rows = dict(loading.slice_of(cursor, tenant_id, principal))  # type: ignore[arg-type]
        finally:
            cursor.close()
        for kind, more in (extra or {}).items():
            rows[kind] = [*rows.get(kind, ()), *more]
        return self._rehearsal.apply(self.catalog.core, rows, field=field, tenant=tenant_id)

    # ------------------------------------------------------------------------------ revision

    def current(self) -> _core.Engine:
        """The engine, after making sure that it holds the newest definitions."""
        engine = self.engine
        if engine.word() != 2 * engine.revision:
            self.refresh()
        return engine

    def on_stale(self) -> bool:
        """For the gate: False when the store cannot be asked in time, so that it refuses.

        A writer that hangs in the middle of a change must not make every request hang with it.
        """
        try:
            self.refresh(DECISION_WAIT_S)
        except TenancyError:
            _log.exception("definitions cannot be read; decisions are refused until they can")
            return False
        return True

    def refresh(self, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Bring this process's engine to the host's newest revision.

        `timeout_s` is how long a writer may hold the store in the middle of a change.
        """
        self._check_open()
        with self.database.operation(), self._refreshing:
            for _ in range(8):
                word = self._word.read()
                before = self.engine.revision
                if word == 2 * before:
                    return
                if word & 1 and not self._word.wait_until_even():
                    self._settle(timeout_s)  # its writer is dead, or slow
                self._catch_up()
                word = self._word.read()
                if not word & 1 and word != 2 * before and before == self.engine.revision:
                    # The store has nothing newer: the word does not fit it.
                    self._settle(timeout_s)

    def _settle(self, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        with self.database.write(timeout_s=timeout_s) as connection:
            self._word.settle(connection)

    def _catch_up(self) -> None:
        with self.database.cursor() as cursor:
            found = loading.since(cursor, self.engine.revision)
            stored = loading.catalog_document(cursor) if found is not None and found[2] else None
        if found is None:
            self._load_everything()
            return
        revision, rows, _ = found
        if revision == self.engine.revision:
            return
        catalog = None if stored is None else _stored(stored)
        try:
            self.engine.apply(revision, rows, catalog=None if catalog is None else catalog.core)
        except _core.CoreError as error:
            # Two tenants that exchanged their slugs do not fit one after the other: start afresh.
            _log.info("reading all definitions: %s", error)
            self._load_everything()
            return
        if catalog is not None:
            self._catalog = catalog

    def _load_everything(self) -> None:
        with self.database.cursor() as cursor:
            revision, rows = loading.everything(cursor)
            stored = loading.catalog_document(cursor)
        if stored is None:
            raise StateUnavailable("the store has no catalog")
        catalog = _stored(stored)
        try:
            self.engine.apply(revision, rows, catalog=catalog.core, reset=True)
        except _core.CoreError as error:
            raise_core(error, field="definitions")
        self._catalog = catalog

    # ------------------------------------------------------------------------------ tenants

    def tenant_id(self, tenant: Tenant | str) -> str:
        """The id of a tenant named by record, id, external id or slug."""
        if isinstance(tenant, Tenant):
            return tenant.id
        found = self.current().tenant(tenant) if storable(tenant) else None
        if found is None:
            raise UnknownTenant(f"no tenant is named {shown(tenant)}")
        return found[0]

    def kept_id(self, tenant: Tenant | str) -> str:
        """As `tenant_id`, and the id of a purged tenant: it has no other name any more, and its
        facts and invoices are still there."""
        try:
            return self.tenant_id(tenant)
        except UnknownTenant:
            # Nobody else is ever named by it: an id that was given is taken for good.
            known = sa.select(schema.tenants.c.id).where(schema.tenants.c.id == tenant)
            if storable(tenant):
                with self.read() as connection:
                    if connection.execute(known).first() is not None:
                        return str(tenant)
            raise

    # ------------------------------------------------------------------------------ end

    def close(self) -> None:
        """Hand facts on; let go of log and engine, whose memory is unmapped with the last decision
        it made."""
        if self._closed:
            return
        self._closed = True
        self.engine.set_log(None)
        try:
            self.facts.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self.engine = closed = cast(_core.Engine, Closed())
        self._word = RevisionWord(closed)
        self._rehearsal = Rehearsal(self.clock)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this Tenancy was closed")

    def _in_child(self) -> None:
        """Locks that no other process's thread holds."""
        self._refreshing = threading.RLock()
        self._rehearsal = Rehearsal(self.clock)


def _raise_counters(path: Path, error: _core.CoreError) -> NoReturn:
    code, message = error.args[0], str(error.args[1])
    if code in ("DAMAGED", "FOREIGN", "VERSION"):
        kind = VersionMismatch if code == "VERSION" else StoreDamaged
        remedy = f"move {path} away; limits begin anew and used quotas must be set again"
        raise kind(message, remedy=remedy) from error
    raise_core(error, field="counters")


def _stored(row: tuple[str, str]) -> Catalog:
    return Catalog.from_text(row[1], format="json", source=row[0])


_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


def _in_child() -> None:
    for host in list(_hosts):
        host._in_child()


# The lock needs no hook before the fork: it is only ever taken inside an operation, and a fork
# waits for those.
os.register_at_fork(after_in_child=_in_child)
