"""Entries for contract suites, and a shelf that hands their records out as a log would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from conformance.query_oracle import Known
from trailseal.model.event import Actor, Context, Event, Outcome, Resource
from trailseal.model.projection import Entry, entry
from trailseal.model.record import Headers, Position, Record
from trailseal.model.words import words_of

NOVEMBER = 1_795_000_000_000_000
"""In 2026.11, microseconds since 1970."""
DAY = 86_400_000_000


class Shelf:
    """Records by position: the log that an embedded index renders from."""

    def __init__(self) -> None:
        self._records: dict[Position, Record] = {}

    def keep(self, entries: Iterable[Entry]) -> None:
        self._records.update((each.record.position, each.record) for each in entries)

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        return [self._records.get(position) for position in positions]


def known(
    offset: int,
    *,
    event_id: str | None = None,
    tenant: str = "acme",
    at_us: int = NOVEMBER,
    actor: str = "alice",
    action: str = "user.login",
    outcome: Outcome = "success",
    resource: Resource | None = None,
    source_ip: str | None = None,
    request_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    value: bytes | None = None,
    key: bytes | None = None,
    headers: Headers = (),
    partition: int = 0,
    log: int = 1,
) -> Known:
    event = Event(
        id=event_id if event_id is not None else f"event-{partition}-{offset}",
        timestamp_us=at_us,
        tenant_id=tenant,
        actor=Actor(actor),
        action=action,
        resource=resource,
        outcome=outcome,
        context=Context(source_ip=source_ip, request_id=request_id),
        metadata=metadata or {},
    )
    body = msgspec.json.encode({"action": action, "n": offset}) if value is None else value
    record = Record(Position(log, partition, offset), 1_795_000_000_000 + offset, key, body, headers)
    words = words_of([actor, action, *_strings(metadata)])
    return Known(event, entry(record, event, "native", words))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _strings(child)
