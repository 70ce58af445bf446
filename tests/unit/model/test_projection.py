"""The projection: what an index gets to know, and under which name."""

from __future__ import annotations

from trailseal.model.event import Actor, Context, Event, Resource
from trailseal.model.identity import content_hash
from trailseal.model.projection import COLLISION_FLAG, colliding, entry
from trailseal.model.record import Position, Record

VALUE = b'{"any":"bytes"}'
RECORD = Record(Position(1, 2, 3), 1_772_366_400_123, None, VALUE)
EVENT = Event(
    id="a/b",
    timestamp_us=1_772_366_399_999_999,
    tenant_id="acme",
    actor=Actor("x" * 2000, "user", "X"),
    action="document.delete",
    resource=Resource("7", "document"),
    outcome="denied",
    context=Context(source_ip="10.0.0.1", request_id="r-1"),
    metadata={"b": 1, "a": {"c": ["x", "x"]}},
    flags=("odd",),
)


def test_an_entry_has_every_field_an_index_filters_by() -> None:
    made = entry(RECORD, EVENT, "native", "a b")
    known = made.projection
    assert made.record is RECORD
    assert (made.document_id, made.month) == ("acme/a/b", "2026.03")
    assert known.position == RECORD.position
    assert known.received_ms == RECORD.timestamp_ms
    assert (known.tenant_id, known.id, known.timestamp_us) == ("acme", "a/b", EVENT.timestamp_us)
    assert known.actor.startswith("\x1esha256:")
    assert (known.action, known.outcome) == ("document.delete", "denied")
    assert (known.resource, known.resource_type) == ("document/7", "document")
    assert (known.source_ip, known.request_id) == ("10.0.0.1", "r-1")
    assert known.metadata == ("a.c\x1fsx", "b\x1fn1")
    assert known.words == "a b"
    assert known.content_hash == content_hash(VALUE, "acme", "a/b", "native")
    assert known.flags == ("odd",)


def test_what_an_event_lacks_is_none() -> None:
    bare = entry(RECORD, Event("i", 0, "t", Actor("a"), "x"), "native", "").projection
    assert (bare.resource, bare.resource_type, bare.source_ip, bare.request_id) == (None, None, None, None)
    assert bare.metadata == ()


def test_a_colliding_entry_changes_its_name_and_flags_only() -> None:
    plain = entry(RECORD, EVENT, "native", "")
    second = colliding(plain)
    assert second.document_id == "/1/2/3"
    assert second.projection.flags == ("odd", COLLISION_FLAG)
    assert second.projection.sort_key == plain.projection.sort_key
    assert second.month == plain.month


def test_binary_cloudevents_with_other_attributes_are_other_content() -> None:
    def hash_of(*headers: tuple[str, bytes]) -> bytes:
        record = Record(Position(1, 0, 0), 0, None, VALUE, headers)
        return entry(record, EVENT, "cloudevents", ()).projection.content_hash

    salted = hash_of(("trailseal-salt", b"1"))
    first = hash_of(("ce_id", b"1"), ("ce_type", b"a"))
    assert salted == hash_of(("trailseal-salt", b"2"))
    assert first == hash_of(("ce_type", b"a"), ("trailseal-salt", b"1"), ("ce_id", b"1"))
    assert len({salted, first, hash_of(("ce_id", b"1"), ("ce_type", b"b"))}) == 3
