"""Who gets in, whose events they see, and that every refusal has the one shape."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flow.http_system import HttpSystem, event, http_system
from trailseal.api.credentials import GRACE_S, TRUST_S, create_key, list_keys, revoke_key
from trailseal.api.problem_types import PROBLEM_TYPES
from trailseal.errors import NotFound, Unavailable, UsageError
from trailseal.event_consumer.state import PipelineState

READ, WRITE = "events:read", "events:write"
PROBLEM = {"type", "title", "status", "detail", "code", "request_id", "errors"}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[HttpSystem]:
    with http_system(tmp_path) as running:
        yield running


def fill_two_tenants(system: HttpSystem) -> None:
    system.post(
        [event("shared", tenant_id="acme"), event("shared", tenant_id="globex"), event("own", tenant_id="globex")]
    )
    system.settle()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8000"]
)
def test_a_keyless_server_answers_to_loopback_names(system: HttpSystem, host: str) -> None:
    assert system.ask("/events", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "10.0.0.1",
        "127.0.0.1.evil.example",
        "0.0.0.0",  # noqa: S104 - a Host header, not an address to bind
        "[::]",
        "x:localhost",
    ],
)
@pytest.mark.parametrize("path", ["/", "/events", "/metrics", "/healthz", "/nowhere"])
def test_a_keyless_server_refuses_every_other_host_on_every_route(system: HttpSystem, host: str, path: str) -> None:
    response = system.ask(path, headers={"Host": host})
    assert (response.status_code, (response.json or {})["code"]) == (403, "host-not-loopback")


@pytest.mark.parametrize(
    "header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything"]
)
def test_a_keyless_server_answers_no_proxy(system: HttpSystem, header: str) -> None:
    system.get("/events")
    response = system.ask("/events", headers={header: "for=192.0.2.1"})
    assert (response.status_code, (response.json or {})["code"]) == (403, "forwarded-without-keys")


def test_a_keyless_server_answers_no_other_machine(system: HttpSystem) -> None:
    response = system.ask("/events", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert (response.status_code, (response.json or {})["code"]) == (403, "host-not-loopback")


def test_once_there_was_a_key_nothing_is_answered_without_one(system: HttpSystem) -> None:
    system.get("/events")
    authorization = system.key(READ, tenants=None)
    for path in ("/", "/events", "/events/count", "/events/x", "/metrics", "/nowhere"):
        response = system.ask(path)
        assert (response.status_code, (response.json or {})["code"]) == (401, "not-authenticated"), path
        assert "Bearer" in response.headers["WWW-Authenticate"]
    assert system.post(event(), status=401)["status"] == 401
    assert (
        system.ask("/events", headers={"Authorization": authorization, "Host": "audit.example"}).status_code == 200
    )
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/docs/errors"):
        assert system.ask(path).status_code == 200, path


def test_after_the_last_key_is_revoked_there_is_still_no_way_in(system: HttpSystem) -> None:
    authorization = system.key(READ, tenants=None)
    (key,) = list_keys(system.engines.ledger)
    revoke_key(system.engines.ledger, system.engines.clock, key.prefix)
    assert revoke_key(system.engines.ledger, system.engines.clock, key.prefix).revoked_us is not None
    system.reread_keys()
    assert system.ask("/events", headers={"Authorization": authorization}).status_code == 401
    assert system.ask("/events").status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer ts__",
        "Bearer ts_000000000000_x",
        "Basic !!!",
        "Basic",
        "Digest x",
        "Bearer é",
    ],
)
def test_nothing_but_the_key_is_the_key(system: HttpSystem, wrong: str) -> None:
    good = system.key(READ, tenants=None)
    for text in (wrong, good[:-1], good + "x", good.replace("ts_", "tx_"), good.lower() + "_"):
        assert system.ask("/events", headers={"Authorization": text}).status_code == 401, text


def test_a_browser_may_send_the_key_as_a_password(system: HttpSystem) -> None:
    key = system.key(READ, tenants=None).removeprefix("Bearer ")
    basic = "Basic " + b64encode(f"anybody:{key}".encode()).decode()
    assert system.ask("/", headers={"Authorization": basic}).status_code == 200


def test_a_scope_opens_its_routes_only(system: HttpSystem) -> None:
    reader, writer, admin = (system.key(scope, tenants=None) for scope in (READ, WRITE, "admin"))
    wanted = {
        ("GET", "/events"): READ,
        ("GET", "/events/count"): READ,
        ("GET", "/"): READ,
        ("POST", "/events"): WRITE,
        ("GET", "/metrics"): "admin",
    }
    for (method, path), scope in wanted.items():
        for name, authorization in ((READ, reader), (WRITE, writer), ("admin", admin)):
            response = system.ask(
                path,
                method,
                {"Authorization": authorization, "Content-Type": "application/json"},
                data=json.dumps(event()) if method == "POST" else None,
            )
            allowed = name in {scope, "admin"}
            assert response.status_code == (200 if allowed else 403), (path, name)


def test_keys_are_stored_hashed_and_shown_once(system: HttpSystem) -> None:
    stored, text = create_key(
        system.engines.ledger, system.engines.clock, scopes=[READ], tenants=["acme"], note="dashboard"
    )
    (document,) = system.engines.ledger.documents("api-keys/").values()
    assert text.encode() not in document.body
    assert text.split("_", 2)[2].encode() not in document.body
    assert list_keys(system.engines.ledger) == [stored]
    assert text.startswith(f"ts_{stored.prefix}_")


@pytest.mark.parametrize(
    ("scopes", "tenants"),
    [([], None), (["events:delete"], None), ([READ, "x"], None), ([READ], []), ([READ], ["a/b"]), ([READ], [""])],
)
def test_an_impossible_key_is_refused(system: HttpSystem, scopes: list[str], tenants: list[str] | None) -> None:
    with pytest.raises(UsageError):
        create_key(system.engines.ledger, system.engines.clock, scopes=scopes, tenants=tenants)
    with pytest.raises(NotFound):
        revoke_key(system.engines.ledger, system.engines.clock, "nobody")


class Outage:
    """A ledger whose documents cannot be read, and keys that were read so many seconds ago."""

    def __init__(self, system: HttpSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        self._system = system
        self.reads = 0

        def fail(_: str) -> None:
            self.reads += 1
            raise Unavailable("The ledger is away.")

        monkeypatch.setattr(system.engines.ledger, "documents", fail)

    def lasts(self, seconds: float) -> None:
        authenticator = self._system.services.authenticator
        authenticator._loaded_at = self._system.engines.clock.monotonic() - seconds

    def get(self, authorization: str, path: str = "/events") -> int:
        return self._system.ask(path, headers={"Authorization": authorization}).status_code

    def post(self, authorization: str | None) -> int:
        headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
        return self._system.ask("/events", "POST", headers, data=json.dumps(event(tenant_id="acme"))).status_code


def test_keys_known_before_the_ledger_went_away_open_everything_first_and_then_appending_alone(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, admin = system.key(READ, WRITE, tenants=["acme"]), system.key("admin", tenants=None)
    assert system.ask("/events", headers={"Authorization": both}).status_code == 200
    outage = Outage(system, monkeypatch)

    outage.lasts(TRUST_S - 10)
    assert (outage.get(both), outage.post(both)) == (200, 200)
    outage.lasts(TRUST_S + 10)
    assert [outage.post(key) for key in (both, admin)] == [200, 200]
    assert [outage.get(both), outage.get(both, "/events/count"), outage.get(admin, "/metrics")] == [503] * 3
    outage.lasts(GRACE_S + 10)
    assert [outage.post(key) for key in (both, admin)] == [503, 503]


def test_while_keys_cannot_be_read_an_unknown_one_is_asked_to_come_again_and_not_turned_away(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client drops its events at a 401; the key may be one made since."""
    known = system.key(WRITE, tenants=["acme"])
    reader = system.key(READ, tenants=["acme"])
    assert system.ask("/events", headers={"Authorization": reader}).status_code == 200
    outage = Outage(system, monkeypatch)
    outage.lasts(TRUST_S + 10)
    assert outage.post(known[:-1] + "~") == 503
    assert outage.post(None) == 401
    assert outage.post(reader) == 403
    outage.lasts(TRUST_S - 10)
    assert outage.post(known[:-1] + "~") == 401


def test_a_key_revoked_while_the_ledger_is_reached_is_worthless_within_a_second_whatever_the_grace(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = system.key(WRITE, tenants=["acme"])
    (key,) = list_keys(system.engines.ledger)
    revoke_key(system.engines.ledger, system.engines.clock, key.prefix)
    system.reread_keys()
    assert system.ask("/events", headers={"Authorization": authorization}).status_code == 401
    outage = Outage(system, monkeypatch)
    outage.lasts(TRUST_S - 10)
    assert outage.post(authorization) == 401
    outage.lasts(TRUST_S + 10)
    assert outage.post(authorization) == 503


def test_a_keyless_server_goes_on_appending_without_its_ledger(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.get("/events")
    outage = Outage(system, monkeypatch)
    outage.lasts(TRUST_S + 10)
    assert (outage.post(None), system.ask("/events").status_code) == (200, 503)
    assert system.ask("/events", "POST", {"Host": "evil.example"}, data="{}").status_code == 403


def test_a_failing_ledger_is_not_asked_by_every_request(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = system.key(WRITE, tenants=["acme"])
    system.ask("/events", headers={"Authorization": authorization})
    later = system.engines.clock.monotonic() + 60
    monkeypatch.setattr(system.engines.clock, "monotonic", lambda: later)
    outage = Outage(system, monkeypatch)
    assert [outage.post(authorization) for _ in range(20)] == [200] * 20
    assert outage.reads == 1


def test_before_keys_were_ever_read_only_what_is_nobodys_is_answered(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    Outage(system, monkeypatch)
    system.services.authenticator._loaded_at = None
    assert system.ask("/healthz").status_code == 200
    assert system.ask("/events").status_code == 503
    assert system.post(event(), status=503)["code"] == "unavailable"


def test_two_tenants_never_see_each_other(system: HttpSystem) -> None:
    fill_two_tenants(system)
    acme, globex, both = (
        system.key(READ, tenants=["acme"]),
        system.key(READ, tenants=["globex"]),
        system.key(READ, tenants=["acme", "globex"]),
    )

    def seen(authorization: str, path: str) -> Any:
        response = system.ask(path, headers={"Authorization": authorization})
        assert response.status_code == 200, response.text
        return response.json

    for _ in range(2):
        for question in (
            "",
            "?actor=alice",
            "?tenant_id=acme",
            "?tenant_id=*",
            "?tenant_id!=nobody",
            "?q=alice",
            "?id=shared",
            "?id=own",
        ):
            mine = {(e["tenant_id"], e["id"]) for e in seen(acme, f"/events{question}")["events"]}
            theirs = {(e["tenant_id"], e["id"]) for e in seen(globex, f"/events{question}")["events"]}
            all_of_it = {(e["tenant_id"], e["id"]) for e in seen(both, f"/events{question}")["events"]}
            assert {tenant for tenant, _ in mine} <= {"acme"}, question
            assert {tenant for tenant, _ in theirs} <= {"globex"}, question
            assert mine | theirs == all_of_it, question
            assert seen(acme, f"/events/count{question}")["count"] == len(mine)
        page = system.ask("/", headers={"Authorization": acme}).text
        assert "shared" in page
        assert "globex" not in page


def test_another_tenants_event_cannot_be_told_from_none_at_all(system: HttpSystem) -> None:
    fill_two_tenants(system)
    system.authorization = system.key(READ, tenants=["acme"])
    answers = []
    for path in (
        "/events/own",
        "/events/nothing",
        "/events/own?tenant_id=globex",
        "/events/nothing?tenant_id=globex",
    ):
        response = system.ask(path)
        body = dict(response.json or {})
        body.pop("request_id")
        answers.append((response.status_code, body))
    assert answers[0][0] == 404
    assert all(each == answers[0] for each in answers)
    assert system.get("/events/shared")["tenant_id"] == "acme"


def test_a_cursor_does_not_travel_between_keys(system: HttpSystem) -> None:
    fill_two_tenants(system)
    acme, both = system.key(READ, tenants=["acme"]), system.key(READ, tenants=["acme", "globex"])
    system.authorization = both
    cursor = system.get("/events", limit=1)["next_cursor"]
    assert system.get("/events", limit=1, cursor=cursor)["events"]
    system.authorization = acme
    assert system.get("/events", 400, limit=1, cursor=cursor)["code"] == "cursor-mismatch"


def test_a_key_writes_only_for_its_tenants(system: HttpSystem) -> None:
    one, two = system.key(WRITE, READ, tenants=["acme"]), system.key(WRITE, tenants=["acme", "globex"])
    system.authorization = one
    assert system.post(event("mine"))["accepted"] == 1
    assert system.post(event("named", tenant_id="acme"))["accepted"] == 1
    assert system.post(event(tenant_id="globex"), status=403)["code"] == "tenant-not-allowed"
    assert system.post(event(tenant_id="default"), status=403)["code"] == "tenant-not-allowed"
    mixed = system.post([event("a"), event("b", tenant_id="globex")])
    assert [result["status"] for result in mixed["results"]] == ["accepted", "rejected"]
    assert system.post(event(), status=403, path="/events?tenant_id=globex")["code"] == "not-allowed"
    system.settle()
    assert {each["tenant_id"] for each in system.get("/events")["events"]} == {"acme"}
    system.authorization = two
    assert system.post(event(), status=400)["errors"][0]["field"] == "tenant_id"
    assert system.post(event(), path="/events?tenant_id=globex")["accepted"] == 1


REQUESTS = [
    ("GET", "/nowhere", 404),
    ("GET", "/events/nothing", 404),
    ("DELETE", "/events", 405),
    ("PUT", "/events/x", 405),
    ("POST", "/healthz", 405),
    ("GET", "/events?nonsense=1", 400),
    ("GET", "/events/count?limit=1", 400),
    ("GET", "/events/x?limit=1", 400),
    ("GET", "/assets/nothing.css", 404),
    ("POST", "/events", 415),
    ("GET", "/events?actor=%ff", 400),
    ("GET", "/events?" + "a=b&" * 300, 400),
]


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS)
def test_every_error_has_the_one_shape(system: HttpSystem, method: str, path: str, status: int) -> None:
    response = system.ask(path, method)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    body = response.json
    assert isinstance(body, dict)
    assert set(body) == PROBLEM
    assert body["status"] == status
    assert body["code"] in PROBLEM_TYPES
    assert body["type"] == f"/docs/errors#{body['code']}"
    assert response.headers["Trailseal-Request-Id"] == body["request_id"]


def test_our_own_fault_is_a_500_without_a_word_about_the_inside(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(system.engines.index, "search", fail)
    response = system.ask("/events?actor=x")
    assert (response.status_code, set(response.json or {})) == (500, PROBLEM)
    assert "secret" not in response.text


def test_health_and_readiness_and_metrics(system: HttpSystem) -> None:
    assert system.get("/healthz") == {"status": "alive"}
    system.post(event("e1"))
    system.settle()
    ready = system.get("/readyz")
    assert (ready["status"], ready["phase"], ready["pending"]) == ("ready", "running", 0)
    metrics = system.ask("/metrics")
    assert metrics.content_type.startswith("text/plain")
    assert 'trailseal_http_requests_total{method="POST",route="/events",status="200"}' in metrics.text


def test_readiness_tells_a_rebuild_an_alarm_and_a_stop(system: HttpSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    state = PipelineState()  # the consumer that runs here never writes to it
    state.update(phase="running")
    told = HttpSystem(system.engines, replace(system.services, pipeline=state))
    for change, status, code in (
        ({"degraded": "Too many dead letters."}, "degraded", 200),
        ({"phase": "retrying", "detail": "The index does not answer."}, "degraded", 200),
        ({"phase": "stopped", "detail": "The log was replaced."}, "degraded", 200),
        ({"phase": "rebuilding", "rebuilt": 5, "rebuild_total": 9}, "rebuilding", 503),
    ):
        state.update(**change)
        response = told.ask("/readyz")
        assert (response.status_code, (response.json or {})["status"]) == (code, status)
    assert (response.json or {})["rebuilt"] == 5
    state.update(phase="running")
    monkeypatch.setattr(system.engines.index, "is_complete", lambda: False)
    assert told.ask("/readyz").status_code == 503


def test_what_an_error_of_ours_says_never_reaches_our_log(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = secrets.token_hex(8)  # a log shows our source lines, so no line may spell it

    def fail(*_: object, **__: object) -> None:
        raise ValueError(secret)

    monkeypatch.setattr(system.services.query, "search", fail)
    problem = system.get("/events?actor=nobody-yet", 500)
    told = capsys.readouterr()
    assert problem["code"] == "internal-error"
    assert problem["request_id"] in told.out + told.err
    assert secret not in told.out + told.err + str(problem)
