"""Row: a page at the top, in the middle and at the end, in a small index and in one ten times as large."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.row import Row
from bench.workload import APPENDED_MS, events
from trailseal.adapters.indexes.tantivy_index import TantivyIndex
from trailseal.formats import decode_record
from trailseal.model.projection import SortKey, entry
from trailseal.model.record import Position, Record
from trailseal.query.parsing import parse_query_string

SMALL, LARGE = 1_000_000, 10_000_000
_CHUNK = 50_000
_QUESTIONS = ("", "tenant_id=tenant-3", "tenant_id=tenant-3&action=role.assigned", "metadata.place=lima", "q=osaka")
_TURNS = 15
_LIMIT = 100


class _NoRecords:
    """The row measures the index; the records of a page come from the log in any case."""

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        return [Record(position, 0, None, b"", ()) for position in positions]


def measure(size: float) -> list[Row]:
    """The slowest of the questions' median times: deep against first, large against small."""
    times = [_times(int(count * size)) for count in (SMALL, LARGE)]
    rows = []
    for name, (first, deep) in zip((f"{SMALL * size:,.0f}", f"{LARGE * size:,.0f}"), times, strict=True):
        ratio = max(b / a for a, b in zip(first, deep, strict=True))
        rows.append(
            Row(
                f"a page half-way down, {name} events, against the first",
                _ms(deep),
                _ms(first),
                ratio,
                2,
                at_most=True,
            )
        )
    grown = max(b / a for a, b in zip(times[0][0] + times[0][1], times[1][0] + times[1][1], strict=True))
    rows.append(
        Row("the same pages, ten times the events", _ms(times[1][0]), _ms(times[0][0]), grown, 2, at_most=True)
    )
    return rows


def _ms(seconds: Sequence[float]) -> str:
    return f"{max(seconds) * 1e3:.2f} ms"


def _times(count: int) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        index = _opened(folder)
        index.begin_rebuild()
        middle = _fill(index, count)
        index.mark_complete()
        index.close()  # what it still merges is not part of a page
        index = _opened(folder)
        found = [(_median(index, text, None), _median(index, text, middle)) for text in _QUESTIONS]
        index.close()
    return [first for first, _ in found], [deep for _, deep in found]


def _opened(folder: str) -> TantivyIndex:
    return TantivyIndex(Path(folder) / "index", records=_NoRecords(), refresh_interval_s=1)


def _fill(index: TantivyIndex, count: int) -> SortKey:
    batch = []
    middle = None
    for offset, value in enumerate(events(count)):
        record = Record(Position(1, 0, offset), APPENDED_MS, None, value, ())
        decoded = decode_record(record, "bench")
        batch.append(entry(record, decoded.event, decoded.format, decoded.words))
        if offset == count // 2:
            middle = batch[-1].projection.sort_key
        if len(batch) == _CHUNK or offset == count - 1:
            index.put(batch)
            index.flush()
            batch = []
    if middle is None:
        raise ValueError("a page half-way down needs at least one event")
    return middle


def _median(index: TantivyIndex, text: str, after: SortKey | None) -> float:
    query = parse_query_string(text).query
    times = []
    for _ in range(_TURNS):
        began = time.perf_counter()
        index.search(query, after, _LIMIT)
        times.append(time.perf_counter() - began)
    return sorted(times)[_TURNS // 2]
