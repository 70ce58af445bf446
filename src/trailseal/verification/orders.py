"""Removed records against the signed orders of their removal: a row names an order, the order has to hold.

An order counts only if its record is the one that was sealed at its offset, if it is genuine there (see
`trailseal.merkle.admin`), and if it names the offset that was removed. So neither a copy, nor a forgery, nor an
order for something else launders a deletion.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import decode_admin
from trailseal.merkle.admin import AdminKind, AdminStatement
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import HEADER_ADMIN, Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.admin_records import (
    MONTH_DETAIL,
    entry_of,
    inherited_statement,
    is_named,
    known_keys,
    statement_of,
)
from trailseal.sealing.origin import SealedLog, same_records
from trailseal.sealing.state import SealState
from trailseal.sealing.tombstones import known_key, tombstone_of
from trailseal.sealing.tree import LogTree
from trailseal.verification.reading import WholeLog, decoded
from trailseal.verification.signatures import Signed, listed_keys

_KINDS = {AdminKind.ERASE: "erased", AdminKind.EXPIRE: "expired"}
_KNOWN = 16
"""Orders kept in memory; one may name ten thousand runs."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A genuine order, what it was for, and the keyed hashes of the events that it removed."""

    at: Position
    statement: AdminStatement
    tombstones: frozenset[bytes]
    month: str | None


class Orders:
    """The orders that the rows of one partition point to, in whichever log they stand. Used by one thread.

    Args:
        ledger: rows, trees and geneses.
        sealed: the partition's log.
        tree: of its head.
        log: where orders are read.
        signed: what vouches for the tree. Where none of its keys signs orders, the ledger's own list does; and the
            keys in the first leaf count of a tree whose end another log vouches for.

    Attributes:
        unvouched: the orders that only the ledger's own list of keys says are genuine.
    """

    def __init__(self, ledger: Ledger, sealed: SealedLog, tree: LogTree, log: WholeLog, signed: Signed) -> None:
        self._ledger, self._sealed, self._tree, self._log = ledger, sealed, tree, log
        given = [key for key in signed.keys if key.algorithm is Algorithm.ED25519]
        self._first_keys = () if signed.end is None else sealed.genesis.keys
        self._is_vouched, self._keys = bool(given), given or listed_keys(ledger, sealed)
        self.unvouched: set[Position] = set()
        self._known: dict[Position, _Order | str] = {}
        self._tombstone_key = known_key(ledger)
        self._awaited: set[int] = set()

    def objection(self, row: OutcomeRow, offset: int, record: Record | None = None) -> str | None:
        """Why the removal of this offset is not lawful; None where it is.

        Args:
            row: that says so.
            offset: of its run.
            record: what stands there still, if it is what was sealed.

        Raises:
            Unavailable: log or ledger does not answer.
        """
        found = self._order(row.of)
        if isinstance(found, str):
            return f"{row.kind}: {found}"
        if _KINDS[found.statement.kind] != row.kind:
            return f"{row.kind}: the order at {row.of} is for something else"
        if self._covers(found, offset) or self.is_late(row, record):
            return None
        if not self.is_retry(row, offset):
            return f"{row.kind}: the order at {row.of} does not name this offset"
        if record is not None and not self.was_of(row, record):
            return f"{row.kind}: it counts as a retry of what the order at {row.of} erased, and is another event"
        return None

    def is_retry(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the row says that an event came again after it was erased, as far as that can be checked."""
        found = self._order(row.of)
        if isinstance(found, str) or row.kind != "erased" or row.tombstone not in found.tombstones:
            return False
        return not self._is_here(found) or (offset > found.at.offset and not found.statement.covers(offset))

    def was_of(self, row: OutcomeRow, record: Record) -> bool:
        """Whether what was removed can have been this record's event; where nothing is left to tell by, it can."""
        made = decoded(record, self._log.origin)
        if made is None:
            return False
        if row.kind == "expired":
            found = self._order(row.of)
            return not isinstance(found, str) and found.month == made.month
        if row.tombstone is None:
            return self._log.forgets
        key = self._tombstone_key
        return key is not None and hmac.compare_digest(tombstone_of(made, key), row.tombstone)

    def is_late(self, row: OutcomeRow, record: Record | None) -> bool:
        """Whether the row says that an event came after its month was dropped; with its record, whether that is so.

        Where the log forgets, nobody can tell any more once the record is gone.
        """
        found = self._order(row.of)
        if isinstance(found, str) or row.kind != "expired" or found.month is None:
            return False
        if record is None:
            return self._log.forgets
        made = decoded(record, self._log.origin)
        return made is not None and made.month == found.month

    def names(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the order that the row names names this offset, so that nothing has to be believed."""
        found = self._order(row.of)
        return not isinstance(found, str) and self._covers(found, offset)

    def may_be_blank(self, row: OutcomeRow, offset: int) -> bool:
        """Whether the record may be gone although the tree has another leaf: only by an order of this very log.

        What an earlier epoch erased was blank when this one sealed it.
        """
        found = self._order(row.of)
        if isinstance(found, str):
            return False
        return self._is_here(found) or self.is_retry(row, offset) or self._log.forgets

    def await_order(self, row: OutcomeRow, offset: int) -> None:
        """The record of this removal is gone. That of a retry goes by a later order, which has to name it."""
        if not (self._log.forgets or self.names(row, offset)):
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
        if record.header(HEADER_ADMIN) is None or isinstance(self._order(record.position), str):
            return None
        made = decode_admin(record)
        return entry(record, made.event, made.format, made.words)

    def event(self, record: Record) -> Entry | None:
        """The event of a genuine admin record; None where it is none."""
        if record.header(HEADER_ADMIN) is None:
            return None
        try:
            statement = self._statement(record, self._sealed, self._keys)
            made = decode_admin(record)
        except (MerkleError, IntegrityViolation, InvalidEvent):
            return None
        if statement.origin == self._sealed.origin:
            self._awaited = {offset for offset in self._awaited if not statement.covers(offset)}
        self._count(record)
        return entry(record, made.event, made.format, made.words)

    def questions(self) -> list[str]:
        """What could not be checked of the orders seen so far, in sentences."""
        question = (
            f"{len(self.unvouched)} orders of removal in {self._sealed.origin} are signed with Ed25519 only, by"
            " keys that were not given: nothing but the ledger's own list of keys says that they are genuine."
        )
        return [question] if self.unvouched else []

    def _statement(self, record: Record, log: SealedLog, keys: Sequence[VerifierKey]) -> AdminStatement:
        try:
            return statement_of(record, log, keys)
        except MerkleError as error:
            try:
                return inherited_statement(record, self._ledger, log)
            except MerkleError:
                raise error from None

    def _is_here(self, order: _Order) -> bool:
        return (order.at.log, order.at.partition) == (self._sealed.log, self._sealed.partition)

    def _covers(self, order: _Order, offset: int) -> bool:
        """Whether the order names this offset: of this log, or of an epoch in which the same record stood there."""
        if not order.statement.covers(offset) or order.at.partition != self._sealed.partition:
            return False
        return self._is_here(order) or same_records(self._ledger, order.at.log, self._sealed.log)

    def _order(self, at: Position | None) -> _Order | str:
        if at is None:
            return "no order is named"
        known = self._known.get(at)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[at] = self._read(at)
        return known

    def _read(self, at: Position) -> _Order | str:
        record = self._log.at(at)
        if record is None:
            return f"there is no order at {at}"
        try:
            found = self._place(at)
            if isinstance(found, str):
                return found
            log, tree, keys = found
            index = log.index_of(at.offset)
            # one that the head has not passed yet is being carried out, and has its signature to hold it
            pending = index >= tree.size and same_records(self._ledger, at.log, self._sealed.log)
            if not pending and (index >= tree.size or tree.entry(index) != entry_of(record, self._ledger, log)):
                return f"the order at {at} is not the record that was sealed there"
            statement = self._statement_at(record, log, keys)
            month = decode_admin(record).event.metadata.get(MONTH_DETAIL)
        except (MerkleError, IntegrityViolation, InvalidEvent) as error:
            return f"the order at {at} is not genuine, {str(error).removesuffix('.')}"
        self._count(record)
        named = month if isinstance(month, str) and statement.kind is AdminKind.EXPIRE else None
        return _Order(at, statement, self._tombstones(at, statement), named)

    def _statement_at(self, record: Record, log: SealedLog, keys: Sequence[VerifierKey]) -> AdminStatement:
        """A log that was moved in signed with keys of its own: the first are sealed, later ones only listed."""
        if same_records(self._ledger, log.log, self._sealed.log):
            return statement_of(record, log, keys)
        with suppress(MerkleError):
            return statement_of(record, log, [*keys, *log.genesis.keys])
        statement = statement_of(record, log, known_keys(self._ledger, log))
        self.unvouched.add(record.position)
        return statement

    def _count(self, record: Record) -> None:
        if self._is_vouched:
            return
        try:
            statement_of(record, self._sealed, self._first_keys)
        except MerkleError:
            self.unvouched.add(record.position)

    def _place(self, at: Position) -> tuple[SealedLog, LogTree, Sequence[VerifierKey]] | str:
        """The log, the tree and the keys by which an order is judged that stands there."""
        here = self._sealed
        if (at.log, at.partition) == (here.log, here.partition):
            return here, self._tree, self._keys
        head, log = self._ledger.head(at.log, at.partition), SealedLog.stored(self._ledger, at.log, at.partition)
        if head is None or log is None or at.log > here.log:
            return f"the order at {at} is in no log that is known"
        tree = LogTree(SealState.of(head.seal).edge, self._ledger.seals)
        if tree.size == 0 or tree.entry(0) != log.entry.encode():
            return f"the order at {at} is in a log without a genesis"
        if at.log < here.log and not is_named(self._ledger, here, log, tree):
            return f"the order at {at} is in a log that this one does not continue"
        trusted = {key.public_key for key in self._keys}
        return log, tree, [key for key in known_keys(self._ledger, log) if key.public_key in trusted]

    def _tombstones(self, at: Position, statement: AdminStatement) -> frozenset[bytes]:
        first, last = statement.runs[0].first, statement.runs[-1].last
        return frozenset(
            row.tombstone
            for row in self._ledger.outcomes(at.log, at.partition, first, last + 1, ("erased",))
            if row.tombstone is not None and row.of == at and statement.covers(row.position.offset)
        )
