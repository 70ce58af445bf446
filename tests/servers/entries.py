"""Entries for tests, without formats and validation in between."""

from __future__ import annotations

from trailseal.model.identity import content_hash, document_id
from trailseal.model.projection import Entry, Projection
from trailseal.model.record import Headers, Position, Record
from trailseal.model.timestamps import month

NOVEMBER = 1_795_000_000_000_000
"""In 2026.11, microseconds since 1970."""
JANUARY = 1_768_500_000_000_000
"""In 2026.01."""


def entry(
    offset: int,
    *,
    event_id: str | None = None,
    tenant: str = "acme",
    at_us: int = NOVEMBER,
    value: bytes | None = b'{"action":"user.login"}',
    key: bytes | None = None,
    headers: Headers = (),
    source_ip: str | None = None,
    partition: int = 0,
    metadata: tuple[str, ...] = (),
) -> Entry:
    position = Position(1, partition, offset)
    name = event_id if event_id is not None else f"event-{partition}-{offset}"
    projection = Projection(
        position=position,
        timestamp_us=at_us,
        received_ms=1_000,
        tenant_id=tenant,
        id=name,
        actor="alice",
        action="user.login",
        outcome="success",
        resource=None,
        resource_type=None,
        source_ip=source_ip,
        request_id=None,
        metadata=metadata,
        words="",
        content_hash=content_hash(value, tenant, name, "native"),
        format="native",
    )
    record = Record(position, 1_000, key, value, headers)
    return Entry(projection, record, document_id(tenant, name), month(at_us))
