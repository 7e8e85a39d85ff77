"""Alert rules: what is a rule, what it counts, and when it fires, against an obvious model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.alerts import (
    Alerts,
    Callback,
    Email,
    Retry,
    Rule,
    Webhook,
    brute_force,
    critical,
    default_rules,
    new_webhook_secret,
)
from tenancy.errors import InvalidValue
from tenancy.stores.alert_windows import Hit, Windows

SECRET = new_webhook_secret()
WITHIN = timedelta(microseconds=10)  # 10,000 ns


def rule(**changes: Any) -> Rule:
    options: dict[str, Any] = {"match": {"type": "login_failed"}, "at_least": 3, "within": WITHIN}
    return Rule("test", **{**options, **changes})


# ------------------------------------------------------------------------------------ bad rules


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match": {}}, "match: expected a mapping of fields"),
        ({"match": []}, "match: expected at least one field"),
        ({"match": "login_failed"}, "match: expected a mapping of fields, got str"),
        ({"match": {"typ": "x"}}, "'typ' is no field of a fact.*context.<name>"),
        ({"match": {"type": ""}}, "match: type: expected a text"),
        ({"match": {"type": []}}, "match: type: expected texts"),
        ({"match": {"type": 7}}, "match: type: expected texts, got 7"),
        ({"match": {"type": "a*b"}}, r"a \* stands only at the end"),
        ({"unless": {"who": "x"}}, "unless: 'who' is no field"),
        ({"by": "color"}, "by: 'color' is no field"),
        ({"by": 5}, "by: expected names of fields"),
        ({"same": ("ip",)}, "same: expected two fields"),
        ({"distinct": "context."}, "distinct: 'context.' is no field"),
        ({"at_least": 0}, "at_least: expected 1 or more"),
        ({"at_least": True}, "at_least: expected 1 or more"),
        ({"at_least": 10**6}, "at_least: 1000000, at most"),
        ({"within": None}, "within: 3 facts need a window"),
        ({"at_least": 1}, "within: a single fact has no window"),
        ({"at_least": 1, "within": None, "distinct": "ip"}, "distinct: needs at_least of 2"),
        ({"within": timedelta(0)}, "within: expected more than no time"),
        ({"within": timedelta(days=8)}, "within: 8 days"),
        ({"cooldown": timedelta(days=99)}, "cooldown: 99 days"),
        ({"cooldown": "soon"}, "cooldown: expected seconds or a timedelta"),
        ({"severity": "bad"}, "severity: 'bad'.*critical, high, low, medium"),
        ({"summary": "x" * 300}, "summary: expected at most 255"),
    ],
)
def test_a_bad_rule_is_refused_with_its_name_the_place_and_the_remedy(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        rule(**changes)
    assert "rule test" in str(caught.value)


def test_names_of_rules() -> None:
    for name in ("", "A", "9", "x" * 65, "a b", None):
        with pytest.raises(InvalidValue, match="names no rule"):
            Rule(name, match={"type": "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [rule(), rule()]}, "two rules 'test'"),
        ({"rules": ["brute_force"]}, "expected a Rule, got str.*brute_force"),
        ({"rules": {}}, "expected a list of rules"),
        ({"to": [print]}, "is no destination.*Webhook, Email or Callback"),
        ({"to": [Callback(print), Callback(print)]}, "two destinations 'callback:print'"),
        ({"to": Callback(print)}, "expected a list"),
        ({"retry": 5}, "expected a Retry"),
    ],
)
def test_bad_alerts(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Alerts(**options)


def test_ready_made_rules_are_taken_as_they_come() -> None:
    names = [one.name for one in Alerts(rules=[brute_force(3), critical("data_export")]).rules]  # type: ignore[union-attr]
    assert names == ["brute_force.ip", "brute_force.principal", "brute_force.key", "critical"]
    assert Alerts().rules == default_rules()
    assert Alerts(rules=[]).rules == ()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/x", "expected http or https"),
        ("https:///x", "expected http or https and a host"),
        ("https://u:pw@host/x", "holds credentials"),
        ("https://host/x#y", "fragment"),
        ("https://host/a b", "without blanks"),
        ("https://host/\r\nX: y", "without blanks"),
        ("https://host:99999/", "no valid form"),
        ("https://[::1/", "no valid form"),
        (7, "expected a URL"),
    ],
)
def test_bad_urls_are_refused_and_not_shown(url: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        Webhook(url, secret=SECRET)
    assert str(url) not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "short", "whsec_%%%", "whsec_AAAA", [], [SECRET] * 5, 5])
def test_bad_secrets_are_refused_and_not_shown(secret: Any) -> None:
    with pytest.raises(InvalidValue, match="secret") as caught:
        Webhook("https://host/", secret=secret)
    assert not secret or not isinstance(secret, str) or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 0}, "port"),
        ({"port": "25"}, "port: expected a number"),
        ({"host": "a b"}, "no name of a host"),
        ({"sender": "nobody"}, "is not an e-mail address"),
        ({"to": []}, "expected one to 20"),
        ({"to": ["ops@example.com", "x\r\nBcc: y@example.com"]}, "is not an e-mail address"),
        ({"user": "u"}, "together, or neither"),
        ({"tls": "ssl"}, "one of starttls, tls, none"),
        ({"tls": "none", "user": "u", "password": "pw"}, "in clear"),
        ({"timeout": 0}, "more than no time"),
        ({"timeout": 1000}, "at most"),
        ({"ca_file": "/nowhere"}, "cannot be read"),
    ],
)
def test_bad_mail_servers(changes: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {
        "host": "mail.example.com",
        "port": 587,
        "sender": "tenancy@example.com",
        "to": "ops@example.com",
    }
    with pytest.raises(InvalidValue, match=message):
        Email(**{**options, **changes})


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"attempts": 1.5}, {"first": 0}, {"first": 10, "longest": 5}]
)
def test_bad_retries(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Retry(**options)


def test_pauses_double_up_to_the_longest() -> None:
    retry = Retry(first=4, longest=20)
    assert [retry.pause_ns(n, 1.0) / 1e9 for n in (1, 2, 3, 4, 90)] == [4, 8, 16, 20, 20]
    assert [retry.pause_ns(n, 0.0) / 1e9 for n in (1, 2)] == [2, 4]


def test_no_secret_is_shown() -> None:
    webhook = Webhook("https://hooks.example.com/services/t0psecret?k=t0psecret", secret=SECRET)
    mail = Email("mail", 587, "a@example.com", "b@example.com", user="u", password="t0psecret")
    shown = repr(webhook) + repr(mail) + repr(Alerts(to=[webhook, mail]))
    assert "t0psecret" not in shown
    assert SECRET not in shown
    assert webhook.name == "webhook:hooks.example.com"
    assert [one.name for one in mail.mailboxes()] == ["email:b@example.com"]
    international = dataclasses.replace(mail, to="b@bücher.example").mailboxes()
    assert international[0].address == "b@xn--bcher-kva.example"


# ------------------------------------------------------------------------------------ matching


def test_what_matches() -> None:
    one = rule(
        match=[{"type": ("login_failed", "credential_*")}, {"type": "other", "context.n": "7"}],
        unless={"principal": "system"},
        by=("ip",),
    )
    assert one.matches({"type": "login_failed"})
    assert one.matches({"type": "credential_refused", "principal": "ann"})
    assert not one.matches({"type": "credential_refused", "principal": "system"})
    assert not one.matches({"type": "login_failed2"})
    assert one.matches({"type": "other", "context.n": "7"})
    assert not one.matches({"type": "other"})
    assert one.may_match("other")
    assert not one.may_match("login")
    assert one.group({"ip": "::1"}) == {"ip": "::1"}
    assert one.group({}) is None, "a fact without an address is of no address's window"
    single = critical("data_export")[0]
    assert single.group({"type": "data_export"}) == {"type": "data_export"}
    own = rule(same=("principal", "context.principal"))
    assert own.matches({"type": "login_failed", "principal": "a", "context.principal": "a"})
    assert not own.matches({"type": "login_failed", "principal": "a", "context.principal": "b"})
    assert not own.matches({"type": "login_failed"})


# ------------------------------------------------------------------------------------ windows


class Model:
    """Keeps everything, and looks at every window anew."""

    def __init__(self, one: Rule) -> None:
        self.rule = one
        self.facts: list[Hit] = []
        self.quiet: list[tuple[int, int]] = []
        self.more = 0

    def add(self, hit: Hit) -> int | None:
        """The end of the window that it fills."""
        rule = self.rule
        if any(after < hit.time_ns <= until for after, until in self.quiet):
            self.more += 1
            return None
        self.facts.append(hit)
        for end in sorted(fact.time_ns for fact in self.facts):
            if not end - rule.within_ns < hit.time_ns <= end:
                continue
            window = [f for f in self.facts if end - rule.within_ns < f.time_ns <= end]
            what = window if rule.distinct is None else {fact.value for fact in window}
            if len(what) >= rule.at_least:
                self.quiet.append((end - rule.within_ns, end + rule.cooldown_ns))
                self.facts = [
                    f for f in self.facts if not any(a < f.time_ns <= u for a, u in self.quiet)
                ]
                return end
        return None


def replay(one: Rule, hits: Sequence[Hit]) -> tuple[list[int | None], int, Windows]:
    windows = Windows(one)
    fired: list[int | None] = []
    for hit in hits:
        window = windows.add(hit)
        fired.append(None if window is None else window[-1].time_ns)
        if window is not None:
            assert list(window) == sorted(window)
            windows.raised(f"alert {len(fired)}", window[-1].time_ns)
    return fired, sum(quiet.more for quiet in windows.quiet), windows


TIMES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=60)


@given(
    times=TIMES,
    at_least=st.integers(2, 5),
    cooldown=st.sampled_from([None, 0, 3, 40]),
    distinct=st.booleans(),
    step=st.sampled_from([1, 999, 1000, 5000]),
)
def test_windows_fire_as_the_model_does_in_whatever_order_facts_come(
    times: list[tuple[int, int]],
    at_least: int,
    cooldown: int | None,
    distinct: bool,
    step: int,
) -> None:
    one = rule(
        at_least=at_least,
        distinct="target" if distinct else None,
        cooldown=None if cooldown is None else timedelta(microseconds=cooldown),
    )
    hits = [
        Hit(time * step, f"e{number}", None, str(value) if distinct else "")
        for number, (time, value) in enumerate(times)
    ]
    model = Model(one)
    expected = [model.add(hit) for hit in hits]
    fired, more, _ = replay(one, hits)
    assert fired == expected
    assert more == model.more


def test_the_border_of_a_window_belongs_to_its_end() -> None:
    one = rule(at_least=2)
    assert replay(one, [Hit(0, "a", None, ""), Hit(10_000, "b", None, "")])[0] == [None, None]
    assert replay(one, [Hit(1, "a", None, ""), Hit(10_000, "b", None, "")])[0] == [None, 10_000]


def test_the_same_fact_twice_counts_once() -> None:
    one = rule(at_least=2)
    assert replay(one, [Hit(5, "a", None, "")] * 2)[0] == [None, None]


def test_a_flood_of_one_value_takes_no_room() -> None:
    one = rule(at_least=3, distinct="target")
    hits = [Hit(n * 7, f"e{n}", None, "one") for n in range(20_000)]
    _, _, windows = replay(one, hits)
    assert len(windows.hits) < 50


def test_single_facts_fire_each_outside_the_quiet_time() -> None:
    one = critical("x", cooldown=timedelta(microseconds=5))[0]
    hits = [Hit(time, f"e{time}", None, "") for time in (0, 1, 5000, 5001, 5001, 10_002)]
    fired, more, _ = replay(one, hits)
    assert fired == [0, None, None, 5001, 5001, 10_002]
    assert more == 2
