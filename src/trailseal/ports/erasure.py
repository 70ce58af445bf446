"""What engines can do besides that lets records be erased in place: all of them together, or none.

The embedded profile's engines can. In the cluster Kafka forgets by its retention alone.
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


class ErasableLog(Protocol):
    """A log that can forget records in place; positions and append times stay."""

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `RecordSource.fetch`; what was erased is there as a record that says so (`Record.is_erased`)."""

    def erase(self, positions: Sequence[Position]) -> None:
        """Blank key, value and headers of these records; on return no byte of them is in the log's files.

        Every reader is told `Record.is_erased` of them from then on. Erasing again, or what is not there, is
        harmless.

        Raises:
            Unavailable: not done, or not all of it: call again; nothing may go on as if it were.
        """


class ErasableIndex(Protocol):
    """An index that can forget documents so that no byte stays."""

    def erase(self, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """Remove the documents of these positions for good, durable, and seen by every search that begins later.

        On return no byte of them is in the index's files. Other documents that share a file with them may have to
        be written anew: ``entries_of`` gives their entries. All or nothing, whatever crashes; what is not there is
        harmless. Called by the thread that writes.

        Raises:
            Unavailable: nothing was removed; call again. What was put and not flushed may be gone.
        """


class ErasableLedger(Protocol):
    """A ledger that can forget what it kept, and what it said of a record that was removed."""

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        """Write rows of removals below the head, in one step, whatever crashes; the head, which stays where it is.

        Such a row takes the place of what a duplicate, a collision or a dead letter said of its positions, in the
        totals too, so that every position below the head is counted once. A position that has one keeps it.

        Raises:
            Fenced: the head is not ``expected`` any more; nothing was written.
            Unavailable: the ledger does not answer.
        """
        ...

    def discard(self, positions: Sequence[Position]) -> None:
        """Delete the records kept under these positions, and what was left of replaced rows.

        On return no byte of them is in the ledger's files. Discarding what is not there is harmless.

        Raises:
            Unavailable: not done, or not all of it; call again.
        """


@dataclass(frozen=True, slots=True)
class Erasable:
    """Engines that can erase, as one."""

    log: ErasableLog
    index: ErasableIndex
    ledger: ErasableLedger
