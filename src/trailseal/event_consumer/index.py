"""The index stage: put what is pending, and decide from each verdict what becomes of its record.

The decision table, per entry:

=============================  ===================================================================
verdict                        what becomes of the record
=============================  ===================================================================
``Stored``                     indexed
``Present``, same position     indexed already by an earlier run of ours: a replay, no row
``Present``, same content      a ``duplicate`` row naming the position that holds the event
``Present``, anything else     put again under its position's name; an ``id_collision`` row
``Tombstone``                  an ``erased`` row
a tombstone of the ledger      an ``erased`` row, without asking the index
``Expired``                    an ``expired`` row
``Refused``                    a dead letter, kept whole
``Retry``                      put again later, only this entry
=============================  ===================================================================

A whole call that fails is repeated as a whole. A large batch refused as a whole for one reason is our own fault.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from trailseal.errors import PipelineFault, Unavailable
from trailseal.event_consumer import outcomes
from trailseal.event_consumer.batch import Batch
from trailseal.event_consumer.removal import judge
from trailseal.event_consumer.sinks import Sinks
from trailseal.model.freshness import day_of, touched
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry, colliding
from trailseal.ports.index import Expired, Present, Refused, Retry, Stored, Tombstone, Verdict
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
    try:
        _judge_admin(sinks, batch)
    except Unavailable as error:
        return Attempt(settled=False, engine="ledger", why=str(error))
    _leave_erased_out(sinks, batch)
    while batch.pending:
        wave, later = _first_of_each_name(batch)
        started = time.perf_counter()
        try:
            verdicts = sinks.index.put(wave)
        except Unavailable as error:
            sinks.losses.note()
            return Attempt(settled=False, engine="index", why=str(error), index_lost=True)
        PUT_SECONDS.observe(time.perf_counter() - started)
        PUT_RECORDS.observe(len(wave))
        _refuse_ours(verdicts, alike)
        again, why = _judge(wave, verdicts, batch)
        batch.pending = again + later
        if why is not None:
            return Attempt(settled=False, engine="index", why=why)
    try:
        sinks.ledger.keep(batch.dead[batch.kept :])
    except Unavailable as error:
        return Attempt(settled=False, engine="ledger", why=str(error))
    try:
        if sinks.mirror is not None and len(batch.dead) > batch.kept:
            sinks.mirror.send(batch.dead[batch.kept :], batch.rows)
    except Unavailable as error:
        return Attempt(settled=False, engine="dead_letter_topic", why=str(error))
    batch.kept = len(batch.dead)
    return Attempt()


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
            batch.orders.append(order)
            batch.tokens += touched([(made.projection.tenant_id, day_of(made.projection.timestamp_us))])
    batch.judged = True


def _leave_erased_out(sinks: Sinks, batch: Batch) -> None:
    """What was erased before does not come back with a retry; a blank from an earlier epoch is no dead letter."""
    if sinks.erasable is not None:
        blank = [record for record in batch.dead if record.is_erased]
        batch.rows.update((record.position, outcomes.blank(record)) for record in blank)
        batch.dead = [record for record in batch.dead if not record.is_erased]
    left = []
    for entry in batch.pending:
        known = sinks.tombstones.order_of(entry)
        if known is None:
            left.append(entry)
        else:
            batch.rows[entry.projection.position] = outcomes.erased_again(entry, *known)
    batch.pending = left


def _first_of_each_name(batch: Batch) -> tuple[list[Entry], list[Entry]]:
    """Entries to put now, and those whose document name an earlier one has: they wait for its verdict.

    So a repeat never overtakes the entry before it when only some entries of a call fail.
    """
    pending = batch.pending
    if len(batch.names) == len(batch.entries) and len(batch.orders) < 2:  # noqa: PLR2004 - two may share a name
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


def _judge(wave: list[Entry], verdicts: Sequence[Verdict], batch: Batch) -> tuple[list[Entry], str | None]:
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
            _close(entry, verdict, batch)
    return again, why


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


def _close(entry: Entry, verdict: Verdict, batch: Batch) -> None:
    position = entry.projection.position
    if isinstance(verdict, Tombstone):
        batch.rows[position] = outcomes.erased(entry, verdict.position)
    elif isinstance(verdict, Expired):
        batch.rows[position] = outcomes.expired(entry)
    elif isinstance(verdict, Refused):
        batch.rows[position] = outcomes.refused(entry, verdict.code, verdict.why)
        batch.dead.append(entry.record)
