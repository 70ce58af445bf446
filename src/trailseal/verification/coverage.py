"""What was asked for and no partition's own check looked at: partitions, single events, kept checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.verification.known import Verified
from trailseal.verification.partition import PartitionCheck
from trailseal.verification.result import Range
from trailseal.verification.suspicions import Suspicions
from trailseal.verification.trust import Trust


def partitions_not_in_the_books(log: EventLog, ledger: Ledger, checks: Sequence[PartitionCheck]) -> list[str]:
    """Sentences on partitions of the open log that hold or held records, and that the ledger does not know.

    Raises:
        Unavailable: log or ledger does not answer.
    """
    number, known = ledger.log_number(log.origin), {check.place for check in checks}
    return [
        f"Partition {partition} of the log {log.origin} holds records and is not in the ledger's books: it was"
        " never taken in, or was taken out of them."
        for partition in log.partitions()
        if log.bounds(partition).next and (number or 0, partition) not in known
    ]


def events_not_looked_at(asked: Range, checks: Sequence[PartitionCheck], suspicions: Suspicions) -> list[str]:
    """Sentences on single events that were asked for and are not taken in yet; what no log holds is foreign.

    Raises:
        Unavailable: the log does not answer.
    """
    by_place = {check.place: check for check in checks}
    waiting: list[str] = []
    for log, partition, offset in sorted(asked.only or ()):
        check = by_place.get((log, partition))
        if check is not None and (check.looked_at(offset) or check.suspicions.all):
            continue
        position = Position(log, partition, offset)
        if check is not None and check.is_waiting(offset):
            waiting.append(f"The event at {position} is found, and its record is not taken in to the end yet.")
        else:
            detail = "no record of a log that was sealed accounts for it"
            suspicions.add_at("foreign-document", position, detail=detail)
    return waiting


def kept_and_not_compared(trust: Trust, known: Verified) -> list[str]:
    """Sentences on checkpoints that the auditor kept of logs that are not here."""
    absent = dict.fromkeys(one.origin for one in trust.kept if one.origin not in known.origins)
    return [
        f"A checkpoint of {origin} was kept, and no log here is that one or continues it: nothing could be held"
        " against it."
        for origin in absent
    ]
