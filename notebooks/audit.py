# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Who did it, and can you prove it?
#
# An incident, told from the log: traffic is refused, somebody who may only read tries to write and takes reports, and then tries to make it unseen. We look for what happened, verify the log, tamper with copies of it
# in four ways, and give the customer a proof that needs no trust in us.
#
# **Data.** The traffic is five minutes of a real code completion service, from the [Azure Public Dataset](https://github.com/Azure/AzurePublicDataset) (CC BY 4.0), which ships with the package.
# Mallory is made up.

# %%
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from tenancy import Catalog, Tenancy
from tenancy.audit import check_export, check_receipt
from tenancy.demo.trace import load
from tenancy.errors import ProofInvalid
from tenancy.testing import FakeClock

place = Path(tempfile.mkdtemp())
start = datetime(2023, 11, 16, 18, 18, tzinfo=timezone.utc)
clock = FakeClock(start)
catalog = Catalog.from_text("""
catalog: assistant
default_plan: free
default_action: api_requests
roles:
  writer: {permissions: ["chat:*"]}
  reader: {permissions: ["chat:read"]}
plans:
  free: {rate_limits: {api_requests: 120/minute}}
""")
t = Tenancy.open(place / "data", catalog=catalog, clock=clock)
coder = t.tenants.create("Coder", slug="coder", by="operator:eve")
other = t.tenants.create("Other", slug="other", by="operator:eve")
keys = {}
for person, role in {"robot": "writer", "mallory": "reader"}.items():
    t.roles.assign(coder, person, role, by="operator:eve")
    _, keys[person] = t.keys.create(coder, principal=person, by="operator:eve")

# %% [markdown]
# ## What happened
#
# The robot sends the recorded requests. Mallory may read and tries to write; he also reads reports, which the application writes down itself with `append`:

# %%
seconds = 0.0
for number, row in enumerate(row for row in load() if row.service == "code"):
    clock.advance(row.offset_s - seconds)
    seconds = row.offset_s
    t.check(api_key=keys["robot"], permission="chat:create", ip="192.0.2.7")
    if number % 100 == 50:
        t.check(api_key=keys["mallory"], permission="chat:create", ip="198.51.100.66")
        t.audit.append(
            "data_read", tenant=coder, principal="mallory", resource="report",
            resource_id=f"q{number // 100}", context={"ip": "198.51.100.66"},
        )
t.audit.append("data_read", tenant=other, principal="bob", resource="report", resource_id="q1")


def facts(**wanted):
    found, cursor = [], None
    while True:
        page = t.audit.search(coder, limit=500, cursor=cursor, **wanted)
        found.extend(page)
        if (cursor := page.cursor) is None:
            return found


counts = pd.Series([fact.type for fact in facts()]).value_counts().sort_index()
counts.to_frame("facts")

# %%
refused = pd.DataFrame(
    [((fact.time - start).total_seconds() // 10 * 10, fact.type) for fact in facts() if fact.type in ("limit_exceeded", "permission_denied")],
    columns=["second", "type"],
)
table = refused.groupby(["second", "type"]).size().unstack(fill_value=0)
fig, ax = plt.subplots(figsize=(7.2, 2.8), layout="constrained", dpi=90)
ax.bar(table.index, table["limit_exceeded"], 8, align="edge", color="#e6a04b", label="limit_exceeded")
ax.bar(table.index, table["permission_denied"], 8, align="edge", bottom=table["limit_exceeded"], color="#b5442c", label="permission_denied")
ax.set_xlabel("seconds since 18:18")
ax.set_ylabel("refusals in 10 s")
ax.legend(frameon=False);

# %% [markdown]
# The wall of refusals is a robot that meets its limit. Its noise hides the few that matter; a search finds them:

# %%
pd.DataFrame(
    [
        {
            "time": fact.time.strftime("%H:%M:%S"),
            "who": fact.principal,
            "what": fact.type,
            "on": fact.resource_id or fact.action,
            "result": fact.result,
        }
        for fact in sorted(facts(ip="198.51.100.66"), key=lambda fact: (fact.time, fact.type))
    ]
)

# %% [markdown]
# ## Is the log whole?
#
# Each record is tied to the one before it by a key that only moves forward. A checkpoint that is kept elsewhere, an *anchor*, shows that the whole directory was not put back:

# %%
t.audit.checkpoint()
shutil.copytree(place / "data", place / "yesterday")  # remembered for later
evidence = facts(principal="mallory", type="data_read")[0]
t.audit.append("data_read", tenant=coder, principal="mallory", resource="report", resource_id="last")
anchor = t.audit.checkpoint()

report = t.audit.verify(anchors=[anchor])
print(f"status {report.status} (0: whole), {report.records:,} records, search table: {report.projection}")

# %% [markdown]
# ## Tampering
#
# Mallory has root on the host and a copy of the directory to try on. What does `verify` say of each attempt?

# %%
receipt = t.audit.prove(coder, evidence.id)
t.audit.export(coder, place / "coder.jsonl")
key = t.audit.public_key
t.close()
(place / "anchor").write_text(anchor)


def attempt(change, source="data"):
    """Verify, offline as an auditor does, a copy of the directory that `change` was done to."""
    copy = Path(tempfile.mkdtemp()) / "data"
    shutil.copytree(place / source, copy)
    change(copy)
    command = ["-m", "tenancy", "audit", "verify", copy, "--anchor", place / "anchor", "--json"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    findings = [one for one in json.loads(done.stdout)["findings"] if one["status"] == 1]
    first = findings[0] if findings else {"code": "", "text": "whole"}
    return {"exit status": done.returncode, "code": first["code"], "what verify says": first["text"]}


def segment(copy):
    (found,) = (copy / "log/segments").glob("access-*.seg")
    return found


def rename(copy):
    """Another name, of the same length, in every record."""
    path = segment(copy)
    path.write_bytes(path.read_bytes().replace(b"mallory", b"nightly"))


def one_bit(copy):
    path = segment(copy)
    content = bytearray(path.read_bytes())
    content[content.find(b"mallory") + 3] ^= 1
    path.write_bytes(content)


def remove(copy):
    """All that the class `access` has."""
    segment(copy).unlink()


pd.set_option("display.max_colwidth", 120)
attempts = {
    "nothing": lambda copy: None,
    "another name in the records": rename,
    "one bit of one record": one_bit,
    "a whole file removed": remove,
}
rows = [{"attempt": name} | attempt(change) for name, change in attempts.items()]
rows.append({"attempt": "put back to yesterday's copy"} | attempt(lambda copy: None, "yesterday"))
pd.DataFrame(rows).set_index("attempt")

# %% [markdown]
# The last one is the one that no log can see by itself: yesterday's directory *is* whole. The anchor that was kept elsewhere knows of records it has not got.
#
# ## A proof for the customer
#
# A receipt shows that one event is in the log. It is checked with the log's public key alone, on any machine:

# %%
shown = check_receipt(receipt, key)
print({name: shown["fields"][name] for name in ("principal", "resource", "resource_id")})
print(f"about {len(json.dumps(receipt)) / 1000:.0f} kB of JSON")

forged = json.loads(json.dumps(receipt))
forged["event"]["fields"]["principal"] = "nobody"
try:
    check_receipt(forged, key)
except ProofInvalid as error:
    print("forged:", error.message)

# %% [markdown]
# An export holds all events of a tenant, none of another, and proves that none up to its checkpoint was left out:

# %%
lines = (place / "coder.jsonl").read_text().splitlines()
print(check_export(lines, key, tenant=coder.id)["events"])

without = [line for line in lines if "mallory" not in line]
try:
    check_export(without, key, tenant=coder.id)
except ProofInvalid as error:
    print(f"{len(lines) - len(without)} lines left out:", error.message)

# %% [markdown]
# More: [Audit](../docs/audit.md), and the bytes of it: [the log](../cpp/LOG_FORMAT.md).
