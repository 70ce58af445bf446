"""The last stages: flush the index, make it visible, renew the cache's tokens, seal, then move the heads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from trailseal.errors import Fenced, Unavailable
from trailseal.event_consumer.partitions import Move
from trailseal.event_consumer.removal import carry_out
from trailseal.event_consumer.sinks import Sinks
from trailseal.model.outcomes import Delta, Head
from trailseal.telemetry import DEAD_LETTERS, FLUSH_SECONDS, OUTCOMES, RECORDS_TAKEN_IN


@dataclass(frozen=True, slots=True)
class Step:
    """Where one partition's head is to go.

    Attributes:
        epoch: of the assignment; the result counts only while it is the same.
        head: what the ledger is expected to hold.
        moves: the steps, in order.
    """

    epoch: int
    head: Head
    moves: Sequence[Move]


@dataclass(slots=True)
class Advanced:
    """What an advance achieved, also where it stopped half-way.

    Attributes:
        flushed: the index holds everything for good; only a failed flush leaves this False.
        renewed: the cache's tokens are renewed.
        heads: epoch and new head by partition, as far as they moved.
        fenced: partitions whose head another process moved.
        dead_letters: dead letters that count now.
        engine: what did not answer, or None.
        why: one sentence about it.
    """

    flushed: bool = False
    renewed: bool = False
    heads: dict[int, tuple[int, Head]] = field(default_factory=dict)
    fenced: list[int] = field(default_factory=list)
    dead_letters: int = 0
    engine: str | None = None
    why: str | None = None


def advance(
    sinks: Sinks, steps: Sequence[Step], tokens: tuple[str, ...], losses: int | None, *, refresh: bool
) -> Advanced:
    """Flush, refresh, renew, move: each only after the one before it worked. Runs in a worker thread.

    Args:
        sinks: the engines.
        steps: where each partition's head is to go.
        tokens: names of the cache tokens touched by what is flushed.
        losses: the index's losses when the oldest of what is to be flushed was put; None where nothing is.
        refresh: make it visible now.
    """
    done = Advanced()
    try:
        started = time.perf_counter()
        _flush(sinks, losses)
        FLUSH_SECONDS.observe(time.perf_counter() - started)
        done.flushed = True
        if refresh:
            sinks.index.refresh()
    except Unavailable as error:
        done.engine, done.why = "index", str(error)
        return done
    if not sinks.freshness.renew(tokens):
        done.engine, done.why = "cache", "The cache cannot be told that its answers are old; the heads wait."
        return done
    done.renewed = True
    for step in steps:
        _move(sinks, step, done)
    return done


def _flush(sinks: Sinks, losses: int | None) -> None:
    """Flush, unless a put that failed meanwhile took with it what was to be flushed."""
    try:
        sinks.index.flush()
    except Unavailable:
        sinks.losses.note()
        raise
    if losses is not None and losses != sinks.losses.count:
        raise Unavailable("What was put before the last failure has to be put again.")


def _move(sinks: Sinks, step: Step, done: Advanced) -> None:
    head = step.head

    def note(moved: Head) -> None:
        done.heads[moved.partition] = (step.epoch, moved)

    try:
        for move in step.moves:
            for order in move.orders:
                carry_out(sinks, head, order, note)
                head = done.heads.get(head.partition, (step.epoch, head))[1]
            delta = move.delta if sinks.seals is None else sinks.seals.sealed(head, move.delta, move.leaves)
            moved = sinks.ledger.advance(head, delta)
            _count(head, delta, done)
            head = moved
            done.heads[head.partition] = (step.epoch, head)
    except Fenced:
        done.fenced.append(head.partition)
    except Unavailable as error:
        done.engine, done.why = "ledger", str(error)


def _count(head: Head, delta: Delta, done: Advanced) -> None:
    RECORDS_TAKEN_IN.labels(str(head.partition)).inc(delta.next - head.next)
    for row in delta.rows:
        OUTCOMES.labels(row.kind).inc(row.count)
        if row.kind == "dead_letter":
            done.dead_letters += 1
            DEAD_LETTERS.labels(row.code or "unknown").inc()
