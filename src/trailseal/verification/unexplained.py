"""Records of which only the ledger's rows say why they are gone or not found: sentences that leave nothing clean.

Nobody seals rows. What they say is checked against what is sealed, and where nothing is left to check it by, it may
be true or false.
"""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.model.record import Position

_NAMED = 5


def refused(positions: Sequence[Position]) -> list[str]:
    """On events that an index is said to have refused, which no event that is valid gives it a reason to."""
    return _sentences(
        positions,
        "are events by every rule, and count as refused by the index: only the index could tell why."
        " `trailseal dead-letters replay` offers them again",
    )


def never_ordered(positions: Sequence[Position]) -> list[str]:
    """On records that are gone as late or as retries, by rows alone."""
    return _sentences(
        positions,
        "are gone, and count as late for a dropped month or as retries of what was erased: no order that was looked"
        " at names them. `trailseal erase --leftovers` has such records named while the log still holds them",
    )


def _sentences(positions: Sequence[Position], what: str) -> list[str]:
    """One sentence; none where there is no such record."""
    if not positions:
        return []
    named = ", ".join(str(position) for position in positions[:_NAMED])
    more = f" and {len(positions) - _NAMED:,} more" if len(positions) > _NAMED else ""
    return [f"The records {named}{more} {what}."]
