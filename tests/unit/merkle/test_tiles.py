"""Paths and the census of 70,000 leaves are the examples of C2SP's tlog-tiles."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.hash import leaf_hashes
from trailseal.merkle.tiles import (
    TileName,
    decode_bundle,
    encode_bundle,
    filled_tiles,
    partial_tiles,
    tile_range_hash,
    tile_width,
    truncated_tile,
)
from unit.merkle.recursive_tree import numbered_entries

names = st.builds(
    TileName,
    st.one_of(st.none(), st.integers(0, 63)),
    st.integers(0, 2**55),
    st.integers(1, 256),
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(0, 1234067), "tile/0/x001/x234/067"),
        (TileName(0, 0), "tile/0/000"),
        (TileName(63, 999, 1), "tile/63/999.p/1"),
        (TileName(1, 1000, 17), "tile/1/x001/000.p/17"),
        (TileName(None, 273, 112), "tile/entries/273.p/112"),
        (TileName(None, 1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths_are_written_and_read_as_the_specification_says(name: TileName, path: str) -> None:
    assert name.path() == path
    assert TileName.parse(path) == name


@settings(deadline=None)
@given(names)
def test_every_path_is_read_back(name: TileName) -> None:
    assert TileName.parse(name.path()) == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/../000",
        "tile/Entries/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_a_path_in_any_other_spelling_is_refused(path: str) -> None:
    with pytest.raises(InvalidEncoding):
        TileName.parse(path)


@pytest.mark.parametrize("name", [TileName(64, 0), TileName(-1, 0), TileName(0, -1), TileName(0, 0, 257)])
def test_a_tile_that_cannot_exist_has_no_path(name: TileName) -> None:
    with pytest.raises(InvalidEncoding):
        name.path()


def test_seventy_thousand_leaves_make_the_tiles_that_the_specification_counts() -> None:
    assert Counter(name.level for name in filled_tiles(0, 70_000)) == {0: 273, 1: 1}
    assert partial_tiles(70_000) == [TileName(0, 273, 112), TileName(1, 1, 17), TileName(2, 0, 1)]


def test_256_leaves_make_one_full_tile_and_a_partial_one_above_it() -> None:
    assert list(filled_tiles(0, 256)) == [TileName(0, 0)]
    assert partial_tiles(256) == [TileName(1, 0, 1)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 80_000), max_size=6))
def test_tiles_become_full_once_however_the_tree_grows(steps: list[int]) -> None:
    sizes = [0, *sorted(steps)]
    grown = [name for first, second in pairwise(sizes) for name in filled_tiles(first, second)]
    assert Counter(grown) == Counter(filled_tiles(0, sizes[-1]))


@settings(deadline=None)
@given(st.integers(0, 2**40))
def test_widths_agree_with_the_list_of_partial_tiles(size: int) -> None:
    for name in partial_tiles(size):
        assert name.level is not None
        assert tile_width(name.level, name.index, size) == name.width == (size >> 8 * name.level) % 256
        assert tile_width(name.level, name.index + 1, size) == 0
        assert name.index == 0 or tile_width(name.level, name.index - 1, size) == 256


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=256))
def test_a_bundle_is_read_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


def test_a_bundle_has_big_endian_lengths() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 258]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x02" + b"c" * 258


def test_a_bundle_of_another_width_or_cut_off_is_refused() -> None:
    data = encode_bundle([b"ab", b"cde"])
    for damaged, width in ((data, 1), (data, 3), (data[:-1], 2), (data + b"\x00", 2), (data[:5], 2)):
        with pytest.raises(InvalidEncoding):
            decode_bundle(damaged, width)


def test_a_bundle_that_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(InvalidEncoding):
        encode_bundle([b""] * 257)
    with pytest.raises(InvalidEncoding):
        encode_bundle([bytes(65_536)])
    assert decode_bundle(encode_bundle([bytes(65_535)]), 1) == [bytes(65_535)]


def test_a_partial_tile_is_the_beginning_of_the_full_one() -> None:
    tile = b"".join(leaf_hashes(numbered_entries(256)))
    assert truncated_tile(tile, 112) == tile[: 112 * 32]
    for width, data in ((0, tile), (257, tile), (3, tile[:64]), (1, tile[:33])):
        with pytest.raises(InvalidEncoding):
            truncated_tile(data, width)


def test_a_reader_that_gives_too_much_or_too_little_is_refused() -> None:
    tile = b"".join(leaf_hashes(numbered_entries(5)))
    for given_tile in (tile[:-32], tile + bytes(32), b""):
        with pytest.raises(InvalidEncoding, match="not 5 hashes"):
            tile_range_hash(lambda _level, _index, _width, data=given_tile: data, 5)(0, 5)


def test_only_subtrees_of_the_tree_have_a_hash() -> None:
    tile = b"".join(leaf_hashes(numbered_entries(7)))
    range_hash = tile_range_hash(lambda _level, _index, _width: tile, 7)
    for start, stop in ((1, 3), (-1, 2), (4, 8), (5, 4), (2, 6)):
        with pytest.raises(InvalidEncoding):
            range_hash(start, stop)
