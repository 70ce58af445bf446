"""The index stage: put what is pending, and decide from each verdict what becomes of its record.

The decision table, per entry:

=============================  ========================================================================
verdict                        what becomes of the record
=============================  ========================================================================
``Stored``                     indexed
``Present``, same position     indexed already by an earlier run of ours: a replay, no row
``Present``, same content      a ``duplicate`` row naming the position that holds the event
``Present``, anything else     put again under its position's name; an ``id_collision`` row
``Tombstone``                  an ``erased`` row that names the order of the erasure there, or an ``expired`` one
a tombstone of the ledger      an ``erased`` row, without asking the index
``Expired``                    an ``expired`` row that names the order of the expiry
``Refused``                    a dead letter, kept whole
``Retry``                      put again later, only this entry
=============================  ========================================================================

A whole call that fails is repeated as a whole. A large batch refused as a whole for one reason is our own fault.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trailseal.errors import PipelineFault, Unavailable
from trailseal.event_consumer import outcomes
from trailseal.event_consumer.batch import Batch
from trailseal.event_consumer.removal import judge
from trailseal.event_consumer.retention import order_of
from trailseal.event_consumer.sinks import Sinks
from trailseal.event_consumer.tombstones import removal_at
from trailseal.model.event import RESERVED_TENANT
from trailseal.model.freshness import day_of, touched
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, colliding
from trailseal.model.record import Position, Record
from trailseal.ports.index import Expired, Present, Refused, Retry, Stored, Tombstone, Verdict
from trailseal.sealing.origin import predecessors
from trailseal.telemetry import PUT_RECORDS, PUT_SECONDS


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt at a batch ended.

    Attributes:
        settled: every entry has its verdict.
        engine: what has to answer before the batch goes on, else None.
        why: one sentence about it.
        index_lost: a whole call failed, so that puts which were not flushed may be gone.
    """

    settled: bool = True
    engine: str | None = None
    why: str | None = None
    index_lost: bool = False


def attempt(sinks: Sinks, batch: Batch, alike: int) -> Attempt:
    """Put everything pending of the batch; what is left over stays pending. Runs in a worker thread.

    Args:
        sinks: the engines.
        batch: what to put; it keeps the verdicts.
        alike: from how many entries on a put that is refused as a whole for one reason is our own fault.

    Raises:
        PipelineFault: the index is set up wrongly.
    """
    if batch.losses is not None and batch.losses != sinks.losses.count:
        batch.reset()
    batch.losses = sinks.losses.count
    sinks.freshness.renew(batch.tokens)
    engine = "ledger"
    try:
        _judge_admin(sinks, batch)
        _leave_erased_out(sinks, batch)
        why = _put_pending(sinks, batch, alike)
        if why is not None:
            return Attempt(settled=False, engine="index", why=why)
        sinks.ledger.keep([*batch.dead[batch.kept :], *batch.frames])
        engine = "dead_letter_topic"
        if sinks.mirror is not None and len(batch.dead) > batch.kept:
            sinks.mirror.send(batch.dead[batch.kept :], batch.rows)
    except _IndexLostError as error:
        return Attempt(settled=False, engine="index", why=str(error), index_lost=True)
    except Unavailable as error:
        return Attempt(settled=False, engine=engine, why=str(error))
    batch.kept = len(batch.dead)
    return Attempt()


class _IndexLostError(Exception):
    """A whole call failed."""


def _put_pending(sinks: Sinks, batch: Batch, alike: int) -> str | None:
    """Put until nothing is pending; else why some of it has to wait.

    Raises:
        Unavailable: the ledger does not answer.
    """
    while batch.pending:
        wave, later = _first_of_each_name(batch)
        started = time.perf_counter()
        try:
            verdicts = sinks.index.put(wave)
        except Unavailable as error:
            sinks.losses.note()
            raise _IndexLostError(str(error)) from error
        PUT_SECONDS.observe(time.perf_counter() - started)
        PUT_RECORDS.observe(len(wave))
        _refuse_ours(verdicts, alike)
        again, why = _judge(sinks, wave, verdicts, batch)
        if sinks.forgetful:
            batch.frames += _frames(wave, batch)
        batch.pending = again + later
        if why is not None:
            return why
    return None


def _judge_admin(sinks: Sinks, batch: Batch) -> None:
    """Find out which records order a removal; whoever only pretends to is a dead letter."""
    if batch.judged:
        return
    verdicts = [(record, judge(sinks, record)) for record in batch.admin]
    for record, verdict in verdicts:
        if isinstance(verdict, OutcomeRow):
            batch.rows[record.position] = verdict
            batch.dead.append(record)
        else:
            made, order = verdict
            batch.pending.append(made)
            if order is not None:
                batch.orders.append(order)
            batch.tokens += touched([(made.projection.tenant_id, day_of(made.projection.timestamp_us))])
    batch.judged = True


def _leave_erased_out(sinks: Sinks, batch: Batch) -> None:
    """What was erased before does not come back with a retry; a blank from an earlier epoch is no dead letter."""
    if sinks.erasable is not None:
        blank = [record for record in batch.dead if record.is_erased]
        batch.rows.update((record.position, _blank(sinks, record)) for record in blank)
        batch.dead = [record for record in batch.dead if not record.is_erased]
    left = []
    for entry in batch.pending:
        known = sinks.tombstones.order_of(entry)
        dropped = sinks.dropped.order_of(entry.month)
        if known is not None:
            batch.rows[entry.projection.position] = outcomes.erased_again(entry, *known)
        elif dropped is not None and entry.projection.tenant_id != RESERVED_TENANT:
            batch.rows[entry.projection.position] = outcomes.expired(entry, dropped)
        else:
            left.append(entry)
    batch.pending = left


def _first_of_each_name(batch: Batch) -> tuple[list[Entry], list[Entry]]:
    """Entries to put now, and those whose document name an earlier one has: they wait for its verdict.

    So a repeat never overtakes the entry before it when only some entries of a call fail.
    """
    pending = batch.pending
    if len(batch.names) == len(batch.entries) and len(batch.admin) < 2:  # noqa: PLR2004 - two may share a name
        return pending, []
    seen: set[str] = set()
    wave, later = [], []
    for entry in pending:
        if entry.document_id in seen:
            later.append(entry)
        else:
            seen.add(entry.document_id)
            wave.append(entry)
    return wave, later


def _refuse_ours(verdicts: Sequence[Verdict], alike: int) -> None:
    if len(verdicts) < alike or type(verdicts[0]) is not Refused:
        return
    code = verdicts[0].code
    if all(type(verdict) is Refused and verdict.code == code for verdict in verdicts):
        raise PipelineFault(
            f"The index refused all of {len(verdicts)} entries alike ({code}: {verdicts[0].why}). That is no fault"
            " of the events: check the index's mapping against this version, then start again; nothing is lost."
        )


def _judge(
    sinks: Sinks, wave: list[Entry], verdicts: Sequence[Verdict], batch: Batch
) -> tuple[list[Entry], str | None]:
    """Apply the decision table; what has to be put again, and why it has to wait (None: it need not)."""
    again: list[Entry] = []
    why: str | None = None
    for entry, verdict in zip(wave, verdicts, strict=True):
        kind = type(verdict)
        if kind is Stored:
            continue
        if isinstance(verdict, Retry):
            again.append(entry)
            why = verdict.why
        elif isinstance(verdict, Present):
            again.extend(_present(entry, verdict, batch))
        else:
            _close(sinks, entry, verdict, batch)
    return again, why


def _frames(wave: list[Entry], batch: Batch) -> list[Record]:
    """The duplicates of a wave without their value: it is their original's, and all that makes theirs big."""
    rows = [batch.rows.get(entry.projection.position) for entry in wave]
    return [
        msgspec.structs.replace(entry.record, value=None)
        for entry, row in zip(wave, rows, strict=True)
        if row is not None and row.kind == "duplicate"
    ]


def _present(entry: Entry, verdict: Present, batch: Batch) -> list[Entry]:
    projection = entry.projection
    position = projection.position
    if verdict.position == position:
        return []
    if verdict.content_hash == projection.content_hash:
        batch.rows[position] = outcomes.duplicate(entry, verdict.position)
        return []
    apart = colliding(entry)
    if entry.document_id == apart.document_id:
        raise PipelineFault(
            f"The index holds another document under the name of position {position}; it belongs to another log."
            " Run `trailseal reconcile`, then rebuild the index."
        )
    batch.rows[position] = outcomes.id_collision(entry, verdict.position)
    return [apart]


def _close(sinks: Sinks, entry: Entry, verdict: Verdict, batch: Batch) -> None:
    position = entry.projection.position
    if isinstance(verdict, Tombstone):
        batch.rows[position] = _erased(sinks, entry, verdict)
    elif isinstance(verdict, Expired):
        batch.rows[position] = outcomes.expired(entry, order_of(sinks.ledger, entry.month))
    elif isinstance(verdict, Refused):
        batch.rows[position] = outcomes.refused(entry, verdict.code, verdict.why)
        batch.dead.append(entry.record)


def _erased(sinks: Sinks, entry: Entry, verdict: Tombstone) -> OutcomeRow:
    """Another process carried the removal out, so the index knows of it before this one's memory does."""
    row = removal_at(sinks.ledger, verdict.position)
    if row is not None and row.kind == "expired":
        return outcomes.expired(entry, row.of)
    if row is None or row.of is None or row.tombstone is None:
        return outcomes.erased(entry, verdict.position)
    return outcomes.erased_again(entry, row.tombstone, row.of)


def _blank(sinks: Sinks, record: Record) -> OutcomeRow:
    """A restored log has the same records at the same offsets, so the earlier epoch's row says who ordered it."""
    at = record.position
    for log in predecessors(sinks.ledger, at.log):
        row = removal_at(sinks.ledger, Position(log, at.partition, at.offset))
        if row is not None and row.of is not None:
            return msgspec.structs.replace(row, position=at, count=1, tenant_id=None, event_id=None)
    return outcomes.blank(record)
