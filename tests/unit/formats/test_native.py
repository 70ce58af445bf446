"""The native format: what a good event becomes."""

from __future__ import annotations

import json

import pytest

from trailseal.errors import InvalidEvent
from trailseal.formats import DecodeContext
from trailseal.formats.native import body_fields, decode
from trailseal.model.event import Actor, Change, Context, Event, Resource
from trailseal.model.words import words_of

CONTEXT = DecodeContext(received_us=1_780_000_000_000_000, derived_id=lambda: "derived")
FULL = {
    "id": "e-1",
    "timestamp": "2026-03-01T13:00:00.123456789+01:00",
    "tenant_id": "acme",
    "actor": {"id": "alice@example.com", "type": "user", "name": "Alice"},
    "action": "document.delete",
    "resource": {"type": "document", "id": "7", "name": "Plan"},
    "outcome": "denied",
    "reason": "no rights",
    "context": {"source_ip": "::ffff:10.0.0.1", "user_agent": "curl/8", "request_id": "r-1", "trace_id": "t-1"},
    "changes": [{"path": "title", "before": "A", "after": {"b": ["C"]}}],
    "metadata": {"size": 3, "tags": ["red", {"deep": "blue"}]},
    "schema_version": 1,
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_every_field_arrives() -> None:
    decoded = decode(encoded(FULL), CONTEXT)
    assert decoded.format == "native"
    assert decoded.event == Event(
        id="e-1",
        timestamp_us=1_772_366_400_123_456,
        tenant_id="acme",
        actor=Actor("alice@example.com", "user", "Alice"),
        action="document.delete",
        resource=Resource("7", "document", "Plan"),
        outcome="denied",
        reason="no rights",
        context=Context(source_ip="10.0.0.1", user_agent="curl/8", request_id="r-1", trace_id="t-1"),
        changes=(Change("title", "A", {"b": ["C"]}),),
        metadata={"size": 3, "tags": ["red", {"deep": "blue"}]},
    )


def test_words_come_from_every_text_but_the_time() -> None:
    words = decode(encoded(FULL), CONTEXT).words.split()
    for word in ("e-1", "acme", "alice@example.com", "user", "denied", "rights", "10.0.0.1", "curl", "r-1", "t-1"):
        assert word in words
    for word in ("title", "a", "c", "red", "blue", "plan"):
        assert word in words
    for word in ("size", "metadata", "3", "2026-03-01t13", "deep"):
        assert word not in words


def test_the_least_event_gets_defaults() -> None:
    decoded = decode(b'{"timestamp":"2026-03-01T12:00:00Z","actor":"alice","action":"user_logged_in"}', CONTEXT)
    assert decoded.event == Event("derived", 1_772_366_400_000_000, "default", Actor("alice"), "user_logged_in")
    assert set(decoded.words.split()) == set(words_of(["alice", "user_logged_in", "derived", "default"]).split())


def test_null_is_the_same_as_left_out() -> None:
    nothing = {name: None for name in FULL if name not in ("timestamp", "actor", "action")}
    decoded = decode(encoded({**FULL, **nothing, "actor": {"id": "a", "type": None}}), CONTEXT)
    assert decoded.event == Event("derived", 1_772_366_400_123_456, "default", Actor("a"), "document.delete")


def test_a_resource_may_be_a_string() -> None:
    event = decode(encoded({**FULL, "resource": "invoice/9"}), CONTEXT).event
    assert event.resource == Resource("invoice/9")


def test_headers_win_over_the_body_and_are_found() -> None:
    decoded = decode(encoded(FULL), DecodeContext(CONTEXT.received_us, "unused", tenant="globex", id="head-1"))
    assert (decoded.event.tenant_id, decoded.event.id) == ("globex", "head-1")
    assert {"globex", "head-1", "acme"} <= set(decoded.words.split())


@pytest.mark.parametrize("tenant", ["", "a/b", "_trailseal", "t" * 300])
def test_a_header_tenant_keeps_the_rules_too(tenant: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(encoded(FULL), DecodeContext(CONTEXT.received_us, "unused", tenant=tenant))
    assert caught.value.problem.field == "tenant_id"


def test_words_can_be_left_out() -> None:
    context = DecodeContext(CONTEXT.received_us, "unused", with_words=False)
    bare = decode(encoded(FULL), context)
    assert bare.words == ""
    assert bare.event == decode(encoded(FULL), CONTEXT).event


def test_too_many_words_are_flagged() -> None:
    text = " ".join(f"w{number}" for number in range(5_000))
    decoded = decode(encoded({**FULL, "reason": text}), CONTEXT)
    assert decoded.event.flags == ("words-cut",)


def test_the_names_can_be_read_without_the_rest() -> None:
    assert body_fields(encoded(FULL)) == ("e-1", "acme")
    assert body_fields(b'{"id":7,"tenant_id":null}') == (None, None)
    assert body_fields(b"broken") == (None, None)
    assert body_fields(b'{"x":' + b"[" * 100_000) == (None, None)
