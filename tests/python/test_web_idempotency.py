"""`Idempotency-Key`: a request that is repeated is charged once, over workers and crashes."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy import Tenancy, current_tenant, require_tenant
from tenancy.asgi import TenancyMiddleware
from tenancy.errors import (
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    InvalidValue,
    RequestInProgress,
)
from tenancy.wsgi import TenancyMiddleware as WSGIMiddleware
from web_support import CATALOG, Answer, Shop, call, get, http_scope, wsgi_get

ROOMY = CATALOG.replace("30/minute", "100000/hour").replace("/minute", "000/hour")
HEADER = "Idempotency-Key"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, text=ROOMY)
    yield made
    made.t.close()


def tokens(t: Tenancy, tenant: str = "acme") -> int:
    status = t.quotas.status(tenant, "tokens")
    return status.used + status.reserved


async def spender(scope: Any, receive: Any, send: Any) -> None:
    """Costs what the path says; answers with the status that the query says."""
    context = require_tenant()
    context.require(consume={"tokens": int(scope["path"].rsplit("/", 1)[1])})
    status = int(scope["query_string"] or b"200")
    body = b"repeat" if context.repeated else b"first"
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi_spender(environ: Any, start_response: Any) -> list[bytes]:
    context = require_tenant()
    context.require(consume={"tokens": int(environ["PATH_INFO"].rsplit("/", 1)[1])})
    start_response(f"{environ['QUERY_STRING'] or 200} X", [])
    return [b"repeat" if context.repeated else b"first"]


class Asgi:
    def __init__(self, t: Tenancy, **options: Any) -> None:
        self.app = TenancyMiddleware(spender, t, **options)

    def __call__(self, path: str, headers: Any, query: str = "", method: str = "POST") -> Answer:
        return get(self.app, path, headers, query=query.encode(), method=method)


class Wsgi:
    def __init__(self, t: Tenancy, **options: Any) -> None:
        self.app = WSGIMiddleware(wsgi_spender, t, **options)

    def __call__(self, path: str, headers: Any, query: str = "", method: str = "POST") -> Answer:
        return wsgi_get(self.app, path, headers, QUERY_STRING=query, REQUEST_METHOD=method)


BOTH = pytest.mark.parametrize("layer", [Asgi, Wsgi])


@BOTH
def test_a_repeated_request_is_charged_once(shop: Shop, layer: Any) -> None:
    ask = layer(shop.t)
    headers = {**shop.headers, HEADER: "8e03978e-40d5-43e8-bc93-6894a57f9324"}
    assert [ask("/a/5", headers).body for _ in range(3)] == [b"first", b"repeat", b"repeat"]
    assert tokens(shop.t) == 5
    assert ask("/a/5", shop.headers).body == b"first"
    assert tokens(shop.t) == 10


@BOTH
def test_bare_and_quoted_keys_are_the_same(shop: Shop, layer: Any) -> None:
    ask = layer(shop.t)
    assert ask("/a/5", {**shop.headers, HEADER: '"k-1"'}).body == b"first"
    assert ask("/a/5", {**shop.headers, HEADER: " k-1 "}).body == b"repeat"


@BOTH
def test_a_failed_attempt_is_not_charged_and_the_retry_is(shop: Shop, layer: Any) -> None:
    ask = layer(shop.t)
    headers = {**shop.headers, HEADER: "k"}
    assert ask("/a/5", headers, "503").status == 503
    assert tokens(shop.t) == 0
    assert ask("/a/5", headers).body == b"first"
    assert ask("/a/5", headers, "500").body == b"repeat"
    assert tokens(shop.t) == 5
    assert ask("/a/5", headers).body == b"repeat"  # a repeat that failed took nothing back


@BOTH
def test_a_key_is_bound_to_method_path_amount_tenant_and_caller(shop: Shop, layer: Any) -> None:
    ask = layer(shop.t)
    headers = {**shop.headers, HEADER: "k"}
    assert ask("/a/5", headers).status == 200
    for path, method in (("/b/5", "POST"), ("/a/5", "PUT"), ("/a/50", "POST")):
        refused = ask(path, headers, method=method)
        assert (refused.status, refused.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert tokens(shop.t) == 5
    assert ask("/a/5", {**shop.other_headers, HEADER: "k"}).body == b"first"
    assert ask("/a/5", {"X-API-Key": shop.user_secret, HEADER: "k"}).body == b"first"
    assert (tokens(shop.t), tokens(shop.t, "globex")) == (10, 5)


@BOTH
def test_repeats_are_bounded(tmp_path: Path, layer: Any) -> None:
    shop = Shop(tmp_path, text=ROOMY, idempotency_repeats=2)
    ask = layer(shop.t)
    headers = {**shop.headers, HEADER: "k"}
    assert [ask("/a/5", headers).status for _ in range(4)] == [200, 200, 200, 422]
    assert tokens(shop.t) == 5
    shop.t.close()


@BOTH
def test_what_is_no_key_refuses_what_consumes(shop: Shop, layer: Any) -> None:
    ask = layer(shop.t)
    for bad in ("", '""', "x" * 256, "a\tb", "\xff"):
        refused = ask("/a/5", {**shop.headers, HEADER: bad})
        assert (refused.status, refused.code) == (400, "INVALID_IDEMPOTENCY_KEY")
    assert tokens(shop.t) == 0
    assert ask("/a/0", {**shop.headers, HEADER: ""}).status == 200


def test_a_header_sent_twice_is_no_key(shop: Shop) -> None:
    pairs = [*shop.headers.items(), (HEADER, "a"), (HEADER, "b")]
    assert Asgi(shop.t)("/a/5", pairs).code == "INVALID_IDEMPOTENCY_KEY"


@BOTH
def test_the_header_can_be_renamed_and_turned_off(shop: Shop, layer: Any) -> None:
    renamed = layer(shop.t, idempotency_header="X-Request-Token")
    headers = {**shop.headers, "X-Request-Token": "k"}
    assert [renamed("/a/5", headers).body for _ in range(2)] == [b"first", b"repeat"]
    off = layer(shop.t, idempotency_header=None)
    headers = {**shop.headers, HEADER: "other"}
    assert [off("/a/5", headers).body for _ in range(2)] == [b"first", b"first"]
    assert tokens(shop.t) == 15


@BOTH
def test_a_charge_is_forgotten_after_its_window(tmp_path: Path, layer: Any) -> None:
    shop = Shop(tmp_path, text=ROOMY, idempotency_window_s=3600)
    ask = layer(shop.t)
    headers = {**shop.headers, HEADER: "k"}
    ask("/a/5", headers)
    shop.advance(3590)
    assert ask("/a/5", headers).body == b"repeat"
    shop.advance(20)
    assert ask("/a/5", headers).body == b"first"
    shop.t.close()


@BOTH
def test_a_flood_of_keys_is_bounded_and_only_its_tenant_notices(tmp_path: Path, layer: Any) -> None:
    shop = Shop(tmp_path, text=ROOMY, idempotency_keys_max=20)
    ask = layer(shop.t)
    answers = [ask("/a/1", {**shop.headers, HEADER: f"k{i}"}) for i in range(25)]
    assert [a.status for a in answers] == [200] * 20 + [429] * 5
    assert answers[-1].json()["limit_name"] == "idempotency_keys"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert tokens(shop.t) == 20
    assert ask("/a/1", {**shop.headers, HEADER: "k3"}).body == b"repeat"
    assert ask("/a/1", shop.headers).status == 200
    assert ask("/a/1", {**shop.other_headers, HEADER: "k"}).status == 200
    shop.t.close()


async def test_two_at_once_under_one_key(shop: Shop) -> None:
    t = shop.t
    first = t.admit(api_key=shop.secret, idempotency_key="k", fingerprint="POST /a")
    t.authorize(first, consume={"tokens": 5})
    second = t.admit(api_key=shop.secret, idempotency_key="k", fingerprint="POST /a")
    t.authorize(second, consume={"tokens": 5})
    assert (second.code, second.status, second.retry_after) == ("REQUEST_IN_PROGRESS", 409, 1.0)
    t.finish(second, 409)
    t.finish(first, 200)
    assert tokens(t) == 5


def test_a_reservation_settled_by_hand_settles_the_charge(shop: Shop) -> None:
    async def by_hand(scope: Any, receive: Any, send: Any) -> None:
        context = require_tenant()
        context.require(consume={"tokens": 50})
        context.reservation("tokens").commit(20)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = TenancyMiddleware(by_hand, shop.t)
    headers = {**shop.headers, HEADER: "k"}
    assert [get(app, "/", headers).status for _ in range(3)] == [200] * 3
    assert tokens(shop.t) == 20


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_request_that_outlives_its_reservation_is_charged_once(
    shop: Shop, overtaken: bool
) -> None:
    seen: list[int] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        require_tenant().require(consume={"tokens": 5})
        if not seen:
            seen.append(1)
            shop.advance(70)
            if overtaken:
                assert (await call(app, http_scope("/", headers))).status == 200
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = {**shop.headers, HEADER: "k"}
    app = TenancyMiddleware(slow, shop.t)
    assert get(app, "/", headers).status == 200
    assert tokens(shop.t) == 5
    assert get(app, "/", headers).status == 200
    assert tokens(shop.t) == 5


def test_check_takes_a_key_of_the_program(shop: Shop) -> None:
    t = shop.t
    job = {"tenant": "acme", "principal": "ann", "consume": {"tokens": 7, "projects": 1}}
    first = t.check(**job, idempotency_key="job-1")
    assert first
    assert not first.repeated
    assert not first.reservations
    again = t.check(**job, idempotency_key="job-1")
    assert again
    assert again.repeated
    assert not again.reservations
    assert tokens(t) == 7
    assert t.quotas.status("acme", "projects").used == 1
    with pytest.raises(IdempotencyKeyReused):
        t.require(**job, idempotency_key="job-1", fingerprint="other")
    with pytest.raises(InvalidIdempotencyKey):
        t.require(**job, idempotency_key="")
    assert t.explain(**job, idempotency_key="job-2")["allowed"]
    assert not t.check(**job, idempotency_key="job-2").repeated


def test_the_error_of_a_request_in_progress_says_when_to_come_back(shop: Shop) -> None:
    t = shop.t
    held = t.admit(api_key=shop.secret, idempotency_key="k")
    t.authorize(held, consume={"tokens": 1})
    with pytest.raises(RequestInProgress) as refused:
        t.require(api_key=shop.secret, idempotency_key="k", consume={"tokens": 1})
    assert refused.value.retry_after == 1.0
    t.finish(held)


def test_options_are_checked(tmp_path: Path) -> None:
    for wrong in (
        {"idempotency_window_s": 0},
        {"idempotency_repeats": -1},
        {"idempotency_repeats": True},
        {"idempotency_keys_max": 0},
    ):
        with pytest.raises(InvalidValue, match=next(iter(wrong))):
            Tenancy.open(tmp_path / "data", catalog="agent-platform", **wrong)
    assert not (tmp_path / "data").exists()


# ------------------------------------------------------------------------------ a model

KEYS = st.sampled_from(["a", "b", "c"])
STEP = st.one_of(
    st.tuples(st.just("begin"), KEYS, st.sampled_from([1, 2])),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from([200, 404, 500])),
    st.tuples(st.just("wait"), st.sampled_from([10, 59, 61, 3601]), st.just(0)),
)


class Model:
    """What was charged and who holds what until when, as two dictionaries."""

    def __init__(self) -> None:
        self.now = 0
        self.used = 0
        self.charged: dict[str, list[int]] = {}  # key -> amount, until, repeats
        self.held: dict[str, tuple[Any, int]] = {}  # key -> attempt, until

    def begin(self, key: str, amount: int, attempt: Any) -> str:
        known = self.charged.get(key)
        if known is not None and self.now < known[1]:
            if known[0] != amount or known[2] == 5:
                return "IDEMPOTENCY_KEY_REUSED"
            known[2] += 1
            return "repeated"
        if key in self.held and self.now < self.held[key][1]:
            return "REQUEST_IN_PROGRESS"
        self.held[key] = attempt, self.now + 60
        return "mine"

    def end(self, key: str, amount: int, attempt: Any, until: int, status: int) -> None:
        if key not in self.held or self.held[key][0] is not attempt:
            return
        del self.held[key]
        if status < 500:
            self.charged[key] = [amount, self.now + 3600, 0]
            self.used += amount if self.now < until else 0


@pytest.fixture(scope="module")
def roomy_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    text = ROOMY.replace("projects: 10", "projects: 1000000")
    made = Shop(tmp_path_factory.mktemp("model"), text=text, idempotency_window_s=3600)
    yield made
    made.t.close()


EXAMPLES = itertools.count()


@settings(max_examples=50)
@given(st.lists(STEP, max_size=40))
def test_histories_agree_with_a_small_model(roomy_shop: Shop, steps: list[Any]) -> None:
    t, model, example = roomy_shop.t, Model(), next(EXAMPLES)
    t.quotas.set("acme", "projects", 0)
    under_way: list[tuple[str, int, Any, int]] = []
    for kind, what, more in steps:
        if kind == "wait":
            roomy_shop.advance(what)
            model.now += what
        elif kind == "begin":
            attempt = t.admit(api_key=roomy_shop.secret, idempotency_key=f"{example}{what}")
            t.authorize(attempt, consume={"projects": more})
            expected = model.begin(what, more, attempt)
            if expected == "mine":
                under_way.append((what, more, attempt, model.now + 60))
            found = "repeated" if attempt.repeated else "mine" if attempt else attempt.code
            assert found == expected
        elif what < len(under_way):
            key, amount, attempt, until = under_way.pop(what)
            t.finish(attempt, more)
            model.end(key, amount, attempt, until, more)
    for _, _, attempt, _ in under_way:
        t.finish(attempt, 500)
    assert t.quotas.status("acme", "projects").used == model.used


# ------------------------------------------------------------------------------ workers


@pytest.mark.web
@pytest.mark.slow
def test_workers_charge_once_together_and_a_killed_one_does_not_keep_the_key(
    tmp_path: Path,
) -> None:
    httpx = pytest.importorskip("httpx")
    from server_support import free_port, serving

    shop = Shop(tmp_path, system_clock=True, text=ROOMY)
    port = free_port()
    command = ["uvicorn", "feature_apps:charging_app", "--factory", "--port", str(port)]
    with serving(shop.data, [*command, "--workers", "2"], port) as client:

        def post(key: str, query: str = "") -> Any:
            with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as own:
                try:
                    return own.post(f"/work{query}", headers={**shop.headers, HEADER: key})
                except httpx.TransportError:
                    return None

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, [f"k{i % 4}" for i in range(24)]))
        assert {a.status_code for a in answers} <= {200, 409, 422}
        fresh = [a for a in answers if a.status_code == 200 and not a.json()["repeated"]]
        assert len(fresh) == 4
        settled(lambda: tokens(shop.t) == 20)

        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(post, "killed", "?hang=1")
            marker = tmp_path / "hanging"
            settled(lambda: marker.exists() and marker.read_text().isdigit())
            waiting = post("killed")
            assert (waiting.status_code, waiting.headers["retry-after"]) == (409, "1")
            os.kill(int(marker.read_text()), signal.SIGKILL)
            assert hanging.result(60) is None
        settled(lambda: (answer := post("killed")) is not None and answer.status_code == 200)
        assert post("killed").json()["repeated"] is True
        settled(lambda: shop.t.quotas.status("acme", "tokens").used == 25)
        assert tokens(shop.t) == 25
    assert current_tenant() is None


def settled(condition: Any) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
