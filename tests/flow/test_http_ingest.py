"""``POST /events``: what is accepted is durable and untouched, what is not is named."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.http_system import MAX_REQUEST_BYTES, NDJSON, HttpSystem, event, http_system
from trailseal.errors import Overloaded, Unavailable
from trailseal.model.record import HEADER_FORMAT, HEADER_ID, HEADER_SALT, HEADER_TENANT, NewRecord, Position, Record

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[HttpSystem]:
    with http_system(tmp_path) as running:
        yield running


def records(system: HttpSystem) -> list[Record]:
    found = system.engines.log.read(0, 0, 10_000, 1 << 30)
    assert all(isinstance(each, Record) for each in found)
    return [each for each in found if isinstance(each, Record)]


def test_one_event_is_answered_with_its_id_and_position(system: HttpSystem) -> None:
    assert system.post(event("e1")) == {
        "accepted": 1,
        "rejected": 0,
        "results": [{"index": 0, "status": "accepted", "id": "e1", "position": "1/0/0"}],
    }


def test_an_event_without_an_id_gets_one_in_a_header_and_keeps_its_bytes(system: HttpSystem) -> None:
    body = b'{ "timestamp" : "2026-03-04T05:06:07Z",\n "actor":"\\u0061lice", "action":"x.y" }'
    made = system.post(b" \n" + body + b"\n ")["results"][0]["id"]
    (record,) = records(system)
    assert UUID7.fullmatch(made)
    assert record.value == body
    assert (record.header(HEADER_ID), record.header(HEADER_TENANT)) == (made.encode(), b"default")
    assert (record.header(HEADER_FORMAT), len(record.header(HEADER_SALT) or b"")) == (b"native", 32)
    assert record.key == b"default"


def test_an_event_with_an_id_needs_no_header_for_it(system: HttpSystem) -> None:
    system.post(event("e1", tenant_id="acme"))
    (record,) = records(system)
    assert (record.header(HEADER_ID), record.header(HEADER_TENANT), record.key) == (None, b"acme", b"acme")


def test_every_record_has_a_salt_of_its_own(system: HttpSystem) -> None:
    system.post([event(), event(), event()])
    assert len({record.header(HEADER_SALT) for record in records(system)}) == 3


def test_an_array_is_cut_and_never_encoded_anew(system: HttpSystem) -> None:
    first = b'{"timestamp":"2026-03-04T05:06:07.10Z", "actor":"a","action":"\\u0062"}'
    second = b'{"action":"b","actor":{"id":"a"},"timestamp":"2026-03-04T05:06:07Z","metadata":{"n":1.0}}'
    assert system.post(b"[" + first + b" ,\n" + second + b"]")["accepted"] == 2
    assert [record.value for record in records(system)] == [first, second]


def test_lines_are_events_whatever_ends_them(system: HttpSystem) -> None:
    lines = [json.dumps(event(f"e{n}")).encode() for n in range(3)]
    answer = system.post(lines[0] + b"\r\n\n" + lines[1] + b"\n  " + lines[2], media=NDJSON)
    assert [result["id"] for result in answer["results"]] == ["e0", "e1", "e2"]
    assert [record.value for record in records(system)] == lines


def test_a_bad_event_among_others_is_rejected_alone(system: HttpSystem) -> None:
    answer = system.post([event("good"), {"actor": "a"}, event("bad", nonsense=1), event("fine")])
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "rejected", "accepted"]
    assert answer["results"][1]["problem"]["code"] == "missing-field"
    assert answer["results"][2]["problem"]["field"] == "nonsense"
    assert len(records(system)) == 2


def test_a_line_that_is_no_json_is_rejected_alone(system: HttpSystem) -> None:
    answer = system.post(
        json.dumps(event("a")).encode() + b'\n{"cut\n' + json.dumps(event("b")).encode(), media=NDJSON
    )
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "accepted"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"actor": "a", "action": "b"}, "missing-field", "timestamp"),
        (event(timestamp="2026-03-04T05:06:07"), "invalid-timestamp", "timestamp"),
        (event(timestamp="1999-12-31T23:59:59Z"), "time-out-of-range", "timestamp"),
        (event(actor=7), "wrong-type", "actor"),
        (event(tenant_id="a/b"), "illegal-character", "tenant_id"),
        (event(tenant_id="_trailseal"), "reserved-tenant", "tenant_id"),
        (event(action="trailseal.erase"), "reserved-action", "action"),
        (event("x" * 600), "too-long", "id"),
        (event(surprise=1), "unknown-field", "surprise"),
        (event(metadata={"n": 2**60}), "integer-out-of-range", "metadata.n"),
        (event(context={"source_ip": "nowhere"}), "invalid-address", "context.source_ip"),
    ],
)
def test_a_single_bad_event_is_a_problem_that_names_field_and_rule(
    system: HttpSystem, body: Any, code: str, field: str
) -> None:
    problem = system.post(body, status=400)
    assert (problem["code"], problem["status"], problem["errors"][0]["field"]) == (code, 400, field)
    assert records(system) == []


@pytest.mark.parametrize(
    "body", [b"", b"  \n ", b"nonsense", b'{"a":', b"[", b"[1,]", b"[{]", b"\xff\xfe", b"[" * 5_000]
)
def test_what_cannot_be_read_is_a_400(system: HttpSystem, body: bytes) -> None:
    assert system.post(body, status=400)["code"] in {"empty-body", "malformed-json", "invalid-utf8"}


@pytest.mark.parametrize(
    ("broken", "verdicts", "taken"),
    [
        (b"[%b,{bad},%b]", ["accepted", "malformed-json", "accepted"], ["a", "b"]),
        (b'[%b,%b,{"id":', ["accepted", "accepted", "malformed-json"], ["a", "b"]),
        (b"[%b,,%b,]", ["accepted", "malformed-json", "accepted", "malformed-json"], ["a", "b"]),
        (b"[%b,%b]}", ["accepted", "accepted", "malformed-json"], ["a", "b"]),
        (b'[%b,{"id":"\xff"},%b]', ["accepted", "invalid-utf8", "accepted"], ["a", "b"]),
        (b"[%b,[}],%b]", ["accepted", "malformed-json"], ["a"]),
    ],
)
def test_a_broken_array_loses_nothing_that_can_be_read(
    system: HttpSystem, broken: bytes, verdicts: list[str], taken: list[str]
) -> None:
    body = broken % tuple(json.dumps(event(name)).encode() for name in "ab")
    results = system.post(body)["results"]
    assert [result["problem"]["code"] if "problem" in result else "accepted" for result in results] == verdicts
    assert [result["index"] for result in results] == list(range(len(verdicts)))
    assert [json.loads(record.value or b"")["id"] for record in records(system)] == taken


@pytest.mark.parametrize(
    "media", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/png"]
)
def test_only_json_media_types_are_taken(system: HttpSystem, media: str) -> None:
    assert system.post(event(), status=415, media=media)["code"] == "unsupported-media-type"
    assert records(system) == []


def test_gzip_is_inflated_member_by_member(system: HttpSystem) -> None:
    lines = [json.dumps(event(f"e{n}")).encode() + b"\n" for n in range(2)]
    body = gzip.compress(lines[0]) + gzip.compress(lines[1])
    assert system.post(body, media=NDJSON, Content_Encoding="gzip")["accepted"] == 2


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"{}")[:-9], b"not gzip", gzip.compress(b"{}") + b"rest"],
    ids=["cut off", "no gzip", "followed by more"],  # its own name would hold the second it was compressed in
)
def test_damaged_gzip_is_named(system: HttpSystem, body: bytes) -> None:
    assert system.post(body, status=400, Content_Encoding="gzip")["code"] == "damaged-gzip"


def test_an_unknown_encoding_is_a_415(system: HttpSystem) -> None:
    assert system.post(event(), status=415, Content_Encoding="br")["code"] == "unsupported-encoding"


def test_limits_hold_before_and_after_inflating(system: HttpSystem) -> None:
    bomb = gzip.compress(b" " * (MAX_REQUEST_BYTES + 1))
    assert len(bomb) < MAX_REQUEST_BYTES // 100
    assert system.post(bomb, status=413, Content_Encoding="gzip")["code"] == "too-large"
    assert system.post(b" " * (MAX_REQUEST_BYTES + 1), status=413)["code"] == "too-large"
    nested = gzip.compress(gzip.compress(b" " * 50_000_000))
    assert system.post(nested, status=400, Content_Encoding="gzip")["status"] == 400


def test_too_many_events_are_refused_together(system: HttpSystem) -> None:
    assert system.post(b"{}\n" * 10_001, status=413, media=NDJSON)["code"] == "too-many-events"
    assert records(system) == []


@pytest.mark.parametrize(
    "error", [Unavailable("The disk is full.", retry_after_s=7), Overloaded("Too much waits.")]
)
def test_what_the_log_cannot_take_is_a_503_and_nothing_is_acknowledged(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch, error: Unavailable
) -> None:
    def refuse(_: list[NewRecord]) -> list[Position]:
        raise error

    monkeypatch.setattr(system.engines.log, "append", refuse)
    response = system.ask("/events", "POST", {"Content-Type": "application/json"}, json=[event()])
    assert (response.status_code, response.headers["Retry-After"]) == (503, str(int(error.retry_after_s)))
    assert "results" not in (response.json or {})


def test_a_failed_append_is_tried_once_whatever_went_wrong(
    system: HttpSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def break_down(records: list[NewRecord]) -> list[Position]:
        tried.append(records)
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(system.engines.log, "append", break_down)
    assert system.post(event(), status=500)["status"] == 500
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("media", "path"),
    [("application/json", ""), ("application/json; charset=utf-8", ""), (NDJSON, "?format=native")],
)
def test_one_event_is_taken_alike_on_every_way_in(system: HttpSystem, media: str, path: str) -> None:
    body = json.dumps(event(tenant_id="acme")).encode() + b" \r\n"
    answer = system.post(body, media=media, path=f"/events{path}")
    (record,) = records(system)
    made = (record.header(HEADER_ID) or b"").decode()
    assert answer["results"] == [{"index": 0, "status": "accepted", "id": made, "position": "1/0/0"}]
    assert [name for name, _ in record.headers] == [HEADER_TENANT, HEADER_FORMAT, HEADER_ID, HEADER_SALT]
    assert (record.key, record.value) == (b"acme", body.strip())


def test_cloudevents_are_known_by_their_media_type(system: HttpSystem) -> None:
    cloud = {
        "specversion": "1.0",
        "id": "c1",
        "source": "/billing",
        "type": "invoice.paid",
        "time": "2026-03-04T05:06:07Z",
        "data": {"actor": "alice"},
    }
    answer = system.post(cloud, media="application/cloudevents+json")
    assert answer["accepted"] == 1, answer
    assert system.post([cloud], media="application/cloudevents-batch+json")["accepted"] == 1
    assert {record.header(HEADER_FORMAT) for record in records(system)} == {b"cloudevents"}


def test_the_format_parameter_names_any_format_and_nothing_else(system: HttpSystem) -> None:
    assert system.post(event(), path="/events?format=native")["accepted"] == 1
    assert system.post(event(), status=400, path="/events?format=nothing")["code"] == "unknown-format"
    assert system.post(event(), status=400, path="/events?formal=native")["code"] == "unknown-parameter"


def test_a_tenant_parameter_speaks_for_events_that_do_not(system: HttpSystem) -> None:
    system.post([event("a"), event("b", tenant_id="other")], path="/events?tenant_id=acme")
    assert [record.header(HEADER_TENANT) for record in records(system)] == [b"acme", b"other"]


def test_the_same_event_sent_twice_shows_up_once(system: HttpSystem) -> None:
    system.post(event("e1"))
    assert system.post(event("e1"))["accepted"] == 1
    system.settle()
    assert [found["position"] for found in system.get("/events")["events"]] == ["1/0/0"]
    assert len(records(system)) == 2


def test_what_is_accepted_is_found_as_it_was_sent(system: HttpSystem) -> None:
    sent = event("e1", actor={"id": "alice", "type": "user"}, metadata={"k": [1, {"deep": True}]}, reason="because")
    system.post(sent)
    system.settle()
    found = system.get("/events/e1", record="1")
    assert {name: found[name] for name in sent} == sent
    assert json.loads(found["record"]) == sent
