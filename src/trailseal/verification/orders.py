"""Removed records against the signed orders of their removal: a row names an order, the order has to hold.

An order counts only if its record is the one that was sealed at its offset, if it is genuine there (see
`trailseal.merkle.admin`), and if it names the offset that was removed. So neither a copy, nor a forgery, nor an
order for something else launders a deletion. It stands in the log that it is about, or in a later one and says so.
"""

from __future__ import annotations

import hmac

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import decode_admin
from trailseal.merkle.admin import AdminKind
from trailseal.merkle.errors import MerkleError
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import HEADER_ADMIN, Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.admin_records import event_of
from trailseal.sealing.origin import SealedLog, same_records
from trailseal.sealing.tombstones import known_key, tombstone_of
from trailseal.verification.genuine_orders import GenuineOrder, GenuineOrders
from trailseal.verification.reading import WholeLog, decoded

_KINDS = {AdminKind.ERASE: "erased", AdminKind.EXPIRE: "expired"}


class Orders:
    """Judges the removals of one partition by the orders that its rows name. Used by one thread.

    Args:
        ledger: has the key of tombstones.
        sealed: the partition's log.
        log: its records.
        genuine: the orders.
    """

    def __init__(self, ledger: Ledger, sealed: SealedLog, log: WholeLog, genuine: GenuineOrders) -> None:
        self._ledger, self._sealed, self._log, self._genuine = ledger, sealed, log, genuine
        self._tombstone_key = known_key(ledger)
        self._awaited: set[int] = set()

    @property
    def unvouched(self) -> int:
        """How many orders only the ledger's own list of keys says are genuine."""
        return len(self._genuine.unvouched)

    def objection(self, row: OutcomeRow, offset: int, record: Record | None = None) -> str | None:
        """Why the removal of this offset is not lawful; None where it is.

        Args:
            row: that says so.
            offset: of its run.
            record: what stands there still, if it is what was sealed.

        Raises:
            Unavailable: log or ledger does not answer.
        """
        found = self._genuine.at(row.of)
        if isinstance(found, str):
            return f"{row.kind}: {found}"
        if _KINDS[found.statement.kind] != row.kind:
            return f"{row.kind}: the order at {row.of} is for something else"
        if self._covers(found, offset):
            return self._other_event(row, found)
        return None if self.is_late(row, record) else self._no_retry(row, offset, record)

    def _no_retry(self, row: OutcomeRow, offset: int, record: Record | None) -> str | None:
        """Why the row cannot be that of an event which came again after it was erased."""
        if not self.is_retry(row, offset):
            return f"{row.kind}: the order at {row.of} does not name this offset"
        if record is not None and not self.was_of(row, record):
            return f"{row.kind}: it counts as a retry of what the order at {row.of} erased, and is another event"
        return None

    def _other_event(self, row: OutcomeRow, order: GenuineOrder) -> str | None:
        """Why the row cannot be of an event that the order names at its offset."""
        if row.tombstone is None or order.erased.signed is None or order.erased.has(row.tombstone):
            return None
        return f"{row.kind}: the order at {row.of} is for another event than the row"

    def is_retry(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the row says that an event came again after it was erased, as far as that can be checked."""
        found = self._genuine.at(row.of)
        if isinstance(found, str) or row.kind != "erased" or not found.erased.has(row.tombstone):
            return False
        if self._is_here(found):
            return offset > found.at.offset and not self._covers(found, offset)
        return not self._is_later(found)

    def was_of(self, row: OutcomeRow, record: Record) -> bool:
        """Whether what was removed can have been this record's event; where nothing is left to tell by, it can."""
        made = decoded(record, self._log.origin)
        if made is None:
            return False
        if row.kind == "expired":
            found = self._genuine.at(row.of)
            return not isinstance(found, str) and found.month == made.month
        if row.tombstone is None:
            return self._log.forgets
        key = self._tombstone_key
        return key is not None and hmac.compare_digest(tombstone_of(made, key), row.tombstone)

    def is_late(self, row: OutcomeRow, record: Record | None) -> bool:
        """Whether the row says that an event came after its month was dropped; with its record, whether that is so.

        Where the log forgets, nobody can tell any more once the record is gone.
        """
        found = self._genuine.at(row.of)
        if isinstance(found, str) or row.kind != "expired" or found.month is None or self._is_later(found):
            return False
        if record is None:
            return self._log.forgets
        made = decoded(record, self._log.origin)
        return made is not None and made.month == found.month

    def names_elsewhere(self, row: OutcomeRow, position: Position) -> bool:
        """Whether the order that the row of another partition's position names is for that position."""
        found = self._genuine.at(row.of)
        if isinstance(found, str) or _KINDS[found.statement.kind] != row.kind:
            return False
        return found.about == (position.log, position.partition) and found.statement.covers(position.offset)

    def names(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the order that the row names names this offset, so that nothing has to be believed."""
        found = self._genuine.at(row.of)
        return not isinstance(found, str) and self._covers(found, offset)

    def may_be_blank(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the record may be gone although the tree has another leaf: only by an order of this very log.

        What an earlier epoch erased was blank when this one sealed it.
        """
        found = self._genuine.at(row.of)
        if isinstance(found, str):
            return False
        return self._is_here(found) or self.is_retry(row, offset) or self._log.forgets

    def await_order(self, row: OutcomeRow, offset: int) -> None:
        """The record of this removal is gone. What came late, or again, goes by a later order that names it."""
        if not self.names(row, offset):
            self._awaited.add(offset)

    def never_ordered(self, following: int) -> list[int]:
        """The offsets whose records are gone, though no order that was passed names them.

        Args:
            following: the next offset to take in: the order there may be under way.
        """
        if self._awaited:
            pending = self._log.at(Position(self._sealed.log, self._sealed.partition, following))
            if pending is not None:
                self.event(pending)
        return sorted(self._awaited)

    def event_elsewhere(self, record: Record) -> Entry | None:
        """The event of a genuine order of another log, whose tree has it there; None where it is none."""
        if record.header(HEADER_ADMIN) is None or isinstance(self._genuine.at(record.position), str):
            return None
        made = decode_admin(record)
        return entry(record, made.event, made.format, made.words)

    def event(self, record: Record) -> Entry | None:
        """The event of a genuine admin record; None where it is none."""
        if record.header(HEADER_ADMIN) is None:
            return None
        try:
            statement = self._genuine.statement(record)
            made = event_of(record)
        except (MerkleError, IntegrityViolation, InvalidEvent):
            return None
        if statement.origin == self._sealed.origin and statement.ended is None:
            self._awaited = {offset for offset in self._awaited if not statement.covers(offset)}
        self._genuine.count(record)
        return entry(record, made.event, made.format, made.words)

    def questions(self) -> list[str]:
        """What could not be checked of the orders seen so far, in sentences."""
        question = (
            f"{self.unvouched} orders of removal in {self._sealed.origin} are signed with Ed25519 only, by"
            " keys that were not given: nothing but the ledger's own list of keys says that they are genuine."
        )
        return [question] if self.unvouched else []

    def _is_here(self, order: GenuineOrder) -> bool:
        return (order.at.log, order.at.partition) == (self._sealed.log, self._sealed.partition)

    def _is_later(self, order: GenuineOrder) -> bool:
        return order.at.log > self._sealed.log

    def _covers(self, order: GenuineOrder, offset: int) -> bool:
        """Whether the order names this offset: of this log, or of an epoch in which the same record stood there."""
        here = self._sealed
        if not order.statement.covers(offset):
            return False
        if order.about == (here.log, here.partition):
            return True
        earlier = (
            order.statement.ended is None and not self._is_later(order) and order.at.partition == here.partition
        )
        return earlier and same_records(self._ledger, order.at.log, here.log)
