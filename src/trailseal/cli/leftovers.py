"""`trailseal erase --leftovers`: what came late or again, counted, with what cannot be ordered told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trailseal.bootstrap import Engines
from trailseal.cli.orders import draw_counts, erasable_of
from trailseal.cli.output import Form, notice
from trailseal.event_consumer.leftovers import Leftovers, find_leftovers
from trailseal.model.outcomes import Head

_TOLD: Final = 20


def found_leftovers(engines: Engines, heads: Sequence[Head], form: Form) -> list[Leftovers]:
    """What an order may name, by partition; write how many, and say what it may not.

    Raises:
        IntegrityViolation: a tree is damaged.
        UsageError: these engines cannot erase.
        Unavailable: an engine does not answer.
    """
    found = find_leftovers(engines.log, erasable_of(engines).records, engines.ledger, heads)
    draw_counts(
        [
            {"partition": f"{one.head.log}/{one.head.partition}"}
            | one.counts
            | {"forgotten": one.forgotten, "contradicted": len(one.contradicted)}
            for one in found
        ],
        form,
    )
    tell_contradicted(found)
    forgotten = sum(one.forgotten for one in found)
    if forgotten:
        notice(
            f"{forgotten:,} rows say that an event came late or again, and the log has forgotten its record: nobody"
            " can tell any more, so no order names it. `trailseal verify` does; run this more often than the log"
            " forgets."
        )
    return found


def tell_contradicted(found: Sequence[Leftovers]) -> None:
    """Name the rows of which their records say something else."""
    told = list(_contradictions(found))
    for sentence in told[:_TOLD]:
        notice(f"Not ordered: {sentence}.")
    if told:
        notice(f"{len(told):,} rows are not true of their records: `trailseal verify` says what was done to them.")


def _contradictions(found: Sequence[Leftovers]) -> Iterator[str]:
    for one in found:
        for offset, why in sorted(one.contradicted.items()):
            yield f"{one.head.log}/{one.head.partition}/{offset}, {why}"
