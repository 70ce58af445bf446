"""Import: append what files hold to the log, unjudged, and see it through the pipeline.

    from trailseal.event_consumer.import_sources import find_sources
    from trailseal.event_consumer.importing import Importer

    consumer = Consumer(engines.log, engines.index, engines.ledger, engines.cache, engines.clock)
    importer = Importer(engines.log, engines.ledger, consumer, engines.clock, tenant="acme", progress=show)
    result = importer.run(find_sources(["logs/", "-"], sys.stdin.buffer).sources)

Every record carries an id of its own or gets one from its place in the input, so an import that was interrupted is
simply run again: what is there already becomes ``already_there``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from trailseal.errors import Overloaded, Problem, TrailsealError, Unavailable
from trailseal.event_consumer.import_records import RecordMaker
from trailseal.event_consumer.import_results import ImportResult, Origins, Tally
from trailseal.event_consumer.import_sources import BrokenSource, Source, chunks
from trailseal.formats.slicing import Part, Slicer
from trailseal.model.record import NewRecord
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

_BATCH_RECORDS = 5_000
_BATCH_BYTES = 8 << 20
_LOOK_S = 0.1
_TELL_S = 0.1
_PATIENCE_S = 60.0


class ImportProgress(msgspec.Struct, frozen=True, gc=False):
    """How far an import has come. Rates are the caller's: it knows when it was told what.

    Attributes:
        source: name of the input being read; None while only the pipeline works.
        bytes_read: bytes read from all inputs so far, compressed where they are.
        bytes_total: bytes of all inputs, or None where standard input is among them.
        appended: records in the log, durable.
        taken_in: of those, how many the pipeline has taken in.
    """

    source: str | None
    bytes_read: int
    bytes_total: int | None
    appended: int
    taken_in: int


class Follower(Protocol):
    """What takes in what an import appends: a `Consumer`, here or in another process.

    Attributes:
        fault: why it stopped by itself, or None.
    """

    fault: TrailsealError | None

    def run(self) -> None:
        """Follow the log until `stop`, or until a fault. Called once, in a thread of its own."""

    def stop(self) -> None:
        """Finish what was taken in, then let `run` return. Any thread; twice is harmless."""


class Importer:
    """One import. It runs the pipeline itself unless another process does; if that one ends, it takes over.

    Args:
        log: where the records go.
        ledger: where their outcomes are read.
        consumer: not running yet; run in a thread of its own while the import lasts.
        clock: for waiting and for the duration.
        tenant: whose events these are, whatever they say themselves; None = what they say.
        format_name: the wire format of all records; None = guessed per record.
        progress: told now and then, in the calling thread.

    Raises:
        UsageError: tenant or format are not legal.
    """

    def __init__(
        self,
        log: EventLog,
        ledger: Ledger,
        consumer: Follower,
        clock: Clock,
        *,
        tenant: str | None = None,
        format_name: str | None = None,
        progress: Callable[[ImportProgress], None] | None = None,
    ) -> None:
        self._log, self._ledger, self._consumer, self._clock = log, ledger, consumer, clock
        self._maker = RecordMaker(tenant, format_name)
        self._progress = progress or (lambda _: None)
        self._origins = Origins()
        self._bytes_done = 0
        self._bytes_here = 0
        self._bytes_total: int | None = None
        self._told_at = float("-inf")

    def run(self, sources: Sequence[Source]) -> ImportResult:
        """Append everything, wait until it is taken in and visible, and sum up what became of it.

        An exception (a signal's too) leaves nothing broken: run the same import again.

        Raises:
            Unavailable: the log cannot take more (disk full, no broker).
            PipelineFault: the pipeline stopped; its text says what to do.
        """
        began = self._clock.monotonic()
        sizes = [source.size for source in sources if source.size is not None]
        self._bytes_total = sum(sizes) if len(sizes) == len(sources) else None
        tally = Tally(self._origins, [source.name for source in sources])
        with self._pipeline():
            read = sum(self._read(number, source, tally) for number, source in enumerate(sources))
            self._follow()
            seconds = self._clock.monotonic() - began
        tally.judge(self._ledger)
        return tally.result(sources=read, bytes_read=self._bytes_done, seconds=seconds)

    @contextmanager
    def _pipeline(self) -> Iterator[None]:
        thread = threading.Thread(target=self._consumer.run, name="import-pipeline", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._consumer.stop()
            thread.join(_PATIENCE_S)

    def _read(self, number: int, source: Source, tally: Tally) -> bool:
        """Append one input's records; whether it could be read to its end."""
        self._bytes_here = 0
        parts: list[Part] = []
        records: list[NewRecord] = []
        size = 0
        whole = True
        try:
            with source.open() as stream:
                slicer = Slicer(chunks(stream, self._note_bytes))
                for part in slicer:
                    if part.problem is not None and not part.value:
                        tally.unreadable(number, part.line, part.problem)
                        continue
                    parts.append(part)
                    records.append(self._maker.make(part.value, slicer.prefix_id))
                    size += len(part.value)
                    if len(parts) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
                        self._append(number, source, parts, records)
                        parts, records, size = [], [], 0
        except (BrokenSource, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            tally.unreadable(number, None, Problem("unreadable-input", f"the input ends early: {why}"))
            whole = False
        self._append(number, source, parts, records)
        self._bytes_done += self._bytes_here
        self._bytes_here = 0
        return whole

    def _note_bytes(self, count: int) -> None:
        self._bytes_here = count

    def _append(self, number: int, source: Source, parts: list[Part], records: list[NewRecord]) -> None:
        if not records:
            return
        self._check_pipeline()
        while True:
            try:
                positions = self._log.append(records)
            except Overloaded as error:
                self._clock.wait(error.retry_after_s)
                continue
            break
        self._origins.extend(positions, number, [part.line for part in parts])
        at = self._clock.monotonic()
        if at - self._told_at >= _TELL_S:
            self._told_at = at
            self._tell(source.name, self._waiting())

    def _follow(self) -> None:
        """Wait until every record is below its head."""
        while (waiting := self._waiting()) > 0:
            self._check_pipeline()
            self._tell(None, waiting)
            self._clock.wait(_LOOK_S)
        self._tell(None, 0)

    def _waiting(self) -> int:
        """How many offsets lie between the heads and the last record appended."""
        waiting = 0
        for log, partition, start, stop in self._origins.spans():
            try:
                head = self._ledger.head(log, partition)
            except Unavailable:
                return stop - start
            waiting += max(0, stop - max(start, head.next)) if head is not None else stop - start
        return waiting

    def _check_pipeline(self) -> None:
        if self._consumer.fault is not None:
            raise self._consumer.fault

    def _tell(self, source: str | None, waiting: int) -> None:
        taken_in = max(0, self._origins.count - waiting)
        read = self._bytes_done + self._bytes_here
        self._progress(ImportProgress(source, read, self._bytes_total, self._origins.count, taken_in))
