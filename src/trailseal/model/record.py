"""What the log holds: exact bytes at a position."""

from __future__ import annotations

from typing import Annotated, Self

import msgspec

HEADER_ID = "trailseal-id"
HEADER_TENANT = "trailseal-tenant"
HEADER_FORMAT = "trailseal-format"
HEADER_SALT = "trailseal-salt"
HEADER_ADMIN = "trailseal-admin"
HEADER_TOMBSTONES = "trailseal-tombstones"
"""What an order of erasure says of the events it names; see `trailseal.sealing.tombstones`."""
HEADER_MOVED = "trailseal-moved"
"""Where a moved record stood: the old log's origin, partition, offset and append time (ms), by spaces."""
HEADER_UNREADABLE = "trailseal-unreadable-headers"
"""Stands for the headers of a record that no client can read; the record becomes a dead letter."""
HEADER_ERASED = "trailseal-erased"
"""Stands alone, without a value, for the headers of a record that was erased in place."""
SALT_BYTES = 32

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number that every engine can hold: where a larger one is read, somebody else wrote it."""

Headers = tuple[tuple[str, bytes | None], ...]
ERASED_HEADERS: Headers = ((HEADER_ERASED, None),)


class Position(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """Where a record stands, for ever: the log's number, the partition, the offset.

    Ordered by (log, partition, offset). ``log`` is the number the ledger gave the log's origin
    (1 for the first), so a topic made anew or a restore never reuses a position.
    """

    log: Int64
    partition: Int64
    offset: Int64

    def __str__(self) -> str:
        """``log/partition/offset``, as shown to people and used in URLs."""
        return f"{self.log}/{self.partition}/{self.offset}"


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to append.

    Attributes:
        value: the exact bytes as the producer sent them; nothing between the door and the seal changes them.
        key: what routes the record to a partition (the tenant id, for our own producers), or None.
        headers: in order, names may repeat; a value may be null, as in Kafka.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record in the log.

    Attributes:
        position: where it stands.
        timestamp_ms: the log's append time, milliseconds since 1970-01-01 UTC.
        key: see `NewRecord`.
        value: see `NewRecord`; None is a Kafka tombstone.
        headers: see `NewRecord`.
    """

    position: Position
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def end(self) -> int:
        """The offset after it, as of a `Gap`."""
        return self.position.offset + 1

    @property
    def is_erased(self) -> bool:
        """Whether an erasure blanked it: position and append time are all that is left.

        What a log says of itself, and no more: a signed admin record has to have ordered it.
        """
        return self.value is None and self.headers == ERASED_HEADERS

    def header(self, name: str) -> bytes | None:
        """The value of the first header of that name, or None."""
        for header, value in self.headers:
            if header == name:
                return value
        return None


class Place(msgspec.Struct, frozen=True):
    """Where a moved record stood.

    Attributes:
        origin: of the log.
        partition: of that log.
        offset: of that partition.
        timestamp_ms: when it was appended there, milliseconds since 1970-01-01 UTC.
    """

    origin: str
    partition: int
    offset: int
    timestamp_ms: int


def marked(record: Record, origin: str) -> NewRecord:
    """The record to append elsewhere: as it was, with a last header that says where it stood."""
    position = record.position
    mark = f"{origin} {position.partition} {position.offset} {record.timestamp_ms}"
    return NewRecord(record.value, record.key, (*record.headers, (HEADER_MOVED, mark.encode())))


def moved_from(record: Record) -> Place | None:
    """Where the record says that it stood; None where it was not moved. Anybody may have written that."""
    if not record.headers or record.headers[-1][0] != HEADER_MOVED:
        return None
    origin, *numbers = (record.headers[-1][1] or b"").decode("utf-8", "replace").rsplit(" ", 3)
    try:
        partition, offset, timestamp_ms = (int(number) for number in numbers)
    except ValueError:
        return None
    return Place(origin, partition, offset, timestamp_ms)


MAX_GAP = 65_536
"""Offsets of a gap that a log hands out, at most: each becomes a leaf, and a longer hole is more than one gap."""


class Gap(msgspec.Struct, frozen=True, gc=False):
    """A run of offsets under which no record exists or ever will (transaction markers, lost to retention).

    Attributes:
        position: the first offset of the run.
        count: how many offsets, at least 1.
    """

    position: Position
    count: int

    @classmethod
    def between(cls, position: Position, end: int) -> Self:
        """The hole from a position up to an offset above it, or its first `MAX_GAP` offsets."""
        return cls(position, min(end - position.offset, MAX_GAP))

    @property
    def end(self) -> int:
        """The offset after the run."""
        return self.position.offset + self.count
