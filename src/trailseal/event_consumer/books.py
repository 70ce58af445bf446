"""The books: what was taken in against what became of it, counted from the index and the ledger themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trailseal.event_consumer.findings import Finding, Findings
from trailseal.model.outcomes import Head, OutcomeRow, Totals
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

CHUNK = 100_000
_END = 2**62
_DOCUMENT, _ROW = 1, 2

Progress = Callable[[int, int], None]
"""Called with offsets checked so far and offsets to check."""


class Books(msgspec.Struct, frozen=True, gc=False):
    """One partition's books below its head. Counts are offsets.

    Attributes:
        log: the log's number.
        partition: the partition.
        taken_in: what the head passed.
        indexed: what has a document, counted in the index.
        duplicates: events that were there already.
        dead_letters: records that are no events.
        gaps: offsets without a record.
        expired: events of months that retention dropped.
        erased: events that were erased.
        id_collisions: among the indexed: those under the name of their position.
        pending: records of the log the head has not passed yet.
    """

    log: int
    partition: int
    taken_in: int
    indexed: int
    duplicates: int
    dead_letters: int
    gaps: int
    expired: int
    erased: int
    id_collisions: int
    pending: int

    @property
    def balanced(self) -> bool:
        """Taken in = indexed + duplicates + dead letters + gaps + expired + erased."""
        accounted = self.indexed + self.duplicates + self.dead_letters + self.gaps + self.expired + self.erased
        return self.taken_in == accounted


class Reconciliation(msgspec.Struct, frozen=True):
    """The books of every partition, and by name what does not add up.

    Attributes:
        books: one per partition.
        findings: none where all is well; the first thousand of each partition.
        untold: how many findings there were beyond those.
    """

    books: tuple[Books, ...]
    findings: tuple[Finding, ...]
    untold: int = 0

    @property
    def balanced(self) -> bool:
        """Nothing was found and every sum is right."""
        return not self.findings and all(books.balanced for books in self.books)


def reconcile(
    log: EventLog,
    index: EventIndex,
    ledger: Ledger,
    progress: Progress | None = None,
    *,
    ended: Sequence[int] = (),
    chunk: int = CHUNK,
) -> Reconciliation:
    """Compare the log's end, the heads, the rows and the documents, offset by offset below the heads.

    May run beside the pipeline: what the head has not passed is not judged.

    Args:
        log: whose partitions are checked.
        index: counted over everything flushed.
        ledger: heads, rows and kept records.
        progress: told after each chunk.
        ended: the numbers of logs that have ended and have documents; nothing of them can be pending.
        chunk: offsets compared at once.

    Raises:
        Unavailable: an engine does not answer; nothing can be said.
    """
    number = ledger.log_number(log.origin)
    heads = [head for one in ended for head in ledger.heads(one)]
    heads += [] if number is None else ledger.heads(number)
    index.refresh()
    total = sum(head.taken_in for head in heads)
    checked = 0
    books: list[Books] = []
    findings: list[Finding] = []
    untold = 0
    for head in heads:
        audit = _Audit(index, ledger, head)
        end = log.bounds(head.partition).next if head.log == number else head.next
        last = min(head.next, end + chunk)  # a head that somebody edited may stand anywhere
        for start in range(max(head.base, 0), last, chunk):
            stop = min(start + chunk, last)
            audit.check(start, stop)
            checked += stop - start
            if progress is not None:
                progress(checked, total)
        books.append(audit.books(pending=audit.check_ends(end)))
        findings += audit.findings.all
        untold += audit.findings.untold
    return Reconciliation(tuple(books), tuple(findings), untold)


class _Audit:
    """The comparison of one partition."""

    def __init__(self, index: EventIndex, ledger: Ledger, head: Head) -> None:
        self._index, self._ledger, self._head = index, ledger, head
        self.findings = Findings(head.log, head.partition)
        self._indexed = 0
        self._sums: dict[str, int] = {}

    def check(self, start: int, stop: int) -> None:
        """Compare the offsets in [start, stop)."""
        head = self._head
        seen = bytearray(stop - start)
        for offset in self._index.offsets(head.log, head.partition, start, stop):
            self._indexed += 1
            if seen[offset - start] & _DOCUMENT:
                self.findings.add("indexed-twice", offset)
            seen[offset - start] |= _DOCUMENT
        for row in self._ledger.outcomes(head.log, head.partition, start, stop):
            self._row(row, seen, start, stop)
        at = seen.find(0)
        while at >= 0:
            self.findings.add("missing", start + at)
            at = seen.find(0, at + 1)

    def _row(self, row: OutcomeRow, seen: bytearray, start: int, stop: int) -> None:
        first = row.position.offset
        run = range(max(first, start), min(first + row.count, stop))
        self._sums[row.kind] = self._sums.get(row.kind, 0) + len(run)
        if row.kind == "id_collision":
            if not seen[first - start] & _DOCUMENT:
                self.findings.add("collision-not-indexed", first)
            return
        for offset in run:
            if seen[offset - start] & _ROW:
                self.findings.add("two-rows", offset)
            if seen[offset - start] & _DOCUMENT:
                self.findings.add("row-and-document", offset, row.kind)
            seen[offset - start] |= _ROW
        if row.kind == "dead_letter" and self._ledger.kept(row.position) is None:
            self.findings.add("kept-record-missing", first)

    def check_ends(self, end: int) -> int:
        """Compare head, log and totals as wholes; how many records the head has not passed yet.

        Args:
            end: where the log ends.
        """
        head = self._head
        ahead = self._index.offsets(head.log, head.partition, head.next, _END)
        if head.next > end:
            self.findings.add("head-past-log", end, f"the head is at {head.next}")
        for offset in ahead:
            if offset >= end:
                self.findings.add("document-past-log", offset)
        for offset in self._index.offsets(head.log, head.partition, 0, head.base):
            self.findings.add("document-before-log", offset)
        for name, total in _by_kind(self._ledger.totals(head.log, head.partition)).items():
            counted = self._sums.get(name, 0)
            if self._ledger.head(head.log, head.partition) == head and counted != total:
                self.findings.add("totals-differ", head.base, f"{name}: rows {counted}, totals {total}")
        return max(0, end - head.next)

    def books(self, pending: int) -> Books:
        """The sums of what was checked."""
        sums = self._sums
        return Books(
            log=self._head.log,
            partition=self._head.partition,
            taken_in=self._head.taken_in,
            indexed=self._indexed,
            duplicates=sums.get("duplicate", 0),
            dead_letters=sums.get("dead_letter", 0),
            gaps=sums.get("gap", 0),
            expired=sums.get("expired", 0),
            erased=sums.get("erased", 0),
            id_collisions=sums.get("id_collision", 0),
            pending=pending,
        )


def _by_kind(totals: Totals) -> dict[str, int]:
    return {
        "duplicate": totals.duplicates,
        "dead_letter": totals.dead_letters,
        "gap": totals.gaps,
        "expired": totals.expired,
        "erased": totals.erased,
        "id_collision": totals.id_collisions,
    }
