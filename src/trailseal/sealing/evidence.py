"""What anybody may ask of the seals: logs, tiles, checkpoints, consistency, the seal and receipt of a record.

Nothing is said that the tree does not bear out: tiles are checked as they are read (`tree`), and a record that is
not the one that was sealed gets no receipt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from trailseal.errors import IntegrityViolation, NotFound, Unavailable
from trailseal.formats.rendering import EventSeal
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.hash import leaf_hash
from trailseal.merkle.notes import Note
from trailseal.merkle.receipts import Opening, Receipt
from trailseal.merkle.tiles import TileName
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.sealing.checkpoints import merged, published_keys
from trailseal.sealing.leaves import LeafMaker
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.periods import PeriodSecrets
from trailseal.sealing.tree import KnownTiles, LogTree

KEPT_S = 0.5
"""How long a head and its checkpoint are used before they are read again."""
_SOON_S = 5.0


class PublicLog(msgspec.Struct, frozen=True):
    """A log as outsiders know it.

    Attributes:
        log: its number here.
        partition: the partition it seals.
        origin: its name, the first line of its checkpoints.
        vkeys: the keys that sign it, as its ledger tells them; an auditor gets them another way.
        size: leaves of its newest signed checkpoint.
        url: below this path are ``checkpoint`` and ``tile/…``, as C2SP tlog-tiles says.
        genesis: the statement that leaf 0 commits to: base, first keys, and the logs continued here.
    """

    log: int
    partition: int
    origin: str
    vkeys: tuple[str, ...]
    size: int
    url: str
    genesis: str


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint with its signatures.

    Attributes:
        size: leaves.
        root: base64.
        note: the signed note, cosignatures included.
    """

    size: int
    root: bytes
    note: str


class Consistency(msgspec.Struct, frozen=True):
    """That a tree grew out of an earlier one (RFC 6962 section 2.1.2).

    Attributes:
        origin: whose.
        first: the earlier size.
        second: the later size.
        first_root: base64.
        second_root: base64.
        proof: base64 hashes.
    """

    origin: str
    first: int
    second: int
    first_root: bytes
    second_root: bytes
    proof: list[bytes]


@dataclass(frozen=True, slots=True)
class PinnedLog:
    """One partition as it was read at one moment; its tree serves one thread at a time.

    Attributes:
        read_at: monotonic seconds.
        log: whose.
        tree: at least as large as the checkpoint's.
        note: the newest checkpoint with its signatures, or None before the first.
    """

    read_at: float
    log: SealedLog
    tree: LogTree
    note: Note | None

    @property
    def signed(self) -> Checkpoint | None:
        """What the newest checkpoint says."""
        return None if self.note is None else Checkpoint.parse(self.note.text)


class Evidence:
    """Answers from a ledger's seals. Safe to use from many threads.

    Args:
        ledger: heads, tiles, checkpoints.
        monotonic: seconds on a clock that never goes back.
    """

    def __init__(self, ledger: Ledger, monotonic: Callable[[], float]) -> None:
        self._ledger, self._monotonic = ledger, monotonic
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], PinnedLog] = {}
        self._tiles = KnownTiles()

    def logs(self, url: Callable[[int, int], str]) -> list[PublicLog]:
        """Every sealed partition of every log.

        Args:
            url: makes the base path of a (log, partition).
        """
        found = []
        for number in self._ledger.logs():
            for head in self._ledger.heads(number):
                log = SealedLog.stored(self._ledger, number, head.partition)
                if log is None:
                    continue
                newest = self._ledger.seals.checkpoint(number, head.partition)
                vkeys = tuple(key.vkey() for key in published_keys(self._ledger, log))
                size = 0 if newest is None else newest.size
                base, genesis = url(number, head.partition), log.genesis.statement().decode()
                found.append(PublicLog(number, head.partition, log.origin, vkeys, size, base, genesis))
        return found

    def checkpoint(self, log: int, partition: int) -> bytes:
        """The newest signed checkpoint with every cosignature so far.

        Raises:
            NotFound: there is no such log.
            Unavailable: it is not signed yet.
        """
        newest = self._ledger.seals.checkpoint(log, partition)
        if newest is None:
            self._sealed(log, partition)
            raise Unavailable("The log is not signed yet; that takes some seconds.", retry_after_s=_SOON_S)
        return merged(newest).to_bytes()

    def checkpoints(self, log: int, partition: int, below: int | None, limit: int) -> list[SignedCheckpoint]:
        """Signed checkpoints, the largest first.

        Raises:
            NotFound: there is no such log.
        """
        self._sealed(log, partition)
        found = []
        for stored in self._ledger.seals.checkpoints(log, partition, below, limit):
            note = merged(stored)
            found.append(SignedCheckpoint(stored.size, Checkpoint.parse(note.text).root, note.to_bytes().decode()))
        return found

    def tile(self, log: int, partition: int, name: TileName) -> bytes:
        """A tile or an entry bundle.

        Raises:
            NotFound: there is no such log.
            InvalidEncoding: its tree has no such tile.
            IntegrityViolation: the tile is missing or false.
        """
        with self._lock:
            return self._opened(log, partition).tree.tile(name)

    def consistency(self, log: int, partition: int, first: int, second: int) -> Consistency:
        """The proof between two sizes.

        Raises:
            NotFound: there is no such log, or it never had that size.
        """
        with self._lock:
            opened = self._opened(log, partition)
            if not 0 <= first <= second <= opened.tree.size:
                raise NotFound(f"The log has {opened.tree.size} leaves: from and to must be sizes it has had.")
            tree = opened.tree
            return Consistency(
                opened.log.origin,
                first,
                second,
                tree.root(first),
                tree.root(second),
                tree.consistency(first, second),
            )

    def seals(self, positions: Sequence[Position]) -> list[EventSeal | None]:
        """The leaf of each position and the checkpoint that covers it; None where it was never sealed."""
        with self._lock:
            return [self._seal(position) for position in positions]

    def receipt(self, record: Record) -> bytes:
        """A tlog-proof that shows the record, to be checked offline.

        Raises:
            NotFound: the record was never sealed, or its secret is destroyed.
            Unavailable: it is sealed and not signed yet.
            IntegrityViolation: the record is not the one that was sealed.
        """
        position = record.position
        with self._lock:
            opened = self._opened(position.log, position.partition)
            index, signed = opened.log.index_of(position.offset), opened.signed
            if index >= opened.tree.size or signed is None or index >= signed.size or opened.note is None:
                detail = "The event is sealed and not signed yet; that takes some seconds."
                raise Unavailable(detail, retry_after_s=_SOON_S)
            entry = opened.tree.entry(index)
            proof = opened.tree.inclusion(index, signed.size)
        shown = self._opening(record, opened.log, entry)
        return Receipt(index, proof, opened.note.to_bytes(), shown.to_bytes()).to_bytes()

    def pin(self) -> dict[tuple[int, int], PinnedLog]:
        """Every sealed log as it is now, to prove many records against one checkpoint each.

        Raises:
            IntegrityViolation: a tree or checkpoint is damaged.
        """
        found: dict[tuple[int, int], PinnedLog] = {}
        for number in self._ledger.logs():
            for head in self._ledger.heads(number):
                if SealedLog.stored(self._ledger, number, head.partition) is not None:
                    found[number, head.partition] = self._read(number, head.partition)
        return found

    def prove(
        self, record: Record, pinned: Mapping[tuple[int, int], PinnedLog]
    ) -> tuple[int, bytes, list[bytes] | None]:
        """A record's leaf index, its opening, and its inclusion proof; None where its checkpoint is too early.

        Raises:
            NotFound: the record was never sealed, or its secret is destroyed.
            IntegrityViolation: the record is not the one that was sealed.
        """
        position = record.position
        opened = pinned.get((position.log, position.partition))
        index = -1 if opened is None else opened.log.index_of(position.offset)
        if opened is None or not 0 < index < opened.tree.size:
            raise NotFound(f"The record at {position} is not sealed; begin the export anew.")
        shown = self._opening(record, opened.log, opened.tree.entry(index))
        signed = opened.signed
        covered = signed is not None and index < signed.size
        proof = opened.tree.inclusion(index, signed.size) if signed is not None and covered else None
        return index, shown.to_bytes(), proof

    def _opening(self, record: Record, log: SealedLog, entry: bytes) -> Opening:
        opened = LeafMaker(log.origin, PeriodSecrets(self._ledger, log.log)).opening(record)
        if opened is None:
            raise NotFound("The secret that this record was sealed with was destroyed after its retention.")
        shown = Opening(entry, *opened)
        try:
            shown.check()
        except ValueError as error:
            raise IntegrityViolation(
                f"The record at {record.position} is not the one that was sealed: run `trailseal verify`."
            ) from error
        return shown

    def _seal(self, position: Position) -> EventSeal | None:
        try:
            opened = self._opened(position.log, position.partition)
        except NotFound:
            return None
        index = opened.log.index_of(position.offset)
        if not 0 < index < opened.tree.size:
            return None
        signed = opened.signed
        covered = opened.note is not None and signed is not None and index < signed.size
        note = opened.note.to_bytes().decode() if covered and opened.note is not None else None
        return EventSeal(opened.log.origin, index, leaf_hash(opened.tree.entry(index)), note)

    def _sealed(self, log: int, partition: int) -> SealedLog:
        found = SealedLog.stored(self._ledger, log, partition)
        if found is None:
            raise NotFound(f"There is no sealed log {log}/{partition}; /integrity/logs lists them.")
        return found

    def _opened(self, log: int, partition: int) -> PinnedLog:
        now = self._monotonic()
        known = self._open.get((log, partition))
        if known is not None and now - known.read_at < KEPT_S:
            return known
        fresh = self._open[log, partition] = self._read(log, partition)
        return fresh

    def _read(self, log: int, partition: int) -> PinnedLog:
        # The checkpoint first: the head that is read after it has at least its leaves.
        sealed = self._sealed(log, partition)
        newest = self._ledger.seals.checkpoint(log, partition)
        head = self._ledger.head(log, partition)
        tree = LogTree.of(None if head is None else head.seal, self._ledger.seals, self._tiles)
        return PinnedLog(self._monotonic(), sealed, tree, None if newest is None else merged(newest))
