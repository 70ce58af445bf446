"""A log against those it continues: what its first leaf names, what their trees give, what an auditor kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trailseal.errors import IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.ports.ledger import Ledger
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.verification.suspicions import Suspicions


@dataclass(frozen=True, slots=True)
class NamedEnd:
    """How a log ended, by the first leaf of one that continues it.

    Attributes:
        checkpoint: the final one.
        cosigned_at: POSIX seconds of the newest cosignature over that leaf, or None where no quorum cosigned it.
    """

    checkpoint: Checkpoint
    cosigned_at: int | None


@dataclass(slots=True)
class NamedEnds:
    """The ends that logs name which are vouched for: by a signature, or as ends that others name.

    Attributes:
        newest: the number of the newest log that names any or none.
    """

    newest: int = 0
    _ends: dict[Checkpoint, NamedEnd] = field(default_factory=dict)

    def add(self, log: SealedLog, cosigned_at: int | None) -> None:
        """Note what a log names that is vouched for."""
        self.newest = max(self.newest, log.log)
        for final in log.genesis.previous:
            self._ends[final] = NamedEnd(final, cosigned_at)

    def of(self, checkpoint: Checkpoint) -> NamedEnd | None:
        """The same checkpoint as the end of its log; None where none names it."""
        return self._ends.get(checkpoint)


def check_links(
    ledger: Ledger, log: SealedLog, kept: Sequence[Checkpoint], suspicions: Suspicions, open_questions: list[str]
) -> set[str]:
    """Hold the final checkpoints in a genesis against the earlier logs' own trees and against kept checkpoints.

    Then those in the geneses of these logs, and so on, back to the first.

    Returns:
        The origins of all of them.

    Raises:
        Unavailable: the ledger does not answer.
    """
    named: set[str] = set()
    for final in log.genesis.previous:
        named.add(final.origin)
        earlier = _earlier(ledger, log, final.origin)
        tree = None if earlier is None else earlier[1]
        if tree is None:
            detail = f"the first leaf names {final.origin} at {final.size} leaves, and the ledger has no such log"
            suspicions.add("damaged-tree", log.genesis.base, detail=detail)
        if tree is not None and (tree.size, tree.edge.root()) != (final.size, final.root):
            detail = f"the first leaf names {final.origin} at {final.size} leaves, its tree is another"
            suspicions.add("forked", log.genesis.base, detail=detail)
            continue
        for checkpoint in kept:
            if checkpoint.origin == final.origin:
                _check_kept(log, (final, tree), checkpoint, suspicions, open_questions)
        if earlier is not None and _begins_as_told(log, earlier, suspicions):
            named |= check_links(ledger, earlier[0], kept, suspicions, open_questions)
    return named


def _begins_as_told(log: SealedLog, earlier: tuple[SealedLog, LogTree], suspicions: Suspicions) -> bool:
    """Whether an earlier log's tree begins with the genesis that the ledger tells."""
    known, tree = earlier
    try:
        if tree.entry(0) == known.entry.encode():
            return True
        detail = f"the first leaf of {known.origin} is another one than its genesis gives"
    except IntegrityViolation as error:
        detail = str(error).removesuffix(".")
    suspicions.add("damaged-tree", log.genesis.base, detail=detail)
    return False


def _check_kept(
    log: SealedLog,
    earlier: tuple[Checkpoint, LogTree | None],
    kept: Checkpoint,
    suspicions: Suspicions,
    open_questions: list[str],
) -> None:
    final, tree = earlier
    if kept.size > final.size:
        detail = f"{kept.size} leaves of {kept.origin} were kept by the auditor, the first leaf names {final.size}"
        suspicions.add("rolled-back", log.genesis.base, detail=detail)
        return
    try:
        root = final.root if kept.size == final.size else None if tree is None else tree.root(kept.size)
    except IntegrityViolation as error:
        suspicions.add("damaged-tree", log.genesis.base, detail=str(error).removesuffix("."))
        return
    if root is None:
        open_questions.append(f"The tree of {kept.origin} is not in this ledger: what was kept says nothing here.")
    elif root != kept.root:
        detail = f"another tree of {kept.size} leaves of {kept.origin} was kept by the auditor"
        suspicions.add("forked", log.genesis.base, detail=detail)


def _earlier(ledger: Ledger, log: SealedLog, origin: str) -> tuple[SealedLog, LogTree] | None:
    for number in sorted((one for one in ledger.logs() if one < log.log), reverse=True):
        for head in sorted(ledger.heads(number), key=lambda one: one.partition != log.partition):
            known = SealedLog.stored(ledger, number, head.partition)
            if known is not None and known.origin == origin:
                return known, LogTree.of(head.seal, ledger.seals)
    return None
