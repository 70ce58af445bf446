"""Lawful removal: judging admin records, and carrying out what a genuine one orders.

An order is carried out when the pipeline takes its record in, before the head passes it, by whoever runs the
pipeline then. The steps, each durable before the next begins, each harmless to repeat:

1. the rows: ``erased`` takes the place of what was said of each position, with the tombstone of its event, also
   where an event had come late or again; or ``expired``, in runs, and the month is noted as dropped;
2. the index: the documents go, or nothing of them but their name stays;
3. the ledger: records kept of dead letters go;
4. the log: key, value and headers are blanked in place, where it can (Kafka's retention has to do it);
5. the cache: every answer goes;
6. then only the head passes the record.

An order about a log that has ended is carried out in the same way on that log's books and documents; the head that
its rows are written below is one that nobody owns and that never moves again.

A crash in between leaves an index that the books contradict, or a head before the order: the next owner rebuilds or
repeats, and ends in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from trailseal.errors import Fenced, IntegrityViolation, InvalidEvent, PipelineFault, Problem, Unavailable
from trailseal.event_consumer import outcomes
from trailseal.event_consumer.decode import decode_one
from trailseal.event_consumer.rebuild import as_once_indexed
from trailseal.event_consumer.retention import MONTH
from trailseal.event_consumer.sinks import Sinks
from trailseal.formats import RESERVED_HEADER
from trailseal.merkle.admin import AdminKind, runs_of
from trailseal.merkle.errors import MerkleError
from trailseal.model.outcomes import REMOVED, Head, OutcomeRow
from trailseal.model.projection import Entry, entry
from trailseal.model.record import Position, Record
from trailseal.ports.erasure import Erasable, ErasableRecords
from trailseal.sealing.admin_records import (
    ACTIONS,
    MONTH_DETAIL,
    Order,
    ended_before,
    event_of,
    inherited_statement,
    known_keys,
    statement_of,
)
from trailseal.sealing.tombstones import tombstone_key, tombstone_of
from trailseal.telemetry import logger

_AT_ONCE = 5_000


def judge(sinks: Sinks, record: Record) -> tuple[Entry, Order | None] | OutcomeRow:
    """Whether a record with the header of admin records is genuine; else it is a dead letter without any effect.

    One that was genuine in an earlier epoch is an event like any other, and orders nothing.

    Raises:
        Unavailable: the ledger does not answer.
    """
    if sinks.seals is None:
        return _no_order(record, "nothing is sealed here, so nothing can be signed")
    log = sinks.seals.log(record.position.partition)
    genuine = False
    try:
        try:
            statement = statement_of(record, log, known_keys(sinks.ledger, log), sinks.ledger)
            genuine = True
        except MerkleError as error:
            try:
                statement = inherited_statement(record, sinks.ledger, log)
            except (MerkleError, IntegrityViolation):
                raise error from None
        decoded = event_of(record)
    except MerkleError as error:
        return _no_order(record, str(error))
    except InvalidEvent as error:
        return outcomes.unreadable(record, error.problem)
    if decoded.event.action != ACTIONS[statement.kind]:
        return _no_order(record, "its action is not what it orders")
    made = entry(record, decoded.event, decoded.format, decoded.words)
    details = decoded.event.metadata
    if statement.kind is AdminKind.EXPIRE and not MONTH.fullmatch(str(details.get(MONTH_DETAIL))):
        return _no_order(record, "it does not say which month it drops")
    return made, Order(record.position, statement, details) if genuine else None


def _no_order(record: Record, why: str) -> OutcomeRow:
    problem = Problem(RESERVED_HEADER, f"an admin record that is not genuine: {why}", "trailseal-admin")
    return outcomes.unreadable(record, problem)


def carry_out(sinks: Sinks, head: Head, order: Order, moved: Callable[[Head], None]) -> None:
    """Do what the order says, before the head passes its record.

    Args:
        sinks: the engines.
        head: as the ledger has it; everything below it is flushed.
        order: genuine.
        moved: told the head whenever rows were written; its offset stays the same.

    Raises:
        Unavailable: a step could not be done; call again with the head told last.
        Fenced: another process owns the partition.
        PipelineFault: this version cannot carry it out here.
    """
    erasable, statement = sinks.erasable, order.statement
    if erasable is None:
        raise PipelineFault(
            f"The admin record {order.position} orders {statement.kind.value}, which this version cannot carry out"
            " on these engines. Nothing was removed; run a version that can."
        )
    about = head if statement.ended is None else _ended_head(sinks, order)
    if statement.runs[-1].last >= about.next:
        raise PipelineFault(
            f"The admin record {order.position} names offsets that the ledger has not taken in: ledger and log do"
            " not belong together. Restore both from one backup."
        )
    positions = _positions(about, order)
    _write_rows(sinks, erasable, about, order, moved)
    month = str(order.details.get(MONTH_DETAIL))
    if statement.kind is AdminKind.ERASE:
        sinks.tombstones.load(sinks.ledger)
    else:
        sinks.dropped.drop(sinks.ledger, month, order.position)

    def again(asked: Sequence[Position]) -> Iterator[list[Entry]]:
        return _entries(sinks, erasable.records, about, asked)

    try:
        if statement.kind is AdminKind.ERASE:
            erasable.index.erase(positions, again)
        else:
            erasable.index.drop(month, positions, again)
    except Unavailable:
        sinks.losses.note()
        raise
    if statement.kind is AdminKind.ERASE or order.details.get("duplicates"):
        erasable.ledger.discard(positions)
    if erasable.log is not None and statement.ended is None:
        erasable.log.erase(positions)
    if not sinks.freshness.forget_everything():
        raise Unavailable("The cache cannot be emptied of what was erased; the head waits.")
    logger("event_consumer").warning(statement.kind.value, order=str(order.position), records=len(positions))


def _positions(head: Head, order: Order) -> list[Position]:
    runs = order.statement.runs
    return [Position(head.log, head.partition, offset) for run in runs for offset in range(run.first, run.last + 1)]


def _ended_head(sinks: Sinks, order: Order) -> Head:
    """The head of the log that has ended which the order is about.

    Raises:
        PipelineFault: there is none.
    """
    log = None if sinks.seals is None else sinks.seals.log(order.position.partition)
    ended = None if log is None else ended_before(sinks.ledger, log, str(order.statement.ended))
    head = None if ended is None else sinks.ledger.head(ended[0].log, ended[0].partition)
    if head is None:
        raise PipelineFault(
            f"The admin record {order.position} is about a log that the ledger knows no more: restore the ledger"
            " from a backup."
        )
    return head


def _write_rows(sinks: Sinks, erasable: Erasable, head: Head, order: Order, moved: Callable[[Head], None]) -> None:
    if order.statement.ended is None:
        _write_missing(sinks, erasable, head, order, moved)
        return
    while True:
        try:
            _write_missing(sinks, erasable, head, order, lambda _: None)
        except Fenced:  # another order about the same log is carried out, and nobody owns its head
            head = _ended_head(sinks, order)
            continue
        return


def _write_missing(
    sinks: Sinks, erasable: Erasable, head: Head, order: Order, moved: Callable[[Head], None]
) -> None:
    key, origin = tombstone_key(sinks.ledger), sinks.ledger.logs()[head.log]
    positions = _positions(head, order)
    first, last = positions[0].offset, positions[-1].offset
    removed: set[int] = set()
    again: dict[int, bytes | None] = {}
    for row in sinks.ledger.outcomes(head.log, head.partition, first, last + 1, REMOVED):
        if order.statement.kind is AdminKind.ERASE and (row.came_late or row.came_again):
            again[row.position.offset] = row.tombstone
        else:
            removed.update(range(row.position.offset, row.position.offset + row.count))
    missing = [position for position in positions if position.offset not in removed]
    for start in range(0, len(missing), _AT_ONCE):
        some = missing[start : start + _AT_ONCE]
        if order.statement.kind is AdminKind.EXPIRE:
            runs = runs_of(position.offset for position in some)
            rows = tuple(outcomes.expired_by(head, run, order.position) for run in runs)
        else:
            rows = tuple(
                outcomes.erased_by(
                    position, order.position, again.get(position.offset) or _tombstone(record, key, origin)
                )
                for position, record in zip(some, erasable.records.fetch(some), strict=True)
            )
        head = erasable.ledger.remove(head, rows)
        moved(head)


def _tombstone(record: Record | None, key: bytes, origin: str) -> bytes | None:
    """Of an event; a dead letter has none, and of what is erased already nobody can tell."""
    if record is None or record.is_erased:
        return None
    made = decode_one(record, origin)
    return tombstone_of(made, key) if isinstance(made, Entry) else None


def _entries(
    sinks: Sinks, records: ErasableRecords, head: Head, positions: Sequence[Position]
) -> Iterator[list[Entry]]:
    """The entries of documents that have to be written anew, as they were once indexed."""
    ordered = sorted(positions)
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        items = [record for record in records.fetch(some) if record is not None]
        offsets = range(some[0].offset, some[-1].offset + 1)
        entries, late = as_once_indexed(sinks.ledger, records.origin, head, items, offsets)
        if late or len(entries) != len(some):
            raise PipelineFault(
                f"Documents of {head.log}/{head.partition} in [{offsets.start}, {offsets.stop}) cannot be made"
                " anew: run `trailseal reconcile`, then rebuild the index."
            )
        yield entries
