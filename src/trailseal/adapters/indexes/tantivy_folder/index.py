"""`EventIndex` on a tantivy folder: the embedded profile's index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Final

import tantivy
from tantivy import Occur

from trailseal.adapters.indexes.tantivy_folder.folder import IndexFolder, translated
from trailseal.adapters.indexes.tantivy_folder.paging import View
from trailseal.adapters.indexes.tantivy_folder.queries import QueryBuilder
from trailseal.adapters.indexes.tantivy_folder.schema import BLOCK, block_term, build_schema
from trailseal.adapters.indexes.tantivy_folder.writing import Writer, offsets_of
from trailseal.errors import Rebuilding, Unavailable, UsageError
from trailseal.model.projection import Entry, Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.ports.index import Verdict
from trailseal.ports.log import RecordSource

_BLOCKS_AT_ONCE: Final = 16


class TantivyIndex:
    """The projection in a tantivy folder; answers carry the records of ``records``.

    The writer opens at the first write, so that a process that only searches never holds its lock. Another
    process's commits are seen at the next search: one `stat` per search tells whether there are any.

    Args:
        folder: made at the first write.
        records: where the record of a position comes from.
        refresh_interval_s: see `EventIndex`.
        read_only: refuse to write.
    """

    def __init__(
        self, folder: Path, *, records: RecordSource, refresh_interval_s: float, read_only: bool = False
    ) -> None:
        self._folder = IndexFolder(folder)
        self._records = records
        self._refresh_interval_s = refresh_interval_s
        self._read_only = read_only
        self._schema = build_schema()
        self._builder = QueryBuilder(self._schema)
        self._lock = RLock()
        self._index: tantivy.Index | None = None
        self._writer: Writer | None = None
        self._view: View | None = None
        self._seen: tuple[int, int] | None = None
        self._complete = False

    @property
    def refresh_interval_s(self) -> float:
        """Seconds; see `EventIndex`."""
        return self._refresh_interval_s

    def is_complete(self) -> bool:
        """See `EventIndex.is_complete`."""
        with self._lock:
            if self._writer is not None:
                return self._complete
            return self._folder.state() is not None and self._folder.is_marked()

    def begin_rebuild(self) -> None:
        """See `EventIndex.begin_rebuild`."""
        self._refuse_read_only()
        with self._lock:
            self._drop_writer()
            self._complete = False
            self._index = self._folder.create()

    def mark_complete(self) -> None:
        """See `EventIndex.mark_complete`."""
        self._refuse_read_only()
        with self._lock:
            self._open_writer()
            self._folder.mark()
            self._complete = True

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`. After `Unavailable`, everything since the last flush must be put again."""
        self._refuse_read_only()
        with self._lock:
            try:
                return self._open_writer().put(entries)
            except Unavailable:
                self._drop_writer()
                raise

    def flush(self) -> None:
        """See `EventIndex.flush`. After `Unavailable`, everything since the last flush must be put again."""
        self._refuse_read_only()
        with self._lock:
            if self._writer is None:
                return
            try:
                self._writer.flush()
            except Unavailable:
                self._drop_writer()
                raise

    def refresh(self) -> None:
        """See `EventIndex.refresh`."""
        with self._lock:
            if self._folder.state() is not None:
                self._reload()

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        """See `EventIndex.search`."""
        view = self._current()
        with translated("be searched"):
            keys = view.page(query, after, limit)
        records = self._records.fetch([key.position for key in keys])
        hits = [Hit(key, record) for key, record in zip(keys, records, strict=True) if record is not None]
        if len(hits) != len(keys):
            raise Unavailable("The index names records that the log does not hold; run `trailseal reconcile`.")
        return hits

    def count(self, query: Query, ceiling: int | None = None) -> Count:
        """See `EventIndex.count`."""
        view = self._current()
        found = self._builder.build(query)
        first = -(2**62) if query.time_from_us is None else query.time_from_us
        stop = 2**62 if query.time_to_us is None else query.time_to_us
        if found is None or first >= stop:
            return Count(0)
        if query.time_from_us is not None or query.time_to_us is not None:
            parts = [(Occur.Must, found), (Occur.Must, self._builder.between(first, stop))]
            found = tantivy.Query.boolean_query(parts)
        with translated("be searched"):
            value = view.searcher.search(found, 1, count=True).count  # type: ignore[attr-defined] # missing in its stub
        return Count(value) if ceiling is None or value <= ceiling else Count(ceiling, exact=False)

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """See `EventIndex.offsets`."""
        view = self._current()
        with translated("be searched"):
            prefix = f"{log}/{partition}/"
            blocks = sorted(
                int(term.rpartition("/")[2]) for term, _ in view.searcher.terms_with_prefix("block", prefix)
            )
            wanted = [block for block in blocks if start // BLOCK <= block and block * BLOCK < stop]
            found: list[int] = []
            for at in range(0, len(wanted), _BLOCKS_AT_ONCE):
                terms = [block_term(log, partition, block * BLOCK) for block in wanted[at : at + _BLOCKS_AT_ONCE]]
                found += offsets_of(view.searcher, self._builder.terms("block", terms), start, stop)
            return found

    def close(self) -> None:
        """See `EventIndex.close`."""
        with self._lock:
            self._drop_writer()

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise UsageError("This index was opened for reading only.")

    def _open_writer(self) -> Writer:
        if self._writer is None:
            index = self._folder.open()
            self._complete = index is not None and self._folder.is_marked()
            self._index = self._folder.create() if index is None else index
            self._writer = Writer(self._index, self._schema)
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._index = self._view = self._seen = None

    def _current(self) -> View:
        with self._lock:
            if not self.is_complete():
                raise Rebuilding("The index is being rebuilt from the log; try again shortly.", retry_after_s=2)
            state = self._folder.state()
            if self._view is None or (self._writer is None and state != self._seen):
                self._reload()
            if self._view is None:
                raise Rebuilding("The index is being rebuilt from the log; try again shortly.", retry_after_s=2)
            return self._view

    def _reload(self) -> None:
        state = self._folder.state()
        if self._writer is None:
            self._index = self._folder.open()
        if self._index is None:
            self._view = None
            return
        with translated("be read"):
            self._index.reload()
            self._view = View(self._index.searcher(), self._builder)
        self._seen = state
