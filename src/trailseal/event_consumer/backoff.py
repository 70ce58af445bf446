"""How long to wait before a failed call is repeated."""

from __future__ import annotations

import random

_MOST_DOUBLINGS = 32


def full_jitter(failures: int, first_s: float, most_s: float) -> float:
    """Seconds to wait: exponential growth with full jitter, so that many who wait do not come back together.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        failures: how often the call failed before this time; 0 for its first failure.
        first_s: the longest first wait.
        most_s: the longest wait at all.
    """
    longest = min(most_s, first_s * 2.0 ** min(failures, _MOST_DOUBLINGS))
    return random.uniform(0, longest)  # noqa: S311 - spreads load, guards nothing
