"""Whether a record is the one that was sealed, as the ledger's tree has it now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.leaves import LeafMaker
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.periods import PeriodSecrets, week_of
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree


@dataclass(frozen=True, slots=True)
class SealedRecords:
    """What one partition's tree says of records. Used by one thread.

    Attributes:
        log: the partition's log.
        tree: of its head.
        weeks: in which records were sealed that have no salt of their own.
    """

    log: SealedLog
    tree: LogTree
    weeks: Collection[int]
    _maker: LeafMaker

    @classmethod
    def of(cls, ledger: Ledger, log: int, partition: int) -> Self | None:
        """Those of a partition; None where nothing of it was sealed, or its tree does not begin with its genesis.

        Raises:
            IntegrityViolation: genesis or tree are damaged.
            Unavailable: the ledger does not answer.
        """
        head, sealed = ledger.head(log, partition), SealedLog.stored(ledger, log, partition)
        if head is None or head.seal is None or sealed is None:
            return None
        state = SealState.of(head.seal)
        tree = LogTree(state.edge, ledger.seals)
        if not tree.size or tree.entry(0) != sealed.entry.encode():
            return None
        return cls(sealed, tree, state.weeks, LeafMaker(sealed.origin, PeriodSecrets(ledger, log)))

    def has(self, record: Record) -> bool:
        """Whether this very record has its leaf in the tree; not where the secret of its week is gone.

        Raises:
            IntegrityViolation: the tree is damaged.
            Unavailable: the ledger does not answer.
        """
        known = self._entry_at(record.position)
        return known is not None and known == self._maker.entry(record)

    def may_be(self, record: Record) -> bool:
        """The same, but also where nobody can tell any more, since the secret of its week is gone.

        Raises:
            IntegrityViolation: the tree is damaged.
            Unavailable: the ledger does not answer.
        """
        known = self._entry_at(record.position)
        if known is None:
            return False
        made = self._maker.entry(record)
        return made == known or (made is None and week_of(record.timestamp_ms) in self.weeks)

    def _entry_at(self, position: Position) -> bytes | None:
        """The entry of the leaf; None where the tree has none there."""
        index = self.log.index_of(position.offset)
        return self.tree.entry(index) if 0 < index < self.tree.size else None
