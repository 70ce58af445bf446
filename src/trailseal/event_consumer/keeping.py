"""Records of a log that forgets, from whatever still holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trailseal.model.record import Position, Record
from trailseal.ports.index import RecordKeeper
from trailseal.ports.log import EventLog

_ONE_BYTES: Final = 2 << 20


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
        for position in positions:
            if position not in found:
                found[position] = self._in_the_log(position)
        return [found[position] for position in positions]

    def _in_the_log(self, position: Position) -> Record | None:
        items = self._log.read(position.partition, position.offset, 1, _ONE_BYTES)
        record = items[0] if items else None
        return record if isinstance(record, Record) and record.position == position else None
