"""``GET /events`` over the real engines: filters as the plain oracle has them, pages without gap or repeat."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.query_oracle import Known, answer
from flow.http_system import NDJSON, HttpSystem, event, http_system
from trailseal.errors import Rebuilding, Unavailable
from trailseal.formats import decode_record
from trailseal.model.projection import entry
from trailseal.model.record import Record
from trailseal.query.parsing import parse_query_string
from trailseal.query.question import scoped

ACTORS = ("alice", "bob", "bo*b", r"DOMAIN\bob", "al")
ACTIONS = ("user.signed_in", "user.signed_out", "StopLogging")
RESOURCES = (
    None,
    "bare",
    {"type": "document", "id": "7"},
    {"type": "document", "id": "a/b"},
    {"type": "d", "id": "7"},
)
ADDRESSES = (None, "10.0.0.7", "10.1.2.3", "::ffff:10.0.0.7", "2001:db8::1", "192.0.2.1")
METADATA = (
    {},
    {"n": 5},
    {"n": "5"},
    {"n": [1, 5, "x"]},
    {"a": {"b": "deep"}},
    {"on": True},
    {"gone": None},
    {"t": "trail"},
)
TENANTS = ("acme", "globex")
FILTERS = (
    ("actor", (*ACTORS[:2], r"bo\*b", r"DOMAIN\bob", "al*", "*", "nobody")),
    ("action", ("user.*", "user.signed_in", "StopLogging", "Stop*", "*")),
    ("resource", ("bare", "document/7", "document/*", "document/a/b", "*")),
    ("resource_type", ("document", "d*", "*")),
    ("outcome", ("success", "denied", "*")),
    ("source_ip", ("10.0.0.7", "10.0.0.0/8", "::ffff:10.0.0.0/104", "2001:db8::/32", "0.0.0.0/0", "*")),
    ("request_id", ("r-1", "r-*", "*")),
    ("id", ("e3", "e1*", "*")),
    ("tenant_id", ("acme", "globex", "glo*", "*", "nobody")),
    ("metadata.n", ("5", "x", "*")),
    ("metadata.a.b", ("deep", "de*")),
    ("metadata.on", ("true",)),
    ("metadata.gone", ("null",)),
)
SINGLES = (
    ("q", ("alice", "stop*", "deep trail", "user.signed_in", "10.0.0.7", "nothing")),
    ("time_from", ("2026-03-02", "2026-03-04T05:06:07Z", "-24h", "2026-03-04T05:06:07.000001Z")),
    ("time_to", ("2026-03-03", "2026-03-04T05:06:07Z", "-1h")),
    ("order", ("asc", "desc")),
)


def varied(seed: int, count: int) -> list[dict[str, Any]]:
    """Events that differ in everything that can be filtered by."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        body = event(
            f"e{number}",
            tenant_id=rng.choice(TENANTS),
            timestamp=f"2026-03-0{rng.randint(1, 5)}T05:06:07.{rng.choice(('000000', '000001', '5'))}Z",
            actor=rng.choice(ACTORS),
            action=rng.choice(ACTIONS),
            outcome=rng.choice(("success", "failure", "denied", "unknown")),
            metadata=rng.choice(METADATA),
            context={
                name: value
                for name, value in (
                    ("source_ip", rng.choice(ADDRESSES)),
                    ("request_id", rng.choice((None, "r-1", "r-2"))),
                )
                if value
            },
        )
        resource = rng.choice(RESOURCES)
        made.append(body if resource is None else body | {"resource": resource})
    return made


def known(system: HttpSystem) -> list[Known]:
    """Every event of the log beside its entry."""
    found = []
    for record in system.engines.log.read(0, 0, 100_000, 1 << 30):
        assert isinstance(record, Record)
        decoded = decode_record(record, system.engines.log.origin)
        found.append(Known(decoded.event, entry(record, decoded.event, decoded.format, decoded.words)))
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpSystem, list[Known]]]:
    with http_system(tmp_path_factory.mktemp("filled")) as system:
        system.post(b"\n".join(msgspec.json.encode(each) for each in varied(7, 250)), media=NDJSON)
        system.settle()
        yield system, known(system)


def expected(system: HttpSystem, raw: str, all_known: list[Known]) -> list[str]:
    query = scoped(parse_query_string(raw).at(system.engines.clock.now_us()), None)
    return [str(each.key.position) for each in answer(query, all_known)]


@pytest.mark.parametrize("name", [name for name, _ in FILTERS])
def test_each_filter_plain_repeated_and_negated_agrees_with_the_oracle(
    filled: tuple[HttpSystem, list[Known]], name: str
) -> None:
    system, all_known = filled
    values = dict(FILTERS)[name]
    questions = [[(name, value)] for value in values] + [[(f"{name}!", value)] for value in values]
    questions += [[(name, values[0]), (name, values[-1])], [(f"{name}!", values[0]), (f"{name}!", values[-1])]]
    questions += [[(name, values[-1]), (f"{name}!", values[0])]]
    for pairs in questions:
        raw = urlencode(pairs)
        found = _positions(system, pairs)
        assert found == expected(system, raw, all_known), raw
        assert system.ask(f"/events/count?{raw}").json == {"count": len(found), "exact": True}


def _positions(system: HttpSystem, pairs: list[tuple[str, str]]) -> list[str]:
    page = system.ask(f"/events?{urlencode([*pairs, ('limit', '1000')])}")
    assert page.status_code == 200, page.text
    body = page.json
    assert isinstance(body, dict)
    assert body["has_more"] is False
    return [each["position"] for each in body["events"]]


filters = st.sampled_from(
    [(name + bang, value) for name, values in FILTERS for value in values for bang in ("", "!")]
)
singles = st.tuples(*(st.none() | st.sampled_from([(name, value) for value in values]) for name, values in SINGLES))


@settings(max_examples=150, deadline=None)
@given(st.lists(filters, max_size=4), singles)
def test_filters_together_agree_with_the_oracle(
    filled: tuple[HttpSystem, list[Known]], many: list[tuple[str, str]], few: tuple[tuple[str, str] | None, ...]
) -> None:
    system, all_known = filled
    pairs = [*many, *(each for each in few if each is not None)]
    response = system.ask(f"/events?{urlencode([*pairs, ('limit', '1000')])}")
    if response.status_code == 400:
        assert response.json is not None
        assert response.json["code"] == "empty-window"
        return
    assert response.json is not None
    found = [each["position"] for each in response.json["events"]]
    assert found == expected(system, urlencode(pairs), all_known), pairs


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("limit", [1, 7, 250, 1000])
def test_pages_put_together_are_the_whole_answer(
    filled: tuple[HttpSystem, list[Known]], order: str, limit: int
) -> None:
    system, all_known = filled
    found = [each["position"] for each in system.walk(order=order, limit=limit, actor="*")]
    assert found == expected(system, f"actor=*&order={order}", all_known)


@pytest.mark.parametrize(
    ("order", "limit"), [("desc", 1), ("asc", 3), ("desc", 17), ("asc", 100), ("desc", 999), ("asc", 1000)]
)
def test_a_thousand_events_of_one_instant_come_each_exactly_once_while_others_arrive(
    tmp_path: Path, order: str, limit: int
) -> None:
    with http_system(tmp_path) as system:
        tie = [event(f"tie-{number:04d}", tenant_id=f"t{number % 3}") for number in range(1_000)]
        random.Random(5).shuffle(tie)
        system.post(b"\n".join(msgspec.json.encode(each) for each in tie), media=NDJSON)
        system.settle()
        stop = threading.Event()

        def disturb() -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                moment = random.Random(number).choice(
                    ("2026-03-04T05:06:06Z", "2026-03-04T05:06:07Z", "2026-03-04T05:06:08Z")
                )
                _post_quietly(system, event(f"late-{number}", timestamp=moment, tenant_id="t1"))

        other = threading.Thread(target=disturb)
        other.start()
        try:
            found = [each["id"] for each in system.walk(order=order, limit=limit)]
        finally:
            stop.set()
            other.join(30)
        ties = [name for name in found if name.startswith("tie-")]
        assert len(ties) == 1_000
        assert set(ties) == {each["id"] for each in tie}
        assert len(found) == len(set(found))


def _post_quietly(system: HttpSystem, body: dict[str, Any]) -> None:
    client = system.app.test_client()
    answered = client.post("/events", json=body, headers={"Host": "localhost"})
    assert answered.status_code == 200


def test_a_window_is_frozen_in_the_cursor(filled: tuple[HttpSystem, list[Known]]) -> None:
    system, _ = filled
    first = system.get("/events", time_from="-9999d", limit=3)
    again = system.get("/events", time_from="-9999d", limit=3, cursor=first["next_cursor"])
    assert not {each["position"] for each in first["events"]} & {each["position"] for each in again["events"]}


@pytest.mark.parametrize(
    "changed",
    [{"actor": "bob"}, {"actor": "alice", "order": "asc"}, {}, {"actor": "alice", "time_from": "-1h"}],
)
def test_a_cursor_serves_only_its_own_filters(
    filled: tuple[HttpSystem, list[Known]], changed: dict[str, str]
) -> None:
    system, _ = filled
    cursor = system.get("/events", actor="alice", limit=1)["next_cursor"]
    problem = system.get("/events", 400, **changed, cursor=cursor)
    assert (problem["code"], problem["errors"][0]["parameter"]) == ("cursor-mismatch", "cursor")
    assert system.get("/events", actor="alice", limit=50, record=1, cursor=cursor)["events"]


def test_an_event_is_an_event_of_the_page_with_its_record_on_demand(filled: tuple[HttpSystem, list[Known]]) -> None:
    system, _ = filled
    (plain,) = system.get("/events", id="e7")["events"]
    (whole,) = system.get("/events", id="e7", record=1)["events"]
    assert {**plain, "record": whole["record"]} == whole
    assert system.get("/events/e7", tenant_id=plain["tenant_id"], timestamp=plain["timestamp"]) == plain


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/events?nonsense=1", "nonsense"),
        ("/events?actor=", "actor"),
        ("/events?limit=0", "limit"),
        ("/events?limit=1&limit=2", "limit"),
        ("/events?cursor=x", "cursor"),
        ("/events/count?limit=5", "limit"),
        ("/events/e1?actor=x", "actor"),
        ("/events/e1?timestamp=soon", "timestamp"),
        ("/events/e1?record=2", "record"),
        ("/events/e1?tenant_id=", "tenant_id"),
    ],
)
def test_a_bad_parameter_is_named(filled: tuple[HttpSystem, list[Known]], path: str, parameter: str) -> None:
    response = filled[0].ask(path)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["errors"][0]["parameter"] == parameter


def test_what_is_asked_again_is_the_same_answer_by_whichever_way_it_comes(
    filled: tuple[HttpSystem, list[Known]],
) -> None:
    system, _ = filled
    first, second = (system.ask("/events?limit=5&action=user.*") for _ in range(2))
    assert first.data == second.data
    for name in ("Content-Type", "Cache-Control", "Link", "Content-Length"):
        assert first.headers[name] == second.headers[name]
    assert system.ask("/events?limit=5&action=user.*", "HEAD").data == b""


def test_an_index_that_cannot_answer_is_a_503_and_never_an_empty_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_system(tmp_path) as system:
        for error, code in (
            (Unavailable("away", retry_after_s=3), "unavailable"),
            (Rebuilding("rebuilding"), "rebuilding"),
        ):

            def fail(*_: Any, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(system.engines.index, "search", fail)
            response = system.ask(f"/events?actor={code}")
            assert (response.status_code, (response.json or {})["code"]) == (503, code)
            assert int(response.headers["Retry-After"]) >= 1
            page = system.ask(f"/?actor={code}")
            assert page.status_code == 503
            assert "Events are still accepted" in page.text
