"""What documents are found by, held against what their entries say: for verification.

tantivy keeps no document's terms together, so it is asked from the other side. A term that many of the entries have
is looked up once, and must find all of them; what is left of each entry's terms is looked up as one question, which
must find its document. So nothing that should be there is missing. That nothing is there beside it shows in
numbers: the terms an index holds of a stretch of offsets (`held`) are as many as its entries have (`due`). Where
they are not, `beside` looks for who has more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import tantivy
from tantivy import FieldType, Occur

from trailseal.adapters.indexes.tantivy_index.schema import (
    PARTITION_BITS,
    Identity,
    block_term,
    counted,
    identity_number,
    identity_of,
    read_identity,
    terms_of,
)
from trailseal.model.projection import Entry

MISSING: Final = "missing"
_SAME_NUMBER: Final = 64
_COMMON: Final = 16
"""Entries of one call that share a term, from which on it is looked up for all of them at once: a look-up costs as
much as asking some tens of entries for one more term each."""
_TEXTS: Final = (
    "words",
    "metadata",
    "has",
    "bucket",
    "block",
    "id",
    "request_id",
    "tenant_id",
    "actor",
    "action",
    "outcome",
    "resource",
    "resource_type",
)
_NUMBERS: Final = ("timestamp", "source_ip", "offset", "partition")
_COLUMNS: Final = ("timestamp", "offset", "partition")

Address = tuple[int, int]
Term = tuple[str, str | int]
"""A field and what it is found by."""


class _Found:
    """An entry with its document.

    Attributes:
        place: among the entries.
        expected: what its document has to say of itself.
        terms: what it has to be found by.
        address: of the document.
        key: the same, as something that sets hold.
        rare: the terms that few other entries have.
    """

    __slots__ = ("address", "expected", "key", "place", "rare", "terms")

    def __init__(self, place: int, expected: Identity, terms: list[Term], address: tantivy.DocAddress) -> None:
        self.place, self.expected, self.terms, self.address = place, expected, terms, address
        self.key: Address = (address.segment_ord, address.doc)
        self.rare: list[Term] = []


class Comparison:
    """Compares entries with one state of the index."""

    def __init__(self, schema: tantivy.Schema, searcher: tantivy.Searcher) -> None:
        self._schema, self._searcher = schema, searcher

    def differences(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.compare`."""
        told: list[str | None] = [None] * len(entries)
        found = list(self._documents(entries, told))
        self._columns(found, entries, told)
        self._common(found, entries, told)
        for one in found:
            if told[one.place] is None:
                told[one.place] = self._rare_missing(one)
        return told

    def held(self, log: int, partition: int, start: int, stop: int) -> Counter[str]:
        """How many terms and values the documents of these offsets have, by field."""
        within = self._stretch(log, partition, start, stop)
        count: Counter[str] = Counter()
        for name in _TEXTS:
            count[name] = sum(number for _, number in self._searcher.terms_with_prefix(name, "", within))
        asked = {name: {"value_count": {"field": name}} for name in _NUMBERS}
        for name, told in self._searcher.aggregate(within, asked).items():
            count[name] = int(told["value"])
        return +count

    def beside(self, entries: Sequence[Entry]) -> list[str | None]:
        """For each entry of one partition a field by whose terms its document is found and should not be."""
        told: list[str | None] = [None] * len(entries)
        if not entries:
            return told
        place_of = {entry.projection.position.offset: place for place, entry in enumerate(entries)}
        terms = [frozenset(terms_of(entry)) for entry in entries]
        expected = Counter(term for some in terms for term in some)
        at = entries[0].projection.position
        within = self._stretch(at.log, at.partition, min(place_of), max(place_of) + 1)
        for name in _TEXTS:
            for text, number in self._searcher.terms_with_prefix(name, "", within):
                if number <= expected[name, text]:
                    continue
                query = tantivy.Query.boolean_query([(Occur.Must, self._term(name, text)), (Occur.Must, within)])
                addresses = [address for _, address in self._searcher.search(query, number, count=False).hits]
                for offset in self._searcher.fast_field_values("offset", addresses):
                    place = place_of.get(int(offset or 0))
                    if place is not None and (name, text) not in terms[place]:
                        told[place] = told[place] or name
        return told

    def _documents(self, entries: Sequence[Entry], told: list[str | None]) -> Iterator[_Found]:
        """Each entry's document, found by its name; entries without one are told so."""
        numbers = [identity_number(entry.month, entry.document_id) for entry in entries]
        held: defaultdict[tuple[str, str], list[tuple[Identity, tantivy.DocAddress]]] = defaultdict(list)
        if numbers:
            named = tantivy.Query.term_set_query(self._schema, "identity", numbers)
            for _, address in self._searcher.search(named, len(numbers) * _SAME_NUMBER, count=False).hits:
                one: Identity = read_identity(self._searcher.doc(address)["stored"][0])
                held[one.month, one.document_id].append((one, address))
        for place, entry in enumerate(entries):
            known = held.get((entry.month, entry.document_id))
            if not known:
                told[place] = MISSING
                continue
            expected = identity_of(entry)
            # two of one name: the second is for `EventIndex.offsets` to tell
            identity, address = next((one for one in known if one[0] == expected), known[0])
            told[place] = _first_difference(identity, expected)
            yield _Found(place, expected, list(terms_of(entry)), address)

    def _columns(self, found: list[_Found], entries: Sequence[Entry], told: list[str | None]) -> None:
        addresses = [one.address for one in found]
        for name in _COLUMNS if found else ():
            for one, value in zip(found, self._searcher.fast_field_values(name, addresses), strict=True):
                if value != _column(entries[one.place], name):
                    told[one.place] = name

    def _blocks(self, entries: Sequence[Entry]) -> tuple[tantivy.Query, int]:
        """What finds every document of the blocks that these entries are in, and how many those are."""
        positions = (entry.projection.position for entry in entries)
        blocks = sorted({block_term(at.log, at.partition, at.offset) for at in positions})
        most = sum(self._searcher.doc_freq("block", block) for block in blocks)
        each = [(Occur.Should, self._term("block", block)) for block in blocks]
        return each[0][1] if len(each) == 1 else tantivy.Query.boolean_query(each), max(most, 1)

    def _common(self, found: Sequence[_Found], entries: Sequence[Entry], told: list[str | None]) -> None:
        """Look up each term that many share, and leave to every entry the others."""
        times = Counter(chain.from_iterable(one.terms for one in found))
        common = {term for term, number in times.items() if number >= _COMMON}
        sharing: defaultdict[Term, list[_Found]] = defaultdict(list)
        for one in found:
            for term in common.intersection(one.terms):
                sharing[term].append(one)
            one.rare = [term for term in one.terms if term not in common]
        within, most = self._blocks(entries)
        for term, some in sharing.items():
            hits = self._matches([term], within, most)
            if hits.issuperset([one.key for one in some]):
                continue
            for one in some:
                if told[one.place] is None and one.key not in hits:
                    told[one.place] = term[0]

    def _matches(self, terms: Sequence[Term], within: tantivy.Query | None, most: int) -> set[Address]:
        parts = [(Occur.Must, self._term(*term)) for term in terms]
        if within is not None:
            parts.append((Occur.Must, within))
        query = tantivy.Query.boolean_query(parts)
        hits = self._searcher.search(query, most, count=False, order_by_field="offset").hits  # no scores
        return {(address.segment_ord, address.doc) for _, address in hits}

    def _rare_missing(self, one: _Found) -> str | None:
        """The first field of whose terms the document lacks one."""
        number = ("identity", identity_number(one.expected.month, one.expected.document_id))
        if one.key in self._matches([number, *one.rare], None, _SAME_NUMBER):
            return None
        lacking = (term for term in one.rare if one.key not in self._matches([number, term], None, _SAME_NUMBER))
        return next((name for name, _ in lacking), "terms")

    def _term(self, name: str, text: str | int) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, name, text, index_option="basic")

    def _stretch(self, log: int, partition: int, start: int, stop: int) -> tantivy.Query:
        number = log << PARTITION_BITS | partition
        parts = (("offset", start, stop - 1), ("partition", number, number))
        return tantivy.Query.boolean_query(
            [
                (Occur.Must, tantivy.Query.range_query(self._schema, name, FieldType.Unsigned, first, last))
                for name, first, last in parts
            ]
        )


def due(entries: Sequence[Entry]) -> Counter[str]:
    """See `EventIndex.due`."""
    count = counted(entries)
    count["offset"] = count["partition"] = len(entries)
    del count["identity"]
    return +count


def _first_difference(held: Identity, expected: Identity) -> str | None:
    if held == expected:
        return None
    return next(name for name in Identity.__struct_fields__ if getattr(held, name) != getattr(expected, name))


def _column(entry: Entry, name: str) -> int:
    position = entry.projection.position
    if name == "timestamp":
        return entry.projection.timestamp_us
    return position.offset if name == "offset" else position.log << PARTITION_BITS | position.partition
