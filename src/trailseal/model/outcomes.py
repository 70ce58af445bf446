"""What became of records: the ledger's rows, heads and deltas."""

from __future__ import annotations

from typing import Literal

import msgspec

from trailseal.model.record import Int64, Position

OutcomeKind = Literal["duplicate", "id_collision", "dead_letter", "gap", "expired", "erased"]
NOT_INDEXED: frozenset[str] = frozenset({"duplicate", "dead_letter", "gap", "expired", "erased"})
"""Kinds whose records are not in the index; an ``id_collision`` is indexed and has a row as well."""
REMOVED: tuple[OutcomeKind, ...] = ("erased", "expired")
"""Kinds of what an order removed."""


def replaced_by(removal: OutcomeKind) -> tuple[OutcomeKind, ...]:
    """The kinds whose rows a removal takes the place of, each a row of one position.

    An erasure takes that of an ``expired`` or ``erased`` row too: of an event that came after its month was
    dropped, or again after it was erased, and that an order names only now.
    """
    return ("duplicate", "id_collision", "dead_letter", *(REMOVED if removal == "erased" else ()))


class OutcomeRow(msgspec.Struct, frozen=True, gc=False):
    """What became of a record (or a run of offsets) that is not simply indexed.

    Attributes:
        position: of the record, or of the first offset of the run.
        kind: see `OutcomeKind`.
        count: offsets in the run; 1 for a duplicate, a collision and a dead letter.
        of: the position that holds the event (duplicate) or the id (collision), or the admin record that had it
            erased, or None.
        code: for a dead letter the problem's code, else None.
        detail: for people: one sentence without event contents, or None.
        field: for a dead letter the field at fault, or None.
        tenant_id: where it is known, or None.
        event_id: where it is known, or None.
        tombstone: for ``erased``, the keyed hash that keeps the event from coming back, or None.
    """

    position: Position
    kind: OutcomeKind
    count: Int64 = 1
    of: Position | None = None
    code: str | None = None
    detail: str | None = None
    field: str | None = None
    tenant_id: str | None = None
    event_id: str | None = None
    tombstone: bytes | None = None

    @property
    def came_late(self) -> bool:
        """Whether it says that an event came after its month was dropped; the rows of the order name no event."""
        return self.kind == "expired" and self.event_id is not None and self.count == 1

    @property
    def came_again(self) -> bool:
        """Whether it says that an event came again after it was erased, so that the order it names names another.

        An order names what stands before it in its own partition, or what a log that has ended holds.
        """
        at, of = self.position, self.of
        if self.kind != "erased" or self.count > 1:
            return False
        if of is None:
            return True
        is_before = (at.log, at.partition) == (of.log, of.partition) and at.offset < of.offset
        return not (is_before or at.log < of.log)


class Head(msgspec.Struct, frozen=True, gc=False):
    """How far one partition of one log has been taken in.

    Attributes:
        log: the log's number.
        partition: the partition.
        base: the first offset this log was taken in from.
        next: the next offset to take in; everything in [base, next) is indexed or has a row.
        version: the ledger's token for compare-and-set; opaque, grows with every advance.
        seal: the right edge of the Merkle tree, serialised; None before the first seal.
    """

    log: int
    partition: int
    base: int
    next: int
    version: str
    seal: bytes | None = None

    @property
    def taken_in(self) -> int:
        """How many offsets were taken in."""
        return self.next - self.base


class Delta(msgspec.Struct, frozen=True, gc=False):
    """One step of a head: where it goes and the rows of what is not simply indexed on the way.

    Attributes:
        next: the new `Head.next`, at least the old one.
        rows: every row of [old next, new next), in order of position; rows of positions below the old next
            only where an erasure or retention changes what became of them.
        seal: the new right edge, or None to keep the old.
    """

    next: int
    rows: tuple[OutcomeRow, ...] = ()
    seal: bytes | None = None


class Totals(msgspec.Struct, frozen=True, gc=False):
    """The books of one partition below its head, summed from the rows (collisions are among the indexed)."""

    duplicates: Int64 = 0
    dead_letters: Int64 = 0
    gaps: Int64 = 0
    expired: Int64 = 0
    erased: Int64 = 0
    id_collisions: Int64 = 0

    @property
    def not_indexed(self) -> int:
        """How many offsets below the head have no document."""
        return self.duplicates + self.dead_letters + self.gaps + self.expired + self.erased
