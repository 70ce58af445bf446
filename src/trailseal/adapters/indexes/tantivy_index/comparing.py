"""What a document is found by, held against what its entry says: for verification.

tantivy keeps no document's terms together, so they are asked for: a document is as it was put if it is among the
matches of every one of its terms at once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import tantivy
from tantivy import Occur

from trailseal.adapters.indexes.tantivy_index.schema import Identity, document, identity_number, read_identity
from trailseal.model.projection import Entry

MISSING: Final = "missing"
_SAME_NUMBER: Final = 64
_WORDS: Final = frozenset({"words", "bucket"})
_COLUMNS_ONLY: Final = frozenset({"offset", "partition"})
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Part = tuple[Occur, tantivy.Query]


class Comparison:
    """Compares entries with one state of the index."""

    def __init__(self, schema: tantivy.Schema, searcher: tantivy.Searcher) -> None:
        self._schema, self._searcher = schema, searcher

    def difference(self, entry: Entry) -> str | None:
        """See `EventIndex.compare`; of one entry."""
        number = identity_number(entry.month, entry.document_id)
        stored = self._stored(number, entry)
        if stored is None:
            return MISSING
        fields = _decode(document(entry, number))
        del fields["stored"]
        parts = {name: self._parts(name, value) for name, value in fields.items() if name not in _COLUMNS_ONLY}
        every = [part for some in parts.values() for part in some]
        if not self._holds(every, fields):
            return self._first_missing(parts, fields)
        expected = _identity(entry)
        for name in Identity.__struct_fields__:
            if getattr(stored, name) != getattr(expected, name):
                return name
        return None

    def _stored(self, number: int, entry: Entry) -> Identity | None:
        query = tantivy.Query.term_query(self._schema, "identity", number, index_option="basic")
        for _, address in self._searcher.search(query, _SAME_NUMBER, count=False).hits:
            held: Identity = read_identity(self._searcher.doc(address)["stored"][0])
            if (held.month, held.document_id) == (entry.month, entry.document_id):
                return held
        return None

    def _parts(self, name: str, value: Any) -> list[Part]:
        terms = value.split(" ") if name in _WORDS else value if isinstance(value, list) else [value]
        return [
            (Occur.Must, tantivy.Query.term_query(self._schema, name, term, index_option="basic"))
            for term in terms
            if term != "" or name not in _WORDS
        ]

    def _holds(self, parts: list[Part], fields: dict[str, Any]) -> bool:
        """Whether a document of these terms has the columns too."""
        query = tantivy.Query.boolean_query(parts)
        return all(
            any(
                value == fields[column]
                for value, _ in self._searcher.search(query, _SAME_NUMBER, count=False, order_by_field=column).hits
            )
            for column in sorted(_COLUMNS_ONLY)
        )

    def _first_missing(self, parts: dict[str, list[Part]], fields: dict[str, Any]) -> str:
        base = parts["identity"]
        for name, some in parts.items():
            if not self._searcher.search(tantivy.Query.boolean_query([*base, *some]), 1, count=False).hits:
                return name
        for column in sorted(_COLUMNS_ONLY):
            hits = self._searcher.search(
                tantivy.Query.boolean_query(base), _SAME_NUMBER, count=False, order_by_field=column
            ).hits
            if fields[column] not in {value for value, _ in hits}:
                return column
        return "terms"


def _identity(entry: Entry) -> Identity:
    projection = entry.projection
    return Identity(
        projection.tenant_id,
        projection.id,
        entry.month,
        entry.document_id,
        projection.position,
        projection.content_hash,
    )
