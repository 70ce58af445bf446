"""Events that came late or again and that no order names yet.

A row that says so explains why its record is in no index, and nothing seals a row. Once the log has forgotten the
record, only an order that names it can still tell the row from a lie. An order is a signature, so it must not make
a lie true either: what is selected is what the record, as it was sealed, and the order that the row names, as it
was sealed, say both.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.event_consumer.decode import decode_one
from trailseal.formats import decode_admin
from trailseal.merkle.admin import AdminKind
from trailseal.merkle.errors import MerkleError
from trailseal.model.outcomes import REMOVED, Head, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Position, Record
from trailseal.ports.erasure import ErasableRecords
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.sealing.admin_records import MONTH_DETAIL, is_named, known_keys, removes_from, statement_of
from trailseal.sealing.origin import same_records
from trailseal.sealing.sealed_records import SealedRecords
from trailseal.sealing.tombstones import ErasedEvents, known_key, tombstone_of

_PAGE = 1_000
_KNOWN = 100
"""Orders kept in memory; one may have erased half a million events."""


@dataclass(slots=True)
class Leftovers:
    """Of one partition.

    Attributes:
        head: of the partition, when it was looked at.
        retries: offsets of events that came again after they were erased.
        late: offset -> month (``YYYY.MM``) of events that came after it was dropped.
        forgotten: how many rows are of records that the log does not hold any more.
        contradicted: offsets whose rows say so, and why it cannot be true.
    """

    head: Head
    retries: set[int] = field(default_factory=set)
    late: dict[int, str] = field(default_factory=dict)
    forgotten: int = 0
    contradicted: dict[int, str] = field(default_factory=dict)

    @property
    def offsets(self) -> list[int]:
        """Those that an order may name, ascending."""
        return sorted({*self.retries, *self.late})

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind an order would name."""
        return {"retries": len(self.retries), "late": len(self.late)}


def find_leftovers(
    log: EventLog, records: ErasableRecords, ledger: Ledger, heads: Sequence[Head]
) -> list[Leftovers]:
    """Look through the rows of removals below these heads, one result a head; nothing is changed.

    Args:
        log: only what it holds itself counts as there.
        records: have the orders, also those that the log has forgotten.
        ledger: the rows.
        heads: of the open log, and of those that have ended.

    Raises:
        IntegrityViolation: a tree is damaged.
        Unavailable: an engine does not answer.
    """
    return [_look_through(log, records, ledger, head) for head in heads]


def _look_through(log: EventLog, records: ErasableRecords, ledger: Ledger, head: Head) -> Leftovers:
    found = Leftovers(head)
    claims: _Claims | None = None
    rows = ledger.outcomes(head.log, head.partition, 0, head.next, REMOVED)
    unnamed = (row for row in rows if row.came_late or row.came_again)
    while some := list(islice(unnamed, _PAGE)):
        for row, record in zip(some, log.fetch([row.position for row in some]), strict=True):
            if record is None:
                found.forgotten += 1
            elif not record.is_erased:
                claims = claims or _Claims(log, records, ledger, head)
                made, offset = claims.borne_out(row, record), row.position.offset
                if isinstance(made, str):
                    found.contradicted[offset] = made
                elif row.came_late:
                    found.late[offset] = made.month
                else:
                    found.retries.add(offset)
    return found


@dataclass(frozen=True, slots=True)
class _Named:
    """A genuine order that rows name.

    Attributes:
        at: where it stands.
        month: that it dropped, or None.
        erased: the events that it erased.
    """

    at: Position
    month: str | None
    erased: ErasedEvents


class _Claims:
    """What the rows of one partition say, against records and orders."""

    def __init__(self, log: EventLog, records: ErasableRecords, ledger: Ledger, head: Head) -> None:
        self._log, self._records, self._ledger = log, records, ledger
        self._sealed = SealedRecords.of(ledger, head.log, head.partition)
        self._key = known_key(ledger)
        self._orders: dict[Position, _Named | None] = {}

    def borne_out(self, row: OutcomeRow, record: Record) -> Entry | str:
        """The event of the record of which the row is true; or why it cannot be."""
        if self._sealed is None or not self._sealed.has(record):
            return "its record is not the one that was sealed there"
        made = decode_one(record, self._log.origin)
        if not isinstance(made, Entry):
            return "its record is no event"
        order = self._order(self._sealed, row.of)
        if order is None:
            return f"there is no genuine order at {row.of}"
        return (_not_late(row, made, order) if row.came_late else self._not_again(row, made, order)) or made

    def _not_again(self, row: OutcomeRow, made: Entry, order: _Named) -> str | None:
        known = row.tombstone
        if known is None or self._key is None or not order.erased.has(known):
            return f"it counts as a retry of what the order at {order.at} erased, which erased nothing like it"
        if hmac.compare_digest(tombstone_of(made, self._key), known):
            return None
        return f"it counts as a retry of what the order at {order.at} erased, and is another event"

    def _order(self, here: SealedRecords, at: Position | None) -> _Named | None:
        if at is None:
            return None
        if at not in self._orders:
            if len(self._orders) >= _KNOWN:
                self._orders.clear()
            self._orders[at] = self._read(here, at)
        return self._orders[at]

    def _read(self, here: SealedRecords, at: Position) -> _Named | None:
        """The order at a position of the partition's own log, or of one that it continues."""
        there = None if at.log > here.log.log else SealedRecords.of(self._ledger, at.log, at.partition)
        if there is None or (at.log < here.log.log and not self._continues(here, there)):
            return None
        record = next((one for one in self._copies(at) if there.has(one)), None)
        if record is None:
            return None
        try:
            keys = known_keys(self._ledger, there.log)
            statement = statement_of(record, there.log, keys, self._ledger)
            details = decode_admin(record).event.metadata
            about = removes_from(self._ledger, there.log, statement)
            erased = ErasedEvents.of(self._ledger, record, details, statement, about)
        except (MerkleError, InvalidEvent):
            return None
        month = str(details.get(MONTH_DETAIL)) if statement.kind is AdminKind.EXPIRE else None
        return _Named(at, month, erased)

    def _continues(self, here: SealedRecords, earlier: SealedRecords) -> bool:
        return is_named(self._ledger, here.log, earlier.log, earlier.tree)

    def _copies(self, at: Position) -> Iterator[Record]:
        """Whatever may be the record of an order: in log or index, kept by a move, or where an epoch began anew."""
        yield from (one for one in self._records.fetch([at]) if one is not None)
        kept, number = self._ledger.kept(at), self._ledger.log_number(self._log.origin)
        if kept is not None:
            yield kept
        if number is not None and number != at.log and same_records(self._ledger, at.log, number):
            here = self._log.fetch([msgspec.structs.replace(at, log=number)])
            yield from (msgspec.structs.replace(one, position=at) for one in here if one is not None)


def _not_late(row: OutcomeRow, made: Entry, order: _Named) -> str | None:
    at, of = row.position, order.at
    if order.month is None:
        return f"it counts as late for a month that the order at {of} dropped, which dropped none"
    if order.month != made.month:
        return f"it counts as late for {order.month}, and its event is of {made.month}"
    if (at.log, at.partition) == (of.log, of.partition) and at.offset < of.offset:
        return f"it counts as late for {order.month}, and came before the order at {of} dropped it"
    return None
