"""What every ledger must do with tiles and checkpoints, whatever keeps them.

An adapter's test subclasses `SealContract` and gives its fixtures. Nothing here assumes an empty ledger.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from conformance.ledger_contract import fresh_log
from trailseal.ports.ledger import Ledger
from trailseal.ports.seals import AddedSignature, StoredCheckpoint

FIRST = b"a note\n\n\xe2\x80\x94 key AAAA\n"
OTHER = b"a note\n\n\xe2\x80\x94 key BBBB\n"


def signature(key: str, time: int, text: str = "x") -> AddedSignature:
    return AddedSignature(key, time, f"\u2014 {key} {text}{time}\n")


class SealContract:
    """Run by a class per adapter."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        """The ledger under test."""
        raise NotImplementedError

    @pytest.fixture
    def second(self) -> Callable[[], Ledger]:
        """Opens the same ledger once more, as another process would."""
        raise NotImplementedError

    def test_what_is_kept_under_a_root_is_found_by_it_from_everywhere(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        tiles = {secrets.token_bytes(32): secrets.token_bytes(size) for size in (32, 8_192, 17_408)}
        ledger.seals.keep_tiles(tiles)
        other = second()
        assert {root: other.seals.tile(root) for root in tiles} == tiles
        assert other.seals.tiles([*tiles, b"\0" * 32]) == tiles
        assert other.seals.tile(b"\0" * 32) is None

    def test_many_tiles_at_once_are_all_kept_and_all_found(self, ledger: Ledger) -> None:
        tiles = {secrets.token_bytes(32): secrets.token_bytes(64) for _ in range(1_300)}
        ledger.seals.keep_tiles(tiles)
        assert ledger.seals.tiles(list(tiles)) == tiles

    def test_nothing_to_keep_and_nothing_to_find_is_no_error(self, ledger: Ledger) -> None:
        ledger.seals.keep_tiles({})
        assert ledger.seals.tiles([]) == {}

    def test_a_root_keeps_the_bytes_it_was_first_given(self, ledger: Ledger) -> None:
        root = secrets.token_bytes(32)
        ledger.seals.keep_tiles({root: b"first"})
        ledger.seals.keep_tiles({root: b"second"})
        assert ledger.seals.tile(root) == b"first"

    def test_the_first_checkpoint_of_a_size_stays_and_a_later_writer_is_shown_it(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        log = fresh_log(ledger)
        assert ledger.seals.put_checkpoint(log, 0, 7, FIRST) == FIRST
        assert second().seals.put_checkpoint(log, 0, 7, OTHER) == FIRST
        assert ledger.seals.checkpoint(log, 0, 7) == StoredCheckpoint(7, FIRST)

    def test_of_writers_at_once_one_is_first_and_all_are_told_the_same(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        log = fresh_log(ledger)
        ledgers = [ledger, second()]
        notes = [b"%d" % number for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            told = list(
                pool.map(lambda n: ledgers[n % 2].seals.put_checkpoint(log, 0, 1, notes[n]), range(len(notes)))
            )
        assert len(set(told)) == 1
        assert told[0] in notes

    def test_the_largest_checkpoint_is_the_newest_whatever_the_order_of_puts(self, ledger: Ledger) -> None:
        log = fresh_log(ledger)
        for size in (5, 300, 17, 70_000, 20):
            ledger.seals.put_checkpoint(log, 0, size, b"%d" % size)
        assert ledger.seals.checkpoint(log, 0) == StoredCheckpoint(70_000, b"70000")
        assert ledger.seals.checkpoint(log, 0, 17) == StoredCheckpoint(17, b"17")
        assert ledger.seals.checkpoint(log, 0, 18) is None

    def test_checkpoints_are_listed_from_the_largest_down_a_page_at_a_time(self, ledger: Ledger) -> None:
        log = fresh_log(ledger)
        for size in range(1, 8):
            ledger.seals.put_checkpoint(log, 0, size * 1_000, b"%d" % size)
        first = ledger.seals.checkpoints(log, 0, limit=3)
        rest = ledger.seals.checkpoints(log, 0, below=first[-1].size)
        assert [one.size for one in first] == [7_000, 6_000, 5_000]
        assert [one.size for one in rest] == [4_000, 3_000, 2_000, 1_000]
        assert ledger.seals.checkpoints(log, 0, below=1_000) == []

    def test_logs_and_partitions_have_checkpoints_of_their_own(self, ledger: Ledger) -> None:
        log, other = fresh_log(ledger), fresh_log(ledger)
        ledger.seals.put_checkpoint(log, 0, 1, FIRST)
        assert ledger.seals.checkpoint(log, 1) is None
        assert ledger.seals.checkpoint(other, 0) is None
        assert ledger.seals.checkpoints(log, 1) == []

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_of_one_keys_signatures_the_newest_stays_whatever_their_order(
        self, ledger: Ledger, order: tuple[int, ...]
    ) -> None:
        log = fresh_log(ledger)
        ledger.seals.put_checkpoint(log, 0, 9, FIRST)
        lines = [signature("w1 00", 10), signature("w1 00", 30), signature("w1 00", 20)]
        for at in order:
            ledger.seals.add_signatures(log, 0, 9, [lines[at], signature("w2 00", 5)])
        stored = ledger.seals.checkpoint(log, 0, 9)
        assert stored == StoredCheckpoint(9, FIRST, (lines[1], signature("w2 00", 5)))

    def test_signatures_added_at_once_by_two_owners_are_all_there(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        log = fresh_log(ledger)
        ledger.seals.put_checkpoint(log, 0, 9, FIRST)
        ledgers = [ledger, second()]
        added = [signature(f"w{number} 00", number) for number in range(8)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: ledgers[n % 2].seals.add_signatures(log, 0, 9, [added[n]]), range(8)))
        stored = ledger.seals.checkpoint(log, 0)
        assert stored == StoredCheckpoint(9, FIRST, tuple(added))

    def test_a_signature_of_a_checkpoint_that_is_not_there_is_forgotten(self, ledger: Ledger) -> None:
        log = fresh_log(ledger)
        ledger.seals.add_signatures(log, 0, 9, [signature("w1 00", 1)])
        ledger.seals.put_checkpoint(log, 0, 9, FIRST)
        assert ledger.seals.checkpoint(log, 0) == StoredCheckpoint(9, FIRST)
