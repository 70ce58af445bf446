"""What a `Query` means, said as plainly as possible over events in a list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from trailseal.model.event import Event
from trailseal.model.limits import MAX_FILTERABLE_BYTES
from trailseal.model.projection import Entry, SortKey
from trailseal.model.query import Condition, Exact, Field, Match, Network, Prefix, Query


@dataclass(frozen=True)
class Known:
    """An event beside the entry that was put for it."""

    event: Event
    entry: Entry

    @property
    def key(self) -> SortKey:
        return self.entry.projection.sort_key


def answer(
    query: Query, known: Sequence[Known], after: SortKey | None = None, limit: int | None = None
) -> list[Known]:
    newest_first = query.order == "desc"
    found = sorted(
        (each for each in known if matches(query, each)), key=lambda each: each.key, reverse=newest_first
    )
    if after is not None:
        found = [each for each in found if (each.key < after if newest_first else each.key > after)]
    return found if limit is None else found[:limit]


def matches(query: Query, known: Known) -> bool:
    event = known.event
    if query.tenants is not None and event.tenant_id not in query.tenants:
        return False
    if query.time_from_us is not None and event.timestamp_us < query.time_from_us:
        return False
    if query.time_to_us is not None and event.timestamp_us >= query.time_to_us:
        return False
    words = known.entry.projection.words.split(" ")
    for word in query.words:
        if not any(each.startswith(word.text) if word.prefix else each == word.text for each in words):
            return False
    return all(_holds(condition, event) != condition.negated for condition in query.conditions)


def _holds(condition: Condition, event: Event) -> bool:
    values = list(_values(condition, event))
    return any(_is(match, value) for match in condition.any_of for value in values)


def _values(condition: Condition, event: Event) -> Iterator[Any]:
    resource = event.resource
    simple = {
        Field.ACTOR: event.actor.id,
        Field.ACTION: event.action,
        Field.TENANT: event.tenant_id,
        Field.OUTCOME: event.outcome,
        Field.ID: event.id,
        Field.REQUEST_ID: event.context.request_id,
        Field.SOURCE_IP: event.context.source_ip,
        Field.RESOURCE: resource.path if resource else None,
        Field.RESOURCE_TYPE: resource.type if resource else None,
    }
    if condition.field is Field.METADATA:
        yield from _at_path(event.metadata, condition.key or "")
    elif simple[condition.field] is not None:
        yield simple[condition.field]


def _at_path(value: Any, path: str, here: str = "") -> Iterator[Any]:
    """Scalars under the dotted path; a null is `...`, because None means "not there" elsewhere."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _at_path(child, path, f"{here}.{key}" if here else key)
    elif isinstance(value, list):
        for child in value:
            yield from _at_path(child, path, here)
    elif here == path:
        yield ... if value is None else value


def _is(match: Match, value: Any) -> bool:
    if isinstance(match, Network):
        address, first, last = (_number(text) for text in (value, match.first, match.last))
        return address[0] == first[0] and first[1] <= address[1] <= last[1]
    if isinstance(match, Exact):
        return match.text == value if isinstance(value, str) else _same_scalar(match.text, value)
    if isinstance(match, Prefix):
        return isinstance(value, str) and value.startswith(match.text) and _has_prefixes(value)
    return True


def _has_prefixes(value: str) -> bool:
    """Values over the limit are kept, but found whole or not at all."""
    return len(value.encode()) <= MAX_FILTERABLE_BYTES


def _number(text: str) -> tuple[int, int]:
    address = ip_address(text)
    return address.version, int(address)


def _same_scalar(text: str, value: Any) -> bool:
    try:
        spelled = json.loads(text)
    except ValueError:
        return False
    if value is ...:
        return spelled is None
    if isinstance(value, bool) or isinstance(spelled, bool):
        return spelled is value
    return isinstance(spelled, int | float) and spelled == value
