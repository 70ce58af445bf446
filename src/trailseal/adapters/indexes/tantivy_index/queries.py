"""A `Query` as a tantivy query. Texts in a `Query` are raw; here they become terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from typing import Final

import tantivy
from tantivy import FieldType, Occur

from trailseal.adapters.indexes.tantivy_index.buckets import Range
from trailseal.adapters.indexes.tantivy_index.schema import COLUMNS, OPTIONAL
from trailseal.model.query import Condition, Exact, Field, Match, Network, Prefix, Query, Word
from trailseal.model.terms import (
    filter_term,
    metadata_match_terms,
    metadata_prefix_term,
    metadata_present_prefix,
    prefix_term,
)

_RAW: Final = frozenset({Field.TENANT, Field.ID, Field.OUTCOME})
_REST: Final = r"(.|\n)*"
_MOST_CHARACTERS: Final = 200
"""Of a prefix that becomes an automaton: tantivy allows 1,000 states, and some characters need four."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@,+=#-]{1,200}")
"""Texts that tantivy's query language, the only place where it has ranges of texts, takes as they are."""
_LAST_CHARACTER: Final = "\U0010ffff"
_MOST_CLAUSES: Final = 64
_MAPPED: Final = ("::ffff:0.0.0.0", "::ffff:255.255.255.255")

Part = tuple[Occur, tantivy.Query]


class QueryBuilder:
    """Builds tantivy queries for one state of an index."""

    def __init__(self, index: tantivy.Index, schema: tantivy.Schema, searcher: tantivy.Searcher) -> None:
        self._index, self._schema, self._searcher = index, schema, searcher

    def build(self, query: Query) -> tantivy.Query | None:
        """Everything but the times; None where nothing can match."""
        if query.tenants is not None and not query.tenants:
            return None
        parts: list[Part] = []
        if query.tenants is not None:
            parts.append((Occur.Must, self.terms("tenant_id", query.tenants)))
        for condition in query.conditions:
            kind = Occur.MustNot if condition.negated else Occur.Must
            parts.append((kind, _any([self._match(condition, match) for match in condition.any_of])))
        parts += [(Occur.Must, self._word(word)) for word in query.words]
        if not any(kind is Occur.Must for kind, _ in parts):
            parts.append((Occur.Must, tantivy.Query.all_query()))
        return parts[0][1] if len(parts) == 1 else tantivy.Query.boolean_query(parts)

    def at_most(self, query: Query) -> int:
        """How many documents can match at most, from the frequencies of exact terms alone."""
        least = self._searcher.num_docs
        if query.tenants is not None:
            least = min(least, self._frequency("tenant_id", query.tenants))
        for condition in query.conditions:
            exact = [match for match in condition.any_of if isinstance(match, Exact)]
            if condition.negated or len(exact) != len(condition.any_of) or condition.field is Field.SOURCE_IP:
                continue
            terms = [term for match in exact for term in _exact_terms(condition, match.text)]
            least = min(least, self._frequency(condition.field, terms))
        for word in query.words:
            if not word.prefix:
                least = min(least, self._frequency("words", [word.text]))
        return least

    def terms(self, field: str, texts: Sequence[str]) -> tantivy.Query:
        """Documents with any of these exact terms."""
        if len(texts) > _MOST_CLAUSES:
            return tantivy.Query.term_set_query(self._schema, field, list(texts))
        return _any([tantivy.Query.term_query(self._schema, field, text, index_option="basic") for text in texts])

    def instant(self, timestamp_us: int) -> tantivy.Query:
        """Documents of one microsecond."""
        return tantivy.Query.term_query(self._schema, "timestamp", timestamp_us, index_option="basic")

    def times(self, terms: Sequence[str], edges: Sequence[Range]) -> tantivy.Query:
        """Documents in any of these buckets, or between the bounds of an edge.

        Edges are shorter than a second, so their instants are looked up one by one: a range over the column
        would scan it to the next match, to its end where there is none.
        """
        parts = [
            tantivy.Query.range_query(
                self._schema,
                "timestamp",
                FieldType.Integer,
                start,
                stop,
                include_upper=False,
                use_inverted_index=True,
            )
            for start, stop in edges
        ]
        return _any([self.terms("bucket", terms), *parts] if terms else parts)

    def _frequency(self, field: str, terms: Sequence[str]) -> int:
        return sum(self._searcher.doc_freq(field, term) for term in terms)

    def _match(self, condition: Condition, match: Match) -> tantivy.Query:
        field, key = condition.field, condition.key
        if isinstance(match, Network):
            return self._addresses(match.first, match.last)
        if isinstance(match, Exact):
            if field is Field.SOURCE_IP:
                return self._addresses(match.text, match.text)
            return self.terms(field, _exact_terms(condition, match.text))
        if isinstance(match, Prefix):
            return self._prefix(field, _first_part(condition, match.text))
        if key is not None:
            return self.terms("has", [metadata_present_prefix(key)])
        return self.terms("has", [field]) if field in OPTIONAL else tantivy.Query.all_query()

    def _word(self, word: Word) -> tantivy.Query:
        return self._prefix("words", word.text) if word.prefix else self.terms("words", [word.text])

    def _prefix(self, field: str, text: str) -> tantivy.Query:
        """Documents with a term that begins so.

        In the columns a range, which is looked at only where the rest of a query matches, so that a prefix most
        events have costs no more than others; elsewhere an automaton over the terms; for a long prefix, which
        tantivy takes no automaton for, the terms one by one.
        """
        if field in COLUMNS and _PLAIN.fullmatch(text):
            beyond = text + _LAST_CHARACTER
            within = self._index.parse_query(f"{field}:[{text} TO {beyond}}}", [field])
            return _any([within, self._automaton(field, beyond)])
        if len(text) <= _MOST_CHARACTERS:
            return self._automaton(field, text)
        found = [term for term, _ in self._searcher.terms_with_prefix(field, text)]
        return self.terms(field, found) if found else tantivy.Query.empty_query()

    def _automaton(self, field: str, text: str) -> tantivy.Query:
        return tantivy.Query.regex_query(self._schema, field, re.escape(text) + _REST)

    def _addresses(self, first: str, last: str) -> tantivy.Query:
        """Addresses of one family between two. tantivy keeps IPv4 among IPv6, at ``::ffff:0:0/96``."""
        try:
            low, high = ip_address(first), ip_address(last)
        except ValueError:
            return tantivy.Query.empty_query()
        found = self._between(first, last)
        if isinstance(low, IPv4Address) or not int(low) <= 0xFFFF << 32 <= int(high):
            return found
        return tantivy.Query.boolean_query([(Occur.Must, found), (Occur.MustNot, self._between(*_MAPPED))])

    def _between(self, first: str, last: str) -> tantivy.Query:
        if first == last:
            return tantivy.Query.term_query(self._schema, "source_ip", first, index_option="basic")
        return tantivy.Query.range_query(self._schema, "source_ip", FieldType.IpAddr, first, last)


def _any(queries: list[tantivy.Query]) -> tantivy.Query:
    if len(queries) == 1:
        return queries[0]
    return tantivy.Query.boolean_query([(Occur.Should, query) for query in queries])


def _first_part(condition: Condition, text: str) -> str:
    """What the terms of all values that begin with ``text`` begin with."""
    if condition.key is not None:
        return metadata_prefix_term(condition.key, text)
    return text if condition.field in _RAW else prefix_term(text)


def _exact_terms(condition: Condition, text: str) -> list[str]:
    if condition.key is not None:
        return metadata_match_terms(condition.key, text)
    return [text if condition.field in _RAW else filter_term(text)]
