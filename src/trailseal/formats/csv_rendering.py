"""Events as rows of a table (RFC 4180): fixed columns, and no cell that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from typing import Any, Final

import msgspec

from trailseal.formats.rendering import RenderedEvent, rendered
from trailseal.model.event import Context, Resource
from trailseal.model.projection import Hit

COLUMNS: Final = (
    "timestamp",
    "received_at",
    "tenant_id",
    "id",
    "actor_id",
    "actor_type",
    "actor_name",
    "action",
    "resource_type",
    "resource_id",
    "resource_name",
    "outcome",
    "reason",
    "source_ip",
    "source",
    "user_agent",
    "request_id",
    "trace_id",
    "session_id",
    "changes",
    "metadata",
    "format",
    "position",
    "flags",
)
CSV_HEADER: Final = (",".join(COLUMNS) + "\r\n").encode()
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes spreadsheets run a cell (OWASP, "CSV injection"); such a cell gets an apostrophe in front."""
_NO_RESOURCE: Final = Resource("")
_NO_CONTEXT: Final = Context()


def render_csv(hits: Iterable[Hit]) -> bytes:
    """Found events as rows, made from their records.

    ``changes`` and ``metadata`` are JSON; what an event does not have is an empty cell. A cell that begins like a
    formula begins with an apostrophe instead.

    Raises:
        IntegrityViolation: the index leads to a record that is no event.
    """
    out = StringIO()
    csv.writer(out).writerows(_cells(rendered(hit)) for hit in hits)
    return out.getvalue().encode()


def _cells(event: RenderedEvent) -> list[str | None]:
    actor, resource, context = event.actor, event.resource or _NO_RESOURCE, event.context or _NO_CONTEXT
    cells = [
        event.timestamp,
        event.received_at,
        event.tenant_id,
        event.id,
        actor.id,
        actor.type,
        actor.name,
        event.action,
        resource.type,
        resource.id,
        resource.name,
        event.outcome,
        event.reason,
        context.source_ip,
        context.source,
        context.user_agent,
        context.request_id,
        context.trace_id,
        context.session_id,
        _json(event.changes),
        _json(event.metadata),
        event.format,
        event.position,
        " ".join(event.flags),
    ]
    return [f"'{cell}" if cell and cell.startswith(_FORMULA) else cell for cell in cells]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() if value else ""
