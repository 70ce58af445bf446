"""Where the pipeline writes to, handed from stage to stage as one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from trailseal.event_consumer.mirror import DeadLetterMirror
from trailseal.event_consumer.retention import DroppedMonths
from trailseal.event_consumer.seal import Seals
from trailseal.event_consumer.tokens import Freshness
from trailseal.event_consumer.tombstones import Tombstones
from trailseal.ports.erasure import Erasable
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger


class Losses:
    """Counts the calls after which nobody knows what an index still holds of what was not flushed.

    A batch is safe only if no loss lies between its first put and the flush after its last one. Any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def note(self) -> None:
        """A put or a flush failed as a whole."""
        with self._lock:
            self.count += 1


@dataclass(frozen=True, slots=True)
class Sinks:
    """The engines behind the log, in the order they are written to, and what not everybody has.

    Attributes:
        index: searched by.
        ledger: the books.
        freshness: the cache's tokens.
        seals: the trees; None where nothing is sealed.
        mirror: takes copies of dead letters, or None.
        erasable: the engines again, where they can erase; else None.
        forgetful: the log forgets its records by itself, so what shows later what a duplicate was is kept.
        tombstones: what was erased and stays out.
        dropped: months that were dropped and stay so.
        losses: see `Losses`.
    """

    index: EventIndex
    ledger: Ledger
    freshness: Freshness
    seals: Seals | None = None
    mirror: DeadLetterMirror | None = None
    erasable: Erasable | None = None
    forgetful: bool = False
    tombstones: Tombstones = field(default_factory=Tombstones)
    dropped: DroppedMonths = field(default_factory=DroppedMonths)
    losses: Losses = field(default_factory=Losses)
