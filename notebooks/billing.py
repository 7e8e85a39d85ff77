# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A month, from usage to invoice
#
# Six customers, a whole March of their calls. We watch the running bill, a customer changes its plan, the month ends, invoices go out, one of them is partly taken back, and late usage turns up.
# At the end everything is computed again from the facts.
#
# **Data.** Mentions of six companies on Twitter by the hour, March 2015, from the [Numenta Anomaly Benchmark](https://github.com/numenta/NAB) (MIT licence), read as the
# API calls of six tenants. They ship with the package.

# %%
import tempfile
from base64 import b64encode
from datetime import datetime, timezone

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import IFrame

from tenancy import Catalog, Tenancy, plots
from tenancy.billing import Part, Party, TaxRate, TaxRules
from tenancy.delivery import to_html
from tenancy.demo.recorded import recorded_usage
from tenancy.errors import BillingRefused, PeriodClosed
from tenancy.testing import FakeClock


def march(day, hour=0):
    return datetime(2015, 3, day, hour, tzinfo=timezone.utc)


april = datetime(2015, 4, 1, tzinfo=timezone.utc)
calls = recorded_usage().to_pandas().query("metric == 'mentions'")
calls = calls[(calls["time"] >= march(1)) & (calls["time"] < april)].assign(metric="calls")
calls.groupby("tenant").agg(hours=("quantity", "size"), calls=("quantity", "sum"))

# %% [markdown]
# ## Plans and prices

# %%
catalog = Catalog.from_text("""
catalog: gateway
default_plan: starter
currency: EUR
metrics:
  calls: {unit: call}
plans:
  starter: {price_book: starter}
  business: {price_book: business}
price_books:
  starter:
    currency: EUR
    base_fee: 9
    metrics:
      calls: {included: 5_000, tiers: [{up_to: 50_000, unit: 0.004}, {unit: 0.003}]}
  business:
    currency: EUR
    base_fee: 199
    minimum: 250
    metrics:
      calls: {tiers: [{up_to: 100_000, unit: 0.0015}, {up_to: 500_000, unit: 0.001}, {unit: 0.0006}]}
""")
clock = FakeClock(march(1))  # so that March passes in a moment
t = Tenancy.open(tempfile.mkdtemp() + "/data", catalog=catalog, clock=clock)
t.billing.configure(
    seller=Party("Gateway GmbH", "AT", street="Ring 1", city="Wien", postcode="1010", tax_id="ATU12345678"),
    tax=TaxRules("AT", [TaxRate("AT", 20, "USt"), TaxRate("DE", 19, "MwSt")]),
    numbering="INV-{year}-{number:04d}",
    due_days=14,
)

where = {"aapl": "AT", "amzn": "DE", "crm": "AT", "fb": "AT", "goog": "DE", "pfe": "AT"}
tenants = {}
for slug, country in where.items():
    plan = "business" if slug in ("aapl", "amzn") else "starter"
    tenants[slug] = t.tenants.create(slug.upper(), slug=slug, plan=plan, anchor=march(1))
    # A German company with a tax number owes the tax itself: reverse charge.
    number = {"tax_id": "DE123456789"} if slug == "goog" else {}
    party = Party(f"{slug.upper()} Ltd.", country, **number)
    t.billing.account(tenants[slug], party=party, currency="EUR")

# %% [markdown]
# ## The month passes
#
# Each day's calls are recorded when the day is over. In the evening we look at the running bill of one customer. On the 16th it changes to the business plan:

# %%
running = {}
for day in range(1, 32):
    today = calls[calls["time"].dt.day == day]
    clock.advance(86_400 - 1)  # a second before midnight
    report = t.usage.record_many(
        today.assign(id=[f"{row.tenant}/{row.time:%d-%H}" for row in today.itertuples()])
    )
    assert report.rejected == 0
    running[march(day, 23)] = t.billing.running(tenants["fb"]).bill.net
    clock.advance(1)
    if day == 15:
        t.tenants.change_plan(tenants["fb"], "business")
        t.billing.credit(tenants["crm"], 15, name="Welcome back")
        t.billing.coupon("SPRING", percent=10)
        t.billing.redeem(tenants["pfe"], "SPRING")

fig, ax = plt.subplots(figsize=(7.2, 3), layout="constrained", dpi=90)
ax.step(list(running), [float(amount) for amount in running.values()], where="post")
ax.axvline(march(16), color="#c0392b", lw=1)
ax.text(march(16, 6), 20, "business from here on", color="#c0392b", fontsize=9)
ax.set_ylabel("FB: bill so far, EUR without tax")
ax.set_ylim(bottom=0)
fig.autofmt_xdate();

# %% [markdown]
# The bill of the whole month is there from the first day on, with its fees; calls add to it. The change splits the month: each plan counts its part of the fee and its own tiers, and from then
# on the minimum of the new plan counts for its part of the month.
#
# ## The month is over

# %%
report = t.billing.issue_all("2015-03")
print(f"issued {report.issued}, waiting {report.waiting} (late events are taken for three days), refused {dict(report.refused)}")

clock.advance(4 * 86_400)
report = t.billing.issue_all("2015-03")
print(f"issued {report.issued}, already {report.already}, refused {dict(report.refused)}")

# %%
invoices = [t.billing.invoice(row.number) for slug in where for row in t.billing.invoices(tenants[slug])]
slugs = {tenant.id: slug for slug, tenant in tenants.items()}
pd.DataFrame(
    [
        {
            "number": invoice.number,
            "tenant": slugs[invoice.tenant],
        }
        | {
            sum_: f"{getattr(invoice.bill, sum_):.2f}"
            for sum_ in ("subtotal", "discount", "credit", "net", "tax", "total")
        }
        for invoice in sorted(invoices, key=lambda invoice: invoice.number)
    ]
).set_index("number")

# %% [markdown]
# Amounts are decimals to the cent; each sum is the sum of its lines. Killed in the middle and run again, `issue_all` goes on where it was, and no number is missing or used twice.
#
# ## One of them, in full

# %%
(fb,) = t.billing.invoices(tenants["fb"])
invoice = t.billing.invoice(fb.number)
plots.bill_waterfall(invoice.bill, title=f"{invoice.number}: how it comes to its total");

# %%
html = to_html(invoice).replace(invoice.digest, "(another one in each run, as ids are)")
page = b64encode(html.encode()).decode()
IFrame(f"data:text/html;charset=utf-8;base64,{page}", width="100%", height=640)

# %% [markdown]
# That is the page the customer gets (shown where frames are; `tenancy.delivery.save` writes it, or the PDF, or the e-invoice). Its lines:

# %%
pd.DataFrame(
    [
        {
            "line": line.description,
            "plan": line.plan,
            "from": line.period.start.date(),
            "quantity": line.quantity,
            "amount": f"{line.amount:.2f}",
            "tax": f"{line.tax:.2f}",
        }
        for line in invoice.bill.lines
    ]
)

# %% [markdown]
# ## What was wrong is taken back
#
# FB paid; then it turns out that we were down for a day. An invoice never changes. A credit note takes back a part of one line, with its tax; the part that is not paid out becomes a credit of the tenant:

# %%
t.billing.pay(invoice.number, invoice.bill.total, reference="bank-17")
first_calls = next(k for k, line in enumerate(invoice.bill.lines) if line.kind == "usage")
note = t.billing.credit_note(invoice.number, [Part(first_calls, "12.00")], reason="Outage on 4 March", refund=10)
print(f"{note.number}: net {note.net}, tax {note.tax}, total {note.total}, to be paid out {note.refund}")
print("left as a credit:", [(credit.name, credit.left) for credit in t.billing.credits(tenants["fb"])])

(unpaid,) = t.billing.invoices(tenants["goog"])
try:
    t.billing.credit_note(unpaid.number, [Part(0, "20.00")], reason="Outage", refund=20)
except BillingRefused as error:
    print("refused:", error)

# %% [markdown]
# ## Late usage
#
# A gateway delivers 4,000 calls of the last of March in April. The month is closed:

# %%
late = dict(time=march(31, 22), id="late-1")
try:
    t.usage.record(tenants["amzn"], "calls", 4_000, **late)
except PeriodClosed as error:
    print(error)
t.usage.record(tenants["amzn"], "calls", 4_000, **late, backfill=True, by="operator:ada")

(amzn,) = t.billing.invoices(tenants["amzn"])
added = t.billing.adjust(amzn.number)
print(f"\n{added.amount} {added.currency} on the next bill:")
print(t.billing.preview(tenants["amzn"]).lines[-1].description)

# %% [markdown]
# The 4,000 calls cost what they would have cost in March, at the tier that was reached there.
#
# ## Does it all add up?

# %%
accounts = t.billing.accounts()["EUR"]
print({name: str(amount) for name, amount in accounts.items()})
print("sum of all accounts:", sum(accounts.values()))

checked = t.billing.verify()
print("every document computed again from its facts, every chain and number checked:", bool(checked), checked.documents)
assert checked and sum(accounts.values()) == 0
t.close()

# %% [markdown]
# More: [Invoices](../docs/invoices.md), [Bills](../docs/billing.md), [Delivery](../docs/delivery.md), [Metering](../docs/metering.md).
