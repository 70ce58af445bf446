"""A log as verification reads it: past its retention from what the index and the ledger keep of it.

Nobody has to believe those copies: a record counts only if it gives the leaf that was sealed at its offset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Protocol

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.formats import decode_record
from trailseal.model.projection import Entry, entry
from trailseal.model.record import Gap, Position, Record
from trailseal.ports.index import RecordKeeper
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import Bounds, RecordSource

_ONE_BYTES = 2 << 20


def decoded(record: Record, origin: str) -> Entry | None:
    """What the pipeline makes of the record; None where it is no event."""
    try:
        made = decode_record(record, origin)
    except InvalidEvent:
        return None
    return entry(record, made.event, made.format, made.words)


class ReadLog(RecordSource, Protocol):
    """What verification needs of an `EventLog`, and a log that has ended can give as well."""

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""

    def partitions(self) -> tuple[int, ...]:
        """See `EventLog.partitions`."""

    def bounds(self, partition: int) -> Bounds:
        """See `EventLog.bounds`."""

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog.read`."""


class WholeLog:
    """One log, and what is left of what it forgot. Used by one thread.

    Args:
        log: the records that are still there.
        ledger: keeps the records of dead letters, and of duplicates all but the value, which is their original's.
        keeper: keeps the records of events; None where the log never forgets.
    """

    def __init__(self, log: ReadLog, ledger: Ledger, keeper: RecordKeeper | None) -> None:
        self._log, self._ledger, self._keeper = log, ledger, keeper
        self.origin = log.origin
        self.number = ledger.log_number(self.origin)
        self._origins = ledger.logs()
        self._partitions: Collection[int] = ()

    @property
    def forgets(self) -> bool:
        """Whether records go by themselves after a time."""
        return self._keeper is not None

    def origin_of(self, number: int) -> str | None:
        """The identity of the log of that number, from which ids are derived; None where there is none."""
        return self._origins.get(number)

    def partitions(self) -> tuple[int, ...]:
        """See `EventLog.partitions`."""
        return self._log.partitions()

    def bounds(self, partition: int) -> Bounds:
        """What the log itself holds."""
        return self._log.bounds(partition)

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog.read`; a gap is where no copy is left either.

        Raises:
            Unavailable: an engine does not answer.
        """
        items = self._log.read(partition, start, max_records, max_bytes)
        forgotten = items[0] if items else None
        if self._keeper is None or self.number is None or not isinstance(forgotten, Gap):
            return items
        stop = min(start + max_records, self._log.bounds(partition).first, start + forgotten.count)
        if stop <= start:
            return items
        kept = self._kept(self.number, partition, start, stop)
        rest = items[1:] if stop == start + forgotten.count else []
        return [*_with_gaps(kept, Position(self.number, partition, start), stop), *rest]

    def at(self, position: Position) -> Record | None:
        """The record at a position of this log or of another one that the ledger knows, wherever it is kept."""
        if position.log == self.number:
            if not self.has(position.partition):
                return None
            items = self.read(position.partition, position.offset, 1, _ONE_BYTES)
            return items[0] if items and isinstance(items[0], Record) else None
        if self._keeper is not None:
            kept = self._kept(position.log, position.partition, position.offset, position.offset + 1)
            record = kept.get(position.offset) or self._ledger.kept(position)
            if record is not None:
                return record
        if self._is_earlier_epoch(position.log):
            here = self.at(msgspec.structs.replace(position, log=self.number))
            return None if here is None else msgspec.structs.replace(here, position=position)
        return None

    def at_all(self, positions: Collection[Position]) -> dict[Position, Record]:
        """The records at these positions, as `at`, asked for together; those that are nowhere are left out."""
        wanted = list(dict.fromkeys(positions))
        here = [self._here(position) for position in wanted]
        found: dict[Position, Record] = {}
        for position, record in zip(wanted, self._log.fetch(here), strict=True):
            if record is not None:
                found[position] = msgspec.structs.replace(record, position=position)
        missing = [one for one in wanted if one not in found]
        copied = frozenset(self._forgotten([one for one in missing if one.log == self.number]))
        copied |= {one for one in missing if one.log != self.number}
        if copied and self._keeper is not None:
            found |= {one.position: one for one in self._keeper.records_at(sorted(copied))}
        for position in copied - found.keys():
            record = self.at(position)
            if record is not None:
                found[position] = record
        return found

    def has(self, partition: int) -> bool:
        """Whether the log has this partition now."""
        if partition not in self._partitions:
            self._partitions = self._log.partitions()
        return partition in self._partitions

    def _forgotten(self, missing: Collection[Position]) -> list[Position]:
        """Those that the log held once: of no other may a copy be believed."""
        known = self._log.partitions()
        firsts = {
            partition: self._log.bounds(partition).first
            for partition in {position.partition for position in missing}
            if partition in known
        }
        return [one for one in missing if one.offset < firsts.get(one.partition, 0)]

    def _here(self, position: Position) -> Position:
        """Where to look in this log: at the same place for an earlier epoch that has no copies of its own.

        Where it has, other records may have come to these places since.
        """
        if self._keeper is not None or not self._is_earlier_epoch(position.log):
            return position
        return msgspec.structs.replace(position, log=self.number)

    def _is_earlier_epoch(self, number: int) -> bool:
        """Whether the same records stood at the same offsets then; a record still has to give the leaf of then."""
        return self.number is not None and number < self.number and self._base(number) == self._base(self.number)

    def _base(self, number: int) -> str:
        return self._origins.get(number, "").rpartition("/")[0]

    def _kept(self, log: int, partition: int, start: int, stop: int) -> dict[int, Record]:
        if self._keeper is None:
            return {}
        found = {one.position.offset: one for one in self._keeper.records(log, partition, start, stop)}
        rows = list(self._ledger.outcomes(log, partition, start, stop, ("dead_letter", "duplicate")))
        stored = self._ledger.kept_among([row.position for row in rows])
        originals = self._originals({row.of for row in rows if row.kind == "duplicate" and row.of is not None})
        for row in rows:
            record = stored.get(row.position)
            if record is not None and row.kind == "duplicate" and row.of is not None:
                original = originals.get(row.of)
                record = None if original is None else msgspec.structs.replace(record, value=original.value)
            if record is not None:
                found.setdefault(row.position.offset, record)
        return found

    def _originals(self, positions: Collection[Position]) -> dict[Position, Record]:
        """The records of events, which have documents where the log has them no more."""
        wanted = sorted(positions)
        held = zip(wanted, self._log.fetch(wanted), strict=True)
        found = {at: record for at, record in held if record is not None and at.log == self.number}
        if self._keeper is not None:
            found |= {
                one.position: one for one in self._keeper.records_at([at for at in wanted if at not in found])
            }
        return found


def _with_gaps(kept: dict[int, Record], first: Position, stop: int) -> Iterator[Record | Gap]:
    at = first.offset
    while at < stop:
        record = kept.get(at)
        if record is not None:
            yield record
            at += 1
            continue
        end = next(offset for offset in count(at + 1) if offset == stop or offset in kept)
        yield Gap(msgspec.structs.replace(first, offset=at), end - at)
        at = end
