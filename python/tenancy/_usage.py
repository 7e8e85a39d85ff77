"""What a tenant may see of itself: plan, limits, usage, its caller's sessions."""

from __future__ import annotations

from typing import Any

from .context import TenantContext


def usage_of(context: TenantContext) -> dict[str, Any]:
    """Takes nothing from the limits that it shows."""
    tenancy, tenant = context.tenancy, context.tenant
    effective = context.entitlements
    windows: dict[tuple[str, str], dict[str, Any]] = {}
    for action in effective.rate_limits:
        for window in tenancy.limits.peek(tenant.id, action, principal=context.principal):
            windows[(window.name, window.policy)] = {
                "name": window.name,
                "policy": window.policy,
                "limit": window.limit,
                "remaining": window.remaining,
                "window": window.window,
                "reset_after": window.reset_after,
                "shadow": window.shadow,
            }
    return {
        "tenant": {"id": tenant.id, "slug": tenant.slug, "name": tenant.name},
        "status": tenant.status,
        "plan": tenant.plan,
        "features": sorted(name for name, value in effective.features.items() if value.value),
        "limits": list(windows.values()),
        "quotas": {
            name: {**status.as_dict(), "remaining": status.remaining}
            for name, status in context.quotas.items()
        },
    }


def sessions_of(context: TenantContext, cursor: str | None = None) -> dict[str, Any]:
    """The caller's own live sessions; without a user there are none."""
    if context.principal is None:
        return {"sessions": [], "cursor": None}
    page = context.tenancy.sessions.list(
        context.tenant_id, principal=context.principal, cursor=cursor
    )
    return {"sessions": [session.as_dict() for session in page], "cursor": page.cursor}
