"""The patient reader against the standard library's json, and where it knows more."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trailseal.formats.json_reader import read_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
fragments = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"a"',
            '"b"',
            '"\\u00e9"',
            '"\\"',
            "1",
            "-0.5e3",
            "01",
            "true",
            "nul",
            " ",
            "\n",
        ]
    ),
    max_size=10,
).map("".join)


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def double_or_digits(digits: str) -> float | str:
    """A number too great for a double stays the text it is."""
    number = float(digits)
    return number if math.isfinite(number) else digits


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in texts_in(child)]


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_correct_json_is_read_like_the_library_does(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    reading = read_json(text.encode(), 64)
    assert reading.value == value
    assert sorted(reading.texts) == sorted(texts_in(value))
    assert {fault.code for fault in reading.faults} <= {"integer-out-of-range", "nul-character"}


@given(fragments)
@example("-0.5e311")
def test_it_takes_exactly_what_the_library_takes(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=refuse_constant, parse_float=double_or_digits)
    except ValueError:
        assert read_json(text.encode(), 64).first("malformed-json")
    else:
        reading = read_json(text.encode(), 64)
        assert not reading.first("malformed-json")
        assert reading.value == expected


@pytest.mark.parametrize("opening", [b"[", b'{"k":'])
def test_a_million_levels_are_cut_without_recursion(opening: bytes) -> None:
    levels = 200_000
    closing = b"]" if opening == b"[" else b"}"
    reading = read_json(opening * levels + b'"bottom"' + closing * levels, 3)
    assert [fault.code for fault in reading.faults] == ["too-deep"]
    assert reading.texts == ["bottom"]
    assert reading.value == ([[[None]]] if opening == b"[" else {"k": {"k": {"k": None}}})


def test_what_follows_a_deep_value_is_kept() -> None:
    reading = read_json(b'{"a":[[[1,"deep"]]],"b":{"c":2}}', 2)
    assert reading.value == {"a": [None], "b": {"c": 2}}
    assert reading.first("too-deep") is not None


def test_faults_carry_their_paths_in_order() -> None:
    text = b'{"a":[1,{"b":9007199254740993}],"c":"\xff","c":"\\ud800","d\\u0000":1e400}'
    assert [(fault.code, fault.field) for fault in read_json(text, 64).faults] == [
        ("integer-out-of-range", "a[1].b"),
        ("invalid-utf8", "c"),
        ("duplicate-key", "c"),
        ("lone-surrogate", "c"),
        ("nul-character", "d\0"),
        ("number-out-of-range", "d\0"),
    ]


def test_what_cannot_be_kept_is_replaced() -> None:
    reading = read_json(b'["\\ud83d", "\\ud83d\\ude00", 1e400, ' + b"7" * 400 + b"]", 64)
    assert reading.value == ["\ufffd", "\U0001f600", "1e400", "7" * 400]


def test_numbers_are_those_of_json() -> None:
    assert read_json(b"[0,-0,-1.5,2e3,1E-2]", 64).value == [0, 0, -1.5, 2000.0, 0.01]
    assert math.copysign(1, read_json(b"-0.0", 64).value) == -1
    for wrong in (b"+1", b".5", b"1.", b"0x1", b"1e", b"--1", b"Infinity", "\u0661".encode()):
        assert read_json(wrong, 64).first("malformed-json"), wrong
