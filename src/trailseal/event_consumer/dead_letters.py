"""Dead letters: list them, look at one, append one anew after its cause was repaired."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from trailseal.errors import Fenced, NotFound
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.record import HEADER_SALT, SALT_BYTES, NewRecord, Position, Record
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.sealing.ended import last_moved_in

_PREFIX = "replayed/"


class Replay(msgspec.Struct, frozen=True, gc=False):
    """That a dead letter was appended anew.

    Attributes:
        at_us: when that began, microseconds since 1970 UTC.
        to: the new position; None while it is not known, also where the process died in between.
        times: how often it was done.
    """

    at_us: int
    to: Position | None = None
    times: int = 1


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One dead letter.

    Attributes:
        row: position and problem (``code``, ``detail``, ``field``).
        replay: whether and where it was appended anew, or None.
    """

    row: OutcomeRow
    replay: Replay | None


class DeadLetters:
    """The dead letters of every log the ledger knows, but for logs moved in: those are in the log after them."""

    def __init__(self, log: EventLog, ledger: Ledger, clock: Clock) -> None:
        self._log, self._ledger, self._clock = log, ledger, clock

    def list(self, *, replayed: bool = True) -> Iterator[DeadLetter]:
        """All of them in order of position, lazily.

        Args:
            replayed: also those that were appended anew.
        """
        moved = last_moved_in(self._ledger)
        for log in sorted(number for number in self._ledger.logs() if number > moved):
            for head in self._ledger.heads(log):
                for row in self._ledger.outcomes(log, head.partition, kinds=("dead_letter",)):
                    letter = DeadLetter(row, self._replay(row.position))
                    if replayed or letter.replay is None:
                        yield letter

    def get(self, position: Position) -> tuple[DeadLetter, Record]:
        """One dead letter with its record as the log held it: value, headers, key, byte for byte.

        Raises:
            NotFound: no dead letter has this position.
        """
        rows = self._ledger.outcomes(
            position.log, position.partition, position.offset, position.offset + 1, ("dead_letter",)
        )
        row = next(iter(rows), None)
        record = self._ledger.kept(position)
        if row is None or record is None:
            raise NotFound(f"There is no dead letter at {position}; `trailseal dead-letters list` shows all.")
        return DeadLetter(row, self._replay(position)), record

    def replay(self, position: Position) -> Position:
        """Append the record anew, with a salt of its own, and note it; its new position.

        What becomes of it is decided anew when the pipeline takes it in: an event, or another dead letter. The
        note is written before the append as well, so that a crash in between shows as a replay without a position.

        Raises:
            NotFound: no dead letter has this position.
            Unavailable: it could not be appended, or not be noted; look at the dead letter before trying again.
        """
        letter, record = self.get(position)
        times = 1 if letter.replay is None else letter.replay.times + 1
        begun = Replay(self._clock.now_us(), None, times)
        self._note(position, begun)
        headers = tuple(header for header in record.headers if header[0] != HEADER_SALT)
        salted = (*headers, (HEADER_SALT, os.urandom(SALT_BYTES)))
        (to,) = self._log.append([NewRecord(record.value, record.key, salted)])
        self._note(position, msgspec.structs.replace(begun, to=to))
        return to

    def _replay(self, position: Position) -> Replay | None:
        name = f"{_PREFIX}{position}"
        found = self._ledger.document(name)
        return None if found is None else found.read(Replay, name)

    def _note(self, position: Position, replay: Replay) -> None:
        name = f"{_PREFIX}{position}"
        body = msgspec.json.encode(replay)
        while True:
            found = self._ledger.document(name)
            try:
                self._ledger.put_document(name, body, None if found is None else found.version)
            except Fenced:
                continue
            return
