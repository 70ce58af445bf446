"""`trailseal erase --leftovers`: what came late or again, counted, with what cannot be ordered told."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.bootstrap import Engines
from trailseal.cli.held_to_seals import tell_contradicted
from trailseal.cli.orders import draw_counts
from trailseal.cli.output import Form, notice
from trailseal.event_consumer.leftovers import Leftovers, find_leftovers
from trailseal.model.outcomes import Head
from trailseal.verification.nameable import SealedSources


def found_leftovers(engines: Engines, sources: SealedSources, heads: Sequence[Head], form: Form) -> list[Leftovers]:
    """What an order may name, by partition; write how many, and say what it may not.

    Raises:
        IntegrityViolation: a tree is damaged.
        Unavailable: an engine does not answer.
    """
    found = find_leftovers(engines.log, sources.records, engines.ledger, heads)
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
