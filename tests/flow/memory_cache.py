"""A cache of which a test can say whether it is reached; it keeps the names it was asked to renew."""

from __future__ import annotations

from collections.abc import Sequence

from trailseal.ports.cache import Token


class RecordingCache:
    """Holds nothing; `reachable` decides whether renewals work."""

    def __init__(self) -> None:
        self.reachable = True
        self.renewed: list[tuple[str, ...]] = []
        self.refused = 0
        self.writer: list[bool] = []

    def get(self, key: str) -> bytes | None:
        """Nothing is held."""

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Nothing is kept."""

    def delete(self, key: str) -> None:
        """Nothing is held."""

    def tokens(self, names: Sequence[str]) -> list[Token] | None:
        """There are none: bypass."""

    def renew(self, names: Sequence[str]) -> bool:
        if not self.reachable:
            self.refused += 1
            return False
        self.renewed.append(tuple(names))
        return True

    def writer_here(self, present: bool) -> None:
        self.writer.append(present)

    def claim(self, key: str, ttl_s: float) -> str | None:
        """Nobody computes anything."""

    def release(self, key: str, claim: str) -> None:
        """There is nothing to give back."""

    def close(self) -> None:
        """Nothing to release."""
