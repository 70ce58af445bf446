"""Cutting streams: whatever the chunks, the parts are the exact bytes that the json module would decode."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.formats.slicing import Part, Slicer

awkward = st.text(st.sampled_from('a"\\{}[],:\n\r é'), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | awkward,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(awkward, values, max_size=3)
spaces = st.text(" \t\r\n", max_size=2)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def parts_of(data: bytes, size: int = 65_536) -> list[Part]:
    return list(Slicer(data[at : at + size] for at in range(0, len(data), size)))


def check(data: bytes, cuts: list[int], expected: list[Any]) -> None:
    slicer = Slicer(chunked(data, cuts))
    found = []
    for part in slicer:
        assert part.problem is None
        assert data[part.start : part.end] == part.value
        assert part.line == data.count(b"\n", 0, part.start) + 1
        assert slicer.prefix_id() == sha256(data[: part.end]).hexdigest()
        found.append(json.loads(part.value))
    assert found == expected


@given(st.lists(values, max_size=5), spaces, spaces, st.lists(st.integers(0), max_size=8))
def test_an_array_is_cut_into_its_elements(items: list[Any], before: str, after: str, cuts: list[int]) -> None:
    inner = ",".join(before + json.dumps(item, ensure_ascii=False) + after for item in items)
    check(f"{after}[{before}{inner}]{after}".encode(), cuts, items)


@given(
    st.lists(st.lists(objects, max_size=4), min_size=1, max_size=3), spaces, st.lists(st.integers(0), max_size=8)
)
def test_records_objects_may_follow_each_other(files: list[list[Any]], space: str, cuts: list[int]) -> None:
    texts = [f'{{{space}"Records"{space}:{space}{json.dumps(file)},"next":["}}"]}}{space}' for file in files]
    check("".join(texts).encode(), cuts, [item for file in files for item in file])


@given(st.lists(objects, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n", " \n\t"]), st.booleans(), st.data())
def test_lines_are_cut_at_newlines(items: list[Any], end: str, last_end: bool, data: st.DataObject) -> None:
    text = end.join(json.dumps(item) for item in items) + (end if last_end else "")
    check(text.encode(), data.draw(st.lists(st.integers(0), max_size=8)), items)


@given(st.lists(st.dictionaries(st.sampled_from("ab"), values, min_size=1, max_size=3), max_size=4), st.data())
def test_objects_over_several_lines_are_put_together(items: list[Any], data: st.DataObject) -> None:
    text = "\n".join(json.dumps(item, indent=1) for item in items)
    check(text.encode(), data.draw(st.lists(st.integers(0), max_size=8)), items)


@given(st.binary(max_size=40) | st.text('[]{},:"\\1a \n', max_size=40).map(str.encode), st.integers(1, 5))
def test_any_bytes_are_cut_alike_in_any_chunks(data: bytes, size: int) -> None:
    whole = parts_of(data)
    assert parts_of(data, size) == whole
    edges = [edge for part in whole for edge in (part.start, part.end)]
    assert edges == sorted(edges)
    assert all(part.value in (b"", data[part.start : part.end]) for part in whole)


def test_a_broken_line_spoils_no_other() -> None:
    data = b'{"a":1}\nnot json\n{"b":\n{"c":[1}\n\n[1,2]\n{"d":4}'
    assert [part.value for part in parts_of(data)] == [
        b'{"a":1}',
        b"not json",
        b'{"b":',
        b'{"c":[1}',
        b"[1,2]",
        b'{"d":4}',
    ]


@pytest.mark.parametrize(
    ("data", "good", "rest"),
    [
        (b'[{"a":1},{"b":[1},{"c":1}]', [b'{"a":1}'], b'{"b":[1},{"c":1}]'),
        (b'[{"a":1},{"b":1', [b'{"a":1}'], b'{"b":1'),
        (b'[{"a":1},{"b":"x', [b'{"a":1}'], b'{"b":"x'),
        (b'[{"a":1},{"b":1}', [b'{"a":1}', b'{"b":1}'], b""),
        (b'[{"a":1}}, {"b":1}]', [], b'{"a":1}}, {"b":1}]'),
        (b"[", [], b""),
    ],
)
def test_an_array_that_breaks_off_ends_with_one_part_that_says_so(
    data: bytes, good: list[bytes], rest: bytes
) -> None:
    parts = parts_of(data)
    assert [part.value for part in parts[:-1]] == good
    assert [part.problem for part in parts[:-1]] == [None] * len(good)
    assert parts[-1].problem is not None
    assert parts[-1].problem.code == "malformed-json"
    assert parts[-1].value == rest


@pytest.mark.parametrize("data", [b"[1,,2]", b"[,1]", b"[1,]"])
def test_a_missing_element_is_a_problem_of_its_own(data: bytes) -> None:
    problems = [part.problem.code for part in parts_of(data) if part.problem]
    assert problems == ["malformed-json"]


def test_an_element_with_wrong_json_inside_is_left_to_its_decoder() -> None:
    assert [part.value for part in parts_of(b'[{"a":tru},{"b":1} x,{"c":1}]')] == [
        b'{"a":tru}',
        b'{"b":1} x',
        b'{"c":1}',
    ]


@pytest.mark.parametrize("size", [1, 3, 64, 65_536])
@pytest.mark.parametrize("frame", [b"[%b,%b,%b]", b'{"Records":[%b,%b,%b]}', b"%b\n%b\n%b\n"])
def test_a_part_too_long_is_named_and_passed_over(frame: bytes, size: int) -> None:
    long = b'{"x":"' + b'\\"]}' * 300 + b'","y":[{}]}'
    data = frame % (b'{"a":1}', long, b'{"b":1}')
    slicer = Slicer((data[at : at + size] for at in range(0, len(data), size)), max_bytes=1000)
    parts = list(slicer)
    assert [part.value for part in parts] == [b'{"a":1}', b"", b'{"b":1}']
    assert parts[1].problem is not None
    assert parts[1].problem.code == "too-large"
    assert data[parts[1].start : parts[1].end] == long


def test_a_byte_order_mark_is_passed_over() -> None:
    (part,) = parts_of(b'\xef\xbb\xbf{"a":1}', 1)
    assert (part.start, part.value) == (3, b'{"a":1}')


def test_the_same_line_twice_has_two_prefix_ids_that_growth_does_not_change() -> None:
    line = b'{"a":1}\n'

    def ids(data: bytes) -> list[str]:
        slicer = Slicer([data])
        return [slicer.prefix_id() for _ in slicer]

    short, grown = ids((line * 2).rstrip()), ids(line * 3)
    assert len(set(grown)) == 3
    assert grown[:2] == short


@pytest.mark.parametrize("framing", ["array", "lines", "one endless value"])
def test_memory_stays_flat_on_a_long_stream(framing: str) -> None:
    item = b'{"a":"' + b"x" * 200 + b'"}'
    count = 60_000

    def stream() -> Iterator[bytes]:
        if framing == "array":
            yield b"["
            for _ in range(count // 100):
                yield (item + b",") * 100
            yield item + b"]"
        elif framing == "lines":
            for _ in range(count // 100):
                yield (item + b"\n") * 100
            yield item
        else:
            yield b'[{"a":"'
            for _ in range(count // 100):
                yield item.replace(b'"', b"'") * 100
            yield b'"}]'

    tracemalloc.start()
    try:
        seen = sum(1 for _ in Slicer(stream()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == (1 if framing.startswith("one") else count + 1)
    assert peak < len(item) * count / 3
