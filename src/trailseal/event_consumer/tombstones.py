"""What was erased and must not come back: keyed hashes of names, from the ledger's rows.

A retry of an erased event brings its name again: the same tenant, month and id. The row of the erasure keeps a
keyed hash of them and nothing else, so that the name is known when it comes and cannot be read before.
"""

from __future__ import annotations

import threading

from trailseal.model.outcomes import REMOVED, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger
from trailseal.sealing.tombstones import tombstone_key, tombstone_of


class Tombstones:
    """The tombstones of every log the ledger knows, in memory: about 200 bytes each. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = b""
        self._orders: dict[bytes, Position] = {}

    def load(self, ledger: Ledger) -> None:
        """Read them all.

        Raises:
            Unavailable: the ledger does not answer.
        """
        orders: dict[bytes, Position] = {}
        for log in ledger.logs():
            for head in ledger.heads(log):
                for row in ledger.outcomes(log, head.partition, kinds=("erased",)):
                    if row.tombstone is not None:
                        orders.setdefault(row.tombstone, row.of or row.position)
        key = tombstone_key(ledger) if orders else b""
        with self._lock:
            self._key, self._orders = key, orders

    def order_of(self, entry: Entry) -> tuple[bytes, Position] | None:
        """The event's tombstone and the admin record that erased it; None where it was not erased."""
        if not self._orders:
            return None
        tombstone = tombstone_of(entry, self._key)
        order = self._orders.get(tombstone)
        return None if order is None else (tombstone, order)


def removal_at(ledger: Ledger, position: Position) -> OutcomeRow | None:
    """The row of a removal at that position, in whichever log; None where there is none.

    Raises:
        Unavailable: the ledger does not answer.
    """
    at = position
    return next(ledger.outcomes(at.log, at.partition, at.offset, at.offset + 1, REMOVED), None)
