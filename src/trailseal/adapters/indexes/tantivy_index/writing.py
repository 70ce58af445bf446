"""The one writer of the folder: puts entries, knows which ids are taken, commits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import tantivy
from tantivy import Query

from trailseal.adapters.indexes.tantivy_index.folder import IndexFolder, translated
from trailseal.adapters.indexes.tantivy_index.schema import document, identity_number, read_identity
from trailseal.errors import Unavailable
from trailseal.model.projection import Entry
from trailseal.ports.index import Present, Refused, Stored, Verdict

_HEAP_BYTES: Final = 128_000_000
_THREADS: Final = 1
"""The pipeline fills one core, tantivy's thread the other; a second one only makes more and smaller segments."""
_SAME_NUMBER: Final = 64
_STORED: Final = Stored()
_SURROGATE: Final = Refused("lone-surrogate", "A text holds half a surrogate pair, which is no character.")
_NOT_TAKEN: Final = Refused("not-indexable", "A field holds what its type in the index does not allow.")


class Writer:
    """tantivy's writer and what is put but not yet flushed.

    After an error nothing is known of what tantivy kept: the writer is given up, and with it everything that was
    not flushed.
    """

    def __init__(self, folder: IndexFolder, index: tantivy.Index) -> None:
        self._folder, self._index, self._schema = folder, index, index.schema
        self._unflushed: dict[tuple[str, str], Present] = {}
        with translated("be opened for writing"):
            self._writer = index.writer(_HEAP_BYTES, _THREADS)
            index.reload()
            self._searcher = index.searcher()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`."""
        with translated("take entries in"):
            return [self._put(entry) for entry in entries]

    def flush(self) -> None:
        """See `EventIndex.flush`."""
        if not self._unflushed:
            return
        with translated("be flushed"):
            self._writer.commit()
            self._folder.sync()
            self._index.reload()
            self._searcher = self._index.searcher()
        self._unflushed.clear()

    def close(self) -> None:
        """Forget what was not flushed, wait for merges (they write to the folder) and let the lock go."""
        with suppress(Unavailable), translated("be closed"):
            self._writer.wait_merging_threads()
        del self._writer

    def _put(self, entry: Entry) -> Verdict:
        name = (entry.month, entry.document_id)
        taken = self._unflushed.get(name)
        if taken is not None:
            return taken
        try:
            number = identity_number(*name)
            if self._searcher.doc_freq("identity", number):
                taken = self._holder(number, name)
                if taken is not None:
                    return taken
            text = document(entry, number)
        except UnicodeEncodeError:
            return _SURROGATE
        if not self._add(text):
            return _NOT_TAKEN
        projection = entry.projection
        self._unflushed[name] = Present(projection.position, projection.content_hash)
        return _STORED

    def _add(self, text: str) -> bool:
        """Hand the document to tantivy; False where it is the document that cannot be taken."""
        try:
            self._writer.add_json(text)
        except ValueError as error:
            if "could not be parsed" in str(error):
                return False
            raise
        return True

    def _holder(self, number: int, name: tuple[str, str]) -> Present | None:
        query = Query.term_query(self._schema, "identity", number, index_option="basic")
        for _, address in self._searcher.search(query, _SAME_NUMBER, count=False).hits:
            held = read_identity(self._searcher.doc(address)["stored"][0])
            if (held.month, held.document_id) == name:
                return Present(held.position, held.content_hash)
        return None
