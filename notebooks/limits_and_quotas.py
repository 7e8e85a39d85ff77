# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Which limit is right?
#
# A limit that is too tight refuses customers who did nothing wrong; one that is too loose protects nothing. With an hour of recorded traffic one need not guess.
#
# **Data.** Every request to two language model services in one hour of 16 November 2023: [Azure Public Dataset](https://github.com/Azure/AzurePublicDataset), CC BY 4.0.
# It ships with the package.

# %%
import tempfile

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pandas as pd

from tenancy import Catalog, Tenancy, plots
from tenancy.demo.trace import hour_file
from tenancy.errors import QuotaExceeded
from tenancy.limits import Limiter
from tenancy.testing import FakeClock
from tenancy.whatif import replay_limits, replay_quotas

hour = pd.read_csv(hour_file(), parse_dates=["time"]).rename(columns={"service": "tenant"})
hour["tokens"] = hour["context_tokens"] + hour["generated_tokens"]
hour.groupby("tenant").agg(
    requests=("time", "size"), tokens=("tokens", "sum"), largest=("tokens", "max")
)

# %%
per_second = hour.groupby(["tenant", hour["time"].dt.floor("10s")]).size().unstack(0, fill_value=0)
fig, axes = plt.subplots(2, 1, figsize=(7.2, 3.6), sharex=True, layout="constrained", dpi=90)
for ax, tenant in zip(axes, per_second):
    ax.plot(per_second.index, per_second[tenant], lw=1)
    ax.set_title(tenant, loc="left", fontsize=10)
    ax.set_ylabel("requests in 10 s")
    ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))

# %% [markdown]
# Chats come evenly. Completions come in bursts, with silence between them.
#
# ## Try limits on the past
#
# Five limits for each service, counted by the limiter's own algorithms with the times of the traffic as the clock:

# %%
limits = {
    "300/minute, any minute": "300/minute",
    "300/minute, by the clock": {"limit": "300/minute", "algorithm": "fixed_window"},
    "300/minute, bucket of 600": {"limit": "300/minute", "burst": 600},
    "20/second and 600/minute": "20/second; 600/minute",
    "600/minute": "600/minute",
}
replayed = replay_limits(hour, limits)
replayed.to_pandas()[
    ["scenario", "tenant", "requests", "refused", "refused_percent", "first_refusal", "longest_spell_s"]
].round({"refused_percent": 1, "longest_spell_s": 1})

# %%
table = replayed.to_pandas().pivot(index="scenario", columns="tenant", values="refused_percent").loc[list(limits)]
fig, ax = plt.subplots(figsize=(7.2, 3), layout="constrained", dpi=90)
table.plot.barh(ax=ax, color=["#e6a04b", "#2b7bba"], xlabel="% of requests refused", ylabel="")
ax.invert_yaxis()
ax.legend(frameon=False);

# %% [markdown]
# What the table says:
#
# - *By the clock* refuses half as many as *any minute*, for a reason that is no gift: a burst over the boundary counts half in each minute, so up to 600 pass in one.
# - *Any minute* never lets more than 300 pass, wherever the minute begins. Under steady pressure (330 chats a minute) its capacity comes back up to a quarter of a window late, which
#   is what the 28 % are: such a limit belongs above the traffic that is meant to pass, not into it.
# - A *bucket* forgives bursts: it refuses no completion and the fewest chats of the three at 300 a minute, and keeps the same long-run rate.
# - A limit *per second* hits the bursts of the completions and leaves the chats as they are under 600 a minute.
#
# ## The replay is what would have happened
#
# The same traffic through a live limiter, on a clock that is set to each request's time, refuses the same requests, one for one:

# %%
ordered = hour.sort_values("time", kind="stable")
clock = FakeClock(ordered["time"].iloc[0].to_pydatetime())
limiter = Limiter("300/minute", clock=clock)
now, refused = ordered["time"].iloc[0], {"code": 0, "conv": 0}
for time, tenant in zip(ordered["time"], ordered["tenant"]):
    clock.advance((time - now).total_seconds())
    now = time
    refused[tenant] += not limiter.hit(tenant)
said = {row["tenant"]: row["refused"] for row in replayed if row["scenario"] == "300/minute, any minute"}
print("live:", refused, " replayed:", said)
assert refused == said

# %% [markdown]
# ## Limits in tokens
#
# Requests differ: the largest has thousands of tokens. With `cost` the limit counts those:

# %%
by_tokens = hour.rename(columns={"tokens": "cost"})
replay_limits(by_tokens, {"800,000 tokens/minute": "800000/minute", "10 million/hour": "10000000/hour"}).to_pandas()[
    ["scenario", "tenant", "refused", "cost", "cost_refused", "longest_spell_s"]
]

# %% [markdown]
# ## A quota, burning down
#
# A limit paces; a quota is what the plan contains. Were 20 million tokens a day the quota:

# %%
replay_quotas(by_tokens, {"20 million a day": 20_000_000}, period="day").to_pandas()[
    ["tenant", "cost", "cost_refused", "first_refusal"]
]

# %%
chat = by_tokens[by_tokens["tenant"] == "conv"].set_index("time")["cost"]
used = chat.resample("1min").sum().cumsum()
plots.quota_burn_down(
    used.index.to_list(), used.to_list(), 20_000_000, unit="tokens", title="conv: tokens left of 20 million"
);

# %% [markdown]
# ## The same quota, live
#
# What an answer will cost is not known before it is given. So the most it may cost is reserved, and what it did cost is committed; the rest is free again. Refusals take nothing,
# and alerts come once:

# %%
catalog = Catalog.from_text("""
catalog: assistant
default_plan: team
quotas:
  tokens: {kind: consumption, period: day, alerts: [50, 80, 100]}
plans:
  team: {quotas: {tokens: 20_000_000}}
""")
clock = FakeClock(ordered["time"].iloc[0].to_pydatetime())
t = Tenancy.open(tempfile.mkdtemp() + "/data", catalog=catalog, clock=clock)
conv = t.tenants.create("Conversations", slug="conv")
alerts = []
t.quotas.on_alert(lambda alert: alerts.append((time.strftime("%H:%M:%S"), f"{alert.percent} %")))

now, first = ordered["time"].iloc[0], None
for time, tenant, context, generated in ordered[
    ["time", "tenant", "context_tokens", "generated_tokens"]
].itertuples(index=False):
    if tenant != "conv":
        continue
    clock.advance((time - now).total_seconds())
    now = time
    try:
        with t.quotas.reserve(conv, "tokens", context + 1_024) as handle:
            handle.commit(context + min(generated, 1_024))
    except QuotaExceeded as error:
        first = first or (time.strftime("%H:%M:%S"), f"retry after {error.retry_after / 3600:.1f} h")
status = t.quotas.status(conv, "tokens")
print("alerts:", alerts)
print("first refusal:", first)
print(f"used {status.used:,} of {status.limit:,}, {status.remaining:,} left")
t.close()

# %% [markdown]
# The reservation is refused a little before the quota is used up: the next answer *might* not fit. That is the price of never going above it.
#
# More: [Rate limits](../docs/limits.md), [Quotas](../docs/quotas.md), [What if](../docs/what-if.md).
