"""Where the pipeline writes to, handed from stage to stage as one."""

from __future__ import annotations

from dataclasses import dataclass

from trailseal.event_consumer.tokens import Freshness
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Sinks:
    """The engines behind the log, in the order they are written to."""

    index: EventIndex
    ledger: Ledger
    freshness: Freshness
