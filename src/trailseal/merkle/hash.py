"""RFC 6962 section 2.1: how leaves, nodes and ranges of leaves are hashed.

A leaf is ``SHA-256(0x00 | entry)``, an inner node ``SHA-256(0x01 | left | right)``, the empty tree
``SHA-256("")``. The two prefixes keep a leaf from ever being read as a node. The functions that take many
values at once exist because they run for every record of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from trailseal.merkle.errors import InvalidEncoding

HASH_SIZE: Final = 32
"""Bytes in a SHA-256 hash."""

MAX_TREE_SIZE: Final = 2**63 - 1
"""The largest tree size that is accepted anywhere: what a signed 64-bit integer holds."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree without leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one leaf's entry."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hashes of many entries, in order."""
    sha = sha256
    return [sha(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the inner node above two hashes."""
    return sha256(b"\x01" + left + right).digest()


def paired_hashes(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the nodes one level up, of neighbours taken two by two; an odd last one is left out."""
    sha = sha256
    rest = iter(hashes)
    return [sha(b"\x01" + left + right).digest() for left, right in zip(rest, rest, strict=False)]


def range_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over some leaf hashes (RFC 6962's ``MTH``).

    It is computed level by level; an odd last node rises unchanged, which gives the same tree as the
    recursive definition, where the left side always holds the largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        level = paired_hashes(level) + odd
    return level[0]


def split_hashes(joined: bytes) -> list[bytes]:
    """Cut concatenated hashes apart.

    Raises:
        InvalidEncoding: the length is not a multiple of 32.
    """
    if len(joined) % HASH_SIZE:
        raise InvalidEncoding(f"{len(joined)} bytes are no whole number of {HASH_SIZE}-byte hashes")
    return [joined[at : at + HASH_SIZE] for at in range(0, len(joined), HASH_SIZE)]
