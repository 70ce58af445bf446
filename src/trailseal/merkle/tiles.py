"""C2SP tlog-tiles: how a tree is cut into tiles and bundles, and how hashes are read back from them.

A tile at level ``L`` holds up to 256 hashes, each the root of ``256**L`` leaves; an entry bundle holds the
entries under a level 0 tile, each behind a big-endian uint16 length. Only the last tile of a level can be
partial, and a partial tile is a beginning of the full one. Source: ``tlog-tiles.md`` in C2SP/C2SP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.hash import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE, node_hash, paired_hashes, split_hashes
from trailseal.merkle.proofs import RangeHash

TileReader: TypeAlias = Callable[[int, int, int], bytes]
"""Gives a tile's bytes: level, index, width (1-256) -> exactly ``32 * width`` bytes."""

Folded: TypeAlias = list[list[bytes]]
"""A tile's hashes and the levels of nodes above them, the lowest first; of a full tile the last is its root."""

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8
MAX_ENTRY_SIZE: Final = 0xFFFF
MAX_LEVEL: Final = 63

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_TILES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class TileName:
    """Which tile or entry bundle, and how much of it.

    Attributes:
        level: the tile's level, or None for an entry bundle.
        index: its index within the level.
        width: how many hashes or entries: 256 for a full one, less for a partial one.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Return the path under the log's prefix, for example ``tile/0/x001/x234/067.p/8``.

        Raises:
            InvalidEncoding: the level, index or width is out of range.
        """
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise InvalidEncoding(f"there is no tile level {self.level}")
        if not 0 <= self.index <= MAX_TREE_SIZE or not 1 <= self.width <= TILE_WIDTH:
            raise InvalidEncoding(f"there is no tile {self.index} of width {self.width}")
        index, last = divmod(self.index, 1000)
        elements = [f"{last:03d}"]
        while index:
            index, element = divmod(index, 1000)
            elements.append(f"x{element:03d}")
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(elements))}{suffix}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a path back; exactly what ``path`` writes is accepted.

        Raises:
            InvalidEncoding: the path is not in that form, has superfluous zeroes, or is out of range.
        """
        found = _PATH.fullmatch(path)
        if found is None:
            raise InvalidEncoding("not the path of a tile or an entry bundle")
        level = None if found["level"] == "entries" else int(found["level"])
        index = int(found["index"].replace("x", "").replace("/", ""))
        name = cls(level, index, int(found["width"] or TILE_WIDTH))
        if name.path() != path:
            raise InvalidEncoding("the path of a tile or an entry bundle is not in its shortest form")
        return name


def tile_width(level: int, index: int, size: int) -> int:
    """Return how many hashes a tile has in a tree of that size: 0 (none yet) to 256 (full)."""
    return min(max((size >> TILE_HEIGHT * level) - index * TILE_WIDTH, 0), TILE_WIDTH)


def partial_tiles(size: int) -> list[TileName]:
    """Return the partial tiles of a tree, from level 0 up; the level 0 one has a bundle of its width."""
    levels = range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)
    counts = ((level, size >> TILE_HEIGHT * level) for level in levels)
    return [TileName(level, *divmod(count, TILE_WIDTH)) for level, count in counts if count % TILE_WIDTH]


def filled_tiles(first: int, second: int) -> Iterator[TileName]:
    """Yield the tiles that become full when a tree grows from ``first`` to ``second`` leaves.

    The level 0 ones stand for their entry bundles as well.
    """
    level, was, now = 0, first >> TILE_HEIGHT, second >> TILE_HEIGHT
    while now:
        yield from (TileName(level, index) for index in range(was, now))
        level, was, now = level + 1, was >> TILE_HEIGHT, now >> TILE_HEIGHT


def truncated_tile(tile: bytes, width: int) -> bytes:
    """Return the partial tile of some width from a wider one.

    Raises:
        InvalidEncoding: the tile is no whole number of hashes, or not that wide.
    """
    if len(tile) % HASH_SIZE or not 1 <= width <= TILE_WIDTH or len(tile) < width * HASH_SIZE:
        raise InvalidEncoding(f"a tile of {len(tile)} bytes cannot be cut to {width} hashes")
    return tile[: width * HASH_SIZE]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Encode entries as a bundle: each behind its big-endian uint16 length.

    Raises:
        InvalidEncoding: more than 256 entries, or one longer than 65,535 bytes.
    """
    if len(entries) > TILE_WIDTH or any(len(entry) > MAX_ENTRY_SIZE for entry in entries):
        raise InvalidEncoding(f"a bundle holds at most {TILE_WIDTH} entries of {MAX_ENTRY_SIZE} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Decode a bundle that must hold exactly ``width`` entries.

    Raises:
        InvalidEncoding: it is cut off, or holds fewer or more.
    """
    entries: list[bytes] = []
    at = 0
    for _ in range(width):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise InvalidEncoding(f"an entry bundle ends inside entry {len(entries)} of {width}")
        entries.append(data[start:at])
    if at != len(data):
        raise InvalidEncoding(f"{len(data) - at} bytes follow the {width} entries of a bundle")
    return entries


def tile_range_hash(read: TileReader, size: int, full: Callable[[int, int], Folded] | None = None) -> RangeHash:
    """Return a function that gives the roots of a tree's subtrees, reading tiles as it needs them.

    A proof needs a tile a level on the way to its leaf and the last tile of each level: at 10 million
    leaves at most 5. What was read is kept while the function lives (up to 64 tiles), so many proofs of
    neighbouring leaves cost few reads. The tiles are believed: a proof from false tiles does not verify.

    Args:
        read: gives tiles; asked only for tiles of the tree of that size, at their width in it.
        size: the tree's size.
        full: gives full tiles folded, by level and index, where somebody has folded them already.

    Raises (the returned function):
        InvalidEncoding: a tile is not as long as asked for, or the range is no subtree of the tree.
    """
    kept: dict[tuple[int, int], Folded] = {}

    def folded(level: int, index: int) -> Folded:
        found = kept.get((level, index))
        if found is None:
            if len(kept) >= _TILES_KEPT:
                kept.clear()
            width = tile_width(level, index, size)
            known = full(level, index) if full is not None and width == TILE_WIDTH else None
            found = kept[level, index] = known or fold_tile(_read_whole(read, level, index, width))
        return found

    def range_hash(start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= size:
            raise InvalidEncoding(f"leaves {start} to {stop} are not in a tree of {size}")
        pieces: list[bytes] = []
        while start < stop:
            height = (stop - start).bit_length() - 1
            if start & ((1 << height) - 1):
                raise InvalidEncoding(f"the leaves from {start} to {stop} are no subtree")
            level, up = divmod(height, TILE_HEIGHT)
            index, at = divmod(start >> TILE_HEIGHT * level, TILE_WIDTH)
            pieces.append(folded(level, index)[up][at >> up])
            start += 1 << height
        if not pieces:
            return EMPTY_ROOT
        result = pieces.pop()
        while pieces:
            result = node_hash(pieces.pop(), result)
        return result

    return range_hash


def fold_tile(hashes: Sequence[bytes]) -> Folded:
    """Return a tile's hashes with the nodes above them; a last one without a neighbour is left out above."""
    levels = [list(hashes)]
    for _ in range(TILE_HEIGHT):
        levels.append(paired_hashes(levels[-1]))
    return levels


def _read_whole(read: TileReader, level: int, index: int, width: int) -> list[bytes]:
    tile = read(level, index, width)
    if len(tile) != width * HASH_SIZE:
        raise InvalidEncoding(f"tile {index} of level {level} has {len(tile)} bytes, not {width} hashes")
    return split_hashes(tile)
