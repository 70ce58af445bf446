from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frontier import Frontier
from trailseal.merkle.hash import MAX_TREE_SIZE, leaf_hashes, range_root
from unit.merkle.recursive_tree import numbered_entries, tree_root

batches = st.lists(st.integers(min_value=0, max_value=90), max_size=8)


@settings(deadline=None)
@given(batches)
def test_any_split_into_batches_gives_the_root_of_the_recursive_definition(sizes: list[int]) -> None:
    entries = numbered_entries(sum(sizes))
    frontier, at = Frontier(), 0
    for count in sizes:
        frontier = frontier.extended(leaf_hashes(entries[at : at + count]))
        at += count
        assert frontier.size == at
        assert frontier.root() == tree_root(entries[:at])


@settings(deadline=None)
@given(batches, batches)
def test_a_restored_frontier_goes_on_as_if_nothing_had_happened(before: list[int], after: list[int]) -> None:
    leaves = leaf_hashes(numbered_entries(sum(before) + sum(after)))
    frontier = Frontier().extended(leaves[: sum(before)])
    restored = Frontier.from_bytes(frontier.to_bytes())
    assert restored == frontier
    assert restored.extended(leaves[sum(before) :]) == Frontier().extended(leaves)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
def test_whole_subtrees_can_be_appended_by_their_roots(level: int, before: int, count: int) -> None:
    width = 1 << level
    leaves = leaf_hashes(numbered_entries((before + count) * width))
    start = Frontier().extended(leaves[: before * width])
    roots = [range_root(leaves[at : at + width]) for at in range(before * width, len(leaves), width)]
    assert start.joined(level, roots) == Frontier().extended(leaves)


def test_a_subtree_that_would_not_be_aligned_is_refused() -> None:
    frontier = Frontier().extended(leaf_hashes(numbered_entries(3)))
    with pytest.raises(InvalidEncoding, match="cannot follow"):
        frontier.joined(1, leaf_hashes([b"x"]))
    with pytest.raises(InvalidEncoding, match="cannot follow"):
        frontier.joined(-1, leaf_hashes([b"x"]))


def test_appending_leaves_the_old_frontier_as_it_was() -> None:
    frontier = Frontier().extended(leaf_hashes(numbered_entries(7)))
    before = frontier.to_bytes()
    frontier.extended(leaf_hashes(numbered_entries(9)))
    assert frontier.to_bytes() == before


def test_a_frontier_is_small_whatever_the_size_of_the_tree() -> None:
    assert len(Frontier().extended(leaf_hashes(numbered_entries(65535))).to_bytes()) == 8 + 16 * 32


@pytest.mark.parametrize("change", ["cut", "long", "size"])
def test_bytes_whose_peaks_do_not_fit_the_size_are_refused(change: str) -> None:
    data = Frontier().extended(leaf_hashes(numbered_entries(5))).to_bytes()
    damaged = {"cut": data[:-1], "long": data + bytes(32), "size": (7).to_bytes(8, "big") + data[8:]}[change]
    with pytest.raises(InvalidEncoding):
        Frontier.from_bytes(damaged)


def test_a_short_hash_and_an_impossible_size_are_refused() -> None:
    with pytest.raises(InvalidEncoding):
        Frontier().extended([b"short"])
    with pytest.raises(InvalidEncoding):
        Frontier(MAX_TREE_SIZE + 1, (bytes(32),))
    with pytest.raises(InvalidEncoding):
        Frontier.from_bytes(b"\x00")
