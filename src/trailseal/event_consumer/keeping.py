"""Records of a log that forgets, from whatever still holds them."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.model.record import Position, Record
from trailseal.ports.index import RecordKeeper
from trailseal.ports.log import EventLog


class KeptRecords:
    """`ErasableRecords` of a log beside an index that keeps its records. Any thread.

    The index is asked first: it has the events, and finds many of them at once.
    """

    def __init__(self, log: EventLog, keeper: RecordKeeper) -> None:
        self._log, self._keeper = log, keeper

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        return self._log.origin

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `RecordSource.fetch`; None also where neither the log nor the index holds the record any more.

        Raises:
            Unavailable: one of them does not answer.
        """
        found: dict[Position, Record | None] = {one.position: one for one in self._keeper.records_at(positions)}
        rest = [position for position in positions if position not in found]
        found |= zip(rest, self._log.fetch(rest), strict=True)
        return [found[position] for position in positions]
