from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.leaf import ENTRY_SIZE, EntryType, LeafEntry, gap_entries, record_entries
from trailseal.merkle.notes import Algorithm, VerifierKey

COMMIT = bytes(range(32))
u64 = st.integers(0, 2**64 - 1)
ORIGIN = "audit.example/cluster/events/id/0/2"
GENESIS = Genesis(
    origin=ORIGIN,
    base=17,
    keys=(VerifierKey(ORIGIN, Algorithm.ED25519, COMMIT), VerifierKey("next", Algorithm.ED25519, COMMIT)),
    previous=(Checkpoint("audit.example/cluster/events/id/0/1", 5, COMMIT), Checkpoint("b", 1, COMMIT)),
    reason="topic made anew",
)


def test_an_entry_has_the_documented_66_bytes() -> None:
    entry = LeafEntry(EntryType.RECORD, 258, 1_700_000_000_000, COMMIT).encode()
    assert entry == b"trailseal-leaf/1\x00" + bytes.fromhex("0100000000000001020000018bcfe56800") + COMMIT
    assert len(entry) == ENTRY_SIZE == 66


@settings(deadline=None)
@given(st.sampled_from([EntryType.GENESIS, EntryType.RECORD]), u64, u64, st.binary(min_size=32, max_size=32))
def test_every_entry_is_read_back(kind: EntryType, offset: int, time: int, commit: bytes) -> None:
    entry = LeafEntry(kind, offset, time, commit)
    assert LeafEntry.decode(entry.encode()) == entry


def test_many_entries_are_encoded_as_one_would_be() -> None:
    records = [(7, 1000, COMMIT), (8, 0, bytes(32))]
    one_by_one = [LeafEntry(EntryType.RECORD, *record).encode() for record in records]
    assert record_entries(records) == one_by_one


def test_a_time_before_the_epoch_is_written_as_zero() -> None:
    assert LeafEntry.decode(record_entries([(7, -1, COMMIT)])[0]).time_ms == 0


def test_a_gap_has_neither_time_nor_commit() -> None:
    entries = gap_entries(range(5, 8))
    assert [LeafEntry.decode(entry) for entry in entries] == [
        LeafEntry(EntryType.GAP, offset, 0, bytes(32)) for offset in (5, 6, 7)
    ]
    for time, commit in ((1, bytes(32)), (0, COMMIT)):
        gap = LeafEntry(EntryType.GAP, 5, time, commit)
        with pytest.raises(InvalidEncoding):
            gap.encode()
        record = bytearray(replace(gap, type=EntryType.RECORD).encode())
        record[17] = EntryType.GAP
        with pytest.raises(InvalidEncoding):
            LeafEntry.decode(bytes(record))


def test_entries_of_one_offset_but_different_types_differ() -> None:
    entries = {LeafEntry(kind, 5, 0, bytes(32)).encode() for kind in EntryType}
    assert len(entries) == 3


def test_an_entry_of_another_length_label_or_type_is_refused() -> None:
    entry = LeafEntry(EntryType.RECORD, 1, 2, COMMIT).encode()
    for damaged in (entry[:-1], entry + b"\x00", b"T" + entry[1:], entry[:17] + b"\x03" + entry[18:], b""):
        with pytest.raises(InvalidEncoding):
            LeafEntry.decode(damaged)


@pytest.mark.parametrize("record", [(-1, 0, COMMIT), (2**64, 0, COMMIT), (0, 2**64, COMMIT), (0, 0, COMMIT[:-1])])
def test_values_that_do_not_fit_an_entry_are_refused(record: tuple[int, int, bytes]) -> None:
    with pytest.raises(InvalidEncoding):
        record_entries([record])
    with pytest.raises(InvalidEncoding):
        LeafEntry(EntryType.RECORD, *record).encode()


def test_a_genesis_is_read_back_and_its_entry_commits_to_its_bytes() -> None:
    statement = GENESIS.statement()
    assert Genesis.parse(statement) == GENESIS
    entry = GENESIS.entry(1000)
    assert entry == LeafEntry(EntryType.GENESIS, 17, 1000, hashlib.sha256(statement).digest())


def test_a_genesis_has_the_documented_lines() -> None:
    key = VerifierKey(ORIGIN, Algorithm.ED25519, COMMIT)
    first = Genesis(ORIGIN, 0, (key,), (), "first epoch")
    assert first.statement().decode() == (
        f"trailseal-genesis/1\norigin {ORIGIN}\nbase 0\nkey {key.vkey()}\nreason first epoch\n"
    )


def test_a_genesis_with_lines_missing_doubled_moved_or_respelled_is_refused() -> None:
    statement = GENESIS.statement()
    lines = statement.splitlines(keepends=True)
    damaged = [b"".join([*lines[:at], *lines[at + 1 :]]) for at in (0, 1, 2, len(lines) - 1)]
    damaged += [b"".join([*lines[:at], lines[at], *lines[at:]]) for at in (0, 1, 2, len(lines) - 1)]
    damaged += [b"".join([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]) for at in (1, 2, 3, 5)]
    damaged += [statement[:-1], statement + b"\n", statement.replace(b"base 17", b"base 017"), b"", b"\xff"]
    for data in damaged:
        with pytest.raises(InvalidEncoding):
            Genesis.parse(data)


@pytest.mark.parametrize(
    "broken",
    [
        replace(GENESIS, keys=()),
        replace(GENESIS, reason=""),
        replace(GENESIS, reason="two\nlines"),
        replace(GENESIS, reason="bell\x07"),
        replace(GENESIS, origin="with space"),
        replace(GENESIS, base=-1),
        replace(GENESIS, previous=(Checkpoint("a\nb", 1, COMMIT),)),
        replace(GENESIS, previous=(Checkpoint("a", 1, COMMIT[:5]),)),
    ],
)
def test_a_genesis_that_could_not_be_read_back_is_not_written(broken: Genesis) -> None:
    with pytest.raises(InvalidEncoding):
        broken.statement()
