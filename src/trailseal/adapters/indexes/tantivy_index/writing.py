"""The one writer of the folder: puts entries, knows which ids are taken, commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import tantivy
from tantivy import Query

from trailseal.adapters.indexes.tantivy_index.folder import IndexFolder, translated
from trailseal.adapters.indexes.tantivy_index.schema import (
    Identity,
    block_term,
    document,
    identity_number,
    read_identity,
)
from trailseal.errors import Unavailable
from trailseal.model.projection import Entry
from trailseal.model.record import Position
from trailseal.ports.index import Present, Refused, Stored, Verdict

_HEAP_BYTES: Final = 128_000_000
_THREADS: Final = 1
"""The pipeline fills one core, tantivy's thread the other; a second one only makes more and smaller segments."""
_SAME_NUMBER: Final = 64
_RUN: Final = 64
"""Entries prepared step by step at once (docs/decisions/0502)."""
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
        self._removed: set[int] = set()
        with translated("be opened for writing"):
            self._writer = index.writer(_HEAP_BYTES, _THREADS)
            index.reload()
            self._searcher = index.searcher()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`."""
        verdicts: list[Verdict] = []
        with translated("take entries in"):
            for start in range(0, len(entries), _RUN):
                verdicts += self._put(entries[start : start + _RUN])
        return verdicts

    def remove(self, wanted: Sequence[Position]) -> list[Position]:
        """See `EventIndex.erase`: every segment that holds one of these documents is emptied.

        tantivy marks a deleted document and keeps its bytes until the segment is merged, which nobody can ask it
        for; a segment without a live document it drops.
        """
        with translated("be emptied of documents"):
            gone = set(wanted)
            segments = {address.segment_ord for address, held in self._in_blocks(wanted) if held.position in gone}
            again: list[Position] = []
            if not segments:
                return again
            everything = self._searcher.search(Query.all_query(), self._searcher.num_docs, count=False).hits
            for _, address in everything:
                if address.segment_ord not in segments:
                    continue
                held = self._identity(address)
                number = identity_number(held.month, held.document_id)
                if number not in self._removed:
                    self._writer.delete_documents_by_query(self._of_number(number))
                    self._removed.add(number)
                if held.position not in gone:
                    again.append(held.position)
            again += self._others(segments, gone)
            return again

    def _others(self, segments: set[int], gone: set[Position]) -> list[Position]:
        """Documents of other segments whose identity number one of those has too: deleted with it."""
        found: list[Position] = []
        for number in self._removed:
            if self._searcher.doc_freq("identity", number) > 1:
                for _, address in self._searcher.search(self._of_number(number), _SAME_NUMBER, count=False).hits:
                    position = self._identity(address).position
                    if address.segment_ord not in segments and position not in gone:
                        found.append(position)
        return found

    def _in_blocks(self, wanted: Sequence[Position]) -> Iterator[tuple[tantivy.DocAddress, Identity]]:
        """Every document of the blocks that hold these positions."""
        for term in sorted({block_term(at.log, at.partition, at.offset) for at in wanted}):
            most = self._searcher.doc_freq("block", term)
            if most:
                query = Query.term_query(self._schema, "block", term, index_option="basic")
                for _, address in self._searcher.search(query, most, count=False).hits:
                    yield address, self._identity(address)

    def _of_number(self, number: int) -> Query:
        return Query.term_query(self._schema, "identity", number, index_option="basic")

    def _identity(self, address: tantivy.DocAddress) -> Identity:
        return read_identity(self._searcher.doc(address)["stored"][0])

    def flush(self) -> None:
        """See `EventIndex.flush`."""
        if not self._unflushed and not self._removed:
            return
        with translated("be flushed"):
            self._writer.commit()
            self._folder.sync()
            self._index.reload()
            self._searcher = self._index.searcher()
            if self._removed:
                self._writer.garbage_collect_files()
        self._unflushed.clear()
        self._removed.clear()

    def close(self) -> None:
        """Forget what was not flushed, wait for merges (they write to the folder) and let the lock go."""
        with suppress(Unavailable), translated("be closed"):
            self._writer.wait_merging_threads()
        del self._writer

    def _put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """A few entries: what can be made beforehand is made for all of them step by step: that is faster."""
        names = [(entry.month, entry.document_id) for entry in entries]
        numbers = [_number(name) for name in names]
        held = [self._held(number, name) for number, name in zip(numbers, names, strict=True)]
        texts = [
            _text(entry, number) if other is None else None
            for entry, number, other in zip(entries, numbers, held, strict=True)
        ]
        return list(map(self._put_one, entries, names, held, texts))

    def _held(self, number: int | None, name: tuple[str, str]) -> Present | None:
        """Who has the name, as far as it was flushed."""
        if number is None or number in self._removed or not self._searcher.doc_freq("identity", number):
            return None
        return self._holder(number, name)

    def _put_one(self, entry: Entry, name: tuple[str, str], held: Present | None, text: str | None) -> Verdict:
        taken = self._unflushed.get(name) or held
        if taken is not None:
            return taken
        if text is None:
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
        for _, address in self._searcher.search(self._of_number(number), _SAME_NUMBER, count=False).hits:
            held = self._identity(address)
            if (held.month, held.document_id) == name:
                return Present(held.position, held.content_hash)
        return None


def _number(name: tuple[str, str]) -> int | None:
    """The identity number; None where the name holds a lone surrogate."""
    try:
        return identity_number(*name)
    except UnicodeEncodeError:
        return None


def _text(entry: Entry, number: int | None) -> str | None:
    """The document; None where a text of it holds a lone surrogate."""
    try:
        return None if number is None else document(entry, number)
    except UnicodeEncodeError:
        return None
