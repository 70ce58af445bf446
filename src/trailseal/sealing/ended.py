"""Which logs of a ledger have ended, and where their records are now."""

from __future__ import annotations

from typing import Final

from trailseal.errors import IntegrityViolation
from trailseal.ports.ledger import Ledger
from trailseal.sealing.origin import SealedLog

MOVED_IN: Final = "log/move/"
"""What the name of a move's document begins with; the origin of the log that was moved in follows."""


def last_moved_in(ledger: Ledger) -> int:
    """The newest log that was moved in here, whose records all stand in the log after it too; 0 without one.

    A note says so, and nothing seals notes: it counts only if the first leaves of the log after it say the same, or
    that log has none yet. Where they are damaged, it does not.

    Raises:
        Unavailable: the ledger does not answer.
    """
    origins = {name.removeprefix(MOVED_IN) for name in ledger.documents(MOVED_IN)}
    moved = [number for number, origin in ledger.logs().items() if origin in origins]
    return max((number for number in moved if _is_moved_in(ledger, number)), default=0)


def _is_moved_in(ledger: Ledger, number: int) -> bool:
    try:
        begun = [SealedLog.stored(ledger, head.log, head.partition) for head in ledger.heads(number + 1)]
    except IntegrityViolation:
        return False
    reasons = {sealed.genesis.reason for sealed in begun if sealed is not None}
    return reasons <= {reason_of_move(ledger.logs()[number])}


def ended_logs(ledger: Ledger, origin: str) -> list[int]:
    """The numbers, ascending, of the logs beside the one of that origin whose records stand in no log after them.

    Where an index keeps the records of events, theirs are nowhere else. Without such an index there is nothing
    left of them.

    Raises:
        Unavailable: the ledger does not answer.
    """
    moved = last_moved_in(ledger)
    return [number for number, known in sorted(ledger.logs().items()) if number > moved and known != origin]


def reason_of_move(origin: str) -> str:
    """The reason in the first leaves of the log into which the log of that origin was moved."""
    return f"moved from {origin}"
