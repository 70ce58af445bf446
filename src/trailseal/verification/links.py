"""A log against those it continues: what its first leaf names, what their trees give, what an auditor kept."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.errors import IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.ports.ledger import Ledger
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree
from trailseal.verification.suspicions import Suspicions


def check_links(
    ledger: Ledger, log: SealedLog, kept: Sequence[Checkpoint], suspicions: Suspicions, open_questions: list[str]
) -> None:
    """Hold the final checkpoints in a genesis against the earlier logs' own trees and against kept checkpoints.

    Raises:
        Unavailable: the ledger does not answer.
    """
    for final in log.genesis.previous:
        tree = _earlier_tree(ledger, log, final.origin)
        if tree is not None and (tree.size, tree.edge.root()) != (final.size, final.root):
            detail = f"the first leaf names {final.origin} at {final.size} leaves, its tree is another"
            suspicions.add("forked", log.genesis.base, detail=detail)
            continue
        for checkpoint in kept:
            if checkpoint.origin == final.origin:
                _check_kept(log, (final, tree), checkpoint, suspicions, open_questions)


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


def _earlier_tree(ledger: Ledger, log: SealedLog, origin: str) -> LogTree | None:
    for number in sorted(ledger.logs()):
        for head in ledger.heads(number) if number < log.log else ():
            known = SealedLog.stored(ledger, number, head.partition)
            if known is not None and known.origin == origin:
                return LogTree(SealState.of(head.seal).edge, ledger.seals)
    return None
