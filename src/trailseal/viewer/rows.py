"""What the table shows of each event."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

import msgspec

from trailseal.formats.rendering import RenderedEvent
from trailseal.viewer.links import Address

_LONGEST_LINKED = 1_024


class Page(msgspec.Struct, frozen=True):
    """A page as the query service answers it."""

    events: list[RenderedEvent]
    next_cursor: str | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One value and where a click on it leads.

    Attributes:
        text: what is shown.
        href: this page narrowed to the value, or None where it is too long for an address.
        note: what else is known, in smaller type.
    """

    text: str
    href: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One event.

    Attributes:
        machine_time: RFC 3339 in UTC.
        date: its day, UTC.
        time: its time of day, UTC.
        fraction: what goes beyond the second, with its dot, or nothing.
        json_href: the event in the API.
    """

    machine_time: str
    date: str
    time: str
    fraction: str
    tenant: Cell
    actor: Cell
    action: Cell
    resource: Cell | None
    outcome: Cell
    source: Cell | None
    json_href: str


def read_page(body: bytes) -> Page:
    """The page behind an answer's body."""
    return msgspec.json.decode(body, type=Page)


def row(event: RenderedEvent, here: Address) -> Row:
    """The event as a row of the page at ``here``."""
    date, _, clock = event.timestamp.removesuffix("Z").partition("T")
    time, dot, fraction = clock.partition(".")
    asked = {"tenant_id": event.tenant_id, "timestamp": event.timestamp, "record": "1"}
    return Row(
        machine_time=event.timestamp,
        date=date,
        time=time,
        fraction=dot + fraction,
        tenant=_cell(here, "tenant_id", event.tenant_id),
        actor=_cell(here, "actor", event.actor.id, event.actor.name),
        action=_cell(here, "action", event.action),
        resource=_resource(event, here),
        outcome=_cell(here, "outcome", event.outcome, event.reason),
        source=_source(event, here),
        json_href=f"/events/{quote(event.id, safe='')}?{urlencode(asked)}",
    )


def _resource(event: RenderedEvent, here: Address) -> Cell | None:
    resource = event.resource
    return None if resource is None else _cell(here, "resource", resource.path, resource.name)


def _source(event: RenderedEvent, here: Address) -> Cell | None:
    if event.context is None:
        return None
    if event.context.source_ip is not None:
        return _cell(here, "source_ip", event.context.source_ip)
    return None if event.context.source is None else Cell(event.context.source)


def _cell(here: Address, name: str, text: str, note: str | None = None) -> Cell:
    href = str(here.filtered(name, text)) if text and len(text) <= _LONGEST_LINKED else None
    return Cell(text, href, None if note == text else note)
