"""Tenants: their records, their life, their settings. `Tenancy.tenants`."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from . import _core
from ._text import check_page, from_json, listed, merged, storable, to_ns
from .catalog import Entitlements
from .errors import (
    AlreadyExists,
    InvalidValue,
    ModelNotAllowed,
    RegionNotAllowed,
    UnknownTenant,
)
from .stores import billing_timeline
from .stores.change import Change
from .stores.lifecycle import Lifecycle
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import Page, PlanChange, Tenant
from .stores.schema import tenants
from .stores.tenant_names import check_references, first_status, free_slug
from .stores.tenant_rows import MERGED, REGIONS, STATUSES, from_row, to_row
from .stores.twins import twin

__all__ = ["PlanChange", "Tenant", "Tenants"]

_ID_PREFIX = "ten_"


class Unset(enum.Enum):
    """Stands for an argument that was not given, where None means something."""

    UNSET = enum.auto()


UNSET: Final = Unset.UNSET


class Tenants(Lifecycle):
    """Create, find, change and end tenants. Every call has an `a…` twin for asyncio.

    `tenant` arguments take a `Tenant`, an id, an external id or a slug. `by` says who acts; by
    default the principal of the current context, else `system`.
    """

    # ------------------------------------------------------------------------------ make

    def create(
        self,
        name: str,
        *,
        slug: str | None = None,
        plan: str | None = None,
        status: str = "active",
        external_id: str | None = None,
        owner: Mapping[str, str] | None = None,
        contacts: Sequence[Mapping[str, str]] | None = None,
        company: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        isolation: str | None = None,
        billing: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        time_zone: str | None = None,
        anchor: datetime | None = None,
        by: str | None = None,
    ) -> Tenant:
        """Make a tenant; every worker of the host serves it from its next decision on.

        Without `slug` one is made from the name. Without `plan` it is the catalog's default plan.
        `status` may be `pending`, `trial` or `active`. `anchor` is the start of the subscription,
        by default now. Raises `InvalidValue`, `UnknownPlan`, `AlreadyExists`.
        """
        if isolation is not None:
            overrides = merged(overrides or {}, {"isolation": isolation})
        given = {
            "slug": slug,
            "external_id": external_id,
            "owner": owner,
            "contacts": contacts,
            "company": company,
            "settings": settings,
            "overrides": overrides,
            "billing": billing,
            "metadata": metadata,
            "time_zone": time_zone,
        }
        row = to_row({"name": name, **{k: v for k, v in given.items() if v is not None}})
        row["plan"] = self._first_plan(plan)
        row["status"] = first_status(status)
        draft = Tenant("", slug or "", name, row["plan"], row["status"])
        self._host.hooks.run_before("create", draft)
        with self._host.write(by) as change:
            row.setdefault("slug", None)
            if row["slug"] is None:
                row["slug"] = free_slug(change, name)
            row |= {
                "id": _core.sortable_id(_ID_PREFIX, change.now_ns),
                "anchor_ns": change.now_ns if anchor is None else to_ns(anchor, "anchor"),
                "created_ns": change.now_ns,
                "updated_ns": change.now_ns,
            }
            check_references(change, row, None)
            self._check_overrides(row["plan"], row.get("overrides"))
            change.execute(sa.insert(tenants).values(**row))
            billing_timeline.created(change, row)
            change.touched("tenant", row["id"])
            change.fact(
                "tenant_created",
                "tenant:create",
                tenant=row["id"],
                resource="tenant",
                resource_id=row["id"],
                context={"plan": row["plan"], "status": row["status"]},
            )
            tenant = from_row(self._row(change, row["id"]))
        self._host.hooks.run_after("create", tenant)
        return tenant

    def create_many(
        self, rows: Iterable[Mapping[str, Any]], *, by: str | None = None
    ) -> tuple[str, ...]:
        """Make many tenants in one transaction, all or none; returns their ids in order.

        Each row holds arguments of `create`; `name` and `slug` are needed. Hooks do not run. One
        audit fact tells of all.
        """
        known_plans = set(self._host.catalog.plans)
        default_plan = self._host.catalog.default_plan
        with self._host.write(by) as change:
            made = [self._bulk_row(row, change, default_plan, known_plans) for row in rows]
            if not made:
                return ()
            for plan, overrides in {(r["plan"], r.get("overrides")) for r in made}:
                self._check_overrides(plan, overrides)
            columns = sorted({key for row in made for key in row})
            whole = [{name: row.get(name) for name in columns} for row in made]
            low = 1 + (change.execute(sa.select(sa.func.max(tenants.c.seq))).scalar() or 0)
            try:
                change.execute(sa.insert(tenants), whole)
            except sa.exc.IntegrityError as error:
                raise AlreadyExists(
                    f"one of {len(made)} tenants has an id, slug or external id that is taken "
                    f"({error.orig})",
                    remedy="nothing was made; leave out those that exist",
                ) from error
            billing_timeline.created_many(change, made)
            high = change.execute(sa.select(sa.func.max(tenants.c.seq))).scalar()
            change.touched_many("tenants", low, high)
            change.fact(
                "tenant_created",
                "tenant:create_many",
                resource="tenant",
                context={"count": len(made), "first": made[0]["id"], "last": made[-1]["id"]},
            )
        return tuple(row["id"] for row in made)

    def ensure_default(
        self,
        *,
        slug: str = "default",
        name: str = "Default",
        plan: str | None = None,
        by: str | None = None,
    ) -> Tenant:
        """The tenant for data from before there were tenants; made when it is missing."""
        try:
            return self.get(slug)
        except UnknownTenant:
            try:
                return self.create(name, slug=slug, plan=plan, by=by)
            except AlreadyExists:  # another worker was quicker
                return self.get(slug)

    # ------------------------------------------------------------------------------ find

    def get(self, tenant: Tenant | str) -> Tenant:
        """The full record, as it is now. Raises `UnknownTenant`."""
        return self._record(tenant)

    def by_slug(self, slug: str) -> Tenant:
        """The tenant with exactly this slug. Raises `UnknownTenant`."""
        with self._host.read() as connection:
            row = connection.execute(sa.select(tenants).where(tenants.c.slug == slug)).one_or_none()
        if row is None:
            raise UnknownTenant(f"no tenant has the slug {slug!r}")
        return from_row(row)

    def list(
        self,
        *,
        status: str | None = None,
        plan: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Tenant]:
        """Tenants in the order of their making; pass a page's `cursor` for the next.

        `text` is looked for in name, slug, external id and the owner. Purged ones are listed only
        by `status="purged"`.
        """
        self.process_due()
        check_page(limit)
        query = sa.select(tenants).order_by(tenants.c.seq).limit(limit + 1)
        if status is None:
            query = query.where(tenants.c.status != "purged")
        elif status not in STATUSES:
            raise InvalidValue("status", f"unknown {status!r}", remedy=f"one of {listed(STATUSES)}")
        else:
            query = query.where(tenants.c.status == status)
        if plan is not None:
            query = query.where(tenants.c.plan == plan)
        if text is not None and not isinstance(text, str):
            raise InvalidValue("text", f"expected text, got {type(text).__name__}")
        if text and not storable(text):
            return Page(())  # nothing holds it
        if text:
            columns = (tenants.c.name, tenants.c.slug, tenants.c.external_id, tenants.c.owner)
            query = query.where(sa.or_(*(c.icontains(text, autoescape=True) for c in columns)))
        if cursor is not None:
            query = query.where(tenants.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(from_row(row) for row in rows[:limit]), more)

    # ------------------------------------------------------------------------------ change

    def update(
        self,
        tenant: Tenant | str,
        *,
        name: str | None = None,
        slug: str | None = None,
        external_id: str | Unset | None = UNSET,
        owner: Mapping[str, Any] | None = None,
        contacts: Sequence[Mapping[str, str]] | None = None,
        company: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        isolation: str | Unset | None = UNSET,
        billing: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        time_zone: str | Unset | None = UNSET,
        anchor: datetime | Unset | None = UNSET,
        by: str | None = None,
    ) -> Tenant:
        """Change some fields. Mappings are merged key by key, a None takes its key away.

        A new time zone or anchor takes effect at the next period; what is used carries over.
        """
        if not isinstance(isolation, Unset):
            overrides = merged(overrides or {}, {}) | {"isolation": isolation}
        plain: dict[str, Any] = {
            k: v
            for k, v in (("name", name), ("slug", slug), ("contacts", contacts))
            if v is not None
        }
        nullable = {"external_id": external_id, "time_zone": time_zone, "anchor": anchor}
        plain |= {key: value for key, value in nullable.items() if not isinstance(value, Unset)}
        objects = dict(
            zip(MERGED, (owner, company, settings, overrides, billing, metadata), strict=True)
        )
        self._host.hooks.run_before("update", self._record(tenant))
        with self._host.write(by) as change:
            before = self._row(change, tenant)
            if before.status == "purged":
                raise UnknownTenant(f"tenant {before.id} was purged")
            for key, part in objects.items():
                if part is not None:
                    plain[key] = merged(from_json(getattr(before, key)), part)
            row = to_row(plain)
            changed = sorted(k for k, v in row.items() if getattr(before, k) != v)
            if not changed:
                return from_row(before)
            check_references(change, row, before.id)
            self._check_overrides(before.plan, row.get("overrides"))
            change.execute(
                sa.update(tenants)
                .where(tenants.c.id == before.id)
                .values(**row, updated_ns=change.now_ns)
            )
            calendar = {name: row[name] for name in ("anchor_ns", "time_zone") if name in changed}
            if calendar:
                billing_timeline.record(change, before.id, "calendar", calendar)
            change.touched("tenant", before.id)
            change.fact(
                "config_changed",
                "tenant:update",
                tenant=before.id,
                resource="tenant",
                resource_id=before.id,
                context={"fields": changed},
            )
            after = from_row(self._row(change, before.id))
        self._host.hooks.run_after("update", after)
        return after

    # ------------------------------------------------------------------------------ settings

    def choose_model(self, tenant: Tenant | str, requested: str | None = None) -> str | None:
        """The model to use: the requested one if the tenant may use it, else its default.

        Raises `ModelNotAllowed` for one outside `allowed_models`. None: nothing is configured and
        nothing was requested.
        """
        record = self.get(tenant)
        allowed = record.settings.get("allowed_models")
        model: str | None = requested or record.settings.get("default_model")
        if model is None and allowed:
            model = str(allowed[0])
        if model is not None and allowed is not None and model not in allowed:
            raise ModelNotAllowed(
                f"model {model!r} is not allowed for tenant {record.slug}",
                tenant=record.id,
                remedy=f"one of {listed(allowed)}",
            )
        return model

    def require_region(self, tenant: Tenant | str, region: str) -> None:
        """Raise `RegionNotAllowed` when the tenant's data must stay in another region."""
        if region not in REGIONS:
            raise InvalidValue("region", f"unknown {region!r}", remedy=f"one of {listed(REGIONS)}")
        record = self.get(tenant)
        residency = record.settings.get("data_residency")
        if residency is not None and residency != region:
            raise RegionNotAllowed(
                f"data of tenant {record.slug} stays in {residency!r}, this is {region!r}",
                tenant=record.id,
            )

    def effective(self, tenant: Tenant | str) -> Entitlements:
        """Quotas, limits and features in force, each with its origin: plan, override or default."""
        record = self.get(tenant)
        self._host.current()
        return self._host.catalog.effective(record.plan, record.overrides)

    # ------------------------------------------------------------------------------ inside

    def _first_plan(self, plan: str | None) -> str:
        default = self._host.catalog.default_plan
        if plan is None and default is None:
            raise InvalidValue(
                "plan",
                "the catalog has no default plan",
                remedy=f"one of {listed(self._host.catalog.plans)}",
            )
        return self.check_plan(plan if plan is not None else str(default))

    def _bulk_row(
        self, values: Mapping[str, Any], change: Change, default_plan: str | None, plans: set[str]
    ) -> dict[str, Any]:
        row = to_row(values)
        for field in ("name", "slug"):
            if field not in row:
                raise InvalidValue(field, "is needed in every row of create_many")
        row["plan"] = plan = row.get("plan", default_plan)
        if plan not in plans:
            self.check_plan(str(plan))
        row["status"] = first_status(row.get("status", "active"))
        now = change.now_ns
        row.setdefault("id", _core.sortable_id(_ID_PREFIX, now))
        row.setdefault("anchor_ns", now)
        row["created_ns"] = row["updated_ns"] = now
        return row

    def _check_overrides(self, plan: str, overrides: str | None) -> None:
        if overrides:
            self._host.catalog.effective(plan, from_json(overrides))

    acreate = twin(create)
    acreate_many = twin(create_many)
    aensure_default = twin(ensure_default)
    aget = twin(get)
    aby_slug = twin(by_slug)
    alist = twin(list)  # noqa: A003
    aupdate = twin(update)
    achoose_model = twin(choose_model)
    arequire_region = twin(require_region)
