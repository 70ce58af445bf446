"""What no signature covers counts by its own times, and a gap by that of the record before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flow.memory_engines import MemoryLog
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.merkle.edge import RightEdge
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner
from trailseal.model.record import NewRecord
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.verification.reading import WholeLog
from trailseal.verification.result import Range
from trailseal.verification.unsigned import UnsignedTimes, unsigned_times

ORIGIN = "audit.example/memory/0"
SIGNED = 600
"""Leaves that are signed: the genesis, and records that were appended a second apart."""


def at(offset: int) -> int:
    """When the record of an offset was appended."""
    return 1_000_000 + offset * 1_000


class Sealed:
    """A ledger with the tree of some leaves, and a log."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger, self.log = ledger, MemoryLog()
        ledger.register_log(self.log.origin)
        key = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32)).key
        self._sealed = SealedLog(1, 0, Genesis(ORIGIN, 0, (key,), (), "first epoch"), at(0))

    def times(self, *behind: int | None, asked: Range = Range()) -> UnsignedTimes | None:  # noqa: B008 - frozen
        """Of a tree with leaves of these times behind the signed ones; None for a gap."""
        leaves = [self._sealed.entry]
        for offset, time_ms in enumerate([*(at(offset) for offset in range(SIGNED - 1)), *behind]):
            kind = EntryType.GAP if time_ms is None else EntryType.RECORD
            leaves.append(LeafEntry(kind, offset, time_ms or 0, bytes(32)))
        grown = RightEdge().grown([leaf.encode() for leaf in leaves])
        full = {one.root: one.data for one in (*grown.tiles, *grown.bundles) if one.name.level != 0}
        self._ledger.seals.keep_tiles(full)
        tree = LogTree(grown.edge, self._ledger.seals)
        return unsigned_times(self._sealed, tree, SIGNED, WholeLog(self.log, self._ledger, None), asked)


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Sealed]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        yield Sealed(ledger)


LAST = at(SIGNED - 2)
"""Of the last record that is signed."""


def test_a_tree_that_is_signed_to_its_end_leaves_nothing_out(sealed: Sealed) -> None:
    assert sealed.times() is None


def test_what_lies_behind_counts_by_its_oldest_and_its_newest_record(sealed: Sealed) -> None:
    assert sealed.times(9_000_000, 8_000_000, *[8_500_000] * 300, 2**62) == UnsignedTimes(8_000_000, 2**62)


def test_a_gap_counts_as_old_as_the_record_before_it(sealed: Sealed) -> None:
    assert sealed.times(*[None] * 300) == UnsignedTimes(LAST, LAST)
    assert sealed.times(9_000_000, None) == UnsignedTimes(9_000_000, 9_000_000)


def test_records_that_were_not_taken_in_count_too(sealed: Sealed) -> None:
    for _ in range(SIGNED - 1):
        sealed.log.append([NewRecord(b"", None, ())])
    assert sealed.times() is None
    sealed.log.append([NewRecord(b"", None, ())])
    found = sealed.times()
    assert found is not None
    assert found.oldest > LAST


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Range(from_ms=at(5)), True),
        (Range(to_ms=LAST), False),
        (Range(to_ms=LAST + 1), True),
        (Range(from_ms=at(5), to_ms=at(9)), False),
        (Range(only=frozenset({(1, 0, SIGNED - 2)})), False),
        (Range(only=frozenset({(1, 0, SIGNED - 1)})), True),
        (Range(only=frozenset({(1, 1, SIGNED - 1), (2, 0, SIGNED - 1)})), False),
    ],
)
def test_a_part_is_covered_if_nothing_behind_the_signature_can_belong_to_it(
    sealed: Sealed, asked: Range, expected: bool
) -> None:
    assert (sealed.times(1, asked=asked) is not None) is expected
