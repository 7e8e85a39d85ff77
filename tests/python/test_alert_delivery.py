"""Delivery of alerts: at least once to each destination, however receivers behave."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from alert_support import (
    RETRY,
    SECRET,
    Receiver,
    boom,
    deliver,
    dripping,
    free_port,
    job,
    mail,
    open_to,
    receiving,
    statuses,
    tls_server,
    wait_for,
)
from store_support import make_clock, open_shop
from tenancy import _core
from tenancy.alerts import (
    Alert,
    Alerts,
    Callback,
    Webhook,
    critical,
    new_webhook_secret,
    verify_webhook,
)
from tenancy.errors import InvalidValue, SignatureInvalid

S = 1_000_000_000


@pytest.fixture
def clock() -> _core.FakeClock:
    return make_clock()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return tls_server(tmp_path_factory.mktemp("pki"))


# ------------------------------------------------------------------------------------ webhooks


def test_a_webhook_is_signed_and_says_what_happened(tmp_path: Path, clock: Any) -> None:
    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):
        alert = boom(t)
        deliver(t)
        [(headers, body)] = receiver.requests
        shown = verify_webhook(headers, body, SECRET)
        assert shown["type"] == "security.alert"
        assert shown["data"]["id"] == alert.id == headers["webhook-id"]
        assert headers["tenancy-alert-id"] == alert.id
        assert headers["content-type"] == "application/json"
        assert shown["data"]["rule"] == "critical"
        assert statuses(t, alert) == {"webhook:127.0.0.1": ("delivered", 1, None)}
        [delivery] = t.alerts.deliveries(alert.id)
        assert delivery.delivered is not None
        assert delivery.next is None
        deliver(t)
        assert len(receiver.requests) == 1


def test_what_fails_is_tried_again_later_and_later_then_given_up(
    tmp_path: Path, clock: Any
) -> None:
    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET, name="hook")) as t,
    ):
        receiver.answers += [500, 404, 302, 503]
        alert = boom(t)
        for attempt, longest_s in ((1, 10), (2, 20), (3, 40)):
            deliver(t)
            assert len(receiver.requests) == attempt
            [delivery] = t.alerts.deliveries(alert.id)
            assert delivery.next is not None
            pause_ns = int(delivery.next.timestamp() * 1e9) - t.clock.wall_ns()
            assert longest_s * S // 2 - S < pause_ns <= longest_s * S + S
            deliver(t)
            assert len(receiver.requests) == attempt, "not before its time"
            assert t.health().ok
            clock.advance_ns(longest_s * S)
        deliver(t)
        assert statuses(t, alert) == {"hook": ("dead", 4, "answered 503")}
        t.background.run_due()
        assert t.health().problems == (
            "background job alert deliveries: 1 alerts did not reach hook, given up: answered 503",
        )
        assert len({(h["webhook-id"], b) for h, b in receiver.requests}) == 1, "the same each time"
        clock.advance_ns(3600 * S)
        deliver(t)
        assert len(receiver.requests) == 4
        assert t.alerts.retry(alert.id, by="ops") == 1
        deliver(t)
        assert statuses(t, alert) == {"hook": ("delivered", 1, None)}
        t.background.run_due()
        assert t.health().ok


def test_dead_deliveries_of_an_acknowledged_alert_are_told_no_more(
    tmp_path: Path, clock: Any
) -> None:
    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):
        receiver.answers += [410]
        alert = boom(t)
        deliver(t)
        assert statuses(t, alert) == {"webhook:127.0.0.1": ("dead", 1, "answered 410")}
        assert job(t, "alert deliveries")()
        t.alerts.acknowledge(alert.id, by="ops")
        assert not job(t, "alert deliveries")()


def test_a_receiver_may_ask_to_wait(tmp_path: Path, clock: Any) -> None:
    def later(handler: Any) -> None:
        handler.send_response(429)
        handler.send_header("retry-after", "60")
        handler.send_header("content-length", "0")
        handler.end_headers()

    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):
        receiver.answers += [later]
        alert = boom(t)
        deliver(t)
        [delivery] = t.alerts.deliveries(alert.id)
        assert delivery.next is not None
        assert round(delivery.next.timestamp() * 1e9) - clock.wall_ns() == 60 * S


def test_a_receiver_that_is_down_and_comes_back(tmp_path: Path, clock: Any) -> None:
    port = free_port()
    with open_to(tmp_path, clock, Webhook(f"http://127.0.0.1:{port}/", secret=SECRET)) as t:
        first, second = boom(t), boom(t)
        deliver(t)
        [(status, attempts, error)] = statuses(t, first).values()
        assert (status, attempts) == ("pending", 1)
        assert error is not None
        assert error.startswith("no connection")
        clock.advance_ns(60 * S)
        receiver = Receiver(port=port)
        try:
            deliver(t)
            assert sorted(receiver.ids) == sorted([first.id, second.id])
        finally:
            receiver.close()


def test_one_that_hangs_or_drips_holds_up_no_other(tmp_path: Path, clock: Any) -> None:
    def hang(handler: Any) -> None:
        hanging.release.wait()

    def drip(handler: Any) -> None:
        while not slow.release.wait(0.05):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    with receiving() as hanging, receiving() as slow, receiving() as good:
        hanging.answers += [hang]
        slow.answers += [drip]
        to = [
            Webhook(hanging.url, secret=SECRET, name="hanging", timeout=0.5),
            Webhook(slow.url, secret=SECRET, name="dripping", timeout=0.5),
            Webhook(good.url, secret=SECRET, name="good", timeout=60),  # on a busy machine too
        ]
        with open_to(tmp_path, clock, *to) as t:
            alert = boom(t)
            job(t, "alert deliveries")()  # returns at once
            wait_for(lambda: statuses(t, alert)["good"][0] == "delivered")
            other = boom(t)
            job(t, "alert deliveries")()
            wait_for(lambda: good.ids == [alert.id, other.id])
            deliver(t)
            for name in ("hanging", "dripping"):
                assert statuses(t, alert)[name] == ("pending", 1, "no answer in time")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"]
)
def test_what_is_no_answer_is_a_failure(tmp_path: Path, clock: Any, answer: bytes) -> None:
    def raw(handler: Any) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):
        receiver.answers += [raw]
        alert = boom(t)
        deliver(t)
        [(status, _, error)] = statuses(t, alert).values()
        assert status == "pending"
        assert error is not None
        assert "t0psecret" not in error


def test_redirects_are_not_followed(tmp_path: Path, clock: Any) -> None:
    with (
        receiving() as receiver,
        receiving() as other,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):

        def move(handler: Any) -> None:
            handler.send_response(307)
            handler.send_header("location", other.url)
            handler.send_header("content-length", "0")
            handler.end_headers()

        receiver.answers += [move]
        alert = boom(t)
        deliver(t)
        assert list(statuses(t, alert).values()) == [("pending", 1, "answered 307")]
        assert not other.requests


def test_certificates_are_checked(
    tmp_path: Path, clock: Any, pki: tuple[ssl.SSLContext, str]
) -> None:
    server, trusted = pki
    with receiving(tls=server) as receiver:
        to = [
            Webhook(receiver.url, secret=SECRET, name="trusting", ca_file=trusted),
            Webhook(receiver.url, secret=SECRET, name="strict"),
        ]
        with open_to(tmp_path, clock, *to) as t:
            alert = boom(t)
            deliver(t)
            found = statuses(t, alert)
            assert found["trusting"] == ("delivered", 1, None)
            assert found["strict"] == ("pending", 1, "TLS: CERTIFICATE_VERIFY_FAILED")
            assert len(receiver.requests) == 1


def test_a_handshake_that_drips_has_a_deadline(tmp_path: Path, clock: Any) -> None:
    with dripping() as port, dripping() as tls, dripping(b"220 test\r\n") as starttls:
        options: dict[str, Any] = {"timeout": 0.5, "password": "p", "user": "u"}
        to = [
            Webhook(f"https://127.0.0.1:{port}/", secret=SECRET, name="hook", timeout=0.5),
            mail(tls, to="a@example.com", tls="tls", **options),
            mail(starttls, to="b@example.com", tls="starttls", **options),
        ]
        with open_to(tmp_path, clock, *to) as t:
            alert = boom(t)
            deliver(t)
            assert set(statuses(t, alert).values()) == {("pending", 1, "no answer in time")}


# ------------------------------------------------------------------------------------ signatures


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """Written out by hand: HMAC-SHA256 over id.timestamp.body with the secret's bytes."""
    import hashlib
    import hmac

    from tenancy.stores.alert_signature import check_secrets, sign

    body = b'{"a":1}'
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(
        hmac.new(key, b"msg_1.1700000000." + body, hashlib.sha256).digest()
    ).decode()
    assert sign("msg_1", 1_700_000_000, body, check_secrets(SECRET)) == f"v1,{expected}"


def signed(**changes: Any) -> tuple[dict[str, str], bytes]:
    from tenancy.stores.alert_signature import check_secrets, sign

    body = changes.pop("body", b'{"n":1}')
    secrets = changes.pop("secret", SECRET)
    headers = {
        "Webhook-Id": "i1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": sign("i1", 1_700_000_000, b'{"n":1}', check_secrets(secrets)),
    }
    return {**headers, **changes}, body


def test_what_a_receiver_accepts() -> None:
    other = new_webhook_secret()
    now = 1_700_000_010.0
    assert verify_webhook(*signed(), SECRET, now=now) == {"n": 1}
    assert verify_webhook(*signed(), [other, SECRET], now=now) == {"n": 1}
    assert verify_webhook(*signed(secret=[other, SECRET]), SECRET, now=now) == {"n": 1}
    headers, body = signed()
    headers["webhook-signature"] = "v1a,xyz v1,AAAA " + headers["webhook-signature"]
    assert verify_webhook(headers, body, SECRET, now=now) == {"n": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body": b'{"n":2}'}, "no signature"),
        ({"Webhook-Id": "i2"}, "no signature"),
        ({"webhook-timestamp": "1700000001"}, "no signature"),
        ({"secret": new_webhook_secret()}, "no signature"),
        ({"webhook-signature": "v1,ÿ"}, "no signature"),
        ({"webhook-signature": ""}, "a header is missing"),
        ({"webhook-timestamp": "now"}, "no number"),
        ({"webhook-timestamp": "1699999000"}, "too far from now"),
        ({"webhook-timestamp": "1700009999"}, "too far from now"),
    ],
)
def test_what_a_receiver_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SignatureInvalid, match=message):
        verify_webhook(*signed(**changes), SECRET, now=1_700_000_000.0)


def test_a_body_that_was_parsed_already_is_refused() -> None:
    with pytest.raises(InvalidValue, match="as it came"):
        verify_webhook({}, {"n": 1}, SECRET)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ functions


def test_functions_plain_and_async(tmp_path: Path, clock: Any) -> None:
    seen: list[tuple[str, str]] = []

    def plain(alert: Alert) -> None:
        seen.append(("plain", alert.id))

    async def later(alert: Alert) -> None:
        await asyncio.sleep(0)
        seen.append(("later", alert.id))

    with open_to(tmp_path, clock, Callback(plain), Callback(later, name="async")) as t:
        alert = boom(t)
        deliver(t)
        assert sorted(seen) == [("later", alert.id), ("plain", alert.id)]
        assert set(statuses(t, alert)) == {"callback:plain", "async"}


def test_a_function_that_raises_is_tried_again(
    tmp_path: Path, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Alert] = []

    def fails(alert: Alert) -> None:
        calls.append(alert)
        if len(calls) < 3:
            raise ValueError("not today")

    with (
        caplog.at_level(logging.CRITICAL, "tenancy"),
        open_to(tmp_path, clock, Callback(fails)) as t,
    ):
        alert = boom(t)
        deliver(t)
        assert statuses(t, alert)["callback:fails"][2] == "ValueError: not today"
        for _ in range(2):
            clock.advance_ns(40 * S)
            deliver(t)
        assert statuses(t, alert)["callback:fails"] == ("delivered", 3, None)


def test_a_function_that_hangs_is_told_and_holds_up_nothing(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    seen: list[str] = []
    to = [Callback(lambda _: release.wait(60), name="hangs"), Callback(lambda a: seen.append(a.id))]
    monkeypatch.setattr("tenancy.stores.alert_delivery.SLOW_S", 0.0)
    monkeypatch.setattr("tenancy.stores.alert_delivery.CLOSE_WAIT_S", 0.01)
    with open_to(tmp_path, clock, *to) as t:
        alert = boom(t)
        job(t, "alert deliveries")()
        wait_for(lambda: seen == [alert.id])
        [told] = [
            text for text in job(t, "alert deliveries")() if text.startswith("alerts to hangs")
        ]
        assert "have taken" in told
        thread = job(t, "alert deliveries")._busy["hangs"].thread
    release.set()
    thread.join()


def test_a_process_that_dies_of_an_alert_does_so_no_more_often_than_it_is_tried(
    tmp_path: Path, clock: Any
) -> None:
    def kills(alert: Alert) -> None:
        raise SystemExit  # what is left of a death is what was written before it

    with open_to(tmp_path, clock, Callback(kills)) as t:
        alert = boom(t)
        deliveries = job(t, "alert deliveries")
        deliveries._attempt = lambda *_: False
        for attempt in range(6):
            deliver(t)
            assert statuses(t, alert)["callback:kills"][1] == min(attempt + 1, 4)
            clock.advance_ns(80 * S)
        assert statuses(t, alert)["callback:kills"][0] == "dead"


# ------------------------------------------------------------------------------------ processes


def test_a_destination_that_is_not_here_is_told_and_waits(tmp_path: Path, clock: Any) -> None:
    seen: list[Alert] = []
    with open_to(tmp_path, clock, Callback(seen.append, name="old")) as t:
        alert = boom(t)
    with open_to(tmp_path, clock, Callback(print, name="new")) as t:
        assert job(t, "alert deliveries")() == (
            "1 alerts wait for old, which is no destination here",
        )
    with open_to(tmp_path, clock, Callback(seen.append, name="old")) as t:
        deliver(t)
        assert [one.id for one in seen] == [alert.id]


def test_a_wall_clock_that_was_set_back_holds_nothing_up_for_long(
    tmp_path: Path, clock: Any
) -> None:
    calls: list[Alert] = []

    def fails(alert: Alert) -> None:
        calls.append(alert)
        raise ValueError

    with open_to(tmp_path, clock, Callback(fails)) as t:
        boom(t)
        deliver(t)
        clock.step_wall_ns(-86_400 * S)
        deliver(t)
        assert len(calls) == 2


def test_a_forked_child_delivers(tmp_path: Path, clock: Any) -> None:
    with (
        receiving() as receiver,
        open_to(tmp_path, clock, Webhook(receiver.url, secret=SECRET)) as t,
    ):
        first = boom(t)
        deliver(t)
        second = boom(t)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                deliver(t)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        deliver(t)
        assert receiver.ids == [first.id, second.id]


def test_the_elected_worker_does_it_all_by_itself(tmp_path: Path) -> None:
    with receiving() as receiver:
        alerts = Alerts(
            rules=[critical("boom")], to=[Webhook(receiver.url, secret=SECRET)], retry=RETRY
        )
        with open_shop(tmp_path, _core.Clock.system(), background=True, alerts=alerts) as t:
            t.audit.append("boom", principal="ann")
            wait_for(lambda: receiver.ids)
            assert [alert.id for alert in t.alerts.list()] == receiver.ids


def test_nothing_secret_is_in_the_store(tmp_path: Path, clock: Any) -> None:
    to = [
        Webhook(f"http://127.0.0.1:{free_port()}/t0psecret", secret=SECRET),
        mail(free_port(), user="u", password="t0psecret"),
    ]
    with open_to(tmp_path, clock, *to) as t:
        boom(t)
        deliver(t)
        with t._host.cursor() as cursor:
            stored = str(cursor.execute("SELECT * FROM alert_deliveries").fetchall())
            stored += str(cursor.execute("SELECT * FROM alerts").fetchall())
        shown = stored + repr(t.health())
        assert "t0psecret" not in shown
        assert SECRET not in shown
