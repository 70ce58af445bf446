"""Months that were dropped: what an expiry would take, and what came for such a month afterwards.

Which months are dropped, and by which order, stands in small documents of the ledger, written by whoever carries
the first order of a month out.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from trailseal.errors import Fenced
from trailseal.event_consumer.leftovers import Leftovers
from trailseal.model.event import RESERVED_TENANT, Event
from trailseal.model.outcomes import Head
from trailseal.model.query import Query
from trailseal.model.record import Position, Record
from trailseal.model.timestamps import month, parse_rfc3339
from trailseal.ports.index import EventIndex, every_hit
from trailseal.ports.ledger import Ledger, damaged

MONTH: Final = re.compile(r"(\d{4})\.(0[1-9]|1[0-2])", re.ASCII)
"""A month as documents and orders name it."""
_PREFIX: Final = "retention/"


@dataclass(slots=True)
class Expiry:
    """The offsets of one partition that an expiry of one month would name.

    Attributes:
        head: of the partition, when it was made.
        month: ``YYYY.MM``.
        events: of the month.
        duplicates: of those events.
        late: that came after the month was dropped, that no order names, and that the log still holds.
        contradicted: offsets that may not be named all the same, and why.
    """

    head: Head
    month: str
    events: set[int] = field(default_factory=set)
    duplicates: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    contradicted: dict[int, str] = field(default_factory=dict)

    def is_of(self, record: Record, event: Event | None) -> bool:
        """Whether the record's event is of the month."""
        del record
        return event is not None and month(event.timestamp_us) == self.month

    def leave_out(self, contradicted: Mapping[int, str]) -> None:
        """Not to be named, though index or rows say that they are of the month."""
        self.contradicted |= contradicted
        for some in (self.events, self.duplicates, self.late):
            some.difference_update(contradicted)

    @property
    def offsets(self) -> list[int]:
        """Those that are dropped with the month, ascending; what is late has to be erased."""
        return sorted(self.events | self.duplicates)


def select_before(
    index: EventIndex, ledger: Ledger, heads: Sequence[Head], before: str, leftovers: Sequence[Leftovers]
) -> list[Expiry]:
    """Find every event of the months before one, by month and partition; nothing is changed.

    Trailseal's own events are left out: they say what was removed, and why.

    Args:
        index: searched from its oldest event on.
        ledger: whose rows lead to duplicates.
        heads: of the partitions.
        before: ``YYYY.MM``, the first month that stays.
        leftovers: what came late, of the same heads.

    Raises:
        Unavailable: an engine does not answer.
    """
    known = {(head.log, head.partition): head for head in heads}
    found: dict[tuple[str, int, int], Expiry] = {}
    index.refresh()
    query = Query(time_to_us=parse_rfc3339(f"{before.replace('.', '-')}-01T00:00:00Z"), order="asc")
    for key in (hit.key for hit in every_hit(index, query)):
        head = known.get((key.position.log, key.position.partition))
        if head is not None and key.position.offset < head.next and key.tenant_id != RESERVED_TENANT:
            place = month(key.timestamp_us), head.log, head.partition
            found.setdefault(place, Expiry(head, place[0])).events.add(key.position.offset)
    expiring: dict[tuple[int, int], list[Expiry]] = {}
    for one in found.values():
        expiring.setdefault((one.head.log, one.head.partition), []).append(one)
    for head in heads if expiring else ():
        for row in ledger.outcomes(head.log, head.partition, 0, head.next, ("duplicate",)):
            name = None if row.of is None else _month_of(row.of, expiring)
            if name is not None:
                place = name, head.log, head.partition
                found.setdefault(place, Expiry(head, name)).duplicates.add(row.position.offset)
    for head, name, offset in _late(leftovers):
        if name < before:
            found.setdefault((name, head.log, head.partition), Expiry(head, name)).late.add(offset)
    return [found[place] for place in sorted(found)]


def _month_of(event: Position, expiring: Mapping[tuple[int, int], Sequence[Expiry]]) -> str | None:
    """The month that the event is dropped with; None where it stays."""
    months = expiring.get((event.log, event.partition), ())
    return next((one.month for one in months if event.offset in one.events), None)


def _late(leftovers: Sequence[Leftovers]) -> Iterator[tuple[Head, str, int]]:
    """Head, month and offset of each event that came late."""
    for one in leftovers:
        yield from ((one.head, name, offset) for offset, name in one.late.items())


class DroppedMonths:
    """The dropped months and their orders, in memory. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, Position] = {}

    def load(self, ledger: Ledger) -> None:
        """Read them all.

        Raises:
            Unavailable: the ledger does not answer.
            IntegrityViolation: one is damaged.
        """
        stored = ledger.documents(_PREFIX)
        orders = {name.removeprefix(_PREFIX): _position(name, document.body) for name, document in stored.items()}
        with self._lock:
            self._orders = orders

    def drop(self, ledger: Ledger, name: str, order: Position) -> None:
        """Note that an order dropped the month; the first one stays.

        Raises:
            Unavailable: the ledger does not answer.
        """
        with suppress(Fenced):
            ledger.put_document(f"{_PREFIX}{name}", str(order).encode(), None)
        self.load(ledger)

    def order_of(self, name: str) -> Position | None:
        """The order that dropped the month; None where it was not dropped, as far as this process knows."""
        return self._orders.get(name)


def order_of(ledger: Ledger, name: str) -> Position | None:
    """The order that dropped the month, whoever carried it out.

    Raises:
        Unavailable: the ledger does not answer.
        IntegrityViolation: the note of it is damaged.
    """
    document = f"{_PREFIX}{name}"
    stored = ledger.document(document)
    return None if stored is None else _position(document, stored.body)


def _position(name: str, body: bytes) -> Position:
    try:
        log, partition, offset = (int(number) for number in body.split(b"/"))
    except ValueError as error:
        raise damaged(name) from error
    return Position(log, partition, offset)
