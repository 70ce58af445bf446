"""A `Query` as a tantivy query. Texts in a `Query` are raw; here they become terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import tantivy
from tantivy import FieldType, Occur

from trailseal.model.query import Condition, Exact, Field, Match, Network, Prefix, Query, Word
from trailseal.model.terms import (
    filter_term,
    metadata_match_terms,
    metadata_prefix_term,
    metadata_present_prefix,
    prefix_term,
)

_RAW: Final = frozenset({Field.TENANT, Field.ID})
_OPTIONAL: Final = frozenset({Field.RESOURCE, Field.RESOURCE_TYPE, Field.REQUEST_ID, Field.SOURCE_IP})
_REST: Final = r"(.|\n)*"
_LONGEST_PREFIX: Final = 2_200
"""Bytes; no term of ours that has prefixes is longer, and an automaton over a longer one grows too large."""

Part = tuple[Occur, tantivy.Query]


class QueryBuilder:
    """Builds tantivy queries for one schema."""

    def __init__(self, schema: tantivy.Schema) -> None:
        self._schema = schema

    def build(self, query: Query) -> tantivy.Query | None:
        """Everything but the times; None where nothing can match."""
        if query.tenants is not None and not query.tenants:
            return None
        parts: list[Part] = []
        if query.tenants is not None:
            parts.append((Occur.Must, self.terms("tenant_id", query.tenants)))
        for condition in query.conditions:
            kind = Occur.MustNot if condition.negated else Occur.Must
            parts.append((kind, self._condition(condition)))
        parts += [(Occur.Must, self._word(word)) for word in query.words]
        if not any(kind is Occur.Must for kind, _ in parts):
            parts.append((Occur.Must, tantivy.Query.all_query()))
        return parts[0][1] if len(parts) == 1 else tantivy.Query.boolean_query(parts)

    def terms(self, field: str, texts: Sequence[str]) -> tantivy.Query:
        """Documents with any of these exact terms."""
        if len(texts) == 1:
            return tantivy.Query.term_query(self._schema, field, texts[0], index_option="basic")
        return tantivy.Query.term_set_query(self._schema, field, list(texts))

    def between(self, start_us: int, end_us: int) -> tantivy.Query:
        """Documents of [start_us, end_us)."""
        return tantivy.Query.range_query(
            self._schema, "timestamp", FieldType.Integer, start_us, end_us, include_upper=False
        )

    def prefix(self, field: str, text: str) -> tantivy.Query:
        """Documents with a term that begins so."""
        if len(text.encode("utf-8")) > _LONGEST_PREFIX:
            return tantivy.Query.empty_query()
        return tantivy.Query.regex_query(self._schema, field, re.escape(text) + _REST)

    def _condition(self, condition: Condition) -> tantivy.Query:
        found = [self._match(condition, match) for match in condition.any_of]
        if len(found) == 1:
            return found[0]
        return tantivy.Query.boolean_query([(Occur.Should, query) for query in found])

    def _match(self, condition: Condition, match: Match) -> tantivy.Query:
        field, key = condition.field, condition.key
        if field is Field.METADATA and key is not None:
            return self._metadata(key, match)
        if isinstance(match, Network):
            return self._addresses(match.first, match.last)
        if isinstance(match, Exact):
            if field is Field.SOURCE_IP:
                return self._addresses(match.text, match.text)
            return self.terms(field, [match.text if field in _RAW else filter_term(match.text)])
        if isinstance(match, Prefix):
            return self.prefix(field, match.text if field in _RAW else prefix_term(match.text))
        return self.terms("has", [field.value]) if field in _OPTIONAL else tantivy.Query.all_query()

    def _metadata(self, key: str, match: Match) -> tantivy.Query:
        if isinstance(match, Exact):
            return self.terms("metadata", metadata_match_terms(key, match.text))
        if isinstance(match, Prefix):
            return self.prefix("metadata", metadata_prefix_term(key, match.text))
        return self.prefix("metadata", metadata_present_prefix(key))

    def _addresses(self, first: str, last: str) -> tantivy.Query:
        try:
            return tantivy.Query.range_query(self._schema, "source_ip", FieldType.IpAddr, first, last)
        except ValueError:
            return tantivy.Query.empty_query()

    def _word(self, word: Word) -> tantivy.Query:
        return self.prefix("words", word.text) if word.prefix else self.terms("words", [word.text])
