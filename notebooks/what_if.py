# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # What if we changed the price list?
#
# Six customers, seven weeks of their calls, and three price lists on the table. Who pays more, who will complain, how sure is the revenue, and what would it be next period?
#
# **Data.** Mentions of six companies on Twitter by the hour, from the [Numenta Anomaly Benchmark](https://github.com/numenta/NAB) (MIT licence), read as the API calls of six tenants, spring 2015.

# %%
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pandas as pd

from tenancy import plots
from tenancy.demo.recorded import recorded_usage
from tenancy.forecast import forecast
from tenancy.pricing import PriceBook
from tenancy.whatif import replay_quotas, reprice, reprice_samples

recorded = recorded_usage().to_pandas()
calls = recorded[recorded["metric"] == "mentions"].replace({"metric": {"mentions": "calls"}})
monday = pd.Timestamp("2015-03-02", tz="UTC")  # seven whole weeks
calls = calls[(calls["time"] >= monday) & (calls["time"] < monday + pd.Timedelta(weeks=7))]

week = pd.Grouper(key="time", freq="W-MON", closed="left", label="left")
weekly = calls.groupby(["tenant", week])["quantity"].sum().unstack(0)
fig, ax = plt.subplots(figsize=(7.2, 3), layout="constrained", dpi=90)
for tenant in weekly.columns:
    ax.plot(weekly.index, weekly[tenant], label=tenant)
ax.set_yscale("log")
ax.set_ylabel("calls a week")
ax.xaxis.set_major_formatter(mdates.DateFormatter("%d %b"))
ax.set_xticks(weekly.index)
ax.legend(ncol=6, fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1));

# %% [markdown]
# The largest is a hundred times the smallest, and weeks differ by a factor of two and more: a real customer base in small.
#
# ## Three price lists

# %%
today = PriceBook.from_text("""
price_book: today
currency: USD
metrics:
  calls: {tiers: [{up_to: 10_000, unit: 0.004}, {up_to: 100_000, unit: 0.002}, {unit: 0.001}]}
""")
flat = PriceBook.from_text("""
price_book: flat
currency: USD
base_fee: 9
metrics: {calls: 0.0016}
""")
bundles = PriceBook.from_text("""
price_book: bundles
currency: USD
metrics:
  calls:
    model: stairstep
    tiers: [{up_to: 2_000, flat: 9}, {up_to: 50_000, flat: 99}, {up_to: 200_000, flat: 249}, {flat: 599}]
""")
books = {"today": today, "flat": flat, "bundles": bundles}

result = reprice(calls, books, period="week")
result.totals()

# %% [markdown]
# Forty-two bills under each list, exact to the last digit. Revenue is not the whole story:
#
# ## Who wins, who loses

# %%
result.winners_losers("today", "flat")

# %%
result.winners_losers("today", "bundles")

# %%
bills = result.frame().to_pandas(floats=True)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", dpi=90)
for ax, book in zip(axes, ("flat", "bundles")):
    plots.whatif_scatter(
        bills["today"], bills[book], names=("today", book), currency="USD", shock=20, ax=ax
    )

# %% [markdown]
# Each mark is one weekly bill: circles pay less, triangles more, and those above the dashed line more than 20 % more. Those are the complaints to come, and they can be
# named before the price list is sent:

# %%
shock = result.bill_shock(20, "today", "bundles")
shock.to_pandas(floats=True).groupby("tenant").size().rename("bills up by more than 20 %").to_frame()

# %% [markdown]
# ## How sure is the revenue?
#
# Six customers are few. If other six like them had come instead, the change would have been in this range (tenants drawn with replacement, the same ones for each list):

# %%
result.interval(level=0.8, base="today", seed=7)

# %% [markdown]
# `change_low` and `change_high` have the same sign in both rows: *flat* loses and *bundles* gains, whichever customers of this kind come. Different signs would
# mean that the data does not say.
#
# ## Where in the tiers do the bills sit?

# %%
heat = result.tier_heatmap("bundles", "calls")
plots.tier_heatmap(heat, metric="calls", title="weekly bills by bundle")
result.near_boundary("bundles", "calls", percent=10)  # one busy day from the next bundle

# %% [markdown]
# `break_even` says for which usage which list is cheaper, every crossing:

# %%
result.break_even("calls", "today", "flat")

# %%
volume = list(range(0, 400_001, 500))
fig, ax = plt.subplots(figsize=(7.2, 3), layout="constrained", dpi=90)
for name, book in books.items():
    ax.plot(volume, [float(book.amount({"calls": count})) for count in volume], label=name)
ax.set_xlabel("calls a week")
ax.set_ylabel("USD")
ax.legend(frameon=False);

# %% [markdown]
# ## Next period, under each list
#
# A price list is judged by what is to come. Sample *k* is the same future for all tenants and lists, so the lists differ in prices alone:

# %%
names = sorted(set(calls["tenant"]))
daily = calls.groupby(["tenant", "metric", pd.Grouper(key="time", freq="D")], as_index=False)["quantity"].sum()
coming = forecast(daily, horizon=7, history=21)
samples = [coming.draws(name, "calls") for name in names]
future = reprice_samples({"calls": samples}, books, tenants=names)
future.totals(level=0.8)

# %%
for book in ("flat", "bundles"):
    print(f"{book} brings more than today with {future.probability_of_more('today', book):.0%}")
plots.cost_distribution(
    future.revenue("bundles"), budget=1000, currency="USD", title="revenue of next week, bundles"
);

# %% [markdown]
# ## And with a limit instead?
#
# Who would have been refused, had the bundles been hard quotas of a week?

# %%
replayed = replay_quotas(
    calls.rename(columns={"quantity": "cost"}).query("cost > 0"),
    {"50,000 a week": 50_000, "200,000 a week": 200_000},
    period="week",
).to_pandas()
replayed.loc[replayed["refused"] > 0, ["scenario", "tenant", "requests", "refused", "cost", "cost_refused", "first_refusal"]]

# %% [markdown]
# `refused` counts the hours, `cost_refused` the calls in them. The others never met their quota. More: [What if](../docs/what-if.md).
