"""The consumers of the cluster profile, seen from a command that waits for them: they are not its own to start."""

from __future__ import annotations

import threading
import time
from typing import Final

from trailseal.cli.output import notice
from trailseal.errors import TrailsealError, Unavailable
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog

_LOOK_S: Final = 2.0
_PATIENCE_S: Final = 20.0


class ConsumersElsewhere:
    """Takes nothing in; says so once where records wait and no head moves.

    An import into a cluster has neither the seal keys nor the right to write to the index, and a member of the
    group that comes and goes with each import would move everybody's partitions.

    Args:
        log: where records wait.
        ledger: where the heads are.

    Attributes:
        fault: always None: what stops consumers elsewhere is theirs to say.
    """

    def __init__(self, log: EventLog, ledger: Ledger) -> None:
        self._log, self._ledger = log, ledger
        self._stopped = threading.Event()
        self.fault: TrailsealError | None = None

    def run(self) -> None:
        """Look on until `stop`."""
        seen, since, told = -1, time.monotonic(), False
        while not self._stopped.wait(_LOOK_S):
            try:
                reached, pending = self._progress()
            except Unavailable:
                continue
            now = time.monotonic()
            if reached != seen or not pending:
                seen, since, told = reached, now, False
            elif not told and now - since >= _PATIENCE_S:
                told = True
                notice(
                    f"{pending:,} records are safe in the log, and nobody takes them in: is `trailseal consume`"
                    " running? Waiting for it; Ctrl-C loses nothing."
                )

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped.set()

    def _progress(self) -> tuple[int, int]:
        """Offsets taken in, and records that wait."""
        number = self._ledger.log_number(self._log.origin)
        heads = {} if number is None else {head.partition: head for head in self._ledger.heads(number)}
        pending = 0
        for partition in self._log.partitions():
            bounds, head = self._log.bounds(partition), heads.get(partition)
            pending += bounds.next - (bounds.first if head is None else head.next)
        return sum(head.taken_in for head in heads.values()), pending
