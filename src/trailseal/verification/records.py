"""The log's records against the leaves of their offsets: every leaf is made anew from the bytes that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from trailseal.merkle.frame import commitment, derived_salt
from trailseal.merkle.hash import HASH_SIZE
from trailseal.merkle.leaf import LeafEntry, record_entries
from trailseal.merkle.tiles import TILE_WIDTH
from trailseal.model.record import Gap, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.leaves import LeafMaker, Leaves
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.periods import PeriodSecrets, week_of
from trailseal.sealing.tree import LogTree

READ_BYTES = 16 << 20
_NEVER_SEALED = b"no secret"
"""Of a record without a salt in a week in which no such record was sealed: equals no entry, gives no commitment."""


class Readable(Protocol):
    """Whatever records are read from: a log, or one with what was kept of it."""

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog.read`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An offset whose leaf is not the one its record gives.

    Attributes:
        offset: where.
        sealed: the entry in the tree.
        found: the record that is there now, or None.
        commit: the commitment that record gives, or None.
    """

    offset: int
    sealed: LeafEntry
    found: Record | None
    commit: bytes | None

    @property
    def is_blank(self) -> bool:
        """Whether nothing is there any more but its position and append time."""
        return self.found is None or (self.found.is_erased and self.found.timestamp_ms == self.sealed.time_ms)


class RecordCheck:
    """Makes the leaves of one partition's records anew. Used by one thread.

    ``weeks`` are those in which a record without a salt was sealed, as the head tells.
    """

    def __init__(self, log: Readable, ledger: Ledger, sealed: SealedLog, weeks: Collection[int]) -> None:
        self._log, self._sealed, self._weeks = log, sealed, weeks
        self._secrets = PeriodSecrets(ledger, sealed.log)
        self._maker = LeafMaker(sealed.origin, self._secrets)
        self.unprovable = 0
        """Records whose weekly secret is destroyed, so that nobody can show what was sealed."""

    def read(self, start: int, stop: int) -> list[Record | Gap]:
        """What the log holds of [start, stop), each offset once, as far as it goes."""
        found: list[Record | Gap] = []
        at = start
        while at < stop:
            items = self._log.read(self._sealed.partition, at, stop - at, READ_BYTES)
            if not items:
                break
            for item in items:
                if at >= stop:
                    break  # a gap counts as one item for the log, and as many offsets here
                count = min(item.count, stop - at) if isinstance(item, Gap) else 1
                found.append(Gap(item.position, count) if isinstance(item, Gap) else item)
                at += count
        return found

    def entries(self, items: list[Record | Gap]) -> list[bytes]:
        """The entries that these items give; empty bytes where the secret of a record is destroyed."""
        leaves = Leaves()
        self._maker.add(leaves, items)
        for index, (offset, time_ms, frame) in leaves.waiting.items():
            week = week_of(time_ms)
            secret = self._secrets.find(week)
            if secret is None:
                if week in self._weeks:
                    self.unprovable += 1
                else:
                    leaves.entries[index] = _NEVER_SEALED
                continue
            commit = commitment(derived_salt(secret, self._sealed.origin, offset), frame)
            leaves.entries[index] = record_entries([(offset, time_ms, commit)])[0]
        return leaves.entries

    def differences(
        self, start: int, sealed: list[bytes], items: list[Record | Gap], made: list[bytes]
    ) -> Iterator[Difference]:
        """Offsets from ``start`` on where what is there does not give what was sealed."""
        if sealed == made:
            return
        records = {item.position.offset: item for item in items if isinstance(item, Record)}
        for place, entry in enumerate(sealed):
            fresh = made[place] if place < len(made) else None
            if fresh not in (entry, b""):
                offset = start + place
                record = records.get(offset)
                commit = None if record is None or fresh in {None, _NEVER_SEALED} else fresh[-HASH_SIZE:]
                yield Difference(offset, LeafEntry.decode(entry), record, commit)


def sealed_elsewhere(tree: LogTree, commits: frozenset[bytes]) -> dict[bytes, int]:
    """Where in the tree these commitments were sealed; for telling a moved or copied record from an edited one.

    Raises:
        IntegrityViolation: the tree cannot be read.
    """
    found: dict[bytes, int] = {}
    for number in range(-(-tree.size // TILE_WIDTH)):
        for data in tree.bundle(number):
            if data[-HASH_SIZE:] in commits:
                entry = LeafEntry.decode(data)
                found.setdefault(entry.commit, entry.offset)
    return found
