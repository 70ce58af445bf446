"""Whether a record is the one that was sealed, as the ledger's tree has it now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from trailseal.model.record import Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.leaves import LeafMaker
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.periods import PeriodSecrets
from trailseal.sealing.tree import LogTree


@dataclass(frozen=True, slots=True)
class SealedRecords:
    """What one partition's tree says of records. Used by one thread.

    Attributes:
        log: the partition's log.
        tree: of its head.
    """

    log: SealedLog
    tree: LogTree
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
        tree = LogTree.of(head.seal, ledger.seals)
        if not tree.size or tree.entry(0) != sealed.entry.encode():
            return None
        return cls(sealed, tree, LeafMaker(sealed.origin, PeriodSecrets(ledger, log)))

    def has(self, record: Record) -> bool:
        """Whether this very record has its leaf in the tree; not where the secret of its week is gone.

        Raises:
            IntegrityViolation: the tree is damaged.
            Unavailable: the ledger does not answer.
        """
        index = self.log.index_of(record.position.offset)
        return 0 < index < self.tree.size and self.tree.entry(index) == self._maker.entry(record)
