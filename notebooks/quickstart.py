# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Quickstart
#
# A service answers questions with a language model. A request comes in with an API key: whose is it, may it pass, what does it use, what does that cost? Here are
# five minutes of it, from an empty directory to a running bill.
#
# **Data.** Requests and tokens of two real services from the [Azure Public Dataset](https://github.com/Azure/AzurePublicDataset) (CC BY 4.0), 16 November 2023, 18:18 UTC:
# a chat and a code completion. They ship with the package.

# %%
import tempfile
from collections import Counter
from datetime import datetime, timezone

import matplotlib.pyplot as plt
import pandas as pd

from tenancy import Catalog, Tenancy
from tenancy.billing import Party, TaxRate, TaxRules
from tenancy.demo.trace import load
from tenancy.errors import QuotaExceeded
from tenancy.testing import FakeClock

# %% [markdown]
# ## What is sold
#
# One document, the catalog, says what there is: roles, quotas, what is metered, plans and prices.

# %%
catalog = Catalog.from_text("""
catalog: assistant
default_plan: free
default_action: api_requests
currency: USD
roles:
  writer: {permissions: ["chat:*"]}
  reader: {permissions: ["chat:read"]}
quotas:
  tokens: {kind: consumption, period: month, alerts: [80, 100]}
metrics:
  tokens: {unit: token, quota: tokens}
plans:
  free:
    quotas: {tokens: 500_000}
    rate_limits: {api_requests: 120/minute}
  team:
    extends: free
    price_book: team
    quotas: {tokens: 50_000_000}
    rate_limits: {api_requests: 3_000/minute}
price_books:
  team:
    currency: USD
    base_fee: 29
    metrics:
      tokens: {tiers: [{up_to: 1_000_000, unit: 0.000005}, {unit: 0.000004}]}
""")

# %% [markdown]
# ## Two customers
#
# The clock is one of tests, so that five minutes take five seconds and the page says the same each time. Leave it away and everything runs on the real one.

# %%
start = datetime(2023, 11, 16, 18, 18, tzinfo=timezone.utc)
clock = FakeClock(start)
t = Tenancy.open(tempfile.mkdtemp() + "/data", catalog=catalog, clock=clock)

chatty = t.tenants.create("Chatty", slug="chatty", plan="team")
coder = t.tenants.create("Coder", slug="coder", plan="free")
secrets = {}
for tenant in (chatty, coder):
    t.roles.assign(tenant, "ada", "writer")
    t.roles.assign(tenant, "bob", "reader")
    for person in ("ada", "bob"):
        _, secrets[tenant.slug, person] = t.keys.create(tenant, principal=person)

# %% [markdown]
# ## One request, one decision
#
# `check` takes what the request brings and answers. A refusal is a value that says why:

# %%
asked = {
    "ada of Chatty writes": dict(api_key=secrets["chatty", "ada"], permission="chat:create"),
    "bob of Chatty writes": dict(api_key=secrets["chatty", "bob"], permission="chat:create"),
    "ada of Coder, as Chatty": dict(
        api_key=secrets["coder", "ada"], hints=["chatty"], permission="chat:read"
    ),
    "a key nobody has": dict(api_key="tk_" + "0" * 40, permission="chat:read"),
    "ada of Coder asks for too much": dict(
        api_key=secrets["coder", "ada"], permission="chat:create", consume={"tokens": 600_000}
    ),
}
answers = {name: t.check(**request) for name, request in asked.items()}
pd.DataFrame(
    [
        {
            "request": name,
            "allowed": bool(answer),
            "code": answer.code,
            "status": answer.status,
            "why": answer.detail,
            "requests left": answer.tightest.remaining if answer.tightest else None,
        }
        for name, answer in answers.items()
    ]
).astype({"requests left": "Int64"})

# %% [markdown]
# ## Five minutes of traffic
#
# Chats are Chatty's, completions are Coder's. Each request is decided, and what it used is recorded; recording charges the quota as well, both or neither.

# %%
seconds, seen = 0.0, []
for number, row in enumerate(load()):
    clock.advance(row.offset_s - seconds)
    seconds = row.offset_s
    tenant = chatty if row.service == "conv" else coder
    answer = t.check(api_key=secrets[tenant.slug, "ada"], permission="chat:create")
    outcome = answer.code
    if answer:
        try:
            tokens = row.context_tokens + row.generated_tokens
            t.usage.record(tenant, "tokens", tokens, id=f"request-{number}")
        except QuotaExceeded as error:
            outcome = error.code
    seen.append((seconds, tenant.slug, outcome))

traffic = pd.DataFrame(seen, columns=["second", "tenant", "outcome"])
traffic.groupby(["tenant", "outcome"]).size().unstack(fill_value=0)

# %%
colors = {"ALLOWED": "#2b7bba", "RATE_LIMIT_EXCEEDED": "#e6a04b", "QUOTA_EXCEEDED": "#b5442c"}
fig, axes = plt.subplots(2, 1, figsize=(7.2, 4), sharex=True, layout="constrained", dpi=90)
for ax, (name, part) in zip(axes, traffic.groupby("tenant")):
    counts = part.groupby([part["second"] // 10 * 10, "outcome"]).size().unstack(fill_value=0)
    below = 0
    for outcome in (outcome for outcome in colors if outcome in counts):
        ax.bar(counts.index, counts[outcome], 8, bottom=below, color=colors[outcome], label=outcome, align="edge")
        below = below + counts[outcome]
    ax.set_title(name, loc="left", fontsize=10)
    ax.set_ylabel("requests in 10 s")
    ax.legend(fontsize=7, frameon=False, loc="upper left")
axes[1].set_xlabel("seconds since 18:18");

# %% [markdown]
# Coder is on the free plan: its bursts meet the limit of requests a minute, and soon the tokens of the month are used up. Chatty pays and passes.
#
# ## Where everybody stands

# %%
pd.DataFrame(
    [
        {"tenant": tenant.slug, "used": status.used, "limit": status.limit, "percent": round(status.percent, 1)}
        for tenant in (chatty, coder)
        for status in [t.quotas.status(tenant, "tokens")]
    ]
)

# %%
now = datetime(2023, 11, 16, 19, tzinfo=timezone.utc)
hour = t.usage.aggregate(chatty, "tokens", start, now)
print(f"Chatty: {hour.quantity:,} tokens in {hour.events:,} requests")

# %% [markdown]
# ## What it costs, now
#
# The bill of the open period, computed from the usage just recorded:

# %%
t.billing.configure(seller=Party("Assistant Inc.", "US"), tax=TaxRules("US", [TaxRate("US", 0)]))
t.billing.account(chatty, party=Party("Chatty LLC", "US"), currency="USD")
bill = t.billing.running(chatty).bill
pd.DataFrame(
    [{"line": line.description, "quantity": line.quantity, "amount": line.amount} for line in bill.lines]
    + [{"line": "total", "quantity": None, "amount": bill.total}]
)

# %% [markdown]
# ## And it was all written down
#
# Every decision that refused left a fact in a log that nobody can change unseen ([audit](audit.ipynb)), and so did each change of a definition:

# %%
facts, cursor = [], None
while True:
    page = t.audit.search(coder, limit=500, cursor=cursor)
    facts.extend(page)
    if (cursor := page.cursor) is None:
        break
print(dict(sorted(Counter(fact.type for fact in facts).items())))
print("log whole:", t.audit.verify().status in (0, 4))
t.close()

# %% [markdown]
# Next: [limits and quotas](limits_and_quotas.ipynb), [billing](billing.ipynb), [forecasting](forecasting.ipynb), [what if](what_if.ipynb), or
# [Getting started](../docs/getting-started.md) with a web application.
