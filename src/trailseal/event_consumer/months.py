"""Months of an index that keeps its own records: made anew by today's rules, and put back from the log.

A month is re-projected from the records stored in it, beside writers and readers. A month that is missing is put
back from the log as the rows say, so far as the log still holds its records: the books tell whether that is
all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from trailseal.errors import Fenced, PipelineFault, UsageError
from trailseal.event_consumer.decode import decode_one
from trailseal.event_consumer.rebuild import as_once_indexed
from trailseal.event_consumer.tokens import Freshness
from trailseal.model.outcomes import Delta, Head, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Record
from trailseal.ports.cache import QueryCache
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.ports.upkeep import MonthUpkeep, Progress, Reproject, Reprojected

_CHUNK_RECORDS: Final = 5_000
_CHUNK_BYTES: Final = 16 << 20


def to_reproject(upkeep: MonthUpkeep, month: str | None, *, everything: bool) -> list[str]:
    """The months to make anew: the one named, every open one, or those that are not of today's rules.

    Raises:
        UsageError: the month named is not open.
        Unavailable: the index cannot be asked now.
    """
    known = {status.month: status for status in upkeep.months()}
    if month is not None:
        if month not in known or known[month].state != "open":
            raise UsageError(f"There is no month {month} to re-project; `trailseal months` lists those there are.")
        return [month]
    return [
        name
        for name, status in known.items()
        if status.state == "open" and (everything or status.reprojecting or not status.current)
    ]


def reproject(
    upkeep: MonthUpkeep, ledger: Ledger, cache: QueryCache, months: Sequence[str], progress: Progress
) -> Iterator[Reprojected]:
    """Re-project months one after the other; cached answers of before are old afterwards.

    Raises:
        UsageError: see `MonthUpkeep.reproject`.
        PipelineFault: the same.
        Unavailable: an engine does not answer; run again, it goes on where it was.
    """
    project = projector(ledger)
    freshness = Freshness(cache)
    for month in months:
        done = upkeep.reproject(month, project, progress)
        freshness.renew_everything()
        yield done


def projector(ledger: Ledger) -> Reproject:
    """Records of any log that the ledger knows -> entries by today's rules; None for what these refuse."""
    origins = ledger.logs()

    def project(record: Record) -> Entry | None:
        origin = origins.get(record.position.log)
        decoded = None if origin is None else decode_one(record, origin)
        return decoded if isinstance(decoded, Entry) else None

    return project


class Lost(msgspec.Struct, frozen=True):
    """Documents of one partition that the log cannot give back.

    Attributes:
        log: the log's number.
        partition: the partition.
        documents: how many.
        first: the first offset that the log still holds; None where the log itself is gone.
    """

    log: int
    partition: int
    documents: int
    first: int | None


class PutBack(msgspec.Struct, frozen=True):
    """What a rebuild of missing months came to.

    Attributes:
        months: which were missing.
        documents: how many documents were put back.
        lost: what could not be, by partition; empty where everything is there again.
        finished: whether the months are in use again.
    """

    months: tuple[str, ...]
    documents: int
    lost: tuple[Lost, ...]
    finished: bool


class MonthRebuild:
    """One rebuild of every missing month. Consumers may run: they stop by themselves at a missing month.

    Args:
        log: gives back what it still holds.
        ledger: its rows hold.
        upkeep: of the index.
        cache: its answers are old afterwards.
        progress: told how many records were read.
    """

    def __init__(
        self,
        log: EventLog,
        ledger: Ledger,
        upkeep: MonthUpkeep,
        cache: QueryCache,
        progress: Callable[[int, int], None],
    ) -> None:
        self._log, self._ledger, self._upkeep, self._cache = log, ledger, upkeep, cache
        self._progress = progress
        self._read = self._total = self._documents = 0

    def run(self, *, accept_lost: bool) -> PutBack:
        """Put back every missing month; an interrupted rebuild starts over.

        Args:
            accept_lost: use the months although some of their documents are lost.

        Raises:
            Unavailable: an engine does not answer; run again.
            PipelineFault: ledger and log do not belong together.
            UsageError: a consumer moved a head whose rows had to change.
        """
        months = tuple(status.month for status in self._upkeep.months() if status.state == "missing")
        if not months:
            return PutBack((), 0, (), finished=True)
        self._upkeep.begin_months(months)
        number = self._ledger.log_number(self._log.origin)
        heads = [] if number is None else self._ledger.heads(number)
        firsts = {head.partition: self._log.bounds(head.partition).first for head in heads}
        self._total = sum(max(0, head.next - max(head.base, firsts[head.partition])) for head in heads)
        for head in heads:
            self._partition(head, max(head.base, firsts[head.partition]), frozenset(months))
        lost = self._lost(months, number, firsts)
        finished = accept_lost or not lost
        if finished:
            self._upkeep.finish_months(months)
            Freshness(self._cache).renew_everything()
        return PutBack(months, self._documents, lost, finished)

    def _partition(self, head: Head, first: int, months: frozenset[str]) -> None:
        late: list[OutcomeRow] = []
        offset = first
        while offset < head.next:
            items = self._log.read(head.partition, offset, min(_CHUNK_RECORDS, head.next - offset), _CHUNK_BYTES)
            if not items:
                raise PipelineFault(
                    f"The log ends at offset {offset} of partition {head.partition}, but the ledger has taken it in"
                    f" up to {head.next}. Restore log and ledger from one backup."
                )
            stop = min(items[-1].end, head.next)
            entries, unreadable = as_once_indexed(self._ledger, self._log.origin, head, items, range(offset, stop))
            late += unreadable
            wanted = [entry for entry in entries if entry.month in months]
            if wanted:
                self._upkeep.put_back(wanted)
                self._documents += len(wanted)
            self._read += stop - offset
            offset = stop
            self._progress(self._read, self._total)
        if late:
            self._note_unreadable(head, late)

    def _note_unreadable(self, head: Head, rows: list[OutcomeRow]) -> None:
        """What decodes no more is a dead letter from now on."""
        now = self._ledger.head(head.log, head.partition) or head
        try:
            self._ledger.advance(now, Delta(now.next, tuple(rows)))
        except Fenced as error:
            raise UsageError("A consumer moves the heads meanwhile: stop all, then run it again.") from error

    def _lost(self, months: Sequence[str], number: int | None, firsts: dict[int, int]) -> tuple[Lost, ...]:
        """What the books say is indexed and no month holds; a head is read before the documents below it."""
        heads = [head for log in self._ledger.logs() for head in self._ledger.heads(log)]
        expected = {
            (head.log, head.partition): head.taken_in - self._ledger.totals(head.log, head.partition).not_indexed
            for head in heads
        }
        held = self._upkeep.documents_below(heads, months)
        return tuple(
            Lost(log, partition, missing, firsts.get(partition) if log == number else None)
            for (log, partition), count in sorted(expected.items())
            if (missing := count - held[log, partition]) > 0
        )
