"""What a role gets: the five ports, opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trailseal.ports.cache import QueryCache
from trailseal.ports.clock import Clock
from trailseal.ports.erasure import Erasable
from trailseal.ports.index import EventIndex, RecordKeeper
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.ports.upkeep import MonthUpkeep
from trailseal.sealing.ended import ended_logs

Role = Literal["up", "serve", "consume", "import", "read"]
"""Who opens: `read` writes nothing at all; `serve` appends; the others append and may run the pipeline."""
Profile = Literal["embedded", "cluster"]


@dataclass(frozen=True, slots=True)
class Engines:
    """The five ports, opened, and the secret that signs cursors."""

    log: EventLog
    index: EventIndex
    ledger: Ledger
    cache: QueryCache
    clock: Clock
    secret: bytes
    profile: Profile
    dead_letter_log: EventLog | None = None
    """Where copies of dead letters go."""
    erasable: Erasable | None = None
    """The engines that an erasure is carried out on, where they can do it."""
    months: MonthUpkeep | None = None
    """Looks after an index that keeps its own records; None where the log keeps them."""
    keeper: RecordKeeper | None = None
    """The index again, where it keeps records that the log forgets."""

    def ended_logs(self) -> list[int]:
        """The numbers of the logs that ended before this one and whose events the index keeps.

        Raises:
            Unavailable: log or ledger does not answer.
        """
        return [] if self.keeper is None else ended_logs(self.ledger, self.log.origin)

    def close(self) -> None:
        """Close everything, the readers first."""
        self.cache.close()
        self.index.close()
        self.log.close()
        if self.dead_letter_log is not None:
            self.dead_letter_log.close()
        self.ledger.close()
