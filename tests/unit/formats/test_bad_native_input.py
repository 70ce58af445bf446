"""Bad input in the native format: each gets a verdict that names field and rule, in bounded time."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trailseal.errors import InvalidEvent, Problem
from trailseal.formats import FORMATS, DecodeContext
from trailseal.formats.native import decode

CONTEXT = DecodeContext(received_us=1_780_000_000_000_000, derived_id="derived")
HEAD = b'{"timestamp":"2026-03-01T12:00:00Z","actor":"alice","action":"document.delete"'


def event(more: bytes) -> bytes:
    return HEAD + b"," + more + b"}"


def bomb(opening: bytes, closing: bytes, levels: int) -> bytes:
    return event(b'"metadata":{"a":' + opening * levels + b"1" + closing * levels + b"}")


def verdict(value: bytes) -> Problem:
    """The pipeline's verdict, which has to be that of the door as well: it asks for no words."""
    with pytest.raises(InvalidEvent) as caught:
        decode(value, CONTEXT)
    with pytest.raises(InvalidEvent) as at_the_door:
        decode(value, msgspec.structs.replace(CONTEXT, with_words=False))
    assert at_the_door.value.problem == caught.value.problem
    return caught.value.problem


MALFORMED = [
    (b"", None),
    (b"nonsense", None),
    (HEAD, "action"),
    (HEAD + b"} {", None),
    (HEAD + b",}", None),
    (b"\xef\xbb\xbf" + HEAD + b"}", None),
    (event(b'"metadata":{"a":[1,2}'), "metadata.a[2]"),
    (event(b'"metadata":{"a":01}'), "metadata.a"),
    (event(b'"metadata":{"a":NaN}'), "metadata.a"),
    (event(b'"metadata":{"a":"\x00"}'), "metadata.a"),
    (event(b'"metadata":{"a":"line\nbreak"}'), "metadata.a"),
    (event(b'"metadata":{"a":"\\x"}'), "metadata.a"),
    (event(b"'id':1"), None),
]
TYPES = [
    (b"[]", "wrong-type", None),
    (b'"text"', "wrong-type", None),
    (b"null", "wrong-type", None),
    (event(b'"id":7'), "wrong-type", "id"),
    (event(b'"resource":["document","7"]'), "wrong-type", "resource"),
    (event(b'"resource":{"id":7}'), "wrong-type", "resource.id"),
    (event(b'"metadata":[]'), "wrong-type", "metadata"),
    (event(b'"context":"here"'), "wrong-type", "context"),
    (event(b'"changes":[{"path":"a"},{"path":1}]'), "wrong-type", "changes[1].path"),
    (event(b'"outcome":"ok"'), "invalid-value", "outcome"),
    (event(b'"schema_version":2'), "invalid-value", "schema_version"),
    (b'{"actor":"a","action":"x"}', "missing-field", "timestamp"),
    (b'{"timestamp":"2026-03-01T12:00:00Z","actor":{"name":"a"},"action":"x"}', "missing-field", "actor.id"),
    (event(b'"changes":[{"path":"a"},{}]'), "missing-field", "changes[1].path"),
    (event(b'"tenant":"acme"'), "unknown-field", "tenant"),
    (event(b'"received_at":"2026-03-01T12:00:00Z"'), "unknown-field", "received_at"),
    (event(b'"resource":{"id":"7","colour":"red"}'), "unknown-field", "resource.colour"),
]
RULES = [
    (HEAD.replace(b"00Z", b"00") + b"}", "invalid-timestamp", "timestamp"),
    (HEAD.replace(b"03-01", b"02-30") + b"}", "invalid-timestamp", "timestamp"),
    (HEAD.replace(b"2026", b"1999") + b"}", "time-out-of-range", "timestamp"),
    (HEAD.replace(b"2026", b"2027") + b"}", "time-out-of-range", "timestamp"),
    (event(b'"context":{"source_ip":"AWS Internal"}'), "invalid-address", "context.source_ip"),
    (event(b'"reason":"' + b"x" * 65_536 + b'"'), "too-large", None),
    (event(b'"id":"' + b"i" * 600 + b'"'), "too-long", "id"),
    (event(b'"tenant_id":"_trailseal"'), "reserved-tenant", "tenant_id"),
    (HEAD.replace(b"document.", b"trailseal.") + b"}", "reserved-action", "action"),
    (event(b'"metadata":{' + b",".join(b'"%d":1' % n for n in range(101)) + b"}"), "too-many-keys", "metadata"),
]
HIDDEN = [
    (event(b'"metadata":{"a":"\\u0000"}'), "nul-character", "metadata.a"),
    (event(b'"metadata":{"a\\u0000":1}'), "nul-character", "metadata.a\0"),
    (event(b'"reason":"\\uD800"'), "lone-surrogate", "reason"),
    (event(b'"reason":"\\uDC00\\uD800"'), "lone-surrogate", "reason"),
    (event(b'"metadata":{"\\udfff":1}'), "lone-surrogate", "metadata.\ufffd"),
    (event(b'"reason":"\xff"'), "invalid-utf8", "reason"),
    (event(b'"reason":"\xed\xa0\x80"'), "invalid-utf8", "reason"),
    (event(b'"reason":"\xc0\x80"'), "invalid-utf8", "reason"),
    (HEAD + b"\xff}", "invalid-utf8", "action"),
    (event(b'"action":"other"'), "duplicate-key", "action"),
    (event(b'"acti\\u006fn":"other"'), "duplicate-key", "action"),
    (event(b'"metadata":{"a":1,"a":1}'), "duplicate-key", "metadata.a"),
    (event(b'"metadata":{"a":[{"b":1,"c":{},"b":null}]}'), "duplicate-key", "metadata.a[0].b"),
    (event(b'"metadata":{"a":":","a":"\\u003a"}'), "duplicate-key", "metadata.a"),
    (event(b'"metadata":{"a":1,"a":"\\u003A"},"id":null'), "duplicate-key", "metadata.a"),
    (event(b'"changes":[{"path":"p","after":{"x":1,"x":2}}]'), "duplicate-key", "changes[0].after.x"),
    (event(b'"context":{"source":"a","source":"a"}'), "duplicate-key", "context.source"),
    (event(b'"metadata":{"a":9007199254740993}'), "integer-out-of-range", "metadata.a"),
    (event(b'"metadata":{"a":[-9007199254740993]}'), "integer-out-of-range", "metadata.a[0]"),
    (event(b'"metadata":{"a":123456789012345678901234567890}'), "integer-out-of-range", "metadata.a"),
    (event(b'"metadata":{"a":' + b"9" * 20_000 + b"}"), "integer-out-of-range", "metadata.a"),
    (event(b'"metadata":{"a":1e999}'), "number-out-of-range", "metadata.a"),
]


@pytest.mark.parametrize(("value", "field"), MALFORMED)
def test_what_is_no_json_is_refused_with_the_place(value: bytes, field: str | None) -> None:
    problem = verdict(value)
    assert problem.code == "malformed-json"
    assert "at byte" in problem.detail
    if field is not None:
        assert problem.field == field


@pytest.mark.parametrize(("value", "code", "field"), [*TYPES, *RULES, *HIDDEN])
def test_a_broken_rule_is_named_with_its_field(value: bytes, code: str, field: str | None) -> None:
    problem = verdict(value)
    assert (problem.code, problem.field) == (code, field)
    assert problem.detail


@pytest.mark.parametrize("levels", [5, 60, 500, 5_000, 32_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"k":', b"}")])
def test_a_nesting_bomb_is_refused_at_any_depth(opening: bytes, closing: bytes, levels: int) -> None:
    value = bomb(opening, closing, levels)
    if len(value) > 65_536:
        value = bomb(opening, closing, 10_000)
    problem = verdict(value)
    assert problem.code == "too-deep"
    assert problem.field is not None
    assert problem.field.startswith("metadata.a")
    assert len(problem.detail) < 400


def test_a_bomb_that_never_closes_is_refused() -> None:
    assert verdict(event(b'"metadata":' + b"[" * 60_000)).code in {"too-deep", "malformed-json"}


def test_a_similar_field_is_suggested() -> None:
    assert "tenant_id" in verdict(event(b'"tenant":"x"')).detail


@given(st.binary(max_size=60), st.sampled_from(sorted(FORMATS)))
@example(b"[" * 60, "cloudtrail")
def test_no_bytes_get_anything_but_an_event_or_a_verdict(value: bytes, name: str) -> None:
    for candidate in (value, event(b'"metadata":{"a":"' + value + b'"}'), event(value)):
        try:
            FORMATS[name].decode(candidate, CONTEXT)
        except InvalidEvent as error:
            assert error.problem.code  # noqa: PT017 - a verdict may come or not; if it comes it must be whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.sampled_from('a:"\\{,é'), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ":", '"']), inner, max_size=3)
    ),
    max_leaves=8,
)


def spell(value: Any, draw: st.DataObject) -> tuple[str, bool]:
    """JSON text of a value, with a key repeated now and then; whether any was."""
    if isinstance(value, dict):
        members = [
            (json.dumps(key, ensure_ascii=draw.draw(st.booleans())), *spell(child, draw))
            for key, child in value.items()
        ]
        doubled = bool(members) and draw.draw(st.integers(0, 5)) == 0
        if doubled:
            members.append(draw.draw(st.sampled_from(members)))
        text = ", ".join(f"{key} : {child}" for key, child, _ in members)
        return "{" + text + "}", doubled or any(inner for _, _, inner in members)
    if isinstance(value, list):
        children = [spell(child, draw) for child in value]
        return "[" + ",".join(child for child, _ in children) + "]", any(inner for _, inner in children)
    if isinstance(value, str) and draw.draw(st.booleans()):
        return '"' + "".join(f"\\u{ord(character):04x}" for character in value) + '"', False
    return json.dumps(value), False


@given(st.dictionaries(st.sampled_from(["a", "b", "c:"]), json_values, max_size=3), st.data())
def test_a_repeated_key_is_found_wherever_it_hides_and_only_then(
    metadata: dict[str, Any], data: st.DataObject
) -> None:
    text, doubled = spell(metadata, data)
    try:
        decoded = decode(event(b'"metadata":' + text.encode()), CONTEXT)
    except InvalidEvent as error:
        assert error.problem.code == "too-deep" or (doubled and error.problem.code == "duplicate-key")  # noqa: PT017 - either way is a result
    else:
        assert not doubled
        assert decoded.event.metadata == metadata
