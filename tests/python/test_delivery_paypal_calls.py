"""Calls of PayPal's API: tokens, refusals, answers that are none; nothing of a secret is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from document_support import make_invoice
from paypal_support import (
    CLIENT_ID,
    CLIENT_SECRET,
    PayPal,
    adapter,
    drop,
    garbage,
    hang,
    paypal_server,
    says,
)
from tenancy.delivery import PayPalAdapter
from tenancy.errors import DeliveryFailed, InvalidValue, ProviderRefused

FIRST = "INV2-Z56S-5LLA-Q52L-0000"


@pytest.fixture
def server() -> Iterator[tuple[PayPal, str]]:
    with paypal_server() as found:
        yield found


# ------------------------------------------------------------------------------------- tokens


def test_one_token_serves_many_calls_and_threads(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    provider = adapter(url)
    threads = [
        threading.Thread(target=provider.send, args=(make_invoice(number=f"2026-{i:06}"),))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(paypal.invoices), len(paypal.tokens)) == (8, 1)


def test_a_token_is_asked_for_anew_before_it_expires(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    paypal.life_s = 600
    provider = adapter(url)
    client = provider._client
    now = [0.0]
    client.clock = lambda: now[0]
    for moment, tokens in ((0.0, 1), (539.0, 1), (541.0, 2), (1080.0, 2), (1082.0, 3)):
        now[0] = moment
        provider.send(make_invoice())
        assert len(paypal.tokens) == tokens, moment


def test_a_token_that_is_refused_is_asked_for_once_more(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    provider = adapter(url)
    provider.send(make_invoice())
    paypal.expired.update(paypal.tokens)
    provider.send(make_invoice(number="2026-000043"))
    assert len(paypal.tokens) == 2

    paypal.faults = [says(401), None, says(401)]
    with pytest.raises(ProviderRefused, match="answered 401"):
        provider.send(make_invoice(number="2026-000044"))
    assert len(paypal.tokens) == 3


def test_wrong_credentials_are_told_and_never_shown(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    wrong = PayPalAdapter(CLIENT_ID, "EAnother_Secret", base_url=url)
    with pytest.raises(ProviderRefused, match=r"401 \(error invalid_client\)") as refused:
        wrong.send(make_invoice())
    assert len(paypal.requests) == 1
    right = adapter(url)
    right.send(make_invoice())
    shown = f"{wrong!r} {wrong} {right!r} {right._client!r} {refused.value!r} {vars(refused.value)}"
    for secret in ("EAnother_Secret", CLIENT_SECRET, *paypal.tokens):
        assert secret not in shown


def test_every_call_bears_the_token_and_whatever_makes_something_an_id(
    server: tuple[PayPal, str],
) -> None:
    paypal, url = server
    adapter(url).send(make_invoice())
    for request in paypal.requests[1:]:
        assert request.headers["authorization"] == f"Bearer {paypal.tokens[0]}"
        makes = request.method == "POST" and "search" not in request.path
        assert (request.key is not None) == makes
    keys = [request.key for request in paypal.requests if request.key]
    assert len(set(keys)) == len(keys) == 2


# ----------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("fault", [says(500), drop, says(409, "RESOURCE_CONFLICT")])
def test_it_gives_up_after_so_many_attempts(server: tuple[PayPal, str], fault: Any) -> None:
    paypal, url = server
    paypal.faults = [fault] * 3
    waits: list[float] = []
    with pytest.raises(DeliveryFailed) as failed:
        adapter(url, waits, attempts=3).send(make_invoice())
    assert not failed.value.final
    assert len(paypal.requests) == 3
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


def test_a_server_that_hangs_is_left_in_time(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    paypal.faults = [None, hang]
    with pytest.raises(DeliveryFailed, match="no answer in time"):
        adapter(url, attempts=1, timeout=0.2).send(make_invoice())


def test_what_the_server_asks_to_wait_is_waited(server: tuple[PayPal, str]) -> None:
    paypal, url = server
    paypal.faults = [None, says(429, retry_after="7"), says(429, retry_after="99999")]
    waits: list[float] = []
    adapter(url, waits).send(make_invoice())
    assert waits == [7.0, 60.0]


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_is_not_repeated_and_says_why(server: tuple[PayPal, str], status: int) -> None:
    paypal, url = server
    paypal.faults = [None, says(status, "NOT_AUTHORIZED", "PERMISSION_DENIED")]
    with pytest.raises(ProviderRefused, match="PERMISSION_DENIED") as refused:
        adapter(url).send(make_invoice())
    error = refused.value
    assert (error.http_status, error.kind, error.reason) == (
        status,
        "NOT_AUTHORIZED",
        "PERMISSION_DENIED",
    )
    assert (error.request_id, error.final, error.code) == (
        "b1d1f06c7246c",
        True,
        "PROVIDER_REFUSED",
    )
    assert len(paypal.requests) == 2


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_answer_that_is_none(server: tuple[PayPal, str], at: int) -> None:
    paypal, url = server
    paypal.faults = [None] * at + [garbage]
    with pytest.raises(DeliveryFailed, match="no JSON object"):
        adapter(url).send(make_invoice())


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "INV2-1/../../../v1/payments"},
        {"href": "https://api-m.paypal.com/v2/invoicing/invoices/x?y"},
        {"id": 7},
        {},
    ],
)
def test_ids_do_not_become_paths(server: tuple[PayPal, str], answer: dict[str, Any]) -> None:
    paypal, url = server
    paypal.faults = [None, None, lambda _, __: (201, answer, {})]
    with pytest.raises(ProviderRefused, match="the id"):
        adapter(url).send(make_invoice())


@pytest.mark.parametrize(
    "amount",
    [None, {}, {"currency_code": "EUR", "value": "1e3"}, {"value": "1", "currency": "EUR"}],
)
def test_a_total_that_is_none(server: tuple[PayPal, str], amount: Any) -> None:
    paypal, url = server

    def spoil(state: PayPal, _: Any) -> None:
        state.invoices[FIRST]["amount"] = amount

    paypal.faults = [None, None, None, spoil]
    with pytest.raises(ProviderRefused, match="without amount"):
        adapter(url).send(make_invoice())
    assert paypal.invoices[FIRST]["status"] == "DRAFT"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "with:colon-in-it"}, "client_id"),
        ({"client_secret": "secret with blanks"}, "client_secret"),
        ({"client_secret": "secret_1\r\nx: y"}, "client_secret"),
        ({"base_url": "http://api-m.paypal.com"}, "base_url"),
        ({"base_url": "ftp://127.0.0.1"}, "base_url"),
        ({"attempts": 0}, "attempts"),
        ({"timeout": 0}, "timeout"),
        ({"email": "nobody"}, "email"),
        ({"webhook_id": "a|b"}, "webhook_id"),
    ],
)
def test_what_an_adapter_cannot_be(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        PayPalAdapter(**{"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **options})
    assert refused.value.field == field
