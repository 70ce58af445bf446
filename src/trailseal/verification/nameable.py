"""What an order of removal may name: records that, as they were sealed, are those it is meant for.

An order is a signature, and nobody seals index, rows and kept records. Whoever edits them could have an order name
somebody else's record, whose removal would then be lawful for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from trailseal.errors import InvalidEvent
from trailseal.formats import decode_record
from trailseal.model.event import Event
from trailseal.model.projection import entry
from trailseal.model.record import Position, Record
from trailseal.ports.erasure import ErasableRecords
from trailseal.ports.ledger import Ledger
from trailseal.sealing.sealed_records import SealedRecords
from trailseal.sealing.tombstones import tombstone_of
from trailseal.verification.reading import WholeLog

_AT_ONCE = 1_000

IsMeant = Callable[[Record, Event | None], bool]
"""Whether an order is meant for a record, whose event is None where it is none."""


def anything(record: Record, event: Event | None) -> bool:
    """An order is meant for whatever was sealed there: something else was the judge of it."""
    del record, event
    return True


@dataclass(slots=True)
class Nameable:
    """Offsets of one partition.

    Attributes:
        tombstones: of what may be named, by offset, None where it is no event; empty where they are not asked for.
        contradicted: offsets that may not be named, and why.
    """

    tombstones: dict[int, bytes | None] = field(default_factory=dict)
    contradicted: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SealedSources:
    """Whatever may hold a record, and the trees that say which one was sealed.

    Attributes:
        whole: the open log, with what is kept of it and of logs that have ended.
        records: the same for most records, and quicker.
        ledger: has the trees.
        key: of tombstones; None where they are not asked for.
    """

    whole: WholeLog
    records: ErasableRecords
    ledger: Ledger
    key: bytes | None

    def nameable(
        self,
        log: int,
        partition: int,
        offsets: Iterable[int],
        is_meant: IsMeant,
        looked_at: Callable[[int], object] | None = None,
    ) -> Nameable:
        """Hold what an order is to name against what was sealed.

        Args:
            log: number of the log.
            partition: of it.
            offsets: to be named, in any order.
            is_meant: what the order is for.
            looked_at: told how many more were looked at, now and then.

        Raises:
            IntegrityViolation: the partition's genesis or tree is damaged.
            Unavailable: an engine does not answer.
        """
        found, sealed = Nameable(), SealedRecords.of(self.ledger, log, partition)
        origin = self.ledger.logs()[log]
        wanted = sorted(offsets)
        for start in range(0, len(wanted), _AT_ONCE):
            some = [Position(log, partition, offset) for offset in wanted[start : start + _AT_ONCE]]
            records = self._records(some)
            for position in some:
                record = records.get(position)
                if record is None:
                    found.contradicted[position.offset] = "nothing is left of its record"
                elif sealed is None:
                    found.contradicted[position.offset] = "nothing that was sealed of its partition can be read"
                elif not sealed.may_be(record):
                    found.contradicted[position.offset] = "its record is not the one that was sealed there"
                else:
                    self._judge(found, record, origin, is_meant)
            if looked_at is not None:
                looked_at(len(some))
        return found

    def _judge(self, found: Nameable, record: Record, origin: str, is_meant: IsMeant) -> None:
        offset, made = record.position.offset, None
        with suppress(InvalidEvent):
            made = decode_record(record, origin)
        if not is_meant(record, None if made is None else made.event):
            found.contradicted[offset] = "the record that was sealed there is another one than this is meant for"
        elif self.key is not None:
            event = None if made is None else entry(record, made.event, made.format, made.words)
            found.tombstones[offset] = None if event is None else tombstone_of(event, self.key)

    def _records(self, wanted: Sequence[Position]) -> dict[Position, Record]:
        held = zip(wanted, self.records.fetch(wanted), strict=True)
        found = {position: record for position, record in held if record is not None}
        return found | self.whole.at_all([position for position in wanted if position not in found])
