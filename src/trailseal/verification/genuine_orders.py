"""Which orders of removal are genuine: in the log of one partition, and wherever its rows say that one stands.

An order is genuine if its record is the one that was sealed at its offset, and its statement holds there (see
`trailseal.merkle.admin`). What it removes lawfully is `trailseal.verification.orders`' to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import decode_admin
from trailseal.merkle.admin import AdminKind, AdminStatement
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.admin_records import (
    MONTH_DETAIL,
    entry_of,
    inherited_statement,
    is_named,
    known_keys,
    removes_from,
    statement_of,
)
from trailseal.sealing.origin import SealedLog, same_records
from trailseal.sealing.tombstones import ErasedEvents
from trailseal.sealing.tree import LogTree
from trailseal.verification.reading import WholeLog
from trailseal.verification.signatures import Signed, listed_keys

_KNOWN = 16
"""Orders kept in memory; one may name ten thousand runs."""


@dataclass(frozen=True, slots=True)
class GenuineOrder:
    """An order that holds.

    Attributes:
        at: where it stands.
        statement: what it says.
        about: log and partition of what it removes.
        erased: the events that it erased.
        month: that it dropped, or None.
    """

    at: Position
    statement: AdminStatement
    about: tuple[int, int]
    erased: ErasedEvents
    month: str | None


class GenuineOrders:
    """The orders that the rows of one partition point to. Used by one thread.

    Args:
        ledger: rows, trees and geneses.
        sealed: the partition's log, and the tree of its head.
        log: where orders are read.
        signed: what vouches for the tree. Where none of its keys signs orders, the ledger's own list does; and the
            keys in the first leaf count of a tree whose end another log vouches for.
        later: gives the orders of a partition of a later log, by both numbers; None where it was not verified.

    Attributes:
        unvouched: the orders that only the ledger's own list of keys says are genuine.
    """

    def __init__(
        self,
        ledger: Ledger,
        sealed: tuple[SealedLog, LogTree],
        log: WholeLog,
        signed: Signed,
        later: Callable[[int, int], Self | None],
    ) -> None:
        self._ledger, self._log, self._later = ledger, log, later
        self._sealed, self._tree = sealed
        given = [key for key in signed.keys if key.algorithm is Algorithm.ED25519]
        self._first_keys = () if signed.end is None else self._sealed.genesis.keys
        self._is_vouched, self._keys = bool(given), given or listed_keys(ledger, self._sealed)
        self.unvouched: set[Position] = set()
        self._known: dict[Position, GenuineOrder | str] = {}

    def statement(self, record: Record) -> AdminStatement:
        """What a record of this partition orders, or ordered in an earlier epoch.

        Raises:
            MerkleError: it is not genuine.
            IntegrityViolation: an earlier tree is damaged.
        """
        log = self._sealed
        try:
            statement = statement_of(record, log, self._keys, self._ledger)
        except MerkleError as error:
            try:
                statement = inherited_statement(record, self._ledger, log)
            except MerkleError:
                raise error from None
        return statement

    def at(self, at: Position | None) -> GenuineOrder | str:
        """The order at a position of whichever log; or why there is none, as the end of a sentence.

        Raises:
            Unavailable: log or ledger does not answer.
        """
        if at is None:
            return "no order is named"
        known = self._known.get(at)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[at] = self._read(at)
        return known

    def _read(self, at: Position) -> GenuineOrder | str:
        if at.log > self._sealed.log:
            return self._read_later(at)
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
            details = decode_admin(record).event.metadata
            about = removes_from(self._ledger, log, statement)
            erased = ErasedEvents.of(self._ledger, record, details, statement, about)
        except (MerkleError, IntegrityViolation, InvalidEvent) as error:
            return f"the order at {at} is not genuine, {str(error).removesuffix('.')}"
        self.count(record)
        month = details.get(MONTH_DETAIL) if statement.kind is AdminKind.EXPIRE else None
        return GenuineOrder(at, statement, about, erased, month if isinstance(month, str) else None)

    def _read_later(self, at: Position) -> GenuineOrder | str:
        """An order in a later log, as that log's own verification judges it."""
        orders = self._later(at.log, at.partition)
        if orders is None:
            return f"the order at {at} is in no log that is known"
        found = orders.at(at)
        self.unvouched |= orders.unvouched & {at}
        return found

    def _statement_at(self, record: Record, log: SealedLog, keys: Sequence[VerifierKey]) -> AdminStatement:
        """A log that was moved in signed with keys of its own: the first are sealed, later ones only listed."""
        if same_records(self._ledger, log.log, self._sealed.log):
            return statement_of(record, log, keys, self._ledger)
        with suppress(MerkleError):
            return statement_of(record, log, [*keys, *log.genesis.keys], self._ledger)
        statement = statement_of(record, log, known_keys(self._ledger, log), self._ledger)
        self.unvouched.add(record.position)
        return statement

    def count(self, record: Record) -> None:
        """Note a genuine order of this partition if nobody but the ledger vouches for its key."""
        if self._is_vouched:
            return
        try:
            statement_of(record, self._sealed, self._first_keys, self._ledger)
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
        tree = LogTree.of(head.seal, self._ledger.seals)
        if tree.size == 0 or tree.entry(0) != log.entry.encode():
            return f"the order at {at} is in a log without a genesis"
        if at.log < here.log and not is_named(self._ledger, here, log, tree):
            return f"the order at {at} is in a log that this one does not continue"
        trusted = {key.public_key for key in self._keys}
        return log, tree, [key for key in known_keys(self._ledger, log) if key.public_key in trusted]
