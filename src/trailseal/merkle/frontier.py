"""The peaks of a growing tree: all that is needed to append to it and to know its root.

A tree of ``n`` leaves is cut into complete subtrees, one for each bit that is set in ``n``, the largest on
the left; their roots are the peaks (RFC 6962 section 2.1 read from the top; also called a compact range).
A frontier is at most 63 hashes, whatever the size of the tree, and never changes: appending gives a new one,
so a batch whose commit fails leaves nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, Self

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.hash import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_TREE_SIZE,
    node_hash,
    paired_hashes,
    split_hashes,
)

_SIZE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree's size and peaks.

    Attributes:
        size: the number of leaves.
        peaks: the roots of its complete subtrees, the largest (leftmost) first.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise InvalidEncoding(f"a tree cannot have {self.size} leaves")
        if len(self.peaks) != self.size.bit_count() or any(len(peak) != HASH_SIZE for peak in self.peaks):
            raise InvalidEncoding(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks of 32 bytes")

    def root(self) -> bytes:
        """Return the root hash: the peaks folded from the right."""
        if not self.peaks:
            return EMPTY_ROOT
        return reduce(lambda right, left: node_hash(left, right), reversed(self.peaks))

    def extended(self, leaves: Sequence[bytes]) -> Self:
        """Return the frontier after appending leaf hashes.

        It works a level at a time: the level's peak, if there is one, is the left neighbour of what
        arrives; pairs go up, an odd last one stays behind as the level's new peak. That is one hash and no
        branch for each leaf.

        Raises:
            InvalidEncoding: a leaf hash is not 32 bytes long.
        """
        return self._carried(0, leaves)

    def joined(self, level: int, subtrees: Sequence[bytes]) -> Self:
        """Return the frontier after appending complete subtrees of ``2**level`` leaves, by their roots.

        Raises:
            InvalidEncoding: the size is no multiple of ``2**level`` (the subtrees would not be aligned), or
                a root is not 32 bytes long.
        """
        if level < 0 or self.size % (1 << level):
            raise InvalidEncoding(f"subtrees of 2^{level} leaves cannot follow {self.size} leaves")
        return self._carried(level, subtrees)

    def to_bytes(self) -> bytes:
        """Serialise: ``u64 size``, then the peaks, largest first; at most 512 bytes."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore what ``to_bytes`` gave.

        Raises:
            InvalidEncoding: the number of peaks does not fit the size.
        """
        if len(data) < _SIZE_BYTES:
            raise InvalidEncoding("a frontier is cut off")
        return cls(int.from_bytes(data[:_SIZE_BYTES], "big"), tuple(split_hashes(data[_SIZE_BYTES:])))

    def _carried(self, level: int, arriving: Sequence[bytes]) -> Self:
        if any(len(node) != HASH_SIZE for node in arriving):
            raise InvalidEncoding(f"a hash is {HASH_SIZE} bytes long")
        size = self.size + (len(arriving) << level)
        peaks = list(self.peaks)
        below = [peaks.pop() for bit in range(level) if self.size >> bit & 1]
        nodes = list(arriving)
        kept: list[bytes] = below
        while nodes:
            if self.size >> level & 1:
                nodes.insert(0, peaks.pop())
            if len(nodes) % 2:
                kept.append(nodes[-1])
            nodes = paired_hashes(nodes)
            level += 1
        return type(self)(size, (*peaks, *reversed(kept)))
