"""What earlier partitions' verifications leave for later ones: ends that are named, and orders about ended logs."""

from __future__ import annotations

from collections.abc import Callable

from trailseal.model.outcomes import Head
from trailseal.verification.genuine_orders import GenuineOrders
from trailseal.verification.links import NamedEnds


class Verified:
    """What is known of the partitions that were verified: those of later logs are, before those of earlier ones.

    Attributes:
        ends: how logs ended, as the first leaves of those after them say.
        origins: of every log that was held against the checkpoints that the auditor kept of it.
    """

    def __init__(self) -> None:
        self.ends = NamedEnds()
        self.origins: set[str] = set()
        self._orders: dict[tuple[int, int], Callable[[], GenuineOrders]] = {}

    def add(self, head: Head, orders: Callable[[], GenuineOrders]) -> None:
        """Note a partition whose tree holds together, and how to come by its orders, which are not kept."""
        self._orders[head.log, head.partition] = orders

    def orders(self, log: int, partition: int) -> GenuineOrders | None:
        """The orders of a partition; None where it was not verified."""
        make = self._orders.get((log, partition))
        return None if make is None else make()
