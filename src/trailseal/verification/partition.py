"""One partition of one log: its tree, its records, its rows and its documents against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

from trailseal.errors import IntegrityViolation
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.tiles import TILE_WIDTH
from trailseal.model.outcomes import Head
from trailseal.model.projection import Entry
from trailseal.model.record import Position, Record
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree
from trailseal.verification.asked import asked_for
from trailseal.verification.claims import ClaimCheck
from trailseal.verification.differing import Differing
from trailseal.verification.documents import DocumentCheck
from trailseal.verification.ends import check_ends, check_rows_outside, end_of
from trailseal.verification.genuine_orders import GenuineOrders
from trailseal.verification.known import Verified
from trailseal.verification.orders import Orders
from trailseal.verification.reading import WholeLog
from trailseal.verification.records import RecordCheck
from trailseal.verification.result import Range, VerifiedLog
from trailseal.verification.signatures import Signed, check_signatures
from trailseal.verification.suspicions import Suspicions
from trailseal.verification.trust import Trust
from trailseal.verification.unexplained import never_ordered, refused
from trailseal.verification.unsigned import UnsignedTimes, unsigned_times

CHUNK = 32 * TILE_WIDTH
"""Offsets that are read, compared and forgotten at once."""
SPAN = 32 * CHUNK
"""Offsets after which the terms of their documents are counted."""


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
        unsettled: what was asked for and could not be looked at, or what nothing sealed explains, in sentences.
        result: what came of it; empty where nothing of it was sealed.
        documents: that were come upon.
    """

    def __init__(self, log: WholeLog, index: EventIndex, ledger: Ledger, head: Head, known: Verified) -> None:
        self._log, self._index, self._ledger, self.head, self._known = log, index, ledger, head, known
        self.suspicions = Suspicions(head.log, head.partition)
        self.questions: list[str] = []
        self.unsettled: list[str] = []
        self.result: list[VerifiedLog] = []
        self.documents = 0
        self._verified = self._gaps = self._removed = 0
        self._differing = Differing(log.origin, self.suspicions)

    @property
    def place(self) -> tuple[int, int]:
        """Log and partition."""
        return self.head.log, self.head.partition

    def looked_at(self, offset: int) -> bool:
        """Whether the offset is one of those that the tree has leaves of."""
        return bool(self.result) and self.head.base <= offset < self.head.next

    def is_waiting(self, offset: int) -> bool:
        """Whether the log holds the offset, and nobody took it in yet."""
        return self.head.next <= offset < end_of(self._log, self.head.partition)

    def verify(self, trust: Trust, asked: Range, now_s: Callable[[], float]) -> Iterator[int]:
        """Do it; yields how many offsets each step took.

        Args:
            trust: whose word counts.
            asked: what is asked for.
            now_s: gives POSIX seconds.
        """
        head = self.head = self._ledger.head(*self.place) or self.head
        self._index.refresh()  # and then every document below the head is there
        sealed, tree = self._tree()
        if sealed is None or tree is None:
            self._check_unsealed(asked)
            yield head.taken_in
            return
        if not tree.size:
            self._tell_unsealed()
        signed = self._signed(sealed, tree, trust)
        signed.as_of = int(now_s())
        unsigned = self._unsigned(sealed, tree, signed, asked)
        self._known.add(self.head, lambda: self._orders_in(sealed, signed))
        records = RecordCheck(self._log, self._ledger, sealed, SealState.of(head.seal).weeks)
        orders = Orders(self._ledger, sealed, self._log, self._orders_in(sealed, signed, tree))
        documents = DocumentCheck(self._index, head, self.suspicions)
        claims = ClaimCheck(self._log, self._ledger, documents, head, self._log.origin, orders, self.suspicions)
        try:
            for first in range(head.base, head.next, SPAN):
                last = min(first + SPAN, head.next)
                for start in range(first, last, CHUNK):
                    stop = min(start + CHUNK, last)
                    self._stretch(start, stop, (sealed, tree), (records, claims), asked)
                    yield stop - start
                if asked.everything:
                    documents.count_terms(first, last, partial(_again, first, last, records, claims))
            self._differing.name_edited(tree)
        except (IntegrityViolation, MerkleError) as error:
            self.suspicions.add("damaged-tree", head.base, detail=str(error).removesuffix("."))
        self.documents = documents.seen
        if asked.everything:
            check_ends(self._log, self._index, self.head, self.suspicions)
            check_rows_outside(self._ledger, self.head, self.suspicions)
        self._never_ordered(orders.never_ordered(head.next), asked)
        self.unsettled += refused(claims.refused)
        self._tell_unfinished(sealed, tree, signed, records)
        self.questions += orders.questions()
        counts = (records.unprovable, claims.unprovable, orders.unvouched)
        self.result.append(self._summary(sealed, tree, signed, counts, unsigned))

    def _tell_unfinished(self, sealed: SealedLog, tree: LogTree, signed: Signed, records: RecordCheck) -> None:
        if 0 < signed.size < tree.size:
            self.questions.append(
                f"The last {tree.size - signed.size} leaves of {sealed.origin} are sealed and not signed yet: a"
                " running pipeline signs within seconds."
            )
        if end_of(self._log, sealed.partition) > self.head.next:
            self.questions.append(
                f"Records of {sealed.origin} from offset {self.head.next:,} on were not taken in, nor looked at: a"
                " running pipeline takes them in within seconds."
            )
        if records.unprovable:
            self.questions.append(
                f"{records.unprovable} records of {sealed.origin} had no salt of their own, and the secret of their"
                " week is gone: nobody can show that they are what was sealed."
            )

    def _orders_in(self, sealed: SealedLog, signed: Signed, tree: LogTree | None = None) -> GenuineOrders:
        """The orders that this partition holds, for itself or for one of an earlier log."""
        own = tree or LogTree.of(self.head.seal, self._ledger.seals)
        return GenuineOrders(self._ledger, (sealed, own), self._log, signed, cache(self._known.orders))

    def _signed(self, sealed: SealedLog, tree: LogTree, trust: Trust) -> Signed:
        """What vouches for the tree: its own signatures, or its successor's for how it ended."""
        end = Checkpoint(sealed.origin, tree.size, tree.edge.root())
        signed = check_signatures(self._ledger, sealed, tree, trust, self.suspicions, end=self._known.ends.of(end))
        self.questions += signed.open_questions
        self._known.origins |= signed.origins
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
                return None, None
            detail = "head, genesis and tree do not belong together"
        except IntegrityViolation as error:
            detail = str(error).removesuffix(".")
        self.suspicions.add("damaged-tree", head.base, detail=detail)
        return None, None

    def _check_unsealed(self, asked: Range) -> None:
        """A partition without a tree has nothing to be checked but its ends; of a damaged one enough is said."""
        if not self.suspicions.all:
            self._tell_unsealed()
            if asked.everything:
                check_ends(self._log, self._index, self.head, self.suspicions)

    def _tell_unsealed(self) -> None:
        head = self.head
        if head.taken_in or end_of(self._log, self.head.partition) > head.next:
            self.unsettled.append(f"Partition {head.log}/{head.partition} was never sealed.")

    def _unsigned(self, sealed: SealedLog, tree: LogTree, signed: Signed, asked: Range) -> UnsignedTimes | None:
        try:
            return unsigned_times(sealed, tree, signed.size, self._log, asked) if signed.size else None
        except (IntegrityViolation, MerkleError) as error:
            self.suspicions.add("damaged-tree", self.head.base, detail=str(error).removesuffix("."))
            return None

    def _never_ordered(self, offsets: Sequence[int], asked: Range) -> None:
        """Records that are gone as late or as retries, and that no order names: nothing that is sealed says so."""
        if self._log.forgets or not asked.everything:
            self.unsettled += never_ordered([Position(*self.place, offset) for offset in offsets])
            return
        for offset in offsets:
            detail = "erased: it counts as the retry of an erased event, and no order names it"
            self.suspicions.add("unordered-removal", offset, detail=detail)

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
        part = asked_for(entries, self.place, start, asked)
        if part is None:
            return
        start, entries = part
        stop = start + len(entries)
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
        self._differing.note([one for one in differing if one.offset not in blank], start + len(made))
        self._removed += len(blank)
        self._verified += len(good) - made.count(b"")
        self._gaps += stop - start - len(good) - len(damaged)
        claims.check(range(start, stop), rows, good, damaged)
        self._check_names(claims, good, asked)

    def _check_names(self, claims: ClaimCheck, good: Mapping[int, Record], asked: Range) -> None:
        """Whether what an index found by an id has it."""
        for log, partition, offset in asked.only or () if asked.event_id is not None else ():
            record = good.get(offset) if (log, partition) == self.place else None
            if record is not None and not claims.is_named(record, str(asked.event_id)):
                detail = "it is found by the id that was asked for, and its record has another"
                self.suspicions.add("foreign-document", offset, detail=detail)

    def _summary(
        self,
        sealed: SealedLog,
        tree: LogTree,
        signed: Signed,
        unprovable: tuple[int, int, int],
        unsigned: UnsignedTimes | None,
    ) -> VerifiedLog:
        return VerifiedLog(
            log=sealed.log,
            partition=sealed.partition,
            origin=sealed.origin,
            size=tree.size,
            root=tree.edge.root().hex(),
            as_of=signed.as_of,
            signed=signed.size,
            unsigned_since_ms=None if unsigned is None else unsigned.oldest,
            unsigned_until_ms=None if unsigned is None else unsigned.newest,
            verified=self._verified,
            gaps=self._gaps,
            removed=self._removed,
            unopened=unprovable[0],
            unprovable=unprovable[1],
            unvouched=unprovable[2],
            cosigned=signed.cosigned_size,
            cosigned_at=signed.cosigned_at,
        )


def _again(first: int, last: int, records: RecordCheck, claims: ClaimCheck) -> Iterator[list[Entry]]:
    """The entries of the records of these offsets once more."""
    for start in range(first, last, CHUNK):
        stop = min(start + CHUNK, last)
        items = [item for item in records.read(start, stop) if isinstance(item, Record)]
        yield claims.entries(claims.rows(start, stop), items)
