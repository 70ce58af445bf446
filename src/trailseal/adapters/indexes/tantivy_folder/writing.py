"""The one writer of the folder: puts entries, knows which ids are taken, commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import tantivy
from tantivy import Query

from trailseal.adapters.indexes.tantivy_folder.folder import translated
from trailseal.adapters.indexes.tantivy_folder.schema import Identity, document, identity_number, read_identity
from trailseal.model.projection import Entry
from trailseal.ports.index import Present, Stored, Verdict

_HEAP_BYTES: Final = 128_000_000
_THREADS: Final = 1
_SAME_NUMBER: Final = 64
_STORED: Final = Stored()


class Writer:
    """tantivy's writer and what is put but not yet flushed.

    After an error nothing is known of what tantivy kept: the writer is given up, and with it everything that was
    not flushed.
    """

    def __init__(self, index: tantivy.Index, schema: tantivy.Schema) -> None:
        self._index, self._schema = index, schema
        self._unflushed: dict[tuple[str, str], Present] = {}
        with translated("be opened for writing"):
            self._writer = index.writer(_HEAP_BYTES, _THREADS)
            index.reload()
            self._searcher = index.searcher()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`."""
        verdicts: list[Verdict] = []
        unflushed, add = self._unflushed, self._writer.add_json
        frequency = self._searcher.doc_freq if self._searcher.num_docs else None
        with translated("take entries in"):
            for entry in entries:
                name = (entry.month, entry.document_id)
                taken = unflushed.get(name)
                number = identity_number(*name)
                if taken is None and frequency is not None and frequency("identity", number):
                    taken = self._holder(number, name)
                if taken is not None:
                    verdicts.append(taken)
                    continue
                add(document(entry, number))
                projection = entry.projection
                unflushed[name] = Present(projection.position, projection.content_hash)
                verdicts.append(_STORED)
        return verdicts

    def flush(self) -> None:
        """See `EventIndex.flush`."""
        if not self._unflushed:
            return
        with translated("be flushed"):
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
        self._unflushed.clear()

    def close(self) -> None:
        """Forget what was not flushed and let the lock go."""
        try:
            self._writer.rollback()
            self._writer.wait_merging_threads()
        except (OSError, ValueError, RuntimeError):
            return

    def _holder(self, number: int, name: tuple[str, str]) -> Present | None:
        query = Query.term_query(self._schema, "identity", number)
        for _, address in self._searcher.search(query, _SAME_NUMBER, count=False).hits:
            held: Identity = read_identity(self._searcher.doc(address)["stored"][0])
            if (held.month, held.document_id) == name:
                return Present(held.position, held.content_hash)
        return None


def offsets_of(searcher: tantivy.Searcher, found: tantivy.Query, start: int, stop: int) -> list[int]:
    """The offsets of the documents that match and lie in [start, stop), ascending."""
    most = max(1, searcher.num_docs)
    hits = searcher.search(found, most, count=False, order_by_field="offset", order=tantivy.Order.Asc).hits
    return [offset for offset, _ in hits if start <= offset < stop]
