"""`EventIndex` on a tantivy folder: the embedded profile's index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Final

from trailseal.adapters.indexes.tantivy_index.comparing import due
from trailseal.adapters.indexes.tantivy_index.folder import IndexFolder, translated
from trailseal.adapters.indexes.tantivy_index.paging import View
from trailseal.adapters.indexes.tantivy_index.reading import Reader
from trailseal.adapters.indexes.tantivy_index.writing import Writer
from trailseal.errors import PipelineFault, Rebuilding, Unavailable, UsageError
from trailseal.model.projection import Entry, Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.model.record import Position
from trailseal.ports.erasure import EntriesOf
from trailseal.ports.index import Inventory, Stored, Verdict
from trailseal.ports.log import RecordSource

_RETRY_AFTER_S: Final = 2.0
_LOOKS: Final = 3
"""An erasure removes documents before it blanks records: who looked before the one looks again after the other."""


class TantivyIndex:
    """The projection in a tantivy folder; answers carry the records of ``records``.

    The writer opens at the first write, so that a process that only searches never holds its lock. Every search
    sees what was committed before it, by whatever process: two `stat` calls tell whether there is anything new.

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
        self._reader = Reader(self._folder)
        self._writing = RLock()
        self._writer: Writer | None = None
        self._lost = False
        self._closed = False

    @property
    def refresh_interval_s(self) -> float:
        """Seconds; see `EventIndex`."""
        return self._refresh_interval_s

    def is_complete(self) -> bool:
        """See `EventIndex.is_complete`; False too where this version cannot read the folder."""
        self._usable()
        return self._reader.view() is not None

    def begin_rebuild(self) -> None:
        """See `EventIndex.begin_rebuild`."""
        with self._writing:
            self._writable()
            self._drop_writer()
            index = self._folder.create()
            self._reader.forget()
            self._lost = False
            self._writer = Writer(self._folder, index)

    def mark_complete(self) -> None:
        """See `EventIndex.mark_complete`."""
        with self._writing:
            self._writable()
            self._open_writer()
            self._folder.mark()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`."""
        with self._writing:
            self._writable()
            try:
                verdicts = self._open_writer().put(entries)
            except Unavailable:
                self._lose()
                raise
            self._lost = False
            return verdicts

    def flush(self) -> None:
        """See `EventIndex.flush`."""
        with self._writing:
            self._writable()
            if self._lost:
                raise Unavailable("What was put since the last flush is lost; put it again, then flush.")
            if self._writer is None:
                return
            try:
                self._writer.flush()
            except Unavailable:
                self._lose()
                raise

    def erase(self, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """See `ErasableIndex.erase`; segments that hold such a document are written anew, in one commit."""
        self.flush()
        with self._writing:
            self._writable()
            self._drop_writer()  # waits for merges, which would carry the bytes on
            writer = self._open_writer()
            try:
                again = writer.remove(positions)
                for entries in entries_of(again) if again else ():
                    _refuse_loss(entries, writer.put(entries))
                writer.flush()
            except BaseException:
                self._drop_writer()
                raise

    def drop(self, month: str, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """See `ErasableIndex.drop`; a month is nothing of its own here."""
        del month
        self.erase(positions, entries_of)

    def refresh(self) -> None:
        """See `EventIndex.refresh`."""
        self._usable()
        self._reader.view()

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        """See `EventIndex.search`."""
        for _ in range(_LOOKS):
            view = self._view()
            with translated("be searched"):
                keys = view.page(query, after, limit)
            records = self._records.fetch([key.position for key in keys])
            hits = [Hit(key, record) for key, record in zip(keys, records, strict=True) if record is not None]
            if len(hits) != len(keys):
                raise Unavailable("The index names records that the log does not hold; run `trailseal reconcile`.")
            if not any(hit.record.is_erased for hit in hits):
                return hits
        raise Unavailable("The index names records that were erased; run `trailseal reconcile`.")

    def count(self, query: Query, ceiling: int | None = None) -> Count:
        """See `EventIndex.count`."""
        view = self._view()
        with translated("be searched"):
            return view.count(query, ceiling)

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """See `EventIndex.offsets`."""
        view = self._view()
        with translated("be searched"):
            return view.offsets(log, partition, start, stop)

    def compare(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.compare`."""
        view = self._view()
        with translated("be searched"):
            return view.compare(entries)

    def due(self, entries: Sequence[Entry]) -> Counter[str]:
        """See `EventIndex.due`."""
        return due(entries)

    def held(self, log: int, partition: int, start: int, stop: int) -> Counter[str]:
        """See `EventIndex.held`."""
        view = self._view()
        with translated("be searched"):
            return view.held(log, partition, start, stop)

    def beside(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.beside`."""
        view = self._view()
        with translated("be searched"):
            return view.beside(entries)

    def inventory(self) -> Inventory:
        """See `EventIndex.inventory`."""
        view = self._view()
        with translated("be searched"):
            return view.inventory()

    def alterations(self) -> list[str]:
        """None: `compare` asks for the terms themselves, whatever the folder says of them."""
        return []

    def close(self) -> None:
        """See `EventIndex.close`; waits for merges under way, which write to the folder."""
        with self._writing:
            self._closed = True
            self._drop_writer()
            self._reader.forget()

    def _usable(self) -> None:
        if self._closed:
            raise Unavailable("This index was closed.")

    def _writable(self) -> None:
        self._usable()
        if self._read_only:
            raise UsageError("This index was opened for reading only.")

    def _view(self) -> View:
        self._usable()
        view = self._reader.view()
        if view is None:
            detail = (
                "The index is not complete: `trailseal up` or `trailseal import` builds it from the log. Try again"
                " shortly."
            )
            raise Rebuilding(detail, retry_after_s=_RETRY_AFTER_S)
        return view

    def _open_writer(self) -> Writer:
        if self._writer is None:
            index = self._folder.open()
            self._writer = Writer(self._folder, self._folder.create() if index is None else index)
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _lose(self) -> None:
        self._lost = True
        self._drop_writer()


def _refuse_loss(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> None:
    for entry, verdict in zip(entries, verdicts, strict=True):
        if not isinstance(verdict, Stored):
            raise PipelineFault(
                f"The document of position {entry.projection.position} cannot be written anew for an erasure"
                f" ({type(verdict).__name__.lower()}): delete the index folder, and start again."
            )
