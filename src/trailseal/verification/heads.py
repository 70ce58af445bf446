"""The heads of a log that can be read: of one that somebody damaged, the others are verified all the same."""

from __future__ import annotations

from collections.abc import Iterator

from trailseal.errors import IntegrityViolation
from trailseal.model.outcomes import Head
from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger
from trailseal.verification.reading import WholeLog
from trailseal.verification.suspicions import Suspicions


def readable_heads(ledger: Ledger, log: WholeLog, number: int, suspicions: Suspicions) -> Iterator[Head]:
    """The log's heads, by partition.

    Args:
        ledger: has them.
        log: knows its partitions.
        number: of the log.
        suspicions: told of heads that are damaged.

    Raises:
        Unavailable: log or ledger does not answer.
    """
    try:
        yield from ledger.heads(number)
    except IntegrityViolation:
        for partition in log.partitions():
            try:
                head = ledger.head(number, partition)
            except IntegrityViolation as error:
                at = Position(number, partition, 0)
                suspicions.add_at("damaged-tree", at, detail=str(error).removesuffix("."))
                continue
            if head is not None:
                yield head
