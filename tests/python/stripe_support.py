"""A server that behaves as Stripe documents for the calls we make, and refuses what it would.

It keeps what was sent, remembers idempotency keys with the parameters they came with, and on demand
fails, hangs or does what was asked and loses the answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

API_KEY = "sk_test_51SecretSecretSecret"
WEBHOOK_SECRET = "whsec_SecretSecretSecret"


@dataclass
class Request:
    method: str
    path: str
    query: list[tuple[str, str]]
    form: list[tuple[str, str]]
    headers: dict[str, str]

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


Fault = Callable[["Stripe", Request], tuple[int, dict[str, Any], dict[str, str]] | str | None]
"""An answer instead of Stripe's; `lose` (done, then the line drops), `drop`, `hang`; None: none."""


@dataclass
class Stripe:
    """The account; `faults` are for the next requests, one each."""

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault | None] = field(default_factory=list)
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, tuple[str, list[tuple[str, str]], tuple[int, dict[str, Any]]]] = field(
        default_factory=dict
    )
    searched_behind: bool = False
    """The search does not know yet what was made."""
    release: threading.Event = field(default_factory=threading.Event)
    page: int = 100
    made: Counter[str] = field(default_factory=Counter)

    # ------------------------------------------------------------------------------ answers

    def answer(self, request: Request) -> tuple[int, dict[str, Any], dict[str, str]]:
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return 401, _error("invalid_request_error", message=f"no such key: {API_KEY}"), {}
        if request.method == "GET":
            status, body = self.read(request)
            return status, body, {}
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return 400, _error("invalid_request_error"), {}
        if not request.key:
            return 400, _error("test", "no_key"), {}
        known = self.keys.get(request.key)
        if known is not None:
            path, form, (status, body) = known
            if (path, form) != (request.path, request.form):
                return 400, _error("idempotency_error"), {}
            return status, body, {"idempotent-replayed": "true"}
        status, body = self.write(request.path, dict(request.form))
        self.keys[request.key] = (request.path, request.form, (status, json.loads(_json(body))))
        return status, body, {}

    def read(self, request: Request) -> tuple[int, dict[str, Any]]:
        query = dict(request.query)
        if request.path == "/v1/customers/search":
            tenant = query["query"].partition("'tenancy_tenant']:'")[2][:-1]
            tenant = tenant.replace("\\'", "'").replace("\\\\", "\\")
            found = [
                one
                for one in self.customers.values()
                if not self.searched_behind and one["metadata"]["tenancy_tenant"] == tenant
            ]
            return 200, {"data": found, "has_more": False}
        if request.path == "/v1/invoices":
            rows = [
                one
                for one in reversed(self.invoices.values())
                if one["customer"] == query["customer"]
                and one["created"] >= int(query["created[gte]"])
            ]
            return self._page(rows, query)
        if request.path == "/v1/credit_notes":
            rows = [one for one in self.notes.values() if one["invoice"] == query["invoice"]]
            return self._page(rows, query)
        if request.path == "/v1/invoiceitems":
            rows = [one for one in self.items.values() if one["invoice"] == query["invoice"]]
            return self._page(rows, query)
        found_one = self.invoices.get(request.path.removeprefix("/v1/invoices/"))
        return (200, found_one) if found_one else (404, _error("invalid_request_error"))

    def _page(
        self, rows: list[dict[str, Any]], query: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        ids = [row["id"] for row in rows]
        start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        size = min(int(query["limit"]), self.page)
        return 200, {"data": rows[start : start + size], "has_more": start + size < len(rows)}

    def write(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        parts = path.split("/")[2:]
        if parts == ["customers"]:
            made = self._new("cus", self.customers, {"metadata": _metadata(form)})
            return 200, made
        if parts[0] == "customers":
            self.customers[parts[1]].update(form)
            return 200, self.customers[parts[1]]
        if parts == ["invoices"]:
            assert form["customer"] in self.customers
            body = {
                "customer": form["customer"],
                "currency": form["currency"],
                "status": "draft",
                "total": 0,
                "created": 1_775_035_800,
                "metadata": _metadata(form),
                "hosted_invoice_url": None,
                "form": form,
            }
            return 200, self._new("in", self.invoices, body)
        if parts == ["invoiceitems"]:
            invoice = self.invoices[form["invoice"]]
            if invoice["status"] != "draft" or invoice["currency"] != form["currency"]:
                return 400, _error("invalid_request_error", "invoice_not_editable", "invoice")
            invoice["total"] += int(form["amount"])
            body = {**form, "metadata": _metadata(form)}
            return 200, self._new("ii", self.items, body)
        if parts[0] == "invoices" and parts[2:] == ["finalize"]:
            invoice = self.invoices[parts[1]]
            if invoice["status"] != "draft":
                return 400, _error("invalid_request_error", "invoice_already_finalized")
            invoice["status"] = "open"
            invoice["amount_remaining"] = invoice["total"]
            invoice["hosted_invoice_url"] = f"https://pay.example/{invoice['id']}"
            return 200, invoice
        if parts == ["credit_notes"]:
            return self._credit(form)
        return 404, _error("invalid_request_error")

    def _credit(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What was not paid is lowered; the rest must be accounted for to the last cent."""
        invoice = self.invoices[form["invoice"]]
        lowered = min(int(form["amount"]), invoice["amount_remaining"])
        rest = sum(int(form.get(name, 0)) for name in ("refund_amount", "credit_amount"))
        if int(form["amount"]) != lowered + rest:
            return 400, _error("invalid_request_error", param="amount")
        invoice["amount_remaining"] -= lowered
        return 200, self._new("cn", self.notes, {**form, "metadata": _metadata(form)})

    def _new(
        self, prefix: str, table: dict[str, dict[str, Any]], body: dict[str, Any]
    ) -> dict[str, Any]:
        self.made[prefix] += 1
        made = {"id": f"{prefix}_{self.made[prefix]:04}", **body}
        table[made["id"]] = made
        return made

    def posts(self, path: str) -> list[dict[str, str]]:
        """The forms that were sent there, repeated ones included."""
        return [dict(r.form) for r in self.requests if r.method == "POST" and r.path == path]


def _metadata(form: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, value in form.items():
        if name.startswith("metadata["):
            found[name[len("metadata[") : -1]] = value
    return found


def _error(
    kind: str, code: str | None = None, param: str | None = None, message: str = "no"
) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "param": param, "message": message}}


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


# -------------------------------------------------------------------------------------- faults


def says(status: int, kind: str | None = None, code: str | None = None, **headers: str) -> Fault:
    """An answer that is not the one that was asked for; nothing is done."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, __: (status, _error(kind or "api_error", code), fields)


def lose(_: Stripe, __: Request) -> str:
    return "lose"


def drop(_: Stripe, __: Request) -> str:
    return "drop"


def hang(_: Stripe, __: Request) -> str:
    return "hang"


def garbage(_: Stripe, __: Request) -> str:
    return "garbage"


# -------------------------------------------------------------------------------------- server


@contextmanager
def stripe_server(stripe: Stripe | None = None) -> Iterator[tuple[Stripe, str]]:
    """The server and its base URL."""
    state = stripe or Stripe()
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def serve(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length).decode("ascii")
            parts = urlsplit(self.path)
            request = Request(
                self.command,
                parts.path,
                parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)),
                parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body)),
                {name.lower(): value for name, value in self.headers.items()},
            )
            with lock:
                state.requests.append(request)
                fault = state.faults.pop(0) if state.faults else None
                told = fault(state, request) if fault else None
                if told is None or told == "lose":
                    answer = state.answer(request)
            if told == "hang":
                state.release.wait(30)
            if isinstance(told, str) and told != "garbage":
                self.close_connection = True
                return
            if told == "garbage":
                self.reply(200, b"<html>", {})
                return
            status, found, headers = told if isinstance(told, tuple) else answer
            self.reply(status, _json(found), {"request-id": "req_7", **headers})

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        state.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


# ------------------------------------------------------------------------------------ webhooks


def signature(body: bytes, at: int, *secrets: str) -> str:
    """What Stripe's documentation says of `Stripe-Signature`, written apart from ours."""
    parts = [f"t={at}"]
    for secret in secrets or (WEBHOOK_SECRET,):
        signed = f"{at}.{body.decode()}"
        parts.append("v1=" + hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest())
    return ",".join(parts)


def event(
    kind: str, identifier: str = "evt_1", created: int = 1_775_040_000, **found: Any
) -> bytes:
    """The body of a webhook."""
    body: dict[str, Any] = {
        "id": "in_0001",
        "currency": "eur",
        "amount_paid": 0,
        "metadata": {"tenancy_number": "2026-000042"},
    }
    body.update(found)
    return _json(
        {
            "id": identifier,
            "object": "event",
            "type": kind,
            "created": created,
            "livemode": False,
            "data": {"object": body},
        }
    )
