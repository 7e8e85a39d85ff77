"""A server that behaves as PayPal documents for the calls we make, and refuses what it would.

It keeps what was sent, computes totals by itself, remembers request ids, and on demand fails, hangs
or does what was asked and loses the answer. It also publishes the certificate of its webhooks.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tenancy.delivery import PayPalAdapter

CLIENT_ID = "AeA1QIZXiflr1_-r0U2UbWTziOWX1GRQer5jkUq4ZfWT5qwb6qQRPq7jDtv57TL4POEEezGLdutcxnkJ"
CLIENT_SECRET = "ECYYrrSHdKfk_Q0EdvzdGkzj58a66kKaUQ5dZAEv4HvvtDId2_DpSuYDB088BZxGuMji7G4OFUnPog6p"
WEBHOOK_ID = "9XL90610J3647323C"
_MONEY = re.compile(r"-?\d+(\.\d{1,2})?")
_QUANTITY = re.compile(r"\d+(\.\d{1,5})?")
_WHOLE = ("HUF", "JPY", "TWD")


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str]

    @property
    def key(self) -> str | None:
        return self.headers.get("paypal-request-id")

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Answer = tuple[int, dict[str, Any], dict[str, str]]
Fault = Callable[["PayPal", Request], Answer | str | None]
"""An answer instead of PayPal's; `lose` (done, then the line drops), `drop`, `hang`; None: none."""


@dataclass
class PayPal:
    """The account; `faults` are for the next requests, one each."""

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault | None] = field(default_factory=list)
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, tuple[str, bytes, Answer]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    life_s: int = 32_400
    search_behind: bool = False
    """The search does not know yet what was made."""
    minimal: bool = False
    """Answers a link to what was made, not the whole of it."""
    certificate: bytes = b""
    certificate_status: int = 200
    release: threading.Event = field(default_factory=threading.Event)

    # ------------------------------------------------------------------------------ answers

    def answer(self, request: Request) -> Answer:
        if request.path == "/v1/oauth2/token":
            return self.grant(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or token in self.expired:
            return 401, _error("AUTHENTICATION_FAILURE", message=f"not {token}"), {}
        if request.method == "GET":
            found = self.invoices.get(request.path.rpartition("/")[2])
            return (200, found, {}) if found else (404, _error("RESOURCE_NOT_FOUND"), {})
        if request.headers.get("content-type") != "application/json":
            return 415, _error("UNSUPPORTED_MEDIA_TYPE"), {}
        if request.path == "/v2/invoicing/search-invoices":
            return self.search(request)
        if not request.key or len(request.key) > 38:
            return 400, _error("INVALID_REQUEST", "no_request_id"), {}
        known = self.keys.get(request.key)
        if known is not None:
            path, body, answer = known
            assert (path, body) == (request.path, request.body), "one id for two requests"
            return answer
        answer = self.write(request)
        if answer[0] < 300:
            kept = json.loads(json.dumps(answer[1]))
            self.keys[request.key] = (request.path, request.body, (answer[0], kept, {}))
        return answer

    def grant(self, request: Request) -> Answer:
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return 401, {"error": "invalid_client", "error_description": CLIENT_SECRET}, {}
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.body == b"grant_type=client_credentials"
        self.tokens.append(f"A21AA-token-{len(self.tokens)}")
        return (
            200,
            {
                "scope": "https://uri.paypal.com/services/invoicing",
                "access_token": self.tokens[-1],
                "token_type": "Bearer",
                "expires_in": self.life_s,
            },
            {},
        )

    def search(self, request: Request) -> Answer:
        page, size = (int(request.query[name][0]) for name in ("page", "page_size"))
        assert 1 <= page <= 1000
        assert 1 <= size <= 100
        wanted = request.json["invoice_number"]
        rows = [
            {"id": one["id"], "status": one["status"], "detail": one["detail"]}
            for one in self.invoices.values()
            if not self.search_behind and wanted in one["detail"]["invoice_number"]
        ]
        return 200, {"items": rows[(page - 1) * size : page * size]}, {}

    def write(self, request: Request) -> Answer:
        parts = request.path.split("/")[3:]
        if parts == ["invoices"]:
            return self.create(request.json)
        found = self.invoices.get(parts[1])
        if found is None or parts[2:] != ["send"]:
            return 404, _error("RESOURCE_NOT_FOUND"), {}
        assert request.json.keys() == {"send_to_recipient", "send_to_invoicer"}
        if found["status"] == "DRAFT":
            found["status"] = "SENT" if request.json["send_to_recipient"] else "UNPAID"
            url = f"https://www.paypal.com/invoice/p/#{found['id']}"
            found["detail"]["metadata"] = {"recipient_view_url": url}
        return 200, {"href": f"/v2/invoicing/invoices/{found['id']}", "rel": "self"}, {}

    def create(self, body: dict[str, Any]) -> Answer:
        problem = _problem(body)
        if problem:
            return 400, _error("INVALID_REQUEST", problem[1], problem[0]), {}
        number = body["detail"]["invoice_number"]
        if any(one["detail"]["invoice_number"] == number for one in self.invoices.values()):
            return 422, _error("UNPROCESSABLE_ENTITY", "TAKEN", "/detail/invoice_number"), {}
        made = f"INV2-Z56S-5LLA-Q52L-{len(self.invoices):04}"
        currency = body["detail"]["currency_code"]
        total = {"currency_code": currency, "value": str(_total(body))}
        self.invoices[made] = {
            **body,
            "id": made,
            "status": "DRAFT",
            "amount": total,
            "due_amount": total,
        }
        if self.minimal:
            link = f"https://api-m.paypal.com/v2/invoicing/invoices/{made}"
            return 201, {"rel": "self", "href": link, "method": "GET"}, {}
        return 201, self.invoices[made], {}

    def posts(self, path: str) -> list[dict[str, Any]]:
        """The bodies that were sent there, repeated ones included."""
        return [r.json for r in self.requests if r.method == "POST" and r.path == path]


def _total(body: dict[str, Any]) -> Decimal:
    """What PayPal computes: an item's amount less its discount, and tax by rate, rounded."""
    digits = 0 if body["detail"]["currency_code"] in _WHOLE else 2
    total = Decimal(0)
    for item in body["items"]:
        amount = Decimal(item["unit_amount"]["value"]) * Decimal(item["quantity"])
        amount -= Decimal(item.get("discount", {}).get("amount", {}).get("value", 0))
        rate = Decimal(item.get("tax", {}).get("percent", 0))
        tax = (amount * rate / 100).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        total += amount + tax
    return total


def _problem(body: dict[str, Any]) -> tuple[str, str] | None:
    """The first field that is not as the specification says, and what is wrong with it."""
    detail, items = body["detail"], body["items"]
    currency = detail["currency_code"]
    lengths = {"invoice_number": 25, "reference": 120, "note": 4000, "memo": 500}
    for name, most in lengths.items():
        if len(detail.get(name, "")) > most:
            return f"/detail/{name}", "INVALID_STRING_MAX_LENGTH"
    if not 1 <= len(items) <= 100:
        return "/items", "INVALID_ARRAY_LENGTH"
    for i, item in enumerate(items):
        sums = [item["unit_amount"], *([item["discount"]["amount"]] if "discount" in item else [])]
        for one in sums:
            value = one["value"]
            if one["currency_code"] != currency or not _MONEY.fullmatch(value):
                return f"/items/{i}/unit_amount", "INVALID_FORMAT"
            if abs(Decimal(value)) > 1_000_000 or (currency in _WHOLE and "." in value):
                return f"/items/{i}/unit_amount", "INVALID_DECIMALS"
        if not 1 <= len(item["name"]) <= 200 or not _QUANTITY.fullmatch(item["quantity"]):
            return f"/items/{i}/name", "INVALID_STRING_LENGTH"
        if Decimal(item.get("discount", {}).get("amount", {}).get("value", 0)) < 0:
            return f"/items/{i}/discount", "INVALID_DISCOUNT"
    for recipient in body["primary_recipients"]:
        address = recipient["billing_info"].get("address", {})
        if not all(address.values()) or len(address.get("country_code", "")) != 2:
            return "/primary_recipients/0/billing_info/address", "INVALID_STRING_LENGTH"
    return None


def _error(
    name: str, issue: str | None = None, path: str | None = None, message: str = "no"
) -> dict[str, Any]:
    details = [{"field": path, "issue": issue, "description": message}] if issue else []
    return {"name": name, "message": message, "debug_id": "b1d1f06c7246c", "details": details}


# -------------------------------------------------------------------------------------- faults


def says(
    status: int, name: str = "INTERNAL_SERVER_ERROR", issue: str | None = None, **headers: str
) -> Fault:
    """An answer that is not the one that was asked for; nothing is done."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda _, __: (status, _error(name, issue), fields)


def lose(_: PayPal, __: Request) -> str:
    return "lose"


def drop(_: PayPal, __: Request) -> str:
    return "drop"


def hang(_: PayPal, __: Request) -> str:
    return "hang"


def garbage(_: PayPal, __: Request) -> str:
    return "garbage"


# -------------------------------------------------------------------------------------- server


@contextmanager
def paypal_server(paypal: PayPal | None = None) -> Iterator[tuple[PayPal, str]]:
    """The server and its base URL."""
    state = paypal or PayPal()
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def serve(self) -> None:
            parts = urlsplit(self.path)
            request = Request(
                self.command,
                parts.path,
                parse_qs(parts.query),
                self.rfile.read(int(self.headers.get("content-length", 0))),
                {name.lower(): value for name, value in self.headers.items()},
            )
            with lock:
                state.requests.append(request)
                fault = state.faults.pop(0) if state.faults else None
                told = fault(state, request) if fault else None
                if parts.path.startswith("/v1/notifications/certs/") and told is None:
                    self.reply(state.certificate_status, state.certificate, {})
                    return
                if told is None or told == "lose":
                    answer = state.answer(request)
                    body = json.dumps(answer[1]).encode()
            if told == "hang":
                state.release.wait(30)
            if told == "garbage":
                self.reply(200, b"<html>", {})
                return
            if isinstance(told, str):
                self.close_connection = True
                return
            if isinstance(told, tuple):
                answer, body = told, json.dumps(told[1]).encode()
            self.reply(answer[0], body, answer[2])

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


def adapter(url: str, waits: list[float] | None = None, **options: Any) -> PayPalAdapter:
    waited = [] if waits is None else waits
    return PayPalAdapter(CLIENT_ID, CLIENT_SECRET, base_url=url, sleep=waited.append, **options)


# ------------------------------------------------------------------------------------ webhooks


def event(
    kind: str, invoice: str | None = "INV2-Z56S-5LLA-Q52L-0000", identifier: str = "WH-1"
) -> bytes:
    """The body of a webhook, as PayPal sends it for invoices."""
    resource = {"invoice": None if invoice is None else {"id": invoice, "status": "PAID"}}
    body = {
        "id": identifier,
        "event_version": "1.0",
        "create_time": "2026-04-01T10:40:00.656Z",
        "resource_type": "invoices",
        "event_type": kind,
        "resource": resource,
    }
    return json.dumps(body).encode()


def signed(
    body: bytes, key: Any, url: str, *, sent: str | None = None, webhook: str = WEBHOOK_ID
) -> dict[str, str]:
    """The headers that PayPal's documentation describes, written apart from what checks them."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    at = sent or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    transmission = "bcd47ac0-2b4a-11ee-91e2-870aebfd036d"
    message = "|".join([transmission, at, webhook, str(zlib.crc32(body))])
    signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    return {
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-CERT-URL": f"{url}/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
        "PAYPAL-TRANSMISSION-ID": transmission,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-TRANSMISSION-TIME": at,
    }
