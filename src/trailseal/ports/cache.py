"""Results of earlier questions. It may always miss, never lies, never raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a cache says to a question at one moment.

    A token is a random value under a name that stands for "nothing of this changed since".

    Attributes:
        mark: names the state of all tokens the question depends on; each renewal of one makes it another for ever.
        age_s: seconds since the youngest of them was renewed, by the cache's own clock.
        value: what was kept under this mark and still lives, or None.
        claim: the lease to compute the value, given to one asker at a time where there is none; None: somebody else
            holds it, or there is a value.
    """

    mark: str
    age_s: float
    value: bytes | None = None
    claim: str | None = None


class QueryCache(Protocol):
    """One value a question, tied to named tokens. Safe to use from many threads; no method ever raises."""

    def find(self, question: str, names: Sequence[str], claim_s: float) -> Found | None:
        """The value of a question as of its tokens; where there is none, a lease to compute it.

        Args:
            question: its name.
            names: the tokens it depends on; one that is unknown (new, evicted) begins anew with age 0.
            claim_s: after this time a lease ends by itself.

        Returns:
            None where the cache cannot be reached, or may have lost a token without a trace: bypass it.
        """

    def keep(self, question: str, found: Found, value: bytes, ttl_s: float, earlier_s: float) -> None:
        """Keep the value that was computed after `find`, and give its lease back; may be dropped at once.

        Args:
            question: its name; what was kept for it before is replaced.
            found: what `find` said *before* the value was computed.
            value: the result.
            ttl_s: how long `find` may give it; not at all where it is not above zero.
            earlier_s: how long `earlier` may.
        """

    def release(self, question: str, found: Found) -> None:
        """Give the lease back without a value, if it is still this one."""

    def earlier(self, question: str) -> bytes | None:
        """The last value kept for the question within its ``earlier_s``, whatever was renewed since."""

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

        A cache that only this process sees serves (`find` is not None) only while it does, because no other
        process can renew its tokens; a shared cache ignores this.
        """

    def close(self) -> None:
        """Release connections."""
