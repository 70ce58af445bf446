"""Results of earlier questions. It may always miss, never lies, never raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Token(msgspec.Struct, frozen=True, gc=False):
    """A random value that stands for "nothing of this changed since".

    Attributes:
        value: goes into cache keys; a renewal makes a new random one, so old entries are never found again.
        age_s: seconds since the renewal, by the cache's own clock.
    """

    value: str
    age_s: float


class QueryCache(Protocol):
    """Byte values under text keys, and named tokens. Safe to use from many threads; no method ever raises."""

    def get(self, key: str) -> bytes | None:
        """The value, or None: expired, evicted, never put or unreachable."""

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value for at most ``ttl_s`` seconds; may be dropped at once."""

    def delete(self, key: str) -> None:
        """Forget the value, as far as the cache can be reached."""

    def tokens(self, names: Sequence[str]) -> list[Token] | None:
        """The token of each name; a name without one gets a new one (age 0).

        None: the cache cannot be reached, or may have lost a token without a trace: bypass it.
        """

    def renew(self, names: Sequence[str]) -> bool:
        """Replace the token of each name; True only when every reader sees the new ones from now on.

        A name without a token needs none: its next reader makes one. False: the caller tries again
        before it goes on.
        """

    def clear(self) -> bool:
        """Drop every value, those for bad days too; True only when none is left that was put before.

        For an erasure: a renewal hides old answers, and their bytes would stay.
        """

    def writer_here(self, present: bool) -> None:
        """Say whether the pipeline runs in this process.

        A cache that only this process sees serves (`tokens` is not None) only while it does, because no other
        process can renew its tokens; a shared cache ignores this.
        """

    def claim(self, key: str, ttl_s: float) -> str | None:
        """A lease to compute this key's value, or None while another holds it; ends by itself after ``ttl_s``."""

    def release(self, key: str, claim: str) -> None:
        """Give the lease back, if it is still this one."""

    def close(self) -> None:
        """Release connections."""
