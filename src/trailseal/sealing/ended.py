"""Which logs of a ledger have ended, and where their records are now."""

from __future__ import annotations

from typing import Final

from trailseal.ports.ledger import Ledger

MOVED_IN: Final = "log/move/"
"""What the name of a move's document begins with; the origin of the log that was moved in follows."""


def last_moved_in(ledger: Ledger) -> int:
    """The newest log that was moved in here, whose records all stand in the log after it too; 0 without one."""
    origins = {name.removeprefix(MOVED_IN) for name in ledger.documents(MOVED_IN)}
    return max((number for number, origin in ledger.logs().items() if origin in origins), default=0)


def ended_logs(ledger: Ledger, origin: str) -> list[int]:
    """The numbers, ascending, of the logs beside the one of that origin whose records stand in no log after them.

    Where an index keeps the records of events, theirs are nowhere else. Without such an index there is nothing
    left of them.

    Raises:
        Unavailable: the ledger does not answer.
    """
    moved = last_moved_in(ledger)
    return [number for number, known in sorted(ledger.logs().items()) if number > moved and known != origin]
