"""A tree that lies in a ledger: its tiles, checked as they are read, its roots and its proofs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final, Self

from trailseal.errors import IntegrityViolation
from trailseal.merkle.edge import RightEdge, StoredTree
from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.hash import HASH_SIZE, leaf_hashes, split_hashes
from trailseal.merkle.proofs import RangeHash, prove_consistency, prove_inclusion
from trailseal.merkle.tiles import (
    TILE_WIDTH,
    Folded,
    TileName,
    decode_bundle,
    encode_bundle,
    fold_tile,
    tile_range_hash,
    tile_width,
)
from trailseal.ports.seals import SealStore
from trailseal.sealing.state import SealState

_BUNDLES_KEPT: Final = 4
_TILES_KEPT: Final = 256
"""About 37 KB each: the full tiles above the bundles of 16 million leaves."""


class KnownTiles:
    """Full tiles by their root, folded and checked; those used last are kept. Safe to use from many threads.

    A full tile never changes, so several trees of one ledger may share them, one after the other.
    """

    def __init__(self, most: int = _TILES_KEPT) -> None:
        self._most = most
        self._tiles: OrderedDict[bytes, Folded] = OrderedDict()
        self._lock = Lock()

    def get(self, root: bytes) -> Folded | None:
        """The tile, if it is among them."""
        with self._lock:
            found = self._tiles.get(root)
            if found is not None:
                self._tiles.move_to_end(root)
            return found

    def keep(self, root: bytes, tile: Folded) -> None:
        """Remember a tile that was checked."""
        with self._lock:
            self._tiles[root] = tile
            while len(self._tiles) > self._most:
                self._tiles.popitem(last=False)


class LogTree:
    """One partition's tree up to its head. Used by one thread at a time.

    Level 0 is stored as entry bundles only: the tile follows from them. A stored tile or bundle that does not have
    the root it is stored under is refused, so nothing false is ever served or proved from.

    Args:
        edge: of the head.
        store: where full tiles and bundles are.
        known: tiles that need not be read again. A verification leaves it out: what it does not read, it cannot
            find damaged.
    """

    def __init__(self, edge: RightEdge, store: SealStore, known: KnownTiles | None = None) -> None:
        self.edge = edge
        self._store = store
        self._known = KnownTiles() if known is None else known
        self._bundles: OrderedDict[bytes, tuple[list[bytes], Folded]] = OrderedDict()
        self._stored = StoredTree(edge, self._fetch)
        self._proving: tuple[int, RangeHash] | None = None

    @classmethod
    def of(cls, seal: bytes | None, store: SealStore, known: KnownTiles | None = None) -> Self:
        """The tree whose right edge a head's seal holds; without a seal the empty one.

        Raises:
            IntegrityViolation: the seal is damaged.
        """
        return cls(SealState.of(seal).edge, store, known)

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self.edge.size

    def root(self, size: int) -> bytes:
        """The root when it had that many leaves.

        Raises:
            IntegrityViolation: a tile is missing or false.
        """
        with _checked():
            if size == self.edge.size:
                return self.edge.root()
            return self._range_hash(size)(0, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that a leaf is in the tree of that size; many in one size cost little each. See `root`."""
        with _checked():
            if self._proving is None or self._proving[0] != size:
                self._proving = (size, self._range_hash(size))
            return prove_inclusion(self._proving[1], index, size)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that the tree of the second size grew out of that of the first; see `root`."""
        with _checked():
            return prove_consistency(self._range_hash(second), first, second)

    def tile(self, name: TileName) -> bytes:
        """A tile or bundle as C2SP tlog-tiles serves it; partial ones are beginnings of what is there now.

        Raises:
            InvalidEncoding: this tree has none of that name.
            IntegrityViolation: it is missing or false.
        """
        if not 1 <= name.width <= tile_width(name.level or 0, name.index, self.edge.size):
            raise InvalidEncoding("the tree has no such tile")
        with _checked():
            if name.level is None:
                return encode_bundle(self.bundle(name.index)[: name.width])
            return self._stored.read_tile(name.level, name.index, name.width)

    def bundle(self, index: int) -> list[bytes]:
        """The entries under a level 0 tile, as many as there are.

        Raises:
            IntegrityViolation: they are missing or false.
        """
        with _checked():
            if index == self.edge.size // TILE_WIDTH:
                return list(self.edge.entries)
            root = self._stored.tile_root(0, index)
            self._full(root)
            if root not in self._bundles:
                raise _no_bundle(root)
            return self._bundles[root][0]

    def bundles(self, first: int, stop: int) -> list[list[bytes]]:
        """Those of the level 0 tiles in [first, stop), asked for all at once; see `bundle`.

        Raises:
            IntegrityViolation: one is missing or false.
        """
        with _checked():
            full = range(first, min(stop, self.edge.size // TILE_WIDTH))
            roots = [self._stored.tile_root(0, index) for index in full]
            held = self._store.tiles(roots)
            found = [_unfolded(root, held.get(root))[0] for root in roots]
            if [] in found:
                raise _no_bundle(roots[found.index([])])
        return [*found, *(self.bundle(index) for index in range(full.stop, stop))]

    def tile_root(self, level: int, index: int) -> bytes:
        """The root of a full tile, from the tile above it; see `root`."""
        with _checked():
            return self._stored.tile_root(level, index)

    def entry(self, index: int) -> bytes:
        """The entry of one leaf; see `bundle`."""
        return self.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def _range_hash(self, size: int) -> RangeHash:
        return tile_range_hash(
            self._stored.read_tile, size, lambda level, index: self._full(self._stored.tile_root(level, index))
        )

    def _fetch(self, root: bytes) -> bytes:
        return b"".join(self._full(root)[0])

    def _full(self, root: bytes) -> Folded:
        """A full tile; of level 0 made from its bundle, which is kept as well."""
        bundle = self._bundles.get(root)
        if bundle is not None:
            self._bundles.move_to_end(root)
            return bundle[1]
        known = self._known.get(root)
        if known is not None:
            return known
        entries, tile = _unfolded(root, self._store.tile(root))
        if not entries:
            self._known.keep(root, tile)
            return tile
        self._bundles[root] = (entries, tile)
        while len(self._bundles) > _BUNDLES_KEPT:
            self._bundles.popitem(last=False)
        return tile


def _no_bundle(root: bytes) -> IntegrityViolation:
    return IntegrityViolation(f"An entry bundle of the tree is missing (root {root.hex()[:16]}…).")


def _unfolded(root: bytes, data: bytes | None) -> tuple[list[bytes], Folded]:
    """What is stored under a root: the entries, none of an upper tile, and the checked tile."""
    if data is None:
        raise IntegrityViolation(f"A tile of the tree is missing from the ledger (root {root.hex()[:16]}…).")
    entries = [] if len(data) == TILE_WIDTH * HASH_SIZE else decode_bundle(data, TILE_WIDTH)
    tile = fold_tile(leaf_hashes(entries) if entries else split_hashes(data))
    if tile[-1] != [root]:
        raise IntegrityViolation(f"A tile in the ledger was altered (root {root.hex()[:16]}…).")
    return entries, tile


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except InvalidEncoding as error:
        raise IntegrityViolation(f"The stored tree is damaged: {error}.") from error
