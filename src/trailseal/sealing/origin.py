"""A partition's log: its name, its genesis, and how all processes agree on both.

The genesis is a document of the ledger, created once, before the first leaf: whoever comes later, with another
clock, key or site name, continues the log that is there.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Self

import msgspec

from trailseal.errors import Fenced, IntegrityViolation, SettingsError
from trailseal.merkle.checkpoints import Checkpoint, check_origin
from trailseal.merkle.errors import InvalidEncoding, InvalidNote
from trailseal.merkle.genesis import Genesis
from trailseal.merkle.leaf import LeafEntry
from trailseal.model.outcomes import Head
from trailseal.ports.ledger import Ledger
from trailseal.sealing.keys import KeyRing
from trailseal.sealing.state import SealState

_FIRST = "first epoch"
_CONTINUED = "continues an earlier log"


class SealedLog(msgspec.Struct, frozen=True):
    """One partition's log.

    Attributes:
        log: the log's number.
        partition: the partition.
        genesis: what leaf 0 commits to.
        begun_ms: when it began, milliseconds since 1970 UTC.
    """

    log: int
    partition: int
    genesis: Genesis
    begun_ms: int

    @property
    def origin(self) -> str:
        """The first line of its checkpoints."""
        return self.genesis.origin

    @property
    def entry(self) -> LeafEntry:
        """Leaf 0."""
        return self.genesis.entry(self.begun_ms)

    def index_of(self, offset: int) -> int:
        """The leaf of an offset."""
        return offset - self.genesis.base + 1

    def offset_of(self, index: int) -> int:
        """The offset of a leaf, from leaf 1 on."""
        return self.genesis.base + index - 1

    def size_at(self, following: int) -> int:
        """The tree's size when ``following`` is the next offset to take in."""
        return following - self.genesis.base + 1

    @classmethod
    def stored(cls, ledger: Ledger, log: int, partition: int) -> Self | None:
        """The log as the ledger has it, or None before its first leaf.

        Raises:
            IntegrityViolation: its genesis is damaged.
        """
        document = ledger.document(_name(log, partition))
        if document is None:
            return None
        begun, _, statement = document.body.partition(b"\n")
        try:
            return cls(log, partition, Genesis.parse(statement), int(begun))
        except (InvalidEncoding, ValueError) as error:
            raise IntegrityViolation(
                f"The genesis of log {log}/{partition} in the ledger is damaged: restore the ledger from a backup."
            ) from error


def open_log(
    ledger: Ledger,
    head: Head,
    log_origin: str,
    *,
    site: str,
    keys: KeyRing,
    now_ms: int,
    partitions: Collection[int] = (),
    reason: str | None = None,
) -> SealedLog:
    """The log of a head, begun now where it has none yet.

    Args:
        ledger: where the genesis is.
        head: of the partition.
        log_origin: the event log's own identity (`EventLog.origin`).
        site: the name that stands before it.
        keys: who signs the first checkpoints.
        now_ms: the time, milliseconds since 1970 UTC.
        partitions: those that the log has now. The lowest names the ends of what was in others before.
        reason: why it begins, where an operator said so.

    Raises:
        SettingsError: the site cannot be part of a log's name.
        IntegrityViolation: head and genesis do not belong together.
    """
    known = SealedLog.stored(ledger, head.log, head.partition)
    if known is None:
        origin = f"{site}/{log_origin}/{head.partition}"
        try:
            check_origin(origin)
        except InvalidNote as error:
            raise SettingsError(f"seal_origin {site!r} cannot begin a log's name: {error}.") from error
        previous = _previous(ledger, head, partitions)
        reason = reason or (_CONTINUED if previous else _FIRST)
        genesis = Genesis(origin, head.next, keys.verifiers(origin), previous, reason)
        with suppress(Fenced):
            ledger.put_document(_name(head.log, head.partition), b"%d\n%b" % (now_ms, genesis.statement()), None)
        known = SealedLog.stored(ledger, head.log, head.partition)
    size = SealState.of(head.seal).edge.size
    if known is None or size != (0 if head.seal is None else known.size_at(head.next)):
        raise IntegrityViolation(
            f"The head of {head.log}/{head.partition} stands at offset {head.next}, its tree at {size} leaves: they"
            " do not belong together. Restore the ledger from a backup, then run `trailseal verify`."
        )
    return known


def _previous(ledger: Ledger, head: Head, partitions: Collection[int]) -> tuple[Checkpoint, ...]:
    """The final states of the log that was taken in before this one: of this partition, or of all without it.

    No end may stay without a name: the lowest partition names those of partitions that are gone as well.
    """
    if head.log == 1:
        return ()
    heads = ledger.heads(head.log - 1)
    same = [one for one in heads if one.partition == head.partition]
    lost = (
        [one for one in heads if one.partition not in partitions]
        if head.partition == min(partitions, default=-1)
        else []
    )
    found = (_final(ledger, one) for one in ([*same, *lost] if same else heads))
    return tuple(final for final in found if final is not None)


def _final(ledger: Ledger, head: Head) -> Checkpoint | None:
    log = SealedLog.stored(ledger, head.log, head.partition)
    if log is None or head.seal is None:
        return None
    edge = SealState.of(head.seal).edge
    return Checkpoint(log.origin, edge.size, edge.root())


def sealed_partitions(ledger: Ledger, log: int) -> list[int]:
    """The partitions of a log that have a first leaf, ascending.

    Raises:
        Unavailable: the ledger does not answer.
    """
    last = (name.rpartition("/")[2] for name in ledger.documents(_name(log, "")))
    return sorted(int(word) for word in last if word.isdecimal())


def _name(log: int, partition: int | str) -> str:
    return f"seal/genesis/{log}/{partition}"


def predecessors(ledger: Ledger, log: int) -> list[int]:
    """The earlier epochs of the same log, the newest first: the same records stood at the same offsets there."""
    origins = ledger.logs()
    base = _base(origins.get(log, ""))
    return [number for number in sorted(origins, reverse=True) if number < log and _base(origins[number]) == base]


def same_records(ledger: Ledger, one: int, other: int) -> bool:
    """Whether two logs are epochs of the same one, so that an offset means the same place in both."""
    origins = ledger.logs()
    return one in origins and other in origins and _base(origins[one]) == _base(origins[other])


def _base(origin: str) -> str:
    return origin.rpartition("/")[0]
