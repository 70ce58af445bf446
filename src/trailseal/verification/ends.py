"""Where a partition ends, and documents and rows that stand outside of what was taken in of it."""

from __future__ import annotations

from itertools import chain, islice

from trailseal.model.outcomes import Head
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.verification.reading import WholeLog
from trailseal.verification.suspicions import Suspicions

_END = 2**62
_TOLD = 1_000


def end_of(log: WholeLog, partition: int) -> int:
    """The offset behind the last one that the log holds now; 0 where it has no such partition.

    Raises:
        Unavailable: the log does not answer.
    """
    return log.bounds(partition).next if log.has(partition) else 0


def check_ends(log: WholeLog, index: EventIndex, head: Head, suspicions: Suspicions) -> None:
    """Note documents of offsets that the log does not hold: before the first, or behind the last one.

    Raises:
        Unavailable: log or index does not answer.
    """
    behind = index.offsets(head.log, head.partition, head.next, _END)
    end = max(end_of(log, head.partition), head.next)  # a running pipeline indexes what it is given meanwhile
    for offset in behind:
        if offset >= end:
            suspicions.add("foreign-document", offset, detail="past the end of the log")
    for offset in index.offsets(head.log, head.partition, 0, head.base):
        suspicions.add("foreign-document", offset, detail="from before the log was taken in")


def check_rows_outside(ledger: Ledger, head: Head, suspicions: Suspicions) -> None:
    """Note rows of offsets that were never taken in: they would speak of records that come later.

    Raises:
        Unavailable: the ledger does not answer.
    """
    before = ledger.outcomes(head.log, head.partition, 0, head.base)
    behind = ledger.outcomes(head.log, head.partition, head.next)
    outside = [row.position.offset for row in islice(chain(before, behind), _TOLD)]
    now = ledger.head(head.log, head.partition) or head  # a running pipeline goes on
    for offset in outside:
        if not head.base <= offset < now.next:
            suspicions.add("false-outcome", offset, detail="a row of what was never taken in")


def outside(index: EventIndex, head: Head) -> int:
    """How many documents stand before or behind what was taken in.

    Raises:
        Unavailable: the index does not answer.
    """
    before = index.offsets(head.log, head.partition, 0, head.base)
    return len(before) + len(index.offsets(head.log, head.partition, head.next, _END))
