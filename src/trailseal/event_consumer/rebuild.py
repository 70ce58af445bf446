"""Putting an empty index back from a log that keeps everything, obeying the rows of the ledger.

What the rows say holds, whatever a fresh look would find: a duplicate stays out, a collision goes in under the name
of its position, a dead letter stays one. So the books are the same afterwards, and so are the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trailseal.errors import PipelineFault, Unavailable
from trailseal.event_consumer.decode import decode_one
from trailseal.event_consumer.sinks import Sinks
from trailseal.event_consumer.state import PipelineState
from trailseal.model.outcomes import NOT_INDEXED, Delta, Head, OutcomeRow
from trailseal.model.projection import Entry, colliding
from trailseal.model.record import Gap, Record
from trailseal.ports.index import Present, Refused, Retry, Stored, Verdict
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.telemetry import REBUILD_RECORDS, logger

_CHUNK_RECORDS = 5_000
_CHUNK_BYTES = 16 << 20
_FLUSH_RECORDS = 100_000


def as_once_indexed(
    ledger: Ledger, origin: str, head: Head, items: Sequence[Record | Gap], offsets: range
) -> tuple[list[Entry], list[OutcomeRow]]:
    """The entries of these records as the rows say they were indexed, and rows for what decodes no more.

    Records that decode no more are kept as dead letters; their rows count once the head names them.

    Args:
        ledger: whose rows hold.
        origin: the log's identity.
        head: of the records' partition.
        items: in log order; what lies outside ``offsets`` is passed over.
        offsets: what is put back.

    Raises:
        Unavailable: the ledger does not answer.
    """
    absent: set[int] = set()
    apart: set[int] = set()
    for row in ledger.outcomes(head.log, head.partition, offsets.start, offsets.stop):
        first = row.position.offset
        run = range(max(first, offsets.start), min(first + row.count, offsets.stop))
        (absent if row.kind in NOT_INDEXED else apart).update(run)
    entries: list[Entry] = []
    late: list[OutcomeRow] = []
    for item in items:
        offset = item.position.offset
        if isinstance(item, Gap) or offset in absent or offset not in offsets:
            continue
        decoded = decode_one(item, origin, indexed=True)
        if isinstance(decoded, Entry):
            entries.append(colliding(decoded) if offset in apart else decoded)
        else:
            ledger.keep([item])
            late.append(decoded)
    return entries, late


class Rebuild:
    """One rebuild of an index from its log. Runs in the thread that writes the index.

    Args:
        log: it keeps every record.
        sinks: the engines.
        state: told how far the rebuild has come.
        cancelled: becomes True when the partitions are not ours any more; the rebuild then ends early.
    """

    def __init__(
        self,
        log: EventLog,
        sinks: Sinks,
        state: PipelineState,
        cancelled: Callable[[], bool],
    ) -> None:
        self._log, self._index, self._ledger = log, sinks.index, sinks.ledger
        self._state, self._cancelled = state, cancelled
        self._origin = ""
        self._done = 0
        self._total = 0
        self._unflushed = 0

    def run(self, heads: Sequence[Head], why: str) -> list[Head]:
        """Put back everything below the heads; the heads to go on from.

        An interrupted rebuild starts over: what it left behind is not worth the risk of trusting it.

        Args:
            heads: of all partitions of the log.
            why: what is wrong with the index, for our log.

        Raises:
            Unavailable: an engine does not answer, or the rebuild was cancelled; run again.
            PipelineFault: the index holds what the books do not allow, or refuses what it once held.
        """
        self._origin = self._log.origin
        self._done = 0
        self._total = sum(head.taken_in for head in heads)
        self._tell()
        self._index.begin_rebuild()
        if self._total:
            logger("event_consumer").warning("rebuild_begins", why=why, records=self._total)
        heads = [self._partition(head) for head in heads]
        self._index.flush()
        self._index.mark_complete()
        self._index.refresh()
        if self._total:
            logger("event_consumer").info("rebuild_ends", records=self._done)
        self._state.update(phase="running", detail=None)
        return heads

    def _partition(self, head: Head) -> Head:
        late: list[OutcomeRow] = []
        offset = head.base
        while offset < head.next:
            if self._cancelled():
                raise Unavailable("The rebuild was interrupted; it starts again with the next owner.")
            most = min(_CHUNK_RECORDS, head.next - offset)
            items = self._log.read(head.partition, offset, most, _CHUNK_BYTES)
            if not items:
                raise PipelineFault(
                    f"The log ends at offset {offset} of partition {head.partition}, but the ledger has taken it in"
                    f" up to {head.next}. Restore log and ledger from one backup."
                )
            stop = items[-1].end
            late += self._chunk(head, items, offset, min(stop, head.next))
            self._done += min(stop, head.next) - offset
            offset = stop
            self._tell()
        return self._ledger.advance(head, Delta(head.next, tuple(late))) if late else head

    def _chunk(self, head: Head, items: Sequence[Record | Gap], start: int, stop: int) -> list[OutcomeRow]:
        entries, late = as_once_indexed(self._ledger, self._origin, head, items, range(start, stop))
        self._put(entries)
        return late

    def _put(self, entries: list[Entry]) -> None:
        if not entries:
            return
        verdicts = self._index.put(entries)
        for entry, verdict in zip(entries, verdicts, strict=True):
            self._check(entry, verdict)
        self._unflushed += len(entries)
        if self._unflushed >= _FLUSH_RECORDS:
            self._index.flush()
            self._unflushed = 0

    def _check(self, entry: Entry, verdict: Verdict) -> None:
        position = entry.projection.position
        if isinstance(verdict, Stored) or (isinstance(verdict, Present) and verdict.position == position):
            return
        if isinstance(verdict, Retry):
            raise Unavailable(f"The index cannot take position {position} now: {verdict.why}")
        why = verdict.why if isinstance(verdict, Refused) else type(verdict).__name__.lower()
        raise PipelineFault(
            f"Position {position} was indexed once and cannot be put back ({why}): ledger and log do not belong"
            " together, or rows of the ledger are missing. Restore both from one backup."
        )

    def _tell(self) -> None:
        self._state.update(phase="rebuilding", detail=None, rebuilt=self._done, rebuild_total=self._total)
        REBUILD_RECORDS.labels("done").set(self._done)
        REBUILD_RECORDS.labels("total").set(self._total)
