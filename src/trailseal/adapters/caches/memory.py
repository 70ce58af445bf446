"""`QueryCache` in the memory of one process: values by age of use, tokens, leases."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final

from trailseal.ports.cache import Token
from trailseal.ports.clock import Clock

_OVERHEAD: Final = 200
"""Bytes a value costs beside itself and its key."""
_TOKENS: Final = 100_000
_TOKEN_BYTES: Final = 12


class MemoryCache:
    """The least recently used values go first. Serves only while the pipeline runs in this process.

    Args:
        max_bytes: for keys, values and what they cost beside.
        clock: for ages and lives.
    """

    def __init__(self, *, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._now = clock.monotonic
        self._lock = Lock()
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._claims: dict[str, tuple[str, float]] = {}
        self._writer_here = False

    def get(self, key: str) -> bytes | None:
        """See `QueryCache.get`."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            if found[0] <= self._now():
                self._forget(key)
                return None
            self._values.move_to_end(key)
            return found[1]

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """See `QueryCache.put`."""
        size = len(key) + len(value) + _OVERHEAD
        if size > self._max_bytes or ttl_s <= 0:
            return
        with self._lock:
            self._forget(key)
            self._values[key] = (self._now() + ttl_s, value)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._values)))

    def delete(self, key: str) -> None:
        """See `QueryCache.delete`."""
        with self._lock:
            self._forget(key)

    def tokens(self, names: Sequence[str]) -> list[Token] | None:
        """See `QueryCache.tokens`."""
        with self._lock:
            if not self._writer_here:
                return None
            now = self._now()
            return [self._token(name, now) for name in names]

    def renew(self, names: Sequence[str]) -> bool:
        """See `QueryCache.renew`; the name ``*`` stands in every key, so it ends every answer at once."""
        with self._lock:
            now = self._now()
            for name in names:
                if name in self._tokens:
                    self._tokens[name] = (secrets.token_urlsafe(_TOKEN_BYTES), now)
        return True

    def clear(self) -> bool:
        """See `QueryCache.clear`."""
        with self._lock:
            self._values.clear()
            self._bytes = 0
        return True

    def writer_here(self, present: bool) -> None:
        """See `QueryCache.writer_here`; all answers of before are dropped."""
        with self._lock:
            if present != self._writer_here:
                self._values.clear()
                self._tokens.clear()
                self._bytes = 0
            self._writer_here = present

    def claim(self, key: str, ttl_s: float) -> str | None:
        """See `QueryCache.claim`."""
        with self._lock:
            now = self._now()
            held = self._claims.get(key)
            if held is not None and held[1] > now:
                return None
            if len(self._claims) > _TOKENS:
                self._claims = {name: claim for name, claim in self._claims.items() if claim[1] > now}
            mine = secrets.token_urlsafe(_TOKEN_BYTES)
            self._claims[key] = (mine, now + ttl_s)
            return mine

    def release(self, key: str, claim: str) -> None:
        """See `QueryCache.release`."""
        with self._lock:
            held = self._claims.get(key)
            if held is not None and held[0] == claim:
                del self._claims[key]

    def close(self) -> None:
        """Nothing to release."""

    def _token(self, name: str, now: float) -> Token:
        found = self._tokens.get(name)
        if found is None:
            found = self._tokens[name] = (secrets.token_urlsafe(_TOKEN_BYTES), now)
            while len(self._tokens) > _TOKENS:
                self._tokens.popitem(last=False)
        else:
            self._tokens.move_to_end(name)
        return Token(found[0], max(0.0, now - found[1]))

    def _forget(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._bytes -= len(key) + len(found[1]) + _OVERHEAD
