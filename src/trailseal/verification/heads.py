"""The heads of a log that can be read: where somebody damaged one, the others are verified all the same."""

from __future__ import annotations

from collections.abc import Iterable

from trailseal.errors import IntegrityViolation
from trailseal.model.outcomes import Head
from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger
from trailseal.verification.reading import WholeLog
from trailseal.verification.suspicions import Suspicions


def readable_heads(ledger: Ledger, log: WholeLog, number: int, suspicions: Suspicions) -> list[Head]:
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
        return ledger.heads(number)
    except IntegrityViolation as error:
        damage = str(error)
    heads, damaged = heads_apart(ledger, number, log.partitions())
    for partition, told in (damaged or {0: damage}).items():
        suspicions.add_at("damaged-tree", Position(number, partition, 0), detail=told.removesuffix("."))
    return heads


def heads_apart(ledger: Ledger, number: int, partitions: Iterable[int]) -> tuple[list[Head], dict[int, str]]:
    """The heads of these partitions that can be read, and of the others, by partition, what is damaged.

    Raises:
        Unavailable: the ledger does not answer.
    """
    heads: list[Head] = []
    damaged: dict[int, str] = {}
    for partition in partitions:
        try:
            head = ledger.head(number, partition)
        except IntegrityViolation as error:
            damaged[partition] = str(error)
        else:
            heads += [] if head is None else [head]
    return heads, damaged
