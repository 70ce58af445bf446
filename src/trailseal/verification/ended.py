"""A log that has ended: nothing can be read of it but what index and ledger keep."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.errors import IntegrityViolation
from trailseal.model.record import Gap, Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import Bounds
from trailseal.sealing.origin import sealed_partitions
from trailseal.verification.heads import heads_apart


class EndedLog:
    """A log as one that has forgotten everything below its heads.

    Args:
        ledger: has its heads, which stand where it ended.
        number: of the log.
    """

    def __init__(self, ledger: Ledger, number: int) -> None:
        self.origin = ledger.logs()[number]
        self._number = number
        self._ends = _ends(ledger, number)

    def partitions(self) -> tuple[int, ...]:
        """Those that were taken in, ascending."""
        return tuple(sorted(self._ends))

    def bounds(self, partition: int) -> Bounds:
        """Nothing, at the log's end."""
        end = self._ends.get(partition, 0)
        return Bounds(end, end)

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """A gap up to the end."""
        del max_bytes
        left = self._ends.get(partition, 0) - start
        return [Gap(Position(self._number, partition, start), left)] if left > 0 and max_records > 0 else []

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """No record."""
        return [None] * len(positions)


def _ends(ledger: Ledger, number: int) -> dict[int, int]:
    """Where each partition ended; of one whose head is damaged, nothing is known but that it is there."""
    try:
        return {head.partition: head.next for head in ledger.heads(number)}
    except IntegrityViolation:
        partitions = sealed_partitions(ledger, number)
        heads, _ = heads_apart(ledger, number, partitions)
        return dict.fromkeys(partitions, 0) | {head.partition: head.next for head in heads}
