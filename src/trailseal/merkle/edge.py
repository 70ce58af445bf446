"""The right edge of a tiled tree: all of it that is not yet in full tiles, and how it grows.

The edge holds the partial tile of every level and the entries of the partial bundle. With it alone a writer
appends, gives the root, and serves every partial tile (also of older sizes, by truncation); with the full
tiles, stored under their own roots, any tile of the tree is found from the edge downwards. It never changes:
growing gives a new edge and the tiles and bundles that became full, so that a writer that loses its place
leaves nothing but unreferenced tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frontier import Frontier
from trailseal.merkle.hash import HASH_SIZE, MAX_TREE_SIZE, leaf_hashes, range_root, split_hashes
from trailseal.merkle.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    TileName,
    decode_bundle,
    encode_bundle,
    tile_width,
    truncated_tile,
)

_VERSION: Final = 1
_FIXED_START: Final = 9  # version and size
_TILES_KEPT: Final = 16


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile, or an entry bundle (``name.level`` None), that is complete and will never change.

    Attributes:
        name: where it stands in the tree.
        root: the root of the subtree it represents: its name in a content-addressed store.
        data: its bytes.
    """

    name: TileName
    root: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """What an append gives: the new edge, and what must be stored before the edge is.

    Attributes:
        edge: the edge after the append.
        tiles: the tiles that became full, level by level.
        bundles: the entry bundles that became full.
    """

    edge: RightEdge
    tiles: tuple[FullTile, ...]
    bundles: tuple[FullTile, ...]


@dataclass(frozen=True, slots=True)
class RightEdge:
    """A tree's size and everything to the right of its full tiles.

    Attributes:
        size: the number of leaves.
        entries: the entries of the partial bundle, ``size % 256`` of them.
        tiles: of each level from 0, the concatenated hashes of the partial tile (empty where the last tile
            is full).
    """

    size: int = 0
    entries: tuple[bytes, ...] = ()
    tiles: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """Return the tree's root."""
        return self.frontier().root()

    def frontier(self) -> Frontier:
        """Return the tree's peaks, folded from the partial tiles (at most 255 hashes a level)."""
        frontier = Frontier()
        for level in reversed(range(len(self.tiles))):
            frontier = frontier.joined(TILE_HEIGHT * level, split_hashes(self.tiles[level]))
        return frontier

    def grown(self, entries: Sequence[bytes]) -> Growth:
        """Append entries.

        Raises:
            InvalidEncoding: an entry is longer than 65,535 bytes, or the tree would be too large.
        """
        size = self.size + len(entries)
        if size > MAX_TREE_SIZE:
            raise InvalidEncoding(f"a tree cannot have {size} leaves")
        full: list[FullTile] = []
        partial: list[bytes] = []
        arriving = leaf_hashes(entries)
        for level in range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT):
            tile = self.tiles[level] if level < len(self.tiles) else b""
            done, rest = _filled(level, self.size >> TILE_HEIGHT * (level + 1), tile + b"".join(arriving))
            partial.append(rest)
            full.extend(done)
            arriving = [tile.root for tile in done]
        bundles, kept = self._bundled(entries, full)
        return Growth(RightEdge(size, kept, tuple(partial)), tuple(full), bundles)

    def partial_tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return the beginning of the partial tile at that place, or None where the tile is full.

        Raises:
            InvalidEncoding: the tree has no tile of that width there.
        """
        if level < 0 or index < 0 or not 1 <= width <= tile_width(level, index, self.size):
            raise InvalidEncoding(f"no tile {index} of level {level}, width {width}, in a tree of {self.size}")
        if index < self.size >> TILE_HEIGHT * (level + 1):
            return None
        return truncated_tile(self.tiles[level], width)

    def to_bytes(self) -> bytes:
        """Serialise: ``u8 version | u64 size | partial bundle | partial tiles of level 1, 2, …``.

        Level 0 is left out: it follows from the entries. About 17 KB and 8 KB a level at most.
        """
        start = _VERSION.to_bytes(1, "big") + self.size.to_bytes(8, "big")
        return b"".join((start, encode_bundle(self.entries), *self.tiles[1:]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore what ``to_bytes`` gave.

        Raises:
            InvalidEncoding: the bytes are of another version, cut off, or go on after the end.
        """
        if len(data) < _FIXED_START or data[0] != _VERSION:
            raise InvalidEncoding(f"not a right edge of version {_VERSION}")
        size = int.from_bytes(data[1:_FIXED_START], "big")
        if size > MAX_TREE_SIZE:
            raise InvalidEncoding(f"a tree cannot have {size} leaves")
        levels = range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)
        lengths = [(size >> TILE_HEIGHT * level) % TILE_WIDTH * HASH_SIZE for level in levels]
        end = len(data) - sum(lengths[1:])
        if end < _FIXED_START:
            raise InvalidEncoding("a right edge is cut off")
        entries = tuple(decode_bundle(data[_FIXED_START:end], size % TILE_WIDTH))
        tiles = [b"".join(leaf_hashes(entries))] if size else []
        for length in lengths[1:]:
            tiles.append(data[end : end + length])
            end += length
        return cls(size, entries, tuple(tiles))

    def _bundled(
        self, entries: Sequence[bytes], full: Sequence[FullTile]
    ) -> tuple[tuple[FullTile, ...], tuple[bytes, ...]]:
        pending = [*self.entries, *entries]
        bundles = tuple(
            FullTile(TileName(None, tile.name.index), tile.root, encode_bundle(pending[at : at + TILE_WIDTH]))
            for at, tile in zip(range(0, len(pending), TILE_WIDTH), full, strict=False)
            if tile.name.level == 0
        )
        kept = tuple(pending[len(bundles) * TILE_WIDTH :])
        encode_bundle(kept)
        return bundles, kept


class StoredTree:
    """A tree whose full tiles lie in a store under their roots, read from its edge downwards.

    ``read_tile`` is a ``TileReader``. A tile's root stands in the tile above it, so finding one costs a read
    a level; those tiles are the ones a proof needs anyway, and the last few are kept.

    Args:
        edge: the tree's right edge.
        fetch: gives a full tile's bytes by its root; raises its own error where there is none.
    """

    def __init__(self, edge: RightEdge, fetch: Callable[[bytes], bytes]) -> None:
        self._edge = edge
        self._fetch = fetch
        self._kept: dict[tuple[int, int], bytes] = {}

    def read_tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first ``width`` hashes of a tile.

        Raises:
            InvalidEncoding: the tree has no such tile, or the store gave something that is none.
        """
        partial = self._edge.partial_tile(level, index, width)
        return partial if partial is not None else truncated_tile(self._full_tile(level, index), width)

    def tile_root(self, level: int, index: int) -> bytes:
        """Return the root of a full tile: the store's name for it, and for its bundle at level 0.

        Raises:
            InvalidEncoding: that tile is not full in this tree.
        """
        if tile_width(level, index, self._edge.size) != TILE_WIDTH:
            raise InvalidEncoding(f"tile {index} of level {level} is not full in a tree of {self._edge.size}")
        above, at = divmod(index, TILE_WIDTH)
        return self.read_tile(level + 1, above, at + 1)[-HASH_SIZE:]

    def _full_tile(self, level: int, index: int) -> bytes:
        tile = self._kept.get((level, index))
        if tile is None:
            tile = self._fetch(self.tile_root(level, index))
            if len(tile) != TILE_WIDTH * HASH_SIZE:
                raise InvalidEncoding(f"the stored tile {index} of level {level} has {len(tile)} bytes")
            if len(self._kept) >= _TILES_KEPT:
                self._kept.clear()
            self._kept[level, index] = tile
        return tile


def _filled(level: int, index: int, joined: bytes) -> tuple[list[FullTile], bytes]:
    """Cut a level's pending hashes into full tiles, the first of them tile ``index``, and the rest."""
    span = TILE_WIDTH * HASH_SIZE
    count = len(joined) // span
    full = [joined[at * span : (at + 1) * span] for at in range(count)]
    tiles = [
        FullTile(TileName(level, index + at), range_root(split_hashes(data)), data) for at, data in enumerate(full)
    ]
    return tiles, joined[count * span :]
