"""All logs of a ledger, a range of them or one event: partition by partition, in a stream, memory flat."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from trailseal.ports.index import EventIndex, RecordKeeper
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.sealing.ended import ended_logs, last_moved_in
from trailseal.sealing.origin import same_records
from trailseal.verification.coverage import (
    events_not_looked_at,
    kept_and_not_compared,
    partitions_not_in_the_books,
)
from trailseal.verification.ended import EndedLog
from trailseal.verification.heads import readable_heads
from trailseal.verification.inventory import check_inventory
from trailseal.verification.known import Verified
from trailseal.verification.partition import PartitionCheck
from trailseal.verification.reading import WholeLog
from trailseal.verification.result import Range, Verification
from trailseal.verification.suspicions import Suspicions
from trailseal.verification.trust import Trust

Progress = Callable[[int, int], None]
"""Called with offsets checked so far and offsets to check."""


def verify_logs(
    log: EventLog,
    index: EventIndex,
    ledger: Ledger,
    trust: Trust,
    *,
    keeper: RecordKeeper | None = None,
    wanted: Range | None = None,
    progress: Progress | None = None,
    now_s: Callable[[], float] = time.time,
) -> Verification:
    """Verify every sealed partition below its head; may run beside the pipeline.

    Where the index keeps records, the logs that ended before this one are verified as well, from those: but for
    logs that were moved in, whose records stand in the log after them.

    Args:
        log: the records.
        index: the documents.
        ledger: heads, rows, tiles and checkpoints.
        trust: whose word counts.
        keeper: the index again, where it keeps records that the log forgets.
        wanted: a part of it; None = everything.
        progress: told after each stretch.
        now_s: gives POSIX seconds.

    Raises:
        Unavailable: an engine does not answer, so that nothing can be said.
    """
    asked = wanted or Range()
    known = Verified()
    logs = _logs(log, ledger, keeper)
    beside = Suspicions(max(logs, default=0), 0)
    checks = [
        PartitionCheck(one, index, ledger, head, known)
        for number, one in sorted(logs.items(), reverse=True)  # whose first leaves name the others' ends
        for head in readable_heads(ledger, one, number, beside)
    ]
    total = sum(check.head.taken_in for check in checks)
    done = 0
    for check in checks:
        with check.suspicions.damage(check.head.base):
            for checked in check.verify(trust, asked, now_s):
                done += checked
                if progress is not None:
                    progress(done, max(done, total))  # a running pipeline goes on
    if asked.everything and logs:
        with beside.damage(0):
            check_inventory(index, checks, beside)
    unsettled = [
        *partitions_not_in_the_books(log, ledger, checks),
        *events_not_looked_at(asked, checks, beside),
        *kept_and_not_compared(trust, known),
    ]
    if not any(one.size for check in checks for one in check.result) and not unsettled:
        unsettled = ["Nothing was sealed yet, so there is nothing to verify."]
    return _result(checks, beside, unsettled, _left_out(ledger, logs))


def _logs(log: EventLog, ledger: Ledger, keeper: RecordKeeper | None) -> dict[int, WholeLog]:
    """The open log and those that ended, by number."""
    ended = [] if keeper is None else ended_logs(ledger, log.origin)
    logs = {number: WholeLog(EndedLog(ledger, number), ledger, keeper) for number in ended}
    whole = WholeLog(log, ledger, keeper)
    return logs if whole.number is None else logs | {whole.number: whole}


def _left_out(ledger: Ledger, logs: Collection[int]) -> list[str]:
    """Sentences on logs whose records are neither in these logs nor kept anywhere."""
    moved = last_moved_in(ledger)
    return [
        f"Log {other} is an earlier one: its records are not in the log that is open, so only the genesis of its"
        " successor vouches for its end."
        for other in sorted(ledger.logs().keys() - logs)
        if other > moved and not any(same_records(ledger, other, number) for number in logs)
    ]


def _result(
    checks: Sequence[PartitionCheck], beside: Suspicions, unsettled: Sequence[str], left_out: Sequence[str]
) -> Verification:
    ordered = sorted(checks, key=lambda check: check.place)
    found = [*(check.suspicions for check in ordered), beside]
    return Verification(
        tuple(result for check in ordered for result in check.result),
        tuple(suspicion for one in found for suspicion in one.all),
        sum(one.untold for one in found),
        tuple(dict.fromkeys([*(sentence for check in ordered for sentence in check.unsettled), *unsettled])),
        tuple(dict.fromkeys([*(question for check in ordered for question in check.questions), *left_out])),
    )
