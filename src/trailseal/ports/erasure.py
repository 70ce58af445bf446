"""What engines can do besides that lets records be erased: all of them together, or none.

"In place" is what files on our own disk allow: on return no byte is left. Servers keep bytes that nobody can ask
for any more until they write their files anew (Elasticsearch) or their retention has passed (Kafka).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Position, Record

EntriesOf = Callable[[Sequence[Position]], Iterable[Sequence[Entry]]]
"""The entries of documents as they were put, by position, in portions."""


class ErasableRecords(Protocol):
    """The records of a log, as far as anything still holds them."""

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `RecordSource.fetch`; what was erased is there as a record that says so, or not at all."""


class ErasableLog(Protocol):
    """A log that can forget records in place; positions and append times stay."""

    def erase(self, positions: Sequence[Position]) -> None:
        """Blank key, value and headers of these records; on return no byte of them is in the log's files.

        Every reader is told `Record.is_erased` of them from then on. Erasing again, or what is not there, is
        harmless.

        Raises:
            Unavailable: not done, or not all of it: call again; nothing may go on as if it were.
        """


class ErasableIndex(Protocol):
    """An index that can forget documents."""

    def erase(self, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """Remove the documents of these positions for good, durable, and seen by every search that begins later.

        What files on our own disk hold is gone on return; other documents that share a file with them may have to
        be written anew: ``entries_of`` gives their entries. An index that several processes write keeps the names
        taken (`Tombstone`). What is not there is harmless. Called by the thread that writes.

        Raises:
            Unavailable: not done, or not all of it; call again. What was put and not flushed may be gone.
            PipelineFault: a part of the index is missing.
        """

    def drop(self, month: str, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """The same for documents of one month (``YYYY.MM``), which is dropped whole once nothing else is in it.

        Raises:
            Unavailable: as `erase`.
        """


class ErasableLedger(Protocol):
    """A ledger that can forget what it kept, and what it said of a record that was removed."""

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        """Write rows of removals below the head, in one step, whatever crashes; the head, which stays where it is.

        Such a row takes the place of the rows of its positions whose kind is among `replaced_by` its own, in the
        totals too, so that every position below the head is counted once. A position that has another one of its
        own kind keeps that.

        Raises:
            Fenced: the head is not ``expected`` any more; nothing was written.
            Unavailable: the ledger does not answer.
        """
        ...

    def discard(self, positions: Sequence[Position]) -> None:
        """Delete the records kept under these positions, and what was left of replaced rows.

        What files on our own disk hold is gone on return. Discarding what is not there is harmless.

        Raises:
            Unavailable: not done, or not all of it; call again.
        """


@dataclass(frozen=True, slots=True)
class Erasable:
    """Engines that can erase, as one.

    Attributes:
        records: what an order names, to be looked at before it goes.
        index: searched by.
        ledger: the books.
        log: erased in place; None where the log forgets by its retention alone.
    """

    records: ErasableRecords
    index: ErasableIndex
    ledger: ErasableLedger
    log: ErasableLog | None
