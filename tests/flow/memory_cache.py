"""A cache of which a test can say whether it is reached; it keeps the names it was asked to renew."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.ports.cache import Found


class RecordingCache:
    """Holds nothing; `reachable` decides whether renewals work."""

    def __init__(self) -> None:
        self.reachable = True
        self.renewed: list[tuple[str, ...]] = []
        self.refused = 0
        self.writer: list[bool] = []

    def find(self, question: str, names: Sequence[str], claim_s: float) -> Found | None:
        """Nothing is held: bypass."""

    def keep(self, question: str, found: Found, value: bytes, ttl_s: float, earlier_s: float) -> None:
        """Nothing is kept."""

    def release(self, question: str, found: Found) -> None:
        """There is nothing to give back."""

    def earlier(self, question: str) -> bytes | None:
        """Nothing is held."""

    def renew(self, names: Sequence[str]) -> bool:
        if not self.reachable:
            self.refused += 1
            return False
        self.renewed.append(tuple(names))
        return True

    def writer_here(self, present: bool) -> None:
        self.writer.append(present)

    def close(self) -> None:
        """Nothing to release."""
