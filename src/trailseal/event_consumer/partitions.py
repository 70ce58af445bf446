"""What the pipeline knows of one partition: its epoch, its head, and the contiguous prefix of what is finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from trailseal.model.outcomes import Delta, Head, OutcomeRow
from trailseal.sealing.admin_records import Order
from trailseal.sealing.leaves import Leaves


class Stage(IntEnum):
    """How far a slice has come."""

    PENDING = 0
    SETTLED = 1
    FLUSHED = 2


@dataclass(slots=True, eq=False)
class Slice:
    """One partition's part of a batch: the offsets in [first, next).

    Attributes:
        epoch: of the assignment that delivered it; another epoch's results are ignored.
        rows: what is not simply indexed of it, in order of position, once it is settled.
        taken_at: monotonic seconds when it was delivered.
        oldest_ms: append time of its first record, milliseconds since 1970 UTC, or None for gaps only.
        leaves: the tree's entries for its offsets.
        orders: admin records in it, to be carried out before the head passes it.
    """

    partition: int
    epoch: int
    first: int
    next: int
    taken_at: float
    oldest_ms: int | None = None
    stage: Stage = Stage.PENDING
    rows: list[OutcomeRow] = field(default_factory=list)
    leaves: Leaves = field(default_factory=Leaves)
    orders: list[Order] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a head, and what it adds to the tree.

    Attributes:
        delta: the step, not sealed yet.
        leaves: of its offsets, in order.
        orders: to be carried out before it.
    """

    delta: Delta
    leaves: tuple[Leaves, ...]
    orders: tuple[Order, ...] = ()


@dataclass(slots=True, eq=False)
class Partition:
    """A partition that is ours.

    Attributes:
        epoch: grows with every assignment, so that late results of an earlier one are told apart.
        head: as last read from or written to the ledger.
        expected: the offset the log has to deliver next.
        slices: what was delivered and is not below the head yet, in order.
    """

    number: int
    epoch: int
    head: Head
    expected: int
    slices: deque[Slice] = field(default_factory=deque)

    def begin_slice(self, now: float) -> Slice:
        """A new slice at the place where the next delivery has to go on."""
        opened = Slice(self.number, self.epoch, self.expected, self.expected, now)
        self.slices.append(opened)
        return opened

    def finished(self, also: set[int]) -> list[Slice]:
        """The contiguous prefix of slices that are flushed or whose ``id()`` is in ``also``."""
        prefix = []
        for piece in self.slices:
            if piece.stage is not Stage.FLUSHED and id(piece) not in also:
                break
            prefix.append(piece)
        return prefix

    def advanced(self, head: Head) -> int:
        """Forget what the head passed; the number of offsets it moved."""
        moved = head.next - self.head.next
        self.head = head
        while self.slices and self.slices[0].next <= head.next:
            self.slices.popleft()
        return moved


def moves(prefix: list[Slice], most_rows: int) -> Iterator[Move]:
    """The steps that take a head over a contiguous prefix, each with at most ``most_rows`` rows.

    A slice is never split, so one slice with more rows than that is one step. An order begins a step: it is carried
    out when everything before it is below the head.
    """
    taken: list[Slice] = []
    rows = 0
    for piece in prefix:
        if taken and (piece.orders or rows + len(piece.rows) > most_rows):
            yield _move(taken)
            taken, rows = [], 0
        taken.append(piece)
        rows += len(piece.rows)
    if taken:
        yield _move(taken)


def _move(taken: list[Slice]) -> Move:
    rows = tuple(row for piece in taken for row in piece.rows)
    orders = tuple(order for piece in taken for order in piece.orders)
    return Move(Delta(taken[-1].next, rows), tuple(piece.leaves for piece in taken), orders)
