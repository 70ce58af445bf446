"""A key of one tenant reaches nothing of another's: by no route, parameter, header, cursor or cached answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flow.http_system import NDJSON, HttpSystem, event, http_system
from trailseal.api.credentials import list_keys, revoke_key

READ, WRITE = "events:read", "events:write"
CANARY = "zxcanaryzx"
"""In every field of the other tenant's events, and nowhere else."""
QUESTIONS = ("", "tenant_id=globex", "tenant_id=*", f"q={CANARY}", "time_from=2026-03-04T00:00:00Z&limit=1")
MINE, HERS = "mine", "hers"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSystem]:
    """Two tenants' events, an own key for each and one for both; every answer was asked by the other before."""
    with http_system(tmp_path_factory.mktemp("tenants")) as running:
        fields: dict[str, Any] = {
            "actor": {"id": f"{CANARY}-actor", "name": CANARY},
            "action": f"{CANARY}.read",
            "resource": f"{CANARY}/1",
            "reason": CANARY,
            "metadata": {CANARY: CANARY},
        }
        others = [event(name, tenant_id="globex", **fields) for name in (HERS, "shared", f"{CANARY}-id")]
        own = [event(name, tenant_id="acme") for name in (MINE, "shared")]
        assert running.post([*others, *own])["accepted"] == 5
        running.settle()
        yield running


@pytest.fixture(scope="module")
def keys(system: HttpSystem) -> dict[str, str]:
    return {
        "acme": system.key(READ, WRITE, tenants=["acme"]),
        "globex": system.key(READ, WRITE, tenants=["globex"]),
        "both": system.key(READ, WRITE, tenants=["acme", "globex"]),
        "admin of acme": system.key("admin", tenants=["acme"]),
    }


def paths(system: HttpSystem) -> list[str]:
    """Every route there is that answers GET, with the other tenant's event wherever one is named."""
    found = []
    for rule in system.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        values: dict[str, Any] = {name: _value(name, rule._converters[name]) for name in rule.arguments}
        built = rule.build(values, append_unknown=False)
        assert built is not None, rule
        found.append(built[1])
    return found


def _value(name: str, converter: Any) -> Any:
    if name == "event_id":
        return HERS
    return 1 if type(converter).__name__ == "IntegerConverter" else "1"


def test_no_route_shows_one_tenants_key_anything_of_anothers(system: HttpSystem, keys: dict[str, str]) -> None:
    """New routes are asked too: the list is the application's own."""
    told = []
    for path in paths(system):
        for question in QUESTIONS:
            for asker in ("both", "globex", "admin of acme", "acme"):
                response = system.ask(f"{path}?{question}", headers={"Authorization": keys[asker]})
                shown = response.get_data(as_text=True)
                for echo in (f"q={CANARY}", f'value="{CANARY}"', f"<b>{CANARY}</b>"):  # the question itself
                    shown = shown.replace(echo, "")
                if asker in {"acme", "admin of acme"}:
                    assert CANARY not in shown, (path, question, asker)
                elif CANARY in shown:
                    told.append(path)
    assert {"/events", f"/events/{HERS}", "/"} <= set(told), "the canary shows where it may: the test can fail"


@pytest.mark.parametrize(
    "header", ["X-Tenant", "X-Tenant-Id", "X-Scope-OrgID", "Trailseal-Tenant", "X-Forwarded-User", "Tenant-Id"]
)
def test_no_header_chooses_the_tenant(system: HttpSystem, keys: dict[str, str], header: str) -> None:
    for path in ("/events", "/events/count", f"/events/{HERS}"):
        plain = system.ask(path, headers={"Authorization": keys["acme"]})
        dressed = system.ask(path, headers={"Authorization": keys["acme"], header: "globex"})
        assert dressed.status_code == plain.status_code
        without_id = [
            {k: v for k, v in (each.json or {}).items() if k != "request_id"} for each in (plain, dressed)
        ]
        assert without_id[0] == without_id[1], path
    accepted = system.post(event("dressed"), Authorization=keys["acme"], **{header: "globex"})
    assert accepted["accepted"] == 1
    system.settle()
    seen = system.ask("/events/dressed", headers={"Authorization": keys["acme"]}).json or {}
    assert seen["tenant_id"] == "acme"


def test_a_cursor_opens_nothing_for_a_key_of_other_tenants(system: HttpSystem, keys: dict[str, str]) -> None:
    cursors = {}
    for asker in ("acme", "globex", "both"):
        page = system.ask("/events?limit=1", headers={"Authorization": keys[asker]}).json or {}
        cursors[asker] = page["next_cursor"]
    for maker, cursor in cursors.items():
        for asker in cursors:
            response = system.ask(f"/events?limit=1&cursor={cursor}", headers={"Authorization": keys[asker]})
            if asker == maker:
                assert response.status_code == 200
            else:
                assert (response.status_code, (response.json or {})["code"]) == (400, "cursor-mismatch")
                assert CANARY not in response.text


def test_narrowing_the_question_to_one_tenant_makes_no_cursor_for_that_tenants_key(
    system: HttpSystem, keys: dict[str, str]
) -> None:
    asked = "/events?limit=1&tenant_id=acme"
    page = system.ask(asked, headers={"Authorization": keys["both"]}).json or {}
    response = system.ask(f"{asked}&cursor={page['next_cursor']}", headers={"Authorization": keys["acme"]})
    assert (response.json or {})["code"] == "cursor-mismatch"


@pytest.mark.parametrize(
    ("media", "query", "body"),
    [
        (NDJSON, "", "\n".join(json.dumps(event(tenant_id=name)) for name in ("acme", "globex"))),
        ("application/json", "", json.dumps([event(tenant_id=name) for name in ("acme", "globex")])),
        (
            "application/cloudevents-batch+json",
            "",
            json.dumps(
                [
                    {
                        "specversion": "1.0",
                        "id": f"ce-{name}",
                        "source": "/s",
                        "type": "a.b",
                        "time": "2026-03-04T05:06:07Z",
                        "actor": "alice",
                        "tenantid": name,
                    }
                    for name in ("acme", "globex")
                ]
            ),
        ),
    ],
    ids=["ndjson", "array", "cloudevents"],
)
def test_each_item_of_a_request_is_held_to_the_keys_tenants(
    system: HttpSystem, keys: dict[str, str], media: str, query: str, body: str
) -> None:
    answer = system.post(body.encode(), media=media, path=f"/events{query}", Authorization=keys["acme"])
    problems = [(result.get("problem") or {}).get("code") for result in answer["results"]]
    assert problems == [None, "tenant-not-allowed"]


def test_a_revoked_key_opens_nothing_more_not_even_what_it_had_in_the_cache(system: HttpSystem) -> None:
    authorization = system.key(READ, tenants=["acme"])
    newest = list_keys(system.engines.ledger)[-1]
    page = system.ask("/events?limit=1", headers={"Authorization": authorization}).json or {}
    revoke_key(system.engines.ledger, system.engines.clock, newest.prefix)
    system.reread_keys()
    for path in ("/events?limit=1", f"/events?limit=1&cursor={page['next_cursor']}", f"/events/{MINE}"):
        assert system.ask(path, headers={"Authorization": authorization}).status_code == 401, path
