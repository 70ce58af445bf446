"""Everything that matches, however much: found page by page, consistent as of the start, with flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, get_args

import msgspec

from trailseal.errors import InvalidQuery, Problem, Unavailable
from trailseal.formats.csv_rendering import CSV_HEADER, render_csv
from trailseal.formats.rendering import render
from trailseal.model.projection import Hit, SortKey
from trailseal.model.query import Query
from trailseal.ports.clock import Clock
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger

ExportFormat = Literal["ndjson", "csv"]
EXPORT_FORMATS: Final[tuple[str, ...]] = get_args(ExportFormat)
BATCH: Final = 1_000
"""Events found and handed on at once; what is in memory at any time is a few times this."""
PATIENCE_S: Final = 30.0
"""How long an export that has begun waits for an index that does not answer."""
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 4.0


class Extent(msgspec.Struct, frozen=True, gc=False):
    """What an export is an export of: of one partition, everything taken in before it began.

    Attributes:
        log: the log's number.
        partition: the partition.
        next: offsets below this one had been taken in.
    """

    log: int
    partition: int
    next: int


class Export:
    """One export: every event that was taken in before it began and matches, exactly once, in the order asked for.

    What arrives meanwhile is left out. What is erased or expires meanwhile may be missing, as it should be.

    Attributes:
        query: what was asked, with tenants and window filled in.
        extents: how far each partition had been taken in.
    """

    def __init__(self, index: EventIndex, clock: Clock, query: Query, extents: Sequence[Extent]) -> None:
        self.query = query
        self.extents = tuple(extents)
        self._index, self._clock = index, clock

    def batches(self) -> Iterator[list[Hit]]:
        """The events, up to `BATCH` at a time.

        Raises:
            Unavailable: the index did not answer for `PATIENCE_S`: what came so far is not everything.
        """
        if self.query.tenants == ():
            return
        ends = {(extent.log, extent.partition): extent.next for extent in self.extents}
        after: SortKey | None = None
        while hits := self._find(after):
            after = hits[-1].key
            places = [hit.key.position for hit in hits]
            old = [at.offset < ends.get((at.log, at.partition), 0) for at in places]
            known = hits if all(old) else [hit for hit, kept in zip(hits, old, strict=True) if kept]
            if known:
                yield known

    def _find(self, after: SortKey | None) -> list[Hit]:
        given_up = self._clock.monotonic() + PATIENCE_S
        wait = _FIRST_WAIT_S
        while True:
            try:
                return self._index.search(self.query, after, BATCH)
            except Unavailable:
                if self._clock.monotonic() + wait > given_up:
                    raise
            self._clock.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)


def begin_export(index: EventIndex, ledger: Ledger, clock: Clock, query: Query) -> Export:
    """An export as of now, none of it found yet.

    Args:
        index: where events are found; all that was taken in is made visible first.
        ledger: tells how far that is.
        clock: for waiting.
        query: with tenants and window filled in (`Plan.query`).

    Raises:
        Unavailable: the index or the ledger does not answer.
    """
    heads = [head for log in sorted(ledger.logs()) for head in ledger.heads(log)]
    extents = [Extent(head.log, head.partition, head.next) for head in heads]
    if query.tenants != ():
        index.refresh()
        index.search(query, None, 1)
    return Export(index, clock, query, extents)


class NdjsonLines:
    """Events as NDJSON: one JSON object a line, as in the pages of a search."""

    media_type = "application/x-ndjson"
    beginning = b""

    def __init__(self, *, with_record: bool = False) -> None:
        self._with_record = with_record

    def lines(self, hits: Sequence[Hit]) -> bytes:
        """These events."""
        return b"".join([render(hit, with_record=self._with_record) + b"\n" for hit in hits])

    def failure(self, detail: str) -> bytes:
        """The line that says that the rest is missing."""
        return msgspec.json.encode({"error": {"code": "export-incomplete", "detail": detail}}) + b"\n"


class CsvLines:
    """Events as CSV (RFC 4180) with a header; see `render_csv`."""

    media_type = "text/csv; charset=utf-8"
    beginning = CSV_HEADER

    def lines(self, hits: Sequence[Hit]) -> bytes:
        """These events."""
        return render_csv(hits)

    def failure(self, detail: str) -> bytes:
        """The line that says that the rest is missing."""
        return f"#export-incomplete: {detail}\r\n".encode()


Lines = NdjsonLines | CsvLines


def lines_of(name: str, *, with_record: bool = False) -> Lines:
    """How rows of that format (one of `EXPORT_FORMATS`) are written.

    Raises:
        InvalidQuery: the original record is asked for, and the format has no place for it.
    """
    if name != "csv":
        return NdjsonLines(with_record=with_record)
    if with_record:
        detail = "A table has no place for the original record: leave record out, or take format=ndjson."
        raise InvalidQuery(Problem("invalid-value", detail, parameter="record"))
    return CsvLines()
