"""`QueryCache` in the memory of one process: values by age of use, tokens, leases."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

from trailseal.ports.cache import Found
from trailseal.ports.clock import Clock

_OVERHEAD: Final = 300
"""Bytes a value costs beside itself, its key and its mark."""
_TOKENS: Final = 100_000
_TOKEN_BYTES: Final = 12


class _Kept(NamedTuple):
    """A value, the tokens it was computed under, and how long it may be given."""

    mark: str
    until: float
    earlier_until: float
    value: bytes


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
        self._values: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._claims: dict[str, tuple[str, str, float]] = {}
        self._writer_here = False

    def find(self, question: str, names: Sequence[str], claim_s: float) -> Found | None:
        """See `QueryCache.find`."""
        with self._lock:
            if not self._writer_here:
                return None
            now = self._now()
            tokens = [self._token(name, now) for name in names]
            mark = sha256(" ".join([value for value, _ in tokens]).encode()).hexdigest()
            age_s = max(0.0, now - max([renewed for _, renewed in tokens], default=now))
            kept = self._values.get(question)
            if kept is not None and kept.mark == mark and kept.until > now:
                self._values.move_to_end(question)
                return Found(mark, age_s, kept.value)
            return Found(mark, age_s, None, self._claim(question, mark, now, claim_s))

    def keep(self, question: str, found: Found, value: bytes, ttl_s: float, earlier_s: float) -> None:
        """See `QueryCache.keep`."""
        size = _size(question, found.mark, value)
        with self._lock:
            self._give_back(question, found)
            if size > self._max_bytes or ttl_s <= 0:
                return
            self._forget(question)
            now = self._now()
            self._values[question] = _Kept(found.mark, now + ttl_s, now + earlier_s, value)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._values)))

    def release(self, question: str, found: Found) -> None:
        """See `QueryCache.release`."""
        with self._lock:
            self._give_back(question, found)

    def earlier(self, question: str) -> bytes | None:
        """See `QueryCache.earlier`."""
        with self._lock:
            kept = self._values.get(question)
            return kept.value if kept is not None and kept.earlier_until > self._now() else None

    def renew(self, names: Sequence[str]) -> bool:
        """See `QueryCache.renew`; the name ``*`` is watched by every question, so it ends every answer at once."""
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

    def close(self) -> None:
        """Nothing to release."""

    def _claim(self, question: str, mark: str, now: float, claim_s: float) -> str | None:
        """A lease, unless somebody computes this very answer: under other tokens it is another one."""
        held = self._claims.get(question)
        if held is not None and held[0] == mark and held[2] > now:
            return None
        if len(self._claims) > _TOKENS:
            self._claims = {name: claim for name, claim in self._claims.items() if claim[2] > now}
        mine = secrets.token_urlsafe(_TOKEN_BYTES)
        self._claims[question] = (mark, mine, now + claim_s)
        return mine

    def _give_back(self, question: str, found: Found) -> None:
        held = self._claims.get(question)
        if held is not None and held[1] == found.claim:
            del self._claims[question]

    def _token(self, name: str, now: float) -> tuple[str, float]:
        found = self._tokens.get(name)
        if found is None:
            found = self._tokens[name] = (secrets.token_urlsafe(_TOKEN_BYTES), now)
            while len(self._tokens) > _TOKENS:
                self._tokens.popitem(last=False)
        else:
            self._tokens.move_to_end(name)
        return found

    def _forget(self, question: str) -> None:
        kept = self._values.pop(question, None)
        if kept is not None:
            self._bytes -= _size(question, kept.mark, kept.value)


def _size(question: str, mark: str, value: bytes) -> int:
    return len(question) + len(mark) + len(value) + _OVERHEAD
