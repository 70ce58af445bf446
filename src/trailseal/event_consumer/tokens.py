"""Renewing cache tokens, and remembering when that failed."""

from __future__ import annotations

import threading

from trailseal.model.freshness import EVERYTHING
from trailseal.ports.cache import QueryCache


class Freshness:
    """Renews what is touched; after a failure everything, since nobody knows which renewals were lost.

    Safe to use from many threads.
    """

    def __init__(self, cache: QueryCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._owed = True

    def renew(self, names: tuple[str, ...]) -> bool:
        """Renew these tokens, or all where an earlier renewal failed; whether readers see it from now on."""
        with self._lock:
            if not self._owed and not names:
                return True
            done = self._cache.renew((EVERYTHING,) if self._owed else names)
            self._owed = not done
            return done

    def forget_everything(self) -> bool:
        """Make every cached answer old and drop their bytes; whether both worked."""
        return self.renew_everything() and self._cache.clear()

    def renew_everything(self) -> bool:
        """Make every cached answer old; owed until it works."""
        with self._lock:
            self._owed = True
        return self.renew(())
