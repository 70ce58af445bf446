"""What ledger and index say of each record, against the record itself.

A row is a claim, and nothing seals it: somebody who wants an event gone could call it a duplicate, a dead letter or
a gap. So each claim is checked against records that are sealed. What is not claimed must be in the index, and there
exactly as its record says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trailseal.model.outcomes import NOT_INDEXED, REMOVED, Head, OutcomeRow
from trailseal.model.projection import Entry, colliding
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Ledger
from trailseal.verification.documents import DocumentCheck
from trailseal.verification.orders import Orders
from trailseal.verification.reading import WholeLog, decoded
from trailseal.verification.suspicions import Suspicions

_NAMING: Final = ("duplicate", "id_collision")
_SINGLE: Final = (*_NAMING, "dead_letter")


@dataclass(slots=True)
class ClaimCheck:
    """Checks rows and documents of one partition, a stretch of offsets at a time.

    Attributes:
        log: the records.
        ledger: the rows.
        documents: told which events have to have one.
        head: of the partition.
        origin: the event log's identity, from which ids are derived.
        orders: of lawful removals.
        unprovable: rows that say what nobody outside could check: that something came before, or again, which was
            erased.
        refused: where a row says that the index refused an event: which one that is an event by all its rules never
            has to.
    """

    log: WholeLog
    ledger: Ledger
    documents: DocumentCheck
    head: Head
    origin: str
    orders: Orders
    suspicions: Suspicions
    unprovable: int = 0
    refused: list[Position] = field(default_factory=list)
    _contradicted: set[int] = field(default_factory=set)
    _named: dict[Position, Record] = field(default_factory=dict)
    _kept: dict[Position, Record] = field(default_factory=dict)

    def removed(self, rows: Mapping[int, OutcomeRow], records: Mapping[int, Record]) -> frozenset[int]:
        """The offsets whose records may be gone; removals without an order are noted.

        Args:
            rows: see `rows`.
            records: those that are as they were sealed, by offset.
        """
        lawful: set[int] = set()
        for offset, row in rows.items():
            if row.kind in REMOVED:
                record = records.get(offset)
                objection = self.orders.objection(row, offset, record)
                if objection is None:
                    if self.orders.may_be_blank(row, offset):
                        lawful.add(offset)
                        if record is None:
                            self.orders.await_order(row, offset)
                    late = row.kind == "expired" and record is not None
                    self.unprovable += not late and not self.orders.names(row, offset)
                else:
                    self.suspicions.add(
                        "unordered-removal",
                        offset,
                        tenant_id=row.tenant_id,
                        event_id=row.event_id,
                        detail=objection,
                    )
        return frozenset(lawful)

    def check(
        self, span: range, rows: Mapping[int, OutcomeRow], records: Mapping[int, Record], damaged: Iterable[int]
    ) -> None:
        """Check a run of offsets.

        Args:
            span: the offsets.
            rows: of them, see `rows`.
            records: those that are as they were sealed, by offset.
            damaged: offsets whose record is not; what is said of them cannot be judged.
        """
        unjudged = set(damaged)
        self.documents.doubtful |= unjudged
        self._named = self._named_by(rows, records)
        kinds = ("dead_letter", "duplicate") if self.log.forgets else ("dead_letter",)
        kept = (row.position for row in rows.values() if row.kind in kinds)
        self._kept = self.ledger.kept_among(list(dict.fromkeys(kept)))
        expected: set[int] = set()
        for offset in span:
            row, record = rows.get(offset), records.get(offset)
            if row is not None and row.count > 1 and row.kind in _SINGLE:
                self.suspicions.add("false-outcome", offset, detail=f"{row.kind} of {row.count} offsets at once")
            if row is not None and row.kind in NOT_INDEXED:
                if offset not in unjudged:
                    self._claimed_absent(row, offset, record)
                continue
            expected.add(offset)
            if offset not in unjudged and record is not None:
                self._indexed(record, row)
        self.documents.check(span, expected, records, self._decoded)

    def is_named(self, record: Record, event_id: str) -> bool:
        """Whether the record's event has this id."""
        made = self._decoded(record)
        return made is not None and made.projection.id == event_id

    def entries(self, rows: Mapping[int, OutcomeRow], records: Iterable[Record]) -> list[Entry]:
        """What has to be indexed of these records.

        Args:
            rows: of these records.
            records: of one run of offsets, those that are as they were sealed.
        """
        entries: list[Entry] = []
        for record in records:
            row = rows.get(record.position.offset)
            made = None if row is not None and row.kind in NOT_INDEXED else self._decoded(record)
            if made is not None:
                entries.append(made if row is None else colliding(made))
        return entries

    def rows(self, start: int, stop: int) -> dict[int, OutcomeRow]:
        """What the ledger says of the offsets in [start, stop) that are not simply indexed."""
        rows: dict[int, OutcomeRow] = {}
        for row in self.ledger.outcomes(self.head.log, self.head.partition, start, stop):
            first = row.position.offset
            for offset in range(max(first, start), min(first + row.count, stop)):
                known = rows.setdefault(offset, row)
                if known is not row and offset not in self._contradicted:
                    self._contradicted.add(offset)
                    detail = f"{known.kind} and {row.kind}: one offset has two rows"
                    self.suspicions.add("false-outcome", offset, detail=detail)
        return rows

    def _indexed(self, record: Record, row: OutcomeRow | None) -> None:
        made = self._decoded(record)
        offset = record.position.offset
        if made is None:
            self.suspicions.add("false-outcome", offset, detail="it counts as indexed and is no event")
            return
        if row is not None and row.kind == "id_collision":
            self._collision(row, record, made)
            made = colliding(made)
        self.documents.expect(made)

    def _collision(self, row: OutcomeRow, record: Record, made: Entry) -> None:
        other = None if row.of is None else self._event_at(row.of)
        if other is None and self._was_removed(row.of, record):
            self.unprovable += 1
        elif other is None or other.document_id != made.document_id or other.month != made.month:
            self._false(made, "it counts as an id collision, and nothing at the named position has its id")
        elif _same(made) == _same(other):
            self._false(made, f"it counts as an id collision with {row.of}, which is the same event")
        elif not _came_before(other, made):
            self._false(made, f"it counts as an id collision with {row.of}, which came later")

    def _claimed_absent(self, row: OutcomeRow, offset: int, record: Record | None) -> None:
        """A row that explains why there is no document."""
        if row.kind == "gap":
            if record is not None:
                self.suspicions.add("false-outcome", offset, detail="it counts as a gap and is a record")
        elif row.kind in REMOVED:
            return
        elif record is None:
            self.suspicions.add("false-outcome", offset, detail=f"it counts as {row.kind} and is no record")
        elif row.kind == "dead_letter":
            self._dead_letter(row, record)
        else:
            self._duplicate(row, record)

    def _dead_letter(self, row: OutcomeRow, record: Record) -> None:
        kept = self._kept.get(row.position)
        offset = record.position.offset
        if kept is None or _bytes(kept) != _bytes(record):
            self.suspicions.add("false-outcome", offset, detail="the record kept of it is another one")
        made = self._decoded(record)
        if made is None:
            return
        if row.tenant_id is None:
            self._false(made, f"it counts as a dead letter ({row.code}) and is an event")
        else:
            self.refused.append(record.position)

    def _duplicate(self, row: OutcomeRow, record: Record) -> None:
        made = self._decoded(record)
        original = None if row.of is None else self._event_at(row.of)
        frame = self._kept.get(row.position)
        if self.log.forgets and (frame is None or _frame(frame) != _frame(record)):
            detail = "what is kept of it, for when the log has forgotten it, is something else"
            self.suspicions.add("false-outcome", record.position.offset, detail=detail)
        if made is not None and original is None and self._was_removed(row.of, record):
            self.unprovable += 1
        elif made is None or original is None or row.of == record.position:
            self.suspicions.add(
                "false-outcome",
                record.position.offset,
                tenant_id=row.tenant_id,
                event_id=row.event_id,
                detail="it counts as a duplicate of what is no event",
            )
        elif _same(made) != _same(original):
            self._false(made, f"it counts as a duplicate of {row.of}, which is another event")
        elif not _came_before(original, made):
            self._false(made, f"it counts as a duplicate of {row.of}, which came later")
        else:
            self.documents.expect_original(original)

    def _was_removed(self, position: Position | None, later: Record) -> bool:
        """Whether an order removed the first of an id after another one had come; in whichever log."""
        if position is None:
            return False
        at = position.offset
        row = next(self.ledger.outcomes(position.log, position.partition, at, at + 1, REMOVED), None)
        if row is None or not self.orders.was_of(row, later):
            return False
        if (position.log, position.partition) == (self.head.log, self.head.partition):
            return self.orders.objection(row, at) is None
        return self.orders.names_elsewhere(row, position)

    def _decoded(self, record: Record) -> Entry | None:
        return self.orders.event(record) or decoded(record, self.origin)

    def _named_by(self, rows: Mapping[int, OutcomeRow], records: Mapping[int, Record]) -> dict[Position, Record]:
        """The records that these rows name as the first of their id."""
        named = {row.of for row in rows.values() if row.kind in _NAMING and row.of is not None}
        known = {record.position: record for record in records.values() if record.position in named}
        return known | self.log.at_all(named - known.keys()) if named else {}

    def _event_at(self, position: Position) -> Entry | None:
        record = self._named.get(position)
        origin = self.log.origin_of(position.log)
        if record is None or origin is None:
            return None
        if position.log == self.head.log:
            return self._decoded(record)
        return self.orders.event_elsewhere(record) or decoded(record, origin)

    def _false(self, made: Entry, detail: str) -> None:
        found = made.projection
        self.suspicions.add_event("false-outcome", found.position.offset, found, detail=detail)


def _same(made: Entry) -> tuple[str, str, bytes]:
    return made.month, made.document_id, made.projection.content_hash


def _came_before(one: Entry, other: Entry) -> bool:
    """Whether the first of an id can have been the one; of two partitions nobody can tell."""
    at, than = one.projection.position, other.projection.position
    if (at.log, at.partition) == (than.log, than.partition):
        return at.offset < than.offset
    return at.log <= than.log


def _bytes(record: Record) -> tuple[object, ...]:
    return *_frame(record), record.value


def _frame(record: Record) -> tuple[object, ...]:
    return record.timestamp_ms, record.key, record.headers
