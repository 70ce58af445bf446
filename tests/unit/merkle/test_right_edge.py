from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.edge import RightEdge, StoredTree
from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frontier import Frontier
from trailseal.merkle.hash import EMPTY_ROOT, leaf_hashes, range_root, split_hashes
from trailseal.merkle.proofs import prove_consistency, prove_inclusion, verify_consistency, verify_inclusion
from trailseal.merkle.tiles import decode_bundle, filled_tiles, partial_tiles, tile_range_hash
from unit.merkle.recursive_tree import numbered_entries

ENTRIES = [str(number).encode() for number in range(70_000)]


class CountingStore:
    """Full tiles and bundles by their root, as a ledger keeps them."""

    def __init__(self) -> None:
        self.tiles: dict[bytes, bytes] = {}
        self.bundles: dict[bytes, bytes] = {}
        self.reads = 0

    def fetch(self, root: bytes) -> bytes:
        self.reads += 1
        return self.tiles[root]


def grow(edge: RightEdge, entries: list[bytes], store: CountingStore) -> RightEdge:
    growth = edge.grown(entries)
    assert [tile.name for tile in growth.tiles] == list(filled_tiles(edge.size, edge.size + len(entries)))
    store.tiles.update({tile.root: tile.data for tile in growth.tiles})
    store.bundles.update({bundle.root: bundle.data for bundle in growth.bundles})
    return growth.edge


@pytest.fixture(scope="module")
def large() -> tuple[RightEdge, CountingStore]:
    store = CountingStore()
    generator = random.Random(3)
    edge, at = RightEdge(), 0
    while at < len(ENTRIES):
        count = generator.choice([1, 3, 255, 256, 257, 500, 5000])
        edge = grow(edge, ENTRIES[at : at + count], store)
        at += count
    return edge, store


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 100, 255, 256, 257, 512, 700]), max_size=8))
def test_any_split_into_batches_gives_one_edge_one_root_and_one_set_of_tiles(sizes: list[int]) -> None:
    total = sum(sizes)
    split_store, whole_store = CountingStore(), CountingStore()
    edge, at = RightEdge(), 0
    for count in sizes:
        edge = grow(edge, ENTRIES[at : at + count], split_store)
        at += count
        edge = RightEdge.from_bytes(edge.to_bytes())
        assert edge.root() == range_root(leaf_hashes(ENTRIES[:at]))
    assert edge == grow(RightEdge(), ENTRIES[:total], whole_store)
    assert split_store.tiles == whole_store.tiles
    assert split_store.bundles == whole_store.bundles


def test_the_edge_of_70_000_leaves_holds_exactly_the_partial_tiles(large: tuple[RightEdge, CountingStore]) -> None:
    edge, store = large
    assert [len(tile) // 32 for tile in edge.tiles] == [name.width for name in partial_tiles(70_000)]
    assert len(edge.entries) == 112
    assert len(store.tiles) == 274
    assert len(store.bundles) == 273
    assert edge.frontier() == Frontier().extended(leaf_hashes(ENTRIES))


def test_every_stored_tile_and_bundle_stands_under_its_own_root(large: tuple[RightEdge, CountingStore]) -> None:
    _, store = large
    assert all(range_root(split_hashes(data)) == root for root, data in store.tiles.items())
    for root, data in store.bundles.items():
        assert range_root(leaf_hashes(decode_bundle(data, 256))) == root


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999, 70_000])
def test_proofs_for_older_sizes_come_from_todays_edge_and_the_full_tiles(
    large: tuple[RightEdge, CountingStore], size: int
) -> None:
    edge, store = large
    range_hash = tile_range_hash(StoredTree(edge, store.fetch).read_tile, size)
    leaves = leaf_hashes(ENTRIES[:size])
    root = range_root(leaves)
    assert range_hash(0, size) == root
    generator = random.Random(size)
    for index in [0, size - 1, *(generator.randrange(size) for _ in range(20))]:
        verify_inclusion(leaves[index], index, size, prove_inclusion(range_hash, index, size), root)
        first_root = range_root(leaves[:index])
        verify_consistency(index, size, prove_consistency(range_hash, index, size), first_root, root)


def test_a_proof_reads_few_tiles_and_the_root_none(large: tuple[RightEdge, CountingStore]) -> None:
    edge, store = large
    generator = random.Random(4)
    for _ in range(200):
        index = generator.randrange(edge.size)
        store.reads = 0
        asked: set[tuple[int, int, int]] = set()
        tree = StoredTree(edge, store.fetch)

        def read(level: int, number: int, width: int, tree: StoredTree = tree, seen: set = asked) -> bytes:  # type: ignore[type-arg]  # keys only
            seen.add((level, number, width))
            return tree.read_tile(level, number, width)

        range_hash = tile_range_hash(read, edge.size)
        prove_inclusion(range_hash, index, edge.size)
        prove_consistency(range_hash, index, edge.size)
        assert len(asked) <= 5
        assert store.reads <= 2
    store.reads = 0
    tile_range_hash(StoredTree(edge, store.fetch).read_tile, edge.size)(0, edge.size)
    assert store.reads == 0


def test_bundles_are_found_by_the_root_of_the_tile_above_them(large: tuple[RightEdge, CountingStore]) -> None:
    edge, store = large
    tree = StoredTree(edge, store.fetch)
    assert decode_bundle(store.bundles[tree.tile_root(0, 100)], 256) == ENTRIES[25_600:25_856]
    with pytest.raises(InvalidEncoding, match="not full"):
        tree.tile_root(0, 273)


def test_what_the_tree_does_not_have_is_not_served(large: tuple[RightEdge, CountingStore]) -> None:
    edge, store = large
    tree = StoredTree(edge, store.fetch)
    for level, index, width in (
        (0, 273, 113),
        (0, 274, 1),
        (3, 0, 1),
        (2, 0, 2),
        (0, 0, 257),
        (0, 0, 0),
        (0, -1, 1),
    ):
        with pytest.raises(InvalidEncoding):
            tree.read_tile(level, index, width)


def test_a_store_that_gives_half_a_tile_is_refused(large: tuple[RightEdge, CountingStore]) -> None:
    edge, store = large
    with pytest.raises(InvalidEncoding, match="stored tile"):
        StoredTree(edge, lambda root: store.fetch(root)[:4096]).read_tile(0, 0, 1)


def test_the_edge_of_no_tree_is_small_and_has_the_empty_root() -> None:
    edge = RightEdge()
    assert edge.root() == EMPTY_ROOT
    assert RightEdge.from_bytes(edge.to_bytes()) == edge
    assert edge.grown([]).edge == edge


@pytest.mark.parametrize("size", [1, 255, 256, 300, 65_536, 66_000])
def test_damaged_bytes_of_an_edge_are_refused(size: int) -> None:
    data = RightEdge().grown(ENTRIES[:size]).edge.to_bytes()
    assert RightEdge.from_bytes(data).to_bytes() == data
    for damaged in (data[:-1], data + b"\x00", b"\x02" + data[1:], data[:8], b""):
        with pytest.raises(InvalidEncoding):
            RightEdge.from_bytes(damaged)


def test_growing_leaves_the_old_edge_as_it_was() -> None:
    edge = RightEdge().grown(numbered_entries(300)).edge
    before = edge.to_bytes()
    edge.grown(numbered_entries(1000))
    assert edge.to_bytes() == before


def test_an_entry_too_long_for_a_bundle_is_refused_before_the_bundle_is_full() -> None:
    with pytest.raises(InvalidEncoding):
        RightEdge().grown([bytes(65_536)])
