"""Records of the log: headers, formats, ids; and what is shown of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import FORMATS, decode_record, decode_with
from trailseal.formats.rendering import normalised, render, rendered
from trailseal.model.event import Actor, Event
from trailseal.model.identity import derived_id
from trailseal.model.projection import Hit, SortKey, entry
from trailseal.model.record import HEADER_FORMAT, HEADER_ID, HEADER_TENANT, Headers, Position, Record

VALUE = (
    b'{"id":"e-1","timestamp":"2026-03-01T12:00:00.5Z","actor":"alice","action":"document.delete",'
    b'"tenant_id":"acme"}'
)
CLOUD = b'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-03-01T12:00:00Z"}'


def record(value: bytes | None = VALUE, headers: Headers = ()) -> Record:
    return Record(Position(1, 2, 3), 1_780_000_000_123, None, value, headers)


def refusal(bad: Record) -> tuple[str, str | None]:
    with pytest.raises(InvalidEvent) as caught:
        decode_record(bad, "origin")
    return caught.value.problem.code, caught.value.problem.field


def test_without_headers_the_body_speaks() -> None:
    decoded = decode_record(record(), "origin")
    assert (decoded.event.tenant_id, decoded.event.id, decoded.format) == ("acme", "e-1", "native")


def test_headers_win() -> None:
    headers = (("trailseal-tenant", b"globex"), ("trailseal-id", b"h-1"), ("trailseal-salt", bytes(32)))
    event = decode_record(record(headers=headers), "origin").event
    assert (event.tenant_id, event.id) == ("globex", "h-1")


def test_a_null_header_counts_as_none() -> None:
    assert decode_record(record(headers=(("trailseal-tenant", None),)), "origin").event.tenant_id == "acme"


def test_a_missing_id_comes_from_where_the_record_stands() -> None:
    bare = VALUE.replace(b'"id":"e-1",', b"")
    assert decode_record(record(bare), "origin").event.id == derived_id("origin", 2, 3)
    assert decode_with(record(bare), "known").event.id == "known"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_header_names_the_format(name: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode_record(record(b"{}", (("trailseal-format", name.encode()),)), "origin")
    assert caught.value.problem.code in {"missing-field", "unsupported-version"}


def test_cloudevents_are_known_by_their_kafka_binding() -> None:
    structured = record(CLOUD, (("content-type", b"application/cloudevents+json; charset=utf-8"),))
    assert decode_record(structured, "origin").event.id == "s|1"
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", b"t"))
    assert decode_record(record(b'{"a":"b"}', headers), "origin").event.metadata["a"] == "b"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (record(None), ("null-value", None)),
        (record(headers=(("trailseal-format", b"xml"),)), ("unknown-format", "trailseal-format")),
        (record(headers=(("trailseal-admin", b"forged"),)), ("reserved-header", "trailseal-admin")),
        (record(headers=(("trailseal-admin", None),)), ("reserved-header", "trailseal-admin")),
        (record(headers=(("trailseal-id", b"\xff"),)), ("invalid-utf8", "trailseal-id")),
        (record(headers=(("trailseal-id", b"a"), ("trailseal-id", b"b"))), ("repeated-header", "trailseal-id")),
        (record(headers=(("trailseal-tenant", b""),)), ("empty-field", "tenant_id")),
        (record(headers=(("trailseal-tenant", b"_trailseal"),)), ("reserved-tenant", "tenant_id")),
        (record(headers=(("trailseal-id", b""),)), ("empty-field", "id")),
    ],
)
def test_a_record_that_is_no_event_is_refused(bad: Record, expected: tuple[str, str | None]) -> None:
    assert refusal(bad) == expected


def hit(found: Record) -> Hit:
    decoded = decode_record(found, "origin")
    return Hit(entry(found, decoded.event, decoded.format, decoded.words).projection.sort_key, found)


def shown(found: Record, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(render(hit(found), **options))
    return answer


def test_an_answer_has_the_normal_form_and_what_the_log_knows() -> None:
    assert shown(record()) == {
        "id": "e-1",
        "timestamp": "2026-03-01T12:00:00.500000Z",
        "received_at": "2026-05-28T20:26:40.123000Z",
        "tenant_id": "acme",
        "actor": {"id": "alice"},
        "action": "document.delete",
        "outcome": "success",
        "format": "native",
        "position": "1/2/3",
        "schema_version": 1,
    }


def test_the_original_comes_byte_for_byte_where_asked_for() -> None:
    spaced = VALUE.replace(b":", b" :\t")
    spaced = spaced.replace(b"12 :\t00 :\t00", b"12:00:00")
    assert shown(record(spaced), with_record=True)["record"].encode() == spaced


def test_an_answer_of_a_derived_id_has_the_id_it_was_found_by() -> None:
    bare = record(VALUE.replace(b'"id":"e-1",', b""))
    assert shown(bare)["id"] == derived_id("origin", 2, 3)


def test_the_normal_form_is_complete() -> None:
    event = decode_record(record(), "origin").event
    full = normalised(event, Position(1, 2, 3), 0, "native")
    assert msgspec.json.decode(msgspec.json.encode(full), type=dict)["received_at"] == "1970-01-01T00:00:00Z"
    bare = normalised(Event("i", 0, "t", Actor("a"), "x", metadata={"k": 1}), Position(1, 0, 0), 0, "native")
    assert "context" not in msgspec.to_builtins(bare)
    assert msgspec.to_builtins(bare)["metadata"] == {"k": 1}


def test_an_index_that_points_at_no_event_is_an_integrity_violation() -> None:
    key = SortKey(0, "acme", "e-1", Position(1, 2, 3))
    with pytest.raises(IntegrityViolation, match="1/2/3"):
        render(Hit(key, record(b"broken")))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
free = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
natives = st.fixed_dictionaries(
    {
        "timestamp": st.sampled_from(
            ["2026-03-01T12:00:00Z", "2026-03-01t12:00:00.5z", "2026-03-01T01:00:00+01:00"]
        ),
        "actor": texts | st.fixed_dictionaries({"id": texts}, optional={"name": texts, "type": st.none()}),
        "action": texts.filter(lambda text: not text.startswith("trailseal.")),
    },
    optional={
        "id": texts | st.none(),
        "tenant_id": texts.filter(lambda text: "/" not in text and text != "_trailseal") | st.none(),
        "resource": texts | st.fixed_dictionaries({"id": texts}) | st.none(),
        "outcome": st.sampled_from(["success", "denied", None]),
        "reason": texts,
        "context": st.none() | st.fixed_dictionaries({"source_ip": st.sampled_from(["::FFFF:1.2.3.4", "::1"])}),
        "changes": st.none() | st.lists(st.fixed_dictionaries({"path": texts, "before": free}), max_size=2),
        "metadata": st.none() | st.dictionaries(texts, free, max_size=3),
    },
)


@settings(max_examples=200, deadline=None)
@given(natives, st.sampled_from([None, 1]), st.booleans())
def test_metadata_copied_as_bytes_is_the_metadata_that_was_decoded(
    event: dict[str, Any], indent: int | None, headed: bool
) -> None:
    value = json.dumps(event, indent=indent).encode()
    headers = ((HEADER_ID, b"h-1"), (HEADER_TENANT, b"globex"), (HEADER_FORMAT, b"native"), ("x", b"y"))
    found = record(value, headers if headed else ())
    try:
        row = hit(found)
    except InvalidEvent:
        assume(False)  # noqa: FBT003 - hypothesis' signature
    line = render(row)
    assert json.loads(line) == json.loads(msgspec.json.encode(rendered(row)))
    assert b"\n" not in line
