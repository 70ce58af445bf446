"""Questions as Elasticsearch filters: nothing is scored, everything is exact terms, ranges and prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from trailseal.adapters.indexes.elasticsearch.windows import Window
from trailseal.model.addresses import canonical_address
from trailseal.model.projection import SortKey
from trailseal.model.query import Condition, Exact, Field, Match, Network, Prefix, Query
from trailseal.model.query import Present as PresentMatch
from trailseal.model.terms import (
    filter_term,
    metadata_match_terms,
    metadata_prefix_term,
    metadata_present_prefix,
    prefix_term,
)

Clause = dict[str, Any]
EVER: Final = Window(None, None)
NOTHING: Final[Clause] = {"match_none": {}}
NOT_ERASED: Final[Clause] = {"term": {"erased": True}}
_RAW: Final = frozenset({Field.TENANT, Field.ID, Field.OUTCOME})
_MAPPED_FIRST: Final = int(IPv6Address("::ffff:0:0"))
_MAPPED_LAST: Final = int(IPv6Address("::ffff:ffff:ffff"))


def query_clause(query: Query, after: SortKey | None = None, window: Window = EVER) -> Clause:
    """The whole question as one ``bool``.

    Args:
        query: the question.
        after: where the page starts, so that only times from there on are looked at.
        window: the part of time to look at.
    """
    demanded = [clause for condition in query.conditions if not condition.negated for clause in _any_of(condition)]
    refused = [NOT_ERASED]
    for condition in query.conditions:
        if condition.negated:
            refused.extend(_alternatives(condition))
    if query.tenants is not None:
        demanded.append({"terms": {"tenant_id": list(query.tenants)}})
    demanded.extend({"prefix" if word.prefix else "term": {"words": word.text}} for word in query.words)
    times = _time_range(query, after, window)
    if times:
        demanded.append({"range": {"timestamp": times}})
    return {"bool": {"filter": demanded, "must_not": refused}}


def _time_range(query: Query, after: SortKey | None, window: Window) -> dict[str, int]:
    """One range for all three: of two bounds on one side Elasticsearch would silently take the later one."""
    starts = [query.time_from_us, window.start]
    stops = [query.time_to_us, window.stop]
    if after is not None and query.order == "asc":
        starts.append(after.timestamp_us)
    if after is not None and query.order == "desc":
        stops.append(after.timestamp_us + 1)
    times = {}
    if any(start is not None for start in starts):
        times["gte"] = max(start for start in starts if start is not None)
    if any(stop is not None for stop in stops):
        times["lt"] = min(stop for stop in stops if stop is not None)
    return times


def _any_of(condition: Condition) -> list[Clause]:
    alternatives = _alternatives(condition)
    if len(alternatives) == 1:
        return alternatives
    return [{"bool": {"should": alternatives, "minimum_should_match": 1}}]


def _alternatives(condition: Condition) -> list[Clause]:
    """One clause per match, with exact texts together in one ``terms``; never empty."""
    if condition.field is Field.METADATA:
        clauses = _metadata(condition.key or "", condition.any_of)
    elif condition.field is Field.SOURCE_IP:
        clauses = _addresses(condition.any_of)
    else:
        clauses = _texts(condition.field, condition.any_of)
    return clauses or [NOTHING]


def _exact_texts(matches: Iterable[Match]) -> list[str]:
    return [match.text for match in matches if isinstance(match, Exact)]


def _texts(field: Field, matches: Iterable[Match]) -> list[Clause]:
    name = field.value
    exact: Callable[[str], str] = _as_is if field in _RAW else filter_term
    begins: Callable[[str], str] = _as_is if field in _RAW else prefix_term
    terms = [exact(text) for text in _exact_texts(matches)]
    clauses: list[Clause] = [{"terms": {name: terms}}] if terms else []
    for match in matches:
        if isinstance(match, Prefix):
            clauses.append({"prefix": {name: begins(match.text)}})
        elif isinstance(match, PresentMatch):
            clauses.append({"exists": {"field": name}})
    return clauses


def _as_is(text: str) -> str:
    return text


def _metadata(key: str, matches: Iterable[Match]) -> list[Clause]:
    terms = [term for text in _exact_texts(matches) for term in metadata_match_terms(key, text)]
    clauses: list[Clause] = [{"terms": {"metadata": terms}}] if terms else []
    for match in matches:
        if isinstance(match, Prefix):
            clauses.append({"prefix": {"metadata": metadata_prefix_term(key, match.text)}})
        elif isinstance(match, PresentMatch):
            clauses.append({"prefix": {"metadata": metadata_present_prefix(key)}})
    return clauses


def _addresses(matches: Iterable[Match]) -> list[Clause]:
    clauses: list[Clause] = []
    terms = [address for text in _exact_texts(matches) if (address := canonical_address(text)) is not None]
    if terms:
        clauses.append({"terms": {"source_ip": terms}})
    for match in matches:
        if isinstance(match, Network):
            clauses.append(_network(match))
        elif isinstance(match, PresentMatch):
            clauses.append({"exists": {"field": "source_ip"}})
    return clauses


def _network(match: Network) -> Clause:
    """A range of addresses of one family, though Elasticsearch keeps IPv4 inside IPv6 (``::ffff:0:0/96``)."""
    inside = {"range": {"source_ip": {"gte": match.first, "lte": match.last}}}
    first, last = ip_address(match.first), ip_address(match.last)
    if isinstance(first, IPv4Address) or int(first) > _MAPPED_LAST or int(last) < _MAPPED_FIRST:
        return inside
    mapped = {"range": {"source_ip": {"gte": "0.0.0.0", "lte": "255.255.255.255"}}}  # noqa: S104 - a range, no listener
    return {"bool": {"filter": [inside], "must_not": [mapped]}}
