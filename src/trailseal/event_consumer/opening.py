"""What happens between getting a partition and reading from it: heads, a complete index, a fresh cache."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.errors import PipelineFault
from trailseal.event_consumer.epochs import number_of
from trailseal.event_consumer.rebuild import Rebuild
from trailseal.event_consumer.sinks import Sinks
from trailseal.model.outcomes import Head
from trailseal.model.query import Query
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

_END = 2**62


def open_partitions(
    log: EventLog,
    sinks: Sinks,
    partitions: Sequence[int],
    rebuild: Rebuild | None,
) -> list[Head]:
    """The heads to go on from, with an index that holds everything below them. Runs in a worker thread.

    Args:
        log: what the partitions are of.
        sinks: the engines.
        partitions: those that are ours now.
        rebuild: puts an incomplete index back from a log that keeps everything; None where the log does not.

    Raises:
        Unavailable: an engine does not answer; call again.
        PipelineFault: the log is not the one the ledger knows.
        IntegrityViolation: a head and its tree do not belong together.
    """
    index, ledger = sinks.index, sinks.ledger
    number = number_of(ledger, log.origin)
    heads = [_head(log, ledger, number, partition) for partition in partitions]
    if rebuild is not None:
        why = _difference(index, ledger, heads) if index.is_complete() else "the index is not complete"
        if why is not None:
            heads = rebuild.run(heads, why)
    sinks.tombstones.load(ledger)
    sinks.dropped.load(ledger)
    if sinks.seals is not None:
        partitions = log.partitions()
        for head in heads:
            sinks.seals.open(head, log.origin, partitions)
    sinks.freshness.renew_everything()
    return heads


def _head(log: EventLog, ledger: Ledger, number: int, partition: int) -> Head:
    head = ledger.head(number, partition)
    bounds = log.bounds(partition)
    if head is None:
        head = ledger.open_partition(number, partition, bounds.first)
    if head.next > bounds.next:
        raise PipelineFault(
            f"The ledger has taken partition {partition} in up to offset {head.next}, but the log ends at"
            f" {bounds.next}: the log was cut off or restored without its ledger. Restore both from one backup; or,"
            " where a Kafka topic was cut off and cannot be brought back, run `trailseal epoch new --reason …`."
        )
    return head


def _difference(index: EventIndex, ledger: Ledger, heads: Sequence[Head]) -> str | None:
    """Why the number of documents cannot be right, or None: two cheap counts, no reading of documents.

    Documents past a head are those of a run that ended between its flush and its advance.
    """
    index.refresh()
    expected = sum(head.taken_in - ledger.totals(head.log, head.partition).not_indexed for head in heads)
    ahead = sum(len(index.offsets(head.log, head.partition, head.next, _END)) for head in heads)
    counted = index.count(Query()).value
    if counted == expected + ahead:
        return None
    return f"the index holds {counted} documents where the books say {expected} and {ahead} not yet in them"
