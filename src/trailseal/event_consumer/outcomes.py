"""The rows of what is not simply indexed, each made in one place."""

from __future__ import annotations

from trailseal.errors import Problem
from trailseal.merkle.admin import OffsetRun
from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Gap, Position, Record

DECODER_FAULT = "decoder-fault"
"""The problem's code where decoding broke without naming a rule: our fault, kept and replayable after a repair."""


def gap(run: Gap) -> OutcomeRow:
    """No record exists under these offsets."""
    return OutcomeRow(run.position, "gap", count=run.count)


def unreadable(record: Record, problem: Problem) -> OutcomeRow:
    """The record breaks a rule of events."""
    return OutcomeRow(record.position, "dead_letter", code=problem.code, detail=problem.detail, field=problem.field)


def undecodable(record: Record, fault: Exception) -> OutcomeRow:
    """Decoding broke down on the record; only the exception's type is told, its text may hold event contents."""
    return OutcomeRow(
        record.position,
        "dead_letter",
        code=DECODER_FAULT,
        detail=f"Decoding failed with {type(fault).__name__}; report it, then replay the record.",
    )


def refused(entry: Entry, code: str, why: str) -> OutcomeRow:
    """The index will never take the entry."""
    return _of_entry(entry, "dead_letter", code=code, detail=why)


def duplicate(entry: Entry, of: Position) -> OutcomeRow:
    """The same event is indexed already, from another position."""
    return _of_entry(entry, "duplicate", of=of)


def id_collision(entry: Entry, of: Position) -> OutcomeRow:
    """Another event holds the id; this one is indexed under the name of its position."""
    return _of_entry(entry, "id_collision", of=of)


def erased(entry: Entry, of: Position) -> OutcomeRow:
    """The event was erased; it does not come back."""
    return _of_entry(entry, "erased", of=of)


def erased_again(entry: Entry, tombstone: bytes, order: Position) -> OutcomeRow:
    """A retry of an event that was erased: it stays out, and the row does not name it."""
    return OutcomeRow(entry.projection.position, "erased", of=order, tombstone=tombstone)


def blank(record: Record) -> OutcomeRow:
    """The record was erased in an earlier epoch of the log, by an order that stands there."""
    return OutcomeRow(record.position, "erased", detail="erased in an earlier epoch of the log")


def erased_by(position: Position, order: Position, tombstone: bytes | None) -> OutcomeRow:
    """The admin record at ``order`` had the record erased."""
    return OutcomeRow(position, "erased", of=order, tombstone=tombstone)


def expired(entry: Entry, of: Position | None) -> OutcomeRow:
    """The event came after its month was dropped, by the order at ``of``."""
    return _of_entry(entry, "expired", of=of)


def expired_by(head: Head, run: OffsetRun, order: Position) -> OutcomeRow:
    """The admin record at ``order`` dropped the month of these events."""
    return OutcomeRow(Position(head.log, head.partition, run.first), "expired", count=run.count, of=order)


def _of_entry(
    entry: Entry,
    kind: str,
    *,
    of: Position | None = None,
    code: str | None = None,
    detail: str | None = None,
) -> OutcomeRow:
    projection = entry.projection
    return OutcomeRow(
        projection.position,
        kind,  # type: ignore[arg-type] # only this module calls it, with literals
        of=of,
        code=code,
        detail=detail,
        tenant_id=projection.tenant_id,
        event_id=projection.id,
    )
