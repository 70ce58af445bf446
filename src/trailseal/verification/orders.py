"""Removed records against the signed orders of their removal: a row names an order, the order has to hold.

An order counts only if its record is the one that was sealed at its offset, if it is genuine there (see
`trailseal.merkle.admin`), and if it names the offset that was removed. So neither a copy, nor a forgery, nor an
order for something else launders a deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import decode_admin
from trailseal.merkle.admin import AdminKind, AdminStatement
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import VerifierKey
from trailseal.model.outcomes import OutcomeKind, OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import HEADER_ADMIN, Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.admin_records import statement_of
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.verification.records import RecordCheck

REMOVED: Final[tuple[OutcomeKind, ...]] = ("erased", "expired")
_KINDS = {AdminKind.ERASE: "erased", AdminKind.EXPIRE: "expired"}
_KNOWN = 16
"""Orders kept in memory; one may name ten thousand runs."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A genuine order, and the keyed hashes of the events that it removed."""

    statement: AdminStatement
    tombstones: frozenset[bytes]


class Orders:
    """The orders of one partition, read where rows point to them. Used by one thread."""

    def __init__(
        self, ledger: Ledger, sealed: SealedLog, tree: LogTree, records: RecordCheck, keys: Sequence[VerifierKey]
    ) -> None:
        self._ledger, self._sealed, self._tree, self._records = ledger, sealed, tree, records
        self._keys = keys
        self._known: dict[int, _Order | str] = {}

    def objection(self, row: OutcomeRow, offset: int) -> str | None:
        """Why the removal of this offset is not lawful; None where it is.

        Raises:
            Unavailable: log or ledger does not answer.
        """
        found = self._order(row.of)
        if isinstance(found, str):
            return f"{row.kind}: {found}"
        if _KINDS[found.statement.kind] != row.kind:
            return f"{row.kind}: the order at {row.of} is for something else"
        if not found.statement.covers(offset) and not self.is_retry(row, offset):
            return f"{row.kind}: the order at {row.of} does not name this offset"
        return None

    def is_retry(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the row says that an event came again after it was erased, as far as that can be checked."""
        found = self._order(row.of)
        if isinstance(found, str) or row.of is None or row.kind != "erased":
            return False
        return offset > row.of.offset and not found.statement.covers(offset) and row.tombstone in found.tombstones

    def event(self, record: Record) -> Entry | None:
        """The event of a genuine admin record; None where it is none."""
        if record.header(HEADER_ADMIN) is None:
            return None
        try:
            statement_of(record, self._sealed, self._keys)
            made = decode_admin(record)
        except (MerkleError, InvalidEvent):
            return None
        return entry(record, made.event, made.format, made.words)

    def _order(self, at: Position | None) -> _Order | str:
        sealed = self._sealed
        if at is None:
            return "no order is named"
        if (at.log, at.partition) != (sealed.log, sealed.partition):
            return f"the order at {at} is in another log"
        known = self._known.get(at.offset)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[at.offset] = self._read(at)
        return known

    def _read(self, at: Position) -> _Order | str:
        items = self._records.read(at.offset, at.offset + 1)
        record = items[0] if items else None
        if not isinstance(record, Record):
            return f"there is no order at {at}"
        try:
            index = self._sealed.index_of(at.offset)
            # one that the head has not passed yet is being carried out, and has its signature to hold it
            if index < self._tree.size and self._tree.entry(index) != self._records.entries([record])[0]:
                return f"the order at {at} is not the record that was sealed there"
            statement = statement_of(record, self._sealed, self._keys)
        except (MerkleError, IntegrityViolation) as error:
            return f"the order at {at} is not genuine, {str(error).removesuffix('.')}"
        return _Order(statement, self._tombstones(at, statement))

    def _tombstones(self, at: Position, statement: AdminStatement) -> frozenset[bytes]:
        first, last = statement.runs[0].first, statement.runs[-1].last
        return frozenset(
            row.tombstone
            for row in self._ledger.outcomes(at.log, at.partition, first, last + 1, ("erased",))
            if row.tombstone is not None and row.of == at and statement.covers(row.position.offset)
        )
