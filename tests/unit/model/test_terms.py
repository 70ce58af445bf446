"""Terms: each value has its own, and a question finds what it means."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.model.limits import MAX_METADATA_TERMS
from trailseal.model.terms import (
    filter_term,
    metadata_match_terms,
    metadata_prefix_term,
    metadata_present_prefix,
    metadata_terms,
    prefix_term,
)

odd_texts = st.text(st.sampled_from("a.\\u\x1e\x1f:é"), max_size=6) | st.text(max_size=8)
long_texts = st.integers(1020, 1030).map(lambda size: "x" * size) | st.integers(510, 516).map(
    lambda size: "é" * size
)
texts = odd_texts | long_texts
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = texts | numbers | st.booleans() | st.none()


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


@given(texts, texts)
def test_two_values_never_share_a_filter_term(one: str, other: str) -> None:
    assert (filter_term(one) == filter_term(other)) == (one == other)


@given(texts)
def test_a_filter_term_is_short_and_plain_where_it_can_be(text: str) -> None:
    term = filter_term(text)
    assert len(term.encode()) <= 1025
    if len(text.encode()) <= 1024 and not text.startswith("\x1e"):
        assert term == text


def test_nobody_can_spell_the_hash_of_a_long_value() -> None:
    long = "x" * 2000
    spelled = "\x1esha256:" + sha256(long.encode()).hexdigest()
    assert filter_term(long) == spelled
    assert filter_term(spelled) != spelled


@given(odd_texts, odd_texts)
def test_a_prefix_matches_exactly_the_values_that_begin_so(text: str, prefix: str) -> None:
    if prefix:
        assert filter_term(text).startswith(prefix_term(prefix)) == text.startswith(prefix) or len(text) > 256


@given(st.tuples(odd_texts, scalars), st.tuples(odd_texts, scalars))
def test_two_metadata_scalars_share_a_term_only_if_path_kind_and_value_agree(
    one: tuple[str, Any], other: tuple[str, Any]
) -> None:
    same = one[0] == other[0] and kind(one[1]) == kind(other[1]) and one[1] == other[1]
    assert (metadata_terms(dict([one])) == metadata_terms(dict([other]))) == same


@given(odd_texts, scalars)
def test_the_json_text_of_a_scalar_finds_it(key: str, value: Any) -> None:
    (term,) = metadata_terms({key: value})
    text = value if isinstance(value, str) else json.dumps(value)
    assert term in metadata_match_terms(key, text)
    assert term.startswith(metadata_present_prefix(key))


@given(odd_texts, odd_texts, odd_texts)
def test_a_metadata_prefix_finds_exactly_the_strings_that_begin_so(key: str, text: str, prefix: str) -> None:
    (term,) = metadata_terms({key: text})
    assert term.startswith(metadata_prefix_term(key, prefix)) == text.startswith(prefix) or not prefix


@given(odd_texts, odd_texts, scalars)
def test_presence_of_one_path_is_not_presence_of_another(key: str, other: str, value: Any) -> None:
    (term,) = metadata_terms({key: value})
    assert term.startswith(metadata_present_prefix(other)) == (key == other)


def test_nesting_dots_and_arrays_give_one_path() -> None:
    nested = {"a": {"b": [1, "x", {"c": True}, [None]]}}
    assert metadata_terms(nested) == ("a.b\x1fn1", "a.b\x1fsx", "a.b\x1fznull", "a.b.c\x1fbtrue")
    assert metadata_terms({"a.b": "x"}) == metadata_terms({"a": {"b": "x"}})


def test_a_number_is_found_however_it_is_spelled() -> None:
    (term,) = metadata_terms({"n": 100.0})
    for text in ("100", "100.0", "1e2", "1E+2"):
        assert term in metadata_match_terms("n", text)
    assert term not in metadata_match_terms("n", "0100")


@pytest.mark.parametrize("text", ["[1]", '{"a":1}', '"x"', "1e999", "NaN", "", "tru", "1 2", "[" * 5000])
def test_text_that_spells_no_scalar_is_looked_for_as_a_string_only(text: str) -> None:
    assert len(metadata_match_terms("k", text)) == 1


def test_empty_containers_have_no_term() -> None:
    assert metadata_terms({"a": {}, "b": [], "c": {"d": [[]]}}) == ()


def test_the_number_of_terms_is_bounded() -> None:
    assert len(metadata_terms({str(number): number for number in range(5000)})) == MAX_METADATA_TERMS
    assert len(metadata_terms({"list": list(range(5000))})) == MAX_METADATA_TERMS


def test_a_long_path_is_hashed_and_still_found() -> None:
    path = "k" * 3000
    (term,) = metadata_terms({path: "v"})
    assert len(term) < 100
    assert term in metadata_match_terms(path, "v")
