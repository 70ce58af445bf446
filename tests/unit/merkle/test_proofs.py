from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from trailseal.merkle.errors import InvalidProof
from trailseal.merkle.hash import EMPTY_ROOT, MAX_TREE_SIZE, leaf_hashes, node_hash, range_root
from trailseal.merkle.proofs import (
    prove_consistency,
    prove_inclusion,
    root_of_inclusion,
    verify_consistency,
    verify_inclusion,
)
from unit.merkle.recursive_tree import numbered_entries, tree_root

MOST = 300
LEAVES = leaf_hashes(numbered_entries(MOST))
MUTATED = 250


@cache
def range_hash(start: int, stop: int) -> bytes:
    return range_root(LEAVES[start:stop])


def mutations(proof: list[bytes], generator: random.Random) -> Iterator[list[bytes]]:
    """The proof with each bit flipped, cut at every length, two neighbours swapped, and extended."""
    for at, node in enumerate(proof):
        number = int.from_bytes(node, "big")
        for bit in range(256):
            yield [*proof[:at], (number ^ 1 << bit).to_bytes(32, "big"), *proof[at + 1 :]]
        yield proof[:at]
        yield proof[at + 1 :]
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], node, *proof[at:]]
        yield [*proof[:at], node[:-1], *proof[at + 1 :]]
        yield [*proof[:at], node + b"\x00", *proof[at + 1 :]]
        if at:
            yield [*proof[: at - 1], node, proof[at - 1], *proof[at + 1 :]]
    yield [*proof, generator.randbytes(32)]
    yield [generator.randbytes(32), *proof]
    yield [*proof, *proof] if proof else [bytes(32)]


def is_refused(verify: Callable[..., None], *arguments: object) -> bool:
    """What pytest.raises does, at a tenth of its cost: a million calls are made."""
    try:
        verify(*arguments)
    except InvalidProof:
        return True
    return False


def test_every_inclusion_proof_of_every_tree_up_to_300_leaves_verifies() -> None:
    for size in range(1, MOST + 1):
        root = range_hash(0, size)
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, prove_inclusion(range_hash, index, size), root)


def test_every_consistency_proof_of_every_pair_up_to_300_leaves_verifies() -> None:
    for second in range(MOST + 1):
        for first in range(second + 1):
            proof = prove_consistency(range_hash, first, second)
            verify_consistency(first, second, proof, range_hash(0, first), range_hash(0, second))


def test_the_roots_that_the_proofs_lead_to_are_those_of_the_recursive_definition() -> None:
    entries = numbered_entries(64)
    assert all(range_hash(0, size) == tree_root(entries[:size]) for size in range(65))


def test_no_mutation_of_an_inclusion_proof_verifies() -> None:
    generator = random.Random(6962)
    for _ in range(MUTATED):
        size = generator.randint(2, MOST)
        index = generator.randrange(size)
        root = range_hash(0, size)
        for proof in mutations(prove_inclusion(range_hash, index, size), generator):
            assert is_refused(verify_inclusion, LEAVES[index], index, size, proof, root)


def test_no_mutation_of_a_consistency_proof_verifies() -> None:
    generator = random.Random(9162)
    for _ in range(MUTATED):
        second = generator.randint(3, MOST)
        first = generator.randint(1, second - 1)
        roots = range_hash(0, first), range_hash(0, second)
        for proof in mutations(prove_consistency(range_hash, first, second), generator):
            assert is_refused(verify_consistency, first, second, proof, *roots)


def test_a_proof_fits_no_other_leaf_index_or_root_in_a_tree_of_its_size() -> None:
    generator = random.Random(1)
    for _ in range(100):
        size = generator.randint(2, MOST)
        index, other = generator.sample(range(size), 2)
        proof, root = prove_inclusion(range_hash, index, size), range_hash(0, size)
        with pytest.raises(InvalidProof):
            verify_inclusion(LEAVES[other], index, size, proof, root)
        with pytest.raises(InvalidProof):
            verify_inclusion(LEAVES[index], other, size, proof, root)
        with pytest.raises(InvalidProof):
            verify_inclusion(LEAVES[index], index, size, proof, range_hash(0, size - 1))


def test_a_consistency_proof_fits_no_other_roots() -> None:
    generator = random.Random(2)
    for _ in range(100):
        second = generator.randint(3, MOST)
        first = generator.randint(1, second - 1)
        proof = prove_consistency(range_hash, first, second)
        old, new, foreign = range_hash(0, first), range_hash(0, second), generator.randbytes(32)
        for roots in ((foreign, new), (old, foreign), (new, old)):
            with pytest.raises(InvalidProof):
                verify_consistency(first, second, proof, *roots)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (6, 5), (0, 0), (0, -1), (0, MAX_TREE_SIZE + 1)])
def test_a_leaf_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(InvalidProof):
        prove_inclusion(range_hash, index, size)
    with pytest.raises(InvalidProof):
        root_of_inclusion(LEAVES[0], index, size, [])


@pytest.mark.parametrize(("first", "second"), [(5, 4), (-1, 4), (3, -1), (3, MAX_TREE_SIZE + 1)])
def test_sizes_in_the_wrong_order_or_out_of_range_are_refused(first: int, second: int) -> None:
    with pytest.raises(InvalidProof):
        prove_consistency(range_hash, first, second)
    with pytest.raises(InvalidProof):
        verify_consistency(first, second, [], EMPTY_ROOT, EMPTY_ROOT)


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_hashes_of_a_wrong_length_are_refused(wrong: bytes) -> None:
    proof = prove_inclusion(range_hash, 3, 7)
    with pytest.raises(InvalidProof, match="32 bytes"):
        verify_inclusion(wrong, 3, 7, proof, range_hash(0, 7))
    with pytest.raises(InvalidProof, match="32 bytes"):
        verify_inclusion(LEAVES[3], 3, 7, proof, wrong)
    with pytest.raises(InvalidProof, match="32 bytes"):
        verify_consistency(7, 7, [], wrong, wrong)


def test_trees_of_one_size_are_consistent_only_with_one_root_and_an_empty_proof() -> None:
    root = range_hash(0, 7)
    verify_consistency(7, 7, [], root, root)
    with pytest.raises(InvalidProof, match="different roots"):
        verify_consistency(7, 7, [], root, range_hash(0, 8))
    with pytest.raises(InvalidProof, match="must be empty"):
        verify_consistency(7, 7, [root], root, root)


def test_the_empty_tree_grows_into_any_tree_and_has_only_its_own_root() -> None:
    verify_consistency(0, 7, [], EMPTY_ROOT, range_hash(0, 7))
    with pytest.raises(InvalidProof, match="empty tree"):
        verify_consistency(0, 7, [], range_hash(0, 1), range_hash(0, 7))
    with pytest.raises(InvalidProof, match="must be empty"):
        verify_consistency(0, 7, [bytes(32)], EMPTY_ROOT, range_hash(0, 7))


def test_a_tree_that_was_rewritten_has_no_proof_of_consistency() -> None:
    forged = [*LEAVES[:20], bytes(32), *LEAVES[21:100]]
    proof = prove_consistency(lambda start, stop: range_root(forged[start:stop]), 50, 100)
    with pytest.raises(InvalidProof):
        verify_consistency(50, 100, proof, range_hash(0, 50), range_root(forged))


def unguarded_roots(first: int, second: int, path: list[bytes]) -> tuple[bytes, bytes]:
    """The roots that a consistency proof of any length would lead to if its length were not checked."""
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return old, new


def test_a_log_that_signs_a_false_size_gains_nothing_by_proofs_of_another_length() -> None:
    nodes = LEAVES[100:110]
    for size in range(1, 33):
        for index in range(size):
            right = len(prove_inclusion(range_hash, index, size))
            for length in set(range(len(nodes))) - {right}:
                with pytest.raises(InvalidProof, match=r"too (long|short)"):
                    root_of_inclusion(LEAVES[index], index, size, nodes[:length])


def test_roots_made_to_fit_a_consistency_proof_of_another_length_are_refused() -> None:
    for second in range(2, 33):
        for first in range(1, second):
            whole = first & (first - 1) == 0
            right = len(prove_consistency(range_hash, first, second))
            for length in set(range(1, 10)) - {right}:
                proof = LEAVES[100 : 100 + length]
                path = [range_hash(0, first), *proof] if whole else proof
                roots = unguarded_roots(first, second, path)
                with pytest.raises(InvalidProof, match=r"too (long|short)"):
                    verify_consistency(first, second, proof, *roots)
