"""CloudEvents 1.0, structured and binary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trailseal.errors import InvalidEvent
from trailseal.formats import DecodeContext, Decoded
from trailseal.formats.cloudevents import decode, decode_binary
from trailseal.model.event import Actor, Change, Context, Resource

CONTEXT = DecodeContext(received_us=1_780_000_000_000_000, derived_id="derived")
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A-1",
    "source": "/orders",
    "type": "com.example.order.created",
    "time": "2026-03-01T12:00:00Z",
    "subject": "order/7",
    "authid": "alice",
    "authtype": "user",
    "tenantid": "acme",
    "region": "eu",
    "datacontenttype": "application/json",
    "data": {"amount": 12, "tags": ["red"]},
}


def decoded(**changes: Any) -> Decoded:
    event = {name: value for name, value in {**EVENT, **changes}.items() if value != "left out"}
    return decode(json.dumps(event).encode(), CONTEXT)


def test_every_attribute_of_the_table() -> None:
    answer = decoded()
    event = answer.event
    assert answer.format == "cloudevents"
    assert (event.id, event.tenant_id) == ("/orders|A-1", "acme")
    assert event.timestamp_us == 1_772_366_400_000_000
    assert event.actor == Actor("alice", "user")
    assert event.action == "com.example.order.created"
    assert event.resource == Resource("order/7")
    assert event.outcome == "success"
    assert event.flags == ()
    assert event.metadata["amount"] == 12
    assert event.metadata["cloudevents"]["region"] == "eu"
    assert event.metadata["cloudevents"]["source"] == "/orders"
    assert {"red", "eu", "alice", "order", "com.example.order.created"} <= set(answer.words.split())


def test_data_may_be_a_native_event() -> None:
    data = {
        "actor": {"id": "bob", "name": "Bob"},
        "action": "order.approve",
        "resource": {"type": "order", "id": "8"},
        "outcome": "denied",
        "reason": "limit",
        "context": {"source_ip": "10.0.0.1", "request_id": "r"},
        "changes": [{"path": "state", "after": "approved"}],
        "metadata": {"k": "v"},
    }
    event = decoded(data=data, authid="left out").event
    assert event.actor == Actor("bob", None, "Bob")
    assert event.action == "order.approve"
    assert event.resource == Resource("8", "order")
    assert (event.outcome, event.reason) == ("denied", "limit")
    assert event.context == Context(source_ip="10.0.0.1", request_id="r")
    assert event.changes == (Change("state", None, "approved"),)
    assert event.metadata["k"] == "v"
    assert event.metadata["cloudevents"]["type"] == "com.example.order.created"


@pytest.mark.parametrize("data", [{"actor": 7}, {"actor": {"name": "no id"}}, {"actor": "bob", "unknown": 1}])
def test_data_that_only_resembles_an_event_is_metadata(data: dict[str, Any]) -> None:
    event = decoded(data=data).event
    assert event.actor == Actor("alice", "user")
    assert {name: event.metadata[name] for name in data} == data


@pytest.mark.parametrize("data", ["text", 7, [1, 2]])
def test_data_that_is_no_object_stays_whole(data: Any) -> None:
    assert decoded(data=data).event.metadata["data"] == data


def test_the_id_is_unambiguous() -> None:
    ids = {decoded(source=source, id=name).event.id for source, name in [("a", "b|c"), ("a|b", "c"), ("a", "b")]}
    assert len(ids) == 3


def test_what_is_missing_is_filled_and_flagged() -> None:
    event = decoded(time="left out", authid="left out", subject="left out", tenantid="left out").event
    assert event.timestamp_us == CONTEXT.received_us
    assert event.actor == Actor("/orders", "service")
    assert event.resource is None
    assert event.tenant_id == "default"
    assert set(event.flags) == {"time-from-append", "actor-from-source"}


def test_extension_attributes() -> None:
    event = decoded(
        outcome="failure",
        requestid="r-1",
        sourceip="not an address",
        actorid="carol",
        actortype="robot",
        actorname="Carol",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ).event
    assert event.actor == Actor("carol", "robot", "Carol")
    assert event.outcome == "failure"
    assert event.context == Context(
        source="not an address", request_id="r-1", trace_id="0af7651916cd43dd8448eb211c80319c"
    )
    assert event.flags == ("source-not-an-address",)
    assert decoded(outcome="odd").event.outcome == "unknown"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"specversion": "0.3"}, "unsupported-version", "specversion"),
        ({"specversion": "left out"}, "unsupported-version", "specversion"),
        ({"id": "left out"}, "missing-field", "id"),
        ({"id": ""}, "missing-field", "id"),
        ({"source": "left out"}, "missing-field", "source"),
        ({"type": "left out"}, "missing-field", "type"),
        ({"time": "now"}, "invalid-timestamp", "time"),
        ({"tenantid": "a/b"}, "illegal-character", "tenant_id"),
        ({"tenantid": "_trailseal"}, "reserved-tenant", "tenant_id"),
        ({"type": "trailseal.erase"}, "reserved-action", "action"),
    ],
)
def test_what_is_no_cloudevent_is_refused(changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decoded(**changes)
    assert (caught.value.problem.code, caught.value.problem.field) == (code, field)


def binary(value: bytes, **changes: bytes) -> Decoded:
    headers = {f"ce_{name}": text.encode() for name, text in EVENT.items() if isinstance(text, str)}
    headers.update({f"ce_{name}": raw for name, raw in changes.items()})
    return decode_binary(value, tuple(headers.items()), CONTEXT)


def test_binary_mode_is_the_same_event() -> None:
    ours = binary(json.dumps(EVENT["data"]).encode())
    assert ours.event == decoded().event
    assert set(ours.words.split()) == set(decoded().words.split())


def test_binary_data_that_is_no_json_is_flagged() -> None:
    answer = binary(b"\x00\x01 not json")
    assert answer.event.flags == ("data-not-read",)
    assert answer.event.action == EVENT["type"]


def test_a_binary_header_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidEvent) as caught:
        binary(b"{}", subject=b"\xff")
    assert (caught.value.problem.code, caught.value.problem.field) == ("invalid-utf8", "ce_subject")
