"""A small service that runs language models and agents for its tenants.

This is the application of `tenancy demo` and `tenancy serve`, and an example to begin with. What a
tenant may do and how much of it is not written here: the catalog says it, plan by plan.
"""

from __future__ import annotations

import asyncio
import os
import time

from fastapi import Depends, FastAPI
from pydantic import BaseModel, NonNegativeInt

from .. import Tenancy, TenantContext
from ..fastapi import (
    CurrentTenant,
    TenancyMiddleware,
    consumes,
    feature,
    limit,
    requires,
    usage_router,
)

__all__ = ["create_app"]

SECONDS_PER_TOKEN = 50e-6  # far faster than the models of the trace, as the replay is
SECONDS_PER_AGENT_TOKEN = 2e-3
SECONDS_MAX = 1.0


class Prompt(BaseModel):
    """What the caller asks. There is no model here: the trace knows how long the answer was."""

    context_tokens: NonNegativeInt
    max_tokens: NonNegativeInt
    generated_tokens: NonNegativeInt


class Completion(BaseModel):
    """What the model answered, in tokens."""

    tokens: int


class AgentRun(Completion):
    """When the agent worked, by the clock that all processes of a host share."""

    started_ns: int
    ended_ns: int


class Caller(BaseModel):
    """Who asks."""

    tenant: str
    principal: str | None


def create_app(tenancy: Tenancy | None = None) -> FastAPI:
    """The application on `tenancy`, by default on the directory that `TENANCY_DATA` names."""
    app = FastAPI(title="Models and agents")
    app.add_middleware(
        TenancyMiddleware,
        tenancy=tenancy or Tenancy.open(os.environ.get("TENANCY_DATA")),
        exempt=["/health", "/docs", "/openapi.json"],
    )
    app.include_router(usage_router())  # GET /tenancy/usage: a tenant's own plan, limits, usage

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/whoami", dependencies=[Depends(requires("completion:read"))])
    async def whoami(tenant: CurrentTenant) -> Caller:
        return Caller(tenant=tenant.tenant_id, principal=tenant.principal)

    @app.post("/v1/completions", dependencies=[Depends(requires("completion:create"))])
    async def complete(prompt: Prompt, tenant: CurrentTenant) -> Completion:
        return Completion(tokens=await run_model(prompt, tenant, SECONDS_PER_TOKEN))

    @app.post(
        "/v1/skills",
        dependencies=[Depends(requires("completion:create")), Depends(feature("custom_skills"))],
    )
    async def use_skill(prompt: Prompt, tenant: CurrentTenant) -> Completion:
        return Completion(tokens=await run_model(prompt, tenant, SECONDS_PER_TOKEN))

    @app.post(
        "/v1/agents",
        dependencies=[
            Depends(requires("agent:create")),
            Depends(limit("agent_spawns")),  # how many may start in a minute
            Depends(consumes("agents")),  # how many may work at once, until the request ends
        ],
    )
    async def run_agent(prompt: Prompt, tenant: CurrentTenant) -> AgentRun:
        started_ns = time.monotonic_ns()
        tokens = await run_model(prompt, tenant, SECONDS_PER_AGENT_TOKEN)
        return AgentRun(tokens=tokens, started_ns=started_ns, ended_ns=time.monotonic_ns())

    return app


async def run_model(prompt: Prompt, tenant: TenantContext, seconds_per_token: float) -> int:
    """Reserve what the answer may cost at most, then keep what it did cost."""
    tenant.require(consume={"tokens": prompt.context_tokens + prompt.max_tokens})
    await asyncio.sleep(min(SECONDS_MAX, prompt.generated_tokens * seconds_per_token))
    used = prompt.context_tokens + prompt.generated_tokens
    tenant.reservation("tokens").commit(used)
    return used
