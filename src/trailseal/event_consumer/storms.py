"""Noticing when dead letters come in numbers: an alarm, never a reason to stop."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
FEWEST = 100
SHARE = 0.01


class Storm:
    """Dead letters against everything taken in, over the last minute."""

    def __init__(self) -> None:
        self._moments: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, taken_in: int, dead_letters: int) -> str | None:
        """Add what an advance took in; a sentence for the operator while the storm lasts, else None."""
        if taken_in or dead_letters:
            self._moments.append((now, taken_in, dead_letters))
        while self._moments and now - self._moments[0][0] > WINDOW_S:
            self._moments.popleft()
        taken = sum(moment[1] for moment in self._moments)
        dead = sum(moment[2] for moment in self._moments)
        if dead < FEWEST or dead < SHARE * taken:
            return None
        return f"{dead} of the last minute's {taken} records are dead letters; see `trailseal dead-letters list`."
