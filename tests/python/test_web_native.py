"""The native parts of a request: scanning headers, the context, the exchanges."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy._core import (
    AsgiExchange,
    Decision,
    RequestContext,
    ResponseFields,
    WsgiExchange,
    scan_headers,
)
from tenancy.context import TenantContext
from tenancy.headers import limit_fields, limit_headers
from web_support import Shop

FIELDS = ResponseFields(tenant="X-Tenant", session="X-Session")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.t.close()


def admitted(shop: Shop, **request: Any) -> tuple[Decision, TenantContext]:
    decision = shop.t.admit(api_key=shop.secret, **request)
    assert decision
    return decision, TenantContext(shop.t, decision, None)


# ----------------------------------------------------------------------------- headers

NAMES = st.sampled_from([b"a", b"b", b"host", b"A", b""])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=12), st.frozensets(NAMES))
def test_scanning_finds_the_wanted_headers(
    headers: list[tuple[bytes, bytes]], wanted: frozenset[bytes]
) -> None:
    expected: dict[bytes, Any] = {}
    for name in wanted:
        values = [value for other, value in headers if other == name]
        if values:
            expected[name] = values if len(values) > 1 else values[0]
    assert scan_headers(headers, wanted) == expected
    assert scan_headers(tuple(list(pair) for pair in headers), wanted) == expected
    assert scan_headers(iter(headers), wanted) == expected


@pytest.mark.parametrize("headers", [None, 1, [1], [(b"a",)], [(b"a", b"b", b"c")], [([], b"x")]])
def test_what_are_no_headers_is_refused(headers: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        scan_headers(headers, frozenset({b"a"}))
    with pytest.raises(TypeError):
        scan_headers([], [b"a"])  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- context


def test_a_context_has_its_decisions_time_and_keeps_who_it_was(shop: Shop) -> None:
    decision, context = admitted(shop)
    assert shop.clock is not None
    assert context.request_time_ns == shop.clock.wall_ns()
    before = (context.tenant_id, context.principal, context.key_id, context.session_id)
    assert before == (shop.acme.id, None, shop.key.id, None)
    context.end()
    context.end()
    assert context.over
    assert context.decision is None
    assert before == (context.tenant_id, context.principal, context.key_id, context.session_id)
    assert TenantContext(shop.t, decision, 7).request_time_ns == 7
    assert TenantContext(shop.t, None, None).request_time_ns == 0


def test_a_client_names_a_session_only_where_the_decision_found_one(shop: Shop) -> None:
    session = shop.t.sessions.create(shop.acme, "ann", "web")
    decision = shop.t.admit(session=session.id)
    assert TenantContext(shop.t, decision, None, (), session.id).session_id == session.id
    other = shop.t.admit(api_key=shop.secret)
    context = TenantContext(shop.t, other, None, (), "its own")
    assert context.session_id is None
    context._session_id = "sess_opened"
    assert context.session_id == "sess_opened"
    context.end()
    assert context.session_id == "sess_opened"


def test_contexts_are_made_in_one_way(shop: Shop) -> None:
    for arguments in ((), (1, 2), (1, 2, "x"), (1, 2, 3, 4, 5, 6, 7)):
        with pytest.raises(TypeError):
            RequestContext(*arguments)
    with pytest.raises(TypeError):
        RequestContext(tenancy=1, decision=None, request_time_ns=0)  # type: ignore[call-arg]
    with pytest.raises(OverflowError):
        RequestContext(None, None, 2**63)


def test_cycles_of_requests_are_collected(shop: Shop) -> None:
    decision, context = admitted(shop)

    class Kept(AsgiExchange):
        __slots__ = ("__weakref__",)

    exchange = Kept(FIELDS, lambda message: None, decision, context, None)
    exchange.receive = exchange
    context.window = exchange
    gone = weakref.ref(exchange), weakref.ref(context)
    del exchange, context, decision
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


# ----------------------------------------------------------------------------- exchanges


class Recorder(AsgiExchange):
    errors: list[BaseException]

    def _not_begun(self, error: BaseException) -> None:
        self.errors = [*getattr(self, "errors", []), error]


def asgi(shop: Shop, finisher: Any = None) -> tuple[Recorder, list[Any]]:
    sent: list[Any] = []
    decision, context = admitted(shop)
    return Recorder(FIELDS, sent.append, decision, context, finisher), sent


def test_the_first_message_gets_the_fields_in_a_copy(shop: Shop) -> None:
    exchange, sent = asgi(shop)
    ours = exchange.own_fields()
    window = exchange.decision.tightest
    assert ours[:5] == limit_fields(window, exchange.decision.limits and shop.clock.wall_ns())  # type: ignore[union-attr]
    assert ours[5:] == [(b"x-tenant", shop.acme.id.encode())]
    start = {"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")], "more": 1}
    body = {"type": "http.response.body", "body": b"x"}
    exchange.send(start)
    exchange.send(body)
    exchange.send(start)  # a second beginning is the application's fault: it goes as it is
    assert exchange.status == 201
    assert start["headers"] == [(b"a", b"b")]
    assert sent == [{**start, "headers": [(b"a", b"b"), *ours]}, body, start]
    assert sent[1] is body


def test_messages_of_other_kinds_and_mappings(shop: Shop) -> None:
    exchange, sent = asgi(shop)
    trailer = types.MappingProxyType({"type": "http.response.trailers"})
    exchange.send(trailer)
    assert (sent, exchange.status) == ([trailer], 0)
    exchange.send(types.MappingProxyType({"type": "websocket.accept"}))
    assert exchange.status == 101
    assert dict(sent[1]["headers"])[b"x-ratelimit-limit"]
    other, sent = asgi(shop)
    with pytest.raises(KeyError):
        other.send({})
    with pytest.raises(TypeError):
        other.send(None)
    assert sent == []


@pytest.mark.parametrize("broken", [{"status": "200"}, {"status": 200, "headers": 5}])
def test_what_cannot_be_begun_is_told_and_goes_as_it_is(shop: Shop, broken: Any) -> None:
    exchange, sent = asgi(shop)
    message = {"type": "http.response.start", **broken}
    exchange.send(message)
    assert sent == [message]
    assert isinstance(exchange.errors[0], TypeError)
    assert exchange.status in (200, 500)


def test_the_finisher_has_the_last_word(shop: Shop) -> None:
    exchange, sent = asgi(shop, lambda fields: [*fields, (b"z", b"last")])
    exchange.send({"type": "http.response.start", "status": 200})
    assert sent[0]["headers"][-1] == (b"z", b"last")
    assert exchange.own_fields()[-1] == (b"z", b"last")
    for ended in (None, "other"):  # nothing is left to say
        exchange.decision = ended
        assert exchange.own_fields() == []


def test_an_exchange_takes_the_parts_of_a_request(shop: Shop) -> None:
    decision, context = admitted(shop)
    for arguments in (
        (FIELDS, None, decision, context),
        (None, None, decision, context, None),
        (FIELDS, None, None, context, None),
        (FIELDS, None, decision, decision, None),
    ):
        with pytest.raises(TypeError):
            AsgiExchange(*arguments)  # type: ignore[arg-type, call-arg]
        with pytest.raises(TypeError):
            WsgiExchange(*arguments)  # type: ignore[arg-type, call-arg]
    with pytest.raises(AttributeError):
        ResponseFields(tenant=1)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        ResponseFields(tenant="X-Ä")


class Watched(WsgiExchange):
    def _watched(self) -> Iterator[bytes]:
        yield from (b"watched",)


def test_start_response_gets_the_fields(shop: Shop) -> None:
    calls: list[Any] = []
    decision, context = admitted(shop)
    exchange = Watched(FIELDS, lambda *args: calls.append(args), decision, context, None)
    headers = [("A", "b")]
    exchange.start("404 Not Found", headers)
    exchange.start("500 No", headers, None)
    exchange.start("500 No", headers, exc_info=(1, 2, 3))
    ours = exchange.own_fields()
    assert ours[:5] == limit_headers(decision.tightest, shop.clock.wall_ns())  # type: ignore[union-attr]
    assert ours[5:] == [("X-Tenant", shop.acme.id)]
    assert calls == [
        ("404 Not Found", [*headers, *ours]),
        ("500 No", [*headers, *ours]),
        ("500 No", [*headers, *ours], (1, 2, 3)),
    ]
    assert exchange.status == 500
    assert headers == [("A", "b")]
    for wrong in (("OK", []), ("20", []), ("٢٠٠ OK", []), ("", [])):
        with pytest.raises(ValueError, match="three digits"):
            exchange.start(*wrong)
    for wrong in ((), ("200",), ("200", [], None, None)):
        with pytest.raises(TypeError):
            exchange.start(*wrong)
    with pytest.raises(TypeError):
        exchange.start("200", [], other=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        exchange.start(200, [])  # type: ignore[arg-type]


def test_the_body_is_watched_unless_it_is_a_list(shop: Shop) -> None:
    decision, context = admitted(shop)
    exchange = Watched(FIELDS, None, decision, context, None)
    assert list(exchange) == [b"watched"]
    exchange.body = (b"x",)
    assert list(exchange) == [b"watched"]
    exchange.body = [b"a", b"b"]
    assert list(exchange) == [b"a", b"b"]
