"""Inclusion and consistency proofs: made from subtree hashes, verified from nothing but the proof.

Made as RFC 6962 sections 2.1.1 and 2.1.2 define them, verified with the algorithms of RFC 9162 sections
2.1.3.2 and 2.1.4.2. A verifier returns nothing and raises where the proof does not hold; it reads no sizes or
indices from the proof, so a proof fits exactly one position in a tree of exactly one size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from trailseal.merkle.errors import InvalidProof
from trailseal.merkle.hash import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE, node_hash

RangeHash: TypeAlias = Callable[[int, int], bytes]
"""Gives the root of the leaves ``[start, stop)``; asked only for ranges that are subtrees of the tree."""

MAX_PROOF_LENGTH = 63
"""No proof in a tree of fewer than 2**63 leaves is longer (a consistency proof: C2SP tlog-witness)."""


def prove_inclusion(range_hash: RangeHash, index: int, size: int) -> list[bytes]:
    """Return the proof that a leaf is in a tree: its siblings from the leaf up (RFC 6962 section 2.1.1).

    Args:
        range_hash: gives the hashes of the tree's subtrees.
        index: the leaf, counted from 0.
        size: the number of leaves of the tree the proof is for.

    Raises:
        InvalidProof: there is no such leaf in a tree of that size.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise InvalidProof(f"no leaf {index} in a tree of {size}")
    return [range_hash(start, stop) for start, stop in reversed(list(_siblings(index, size)))]


def prove_consistency(range_hash: RangeHash, first: int, second: int) -> list[bytes]:
    """Return the proof that a tree grew out of a smaller one (RFC 6962 section 2.1.2).

    Args:
        range_hash: gives the hashes of the larger tree's subtrees.
        first: the size of the smaller tree; 0 has an empty proof.
        second: the size of the larger tree.

    Raises:
        InvalidProof: ``first`` is larger than ``second``, or a size is out of range.
    """
    _check_size(first)
    _check_size(second)
    if first > second:
        raise InvalidProof(f"a tree of {second} leaves cannot have grown out of one of {first}")
    if first in {0, second}:
        return []
    path: list[bytes] = []
    start, stop = 0, second
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(range_hash(middle, stop))
            stop = middle
        else:
            path.append(range_hash(start, middle))
            start = middle
    if start:
        path.append(range_hash(start, stop))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf stands at an index of the tree with that size and root.

    Args:
        leaf: the leaf's hash.
        index: the leaf's index, from 0.
        size: the tree's size, from a checkpoint that was verified.
        proof: the siblings, from the leaf up.
        root: the tree's root, from the same checkpoint.

    Raises:
        InvalidProof: it does not hold, or cannot hold for any tree (lengths, range).
    """
    _check_hashes((root,))
    if root_of_inclusion(leaf, index, size, proof) != root:
        raise InvalidProof(f"the proof of leaf {index} does not lead to the root of the tree of {size}")


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to (RFC 9162 section 2.1.3.2, steps 1 to 4).

    Raises:
        InvalidProof: the proof cannot belong to any tree (lengths, range).
    """
    _check_size(size)
    _check_hashes((leaf, *proof))
    if not 0 <= index < size:
        raise InvalidProof(f"no leaf {index} in a tree of {size}")
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof(f"a proof of {len(proof)} hashes is too long for leaf {index} of {size}")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise InvalidProof(f"a proof of {len(proof)} hashes is too short for leaf {index} of {size}")
    return result


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Check that the tree of size ``second`` has the tree of size ``first`` as its beginning.

    Any tree grows out of the empty one: with ``first`` 0 the proof must be empty and ``first_root`` the
    empty root, and nothing is said about ``second_root`` (RFC 9162 section 2.1.4.2 for the rest).

    Raises:
        InvalidProof: it does not hold, or cannot hold for any tree (lengths, order, range).
    """
    _check_size(first)
    _check_size(second)
    _check_hashes((first_root, second_root, *proof))
    if first > second:
        raise InvalidProof(f"a tree of {second} leaves cannot have grown out of one of {first}")
    if first in {0, second}:
        _verify_without_proof(first, second, proof, first_root, second_root)
        return
    if not proof:
        raise InvalidProof(f"an empty proof cannot lead from {first} to {second} leaves")
    # A complete first tree is a node of the second: its root is left out of the proof.
    path = proof if first & (first - 1) else (first_root, *proof)
    old, new = _consistency_roots(first, second, path)
    if old != first_root:
        raise InvalidProof(f"the proof does not lead to the root of the tree of {first}")
    if new != second_root:
        raise InvalidProof(f"the proof does not lead to the root of the tree of {second}")


def _consistency_roots(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof(f"the proof is too long to lead from {first} to {second} leaves")
        if node & 1 or node == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise InvalidProof(f"the proof is too short to lead from {first} to {second} leaves")
    return old, new


def _verify_without_proof(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    if proof:
        raise InvalidProof(f"from {first} to {second} leaves the proof must be empty")
    if first == 0 and first_root != EMPTY_ROOT:
        raise InvalidProof("the tree of size 0 has a root that is not the empty tree's")
    if first == second and first_root != second_root:
        raise InvalidProof(f"two trees of {first} leaves have different roots")


def _siblings(index: int, size: int) -> Iterator[tuple[int, int]]:
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            yield middle, stop
            stop = middle
        else:
            yield start, middle
            start = middle


def _split(width: int) -> int:
    """Return the largest power of two below ``width``: where RFC 6962 cuts a range of leaves in two."""
    return 1 << ((width - 1).bit_length() - 1)


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_TREE_SIZE:
        raise InvalidProof(f"a tree cannot have {size} leaves")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise InvalidProof(f"a hash in a proof is not {HASH_SIZE} bytes long")
