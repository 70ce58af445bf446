"""One partition of one log: its tree, its records, its rows and its documents against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

from trailseal.errors import IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.tiles import TILE_WIDTH
from trailseal.model.outcomes import Head
from trailseal.model.record import Record
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree
from trailseal.verification.claims import ClaimCheck
from trailseal.verification.genuine_orders import GenuineOrders
from trailseal.verification.known import Verified
from trailseal.verification.orders import Orders
from trailseal.verification.reading import WholeLog, decoded
from trailseal.verification.records import Difference, RecordCheck, sealed_elsewhere
from trailseal.verification.result import Range, VerifiedLog
from trailseal.verification.signatures import Signed, check_signatures
from trailseal.verification.suspicions import Suspicions
from trailseal.verification.trust import Trust

CHUNK = 32 * TILE_WIDTH
"""Offsets that are read, compared and forgotten at once."""
SPAN = 32 * CHUNK
"""Offsets after which the terms of their documents are counted."""
_END = 2**62
_LOOKED_AT = 100


class PartitionCheck:
    """The verification of one partition.

    Args:
        log: whose.
        index: the documents.
        ledger: rows, tiles and checkpoints.
        head: of the partition.
        known: the partitions verified before it, all those of later logs among them.

    Attributes:
        suspicions: what was found.
        questions: what could not be checked, in sentences.
        result: what came of it; empty where nothing of it was sealed.
    """

    def __init__(self, log: WholeLog, index: EventIndex, ledger: Ledger, head: Head, known: Verified) -> None:
        self._log, self._index, self._ledger, self.head, self._known = log, index, ledger, head, known
        self.suspicions = Suspicions(head.log, head.partition)
        self.questions: list[str] = []
        self.result: list[VerifiedLog] = []
        self._verified = self._gaps = self._removed = 0
        self._edited: list[Difference] = []

    def verify(self, trust: Trust, asked: Range) -> Iterator[int]:
        """Do it; yields how many offsets each step took."""
        head = self.head
        sealed, tree = self._tree()
        if sealed is None or tree is None:
            yield head.taken_in
            return
        signed = self._signed(sealed, tree, trust)
        self._known.add(self.head, lambda: self._orders_in(sealed, signed))
        records = RecordCheck(self._log, self._ledger, sealed, SealState.of(head.seal).weeks)
        orders = Orders(self._ledger, sealed, self._log, self._orders_in(sealed, signed, tree))
        claims = ClaimCheck(self._log, self._ledger, self._index, head, self._log.origin, orders, self.suspicions)
        try:
            for first in range(head.base, head.next, SPAN):
                last = min(first + SPAN, head.next)
                for start in range(first, last, CHUNK):
                    stop = min(start + CHUNK, last)
                    self._stretch(start, stop, (sealed, tree), (records, claims), asked)
                    yield stop - start
                if asked.everything:
                    self._count_terms(first, last, records, claims)
            self._name_edited(tree)
        except IntegrityViolation as error:
            self.suspicions.add("damaged-tree", head.base, detail=str(error).removesuffix("."))
        if asked.everything:
            self._check_ends()
            for offset in orders.never_ordered(head.next):
                detail = "erased: it counts as the retry of an erased event, and no order names it"
                self.suspicions.add("unordered-removal", offset, detail=detail)
        if 0 < signed.size < tree.size:
            self.questions.append(
                f"The last {tree.size - signed.size} leaves of {sealed.origin} are sealed and not signed yet: a"
                " running pipeline signs within seconds."
            )
        if records.unprovable:
            self.questions.append(
                f"{records.unprovable} records of {sealed.origin} had no salt of their own, and the secret of their"
                " week is gone: nobody can show that they are what was sealed."
            )
        self.questions += orders.questions()
        counts = (records.unprovable, claims.unprovable, orders.unvouched)
        unsigned_ms = _unsigned_since(tree, signed.size) if asked.everything and signed.size else None
        self.result.append(self._summary(sealed, tree, signed, counts, unsigned_ms))

    def _orders_in(self, sealed: SealedLog, signed: Signed, tree: LogTree | None = None) -> GenuineOrders:
        """The orders that this partition holds, for itself or for one of an earlier log."""
        own = tree or LogTree.of(self.head.seal, self._ledger.seals)
        return GenuineOrders(self._ledger, (sealed, own), self._log, signed, cache(self._known.orders))

    def _signed(self, sealed: SealedLog, tree: LogTree, trust: Trust) -> Signed:
        """What vouches for the tree: its own signatures, or its successor's for how it ended."""
        end = Checkpoint(sealed.origin, tree.size, tree.edge.root())
        signed = check_signatures(self._ledger, sealed, tree, trust, self.suspicions, end=self._known.ends.of(end))
        self.questions += signed.open_questions
        if self.head.log < self._known.ends.newest and tree.size and signed.end is None:
            self.questions.append(
                f"No log after it names the end of {sealed.origin} as its tree has it: only its own signatures"
                " vouch for it."
            )
        if signed.size:
            self._known.ends.add(sealed, signed.cosigned_at)
        return signed

    def _tree(self) -> tuple[SealedLog | None, LogTree | None]:
        head = self.head
        try:
            sealed = SealedLog.stored(self._ledger, head.log, head.partition)
            tree = LogTree.of(head.seal, self._ledger.seals)
            size = 0 if sealed is None or head.seal is None else sealed.size_at(head.next)
            first = b"" if sealed is None or sealed.genesis.base != head.base else sealed.entry.encode()
            if first and tree.size == size and (not size or tree.entry(0) == first):
                return sealed, tree
            if sealed is None and head.seal is None:
                if head.taken_in:
                    self.questions.append(f"Partition {head.log}/{head.partition} was never sealed.")
                return None, None
            detail = "head, genesis and tree do not belong together"
        except IntegrityViolation as error:
            detail = str(error).removesuffix(".")
        self.suspicions.add("damaged-tree", head.base, detail=detail)
        return None, None

    def _stretch(
        self,
        start: int,
        stop: int,
        trees: tuple[SealedLog, LogTree],
        checks: tuple[RecordCheck, ClaimCheck],
        asked: Range,
    ) -> None:
        (sealed, tree), (records, claims) = trees, checks
        first, last = sealed.index_of(start), sealed.index_of(stop - 1)
        number = first // TILE_WIDTH
        under = [entry for bundle in tree.bundles(number, last // TILE_WIDTH + 1) for entry in bundle]
        entries = under[first - number * TILE_WIDTH : last - number * TILE_WIDTH + 1]
        run = self._asked(entries, start, asked)
        if run is None:
            return
        start, stop = run[0], run[1]
        entries = entries[run[2] : run[2] + stop - start]
        items = records.read(start, stop)
        made = records.entries(items)
        rows = claims.rows(start, stop)
        differing = list(records.differences(start, entries, items, made))
        damaged = {difference.offset for difference in differing}
        good = {
            item.position.offset: item
            for item in items
            if isinstance(item, Record) and item.position.offset not in damaged
        }
        may_be_blank = claims.removed(rows, good)
        blank = {one.offset for one in differing if one.offset in may_be_blank and one.is_blank}
        self._note([one for one in differing if one.offset not in blank], start + len(made))
        self._removed += len(blank)
        self._verified += len(good) - made.count(b"")
        self._gaps += stop - start - len(good) - len(damaged)
        claims.check(range(start, stop), rows, good, damaged)

    def _count_terms(self, first: int, last: int, records: RecordCheck, claims: ClaimCheck) -> None:
        """Whether documents are found by what their records say and nothing else; see `EventIndex.held`."""
        log, partition = self.head.log, self.head.partition
        due, claims.due = claims.due, Counter()
        held = self._index.held(log, partition, first, last)
        if held != due:
            found = bool(claims.doubtful)
            for start in range(first, last, CHUNK):
                stop = min(start + CHUNK, last)
                items = (item for item in records.read(start, stop) if isinstance(item, Record))
                found |= claims.beside(claims.rows(start, stop), items)
            if not found and held == self._index.held(log, partition, first, last):
                names = ", ".join(sorted(name for name in held | due if held[name] != due[name]))
                detail = f"their documents have another number of terms than their records, in {names}"
                self.suspicions.add("edited-projection", first, count=last - first, detail=detail)
        claims.doubtful.clear()

    def _asked(self, entries: list[bytes], start: int, asked: Range) -> tuple[int, int, int] | None:
        """The part of a stretch that is asked for: its offsets, and where it begins among the entries."""
        if asked.everything:
            return start, start + len(entries), 0
        wanted = [place for place, entry in enumerate(entries) if self._is_asked(entry, start + place, asked)]
        if not wanted:
            return None
        return start + wanted[0], start + wanted[-1] + 1, wanted[0]

    def _is_asked(self, data: bytes, offset: int, asked: Range) -> bool:
        if asked.only is not None:
            return (self.head.log, self.head.partition, offset) in asked.only
        entry = LeafEntry.decode(data)
        if entry.type is not EntryType.RECORD:
            return False
        return (asked.from_ms is None or entry.time_ms >= asked.from_ms) and (
            asked.to_ms is None or entry.time_ms < asked.to_ms
        )

    def _note(self, differing: list[Difference], end: int) -> None:
        """Name what differs unlawfully.

        Args:
            differing: the offsets.
            end: where the log ends, as far as it was read.
        """
        for difference in differing:
            offset = difference.offset
            if difference.found is None and offset >= end:
                self.suspicions.add("cut-off-log", offset)
            elif difference.found is None:
                self.suspicions.add("deleted-record", offset)
            elif difference.sealed.type is not EntryType.RECORD:
                self.suspicions.add("inserted-record", offset)
            else:
                self._edited.append(difference)

    def _name_edited(self, tree: LogTree) -> None:
        """Tell records that were moved or copied from those that were edited."""
        commits = frozenset(difference.commit for difference in self._edited if difference.commit is not None)
        elsewhere = sealed_elsewhere(tree, commits) if commits else {}
        for difference in self._edited:
            event = None if difference.found is None else decoded(difference.found, self._log.origin)
            origin = None if difference.commit is None else elsewhere.get(difference.commit)
            self.suspicions.add(
                "edited-record" if origin is None else "moved-record",
                difference.offset,
                tenant_id=None if event is None else event.projection.tenant_id,
                event_id=None if event is None else event.projection.id,
                detail=None if origin is None else f"offset {origin}",
            )

    def _check_ends(self) -> None:
        head = self.head
        end = self._log.bounds(head.partition).next
        for offset in self._index.offsets(head.log, head.partition, head.next, _END):
            if offset >= max(end, head.next):
                self.suspicions.add("foreign-document", offset, detail="past the end of the log")
        for offset in self._index.offsets(head.log, head.partition, 0, head.base):
            self.suspicions.add("foreign-document", offset, detail="from before the log was taken in")

    def _summary(
        self,
        sealed: SealedLog,
        tree: LogTree,
        signed: Signed,
        unprovable: tuple[int, int, int],
        unsigned_since_ms: int | None,
    ) -> VerifiedLog:
        return VerifiedLog(
            log=sealed.log,
            partition=sealed.partition,
            origin=sealed.origin,
            size=tree.size,
            root=tree.edge.root().hex(),
            signed=signed.size,
            unsigned_since_ms=unsigned_since_ms,
            verified=self._verified,
            gaps=self._gaps,
            removed=self._removed,
            unopened=unprovable[0],
            unprovable=unprovable[1],
            unvouched=unprovable[2],
            cosigned=signed.cosigned_size,
            cosigned_at=signed.cosigned_at,
        )


def _unsigned_since(tree: LogTree, signed: int) -> int | None:
    """The append time of the first record that nothing signed covers, of the first few leaves; None without one."""
    try:
        leaves = (
            LeafEntry.decode(tree.entry(index)) for index in range(signed, min(tree.size, signed + _LOOKED_AT))
        )
        return next((leaf.time_ms for leaf in leaves if leaf.type is EntryType.RECORD), None)
    except IntegrityViolation:
        return None
