"""Operators' endpoints: who is one, what they see, and what everybody else does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenancy import Identity
from tenancy.errors import InvalidValue
from tenancy.operator_routes import operator_asgi, operator_wsgi
from web_support import CATALOG, Answer, Shop, call, get, http_scope, wsgi_get

ROOMY = (
    CATALOG.replace("30/minute", "100000/hour")
    .replace("/minute", "000/hour")
    .replace("permissions: [", "permissions: [operator:read, ")
)
WHY = {"X-Operator-Reason": "ticket 4711"}


class Office:
    """A shop with the operators' tenant `ops`: `root` holds the permission by name, `admin` all
    of `*:*`; and the same in `acme`, where it counts for nothing."""

    def __init__(self, directory: Path) -> None:
        self.shop = shop = Shop(directory, text=ROOMY)
        self.t = t = shop.t
        self.ops = t.tenants.create(name="Operators", slug="ops", plan="pro")
        by = "operator:setup"
        t.roles.define("seer", permissions=["operator:read"], tenant=self.ops, by=by)
        t.roles.define("heir", inherits=["seer"], tenant=self.ops, by=by)
        t.roles.define("all", permissions=["*:*"], tenant=self.ops, by=by)
        t.roles.define("almost", permissions=["operator:*"], tenant=self.ops, by=by)
        t.roles.define("not", denies=["operator:read"], tenant=self.ops, by=by)
        t.roles.define("seer", permissions=["operator:read"], tenant=shop.acme, by=by)
        held = {
            "root": ["seer"], "heir": ["heir"], "admin": ["all"], "almost": ["almost"],
            "both": ["seer", "all"], "denied": ["seer", "not"], "nobody": [],
        }  # fmt: skip
        self.secrets = {}
        for principal, roles in held.items():
            for role in roles:
                t.roles.assign(self.ops, principal, role, by=by)
            self.secrets[principal] = t.keys.create(self.ops, principal=principal, by=by)[1]
        t.roles.assign(shop.acme, "ann", "seer", by=by)
        self.secrets["ann of acme"] = shop.user_secret
        self.secrets["service"] = t.keys.create(self.ops, scopes=["operator:read"], by=by)[1]
        self.secrets["service with *"] = t.keys.create(self.ops, scopes=["*:*"], by=by)[1]
        cut = t.keys.create(self.ops, principal="root", scopes=["doc:read"], by=by)
        self.secrets["root cut"] = cut[1]
        self.secrets["admin cut"] = t.keys.create(
            self.ops, principal="admin", scopes=["operator:read"], by=by
        )[1]
        self.secrets["service of acme"] = t.keys.create(shop.acme, scopes=["operator:read"], by=by)[
            1
        ]

    def headers(self, who: str, **more: str) -> dict[str, str]:
        return {"X-API-Key": self.secrets[who], **WHY, **more}

    def facts(self, **filters: Any) -> list[Any]:
        by = self.t.operator(by="tester", reason="look at the record")
        return [f for f in by.audit(**filters) if f.principal != "operator:tester"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """For tests that change nothing."""
    made = Office(tmp_path_factory.mktemp("shared"))
    yield made
    made.t.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.t.close()


OPERATORS = ["root", "heir", "both", "service"]
OTHERS = [
    "admin", "almost", "denied", "nobody", "ann of acme", "service with *", "root cut",
    "admin cut", "service of acme",
]  # fmt: skip
PATHS = [
    "/tenants", "/tenants/acme", "/tenants/absent", "/tenants/acme/limits", "/tenants/acme/quotas",
    "/tenants/acme/sessions", "/sessions", "/audit", "/audit/absent", "/absent", "/",
]  # fmt: skip


@pytest.mark.parametrize("who", OPERATORS)
def test_who_holds_the_permission_by_name_is_an_operator(shared: Office, who: str) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    assert get(app, "/tenants/acme", shared.headers(who)).json()["slug"] == "acme"


@pytest.mark.parametrize("who", OTHERS)
def test_nobody_else_is_and_learns_nothing(shared: Office, who: str) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    answers = [get(app, path, shared.headers(who)) for path in PATHS]
    assert {a.status for a in answers} == {403}
    assert len({a.body for a in answers}) == 1
    assert answers[0].code == "PERMISSION_DENIED"
    posted = get(app, "/tenants", shared.headers(who), method="POST")
    assert posted.body == answers[0].body


def test_a_tokens_claims_make_no_operator(shared: Office) -> None:
    def identify(scope: Any) -> Identity:
        return Identity("eve", ["ops"], ["operator:read", "*:*"])

    app = operator_asgi(shared.t, tenant="ops", identify=identify)
    assert get(app, "/tenants", WHY).status == 403


def test_without_credential_it_is_401_as_everywhere(shared: Office) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    assert get(app, "/tenants", WHY).code == "MISSING_TENANT"
    assert get(app, "/tenants", {**WHY, "X-API-Key": "tk_no"}).code == "INVALID_CREDENTIAL"
    open_app = operator_asgi(shared.t, tenant="ops", require_tenant=False)
    assert get(open_app, "/tenants", WHY).status == 403


def test_a_permission_that_ended_or_is_for_one_thing_only_does_not_count(office: Office) -> None:
    t, by = office.t, "operator:setup"
    from datetime import datetime, timedelta, timezone

    now = datetime.fromtimestamp(t.clock.wall_ns() / 1e9, timezone.utc)
    t.roles.assign("ops", "nobody", "seer", resource="doc/1", by=by)
    t.roles.assign("ops", "almost", "seer", until=now + timedelta(hours=1), by=by)
    app = operator_asgi(t, tenant="ops")
    assert get(app, "/tenants", office.headers("nobody")).status == 403
    assert get(app, "/tenants", office.headers("almost")).status == 200
    office.shop.advance(3601)
    assert get(app, "/tenants", office.headers("almost")).status == 403
    t.roles.revoke("ops", "root", "seer", by=by)
    assert get(app, "/tenants", office.headers("root")).status == 403


def test_what_operators_see(office: Office) -> None:
    t = office.t
    app = operator_asgi(t, tenant="ops")

    def ask(path: str, query: str = "") -> Any:
        answer = get(app, path, office.headers("root"), query=query.encode())
        assert answer.status == 200, answer.body
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    assert {x["slug"] for x in ask("/tenants")["tenants"]} == {"acme", "globex", "ops"}
    first = ask("/tenants", "limit=1")
    assert len(first["tenants"]) == 1
    rest = ask("/tenants", f"limit=5&cursor={first['cursor']}")
    assert len(rest["tenants"]) == 2
    assert [x["slug"] for x in ask("/tenants", "plan=free")["tenants"]] == ["globex"]
    assert ask(f"/tenants/{office.shop.acme.id}")["name"] == "Acme"
    assert ask("/tenants/A-1")["slug"] == "acme"
    t.check(api_key=office.shop.secret, consume={"tokens": 7})
    assert ask("/tenants/acme/quotas")["quotas"]["tokens"]["used"] == 7
    windows = ask("/tenants/acme/limits")["limits"]["api_requests"]
    assert any(w["remaining"] == w["limit"] - 1 for w in windows)
    for tenant in ("acme", "globex"):
        t.sessions.create(tenant, "ann")
    sessions = ask("/sessions")["sessions"]
    assert len(sessions) == 2
    assert all("id" not in s for s in sessions)
    assert len(ask("/sessions", "tenant=acme")["sessions"]) == 1
    assert len(ask("/tenants/globex/sessions")["sessions"]) == 1
    found = ask("/audit", "tenant=acme&action=tenant%3Acreate&limit=2")["events"]
    assert found
    assert {f["tenant"] for f in found} == {office.shop.acme.id}
    assert ask(f"/audit/{found[0]['id']}") == found[0]
    assert ask("/audit", "since=2199-01-01")["events"] == []


def test_every_access_is_audited_refused_ones_too(office: Office) -> None:
    app = operator_asgi(office.t, tenant="ops")
    for path in ("/tenants/acme", "/tenants/absent", "/sessions", "/nothing"):
        get(app, path, office.headers("root"))
    get(app, "/tenants/acme", office.headers("ann of acme"))
    facts = office.facts(type="cross_tenant_access")
    seen = [(f.principal, f.action, f.result) for f in reversed(facts)]
    assert seen == [
        ("operator:root", "tenant:show", "success"),
        ("operator:root", "tenant:show", "success"),  # asked for; that there is none, comes after
        ("root", "operator:fail", "denied"),
        ("operator:root", "sessions:list", "success"),
        ("root", "operator:fail", "denied"),
        ("ann", "operator:refuse", "denied"),
    ]
    assert facts[-1].context == {"tenant": "acme", "reason": "ticket 4711"}
    assert facts[0].tenant == office.shop.acme.id
    assert facts[0].context["path"] == "/tenants/acme"


def test_a_flood_of_refusals_is_counted_not_written(office: Office) -> None:
    app = operator_asgi(office.t, tenant="ops")
    for _ in range(30):
        get(app, "/tenants", office.headers("admin"))
    assert len(office.facts(type="cross_tenant_access")) == 10
    office.shop.advance(61)
    get(app, "/tenants", office.headers("admin"))
    assert office.facts(type="cross_tenant_access")[0].context["not_written_before"] == 20


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/tenants/absent", "", 404), ("/tenants/acme/absent", "", 404), ("/", "", 404),
        ("/tenants/" + "x" * 300, "", 404), ("/audit/absent", "", 404),
        ("/tenants", "limit=0", 422), ("/tenants", "limit=x", 422), ("/tenants", "limit=1001", 422),
        ("/tenants", "status=odd", 422), ("/tenants", "plan=a&plan=b", 422),
        ("/tenants", "cursor=%00", 422), ("/tenants", "cursor=zzz", 422),
        ("/audit", "since=yesterday", 422), ("/audit", "until=2999-01-01", 422),
        ("/audit", "tenant=absent", 404),
        ("/audit", "&".join(f"a{i}=1" for i in range(40)), 422),
    ],
)  # fmt: skip
def test_bad_questions_are_answered_so(shared: Office, path: str, query: str, status: int) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    answer = get(app, path, shared.headers("root"), query=query.encode())
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_reason_is_demanded_and_nothing_is_changed(shared: Office) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    without = {"X-API-Key": shared.secrets["root"]}
    assert get(app, "/tenants", without).status == 422
    assert get(app, "/tenants", {**without, "X-Operator-Reason": "  "}).status == 422
    assert get(app, "/tenants", {**without, "X-Operator-Reason": "x" * 1001}).status == 422
    assert get(app, "/tenants/acme", shared.headers("root"), method="DELETE").status == 405
    head = get(app, "/tenants", shared.headers("root"), method="HEAD")
    assert (head.status, head.body) == (200, b"")
    renamed = operator_asgi(shared.t, tenant="ops", reason_header="X-Why")
    assert get(renamed, "/tenants", {**without, "X-Why": "curious"}).status == 200


def test_options_are_checked(shared: Office) -> None:
    with pytest.raises(InvalidValue):
        operator_asgi(shared.t, tenant="ops", permission="operator:*")
    # A tenant that does not exist has no operators.
    app = operator_asgi(shared.t, tenant="absent")
    assert get(app, "/tenants", shared.headers("root")).status == 403


def test_wsgi_answers_the_same(shared: Office) -> None:
    asgi, wsgi = operator_asgi(shared.t, tenant="ops"), operator_wsgi(shared.t, tenant="ops")
    for who in ("root", "admin"):
        for path in ("/tenants/acme", "/tenants/absent", "/absent"):
            one = get(asgi, path, shared.headers(who))
            other = wsgi_get(wsgi, path, shared.headers(who))
            assert (one.status, one.body) == (other.status, other.body)


@pytest.mark.web
def test_a_router_of_fastapi(shared: Office) -> None:
    fastapi = pytest.importorskip("fastapi")
    from tenancy.fastapi import TenancyMiddleware, operator_router

    app = fastapi.FastAPI()
    app.add_middleware(TenancyMiddleware, tenancy=shared.t)
    app.include_router(operator_router(shared.t, tenant="ops"))
    answer = get(app, "/operator/tenants/acme", shared.headers("root"))
    assert answer.json()["slug"] == "acme"
    assert get(app, "/operator/sessions", shared.headers("root")).json()["sessions"] == []
    answers = [get(app, "/operator" + path, shared.headers("admin")) for path in PATHS]
    assert {(a.status, a.body) for a in answers} == {(403, answers[0].body)}
    posted = get(app, "/operator/tenants", shared.headers("admin"), method="POST")
    assert posted.body == answers[0].body
    documented = app.openapi()["paths"]
    assert "/operator/tenants/{tenant}/limits" in documented
    assert "/operator/{rest}" not in documented


@pytest.mark.web
def test_a_blueprint_of_flask(shared: Office) -> None:
    flask = pytest.importorskip("flask")
    from tenancy.flask import TenancyFlask, operator_blueprint

    app = flask.Flask(__name__)
    TenancyFlask(app, shared.t)
    app.register_blueprint(operator_blueprint(shared.t, tenant="ops"))
    answer = wsgi_get(app, "/operator/tenants/acme", shared.headers("root"))
    assert answer.json()["slug"] == "acme"
    answers = [wsgi_get(app, "/operator" + path, shared.headers("admin")) for path in PATHS]
    assert {(a.status, a.body) for a in answers} == {(403, answers[0].body)}
    assert wsgi_get(app, "/operator/tenants/absent", shared.headers("root")).status == 404


async def test_mounted_below_a_prefix_and_other_protocols(shared: Office) -> None:
    app = operator_asgi(shared.t, tenant="ops")
    scope = http_scope("/internal/tenants/acme", shared.headers("root"), root_path="/internal")
    answer: Answer = await call(app, scope)
    assert answer.json()["slug"] == "acme"
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_interface_without_the_web(shared: Office) -> None:
    operator = shared.t.operator(by="ops@example.com", reason="audit")
    assert operator.tenant("acme").slug == "acme"
    assert operator.quotas("acme")["tokens"].used == 0
    assert set(operator.limits("acme")) >= {"api_requests", "spawns"}
    assert len(operator.tenants(status="active")) >= 3
    assert operator.sessions(tenant="acme").items == ()
    assert all(f.tenant == shared.shop.acme.id for f in operator.audit(tenant="acme"))
