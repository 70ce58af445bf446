"""What an erasure would take: the records of one subject, wherever the log and its books hold them.

The index finds the events, the rows their duplicates, the kept records the dead letters. A retry of an event that
was erased before, or an event of a dropped month, stays out of the index, and its record is in the log all the
same, in Kafka until its retention has passed: the rows lead to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice

from trailseal.errors import InvalidEvent, UsageError
from trailseal.formats import decode_record
from trailseal.model.event import RESERVED_TENANT, Event
from trailseal.model.outcomes import REMOVED, Head
from trailseal.model.projection import Hit
from trailseal.model.query import Condition, Exact, Field, Query
from trailseal.model.record import HEADER_TENANT, Position, Record
from trailseal.model.terms import filter_term
from trailseal.ports.index import EventIndex, every_hit
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose records; exactly one of ``actor`` and ``event_ids`` is given.

    Attributes:
        tenant_id: of the records.
        actor: the actor's id.
        event_ids: the ids of single events.
    """

    tenant_id: str
    actor: str | None = None
    event_ids: frozenset[str] = frozenset()

    def is_of(self, event: Event) -> bool:
        """Whether the event is the subject's."""
        if event.tenant_id != self.tenant_id:
            return False
        return event.actor.id == self.actor if self.actor is not None else event.id in self.event_ids

    def owns(self, record: Record, event: Event | None) -> bool:
        """Whether the record is the subject's, or names it where it is no event."""
        return self.is_named_in(record) if event is None else self.is_of(event)

    def is_named_in(self, record: Record) -> bool:
        """Whether a record that is no event names the subject: its name as a JSON text stands in it.

        The tenant is the header's or else the key's; a record with neither is looked at for every tenant.
        """
        value = record.value or b""
        told = record.header(HEADER_TENANT) or record.key
        if told is not None and told != self.tenant_id.encode():
            return False
        names = self.event_ids if self.actor is None else {self.actor}
        return any(
            json.dumps(name, ensure_ascii=plain).encode("utf-8", "surrogatepass") in value
            for name in names
            for plain in (False, True)
        )


@dataclass(slots=True)
class Selection:
    """The offsets of one partition that an erasure would name.

    Attributes:
        head: of the partition, when it was made.
        events: offset -> when it happened, microseconds since 1970 UTC.
        duplicates: of those events.
        dead_letters: that are the subject's, or name it.
        retries: records that came again after an erasure, and that no order names.
        late: that came after their month was dropped, and that no order names.
        contradicted: offsets that may not be named all the same, and why.
    """

    head: Head
    events: dict[int, int] = field(default_factory=dict)
    duplicates: set[int] = field(default_factory=set)
    dead_letters: set[int] = field(default_factory=set)
    retries: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    contradicted: dict[int, str] = field(default_factory=dict)

    def leave_out(self, contradicted: Mapping[int, str]) -> None:
        """Not to be named, though index or rows say that they are the subject's."""
        self.contradicted |= contradicted
        for offset in contradicted:
            self.events.pop(offset, None)
        for some in (self.duplicates, self.dead_letters, self.retries, self.late):
            some.difference_update(contradicted)

    @property
    def offsets(self) -> list[int]:
        """All of them, ascending."""
        return sorted({*self.events, *self.duplicates, *self.dead_letters, *self.retries, *self.late})

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {
            "events": len(self.events),
            "duplicates": len(self.duplicates),
            "dead_letters": len(self.dead_letters),
            "retries": len(self.retries),
            "late": len(self.late),
        }


def select(
    log: EventLog, index: EventIndex, ledger: Ledger, heads: Sequence[Head], subject: Subject
) -> list[Selection]:
    """Find everything of a subject below these heads, one result a head; nothing is changed.

    Args:
        log: what came late or again is nowhere else.
        index: finds the events.
        ledger: finds what is not in the index.
        heads: of the open log, and of those that have ended and are in the index.
        subject: whose records.

    Raises:
        UsageError: the subject is Trailseal itself.
        Unavailable: an engine does not answer.
    """
    if subject.tenant_id == RESERVED_TENANT:
        raise UsageError("Trailseal's own records say what was removed, and why: they are never erased.")
    found = {(head.log, head.partition): Selection(head) for head in heads}
    origins = ledger.logs()
    index.refresh()
    for hit in _events(index, subject):
        at = hit.key.position
        mine = found.get((at.log, at.partition))
        if mine is not None and at.offset < mine.head.next:
            event = _decoded(hit.record, origins[at.log])
            if event is not None and subject.is_of(event):
                mine.events[at.offset] = hit.key.timestamp_us
    events = {Position(*place, offset) for place, one in found.items() for offset in one.events}
    for one in found.values():
        _look_through_rows(one, origins[one.head.log], (log, ledger), subject, events)
    return list(found.values())


def _look_through_rows(
    found: Selection,
    origin: str,
    engines: tuple[EventLog, Ledger],
    subject: Subject,
    events: AbstractSet[Position],
) -> None:
    """What is not in the index: the rows of the partition, in order of position."""
    log, ledger = engines
    head = found.head
    for row in ledger.outcomes(head.log, head.partition, 0, head.next, ("duplicate", "dead_letter")):
        if row.kind == "duplicate":
            if row.of in events:
                found.duplicates.add(row.position.offset)
        else:
            kept = ledger.kept(row.position)
            if kept is not None and subject.owns(kept, _decoded(kept, origin)):
                found.dead_letters.add(row.position.offset)
    removed = ledger.outcomes(head.log, head.partition, 0, head.next, REMOVED)
    unnamed = (row for row in removed if row.came_late or row.came_again)
    while some := list(islice(unnamed, _PAGE)):
        for row, record in zip(some, log.fetch([row.position for row in some]), strict=True):
            if record is not None and not record.is_erased and subject.owns(record, _decoded(record, origin)):
                (found.late if row.came_late else found.retries).add(row.position.offset)


def _events(index: EventIndex, subject: Subject) -> Iterator[Hit]:
    names = (subject.actor,) if subject.actor is not None else tuple(sorted(subject.event_ids))
    name = Field.ID if subject.actor is None else Field.ACTOR
    texts = names if subject.actor is None else tuple(filter_term(each) for each in names)
    condition = Condition(name, tuple(Exact(text) for text in texts))
    query = Query(tenants=(subject.tenant_id,), conditions=(condition,), order="asc")
    return every_hit(index, query)


def _decoded(record: Record, origin: str) -> Event | None:
    try:
        return decode_record(record, origin).event
    except InvalidEvent:
        return None
