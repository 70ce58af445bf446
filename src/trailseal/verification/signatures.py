"""A tree against what was signed of it: by its own key, by witnesses, and what an auditor kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trailseal.errors import IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError, UnsignedNote, UntrustedNote
from trailseal.merkle.notes import VerifierKey
from trailseal.merkle.signing import OpenedCheckpoint, open_checkpoint
from trailseal.ports.ledger import Ledger
from trailseal.ports.seals import StoredCheckpoint
from trailseal.sealing.checkpoints import merged, published_keys
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.tree import LogTree
from trailseal.verification.links import NamedEnd, check_links
from trailseal.verification.suspicions import Suspicions
from trailseal.verification.trust import Trust

CHECKED = 100
"""Signed checkpoints that are looked at, the newest first; each of them covers everything before it."""

_UNSIGNED = "no trusted key of the log has signed it"
OWN_KEYS = "The keys were taken from the ledger itself: name them with --key to prove anything to an outsider."


@dataclass(slots=True)
class Signed:
    """What is vouched for.

    Attributes:
        as_of: POSIX seconds when the checkpoints were read.
        newest: the largest checkpoint that holds, or None.
        cosigned: the largest that a quorum of witnesses cosigned; None where there is none or no witness was named.
        checked: how many checkpoints were compared with the tree.
        keys: the log's keys that count.
        unsigned: the checkpoints that only keys signed that the auditor did not give, above the newest.
        end: what the log's successor says of its end, if the tree ends so; it vouches for all of it.
        origins: of the log, and of those that it continues: what an auditor kept of them was looked at.
        open_questions: sentences on what could not be checked.
    """

    as_of: int = 0
    newest: OpenedCheckpoint | None = None
    cosigned: OpenedCheckpoint | None = None
    checked: int = 0
    keys: Sequence[VerifierKey] = ()
    unsigned: list[StoredCheckpoint] = field(default_factory=list)
    end: NamedEnd | None = None
    origins: set[str] = field(default_factory=set)
    open_questions: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Leaves that a signature covers."""
        if self.end is not None:
            return self.end.checkpoint.size
        return 0 if self.newest is None else self.newest.checkpoint.size

    @property
    def cosigned_size(self) -> int | None:
        """Leaves that a quorum's cosignatures cover, or None."""
        if self.end is not None and self.end.cosigned_at is not None:
            return self.end.checkpoint.size
        return None if self.cosigned is None else self.cosigned.checkpoint.size

    @property
    def cosigned_at(self) -> int | None:
        """POSIX seconds of the newest of those."""
        if self.end is not None and self.end.cosigned_at is not None:
            return self.end.cosigned_at
        signatures = () if self.cosigned is None else self.cosigned.cosignatures
        return max((one.time for one in signatures if one.time is not None), default=None)


def check_signatures(
    ledger: Ledger,
    log: SealedLog,
    tree: LogTree,
    trust: Trust,
    suspicions: Suspicions,
    *,
    end: NamedEnd | None = None,
) -> Signed:
    """Compare the tree with its checkpoints and with those the auditor kept.

    Args:
        ledger: has the checkpoints.
        log: whose tree it is.
        tree: of the head.
        trust: whose word counts.
        suspicions: told what does not hold.
        end: what the log's successor says of its end, if the tree ends so.

    Raises:
        Unavailable: the ledger does not answer.
    """
    signed = Signed(end=end, origins={log.origin})
    if not tree.size and not trust.kept:
        return signed
    signed.keys = trust.log_keys(log.origin) if trust.keys else published_keys(ledger, log)
    checkpoints = list(ledger.seals.checkpoints(log.log, log.partition, limit=CHECKED))
    sizes = [one.size for one in checkpoints] + [one.size for one in _of(log, trust.kept)]
    largest = max(sizes, default=0)
    now = tree if largest <= tree.size else _grown(ledger, log, tree)
    comparison = _Comparison(log, now, signed.keys, listed_keys(ledger, log), trust, suspicions)
    for stored in checkpoints:
        comparison.check(stored, signed)
    comparison.judge_unsigned(signed)
    for kept in _of(log, trust.kept):
        comparison.holds(kept, "kept by the auditor")
    if not trust.keys:
        signed.open_questions.append(OWN_KEYS)
    elif not signed.keys and end is None:
        signed.open_questions.append(f"None of the keys given is of {log.origin}: its signatures say nothing here.")
    signed.origins |= check_links(ledger, log, trust.kept, suspicions, signed.open_questions)
    if end is None:
        _ask_for_signatures(log, signed, suspicions)
    if trust.quorum and signed.cosigned_size is None:
        signed.open_questions.append(
            f"None of the {signed.checked} newest checkpoints of {log.origin} is cosigned by {trust.quorum} of the"
            " witnesses named."
        )
    return signed


def _of(log: SealedLog, kept: Sequence[Checkpoint]) -> list[Checkpoint]:
    return [one for one in kept if one.origin == log.origin]


def _grown(ledger: Ledger, log: SealedLog, tree: LogTree) -> LogTree:
    """The tree as it is now, if it grew out of this one: a running pipeline signs while one verifies."""
    head = ledger.head(log.log, log.partition)
    try:
        now = LogTree.of(None if head is None else head.seal, ledger.seals)
        return now if now.size > tree.size and now.root(tree.size) == tree.edge.root() else tree
    except IntegrityViolation:
        return tree


def _ask_for_signatures(log: SealedLog, signed: Signed, suspicions: Suspicions) -> None:
    if signed.unsigned and signed.newest is None:
        signed.open_questions.append(
            f"No key given has signed one of the newest checkpoints of {log.origin}; others of its keys have."
        )
    elif signed.keys and signed.newest is None and not suspicions.all:
        signed.open_questions.append(f"No checkpoint of {log.origin} is signed yet.")


def listed_keys(ledger: Ledger, log: SealedLog) -> Sequence[VerifierKey]:
    """The keys that the ledger tells, beside those that are believed; none where its list is damaged.

    Raises:
        Unavailable: the ledger does not answer.
    """
    try:
        return published_keys(ledger, log)
    except IntegrityViolation:
        return ()


@dataclass(frozen=True, slots=True)
class _Comparison:
    log: SealedLog
    tree: LogTree
    keys: Sequence[VerifierKey]
    listed: Sequence[VerifierKey]
    trust: Trust
    suspicions: Suspicions

    def check(self, stored: StoredCheckpoint, signed: Signed) -> None:
        """Check the signatures of a stored checkpoint, and the tree against it."""
        try:
            note = merged(stored).to_bytes()
            opened = open_checkpoint(note, self.log.origin, self.keys, self.trust.witnesses)
        except UntrustedNote as error:
            if isinstance(error, UnsignedNote) and self.keys:
                self._unsigned(stored, signed)
            elif self.keys:
                self._bad(stored, str(error))
            return
        except (MerkleError, IntegrityViolation) as error:
            self._bad(stored, str(error).removesuffix("."))
            return
        if opened.checkpoint.size != stored.size:
            self._bad(stored, "it says another size")
            return
        signed.checked += 1
        if not self.holds(opened.checkpoint, "signed"):
            return
        if signed.newest is None:
            signed.newest = opened
        names = {signature.key.name for signature in opened.cosignatures}
        if signed.cosigned is None and self.trust.quorum and len(names) >= self.trust.quorum:
            signed.cosigned = opened

    def holds(self, checkpoint: Checkpoint, how: str) -> bool:
        """Whether the tree grew out of the checkpoint's."""
        at = self.log.offset_of(max(checkpoint.size - 1, 1))
        if checkpoint.size > self.tree.size:
            detail = f"{checkpoint.size} leaves were {how}, the tree has {self.tree.size}"
            self.suspicions.add("rolled-back", self.log.offset_of(max(self.tree.size, 1)), detail=detail)
            return False
        try:
            root = self.tree.root(checkpoint.size)
        except IntegrityViolation as error:
            self.suspicions.add("damaged-tree", at, detail=str(error).removesuffix("."))
            return False
        if root != checkpoint.root:
            self.suspicions.add("forked", at, detail=f"another tree of {checkpoint.size} leaves was {how}")
            return False
        return True

    def judge_unsigned(self, signed: Signed) -> None:
        """What no key given signed is bad above what one did sign; where none signed anything it is a question."""
        for stored in signed.unsigned if signed.newest is not None else ():
            self._bad(stored, _UNSIGNED)

    def _unsigned(self, stored: StoredCheckpoint, signed: Signed) -> None:
        """Fine where another key of the log signed it, and one that was given a larger one since."""
        by_another = self._by_another(stored)
        if by_another is None:
            self._bad(stored, _UNSIGNED)
        elif signed.newest is None:
            signed.unsigned.append(stored)
        else:
            self.holds(by_another, "signed")

    def _by_another(self, stored: StoredCheckpoint) -> Checkpoint | None:
        try:
            opened = open_checkpoint(merged(stored).to_bytes(), self.log.origin, self.listed)
        except (MerkleError, IntegrityViolation):
            return None
        return opened.checkpoint if opened.checkpoint.size == stored.size else None

    def _bad(self, stored: StoredCheckpoint, why: str) -> None:
        at = self.log.offset_of(max(stored.size - 1, 1))
        self.suspicions.add("bad-signature", at, detail=f"size {stored.size}: {why}")
