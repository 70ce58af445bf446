"""Cursors: they come back as they went, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.errors import InvalidQuery
from trailseal.model.projection import SortKey
from trailseal.model.record import Position
from trailseal.query.cursors import CursorCodec, scope_key

KEY = SortKey(1_780_000_000_123_456, "acme", "event-7", Position(1, 0, 42))
FILTER, SCOPE = b"f" * 16, scope_key(("acme",))
CODEC = CursorCodec(b"a secret")
TEXT = CODEC.encode(KEY, (5, None), FILTER, SCOPE)

names = st.text(min_size=1, max_size=80)
positions = st.builds(Position, st.just(1), st.integers(0, 99), st.integers(0, 2**62))
instants = st.none() | st.integers(min_value=0, max_value=2**62)


@given(st.builds(SortKey, st.integers(-(2**62), 2**62), names, names, positions), instants, instants)
def test_a_cursor_brings_back_its_place_and_its_window(key: SortKey, start: int | None, end: int | None) -> None:
    cursor = CODEC.decode(CODEC.encode(key, (start, end), FILTER, SCOPE), FILTER, SCOPE)
    assert (cursor.after, cursor.time_from_us, cursor.time_to_us) == (key, start, end)


def test_every_changed_character_is_noticed() -> None:
    for at, character in enumerate(TEXT):
        other = "A" if character != "A" else "B"
        with pytest.raises(InvalidQuery) as refused:
            CODEC.decode(TEXT[:at] + other + TEXT[at + 1 :], FILTER, SCOPE)
        assert refused.value.problem.code == "invalid-cursor"


@pytest.mark.parametrize(
    "text", ["", "x", TEXT + "=", TEXT + "A", " " + TEXT, TEXT[:-1], TEXT * 50, "ü", "\x00", "!" + TEXT]
)
def test_what_is_no_cursor_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        CODEC.decode(text, FILTER, SCOPE)
    assert (refused.value.problem.code, refused.value.problem.parameter) == ("invalid-cursor", "cursor")


@given(st.text(max_size=200))
def test_no_text_breaks_the_decoder(text: str) -> None:
    with pytest.raises(InvalidQuery):
        CODEC.decode(text, FILTER, SCOPE)


def test_another_secret_makes_other_cursors() -> None:
    with pytest.raises(InvalidQuery):
        CursorCodec(b"another").decode(TEXT, FILTER, SCOPE)


@pytest.mark.parametrize(
    ("filters", "scope"), [(b"g" * 16, SCOPE), (FILTER, scope_key(("other",))), (FILTER, scope_key(None))]
)
def test_a_cursor_serves_only_its_own_question_and_tenants(filters: bytes, scope: bytes) -> None:
    with pytest.raises(InvalidQuery) as refused:
        CODEC.decode(TEXT, filters, scope)
    assert refused.value.problem.code == "cursor-mismatch"


def test_scopes_are_told_apart() -> None:
    scopes = [None, (), ("a",), ("a", "b"), ("a,b",), ("ab",)]
    assert len({scope_key(scope) for scope in scopes}) == len(scopes)
