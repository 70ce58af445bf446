"""Stored documents against what their entries say, for verification: the next come while these are compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.documents import difference
from trailseal.errors import Unavailable
from trailseal.model.projection import Entry

_AT_ONCE: Final = 1_000
_BYTES_AT_ONCE: Final = 4 << 20
_UNDER_WAY: Final = 2
_WHAT: Final = "a look at documents"
_NO_INDEX: Final = "index_not_found_exception"


class _Cause(msgspec.Struct, frozen=True, gc=False):
    type: str


class _Document(msgspec.Struct, frozen=True, gc=False):
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw())
    error: _Cause | None = None


class _Documents(msgspec.Struct, frozen=True, gc=False):
    docs: list[_Document]


_DOCUMENTS: Final = msgspec.json.Decoder(_Documents)


def compared(connection: Connection, entries: Sequence[Entry]) -> list[str | None]:
    """See `EventIndex.compare`.

    Raises:
        Unavailable: not every document could be looked at.
    """
    found: list[str | None] = []
    under_way: deque[tuple[Sequence[Entry], Future[list[_Document]]]] = deque()
    with ThreadPoolExecutor(_UNDER_WAY, thread_name_prefix="elasticsearch-look") as pool:

        def settle() -> None:
            some, answer = under_way.popleft()
            for entry, document in zip(some, answer.result(), strict=True):
                found.append(difference(entry, bytes(document.source)))

        for some in _portions(entries):
            if len(under_way) == _UNDER_WAY:
                settle()
            under_way.append((some, pool.submit(_look, connection, some)))
        while under_way:
            settle()
    return found


def _portions(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """So many at once that their answer stays small: a document is about as long as its record."""
    begin, size = 0, 0
    for place, entry in enumerate(entries):
        size += len(entry.record.value or b"")
        if place > begin and (place - begin >= _AT_ONCE or size > _BYTES_AT_ONCE):
            yield entries[begin:place]
            begin, size = place, len(entry.record.value or b"")
    if begin < len(entries):
        yield entries[begin:]


def _look(connection: Connection, entries: Sequence[Entry]) -> list[_Document]:
    wanted = [
        {"_index": mapping.alias_name(connection.prefix, entry.month), "_id": entry.document_id}
        for entry in entries
    ]
    # Without a filter_path, which would have Elasticsearch read and write each document anew.
    answer = connection.ask(
        "/_mget",
        msgspec.json.encode({"docs": wanted}),
        what=_WHAT,
        allow=(),
        timeout_s=connection.options.request_timeout_s,
    )
    docs = decoded(_DOCUMENTS, answer, _WHAT).docs
    if len(docs) != len(entries):
        raise Unavailable("Elasticsearch answered for another number of documents than asked; ask again")
    for document in docs:
        if document.error is not None and document.error.type != _NO_INDEX:
            raise Unavailable(f"Elasticsearch cannot show a document now ({document.error.type}); ask again")
    return docs
