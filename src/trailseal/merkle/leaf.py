"""The entries that are hashed into the tree: one genesis, then one for each offset of the partition.

    "trailseal-leaf/1" 0x00 | u8 type | u64 offset | u64 time_ms | commit(32)       66 bytes, big-endian

Leaf 0 is the genesis, leaf ``i`` is offset ``base + i - 1``. A record's commit is its salted commitment; a
gap (an offset at which no reader ever gets a record: a transaction marker, an aborted record) has time 0 and
a commit of zeros; the genesis commits to its statement with a plain SHA-256, since that holds no secret.
No entry holds personal data, so entries can be mirrored and outlive an erasure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Final, Self

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.hash import HASH_SIZE

ENTRY_SIZE: Final = 66
"""Bytes of every entry."""

_LABEL: Final = b"trailseal-leaf/1\x00"
_LAYOUT: Final = Struct(">17sBQQ32s")
_NO_COMMIT: Final = bytes(HASH_SIZE)


class EntryType(IntEnum):
    """What an entry stands for."""

    GENESIS = 0
    RECORD = 1
    GAP = 2


@dataclass(frozen=True, slots=True)
class LeafEntry:
    """A decoded entry.

    Attributes:
        type: genesis, record or gap.
        offset: the offset in the partition; of the genesis, the base offset.
        time_ms: the append time, milliseconds since the epoch; 0 of a gap, and where the log gave a
            time before the epoch (the frame keeps that one exactly).
        commit: 32 bytes: the record's commitment, the statement's hash, or zeros.
    """

    type: EntryType
    offset: int
    time_ms: int
    commit: bytes

    def encode(self) -> bytes:
        """Return the entry's 66 bytes.

        Raises:
            InvalidEncoding: a value does not fit, or a gap has a time or a commit.
        """
        if len(self.commit) != HASH_SIZE:
            raise InvalidEncoding(f"a commit is {HASH_SIZE} bytes long, this one {len(self.commit)}")
        if self.type is EntryType.GAP and (self.time_ms or self.commit != _NO_COMMIT):
            raise InvalidEncoding(f"the gap at offset {self.offset} has a time or a commit")
        try:
            return _LAYOUT.pack(_LABEL, self.type, self.offset, self.time_ms, self.commit)
        except struct_error as error:
            raise InvalidEncoding("an entry's offset or time does not fit 64 bits") from error

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode an entry.

        Raises:
            InvalidEncoding: wrong length, label or type, or a gap with a time or a commit.
        """
        if len(data) != ENTRY_SIZE:
            raise InvalidEncoding(f"an entry is {ENTRY_SIZE} bytes long, this one {len(data)}")
        label, number, offset, time_ms, commit = _LAYOUT.unpack(data)
        if label != _LABEL:
            raise InvalidEncoding("an entry does not start with trailseal-leaf/1")
        if number not in EntryType.__members__.values():
            raise InvalidEncoding(f"entry type {number} is unknown")
        entry = cls(EntryType(number), offset, time_ms, commit)
        if entry.type is EntryType.GAP and (time_ms or commit != _NO_COMMIT):
            raise InvalidEncoding(f"the gap at offset {offset} has a time or a commit")
        return entry


def record_entries(records: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """Encode the entries of many records.

    Args:
        records: of each its offset, its append time in milliseconds, its commitment.

    Raises:
        InvalidEncoding: a value does not fit.
    """
    pack, label, kind = _LAYOUT.pack, _LABEL, int(EntryType.RECORD)
    for offset, _, commit in records:
        if len(commit) != HASH_SIZE:
            raise InvalidEncoding(f"the commit at offset {offset} is {len(commit)} bytes long, not {HASH_SIZE}")
    try:
        return [pack(label, kind, offset, max(time_ms, 0), commit) for offset, time_ms, commit in records]
    except struct_error as error:
        raise InvalidEncoding("a record's offset or time does not fit 64 bits") from error


def gap_entries(offsets: Iterable[int]) -> list[bytes]:
    """Encode the entries of offsets that hold no record.

    Raises:
        InvalidEncoding: an offset does not fit.
    """
    return [LeafEntry(EntryType.GAP, offset, 0, _NO_COMMIT).encode() for offset in offsets]
